// Values that are made where they belong and read where they are: parts of concats along every axis, slices, states. Each
// module gives, on every target, what the interpreter computes node by node with a copy for each; all numbers are exact.
// How many kernels WebAssembly has is asserted, where copies should be gone and where one has to stay.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../src/cli/targets.js';
import { type CompileOptions, lowerToProgram } from '../../src/compile.js';
import { visitKernelSteps } from '../../src/ir/overlap.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { RuntimeTensor } from '../../src/runtime/session.js';
import type { DType } from '../../src/support/dtype.js';
import { fromNumbers } from '../../src/support/tensor.js';
import { tryDevice } from './webgpu-device.js';

type Input = readonly [name: string, dtype: DType, shape: readonly number[]];

interface Case {
  readonly name: string;
  readonly text: string;
  /** The inputs of each call on one session; sizes may differ from call to call. */
  readonly calls: readonly (readonly Input[])[];
  readonly kernels: number;
}

const module = (body: string, head = ''): string => `module "m" {\n  ${head}\n  entry "run" ${body}\n}\n`;

/** A product, something elementwise and an input, all but the input read by others as well. The input alone is copied. */
const joined = [0, 1, 2].flatMap((axis) =>
  [2, 'n'].map((n): Case => {
    const whole = [n, 5, 24].map((d, k) => (k === axis ? `3*${d}` : `${d}`)).join(', ');
    return {
      name: `a product, a sum and an input along axis ${axis} of ${n} rows`,
      text: module(
        `("x": %0 f32[${n}, 5, 8], "z": %1 f32[${n}, 5, 24]) {
    %2 "w" = const i8[8, 24] random(1)
    %3 "product" = generic %0, %2 : f32[${n}, 5, 24] reduce add [8] = $0[i0, i1, r0] * f32($1[r0, i2])
    %4 "sum" = generic %1 : f32[${n}, 5, 24] = max($0[i0, i1, i2], 3) + $0[i0, i1, 23 - i2]
    %5 "joined" = concat %3, %4, %1 : f32[${whole}] axis ${axis}
    %6 "both" = generic %3, %4 : f32[${n}, 5] reduce add [24] = $0[i0, i1, r0] * 2 - $1[i0, i1, r0]
    %7 "out" = generic %5 : f32[${whole}] = $0[i0, i1, i2] + 1
    return "y": %7, "both": %6
  }`,
        n === 'n' ? 'sym n : 1 .. 9' : '',
      ),
      calls: (n === 'n' ? [1, 4, 9] : [2]).map((rows) => [
        ['x', 'f32', [rows, 5, 8]],
        ['z', 'f32', [rows, 5, 24]],
      ]),
      kernels: 5,
    };
  }),
);

/** More parts than a GPU selects among, none of which is as wide as a word or ends on one. Nothing is copied. */
const narrow = (['i8', 'u8', 'f32', 'i32'] as const).flatMap((dtype) =>
  [0, 1, 2].map((axis): Case => {
    const parts = [1, 2, 3, 4, 5, 6, 7].map((k) =>
      [1, 3, 19].map((d, j) => (j === axis ? (axis === 2 ? 17 + k : k) : d)),
    );
    const whole = parts.reduce(
      (all, p) => all.map((d, j) => (j === axis ? d + (p[j] as number) : d)),
      axis === 0 ? [0, 3, 19] : axis === 1 ? [1, 0, 19] : [1, 3, 0],
    );
    const type = (shape: readonly number[]): string => `${dtype}[${shape.join(', ')}]`;
    return {
      name: `seven parts of ${dtype} along axis ${axis}`,
      text: module(`("x": %0 ${dtype}[1]) {
    ${parts.map((p, k) => `%${k + 1} "part${k}" = generic %0 : ${type(p)} = add($0[0], ${dtype}(i0 * 7 + i1 * 5 + i2 * 3 + ${k}))`).join('\n    ')}
    %8 "joined" = concat ${parts.map((_, k) => `%${k + 1}`).join(', ')} : ${type(whole)} axis ${axis}
    %9 "sums" = generic %8 : i32[${whole[2]}] reduce add [${whole[0]}, ${whole[1]}] = i32($0[r0, r1, i0])
    return "y": %8, "sums": %9
  }`),
      calls: [[['x', dtype, [1]]]],
      kernels: 8,
    };
  }),
);

const more: readonly Case[] = [
  {
    // The sum may not take the memory it reads the transpose from.
    name: 'a value and its transpose added up',
    text: module(`("x": %0 f32[6, 6]) {
    %1 "a" = generic %0 : f32[6, 6] reduce add [3] = $0[i0, i1] * f32(r0)
    %2 "turned" = view %1 : f32[6, 6] at [i1, i0]
    %3 "sum" = generic %1, %2 : f32[6, 6] = $0[i0, i1] * 2 + $1[i0, i1]
    %4 "out" = generic %3, %0 : f32[6, 6] reduce add [6] = $0[i0, r0] * $1[r0, i1]
    return "y": %4
  }`),
    calls: [[['x', 'f32', [6, 6]]]],
    kernels: 3,
  },
  {
    name: 'rows less their most, and the rows in another order added',
    text: module(`("x": %0 f32[6, 6]) {
    %1 "a" = generic %0 : f32[6, 6] reduce add [3] = $0[i0, i1] * f32(r0)
    %2 "most" = generic %1 : f32[6, 1] reduce max [6] = $0[i0, r0]
    %3 "turned" = view %1 : f32[6, 6] at [5 - i0, i1]
    %4 "rows" = generic %1, %2, %3 : f32[6, 6] = ($0[i0, i1] - $1[i0, 0]) * 2 + $2[i0, i1]
    %5 "out" = generic %4 : f32[6] reduce add [6] = $0[r0, i0] * f32(r0 + 1)
    return "y": %5
  }`),
    calls: [[['x', 'f32', [6, 6]]]],
    kernels: 3,
  },
  {
    name: 'a whole and a part of it, apart and not, in one sum that could be in place',
    text: module(`("x": %0 f32[4, 16]) {
    %1 "a" = generic %0 : f32[4, 16] reduce add [3] = $0[i0, i1] * f32(r0)
    %2 "b" = generic %0 : f32[4, 16] reduce add [3] = $0[i0, 15 - i1] * f32(r0)
    %3 "joined" = concat %1, %2 : f32[4, 32] axis 1
    %4 "sum" = generic %3, %1, %2 : f32[4, 32] = $0[i0, i1] * 2 + $1[3 - i0, div(i1, 2)] * 3 + $2[3 - i0, div(i1, 2)]
    %5 "out" = generic %4 : f32[32] reduce add [4] = $0[r0, i0] * f32(r0 + 1)
    %6 "longer" = concat %5, %5 : f32[64] axis 0
    %7 "last" = generic %6, %5 : f32[64] = $0[i0] + $1[div(i0, 2)]
    %8 "turned" = generic %7 : f32[64] = $0[63 - i0]
    return "y": %8
  }`),
    calls: [[['x', 'f32', [4, 16]]]],
    kernels: 5,
  },
  {
    // One concat has both for its own, the other copies all it is made of.
    name: 'a part that is there twice, and in two concats',
    text: module(`("x": %0 f32[4, 20]) {
    %1 "a" = generic %0 : f32[4, 20] = $0[i0, i1] * 2
    %2 "b" = generic %0 : f32[4, 20] = $0[i0, 19 - i1] + 1
    %3 "once" = concat %1, %2, %1 : f32[4, 60] axis 1
    %4 "again" = concat %2, %1 : f32[8, 20] axis 0
    return "y": %3, "z": %4
  }`),
    calls: [[['x', 'f32', [4, 20]]]],
    kernels: 3,
  },
  {
    name: 'a concat in a concat in a concat, apart in apart',
    text: module(`("x": %0 f32[3, 2, 16]) {
    %1 "a" = generic %0 : f32[3, 2, 16] = $0[i0, i1, i2] * 2
    %2 "b" = generic %0 : f32[3, 2, 16] = $0[i0, i1, i2] + 1
    %3 "c" = generic %0 : f32[3, 4, 16] = $0[i0, i1 - 1, i2 else 3]
    %4 "d" = generic %0 : f32[1, 4, 32] = $0[2 - i0, 1, 15] + f32(i1 * 32 + i2)
    %5 "inner" = concat %1, %2 : f32[3, 4, 16] axis 1
    %6 "middle" = concat %5, %3 : f32[3, 4, 32] axis 2
    %7 "outer" = concat %4, %6 : f32[4, 4, 32] axis 0
    %8 "read" = generic %5 : f32[3, 4] reduce add [16] = $0[i0, i1, r0]
    %9 "out" = generic %7 : f32[4, 4, 32] = $0[i0, i1, i2] - 1
    return "y": %9, "z": %8
  }`),
    calls: [[['x', 'f32', [3, 2, 16]]]],
    kernels: 6,
  },
  {
    // The slice is copied, the reshapes are not; the second one is of rows that are apart.
    name: 'parts that are a slice, a reshape and a reshape apart',
    text: module(`("x": %0 f32[6, 16]) {
    %1 "slice" = view %0 : f32[3, 32] at [i0 * 2, i1 - i1 + 1]
    %2 "a" = generic %0 : f32[3, 1, 32] = $0[i0 * 2, i2 - i2 + 2] * 3
    %3 "flat" = reshape %2 : f32[3, 32]
    %4 "joined" = concat %1, %3 : f32[3, 64] axis 1
    %5 "b" = generic %0 : f32[6, 16] = $0[5 - i0, i1] + 2
    %6 "line" = reshape %5 : f32[96]
    %7 "rows" = reshape %4 : f32[192]
    %8 "all" = concat %7, %6 : f32[288] axis 0
    %9 "out" = generic %8 : f32[288] = $0[287 - i0]
    return "y": %9
  }`),
    calls: [[['x', 'f32', [6, 16]]]],
    kernels: 4,
  },
  {
    name: 'rows with a maximum and a sum of their own',
    text: module(`("x": %0 f32[6, 24]) {
    %1 "most" = generic %0 : f32[6, 1] reduce max [24] = $0[i0, r0]
    %2 "off" = generic %0, %1 : f32[6, 24] = $0[i0, i1] - $1[i0, 0]
    %3 "total" = generic %2 : f32[6, 1] reduce add [24] = $0[i0, r0]
    %4 "rows" = generic %2, %3 : f32[6, 24] = $0[i0, i1] * 2 + $1[i0, 0]
    %5 "half" = generic %0 : f32[6, 24] = $0[i0, i1] * 4
    %6 "joined" = concat %5, %4 : f32[6, 48] axis 1
    %7 "out" = generic %6 : f32[6, 48] = $0[i0, 47 - i1]
    return "y": %7
  }`),
    calls: [[['x', 'f32', [6, 24]]]],
    kernels: 3,
  },
  {
    name: 'each layer read by all later ones',
    text: module(`("x": %0 f32[1, 4, 6]) {
    %1 "w" = const i8[8, 4] random(1)
    %2 "first" = generic %0 : f32[1, 4, 6] = $0[0, i1, i2] * 2
    %3 "second" = generic %2, %1 : f32[1, 4, 6] reduce add [4] = $0[0, r0, i2] * f32($1[i1, r0])
    %4 "both" = concat %2, %3 : f32[1, 8, 6] axis 1
    %5 "third" = generic %4, %1 : f32[1, 4, 6] reduce add [8] = $0[0, r0, i2] * f32($1[r0, i1])
    %6 "all" = concat %4, %5 : f32[1, 12, 6] axis 1
    %7 "out" = generic %6 : f32[12] reduce add [6] = $0[0, i0, r0]
    return "y": %7
  }`),
    calls: [[['x', 'f32', [1, 4, 6]]]],
    kernels: 4,
  },
  {
    // One copy each: results are memory of their own, and so is what both branches give.
    name: 'slices that are results, the first one of the leading rows',
    text: module(`("x": %0 f32[6, 5]) {
    %1 "a" = generic %0 : f32[6, 5] = $0[5 - i0, i1]
    %2 "head" = view %1 : f32[2, 5] at [i0, i1]
    %3 "tail" = view %1 : f32[3, 5] at [i0 + 3, i1]
    %4 "line" = reshape %3 : f32[15]
    return "head": %2, "tail": %4
  }`),
    calls: [[['x', 'f32', [6, 5]]]],
    kernels: 3,
  },
  {
    name: 'a slice of open size from an open row on',
    text: module(
      `("x": %0 f32[n, 7], "y": %1 f32[m, 7]) {
    %2 "both" = concat %0, %1 : f32[m + n, 7] axis 0
    %3 "back" = view %2 : f32[m, 7] at [i0 + dim(n), i1]
    %4 "line" = reshape %3 : f32[7*m]
    %5 "out" = generic %4, %2 : f32[7*m] = $0[i0] * 2 + $1[0, 3]
    return "z": %5
  }`,
      'sym m : 1 .. 5\n  sym n : 1 .. 6',
    ),
    calls: [
      [
        ['x', 'f32', [1, 7]],
        ['y', 'f32', [5, 7]],
      ],
      [
        ['x', 'f32', [6, 7]],
        ['y', 'f32', [2, 7]],
      ],
    ],
    kernels: 2,
  },
  {
    // Two copies belong to the loop, its start and its carrying on; what is carried is copied into the concat as well.
    name: 'concats in a loop that stacks them, and of what a loop gives',
    text: module(
      `("x": %0 f32[4, 3], "s": %1 f32[3]) {
    %2, %3 = scan %1, %0 : f32[3], f32[4, 6] carried 1 for k < 4 (%4 f32[3], %5 f32[3]) {
      %6 "a" = generic %4, %5 : f32[3] = $0[i0] + $1[i0]
      %7 "b" = generic %5 : f32[3] = $0[2 - i0] * 2
      %8 "joined" = concat %7, %6 : f32[6] axis 0
      yield %6, %8
    }
    %9 "other" = generic %1 : f32[3] = $0[i0] - 1
    %10 "all" = concat %9, %2 : f32[6] axis 0
    %11 "out" = generic %10 : f32[6] = $0[5 - i0]
    return "y": %3, "z": %11
  }`,
      'sym k : 0 .. 3',
    ),
    calls: [
      [
        ['x', 'f32', [4, 3]],
        ['s', 'f32', [3]],
      ],
    ],
    kernels: 7,
  },
  {
    name: 'a window of the past that moves on with each call',
    text: module(
      `("x": %0 f32[1, 2, 5]) {
    %1 "past" = state_read "past" : f32[1, 3, 5]
    %2 "window" = concat %1, %0 : f32[1, 5, 5] axis 1
    %3 "next" = view %2 : f32[1, 3, 5] at [0, i1 + 2, i2]
    state_write "past" %3
    %4 "out" = generic %2 : f32[5] reduce add [5] = $0[0, r0, i0] * f32(r0 + 1)
    return "y": %4
  }`,
      'state "past" : f32[1, 3, 5] = f32[1, 3, 5] random(1)',
    ),
    calls: [1, 2, 3].map(() => [['x', 'f32', [1, 2, 5]]]),
    kernels: 3,
  },
  {
    name: 'a slice whose rows are taken apart',
    text: module(`("x": %0 f32[5, 12]) {
    %1 "a" = generic %0 : f32[5, 12] reduce add [12] = $0[4 - i0, r0] * f32(i1)
    %2 "slice" = view %1 : f32[5, 8] at [i0, i1 + 4]
    %3 "apart" = reshape %2 : f32[5, 2, 4]
    %4 "turned" = view %3 : f32[2, 5, 4] at [i1, i0, i2]
    %5 "out" = generic %4, %0 : f32[2, 5, 12] reduce add [4] = $0[i0, i1, r0] * $1[r0, i2]
    return "y": %5
  }`),
    calls: [[['x', 'f32', [5, 12]]]],
    kernels: 2,
  },
  {
    // The condition, the old contents, which the branch replaces, what replaces them, and what is given.
    name: 'a state that a branch may write',
    text: module(
      `("x": %0 i32[6]) {
    %1 "old" = state_read "s" : i32[6]
    %2 "some" = generic %0 : i1[] reduce max [6] = lt(0, $0[r0])
    %3 "given" = if %2 : i32[6] then {
      %4 "next" = generic %0, %1 : i32[6] = $0[i0] + $1[5 - i0]
      state_write "s" %4
      yield %4
    } else {
      %5 "same" = generic %1 : i32[6] = $0[i0] * 2
      yield %5
    }
    %6 "out" = generic %1, %3 : i32[6] = $0[i0] * 10 + $1[5 - i0]
    return "y": %6
  }`,
      'state "s" : i32[6] = i32[6] [1, 2, 3, 4, 5, 6]',
    ),
    calls: [1, 2, 3].map(() => [['x', 'i32', [6]]]),
    kernels: 6,
  },
  {
    // Copies: what is read after a write, what two writes put there, and what the second of them reads.
    name: 'a state that is written before its old contents are used',
    text: module(
      `("x": %0 i32[6]) {
    %1 "old" = state_read "s" : i32[6]
    %2 "next" = generic %0, %1 : i32[6] = $0[i0] + $1[5 - i0]
    state_write "s" %2
    %3 "new" = state_read "s" : i32[6]
    %4 "out" = generic %1, %3 : i32[6] = $0[i0] * 10 + $1[5 - i0]
    state_write "s" %3
    return "y": %4, "old": %1
  }`,
      'state "s" : i32[6] = i32[6] [1, 2, 3, 4, 5, 6]',
    ),
    calls: [1, 2, 3].map(() => [['x', 'i32', [6]]]),
    kernels: 6,
  },
];

const cases = [...joined, ...narrow, ...more];

const numbers = (shape: readonly number[], call: number): number[] =>
  Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, k) => ((k * 37 + call * 11) % 23) - 6);

const compile = (text: string, target: Target, options: CompileOptions = {}): Program =>
  lowerToProgram(parseModule(text), { target, cpu: 'sse2', numerics: 'strict', ...options });

async function run(program: Program, target: Target, calls: Case['calls']): Promise<unknown[]> {
  const session = await openSession(target, program);
  const all: unknown[] = [];
  for (const [k, inputs] of calls.entries()) {
    const given = inputs.map(([name, dtype, shape]) => {
      const values = numbers(shape, k).map((x) => (dtype === 'u8' ? x & 255 : x));
      return [name, fromNumbers(dtype, [...shape], values) as RuntimeTensor];
    });
    const out = await session.run(Object.fromEntries(given));
    all.push(Object.entries(out).map(([name, t]) => [name, t.shape, [...(t.data as Float32Array)]]));
  }
  await session.close();
  return all;
}

const named = cases.map((c) => [c.name, c] as const);

const expectSame = async ({ text, calls }: Case, target: Target, options?: CompileOptions): Promise<void> =>
  expect(await run(compile(text, target, options), target, calls)).toEqual(
    await run(compile(text, 'interp'), 'interp', calls),
  );

describe('values in their places', () => {
  it.each(named)('%s: kernels', (_, { text, kernels }) => {
    const program = compile(text, 'wasm');
    let found = 0;
    for (const e of program.entries) visitKernelSteps(e.steps, () => void found++);
    expect(found).toBe(kernels);
  });

  it('hold no more memory: a part is copied where the whole would wait for the others', () => {
    const layer = (to: number, from: string, n: number, m: number): string =>
      `%${to} = generic ${from} : f32[${n}] reduce add [${m}] = $0[r0] * f32(i0 + r0)`;
    const program = compile(
      module(`("x": %0 f32[8]) {
    ${layer(1, '%0', 64, 8)}
    ${layer(2, '%1', 1024, 64)}
    ${layer(3, '%2', 1024, 1024)}
    ${layer(4, '%3', 1024, 1024)}
    %5 = concat %1, %4 : f32[1088] axis 0
    ${layer(6, '%5', 8, 1088)}
    return "y": %6
  }`),
      'wasm',
    );
    expect(program.entries[0]?.steps).toHaveLength(6);
    expect(program.arenaBytes).toBe(4 * (64 + 1024 + 1088));
  });

  it.each(named)('%s: interpreter', async (_, c) => expectSame(c, 'interp', { optimize: 'full' }));
  it.each(named)('%s: WebAssembly', async (_, c) => expectSame(c, 'wasm'));
  it.each(named)('%s: WebAssembly, threads', async (_, c) => expectSame(c, 'wasm', { threads: 2 }));
  it.each(named)('%s: C', async (_, c) => expectSame(c, 'c'));
});

const device = await tryDevice();

describe.skipIf(!device)('values in their places on WebGPU', () => {
  it.each(named)('%s', async (_, c) => expectSame(c, 'webgpu'));
});
