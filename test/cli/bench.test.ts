// `heddle bench`: contenders take turns, rows have the agreed fields, and other runtimes are optional.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { type BenchRow, largestDifference, modelName } from '../../src/cli/bench/bench-model.js';
import { summarise } from '../../src/cli/bench/bench-report.js';
import type { Contender } from '../../src/cli/bench/contender.js';
import { geometricMean, measure, median } from '../../src/cli/bench/measure.js';
import { compileModel, readModel } from '../../src/compile.js';
import { heddle, temporaryFolder, writeFile } from './heddle.js';
import { scaled } from './models.js';

const ONNXRUNTIME = fileURLToPath(new URL('../../bench/node_modules/onnxruntime-node', import.meta.url));
const dir = temporaryFolder();
let model = '';

beforeAll(() => {
  model = writeFile(join(dir, 'scaled.onnx'), scaled);
});

interface Report {
  readonly rows: readonly BenchRow[];
  readonly notes: readonly { readonly who: string; readonly reason: string }[];
}

describe('measuring', () => {
  it('lets all contenders take turns, and each begin as often', async () => {
    const order: string[] = [];
    const contender = (name: string): Contender => ({
      name,
      time: async () => {
        order.push(name);
        return 1;
      },
      outputs: async () => [],
      close: async () => undefined,
    });
    const times = await measure(['a', 'b', 'c'].map(contender), { samples: 3, warmUpMs: 0, batchMs: 1 });
    expect(times).toEqual(Array(3).fill({ median: 1, best: 1 }));
    expect(order.slice(-9).join('')).toBe('abcbcacab');
  });

  it('takes the median, and multiplies for the mean of ratios', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 3, 2])).toBe(2);
    expect(geometricMean([1, 4])).toBeCloseTo(2);
  });

  it('times C in the program that runs it', async () => {
    const program = compileModel(readModel(scaled, { file: 'scaled.onnx' }), { target: 'c', dims: { n: 4 } });
    const session = (await buildC([{ name: 'm', program }], { cflags: ['-O1'] })).get('m')!;
    const x = { dtype: 'f32', shape: [4], data: Float32Array.of(1, -2, 3, -4) };
    const ms = await session.time({ x }, 1000);
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeLessThan(1);
    expect([...((await session.run({ x })).y!.data as Float32Array)]).toEqual([2, 0, 6, 0]);
    await session.close();
  });
});

describe('reporting', () => {
  it('measures how far two runtimes are apart', () => {
    expect(largestDifference([[1, 2]], [[1, 2]])).toBe(0);
    expect(largestDifference([[1, 3]], [[1, 4]])).toBe(0.25);
    expect(largestDifference([[1n]], [[1, 2]])).toBe(null);
  });

  it('names a model by its folder where all files are called the same', () => {
    expect(modelName('/m/mnist_8/model.onnx')).toBe('mnist_8');
    expect(modelName('/m/kws.tflite')).toBe('kws');
  });

  it('gives the geometric mean and the worst model of each pair', () => {
    const row = (name: string, ratio: number) =>
      ({ model: name, target: 'c', peer: 'p', ratio, precision: 'float' }) as BenchRow;
    expect(summarise([row('a', 4), row('b', 1), { ...row('c', 9), ratio: null }])).toEqual([
      {
        suite: '',
        precision: 'float',
        target: 'c',
        peer: 'p',
        models: 2,
        geometric_mean: 2,
        worst: { model: 'b', ratio: 1 },
      },
    ]);
  });
});

describe('the command', () => {
  it('prints a row for each target without other runtimes', async () => {
    const { code, out } = await heddle(
      'bench',
      model,
      '--dim',
      'n=8',
      '--target',
      'interp,wasm',
      '--samples',
      '2',
      '--json',
    );
    expect(code).toBe(0);
    const { rows } = JSON.parse(out) as Report;
    expect(rows.map((r) => [r.model, r.target, r.peer, r.ratio])).toEqual([
      ['scaled', 'interp', '', null],
      ['scaled', 'wasm', '', null],
    ]);
    for (const r of rows) expect(r.heddle_ms).toBeGreaterThan(0);
    expect(rows[1]?.code_bytes).toBeGreaterThan(100);
  });

  it('says what to run where a runtime is not installed or not known', async () => {
    const { code, err } = await heddle('bench', model, '--against', 'abacus');
    expect(code).toBe(1);
    expect(err).toMatch(/E401 there is no runtime "abacus".*onnxruntime-node/);
  });

  it.skipIf(!existsSync(ONNXRUNTIME))('compares with another runtime, and finds the same outputs', async () => {
    const args = ['--target', 'wasm', '--against', 'onnxruntime-node', '--samples', '2', '--json'];
    const { out } = await heddle('bench', model, '--dim', 'n=8', ...args);
    const [row] = (JSON.parse(out) as Report).rows;
    expect(row).toMatchObject({ model: 'scaled', target: 'wasm', peer: 'onnxruntime-node', difference: 0 });
    expect(row?.ratio).toBeCloseTo((row?.peer_ms ?? 0) / (row?.heddle_ms ?? 1), 1);
  });
});
