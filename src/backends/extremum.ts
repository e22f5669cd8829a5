// The choice that machines have as one instruction: a < b ? b : a and b < a ? b : a. Unlike min and max of the IR it is
// the first operand where either is NaN, and where zeros of both signs meet.

import type { Expr } from '../ir/scalar.js';

export interface Extremum {
  readonly op: 'min' | 'max';
  readonly a: Expr;
  readonly b: Expr;
}

export function extremumOf(e: Extract<Expr, { k: 'select' }>): Extremum | null {
  const { cond } = e;
  if (cond.k !== 'op' || cond.op !== 'lt' || (e.dtype !== 'f32' && e.dtype !== 'f64')) return null;
  const [p, q] = cond.args as readonly [Expr, Expr];
  if (isSame(e.a, q) && isSame(e.b, p)) return { op: 'max', a: p, b: q };
  if (isSame(e.a, p) && isSame(e.b, q)) return { op: 'min', a: q, b: p };
  return null;
}

function isSame(x: Expr, y: Expr): boolean {
  if (x === y) return true;
  if (x.k === 'var') return y.k === 'var' && x.name === y.name;
  if (x.k === 'const') return y.k === 'const' && x.dtype === y.dtype && Object.is(x.value, y.value);
  if (x.k === 'vec' && y.k === 'vec' && x.op === 'splat' && y.op === 'splat')
    return isSame(x.args[0] as Expr, y.args[0] as Expr);
  return false;
}
