// Elementwise nests: the innermost loop runs in vectors, what is left over in narrower ones, then one by one. A result may
// share memory with an operand, so no element is computed twice.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, variable } from '../../ir/scalar.js';
import { atWidth, constOf, lanesAt, NARROWEST, type ScheduleOptions, widthsFor, wrap } from './loops.js';
import { type For, loadsOf, type Nest } from './nest.js';
import { cutSegments, type Segment } from './segments.js';
import { SIMD_32 } from './target.js';
import { splat, vectorizeExpr } from './vectorize.js';

export function vectorizeElementwise(nest: Nest, o: ScheduleOptions): readonly Stmt[] {
  const inner = nest.loops[nest.loops.length - 1] as For;
  const outer = nest.loops.slice(0, -1);
  const size = constOf(inner.hi);
  const plain = wrap(nest.loops, [nest.store]);
  if (!isOne(coefficient(nest.store.index, inner.var)) || (size !== null && size < NARROWEST)) return plain;
  const loads = loadsOf(nest.store.value).filter((x) => x.index.some((y) => mentions(y, inner.var)));
  const contiguous = loads.filter((x) => isOne(coefficient(x.index[0] as Expr, inner.var)));
  const segments = cutSegments(nest.store, inner);
  const isApart = loads.length > 2 * contiguous.length;
  return wrap(
    outer,
    segments.flatMap((part) => (isApart ? [singly(part, inner)] : vectorLoops(part, inner, o))),
  );
}

const singly = ({ store, from, to }: Segment, inner: For): Stmt => ({ ...inner, lo: from, hi: to, body: [store] });

/** A segment in vectors of every width the target has, widest first, then one by one. */
function vectorLoops({ store, from: start, to: end }: Segment, inner: For, o: ScheduleOptions): readonly Stmt[] {
  const length = e.sub(end, start);
  const size = constOf(length);
  const loops: Stmt[] = [];
  let from = start;
  for (const lanes of widthsFor(o.target, size)) {
    const narrow = atWidth(o, lanes);
    const along = { ...lanesAt(inner.var, variable(inner.var, 'i32'), narrow), gather: true };
    const value = vectorizeExpr(store.value, along);
    if (!value || !SIMD_32.has(value.dtype)) break;
    const to = size === null ? e.sub(end, e.rem(e.sub(end, from), lanes)) : e.add(start, size - (size % lanes));
    loops.push({ ...inner, lo: from, hi: to, step: lanes, body: [{ ...store, value: splat(value, lanes) }] });
    from = to;
  }
  return size !== null && constOf(e.sub(end, from)) === 0 ? loops : [...loops, singly({ store, from, to: end }, inner)];
}
