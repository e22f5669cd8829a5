// Neighbouring loops of one row become one: a loop that stores a row of scratch memory and the reduction right behind it
// that reads that row read their operands once. What is stored goes straight into the reduction. Divisions of a row by
// one number become multiplications by its reciprocal, in fast numerics.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import type { BufferParam, Stmt } from '../../ir/kernel.js';
import {
  constant,
  type Expr,
  exprKey,
  rawOp,
  rewriteExpr,
  substituteVars,
  variable,
  visitExpr,
} from '../../ir/scalar.js';
import { fittingWidth, type LaneLoop, scheduleLaneLoop } from './lane-loop.js';
import { innermostInLanes } from './lanes.js';
import { constOf, type ScheduleOptions } from './loops.js';
import { loadsOf, matchNest, matchReduction, type Nest, type Reduction } from './nest.js';

/** The statements that replace the three at `k`: a loop of stores, an accumulator, and a reduction over what was stored. */
export function scheduleRow(
  body: readonly Stmt[],
  k: number,
  params: readonly BufferParam[],
  o: ScheduleOptions,
): readonly Stmt[] | null {
  const [first, start, second] = body.slice(k, k + 3);
  if (!first || !start || !second || start.s !== 'let') return null;
  const nest = matchNest(first);
  const reduction = matchReduction(start, second);
  const merged = nest && reduction && mergeLoops(nest, reduction, params);
  const loop = merged?.loops[0];
  if (!merged || !loop) return null;
  const fitting = fittingWidth(loop, o);
  if (!innermostInLanes(merged, fitting)) return null;
  const l: LaneLoop = { outer: [], loop, stores: [(nest as Nest).store], sums: [merged] };
  const made = scheduleLaneLoop(l, fitting);
  return made && [start, ...made];
}

/** The reduction over the values that the nest stores rather than over memory; null unless each step reads its own element. */
function mergeLoops(nest: Nest, r: Reduction, params: readonly BufferParam[]): Reduction | null {
  const [loop] = nest.loops;
  const [other] = r.loops;
  const { store } = nest;
  if (nest.reduction || nest.loops.length !== 1 || r.loops.length !== 1 || !loop || !other) return null;
  if (params[store.buf]?.access !== 'scratch' || exprKey(loop.hi) !== exprKey(other.hi)) return null;
  if (!isOne(coefficient(store.index, loop.var))) return null;
  const here = new Map([[other.var, variable(loop.var, 'i32')]]);
  const term = substituteVars(r.term, here);
  const own = loadsOf(term).filter((x) => x.src === store.buf);
  const sameElement = own.every(
    (x) => !x.guard && x.dtype === store.value.dtype && exprKey(x.index[0] as Expr) === exprKey(store.index),
  );
  const inPlace = loadsOf(store.value).some((x) => x.src === store.buf); // computed again, it would see what was stored
  if (own.length === 0 || !sameElement || inPlace) return null;
  const value = rewriteExpr(term, (x) => (x.k === 'load' && x.src === store.buf ? store.value : x));
  return { ...r, loops: [{ ...loop, mode: 'serial' }], term: value };
}

/** x / d where d is the same for the whole innermost loop: x · (1 / d). */
export function invertDivisors(nest: Nest, o: ScheduleOptions): Nest {
  const inner = nest.loops[nest.loops.length - 1];
  const size = inner ? constOf(inner.hi) : null;
  if (o.numerics === 'strict' || nest.reduction || !inner || (size !== null && size <= o.target.lanes)) return nest;
  const isCandidate = (x: Expr): boolean => {
    if (x.k !== 'op' || x.op !== 'div' || x.dtype !== 'f32') return false;
    const [a, d] = x.args as readonly [Expr, Expr];
    return d.k !== 'const' && !mentions(d, inner.var) && mentions(a, inner.var);
  };
  const { value } = nest.store;
  let found = false;
  let exact = false;
  visitExpr(value, (x) => {
    found ||= isCandidate(x);
    exact ||= isStep(x) && contains(x, isCandidate);
  });
  if (!found || exact) return nest;
  const inverted = rewriteExpr(value, (x) => {
    if (!isCandidate(x) || x.k !== 'op') return x;
    const [a, d] = x.args as readonly [Expr, Expr];
    return rawOp('mul', a, rawOp('div', constant(1, 'f32'), d));
  });
  return { ...nest, store: { ...nest.store, value: inverted } };
}

const STEPS: ReadonlySet<string> = new Set(['rint', 'floor', 'ceil', 'trunc', 'rem', 'eq', 'lt', 'le']);

/** Where the last bit of a float operand may decide a whole step of the result. */
const isStep = (x: Expr): boolean =>
  (x.k === 'op' && STEPS.has(x.op)) || x.k === 'bitcast' || (x.k === 'cast' && x.arg.dtype === 'f32');

function contains(x: Expr, test: (x: Expr) => boolean): boolean {
  let found = false;
  visitExpr(x, (y) => {
    found ||= test(y);
  });
  return found;
}
