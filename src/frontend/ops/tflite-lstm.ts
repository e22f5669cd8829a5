// TFLite's recurrent layers: LSTM with its variants (coupled gates, peepholes, projection, clipping, layer norm), plain RNN,
// in one direction or two, a step at a time or over a sequence. The input's products for all steps are one contraction; a
// scan carries the states, which live in variable tensors. Integer LSTM: quantized/lstm.ts and quantized/lstm-full.ts.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { dequantize, roundAsymmetric, roundSymmetric } from './quantized/hybrid.js';
import type { LstmPositions } from './quantized/gate-products.js';
import { integerLstm } from './quantized/lstm.js';
import { fullIntegerLstm } from './quantized/lstm-full.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';

const SEQUENCE: LstmPositions = {
  input: [1, 2, 3, 4],
  recurrent: [5, 6, 7, 8],
  peephole: [9, 10, 11],
  bias: [12, 13, 14, 15],
  projection: [16, 17],
  states: [18, 19],
  norm: [20, 21, 22, 23],
};
const FORWARD: LstmPositions = { ...SEQUENCE, states: [35, 36], norm: null };
const BACKWARD: LstmPositions = {
  input: [18, 19, 20, 21],
  recurrent: [22, 23, 24, 25],
  peephole: [26, 27, 28],
  bias: [29, 30, 31, 32],
  projection: [33, 34],
  states: [37, 38],
  norm: null,
};

interface LstmAttrs {
  readonly timeMajor: boolean;
  readonly cellClip: number;
  readonly projClip: number;
  readonly activation: FusedActivation;
  /** Both directions' outputs in one tensor. */
  readonly merge: boolean;
}

const lstmAttrs = (n: NodeReader): LstmAttrs => ({
  timeMajor: n.bool('time_major', false),
  cellClip: n.float('cell_clip', 0),
  projClip: n.float('proj_clip', 0),
  activation: activationOf(n),
  merge: n.bool('merge_outputs', false),
});

/** What the two directions, and hybrid and float layers, have in common. */
interface Layer {
  readonly b: Builder;
  readonly ctx: LowerContext;
  /** An input in float; undefined where absent. */
  readonly value: (i: number) => Value | undefined;
  /** Activations before they meet integer weights. */
  readonly rounded: (x: Value) => Value;
}

function layerOf(b: Builder, ctx: LowerContext, weights: number): Layer {
  const hybrid = ctx.reader.input(weights) && !isFloat((ctx.reader.input(weights) as Value).type.dtype);
  const asymmetric = ctx.reader.bool('asymmetric_quantize_inputs', false);
  return {
    b,
    ctx,
    value(i) {
      const v = ctx.reader.input(i);
      const q = ctx.quantIn(i);
      return v && q && !isFloat(v.type.dtype) ? dequantize(b, v, q, ctx) : v;
    },
    rounded: (x) => (!hybrid ? x : asymmetric ? roundAsymmetric(b, x, [-1]) : roundSymmetric(b, x, [-1])),
  };
}

const present = (values: readonly (Value | undefined)[]): readonly Value[] =>
  values.filter((v): v is Value => v !== undefined);

/** One direction over x [time, batch, in]; gives [time, batch, out] and leaves the states behind. */
function runLstm(layer: Layer, x: Value, at: LstmPositions, a: LstmAttrs): Value {
  const { b, value, ctx } = layer;
  const need = (i: number): Value => value(i) ?? ctx.limit(`input ${i} is missing`);
  const coupled = value(at.input[0]) === undefined;
  const gates = coupled ? [1, 2, 3] : [0, 1, 2, 3];
  const pick = (from: readonly number[]): readonly Value[] => gates.map((g) => need(from[g] as number));
  const cell = (need(at.recurrent[3]).type.shape[0] ?? 1) as Dim;
  const norm = at.norm && value(at.norm[1]) ? at.norm : null;
  const projected = b.matmul(layer.rounded(x), b.concat(pick(at.input), 0), { transposeY: true });
  const biases = present(gates.map((g) => value(at.bias[g] as number)));
  const sums = norm || biases.length === 0 ? projected : b.add(projected, b.concat(biases, 0));
  const recurrent = b.concat(pick(at.recurrent), 0);
  const batch = x.type.shape[1] as Dim;
  const initial = at.states.map((i) => b.reshape(need(i), [batch, stateWidth(i)]));
  function stateWidth(i: number): Dim {
    return i === at.states[1] ? cell : ((recurrent.type.shape[1] ?? 1) as Dim);
  }

  const step = (h: Value, c: Value, inputs: Value): readonly [Value, Value] => {
    const all = b.add(inputs, b.matmul(layer.rounded(h), recurrent, { transposeY: true }));
    const raw = (gate: number, memory?: Value): Value => {
      const k = gates.indexOf(gate);
      const part = b.narrow(all, 1, typeof cell === 'number' ? k * cell : ctx.limit('a cell of unknown size'), cell);
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
  keepState(layer, at.states[0], h);
  keepState(layer, at.states[1], c);
  return outputs;
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

/** Writes a state back where its tensor is a variable. */
function keepState({ b, ctx }: Layer, i: number, v: Value): void {
  const name = ctx.stateOf(i);
  const shape = ctx.reader.input(i)?.type.shape;
  if (name && shape) b.stateWrite(name, b.reshape(v, shape));
}

/** [batch, time, …] ↔ [time, batch, …]. */
const swapped = (b: Builder, x: Value, timeMajor: boolean): Value => (timeMajor ? x : b.transpose(x, [1, 0, 2]));

type Lower<A> = (inputs: { readonly x: Value }, attrs: A, b: Builder, ctx: LowerContext) => Value | readonly Value[];

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
  const y = isFloat(x.type.dtype)
    ? runLstm(layerOf(b, ctx, 2), steps, SEQUENCE, a)
    : fullIntegerLstm(b, ctx, steps, SEQUENCE, a, false);
  return b.squeeze(y, [0]);
};

/** Inputs x, previous output, weights [4·cell, in + cell], bias, previous state; gates in the order input, candidate, forget, output. */
function basicLstm(b: Builder, ctx: LowerContext, x: Value): readonly Value[] {
  if (!isFloat(x.type.dtype))
    return [ctx.limit('the basic LSTM kernel in integers', 'Convert the model with full LSTM kernels')];
  const [previous, weights, bias, state] = [1, 2, 3, 4].map(
    (i) => ctx.reader.input(i) ?? ctx.limit(`input ${i} is missing`),
  );
  const joined = b.concat([x, previous as Value], 1);
  const sums = b.add(b.matmul(joined, weights as Value, { transposeY: true }), bias as Value);
  const cell = (state as Value).type.shape[1] as number;
  const part = (k: number): Value => b.narrow(sums, 1, k * cell, cell);
  const kept = b.mul(b.sigmoid(part(2)), state as Value);
  const next = b.add(kept, b.mul(b.sigmoid(part(0)), b.tanh(part(1))));
  return [b.mul(b.sigmoid(part(3)), b.tanh(next)), next, joined, sums];
}

const bothWays: Lower<LstmAttrs> = ({ x }, a, b, ctx) => {
  if (ctx.reader.input(39)) ctx.limit('an auxiliary input');
  const layer = layerOf(b, ctx, 2);
  const steps = swapped(b, x, a.timeMajor);
  const forward = runLstm(layer, steps, FORWARD, a);
  const backward = b.flip(runLstm(layer, b.flip(steps, [0]), BACKWARD, a), [0]);
  return joinDirections(b, forward, backward, a);
};

function joinDirections(b: Builder, forward: Value, backward: Value, a: { timeMajor: boolean; merge: boolean }) {
  if (a.merge) return swapped(b, b.concat([forward, backward], 2), a.timeMajor);
  return [swapped(b, forward, a.timeMajor), swapped(b, backward, a.timeMajor)];
}

/** Positions of weights, recurrent weights, bias and state. */
type RnnPositions = readonly [number, number, number, number];

/** Plain RNN over x [time, batch, in]. */
function runRnn(layer: Layer, x: Value, at: RnnPositions, activation: FusedActivation): Value {
  const { b, value, rounded, ctx } = layer;
  const [w, r, bias, state] = at.map((i) => value(i) ?? ctx.limit(`input ${i} is missing`)) as [
    Value,
    Value,
    Value,
    Value,
  ];
  const sums = b.add(b.matmul(rounded(x), w, { transposeY: true }), bias);
  const initial = b.reshape(state, [x.type.shape[1] as Dim, r.type.shape[0] as Dim]);
  const [h, outputs] = b.scan(x.type.shape[0] as Dim, [initial], [sums], (_s, [h0], [inputs]) => {
    const sum = b.add(inputs as Value, b.matmul(rounded(h0 as Value), r, { transposeY: true }));
    const h1 = fusedActivation(b, sum, activation);
    return [h1, h1];
  }) as [Value, Value];
  keepState(layer, at[3], h);
  return outputs;
}

interface RnnAttrs {
  readonly timeMajor: boolean;
  readonly merge: boolean;
  readonly activation: FusedActivation;
}

const rnnAttrs = (n: NodeReader): RnnAttrs => ({
  timeMajor: n.bool('time_major', false),
  merge: n.bool('merge_outputs', false),
  activation: activationOf(n),
});

const stepRnn: Lower<RnnAttrs> = ({ x }, a, b, ctx) =>
  b.squeeze(runRnn(layerOf(b, ctx, 1), b.unsqueeze(x, [0]), [1, 2, 3, 4], a.activation), [0]);

const sequenceRnn: Lower<RnnAttrs> = ({ x }, a, b, ctx) =>
  swapped(b, runRnn(layerOf(b, ctx, 1), swapped(b, x, a.timeMajor), [1, 2, 3, 4], a.activation), a.timeMajor);

const bothWaysRnn: Lower<RnnAttrs> = ({ x }, a, b, ctx) => {
  if (ctx.reader.input(9)) ctx.limit('an auxiliary input');
  const layer = layerOf(b, ctx, 1);
  const steps = swapped(b, x, a.timeMajor);
  const forward = runRnn(layer, steps, [1, 2, 3, 4], a.activation);
  const backward = b.flip(runRnn(layer, b.flip(steps, [0]), [5, 6, 7, 8], a.activation), [0]);
  return joinDirections(b, forward, backward, a);
};

/** The other inputs are read by position. */
function recurrentRecord<A extends object>(
  name: string,
  doc: string,
  builtin: string,
  decode: (n: NodeReader) => A,
  lower: Lower<A>,
) {
  return op<'x', A>(name, {
    doc,
    inputs: ['x'],
    tflite: { [builtin]: decode },
    lower,
    quantized: lower,
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  });
}

export const records: readonly AnyRecord[] = [
  recurrentRecord(
    'tflite_sequence_lstm',
    'LSTM over a sequence.',
    'UNIDIRECTIONAL_SEQUENCE_LSTM',
    lstmAttrs,
    sequenceLstm,
  ),
  recurrentRecord('tflite_lstm', 'One step of an LSTM.', 'LSTM', lstmAttrs, stepLstm),
  recurrentRecord(
    'tflite_bidirectional_lstm',
    'LSTM over a sequence in both directions.',
    'BIDIRECTIONAL_SEQUENCE_LSTM',
    lstmAttrs,
    bothWays,
  ),
  recurrentRecord('tflite_rnn', 'One step of a plain RNN.', 'RNN', rnnAttrs, stepRnn),
  recurrentRecord(
    'tflite_sequence_rnn',
    'Plain RNN over a sequence.',
    'UNIDIRECTIONAL_SEQUENCE_RNN',
    rnnAttrs,
    sequenceRnn,
  ),
  recurrentRecord(
    'tflite_bidirectional_rnn',
    'Plain RNN over a sequence in both directions.',
    'BIDIRECTIONAL_SEQUENCE_RNN',
    rnnAttrs,
    bothWaysRnn,
  ),
];
