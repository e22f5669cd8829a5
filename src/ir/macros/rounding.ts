// Sign, rounding and remainders of floats. fmod is exact while the quotient is below 2^24 (f32) or 2^53 (f64): the
// quotient times the divisor is formed in two exact parts, and of the two candidate quotients the one too large by one
// shows as a remainder of the wrong sign. Larger quotients give 0.

import { type Expr, rawOp } from '../scalar.js';
import {
  abs,
  add,
  and,
  copySign,
  div,
  eq,
  type FloatFormat,
  fromBits,
  high,
  int,
  lt,
  mul,
  not,
  num,
  or,
  select,
  sub,
  toBits,
} from './format.js';

/** 1, −1, 0; NaN at NaN. */
export function sign(f: FloatFormat, x: Expr): Expr {
  const zero = num(f, 0);
  return select(lt(zero, x), num(f, 1), select(lt(x, zero), num(f, -1), x));
}

/** Half away from zero: truncation after adding the largest number below ½. */
export function round(f: FloatFormat, x: Expr): Expr {
  const almostHalf = num(f, f.dtype === 'f32' ? 0.5 - 2 ** -25 : 0.5 - 2 ** -54);
  const signBit = and(toBits(f, x), int(f, ~f.magnitude));
  const shift = fromBits(f, or(toBits(f, almostHalf), signBit));
  return rawOp('trunc', add(x, shift));
}

/** The rounding error of a·b, p being the rounded product. */
function productError(f: FloatFormat, a: Expr, b: Expr, p: Expr): Expr {
  const aHigh = high(f, a);
  const bHigh = high(f, b);
  const aLow = sub(a, aHigh);
  const bLow = sub(b, bHigh);
  return add(add(add(sub(mul(aHigh, bHigh), p), mul(aHigh, bLow)), mul(aLow, bHigh)), mul(aLow, bLow));
}

/** C's fmod. */
export function fmod(f: FloatFormat, x: Expr, y: Expr): Expr {
  const zero = num(f, 0);
  const dividend = abs(x);
  const divisor = abs(y);
  const quotient = rawOp('trunc', div(dividend, divisor));
  const product = mul(quotient, divisor);
  const rest = sub(sub(dividend, product), productError(f, quotient, divisor, product));
  const remainder = select(lt(rest, zero), add(rest, divisor), rest);
  const exact = lt(quotient, num(f, 2 ** (f.mantissa + 1)));
  const size = select(lt(dividend, divisor), dividend, select(exact, remainder, zero));
  const valid = and(lt(dividend, num(f, Number.POSITIVE_INFINITY)), lt(zero, divisor));
  return select(valid, copySign(f, size, x), num(f, Number.NaN));
}

/** The remainder with the divisor's sign. */
export function floormod(f: FloatFormat, x: Expr, y: Expr): Expr {
  const rest = fmod(f, x, y);
  const zero = num(f, 0);
  const differs = rawOp('xor', lt(rest, zero), lt(y, zero));
  return select(and(differs, not(eq(rest, zero))), add(rest, y), rest);
}

export const floordiv = (_f: FloatFormat, x: Expr, y: Expr): Expr => rawOp('floor', div(x, y));

export const rsqrt = (f: FloatFormat, x: Expr): Expr => div(num(f, 1), rawOp('sqrt', x));
