// x to the y where the two need not have the same type: the result has the type of x.
// Whole powers of integers are exact by squaring; others go through floating point.

import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import { DTYPE_INFO, isFloat, isUnsigned } from '../../support/dtype.js';

export function power(x: Expr, y: Expr): Expr {
  if (isFloat(x.dtype)) {
    const t = DTYPE_INFO[x.dtype].bits < 32 ? 'f32' : x.dtype;
    return cast(e.pow(cast(x, t), cast(y, t)), x.dtype);
  }
  if (!isFloat(y.dtype)) return wholePower(x, cast(y, 'i32'));
  const t = y.dtype === 'f64' ? 'f64' : 'f32';
  const exponent = cast(y, t);
  const whole = e.and(e.eq(exponent, e.floor(exponent)), e.lt(e.abs(exponent), 2 ** 30));
  return e.select(whole, wholePower(x, cast(exponent, 'i32')), nearWhole(e.pow(cast(x, t), exponent), x));
}

/** By squaring; wraps like repeated multiplication. Only −1, 0 and 1 have powers worth telling apart beyond 63. */
function wholePower(x: Expr, y: Expr): Expr {
  const one = e.const(1, x.dtype);
  const n = e.select(e.gt(y, 63), e.add(62, e.and(y, 1)), e.abs(y));
  let square = x;
  let result: Expr = one;
  for (let bit = 0; bit < 6; bit++) {
    const taken = e.ne(e.and(n, 1 << bit), 0);
    result = e.mul(result, e.select(taken, square, one));
    square = e.mul(square, square);
  }
  const odd = e.ne(e.and(y, 1), 0);
  const zero = e.const(0, x.dtype);
  const minusOne = isUnsigned(x.dtype) ? zero : e.select(e.eq(x, -1), e.select(odd, e.neg(one), one), zero);
  return e.select(e.lt(y, 0), e.select(e.eq(x, one), one, minusOne), result);
}

/** Truncates, but not past a whole number that the float power missed by its rounding. */
function nearWhole(p: Expr, like: Expr): Expr {
  const nearest = e.rint(p);
  const close = e.le(e.abs(e.sub(p, nearest)), e.mul(e.abs(p), p.dtype === 'f64' ? 1e-15 : 1e-6));
  return cast(e.select(close, nearest, p), like.dtype);
}
