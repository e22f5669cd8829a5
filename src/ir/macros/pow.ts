// x^y = 2^(y·log2|x|). The logarithm is carried in two parts (a short exact one and a rest, together about half as many
// bits again as the format has), so is the product; then all of C's special cases. Integer powers by squaring.

import { constant, type Expr, rawOp } from '../scalar.js';
import { exp2Fraction } from './exp.js';
import {
  abs,
  add,
  and,
  clamp,
  copySign,
  div,
  eq,
  type FloatFormat,
  high,
  isNan,
  lt,
  mul,
  nearest,
  not,
  num,
  or,
  polynomial,
  scale,
  select,
  sub,
} from './format.js';
import { splitExponent } from './log.js';

interface PowConstants {
  /** (3·atanh(s)/s − 3 − s²)/s⁴ in s². */
  readonly atanh: readonly number[];
  /** 2/(3·ln2), in one and in two parts. */
  readonly unit: readonly [number, number];
  /** Larger exponents overflow or underflow for every base but ±1. */
  readonly largestExponent: number;
  readonly resultRange: readonly [number, number];
}

const CONSTANTS: Record<FloatFormat['dtype'], PowConstants> = {
  f32: {
    atanh: [0.59999996, 0.42857993, 0.33266592, 0.29398224], // 2^-42.9
    unit: [0.961669921875, 0.00012677205086220056],
    largestExponent: 2 ** 33,
    resultRange: [-160, 140],
  },
  f64: {
    atanh: [
      0.6, 0.4285714285715069, 0.3333333332999136, 0.27272727897767807, 0.23076860594953924, 0.20003584733772045,
      0.17528918359790915, 0.178545465133257,
    ], // 2^-67.4
    unit: [0.9617966860532761, 7.872699542894897e-9],
    largestExponent: 2 ** 64,
    resultRange: [-1100, 1040],
  },
};

interface TwoParts {
  readonly hi: Expr;
  readonly lo: Expr;
}

/** 1.5·log m for √½ ≤ m < √2. */
function logInParts(f: FloatFormat, m: Expr): TwoParts {
  const one = num(f, 1);
  const numerator = sub(m, one);
  const denominator = add(m, one);
  const denominatorHigh = high(f, denominator);
  const lost = sub(m, sub(denominator, one));
  const denominatorLow = add(sub(denominator, denominatorHigh), lost);
  const s = div(numerator, denominator);
  const sHigh = high(f, s);
  const remainder = sub(sub(numerator, mul(sHigh, denominatorHigh)), mul(sHigh, denominatorLow));
  const sLow = div(remainder, denominator);
  const z = mul(s, s);
  const zHigh = mul(sHigh, sHigh);
  const r = add(mul(mul(z, z), polynomial(f, z, CONSTANTS[f.dtype].atanh)), mul(sLow, add(sHigh, s)));
  const three = num(f, 3);
  const factorHigh = high(f, add(add(three, zHigh), r));
  const factorLow = sub(r, sub(sub(factorHigh, three), zHigh));
  return { hi: mul(sHigh, factorHigh), lo: add(mul(sLow, factorHigh), mul(factorLow, s)) };
}

/** log2 of a positive number; `hi` has a short mantissa. */
function log2InParts(f: FloatFormat, x: Expr): TwoParts {
  const { unit } = CONSTANTS[f.dtype];
  const { k, m } = splitExponent(f, x);
  const { hi: u, lo: v } = logInParts(f, m);
  const pHigh = high(f, add(u, v));
  const pLow = sub(v, sub(pHigh, u));
  const zHigh = mul(pHigh, num(f, unit[0]));
  const zLow = add(mul(pHigh, num(f, unit[1])), mul(pLow, num(f, unit[0] + unit[1])));
  const hi = high(f, add(add(zHigh, zLow), k));
  return { hi, lo: sub(zLow, sub(sub(hi, k), zHigh)) };
}

/** |x|^y for finite x ≠ 0. */
function powMagnitude(f: FloatFormat, magnitude: Expr, y: Expr): Expr {
  const { largestExponent, resultRange } = CONSTANTS[f.dtype];
  const exponent = clamp(y, num(f, -largestExponent), num(f, largestExponent));
  const { hi, lo } = log2InParts(f, magnitude);
  const yHigh = high(f, exponent);
  const low = add(mul(sub(exponent, yHigh), hi), mul(exponent, lo));
  const leading = mul(yHigh, hi);
  const bounded = clamp(add(leading, low), num(f, resultRange[0]), num(f, resultRange[1]));
  const { value, integer } = nearest(f, bounded);
  const fraction = sub(leading, value);
  const sum = clamp(add(fraction, low), num(f, -1), num(f, 1));
  const rest = clamp(add(sub(fraction, sum), low), num(f, -(2 ** -8)), num(f, 2 ** -8));
  return scale(f, exp2Fraction(f, sum, rest), integer);
}

export function pow(f: FloatFormat, x: Expr, y: Expr): Expr {
  const short = y.k === 'const' ? shortPow(f, x, Number(y.value)) : null;
  if (short) return short;
  const zero = num(f, 0);
  const infinity = num(f, Number.POSITIVE_INFINITY);
  const magnitude = abs(x);
  const isZero = eq(x, zero);
  const isLimit = or(isZero, eq(magnitude, infinity));
  const limit = select(rawOp('xor', isZero, lt(y, zero)), zero, infinity);
  const size = select(isLimit, limit, powMagnitude(f, magnitude, y));
  const integral = eq(rawOp('trunc', y), y);
  const half = mul(y, num(f, 0.5));
  const odd = and(integral, not(eq(rawOp('trunc', half), half)));
  const signed = select(odd, copySign(f, size, x), size);
  const invalid = or(or(isNan(f, x), isNan(f, y)), and(lt(x, zero), not(or(integral, isLimit))));
  const value = select(invalid, num(f, Number.NaN), signed);
  return select(or(eq(y, zero), eq(x, num(f, 1))), num(f, 1), value);
}

/** Exponents that are better off without a logarithm, or null. */
function shortPow(f: FloatFormat, x: Expr, y: number): Expr | null {
  if (y === 0) return num(f, 1);
  if (y === 1) return x;
  if (y === 2) return mul(x, x);
  if (y === 3) return mul(mul(x, x), x);
  if (y === -1) return div(num(f, 1), x);
  if (y === 0.5) {
    const lowest = num(f, Number.NEGATIVE_INFINITY);
    return select(eq(x, lowest), num(f, Number.POSITIVE_INFINITY), rawOp('sqrt', add(x, num(f, 0))));
  }
  return null;
}

/** x^y modulo 2^width; a negative y gives 1/x truncated: 0, or ±1 for x = ±1. Bits of y above the 32nd are ignored. */
export function powInteger(x: Expr, y: Expr): Expr {
  const { dtype } = x;
  const int = (n: number): Expr => constant(n, dtype);
  const known = y.k === 'const' ? BigInt(y.value) : null;
  const bits = known === null ? 32 : known <= 0n ? 0 : Math.min(32, known.toString(2).length);
  let result = int(1);
  let square = x;
  for (let i = 0; i < bits; i++) {
    if (i > 0) square = mul(square, square);
    const set = not(eq(and(y, int(dtype === 'i32' ? (1 << i) | 0 : 2 ** i)), int(0)));
    if (known === null) result = mul(result, select(set, square, int(1)));
    else if ((known >> BigInt(i)) & 1n) result = result.k === 'const' ? square : mul(result, square);
  }
  if (dtype === 'u32' || dtype === 'u64' || (known !== null && known >= 0n)) return result;
  const parity = select(eq(and(y, int(1)), int(0)), int(1), x);
  const unit = or(eq(x, int(1)), eq(x, int(-1)));
  return select(lt(y, int(0)), select(unit, parity, int(0)), result);
}
