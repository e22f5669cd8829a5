// Operators whose result has as many rows as elements are true or non-zero: a loop program writes their positions one
// after the other and counts them; everything else is gathered from there.

import type { Builder } from '../../ir/builder.js';
import { product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel } from '../../ir/kernel-builder.js';
import { cast, constant, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type AnyRecord, op } from './record.js';

/** Positions of the non-zero elements in row-major order: i64 [count, rank]. */
export function positions(b: Builder, x: Value): Value {
  const { dtype, shape } = x.type;
  const [out] = buildKernel(b, 'positions', [x], (k) => {
    const [src] = k.inputs as [Buf];
    const count = k.count('nonzero', product(shape));
    const found = k.output('i64', [count.dim, shape.length]);
    const seen = k.mut(i32(0), 'seen');
    k.forEach(shape, (index) => {
      const v = k.load(src, index);
      k.if(dtype === 'i1' ? v : e.ne(v, constant(0, dtype)), () => {
        index.forEach((i, axis) => {
          k.store(found, [seen, axis], cast(i, 'i64'));
        });
        k.set(seen, e.add(seen, 1));
      });
    });
    count.store(seen);
  });
  return out as Value;
}

export const records: readonly AnyRecord[] = [
  op('non_zero', {
    doc: 'Positions of the non-zero elements, one column each.',
    inputs: ['x'],
    onnx: { 'NonZero@9': () => ({}) },
    lower: ({ x }, _a, b) => b.transpose(positions(b, x.type.shape.length === 0 ? b.reshape(x, [1]) : x), [1, 0]),
  }),
  op('where_true', {
    doc: 'Positions of the true elements, one row each.',
    inputs: ['x'],
    tflite: { WHERE: () => ({}) },
    quantized: 'raw',
    lower: ({ x }, _a, b) => positions(b, x),
  }),
  op('compress', {
    doc: 'The slices along an axis (or the elements) for which a condition is true.',
    inputs: ['x', 'condition'],
    onnx: { 'Compress@9': (n) => ({ axis: n.has('axis') ? n.int('axis') : undefined }) },
    lower({ x, condition }, { axis }, b) {
      const from = axis === undefined ? b.reshape(x, [product(x.type.shape)]) : x;
      const at = positions(b, condition);
      return b.gather(from, b.reshape(at, at.type.shape.slice(0, 1)), axis ?? 0);
    },
  }),
];
