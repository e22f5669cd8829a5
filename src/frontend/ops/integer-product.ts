// Integer products that leave the integers: matrix products as real numbers, with operands quantised by their own range on
// the way in, and onnxruntime's plain products and sums in 32 bits.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { lessZero } from './matmul.js';
import { rowOrScalar } from './qlinear.js';
import { dynamicRange, type Granularity, quantize } from './quantize.js';
import { type AnyRecord, op } from './record.js';

const PER_TENSOR: Granularity = { axis: 0, block: 0 };
const none = (): Record<string, never> => ({});

/** Integer product of matrices as f32: (x − x₀)(y − y₀) · scales + bias. */
export function productToFloat(
  b: Builder,
  i: Readonly<Record<'x' | 'y' | 'xScale' | 'yScale', Value>>,
  zeros: { x?: Value | undefined; y?: Value | undefined; bias?: Value | undefined },
): Value {
  const flat = (v: Value | undefined): Value | undefined => v && rowOrScalar(b, v);
  const sum = b.matmul(lessZero(b, i.x, flat(zeros.x), 'row'), lessZero(b, i.y, flat(zeros.y), 'column'), {
    acc: 'i32',
  });
  const y = b.map([sum, rowOrScalar(b, i.xScale), rowOrScalar(b, i.yScale)], (s, p, q) => {
    const factor = e.mul(p as Expr, q as Expr);
    return e.mul(cast(s, factor.dtype), factor);
  });
  return zeros.bias ? b.add(y, zeros.bias) : y;
}

/** A product of real rows and a quantised matrix: rows are quantised by the range of all of them. */
export function dynamicProduct(
  b: Builder,
  x: Value,
  y: Value,
  yScale: Value,
  yZero: Value | undefined,
  bias?: Value,
): Value {
  const { scale, zero } = dynamicRange(b, x);
  const q = quantize(b, x, scale, zero, PER_TENSOR, 'u8');
  return productToFloat(b, { x: q, y, xScale: scale, yScale }, { x: zero, y: yZero, bias });
}

const MatMulIntegerToFloat = op('matmul_integer_to_float', {
  doc: 'Integer matrix product scaled to f32, plus bias.',
  inputs: ['x', 'y', 'x_scale', 'y_scale', 'x_zero?', 'y_zero?', 'bias?'],
  onnx: { 'com.microsoft:MatMulIntegerToFloat@1': none },
  lower: ({ x, y, x_scale, y_scale, x_zero, y_zero, bias }, _a, b) =>
    productToFloat(b, { x, y, xScale: x_scale, yScale: y_scale }, { x: x_zero, y: y_zero, bias }),
});

const DynamicQuantizeMatMul = op('dynamic_quantize_matmul', {
  doc: 'Quantises x by its own range, then multiplies integers and scales to f32.',
  inputs: ['x', 'y', 'y_scale', 'y_zero?', 'bias?'],
  onnx: { 'com.microsoft:DynamicQuantizeMatMul@1': none },
  lower: ({ x, y, y_scale, y_zero, bias }, _a, b) => dynamicProduct(b, x, y, y_scale, y_zero, bias),
});

const MulInteger = op('mul_integer', {
  doc: 'Product of 8-bit integers less their zero points, in 32 bits.',
  inputs: ['x', 'x_zero?', 'y', 'y_zero?'],
  onnx: { 'com.microsoft:MulInteger@1': none },
  lower: ({ x, x_zero, y, y_zero }, _a, b) => {
    const less = (v: Value, zero: Value | undefined): Value => lessZero(b, v, zero && rowOrScalar(b, zero), 'row');
    return b.mul(less(x, x_zero), less(y, y_zero));
  },
});

const ReduceSumInteger = op('reduce_sum_integer', {
  doc: 'Sum of 8-bit integers over axes, in 32 bits.',
  inputs: ['x'],
  onnx: {
    'com.microsoft:ReduceSumInteger@1': (n) => ({ axes: n.ints('axes', []), keep: n.bool('keepdims', true) }),
  },
  lower: ({ x }, { axes, keep }, b) => {
    const wide = b.cast(x, x.type.dtype === 'u8' ? 'u32' : 'i32');
    return b.reduce(wide, 'add', axes.length > 0 ? axes : undefined, keep);
  },
});

export const records: readonly AnyRecord[] = [
  MatMulIntegerToFloat,
  DynamicQuantizeMatMul,
  MulInteger,
  ReduceSumInteger,
];
