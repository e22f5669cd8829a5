// Kernels equal up to sizes are one function: fewer kernels than calls, and the values of the interpreter, which keeps
// every node its own kernel.

import { describe, expect, it } from 'vitest';
import { countWork } from '../../src/cli/profile-work.js';
import { openSession, type Target, visitSteps } from '../../src/cli/targets.js';
import { importSource, lowerToProgram, readModel } from '../../src/compile.js';
import type { SourceModel } from '../../src/frontend/source.js';
import type { Program } from '../../src/ir/program.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { type Attribute, encodeModel, floats, graph, intAttr, node, value } from '../frontend/onnx-models.js';

const ints = (name: string, list: readonly number[]): Attribute => ({ name, type: 7, ints: [...list] });
const wave = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * 1.7) * 0.5);

/** Of layers: every other one reads rows of 24. */
const WIDTHS = [24, 40, 24, 56, 24, 16];

/** Fully connected layers of these widths, a batch of any size. */
function layers(widths: readonly number[]): SourceModel {
  const weights = widths.slice(1).map((n, k) => floats(`w${k}`, [widths[k] as number, n], wave((widths[k] ?? 0) * n)));
  const nodes = weights.flatMap((_, k) => [
    node('MatMul', [`x${k}`, `w${k}`], [`m${k}`]),
    node('Relu', [`m${k}`], [`x${k + 1}`]),
  ]);
  return readModel(
    encodeModel(
      graph(nodes, {
        input: [value('x0', ['n', widths[0] as number])],
        output: [value(`x${weights.length}`, ['n', widths.at(-1) as number])],
        initializer: weights,
      }),
    ),
    { file: 'layers.onnx' },
  );
}

/** Convolutions without a batch, each of another size and number of channels. */
function convolutions(channels: readonly number[], size: number): SourceModel {
  const weights = channels.slice(1).map((n, k) => {
    const from = channels[k] as number;
    return floats(`w${k}`, [n, from, 3, 3], wave(n * from * 9));
  });
  const nodes = weights.map((_, k) =>
    node('Conv', [`x${k}`, `w${k}`], [`x${k + 1}`], {
      attribute: [
        ints('kernel_shape', [3, 3]),
        ints('strides', [2, 2]),
        ints('pads', [1, 1, 1, 1]),
        intAttr('group', 1),
      ],
    }),
  );
  const last = weights.reduce((n) => Math.floor((n + 1) / 2), size);
  return readModel(
    encodeModel(
      graph(nodes, {
        input: [value('x0', [1, channels[0] as number, 'h', size])],
        output: [value(`x${weights.length}`, [1, channels.at(-1) as number, 'out', last])],
        initializer: weights,
      }),
    ),
    { file: 'convolutions.onnx' },
  );
}

function compile(model: SourceModel, target: Target, dims: Record<string, { lo: number; hi: number }>): Program {
  const options = { target, dims, numerics: 'strict' } as const;
  return lowerToProgram(importSource(model, options), options);
}

function calls(p: Program): number {
  let n = 0;
  for (const entry of p.entries) visitSteps(entry.steps, (s) => (n += s.kind === 'kernel' ? 1 : 0));
  return n;
}

async function run(p: Program, target: Target, x: Tensor): Promise<number[]> {
  const session = await openSession(target, p);
  const out = await session.run({ x0: x as never });
  await session.close();
  return [...((Object.values(out)[0] as Tensor).data as Float32Array)];
}

describe.each(['wasm', 'c'] as const)('merged kernels for %s', (target) => {
  it('serve layers of several widths, for batches shorter and longer than a tile', async () => {
    const model = layers(WIDTHS);
    const dims = { n: { lo: 1, hi: 9 } };
    const [own, plain] = [compile(model, target, dims), compile(model, 'interp', dims)];
    expect(own.kernels.length).toBeLessThan(calls(own));
    for (const n of [1, 3, 4, 9]) {
      const x = fromNumbers('f32', [n, 24], wave(n * 24));
      expect(await run(own, target, x)).toEqual(await run(plain, 'interp', x));
    }
  });

  it('serve convolutions of several sizes, one of them open', async () => {
    const model = convolutions([3, 8, 12, 16, 24], 64);
    const dims = { h: { lo: 1, hi: 40 } };
    const [own, plain] = [compile(model, target, dims), compile(model, 'interp', dims)];
    for (const h of [1, 2, 7, 24, 40]) {
      const x = fromNumbers('f32', [1, 3, h, 64], wave(3 * h * 64));
      expect(await run(own, target, x)).toEqual(await run(plain, 'interp', x));
    }
  });

  it('are called with their own sizes', () => {
    const own = compile(layers(WIDTHS), target, { n: { lo: 1, hi: 9 } });
    for (const entry of own.entries)
      visitSteps(entry.steps, (s) => {
        if (s.kind === 'kernel') expect(s.dims).toHaveLength(own.kernels[s.kernel]?.syms.length ?? -1);
      });
  });

  it('say the work of each call', () => {
    const own = compile(layers(WIDTHS), target, { n: { lo: 1, hi: 9 } });
    const sizes = new Map([['n', 4]]);
    const work: { operations: number; bytes: number }[] = [];
    for (const entry of own.entries)
      visitSteps(entry.steps, (s) => {
        if (s.kind === 'kernel') work.push(countWork(own, s, sizes));
      });
    const layer = (k: number): number => (WIDTHS[k] as number) * (WIDTHS[k + 1] as number);
    const values = (k: number): number => 4 * ((WIDTHS[k] as number) + (WIDTHS[k + 1] as number));
    expect(work.map((w) => w.bytes)).toEqual(WIDTHS.slice(1).map((_, k) => 4 * (layer(k) + values(k))));
    for (const [k, w] of work.entries()) expect(w.operations).toBeGreaterThanOrEqual(2 * 4 * layer(k));
  });
});
