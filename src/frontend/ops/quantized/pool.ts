// Pooling of TFLite integers, in stored units: input and output share scale and zero point. An average divides by the
// number of elements inside the image; the window arithmetic is that of ../pool.ts.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { poolOf, poolWith, windowCount } from '../pooling.js';
import type { LowerContext } from '../record.js';
import { CHANNELS_LAST, type WindowAttrs } from '../window.js';
import { fusedRange, outputAffine, typeRange } from './affine.js';

interface One {
  readonly x: Value;
}

/** Half away from zero, in stored units: scale and zero point are the input's. */
const divideRounded = (sum: Expr, count: Expr): Expr => {
  const half = e.shrS(count, 1);
  return e.div(e.select(e.gt(sum, 0), e.add(sum, half), e.sub(sum, half)), count);
};

export function integerAveragePool({ x }: One, window: WindowAttrs, b: Builder, ctx: LowerContext): Value {
  const { dtype } = x.type;
  const pool = poolOf(x, window, CHANNELS_LAST);
  const { lo, hi } = fusedRange(ctx, outputAffine(ctx), dtype);
  const sum = poolWith(b, pool, 'add', e.const(0, dtype), (v) => cast(v, 'i32'));
  return b.generic({
    shape: sum.type.shape,
    body: (i, _r, read) => cast(e.clamp(divideRounded(read(sum, i), windowCount(pool, i, false)), lo, hi), dtype),
  });
}

export function integerMaxPool({ x }: One, window: WindowAttrs, b: Builder, ctx: LowerContext): Value {
  const { lo, hi } = fusedRange(ctx, outputAffine(ctx), x.type.dtype);
  const most = poolWith(b, poolOf(x, window, CHANNELS_LAST), 'max', b.lowest(x.type.dtype));
  const whole = typeRange(x.type.dtype);
  return lo === whole.lo && hi === whole.hi ? most : b.map([most], (v) => e.clamp(v, lo, hi));
}
