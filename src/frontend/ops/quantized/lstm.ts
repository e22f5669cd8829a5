// LSTM in integers, as the reference kernels for microcontrollers compute it: each gate is the 16-bit saturated sum of two
// fully connected layers at 12 fractional bits, sigmoid and tanh interpolate a table, products are scaled one by one.
// Activations are 8 or 16 bits, cells 16. This is the basic form over a sequence; LiteRT's kernel with all options: lstm-full.ts.

import type { Builder } from '../../../ir/builder.js';
import type { Dim } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { keepState } from '../recurrent-layer.js';
import { type Affine, inputAffine, store, typeRange } from './affine.js';
import { type Multiplier, quantizeMultiplier } from './fixed-point.js';
import { scale } from './fixed-point-expr.js';
import { GATE_SCALE, gateProducts, type LstmPositions, needed, saturate16, UNIT } from './gate-products.js';
import { onTable, sigmoid16, sigmoidTable, type TableInput, tanh16 } from './sigmoid16.js';

/** How tanh sees a cell state of scale 2^power. */
const cellInput = (power: number): TableInput =>
  power + 12 < 0 ? { factor: 3, shift: -power - 12 } : { factor: 3 * 2 ** (power + 12), shift: 0 };

const GATE_INPUT: TableInput = { factor: 3, shift: 0 };

/** x [time, batch, in] → [time, batch, out] as stored; the states are written back. */
export function integerLstm(
  b: Builder,
  ctx: LowerContext,
  x: Value,
  at: LstmPositions,
  a: { readonly cellClip: number },
): Value {
  const value = (i: number): Value => needed(ctx, i);
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

  const rows = (from: readonly number[]) => from.map((weights) => ({ weights, scale: GATE_SCALE }));
  const sumsOf = (v: Value, affine: Affine, from: readonly number[], biases: readonly Value[]): Value =>
    b.map([gateProducts(b, ctx, v, affine, rows(from), biases)], saturate16);
  const inputs = sumsOf(x, inputAffine(ctx, 0), at.input, at.bias.map(value));
  const shape = [batch, width];
  const step = (h: Value, c: Value, given: Value): readonly [Value, Value] => {
    const recurrent = sumsOf(h, hidden, at.recurrent, []);
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
  keepState(b, ctx, at.states[0], h);
  keepState(b, ctx, at.states[1], c);
  return outputs;
}
