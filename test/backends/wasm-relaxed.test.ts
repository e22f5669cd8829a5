// The twin with relaxed SIMD: emitted where it changes something, taken where the engine knows it, right where it runs.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { emitWasmArtifact } from '../../src/backends/wasm/artifact.js';
import { emitWasm } from '../../src/backends/wasm/program.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Tensor } from '../../src/support/tensor.js';
import { findChromium, runInChromium } from './chromium.js';

const PRODUCT = parseModule(`module "product" {
  entry "run" ("a": %0 "a" f32[24, 40], "b": %1 "b" f32[40, 36]) {
    %2 "c" = einsum "ac,cb->ab" %0, %1 : f32[24, 36]
    return "c": %2
  }
}
`);

const compile = (numerics: 'fast' | 'strict'): Program => lowerToProgram(PRODUCT, { target: 'wasm', numerics });

const [A, B] = [24 * 40, 40 * 36].map((n, k) => Array.from({ length: n }, (_, i) => Math.sin(i * (k + 1)) / 3)) as [
  number[],
  number[],
];
const tensorOf = (shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(values),
});

/** The body of an async function that runs the artifact beside it. */
const SCRIPT = `const { load } = await import('./model.mjs');
  const model = await load();
  const range = (n, k) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * k) / 3);
  const { c } = await model.run({ a: range(${24 * 40}, 1), b: range(${40 * 36}, 2) });
  return [...c.data];`;

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-relaxed-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The artifact without one of its modules, so that only the other can have run. */
function writeWithout(missing: string): string {
  const dir = mkdtempSync(join(root, 'artifact-'));
  for (const [name, content] of Object.entries(emitWasmArtifact(compile('fast'))))
    if (name !== missing) writeFileSync(join(dir, name), content);
  return dir;
}

async function expected(): Promise<number[]> {
  const session = createInterpreter(lowerToProgram(PRODUCT));
  const out = await session.run({ a: tensorOf([24, 40], A), b: tensorOf([40, 36], B) });
  return [...((out.c as Tensor).data as Float32Array)];
}

async function expectClose(got: unknown): Promise<void> {
  const want = await expected();
  const values = got as number[];
  expect(values).toHaveLength(want.length);
  for (const [i, v] of values.entries()) expect(Math.abs(v - (want[i] as number))).toBeLessThan(1e-5);
}

describe('relaxed SIMD', () => {
  it('is a second module, unless numerics are strict or it is switched off', () => {
    const names = (numerics: 'fast' | 'strict', relaxed?: 'auto' | 'off' | 'only'): string[] =>
      Object.keys(emitWasmArtifact(compile(numerics), { relaxed })).filter((n) => n.endsWith('.wasm'));
    expect(names('fast')).toEqual(['model.wasm', 'model.relaxed.wasm']);
    expect(names('fast', 'off')).toEqual(['model.wasm']);
    expect(names('fast', 'only')).toEqual(['model.wasm']);
    expect(names('strict')).toEqual(['model.wasm']);
  });

  it('changes instructions only: both modules share one layout and one weight file', () => {
    const [plain, relaxed] = [false, true].map((r) => emitWasm(compile('fast'), { relaxed: r, weights: 'file' }));
    expect(relaxed?.layout).toEqual(plain?.layout);
    expect(relaxed?.module.length).toBeLessThan(plain?.module.length ?? 0);
  });

  it('runs in Node where the engine knows it', async () => {
    const dir = writeWithout('model.wasm');
    writeFileSync(join(dir, 'main.mjs'), `console.log(JSON.stringify(await (async () => {${SCRIPT}})()));\n`);
    const flags = ['--experimental-wasm-relaxed-simd', join(dir, 'main.mjs')];
    await expectClose(JSON.parse(execFileSync(process.execPath, flags, { encoding: 'utf8' })));
  });

  it('is not asked for where the engine does not', async () => {
    const dir = writeWithout('model.relaxed.wasm');
    writeFileSync(join(dir, 'main.mjs'), `console.log(JSON.stringify(await (async () => {${SCRIPT}})()));\n`);
    const flags = ['--no-experimental-wasm-relaxed-simd', join(dir, 'main.mjs')];
    await expectClose(JSON.parse(execFileSync(process.execPath, flags, { encoding: 'utf8' })));
  });

  const chromium = findChromium();
  it.skipIf(!chromium)('runs in Chromium', { timeout: 60_000 }, async () => {
    await expectClose(await runInChromium(chromium as string, writeWithout('model.wasm'), SCRIPT));
  });
});
