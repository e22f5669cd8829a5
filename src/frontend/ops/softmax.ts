// Softmax, log-softmax and hardmax. ONNX before opset 13 flattened the tensor to a matrix at `axis` and normalised
// its rows; since then (and in TFLite, always the last axis) one axis is normalised.

import type { Builder } from '../../ir/builder.js';
import { product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { type AnyRecord, type Decode, type OpRecord, op } from './record.js';
import { integerSoftmax } from './quantized/softmax.js';
import { integerLogSoftmax } from './quantized/log-softmax.js';

interface SoftmaxAttrs {
  readonly axis: number;
  /** Normalise over all axes from `axis` on. */
  readonly flatten: boolean;
  readonly beta: number;
}

type AlongAxis = (b: Builder, x: Value, axis: number) => Value;

function softmaxLike(b: Builder, x: Value, a: SoftmaxAttrs, f: AlongAxis): Value {
  const scaled = a.beta === 1 ? x : b.mapFloat([x], (p) => e.mul(p, a.beta));
  const { shape } = x.type;
  const axis = a.axis < 0 ? a.axis + shape.length : a.axis;
  if (!a.flatten || axis === shape.length - 1) return f(b, scaled, axis);
  const matrix = b.reshape(scaled, [product(shape.slice(0, axis)), product(shape.slice(axis))]);
  return b.reshape(f(b, matrix, 1), shape);
}

/** x − max − log Σ e^(x − max). */
function logSoftmax(b: Builder, x: Value, axis: number): Value {
  const wide = b.cast(x, DTYPE_INFO[x.type.dtype].bits < 32 ? 'f32' : x.type.dtype);
  const shifted = b.sub(wide, b.reduce(wide, 'max', [axis], true));
  const total = b.log(b.reduce(b.exp(shifted), 'add', [axis], true));
  return b.cast(b.sub(shifted, total), x.type.dtype);
}

/** 1 at the first greatest element of each row, 0 elsewhere. */
function hardmax(b: Builder, x: Value, axis: number): Value {
  const k = b.axis(x, axis);
  const best = b.argReduce(x, 'argmax', k, true, 'i32');
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const at = read(
        best,
        i.map((v, j) => (j === k ? e.const(0, 'i32') : v)),
      );
      return e.select(e.eq(at, i[k] as Expr), e.const(1, x.type.dtype), e.const(0, x.type.dtype));
    },
  });
}

const flattened: Decode<SoftmaxAttrs> = (n) => ({ axis: n.int('axis', 1), flatten: true, beta: 1 });
const oneAxis: Decode<SoftmaxAttrs> = (n) => ({ axis: n.int('axis', -1), flatten: false, beta: 1 });
const lastAxis: Decode<SoftmaxAttrs> = () => ({ axis: -1, flatten: false, beta: 1 });

const family = (
  name: string,
  doc: string,
  onnx: string,
  tflite: Record<string, Decode<SoftmaxAttrs>>,
  f: AlongAxis,
  quantized?: OpRecord<'x', SoftmaxAttrs>['quantized'],
): AnyRecord =>
  op<'x', SoftmaxAttrs>(name, {
    doc,
    inputs: ['x'],
    onnx: { [`${onnx}@1`]: flattened, [`${onnx}@13`]: oneAxis },
    tflite,
    ...(quantized && { quantized }),
    lower: ({ x }, a, b) => softmaxLike(b, x, a, f),
  });

export const records: readonly AnyRecord[] = [
  family(
    'softmax',
    'eˣ over its sum along an axis',
    'Softmax',
    { SOFTMAX: (n) => ({ axis: -1, flatten: false, beta: n.float('beta', 1) }) },
    (b, x, axis) => b.softmax(x, axis),
    integerSoftmax,
  ),
  family('log_softmax', 'Logarithm of softmax', 'LogSoftmax', { LOG_SOFTMAX: lastAxis }, logSoftmax, integerLogSoftmax),
  family('hardmax', '1 at the first maximum along an axis, else 0', 'Hardmax', {}, hardmax),
];
