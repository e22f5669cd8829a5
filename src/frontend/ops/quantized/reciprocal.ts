// Reciprocals, inverse square roots and logarithms of 32-bit fixed point as expressions: the Newton iterations of
// fixed-point.ts on data, used once a row by softmax and normalisation.

import { e } from '../../../ir/expr.js';
import { cast, type Expr, i32 } from '../../../ir/scalar.js';
import type { Rounding } from './fixed-point.js';
import { mulHigh, shiftLeftSaturated, shiftRight } from './fixed-point-expr.js';

const INT32_MAX = 2 ** 31 - 1;
const clz = (x: Expr): Expr => e.op('clz', x);

/** 1/(1+x) for x in [0, 1), both Q0.31. */
export function reciprocalOfOnePlus(a: Expr): Expr {
  const half = e.add(e.shrS(a, 1), 2 ** 30);
  let x = e.add(mulHigh(half, i32(-1010580540)), 1515870810);
  for (let step = 0; step < 3; step++) {
    const error = e.sub(2 ** 29, mulHigh(half, x));
    x = e.add(x, e.shl(mulHigh(x, error), 2));
  }
  return shiftLeftSaturated(x, 1);
}

/** 1/x of x > 0 seen with `digits` integer bits: a Q0.31 factor, and by how many bits x stands above one. */
export function reciprocal(x: Expr, digits: number): { readonly scale: Expr; readonly bitsOverUnit: Expr } {
  const headroom = clz(x);
  const fraction = e.and(e.shl(x, headroom), INT32_MAX);
  return { scale: reciprocalOfOnePlus(fraction), bitsOverUnit: e.sub(digits, headroom) };
}

/** 1/√x of an integer x ≥ 0 as factor and right shift. */
export function inverseSquareRoot(x: Expr): { readonly factor: Expr; readonly rightShift: Expr } {
  const big = e.ge(x, 2 ** 29);
  const value = e.select(big, e.shrS(x, 2), e.max(x, 2));
  const pairs = e.sub(e.shrS(e.sub(clz(value), 1), 1), 1);
  const shift = e.sub(e.select(big, 12, 11), pairs);
  const root = mulHigh(inverseSquareRootQ3(e.shrS(e.shl(value, e.shl(pairs, 1)), 1)), i32(1518500250));
  const factor = e.shl(root, e.max(e.neg(shift), 0));
  return {
    factor: e.select(e.le(x, 1), INT32_MAX, factor),
    rightShift: e.select(e.le(x, 1), 0, e.max(shift, 0)),
  };
}

/** Five Newton steps for 1/√x from 1, in Q3.28. */
function inverseSquareRootQ3(input: Expr): Expr {
  const half = shiftRight(input, 1);
  let x: Expr = i32(2 ** 28);
  for (let step = 0; step < 5; step++) {
    const cube = shiftLeftSaturated(mulHigh(mulHigh(x, x), x), 6);
    x = shiftLeftSaturated(e.sub(mulHigh(i32(2 ** 28 + 2 ** 27), x), mulHigh(half, cube)), 3);
  }
  return x;
}

/** x·factor·2^(shift−31) with factor and shift known only when running. */
export function scaleBy(x: Expr, factor: Expr, shift: Expr, rounding: Rounding): Expr {
  if (rounding === 'double') return shiftRight(mulHigh(e.shl(x, e.max(shift, 0)), factor), e.max(e.neg(shift), 0));
  const total = e.sub(31n, cast(shift, 'i64'));
  const half = e.shl(e.const(1, 'i64'), e.sub(total, 1));
  return cast(e.shrS(e.add(e.mul(cast(x, 'i64'), cast(factor, 'i64')), half), total), 'i32');
}
