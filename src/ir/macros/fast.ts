// Cheaper forms of four functions for fast numerics, in f32 alone; rules in passes/rules/scalar.ts bring them in. About
// half the operations of the careful ones, in Horner's scheme, and no branches of value: errors of a few
// ulp (docs/numerics.md), and what is smaller than a normal number is 0. Wider types keep the careful definitions.

import { type Expr, rawOp } from '../scalar.js';
import { erf } from './erf.js';
import { exp } from './exp.js';
import {
  add,
  clamp,
  div,
  type FloatFormat,
  mul,
  nearestPower2,
  neg,
  num,
  pairedPolynomial,
  polynomial,
  sub,
} from './format.js';
import { sigmoid, tanh } from './hyperbolic.js';

/** ln2 in two parts, so that n·high is exact. */
const LN2 = [0.693145751953125, 1.428606765330187e-6] as const;

/** (e^r − 1 − r)/r² on |r| ≤ 0.348; e^r is then good to 2^-23.1. */
const EXP = [0.499992169, 0.166671237, 0.0418922994, 0.00831229149];

/** (√2^r − 1)/r on |r| ≤ 0.5001; its square is then good to 3.4e-7, rounding included. */
const ROOT2 = [0.346572757, 0.0600568987, 0.00695108809, 0.000600356958];

/** e^x; 2^−127 and 2^128 come out of the exponent's arithmetic as 0 and ∞. A difference, as in a softmax, is itself rounded:
 *  of that the power of two is taken, which costs half an ulp of the difference and saves its reduction by ln2; and as the
 *  square of its root, which takes a term less. */
export function fastExp(f: FloatFormat, x: Expr): Expr {
  if (f.dtype !== 'f32') return exp(f, x);
  const bounded = clamp(x, num(f, -88), num(f, 89));
  const binary = mul(bounded, num(f, Math.LOG2E));
  const { value, power } = nearestPower2(f, binary);
  if (x.k === 'op' && x.op === 'sub') return mul(powerOf2(f, sub(binary, value)), power);
  return mul(add(num(f, 1), powerOfE(f, bounded, value)), power);
}

/** e^(x − n·ln2) − 1 */
function powerOfE(f: FloatFormat, x: Expr, n: Expr): Expr {
  const r = sub(sub(x, mul(n, num(f, LN2[0]))), mul(n, num(f, LN2[1])));
  return add(r, mul(mul(r, r), pairedPolynomial(f, r, EXP)));
}

/** 2^r */
function powerOf2(f: FloatFormat, r: Expr): Expr {
  const root = polynomial(f, r, [1, ...ROOT2]);
  return mul(root, root);
}

/** 1/(1 + e^−x). */
export function fastSigmoid(f: FloatFormat, x: Expr): Expr {
  return f.dtype === 'f32' ? div(num(f, 1), add(num(f, 1), fastExp(f, neg(x)))) : sigmoid(f, x);
}

/** x·p(x²)/q(x²) for |x| up to `end`, where the function is ±1; coefficients from the constant term up. */
interface Rational {
  readonly end: number;
  readonly p: readonly number[];
  readonly q: readonly number[];
}

/** 2^-22.3 but for rounding, moved up so that it reaches 1 at the end. */
const ERF: Rational = {
  end: 3.72,
  p: [1.12837927, 0.269604332, 0.0608975189, 0.00659044364, 0.000244446639],
  q: [1, 0.572260303, 0.144742468, 0.0206295278, 0.00166003597, 1.49598968e-5],
};

/** 2^-25.5 but for rounding. */
const TANH: Rational = {
  end: 9.01,
  p: [1, 0.13383353, 0.0034982478, 2.064881e-5, 1.3402276e-8],
  q: [1, 0.46716672, 0.025887368, 0.00032898088, 7.7976107e-7],
};

function oddRational(f: FloatFormat, x: Expr, { end, p, q }: Rational): Expr {
  const bounded = clamp(x, num(f, -end), num(f, end));
  const square = mul(bounded, bounded);
  const value = div(mul(bounded, polynomial(f, square, p)), polynomial(f, square, q));
  return rawOp('max', rawOp('min', value, num(f, 1)), num(f, -1)); // the last bit may lie beyond
}

export const fastErf = (f: FloatFormat, x: Expr): Expr => (f.dtype === 'f32' ? oddRational(f, x, ERF) : erf(f, x));

export const fastTanh = (f: FloatFormat, x: Expr): Expr => (f.dtype === 'f32' ? oddRational(f, x, TANH) : tanh(f, x));
