// Products whose sizes no tile divides: what is computed twice at the edges stays small, for every processor, and what two
// nests compute is what one does.

import { describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import type { Kernel, Stmt } from '../../src/ir/kernel.js';
import { visitStmts } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Module } from '../../src/ir/tensor.js';
import type { Session } from '../../src/runtime/session.js';
import { CPU_NAMES } from '../../src/passes/schedule/cpus.js';
import type { Tensor } from '../../src/support/tensor.js';

const product = (m: number, k: number, n: number, b: 'constant' | 'input', term = '$0[i0, r0] * $1[r0, i1]'): Module =>
  parseModule(`module "m" {
  entry "run" ("a": %0 "a" f32[${m}, ${k}]${b === 'input' ? `, "b": %1 "b" f32[${k}, ${n}]` : ''}) {
    ${b === 'constant' ? `%3 = const f32[${k}, ${n}] random(3)\n    %1 "b" = sin %3 : f32[${k}, ${n}]` : ''}
    %2 "c" = generic %0, %1 : f32[${m}, ${n}] reduce add [${k}] = ${term} then max(acc, 0.25)
    return "c": %2
  }
}
`);

/** Elements that the kernel stores to its result, whatever is stored twice counted twice. */
function stores({ body, params }: Kernel): number {
  const result = params.findIndex((p) => p.access === 'write');
  const count = (list: readonly Stmt[]): number =>
    list.reduce((n, s) => {
      if (s.s === 'store') return n + (s.buf === result ? s.value.lanes : 0);
      if (s.s !== 'for' || s.hi.k !== 'const' || s.lo.k !== 'const') return n;
      return n + Math.ceil((Number(s.hi.value) - Number(s.lo.value)) / s.step) * count(s.body);
    }, 0);
  return count(body);
}

/** Sums a tile of the kernel has at once, of each of its nests. */
function tilesOf({ body }: Kernel): readonly number[] {
  const sums: number[] = [];
  visitStmts(body, (s) => {
    if (s.s === 'for') sums.push(s.body.filter((x) => x.s === 'let' && x.mutable).length);
  });
  return sums.filter((n) => n > 0);
}

const kernelOf = (module: Module, options: Parameters<typeof lowerToProgram>[1]): Kernel =>
  lowerToProgram(module, options).kernels[0] as Kernel;

describe('sizes that tiles do not divide', () => {
  it.each(CPU_NAMES)('cost at most a half more outputs than there are, from 17 on: %s', (cpu) => {
    for (let n = 17; n <= 67; n += 5) {
      const kernel = kernelOf(product(40, 64, n, 'input'), { target: 'c', cpu });
      expect(stores(kernel) / (40 * n), `${n} columns`).toBeLessThanOrEqual(1.5);
    }
  });

  it('become a nest for whole tiles and one for the rest where that is less', () => {
    const kernel = kernelOf(product(100, 100, 100, 'input'), { target: 'c', cpu: 'avx512' });
    expect(kernel.body.filter((s) => s.s === 'for')).toHaveLength(2);
    expect(stores(kernel)).toBeLessThan(1.05 * 100 * 100);
    const whole = kernelOf(product(96, 96, 96, 'input'), { target: 'c', cpu: 'avx512' });
    expect(whole.body.filter((s) => s.s === 'for')).toHaveLength(1);
  });

  it('are not left to tiles of so few sums that they wait for each other', () => {
    for (const n of [52, 92, 116, 124]) {
      const rows = tilesOf(kernelOf(product(n, n, n, 'input'), { target: 'c', cpu: 'avx512' }));
      expect(rows.length).toBeGreaterThan(0);
      for (const sums of rows) expect(sums, `${n}: sums at once`).toBeGreaterThanOrEqual(5);
    }
    for (const n of [64, 100, 129]) {
      const rows = tilesOf(kernelOf(product(4, 256, n, 'input'), { target: 'c', cpu: 'avx512' }));
      expect(new Set(rows), `${n}: four rows by two vectors`).toEqual(new Set([8]));
    }
  });

  it('have panels made at compile time where both nests read a constant', () => {
    const scratch = (b: 'constant' | 'input'): number =>
      kernelOf(product(40, 300, 100, b), { target: 'c', cpu: 'avx512' }).params.filter((p) => p.access === 'scratch')
        .length;
    expect([scratch('constant'), scratch('input')]).toEqual([1, 2]); // one is for the sums of blocks
    const { weightBytes } = lowerToProgram(product(40, 300, 100, 'constant'), { target: 'c', cpu: 'avx512' });
    expect(weightBytes).toBe(4 * 300 * 100);
  });

  const cases = [
    ...[17, 36, 37, 77, 100].flatMap((n) => [
      { n, k: 24, b: 'constant' as const },
      { n, k: 24, b: 'input' as const },
    ]),
    { n: 100, k: 300, b: 'constant' as const },
    { n: 137, k: 300, b: 'constant' as const },
  ];
  it.each(cases)('give what the interpreter gives: 19 × $k × $n, the second $b', async ({ n, k, b }) => {
    const module = product(19, k, n, b);
    const inputs = { a: wave([19, k], 1), ...(b === 'input' && { b: wave([k, n], 3) }) };
    const built = await buildC(
      CPU_NAMES.filter((cpu) => cpu !== 'neon').map((cpu) => ({
        name: cpu,
        program: lowerToProgram(module, { target: 'c', cpu }),
      })),
    );
    const sessions: Session[] = [...built.values(), await instantiateWasm(lowerToProgram(module, { target: 'wasm' }))];
    const want = await resultOf(createInterpreter(lowerToProgram(module)), inputs);
    for (const session of sessions) {
      const got = await resultOf(session, inputs);
      expect(Math.max(...want.map((v, i) => Math.abs(v - (got[i] as number))))).toBeLessThan(1e-5);
      await session.close();
    }
  });

  it('leave all nests to threads', () => {
    const counts = [17, 20, 21].map((n) => {
      const module = product(300, 3000, n, 'input', 'max($0[i0, r0] * $1[r0, i1], $0[i0, r0])');
      const kernel = kernelOf(module, { target: 'wasm', threads: 2 });
      expect(kernel.shares?.threads, `${n} columns`).toBe(2);
      return kernel.body.length;
    });
    expect(counts).toContain(2);
  });
});

const wave = (shape: readonly number[], k: number): Tensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(i * k) / 2),
});

const resultOf = async (session: Session, inputs: Record<string, Tensor>): Promise<Float32Array> =>
  ((await session.run(inputs)) as Record<string, Tensor>).c?.data as Float32Array;
