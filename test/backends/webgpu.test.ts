// WebGPU runs the shared programs as the interpreter does, integers exactly; every shader validates without a warning.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { createWebGpuSession } from '../../src/backends/webgpu/session.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import type { Program, Step } from '../../src/ir/program.js';
import { finishGridKernel } from '../../src/passes/kernel/finish.js';
import { isFloat } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { tensor } from './program-builder.js';
import { type Call, casts, PROGRAMS } from './programs.js';
import { nullDevice, shaderMessages, tryDevice } from './webgpu-device.js';

const device = await tryDevice();
const checker = await nullDevice();
afterAll(() => {
  device?.destroy();
  checker.destroy();
});

/** The program as the pipeline hands it to this target. */
const forGpu = (program: Program): Program => ({
  ...program,
  kernels: program.kernels.map((k) => finishGridKernel(k)),
});

/** What needs more than f32, to which this target narrows, or vectors, which its schedules never make. */
function isForeign(program: Program): boolean {
  let found = program.buffers.some((b) => b.dtype === 'f64');
  for (const k of program.kernels)
    visitKernelExprs(k.body, (x) => {
      found ||= x.dtype === 'f64' || x.lanes > 1;
    });
  return found;
}

const cases = PROGRAMS.filter((p) => !isForeign(p.program)).map((p) => ({ ...p, program: forGpu(p.program) }));
const find = (name: string): Program => cases.find((p) => p.name === name)!.program;

function expectSame(got: Record<string, unknown>, want: Record<string, Tensor>): void {
  expect(Object.keys(got)).toEqual(Object.keys(want));
  for (const [name, w] of Object.entries(want)) {
    const tolerance = isFloat(w.dtype) ? { rtol: 2e-6, atol: 1e-37 } : { rtol: 0, atol: 0 };
    expect(compareTensors(got[name] as Tensor, w, tolerance), name).toBeNull();
  }
}

/** WGSL may take a subnormal number for zero. */
const flushed = (inputs: Call['inputs']): Call['inputs'] =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, t]): [string, Tensor] => [
      name,
      t.dtype === 'f32' ? { ...t, data: (t.data as Float32Array).map((v) => (Math.abs(v) < 2 ** -126 ? 0 : v)) } : t,
    ]),
  );

describe('WGSL', () => {
  for (const { name, program } of cases) {
    it(`validates for ${name}`, async () => {
      for (const { code } of planProgram(program).plan.pipelines) {
        expect(await shaderMessages(checker, code), code).toEqual([]);
      }
    });
  }
});

/** Without the kernels that look at the bits of an f64, and what they would write. */
function withoutBits(program: Program): Program {
  const kept = (s: Step): boolean => s.kind !== 'kernel' || !program.kernels[s.kernel]?.name.endsWith('bits f64');
  return {
    ...program,
    kernels: program.kernels.map((k) => (k.name.endsWith('bits f64') ? { ...k, body: [] } : k)),
    entries: program.entries.map((e) => ({ ...e, steps: e.steps.filter(kept) })),
  };
}

async function runBoth(program: Program, scheduled: Program, calls: readonly Call[]): Promise<void> {
  const session = await createWebGpuSession(scheduled, device as GPUDevice);
  const oracle = createInterpreter(program);
  for (const call of calls) {
    const inputs = flushed(call.inputs);
    const outputs = await session.run(inputs, call.entry);
    expectSame(outputs, oracle.runSync(inputs, call.entry));
  }
  await session.close();
}

describe.skipIf(!device)('webgpu', () => {
  it('hands tensors on without reading them', async () => {
    const program = find('elementwise with a dynamic length');
    const session = await createWebGpuSession(program, device as GPUDevice);
    const first = await session.runOnDevice({ x: tensor('f32', [3], [1, 2, 3]) }, ['y']);
    expect(first.y).toMatchObject({ dtype: 'f32', shape: [3], buffer: { size: 12 } });
    expect((await session.runOnDevice(first as { x: Tensor }, []).catch((e) => e)).message).toMatch(
      /E402|no input "y"/,
    );
    const again = await session.runOnDevice({ x: first.y as Tensor }, []);
    expect(again.y).toEqual(tensor('f32', [3], [7, 11, 15]));
    await session.close();
  });

  for (const { name, program, calls } of cases) {
    it(`runs ${name} as the interpreter does`, () => runBoth(program, program, calls));
  }

  it.each(['i32', 'u32', 'i64', 'u64', 'f32'] as const)(
    'casts %s to every type, 64-bit floats as near as f32',
    (from) => {
      const program = withoutBits(casts(from).program);
      return runBoth(program, forGpu(program), casts(from).calls);
    },
  );

  it('keeps the state of two sessions apart and puts it back on reset', async () => {
    const program = find('state that outlives a call, and two entries');
    const open = () => createWebGpuSession(program, device as GPUDevice);
    const [a, b] = [await open(), await open()];
    await a.run({ x: tensor('f32', [2], [1, 2]) }, 'step');
    expect((await b.run({}, 'peek')).memory).toEqual(tensor('f32', [2], [10, 20]));
    expect((await a.run({}, 'peek')).memory).toEqual(tensor('f32', [2], [11, 22]));
    await a.reset();
    expect((await a.run({}, 'peek')).memory).toEqual(tensor('f32', [2], [10, 20]));
  });

  it('reads back only what the host must know', async () => {
    const counts = async (name: string): Promise<number> => {
      const session = await createWebGpuSession(find(name), device as GPUDevice);
      await session.run(cases.find((c) => c.name === name)?.calls[0]?.inputs ?? {});
      return session.counts().readbacks;
    };
    expect(await counts('elementwise with a dynamic length')).toBe(0);
    expect(await counts('a size bound by data')).toBe(0);
  });

  it('says which input does not fit', async () => {
    const session = await createWebGpuSession(find('elementwise with a dynamic length'), device as GPUDevice);
    await expect(session.run({ x: tensor('f32', [65], []) })).rejects.toThrow(/E402 .*"x", axis 0: .* got 65/);
  });

  it('says that the device was lost', async () => {
    const own = (await tryDevice()) as GPUDevice;
    const session = await createWebGpuSession(find('elementwise with a dynamic length'), own);
    own.destroy();
    await own.lost;
    await expect(session.run({ x: tensor('f32', [1], [1]) })).rejects.toThrow(/the GPU device was lost/);
  });
});
