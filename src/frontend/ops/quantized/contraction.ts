// Convolutions and matrix products of TFLite integers: a contraction in i32 (i64 for int16 activations with 64-bit bias),
// then bias, scaling, zero point and clamp as one elementwise step that fuses behind it. Σ(x − zx)·w is computed as
// Σx·w − zx·Σw with padding equal to zx; the second term is constant for constant weights and goes into the bias.

import type { Builder } from '../../../ir/builder.js';
import type { Dim } from '../../../ir/dim.js';
import { floordiv, product } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr, i32 } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { DType } from '../../../support/dtype.js';
import { toNumbers } from '../../../support/tensor.js';
import { convolution, fixedTaps, OKI, type WeightLayout } from '../convolution.js';
import type { LowerContext } from '../record.js';
import { transposedConvolution } from '../transposed-convolution.js';
import { CHANNELS_LAST, type WindowAttrs, type WindowAxis } from '../window.js';
import { type Affine, fusedRange, inputAffine, levelFrom, outputAffine, outputType, type Range } from './affine.js';
import { type Multiplier, quantizeMultiplier, type Rounding } from './fixed-point.js';
import { channelScaler } from './fixed-point-expr.js';
import { oneProduct, type Requantizer } from './one-product.js';
import { sumRanges } from './sum-range.js';

interface Operands {
  readonly x: Value;
  readonly w: Value;
  readonly bias?: Value | undefined;
}

/** Where a node's operands stand among its inputs. */
interface Positions {
  readonly x: number;
  readonly w: number;
  readonly bias: number;
}

const USUAL: Positions = { x: 0, w: 1, bias: 2 };

interface Weights {
  readonly scales: readonly number[];
  readonly zero: number;
}

/** Weights may have one scale for each output channel, and then no zero point. */
function weightsOf(ctx: LowerContext, i: number, channels: Dim): Weights {
  const q = ctx.quantIn(i);
  if (!q || q.block) return ctx.limit('integer weights need scales per tensor or per channel');
  const zeros = new Set(q.zeroPoint);
  if (q.scale.length > 1 && q.scale.length !== channels)
    return ctx.limit('weight scales must run over the output channels');
  if (zeros.size > 1) return ctx.limit('zero points of weights must be equal');
  return { scales: Array.from(q.scale), zero: q.zeroPoint[0] ?? 0 };
}

/** x less its zero point in 16 bits, where that is not zero. */
const withoutZero = (b: Builder, x: Value, zero: number): Value =>
  zero === 0 ? x : b.map([x], (v) => e.sub(cast(v, 'i16'), zero));

/** Type the products are summed in: 64 bits where the reference kernels have a 64-bit accumulator. */
function accumulatorOf(x: Value, bias: Value | undefined, ctx: LowerContext): 'i32' | 'i64' {
  if (x.type.dtype !== 'i16') return 'i32';
  if (bias) return bias.type.dtype === 'i32' ? 'i32' : 'i64';
  return ctx.reader.string('quantized_bias_type', '') === 'i32' ? 'i32' : 'i64';
}

/** The type to sum `count` products in: 32 bits are enough for 64-bit results that cannot reach them. */
const sumType = (acc: 'i32' | 'i64', count: number): DType => (count * 2 ** 22 < 2 ** 31 ? 'i32' : acc);

/** Greatest size of a sum of `count` products of less than 8×9 bits, each channel's bias included. */
function boundsOf(x: Value, bias: Value | undefined, count: number): readonly number[] {
  if (x.type.dtype === 'i16') return UNBOUNDED;
  const sum = count * 255 * 255;
  if (!bias) return [sum];
  if (bias.node?.kind !== 'const') return UNBOUNDED;
  return Array.from(toNumbers(bias.node.data.read()), (v) => sum + Math.abs(v));
}

const UNBOUNDED = [2 ** 31];

interface Epilogue {
  readonly input: Affine;
  readonly weights: Weights;
  readonly bias: Value | undefined;
  readonly wide: boolean;
  /** Of |accumulator|, by channel or one for all. */
  readonly bounds: readonly number[];
  /** Values of the accumulator, by channel, where weights and bias are constant. */
  readonly domains: readonly Range[] | null;
  /** The product of scales is rounded to float32, as for fully connected layers with one weight scale. */
  readonly floatProduct?: boolean;
}

/** Bias, scaling, zero point, activation: from sums with the channel axis last to the stored result. */
function finish(b: Builder, ctx: LowerContext, sum: Value, spec: Epilogue): Value {
  const output = outputAffine(ctx);
  const dtype = outputType(ctx);
  const range = fusedRange(ctx, output, dtype);
  const factor = (s: number): number => {
    const both = spec.input.scale * s;
    return (spec.floatProduct ? Math.fround(both) : both) / output.scale;
  };
  const multipliers = spec.weights.scales.map((s) => quantizeMultiplier(factor(s), ctx.rounding));
  const acc = spec.wide ? 'i64' : 'i32';
  const level = requantizer(b, multipliers, { ...spec, output, range }, ctx.rounding);
  return b.generic({
    shape: sum.type.shape,
    body: (i, _r, read) => {
      const channel = i.at(-1) as Expr;
      const whole = cast(read(sum, i), acc);
      const biased = spec.bias ? e.add(whole, cast(read(spec.bias, [channel]), acc)) : whole;
      return cast(level(biased, read, channel), dtype);
    },
  });
}

/** By one product where that is proved to be the same, else as the reference does it. */
function requantizer(
  b: Builder,
  multipliers: readonly Multiplier[],
  spec: Pick<Epilogue, 'wide' | 'bounds' | 'domains'> & { readonly output: Affine; readonly range: Range },
  rounding: Rounding,
): Requantizer {
  const { wide, bounds, domains, output, range } = spec;
  const known = wide ? null : domains;
  const channels = known?.map((domain, c) => ({
    domain,
    multiplier: (multipliers[c] ?? multipliers[0]) as Multiplier,
    zero: output.zero,
    range,
  }));
  const short = channels ? oneProduct(b, channels, rounding) : null;
  if (short) return short;
  const scaler = channelScaler(b, multipliers, rounding, { wide, bounds });
  return (x, read, channel) => levelFrom(scaler(x, read, channel), output.zero, range);
}

/** bias − zx·Σw over everything but the channel, which `index` places. */
function foldZero(
  b: Builder,
  { w, bias }: Operands,
  zero: number,
  channels: Dim,
  reduce: readonly Dim[],
  index: (channel: Expr, r: readonly Expr[]) => readonly Expr[],
): Value | undefined {
  if (zero === 0) return bias;
  const sums = b.generic({
    shape: [channels],
    reduce,
    reducer: 'add',
    body: (i, r, read) => cast(read(w, index(i[0] as Expr, r)), 'i32'),
  });
  const term = b.map([sums], (s) => e.mul(s, -zero));
  return bias ? b.add(bias, term) : term;
}

/** CONV_2D and DEPTHWISE_CONV_2D by their weight layout. */
export const integerConvolution =
  (layout: WeightLayout) =>
  ({ x, w, bias }: Operands, window: WindowAttrs, b: Builder, ctx: LowerContext): Value => {
    const { out, input, taps } = layout.sizes(w.type.shape);
    const weights = weightsOf(ctx, USUAL.w, out);
    const affine = inputAffine(ctx, USUAL.x);
    const acc = accumulatorOf(x, bias, ctx);
    const count = product([input, ...taps]) as number;
    const plain = withoutZero(b, w, weights.zero);
    const sum = convolution(b, {
      x,
      w: plain,
      window,
      layout: CHANNELS_LAST,
      weights: layout,
      acc: sumType(acc, x.type.dtype === 'i16' ? count : 0),
      pad: affine.zero,
    });
    const folded = foldZero(b, { x, w: plain, bias }, affine.zero, out, [input, ...taps], (c, r) =>
      layout.place(c, r[0] as Expr, r.slice(1)),
    );
    return finish(b, ctx, sum, {
      input: affine,
      weights,
      bias: folded,
      wide: acc === 'i64',
      bounds: boundsOf(x, bias, count),
      domains: sumRanges({ x, input: affine, w, zero: weights.zero, axis: channelAxis(layout, taps.length), bias }),
    });
  };

const channelAxis = (layout: WeightLayout, taps: number): number => {
  const [channel, other] = [i32(0), i32(0)];
  return layout.place(channel, other, Array<Expr>(taps).fill(other)).indexOf(channel);
};

/** TRANSPOSE_CONV: inputs are shape, weights, x, bias. Absent taps contribute nothing, so x is centred first. */
export function integerTransposeConvolution(
  { x, w, bias }: Operands,
  axes: readonly (WindowAxis & { readonly out: Dim })[],
  b: Builder,
  ctx: LowerContext,
): Value {
  const { out, input, taps } = OKI.sizes(w.type.shape);
  const weights = weightsOf(ctx, 1, out);
  const affine = inputAffine(ctx, 2);
  const acc = x.type.dtype === 'i16' ? 'i64' : 'i32';
  const count = (input as number) * fixedTaps(taps).reduce((p, k) => p * k, 1);
  const sum = transposedConvolution(b, {
    x: withoutZero(b, x, affine.zero),
    w: withoutZero(b, w, weights.zero),
    layout: CHANNELS_LAST,
    weights: OKI,
    groups: 1,
    axes,
    acc: sumType(acc, x.type.dtype === 'i16' ? count : 0),
  });
  return finish(b, ctx, sum, {
    input: affine,
    weights,
    bias,
    wide: acc === 'i64',
    bounds: boundsOf(x, bias, count),
    domains: sumRanges({ x, input: affine, w, zero: weights.zero, axis: channelAxis(OKI, taps.length), bias }),
  });
}

/** FULLY_CONNECTED: rows of x times rows of w. */
export function integerFullyConnected(
  { x, w, bias }: Operands,
  { keepDims }: { readonly keepDims: boolean },
  b: Builder,
  ctx: LowerContext,
): Value {
  const [out, width] = w.type.shape as readonly [Dim, Dim];
  const weights = weightsOf(ctx, USUAL.w, out);
  const affine = inputAffine(ctx, USUAL.x);
  const acc = accumulatorOf(x, bias, ctx);
  const rows = keepDims ? x : b.reshape(x, [floordiv(product(x.type.shape), width), width]);
  const plain = withoutZero(b, w, weights.zero);
  const sum = b.matmul(rows, plain, {
    transposeY: true,
    acc: sumType(acc, x.type.dtype === 'i16' ? (width as number) : 0),
  });
  const folded = foldZero(b, { x, w: plain, bias }, affine.zero, out, [width], (c, r) => [c, r[0] as Expr]);
  return finish(b, ctx, sum, {
    input: affine,
    weights,
    bias: folded,
    wide: acc === 'i64',
    bounds: boundsOf(x, bias, width as number),
    domains: sumRanges({ x, input: affine, w, zero: weights.zero, axis: 0, bias }),
    floatProduct: weights.scales.length === 1,
  });
}

/** BATCH_MATMUL of two integer tensors. */
export function integerMatmul(
  { x, y }: { readonly x: Value; readonly y: Value },
  options: { readonly transposeX: boolean; readonly transposeY: boolean },
  b: Builder,
  ctx: LowerContext,
): Value {
  const [left, right] = [inputAffine(ctx, 0), inputAffine(ctx, 1)];
  const wide = x.type.dtype === 'i16';
  const sum = b.matmul(withoutZero(b, x, left.zero), withoutZero(b, y, right.zero), {
    transposeX: options.transposeX,
    transposeY: options.transposeY,
    acc: wide ? 'i64' : 'i32',
  });
  return finish(b, ctx, sum, {
    input: left,
    weights: { scales: [right.scale], zero: 0 },
    bias: undefined,
    wide,
    bounds: UNBOUNDED,
    domains: null,
    floatProduct: true,
  });
}
