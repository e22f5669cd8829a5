// LOG_SOFTMAX of 8-bit TFLite tensors along the last axis: differences from the maximum in Q5.26 less the logarithm of
// the sum of their exponentials, which is taken in fixed point by a Padé form around a power of two.
// Output scale 16/256; the zero point is the type's greatest value.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr, i32 } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { inputAffine, typeRange } from './affine.js';
import { quantizeMultiplier } from './fixed-point.js';
import { mulHigh, scale, shiftLeftSaturated, shiftRight } from './fixed-point-expr.js';
import { reciprocalOfOnePlus } from './reciprocal.js';
import { differenceScale, exponentials, sumOfExponentials } from './softmax.js';

const INT32_MAX = 2 ** 31 - 1;

export function integerLogSoftmax({ x }: { readonly x: Value }, _a: object, b: Builder, ctx: LowerContext): Value {
  const { dtype } = x.type;
  if (dtype === 'i16') return ctx.limit('log softmax of 16-bit quantised tensors');
  const { lo, hi } = typeRange(dtype);
  const inputScale = inputAffine(ctx, 0).scale;
  const { multiplier, reach } = differenceScale(1, inputScale, ctx.rounding);
  const inverse = quantizeMultiplier(2 ** (31 - multiplier.shift) / multiplier.q, ctx.rounding);
  const most = b.reduce(x, 'max', [-1], true);
  const sum = sumOfExponentials(b, x, most, exponentials(b, 1, inputScale, ctx.rounding));
  const logs = b.map([sum], (s) => logarithm(s));
  // Differences below this would overflow once the logarithm is taken off.
  const least = b.map([logs], (l) => e.max(scale(e.add(l, -(2 ** 31)), inverse, ctx.rounding), -reach - 1));
  return b.map([x, most, logs, least], (p, m, l, bottom) => {
    const difference = e.sub(cast(p, 'i32'), cast(m, 'i32'));
    const level = e.sub(scale(difference, multiplier, ctx.rounding), l);
    const stored = e.clamp(e.add(shiftRight(level, 22), hi), lo, hi);
    return cast(e.select(e.gt(difference, bottom), stored, lo), dtype);
  });
}

const ROOT_HALF = 1518500250;
const FOURTH_ROOT_HALF = 1805811301;
/** A quarter in Q6.25. */
const QUARTER = 2 ** 23;

/** Natural logarithm of x ≥ 1 in Q12.19, as Q5.26. */
function logarithm(x: Expr): Expr {
  const headroom = e.op('clz', x);
  const normal = e.shl(x, e.sub(headroom, 1));
  const lower = shiftLeftSaturated(mulHigh(normal, i32(ROOT_HALF)), 1);
  const lowerPower = e.add(e.shl(e.sub(12, headroom), 25), QUARTER);
  const upperHeadroom = e.sub(e.op('clz', mulHigh(x, i32(ROOT_HALF))), 1);
  const fits = e.le(x, e.shrS(i32(INT32_MAX), upperHeadroom));
  const upper = e.select(fits, e.shl(x, upperHeadroom), INT32_MAX);
  const upperPower = e.sub(e.shl(e.sub(12, upperHeadroom), 25), QUARTER);
  const mantissa = e.min(lower, upper);
  const power = e.max(lowerPower, upperPower);
  const logTwo = mulHigh(power, i32(1488522236));
  return shiftLeftSaturated(e.add(logTwo, logarithmNearOne(mantissa)), 1);
}

/** Logarithm of r over the fourth root of a half, for r in Q0.31 near it, as Q6.25. */
function logarithmNearOne(r: Expr): Expr {
  const mean = e.add(e.shrS(r, 1), (FOURTH_ROOT_HALF - 1) / 2 + 1);
  const q = e.shl(e.sub(r, FOURTH_ROOT_HALF), 1);
  const square = mulHigh(q, q);
  const numerator = e.add(mulHigh(q, r), mulHigh(mulHigh(q, square), i32(117049297)));
  const inner = e.add(e.add(q, 1057819769), mulHigh(i32(127690142), square));
  const denominator = e.add(mulHigh(mean, inner), mulHigh(i32(638450708), q));
  return mulHigh(shiftRight(numerator, 6), reciprocalOfOnePlus(denominator));
}
