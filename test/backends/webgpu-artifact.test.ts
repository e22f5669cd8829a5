// The WebGPU artifact as a user has it: written to a folder, imported into Node, run on a device, type-checked.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { afterAll, describe, expect, it } from 'vitest';
import { emitWebGpuArtifact } from '../../src/backends/webgpu/artifact.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import type { Program } from '../../src/ir/program.js';
import { finishGridKernel } from '../../src/passes/kernel/finish.js';
import type { Tensor } from '../../src/support/tensor.js';
import { tensor } from './program-builder.js';
import { PROGRAMS } from './programs.js';
import { tryDevice } from './webgpu-device.js';

const device = await tryDevice();
const root = mkdtempSync(join(tmpdir(), 'heddle-webgpu-'));
afterAll(() => {
  device?.destroy();
  rmSync(root, { recursive: true, force: true });
});

type Entry = (
  inputs: Record<string, unknown>,
  options?: { outputs: 'gpu' | string[] },
) => Promise<Record<string, Tensor>>;
type Model = Record<string, Entry> & { readonly reset: () => Promise<void>; readonly close: () => Promise<void> };
interface Loader {
  load(options?: Record<string, unknown>): Promise<Model>;
}

const find = (name: string): Program => {
  const program = PROGRAMS.find((p) => p.name === name)?.program as Program;
  return { ...program, kernels: program.kernels.map((k) => finishGridKernel(k)) };
};

function write(program: Program): { dir: string; files: string[] } {
  const dir = mkdtempSync(join(root, 'artifact-'));
  const files = emitWebGpuArtifact(program);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
  return { dir, files: Object.keys(files) };
}

const load = async (program: Program, options: Record<string, unknown> = {}): Promise<Model> => {
  const url = pathToFileURL(join(write(program).dir, 'model.mjs')).href;
  return ((await import(/* @vite-ignore */ url)) as Loader).load({ device, ...options });
};

const WEIGHTS = 'reduction with a weight file';
const DYNAMIC = 'elementwise with a dynamic length';

describe('the files of a WebGPU artifact', () => {
  it('are the same every time, with the weights named by their contents', () => {
    const program = find(WEIGHTS);
    expect(emitWebGpuArtifact(program)).toEqual(emitWebGpuArtifact(program));
    expect(write(program).files).toEqual([
      'model.mjs',
      'model.d.ts',
      'model.d.mts',
      expect.stringMatching(/^model\.[0-9a-f]{16}\.bin$/),
    ]);
  });

  it('have types that a strict project accepts', () => {
    const { dir } = write(find(DYNAMIC));
    const use = join(dir, 'use.mts');
    writeFileSync(
      use,
      `import { load } from './model.mjs';
const model = await load({ onProgress: (done, total) => void (done / total) });
const { y } = await model.run({ x: new Float32Array(3) });
const first: number | undefined = y.data[0];
const kept = await model.run({ x: new Float32Array(3) }, { outputs: 'gpu' });
await model.run({ x: { buffer: kept.y.buffer, shape: kept.y.shape } });
const named = await model.run({ x: kept.y }, { outputs: ['y'] });
named.y.buffer.destroy();
const read: Float32Array = (await model.run({ x: kept.y }, { outputs: [] })).y.data;
// @ts-expect-error: there is no such output
await model.run({ x: read }, { outputs: ['z'] });
// @ts-expect-error: there is no such input
await model.run({ z: new Float32Array(3) });
export { first };`,
    );
    const options: ts.CompilerOptions = {
      strict: true,
      noEmit: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: [],
    };
    const messages = ts.getPreEmitDiagnostics(ts.createProgram([use], options));
    expect(messages.map((m) => ts.flattenDiagnosticMessageText(m.messageText, '\n'))).toEqual([]);
  });
});

describe.skipIf(!device)('a WebGPU artifact in Node', () => {
  for (const name of [WEIGHTS, DYNAMIC, 'a size bound by data', 'while and if over i64']) {
    it(`runs ${name}`, async () => {
      const progress: number[] = [];
      const model = await load(find(name), { onProgress: (done: number) => progress.push(done) });
      expect(progress.length).toBeGreaterThan(0);
      for (const call of PROGRAMS.find((p) => p.name === name)?.calls ?? [])
        if (call.outputs) expect(await model[call.entry ?? 'run']?.(call.inputs)).toEqual(call.outputs);
      await model.close();
    });
  }

  it('takes and gives buffers of the device', async () => {
    const model = await load(find(DYNAMIC));
    const first = await model.run?.({ x: Float32Array.of(1, 2, 3) }, { outputs: 'gpu' });
    const again = await model.run?.({ x: first?.y });
    expect(again?.y).toEqual(tensor('f32', [3], [7, 11, 15]));
  });

  it('leaves the outputs that are named on the device and reads the others', async () => {
    const name = 'awkward names, shared nodes, local storage, break, atomic';
    const model = await load(find(name));
    const [call] = PROGRAMS.find((p) => p.name === name)?.calls ?? [];
    const result = await model.run?.(call?.inputs ?? {}, { outputs: ['while/0'] });
    expect(result?.int).toEqual(call?.outputs?.int);
    expect(result?.['while/0']).toMatchObject({ dtype: 'f32', shape: [4], buffer: { size: 16, label: 'while/0' } });
    await expect((async () => model.run?.(call?.inputs ?? {}, { outputs: ['z'] }))()).rejects.toThrow(
      /E402 there is no output "z"/,
    );
  });

  it('says how much it holds and how its weights come', async () => {
    const heard: number[] = [];
    const model = await load(find(WEIGHTS), { onWeights: (done: number, total: number) => heard.push(done, total) });
    const { plan } = planProgram(find(WEIGHTS));
    expect(model).toMatchObject({ memoryBytes: plan.buffers.reduce((n, b) => n + b.bytes, 0) });
    expect(heard.slice(-2)).toEqual([heard.at(-1), heard.at(-1)]);
    expect(heard.at(-1)).toBeGreaterThan(0);
  });

  it('starts state anew, though its weights are on the device alone', async () => {
    const name = 'state that outlives a call, and two entries';
    const model = await load(find(name));
    for (let round = 0; round < 2; round++) {
      for (const call of PROGRAMS.find((p) => p.name === name)?.calls ?? [])
        expect(await model[call.entry ?? 'run']?.(call.inputs)).toEqual(call.outputs);
      await model.reset();
    }
  });

  it.each([
    ['a missing input', {}, /E402 input "x": expected f32\[n\]: it is missing/],
    ['a size out of bounds', { x: new Float32Array(65) }, /axis 0: expected 0 ≤ n ≤ 64, got 65/],
    ['an unknown input', { x: new Float32Array(3), z: new Float32Array(3) }, /there is no input "z"/],
  ])('rejects %s', async (_, inputs, message) => {
    const model = await load(find(DYNAMIC));
    await expect((async () => model.run?.(inputs))()).rejects.toThrow(message);
  });
});
