// onnxruntime's fused elementwise operators (com.microsoft), spelled out. Normalisations are in contrib-norm.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { geluExact, geluTanh, softplus } from './activation.js';
import { drop } from './dropout.js';
import { type AnyRecord, op } from './record.js';

/** x, plus y if there is one. */
export const plus = (b: Builder, x: Value, y: Value | undefined): Value => (y ? b.add(x, y) : x);

export const silu = (v: Expr): Expr => e.mul(v, e.sigmoid(v));

const FastGelu = op('fast_gelu', {
  doc: 'GELU by its tanh approximation, after adding a bias.',
  inputs: ['x', 'bias?'],
  onnx: { 'com.microsoft:FastGelu@1': () => ({}) },
  lower: ({ x, bias }, _a, b) => b.mapFloat([plus(b, x, bias)], geluTanh),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const GemmFastGelu = op('gemm_fast_gelu', {
  doc: 'GELU of a matrix product and a bias, by its tanh approximation.',
  inputs: ['x', 'w', 'bias?'],
  onnx: { 'com.microsoft:GemmFastGelu@1': () => ({}) },
  lower: ({ x, w, bias }, _a, b) => b.mapFloat([plus(b, b.matmul(x, w), bias)], geluTanh),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const BiasGelu = op('bias_gelu', {
  doc: 'Exact GELU after adding a bias.',
  inputs: ['x', 'bias'],
  onnx: { 'com.microsoft:BiasGelu@1': () => ({}) },
  lower: ({ x, bias }, _a, b) => b.mapFloat([b.add(x, bias)], geluExact),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const BiasSplitGelu = op('bias_split_gelu', {
  doc: 'Of x + bias, the first half of the last axis times the exact GELU of the second.',
  inputs: ['x', 'bias'],
  onnx: { 'com.microsoft:BiasSplitGelu@1': () => ({}) },
  lower: ({ x, bias }, _a, b) => {
    const half = floordiv(x.type.shape.at(-1) as Dim, 2);
    const [left, right] = b.split(b.add(x, bias), -1, [half, half]) as [Value, Value];
    return b.mapFloat([left, right], (p, q) => e.mul(p, geluExact(q)));
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const QuickGelu = op('quick_gelu', {
  doc: 'x · sigmoid(alpha · x).',
  inputs: ['x'],
  onnx: { 'com.microsoft:QuickGelu@1': (n): { alpha: number } => ({ alpha: n.float('alpha', 1.702) }) },
  lower: ({ x }, { alpha }: { alpha: number }, b) => b.mapFloat([x], (v) => e.mul(v, e.sigmoid(e.mul(v, alpha)))),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const BiasSoftmax = op('bias_softmax', {
  doc: 'Softmax over all axes from `axis` on, after adding a bias that broadcasts.',
  inputs: ['x', 'bias'],
  onnx: { 'com.microsoft:BiasSoftmax@1': (n) => ({ axis: n.int('axis', 1) }) },
  lower: ({ x, bias }, { axis }, b) => {
    const at = b.axis(x, axis);
    const { shape } = x.type;
    const rows = b.reshape(b.add(x, bias), [product(shape.slice(0, at)), product(shape.slice(at))]);
    return b.reshape(b.softmax(rows, -1), shape);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const BiasDropout = op('bias_dropout', {
  doc: 'x + bias, dropped from in training mode, plus a residual.',
  inputs: ['x', 'bias', 'residual?', 'ratio?', 'training?'],
  onnx: { 'com.microsoft:BiasDropout@1': () => ({}) },
  lower: ({ x, bias, residual, ratio, training }, _a, b) => {
    const sum = b.add(x, bias);
    const [y, mask] = training ? drop(b, sum, ratio, training) : [sum, b.full(x.type.shape, true, 'i1')];
    return [plus(b, y, residual), mask];
  },
  limits: ['In training mode what is dropped differs from other runtimes.'],
});

const LinearAttentionGate = op('linear_attention_gate', {
  doc: 'Decay and update rate of linear attention: scale · softplus(a + bias), and sigmoid(b).',
  inputs: ['a', 'bias', 'scale', 'rate?'],
  onnx: { 'com.microsoft:LinearAttentionGate@1': () => ({}) },
  lower: ({ a, bias, scale, rate }, _a, b) => {
    const decay = b.map([a, bias, scale], (v, p, s) =>
      cast(e.mul(cast(s, 'f32'), softplus(e.add(cast(v, 'f32'), cast(p, 'f32')))), a.type.dtype),
    );
    return rate ? [decay, b.sigmoid(rate)] : [decay];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [
  FastGelu,
  GemmFastGelu,
  BiasGelu,
  BiasSplitGelu,
  QuickGelu,
  BiasSoftmax,
  BiasDropout,
  LinearAttentionGate,
  op('bias_add', {
    doc: 'x + bias + skip.',
    inputs: ['x', 'bias', 'skip'],
    onnx: { 'com.microsoft:BiasAdd@1': () => ({}) },
    lower: ({ x, bias, skip }, _a, b) => b.add(b.add(x, bias), skip),
  }),
  op('gated_add', {
    doc: 'x + y · gate, the gate per row.',
    inputs: ['x', 'y', 'gate'],
    onnx: { 'com.microsoft:GatedAdd@1': () => ({}) },
    lower: ({ x, y, gate }, _a, b) => b.add(x, b.mul(y, gate)),
  }),
];
