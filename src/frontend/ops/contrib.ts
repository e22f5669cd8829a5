// onnxruntime's fused elementwise and normalisation operators (com.microsoft), spelled out.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { affine, rootMeanSquare, standardize } from './norm.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

const plus = (b: Builder, x: Value, y: Value | undefined): Value => (y ? b.add(x, y) : x);

const geluTanh = (v: Expr): Expr => {
  const inner = e.mul(e.mul(v, Math.sqrt(2 / Math.PI)), e.add(e.mul(e.mul(v, v), 0.044715), 1));
  return e.mul(e.mul(v, 0.5), e.add(e.tanh(inner), 1));
};
const geluErf = (v: Expr): Expr => e.mul(e.mul(v, 0.5), e.add(e.erf(e.mul(v, Math.SQRT1_2)), 1));

const FastGelu = op('fast_gelu', {
  doc: 'GELU by its tanh approximation, after adding a bias.',
  inputs: ['x', 'bias?'],
  onnx: { 'com.microsoft:FastGelu@1': () => ({}) },
  lower: ({ x, bias }, _a, b) => b.mapFloat([plus(b, x, bias)], geluTanh),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const BiasGelu = op('bias_gelu', {
  doc: 'Exact GELU after adding a bias.',
  inputs: ['x', 'bias'],
  onnx: { 'com.microsoft:BiasGelu@1': () => ({}) },
  lower: ({ x, bias }, _a, b) => b.mapFloat([b.add(x, bias)], geluErf),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const QuickGelu = op('quick_gelu', {
  doc: 'x · sigmoid(alpha · x).',
  inputs: ['x'],
  onnx: { 'com.microsoft:QuickGelu@1': (n): { alpha: number } => ({ alpha: n.float('alpha', 1.702) }) },
  lower: ({ x }, { alpha }: { alpha: number }, b) => b.mapFloat([x], (v) => e.mul(v, e.sigmoid(e.mul(v, alpha)))),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

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

export const records: readonly AnyRecord[] = [
  FastGelu,
  BiasGelu,
  QuickGelu,
  SkipLayerNorm,
  SkipSimplifiedLayerNorm,
  EmbedLayerNorm,
];
