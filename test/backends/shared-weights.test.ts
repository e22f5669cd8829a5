// Weights of eight and four bits that many rows of activations meet stay as they are stored, and in strict numerics give the
// bits of floats unpacked at compile time: in WebAssembly, in C with and without vectors, and in the interpreter.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { type CompileOptions, importSource, lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import { rewriteModule } from '../../src/ir/rewrite.js';
import type { Module } from '../../src/ir/tensor.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';
import { f32, modelOf, of } from '../ops/node-case.js';

interface Case {
  readonly name: string;
  /** Of the activations; null: open, run with 19. */
  readonly rows: number | null;
  readonly k: number;
  readonly n: number;
  readonly bits: 4 | 8;
  readonly module: Module;
}

type Text = Omit<Case, 'module'> & { readonly weights: string; readonly product: string };

const IN_TEXT: readonly Text[] = [
  {
    name: 'columns of bytes, scaled and shifted per block',
    rows: 16,
    k: 256,
    n: 80,
    bits: 8,
    weights: `%1 "w" = const u8[256, 80] random(3)
    %2 "s" = const f32[8, 80] random(4)
    %9 "z" = const u8[8, 80] random(5)
    %3 = generic %1, %2, %9 : f32[256, 80] = f32(i32($0[i0, i1]) - i32($2[div(i0, 32), i1])) * $1[div(i0, 32), i1]`,
    product: 'ac,cb->ab',
  },
  {
    name: 'columns of bytes, scaled once, odd sizes',
    rows: 21,
    k: 259,
    n: 67,
    bits: 8,
    weights: `%1 "w" = const i8[259, 67] random(3)
    %3 = generic %1 : f32[259, 67] = f32(i32($0[i0, i1]) - 3) * 0.03125`,
    product: 'ac,cb->ab',
  },
  {
    name: 'rows of four bits, scaled per block by half floats',
    rows: 33,
    k: 192,
    n: 100,
    bits: 4,
    weights: `%1 "w" = const i4[100, 192] random(3)
    %2 "s" = const f16[100, 6] random(4)
    %3 = generic %1, %2 : f32[100, 192] = f32(i32($0[i0, i1])) * f32(bf16(f32($1[i0, div(i1, 32)])))`,
    product: 'ac,bc->ab',
  },
  {
    name: 'columns of four bits, an odd number of rows',
    rows: 17,
    k: 333,
    n: 52,
    bits: 4,
    weights: `%1 "w" = const u4[333, 52] random(3)
    %2 "s" = const f32[52] random(4)
    %3 = generic %1, %2 : f32[333, 52] = f32(i32($0[i0, i1]) - 8) * $1[i1]`,
    product: 'ac,cb->ab',
  },
  {
    name: 'columns of four bits, any number of rows',
    rows: null,
    k: 128,
    n: 130,
    bits: 4,
    weights: `%1 "w" = const i4[128, 130] random(3)
    %2 "s" = const f32[4, 130] random(4)
    %3 = generic %1, %2 : f32[128, 130] = f32($0[i0, i1]) * $1[div(i0, 32), i1]`,
    product: 'ac,cb->ab',
  },
];

const textOf = ({ rows, k, n, weights, product }: Text): string => `module "weights" {
  ${rows === null ? 'sym m : 1 .. 40' : ''}
  entry "run" ("in0": %0 f32[${rows ?? 'm'}, ${k}]) {
    ${weights} @ DequantizeLinear "w" 0
    %4 "y" = einsum "${product}" %0, %3 : f32[${rows ?? 'm'}, ${n}] @ MatMul "y" 1
    return "out0": %4
  }
}
`;

/** Two numbers of four bits in a byte, one zero point for each block of 32. */
function packedOperator(rows: number, k: number, n: number): Module {
  const [blocks, bytes] = [k / 32, k / 2];
  const drawn = (count: number, below: number): number[] => Array.from({ length: count }, (_, i) => (i * 7919) % below);
  return importSource(
    modelOf({
      op: 'MatMulNBits',
      domain: 'com.microsoft',
      opset: 1,
      attrs: { bits: 4, block_size: 32, K: k, N: n },
      inputs: [
        f32([rows, k], ...drawn(rows * k, 9)),
        of('u8', [n, blocks, 16], ...drawn(n * bytes, 251)),
        f32([n * blocks], ...drawn(n * blocks, 13).map((v) => (v + 1) / 60)),
        of('u8', [n * Math.ceil(blocks / 2)], ...drawn(n * Math.ceil(blocks / 2), 253)),
      ],
      constants: [1, 2, 3],
    }),
    { dims: {} },
  );
}

/** Random integers are small; bytes here are to take all values of their type. */
function withWholeBytes(m: Module): Module {
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'const' || (node.data.dtype !== 'u8' && node.data.dtype !== 'i8')) return undefined;
      const t = node.data.read();
      const data = (t.data as Uint8Array | Int8Array).map((v, k) => v + 97 * k);
      const types = node.outputs.map((o) => o.type);
      return w.emit({ kind: 'const', data: { ...node.data, read: () => ({ ...t, data }) } }, [], types, node.origin);
    },
  });
}

const CASES: readonly Case[] = [
  ...IN_TEXT.map((c) => ({ ...c, module: withWholeBytes(parseModule(textOf(c))) })),
  { name: 'four bits packed in bytes', rows: 18, k: 224, n: 90, bits: 4, module: packedOperator(18, 224, 90) },
];

const compile = (c: Case, options: CompileOptions): Program => lowerToProgram(c.module, options);

function inputsOf({ rows, k }: Case): Record<string, Tensor> {
  const m = rows ?? 19;
  return {
    in0: { dtype: 'f32', shape: [m, k], data: Float32Array.from({ length: m * k }, (_, i) => Math.sin(i * 1.7) * 3) },
  };
}

const WANTED = new Map(
  CASES.map(
    (c) => [c, createInterpreter(compile(c, { numerics: 'strict' })).runSync(inputsOf(c)).out0 as Tensor] as const,
  ),
);

const bitsOf = (t: unknown): Uint32Array =>
  new Uint32Array(Float32Array.from((t as Tensor).data as Float32Array).buffer);

const check = (c: Case, y: unknown): void => expect([...bitsOf(y)], c.name).toEqual([...bitsOf(WANTED.get(c))]);

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

describe('weights that many rows read', () => {
  it('take as many bits as in the model, and their scales', () => {
    for (const c of CASES)
      for (const options of [{ target: 'wasm' }, { target: 'c', cpu: 'avx512' }, { target: 'c' }] as const) {
        const weights = Math.ceil((c.k * c.bits) / 8) * c.n;
        const { weightBytes } = compile(c, options);
        expect(weightBytes, c.name).toBeGreaterThanOrEqual(weights);
        expect(weightBytes, c.name).toBeLessThan(weights + Math.ceil(c.k / 32) * c.n * 5 + c.n + 128);
      }
  });

  it('give the same bits in WebAssembly', async () => {
    for (const c of CASES) {
      const session = await instantiateWasm(compile(c, { target: 'wasm', numerics: 'strict' }));
      sessions.push(session);
      check(c, (await session.run(inputsOf(c))).out0);
    }
  });

  it('give nearly the same in fast numerics', async () => {
    for (const c of CASES) {
      const session = await instantiateWasm(compile(c, { target: 'wasm' }));
      sessions.push(session);
      const y = ((await session.run(inputsOf(c))).out0 as Tensor).data as Float32Array;
      const wanted = (WANTED.get(c) as Tensor).data as Float32Array;
      const largest = wanted.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      expect(Math.max(...wanted.map((v, i) => Math.abs(v - (y[i] as number)))), c.name).toBeLessThan(2e-6 * largest);
    }
  });

  for (const [cpu, cflags] of [
    ['generic', ['-O0']],
    ['generic', ['-O3', '-DHEDDLE_PLAIN_C']],
    ['avx2', ['-O3', '-march=native']],
    ['avx512', ['-O3', '-march=native']],
  ] as const)
    it(`give the same bits in C for ${cpu} ${cflags.join(' ')}`, async () => {
      const programs = CASES.map((c, i) => ({
        name: `m${i}`,
        program: compile(c, { target: 'c', cpu, numerics: 'strict' }),
      }));
      const built = await buildC(programs, { cflags });
      for (const [i, c] of CASES.entries()) {
        const session = built.get(`m${i}`) as Session;
        sessions.push(session);
        check(c, (await session.run(inputsOf(c))).out0);
      }
    }, 60_000);
});
