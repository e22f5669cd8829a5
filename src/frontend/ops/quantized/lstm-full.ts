// LSTM in integers with all its options, as LiteRT's kernel of 8-bit activations, 8-bit weights and 16-bit gates computes it:
// projection, peepholes, layer normalisation, coupled gates and clips. Sigmoid and tanh are gemmlowp's (fixed-activation.ts).
// The kernels for microcontrollers know only the basic form and compute it otherwise: lstm.ts.

import type { Builder } from '../../../ir/builder.js';
import type { Dim } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { keepState } from '../recurrent-layer.js';
import { type Affine, inputAffine, intermediateAffine, outputAffine, store, typeRange } from './affine.js';
import { logisticFixed, tanhFixed } from './fixed-activation.js';
import { quantizeMultiplier } from './fixed-point.js';
import { scale, shiftRight } from './fixed-point-expr.js';
import { normalizeGate } from './gate-norm.js';
import {
  clipSteps,
  type Clips,
  GATE_SCALE,
  gateProducts,
  type LstmPositions,
  needed,
  saturate16,
  UNIT,
} from './gate-products.js';

type Gate = 0 | 1 | 2 | 3;

interface Cell {
  readonly b: Builder;
  readonly ctx: LowerContext;
  readonly at: LstmPositions;
  /** Gates there are; coupled ones lack the input gate. */
  readonly gates: readonly Gate[];
  readonly width: number;
  /** Elements of the output. */
  readonly outputs: number;
  readonly normed: boolean;
  /** Cell states are multiples of 2^power. */
  readonly power: number;
  readonly clips: Clips;
  /** Batches are computed one after the other, over all steps. */
  readonly byBatch: boolean;
}

/** x [time, batch, in] → [time, batch, out] as stored; the states are written back. */
export function fullIntegerLstm(
  b: Builder,
  ctx: LowerContext,
  x: Value,
  at: LstmPositions,
  clips: Clips,
  byBatch: boolean,
): Value {
  if (x.type.dtype !== 'i8') return ctx.limit(`this form of integer LSTM over ${x.type.dtype}`);
  const cell = cellOf(b, ctx, at, clips, byBatch);
  const scaleOf = (gate: Gate): number => (cell.normed ? intermediateAffine(ctx, gate).scale : GATE_SCALE);
  const rows = (from: readonly number[]) => cell.gates.map((g) => ({ weights: from[g] as number, scale: scaleOf(g) }));
  const biases = cell.normed ? [] : cell.gates.map((g) => needed(ctx, at.bias[g]));
  const affine = inputAffine(ctx, 0);
  const given = b.map([gateProducts(b, ctx, x, affine, rows(at.input), biases)], saturate16);
  const hidden = inputAffine(ctx, at.states[0]);
  const initial = at.states.map((i, k) =>
    b.reshape(needed(ctx, i), [x.type.shape[1] as Dim, k === 0 ? cell.outputs : cell.width]),
  );
  const [h, c, outputs] = b.scan(x.type.shape[0] as Dim, initial, [given], (_s, [h0, c0], [sums]) => {
    const recurrent = gateProducts(b, ctx, h0 as Value, hidden, rows(at.recurrent), []);
    const raw = b.map([sums as Value, recurrent], (p, q) => saturate16(e.add(p, q)));
    const [h1, c1] = step(cell, c0 as Value, raw, scaleOf);
    return [h1, c1, h1];
  }) as [Value, Value, Value];
  keepState(b, ctx, at.states[0], h);
  keepState(b, ctx, at.states[1], c);
  return outputs;
}

function cellOf(b: Builder, ctx: LowerContext, at: LstmPositions, clips: Clips, byBatch: boolean): Cell {
  const [width, outputs] = needed(ctx, at.recurrent[3]).type.shape as readonly [number, number];
  const power = Math.log2(inputAffine(ctx, at.states[1]).scale);
  const rounded = Math.round(power);
  if (Math.abs(power - rounded) >= 1e-3 || rounded < -15 || rounded > -9)
    return ctx.limit('cell states whose scale is not a power of two from 2^-15 to 2^-9');
  const gates: readonly Gate[] = ctx.reader.input(at.input[0]) ? [0, 1, 2, 3] : [1, 2, 3];
  const normed = at.norm !== null && ctx.reader.input(at.norm[1]) !== undefined;
  return { b, ctx, at, gates, width, outputs, normed, power: rounded, clips, byBatch };
}

/** Output and cell state after one step; `raw` [batch, gates·width] are the gates' sums. */
function step(cell: Cell, c: Value, raw: Value, scaleOf: (gate: Gate) => number): readonly [Value, Value] {
  const { b, ctx, at, gates, width, normed, power } = cell;
  const sums = (gate: Gate, memory?: Value): Value => {
    const part = b.narrow(raw, 1, gates.indexOf(gate) * width, width);
    const seen = memory ? withPeephole(cell, part, memory, gate, scaleOf(gate)) : part;
    if (!normed || !at.norm) return seen;
    const norm = at.norm[gate];
    const terms = { weights: needed(ctx, norm), bias: needed(ctx, at.bias[gate]), scale: inputAffine(ctx, norm).scale };
    return normalizeGate(b, seen, terms, ctx.rounding);
  };
  const opened = (gate: Gate, memory: Value): Value => b.map([sums(gate, memory)], (v) => logisticFixed(v, 3));
  const forget = opened(1, c);
  const admit = gates.includes(0) ? opened(0, c) : b.map([forget], (f) => e.sub(32767, f));
  const candidate = b.map([sums(2)], (v) => tanhFixed(v, 3));
  const clip = clipSteps(cell.clips.cellClip, inputAffine(ctx, at.states[1]), 32767);
  const next = b.map([forget, c, admit, candidate], (f, old, i, g) => {
    const kept = shiftRight(e.mul(f, cast(old, 'i32')), 15);
    const sum = saturate16(e.add(kept, shiftRight(e.mul(i, g), 30 + power)));
    return cast(clip > 0 ? e.clamp(sum, -clip, clip) : sum, 'i16');
  });
  return [output(cell, opened(3, next), next), next];
}

/** Weighted cell states added to a gate's sums. The kernel counts the outputs, not the cells, of each batch it is given: with
 *  fewer outputs it stops before the last cells, and where it takes batches together, weights go round by outputs. */
function withPeephole(
  { b, ctx, at, width, outputs, power, byBatch }: Cell,
  x: Value,
  c: Value,
  gate: Gate,
  to: number,
) {
  const position = at.peephole[gate === 3 ? 2 : (gate as 0 | 1)];
  const weights = ctx.reader.input(position);
  if (!weights) return x;
  if (outputs > width) return ctx.limit('peepholes in an LSTM of more outputs than cells');
  const real = Math.fround((2 ** power * inputAffine(ctx, position).scale) / Math.fround(to));
  const m = quantizeMultiplier(real, ctx.rounding);
  const [batch] = x.type.shape as readonly [Dim];
  return b.generic({
    shape: x.type.shape,
    body: ([n, j], _r, read) => {
      const i = [n as Expr, j as Expr];
      const flat = byBatch ? (j as Expr) : e.add(e.mul(n as Expr, width), j as Expr);
      const weight = outputs === width ? (j as Expr) : e.rem(flat, outputs);
      const product = e.mul(cast(read(weights, [weight]), 'i32'), cast(read(c, i), 'i32'));
      const sum = saturate16(e.add(read(x, i), scale(product, m, ctx.rounding)));
      if (outputs === width) return sum;
      const end = byBatch ? e.const(outputs, 'i32') : e.mul(e.dim(batch), outputs);
      return e.select(e.lt(flat, end), sum, read(x, i));
    },
  });
}

function output({ b, ctx, at, power, clips }: Cell, open: Value, c: Value): Value {
  const hidden = intermediateAffine(ctx, 4);
  const emit = quantizeMultiplier(Math.fround((UNIT / hidden.scale) * UNIT), ctx.rounding);
  const state = inputAffine(ctx, at.states[0]);
  const range = typeRange('i8');
  const emitted = (zero: number): Value =>
    b.map([open, c], (o, v) => {
      const level = tanhFixed(cast(v, 'i32'), 15 + power);
      return store(scale(e.mul(o, level), emit, ctx.rounding), zero, range, 'i8');
    });
  const [weights, bias] = at.projection;
  if (!ctx.reader.input(weights)) return emitted(hidden.zero);
  const biases = ctx.reader.input(bias) ? [needed(ctx, bias)] : [];
  const centred: Affine = { scale: hidden.scale, zero: -hidden.zero };
  const y = gateProducts(b, ctx, emitted(-hidden.zero), centred, [{ weights, scale: state.scale }], biases);
  const clip = clipSteps(clips.projClip, outputAffine(ctx), 127);
  return b.map([y], (v) => {
    const stored = store(v, state.zero, range, 'i8');
    return clip > 0 ? cast(e.clamp(cast(stored, 'i32'), -clip, clip), 'i8') : stored;
  });
}
