// TFLite's plain RNN, a step at a time or over a sequence, in one direction or two, and LiteRT's GRU over a sequence.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Value } from '../../ir/tensor.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
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
import { type AnyRecord, type NodeReader, op } from './record.js';

/** Positions of weights, recurrent weights, bias and state, and of weights of a second input. */
interface RnnPositions {
  readonly weights: number;
  readonly recurrent: number;
  readonly bias: number;
  readonly state: number;
  readonly second?: number;
}

const FORWARD: RnnPositions = { weights: 1, recurrent: 2, bias: 3, state: 4 };
const BACKWARD: RnnPositions = { weights: 5, recurrent: 6, bias: 7, state: 8 };

/** Plain RNN over x [time, batch, in], and the same of a second input. */
function runRnn(layer: Layer, x: Value, at: RnnPositions, activation: FusedActivation, second?: Value): Value {
  const { b, value, rounded, ctx } = layer;
  const need = (i: number): Value => value(i) ?? ctx.limit(`input ${i} is missing`);
  const products = (v: Value, w: number): Value => b.matmul(rounded(v), need(w), { transposeY: true });
  const own = b.add(products(x, at.weights), need(at.bias));
  const sums = second && at.second !== undefined ? b.add(own, products(second, at.second)) : own;
  const r = need(at.recurrent);
  const initial = b.reshape(need(at.state), [x.type.shape[1] as Dim, r.type.shape[0] as Dim]);
  const [h, outputs] = b.scan(x.type.shape[0] as Dim, [initial], [sums], (_s, [h0], [inputs]) => {
    const sum = b.add(inputs as Value, b.matmul(rounded(h0 as Value), r, { transposeY: true }));
    const h1 = fusedActivation(b, sum, activation);
    return [h1, h1];
  }) as [Value, Value];
  keepState(b, ctx, at.state, h);
  return outputs;
}

interface RnnAttrs extends Directions {
  readonly activation: FusedActivation;
}

const rnnAttrs = (n: NodeReader): RnnAttrs => ({
  timeMajor: n.bool('time_major', false),
  merge: n.bool('merge_outputs', false),
  activation: activationOf(n),
});

const stepRnn: Lower<RnnAttrs> = ({ x }, a, b, ctx) =>
  b.squeeze(runRnn(layerOf(b, ctx, 1), b.unsqueeze(x, [0]), FORWARD, a.activation), [0]);

const sequenceRnn: Lower<RnnAttrs> = ({ x }, a, b, ctx) =>
  swapped(b, runRnn(layerOf(b, ctx, 1), swapped(b, x, a.timeMajor), FORWARD, a.activation), a.timeMajor);

const bothWaysRnn: Lower<RnnAttrs> = ({ x }, a, b, ctx) => {
  const layer = layerOf(b, ctx, 1);
  return bothDirections(
    b,
    ctx,
    x,
    a,
    { second: 9, weights: 10 },
    {
      forward: (steps, more) => runRnn(layer, steps, { ...FORWARD, second: 10 }, a.activation, more),
      backward: (steps, more) => runRnn(layer, steps, { ...BACKWARD, second: 11 }, a.activation, more),
    },
  );
};

interface GruInputs {
  readonly x: Value;
  readonly state: Value;
  readonly gates: Value;
  readonly gateBias: Value;
  readonly candidate: Value;
  readonly candidateBias: Value;
}

/** Weights stand side by side for the input and the last output; gates in the order reset, update. Gives outputs and last state. */
function sequenceGru(inputs: GruInputs, _a: object, b: Builder): readonly Value[] {
  const { x, state, gates, gateBias, candidate, candidateBias } = inputs;
  const width = state.type.shape[1] as number;
  const size = x.type.shape[2] as number;
  const own = (w: Value, bias: Value): Value => b.add(b.matmul(x, b.narrow(w, 1, 0, size), { transposeY: true }), bias);
  const back = (h: Value, w: Value): Value => b.matmul(h, b.narrow(w, 1, size, width), { transposeY: true });
  const given = [own(gates, gateBias), own(candidate, candidateBias)];
  const [last, outputs] = b.scan(x.type.shape[0] as Dim, [state], given, (_s, [h0], [forGates, forCandidate]) => {
    const h = h0 as Value;
    const opened = b.sigmoid(b.add(forGates as Value, back(h, gates)));
    const [reset, update] = [0, 1].map((k) => b.narrow(opened, 1, k * width, width)) as [Value, Value];
    const fresh = b.tanh(b.add(forCandidate as Value, back(b.mul(h, reset), candidate)));
    const next = b.map([update, fresh, h], (u, c, old) => e.add(e.mul(e.sub(1, u), c), e.mul(u, old)));
    return [next, next];
  }) as [Value, Value];
  return [outputs, last];
}

export const records: readonly AnyRecord[] = [
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
  op<'x' | 'state' | 'gates' | 'gateBias' | 'candidate' | 'candidateBias', object>('tflite_sequence_gru', {
    doc: 'GRU over a sequence, time first; gives the outputs and the last state.',
    inputs: ['x', 'state', 'gates', 'gateBias', 'candidate', 'candidateBias'],
    tflite: { 'custom:UNIDIRECTIONAL_SEQUENCE_GRU': () => ({}) },
    lower: sequenceGru,
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
];
