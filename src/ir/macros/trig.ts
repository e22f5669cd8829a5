// Sine, cosine, tangent. x = n·π/2 + r: the leading parts of π/2 are so short that n times them is exact (n below 2^16
// in f32, 2^20 in f64), the last exact product is subtracted with its rounding error kept, and the rest makes r two parts.
// Accurate for |x| ≤ 1e5 (f32) and 1.6e6 (f64); beyond, results stay within [−1, 1] but lose accuracy. NaN at ±∞.

import { type Expr, rawOp } from '../scalar.js';
import {
  abs,
  add,
  and,
  clamp,
  div,
  eq,
  type FloatFormat,
  fromBits,
  int,
  lt,
  mul,
  nearest,
  neg,
  num,
  polynomial,
  select,
  sub,
  toBits,
} from './format.js';

interface TrigConstants {
  /** π/2 in parts; all but the last have short mantissas. */
  readonly halfPi: readonly number[];
  /** (sin r − r)/r³ and (cos r − 1 + r²/2)/r⁴ in r², |r| ≤ π/4. */
  readonly sin: readonly number[];
  readonly cos: readonly number[];
  /** Where the reduction stops being meaningful. */
  readonly limit: number;
}

const CONSTANTS: Record<FloatFormat['dtype'], TrigConstants> = {
  f32: {
    halfPi: [1.5703125, 0.0004825592041015625, 1.2665987014770508e-6, 9.920936e-10],
    sin: [-0.16666655, 0.008332186, -0.00019517582], // 2^-27.9
    cos: [0.041666653, -0.0013887619, 2.4463327e-5], // 2^-32.6
    limit: 2 ** 21,
  },
  f64: {
    halfPi: [1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21],
    sin: [
      -0.16666666666666666, 0.008333333333333325, -0.00019841269841256636, 2.7557319214865165e-6, -2.505210506159409e-8,
      1.6058383278697327e-10, -7.579428153098645e-13,
    ], // 2^-57.3
    cos: [
      0.04166666666666666, -0.0013888888888883284, 2.4801587294794382e-5, -2.755731578472973e-7, 2.0875905931219047e-9,
      -1.1368560998193754e-11,
    ], // 2^-61.2
    limit: 2 ** 50,
  },
};

interface Reduced {
  readonly quadrant: Expr;
  readonly r: Expr;
  readonly rest: Expr;
}

/** x = quadrant·π/2 + r + rest. Outside the limit x is replaced by NaN (infinite) or by a bound. */
function reduce(f: FloatFormat, x: Expr): Reduced {
  const { halfPi, limit } = CONSTANTS[f.dtype];
  const infinite = eq(abs(x), num(f, Number.POSITIVE_INFINITY));
  const bounded = select(infinite, num(f, Number.NaN), clamp(x, num(f, -limit), num(f, limit)));
  const { value: n, integer } = nearest(f, mul(bounded, num(f, 2 / Math.PI)));
  const parts = halfPi.map((part) => num(f, part));
  const [product, tail] = parts.slice(-2).map((part) => mul(n, part)) as [Expr, Expr];
  const reduced = parts.slice(0, -2).reduce((sum, part) => sub(sum, mul(n, part)), bounded);
  const difference = sub(reduced, product);
  const back = sub(difference, reduced);
  const error = sub(sub(reduced, sub(difference, back)), add(product, back));
  const low = sub(error, tail);
  const r = add(difference, low);
  return { quadrant: integer, r, rest: add(sub(difference, r), low) };
}

/** Sine and cosine of r + rest, |r| ≤ π/4. */
function sinCos(f: FloatFormat, { r, rest }: Reduced): { sin: Expr; cos: Expr } {
  const c = CONSTANTS[f.dtype];
  const z = mul(r, r);
  const sinTail = add(mul(mul(r, z), polynomial(f, z, c.sin)), rest);
  const half = mul(num(f, 0.5), z);
  const one = num(f, 1);
  const leading = sub(one, half);
  const lost = sub(sub(one, leading), half);
  const cosTail = sub(mul(mul(z, z), polynomial(f, z, c.cos)), mul(r, rest));
  return { sin: add(r, sinTail), cos: add(leading, add(lost, cosTail)) };
}

/** Flips the sign of a float where bit `bit` of `n` is set. */
function flipSign(f: FloatFormat, x: Expr, n: Expr, bit: number): Expr {
  const sign = rawOp('shl', and(n, int(f, 1 << bit)), int(f, f.mantissa + (f.dtype === 'f32' ? 8 : 11) - bit));
  return fromBits(f, rawOp('xor', toBits(f, x), sign));
}

const isOdd = (f: FloatFormat, n: Expr): Expr => eq(and(n, int(f, 1)), int(f, 1));

export function sin(f: FloatFormat, x: Expr): Expr {
  const reduced = reduce(f, x);
  const { sin: s, cos: c } = sinCos(f, reduced);
  const value = flipSign(f, select(isOdd(f, reduced.quadrant), c, s), reduced.quadrant, 1);
  return select(lt(abs(x), num(f, f.dtype === 'f32' ? 2 ** -13 : 2 ** -27)), x, value);
}

export function cos(f: FloatFormat, x: Expr): Expr {
  const reduced = reduce(f, x);
  const { sin: s, cos: c } = sinCos(f, reduced);
  const value = select(isOdd(f, reduced.quadrant), s, c);
  return flipSign(f, value, add(reduced.quadrant, int(f, 1)), 1);
}

export function tan(f: FloatFormat, x: Expr): Expr {
  const reduced = reduce(f, x);
  const { sin: s, cos: c } = sinCos(f, reduced);
  const odd = isOdd(f, reduced.quadrant);
  const value = div(select(odd, neg(c), s), select(odd, s, c));
  return select(lt(abs(x), num(f, f.dtype === 'f32' ? 2 ** -13 : 2 ** -27)), x, value);
}
