// Four neighbours an invocation: which buffers are of vectors, that narrow results need no atomics, and that results are
// the interpreter's, which runs the same modules node by node.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { createWebGpuSession } from '../../src/backends/webgpu/session.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import { isFloat } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { nullDevice, shaderMessages, tryDevice } from './webgpu-device.js';

const device = await tryDevice();
const checker = await nullDevice();
afterAll(() => {
  device?.destroy();
  checker.destroy();
});

interface Case {
  readonly title: string;
  /** Parameters, nodes and results of a module's only entry. */
  readonly text: string;
  /** Whether its one dispatch has buffers of vectors. */
  readonly vectors?: boolean;
  /** Where words have several writers. */
  readonly atomics?: true;
}

const quantized = (shape: string): string => `("x": %0 f32[${shape}]) {
  %1 = generic %0 : i8[${shape}] = i8(i32(min(max(rint($0[${shape.split(',').map((_, k) => `i${k}`)}] * 50), -128), 127)))
  return "y": %1
}`;

const CASES: readonly Case[] = [
  {
    title: 'elementwise rows that come out even',
    text: `("x": %0 f32[32, 64], "b": %1 f32[64]) {
      %2 = generic %0, %1 : f32[32, 64] = tanh($0[i0, i1]) * $1[i1] + min($0[i0, i1], 0.25)
      return "y": %2
    }`,
    vectors: true,
  },
  {
    title: 'elementwise with conditions, integers and casts',
    text: `("x": %0 f32[16, 128], "k": %1 i32[16, 128]) {
      %2 = generic %0, %1 : i32[16, 128] = select(lt($0[i0, i1], 0), i32($0[i0, i1] * 100), shr_s($1[i0, i1], 1) + i1 * 3)
      return "y": %2
    }`,
    vectors: true,
  },
  {
    title: 'elementwise rows that do not',
    text: `("x": %0 f32[33, 63], "b": %1 f32[63]) {
      %2 = generic %0, %1 : f32[33, 63] = $0[i0, i1] * $1[i1]
      return "y": %2
    }`,
    vectors: false,
  },
  {
    title: 'a padded row, whose loads are not aligned',
    text: `("x": %0 f32[16, 64]) {
      %1 = generic %0 : f32[16, 68] = $0[i0, i1 - 3 else 7] + $0[i0, i1 else 1]
      return "y": %1
    }`,
  },
  {
    title: 'a small product in blocks of vectors',
    text: `("x": %0 f32[96, 20], "w": %1 f32[20, 64]) {
      %2 = einsum "ac,cb->ab" %0, %1 : f32[96, 64]
      return "y": %2
    }`,
    vectors: true,
  },
  {
    title: 'a product with an epilogue that has no vectors',
    text: `("x": %0 f32[96, 20], "w": %1 f32[20, 64]) {
      %2 = generic %0, %1 : f32[96, 64] reduce add [20] = $0[i0, r0] * $1[r0, i1] then f32(i64(acc * 10) * i64(7))
      return "y": %2
    }`,
  },
  {
    title: 'a softmax of long rows',
    text: `("x": %0 f32[5, 512]) {
      %1 = generic %0 : f32[5] reduce max [512] = $0[i0, r0]
      %2 = generic %0, %1 : f32[5, 512] = exp($0[i0, i1] - $1[i0])
      %3 = einsum "ab->a" %2 : f32[5]
      %4 = generic %2, %3 : f32[5, 512] = div($0[i0, i1], $1[i0])
      return "y": %4
    }`,
    vectors: true,
  },
  {
    title: 'bytes of long rows and their norm',
    text: `("x": %0 f32[3, 1024]) {
      %1 = generic %0 : f32[3] reduce max [1024] = abs($0[i0, r0])
      %2 = generic %0, %1 : i8[3, 1024] = i8(i32(rint(div($0[i0, i1] * 127, $1[i0]))))
      return "y": %2, "s": %1
    }`,
    vectors: true,
  },
  {
    title: 'a product in tiles',
    text: `("x": %0 f32[160, 176], "w": %1 f32[176, 164], "b": %2 f32[164]) {
      %3 = generic %0, %1, %2 : f32[160, 164] reduce add [176] = $0[i0, r0] * $1[r0, i1] then max(acc + $2[i1], 0)
      return "y": %3
    }`,
    vectors: true,
  },
  {
    title: 'a product in tiles of a transposed factor, to bytes',
    text: `("x": %0 i8[160, 176], "w": %1 i8[164, 176]) {
      %2 = generic %0, %1 : i8[160, 164] reduce add [176] = i32($0[i0, r0]) * i32($1[i1, r0]) then i8(min(max(shr_s(acc, 9), -128), 127))
      return "y": %2
    }`,
  },
  { title: 'bytes, even', text: quantized('8, 16') },
  { title: 'bytes, with a last word that is not full', text: quantized('7, 3') },
  { title: 'a single byte', text: quantized('1') },
  {
    title: 'bytes read and written as words',
    text: `("x": %0 u8[64, 64]) {
      %1 = generic %0 : u8[64, 64] = u8(i32($0[i0, i1]) * 3 + 1)
      return "y": %1
    }`,
  },
  {
    title: 'signed bytes read at any place',
    text: `("x": %0 i8[16, 64]) {
      %1 = generic %0 : i8[16, 68] = $0[i0, i1 - 3 else 5]
      return "y": %1
    }`,
  },
  {
    title: '16 bits, odd',
    text: `("x": %0 i16[5, 7]) {
      %1 = generic %0 : i16[5, 7] = i16(i32($0[i0, i1]) * 5 - 3)
      return "y": %1
    }`,
  },
  {
    title: '16 bits, even',
    text: `("x": %0 u16[8, 8]) {
      %1 = generic %0 : u16[8, 8] = u16(i32($0[i0, i1]) * 5 + 3)
      return "y": %1
    }`,
  },
  {
    title: 'truth values',
    text: `("x": %0 f32[9, 5]) {
      %1 = generic %0 : i1[9, 5] = lt($0[i0, i1], 0.25)
      return "y": %1
    }`,
  },
  {
    title: 'bytes of a reduction, even',
    text: `("x": %0 i8[40, 24], "w": %1 i8[24, 32]) {
      %2 = generic %0, %1 : i8[40, 32] reduce add [24] = i32($0[i0, r0]) * i32($1[r0, i1]) then i8(min(max(shr_s(acc, 6), -128), 127))
      return "y": %2
    }`,
  },
  {
    title: 'bytes of a reduction, odd',
    text: `("x": %0 i8[5, 24], "w": %1 i8[7, 24]) {
      %2 = generic %0, %1 : i8[5, 7] reduce add [24] = i32($0[i0, r0]) * i32($1[i1, r0]) then i8(min(max(shr_s(acc, 6), -128), 127))
      return "y": %2
    }`,
  },
  {
    title: 'bytes stored in another order than they are computed in',
    text: `("x": %0 u8[6, 8]) {
      %1 = generic %0 : u8[8, 6] = u8(i32($0[i1, i0]) + 1)
      return "y": %1
    }`,
  },
  {
    title: 'bytes of an open number of rows',
    text: `("x": %0 f32[n, 3]) {
      %1 = generic %0 : u8[n, 3] = u8(i32(min(max($0[i0, i1] * 9 + 20, 0), 255)))
      return "y": %1
    }`,
  },
];

const programs = CASES.map((c) => ({
  ...c,
  module: parseModule(`module "m" {\n${c.text.includes('n, 3') ? 'sym n : 1 .. 99\n' : ''}entry "run" ${c.text}\n}`),
}));

function filled(program: Program): Record<string, Tensor> {
  const inputs = program.entries[0]?.inputs ?? [];
  return Object.fromEntries(
    inputs.map((v, k): [string, Tensor] => {
      const shape = v.shape.map((d) => (typeof d === 'number' ? d : 7));
      const n = shape.reduce((p, d) => p * d, 1);
      const numbers = Array.from({ length: n }, (_, i) => Math.sin(i * 1.7 + k));
      return [v.name, fromNumbers(v.dtype, shape, isFloat(v.dtype) ? numbers : numbers.map((x) => Math.round(x * 99)))];
    }),
  );
}

describe('vectors and words on a GPU', () => {
  for (const { title, module, vectors, atomics } of programs) {
    const program = lowerToProgram(module, { target: 'webgpu' });
    it(title, async () => {
      const { plan } = planProgram(program);
      const code = plan.pipelines.map((p) => p.code).join('\n');
      if (vectors !== undefined) expect(code.includes('array<vec4<'), code).toBe(vectors);
      expect(code.includes('atomic'), code).toBe(atomics ?? false);
      for (const p of plan.pipelines) expect(await shaderMessages(checker, p.code), p.code).toEqual([]);
    });
    it(`${title}: the schedule means the same`, () => {
      const inputs = filled(program);
      expectSame(createInterpreter(program).runSync(inputs), module, inputs);
    });
    it.skipIf(!device)(`${title}: same results`, async () => {
      const inputs = filled(program);
      const session = await createWebGpuSession(program, device as GPUDevice);
      expectSame((await session.run(inputs)) as Record<string, Tensor>, module, inputs);
      await session.close();
    });
  }
});

function expectSame(
  got: Readonly<Record<string, Tensor>>,
  module: ReturnType<typeof parseModule>,
  inputs: Record<string, Tensor>,
): void {
  const want = createInterpreter(lowerToProgram(module, { target: 'interp' })).runSync(inputs);
  for (const [name, t] of Object.entries(want)) {
    const tolerance = isFloat(t.dtype) ? { rtol: 1e-5, atol: 1e-6 } : { rtol: 0, atol: 0 };
    expect(compareTensors(got[name] as Tensor, t, tolerance), name).toBeNull();
  }
}
