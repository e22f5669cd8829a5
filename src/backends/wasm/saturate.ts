// Integers stored in fewer bits: where they are clamped to what the buffer's type holds, narrowing by saturation keeps them,
// and does the clamping itself where the limits are the type's own.

import type { ConstExpr, Expr } from '../../ir/scalar.js';
import { type DType, DTYPE_INFO, intRange, isInteger } from '../../support/dtype.js';

export interface Saturating {
  /** What is left to compute before narrowing. */
  readonly value: Expr;
  /** Whether narrowing by saturation gives the value. */
  readonly fits: boolean;
}

/** `shared`: computed once for several uses, and so not to be taken apart. */
export function takeClamps(value: Expr, stored: DType, shared: (x: Expr) => boolean): Saturating {
  const whole = { value, fits: false };
  if (value.dtype !== 'i32' || value.lanes !== 4 || !isInteger(stored) || DTYPE_INFO[stored].bits > 16) return whole;
  const { lo, hi } = intRange(stored);
  const outer = clampOf(value);
  const inner = outer && clampOf(outer.of);
  if (!outer || !inner || outer.op === inner.op) return whole;
  const [least, most] = outer.op === 'min' ? [inner.limit, outer.limit] : [outer.limit, inner.limit];
  if (least < Number(lo) || most > Number(hi) || least > most) return whole;
  const isOwn = (c: Clamp): boolean => c.limit === Number(c.op === 'min' ? hi : lo);
  if (shared(value) || !isOwn(outer)) return { value, fits: true };
  if (!shared(outer.of) && isOwn(inner)) return { value: inner.of, fits: true };
  return { value: outer.of, fits: true };
}

interface Clamp {
  readonly op: 'min' | 'max';
  readonly of: Expr;
  readonly limit: number;
}

function clampOf(x: Expr): Clamp | null {
  if (x.k !== 'op' || (x.op !== 'min' && x.op !== 'max')) return null;
  const [a, b] = x.args as [Expr, Expr];
  const [limit, of] = limitOf(b) ? [limitOf(b), a] : [limitOf(a), b];
  return limit && { op: x.op, of, limit: Number(limit.value) };
}

const limitOf = (x: Expr): ConstExpr | null => {
  const one = x.k === 'vec' && x.op === 'splat' ? x.args[0] : x;
  return one?.k === 'const' ? one : null;
};
