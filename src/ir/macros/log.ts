// Logarithms. x = 2^k·m with √½ ≤ m < √2; with f = m − 1 and s = f/(2 + f), log m = 2·atanh(s) is summed as
// f − (f²/2 − s·(f²/2 + R(s²))), which keeps f, the only large term, exact. Bases 2 and 10 multiply by a constant
// in two parts. Subnormal arguments are scaled up first.

import { cast, type Expr, rawOp } from '../scalar.js';
import {
  abs,
  add,
  div,
  eq,
  type FloatFormat,
  fromBits,
  high,
  int,
  lt,
  mul,
  num,
  polynomial,
  select,
  sub,
  toBits,
} from './format.js';

interface LogConstants {
  /** (2·atanh(s) − 2s)/s³ in s². */
  readonly atanh: readonly number[];
  readonly ln2: readonly [number, number];
  readonly log2e: readonly [number, number];
  readonly log10e: readonly [number, number];
  readonly log10of2: readonly [number, number];
  readonly smallestNormal: number;
  /** Exponent added to subnormals. */
  readonly lift: number;
  readonly tiny: number;
}

const CONSTANTS: Record<FloatFormat['dtype'], LogConstants> = {
  f32: {
    atanh: [0.66666776, 0.39977577, 0.29871795], // 2^-30.1
    ln2: [0.693145751953125, 1.428606765330187e-6],
    log2e: [1.4423828125, 0.00031222839606925845],
    log10e: [0.4342041015625, 9.038033749675378e-5],
    log10of2: [0.301025390625, 4.605039066518657e-6],
    smallestNormal: 2 ** -126,
    lift: 25,
    tiny: 2 ** -26,
  },
  f64: {
    atanh: [
      0.6666666666666666, 0.40000000000006264, 0.2857142856908125, 0.22222222647498924, 0.1818177560903412,
      0.15387093238979466, 0.13250061913954686, 0.13251842726241586,
    ], // 2^-61.5
    ln2: [0.6931471803691238, 1.9082149292705877e-10],
    log2e: [1.4426950216293335, 1.9259629911266175e-8],
    log10e: [0.4342944771051407, 4.798111141615973e-9],
    log10of2: [0.3010299955494702, 1.1451100898021838e-10],
    smallestNormal: 2 ** -1022,
    lift: 54,
    tiny: 2 ** -55,
  },
};

/** x = 2^k·m for positive normal x: k as an integer. */
function splitNormal(f: FloatFormat, x: Expr): { k: Expr; m: Expr } {
  const bits = toBits(f, x);
  const mantissa = int(f, f.mantissa);
  const k = rawOp('shr_s', sub(bits, int(f, f.sqrtHalf)), mantissa);
  return { k, m: fromBits(f, sub(bits, rawOp('shl', k, mantissa))) };
}

/** x = 2^k·m for positive x: k as a float. */
export function splitExponent(f: FloatFormat, x: Expr): { k: Expr; m: Expr } {
  const { smallestNormal, lift } = CONSTANTS[f.dtype];
  const subnormal = lt(x, num(f, smallestNormal));
  const { k, m } = splitNormal(f, select(subnormal, mul(x, num(f, 2 ** lift)), x));
  return { k: cast(sub(k, select(subnormal, int(f, lift), int(f, 0))), f.dtype), m };
}

/** log(1 + x) = x − (half − product). */
function logParts(f: FloatFormat, x: Expr): { half: Expr; product: Expr } {
  const s = div(x, add(num(f, 2), x));
  const z = mul(s, s);
  const r = mul(z, polynomial(f, z, CONSTANTS[f.dtype].atanh));
  const half = mul(mul(num(f, 0.5), x), x);
  return { half, product: mul(s, add(half, r)) };
}

/** k·ln2 + log(1 + x) + extra. */
function assemble(f: FloatFormat, k: Expr, x: Expr, extra: Expr | null): Expr {
  const { ln2 } = CONSTANTS[f.dtype];
  const { half, product } = logParts(f, x);
  const low = mul(k, num(f, ln2[1]));
  const tail = add(product, extra === null ? low : add(low, extra));
  return sub(mul(k, num(f, ln2[0])), sub(sub(half, tail), x));
}

/** `value` for 0 < x < ∞; ∞ at ∞, −∞ at 0, NaN below 0 and at NaN. `x` is the logarithm's argument. */
function withLimits(f: FloatFormat, x: Expr, value: Expr): Expr {
  const infinity = num(f, Number.POSITIVE_INFINITY);
  const positive = select(lt(x, infinity), value, infinity);
  const others = select(eq(x, num(f, 0)), num(f, Number.NEGATIVE_INFINITY), num(f, Number.NaN));
  return select(lt(num(f, 0), x), positive, others);
}

export function log(f: FloatFormat, x: Expr): Expr {
  const { k, m } = splitExponent(f, x);
  return withLimits(f, x, assemble(f, k, sub(m, num(f, 1)), null));
}

/** log(m) as high + low, high having a short mantissa. */
function logTwoParts(f: FloatFormat, m: Expr): { hi: Expr; lo: Expr } {
  const x = sub(m, num(f, 1));
  const { half, product } = logParts(f, x);
  const hi = high(f, sub(x, half));
  return { hi, lo: add(sub(sub(x, hi), half), product) };
}

function logOfBase(f: FloatFormat, x: Expr, factor: readonly [number, number], unit: readonly [number, number]): Expr {
  const { k, m } = splitExponent(f, x);
  const { hi, lo } = logTwoParts(f, m);
  const whole = mul(k, num(f, unit[0]));
  const leading = mul(hi, num(f, factor[0]));
  const low = add(mul(add(lo, hi), num(f, factor[1])), mul(lo, num(f, factor[0])));
  const tail = unit[1] === 0 ? low : add(low, mul(k, num(f, unit[1])));
  const sum = add(whole, leading);
  return withLimits(f, x, add(sum, add(tail, add(sub(whole, sum), leading))));
}

export const log2 = (f: FloatFormat, x: Expr): Expr => logOfBase(f, x, CONSTANTS[f.dtype].log2e, [1, 0]);

export const log10 = (f: FloatFormat, x: Expr): Expr =>
  logOfBase(f, x, CONSTANTS[f.dtype].log10e, CONSTANTS[f.dtype].log10of2);

/** log(1 + x): what rounding 1 + x loses is divided by it and added back. Near 0 the argument itself is used. */
export function log1p(f: FloatFormat, x: Expr): Expr {
  const one = num(f, 1);
  const u = add(one, x);
  const { k, m } = splitNormal(f, u);
  const near = eq(k, int(f, 0));
  const lost = select(lt(x, one), sub(x, sub(u, one)), sub(one, sub(u, x)));
  const correction = select(near, num(f, 0), div(lost, u));
  const value = assemble(f, cast(k, f.dtype), select(near, x, sub(m, one)), correction);
  return select(lt(abs(x), num(f, CONSTANTS[f.dtype].tiny)), x, withLimits(f, u, value));
}
