// Comparisons of vectors whose difference grows or falls evenly from lane to lane: what holds in the first lane and in the
// last holds in all. Masks at the edges of tiles are such comparisons, and most of them are decided by where the tile starts.

import { e as build } from '../../ir/expr.js';
import { type Expr, i32, rawOp, type ScalarOp } from '../../ir/scalar.js';

const ORDERS: ReadonlySet<ScalarOp> = new Set(['lt', 'le', 'gt', 'ge']);

/** The comparison in the first and in the last lane; null where the lanes between may differ from both. */
export function endsOfOrder(e: Expr): readonly [Expr, Expr] | null {
  if (e.k !== 'op' || e.lanes === 1 || !ORDERS.has(e.op) || e.args[0]?.dtype !== 'i32') return null;
  const at = (lane: number): Expr | null => {
    const [a, b] = e.args.map((x) => atLane(x, lane));
    return a && b ? rawOp(e.op as 'lt', a, b) : null;
  };
  const [first, last] = [at(0), at(e.lanes - 1)];
  return first && last ? [first, last] : null;
}

/** The value in a lane of a sum of evenly spaced vectors. */
function atLane(x: Expr, lane: number): Expr | null {
  if (x.lanes === 1) return x;
  if (x.k === 'vec') {
    const [of] = x.args;
    if (of?.lanes !== 1) return null;
    return x.op === 'iota' ? build.add(of, i32(lane)) : x.op === 'splat' ? of : null;
  }
  if (x.k !== 'op' || (x.op !== 'add' && x.op !== 'sub')) return null;
  const [a, b] = x.args.map((y) => atLane(y, lane));
  return a && b ? build.op(x.op, a, b) : null;
}
