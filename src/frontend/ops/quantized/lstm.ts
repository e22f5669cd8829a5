// LSTM in integers, as the reference kernels for microcontrollers compute it: each gate is the 16-bit saturated sum of two
// fully connected layers at 12 fractional bits, sigmoid and tanh interpolate a table, products are scaled one by one.
// Weights of all gates are one contraction with multipliers by channel. Activations are 8 or 16 bits, cells 16.

import type { Builder } from '../../../ir/builder.js';
import type { Dim } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { type Affine, inputAffine, store, typeRange } from './affine.js';
import { type Multiplier, quantizeMultiplier } from './fixed-point.js';
import { channelScaler, scale } from './fixed-point-expr.js';
import { onTable, sigmoid16, sigmoidTable, type TableInput, tanh16 } from './sigmoid16.js';

interface Positions {
  readonly input: readonly number[];
  readonly recurrent: readonly number[];
  readonly peephole: readonly number[];
  readonly bias: readonly number[];
  readonly projection: readonly number[];
  readonly states: readonly [number, number];
  readonly norm: readonly number[] | null;
}

/** Scale of a gate before and after its nonlinearity. */
const GATE_SCALE = 2 ** -12;
const UNIT = 2 ** -15;

const saturate16 = (x: Expr): Expr => e.clamp(x, -32768, 32767);

/** Sums of one operand with the weights of all gates, at the gates' scale, in i32 within 16 bits. */
function gateSums(
  b: Builder,
  ctx: LowerContext,
  x: Value,
  affine: Affine,
  weights: readonly number[],
  biases: readonly Value[],
): Value {
  const values = weights.map((i) => ctx.reader.input(i) ?? ctx.limit('a gate without weights'));
  const all = b.concat(values, 0);
  const wide = x.type.dtype === 'i16';
  const centred = affine.zero === 0 ? x : b.map([x], (v) => e.sub(cast(v, 'i16'), affine.zero));
  const sum = b.matmul(centred, all, { transposeY: true, acc: wide ? 'i64' : 'i32' });
  const multipliers = weights.flatMap((i, k): Multiplier[] => {
    const product = Math.fround(affine.scale * inputAffine(ctx, i).scale);
    const rows = values[k]?.type.shape[0] as number;
    return Array.from({ length: rows }, () => quantizeMultiplier(product / GATE_SCALE, ctx.rounding));
  });
  const scaler = channelScaler(b, multipliers, ctx.rounding, { wide });
  const bias = biases.length > 0 ? b.concat(biases, 0) : undefined;
  return b.generic({
    shape: sum.type.shape,
    body: (i, _r, read) => {
      const channel = i.at(-1) as Expr;
      const total = bias ? e.add(read(sum, i), cast(read(bias, [channel]), sum.type.dtype)) : read(sum, i);
      return saturate16(scaler(total, read, channel));
    },
  });
}

/** How tanh sees a cell state of scale 2^power. */
const cellInput = (power: number): TableInput =>
  power + 12 < 0 ? { factor: 3, shift: -power - 12 } : { factor: 3 * 2 ** (power + 12), shift: 0 };

const GATE_INPUT: TableInput = { factor: 3, shift: 0 };

/** x [time, batch, in] → [time, batch, out] as stored; the states are written back. */
export function integerLstm(
  b: Builder,
  ctx: LowerContext,
  x: Value,
  at: Positions,
  a: { readonly cellClip: number },
): Value {
  const given = (list: readonly number[] | null): boolean => (list ?? []).some((i) => ctx.reader.input(i));
  if (given(at.peephole) || given(at.projection) || given(at.norm) || !given([at.input[0] as number]))
    return ctx.limit('integer LSTM with peepholes, projection, layer normalisation or coupled gates');
  const value = (i: number): Value => ctx.reader.input(i) ?? ctx.limit(`input ${i} is missing`);
  const [hidden, cell] = at.states.map((i) => inputAffine(ctx, i)) as [Affine, Affine];
  const width = value(at.recurrent[0] as number).type.shape[0] as number;
  const batch = x.type.shape[1] as Dim;
  const dtype = value(at.states[0]).type.dtype;
  const multiplier = (m: number): Multiplier => quantizeMultiplier(m, ctx.rounding);
  const keep = multiplier((UNIT * cell.scale) / cell.scale);
  const admit = multiplier((UNIT * UNIT) / cell.scale);
  const emit = multiplier((UNIT * UNIT) / hidden.scale);
  const clip = a.cellClip > 0 ? Math.trunc(Math.min(a.cellClip / cell.scale, 32767)) : 0;
  const tanhInput = cellInput(Math.round(Math.log2(cell.scale)));
  const table = sigmoidTable(b);
  const product = (p: Expr, q: Expr, m: Multiplier): Expr => scale(e.mul(p, q), m, ctx.rounding, 2 ** 30);

  const inputs = gateSums(b, ctx, x, inputAffine(ctx, 0), at.input, at.bias.map(value));
  const shape = [batch, width];
  const step = (h: Value, c: Value, given: Value): readonly [Value, Value] => {
    const recurrent = gateSums(b, ctx, h, hidden, at.recurrent, []);
    const sums = b.map([given, recurrent], (p, q) => saturate16(e.add(p, q)));
    const next = b.generic({
      shape,
      body: ([n, j], _r, read) => {
        const gate = (k: number, f: typeof sigmoid16): Expr =>
          f(read, table, onTable(read(sums, [n as Expr, e.add(j as Expr, k * width)]), GATE_INPUT));
        const kept = saturate16(product(gate(1, sigmoid16), cast(read(c, [n as Expr, j as Expr]), 'i32'), keep));
        const added = saturate16(product(gate(0, sigmoid16), gate(2, tanh16), admit));
        const sum = saturate16(e.add(kept, added));
        return cast(clip > 0 ? e.clamp(sum, -clip, clip) : sum, 'i16');
      },
    });
    const out = b.generic({
      shape,
      body: ([n, j], _r, read) => {
        const open = sigmoid16(read, table, onTable(read(sums, [n as Expr, e.add(j as Expr, 3 * width)]), GATE_INPUT));
        const level = tanh16(read, table, onTable(cast(read(next, [n as Expr, j as Expr]), 'i32'), tanhInput));
        return store(product(level, open, emit), hidden.zero, typeRange(dtype), dtype);
      },
    });
    return [out, next];
  };
  const initial = at.states.map((i) => b.reshape(value(i), shape));
  const [h, c, outputs] = b.scan(x.type.shape[0] as Dim, initial, [inputs], (_s, [h0, c0], [given]) => {
    const [h1, c1] = step(h0 as Value, c0 as Value, given as Value);
    return [h1, c1, h1];
  }) as [Value, Value, Value];
  for (const [k, v] of [h, c].entries()) {
    const i = at.states[k] as number;
    const name = ctx.stateOf(i);
    if (name) b.stateWrite(name, b.reshape(v, value(i).type.shape));
  }
  return outputs;
}
