// Nodes with float activations and integer weights ("hybrid"). The runtimes quantise the activations to 8 bits on the fly.
// So do linear nodes here, whose scales do not change along a sum: the sum is one of integers, exactly, over weights as they
// are in the file. Elsewhere activations are rounded to those steps but stay float, the weights are dequantised (folded or
// fused by passes), and the float lowering does the rest: the same numbers up to the order of a float sum.

import { addBias } from '../bias.js';
import { CHANNELS_LAST } from '../window.js';
import type { Builder } from '../../../ir/builder.js';
import { type Dim, dimEq, floordiv } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr, i32 } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { DTYPE_INFO, isFloat } from '../../../support/dtype.js';
import { dequantizeValue, quantizeValue } from '../../quantization.js';
import type { SourceQuant } from '../../source.js';
import { type FusedActivation, fusedActivation } from '../fused-activation.js';
import type { LowerContext } from '../record.js';

type Bound = Readonly<Record<string, Value | readonly Value[] | undefined>>;
type Lower<I, A> = (inputs: I, attrs: A, b: Builder, ctx: LowerContext) => Value | readonly Value[];

/** Integer arithmetic where the input named `x` is an integer, else `lower` on dequantised inputs. */
export const integerOr =
  <I extends object, A>(lower: Lower<I, A>, integer: Lower<I, A>): Lower<I, A> =>
  (inputs, attrs, b, ctx) =>
    isFloat((inputs as { x: Value }).x.type.dtype)
      ? lower(dequantizeAll(inputs as unknown as Bound, b, ctx) as unknown as I, attrs, b, ctx)
      : integer(inputs, attrs, b, ctx);

/** Integer arithmetic where all operands and the result are integers; else in float between dequantising and quantising. */
export const integerIfAll =
  <I extends object, A>(lower: Lower<I, A>, integer: Lower<I, A>): Lower<I, A> =>
  (inputs, attrs, b, ctx) => {
    const operands = Object.values(inputs as unknown as Bound).flatMap((v) => v ?? []) as readonly Value[];
    const declared = ctx.declared(0)?.dtype;
    if (!operands.some((v) => isFloat(v.type.dtype)) && !(declared && isFloat(declared)))
      return integer(inputs, attrs, b, ctx);
    const y = lower(dequantizeAll(inputs as unknown as Bound, b, ctx) as unknown as I, attrs, b, ctx);
    const q = ctx.quantOut(0);
    return declared && q && !isFloat(declared) ? quantizeValue(b, y as Value, q, declared) : y;
  };

/** As integerOr, and float activations take the loss of 8-bit quantisation over `axes` that the runtimes inflict on them. */
const integerOrRounded =
  ({ axes, asymmetric }: Rounding) =>
  <I extends object, A>(lower: Lower<I, A>, integer: Lower<I, A>): Lower<I, A> =>
  (inputs, attrs, b, ctx) => {
    const { x } = inputs as { x: Value };
    if (!isFloat(x.type.dtype)) return integer(inputs, attrs, b, ctx);
    const floats = dequantizeAll(inputs as unknown as Bound, b, ctx);
    const rounded = asymmetric(ctx) ? roundAsymmetric(b, x, axes) : roundSymmetric(b, x, axes);
    return lower({ ...floats, x: rounded } as unknown as I, attrs, b, ctx);
  };

interface Rounding {
  /** Each slice over these has a range of its own. */
  readonly axes: readonly number[];
  readonly asymmetric: (ctx: LowerContext) => boolean;
}

/** Rows of activations. Weights in blocks imply the asymmetric kind. */
const ROWS: Rounding = {
  axes: [-1],
  asymmetric: (ctx) => ctx.reader.bool('asymmetric_quantize_inputs', false) || ctx.quantIn(1)?.block !== undefined,
};

/** Images; asymmetric where the weights have a scale for each channel. */
const IMAGES: Rounding = { axes: [1, 2, 3], asymmetric: (ctx) => (ctx.quantIn(1)?.scale.length ?? 1) > 1 };

export const integerOrRows = integerOrRounded(ROWS);

interface Linear {
  readonly x: Value;
  readonly w: Value;
  readonly bias: Value | undefined;
}

/** For nodes that are a sum of products, a bias along the last axis and an activation: sums of integers, scaled afterwards. */
const integerOrScaled =
  (rounding: Rounding) =>
  <A extends { readonly activation: FusedActivation }>(lower: Lower<Linear, A>, integer: Lower<Linear, A>) => {
    const otherwise = integerOrRounded(rounding)(lower, integer);
    return (inputs: Linear, attrs: A, b: Builder, ctx: LowerContext): Value | readonly Value[] => {
      const { x, w } = inputs;
      const weights = ctx.quantIn(1);
      if (!isFloat(x.type.dtype) || !weights || !isCentred(w, weights)) return otherwise(inputs, attrs, b, ctx);
      const { steps, step } = (rounding.asymmetric(ctx) ? asymmetricSteps : symmetricSteps)(b, x, rounding.axes);
      const whole = { x: steps, w: b.cast(w, 'i32'), bias: undefined };
      const sums = lower(whole, { ...attrs, activation: 'NONE' }, b, ctx) as Value;
      const fits =
        sumsFit(w, sums.type.shape.at(-1)) && isAlong(step.type.shape, sums.type.shape, weights.scale.length);
      if (!fits) return otherwise(inputs, attrs, b, ctx);
      const { bias } = dequantizeAll({ bias: inputs.bias }, b, ctx) as Pick<Linear, 'bias'>;
      const scale = b.constant({ dtype: 'f32', shape: [weights.scale.length], data: weights.scale });
      const y = b.generic({
        shape: sums.type.shape,
        body: (i, _r, read) => {
          const row = step.type.shape.map((d, k) => (d === 1 ? i32(0) : (i[k] as Expr)));
          const channel = weights.scale.length === 1 ? i32(0) : (i.at(-1) as Expr);
          return e.mul(cast(read(sums, i), 'f32'), e.mul(read(step, row), read(scale, [channel])));
        },
      });
      return fusedActivation(b, addBias(b, y, bias, CHANNELS_LAST), attrs.activation);
    };
  };

export const scaledOrRows = integerOrScaled(ROWS);
export const scaledOrImages = integerOrScaled(IMAGES);

/** Bytes or less, without a zero point or scales inside a sum. */
const isCentred = (w: Value, q: SourceQuant): boolean =>
  DTYPE_INFO[w.type.dtype].bits <= 8 && !q.block && q.zeroPoint.every((z) => z === 0);

/** Whether no sum for one of `outputs` can leave 32 bits. */
function sumsFit(w: Value, outputs: Dim | undefined): boolean {
  const sizes = [...w.type.shape, outputs ?? 0];
  if (!sizes.every((d): d is number => typeof d === 'number')) return false;
  return w.type.shape.reduce<number>((n, d) => n * (d as number), 1) / (outputs as number) <= MOST_TERMS;
}

/** Products of at most 255 · 128. */
const MOST_TERMS = 2 ** 31 / (255 * 128);

/** Whether the steps go with the axes of the sums, and the scales with the last one. */
const isAlong = (steps: readonly Dim[], sums: readonly Dim[], scales: number): boolean =>
  steps.length === sums.length &&
  steps.every((d, k) => d === 1 || dimEq(d, sums[k] as Dim)) &&
  (scales === 1 || sums.at(-1) === scales);

/** A tensor as whole steps, in i32, and the size of a step for each slice. */
interface Steps {
  readonly steps: Value;
  readonly step: Value;
}

/** −127 … 127 by the greatest magnitude of each slice over `axes`. */
function symmetricSteps(b: Builder, x: Value, axes: readonly number[]): Steps {
  const most = b.reduce(b.abs(x), 'max', axes, true);
  const step = b.map([most], (m) => e.select(e.eq(m, 0), e.const(1, 'f32'), e.div(m, 127)));
  return { step, steps: b.map([x, step], (v, s) => cast(e.clamp(e.round(e.div(v, s)), -127, 127), 'i32')) };
}

/** −128 … 127 less a zero point, over the range of each slice over `axes`, zero included. */
function asymmetricSteps(b: Builder, x: Value, axes: readonly number[]): Steps {
  const low = b.min(b.reduce(x, 'min', axes, true), 0);
  const high = b.max(b.reduce(x, 'max', axes, true), 0);
  const step = b.map([low, high], (p, q) => e.select(e.eq(p, q), e.const(1, 'f32'), e.div(e.sub(q, p), 255)));
  // The end of the range that is nearer to a whole step keeps its place.
  const zero = b.map([low, high, step], (p, q, s) => {
    const [first, last] = [e.div(p, s), e.div(q, s)];
    const fromLow = e.le(e.add(e.abs(first), 128), e.add(e.abs(last), 127));
    return e.clamp(e.round(e.select(fromLow, e.sub(-128, first), e.sub(127, last))), -128, 127);
  });
  const steps = b.map([x, step, zero], (v, s, z) =>
    cast(e.sub(e.clamp(e.round(e.add(e.div(v, s), z)), -128, 127), z), 'i32'),
  );
  return { steps, step };
}

const inFloat = (b: Builder, { steps, step }: Steps): Value => b.map([steps, step], (v, s) => e.mul(cast(v, 'f32'), s));

/** x after symmetric quantisation of each slice over `axes`. */
export const roundSymmetric = (b: Builder, x: Value, axes: readonly number[]): Value =>
  inFloat(b, symmetricSteps(b, x, axes));

/** x after asymmetric quantisation of each slice over `axes`. */
export const roundAsymmetric = (b: Builder, x: Value, axes: readonly number[]): Value =>
  inFloat(b, asymmetricSteps(b, x, axes));

/** Every bound input in float, by the quantisation of its position in the file. */
export function dequantizeAll(inputs: Bound, b: Builder, ctx: LowerContext): Bound {
  const one = (v: Value): Value => {
    const at = Array.from({ length: ctx.reader.inputCount }, (_, i) => i).find((i) => ctx.reader.input(i) === v);
    const q = at === undefined ? undefined : ctx.quantIn(at);
    return q && !isFloat(v.type.dtype) ? dequantize(b, v, q, ctx) : v;
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, v]) => [name, isList(v) ? v.map(one) : v && one(v)]));
}

const isList = (v: Value | readonly Value[] | undefined): v is readonly Value[] => Array.isArray(v);

/** As dequantizeValue, with blockwise scales too. */
export function dequantize(b: Builder, v: Value, q: SourceQuant, ctx: LowerContext): Value {
  return q.block ? dequantizeBlocks(b, v, q, ctx) : dequantizeValue(b, v, q);
}

/** One scale for each block of `size` elements along an axis, in a tensor with a block axis in that place. Scales count as bfloat16. */
function dequantizeBlocks(b: Builder, v: Value, q: SourceQuant, ctx: LowerContext): Value {
  const block = q.block ?? ctx.limit('no blocks');
  const scales = ctx.constantNamed(block.scales) ?? ctx.limit('the blocks’ scales are missing');
  const zeros = block.zeroPoints ? ctx.constantNamed(block.zeroPoints) : undefined;
  const axis = blockAxis(v, scales, block.size, q.axis);
  const size = block.size || (floordiv(v.type.shape[axis] ?? 1, scales.type.shape[axis] ?? 1) as number);
  return b.generic({
    shape: v.type.shape,
    body: (i, _r, read) => {
      const at = i.map((x, k) => (k === axis ? e.div(x, size) : x)).slice(0, scales.type.shape.length);
      const stored = cast(read(v, i), 'i32');
      const centred = zeros ? e.sub(stored, cast(read(zeros, at), 'i32')) : stored;
      return e.mul(cast(centred, 'f32'), cast(cast(cast(read(scales, at), 'f32'), 'bf16'), 'f32'));
    },
  });
}

/** The axis whose size the scales' shape divides by the block size; the file's own `axis` where that fits. */
function blockAxis(v: Value, scales: Value, size: number, stated: number): number {
  const fits = (k: number): boolean => {
    const [whole, blocks] = [v.type.shape[k], scales.type.shape[k]];
    return typeof whole === 'number' && typeof blocks === 'number' && blocks * (size || 1) === whole;
  };
  if (fits(stated)) return stated;
  return v.type.shape.findIndex((_, k) => fits(k));
}
