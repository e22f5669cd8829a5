// Macros of integers and booleans. Division by zero follows div and rem, which `legalize` makes total (both give 0).
// Bounds of operands are not known here; `simplify-index` turns floordiv and floormod into div and rem where it may.

import { DTYPE_INFO } from '../../support/dtype.js';
import { constant, type Expr, rawOp, select } from '../scalar.js';

const isSigned = (e: Expr): boolean => DTYPE_INFO[e.dtype].kind === 'int';
const like = (e: Expr, value: number | bigint): Expr => constant(value, e.dtype);

/** The exponent of a constant power of two, or null. */
function powerOfTwo(e: Expr): number | null {
  if (e.k !== 'const') return null;
  const value = BigInt(e.value);
  return value > 0n && (value & (value - 1n)) === 0n ? value.toString(2).length - 1 : null;
}

export const not = (x: Expr): Expr => {
  if (x.dtype === 'i1') return rawOp('xor', x, constant(1, 'i1'));
  const { kind, bits } = DTYPE_INFO[x.dtype];
  return rawOp('xor', x, like(x, kind === 'uint' ? (1n << BigInt(bits)) - 1n : -1));
};

export function sign(x: Expr): Expr {
  const zero = like(x, 0);
  if (!isSigned(x)) return rawOp('min', x, like(x, 1));
  return select(rawOp('lt', zero, x), like(x, 1), select(rawOp('lt', x, zero), like(x, -1), zero));
}

/** Whether the truncated quotient is one too large: the remainder is not 0 and its sign is not the divisor's. */
function overshoots(rest: Expr, divisor: Expr): Expr {
  const zero = like(rest, 0);
  const nonZero = not(rawOp('eq', rest, zero));
  return rawOp('and', nonZero, rawOp('lt', rawOp('xor', rest, divisor), zero));
}

export function floordiv(x: Expr, y: Expr): Expr {
  const shift = powerOfTwo(y);
  if (shift !== null) return rawOp(isSigned(x) ? 'shr_s' : 'shr_u', x, like(x, shift));
  if (!isSigned(x)) return rawOp('div', x, y);
  const quotient = rawOp('div', x, y);
  const rest = y.k === 'const' ? rawOp('sub', x, rawOp('mul', quotient, y)) : rawOp('rem', x, y);
  return select(overshoots(rest, y), rawOp('sub', quotient, like(x, 1)), quotient);
}

export function floormod(x: Expr, y: Expr): Expr {
  const shift = powerOfTwo(y);
  if (shift !== null) return rawOp('and', x, like(x, (1n << BigInt(shift)) - 1n));
  const rest = rawOp('rem', x, y);
  if (!isSigned(x)) return rest;
  return select(overshoots(rest, y), rawOp('add', rest, y), rest);
}
