// Sizes that data decide stay on the device: dispatches are sized there, shapes come with the outputs, and what the device
// works out is what the host would.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { createCommands } from '../../src/backends/webgpu/executor/commands.js';
import { createOpenSizes } from '../../src/backends/webgpu/executor/open-sizes.js';
import { createSizes } from '../../src/backends/webgpu/executor/sizes.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import type { GpuSize } from '../../src/backends/webgpu/plan-types.js';
import { createWebGpuSession, type WebGpuSession } from '../../src/backends/webgpu/session.js';
import { sizeShader } from '../../src/backends/webgpu/size-shader.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Tensor } from '../../src/support/tensor.js';
import { tensor } from './program-builder.js';
import { nullDevice, shaderMessages, tryDevice } from './webgpu-device.js';

const device = await tryDevice();
afterAll(() => device?.destroy());

/** The elements above zero, side by side; `n` of them. What follows has their number as a size. */
const select = (bounds: string, rest: string, results: string): string => `module "m" {
  sym n : ${bounds}
  entry "run" ("x": %0 f32[200]) {
    %1, %2 = run %0 : f32[200], i64[] = kernel pick (x: read f32[200], y: write f32[200], count: write i64[1]) {
      let mut found = 0
      for i in 0 .. 200 {
        if lt(0, $0[i]) {
          $1[found] = $0[i]
          set found = found + 1
        }
      }
      $2[0] = i64(found)
    } bind n = %2
    ${rest}
    return ${results}
  }
}`;

/** All of it on the device. */
function forGpu(text: string): Program {
  const program = lowerToProgram(parseModule(text), { target: 'webgpu' });
  return { ...program, kernels: program.kernels.map(({ twin, ...k }) => k) };
}
const forInterp = (text: string): Program => lowerToProgram(parseModule(text), { target: 'interp' });

/** `n` of 200 elements are above zero. */
const input = (n: number): Tensor =>
  tensor(
    'f32',
    [200],
    Array.from({ length: 200 }, (_, i) => ((i * 7) % 200 < n ? 1 + i / 8 : -1)),
  );

describe('the shader for sizes', () => {
  it('validates without a warning', async () => {
    const checker = await nullDevice();
    expect(await shaderMessages(checker, sizeShader(64).code)).toEqual([]);
    checker.destroy();
  });
});

const BINARY = ['+', '*', '//', '%', 'min', 'max', 'sub', 'div', 'rem', 'eq', 'lt', 'le', 'and', 'or', 'xor'];

/** Deterministic expressions over the symbols; divisors are positive. */
function expression(seed: number, depth: number): GpuSize {
  const next = (k: number): number => (seed * 31 + k * 17 + depth * 7) >>> 0;
  if (depth === 0) return (['n', 'm', 'host', (seed % 9) + 1] as const)[seed % 4] as GpuSize;
  if (seed % 13 === 0) return ['neg', expression(next(1), depth - 1)];
  if (seed % 11 === 0)
    return [
      'select',
      ['lt', expression(next(1), depth - 1), 5],
      expression(next(2), depth - 1),
      expression(next(3), 0),
    ];
  const op = BINARY[seed % BINARY.length] as string;
  const [x, y] = [expression(next(1), depth - 1), expression(next(2), depth - 1)];
  if (['//', '%', 'div', 'rem'].includes(op)) return [op, x, ['max', 1, y]];
  return [op, ['%', x, 1000], ['%', y, 1000]];
}

describe.skipIf(!device)('sizes on the device', () => {
  it('are what the host works out', async () => {
    const gpu = device as GPUDevice;
    const sizes = createSizes(sizeShader(64).instructions);
    const commands = createCommands(gpu);
    const plan = {
      buffers: [],
      pipelines: [],
      entries: [],
      needs: { storageBuffers: 0, bindingBytes: 0, invocations: 64 },
    };
    const symbols = await createOpenSizes(gpu, { ...plan, sizes: sizeShader(64) }, commands, sizes);
    const counts = gpu.createBuffer({ size: 32, usage: 0x80 | 0x8 | 0x4 });
    gpu.queue.writeBuffer(counts, 0, BigInt64Array.of(37n, -(2n ** 40n), 2n ** 40n, 5n));
    expect(symbols.add({ name: 'n', lo: 0, hi: 100 }, counts, 0, true)).toBe(true);
    expect(symbols.add({ name: 'low', lo: 3, hi: 100 }, counts, 8, true)).toBe(true);
    expect(symbols.add({ name: 'high', lo: 3, hi: 100 }, counts, 16, true)).toBe(true);
    expect(symbols.add({ name: 'm', lo: 0, hi: 100 }, counts, 24, false)).toBe(true);
    const host = new Map([['host', 12]]);
    const all = new Map([...host, ['n', 37], ['m', 5], ['low', 3], ['high', 100]]);
    const jobs = Array.from({ length: 90 }, (_, k) =>
      Array.from({ length: 8 }, (_, j) => expression(k * 8 + j, 1 + (k % 4))),
    );
    jobs.push(['low', 'high']);
    jobs.forEach((job) => {
      const slot = commands.takeSlot();
      expect(symbols.size(slot, [{ count: ['*', 'n', 'm'], bytes: 0, sizes: job }], host)).toBe(true);
    });
    const [words] = await commands.read([{ buffer: commands.uniforms, offset: 0, bytes: jobs.length * 256 }]);
    const got = new Int32Array(words as ArrayBuffer);
    jobs.forEach((job, k) => {
      const want = [3, 3, 185, ...job.map((s) => sizes.evaluate(s, all) | 0)];
      expect([...got.subarray(k * 64, k * 64 + want.length)], JSON.stringify(job)).toEqual(want);
    });
  });

  const run = async (text: string, x: Tensor): Promise<{ out: Record<string, unknown>; session: WebGpuSession }> => {
    const session = await createWebGpuSession(forGpu(text), device as GPUDevice);
    return { out: await session.run({ x }), session };
  };

  const chain = select(
    '0 .. 200',
    `%3 = view %1 : f32[n] at [i0]
    %4 = generic %3, %3 : f32[n, n] = $0[i0] * $1[i1] + f32(i0)
    %5 = generic %4 : f32[n] reduce add [n] = $0[i0, r0]
    %6 = exp %3 : f32[n]`,
    '"picked": %3, "sums": %5, "exp": %6',
  );

  it.each([0, 1, 64, 65, 137, 200])('size dispatches there: %i elements, no wait', async (n) => {
    const { out, session } = await run(chain, input(n));
    const want = createInterpreter(forInterp(chain)).runSync({ x: input(n) });
    for (const [name, t] of Object.entries(want)) {
      const got = out[name] as Tensor;
      expect(got.shape).toEqual([n]);
      expect((got.data as Float32Array).length).toBe(n);
      (t.data as Float32Array).forEach((v, k) => {
        expect(Math.abs((got.data as Float32Array)[k]! / v - 1)).toBeLessThan(1e-4);
      });
    }
    expect(session.counts().readbacks).toBe(0);
    await session.close();
  });

  it('are asked for where an output stays on the device', async () => {
    const session = await createWebGpuSession(forGpu(chain), device as GPUDevice);
    const { picked } = await session.runOnDevice({ x: input(9) }, ['picked', 'sums', 'exp']);
    expect(picked).toMatchObject({ shape: [9], buffer: { size: 36 } });
    expect(session.counts().readbacks).toBe(1);
    await session.close();
  });

  it('that are checked still end the run with an error', async () => {
    const text = select('0 .. 20 checked', '%3 = view %1 : f32[n] at [i0]\n    %4 = exp %3 : f32[n]', '"y": %4');
    const { out, session } = await run(text, input(20));
    expect(out.y).toMatchObject({ shape: [20] });
    await expect(session.run({ x: input(21) })).rejects.toThrow(/E402 the data ask for a size "n" of 21, .* 0 to 20/);
    await session.close();
  });

  it('have no part in plans without them', () => {
    const { plan } = planProgram(
      forGpu('module "m" { entry "run" ("x": %0 f32[2]) { %1 = exp %0 : f32[2] return "y": %1 } }'),
    );
    expect(plan.sizes).toBeUndefined();
  });
});
