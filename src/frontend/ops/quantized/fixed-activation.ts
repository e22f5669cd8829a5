// Sigmoid and tanh of 16-bit fixed point without a table, as gemmlowp defines them: exp of a negative number by a polynomial
// and one factor for each bit, then a quotient by three Newton steps. Values are 16-bit numbers held in i32; `bits` counts the
// integer bits of the argument, results are Q0.15. LiteRT's LSTM kernels use these; those for microcontrollers: sigmoid16.ts.

import { e } from '../../../ir/expr.js';
import { type Expr, i32 } from '../../../ir/scalar.js';
import { EXP_OF_POWERS, shiftRight as shiftRightNumber } from './fixed-point.js';
import { shiftRight } from './fixed-point-expr.js';

const MOST = 32767;
const ONE_Q2 = 2 ** 13;

/** Constants are given to 32 bits, and 16 are kept. */
const short = (q: number): number => shiftRightNumber(q, 16);

/** Q0.15 times Q0.15: the high half of the doubled product, half up. */
export const highProduct = (a: Expr, b: Expr | number): Expr => e.shrS(e.add(e.mul(a, b), 2 ** 14), 15);

/** exp on [-1/4, 0) in Q0.15, a Taylor polynomial around -1/8. */
function expInInterval(a: Expr): Expr {
  const x = e.add(a, 2 ** 12);
  const x2 = highProduct(x, x);
  const x3 = highProduct(x2, x);
  const x4 = highProduct(x2, x2);
  const cubic = highProduct(e.add(shiftRight(x4, 2), x3), short(715827883));
  const atEighth = short(1895147668);
  const rise = highProduct(e.add(x, shiftRight(e.add(cubic, x2), 1)), atEighth);
  return e.min(e.add(rise, atEighth), MOST);
}

/** exp of a ≤ 0 with `bits` integer bits. */
function expOfNegative(a: Expr, bits: number): Expr {
  const quarter = 2 ** (13 - bits);
  const inInterval = e.sub(e.and(a, quarter - 1), quarter);
  const remainder = e.sub(inInterval, a);
  const powers = EXP_OF_POWERS.slice(0, bits + 2);
  const result = powers.reduce(
    (r, factor, k) => e.select(e.eq(e.and(remainder, quarter * 2 ** k), 0), r, highProduct(r, short(factor))),
    expInInterval(e.shl(inInterval, bits)),
  );
  // Beyond -32 the factors' bits run out.
  const inReach = bits > 5 ? e.select(e.lt(a, -(2 ** (20 - bits))), 0, result) : result;
  return e.select(e.eq(a, 0), MOST, inReach);
}

/** 2/(1+a) in Q2.13 for a in [0, 1]. */
function twiceReciprocal(a: Expr): Expr {
  const half = e.shrS(e.add(a, MOST + 1), 1);
  let x = e.add(highProduct(half, short(-1010580540)), short(1515870810));
  for (let step = 0; step < 3; step++) {
    const error = e.sub(ONE_Q2, highProduct(half, x));
    x = e.add(x, e.shl(highProduct(x, error), 2));
  }
  return x;
}

const minusSize = (x: Expr): Expr => e.min(x, e.neg(x));

/** 1/(1+exp(−x)). */
export function logisticFixed(x: Expr, bits: number): Expr {
  const upper = e.min(e.shl(twiceReciprocal(expOfNegative(minusSize(x), bits)), 1), MOST);
  return e.select(e.eq(x, 0), i32(2 ** 14), e.select(e.gt(x, 0), upper, e.sub(MOST, upper)));
}

/** tanh x = (1−a)/(1+a) with a = exp(−2x); doubling is one integer bit more. */
export function tanhFixed(x: Expr, bits: number): Expr {
  const quotient = e.sub(twiceReciprocal(expOfNegative(minusSize(x), bits + 1)), ONE_Q2);
  const size = e.min(e.shl(quotient, 2), MOST);
  return e.select(e.eq(x, 0), i32(0), e.select(e.lt(x, 0), e.neg(size), size));
}
