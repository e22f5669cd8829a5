// Reductions of TFLite integers: MEAN and SUM scale an integer sum, L2 normalisation multiplies by an integer inverse
// square root of one. Pools are in pool.ts.

import type { Builder } from '../../../ir/builder.js';
import { type Dim, isConst, product } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { centred, domainOf, inputAffine, outputAffine, outputType, store, typeRange } from './affine.js';
import { type Multiplier, quantizeMultiplier } from './fixed-point.js';
import { requantized } from './one-product.js';
import { inverseSquareRoot, scaleBy } from './reciprocal.js';

interface One {
  readonly x: Value;
}

interface ReduceAttrs {
  /** Undefined: all. */
  readonly axes?: readonly number[] | undefined;
  readonly keepDims: boolean;
}

/** Folds 1/count into a multiplier, keeping as many bits as fit. */
function divided({ q, shift }: Multiplier, count: number): Multiplier {
  const bits = Math.min(Math.floor(Math.log2(count)), 32, 31 + shift);
  return { q: Number((BigInt(q) << BigInt(bits)) / BigInt(count)), shift: shift - bits };
}

/** MEAN and SUM. */
export const integerSum =
  (mean: boolean) =>
  ({ x }: One, { axes, keepDims }: ReduceAttrs, b: Builder, ctx: LowerContext): Value => {
    const [from, to] = [inputAffine(ctx, 0), outputAffine(ctx)];
    const reduced = (axes ?? x.type.shape.map((_, k) => k)).map((a) => b.axis(x, a));
    const count = product([...new Set(reduced)].map((a) => x.type.shape[a] as Dim));
    if (!isConst(count)) return ctx.limit('an integer mean over a size that is not fixed', 'Fix it with --dim');
    const plain = quantizeMultiplier(from.scale / to.scale, ctx.rounding);
    const m = mean ? divided(plain, count) : plain;
    const dtype = outputType(ctx);
    const bound = count * typeRange(x.type.dtype).hi * 3;
    const sum = b.reduce(b.cast(x, 'i32'), 'add', axes, keepDims);
    const zero = from.zero * count;
    const one = domainOf(x, from);
    const domain = { lo: one.lo * count, hi: one.hi * count };
    const r = { multiplier: m, zero: to.zero, range: typeRange(dtype), domain };
    const level = requantized(b, r, ctx.rounding, bound);
    return b.map([sum], (s) => cast(level(e.sub(s, zero)), dtype));
  };

/** L2_NORMALIZATION over the last axis; the output's scale is 1/128. */
export function integerL2Normalize({ x }: One, _a: object, b: Builder, ctx: LowerContext): Value {
  const zero = inputAffine(ctx, 0).zero;
  const { dtype } = x.type;
  const range = typeRange(dtype);
  const squares = b.map([x], (v) => e.mul(centred(v, zero), centred(v, zero)));
  const sum = b.reduce(squares, 'add', [-1], true);
  const factor = b.map([sum], (s) => inverseSquareRoot(s).factor);
  const shift = b.map([sum], (s) => e.sub(7, inverseSquareRoot(s).rightShift));
  return b.map([x, factor, shift], (v, f, s) =>
    store(scaleBy(centred(v, zero), f, s, ctx.rounding), outputAffine(ctx).zero, range, dtype),
  );
}
