// Elements in reverse order along axes, whole or up to a length per batch element.

import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import { type AnyRecord, op } from './record.js';
import { knownInts } from './runtime-sizes.js';

export const records: readonly AnyRecord[] = [
  op('reverse', {
    doc: 'Reversed along the axes listed',
    inputs: ['x', 'axes'],
    tflite: { REVERSE_V2: () => ({}) },
    quantized: 'raw',
    lower: ({ x, axes }, _a, b, ctx) =>
      b.flip(x, knownInts(b, undefined, axes) ?? ctx.limit('the axes to reverse depend on data')),
  }),
  op('reverse_sequence', {
    doc: 'The first lengths[n] steps of sequence n reversed, the others left',
    inputs: ['x', 'lengths'],
    onnx: { 'ReverseSequence@10': (n) => ({ batch: n.int('batch_axis', 1), time: n.int('time_axis', 0) }) },
    tflite: { REVERSE_SEQUENCE: (n) => ({ batch: n.int('batch_dim', 0), time: n.int('seq_dim', 0) }) },
    quantized: 'raw',
    examples: [
      { in: { x: [[1, 2, 3]], lengths: { dtype: 'i64', data: [2] } }, attrs: { batch: 0, time: 1 }, out: [[2, 1, 3]] },
    ],
    lower: ({ x, lengths }, a, b) => {
      const [batch, time] = [b.axis(x, a.batch), b.axis(x, a.time)];
      return b.generic({
        shape: x.type.shape,
        body: (i, _r, read) => {
          const step = i[time] as Expr;
          const length = cast(read(lengths, [i[batch] as Expr]), 'i32');
          const inside = e.lt(step, length);
          const mirrored = e.select(inside, e.sub(e.sub(length, 1), step), step);
          return read(
            x,
            i.map((v, k) => (k === time ? mirrored : v)),
          );
        },
      });
    },
  }),
];
