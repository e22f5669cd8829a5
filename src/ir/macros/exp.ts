// Exponentials. Reduction: x = n·ln2 + r with |r| ≤ ln2/2, ln2 in two parts so that n·high is exact;
// e^r = 1 + r + r²·q(r). The stated errors are those of the polynomial alone, relative to the result.
// Measured bounds of whole functions: docs/numerics.md.

import type { Expr } from '../scalar.js';
import {
  abs,
  add,
  clamp,
  type FloatFormat,
  int,
  lt,
  mul,
  nearest,
  num,
  pairedPolynomial,
  polynomial,
  power2,
  scale,
  select,
  sub,
} from './format.js';

interface ExpConstants {
  readonly ln2: readonly [number, number];
  /** ln2 to twice the precision: its nearest value and the rest. */
  readonly ln2Full: readonly [number, number];
  /** (e^r − 1 − r)/r² on |r| ≤ 0.35. */
  readonly exp: readonly number[];
  /** (2^r − 1 − r·ln2)/r² on |r| ≤ 0.505. */
  readonly exp2: readonly number[];
  /** e^x and 2^x are 0 or infinite outside. */
  readonly expRange: readonly [number, number];
  readonly exp2Range: readonly [number, number];
  /** e^x − 1 rounds to −1 below, and to x within ±tiny. */
  readonly expm1Low: number;
  readonly tiny: number;
}

const CONSTANTS: Record<FloatFormat['dtype'], ExpConstants> = {
  f32: {
    ln2: [0.693145751953125, 1.428606765330187e-6],
    ln2Full: [0.6931471824645996, -1.904654299957768e-9],
    exp: [0.49999994, 0.1666651, 0.041668322, 0.0083698025, 0.0013811524], // 2^-27.9
    exp2: [0.24022648, 0.055503592, 0.009618465, 0.001339197, 0.00015349721], // 2^-28.1
    expRange: [-104, 89],
    exp2Range: [-151, 129],
    expm1Low: -18,
    tiny: 2 ** -26,
  },
  f64: {
    ln2: [0.6931471803691238, 1.9082149292705877e-10],
    ln2Full: [Math.LN2, 2.3190468138462996e-17],
    exp: [
      0.5, 0.16666666666666685, 0.04166666666666609, 0.008333333333316494, 0.001388888888912162, 0.00019841269898108647,
      2.4801586916637376e-5, 2.7557232859896714e-6, 2.7557587070740834e-7, 2.5112808089591614e-8, 2.082621697097243e-9,
    ], // 2^-59.2
    exp2: [
      0.24022650695910072, 0.05550410866482164, 0.009618129107628338, 0.001333355814640085, 0.00015403530393646864,
      1.5252733848398462e-5, 1.3215486581504416e-6, 1.0178053846257109e-7, 7.054980899074889e-9, 4.456348391018639e-10,
      2.5615894999642386e-11,
    ], // 2^-58.3
    expRange: [-746, 710],
    exp2Range: [-1076, 1025],
    expm1Low: -40,
    tiny: 2 ** -55,
  },
};

/** x = n·ln2 + r + rest, for |x| up to about a thousand. */
function reduce(f: FloatFormat, x: Expr): { n: Expr; r: Expr; rest: Expr } {
  const { ln2 } = CONSTANTS[f.dtype];
  const { value, integer } = nearest(f, mul(x, num(f, Math.LOG2E)));
  const high = sub(x, mul(value, num(f, ln2[0])));
  const low = mul(value, num(f, ln2[1]));
  const r = sub(high, low);
  return { n: integer, r, rest: sub(sub(high, r), low) };
}

/** e^x = p·2^n, p about 1; x must be in range. */
function expParts(f: FloatFormat, x: Expr): { p: Expr; n: Expr } {
  const { n, r } = reduce(f, x);
  const tail = mul(mul(r, r), polynomial(f, r, CONSTANTS[f.dtype].exp));
  return { p: add(num(f, 1), add(r, tail)), n };
}

export function exp(f: FloatFormat, x: Expr): Expr {
  const [lo, hi] = CONSTANTS[f.dtype].expRange;
  const { p, n } = expParts(f, clamp(x, num(f, lo), num(f, hi)));
  return scale(f, p, n);
}

/** e^x where the result and 2^n are known to be normal, or nearly; the shortest way there. */
export function expInRange(f: FloatFormat, x: Expr): Expr {
  const { n, r } = reduce(f, x);
  const square = mul(r, r);
  const tail = mul(square, pairedPolynomial(f, r, CONSTANTS[f.dtype].exp));
  return mul(add(num(f, 1), add(r, tail)), power2(f, n));
}

/** e^x / 2 without premature overflow, for x ≥ 0. */
export function halfExp(f: FloatFormat, x: Expr): Expr {
  const [, hi] = CONSTANTS[f.dtype].expRange;
  const { p, n } = expParts(f, clamp(x, num(f, 0), num(f, hi + 1)));
  return scale(f, mul(p, num(f, 0.5)), n);
}

/** 2^(r + rest) for |r| ≤ ½ and a small `rest`. */
export function exp2Fraction(f: FloatFormat, r: Expr, rest: Expr | null): Expr {
  const { ln2Full, exp2 } = CONSTANTS[f.dtype];
  const low = mul(r, add(num(f, ln2Full[1]), mul(r, polynomial(f, r, exp2))));
  const tail = rest === null ? low : add(mul(rest, num(f, ln2Full[0])), low);
  return add(num(f, 1), add(mul(r, num(f, ln2Full[0])), tail));
}

export function exp2(f: FloatFormat, x: Expr): Expr {
  const [lo, hi] = CONSTANTS[f.dtype].exp2Range;
  const bounded = clamp(x, num(f, lo), num(f, hi));
  const { value, integer } = nearest(f, bounded);
  return scale(f, exp2Fraction(f, sub(bounded, value), null), integer);
}

/** 2^n·(e^r − 1) + (2^n − 1), halved inside so that n = 128 (1024) does not overflow early. */
export function expm1(f: FloatFormat, x: Expr): Expr {
  const c = CONSTANTS[f.dtype];
  const { n, r, rest } = reduce(f, clamp(x, num(f, c.expm1Low), num(f, c.expRange[1])));
  const half = power2(f, sub(n, int(f, 1)));
  const low = add(rest, mul(mul(r, r), polynomial(f, r, c.exp)));
  const sum = add(add(sub(half, num(f, 0.5)), mul(half, r)), mul(half, low));
  return select(lt(abs(x), num(f, c.tiny)), x, mul(num(f, 2), sum));
}
