// Rows and sums by subgroups where the device has them, and without: the same results, of the one artifact. Every text
// validates; marks are left in none.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { openDevice } from '../../src/backends/webgpu/device-node.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { createWebGpuSession } from '../../src/backends/webgpu/session.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { nullDevice, shaderMessages, swapped, tryDevice } from './webgpu-device.js';

const device = await tryDevice();
const plain = device ? await openDevice([], []) : null;
const checker = await nullDevice();
afterAll(() => {
  for (const d of [device, plain, checker]) d?.destroy();
});
if (device && !device.features.has('subgroups'))
  process.stderr.write('SKIPPED: subgroups are not run, as the device has none\n');

const CASES = {
  'a softmax': `("x": %0 f32[6, 300]) {
    %1 = generic %0 : f32[6] reduce max [300] = $0[i0, r0]
    %2 = generic %0, %1 : f32[6, 300] = exp($0[i0, i1] - $1[i0])
    %3 = einsum "ab->a" %2 : f32[6]
    %4 = generic %2, %3 : f32[6, 300] = div($0[i0, i1], $1[i0])
    return "y": %4
  }`,
  'a norm of long rows': `("x": %0 f32[3, 2000]) {
    %1 = generic %0 : f32[3] reduce add [2000] = $0[i0, r0] then acc * 0.0005
    %2 = generic %0, %1 : f32[3] reduce add [2000] = ($0[i0, r0] - $1[i0]) * ($0[i0, r0] - $1[i0]) then sqrt(acc * 0.0005 + 0.001)
    %3 = generic %0, %1, %2 : f32[3, 2000] = div($0[i0, i1] - $1[i0], $2[i0])
    return "y": %3
  }`,
  'two rows of sums in one dispatch': `("x": %0 f32[5, 700], "z": %1 f32[4, 900]) {
    %2 = einsum "ab->a" %0 : f32[5]
    %3 = einsum "ab->a" %1 : f32[4]
    return "y": %2, "w": %3
  }`,
};

describe('subgroups', () => {
  for (const [title, text] of Object.entries(CASES)) {
    const module = parseModule(`module "m" { entry "run" ${text} }`);
    const program = lowerToProgram(module, { target: 'webgpu' });
    const { pipelines } = planProgram(program).plan;

    it(`${title}: both texts validate`, async () => {
      expect(pipelines.some((p) => p.subgroups)).toBe(true);
      for (const p of pipelines) {
        const texts = [p.code, ...(p.subgroups ? [swapped(p)] : [])];
        for (const code of texts) {
          expect(code).not.toMatch(/\/\/[<>]/);
          expect(await shaderMessages(checker, code), code).toEqual([]);
        }
        if (p.subgroups) expect(swapped(p)).toContain('subgroupAdd');
        expect(p.code).not.toContain('subgroup');
      }
    });

    it.skipIf(!device)(`${title}: same results with and without, and each time the same`, async () => {
      const inputs = Object.fromEntries(
        (program.entries[0]?.inputs ?? []).map((v): [string, Tensor] => {
          const shape = v.shape as readonly number[];
          const n = shape.reduce((p, d) => p * d, 1);
          const numbers = Array.from({ length: n }, (_, k) => Math.sin(k * 1.7));
          return [v.name, fromNumbers('f32', shape, numbers)];
        }),
      );
      const want = createInterpreter(lowerToProgram(module, { target: 'interp' })).runSync(inputs);
      for (const d of [device, plain]) {
        const session = await createWebGpuSession(program, d as GPUDevice);
        const got = (await session.run(inputs)) as Record<string, Tensor>;
        for (const [name, t] of Object.entries(want))
          expect(compareTensors(got[name] as Tensor, t, { rtol: 1e-4, atol: 1e-5 }), name).toBeNull();
        expect(await session.run(inputs)).toEqual(got);
        await session.close();
      }
    });
  }
});
