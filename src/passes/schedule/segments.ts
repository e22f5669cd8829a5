// Conditions along a loop: the borders of a padded row, the seam of two joined ones. The loop is cut where a condition
// changes, so that within a segment none depends on the loop's variable any more and the segment can be vectors.

import { coefficient, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { constant, type Expr, exprKey, i32, rawOp, rewriteExpr, substituteVars, visitExpr } from '../../ir/scalar.js';
import { simplifyExpr } from '../kernel/simplify-index.js';
import { constOf } from './loops.js';
import type { For, Store } from './nest.js';

export interface Segment {
  readonly from: Expr;
  readonly to: Expr;
  /** The store as it is within. */
  readonly store: Store;
}

/** More pieces than this are not worth their code. */
const MAX_SEGMENTS = 8;

/** A condition `at ≥ 0` along the loop: at = start + slope · step · variable. */
interface Condition {
  readonly key: string;
  readonly slope: 1 | -1;
  readonly step: number;
  readonly start: Expr;
}

/** The loop in order, cut; one segment where there is no condition, or one that is not linear. */
export function cutSegments(store: Store, loop: For): readonly Segment[] {
  const whole = [{ from: i32(0) as Expr, to: loop.hi, store }];
  const conditions = conditionsAlong(store.value, loop.var);
  if (!conditions || conditions.length === 0) return whole;
  const size = constOf(loop.hi);
  const cuts = conditions.map((c) => constOf(cutOf(c)));
  const known = size !== null && cuts.every((c) => c !== null);
  return (known ? betweenCuts(store, size, conditions, cuts as number[]) : interior(store, loop, conditions)) ?? whole;
}

/** Null where a condition on the variable is none of `Condition`. */
function conditionsAlong(value: Expr, name: string): readonly Condition[] | null {
  const found = new Map<string, Condition>();
  let odd = false;
  const take = (x: Expr): void => {
    if (!mentions(x, name)) return;
    if (x.k === 'op' && x.op === 'and' && x.dtype === 'i1') x.args.forEach(take);
    else {
      const c = linear(x, name);
      if (c) found.set(c.key, c);
      else odd = true;
    }
  };
  visitExpr(value, (x) => {
    if (x.k === 'load' && x.guard) take(x.guard);
    if (x.k === 'select') take(x.cond);
  });
  return odd ? null : [...found.values()];
}

function linear(x: Expr, name: string): Condition | null {
  if (x.k !== 'op' || (x.op !== 'lt' && x.op !== 'le')) return null;
  const [a, b] = x.args as [Expr, Expr];
  if (a.dtype !== 'i32') return null;
  const at = e.sub(x.op === 'lt' ? e.sub(b, a) : b, x.op === 'lt' ? 1 : a);
  const step = constOf(coefficient(at, name) ?? at);
  if (!step) return null;
  const start = simplifyExpr(substituteVars(at, new Map([[name, i32(0)]])));
  return { key: exprKey(x), slope: step > 0 ? 1 : -1, step: Math.abs(step), start };
}

/** The first position on the condition's other side: true from here, or up to here. Anything up to 0 before the first. */
function cutOf({ slope, step, start }: Condition): Expr {
  const exponent = Math.log2(step);
  if (Number.isInteger(exponent)) {
    const steps = exponent === 0 ? start : simplifyExpr(rawOp('shr_s', start, i32(exponent))); // ⌊start / step⌋
    return slope === 1 ? e.sub(0, steps) : e.add(steps, 1);
  }
  return simplifyExpr(e.div(slope === 1 ? e.sub(step - 1, start) : e.add(start, step), step));
}

/** Constant cuts: every condition is decided in each segment. */
function betweenCuts(
  store: Store,
  size: number,
  conditions: readonly Condition[],
  cuts: readonly number[],
): readonly Segment[] | null {
  const inside = cuts.filter((c) => c > 0 && c < size);
  const edges = [...new Set([0, ...inside, size])].sort((p, q) => p - q);
  if (edges.length - 1 > MAX_SEGMENTS) return null;
  return edges.slice(0, -1).map((from, k) => {
    const truth = new Map(
      conditions.map((c, n) => [c.key, c.slope === 1 ? from >= (cuts[n] as number) : from < (cuts[n] as number)]),
    );
    return { from: i32(from), to: i32(edges[k + 1] as number), store: decide(store, truth) };
  });
}

/** Open cuts: what lies inside all conditions, and what lies before and after as it was. */
function interior(store: Store, loop: For, conditions: readonly Condition[]): readonly Segment[] {
  const bound = (slope: 1 | -1, start: Expr, pick: (a: Expr, b: Expr) => Expr): Expr =>
    conditions.filter((c) => c.slope === slope).reduce((x, c) => pick(x, cutOf(c)), start);
  const lo = e.min(bound(1, i32(0), e.max), loop.hi);
  const hi = e.max(bound(-1, loop.hi, e.min), lo);
  return [
    { from: i32(0), to: lo, store },
    { from: lo, to: hi, store: decide(store, new Map(conditions.map((c) => [c.key, true]))) },
    { from: hi, to: loop.hi, store },
  ];
}

function decide(store: Store, truth: ReadonlyMap<string, boolean>): Store {
  const value = rewriteExpr(store.value, (x): Expr => {
    const known = x.k === 'op' && (x.op === 'lt' || x.op === 'le') ? truth.get(exprKey(x)) : undefined;
    if (known !== undefined) return constant(known, 'i1');
    if (x.k === 'op' && x.op === 'and' && x.dtype === 'i1') return both(x.args[0] as Expr, x.args[1] as Expr) ?? x;
    if (x.k === 'select' && x.cond.k === 'const') return isTrue(x.cond) ? x.a : x.b;
    if (x.k !== 'load' || x.guard?.k !== 'const') return x;
    if (isTrue(x.guard)) return { ...x, guard: undefined, pad: undefined };
    return x.pad ?? constant(0, x.dtype);
  });
  return { ...store, value };
}

const isTrue = (x: Expr): boolean => constOf(x) === 1;

const both = (a: Expr, b: Expr): Expr | null => {
  if (a.k === 'const') return isTrue(a) ? b : a;
  return b.k === 'const' ? (isTrue(b) ? a : b) : null;
};
