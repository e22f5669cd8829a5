// Hyperbolic functions, their inverses and the logistic. Near 0 an odd polynomial, elsewhere exponentials of |x|;
// the inverses are log1p of an argument that keeps its small part.

import { type Expr, rawOp } from '../scalar.js';
import { exp, expInRange, halfExp } from './exp.js';
import { abs, add, copySign, div, type FloatFormat, lt, mul, neg, num, polynomial, select, sub } from './format.js';
import { log1p } from './log.js';

interface HyperbolicConstants {
  /** (tanh x − x)/x³ in x², |x| ≤ 0.6. */
  readonly tanh: readonly number[];
  /** (sinh x − x)/x³ in x², |x| ≤ 1. */
  readonly sinh: readonly number[];
  /** tanh x rounds to 1 beyond. */
  readonly tanhOne: number;
  /** log(2x) and asinh x, acosh x agree beyond. */
  readonly large: number;
}

const CONSTANTS: Record<FloatFormat['dtype'], HyperbolicConstants> = {
  f32: {
    tanh: [-0.33333308, 0.13332148, -0.05380106, 0.020849654, -0.00595373], // 2^-28.2
    sinh: [0.16666667, 0.008333311, 0.00019842612, 2.784217e-6], // 2^-31.5
    tanhOne: 10,
    large: 2 ** 28,
  },
  f64: {
    tanh: [
      -0.3333333333333333, 0.13333333333332684, -0.05396825396767967, 0.02186948851353981, -0.008863235035053242,
      0.0035921213337414275, -0.0014557747550287504, 0.0005896678617154367, -0.00023764214118373827,
      9.272289725372643e-5, -3.1421191584681316e-5, 6.613887901992997e-6,
    ], // 2^-58.8
    sinh: [
      0.16666666666666669, 0.00833333333333316, 0.00019841269841425695, 2.755731915856539e-6, 2.505212294821268e-8,
      1.6057271741921953e-10, 7.758446371125492e-13,
    ], // 2^-56.2
    tanhOne: 20,
    large: 2 ** 57,
  },
};

/** x + x³·p(x²). */
function odd(f: FloatFormat, x: Expr, coefficients: readonly number[]): Expr {
  const z = mul(x, x);
  return add(x, mul(mul(x, z), polynomial(f, z, coefficients)));
}

export function tanh(f: FloatFormat, x: Expr): Expr {
  const c = CONSTANTS[f.dtype];
  const magnitude = rawOp('min', abs(x), num(f, c.tanhOne));
  const two = num(f, 2);
  const one = num(f, 1);
  const far = sub(one, div(two, add(expInRange(f, mul(two, magnitude)), one)));
  return copySign(f, select(lt(magnitude, num(f, 0.6)), odd(f, magnitude, c.tanh), far), x);
}

export function sinh(f: FloatFormat, x: Expr): Expr {
  const magnitude = abs(x);
  const half = halfExp(f, magnitude);
  const far = sub(half, div(num(f, 0.25), half));
  const near = odd(f, rawOp('min', magnitude, num(f, 1)), CONSTANTS[f.dtype].sinh);
  return copySign(f, select(lt(magnitude, num(f, 1)), near, far), x);
}

export function cosh(f: FloatFormat, x: Expr): Expr {
  const half = halfExp(f, abs(x));
  return add(half, div(num(f, 0.25), half));
}

/** 1/(1 + e^−x), written with e^−|x| so that nothing overflows and small results keep their digits. */
export function sigmoid(f: FloatFormat, x: Expr): Expr {
  const e = exp(f, neg(abs(x)));
  const one = num(f, 1);
  return div(select(lt(x, num(f, 0)), e, one), add(one, e));
}

export function asinh(f: FloatFormat, x: Expr): Expr {
  const { large } = CONSTANTS[f.dtype];
  const magnitude = abs(x);
  const far = lt(num(f, large), magnitude);
  const one = num(f, 1);
  const bounded = rawOp('min', magnitude, num(f, large));
  const square = mul(bounded, bounded);
  const near = add(bounded, div(square, add(one, rawOp('sqrt', add(square, one)))));
  const value = log1p(f, select(far, magnitude, near));
  return copySign(f, add(value, select(far, num(f, Math.LN2), num(f, 0))), x);
}

export function acosh(f: FloatFormat, x: Expr): Expr {
  const { large } = CONSTANTS[f.dtype];
  const far = lt(num(f, large), x);
  const t = sub(rawOp('min', x, num(f, large)), num(f, 1));
  const near = add(t, rawOp('sqrt', add(mul(num(f, 2), t), mul(t, t))));
  const value = add(log1p(f, select(far, x, near)), select(far, num(f, Math.LN2), num(f, 0)));
  return select(lt(x, num(f, 1)), num(f, Number.NaN), value);
}

export function atanh(f: FloatFormat, x: Expr): Expr {
  const magnitude = abs(x);
  const ratio = div(mul(num(f, 2), magnitude), sub(num(f, 1), magnitude));
  const value = copySign(f, mul(num(f, 0.5), log1p(f, rawOp('max', ratio, num(f, 0)))), x);
  return select(lt(num(f, 1), magnitude), num(f, Number.NaN), value);
}
