// Integer convolutions whose channels are planes: of every form of operand, window, stride, dilation and grouping they give
// what the interpreter gives, in WebAssembly and in C for each way the compiler's flags choose. Results are equal to the bit.

import { describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { type CompileOptions, lowerToProgram } from '../../src/compile.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor, TypedArray } from '../../src/support/tensor.js';

interface Convolution {
  readonly x: 'u8' | 'i8';
  readonly w: 'u8' | 'i8' | 'i16';
  /** Input channels, height and width. */
  readonly input: readonly [number, number, number];
  /** Output channels and window. */
  readonly weights: readonly [number, number, number];
  readonly groups?: number;
  readonly stride?: number;
  readonly dilation?: number;
  readonly pad?: number;
  readonly batch?: number;
  /** Zero points of x and w. */
  readonly zeros?: readonly [number, number];
  readonly isOpen?: boolean;
  /** No planes to be had: columns of fewer than a vector, groups of fewer. */
  readonly isOther?: boolean;
}

function textOf(v: Convolution): string {
  const { groups = 1, stride = 1, dilation = 1, pad = 0, batch = 1, zeros = [0, 0] } = v;
  const [channels, height, width] = v.input;
  const [out, kh, kw] = v.weights;
  const each = channels / groups;
  const size = (n: number, k: number): number => Math.floor((n + 2 * pad - dilation * (k - 1) - 1) / stride) + 1;
  const at = (i: string, r: string): string => `${i} * ${stride} + ${r} * ${dilation} - ${pad}`;
  const channel = groups === 1 ? 'r0' : `div(i1, ${out / groups}) * ${each} + r0`;
  const read = `$0[i0, ${channel}, ${at('i2', 'r1')}, ${at('i3', 'r2')}${pad > 0 ? ` else ${zeros[0]}` : ''}]`;
  const shape = `${out}, ${each}, ${kh}, ${kw}`;
  const less = (x: string, zero: number): string => (zero === 0 ? `i32(${x})` : `(i32(${x}) - ${zero})`);
  const x = `"x": %0 ${v.x}[${batch}, ${channels}, ${height}, ${width}]`;
  return `module "conv" {
  entry "run" (${x}${v.isOpen ? `, "w": %1 ${v.w}[${shape}]` : ''}) {
    ${v.isOpen ? '' : `%1 "w" = const ${v.w}[${shape}] random(5)`}
    %2 "b" = const i32[${out}] random(7)
    %3 "y" = generic %0, %1, %2 : i32[${batch}, ${out}, ${size(height, kh)}, ${size(width, kw)}] reduce add [${each}, ${kh}, ${kw}] = ${less(read, zeros[0])} * ${less('$1[i1, r0, r1, r2]', zeros[1])} then acc + $2[i1] @ ConvInteger "y" 0
    return "y": %3
  }
}
`;
}

const CASES: readonly (readonly [string, Convolution])[] = [
  ['window of three', { x: 'u8', w: 'i8', input: [8, 9, 21], weights: [10, 3, 3], pad: 1, zeros: [128, 0] }],
  ['signed', { x: 'i8', w: 'i8', input: [16, 6, 36], weights: [7, 3, 3], pad: 1, zeros: [-3, 0] }],
  ['without zero points', { x: 'u8', w: 'i8', input: [4, 6, 16], weights: [5, 2, 3] }],
  ['unsigned weights', { x: 'u8', w: 'u8', input: [4, 6, 16], weights: [5, 3, 3], zeros: [7, 128] }],
  ['weights of nine bits', { x: 'u8', w: 'u8', input: [4, 6, 16], weights: [5, 3, 3], zeros: [7, 3] }],
  ['weights of sixteen bits', { x: 'u8', w: 'i16', input: [4, 6, 16], weights: [5, 3, 3], zeros: [7, 0] }],
  ['channels that fill no group', { x: 'u8', w: 'i8', input: [7, 6, 16], weights: [6, 3, 3], zeros: [9, 0] }],
  ['three channels', { x: 'u8', w: 'i8', input: [3, 11, 23], weights: [8, 3, 3], stride: 2, pad: 1, zeros: [128, 0] }],
  ['one channel', { x: 'u8', w: 'i8', input: [1, 11, 23], weights: [8, 5, 5], pad: 2, zeros: [1, 0] }],
  ['stride', { x: 'i8', w: 'i8', input: [8, 12, 27], weights: [9, 3, 3], stride: 2, zeros: [5, 0] }],
  ['stride beyond the window', { x: 'i8', w: 'i8', input: [8, 12, 29], weights: [9, 2, 2], stride: 3 }],
  ['dilation', { x: 'u8', w: 'i8', input: [8, 12, 27], weights: [9, 3, 3], dilation: 2, pad: 2, zeros: [128, 0] }],
  ['groups', { x: 'u8', w: 'i8', input: [16, 7, 18], weights: [16, 3, 3], groups: 2, zeros: [128, 0] }],
  [
    'groups beyond a border',
    { x: 'u8', w: 'i8', input: [16, 7, 18], weights: [16, 3, 3], groups: 2, pad: 1, zeros: [128, 0] },
  ],
  ['small groups', { x: 'u8', w: 'i8', input: [12, 7, 18], weights: [8, 3, 3], groups: 4, isOther: true }],
  ['depthwise', { x: 'u8', w: 'i8', input: [6, 9, 28], weights: [6, 3, 3], groups: 6, pad: 1, zeros: [128, 0] }],
  ['depthwise without padding', { x: 'i8', w: 'i8', input: [6, 9, 18], weights: [6, 3, 3], groups: 6 }],
  ['depthwise of five', { x: 'u8', w: 'i8', input: [4, 9, 19], weights: [4, 5, 5], groups: 4, pad: 2, stride: 2 }],
  ['narrow', { x: 'u8', w: 'i8', input: [32, 5, 5], weights: [12, 3, 3], pad: 1, zeros: [3, 0] }],
  ['lines that are joined', { x: 'i8', w: 'i8', input: [8, 14, 14], weights: [11, 3, 3], pad: 1, zeros: [-7, 0] }],
  ['very narrow', { x: 'u8', w: 'i8', input: [8, 3, 3], weights: [12, 3, 3], pad: 1, zeros: [3, 0], isOther: true }],
  ['1 × 1', { x: 'u8', w: 'i8', input: [20, 7, 9], weights: [33, 1, 1], zeros: [128, 0] }],
  ['1 × 1 of planes that share places', { x: 'u8', w: 'i8', input: [16, 16, 16], weights: [5, 1, 1], zeros: [3, 0] }],
  ['one dimension', { x: 'u8', w: 'i8', input: [10, 1, 50], weights: [6, 1, 5], pad: 0, zeros: [128, 0] }],
  ['a batch', { x: 'u8', w: 'i8', input: [8, 6, 17], weights: [5, 3, 3], pad: 1, batch: 3, zeros: [128, 0] }],
  ['weights that are an input', { x: 'u8', w: 'i8', input: [9, 9, 21], weights: [10, 3, 3], pad: 1, isOpen: true }],
];

const MAKERS = { i8: Int8Array, u8: Uint8Array, i16: Int16Array } as const;

function inputsFor(p: Program): Record<string, Tensor> {
  let state = 11;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
  const values = (p.entries[0]?.inputs ?? []).map((v) => {
    const shape = v.shape as readonly number[];
    const data: TypedArray = MAKERS[v.dtype as 'i8'].from({ length: shape.reduce((a, b) => a * b, 1) }, next);
    return [v.name, { dtype: v.dtype, shape, data } as Tensor] as const;
  });
  return Object.fromEntries(values);
}

const compile = (v: Convolution, options: CompileOptions): Program => lowerToProgram(parseModule(textOf(v)), options);

function usesDot(p: Program): boolean {
  let found = false;
  for (const k of p.kernels)
    visitKernelExprs(k.body, (e) => {
      if (e.k === 'vec' && e.op === 'dot') found = true;
    });
  return found;
}

const expected = new Map(
  CASES.map(([name, v]) => {
    const p = compile(v, {});
    return [name, createInterpreter(p).runSync(inputsFor(p)).y] as const;
  }),
);

describe('integer convolutions of planes', () => {
  it.each(CASES)('%s: WebAssembly', async (name, v) => {
    const p = compile(v, { target: 'wasm' });
    expect(usesDot(p)).toBe(!v.isOther);
    const session = await instantiateWasm(p);
    expect((await session.run(inputsFor(p))).y).toEqual(expected.get(name));
    await session.close();
  });

  const builds = [
    ['avx512vnni', ['-march=native']],
    ['avx2', ['-mavx2']],
    ['avx512', []],
    ['generic', ['-DHEDDLE_SIMD=0']],
    ['avx512', ['-DHEDDLE_PLAIN_C', '-fsanitize=undefined', '-fno-sanitize-recover=all']],
  ] as const;
  for (const [cpu, cflags] of builds)
    it(`C for ${cpu} ${cflags.join(' ')}`, async () => {
      const programs = CASES.map(([, v], i) => ({ name: `m${i}`, program: compile(v, { target: 'c', cpu }) }));
      const built = await buildC(programs, { cflags: ['-O1', ...cflags] });
      for (const [i, [name]] of CASES.entries()) {
        const session = built.get(`m${i}`) as Session;
        const { program } = programs[i] as (typeof programs)[number];
        expect((await session.run(inputsFor(program))).y, name).toEqual(expected.get(name));
      }
      for (const s of built.values()) await s.close();
    }, 120_000);
});
