// Long sums whose blocks wait in memory for their totals, where registers are few: the bits of the interpreter, in vectors
// and as plain C99. And minima and maxima with constants, which plain C hides from the compiler: NaN and both ends.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC, type CSession } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { Tensor } from '../../src/support/tensor.js';

/** `depth` products of each of 16 × 32 sums, in blocks of at most 128. */
const product = (depth: number): string => `module "product" {
  entry "run" ("a": %0 f32[16, ${depth}]) {
    %1 "b" = const f32[${depth}, 32] random(3)
    %2 "y" = generic %0, %1 : f32[16, 32] reduce add [${depth}] = $0[i0, r0] * $1[r0, i1] then max(acc, 0) @ MatMul "y" 0
    return "y": %2
  }
}
`;

const WINDOW = `module "window" {
  entry "run" ("a": %0 f32[1, 40, 10, 11]) {
    %1 "w" = const f32[24, 40, 3, 3] random(5)
    %2 "y" = generic %0, %1 : f32[1, 24, 8, 9] reduce add [40, 3, 3] = $0[0, r0, i2 + r1, i3 + r2] * $1[i1, r0, r1, r2] @ Conv "y" 0
    return "y": %2
  }
}
`;

const MODULES = [...[257, 512, 5000].map(product), WINDOW];
const BUILDS = [['-O3'], ['-O3', '-DHEDDLE_PLAIN_C'], ['-O1', '-DHEDDLE_SIMD=0']] as const;

const open: CSession[] = [];
afterAll(async () => {
  for (const s of open) await s.close();
});

function inputOf(p: Program): Tensor {
  const shape = (p.entries[0]?.inputs[0]?.shape ?? []) as readonly number[];
  let state = 7;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next);
  return { dtype: 'f32', shape, data };
}

const bits = (t: unknown): readonly number[] => [...new Uint32Array((t as { data: Float32Array }).data.buffer)];

describe('sums in blocks', () => {
  it.each(['generic', 'avx2'] as const)(
    'keep their bits in strict numerics, for %s',
    async (cpu) => {
      const options = { target: 'c', numerics: 'strict', cpu } as const;
      const programs = MODULES.map((text, k) => ({
        name: `m${k}`,
        program: lowerToProgram(parseModule(text), options),
      }));
      const oracle = MODULES.map((text) => {
        const p = lowerToProgram(parseModule(text), { numerics: 'strict' });
        return bits(createInterpreter(p).runSync({ a: inputOf(p) }).y);
      });
      for (const cflags of BUILDS) {
        const built = await buildC(programs, { cflags });
        for (const [k, { name, program }] of programs.entries()) {
          const session = built.get(name) as CSession;
          open.push(session);
          expect(bits((await session.run({ a: inputOf(program) })).y), `${name} ${cflags.join(' ')}`).toEqual(
            oracle[k],
          );
        }
      }
    },
    120_000,
  );

  it('wait in memory where registers do not hold them, and only there', () => {
    const waits = (cpu: 'generic' | 'avx2' | 'avx512', k = 512): boolean => {
      const { kernels } = lowerToProgram(parseModule(product(k)), { target: 'c', cpu });
      return JSON.stringify(kernels, (_, v) => (typeof v === 'bigint' ? String(v) : v)).includes('"r0_n');
    };
    expect([waits('generic'), waits('avx2'), waits('avx512')]).toEqual([true, true, true]);
    expect([waits('avx512', 64), waits('avx512', 5000)]).toEqual([false, true]);
  });
});

describe('minima and maxima with constants', () => {
  it('as plain C and in vectors', async () => {
    const text = `module "clamp" {
  entry "run" ("a": %0 f32[1, 24]) {
    %1 "y" = erf %0 : f32[1, 24]
    return "y": %1
  }
}
`;
    const program = lowerToProgram(parseModule(text), { target: 'c' });
    const special = [NaN, Infinity, -Infinity, 0, -0, 1e-30, 3.72, -3.72, 3.8, -3.8, 1, -1];
    const data = Float32Array.from({ length: 24 }, (_, i) => special[i % special.length] as number);
    for (const cflags of BUILDS) {
      const session = (await buildC([{ name: 'clamp', program }], { cflags })).get('clamp') as CSession;
      open.push(session);
      const { y } = await session.run({ a: { dtype: 'f32', shape: [1, 24], data } });
      const values = [...((y as Tensor).data as Float32Array)];
      expect(values[0], cflags.join(' ')).toBeNaN();
      expect(values.slice(1, 5)).toEqual([1, -1, 0, -0]);
      expect(Math.max(...values.slice(1, 12))).toBeLessThanOrEqual(1);
      expect(values[10]).toBeCloseTo(0.8427008, 6);
    }
  }, 60_000);
});
