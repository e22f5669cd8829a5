// Arc functions. asin and acos fold |x| > ½ onto ½ by asin x = π/2 − 2·asin √((1 − x)/2); atan folds by the tangent
// difference at π/4 and π/2, so that one division and one short polynomial serve every argument.

import { type Expr, rawOp } from '../scalar.js';
import {
  abs,
  add,
  copySign,
  div,
  eq,
  type FloatFormat,
  high,
  lt,
  mul,
  neg,
  num,
  or,
  polynomial,
  isNan,
  select,
  sub,
  toBits,
  int,
} from './format.js';

interface ArcConstants {
  /** (asin x − x)/x³ in x², |x| ≤ ½. */
  readonly asin: readonly number[];
  /** (atan t − t)/t³ in t², |t| ≤ ½. */
  readonly atan: readonly number[];
  /** π/4 in two parts; multiples by powers of two are exact. */
  readonly quarterPi: readonly [number, number];
}

const CONSTANTS: Record<FloatFormat['dtype'], ArcConstants> = {
  f32: {
    asin: [0.16666725, 0.07496172, 0.04537692, 0.024594193, 0.041511208], // 2^-27.1
    atan: [-0.3333327, 0.19995382, -0.14187741, 0.10217848, -0.052256387], // 2^-26.9
    quarterPi: [0.7853981852531433, -2.1855695e-8],
  },
  f64: {
    asin: [
      0.1666666666666668, 0.07499999999990385, 0.04464285715763504, 0.03038194345720031, 0.022372195370953897,
      0.017351941928767798, 0.013977094059368636, 0.01142779509813665, 0.010626192824278303, 0.0042624189189599225,
      0.020410315135899144, -0.019233543971590147, 0.0315638014715427,
    ], // 2^-58.3
    atan: [
      -0.3333333333333333, 0.19999999999997772, -0.14285714285358464, 0.111111110863792, -0.09090908142233568,
      0.07692285117666534, -0.06666310712285616, 0.05878488560048388, -0.05233676032406479, 0.046027654847218116,
      -0.03743154265375903, 0.024083475854128938, -0.008625616408804082,
    ], // 2^-57.9
    quarterPi: [0.7853981633974483, 3.061616997868383e-17],
  },
};

interface Folded {
  /** |x| > ½. */
  readonly big: Expr;
  /** |x|, or √((1 − |x|)/2) where big, and what to add to it for its arc sine. */
  readonly root: Expr;
  readonly tail: Expr;
  readonly square: Expr;
}

function fold(f: FloatFormat, magnitude: Expr): Folded {
  const half = num(f, 0.5);
  const big = lt(half, magnitude);
  const square = select(big, mul(half, sub(num(f, 1), magnitude)), mul(magnitude, magnitude));
  const root = select(big, rawOp('sqrt', square), magnitude);
  const tail = mul(mul(root, square), polynomial(f, square, CONSTANTS[f.dtype].asin));
  return { big, root, tail, square };
}

/** Where big, the root is taken as a short part, exact in π/2 − 2·short, and the rest of the true square root. */
export function asin(f: FloatFormat, x: Expr): Expr {
  const [hi, lo] = CONSTANTS[f.dtype].quarterPi;
  const { big, root, tail, square } = fold(f, abs(x));
  const short = high(f, root);
  const rest = div(sub(square, mul(short, short)), rawOp('max', add(root, short), num(f, 2 ** -100)));
  const two = num(f, 2);
  const low = sub(mul(two, add(rest, tail)), num(f, 2 * lo));
  const complement = sub(sub(num(f, 2 * hi), mul(two, short)), low);
  return copySign(f, select(big, complement, add(root, tail)), x);
}

export function acos(f: FloatFormat, x: Expr): Expr {
  const [hi, lo] = CONSTANTS[f.dtype].quarterPi;
  const { big, root, tail } = fold(f, abs(x));
  const value = add(root, tail);
  const negative = lt(x, num(f, 0));
  const twice = mul(num(f, 2), value);
  const outer = select(negative, sub(num(f, 4 * hi), sub(twice, num(f, 4 * lo))), twice);
  const signed = select(negative, neg(value), value);
  const inner = sub(num(f, 2 * hi), sub(signed, num(f, 2 * lo)));
  return select(big, outer, inner);
}

/** atan(numerator/denominator) for non-negative arguments, as a multiple of π/4 plus a small angle. */
function atanRatio(f: FloatFormat, numerator: Expr, denominator: Expr, max: number): Expr {
  const [hi, lo] = CONSTANTS[f.dtype].quarterPi;
  const one = lt(mul(denominator, num(f, 0.5)), numerator);
  let top = select(one, sub(numerator, denominator), numerator);
  let bottom = select(one, add(numerator, denominator), denominator);
  let baseHigh = select(one, num(f, hi), num(f, 0));
  let baseLow = select(one, num(f, lo), num(f, 0));
  if (max > 1) {
    const two = lt(mul(denominator, num(f, 2)), numerator);
    top = select(two, neg(denominator), top);
    bottom = select(two, numerator, bottom);
    baseHigh = select(two, num(f, 2 * hi), baseHigh);
    baseLow = select(two, num(f, 2 * lo), baseLow);
  }
  const t = div(top, bottom);
  const z = mul(t, t);
  const tail = add(mul(mul(t, z), polynomial(f, z, CONSTANTS[f.dtype].atan)), baseLow);
  return add(baseHigh, add(t, tail));
}

export const atan = (f: FloatFormat, x: Expr): Expr =>
  copySign(f, atanRatio(f, abs(x), num(f, 1), Number.POSITIVE_INFINITY), x);

/** The angle of (x, y): atan of the smaller over the larger magnitude, then reflected into its octant. */
export function atan2(f: FloatFormat, y: Expr, x: Expr): Expr {
  const [hi, lo] = CONSTANTS[f.dtype].quarterPi;
  const ax = abs(x);
  const ay = abs(y);
  const steep = lt(ax, ay);
  const small = select(steep, ax, ay);
  const large = select(steep, ay, ax);
  const one = num(f, 1);
  const infinite = eq(small, num(f, Number.POSITIVE_INFINITY));
  const unit = select(lt(num(f, f.dtype === 'f32' ? 2 ** 120 : 2 ** 1000), large), num(f, 2 ** -8), one);
  const numerator = select(infinite, one, mul(small, unit));
  const denominator = select(infinite, one, select(eq(large, num(f, 0)), one, mul(large, unit)));
  const acute = atanRatio(f, numerator, denominator, 1);
  const left = lt(toBits(f, x), int(f, 0));
  const zero = num(f, 0);
  const baseHigh = select(steep, num(f, 2 * hi), select(left, num(f, 4 * hi), zero));
  const baseLow = select(steep, num(f, 2 * lo), select(left, num(f, 4 * lo), zero));
  const signed = select(rawOp('xor', steep, left), neg(acute), acute);
  const size = add(baseHigh, add(signed, baseLow));
  return select(or(isNan(f, x), isNan(f, y)), num(f, Number.NaN), copySign(f, size, y));
}
