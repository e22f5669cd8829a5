// `heddle run --profile`: time per step under the model's own node names, on every target; other builds stay free of it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { emitC } from '../../src/backends/c/emit.js';
import { profilePoints } from '../../src/backends/profile-points.js';
import { emitWasm } from '../../src/backends/wasm/program.js';
import { pairMarks } from '../../src/cli/profile.js';
import { countWork } from '../../src/cli/profile-work.js';
import { computingSteps, planProgram } from '../../src/backends/webgpu/plan.js';
import { compileModel, lowerToProgram, readModel, type Target } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import { tryDevice } from '../backends/webgpu-device.js';
import { encodeModel, graph, node, value } from '../frontend/onnx-models.js';
import { heddle, temporaryFolder, writeFile } from './heddle.js';
import { scaled } from './models.js';

const dir = temporaryFolder();
let model = '';

beforeAll(() => {
  model = writeFile(join(dir, 'scaled.onnx'), scaled);
});

const compiled = (bytes: Uint8Array, target: Target) =>
  compileModel(readModel(bytes, { file: 'm.onnx' }), { target, dims: { n: 8 } });

interface Profile {
  readonly peak: { readonly operations: number; readonly bytes: number };
  readonly profile: readonly {
    node: string;
    op: string;
    calls: number;
    ms: number;
    share: number;
    operations: number;
    of_peak: number;
  }[];
}

describe('run --profile', () => {
  it.each(['interp', 'wasm', 'c'])('shows every step once a run on %s', async (target) => {
    const trace = join(dir, `${target}.json`);
    const args = ['--target', target, '--input', 'random', '--dim', 'n=8', '--runs', '3', '--json', '--trace', trace];
    const { code, out, err } = await heddle('run', model, '--profile', ...args);
    expect(err).toBe('');
    expect(code).toBe(0);
    const { peak, profile } = JSON.parse(out) as Profile;
    const steps = profilePoints(compiled(scaled, target as 'c')).length;
    expect(profile.length).toBe(steps);
    expect(profile.map((r) => r.node)).toContain(target === 'interp' ? 'clip' : 'double, clip');
    for (const r of profile) expect(r.calls).toBe(1);
    for (const r of profile) expect(r.of_peak).toSatisfy((share: number) => share >= 0 && share <= 1 + 1e-9);
    expect(peak.operations).toBeGreaterThan(0);
    expect(peak.bytes).toBeGreaterThan(0);
    expect(profile.reduce((n, r) => n + r.share, 0)).toBeCloseTo(1);
    const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as { traceEvents: { ph: string; dur: number }[] };
    expect(traceEvents.length).toBe(3 * steps);
    for (const e of traceEvents) expect(e.dur).toBeGreaterThanOrEqual(0);
  });

  it('shows every dispatch once a run on webgpu', async (t) => {
    if (!(await tryDevice())) t.skip('there is no WebGPU device');
    const args = ['--target', 'webgpu', '--input', 'random', '--dim', 'n=8', '--runs', '2', '--json'];
    const { code, out, err } = await heddle('run', model, '--profile', ...args);
    expect(err).toBe('');
    expect(code).toBe(0);
    const { plan, sources } = planProgram(compiled(scaled, 'webgpu'));
    const steps = plan.entries.flatMap((e) => computingSteps(e.steps));
    expect(sources.length).toBe(steps.length);
    const { profile } = JSON.parse(out) as Profile;
    expect(profile.length).toBe(steps.length);
    expect(profile.map((r) => r.node)).toContain('double, clip');
    for (const r of profile) expect(r).toMatchObject({ calls: 1, operations: expect.any(Number) });
    expect(profile.reduce((n, r) => n + r.operations, 0)).toBeGreaterThan(0);
  });

  it('ends a step where the next mark is', () => {
    const marks = [
      { point: 1, at: 5 },
      { point: -1, at: 7 },
      { point: 0, at: 8 },
      { point: -1, at: 9 },
    ];
    expect(pairMarks(marks)).toEqual([
      { point: 1, start: 5, end: 7 },
      { point: 0, start: 8, end: 9 },
    ]);
  });

  it('counts the operations of nested loops', () => {
    const product = encodeModel(
      graph([node('MatMul', ['a', 'b'], ['y'], { name: 'product' })], {
        input: [value('a', [3, 5]), value('b', [5, 7])],
        output: [value('y', [3, 7])],
      }),
    );
    const program = compiled(product, 'interp');
    const work = profilePoints(program).map((step) => countWork(program, step, new Map()));
    expect(work).toEqual([{ operations: 2 * 3 * 5 * 7, bytes: 4 * (15 + 35 + 21) }]);
  });

  it('counts integer dot products, and loops over sizes that divide open ones', () => {
    const operationsOf = (text: string, sizes: ReadonlyMap<string, number>): number => {
      const program = lowerToProgram(parseModule(text), { target: 'wasm' });
      return profilePoints(program).reduce((n, step) => n + countWork(program, step, sizes).operations, 0);
    };
    const dots = operationsOf(
      `module "dots" {
  entry "run" ("a": %0 i8[16, 64], "b": %1 i8[64, 32]) {
    %2 = generic %0, %1 : i32[16, 32] reduce add [64] = i32($0[i0, r0]) * i32($1[r0, i1]) @ MatMulInteger "y" 0
    return "y": %2
  }
}
`,
      new Map(),
    );
    expect(dots / (2 * 16 * 64 * 32)).toBeCloseTo(1, 1);
    const halves = operationsOf(
      `module "halves" {
  sym n : 64 .. 4096
  entry "run" ("a": %0 f32[n, 48], "b": %1 f32[48, 32]) {
    %2 = generic %0, %1 : f32[floordiv(n, 64), 32] reduce add [48] = $0[64 * i0, r0] * $1[r0, i1] @ MatMul "y" 0
    return "y": %2
  }
}
`,
      new Map([['n', 768]]),
    );
    expect(halves / (2 * 12 * 48 * 32)).toBeCloseTo(1, 1);
  });
});

describe('other builds', () => {
  it('import nothing but memory, and call nobody', () => {
    const imports = (profile: boolean): readonly string[] => {
      const { module } = emitWasm(compiled(scaled, 'wasm'), { profile });
      return WebAssembly.Module.imports(new WebAssembly.Module(module.slice())).map((i) => `${i.module}.${i.name}`);
    };
    expect(imports(false)).toEqual(['env.memory']);
    expect([...imports(true)].sort()).toEqual(['env.memory', 'profile.mark']);
    expect(emitC(compiled(scaled, 'c'), { prefix: 'm' })['m.c']).not.toContain('heddle_mark');
  });
});
