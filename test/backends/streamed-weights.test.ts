// Weights that one row of activations meets stay as they are stored, whatever their layout and however they are scaled, and
// give what the interpreter gives, which unpacks them: in WebAssembly and in C.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { type CompileOptions, importSource, lowerToProgram } from '../../src/compile.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Module } from '../../src/ir/tensor.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';
import { f32, modelOf, of } from '../ops/node-case.js';

interface Case {
  readonly name: string;
  readonly k: number;
  readonly n: number;
  readonly module: Module;
}

const IN_TEXT: readonly (Omit<Case, 'module'> & { readonly weights: string; readonly product: string })[] = [
  {
    name: 'rows of four bits, scaled per block by half floats',
    k: 192,
    n: 100,
    weights: `%1 "w" = const i4[100, 192] random(3)
    %2 "s" = const f16[100, 6] random(4)
    %3 = generic %1, %2 : f32[100, 192] = f32(i32($0[i0, i1])) * f32(bf16(f32($1[i0, div(i1, 32)])))`,
    product: 'einsum "ac,bc->ab" %0, %3 : f32[1, 100]',
  },
  {
    name: 'columns of bytes, scaled and shifted per block',
    k: 256,
    n: 80,
    weights: `%1 "w" = const u8[256, 80] random(3)
    %2 "s" = const f32[8, 80] random(4)
    %9 "z" = const u8[8, 80] random(5)
    %3 = generic %1, %2, %9 : f32[256, 80] = f32(i32($0[i0, i1]) - i32($2[div(i0, 32), i1])) * $1[div(i0, 32), i1]`,
    product: 'einsum "ac,cb->ab" %0, %3 : f32[1, 80]',
  },
  {
    name: 'columns of bytes, scaled per column',
    k: 259,
    n: 66,
    weights: `%1 "w" = const i8[259, 66] random(3)
    %2 "s" = const f32[66] random(4)
    %3 = generic %1, %2 : f32[259, 66] = f32(i32($0[i0, i1])) * $1[i1]`,
    product: 'einsum "ac,cb->ab" %0, %3 : f32[1, 66]',
  },
  {
    name: 'columns of bytes, scaled once',
    k: 320,
    n: 128,
    weights: `%1 "w" = const u8[320, 128] random(3)
    %3 = generic %1 : f32[320, 128] = f32(i32($0[i0, i1]) - 128) * 0.03125`,
    product: 'einsum "ac,cb->ab" %0, %3 : f32[1, 128]',
  },
];

const textOf = ({ k, weights, product }: (typeof IN_TEXT)[number]): string => `module "weights" {
  entry "run" ("in0": %0 f32[1, ${k}]) {
    ${weights} @ DequantizeLinear "w" 0
    %4 "y" = ${product} @ MatMul "y" 1
    return "out0": %4
  }
}
`;

/** Two numbers of four bits in a byte, one zero point for each block of 32. */
function packedOperator(k: number, n: number): Module {
  const [blocks, bytes] = [k / 32, k / 2];
  const drawn = (count: number, of: number): number[] => Array.from({ length: count }, (_, i) => (i * 7919) % of);
  return importSource(
    modelOf({
      op: 'MatMulNBits',
      domain: 'com.microsoft',
      opset: 1,
      attrs: { bits: 4, block_size: 32, K: k, N: n },
      inputs: [
        f32([1, k], ...drawn(k, 9)),
        of('u8', [n, blocks, 16], ...drawn(n * bytes, 251)),
        f32([n * blocks], ...drawn(n * blocks, 13).map((v) => (v + 1) / 64)),
        of('u8', [n * Math.ceil(blocks / 2)], ...drawn(n * Math.ceil(blocks / 2), 253)),
      ],
      constants: [1, 2, 3],
    }),
    { dims: {} },
  );
}

const CASES: readonly Case[] = [
  ...IN_TEXT.map((c) => ({ ...c, module: parseModule(textOf(c)) })),
  { name: 'four bits packed in bytes', k: 224, n: 90, module: packedOperator(224, 90) },
];

const compile = (c: Case, options: CompileOptions): Program => lowerToProgram(c.module, options);

const inputsFor = ({ k }: Case): Record<string, Tensor> => ({
  in0: { dtype: 'f32', shape: [1, k], data: Float32Array.from({ length: k }, (_, i) => Math.sin(i * 1.7) * 3) },
});

const expected = new Map(
  CASES.map((c) => {
    const p = compile(c, {});
    return [c, createInterpreter(p).runSync(inputsFor(c)).out0?.data as Float32Array] as const;
  }),
);

function check(c: Case, y: Float32Array): void {
  const wanted = expected.get(c) as Float32Array;
  const largest = wanted.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  wanted.forEach((v, k) => {
    if (!(Math.abs((y[k] as number) - v) <= 2e-6 * largest)) expect.fail(`${c.name}: ${y[k]} at ${k}, ${v} expected`);
  });
}

/** Whether a kernel reads so many elements of one byte and takes dot products. */
function isStreamed(p: Program, elements: number): boolean {
  return p.kernels.some((k) => {
    let dots = false;
    visitKernelExprs(k.body, (e) => {
      if (e.k === 'vec' && e.op === 'dot') dots = true;
    });
    return dots && k.params.some((b) => (b.dtype === 'i8' || b.dtype === 'u8') && b.size === elements);
  });
}

const elementsOf = ({ k, n }: Case): number => k * n;

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

describe('weights that are read once a run', () => {
  it('stay bytes in WebAssembly', async () => {
    for (const c of CASES) {
      const p = compile(c, { target: 'wasm' });
      expect(isStreamed(p, elementsOf(c)), c.name).toBe(true);
      const session = await instantiateWasm(p);
      sessions.push(session);
      check(c, (await session.run(inputsFor(c))).out0?.data as Float32Array);
    }
  });

  for (const [cpu, cflags] of [
    ['generic', []],
    ['avx512', ['-march=native']],
    ['generic', ['-DHEDDLE_SIMD=0']],
  ] as const)
    it(`stay bytes in C for ${cpu} ${cflags.join(' ')}`, async () => {
      const programs = CASES.map((c, i) => ({ name: `m${i}`, program: compile(c, { target: 'c', cpu }) }));
      const built = await buildC(programs, { cflags: ['-O1', ...cflags] });
      for (const [i, c] of CASES.entries()) {
        expect(isStreamed((programs[i] as (typeof programs)[number]).program, elementsOf(c)), c.name).toBe(true);
        const session = built.get(`m${i}`) as Session;
        sessions.push(session);
        check(c, (await session.run(inputsFor(c))).out0?.data as Float32Array);
      }
    }, 60_000);

  it('are unpacked in strict numerics', () => {
    const c = CASES[3] as Case;
    expect(isStreamed(compile(c, { target: 'wasm', numerics: 'strict' }), elementsOf(c))).toBe(false);
  });
});
