// Elementwise nests: adjacent loops that walk memory as one are collapsed, the innermost runs in vectors, what is left
// over one by one. A result may share memory with an operand, so no element is computed twice.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, i32, rewriteExpr, substituteVars, variable } from '../../ir/scalar.js';
import { constOf, type ScheduleOptions, wrap } from './loops.js';
import { type For, loadsOf, type Nest, type Store } from './nest.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** Merges adjacent loops where every index walks them as one: coefficient of the outer = size × that of the inner. */
export function collapse(nest: Nest): Nest {
  const { loops } = nest;
  const last = loops[loops.length - 1];
  const outer = loops[loops.length - 2];
  if (!last || !outer || nest.reduction) return nest;
  const exprs = [nest.store.index, ...loadsOf(nest.store.value).flatMap((x) => [...x.index])];
  const other = withoutIndices(nest.store.value);
  if (mentions(other, outer.var) || mentions(other, last.var)) return nest;
  for (const x of exprs) {
    const [a, b] = [coefficient(x, outer.var), coefficient(x, last.var)];
    if (!a || !b || exprKey(a) !== exprKey(e.mul(b, last.hi))) return nest;
  }
  const merged: For = { ...last, hi: e.mul(outer.hi, last.hi) };
  const zero = new Map([[outer.var, i32(0) as Expr]]);
  const [store] = mapExprs([nest.store], (x) => substituteVars(x, zero)) as readonly Store[];
  return collapse({ loops: [...loops.slice(0, -2), merged], reduction: null, store: store as Store });
}

/** The value with each load's index blanked: what else depends on the loops. */
const withoutIndices = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'load' ? { ...y, index: [i32(0)] } : y));

export function vectorizeElementwise(nest: Nest, o: ScheduleOptions): readonly Stmt[] | null {
  const inner = nest.loops[nest.loops.length - 1] as For;
  const outer = nest.loops.slice(0, -1);
  const { lanes } = o.target;
  const size = constOf(inner.hi);
  const plain = wrap(nest.loops, [nest.store]);
  if (!isOne(coefficient(nest.store.index, inner.var)) || (size !== null && size < lanes)) return plain;
  const loads = loadsOf(nest.store.value).filter((x) => x.index.some((y) => mentions(y, inner.var)));
  const contiguous = loads.filter((x) => isOne(coefficient(x.index[0] as Expr, inner.var)));
  if (loads.length > 2 * contiguous.length) return plain;
  const base = variable(inner.var, 'i32');
  const value = vectorizeExpr(nest.store.value, {
    target: o.target,
    name: inner.var,
    base,
    gather: true,
    vars: new Map(),
  });
  if (!value) return plain;
  const whole = size === null ? e.sub(inner.hi, e.rem(inner.hi, lanes)) : i32(size - (size % lanes));
  const main: Stmt = { ...inner, hi: whole, step: lanes, body: [{ ...nest.store, value: splat(value, lanes) }] };
  if (size !== null && size % lanes === 0) return wrap(outer, [main]);
  const rest: Stmt = { ...inner, lo: whole, body: [nest.store] };
  return wrap(outer, [main, rest]);
}
