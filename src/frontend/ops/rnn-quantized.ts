// onnxruntime's LSTM with 8-bit weights: rows of the input, all steps together, and the hidden state of each step are quantised
// by their own range, products are summed as integers, and everything else is the real cell of rnn.ts.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import type { Value } from '../../ir/tensor.js';
import { dynamicProduct } from './integer-product.js';
import { type AnyRecord, op } from './record.js';
import { pick, type Products, rnnAttrs, runRnn } from './rnn.js';
import { lstmCell } from './rnn-cells.js';

/** A quantised weight [directions, rows, gates·hidden], with a scale and a zero point per direction, or per column too. */
interface Quantized {
  readonly weight: Value;
  readonly scale: Value;
  readonly zero: Value | undefined;
}

/** x · the columns of direction `d` from `first` on. */
function product(
  b: Builder,
  { weight, scale, zero }: Quantized,
  d: number,
): (x: Value, first: Dim, count: Dim) => Value {
  const own = pick(b, weight, d);
  const parameter = (p: Value, first: Dim, count: Dim): Value => {
    const v = pick(b, p, d);
    return v.type.shape.length === 0 ? v : b.narrow(v, 0, first, count);
  };
  return (x, first, count) =>
    dynamicProduct(
      b,
      x,
      b.narrow(own, 1, first, count),
      parameter(scale, first, count),
      zero && parameter(zero, first, count),
    );
}

const quantizedProducts = (b: Builder, input: Quantized, recurrent: Quantized): Products => ({
  directions: input.weight.type.shape[0] as Dim,
  hidden: recurrent.weight.type.shape[1] as Dim,
  input: (d, x) => product(b, input, d)(x, 0, input.weight.type.shape[2] as Dim),
  recurrent(d, hidden) {
    const multiply = product(b, recurrent, d);
    return (state, first, count) => multiply(state, first * hidden, count * hidden);
  },
});

const DynamicQuantizeLSTM = op('dynamic_quantize_lstm', {
  doc: 'LSTM with 8-bit weights; inputs and states are quantised by their own range on the way.',
  inputs: [
    'x',
    'weight',
    'recurrent',
    'bias?',
    'lengths?',
    'h?',
    'c?',
    'peephole?',
    'w_scale',
    'w_zero?',
    'r_scale',
    'r_zero?',
  ],
  onnx: {
    'com.microsoft:DynamicQuantizeLSTM@1': (n) => ({
      ...rnnAttrs(n, ['Sigmoid', 'Tanh', 'Tanh']),
      coupled: n.bool('input_forget', false),
    }),
  },
  lower: ({ weight, recurrent, w_scale, w_zero, r_scale, r_zero, h, c, ...rest }, attrs, b, ctx) =>
    runRnn(b, ctx, lstmCell(attrs.coupled), attrs, {
      ...rest,
      states: [h, c],
      products: quantizedProducts(
        b,
        { weight, scale: w_scale, zero: w_zero },
        { weight: recurrent, scale: r_scale, zero: r_zero },
      ),
    }),
  tolerance: { rtol: 1e-2, atol: 1e-3 },
});

export const records: readonly AnyRecord[] = [DynamicQuantizeLSTM];
