// Recurrent layers against a plain step-by-step computation of the same equations, in every direction and layout.

import { describe, expect, it } from 'vitest';
import type { Tensor } from '../../src/support/tensor.js';
import { f32, i32, runNode } from './node-case.js';

const [STEPS, BATCH, INPUT, HIDDEN] = [4, 2, 3, 2];

let seed = 7;
const random = (...shape: number[]): Tensor => {
  const n = shape.reduce((p, d) => p * d, 1);
  return f32(
    shape,
    ...Array.from({ length: n }, () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed / 2 ** 31 - 1;
    }),
  );
};

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const at = (t: Tensor, ...index: number[]): number =>
  Number(t.data[index.reduce((p, i, k) => p * (t.shape[k] as number) + i, 0)]);

interface Layer {
  readonly x: Tensor;
  readonly w: Tensor;
  readonly r: Tensor;
  readonly bias: Tensor;
  readonly h: Tensor;
  readonly c: Tensor;
  readonly p: Tensor;
}

const layer = (gates: number, directions: number): Layer => ({
  x: random(STEPS, BATCH, INPUT),
  w: random(directions, gates * HIDDEN, INPUT),
  r: random(directions, gates * HIDDEN, HIDDEN),
  bias: random(directions, 2 * gates * HIDDEN),
  h: random(directions, BATCH, HIDDEN),
  c: random(directions, BATCH, HIDDEN),
  p: random(directions, 3 * HIDDEN),
});

/** One sequence through one direction of an LSTM; positions in the order they are visited. */
function lstm(l: Layer, d: number, n: number, order: readonly number[]): { y: Map<number, number[]>; h: number[] } {
  let h = Array.from({ length: HIDDEN }, (_, j) => at(l.h, d, n, j));
  let c = Array.from({ length: HIDDEN }, (_, j) => at(l.c, d, n, j));
  const y = new Map<number, number[]>();
  for (const t of order) {
    const before = h;
    const sum = (gate: number, j: number): number => {
      const row = gate * HIDDEN + j;
      const input = Array.from({ length: INPUT }, (_, k) => at(l.x, t, n, k) * at(l.w, d, row, k));
      const state = before.map((v, k) => v * at(l.r, d, row, k));
      const biases = at(l.bias, d, row) + at(l.bias, d, 4 * HIDDEN + row);
      return [...input, ...state].reduce((a, v) => a + v, biases);
    };
    const peep = (slot: number, j: number): number => at(l.p, d, slot * HIDDEN + j);
    const next = c.map((v, j) => {
      const [i, f] = [sigmoid(sum(0, j) + peep(0, j) * v), sigmoid(sum(2, j) + peep(2, j) * v)];
      return f * v + i * Math.tanh(sum(3, j));
    });
    h = next.map((v, j) => sigmoid(sum(1, j) + peep(1, j) * v) * Math.tanh(v));
    c = next;
    y.set(t, h);
  }
  return { y, h };
}

const close = (got: readonly number[], want: readonly number[]): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, k) => {
    expect(v).toBeCloseTo(want[k] as number, 5);
  });
};

describe('LSTM', () => {
  it('runs both ways over sequences of different lengths, with peepholes', () => {
    const l = layer(4, 2);
    const lengths = [4, 2];
    const inputs = [l.x, l.w, l.r, l.bias, i32([BATCH], ...lengths), l.h, l.c, l.p];
    const attrs = { hidden_size: HIDDEN, direction: 'bidirectional' };
    const [y, last] = runNode({ op: 'LSTM', inputs, attrs, outputs: 3 });
    const runs = [0, 1].map((d) =>
      lengths.map((length, n) => {
        const order = Array.from({ length }, (_, t) => (d ? length - 1 - t : t));
        return lstm(l, d, n, order);
      }),
    );
    const want: number[] = [];
    for (let t = 0; t < STEPS; t++)
      for (const d of [0, 1]) for (const n of [0, 1]) want.push(...(runs[d]?.[n]?.y.get(t) ?? [0, 0]));
    close(y?.values ?? [], want);
    close(
      last?.values ?? [],
      [0, 1].flatMap((d) => [0, 1].flatMap((n) => runs[d]?.[n]?.h ?? [])),
    );
  });

  it('takes and gives the batch first', () => {
    const l = layer(4, 1);
    const inputs = [l.x, l.w, l.r, l.bias, null, l.h, l.c, l.p];
    const attrs = { hidden_size: HIDDEN };
    const [y, last] = runNode({ op: 'LSTM', inputs, attrs, outputs: 3 });
    const turn = (t: Tensor): Tensor => {
      const [a, b, c] = t.shape as [number, number, number];
      const data = Array.from({ length: a * b * c }, (_, i) => {
        const [n, s, k] = [Math.floor(i / (a * c)), Math.floor(i / c) % a, i % c];
        return at(t, s, n, k);
      });
      return f32([b, a, c], ...data);
    };
    const turned = [turn(l.x), l.w, l.r, l.bias, null, turn(l.h), turn(l.c), l.p];
    const [yb, lastb] = runNode({ op: 'LSTM', inputs: turned, attrs: { ...attrs, layout: 1 }, outputs: 3 });
    expect(yb?.shape).toEqual([BATCH, STEPS, 1, HIDDEN]);
    expect(lastb?.shape).toEqual([BATCH, 1, HIDDEN]);
    const want = Array.from({ length: BATCH }, (_, n) =>
      Array.from({ length: STEPS }, (_, t) => y?.values.slice((t * BATCH + n) * HIDDEN, (t * BATCH + n + 1) * HIDDEN)),
    ).flat(2);
    close(yb?.values ?? [], want as number[]);
    close(lastb?.values ?? [], last?.values ?? []);
  });

  it('couples forget to input, and clips', () => {
    const one = (v: number): Tensor => f32([1, 4, 1], v, v, v, v);
    const inputs = [f32([1, 1, 1], 100), one(1), one(0), null, null, null, f32([1, 1, 1], 3)];
    const [, , c] = runNode({ op: 'LSTM', inputs, attrs: { hidden_size: 1, input_forget: 1, clip: 1 }, outputs: 3 });
    const i = sigmoid(1);
    close(c?.values ?? [], [(1 - i) * 3 + i * Math.tanh(1)]);
  });
});

describe('GRU', () => {
  const step = (l: Layer, after: boolean): number[] => {
    const h = [0, 1].map((j) => at(l.h, 0, 0, j));
    const part = (t: Tensor, row: number, v: readonly number[]): number =>
      v.reduce((a, x, k) => a + x * at(t, 0, row, k), 0);
    const x = [0, 1, 2].map((k) => at(l.x, 0, 0, k));
    const input = (g: number, j: number): number => part(l.w, g * HIDDEN + j, x) + at(l.bias, 0, g * HIDDEN + j);
    const rb = (g: number, j: number): number => at(l.bias, 0, 3 * HIDDEN + g * HIDDEN + j);
    const gate = (g: number, j: number): number => sigmoid(input(g, j) + part(l.r, g * HIDDEN + j, h) + rb(g, j));
    const reset = h.map((_, j) => gate(1, j));
    return h.map((v, j) => {
      const z = gate(0, j);
      const row = 2 * HIDDEN + j;
      const inner = after
        ? (reset[j] as number) * (part(l.r, row, h) + rb(2, j))
        : part(
            l.r,
            row,
            h.map((s, k) => s * (reset[k] as number)),
          ) + rb(2, j);
      return (1 - z) * Math.tanh(input(2, j) + inner) + z * v;
    });
  };

  it.each([0, 1])('resets before or after the product (%i)', (after) => {
    const all = layer(3, 1);
    const l = { ...all, x: f32([1, 1, INPUT], ...Array.from(all.x.data as Float32Array).slice(0, INPUT)) };
    const h = f32([1, 1, HIDDEN], at(l.h, 0, 0, 0), at(l.h, 0, 0, 1));
    const inputs = [l.x, l.w, l.r, l.bias, null, h];
    const attrs = { hidden_size: HIDDEN, linear_before_reset: after };
    close(runNode({ op: 'GRU', inputs, attrs, outputs: 2 })[1]?.values ?? [], step(l, after === 1));
  });
});

describe('RNN', () => {
  it('uses the activation it is given, with its alpha', () => {
    const inputs = [f32([1, 1, 1], -4), f32([1, 1, 1], 1), f32([1, 1, 1], 0)];
    const attrs = { hidden_size: 1, activations: ['LeakyRelu'], activation_alpha: [0.5] };
    expect(runNode({ op: 'RNN', inputs, attrs, outputs: 2 })[1]?.values).toEqual([-2]);
  });
});
