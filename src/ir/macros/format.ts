// The vocabulary of the macro definitions: arithmetic without folding, constants of a float format, and the bit-level
// pieces every elementary function needs (nearest integer, powers of two, splitting a mantissa in halves).
// Constants have one lane and broadcast: the vectoriser splats them. Sub-terms used twice are shared objects.

import { bitcast, cast, constant, type Expr, rawOp, select } from '../scalar.js';

/** What differs between f32 and f64. `bits` is the integer type of the same width. */
export interface FloatFormat {
  readonly dtype: 'f32' | 'f64';
  readonly bits: 'i32' | 'i64';
  /** Stored mantissa bits. */
  readonly mantissa: number;
  readonly bias: number;
  /** Bit patterns of +inf, of every bit but the sign, of √½ and of 1.5·2^mantissa. */
  readonly infinity: bigint;
  readonly magnitude: bigint;
  readonly sqrtHalf: bigint;
  readonly rounder: bigint;
  /** Clears the low half of a mantissa, so that products of two such numbers are exact. */
  readonly highHalf: bigint;
}

export const F32: FloatFormat = {
  dtype: 'f32',
  bits: 'i32',
  mantissa: 23,
  bias: 127,
  infinity: 0x7f800000n,
  magnitude: 0x7fffffffn,
  sqrtHalf: 0x3f3504f3n,
  rounder: 0x4b400000n,
  highHalf: -0x1000n,
};

export const F64: FloatFormat = {
  dtype: 'f64',
  bits: 'i64',
  mantissa: 52,
  bias: 1023,
  infinity: 0x7ff0000000000000n,
  magnitude: 0x7fffffffffffffffn,
  sqrtHalf: 0x3fe6a09e667f3bcdn,
  rounder: 0x4338000000000000n,
  highHalf: -0x8000000n,
};

export const add = (a: Expr, b: Expr): Expr => rawOp('add', a, b);
export const sub = (a: Expr, b: Expr): Expr => rawOp('sub', a, b);
export const mul = (a: Expr, b: Expr): Expr => rawOp('mul', a, b);
export const div = (a: Expr, b: Expr): Expr => rawOp('div', a, b);
export const neg = (a: Expr): Expr => rawOp('neg', a);
export const abs = (a: Expr): Expr => rawOp('abs', a);
export const lt = (a: Expr, b: Expr): Expr => rawOp('lt', a, b);
export const eq = (a: Expr, b: Expr): Expr => rawOp('eq', a, b);
export const and = (a: Expr, b: Expr): Expr => rawOp('and', a, b);
export const or = (a: Expr, b: Expr): Expr => rawOp('or', a, b);
export const not = (a: Expr): Expr => rawOp('xor', a, constant(1, 'i1'));
export const clamp = (x: Expr, lo: Expr, hi: Expr): Expr => rawOp('max', rawOp('min', x, hi), lo);
export { select };

/** The constant nearest to `value`. */
export const num = (f: FloatFormat, value: number): Expr =>
  constant(f.dtype === 'f32' ? Math.fround(value) : value, f.dtype);

/** A constant of the integer type of the same width. */
export const int = (f: FloatFormat, value: number | bigint): Expr =>
  constant(f.bits === 'i32' ? Number(BigInt.asIntN(32, BigInt(value))) : BigInt(value), f.bits);

export const toBits = (f: FloatFormat, x: Expr): Expr => bitcast(x, f.bits);
export const fromBits = (f: FloatFormat, x: Expr): Expr => bitcast(x, f.dtype);

/** Horner's scheme; coefficients from the constant term up. */
export function polynomial(f: FloatFormat, x: Expr, coefficients: readonly number[]): Expr {
  const terms = coefficients.map((c) => num(f, c));
  return terms.reduceRight((sum, c) => add(c, mul(x, sum)));
}

/** In pairs, c₀ + c₁·x and so on, and Horner's scheme in x² over them: half as long a way for one more product. */
export function pairedPolynomial(f: FloatFormat, x: Expr, coefficients: readonly number[]): Expr {
  const pairs = coefficients.flatMap((c, k): readonly Expr[] => {
    const next = coefficients[k + 1];
    if (k % 2 === 1) return [];
    return [next === undefined ? num(f, c) : add(num(f, c), mul(x, num(f, next)))];
  });
  const square = mul(x, x);
  return pairs.reduceRight((sum, pair) => add(pair, mul(square, sum)));
}

/** The nearest integer, ties to even, as a float and as an integer; |x| must be below 2^(mantissa − 1).
 *  Adding 1.5·2^mantissa leaves the integer in the low bits. In f32 the float is made from the integer, so that a
 *  compiler that re-associates (a shader's) cannot cancel the addition. */
export function nearest(f: FloatFormat, x: Expr): { value: Expr; integer: Expr } {
  const rounder = num(f, 1.5 * 2 ** f.mantissa);
  const shifted = add(x, rounder);
  const integer = sub(toBits(f, shifted), int(f, f.rounder));
  const value = f.dtype === 'f32' ? cast(integer, 'f32') : sub(shifted, rounder);
  return { value, integer };
}

/** 2^n for integers within the normal range. */
export const power2 = (f: FloatFormat, n: Expr): Expr =>
  fromBits(f, rawOp('shl', add(n, int(f, f.bias)), int(f, f.mantissa)));

/** For f32 and |x| < 128.5 or so: the nearest integer n as a float, and 2^n; 0 for n = −127, ∞ for n = 128. The exponent's
 *  bias is part of what is added, so a shift is all that is left to do. The float comes from the integer as in `nearest`. */
export function nearestPower2(f: FloatFormat, x: Expr): { value: Expr; power: Expr } {
  const bits = toBits(f, add(x, num(f, 1.5 * 2 ** f.mantissa + f.bias)));
  const integer = sub(bits, int(f, f.rounder + BigInt(f.bias)));
  return { value: cast(integer, f.dtype), power: fromBits(f, rawOp('shl', bits, int(f, f.mantissa))) };
}

/** p·2^n in two steps, so that results overflow and become subnormal with a single rounding. */
export function scale(f: FloatFormat, p: Expr, n: Expr): Expr {
  const half = rawOp('shr_s', n, int(f, 1));
  return mul(mul(p, power2(f, half)), power2(f, sub(n, half)));
}

/** x with the low half of its mantissa cleared; x − high(x) is exact. */
export const high = (f: FloatFormat, x: Expr): Expr => fromBits(f, and(toBits(f, x), int(f, f.highHalf)));

/** |magnitude| with the sign bit of `sign`; `magnitude` must not be negative. */
export function copySign(f: FloatFormat, magnitude: Expr, sign: Expr): Expr {
  const signBit = and(toBits(f, sign), int(f, ~f.magnitude));
  return fromBits(f, or(toBits(f, magnitude), signBit));
}

export const isNan = (f: FloatFormat, x: Expr): Expr => lt(int(f, f.infinity), and(toBits(f, x), int(f, f.magnitude)));

export const isInfinite = (f: FloatFormat, x: Expr): Expr =>
  eq(and(toBits(f, x), int(f, f.magnitude)), int(f, f.infinity));
