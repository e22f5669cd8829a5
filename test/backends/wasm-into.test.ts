// Results in arrays that the caller keeps: in this process and in the artifact, with sizes that change from call to call, and
// clear words where an array does not serve.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emitWasmArtifact } from '../../src/backends/wasm/artifact.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { RuntimeTensor } from '../../src/runtime/session.js';
import type { TypedArray } from '../../src/support/tensor.js';
import { tensor } from './program-builder.js';

const program = lowerToProgram(
  parseModule(`module "both" {
  sym n : 0 .. 6
  entry "run" ("x": %0 f32[n]) {
    %1 = generic %0 : f32[n] = $0[i0] * 2 @ Mul "twice" 0
    %2 = generic %0 : i32[n] = i32($0[i0]) @ Cast "whole" 0
    return "y": %1, "z": %2
  }
}
`),
  { target: 'wasm' },
);

type Results = Readonly<Record<string, RuntimeTensor>>;
type Run = (x: RuntimeTensor, into: Readonly<Record<string, TypedArray>>) => Promise<Results>;

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-into-'));
  for (const [name, content] of Object.entries(emitWasmArtifact(program))) writeFileSync(join(root, name), content);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function openSession(): Promise<Run> {
  const session = await instantiateWasm(program);
  return (x, into) => session.runInto({ x }, into);
}

async function openArtifact(): Promise<Run> {
  const { load } = await import(/* @vite-ignore */ pathToFileURL(join(root, 'model.mjs')).href);
  const model = await load();
  return (x, into) => model.run({ x }, { into });
}

const f32 = (...values: number[]) => tensor('f32', [values.length], values);

describe.each([
  ['a session', openSession],
  ['an artifact', openArtifact],
])('results in arrays of the caller, of %s', (_, open) => {
  it('fill them, the others are copies', async () => {
    const run = await open();
    const y = new Float32Array(2);
    const first = await run(f32(1, 2), { y });
    expect([...y]).toEqual([2, 4]);
    expect(first).toEqual({ y: f32(2, 4), z: tensor('i32', [2], [1, 2]) });
    const second = await run(f32(3, 4), { y });
    expect([...y]).toEqual([6, 8]);
    expect(((second.y as RuntimeTensor).data as Float32Array).buffer).toBe(y.buffer);
    expect(first.z).toEqual(tensor('i32', [2], [1, 2]));
  });

  it('may be longer, and a part of something else: what is not of the result stays', async () => {
    const run = await open();
    const all = new Float32Array(8).fill(9);
    const out = await run(f32(1, 2, 3), { y: all.subarray(1, 6), z: new Int32Array(6) });
    expect([...all]).toEqual([9, 2, 4, 6, 9, 9, 9, 9]);
    expect(out).toEqual({ y: f32(2, 4, 6), z: tensor('i32', [3], [1, 2, 3]) });
    expect((await run(f32(), { y: all })).y).toEqual(f32());
  });

  it('are refused where they are too short or of another type', async () => {
    const run = await open();
    await expect(run(f32(1, 2), { y: new Float32Array(1) })).rejects.toThrow(/E402 .*2 elements of a Float32Array/);
    await expect(run(f32(1, 2), { z: new Float32Array(2) })).rejects.toThrow(/2 elements of a Int32Array/);
    expect(await run(f32(1), {})).toEqual({ y: f32(2), z: tensor('i32', [1], [1]) });
  });
});
