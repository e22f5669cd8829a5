// Operators on quantised tensors that carry their scales as inputs: ONNX QLinear*, and onnxruntime's. Products are
// summed exactly in i32 and rescaled once in f32; elementwise ones go through real values. See quantize.ts.

import { addBias } from './bias.js';
import type { Builder } from '../../ir/builder.js';
import { product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { type ConvSpec, centred, centredInput, checkGroups, convolution, OIK } from './convolution.js';
import { lessZero, scale as scaled } from './matmul.js';
import { dequantize, type Granularity, quantize, quantizedElement } from './quantize.js';
import { type AnyRecord, type Inputs, type NodeReader, op } from './record.js';
import { averagePool } from './pool.js';
import { CHANNELS_FIRST, CHANNELS_LAST, onnxWindow, type WindowAttrs } from './window.js';

const PER_TENSOR: Granularity = { axis: 0, block: 0 };

/** A one-element scale as a scalar; a vector laid along `axis` of a tensor of rank `rank`. */
function spread(b: Builder, p: Value, rank: number, axis: number): Value {
  const size = product(p.type.shape);
  if (size === 1) return b.reshape(p, []);
  if (p.type.shape.length !== 1) return p;
  return b.reshape(p, [size, ...Array.from({ length: rank - 1 - axis }, () => 1)]);
}

/** rint(sum · factor) + zero, clamped to the zero point's type. */
const requantize = (b: Builder, sum: Value, factors: readonly Value[], outScale: Value, zero: Value): Value =>
  b.map([sum, ...factors, outScale, b.reshape(zero, [])], (s, ...rest) => {
    const z = rest.at(-1) as Expr;
    const over = cast(rest.at(-2) as Expr, 'f32');
    const factor = rest.slice(0, -2).reduce((p, q) => e.mul(p, cast(q, 'f32')), constant(1, 'f32') as Expr);
    return quantizedElement(e.mul(cast(s, 'f32'), e.div(factor, over)), z, zero.type.dtype);
  });

interface QConvAttrs extends WindowAttrs {
  readonly group: number;
  readonly channelsLast: boolean;
}

const qconv = (n: NodeReader): QConvAttrs => ({
  ...onnxWindow(n),
  group: n.int('group', 1),
  channelsLast: n.bool('channels_last', false),
});

const QLinearConv = op('qlinear_conv', {
  doc: 'Convolution of quantised tensors; the weight may have a scale per output channel.',
  inputs: ['x', 'x_scale', 'x_zero', 'w', 'w_scale', 'w_zero', 'y_scale', 'y_zero', 'bias?'],
  onnx: { 'QLinearConv@10': qconv, 'com.microsoft:QLinearConv@1': qconv },
  lower: ({ x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias }, a: QConvAttrs, b) => {
    const layout = a.channelsLast ? CHANNELS_LAST : CHANNELS_FIRST;
    const window: WindowAttrs = a;
    const spec: ConvSpec = {
      ...centredInput(b, x, x_zero),
      w: centred(b, w, w_zero, 0),
      window,
      layout,
      weights: OIK,
      acc: 'i32',
    };
    checkGroups(spec, a.group);
    const sum = addBias(b, convolution(b, spec), bias, layout);
    const rank = x.type.shape.length;
    const factors = [spread(b, x_scale, rank, 1), spread(b, w_scale, rank, a.channelsLast ? rank - 1 : 1)];
    return requantize(b, sum, factors, spread(b, y_scale, rank, 0), y_zero);
  },
});

const QLinearMatMul = op('qlinear_matmul', {
  doc: 'Product of quantised matrices; rows of x and columns of y may have scales of their own.',
  inputs: ['x', 'x_scale', 'x_zero', 'y', 'y_scale', 'y_zero', 'out_scale', 'out_zero'],
  onnx: { 'QLinearMatMul@10': () => ({}) },
  lower: ({ x, x_scale, x_zero, y, y_scale, y_zero, out_scale, out_zero }, _a, b) => {
    const sum = b.matmul(
      lessZero(b, x, rowOrScalar(b, x_zero), 'row'),
      lessZero(b, y, rowOrScalar(b, y_zero), 'column'),
      { acc: 'i32' },
    );
    const rows =
      x_scale.type.shape.length === 1 && x_scale.type.shape[0] !== 1
        ? b.unsqueeze(x_scale, [1])
        : rowOrScalar(b, x_scale);
    return requantize(b, sum, [rows, rowOrScalar(b, y_scale)], spread(b, out_scale, 2, 0), out_zero);
  },
});

/** One-element parameters of any rank as scalars. */
export const rowOrScalar = (b: Builder, p: Value): Value => (product(p.type.shape) === 1 ? b.reshape(p, []) : p);

/** Real values of a per-tensor quantised operand; an absent zero point is zero. */
const real = (b: Builder, x: Value, scale: Value, zero: Value | undefined): Value =>
  dequantize(b, x, rowOrScalar(b, scale), zero && rowOrScalar(b, zero), PER_TENSOR, 'f32');

const stored = (b: Builder, y: Value, scale: Value, zero: Value | undefined, like: Value): Value =>
  quantize(b, y, rowOrScalar(b, scale), zero && rowOrScalar(b, zero), PER_TENSOR, zero?.type.dtype ?? like.type.dtype);

/** An operator of two quantised operands, computed on real values. */
const qBinary = (name: string, onnxName: string, f: (b: Builder, x: Value, y: Value) => Value): AnyRecord =>
  op(name, {
    doc: `Quantised ${name.replace('qlinear_', '')} of two tensors with scales of their own.`,
    inputs: ['x', 'x_scale', 'x_zero?', 'y', 'y_scale', 'y_zero?', 'out_scale', 'out_zero?'],
    onnx: { [`com.microsoft:${onnxName}@1`]: () => ({}) },
    lower: ({ x, x_scale, x_zero, y, y_scale, y_zero, out_scale, out_zero }, _a, b) =>
      stored(b, f(b, real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero)), out_scale, out_zero, x),
    tolerance: { rtol: 0, atol: 1 },
  });

type UnaryInput = 'x' | 'x_scale' | 'x_zero?' | 'y_scale' | 'y_zero?';

/** An operator of one quantised operand, computed on real values. */
const qUnary = <A extends object>(
  name: string,
  onnxName: string,
  decode: (n: NodeReader) => A,
  f: (b: Builder, x: Value, a: A) => Value,
): AnyRecord =>
  op(name, {
    doc: `Quantised ${name.replace('qlinear_', '').replaceAll('_', ' ')}.`,
    inputs: ['x', 'x_scale', 'x_zero?', 'y_scale', 'y_zero?'],
    onnx: { [`com.microsoft:${onnxName}@1`]: decode },
    lower: ({ x, x_scale, x_zero, y_scale, y_zero }: Inputs<UnaryInput>, a: A, b) =>
      stored(b, f(b, real(b, x, x_scale, x_zero), a), y_scale, y_zero, x),
    tolerance: { rtol: 0, atol: 1 },
  });

const none = (): Record<string, never> => ({});

interface QPoolAttrs extends WindowAttrs {
  readonly includePad: boolean;
  readonly channelsLast: boolean;
}

const qpool = (n: NodeReader): QPoolAttrs => ({
  ...onnxWindow(n),
  includePad: n.bool('count_include_pad', false),
  channelsLast: n.bool('channels_last', false),
});

const UNARY: readonly AnyRecord[] = [
  qUnary('qlinear_sigmoid', 'QLinearSigmoid', none, (b, x) => b.sigmoid(x)),
  qUnary(
    'qlinear_leaky_relu',
    'QLinearLeakyRelu',
    (n) => ({ alpha: n.float('alpha', 0.01) }),
    (b, x, { alpha }) => b.map([x], (v) => e.select(e.lt(v, 0), e.mul(v, alpha), v)),
  ),
  qUnary(
    'qlinear_global_average_pool',
    'QLinearGlobalAveragePool',
    (n) => ({ channelsLast: n.bool('channels_last', false) }),
    (b, x, { channelsLast }) => {
      const axes = x.type.shape.map((_, k) => k);
      return b.reduce(x, 'mean', channelsLast ? axes.slice(1, -1) : axes.slice(2), true);
    },
  ),
  qUnary('qlinear_average_pool', 'QLinearAveragePool', qpool, (b, x, a) =>
    averagePool(b, x, a, a.channelsLast ? CHANNELS_LAST : CHANNELS_FIRST, a.includePad),
  ),
  qUnary(
    'qlinear_reduce_mean',
    'QLinearReduceMean',
    (n) => ({ axes: n.ints('axes', []), keep: n.bool('keepdims', true) }),
    (b, x, { axes, keep }) => b.reduce(x, 'mean', axes.length > 0 ? axes : undefined, keep),
  ),
  qUnary(
    'qlinear_softmax',
    'QLinearSoftmax',
    (n) => ({ axis: n.int('axis', -1), opset: n.int('opset', 13) }),
    (b, x, { axis, opset }) => {
      if (opset >= 13) return b.softmax(x, axis);
      const at = b.axis(x, axis);
      const flat = b.reshape(x, [product(x.type.shape.slice(0, at)), product(x.type.shape.slice(at))]);
      return b.reshape(b.softmax(flat, -1), x.type.shape);
    },
  ),
];

const QLinearConcat = op('qlinear_concat', {
  doc: 'Joins quantised tensors, each with its own scale, at the output’s scale.',
  inputs: ['y_scale', 'y_zero', 'parts*'],
  onnx: { 'com.microsoft:QLinearConcat@1': (n): { axis: number } => ({ axis: n.int('axis') }) },
  lower: ({ y_scale, y_zero, parts }, { axis }: { axis: number }, b) => {
    if (parts.length % 3 !== 0) throw new CompileError('E203', 'each part needs a tensor, a scale and a zero point');
    const reals = Array.from({ length: parts.length / 3 }, (_, k) =>
      real(b, parts[3 * k] as Value, parts[3 * k + 1] as Value, parts[3 * k + 2] as Value),
    );
    return stored(b, b.concat(reals, axis), y_scale, y_zero, y_zero);
  },
  tolerance: { rtol: 0, atol: 1 },
});

const QLinearWhere = op('qlinear_where', {
  doc: 'Elements of one of two quantised tensors, by a condition, at the output’s scale.',
  inputs: ['condition', 'x', 'x_scale', 'x_zero', 'y', 'y_scale', 'y_zero', 'out_scale', 'out_zero'],
  onnx: { 'com.microsoft:QLinearWhere@1': none },
  lower: ({ condition, x, x_scale, x_zero, y, y_scale, y_zero, out_scale, out_zero }, _a, b) => {
    const [p, q] = [real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero)];
    const picked = b.map([condition, p, q], (c, v, w) => e.select(c, v as Expr, w as Expr));
    return stored(b, picked, out_scale, out_zero, x);
  },
  tolerance: { rtol: 0, atol: 1 },
});

interface QGemmAttrs {
  readonly alpha: number;
  readonly transposeX: boolean;
  readonly transposeY: boolean;
}

const QGemm = op('qgemm', {
  doc: 'Gemm of quantised matrices with an i32 bias; f32 where no output scale is given.',
  inputs: ['x', 'x_scale', 'x_zero', 'y', 'y_scale', 'y_zero', 'c?', 'out_scale?', 'out_zero?'],
  onnx: {
    'com.microsoft:QGemm@1': (n): QGemmAttrs => ({
      alpha: n.float('alpha', 1),
      transposeX: n.bool('transA', false),
      transposeY: n.bool('transB', false),
    }),
  },
  lower: ({ x, x_scale, x_zero, y, y_scale, y_zero, c, out_scale, out_zero }, a: QGemmAttrs, b) => {
    const columnZero =
      product(y_zero.type.shape) !== 1 && a.transposeY ? b.unsqueeze(y_zero, [1]) : rowOrScalar(b, y_zero);
    const sum = b.matmul(lessZero(b, x, rowOrScalar(b, x_zero), 'row'), lessZero(b, y, columnZero, 'column'), {
      ...a,
      acc: 'i32',
    });
    const total = c ? b.add(sum, c) : sum;
    const factors = [scaled(b, rowOrScalar(b, x_scale), a.alpha), rowOrScalar(b, y_scale)];
    if (out_scale && out_zero) return requantize(b, total, factors, rowOrScalar(b, out_scale), out_zero);
    return b.map([total, ...factors], (s, p, q) => e.mul(cast(s, 'f32'), e.mul(p as Expr, q as Expr)));
  },
  tolerance: { rtol: 0, atol: 1 },
});

export const records: readonly AnyRecord[] = [
  QLinearConv,
  QLinearMatMul,
  qBinary('qlinear_add', 'QLinearAdd', (b, x, y) => b.add(x, y)),
  qBinary('qlinear_mul', 'QLinearMul', (b, x, y) => b.mul(x, y)),
  ...UNARY,
  QLinearConcat,
  QLinearWhere,
  QGemm,
];
