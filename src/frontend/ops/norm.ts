// Normalisation: x scaled by statistics of itself (or stored ones). `standardize` is the one place where a mean and a
// variance are taken; narrow floats are computed in f32 throughout and rounded once, at the end.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, DTYPE_INFO, isFloat } from '../../support/dtype.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { integerL2Normalize } from './quantized/reduce.js';

/** The type statistics of `t` are taken in. */
export const statType = (t: DType): DType => (isFloat(t) && DTYPE_INFO[t].bits < 32 ? 'f32' : t);
const wide = (b: Builder, x: Value): Value => b.cast(x, statType(x.type.dtype));

export const axesFrom = (rank: number, first: number): readonly number[] =>
  Array.from({ length: rank }, (_, k) => k).slice(first);

export interface Standardized {
  /** (x − mean) · inverse, in the statistics' type. */
  readonly y: Value;
  readonly mean: Value;
  readonly variance: Value;
  /** 1 / √(variance + epsilon). */
  readonly inverse: Value;
}

/** Subtracts the mean and divides by the deviation over `axes`. */
export function standardize(b: Builder, x: Value, axes: readonly number[], epsilon: number): Standardized {
  const w = wide(b, x);
  const mean = b.reduce(w, 'mean', axes, true);
  const centred = b.sub(w, mean);
  const variance = b.reduce(b.mul(centred, centred), 'mean', axes, true);
  const inverse = b.map([variance], (v) => e.op('rsqrt', e.add(v, epsilon)));
  return { y: b.mul(centred, inverse), mean, variance, inverse };
}

/** A vector laid along axis 1 of a tensor of rank `rank`. */
const alongChannels = (b: Builder, v: Value, rank: number): Value =>
  b.reshape(v, [v.type.shape[0] as Dim, ...Array.from({ length: Math.max(0, rank - 2) }, () => 1)]);

/** y · scale + bias in y's type, then as `dtype`. */
export function affine(b: Builder, y: Value, scale: Value | undefined, bias: Value | undefined, dtype: DType): Value {
  const t = y.type.dtype;
  const scaled = scale ? b.mul(y, b.cast(scale, t)) : y;
  return b.cast(bias ? b.add(scaled, b.cast(bias, t)) : scaled, dtype);
}

interface BatchNormAttrs {
  readonly epsilon: number;
  readonly momentum: number;
  readonly training: boolean;
  readonly perElement: boolean;
}

const batchNorm =
  (training: (n: NodeReader) => boolean) =>
  (n: NodeReader): BatchNormAttrs => ({
    epsilon: n.float('epsilon', 1e-5),
    momentum: n.float('momentum', 0.9),
    training: training(n),
    perElement: !n.bool('spatial', true),
  });

const BatchNormalization = op('batch_normalization', {
  doc: 'Normalises each channel by stored statistics, or in training mode by those of the batch.',
  inputs: ['x', 'scale', 'bias', 'mean', 'variance'],
  onnx: {
    'BatchNormalization@1': batchNorm((n) => !n.bool('is_test', false) && n.outputCount > 1),
    'BatchNormalization@7': batchNorm((n) => n.outputCount > 1),
    'BatchNormalization@14': batchNorm((n) => n.bool('training_mode', false)),
  },
  lower: ({ x, scale, bias, mean, variance }, a: BatchNormAttrs, b) => {
    const rank = x.type.shape.length;
    const t = statType(x.type.dtype);
    const spread = (v: Value): Value => (a.perElement ? v : alongChannels(b, v, rank));
    const flat = (v: Value): Value => b.reshape(v, mean.type.shape);
    const axes = a.perElement ? [0] : axesFrom(rank, 0).filter((k) => k !== 1);
    const batch = a.training ? standardize(b, x, axes, a.epsilon) : undefined;
    const [m, v] = batch ? [flat(batch.mean), flat(batch.variance)] : [b.cast(mean, t), b.cast(variance, t)];
    // Folded to one multiplication and one addition, so that both can move into the weights before it.
    const factor = b.map([b.cast(scale, t), v], (s, q) => e.mul(s, e.op('rsqrt', e.add(q, a.epsilon))));
    const offset = b.sub(b.cast(bias, t), b.mul(m, factor));
    const y = b.cast(b.add(b.mul(wide(b, x), spread(factor)), spread(offset)), x.type.dtype);
    if (!batch) return y;
    const running = (old: Value, now: Value): Value =>
      b.map([old, now], (p, q) => cast(e.add(e.mul(cast(p, t), a.momentum), e.mul(q, 1 - a.momentum)), p.dtype));
    return [y, running(mean, m), running(variance, v), b.cast(m, mean.type.dtype), b.cast(v, mean.type.dtype)];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const epsilonOf = (n: NodeReader): { epsilon: number } => ({ epsilon: n.float('epsilon', 1e-5) });

const InstanceNormalization = op('instance_normalization', {
  doc: 'Normalises each channel of each batch element over its spatial axes.',
  inputs: ['x', 'scale', 'bias'],
  onnx: { 'InstanceNormalization@1': epsilonOf },
  lower: ({ x, scale, bias }, { epsilon }: { epsilon: number }, b) => {
    const rank = x.type.shape.length;
    const { y } = standardize(b, x, axesFrom(rank, 2), epsilon);
    return affine(b, y, alongChannels(b, scale, rank), alongChannels(b, bias, rank), x.type.dtype);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

interface AxisEpsilon {
  readonly axis: number;
  readonly epsilon: number;
}
const axisEpsilon = (n: NodeReader): AxisEpsilon => ({ axis: n.int('axis', -1), epsilon: n.float('epsilon', 1e-5) });

const LayerNormalization = op('layer_normalization', {
  doc: 'Normalises over the axes from `axis` on; also gives the mean and the inverse deviation.',
  inputs: ['x', 'scale', 'bias?'],
  onnx: { 'LayerNormalization@1': axisEpsilon },
  lower: ({ x, scale, bias }, a: AxisEpsilon, b) => {
    const { y, mean, inverse } = standardize(b, x, axesFrom(x.type.shape.length, b.axis(x, a.axis)), a.epsilon);
    return [affine(b, y, scale, bias, x.type.dtype), mean, inverse];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

/** x / √(mean(x²) + epsilon) over `axes`, in the statistics' type, and the factor applied. */
export function rootMeanSquare(
  b: Builder,
  x: Value,
  axes: readonly number[],
  epsilon: number,
): readonly [Value, Value] {
  const w = wide(b, x);
  const inverse = b.map([b.reduce(b.mul(w, w), 'mean', axes, true)], (v) => e.op('rsqrt', e.add(v, epsilon)));
  return [b.mul(w, inverse), inverse];
}

const RMSNormalization = op('rms_normalization', {
  doc: 'Divides by the root mean square over the axes from `axis` on.',
  inputs: ['x', 'scale'],
  onnx: {
    'RMSNormalization@23': axisEpsilon,
    'SimplifiedLayerNormalization@1': axisEpsilon,
    'com.microsoft:SimplifiedLayerNormalization@1': axisEpsilon,
  },
  lower: ({ x, scale }, a: AxisEpsilon, b) => {
    const axes = axesFrom(x.type.shape.length, b.axis(x, a.axis));
    const [y, inverse] = rootMeanSquare(b, x, axes, a.epsilon);
    return [affine(b, y, scale, undefined, scale.type.dtype), inverse];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export interface GroupAttrs {
  readonly groups: number;
  readonly epsilon: number;
  /** Scale and bias hold one element per group rather than per channel. */
  readonly perGroup: boolean;
}

/** Channels first. */
export function groupNormalized(b: Builder, x: Value, scale: Value, bias: Value, a: GroupAttrs): Value {
  const [batch, channels, ...spatial] = x.type.shape as [Dim, Dim, ...Dim[]];
  const size = floordiv(channels, a.groups);
  const grouped = b.reshape(x, [batch, a.groups, size, ...spatial]);
  const { y } = standardize(b, grouped, axesFrom(spatial.length + 3, 2), a.epsilon);
  const ones = spatial.map(() => 1);
  const spread = (v: Value): Value => b.reshape(v, [a.groups, a.perGroup ? 1 : size, ...ones]);
  return b.reshape(affine(b, y, spread(scale), spread(bias), x.type.dtype), x.type.shape);
}

const groupNorm =
  (perGroup: boolean) =>
  (n: NodeReader): GroupAttrs => ({ groups: n.int('num_groups'), epsilon: n.float('epsilon', 1e-5), perGroup });

const GroupNormalization = op('group_normalization', {
  doc: 'Normalises each group of channels of each batch element.',
  inputs: ['x', 'scale', 'bias'],
  onnx: { 'GroupNormalization@18': groupNorm(true), 'GroupNormalization@21': groupNorm(false) },
  lower: ({ x, scale, bias }, a: GroupAttrs, b) => groupNormalized(b, x, scale, bias, a),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

interface LocalResponseAttrs {
  readonly axis: number;
  readonly before: number;
  readonly size: number;
  /** Factor of the sum of squares. */
  readonly alpha: number;
  readonly beta: number;
  readonly bias: number;
}

const LocalResponse = op('local_response_normalization', {
  doc: 'x / (bias + alpha · Σ x² over neighbouring channels)^beta.',
  inputs: ['x'],
  onnx: {
    'LRN@1': (n): LocalResponseAttrs => {
      const size = n.int('size');
      const alpha = n.float('alpha', 1e-4) / size;
      return {
        axis: 1,
        before: Math.floor((size - 1) / 2),
        size,
        alpha,
        beta: n.float('beta', 0.75),
        bias: n.float('bias', 1),
      };
    },
  },
  tflite: {
    LOCAL_RESPONSE_NORMALIZATION: (n): LocalResponseAttrs => {
      const before = n.int('radius');
      return {
        axis: -1,
        before,
        size: 2 * before + 1,
        alpha: n.float('alpha'),
        beta: n.float('beta'),
        bias: n.float('bias'),
      };
    },
  },
  lower: ({ x }, a: LocalResponseAttrs, b) => {
    const axis = b.axis(x, a.axis);
    const t = statType(x.type.dtype);
    const squares = b.generic({
      shape: x.type.shape,
      reduce: [a.size],
      reducer: 'add',
      body: (i, r, read) => {
        const at = i.map((v, k) => (k === axis ? e.sub(e.add(v, r[0] as typeof v), a.before) : v));
        const v = cast(read(x, at, { pad: 0 }), t);
        return e.mul(v, v);
      },
    });
    return b.map([x, squares], (v, s) =>
      cast(e.div(cast(v, t), e.pow(e.add(e.mul(s, a.alpha), a.bias), a.beta)), v.dtype),
    );
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const LpNormalization = op('lp_normalization', {
  doc: 'Divides by the p-norm along one axis; a row of zeros stays one.',
  inputs: ['x'],
  onnx: { 'LpNormalization@1': (n): { axis: number; p: number } => ({ axis: n.int('axis', -1), p: n.int('p', 2) }) },
  lower: ({ x }, { axis, p }: { axis: number; p: number }, b) => {
    const w = wide(b, x);
    const sum = b.reduce(
      b.map([w], (v) => (p === 1 ? e.abs(v) : e.mul(v, v))),
      'add',
      [axis],
      true,
    );
    const norm = p === 1 ? sum : b.sqrt(sum);
    return b.map([w, norm], (v, n) => cast(e.select(e.eq(n, 0), 0, e.div(v, n)), x.type.dtype));
  },
});

const L2Normalization = op('l2_normalization', {
  doc: 'TFLite: divides by the Euclidean norm along the last axis, which is taken to be at least 1e-6.',
  inputs: ['x'],
  tflite: { L2_NORMALIZATION: (n): { activation: FusedActivation } => ({ activation: activationOf(n) }) },
  quantized: integerL2Normalize,
  lower: ({ x }, { activation }: { activation: FusedActivation }, b) => {
    const norm = b.max(b.sqrt(b.reduce(b.mul(x, x), 'add', [-1], true)), 1e-6);
    return fusedActivation(b, b.div(x, norm), activation);
  },
});

const MeanVariance = op('mean_variance_normalization', {
  doc: '(x − mean) / (deviation + 1e-9) over the given axes.',
  inputs: ['x'],
  onnx: {
    'MeanVarianceNormalization@1': (n): { axes: readonly number[]; divide: boolean } => ({
      axes: n.bool('across_channels', false) ? [1, 2, 3] : [2, 3],
      divide: n.bool('normalize_variance', true),
    }),
    'MeanVarianceNormalization@9': (n) => ({ axes: n.ints('axes', [0, 2, 3]), divide: true }),
  },
  lower: ({ x }, { axes, divide }: { axes: readonly number[]; divide: boolean }, b) => {
    const { mean, variance } = standardize(b, x, axes, 0);
    return b.map([wide(b, x), mean, variance], (v, m, s) =>
      cast(divide ? e.div(e.sub(v, m), e.add(e.sqrt(s), 1e-9)) : e.sub(v, m), x.type.dtype),
    );
  },
});

export const records: readonly AnyRecord[] = [
  BatchNormalization,
  InstanceNormalization,
  LayerNormalization,
  RMSNormalization,
  GroupNormalization,
  LocalResponse,
  LpNormalization,
  L2Normalization,
  MeanVariance,
];
