// Weights that are half floats stay two bytes each where that pays, and in strict numerics give the bits of floats made of them
// at compile time, subnormals and odd sizes included: in WebAssembly, in C with and without vectors, and in the interpreter.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { type CompileOptions, importSource, lowerToProgram, readModel } from '../../src/compile.js';
import type { Program } from '../../src/ir/program.js';
import type { Module } from '../../src/ir/tensor.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';
import { encodeModel, graph, intAttr, node, value } from '../frontend/onnx-models.js';

const [F16, BF16] = [10, 16];

interface Case {
  readonly name: string;
  /** 'm': any number to 40, run with 19. */
  readonly rows: number | 'm';
  readonly k: number;
  readonly n: number;
  readonly type?: number;
  /** [n, k] instead of [k, n]. */
  readonly isTransposed?: boolean;
  /** Whether activations are half floats, too. */
  readonly isTyped?: boolean;
  /** In place of bits in turn. */
  readonly special?: readonly number[];
}

const CASES: readonly Case[] = [
  { name: 'one row', rows: 1, k: 64, n: 96 },
  { name: 'one row, odd sizes', rows: 1, k: 133, n: 67 },
  { name: 'one row, columns first', rows: 1, k: 130, n: 35, isTransposed: true },
  { name: 'one row of bfloat16', rows: 1, k: 65, n: 66, type: BF16 },
  { name: 'three rows', rows: 3, k: 40, n: 64 },
  { name: 'eighteen rows by a panel', rows: 18, k: 96, n: 64 },
  { name: 'many rows, odd sizes', rows: 37, k: 77, n: 51 },
  { name: 'many rows, columns first', rows: 33, k: 64, n: 48, isTransposed: true },
  { name: 'many rows of bfloat16', rows: 20, k: 64, n: 64, type: BF16 },
  { name: 'any number of rows', rows: 'm', k: 70, n: 72 },
  { name: 'a graph of half floats', rows: 1, k: 48, n: 64, isTyped: true },
  { name: 'a graph of half floats, many rows', rows: 24, k: 48, n: 64, isTyped: true },
  {
    name: 'zeros of both signs and the ends of the range',
    rows: 1,
    k: 64,
    n: 64,
    special: [0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x7bff, 0xfbff],
  },
  { name: 'infinities and NaN', rows: 1, k: 64, n: 64, special: [0x7c00, 0x3c01, 0x4000, 0x7e00, 0xfc00] },
  { name: 'infinities in a graph of half floats', rows: 20, k: 64, n: 64, special: [0x7c00, 0x3c01], isTyped: true },
];

const hasNumbersOnly = (c: Case): boolean => !(c.special ?? []).some((bits) => (bits & 0x7c00) === 0x7c00);

/** Every exponent, subnormals among them, except in sums that have to stay finite. */
function weightsOf({ k, n, special, type = F16 }: Case): Uint16Array {
  const most = type === BF16 ? 0x4100 : 0x4800;
  return Uint16Array.from({ length: k * n }, (_, i) =>
    special ? (special[(i * 7) % special.length] as number) : ((i * 40503) % most) | ((i & 1) << 15),
  );
}

function moduleOf(c: Case): Module {
  const { rows, k, n, type = F16, isTyped = false } = c;
  const dims = c.isTransposed ? [n, k] : [k, n];
  const raw_data = new Uint8Array(weightsOf(c).buffer);
  const widened = isTyped ? [] : [node('Cast', ['w'], ['wide'], { attribute: [intAttr('to', 1)] })];
  const w = isTyped ? 'w' : 'wide';
  const product = c.isTransposed
    ? node('Gemm', ['x', w], ['y'], { attribute: [intAttr('transB', 1)] })
    : node('MatMul', ['x', w], ['y']);
  const g = graph([...widened, product], {
    input: [value('x', [rows, k], isTyped ? type : 1)],
    output: [value('y', [rows, n], isTyped ? type : 1)],
    initializer: [{ name: 'w', dims, data_type: type, raw_data }],
  });
  return importSource(readModel(encodeModel(g), { file: 'halves.onnx' }), { dims: { m: { lo: 1, hi: 40 } } });
}

function inputsOf({ rows, k, isTyped }: Case): Record<string, Tensor> {
  const m = rows === 'm' ? 19 : rows;
  const shape = [m, k];
  const data = Float32Array.from({ length: m * k }, (_, i) => Math.sin(i * 1.7) * 3);
  if (!isTyped) return { x: { dtype: 'f32', shape, data } };
  return { x: { dtype: 'f16', shape, data: Uint16Array.from(data, (_, i) => (i * 40503) % 0x4000) } };
}

const MODULES = new Map(CASES.map((c) => [c, moduleOf(c)] as const));

const compile = (c: Case, options: CompileOptions): Program => lowerToProgram(MODULES.get(c) as Module, options);

/** The interpreter's, node by node. */
const WANTED = new Map(
  CASES.map(
    (c) => [c, createInterpreter(compile(c, { numerics: 'strict' })).runSync(inputsOf(c)).y as Tensor] as const,
  ),
);

type Bits = Uint16Array | Uint32Array;

/** NaNs have no bits to speak of. */
function bitsOf({ data, dtype }: Tensor): Bits {
  if (dtype === 'f16') return Uint16Array.from(data as Uint16Array, (b) => ((b & 0x7fff) > 0x7c00 ? 0x7e00 : b));
  return new Uint32Array(Float32Array.from(data as Float32Array, (v) => (Number.isNaN(v) ? Number.NaN : v)).buffer);
}

const check = (c: Case, y: unknown): void =>
  expect([...bitsOf(y as Tensor)], c.name).toEqual([...bitsOf(WANTED.get(c) as Tensor)]);

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

describe('weights that are halves', () => {
  it('take two bytes each', () => {
    for (const c of CASES) {
      const { weightBytes } = compile(c, { target: 'c', cpu: 'avx2' });
      const bytes = hasNumbersOnly(c) || c.isTyped ? 2 : 4;
      expect(weightBytes, c.name).toBeLessThan(bytes * c.k * c.n + 256);
      expect(weightBytes, c.name).toBeGreaterThanOrEqual(bytes * c.k * c.n);
    }
  });

  it('give the same bits in WebAssembly', async () => {
    for (const c of CASES) {
      const session = await instantiateWasm(compile(c, { target: 'wasm', numerics: 'strict' }));
      sessions.push(session);
      check(c, (await session.run(inputsOf(c))).y);
    }
  });

  it('stay floats in WebAssembly where few rows read few of them, and two bytes where many are read', async () => {
    const bytes = (rows: number | 'm', k: number, n: number): number =>
      lowerToProgram(moduleOf({ name: '', rows, k, n }), { target: 'wasm' }).weightBytes / (k * n);
    expect(bytes(1, 64, 64)).toBe(4);
    expect(bytes(16, 64, 64)).toBe(2);
    expect(bytes(1, 1024, 2048)).toBe(4);
    expect(bytes(1, 2048, 2304)).toBe(2);
    expect(bytes(4, 1024, 2048)).toBe(4);
    expect(bytes('m', 64, 64)).toBe(4);
    expect(bytes('m', 2048, 2304)).toBe(2);
  });

  it('give the same bits in WebAssembly where one row reads many of them', async () => {
    const c: Case = { name: 'one row of many', rows: 1, k: 2048, n: 2306 };
    const m = moduleOf(c);
    const wanted = createInterpreter(lowerToProgram(m, { numerics: 'strict' })).runSync(inputsOf(c)).y as Tensor;
    const program = lowerToProgram(m, { target: 'wasm', numerics: 'strict' });
    expect(program.weightBytes).toBeLessThan(2.04 * c.k * c.n);
    const session = await instantiateWasm(program);
    sessions.push(session);
    const y = (await session.run(inputsOf(c))).y as Tensor;
    expect(Buffer.from(bitsOf(y).buffer).equals(Buffer.from(bitsOf(wanted).buffer))).toBe(true);
  });

  for (const [cpu, cflags] of [
    ['generic', ['-O0']],
    ['generic', ['-O3', '-DHEDDLE_PLAIN_C']],
    ['sse2', ['-O3']],
    ['avx2', ['-O0']],
    ['avx2', ['-O3', '-march=native']],
    ['avx512', ['-O3', '-march=native']],
  ] as const)
    it(`give the same bits in C for ${cpu} ${cflags.join(' ')}`, async () => {
      const options = { target: 'c', cpu, numerics: 'strict' } as const;
      const built = await buildC(
        CASES.map((c, i) => ({ name: `m${i}`, program: compile(c, options) })),
        { cflags },
      );
      for (const [i, c] of CASES.entries()) {
        const session = built.get(`m${i}`) as Session;
        sessions.push(session);
        check(c, (await session.run(inputsOf(c))).y);
      }
    }, 60_000);
});
