// onnxruntime's fused normalisations (com.microsoft), spelled out: sums of several tensors on the way in, gates and activations
// on the way out.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { affine, type GroupAttrs, groupNormalized, rootMeanSquare, standardize } from './norm.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { plus, silu } from './contrib.js';

interface Epsilon {
  readonly epsilon: number;
}
const epsilon12 = (n: NodeReader): Epsilon => ({ epsilon: n.float('epsilon', 1e-12) });

const SkipLayerNorm = op('skip_layer_normalization', {
  doc: 'Layer normalisation over the last axis of x + skip + bias; gives the sum too.',
  inputs: ['x', 'skip', 'gamma', 'beta?', 'bias?'],
  onnx: { 'com.microsoft:SkipLayerNormalization@1': epsilon12 },
  lower: ({ x, skip, gamma, beta, bias }, { epsilon }: Epsilon, b) => {
    const sum = plus(b, b.add(x, skip), bias);
    const { y, mean, inverse } = standardize(b, sum, [-1], epsilon);
    return [affine(b, y, gamma, beta, x.type.dtype), mean, inverse, sum];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const SkipSimplifiedLayerNorm = op('skip_simplified_layer_normalization', {
  doc: 'Root-mean-square normalisation over the last axis of x + skip + bias; gives the sum too.',
  inputs: ['x', 'skip', 'gamma', 'bias?'],
  onnx: { 'com.microsoft:SkipSimplifiedLayerNormalization@1': epsilon12 },
  lower: ({ x, skip, gamma, bias }, { epsilon }: Epsilon, b) => {
    const sum = plus(b, b.add(x, skip), bias);
    const [y, inverse] = rootMeanSquare(b, sum, [-1], epsilon);
    return [affine(b, y, gamma, undefined, x.type.dtype), inverse, inverse, sum];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const EmbedLayerNorm = op('embed_layer_normalization', {
  doc: 'Sum of word, position and segment embeddings, then layer normalisation; gives mask lengths and the sum too.',
  inputs: ['ids', 'segments?', 'words', 'positions', 'segment_table?', 'gamma', 'beta', 'mask?', 'position_ids?'],
  onnx: { 'com.microsoft:EmbedLayerNormalization@1': epsilon12 },
  lower: (
    { ids, segments, words, positions, segment_table, gamma, beta, mask, position_ids },
    { epsilon }: Epsilon,
    b,
  ) => {
    const [batch, length] = ids.type.shape as [Dim, Dim];
    const word = b.gather(words, ids, 0);
    const position = position_ids ? b.gather(positions, position_ids, 0) : b.narrow(positions, 0, 0, length);
    const segment = segments && segment_table ? b.gather(segment_table, segments, 0) : undefined;
    const sum = plus(b, b.add(word, position), segment);
    const y = affine(b, standardize(b, sum, [-1], epsilon).y, gamma, beta, words.type.dtype);
    const lengths = mask
      ? b.reduce(
          b.map([mask], (m) => cast(e.eq(m, 1), 'i32')),
          'add',
          [1],
        )
      : b.full([batch], 0, 'i32');
    return [y, lengths, sum];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

interface ImageAttrs extends GroupAttrs {
  readonly activation: number;
  readonly channelsLast: boolean;
}

const imageAttrs = (n: NodeReader): ImageAttrs => ({
  groups: n.int('groups'),
  epsilon: n.float('epsilon', 1e-5),
  perGroup: false,
  activation: n.int('activation', 0),
  channelsLast: n.bool('channels_last', true),
});

/** Group normalisation of images in either layout, and the activation asked for. */
function imageNorm(b: Builder, x: Value, gamma: Value, beta: Value, a: ImageAttrs): Value {
  if (a.activation !== 0 && a.activation !== 1)
    throw new CompileError('E203', `activation ${a.activation} is not defined`);
  const last = x.type.shape.length - 1;
  const axes = x.type.shape.map((_, k) => k);
  const first = a.channelsLast ? b.transpose(x, [0, last, ...axes.slice(1, -1)]) : x;
  const y = groupNormalized(b, first, gamma, beta, a);
  const shaped = a.channelsLast ? b.transpose(y, [0, ...axes.slice(2), 1]) : y;
  return a.activation === 1 ? b.mapFloat([shaped], silu) : shaped;
}

const GroupNorm = op('image_group_norm', {
  doc: 'onnxruntime’s GroupNorm: group normalisation in either layout, possibly with SiLU.',
  inputs: ['x', 'gamma', 'beta'],
  onnx: { 'com.microsoft:GroupNorm@1': imageAttrs },
  lower: ({ x, gamma, beta }, a: ImageAttrs, b) => imageNorm(b, x, gamma, beta, a),
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const SkipGroupNorm = op('skip_group_norm', {
  doc: 'Group normalisation of x + skip + bias, possibly with SiLU; gives the sum too.',
  inputs: ['x', 'gamma', 'beta', 'skip', 'bias?'],
  onnx: { 'com.microsoft:SkipGroupNorm@1': imageAttrs },
  lower: ({ x, gamma, beta, skip, bias }, a: ImageAttrs, b) => {
    const alongChannels = (v: Value): Value => (a.channelsLast ? v : b.unsqueeze(v, [-1, -2]));
    const [batch, channels] = skip.type.shape as [Dim, Dim];
    const whole =
      skip.type.shape.length > 2
        ? skip
        : alongChannels(b.reshape(skip, a.channelsLast ? [batch, 1, 1, channels] : [batch, channels]));
    const sum = plus(b, b.add(x, whole), bias && alongChannels(bias));
    return [imageNorm(b, sum, gamma, beta, a), sum];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const GatedRMSNorm = op('gated_rms_norm', {
  doc: 'Root-mean-square normalisation of each group of the last axis, times SiLU of a gate.',
  inputs: ['x', 'scale', 'gate'],
  onnx: { 'com.microsoft:GatedRMSNorm@1': (n) => ({ epsilon: n.float('epsilon', 1e-6) }) },
  lower: ({ x, scale, gate }, { epsilon }, b) => {
    const size = scale.type.shape[0] as Dim;
    const lead = x.type.shape.slice(0, -1);
    const groups = b.reshape(x, [...lead, floordiv(x.type.shape.at(-1) as Dim, size), size]);
    const [y] = rootMeanSquare(b, groups, [-1], epsilon);
    const normed = b.reshape(affine(b, y, scale, undefined, y.type.dtype), x.type.shape);
    return b.map([normed, gate], (v, g) => cast(e.mul(v, silu(cast(g, v.dtype))), x.type.dtype));
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

export const records: readonly AnyRecord[] = [
  SkipLayerNorm,
  SkipSimplifiedLayerNorm,
  EmbedLayerNorm,
  GroupNorm,
  SkipGroupNorm,
  GatedRMSNorm,
];
