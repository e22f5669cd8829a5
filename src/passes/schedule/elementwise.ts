// Elementwise nests: the innermost loop runs in vectors, what is left over in narrower ones, then one by one. A result may
// share memory with an operand, so no element is computed twice.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, substituteVars, variable } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';
import { LONG_STEP, measure, vectorsAtOnce } from './latency.js';
import { atWidth, constOf, lanesAt, NARROWEST, type ScheduleOptions, storesLast, widthsFor, wrap } from './loops.js';
import { type For, loadsOf, type Nest, type Store } from './nest.js';
import { evenAndOdd } from './even-odd.js';
import { cutSegments, type Segment } from './segments.js';
import { SIMD_32 } from './target.js';
import { isApart, type Lanes, splat, vectorizeExpr } from './vectorize.js';

export function vectorizeElementwise(nest: Nest, o: ScheduleOptions): readonly Stmt[] {
  const inner = nest.loops[nest.loops.length - 1] as For;
  const around = nest.loops[nest.loops.length - 2];
  const size = constOf(inner.hi);
  const plain = wrap(nest.loops, [nest.store]);
  if (!isOne(coefficient(nest.store.index, inner.var)) || (size !== null && size < NARROWEST)) return plain;
  const loads = loadsOf(nest.store.value).filter((x) => x.index.some((y) => mentions(y, inner.var)));
  const contiguous = loads.filter((x) => isOne(coefficient(x.index[0] as Expr, inner.var)));
  const pairs = loads.filter((x) => isApart(x, along(inner, o)));
  const isScattered = loads.length > 2 * (contiguous.length + pairs.length);
  const paired = isScattered ? evenAndOdd(nest.store, inner) : null;
  if (paired) return wrap(nest.loops.slice(0, -1), paired);
  const times = nest.loops.slice(0, -1).reduce((n, f) => n * (constOf(f.hi) ?? 1), 1);
  const run = (store: Store): readonly Stmt[] =>
    cutSegments(store, inner).flatMap((part) =>
      isScattered ? [singly(part, inner)] : vectorLoops(part, inner, times, o),
    );
  if (!around) return run(nest.store);
  const whole = cutSegments(nest.store, around);
  const rows = isScattered || !isKnown(whole) ? [{ from: i32(0), to: around.hi, store: nest.store }] : whole;
  return wrap(
    nest.loops.slice(0, -2),
    rows.map(({ from, to, store }): Stmt => ({ ...around, lo: from, hi: to, body: run(store) })),
  );
}

/** Rows of different kinds, where each needs no more code than a border: the condition of a row is none of its vectors'. */
const isKnown = (rows: readonly Segment[]): boolean =>
  rows.length <= MAX_KINDS && rows.every((r) => constOf(r.from) !== null && constOf(r.to) !== null);

/** Two borders and what is between them. */
const MAX_KINDS = 3;

const along = (inner: For, o: ScheduleOptions): Lanes => ({
  ...lanesAt(inner.var, variable(inner.var, 'i32'), o),
  gather: true,
  apart: true,
});

const singly = ({ store, from, to }: Segment, inner: For): Stmt => ({ ...inner, lo: from, hi: to, body: [store] });

/** A segment in vectors of every width the target has, widest first, then one by one; `times`: how often, as far as known. */
function vectorLoops(
  { store, from: start, to: end }: Segment,
  inner: For,
  times: number,
  o: ScheduleOptions,
): readonly Stmt[] {
  const length = e.sub(end, start);
  const size = constOf(length);
  const loops: Stmt[] = [];
  let from = start;
  for (const lanes of widthsFor(o.target, size)) {
    const narrow = atWidth(o, lanes);
    const here = along(inner, narrow);
    const value = vectorizeExpr(store.value, here);
    if (!value || !SIMD_32.has(value.dtype)) break;
    const step = (k: number): Stmt => {
      const base = e.add(variable(inner.var, 'i32'), k * lanes);
      const there = k === 0 ? value : vectorizeExpr(store.value, { ...here, base });
      return {
        ...store,
        index: substituteVars(store.index, new Map([[inner.var, base]])),
        value: splat(there as Expr, lanes),
      };
    };
    for (const count of unrollsOf(store, narrow, size, times)) {
      const width = count * lanes;
      const to = size === null ? e.sub(end, e.rem(e.sub(end, from), width)) : e.add(start, size - (size % width));
      const steps = Array.from({ length: count }, (_, k) => step(k));
      if (constOf(e.sub(to, from)) !== 0)
        loops.push({ ...inner, lo: from, hi: to, step: width, body: storesLast(steps) });
      from = to;
    }
  }
  return size !== null && constOf(e.sub(end, from)) === 0 ? loops : [...loops, singly({ store, from, to: end }, inner)];
}

/** How many vectors go side by side, the most first: several where each is a long chain of operations and there are many,
 *  or where a step is so short that the loop around it costs as much. */
function unrollsOf(
  { value }: Store,
  { target }: ScheduleOptions,
  size: number | null,
  times: number,
): readonly number[] {
  if (size === null) return [1];
  const { count } = measure([value]);
  const vectors = size / target.lanes;
  const isLong = isFloat(value.dtype) && count > LONG_STEP && vectors * times >= MANY;
  const wanted = isLong ? vectorsAtOnce([value], target) : count <= LONG_STEP ? target.shortSteps : 1;
  return wanted > 1 && vectors >= 2 * wanted ? [wanted, 1] : [1];
}

/** Vectors from which more code pays. */
const MANY = 256;
