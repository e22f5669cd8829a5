// Sums of very many terms keep their precision, whatever the target's loops look like.

import { describe, expect, it } from 'vitest';
import { lowerToProgram } from '../../src/compile.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { createBuilder } from '../../src/ir/builder.js';
import { type Dim, product, symDim } from '../../src/ir/dim.js';
import type { Module } from '../../src/ir/tensor.js';
import { splitSums } from '../../src/passes/split-sums.js';

/** Relative; one by one, a million equal terms are off by 1e-2. */
const BOUND = 3e-5;

/** Mean of an input of this shape as a whole, or (`flat`) of its elements in one axis. */
function meanModule(shape: (b: ReturnType<typeof createBuilder>) => readonly Dim[], flat = false): Module {
  const b = createBuilder();
  const sizes = shape(b);
  const body = b.region([{ dtype: 'f32', shape: sizes }], ([x]) => [
    b.reduce(flat ? b.reshape(x!, [product(sizes)]) : x!, 'mean'),
  ]);
  return { name: 'mean', states: [], entries: [{ name: 'run', inputNames: ['x'], outputNames: ['y'], body }] };
}

const reductions = (m: Module): number =>
  m.entries[0]!.body.nodes.filter((n) => n.kind === 'generic' && n.reducer !== null).length;

async function meanOf(m: Module, shape: readonly number[], value: number): Promise<number[]> {
  const data = new Float32Array(shape.reduce((p, d) => p * d, 1)).fill(value);
  const x = { dtype: 'f32' as const, shape, data };
  const interp = createInterpreter(lowerToProgram(m, { target: 'interp' }));
  const wasm = await instantiateWasm(lowerToProgram(m, { target: 'wasm' }));
  const outputs = [await interp.run({ x }), await wasm.run({ x })];
  await wasm.close();
  return outputs.map((o) => (o.y!.data as Float32Array)[0] as number);
}

describe('split-sums', () => {
  it('adds a long fixed axis in blocks', async () => {
    const m = meanModule(() => [1, 1_000_000]);
    expect(reductions(splitSums(m))).toBe(2);
    for (const y of await meanOf(m, [1, 1_000_000], 0.1)) expect(Math.abs(y / 0.1 - 1)).toBeLessThan(BOUND);
  });

  it('adds a long axis of unknown length in blocks of what divides it', async () => {
    const m = meanModule((b) => [symDim(b.freshSym('n', 1, 5000)), 96], true);
    expect(reductions(splitSums(m))).toBe(2);
    for (const y of await meanOf(m, [4001, 96], 0.1)) expect(Math.abs(y / 0.1 - 1)).toBeLessThan(BOUND);
  });

  it('takes several axes one by one', async () => {
    const m = meanModule(() => [1, 1021, 1019]);
    expect(reductions(splitSums(m))).toBe(2);
    for (const y of await meanOf(m, [1, 1021, 1019], 0.1)) expect(Math.abs(y / 0.1 - 1)).toBeLessThan(BOUND);
  });

  it('leaves to lowering what is shorter, which adds it in blocks', async () => {
    const m = meanModule(() => [1, 8192]);
    expect(splitSums(m)).toEqual(m);
    const one = 6e-5; // what adding one by one is off by
    for (const y of await meanOf(m, [1, 8192], 0.1)) expect(Math.abs(y / 0.1 - 1)).toBeLessThan(one / 10);
  });

  it('leaves short sums and indivisible ones as they are', () => {
    for (const shape of [
      [1, 4096],
      [1, 16411],
    ]) {
      const m = meanModule(() => shape);
      expect(splitSums(m)).toEqual(m);
    }
  });
});
