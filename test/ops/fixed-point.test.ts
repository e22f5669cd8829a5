// The cheap expressions of fixed-point arithmetic equal the exact ones, on values and multipliers that matter: extremes,
// halves, and a seeded random sample. The exact ones are held to facts of the TFLite reference kernels.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { lowerToProgram } from '../../src/compile.js';
import {
  expOfNegative,
  inverseSquareRoot,
  type Multiplier,
  mulHigh,
  quantizeMultiplier,
  type Rounding,
  reciprocal,
  scaled,
  shiftRight,
} from '../../src/frontend/ops/quantized/fixed-point.js';
import * as on from '../../src/frontend/ops/quantized/fixed-point-expr.js';
import * as row from '../../src/frontend/ops/quantized/reciprocal.js';
import { type Builder, createBuilder } from '../../src/ir/builder.js';
import { i32 } from '../../src/ir/scalar.js';
import type { Value } from '../../src/ir/tensor.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';

const SEED = 20240917;

/** A small generator of 32-bit numbers; tests print the seed above. */
function* random(seed: number): Generator<number> {
  for (let s = seed | 0; ; ) {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    yield (s ^ (s >>> 13)) | 0;
  }
}

function sample(count: number, seed: number): readonly number[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, k) => (next.next().value as number) >> ((k % 4) * 7));
}

const EDGES = [
  0,
  1,
  -1,
  2,
  -2,
  3,
  -3,
  127,
  -128,
  2 ** 20,
  -(2 ** 20),
  2 ** 30 - 1,
  2 ** 30,
  -(2 ** 30),
  2 ** 31 - 1,
  -(2 ** 31),
];
const VALUES = [...EDGES, ...sample(200, SEED)];

/** Runs `f` on i32 vectors. */
function evaluate(
  inputs: readonly (readonly number[])[],
  f: (b: Builder, x: readonly Value[]) => Value,
): readonly number[] {
  const b = createBuilder();
  const types = inputs.map((v) => ({ dtype: 'i32' as const, shape: [v.length] }));
  const body = b.region(types, (params) => [f(b, params)]);
  const names = inputs.map((_, k) => `x${k}`);
  const module = { name: 'm', entries: [{ name: 'run', inputNames: names, outputNames: ['y'], body }], states: [] };
  const fed = Object.fromEntries(inputs.map((v, k) => [`x${k}`, fromNumbers('i32', [v.length], v)]));
  const out = createInterpreter(lowerToProgram(module)).runSync(fed);
  return Array.from(toNumbers(out.y as Tensor));
}

const FACTORS = [0.5, 1, 0.999999999, 0.25, 0.0037, 2 ** -20 * 1.5, 1e-9, 0.0039, 0.75, 3e-7];

describe('multipliers', () => {
  it('are the nearest q·2^(shift-31), with the carry moved into the shift', () => {
    expect(quantizeMultiplier(0.5)).toEqual({ q: 2 ** 30, shift: 0 });
    expect(quantizeMultiplier(1)).toEqual({ q: 2 ** 30, shift: 1 });
    expect(quantizeMultiplier(1 - 2 ** -40)).toEqual({ q: 2 ** 30, shift: 1 });
    expect(quantizeMultiplier(0)).toEqual({ q: 0, shift: 0 });
    expect(quantizeMultiplier(2 ** -33)).toEqual({ q: 0, shift: 0 });
    expect(quantizeMultiplier(2 ** 40, 'single')).toEqual({ q: 2 ** 31 - 1, shift: 30 });
  });

  it('round twice or once: they differ where the first rounding makes a half', () => {
    const m = quantizeMultiplier(0.25);
    expect([scaled(1, m, 'double'), scaled(1, m, 'single')]).toEqual([1, 0]);
    expect([scaled(-2, m, 'double'), scaled(-2, m, 'single')]).toEqual([-1, 0]);
  });
});

describe('expressions', () => {
  it('mulHigh equals the exact product of any two numbers', () => {
    const [p, q] = [VALUES, [...VALUES].reverse()];
    const got = evaluate([p, q], (b, [x, y]) => b.map([x as Value, y as Value], on.mulHigh));
    const pairs = p.map((v, k) => [v, q[k] as number] as const);
    const want = pairs.map(([v, w]) => (v === -(2 ** 31) && w === v ? -(2 ** 31) : mulHigh(v, w)));
    expect(got).toEqual(want);
  });

  it('shiftRight rounds halves away from zero at every exponent', () => {
    for (const exponent of [0, 1, 2, 7, 30, 31]) {
      const got = evaluate([VALUES], (b, [x]) => b.map([x as Value], (v) => on.shiftRight(v, exponent)));
      expect(got, `exponent ${exponent}`).toEqual(VALUES.map((v) => shiftRight(v, exponent)));
    }
  });

  it.each<Rounding>(['double', 'single'])('scale equals the exact multiplication, %s rounding', (rounding) => {
    for (const factor of FACTORS) {
      const m = quantizeMultiplier(factor, rounding);
      // A factor of one is shifted left, and would overflow in the reference.
      const values = m.shift > 0 ? VALUES.map((v) => v >> 1) : VALUES;
      const got = evaluate([values], (b, [x]) => b.map([x as Value], (v) => on.scale(v, m, rounding)));
      expect(got, `factor ${factor}, seed ${SEED}`).toEqual(values.map((v) => scaled(v, m, rounding)));
    }
  });

  it('scale by more than one shifts left first', () => {
    const small = VALUES.map((v) => v >> 8);
    const m = quantizeMultiplier(5.7);
    const got = evaluate([small], (b, [x]) => b.map([x as Value], (v) => on.scale(v, m, 'double', 2 ** 23)));
    expect(got).toEqual(small.map((v) => scaled(v, m, 'double')));
  });
});

describe('multipliers by channel', () => {
  const check = (factors: readonly number[], rounding: Rounding, ...bounds: readonly number[]): void => {
    const ms = factors.map((f) => quantizeMultiplier(f, rounding));
    const width = ms.length;
    const values = VALUES.slice(0, Math.floor(VALUES.length / width) * width).map((v, k) =>
      Math.trunc(v * ((bounds[k % width] ?? bounds[0] ?? 2 ** 31) / 2 ** 31)),
    );
    const got = evaluate([values], (b, [x]) => {
      const rows = b.reshape(x as Value, [values.length / width, width]);
      const scaler = on.channelScaler(b, ms, rounding, { wide: false, ...(bounds.length > 0 ? { bounds } : {}) });
      return b.generic({
        shape: rows.type.shape,
        body: (i, _r, read) => scaler(read(rows, i), read, i[1] ?? i32(0)),
      });
    });
    expect(got).toEqual(values.map((v, k) => scaled(v, ms[k % width] as Multiplier, rounding)));
  };

  it('equal the exact ones where all shift right, with and without a bound', () => {
    for (const rounding of ['double', 'single'] as const) {
      check([0.0037, 0.0001, 0.2, 1e-8], rounding);
      check([0.0037, 0.0001, 0.2, 1e-8], rounding, 2 ** 29);
    }
  });

  it('equal the exact ones where some shift right by none or one, or left', () => {
    check([0.9, 0.3, 0.0037, 0.5], 'double', 2 ** 27);
    check([1.7, 0.3, 0, 5.5], 'double', 2 ** 25);
  });

  it('equal the exact ones where dead channels have large biases and next to no scale', () => {
    check([2 ** -8.3, 2 ** -27.4, 0, 2 ** -30.6], 'double', 2 ** 20, 2 ** 30 + 2 ** 22, 2 ** 30 + 2 ** 21, 2 ** 29);
    check([2 ** -8.3, 2 ** -31.2], 'double', 2 ** 20, 2 ** 30 - 4);
    check([2 ** -31.2, 2 ** -9], 'double', 2 ** 31 - 1, 2 ** 20);
  });

  it('equal the exact ones where some are zero, or a half, or one', () => {
    for (const rounding of ['double', 'single'] as const) check([0.5, 0, 1, 0.3], rounding);
  });
});

describe('fixed-point functions', () => {
  it('exp of a negative is within a few units of its value', () => {
    for (const x of [0, -0.001, -0.25, -1, -3.7, -15.5]) {
      expect(expOfNegative(Math.round(x * 2 ** 26)) / 2 ** 31).toBeCloseTo(Math.exp(x), 6);
    }
  });

  it('reciprocals and inverse roots of rows equal the exact iterations', () => {
    const positive = [1, 2, 3, 255, 65025, 2 ** 19, 2 ** 20 + 7, 2 ** 29 - 1, 2 ** 29, 2 ** 30 + 5, 2 ** 31 - 1];
    const factors = evaluate([positive], (b, [x]) => b.map([x as Value], (v) => row.reciprocal(v, 12).scale));
    expect(factors).toEqual(positive.map((v) => reciprocal(v, 12).scale));
    const roots = evaluate([positive], (b, [x]) => b.map([x as Value], (v) => row.inverseSquareRoot(v).factor));
    expect(roots).toEqual(positive.map((v) => inverseSquareRoot(v).q));
    const shifts = evaluate([positive], (b, [x]) => b.map([x as Value], (v) => row.inverseSquareRoot(v).rightShift));
    expect(shifts).toEqual(positive.map((v) => inverseSquareRoot(v).rightShift));
  });
});
