// Sums of floats times stored bytes by way of integers: as near to the sum in double precision as floats get, for every form
// of operand and size, in WebAssembly and in C with and without vectors; and what integers cannot hold is added up in floats.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { type CompileOptions, lowerToProgram } from '../../src/compile.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';

interface Form {
  readonly name: string;
  readonly stored: 'u8' | 'i8';
  /** What is taken from a stored number of row i1, in the text form; and its value. */
  readonly zero: string;
  readonly zeroOf: (row: number) => number;
}

const FORMS: readonly Form[] = [
  { name: 'signed', stored: 'i8', zero: '', zeroOf: () => 0 },
  { name: 'unsigned', stored: 'u8', zero: '', zeroOf: () => 0 },
  { name: 'a zero point', stored: 'u8', zero: ' - 129', zeroOf: () => 129 },
  { name: 'zero points by row', stored: 'u8', zero: ' - i32($2[i1])', zeroOf: (row) => (row * 37) % 256 },
];

/** Rows of floats, length of the sum, rows of stored numbers: whole vectors, a rest, several chunks, few rows. */
const SIZES = [
  [1, 288, 101],
  [1, 259, 64],
  [3, 96, 80],
  [1, 2600, 66],
  [1, 9000, 64],
  [1, 1024, 70],
] as const;

type Size = readonly [m: number, k: number, n: number];

/** Floats by themselves, or a product that is not in memory. */
const X = ['$0[i0, r0]', '$0[i0, r0] * abs($0[i0, r0])'] as const;

const textOf = ([m, k, n]: Size, f: Form, x: string): string => `module "products" {
  entry "run" ("x": %0 f32[${m}, ${k}], "w": %1 ${f.stored}[${n}, ${k}], "z": %2 u8[${n}]) {
    %3 "y" = generic %0, %1, %2 : f32[${m}, ${n}] reduce add [${k}] = ${x} * f32(i32($1[i1, r0])${f.zero}) then acc * 0.25 + f32($2[i1]) @ MatMul "y" 0
    return "y": %3
  }
}
`;

interface Case {
  readonly name: string;
  readonly text: string;
  readonly form: Form;
  readonly size: Size;
  readonly of: (x: number) => number;
}

const CASES: readonly Case[] = SIZES.flatMap((size, k) =>
  [k % 4, (k + 2) % 4].map((n): Case => {
    const form = FORMS[n] as Form;
    const x = X[(k + (n >> 1)) % 2] as string;
    const of = x === X[0] ? (v: number) => v : (v: number) => Math.fround(v * Math.abs(v));
    return { name: `${form.name}, ${size.join('×')}, ${x}`, text: textOf(size, form, x), form, size, of };
  }),
);

/** Numbers from 0 to 2²⁴. */
function drawing(): () => number {
  let state = 11;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 8;
  };
}

/** Where the largest float is; every third row has nothing there, so that it must not cost the others their precision. */
const LARGEST = 3;

/** `spread`: floats by position. */
function inputsFor({ size: [m, k, n], form }: Case, spread: (k: number, v: number) => number): Record<string, Tensor> {
  const draw = drawing();
  const shift = form.stored === 'i8' ? 128 : 0;
  const stored = Array.from({ length: n * k }, (_, i) => {
    const isNothing = i % k === LARGEST && Math.floor(i / k) % 3 === 0;
    return isNothing ? form.zeroOf(Math.floor(i / k)) : (draw() % 256) - shift;
  });
  return {
    x: {
      dtype: 'f32',
      shape: [m, k],
      data: Float32Array.from({ length: m * k }, (_, i) => spread(i % k, (draw() / 2 ** 23 - 1) * 3)),
    },
    w: {
      dtype: form.stored,
      shape: [n, k],
      data: form.stored === 'i8' ? Int8Array.from(stored) : Uint8Array.from(stored),
    },
    z: { dtype: 'u8', shape: [n], data: Uint8Array.from({ length: n }, (_, row) => (row * 37) % 256) },
  };
}

/** Sums in double precision, and of absolute values. */
function reference({ size: [m, k, n], form, of }: Case, inputs: Record<string, Tensor>) {
  const [x, w] = [inputs.x?.data as Float32Array, inputs.w?.data as Int8Array];
  const z = inputs.z?.data as Uint8Array;
  return Array.from({ length: m * n }, (_, at) => {
    const [i, row] = [Math.floor(at / n), at % n];
    let [sum, size] = [0, 0];
    for (let r = 0; r < k; r++) {
      const term = of(x[i * k + r] as number) * ((w[row * k + r] as number) - form.zeroOf(row));
      sum += term;
      size += Math.abs(term);
    }
    return { value: sum * 0.25 + (z[row] as number), size: size * 0.25 + (z[row] as number) };
  });
}

const usesDot = (p: Program): boolean => {
  let found = false;
  for (const k of p.kernels)
    visitKernelExprs(k.body, (e) => {
      if (e.k === 'vec' && e.op === 'dot') found = true;
    });
  return found;
};

const SPREADS: readonly (readonly [string, (k: number, v: number) => number])[] = [
  ['numbers of one size', (_, v) => v],
  ['large and small numbers', (k, v) => (k % 5 === 0 ? v * 100 : v * 1e-3)],
  ['numbers of one sign', (_, v) => Math.abs(v) + 1],
  ['small numbers', (_, v) => v * 1e-25],
  ['tiny numbers', (_, v) => v * 1e-32],
  ['one much larger than the others', (k, v) => (k === LARGEST ? 200 : v)],
  ['one that dwarfs the others', (k, v) => (k === LARGEST ? 1e12 : v)],
  ['zeros', () => 0],
];

/** A sum of floats one after the other loses so much; these are four sums at least, or integers. */
const BOUND = 2e-6;

function check(c: Case, y: Float32Array, inputs: Record<string, Tensor>, what: string): void {
  reference(c, inputs).forEach(({ value, size }, at) => {
    const error = Math.abs((y[at] as number) - value);
    if (!(error <= BOUND * size + 1e-37)) expect.fail(`${c.name}, ${what}: ${y[at]} at ${at}, ${value} expected`);
  });
}

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

async function checkAll(c: Case, session: Session): Promise<void> {
  sessions.push(session);
  for (const [what, spread] of SPREADS) {
    const inputs = inputsFor(c, spread);
    check(c, (await session.run(inputs)).y?.data as Float32Array, inputs, what);
  }
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const inputs = inputsFor(c, (k, v) => (k === 7 ? bad : v));
    const y = (await session.run(inputs)).y?.data as Float32Array;
    expect([...y].some(Number.isFinite), `${c.name} of ${bad}`).toBe(false);
  }
}

const compile = (text: string, options: CompileOptions): Program => lowerToProgram(parseModule(text), options);

describe('sums of floats times stored bytes', () => {
  it('in WebAssembly', async () => {
    for (const c of CASES) {
      const p = compile(c.text, { target: 'wasm' });
      expect(usesDot(p), c.name).toBe(true);
      await checkAll(c, await instantiateWasm(p));
    }
  });

  const builds = [
    ['generic', []],
    ['avx512', ['-march=native']],
    ['avx2', ['-mavx2', '-mfma']],
    ['generic', ['-DHEDDLE_SIMD=0']],
    ['avx512', ['-DHEDDLE_PLAIN_C', '-fsanitize=undefined', '-fno-sanitize-recover=all']],
  ] as const;
  for (const [cpu, cflags] of builds)
    it(`in C for ${cpu} ${cflags.join(' ')}`, async () => {
      const programs = CASES.map((c, i) => ({ name: `m${i}`, program: compile(c.text, { target: 'c', cpu }) }));
      const built = await buildC(programs, { cflags: ['-O1', ...cflags] });
      for (const [i, c] of CASES.entries()) await checkAll(c, built.get(`m${i}`) as Session);
    }, 120_000);

  it('stay floats in strict numerics', () => {
    const c = CASES[0] as Case;
    expect(usesDot(compile(c.text, { target: 'wasm', numerics: 'strict' }))).toBe(false);
  });
});
