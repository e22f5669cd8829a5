// What the GPU should not run goes to the WebAssembly twin: which kernels, that results stay right whichever way values
// cross, that nobody waits for what the twin knows, and that it is told, or refused where that is asked for.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { emitWebGpuArtifact } from '../../src/backends/webgpu/artifact.js';
import { phasesOf } from '../../src/backends/webgpu/phases.js';
import { type Placement, placeKernels } from '../../src/backends/webgpu/placement.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { formatGpuReport, reportGpu } from '../../src/backends/webgpu/report.js';
import { createWebGpuSession, openPlan } from '../../src/backends/webgpu/session.js';
import { type KernelStep, kernelSteps } from '../../src/backends/webgpu/steps.js';
import { countIterations, countOperations } from '../../src/backends/webgpu/work.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Sym } from '../../src/ir/dim.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import type { Program, Step } from '../../src/ir/program.js';
import { i32, load, op, variable } from '../../src/ir/scalar.js';
import { finishGridKernel, finishKernel } from '../../src/passes/kernel/finish.js';
import { isFloat } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { iv, loop, store, tensor } from './program-builder.js';
import { PROGRAMS } from './programs.js';
import { tryDevice } from './webgpu-device.js';

const device = await tryDevice();
const root = mkdtempSync(join(tmpdir(), 'heddle-twin-'));
afterAll(() => {
  device?.destroy();
  rmSync(root, { recursive: true, force: true });
});

const forGpu = (text: string): Program => lowerToProgram(parseModule(text), { target: 'webgpu' });
const namesOf = (p: Program): string[] => [...placeKernels(p).keys()].map((s) => p.kernels[s.kernel]?.name ?? '');

/** Runs of the elements of x in turn: nothing that invocations could share. */
const WALK = `kernel walk (x: read f32[3000], y: write f32[3000]) {
      let mut held = 1
      for i in 0 .. 3000 {
        if lt($0[i], 0) {
          set held = held + 1
        }
        $1[i] = $0[i] * f32(held)
      }
    }`;

/** On the device, the twin, the device: two matrix products with a walk between. */
const BETWEEN = `module "m" {
  entry "run" ("x": %0 f32[300, 300]) {
    %1 = einsum "ac,cb->ab" %0, %0 : f32[300, 300]
    %2 = generic %1 : f32[3000] = $0[rem(i0, 300), div(i0, 300)] * 0.01
    %3 = run %2 : f32[3000] = ${WALK} @ Walk "in_turn" 7
    %4 = generic %1, %3 : f32[300, 300] = $0[i0, i1] * 0.001 + $1[i1 * 10]
    return "y": %4, "walked": %3
  }
}`;

/** Collatz: a while that only numbers decide, beside work for the device. */
const DECIDED = `module "m" {
  entry "run" ("n": %0 i64[], "x": %1 f32[200, 200]) {
    %2, %3 = while %0, %1 : i64[], f32[200, 200]
      test (%4 i64[], %5 f32[200, 200]) {
        %6 = generic %4 : i1[] = lt(1, $0[])
        yield %6
      }
      body (%7 i64[], %8 f32[200, 200]) {
        %9 = generic %7 : i64[] = select(eq(rem($0[], 2), 0), div($0[], 2), $0[] * 3 + 1)
        %10 = generic %8, %9 : f32[200, 200] = $0[i0, i1] * 0.5 + f32($1[])
        yield %9, %10
      }
    return "steps": %2, "y": %3
  }
}`;

const filled = (shape: readonly number[]): Tensor => {
  const n = shape.reduce((p, d) => p * d, 1);
  const values = Array.from({ length: n }, (_, k) => Math.sin(k * 1.7 + n));
  return tensor('f32', shape, values);
};

const want = (text: string, inputs: Record<string, Tensor>, entry?: string): Record<string, Tensor> =>
  createInterpreter(lowerToProgram(parseModule(text), { target: 'interp' })).runSync(inputs, entry);

function expectSame(got: Record<string, unknown>, expected: Record<string, Tensor>, rtol = 1e-4): void {
  expect(Object.keys(got)).toEqual(Object.keys(expected));
  for (const [name, t] of Object.entries(expected))
    expect(compareTensors(got[name] as Tensor, t, { rtol, atol: rtol }), name).toBeNull();
}

describe('placement', () => {
  it('gives the twin what would be one invocation, and the device the rest', () => {
    const program = forGpu(BETWEEN);
    expect(namesOf(program)).toEqual(['walk']);
    const [placed] = [...placeKernels(program).values()];
    expect(placed?.reason).toMatch(/a single invocation of \d+ operations/);
    expect(placed?.bytes).toBe(2 * 3000 * 4); // there and back
  });

  it('leaves programs alone that a GPU likes', () => {
    const text =
      'module "m" { entry "run" ("x": %0 f32[9, 9]) { %1 = einsum "ac,cb->ab" %0, %0 : f32[9, 9] return "y": %1 } }';
    expect(planProgram(forGpu(text)).twin).toBeNull();
  });

  it('keeps single invocations on the device where copies cost more', () => {
    const text = `module "m" {
      entry "run" ("x": %0 f32[3000, 3000]) {
        %1 = generic %0 : f32[3000, 3000] = exp($0[i1, i0])
        %2 = run %1 : i32[] = kernel first (x: read f32[9000000], y: write i32[1]) {
          let mut found = 0
          for i in 0 .. 300 {
            if lt($0[i * 17], 0) {
              set found = i
              break
            }
          }
          $1[0] = found
        }
        %3 = generic %1 : f32[3000] reduce add [3000] = $0[i0, r0]
        return "at": %2, "y": %3
      }
    }`;
    expect(namesOf(forGpu(text))).toEqual([]);
  });

  it('moves what decides a loop with the condition', () => {
    expect(namesOf(forGpu(DECIDED)).length).toBeGreaterThan(1);
    expect(reportGpu(forGpu(DECIDED)).entries[0]?.readbacks).toBe(0);
  });

  it('holds 64-bit floats in 32 where the twin would take too long, and says so', () => {
    const text = `module "m" {
      entry "run" ("x": %0 f64[400, 400]) {
        %1 = einsum "ac,cb->ab" %0, %0 : f64[400, 400]
        return "y": %1
      }
    }`;
    expect(namesOf(forGpu(text))).toEqual([]);
    expect(reportGpu(forGpu(text)).narrowed).toEqual(['x', 'y']);
  });

  it('says where a loop waits each round, as only the device knows its end', () => {
    const text = `module "m" {
      entry "run" ("x": %0 f32[300, 300]) {
        %1 = while %0 : f32[300, 300]
          test (%2 f32[300, 300]) {
            %3 = generic %2 : f32[] reduce max [300, 300] = $0[r0, r1]
            %4 = generic %3 : i1[] = lt(1, $0[])
            yield %4
          }
          body (%5 f32[300, 300]) {
            %6 = einsum "ac,cb->ab" %5, %5 : f32[300, 300]
            %7 = generic %6 : f32[300, 300] = $0[i0, i1] * 0.001
            yield %7
          }
        return "y": %1
      }
    }`;
    const report = reportGpu(forGpu(text));
    expect(report.entries[0]).toMatchObject({ readbacks: 1, roundWaits: 1 });
    expect(formatGpuReport(report).join('\n')).toContain('at most 1 readbacks a run, and one each round of 1 loops');
  });

  it('reckons with sizes at their bounds, and with buffers where sizes say nothing', () => {
    const n: Sym = { name: 'n', lo: 1, hi: 50 };
    const params = [{ name: 'x', dtype: 'f32', access: 'read', size: 700 }] as const;
    const kernel: Kernel = { name: 'k', params, syms: [n], body: [] };
    const size = op('mul', variable('n', 'i32'), i32(4));
    expect(countIterations(kernel, size)).toBe(200);
    expect(countIterations(kernel, variable('unknown', 'i32'))).toBe(700);
    const body = [loop('i', 30, store(0, iv('i'), load(0, [iv('i')], 'f32')))];
    const once = countOperations(kernel, body);
    expect(countOperations(kernel, [loop('j', 10, ...body)])).toBeGreaterThanOrEqual(10 * once);
    expect(once).toBeGreaterThanOrEqual(30);
  });

  it('takes turns as seldom as the steps allow', () => {
    const steps = Array.from(
      { length: 6 },
      (_, kernel) => ({ kind: 'kernel', kernel }) as unknown as Step & { kind: 'kernel' },
    );
    const isTwin = (s: { kernel: number }): boolean => s.kernel % 2 === 1;
    const phases = phasesOf(steps, [[], [], [], [2], [], [1]], isTwin);
    expect(phases.map((p) => [p.twin, ...p.steps.map((s) => s.kernel)])).toEqual([
      [false, 0, 2, 4],
      [true, 1, 3, 5],
    ]);
  });

  it('is told in the report, and refused on request', () => {
    const { twin } = reportGpu(forGpu(BETWEEN));
    expect(twin.kernels).toMatchObject([{ kernel: 'walk', nodes: ['in_turn'], bytes: 24000 }]);
    expect(twin.bytes).toBeGreaterThan(100);
    expect(formatGpuReport(reportGpu(forGpu(BETWEEN))).join('\n')).toMatch(
      /in the WebAssembly twin: walk \(in_turn\), 24,000 bytes cross: a single invocation/,
    );
    expect(() => lowerToProgram(parseModule(BETWEEN), { target: 'webgpu', strict: true })).toThrow(
      /E301 Walk: "walk" is nothing for a GPU: a single invocation .*: node "in_turn" \(operator 7\)/,
    );
    expect(() => lowerToProgram(parseModule(BETWEEN), { target: 'wasm', strict: true })).not.toThrow();
  });

  it('keeps constants that only the twin reads out of the device', () => {
    const own = BETWEEN.replace(
      '%3 = run %2 :',
      `%9 = const f32[3000] random(3)
    %5 = run %2, %9 : f32[3000] = kernel mix (x: read f32[3000], w: read f32[3000], y: write f32[3000]) {
      let mut sum = 1
      for i in 0 .. 3000 {
        set sum = sum + select(lt($0[i], $1[i]), 1, 2)
        $2[i] = f32(sum) * $1[i]
      }
    }
    %3 = run %5 :`,
    );
    const plan = planProgram(forGpu(own));
    expect(namesOf(forGpu(own))).toEqual(['mix', 'walk']);
    expect(plan.plan.buffers.filter((b) => b.kind === 'const')).toEqual([]);
    expect(plan.weights.length).toBe(0);
  });
});

/** Vectors are what the schedules of a GPU never make. */
function hasVectors(program: Program): boolean {
  let found = false;
  for (const k of program.kernels)
    visitKernelExprs(k.body, (x) => {
      found ||= x.lanes > 1;
    });
  return found;
}

/** The shared programs, each kernel with a twin. */
const shared = PROGRAMS.map((p) => ({
  ...p,
  gpu: {
    ...p.program,
    kernels: p.program.kernels.map((k): Kernel => {
      const make = (): Kernel => finishKernel(k);
      try {
        return { ...finishGridKernel(k), twin: { make, refusal: null } };
      } catch (error) {
        return { ...make(), twin: { make, refusal: String(error) } };
      }
    }),
  },
}));

/** Some kernels here, some there, drawn from a seed; all that must be in the twin. */
function scatter(program: Program, seed: number): Placement {
  const steps = program.entries.flatMap((e) => kernelSteps(e.steps));
  const isTwin = (s: KernelStep, k: number): boolean =>
    program.kernels[s.kernel]?.twin?.refusal !== null || ((k + 1) * 2654435761 * (seed + 1)) % 7 < 3.5;
  return new Map(steps.filter(isTwin).map((s) => [s, { reason: '', bytes: 0 }]));
}

describe.skipIf(!device)('wherever kernels are', () => {
  const usesF64 = (p: Program): boolean => p.buffers.some((b) => b.dtype === 'f64');
  /** Arithmetic is another test's matter: subnormal numbers differ between the two. */
  const fits = shared.filter((p) => !usesF64(p.program) && !hasVectors(p.program) && !/^operations on/.test(p.name));
  for (const { name, program, gpu, calls } of fits) {
    it(`${name} runs as in the interpreter`, async () => {
      for (const seed of [0, 1, 2, 3]) {
        const planned = planProgram(gpu, { place: (p) => scatter(p, seed) });
        const session = await openPlan(gpu, planned, device as GPUDevice);
        const oracle = createInterpreter(program);
        for (const { inputs, entry } of calls) {
          const [got, expected] = [await session.run(inputs, entry), oracle.runSync(inputs, entry)];
          for (const [key, t] of Object.entries(expected)) {
            const tolerance = isFloat(t.dtype) ? { rtol: 2e-6, atol: 1e-37 } : { rtol: 0, atol: 0 };
            expect(compareTensors(got[key] as Tensor, t, tolerance), `${key}, seed ${seed}`).toBeNull();
          }
        }
        await session.close();
      }
    });
  }
});

describe.skipIf(!device)('a program in two places', () => {
  const open = (text: string) => createWebGpuSession(forGpu(text), device as GPUDevice);

  it('hands values over both ways, in one wait', async () => {
    const session = await open(BETWEEN);
    const x = filled([300, 300]);
    for (let round = 0; round < 2; round++) {
      expectSame(await session.run({ x }), want(BETWEEN, { x }));
      expect(session.counts()).toMatchObject({ readbacks: 1, twin: 1 });
    }
    await session.close();
  });

  it('asks the twin instead of the device how a loop goes on', async () => {
    const session = await open(DECIDED);
    const inputs = { n: tensor('i64', [], [27n]), x: filled([200, 200]) };
    expectSame(await session.run(inputs), want(DECIDED, inputs));
    expect(session.counts().readbacks).toBe(0);
    expect(session.counts().submits).toBe(1); // what the twin hands over goes with the commands
    await session.close();
  });

  it('takes inputs from the device and leaves outputs there', async () => {
    const session = await open(BETWEEN);
    const x = filled([300, 300]);
    const first = await session.runOnDevice({ x }, ['y', 'walked']);
    const again = await session.runOnDevice({ x: first.y as Tensor }, []);
    const once = want(BETWEEN, { x });
    expectSame(again, want(BETWEEN, { x: once.y as Tensor }), 1e-3);
    expect(first.walked).toMatchObject({ dtype: 'f32', shape: [3000], buffer: { size: 12000 } });
    await session.close();
  });

  it('needs nothing of the device where all is in the twin, and takes from it and gives to it what it must', async () => {
    const text = `module "m" { entry "run" ("x": %0 f32[3000]) { %1 = run %0 : f32[3000] = ${WALK} return "y": %1 } }`;
    const session = await open(text);
    expect(reportGpu(forGpu(text))).toMatchObject({ deviceBytes: 0, pipelines: 0 });
    const x = filled([3000]);
    const first = await session.runOnDevice({ x }, ['y']);
    expect(session.counts()).toMatchObject({ readbacks: 0, dispatches: 0, submits: 0 });
    const again = await session.runOnDevice({ x: first.y as Tensor }, []);
    expect(session.counts().readbacks).toBe(1);
    expectSame(again, want(text, { x: want(text, { x }).y as Tensor }));
    await session.close();
  });

  it('computes with 64-bit floats as they are', async () => {
    const text = `module "m" {
      entry "run" ("x": %0 f64[5]) {
        %1 = generic %0 : f64[5] = $0[i0] * 1e200 + 1e-300
        %2 = exp %1 : f64[5]
        return "y": %1, "z": %2
      }
    }`;
    const x = tensor('f64', [5], [1e100, -3.000000000000001, 0, 1e-250, -1e-205]);
    const session = await open(text);
    const got = await session.run({ x });
    const expected = want(text, { x });
    expect(got.y).toEqual(expected.y);
    expect(compareTensors(got.z as Tensor, expected.z as Tensor, { rtol: 1e-14, atol: 0 })).toBeNull();
    expect(reportGpu(forGpu(text)).narrowed).toEqual([]);
    await session.close();
  });

  it('runs what looks at the bits of a 64-bit float', async () => {
    const text = `module "m" {
      entry "run" ("x": %0 f32[4, 64]) {
        %1 = generic %0 : i64[4, 64] = bitcast<i64>(f64($0[i0, i1]))
        return "bits": %1
      }
    }`;
    const x = filled([4, 64]);
    const [placed] = [...placeKernels(forGpu(text)).values()];
    expect(placed?.reason).toMatch(/bits of 64-bit floats/);
    const session = await open(text);
    expect(await session.run({ x })).toEqual(want(text, { x }));
    await session.close();
  });

  it('keeps state wherever it was written last, and puts it back', async () => {
    const text = `module "m" {
      state "s" : f32[3000] = f32[3000] random(5)
      entry "run" ("x": %0 f32[3000]) {
        %1 = state_read "s" : f32[3000]
        %2 = generic %1, %0 : f32[3000] = $0[i0] * 0.5 + $1[i0]
        %3 = run %2 : f32[3000] = ${WALK}
        state_write "s" %3
        return "y": %3
      }
      entry "peek" () {
        %4 = state_read "s" : f32[3000]
        %5 = exp %4 : f32[3000]
        return "memory": %5
      }
    }`;
    const session = await open(text);
    const oracle = createInterpreter(lowerToProgram(parseModule(text), { target: 'interp' }));
    const x = filled([3000]);
    const peek = async () => expectSame(await session.run({}, 'peek'), oracle.runSync({}, 'peek'));
    await peek();
    for (let round = 0; round < 2; round++) expectSame(await session.run({ x }), oracle.runSync({ x }));
    await peek();
    await session.reset();
    await oracle.reset();
    await peek();
    await session.close();
  });

  it('is shipped as one artifact', async () => {
    const program = forGpu(BETWEEN);
    const files = emitWebGpuArtifact(program);
    expect(files).toEqual(emitWebGpuArtifact(program));
    expect(Object.keys(files)).toContain('model.twin.wasm');
    expect(files['model.d.ts']).toContain('readonly twin?: Source;');
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    const { load } = (await import(/* @vite-ignore */ pathToFileURL(join(root, 'model.mjs')).href)) as {
      load: (
        options: object,
      ) => Promise<{ run: (inputs: object) => Promise<Record<string, Tensor>>; close: () => Promise<void> }>;
    };
    const x = filled([300, 300]);
    for (const options of [{ device }, { device, twin: files['model.twin.wasm'] }]) {
      const model = await load(options);
      expectSame(await model.run({ x }), want(BETWEEN, { x }));
      await model.close();
    }
  });
});
