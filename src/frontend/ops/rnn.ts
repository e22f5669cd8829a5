// ONNX RNN, GRU and LSTM. The input projection of all steps is one matrix product outside; the scan holds only the
// recurrent part. A direction is one scan: the reverse one reads its steps from the end, each sequence from its own.
// Weights are [direction, gate·hidden, …], gates in ONNX's order: LSTM i o f c, GRU z r h. Quantised weights: rnn-quantized.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, dimEq } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { type Activation, activationList } from './rnn-activations.js';
import { type Cell, gruCell, lstmCell, plainCell, type RecurrentProduct, type Weights } from './rnn-cells.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';

export interface RnnAttrs {
  readonly hidden: number | undefined;
  readonly direction: 'forward' | 'reverse' | 'bidirectional';
  /** Batch first, in the inputs and outputs that have a batch axis. */
  readonly batchFirst: boolean;
  readonly clip: number | undefined;
  /** Per direction, as many as the cell has. */
  readonly activations: readonly (readonly Activation[])[];
}

export function rnnAttrs(n: NodeReader, defaults: readonly string[]): RnnAttrs {
  const name = n.string('direction', 'forward').toLowerCase();
  const direction = (['forward', 'reverse', 'bidirectional'] as const).find((d) => d === name);
  if (!direction) throw new CompileError('E203', `direction "${name}" is not defined`);
  return {
    hidden: n.has('hidden_size') ? n.int('hidden_size') : undefined,
    direction,
    batchFirst: n.int('layout', 0) === 1,
    clip: n.has('clip') ? n.float('clip') : undefined,
    activations: activationList(n, defaults, direction === 'bidirectional' ? 2 : 1),
  };
}

/** What multiplies by the weights of direction `d`. */
export interface Products {
  readonly directions: Dim;
  readonly hidden: Dim;
  /** x · Wᵀ for all gates, [steps, batch, gates·hidden]. */
  readonly input: (d: number, x: Value) => Value;
  readonly recurrent: (d: number, hidden: number) => RecurrentProduct;
}

/** Real weights [directions, gates·hidden, input] and [directions, gates·hidden, hidden]. */
const realProducts = (b: Builder, weight: Value, recurrent: Value): Products => ({
  directions: weight.type.shape[0] as Dim,
  hidden: recurrent.type.shape[2] as Dim,
  input: (d, x) => b.matmul(x, pick(b, weight, d), { transposeY: true }),
  recurrent(d, hidden) {
    const own = pick(b, recurrent, d);
    return (state, first, count) =>
      b.matmul(state, b.narrow(own, 0, first * hidden, count * hidden), { transposeY: true });
  },
});

interface Layer {
  readonly b: Builder;
  readonly cell: Cell;
  readonly attrs: RnnAttrs;
  /** [steps, batch, input] */
  readonly x: Value;
  readonly products: Products;
  readonly bias: Value | undefined;
  readonly lengths: Value | undefined;
  /** [directions, batch, hidden] each. */
  readonly initial: readonly (Value | undefined)[];
  readonly peephole: Value | undefined;
  readonly hidden: number;
}

/** Slice `d` of the leading axis. */
export const pick = (b: Builder, v: Value, d: number): Value => b.squeeze(b.narrow(v, 0, d, 1), [0]);

/** The sequences turned round, each within its own length. */
function reversed(b: Builder, x: Value, lengths: Value | undefined): Value {
  if (!lengths) return b.flip(x, [0]);
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const [t, n, ...rest] = i as [Expr, Expr];
      const length = cast(read(lengths, [n]), 'i32');
      return read(x, [e.select(e.lt(t, length), e.sub(e.sub(length, 1), t), t), n, ...rest]);
    },
  });
}

/** x · Wᵀ + biases for every step at once: [steps, batch, gates·hidden]. */
function inputProjection(l: Layer, d: number, x: Value): Value {
  const { b, cell, hidden } = l;
  const product = l.products.input(d, x);
  if (!l.bias) return product;
  const rows = cell.gates * hidden;
  const bias = pick(b, l.bias, d);
  const fused = cell.fusedBiasGates * hidden;
  const both = b.generic({
    shape: [rows],
    body: (i, _r, read) => {
      const [j] = i as [Expr];
      const own = read(bias, [j]);
      const other = read(bias, [e.add(j, rows)]);
      return e.add(own, fused === rows ? other : e.select(e.lt(j, fused), other, e.const(0, own.dtype)));
    },
  });
  return b.add(product, both);
}

/** The steps of one direction: stacked outputs and last states. */
function runDirection(
  l: Layer,
  d: number,
  backward: boolean,
): { readonly stacked: Value; readonly last: readonly Value[] } {
  const { b, cell, hidden, attrs, lengths } = l;
  const x = backward ? reversed(b, l.x, lengths) : l.x;
  const [steps, batch] = l.x.type.shape as [Dim, Dim];
  const rows = cell.gates * hidden;
  const { clip } = attrs;
  const weights: Weights = {
    recurrent: l.products.recurrent(d, hidden),
    hidden,
    recurrentBias: l.bias && cell.fusedBiasGates < cell.gates ? b.narrow(pick(b, l.bias, d), 0, rows, rows) : undefined,
    peephole: l.peephole && pick(b, l.peephole, d),
    activations: attrs.activations[d] as readonly Activation[],
    clip: clip === undefined ? (v) => v : (v) => e.clamp(v, e.const(-clip, v.dtype), e.const(clip, v.dtype)),
  };
  const start = Array.from({ length: cell.states }, (_, k) => {
    const given = l.initial[k];
    return given ? pick(b, given, d) : b.full([batch, hidden], 0, x.type.dtype);
  });
  const outs = b.scan(steps, start, [inputProjection(l, d, x)], (step, states, [projected]) => {
    const next = cell.step(b, weights, projected as Value, states);
    if (!lengths) return [...next, next[0] as Value];
    const held = next.map((v, k) => whereRunning(b, lengths, step, v, states[k] as Value));
    return [...held, whereRunning(b, lengths, step, next[0] as Value, b.full([batch, hidden], 0, x.type.dtype))];
  });
  const stacked = outs[cell.states] as Value;
  return { stacked: backward ? reversed(b, stacked, lengths) : stacked, last: outs.slice(0, cell.states) };
}

/** `now` for the sequences that have this step, `before` for those already over. */
const whereRunning = (b: Builder, lengths: Value, step: Dim, now: Value, before: Value): Value =>
  b.generic({
    shape: now.type.shape,
    body: (i, _r, read) =>
      e.select(e.lt(e.dim(step), cast(read(lengths, [i[0] as Expr]), 'i32')), read(now, i), read(before, i)),
  });

interface RnnInputs {
  readonly x: Value;
  readonly products: Products;
  readonly bias: Value | undefined;
  readonly lengths: Value | undefined;
  readonly states: readonly (Value | undefined)[];
  readonly peephole?: Value | undefined;
}

/** All directions; outputs Y [steps, directions, batch, hidden], then the last states [directions, batch, hidden]. */
export function runRnn(
  b: Builder,
  ctx: LowerContext,
  cell: Cell,
  attrs: RnnAttrs,
  inputs: RnnInputs,
): readonly Value[] {
  const swap = (v: Value): Value => (attrs.batchFirst ? b.transpose(v, [1, 0, 2]) : v);
  const hidden = attrs.hidden ?? inputs.products.hidden;
  if (typeof hidden !== 'number') return ctx.limit('the hidden size is not known');
  const layer: Layer = {
    ...inputs,
    b,
    cell,
    attrs,
    hidden,
    x: swap(inputs.x),
    initial: inputs.states.map((v) => v && swap(v)),
    peephole: inputs.peephole,
  };
  const directions = attrs.direction === 'bidirectional' ? [false, true] : [attrs.direction === 'reverse'];
  if (!dimEq(inputs.products.directions, directions.length))
    return ctx.limit(`weights for ${inputs.products.directions} directions, and direction is ${attrs.direction}`);
  const runs = directions.map((backward, d) => runDirection(layer, d, backward));
  const y = b.concat(
    runs.map((r) => b.unsqueeze(r.stacked, [1])),
    1,
  );
  const last = Array.from({ length: cell.states }, (_, k) =>
    swap(
      b.concat(
        runs.map((r) => b.unsqueeze(r.last[k] as Value, [0])),
        0,
      ),
    ),
  );
  return [attrs.batchFirst ? b.transpose(y, [2, 0, 1, 3]) : y, ...last];
}

const RNN = op('rnn', {
  doc: 'Simple recurrent layer: h = f(x·Wᵀ + h·Rᵀ + b).',
  inputs: ['x', 'weight', 'recurrent', 'bias?', 'lengths?', 'h?'],
  onnx: { 'RNN@1': (n) => rnnAttrs(n, ['Tanh']) },
  lower: ({ weight, recurrent, h, ...rest }, attrs, b, ctx) =>
    runRnn(b, ctx, plainCell, attrs, { ...rest, products: realProducts(b, weight, recurrent), states: [h] }),
});

const GRU = op('gru', {
  doc: 'Gated recurrent unit.',
  inputs: ['x', 'weight', 'recurrent', 'bias?', 'lengths?', 'h?'],
  onnx: {
    'GRU@1': (n) => ({ ...rnnAttrs(n, ['Sigmoid', 'Tanh']), resetAfter: false }),
    'GRU@3': (n) => ({ ...rnnAttrs(n, ['Sigmoid', 'Tanh']), resetAfter: n.bool('linear_before_reset', false) }),
  },
  lower: ({ weight, recurrent, h, ...rest }, attrs, b, ctx) =>
    runRnn(b, ctx, gruCell(attrs.resetAfter), attrs, {
      ...rest,
      products: realProducts(b, weight, recurrent),
      states: [h],
    }),
});

const LSTM = op('lstm', {
  doc: 'Long short-term memory layer, with optional peepholes and coupled gates.',
  inputs: ['x', 'weight', 'recurrent', 'bias?', 'lengths?', 'h?', 'c?', 'peephole?'],
  onnx: {
    'LSTM@1': (n) => ({ ...rnnAttrs(n, ['Sigmoid', 'Tanh', 'Tanh']), coupled: n.bool('input_forget', false) }),
  },
  lower: ({ weight, recurrent, h, c, ...rest }, attrs, b, ctx) =>
    runRnn(b, ctx, lstmCell(attrs.coupled), attrs, {
      ...rest,
      products: realProducts(b, weight, recurrent),
      states: [h, c],
    }),
});

export const records: readonly AnyRecord[] = [RNN, GRU, LSTM];
