// Outputs that stay in WebAssembly's memory between calls: in this process and in the artifact, whatever order later calls
// take them in, and safe from the calls that do not take them.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emitWasmArtifact } from '../../src/backends/wasm/artifact.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program, ProgramEntry, ProgramValue } from '../../src/ir/program.js';
import type { DeviceTensor, RuntimeTensor } from '../../src/runtime/session.js';
import { tensor } from './program-builder.js';

/** `p` is `a` and one element more, `q` twice `b`. */
const program = lowerToProgram(
  parseModule(`module "caches" {
  sym n : 0 .. 6
  sym m : 1 .. 6
  entry "run" ("a": %0 f32[n], "b": %1 f32[m], "k": %2 i32[1]) {
    %3 = generic %0, %2 : f32[n + 1] = select(lt(i0, dim(n)), $0[i0 else 0], f32($1[0])) @ Concat "grow" 0
    %4 = generic %1 : f32[m] = $0[i0] * 2 @ Mul "twice" 0
    return "p": %3, "q": %4
  }
}
`),
  { target: 'wasm' },
);

type Tensors = Readonly<Record<string, RuntimeTensor | DeviceTensor>>;
type Run = (inputs: Tensors, stay: readonly string[]) => Promise<Tensors>;

/** `y` is twice `x`, its elements made where those of `x` lie, or in the other order elsewhere. */
const [doubling, turning] = ['$0[i0]', '$0[dim(n) - 1 - i0]'].map((x, i) =>
  lowerToProgram(
    parseModule(`module "twice${i}" {
  sym n : 1 .. 6
  entry "run" ("x": %0 f32[n]) {
    %1 = generic %0 : f32[n] = ${x} * 2 @ Mul "twice" 0
    return "y": %1
  }
}
`),
    { target: 'wasm' },
  ),
) as [Program, Program];

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-kept-'));
  for (const p of [program, doubling, turning]) {
    mkdirSync(join(root, p.name));
    for (const [name, content] of Object.entries(emitWasmArtifact(p))) writeFileSync(join(root, p.name, name), content);
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function openSession(p = program): Promise<Run> {
  const session = await instantiateWasm(p);
  return (inputs, stay) => session.runOnDevice(inputs, stay);
}

async function openArtifact(p = program): Promise<Run> {
  const { load } = await import(/* @vite-ignore */ pathToFileURL(join(root, p.name, 'model.mjs')).href);
  const model = await load();
  return (inputs, stay) => model.run(inputs, { outputs: stay });
}

const f32 = (...values: number[]) => tensor('f32', [values.length], values);
const k = (value: number) => tensor('i32', [1], [value]);

interface Kept extends DeviceTensor {
  readonly buffer: DeviceTensor['buffer'] & { read(): Uint8Array };
}
const kept = (t: Tensors, name: string): Kept => t[name] as Kept;
const valuesOf = (t: Kept): number[] => [...new Float32Array(t.buffer.read().buffer)];

describe.each([
  ['a session', openSession],
  ['an artifact', openArtifact],
])('outputs that stay in the memory of %s', (_, open) => {
  it('feed the next call, growing', async () => {
    const run = await open();
    let caches = await run({ a: f32(), b: f32(1), k: k(5) }, ['p', 'q']);
    for (const value of [6, 7]) {
      const before = caches;
      caches = await run({ a: kept(before, 'p'), b: kept(before, 'q'), k: k(value) }, ['p', 'q']);
      for (const name of ['p', 'q']) kept(before, name).buffer.destroy();
    }
    expect(kept(caches, 'p')).toMatchObject({ dtype: 'f32', shape: [3], buffer: { size: 12 } });
    expect([valuesOf(kept(caches, 'p')), valuesOf(kept(caches, 'q'))]).toEqual([[5, 6, 7], [8]]);
    const last = await run({ a: kept(caches, 'p'), b: kept(caches, 'q'), k: k(8) }, []);
    expect(last).toEqual({ p: f32(5, 6, 7, 8), q: f32(16) });
  });

  it('change places, and one serves two inputs', async () => {
    const run = await open();
    const first = await run({ a: f32(1, 2), b: f32(3, 4, 5), k: k(9) }, ['p', 'q']);
    const [p, q] = [kept(first, 'p'), kept(first, 'q')];
    const once = await run({ a: p, b: q, k: k(0) }, ['p']);
    expect(await run({ a: q, b: p, k: k(0) }, [])).toEqual({ p: f32(6, 8, 10, 0), q: f32(2, 4, 18) });
    expect(await run({ a: q, b: q, k: k(1) }, [])).toEqual({ p: f32(6, 8, 10, 1), q: f32(12, 16, 20) });
    expect(await run({ a: p, b: q, k: k(1) }, [])).toEqual({ p: f32(1, 2, 9, 1), q: f32(12, 16, 20) });
    expect(valuesOf(kept(once, 'p'))).toEqual([1, 2, 9, 0]);
  });

  it('are what they were after calls that did not take them, and after elements were put where they lay', async () => {
    const run = await open();
    const first = await run({ a: f32(1), b: f32(2), k: k(3) }, ['p', 'q']);
    await run({ a: kept(first, 'p'), b: kept(first, 'q'), k: k(0) }, []);
    await run({ a: f32(7, 7), b: kept(first, 'q'), k: k(7) }, []);
    await run({ a: f32(8, 8, 8), b: f32(8), k: k(8) }, []);
    expect([valuesOf(kept(first, 'p')), valuesOf(kept(first, 'q'))]).toEqual([[1, 3], [4]]);
    const again = await run({ a: kept(first, 'p'), b: kept(first, 'q'), k: k(4) }, []);
    expect(again).toEqual({ p: f32(1, 3, 4), q: f32(8) });
  });

  it.each([
    ['the place of its input', doubling, true],
    ['what was the place of its input', turning, false],
  ])('are what they were after a call that writes to %s', async (_, p, isSame) => {
    const [x, y] = (p.entries[0] as ProgramEntry).inputs.concat(p.entries[0]?.outputs ?? []);
    const placeOf = (v: ProgramValue | undefined) => p.buffers[v?.buffer ?? -1]?.place.offset;
    expect(placeOf(x)).toBeDefined();
    expect(placeOf(x) === placeOf(y)).toBe(isSame);
    const turned = (...values: number[]) => f32(...(isSame ? values : values.reverse()));
    const run = await open(p);
    const first = await run({ x: f32(1, 2, 3) }, ['y']);
    const second = await run({ x: kept(first, 'y') }, ['y']);
    expect(await run({ x: kept(second, 'y') }, [])).toEqual({ y: turned(8, 16, 24) });
    expect(await run({ x: kept(first, 'y') }, [])).toEqual({ y: f32(4, 8, 12) });
    expect(f32(...valuesOf(kept(first, 'y')))).toEqual(turned(2, 4, 6));
    expect(valuesOf(kept(second, 'y'))).toEqual([4, 8, 12]);
  });

  it('are refused once destroyed, by others, in other types and sizes', async () => {
    const [run, other] = [await open(), await open()];
    const first = await run({ a: f32(1), b: f32(2), k: k(3) }, ['p', 'q']);
    const rest = { b: f32(1), k: k(0) };
    await expect(other({ a: kept(first, 'p'), ...rest }, [])).rejects.toThrow(/E402 input "a"|"a" is no output/);
    await expect(run({ a: f32(1), b: f32(1), k: kept(first, 'q') }, [])).rejects.toThrow(/input "k"/);
    await expect(run({ a: { ...kept(first, 'p'), shape: [3] }, ...rest }, [])).rejects.toThrow(/"a"/);
    kept(first, 'p').buffer.destroy();
    await expect(run({ a: kept(first, 'p'), ...rest }, [])).rejects.toThrow(/"a"/);
  });
});
