// What a module comes to on a GPU: how many dispatches, which share one, and that the result is still the interpreter's.
// Modules are text; counts need no device, results do.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import type { GpuPlan, GpuStep } from '../../src/backends/webgpu/plan-types.js';
import { createWebGpuSession } from '../../src/backends/webgpu/session.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Tensor } from '../../src/support/tensor.js';
import { tensor } from './program-builder.js';
import { nullDevice, shaderMessages, tryDevice } from './webgpu-device.js';

const device = await tryDevice();
const checker = await nullDevice();

interface Case {
  readonly title: string;
  readonly text: string;
  /** Parts of each dispatch. */
  readonly parts: readonly number[];
  readonly inputs: Readonly<Record<string, readonly number[]>>;
}

const CASES: readonly Case[] = [
  {
    title: 'projections of one input are one dispatch',
    text: `module "m" {
      entry "run" ("x": %0 f32[5, 6], "a": %1 f32[6, 7], "b": %2 f32[6, 3]) {
        %3 = einsum "ac,cb->ab" %0, %1 : f32[5, 7]
        %4 = einsum "ac,cb->ab" %0, %2 : f32[5, 3]
        return "y": %3, "z": %4
      }
    }`,
    parts: [2],
    inputs: { x: [5, 6], a: [6, 7], b: [6, 3] },
  },
  {
    title: 'what depends on another dispatch is not merged with it',
    text: `module "m" {
      entry "run" ("x": %0 f32[5, 6], "a": %1 f32[6, 7], "b": %2 f32[5, 3]) {
        %3 = einsum "ac,cb->ab" %0, %1 : f32[5, 7]
        %4 = einsum "ca,cb->ab" %3, %2 : f32[7, 3]
        return "y": %4
      }
    }`,
    parts: [1, 1],
    inputs: { x: [5, 6], a: [6, 7], b: [5, 3] },
  },
  {
    title: 'a chain whose values take turns in memory',
    text: `module "m" {
      entry "run" ("x": %0 f32[9, 9]) {
        %1 = einsum "ac,cb->ab" %0, %0 : f32[9, 9]
        %2 = einsum "ca,cb->ab" %1, %0 : f32[9, 9]
        %3 = einsum "ca,cb->ab" %2, %0 : f32[9, 9]
        %4 = einsum "ca,cb->ab" %3, %1 : f32[9, 9]
        %5 = einsum "ca,cb->ab" %4, %0 : f32[9, 9]
        return "y": %5
      }
    }`,
    parts: [1, 1, 1, 1, 1],
    inputs: { x: [9, 9] },
  },
  {
    title: 'a layer norm with kept axes is one dispatch',
    text: `module "m" {
      entry "run" ("x": %0 f32[3, 100]) {
        %1 = generic %0 : f32[3, 1] reduce add [100] = $0[i0, r0] then acc * 0.01
        %2 = generic %0, %1 : f32[3, 1] reduce add [100] = ($0[i0, r0] - $1[i0, 0]) * ($0[i0, r0] - $1[i0, 0]) then sqrt(acc * 0.01 + 0.00001)
        %3 = generic %0, %1, %2 : f32[3, 100] = div($0[i0, i1] - $1[i0, 0], $2[i0, 0])
        return "y": %3
      }
    }`,
    parts: [1],
    inputs: { x: [3, 100] },
  },
  {
    title: 'small products and the norm of their rows are one dispatch',
    text: `module "m" {
      entry "run" ("x": %0 f32[3, 32], "w": %1 f32[32, 80], "v": %2 f32[80, 24]) {
        %3 = generic %0, %1 : f32[3, 80] reduce add [32] = $0[i0, r0] * $1[r0, i1] then tanh(acc)
        %4 = einsum "ac,cb->ab" %3, %2 : f32[3, 24]
        %5 = generic %4 : f32[3] reduce add [24] = $0[i0, r0] * $0[i0, r0] then rsqrt(acc + 0.5)
        %6 = generic %4, %5 : f32[3, 24] = $0[i0, i1] * $1[i0]
        return "y": %6, "hidden": %3
      }
    }`,
    parts: [1],
    inputs: { x: [3, 32], w: [32, 80], v: [80, 24] },
  },
  {
    title: 'attention over few positions is one dispatch',
    text: `module "m" {
      entry "run" ("q": %0 f32[2, 5, 8], "k": %1 f32[2, 7, 8], "v": %2 f32[2, 7, 8]) {
        %3 = einsum "abd,acd->abc" %0, %1 : f32[2, 5, 7]
        %4 = generic %3 : f32[2, 5] reduce max [7] = $0[i0, i1, r0]
        %5 = generic %3, %4 : f32[2, 5, 7] = exp($0[i0, i1, i2] - $1[i0, i1])
        %6 = einsum "abc->ab" %5 : f32[2, 5]
        %7 = generic %5, %6 : f32[2, 5, 7] = div($0[i0, i1, i2], $1[i0, i1])
        %8 = einsum "abd,adc->abc" %7, %2 : f32[2, 5, 8]
        return "y": %8
      }
    }`,
    parts: [1],
    inputs: { q: [2, 5, 8], k: [2, 7, 8], v: [2, 7, 8] },
  },
  {
    title: 'a large product keeps a dispatch of its own',
    text: `module "m" {
      entry "run" ("x": %0 f32[3, 160], "w": %1 f32[160, 160]) {
        %2 = einsum "ac,cb->ab" %0, %1 : f32[3, 160]
        %3 = generic %2 : f32[3] reduce add [160] = $0[i0, r0] * $0[i0, r0] then rsqrt(acc + 0.5)
        %4 = generic %2, %3 : f32[3, 160] = $0[i0, i1] * $1[i0]
        return "y": %4
      }
    }`,
    parts: [1, 1],
    inputs: { x: [3, 160], w: [160, 160] },
  },
  {
    title: 'a small contraction reads two tensors joined to one where they are',
    text: `module "m" {
      entry "run" ("a": %0 f32[3, 8], "b": %1 f32[2, 8], "q": %2 f32[4, 8]) {
        %3 = concat %0, %1 : f32[5, 8] axis 0
        %4 = einsum "ac,bc->ab" %2, %3 : f32[4, 5]
        return "y": %4
      }
    }`,
    parts: [1],
    inputs: { a: [3, 8], b: [2, 8], q: [4, 8] },
  },
  {
    title: 'a row group gives out several of its results, rows and numbers',
    text: `module "m" {
      entry "run" ("x": %0 f32[3, 100], "b": %1 f32[3, 100]) {
        %2 = generic %0, %1 : f32[3, 100] = exp($0[i0, i1]) + $1[i0, i1] * $0[i0, i1] + tanh($1[i0, i1])
        %3 = generic %2 : f32[3] reduce max [100] = $0[i0, r0]
        %4 = generic %2, %3 : f32[3, 100] = exp($0[i0, i1] - $1[i0])
        %5 = einsum "ab->a" %4 : f32[3]
        return "s": %2, "max": %3, "e": %4, "sum": %5
      }
    }`,
    parts: [1],
    inputs: { x: [3, 100], b: [3, 100] },
  },
  {
    title: 'numbers computed from one tensor are one dispatch, whoever reads them',
    text: `module "m" {
      entry "run" ("x": %0 f32[7, 50]) {
        %1 = generic %0 : f32[] reduce min [7, 50] = $0[r0, r1] then min(acc, 0)
        %2 = generic %0, %1 : f32[] reduce max [7, 50] = $0[r0, r1] then div(max(acc, 0) - $1[], 255)
        %3 = generic %1, %2 : u8[] = u8(i32(min(max(rint(neg(div($0[], $1[]))), 0), 255)))
        %4 = generic %0, %2, %3 : u8[7, 50] = u8(i32(min(max(rint(div($0[i0, i1], $1[])) + f32($2[]), 0), 255)))
        return "q": %4, "scale": %2, "zero": %3
      }
    }`,
    parts: [1, 1],
    inputs: { x: [7, 50] },
  },
  {
    title: 'a result read before the group stands is not part of it',
    text: `module "m" {
      entry "run" ("x": %0 f32[3, 100], "w": %1 f32[3, 4]) {
        %2 = generic %0 : f32[3] reduce add [100] = $0[i0, r0]
        %3 = generic %2, %1 : f32[4] reduce add [3] = $0[r0] * $1[r0, i0]
        %4 = generic %0, %2, %3 : f32[3, 100] = $0[i0, i1] - $1[i0] * $2[2]
        return "y": %4
      }
    }`,
    parts: [1, 1, 1],
    inputs: { x: [3, 100], w: [3, 4] },
  },
  {
    title: 'a concat of what two reductions give is read through, transposes and reshapes too',
    text: `module "m" {
      entry "run" ("x": %0 f32[4, 6], "y": %1 f32[4, 2]) {
        %2 = concat %0, %1 : f32[4, 8] axis 1
        %3 = view %2 : f32[8, 4] at [i1, i0]
        %4 = reshape %3 : f32[2, 16]
        %5 = exp %4 : f32[2, 16]
        return "z": %5
      }
    }`,
    parts: [1],
    inputs: { x: [4, 6], y: [4, 2] },
  },
];

const partsOf = (plan: GpuPlan): number[] =>
  (plan.entries[0]?.steps ?? []).map((s: GpuStep) => (s.do === 'run' ? s.parts.length : 0));

/** Numbers without a pattern, of both signs. */
const filled = (shape: readonly number[]): Tensor => {
  const n = shape.reduce((p, d) => p * d, 1);
  return tensor(
    'f32',
    shape,
    Array.from({ length: n }, (_, k) => Math.sin(k * 1.7 + n)),
  );
};

describe('WebGPU plans', () => {
  for (const { title, text, parts, inputs } of CASES) {
    const program = lowerToProgram(parseModule(text), { target: 'webgpu' });
    it(title, async () => {
      const { plan } = planProgram(program);
      expect(partsOf(plan)).toEqual(parts);
      for (const { code } of plan.pipelines) expect(await shaderMessages(checker, code), code).toEqual([]);
    });
    it.skipIf(!device)(`${title}: same results`, async () => {
      const given = Object.fromEntries(Object.entries(inputs).map(([name, shape]) => [name, filled(shape)]));
      const want = createInterpreter(lowerToProgram(parseModule(text), { target: 'interp' })).runSync(given);
      const session = await createWebGpuSession(program, device as GPUDevice);
      const got = await session.run(given);
      for (const [name, t] of Object.entries(want))
        expect(compareTensors(got[name] as Tensor, t, { rtol: 1e-5, atol: 1e-6 }), name).toBeNull();
      await session.close();
    });
  }

  it('keeps constants of a type in one buffer', () => {
    const { plan, weights } = planProgram(
      lowerToProgram(
        parseModule(`module "m" {
          entry "run" ("x": %0 f32[3]) {
            %1 = const f32[3] [1, 2, 3]
            %2 = const f32[3] [4, 5, 6]
            %3 = generic %0, %1, %2 : f32[3] = $0[i0] * $1[i0] + $2[i0]
            return "y": %3
          }
        }`),
        { target: 'webgpu' },
      ),
    );
    expect(plan.buffers.filter((b) => b.kind === 'const')).toEqual([
      { dtype: 'f32', kind: 'const', bytes: 32, data: [0, 32] },
    ]);
    expect([...new Float32Array(weights.buffer, 0, 8)]).toEqual([1, 2, 3, 0, 4, 5, 6, 0]);
    expect(plan.needs.storageBuffers).toBe(3);
  });

  it('shares the memory of what never lives at the same time', () => {
    const { plan } = planProgram(
      lowerToProgram(
        parseModule(`module "m" {
          entry "run" ("x": %0 f32[9, 9]) {
            %1 = einsum "ac,cb->ab" %0, %0 : f32[9, 9]
            %2 = einsum "ca,cb->ab" %1, %0 : f32[9, 9]
            %3 = einsum "ca,cb->ab" %2, %0 : f32[9, 9]
            %4 = einsum "ca,cb->ab" %3, %1 : f32[9, 9]
            %5 = einsum "ca,cb->ab" %4, %0 : f32[9, 9]
            return "y": %5
          }
        }`),
        { target: 'webgpu' },
      ),
    );
    expect(plan.buffers).toHaveLength(5); // in, out, the first product, and two that take turns
  });

  const layers = `module "m" {
    entry "run" ("x": %0 f32[6, 6], "v": %4 f32[6, 6]) {
      %1 = generic %0, %4 : f32[6, 6] reduce add [6] = $0[r0, i0] * $1[r0, i1] then tanh(acc * 0.25) + -7
      %2 = generic %1, %4 : f32[6, 6] reduce add [6] = $0[r0, i0] * $1[r0, i1] then tanh(acc * -1.5) + 1e-7
      %3 = generic %2, %4 : f32[6, 6] reduce add [6] = $0[r0, i0] * $1[r0, i1] then tanh(acc * 1000) + 3
      return "y": %1, "z": %2, "w": %3
    }
  }`;

  it('gives kernels that differ in constants one pipeline', () => {
    const { plan } = planProgram(lowerToProgram(parseModule(layers), { target: 'webgpu' }));
    expect(partsOf(plan)).toEqual([1, 1, 1]);
    expect(plan.pipelines).toHaveLength(1);
  });

  it.skipIf(!device)('passes the constants on as they are', async () => {
    const given = { x: filled([6, 6]), v: filled([6, 6]) };
    const want = createInterpreter(lowerToProgram(parseModule(layers), { target: 'interp' })).runSync(given);
    const session = await createWebGpuSession(
      lowerToProgram(parseModule(layers), { target: 'webgpu' }),
      device as GPUDevice,
    );
    const got = await session.run(given);
    for (const [name, t] of Object.entries(want))
      expect(compareTensors(got[name] as Tensor, t, { rtol: 1e-5, atol: 1e-6 }), name).toBeNull();
    await session.close();
  });
});
