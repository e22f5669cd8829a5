// The artifact as a user has it: written to a folder, imported into Node, type-checked in a project of its own.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { minifySync } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emitWasmArtifact, type WasmArtifactOptions } from '../../src/backends/wasm/artifact.js';
import { lowerToProgram } from '../../src/compile.js';
import { symDim } from '../../src/ir/dim.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, type Handle, tensor } from './program-builder.js';
import { type Call, PROGRAMS } from './programs.js';

type Entry = (inputs?: Record<string, unknown>) => Promise<Record<string, Tensor>>;
type Loaded = { readonly reset: () => Promise<void> } & { readonly [entry: string]: Entry | undefined };

interface LoaderModule {
  load(options?: Record<string, unknown>): Promise<Loaded>;
}

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-wasm-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const find = (name: string): Program => PROGRAMS.find((p) => p.name === name)?.program as Program;

/** Writes an artifact into a folder of its own. */
function write(program: Program, options: WasmArtifactOptions = {}): { dir: string; files: string[] } {
  const dir = mkdtempSync(join(root, 'artifact-'));
  const files = emitWasmArtifact(program, options);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
  return { dir, files: Object.keys(files) };
}

const importLoader = async (dir: string): Promise<LoaderModule> =>
  (await import(/* @vite-ignore */ pathToFileURL(join(dir, 'model.mjs')).href)) as LoaderModule;

const open = async (program: Program, options?: WasmArtifactOptions): Promise<Loaded> =>
  (await importLoader(write(program, options).dir)).load();

const STATE = 'state that outlives a call, and two entries';

describe('wasm artifact in Node', () => {
  for (const { name, program, calls } of PROGRAMS.filter((p) => p.calls[0]?.outputs)) {
    for (const weights of ['inline', 'file'] as const) {
      it(`runs ${name}, weights ${weights}`, async () => {
        const model = await open(program, { weights });
        for (const call of calls as readonly Call[]) {
          expect(await model[call.entry ?? 'run']?.(call.inputs)).toEqual(call.outputs);
        }
      });
    }
  }

  it('writes weights to a file named by their contents', () => {
    const program = find('reduction with a weight file');
    const bin = write(program, { weights: 'file' }).files.filter((f) => f.endsWith('.bin'));
    expect(bin).toEqual([expect.stringMatching(/^model\.[0-9a-f]{16}\.bin$/)]);
    expect(write(program, { weights: 'file' }).files).toContain(bin[0]);
    expect(write(program).files).toEqual(['model.wasm', 'model.mjs', 'model.d.ts', 'model.d.mts']);
  });

  it('keeps instances apart and resets each alone', async () => {
    const loader = await importLoader(write(find(STATE), { weights: 'file' }).dir);
    const [a, b] = [await loader.load(), await loader.load()];
    const x = Float32Array.of(1, 2);
    const peek = async (m: Loaded): Promise<number[]> => {
      const out = await m.peek?.();
      return [...((out?.memory?.data ?? []) as Float32Array)];
    };
    await a.step?.({ x });
    expect([await peek(a), await peek(b)]).toEqual([
      [11, 22],
      [10, 20],
    ]);
    await b.step?.({ x });
    await b.step?.({ x });
    await a.reset();
    expect([await peek(a), await peek(b)]).toEqual([
      [10, 20],
      [12, 24],
    ]);
  });

  it('reads one unknown size off the length of a bare array', async () => {
    const model = await open(find('elementwise with a dynamic length'));
    const out = await model.run?.({ x: Float32Array.of(1, 2, 3) });
    expect(out?.y).toEqual(tensor('f32', [3], [3, 5, 7]));
  });

  it.each([
    ['a missing input', {}, /E402 input "x": expected f32\[n\]: it is missing/],
    ['a wrong type', { x: Int32Array.of(1) }, /data is no Float32Array/],
    ['a size out of bounds', { x: new Float32Array(65) }, /axis 0: expected 0 ≤ n ≤ 64, got 65/],
    [
      'a shape that does not fit the data',
      { x: { data: new Float32Array(3), shape: [4] } },
      /\[4\] has 4 elements, data 3/,
    ],
    ['an unknown input', { x: new Float32Array(3), z: new Float32Array(3) }, /there is no input "z"/],
  ])('rejects %s', async (_, inputs, message) => {
    const model = await open(find('elementwise with a dynamic length'));
    await expect(model.run?.(inputs)).rejects.toThrow(message);
  });

  it('takes the module and weights as bytes', async () => {
    const program = find('reduction with a weight file');
    const files = emitWasmArtifact(program, { weights: 'file' });
    const dir = mkdtempSync(join(root, 'bytes-'));
    writeFileSync(join(dir, 'model.mjs'), files['model.mjs'] as string);
    const weights = Object.entries(files).find(([name]) => name.endsWith('.bin'))?.[1];
    const loader = await importLoader(dir);
    const model = await loader.load({ wasm: files['model.wasm'], weights });
    const call = PROGRAMS.find((p) => p.program === program)?.calls[0];
    expect(await model.run?.(call?.inputs)).toEqual(call?.outputs);
    await expect(loader.load({ wasm: files['model.wasm'], weights: new Uint8Array(3) })).rejects.toThrow(/3 bytes/);
  });

  it('keeps strings in JavaScript, from inputs through operators to outputs', async () => {
    const program = buildProgram('text', (b) => {
      const x = b.input('x', 'string', [2]);
      const y = b.output('y', 'string', [2]);
      const n = b.output('n', 'i32', [2]);
      const arg = (h: Handle) => ({ ref: { buffer: h.id, offset: 0 }, dtype: h.dtype, shape: [2] });
      const call = (t: readonly Tensor[]) => t;
      b.steps({ kind: 'host', op: 'Shout', call, inputs: [arg(x)], outputs: [arg(y), arg(n)], origins: [] });
    });
    const { dir } = write(program);
    const model = await (await importLoader(dir)).load({
      host: {
        Shout: ([t]: [Tensor]) => {
          const texts = t.data as readonly string[];
          return [{ data: texts.map((s) => s.toUpperCase()) }, { data: Int32Array.from(texts, (s) => s.length) }];
        },
      } as never,
    });
    const out = await model.run?.({ x: ['so', 'what'] as never });
    expect(out?.y).toMatchObject({ dtype: 'string', shape: [2], data: ['SO', 'WHAT'] });
    expect(out?.n).toEqual(tensor('i32', [2], [2, 4]));
    expect(
      check(
        dir,
        `import { load } from './model.mjs';\nconst m = await load({ host: { Shout: (t) => t } });\nawait m.run({ x: ['a', 'b'] });\n`,
      ),
    ).toEqual([]);
  });

  it('asks for the operators that run in JavaScript and calls them', async () => {
    const n = { name: 'n', lo: 1, hi: 8 };
    const program = buildProgram('host', (b) => {
      const x = b.input('x', 'f32', [symDim(n)]);
      const y = b.output('y', 'f32', [symDim(n)]);
      const arg = (h: Handle) => ({ ref: { buffer: h.id, offset: 0 }, dtype: h.dtype, shape: [symDim(n)] });
      b.steps({ kind: 'host', op: 'Reverse', call: (t) => t, inputs: [arg(x)], outputs: [arg(y)], origins: [] });
    });
    const { dir } = write(program);
    const loader = await importLoader(dir);
    await expect(loader.load()).rejects.toThrow(/load\(\{ host: \{ Reverse \} \}\)/);
    const Reverse = ([t]: [Tensor]): Tensor[] => [{ ...t, data: Float32Array.from(t.data as Float32Array).reverse() }];
    const model = await loader.load({ host: { Reverse } });
    expect((await model.run?.({ x: Float32Array.of(1, 2, 3) }))?.y).toEqual(tensor('f32', [3], [3, 2, 1]));
    expect(
      check(dir, `import { load } from './model.mjs';\nawait load({ host: { Reverse: (inputs) => inputs } });\n`),
    ).toEqual([]);
    expect(check(dir, `import { load } from './model.mjs';\nawait load();\n`)).toHaveLength(1);
  });

  it('gives the same bytes each time', () => {
    const program = find('elementwise with a dynamic length');
    expect(emitWasmArtifact(program)).toEqual(emitWasmArtifact(program));
  });

  it('has a small loader, whatever it has to do', () => {
    const module = parseModule(`module "all" {
  entry "run" ("x": %0 f32[512, 512]) {
    %1 = const f32[512] random(1)
    %2 = generic %0, %1 : f32[512, 512] = exp(sin($0[i0, i1]) + $1[i1]) @ Exp "e" 0
    return "y": %2
  }
}
`);
    const sizes = [1, 2].flatMap((threads) => {
      const program = lowerToProgram(module, { target: 'wasm', threads });
      return (['inline', 'file'] as const).map((weights) => {
        const text = emitWasmArtifact(program, { weights })['model.mjs'] as string;
        // The plan is the model's own, not the loader's.
        return minifySync('model.mjs', text.replace(/^const MODEL=.*$/m, 'const MODEL=0;'), { module: true }).code
          .length;
      });
    });
    expect(Math.max(...sizes)).toBeGreaterThan(5000);
    expect(Math.max(...sizes)).toBeLessThan(6 * 1024);
  });
});

/** The problems TypeScript finds in a consumer of the artifact. */
function check(dir: string, source: string, bundler = false): string[] {
  const main = join(dir, 'main.mts');
  writeFileSync(main, source);
  const program = ts.createProgram([main], {
    target: ts.ScriptTarget.ES2022,
    module: bundler ? ts.ModuleKind.ESNext : ts.ModuleKind.NodeNext,
    moduleResolution: bundler ? ts.ModuleResolutionKind.Bundler : ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es2022.d.ts'],
    types: [],
    strict: true,
    noEmit: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
  });
  return ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, ' '));
}

describe('wasm artifact types', () => {
  const consumer = `
    import { load, type StepOutputs } from './model.mjs';
    const model = await load();
    const out: StepOutputs = await model.step({ x: new Float32Array(2) });
    const y: Float32Array = out.y.data;
    const dtype: 'f32' = out.y.dtype;
    const sizes: readonly number[] = (await model.peek({})).memory.shape;
    await model.step({ x: { data: y, shape: [2] } });
    const again: StepOutputs = await model.step({ x: y }, { into: { y: new Float32Array(2) } });
    await model.step({ x: again.y.data }, { outputs: [], into: { y } });
    const kept = await model.step({ x: y }, { outputs: ['y'] });
    const bytes: Uint8Array = kept.y.buffer.read();
    await model.step({ x: kept.y });
    kept.y.buffer.destroy();
    await model.reset();
    export { bytes, dtype, sizes };
  `;

  it.each([false, true])('check in a consumer project (bundler: %s)', (bundler) => {
    const { dir } = write(find(STATE));
    expect(check(dir, consumer, bundler)).toEqual([]);
  });

  it('catch a wrong name and a wrong type', () => {
    const { dir } = write(find(STATE));
    const wrong = (body: string): string[] =>
      check(dir, `import { load } from './model.mjs';\nconst m = await load();\n${body}\n`);
    expect(wrong('await m.step({ z: new Float32Array(2) });')[0]).toMatch(/'z' does not exist/);
    expect(wrong('await m.step({ x: new Int32Array(2) });')[0]).toMatch(/Int32Array.*not assignable/);
    expect(wrong("await m.step({ x: new Float32Array(2) }, { outputs: ['z'] });")[0]).toMatch(/"z".*not assignable/);
    expect(wrong('await m.step({ x: new Float32Array(2) }, { into: { y: new Int32Array(2) } });')[0]).toMatch(
      /Int32Array.*not assignable/,
    );
    expect(wrong('await m.stop();')[0]).toMatch(/'stop' does not exist/);
  });

  it('cover names that are no identifiers, and say the bounds of symbols', () => {
    const awkward = write(find('awkward names, shared nodes, local storage, break, atomic'));
    const use = `import { load } from './model.mjs';
      const out = await (await load()).run({ 'while:0': new Float32Array(4) });
      export const y: Float32Array = out['while/0'].data;`;
    expect(check(awkward.dir, use)).toEqual([]);
    const types = emitWasmArtifact(find('elementwise with a dynamic length'))['model.d.ts'];
    expect(types).toContain('/** Inputs of `run`. 0 ≤ n ≤ 64. */');
    expect(types).toContain('/** x: f32[n] */');
  });
});
