// Threads in WebAssembly artifacts: the same bits as one thread, one thread where memory cannot be shared, and no waiting
// for ever when something fails.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emitWasmArtifact } from '../../src/backends/wasm/artifact.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import { e } from '../../src/ir/expr.js';
import { SHARE } from '../../src/ir/kernel.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import { constant, i32, variable } from '../../src/ir/scalar.js';
import type { Tensor } from '../../src/support/tensor.js';
import { findChromium, runInChromium } from './chromium.js';
import { buildProgram, store } from './program-builder.js';

/** A product with packed panels, a sum over the whole of it, rows of open length, an elementwise tail. */
const MODULE = parseModule(`module "threads" {
  sym n : 1 .. 300
  entry "run" ("a": %0 "a" f32[n, 72], "b": %1 "b" f32[72, 91]) {
    %2 "c" = einsum "ac,cb->ab" %0, %1 : f32[n, 91]
    %3 "s" = generic %0 : f32[n] reduce add [72] = exp($0[i0, r0]) then sqrt(acc)
    %4 "t" = generic %2 : f32[n, 91] = erf($0[i0, i1]) * 2
    %5 "u" = generic %4 : f32[] reduce add [n, 91] = $0[r0, r1]
    return "c": %2, "s": %3, "t": %4, "u": %5
  }
}
`);

const compile = (threads: number): Program => lowerToProgram(MODULE, { target: 'wasm', threads });

interface Model {
  readonly threads: number;
  run(inputs: unknown): Promise<Record<string, Tensor>>;
  close(): Promise<void>;
}

const INPUTS = `const n = 201;
  const wave = (count, k) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * k));
  const inputs = { a: { data: wave(n * 72, 1), shape: [n, 72] }, b: wave(72 * 91, 2) };`;
const inputs = new Function(`${INPUTS} return inputs;`)() as Record<string, unknown>;

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-threads-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function write(program: Program): string {
  const dir = mkdtempSync(join(root, 'artifact-'));
  for (const [name, content] of Object.entries(emitWasmArtifact(program))) writeFileSync(join(dir, name), content);
  return dir;
}

const load = async (dir: string, threads: number): Promise<Model> => {
  const loader = (await import(/* @vite-ignore */ pathToFileURL(join(dir, 'model.mjs')).href)) as {
    load(options: { threads: number }): Promise<Model>;
  };
  return loader.load({ threads });
};

const bits = (out: Record<string, Tensor>): Record<string, number[]> =>
  Object.fromEntries(
    Object.entries(out).map(([name, t]) => [name, [...new Int32Array((t.data as Float32Array).buffer)]]),
  );

/** Runs a script in a process of its own, which must end by itself. */
function runNode(dir: string, script: string): unknown {
  writeFileSync(join(dir, 'main.mjs'), `${script}\n`);
  return JSON.parse(execFileSync(process.execPath, [join(dir, 'main.mjs')], { encoding: 'utf8', timeout: 30_000 }));
}

const REPORT = `const model = await load({ threads: 2 });
  const out = await model.run(inputs);
  const result = { threads: model.threads, u: out.u.data[0] };`;

describe('threads', () => {
  it('share kernels that are worth it, and no others', () => {
    expect(compile(3).kernels.some((k) => k.shares?.threads === 3)).toBe(true);
    expect(compile(1).kernels.every((k) => k.shares === undefined)).toBe(true);
    const small = parseModule(`module "small" {
  entry "run" ("x": %0 "x" f32[64]) {
    %1 "y" = generic %0 : f32[64] = $0[i0] * 2
    return "y": %1
  }
}
`);
    expect(Object.keys(emitWasmArtifact(lowerToProgram(small, { target: 'wasm', threads: 2 })))).not.toContain(
      'model.worker.mjs',
    );
  });

  it('give the bits of one thread, with any number of helpers', async () => {
    const plain = await instantiateWasm(compile(1));
    const dir = write(compile(3));
    const models = [await load(dir, 1), await load(dir, 2), await load(dir, 8)];
    expect(models.map((m) => m.threads)).toEqual([1, 2, 3]);
    for (const n of [1, 7, 201, 300]) {
      const a = {
        dtype: 'f32' as const,
        shape: [n, 72],
        data: Float32Array.from({ length: n * 72 }, (_, i) => Math.cos(i)),
      };
      const b = { dtype: 'f32' as const, shape: [72, 91], data: inputs.b as Float32Array };
      const expected = bits((await plain.run({ a, b })) as Record<string, Tensor>);
      for (const m of models) expect(bits(await m.run({ a, b }))).toEqual(expected);
    }
    await Promise.all(models.map((m) => m.close()));
  });

  it('run on one after close', async () => {
    const model = await load(write(compile(2)), 2);
    const before = bits(await model.run(inputs));
    await model.close();
    expect(model.threads).toBe(1);
    expect(bits(await model.run(inputs))).toEqual(before);
  });

  it('do not keep a process alive', () => {
    const script = `import { load } from './model.mjs';\n${INPUTS}\n${REPORT}\nconsole.log(JSON.stringify(result));`;
    expect(runNode(write(compile(2)), script)).toMatchObject({ threads: 2 });
  });

  it('are one where memory cannot be shared', () => {
    const script = (setUp: string): string =>
      `${setUp}\nconst { load } = await import('./model.mjs');\n${INPUTS}\n${REPORT}\nconsole.log(JSON.stringify(result));`;
    const dir = write(compile(2));
    const shared = runNode(dir, script('')) as { u: number };
    expect(runNode(dir, script('globalThis.crossOriginIsolated = false;'))).toEqual({ threads: 1, u: shared.u });
    expect(runNode(dir, script('delete globalThis.SharedArrayBuffer;'))).toEqual({ threads: 1, u: shared.u });
  });

  it.each([0, 1])('end a run when share %i fails', { timeout: 20_000 }, async (failing) => {
    const made = buildProgram('failing', (b) => {
      const y = b.output('y', 'f32', [8]);
      const far = i32(1 << 28);
      const fail = {
        s: 'if' as const,
        cond: e.eq(variable(SHARE, 'i32'), failing),
        then: [store(0, far, constant(1, 'f32'))],
        else: [],
      };
      b.steps(b.kernel('fail', [[y, 'write']], [fail]));
    });
    const program = { ...made, kernels: made.kernels.map((k) => ({ ...k, shares: { count: 2, threads: 2 } })) };
    const model = await load(write(program), 2);
    expect(model.threads).toBe(2);
    await expect(model.run({})).rejects.toThrow(WebAssembly.RuntimeError);
    if (failing === 1) expect(model.threads).toBe(1);
    await expect(model.run({})).rejects.toThrow(WebAssembly.RuntimeError);
    await model.close();
  });

  const chromium = findChromium();
  it.skipIf(!chromium)(
    'run in a page that is isolated, and alone in one that is not',
    { timeout: 60_000 },
    async () => {
      const dir = write(compile(2));
      const script = `const { load } = await import('./model.mjs');\n${INPUTS}\n${REPORT}\nawait model.close();\nreturn result;`;
      const isolated = (await runInChromium(chromium as string, dir, script, { isolated: true })) as { u: number };
      expect(isolated).toMatchObject({ threads: 2 });
      expect(await runInChromium(chromium as string, dir, script)).toEqual({ threads: 1, u: isolated.u });
    },
  );
});
