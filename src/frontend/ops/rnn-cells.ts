// The cells of ONNX's recurrent layers: one step from projected input and states to the next states. Gates are column blocks of
// [batch, gates·hidden], computed in f32 at least.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { Activation } from './rnn-activations.js';

/** state · Rᵀ for `count` gates from `first` on. */
export type RecurrentProduct = (state: Value, first: number, count: number) => Value;

/** One direction's constants, leading axis taken off. */
export interface Weights {
  readonly recurrent: RecurrentProduct;
  readonly hidden: number;
  readonly recurrentBias: Value | undefined;
  readonly peephole: Value | undefined;
  readonly activations: readonly Activation[];
  readonly clip: (x: Expr) => Expr;
}

/** What a cell is: gate count, state count, and a step from projected input and states to the next states. */
export interface Cell {
  readonly gates: number;
  readonly states: number;
  /** Rows of the recurrent bias that are added outside, with the input's. */
  readonly fusedBiasGates: number;
  step(b: Builder, w: Weights, projected: Value, states: readonly Value[]): readonly Value[];
}

/** Column block `gate` of a [batch, gates·hidden] row, at hidden unit j. */
const gateColumn = (w: Weights, gate: number, j: Expr): Expr => e.add(j, gate * w.hidden);

export const plainCell: Cell = {
  gates: 1,
  states: 1,
  fusedBiasGates: 1,
  step(b, w, projected, [h]) {
    const [f] = w.activations as [Activation];
    return [b.mapFloat([projected, w.recurrent(h as Value, 0, 1)], (x, r) => f(w.clip(e.add(x, r))))];
  },
};

export const lstmCell = (coupled: boolean): Cell => ({
  gates: 4,
  states: 2,
  fusedBiasGates: 4,
  step(b, w, projected, [h, c]) {
    const [f, g, o] = w.activations as [Activation, Activation, Activation];
    const sums = b.add(projected, w.recurrent(h as Value, 0, 4));
    const shape = (c as Value).type.shape;
    const dtype = projected.type.dtype;
    /** Sum of gate `gate` with its peephole onto a cell state. */
    const gate = (read: (v: Value, at: readonly Expr[]) => Expr, i: readonly Expr[], k: number, cell?: Expr): Expr => {
      const [n, j] = i as [Expr, Expr];
      const sum = wide(read(sums, [n, gateColumn(w, k, j)]));
      if (!w.peephole || !cell) return w.clip(sum);
      const slot = [0, 1, 2][k] as number;
      return w.clip(e.add(sum, e.mul(wide(read(w.peephole, [gateColumn(w, slot, j)])), cell)));
    };
    const next = b.generic({
      shape,
      body: (i, _r, read) => {
        const before = wide(read(c as Value, i));
        const input = f(gate(read, i, 0, before));
        const forget = coupled ? e.sub(1, input) : f(gate(read, i, 2, before));
        return cast(e.add(e.mul(forget, before), e.mul(input, g(gate(read, i, 3)))), dtype);
      },
    });
    const out = b.generic({
      shape,
      body: (i, _r, read) => {
        const after = wide(read(next, i));
        return cast(e.mul(f(gate(read, i, 1, after)), o(after)), dtype);
      },
    });
    return [out, next];
  },
});

export const gruCell = (resetAfter: boolean): Cell => ({
  gates: 3,
  states: 1,
  fusedBiasGates: resetAfter ? 2 : 3,
  step(b, w, projected, [state]) {
    const [f, g] = w.activations as [Activation, Activation];
    const h = state as Value;
    const { shape, dtype } = h.type;
    const sums = w.recurrent(h, 0, 2);
    const gate = (k: number): Value =>
      b.generic({
        shape,
        body: (i, _r, read) => {
          const at = [i[0] as Expr, gateColumn(w, k, i[1] as Expr)];
          return cast(f(w.clip(e.add(wide(read(projected, at)), wide(read(sums, at))))), dtype);
        },
      });
    const [update, reset] = [gate(0), gate(1)];
    const inner = w.recurrent(resetAfter ? h : b.mul(reset, h), 2, 1);
    const next = b.generic({
      shape,
      body: (i, _r, read) => {
        const [n, j] = i as [Expr, Expr];
        const bias = w.recurrentBias && wide(read(w.recurrentBias, [gateColumn(w, 2, j)]));
        const raw = wide(read(inner, i));
        const reached = resetAfter ? e.mul(wide(read(reset, i)), bias ? e.add(raw, bias) : raw) : raw;
        const candidate = g(w.clip(e.add(wide(read(projected, [n, gateColumn(w, 2, j)])), reached)));
        const z = wide(read(update, i));
        return cast(e.add(e.mul(e.sub(1, z), candidate), e.mul(z, wide(read(h, i)))), dtype);
      },
    });
    return [next];
  },
});

/** Gates are computed in f32 at least. */
const wide = (x: Expr): Expr => (x.dtype === 'f16' || x.dtype === 'bf16' ? cast(x, 'f32') : x);
