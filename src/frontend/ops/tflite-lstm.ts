// TFLite's LSTMs with their variants (coupled gates, peepholes, projection, clipping, layer norm), in one direction or two, a
// step at a time or over a sequence. The input's products for all steps are one contraction; a scan carries the states, which
// live in variable tensors. In integers: quantized/lstm.ts, lstm-full.ts, lstm-narrow.ts and lstm-basic.ts.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { type LstmPositions, needed } from './quantized/gate-products.js';
import { integerLstm } from './quantized/lstm.js';
import { basicIntegerLstm } from './quantized/lstm-basic.js';
import { fullIntegerLstm } from './quantized/lstm-full.js';
import { NARROW_INTERMEDIATES, narrowIntegerLstm } from './quantized/lstm-narrow.js';
import type { AnyRecord, LowerContext, NodeReader } from './record.js';
import {
  bothDirections,
  type Directions,
  keepState,
  type Layer,
  type Lower,
  layerOf,
  recurrentRecord,
  swapped,
} from './recurrent-layer.js';

const SEQUENCE: LstmPositions = {
  input: [1, 2, 3, 4],
  recurrent: [5, 6, 7, 8],
  peephole: [9, 10, 11],
  bias: [12, 13, 14, 15],
  projection: [16, 17],
  states: [18, 19],
  norm: [20, 21, 22, 23],
  second: null,
};
const FORWARD: LstmPositions = { ...SEQUENCE, states: [35, 36], norm: null, second: [40, 41, 42, 43] };
const BACKWARD: LstmPositions = {
  input: [18, 19, 20, 21],
  recurrent: [22, 23, 24, 25],
  peephole: [26, 27, 28],
  bias: [29, 30, 31, 32],
  projection: [33, 34],
  states: [37, 38],
  norm: null,
  second: [44, 45, 46, 47],
};

interface LstmAttrs extends Directions {
  readonly cellClip: number;
  readonly projClip: number;
  readonly activation: FusedActivation;
}

const lstmAttrs = (n: NodeReader): LstmAttrs => ({
  timeMajor: n.bool('time_major', false),
  cellClip: n.float('cell_clip', 0),
  projClip: n.float('proj_clip', 0),
  activation: activationOf(n),
  merge: n.bool('merge_outputs', false),
});

const present = (values: readonly (Value | undefined)[]): readonly Value[] =>
  values.filter((v): v is Value => v !== undefined);

/** One direction over x [time, batch, in], and the same of a second input; gives [time, batch, out] and leaves the states behind. */
function runLstm(layer: Layer, x: Value, at: LstmPositions, a: LstmAttrs, second?: Value): Value {
  const { b, value, ctx } = layer;
  const need = (i: number): Value => value(i) ?? ctx.limit(`input ${i} is missing`);
  const coupled = value(at.input[0]) === undefined;
  const gates = coupled ? [1, 2, 3] : [0, 1, 2, 3];
  const pick = (from: readonly number[]): readonly Value[] => gates.map((g) => need(from[g] as number));
  const cell = need(at.recurrent[3]).type.shape[0] as number;
  const norm = at.norm && value(at.norm[1]) ? at.norm : null;
  const products = (v: Value, from: readonly number[]): Value =>
    b.matmul(layer.rounded(v), b.concat(pick(from), 0), { transposeY: true });
  const own = products(x, at.input);
  const projected = second && at.second ? b.add(own, products(second, at.second)) : own;
  const biases = present(gates.map((g) => value(at.bias[g] as number)));
  const sums = norm || biases.length === 0 ? projected : b.add(projected, b.concat(biases, 0));
  const recurrent = recurrence(layer, pick(at.recurrent));
  const batch = x.type.shape[1] as Dim;
  const initial = at.states.map((i, k) => b.reshape(need(i), [batch, k === 0 ? recurrent.width : cell]));

  const step = (h: Value, c: Value, inputs: Value): readonly [Value, Value] => {
    const all = b.add(inputs, recurrent.sums(h));
    const raw = (gate: number, memory?: Value): Value => {
      const part = b.narrow(all, 1, gates.indexOf(gate) * cell, cell);
      const peephole = memory && value(at.peephole[gate === 3 ? 2 : gate] as number);
      const seen = peephole ? b.add(part, b.mul(memory, peephole)) : part;
      return norm ? b.add(b.mul(normalized(b, seen), need(norm[gate] as number)), need(at.bias[gate] as number)) : seen;
    };
    const forget = b.sigmoid(raw(1, c));
    const input = coupled ? b.map([forget], (f) => e.sub(1, f)) : b.sigmoid(raw(0, c));
    const candidate = fusedActivation(b, raw(2), a.activation);
    const next = clipped(b, b.add(b.mul(forget, c), b.mul(input, candidate)), a.cellClip);
    const out = b.mul(b.sigmoid(raw(3, next)), fusedActivation(b, next, a.activation));
    return [project(layer, out, at, a), next];
  };
  const [h, c, outputs] = b.scan(x.type.shape[0] as Dim, initial, [sums], (_s, [h0, c0], [inputs]) => {
    const [h1, c1] = step(h0 as Value, c0 as Value, inputs as Value);
    return [h1, c1, h1];
  }) as [Value, Value, Value];
  keepState(b, ctx, at.states[0], h);
  keepState(b, ctx, at.states[1], c);
  return outputs;
}

/** What the last output adds to all gates, and its width. Weights of one axis stand for diagonal matrices, which meet
 *  activations as they are, with no loss of 8 bits. */
function recurrence({ b, rounded }: Layer, weights: readonly Value[]) {
  const isDiagonal = (w: Value): boolean => w.type.shape.length === 1;
  const width = weights.at(-1)?.type.shape.at(-1) as number;
  if (!weights.some(isDiagonal)) {
    const all = b.concat(weights, 0);
    return { width, sums: (h: Value): Value => b.matmul(rounded(h), all, { transposeY: true }) };
  }
  const sums = (h: Value): Value =>
    b.concat(
      weights.map((w) => (isDiagonal(w) ? b.mul(h, w) : b.matmul(rounded(h), w, { transposeY: true }))),
      1,
    );
  return { width, sums };
}

/** Zero mean and unit deviation along the last axis. */
function normalized(b: Builder, x: Value): Value {
  const centred = b.sub(x, b.reduce(x, 'mean', [-1], true));
  const variance = b.reduce(b.mul(centred, centred), 'mean', [-1], true);
  return b.map([centred, variance], (v, s) => e.div(v, e.sqrt(e.add(s, 1e-8))));
}

const clipped = (b: Builder, x: Value, limit: number): Value => (limit > 0 ? b.clamp(x, -limit, limit) : x);

function project({ b, value, rounded }: Layer, h: Value, at: LstmPositions, a: LstmAttrs): Value {
  const [weights, bias] = at.projection.map(value);
  if (!weights) return h;
  const y = b.matmul(rounded(h), weights, { transposeY: true });
  return clipped(b, bias ? b.add(y, bias) : y, a.projClip);
}

const sequenceLstm: Lower<LstmAttrs> = ({ x }, a, b, ctx) => {
  const steps = swapped(b, x, a.timeMajor);
  const run = (): Value => {
    if (isFloat(x.type.dtype)) return runLstm(layerOf(b, ctx, 2), steps, SEQUENCE, a);
    if (isBasic(ctx, SEQUENCE)) return integerLstm(b, ctx, steps, SEQUENCE, a);
    return fullIntegerLstm(b, ctx, steps, SEQUENCE, a, !a.timeMajor);
  };
  return swapped(b, run(), a.timeMajor);
};

/** What the kernels for microcontrollers know: the four gates and nothing else. */
function isBasic({ reader }: LowerContext, at: LstmPositions): boolean {
  const options = [...at.peephole, at.projection[0], ...(at.norm ?? [])];
  return reader.input(at.input[0]) !== undefined && !options.some((i) => reader.input(i));
}

/** The builtin LSTM: one step, x [batch, in]. */
const stepLstm: Lower<LstmAttrs> = ({ x }, a, b, ctx) => {
  if (ctx.reader.string('kernel_type', 'FULL') === 'BASIC') return basicLstm(b, ctx, x);
  const steps = b.unsqueeze(x, [0]);
  if (isFloat(x.type.dtype)) return b.squeeze(runLstm(layerOf(b, ctx, 2), steps, SEQUENCE, a), [0]);
  if (ctx.reader.strings('intermediates', []).length === NARROW_INTERMEDIATES)
    return narrowIntegerLstm(b, ctx, x, SEQUENCE, a);
  return b.squeeze(fullIntegerLstm(b, ctx, steps, SEQUENCE, a, false), [0]);
};

/** Inputs x, previous output, weights [4·cell, in + cell], bias, previous state. */
function basicLstm(b: Builder, ctx: LowerContext, x: Value): readonly Value[] {
  const results = isFloat(x.type.dtype) ? basicFloatLstm(b, ctx, x) : basicIntegerLstm(b, ctx, x);
  keepState(b, ctx, 1, results[0] as Value);
  keepState(b, ctx, 4, results[1] as Value);
  return results;
}

/** Gates in the order input, candidate, forget, output. */
function basicFloatLstm(b: Builder, ctx: LowerContext, x: Value): readonly Value[] {
  const [previous, weights, bias, state] = [1, 2, 3, 4].map((i) => needed(ctx, i));
  const joined = b.concat([x, previous as Value], 1);
  const sums = b.add(b.matmul(joined, weights as Value, { transposeY: true }), bias as Value);
  const cell = (state as Value).type.shape[1] as number;
  const part = (k: number): Value => b.narrow(sums, 1, k * cell, cell);
  const kept = b.mul(b.sigmoid(part(2)), state as Value);
  const next = b.add(kept, b.mul(b.sigmoid(part(0)), b.tanh(part(1))));
  return [b.mul(b.sigmoid(part(3)), b.tanh(next)), next, joined, sums];
}

const bothWays: Lower<LstmAttrs> = ({ x }, a, b, ctx) => {
  const layer = layerOf(b, ctx, 2);
  return bothDirections(
    b,
    ctx,
    x,
    a,
    { second: 39, weights: FORWARD.second?.[1] ?? -1 },
    {
      forward: (steps, more) => runLstm(layer, steps, FORWARD, a, more),
      backward: (steps, more) => runLstm(layer, steps, BACKWARD, a, more),
    },
  );
};

export const records: readonly AnyRecord[] = [
  recurrentRecord(
    'tflite_sequence_lstm',
    'LSTM over a sequence.',
    'UNIDIRECTIONAL_SEQUENCE_LSTM',
    lstmAttrs,
    sequenceLstm,
    ['In integers, the basic form is computed as the kernel for microcontrollers does, all others as LiteRT does.'],
  ),
  recurrentRecord('tflite_lstm', 'One step of an LSTM.', 'LSTM', lstmAttrs, stepLstm),
  recurrentRecord(
    'tflite_bidirectional_lstm',
    'LSTM over a sequence in both directions.',
    'BIDIRECTIONAL_SEQUENCE_LSTM',
    lstmAttrs,
    bothWays,
  ),
];
