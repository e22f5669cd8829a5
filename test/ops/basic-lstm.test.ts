// TFLite's basic LSTM cell, of floats and of bytes, on the interpreter, as C and as WebAssembly, against plain computations.
// Both states are variables; every case makes two calls on the same input.

import { describe, expect, it } from 'vitest';
import type { SourceQuant } from '../../src/frontend/source.js';
import type { Tensor } from '../../src/support/tensor.js';
import { logistic16, tanh16 } from './integer-lstm-reference.js';
import { f32, i32, of } from './node-case.js';
import { runOnTargets, type TargetCase } from './on-targets.js';
import { dot, list, type Row, rowOf, sigmoid } from './recurrent-reference.js';

const [BATCH, INPUT] = [2, 4];

let seed = 5;
const next = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 31 - 1;
};
const random = (...shape: number[]): Tensor =>
  f32(shape, ...Array.from({ length: shape.reduce((p, d) => p * d, 1) }, next));
const zeros = (n: number): Tensor => f32([BATCH, n], ...Array<number>(BATCH * n).fill(0));
const quant = (scale: number, zero = 0): SourceQuant => ({ scale: Float32Array.of(scale), zeroPoint: [zero], axis: 0 });

interface Made {
  readonly title: string;
  readonly run: TargetCase;
  /** By call, then by output. */
  readonly want: readonly (readonly Row[])[];
  readonly exact?: boolean;
}

const CELL = 3;

function floats(): Made {
  const [x, weights, bias] = [random(BATCH, INPUT), random(4 * CELL, INPUT + CELL), random(4 * CELL)];
  const want: (readonly Row[])[] = [];
  let [h, c] = [0, 1].map(() => [0, 1].map(() => Array<number>(CELL).fill(0))) as [number[][], number[][]];
  for (let call = 0; call < 2; call++) {
    const both = h.map((row, n) => [...rowOf(x, n), ...row]);
    const sums = both.map((row) => list(bias).map((v, j) => v + dot(rowOf(weights, j), row)));
    const at = (n: number, k: number, j: number): number => (sums[n] as number[])[k * CELL + j] as number;
    c = c.map((row, n) => row.map((v, j) => sigmoid(at(n, 2, j)) * v + sigmoid(at(n, 0, j)) * Math.tanh(at(n, 1, j))));
    h = c.map((row, n) => row.map((v, j) => sigmoid(at(n, 3, j)) * Math.tanh(v)));
    want.push([h.flat(), c.flat(), both.flat(), sums.flat()]);
  }
  return {
    title: 'the basic cell keeps its states',
    run: basicCase([x, zeros(CELL), weights, bias, zeros(CELL)], x),
    want,
  };
}

const basicCase = (inputs: readonly Tensor[], x: Tensor): TargetCase => ({
  format: 'tflite',
  op: 'LSTM',
  attrs: { kernel_type: 'BASIC', fused_activation_function: 'TANH', cell_clip: 0, proj_clip: 0 },
  inputs,
  constants: [2, 3],
  variables: [1, 4],
  outputs: 4,
  calls: [x],
});

/** Half away from zero. */
const divide = (v: number, by: number): number => Math.sign(v) * Math.floor(Math.abs(v) / by + 0.5);
const high = (a: number, b: number): number => Math.floor((a * b + 16384) / 32768);
const within = (v: number, lo: number, hi: number): number => Math.min(hi, Math.max(lo, v));
const short = (v: number): number => within(v, -32768, 32767);

function wholes(): Made {
  const any = (lo: number, hi: number, n: number): number[] =>
    Array.from({ length: n }, () => Math.round(((next() + 1) / 2) * (hi - lo)) + lo);
  const x = of('u8', [BATCH, INPUT], ...any(0, 255, BATCH * INPUT));
  const weights = of('u8', [4 * CELL, INPUT + CELL], ...any(0, 255, 4 * CELL * (INPUT + CELL)));
  const bias = i32([4 * CELL], ...any(-9000, 9000, 4 * CELL));
  const zero = 117;
  // A factor of an eighth, so that rounding shows: 4096·2^-15. It is rounded at a half, then at a quarter.
  const biasScale = 2 ** -15;
  const want: (readonly Row[])[] = [];
  let h = [0, 1].map(() => Array<number>(CELL).fill(0));
  let c = [0, 1].map(() => Array<number>(CELL).fill(0));
  for (let call = 0; call < 2; call++) {
    const both = h.map((row, n) => [...rowOf(x, n), ...row]);
    const sums = both.map((row) =>
      list(bias).map((v, j) => {
        const w = rowOf(weights, j).map((q) => q - zero);
        const centred = row.map((q) => q - 128);
        return short(divide(Math.floor((v + dot(w, centred) + 1) / 2), 4));
      }),
    );
    const at = (n: number, k: number, j: number): number => (sums[n] as number[])[k * CELL + j] as number;
    c = c.map((row, n) =>
      row.map((v, j) => {
        const fresh = high(logistic16(at(n, 0, j), 3), tanh16(at(n, 1, j), 3));
        return short(divide(fresh, 16) + high(logistic16(at(n, 2, j), 3), v));
      }),
    );
    h = c.map((row, n) =>
      row.map(
        (v, j) => within(divide(high(logistic16(at(n, 3, j), 3), tanh16(short(2 * v), 3)), 256), -128, 127) + 128,
      ),
    );
    want.push([h.flat(), c.flat(), both.flat(), sums.flat()]);
  }
  const states = [of('u8', [BATCH, CELL], ...h.flat()), of('i16', [BATCH, CELL], ...c.flat())] as const;
  const run: TargetCase = {
    ...basicCase([x, states[0], weights, bias, states[1]], x),
    quant: {
      in0: quant(1 / 128, 128),
      in1: quant(1 / 128, 128),
      in2: quant(0.004, zero),
      in3: quant(biasScale),
      in4: quant(2 ** -11),
      out0: quant(1 / 128, 128),
      out1: quant(2 ** -11),
      out2: quant(1 / 128, 128),
      out3: quant(2 ** -12),
    },
    declared: [
      { dtype: 'u8', shape: [BATCH, CELL] },
      { dtype: 'i16', shape: [BATCH, CELL] },
      { dtype: 'u8', shape: [BATCH, INPUT + CELL] },
      { dtype: 'i16', shape: [BATCH, 4 * CELL] },
    ],
  };
  return { title: 'the basic cell in bytes', run, want, exact: true };
}

const CASES: readonly Made[] = [floats(), wholes()];

describe('the basic LSTM cell', async () => {
  const results = await runOnTargets(CASES.map((c) => c.run));
  it.each(CASES.map((c, k) => [c.title, k] as const))('%s', (_, k) => {
    const { want, exact } = CASES[k] as Made;
    for (const { target, values } of results[k] ?? [])
      for (const [i, v] of want.flat(2).entries())
        expect(Math.abs((values.flat(2)[i] as number) - v), `${target} at ${i}`).toBeLessThanOrEqual(exact ? 0 : 2e-5);
  });
});
