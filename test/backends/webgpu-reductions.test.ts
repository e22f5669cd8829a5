// Reductions too long for one group of invocations, cut in two: of lengths that do and do not come out even, with the
// element looked for in the last block, and positions where several elements are equal. Groups of many invocations.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { createWebGpuSession } from '../../src/backends/webgpu/session.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import { isFloat } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { tryDevice } from './webgpu-device.js';

const device = await tryDevice();
afterAll(() => device?.destroy());

const LONG = 1_100_001;
const EVEN = 1 << 20;

const CASES: readonly {
  title: string;
  text: string;
  dtype: 'f32' | 'i32';
  shape: readonly number[];
  dispatches: number;
}[] = [
  {
    title: 'the greatest',
    text: `("x": %0 f32[${LONG}]) { %1 = generic %0 : f32[] reduce max [${LONG}] = $0[r0] then acc * 2 return "y": %1 }`,
    dtype: 'f32',
    shape: [LONG],
    dispatches: 2,
  },
  {
    title: 'the least of two rows',
    text: `("x": %0 f32[2, 1100, 1000]) {
      %1 = generic %0 : f32[2] reduce min [1100, 1000] = $0[i0, r0, r1] * 0.5
      return "y": %1
    }`,
    dtype: 'f32',
    shape: [2, 1100, 1000],
    dispatches: 2,
  },
  {
    title: 'the position of the greatest, first of equals',
    text: `("x": %0 f32[2, ${LONG}]) { %1 = generic %0 : i64[2] reduce argmax [${LONG}] = $0[i0, r0] return "y": %1 }`,
    dtype: 'f32',
    shape: [2, LONG],
    dispatches: 2,
  },
  {
    title: 'the position of the least, last of equals',
    text: `("x": %0 f32[${LONG}]) {
      %1 = generic %0 : i32[] reduce argmin_last [${LONG}] = abs($0[r0]) then i32(acc) + 1
      return "y": %1
    }`,
    dtype: 'f32',
    shape: [LONG],
    dispatches: 2,
  },
  {
    title: 'a sum of integers that comes out even',
    text: `("x": %0 i32[${EVEN}]) { %1 = generic %0 : i32[] reduce add [${EVEN}] = $0[r0] return "y": %1 }`,
    dtype: 'i32',
    shape: [EVEN],
    dispatches: 2,
  },
  {
    title: 'a sum of floats',
    text: `("x": %0 f32[${EVEN}]) { %1 = generic %0 : f32[] reduce add [${EVEN}] = $0[r0] return "y": %1 }`,
    dtype: 'f32',
    shape: [EVEN],
    dispatches: 2,
  },
  {
    title: 'a shorter one, which a group of many invocations does alone',
    text: `("x": %0 f32[50001]) { %1 = generic %0 : f32[] reduce max [50001] = $0[r0] return "y": %1 }`,
    dtype: 'f32',
    shape: [50001],
    dispatches: 1,
  },
];

/** Values of a few kinds only, so that many are equal; the greatest and the least also at the end. */
function filled(dtype: 'f32' | 'i32', shape: readonly number[]): Tensor {
  const n = shape.reduce((p, d) => p * d, 1);
  const numbers = Array.from({ length: n }, (_, k) => ((k * 7919) % 1013) - 500);
  numbers[n - 1] = 512;
  return fromNumbers(dtype, shape, numbers);
}

describe('long reductions on a GPU', () => {
  for (const { title, text, dtype, shape, dispatches } of CASES) {
    const module = parseModule(`module "m" { entry "run" ${text} }`);
    const program = lowerToProgram(module, { target: 'webgpu' });
    it(`${title}: ${dispatches === 2 ? 'two dispatches' : 'one dispatch'}`, () => {
      const { plan } = planProgram(program);
      expect(plan.entries[0]?.steps).toHaveLength(dispatches);
      const lanes = text.includes('arg') ? 64 : 256; // a position is looked for by single invocations
      expect(plan.needs.invocations).toBe(lanes);
      expect(plan.pipelines[0]?.code).toContain(`@workgroup_size(${lanes}, 1, 1)`);
    });
    it.skipIf(!device)(`${title}: same results`, async () => {
      const inputs = { x: filled(dtype, shape) };
      const want = createInterpreter(lowerToProgram(module, { target: 'interp' })).runSync(inputs).y as Tensor;
      const session = await createWebGpuSession(program, device as GPUDevice);
      const got = (await session.run(inputs)).y as Tensor;
      const tolerance = isFloat(want.dtype) ? { rtol: 1e-4, atol: 1e-4 } : { rtol: 0, atol: 0 };
      expect(compareTensors(got, want, tolerance)).toBeNull();
      await session.close();
    });
  }
});
