// What goes wrong on a device is told: its loss, while loading and while running, and lack of memory. Weights come in
// stretches of any length, and lie in as many buffers as bindings allow.

import { afterAll, describe, expect, it } from 'vitest';
import { createExecutor } from '../../src/backends/webgpu/executor/executor.js';
import { EXECUTOR_PARTS } from '../../src/backends/webgpu/executor/text.js';
import { createContents } from '../../src/backends/webgpu/executor/weights.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { createWebGpuSession } from '../../src/backends/webgpu/session.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { RuntimeTensor } from '../../src/runtime/session.js';
import { tensor } from './program-builder.js';
import { nullDevice, tryDevice } from './webgpu-device.js';

const device = await tryDevice();
afterAll(() => device?.destroy());

const forGpu = (text: string): Program => lowerToProgram(parseModule(text), { target: 'webgpu' });

const EXP = 'module "m" { entry "run" ("x": %0 f32[3]) { %1 = exp %0 : f32[3] return "y": %1 } }';

/** `n` tensors of 100 MB and their sum. */
function sum(n: number): Program {
  const all = Array.from({ length: n }, (_, k) => k);
  return forGpu(`module "m" {
    entry "run" (${all.map((k) => `"x${k}": %${k} f32[25000000]`).join(', ')}) {
      %${n} = generic ${all.map((k) => `%${k}`).join(', ')} : f32[25000000] = ${all.map((k) => `$${k}[i0]`).join(' + ')}
      return "y": %${n}
    }
  }`);
}

describe('a device that gives no more memory', () => {
  it('is an error that says so', async () => {
    const small = await nullDevice(); // gives half a gigabyte in all
    await expect(createWebGpuSession(sum(6), small)).rejects.toThrow(/loading the model: the GPU is out of memory/);
    const session = await createWebGpuSession(sum(4), small); // what the first had taken is free again
    await session.close();
    small.destroy();
  });
});

describe.skipIf(!device)('a device that is lost', () => {
  const own = async (): Promise<GPUDevice> => (await tryDevice()) as GPUDevice;
  const x = tensor('f32', [3], [1, 2, 3]);

  it('while a model loads', async () => {
    const gpu = await own();
    const loading = createWebGpuSession(forGpu(EXP), gpu);
    gpu.destroy();
    await expect(loading).rejects.toThrow(/the GPU device was lost/);
  });

  it('while it runs, and ever after', async () => {
    const gpu = await own();
    const session = await createWebGpuSession(forGpu(EXP), gpu);
    const running = session.run({ x });
    gpu.destroy();
    await expect(running).rejects.toThrow(/the GPU device was lost/);
    await expect(session.run({ x })).rejects.toThrow(/the GPU device was lost/);
    await session.close();
  });
});

const CONSTANTS = `module "m" {
  entry "run" ("x": %0 f32[5]) {
    %1 = const f32[5] [1, 2, 3, 4, 5]
    %2 = const f32[5] [6, 7, 8, 9, 10]
    %3 = const f32[5] [11, 12, 13, 14, 15]
    %4 = const i8[5] [1, 2, 3, 4, 5]
    %5 = generic %0, %1, %2, %3, %4 : f32[5] = $0[i0] * $1[i0] + $2[i0] * $3[i0] + f32($4[i0])
    return "y": %5
  }
}`;

describe('weights', () => {
  const { plan, weights } = planProgram(forGpu(CONSTANTS), { most: 64 });

  it('lie in several buffers where one would be too large to bind', () => {
    const bytes = plan.buffers.filter((b) => b.kind === 'const').map((b) => [b.dtype, b.bytes]);
    expect(bytes).toEqual([
      ['f32', 64],
      ['f32', 32],
      ['i8', 16],
    ]);
  });

  it.each([1, 3, 7, 50, 1000])('are written as they arrive, %i bytes at a time', async (size) => {
    const written = plan.buffers.map((b) => new Uint8Array(b.bytes));
    const contents = createContents(plan.buffers);
    const stretches = async (take: (bytes: Uint8Array) => void): Promise<void> => {
      for (let at = 0; at < weights.length; at += size) take(weights.subarray(at, at + size));
    };
    await contents.load(stretches, (buffer, at, bytes) => {
      expect([at % 4, bytes.length % 4]).toEqual([0, 0]);
      written[buffer]?.set(bytes, at);
    });
    plan.buffers.forEach(({ data }, k) => {
      const [start, bytes] = data ?? [0, 0];
      expect(written[k]?.subarray(0, bytes)).toEqual(weights.subarray(start, start + bytes));
      if (data) expect(contents.kept.get(k)).toEqual(weights.subarray(start, start + bytes));
    });
  });

  it.skipIf(!device)('in several buffers are the same to kernels', async () => {
    const executor = await createExecutor(EXECUTOR_PARTS, device as GPUDevice, plan, weights);
    const [entry] = plan.entries;
    const [y] = await executor.run(entry as NonNullable<typeof entry>, [Float32Array.of(1, 1, 1, 1, 2)], new Map());
    expect((y as RuntimeTensor).data).toEqual(Float32Array.of(68, 88, 110, 134, 165));
    executor.destroy();
  });
});
