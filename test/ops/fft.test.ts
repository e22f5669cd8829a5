// Fast transforms of long rows against the definition: radices of every kind, lengths with large prime factors, real and
// complex, one-sided and inverse, on every CPU target.

import { afterAll, describe, expect, it } from 'vitest';
import { openSession } from '../../src/cli/targets.js';
import { importSource, lowerToProgram } from '../../src/compile.js';
import type { Session } from '../../src/runtime/session.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';
import { modelOf, type NodeCase, run } from './node-case.js';

/** Σ z_j · e^(∓2πi·jk/n) for every k. */
function definition(
  z: readonly (readonly [number, number])[],
  inverse: boolean,
): readonly (readonly [number, number])[] {
  const n = z.length;
  return z.map((_, k) => {
    let [re, im] = [0, 0];
    z.forEach(([p, q], j) => {
      const angle = ((inverse ? 2 : -2) * Math.PI * ((j * k) % n)) / n;
      re += p * Math.cos(angle) - q * Math.sin(angle);
      im += p * Math.sin(angle) + q * Math.cos(angle);
    });
    return inverse ? [re / n, im / n] : [re, im];
  });
}

const sample = (j: number): number => ((j * 7919) % 64) / 16 - 2;

/** The transform of one row of `n` samples with `parts` numbers each. */
const nodeOf = (n: number, parts: 1 | 2, attrs: NodeCase['attrs'] = {}): NodeCase => {
  const x = fromNumbers(
    'f32',
    [1, n, parts],
    Array.from({ length: n * parts }, (_, j) => sample(j)),
  );
  return { op: 'DFT', opset: 17, attrs: { axis: 1, ...attrs }, inputs: [x] };
};

const pairs = (t: Tensor | undefined): (readonly [number, number])[] => {
  const v = Array.from(toNumbers(t as Tensor));
  const parts = t?.shape.at(-1) as number;
  return Array.from({ length: v.length / parts }, (_, j) => [
    v[j * parts] as number,
    parts > 1 ? (v[j * parts + 1] as number) : 0,
  ]);
};

function expectClose(got: readonly number[], want: readonly (readonly number[])[]): void {
  const flat = want.flat();
  expect(got.length).toBe(flat.length);
  const worst = Math.max(
    ...got.map((v, k) => Math.abs(v - (flat[k] as number)) / Math.max(1, Math.abs(flat[k] as number))),
  );
  expect(worst).toBeLessThan(2e-6);
}

const LENGTHS = [256, 360, 1001, 257, 514];

describe('a fast transform', () => {
  it.each(LENGTHS)('of %i complex numbers is what the definition says, and so is its inverse', (n) => {
    for (const inverse of [false, true]) {
      const c = nodeOf(n, 2, { inverse: Number(inverse) });
      expectClose(run(c).values, definition(pairs(c.inputs[0] as Tensor), inverse));
    }
  });

  it.each(LENGTHS)('of %i real numbers may be one-sided, there and back', (n) => {
    const c = nodeOf(n, 1, { onesided: 1 });
    const half = run(c);
    const bins = Math.floor(n / 2) + 1;
    expect(half.shape).toEqual([1, bins, 2]);
    expectClose(half.values, definition(pairs(c.inputs[0] as Tensor), false).slice(0, bins));
    const back = run({
      op: 'DFT',
      opset: 20,
      attrs: { onesided: 1, inverse: 1 },
      inputs: [fromNumbers('f32', half.shape, half.values), fromNumbers('i64', [], [n]), fromNumbers('i64', [], [1])],
      constants: [1, 2],
    });
    expect(back.shape).toEqual([1, n, 1]);
    expectClose(
      back.values,
      Array.from({ length: n }, (_, j) => [sample(j)]),
    );
  });

  it('goes along any axis, of samples cut off or filled up with zeros', () => {
    const x = fromNumbers(
      'f32',
      [2, 300, 2, 1],
      Array.from({ length: 1200 }, (_, j) => sample(j)),
    );
    for (const n of [270, 330]) {
      const inputs = [x, fromNumbers('i64', [], [n])];
      const y = run({ op: 'DFT', opset: 17, attrs: { axis: 1 }, inputs, constants: [1] });
      expect(y.shape).toEqual([2, n, 2, 2]);
      const row = Array.from({ length: n }, (_, j) => [j < 300 ? sample((300 + j) * 2 + 1) : 0, 0] as const);
      const got = Array.from({ length: n }, (_, j) => [0, 1].map((p) => y.values[((n + j) * 2 + 1) * 2 + p] as number));
      expectClose(got.flat(), definition(row, false));
    }
  });
});

const sessions: Session[] = [];
afterAll(() => Promise.all(sessions.map((s) => s.close())));

it.each(['wasm', 'c'] as const)('it gives the same on %s', async (target) => {
  for (const n of [360, 257]) {
    const c = nodeOf(n, 2);
    const session = await openSession(target, lowerToProgram(importSource(modelOf(c)), { target }));
    sessions.push(session);
    const { out0 } = await session.run({ in0: c.inputs[0] as Tensor });
    expectClose(Array.from(toNumbers(out0 as Tensor)), definition(pairs(c.inputs[0] as Tensor), false));
  }
});
