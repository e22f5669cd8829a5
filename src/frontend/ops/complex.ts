// Complex tensors, whose numbers are pairs along a trailing axis: transforms of real signals and images, products, parts
// and magnitudes. The transform itself is signal.ts's. Also the orthogonal transform of signs (Hadamard).

import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { Builder } from '../../ir/builder.js';
import { type AnyRecord, op } from './record.js';
import { known, transform } from './signal.js';

/** One axis transformed to `length` bins (half of them and one for real input). */
function alongAxis(b: Builder, x: Value, axis: number, length: number, real: boolean): Value {
  const bins = real ? Math.floor(length / 2) + 1 : length;
  const shape = x.type.shape.map((d, k): Dim => (k === axis ? bins : k === x.type.shape.length - 1 ? 2 : d));
  const isAxis = (k: number): Expr => e.const(k === axis, 'i1');
  return transform(b, {
    x,
    sums: x.type.dtype,
    isAxis,
    axis,
    length: known(length),
    shape,
    inverse: false,
    onesided: real,
  });
}

const part = (name: string, builtin: string, which: 0 | 1): AnyRecord =>
  op(name, {
    doc: which === 0 ? 'Real parts.' : 'Imaginary parts.',
    inputs: ['x'],
    tflite: { [builtin]: () => ({}) },
    lower: ({ x }, _a, b) => b.squeeze(b.narrow(x, -1, which, 1), [-1]),
  });

/** Products of complex numbers, of x and y or of x and the conjugate of y. */
const complexProduct = (name: string, onnxName: string, doc: string, conjugate: boolean): AnyRecord =>
  op(name, {
    doc,
    inputs: ['x', 'y'],
    onnx: { [`com.microsoft:${onnxName}@1`]: () => ({}) },
    lower: ({ x, y }, _a, b) => {
      const parts = (v: Value): readonly [Value, Value] => [b.narrow(v, -1, 0, 1), b.narrow(v, -1, 1, 1)];
      const [[p, q], [r, s]] = [parts(x), parts(y)];
      const crossed = b.mul(q, s);
      const real = conjugate ? b.add(b.mul(p, r), crossed) : b.sub(b.mul(p, r), crossed);
      const imaginary = conjugate ? b.sub(b.mul(q, r), b.mul(p, s)) : b.add(b.mul(p, s), b.mul(q, r));
      return b.concat([real, imaginary], -1);
    },
  });

export const records: readonly AnyRecord[] = [
  complexProduct('complex_mul', 'ComplexMul', 'Products of complex numbers.', false),
  complexProduct(
    'complex_mul_conjugate',
    'ComplexMulConj',
    'Products of complex numbers and conjugates of others.',
    true,
  ),
  op('real_spectrum', {
    doc: 'onnxruntime’s Rfft: half of the spectrum of real signals along the last axis.',
    inputs: ['x'],
    onnx: { 'com.microsoft:Rfft@1': (n) => ({ rank: n.int('signal_ndim', 1) }) },
    lower: ({ x }, { rank }, b, ctx) => {
      const length = x.type.shape.at(-1);
      if (rank !== 1 || typeof length !== 'number') return ctx.limit('a transform of several axes or of unknown size');
      return alongAxis(b, b.unsqueeze(x, [-1]), x.type.shape.length - 1, length, true);
    },
    tolerance: { rtol: 1e-3, atol: 1e-4 },
  }),
  op('signal_of_spectrum', {
    doc: 'onnxruntime’s Irfft: real signals of even length from half of their spectrum, along the axis before the last.',
    inputs: ['x'],
    onnx: { 'com.microsoft:Irfft@1': (n) => ({ rank: n.int('signal_ndim') }) },
    lower: ({ x }, { rank }, b, ctx) => {
      const bins = x.type.shape.at(-2);
      if (rank !== 1 || typeof bins !== 'number') return ctx.limit('a transform of several axes or of unknown size');
      const axis = x.type.shape.length - 2;
      const length = 2 * (bins - 1);
      const shape = [...x.type.shape.slice(0, -2), length, 1];
      const isAxis = (k: number): Expr => e.const(k === axis, 'i1');
      const spec = { x, sums: x.type.dtype, isAxis, axis, length: known(length), shape, inverse: true, onesided: true };
      return b.squeeze(transform(b, spec), [-1]);
    },
    tolerance: { rtol: 1e-3, atol: 1e-4 },
  }),
  op('rfft_2d', {
    doc: 'Two-dimensional Fourier transform of real images, cropped or padded to the given size.',
    inputs: ['x', 'length'],
    tflite: { RFFT2D: () => ({}) },
    lower: ({ x }, _a, b, ctx) => {
      const [height, width] = ctx.reader.dims(1) ?? [];
      if (typeof height !== 'number' || typeof width !== 'number')
        return ctx.limit('a transform of a size that is not fixed');
      const rank = x.type.shape.length;
      const rows = alongAxis(b, b.unsqueeze(x, [rank]), rank - 1, width, true);
      return alongAxis(b, rows, rank - 2, height, false);
    },
    tolerance: { rtol: 1e-3, atol: 1e-4 },
  }),
  part('real', 'REAL', 0),
  part('imag', 'IMAG', 1),
  op('complex_abs', {
    doc: 'Magnitudes of complex numbers.',
    inputs: ['x'],
    tflite: { COMPLEX_ABS: () => ({}) },
    lower: ({ x }, _a, b) => b.sqrt(b.reduce(b.mul(x, x), 'add', [-1])),
  }),
  op<'x', { readonly size: number }>('hadamard_rotation', {
    doc: 'LiteRT: blocks of the last axis times the normalised Hadamard matrix.',
    inputs: ['x'],
    tflite: { 'custom:aeq.hadamard_rotation': (n) => ({ size: n.int('hadamard_size') }) },
    lower: ({ x }, { size }, b, ctx) => {
      if (size < 1 || 2 ** Math.round(Math.log2(size)) !== size) return ctx.limit(`a Hadamard matrix of size ${size}`);
      const width = x.type.shape.at(-1) as Dim;
      const blocks = b.reshape(x, [...x.type.shape.slice(0, -1), floordiv(width, size), size]);
      const sums = b.generic({
        shape: blocks.type.shape,
        reduce: [size],
        reducer: 'add',
        body: (i, [j], read) => {
          const value = cast(read(blocks, [...i.slice(0, -1), j as Expr]), 'f32');
          const shared = e.op('popcnt', e.and(i.at(-1) as Expr, j as Expr));
          return e.select(e.eq(e.and(shared, 1), 1), e.neg(value), value);
        },
      });
      return b.reshape(b.mul(sums, 1 / Math.sqrt(size)), x.type.shape);
    },
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
];
