// Constant columns that any number of rows read, one or many: they are laid out once, in place of the constant.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Module } from '../../src/ir/tensor.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';

const product = (rows: number | 'm', n: number, more = ''): Module =>
  parseModule(`module "m" {
  ${rows === 'm' ? 'sym m : 1 .. 50' : ''}
  entry "run" ("a": %0 "a" f32[${rows}, 300]) {
    %1 = const f32[300, ${n}] random(3)
    %2 = sin %1 : f32[300, ${n}]
    %3 "c" = einsum "ac,cb->ab" %0, %2 : f32[${rows}, ${n}]
    ${more}
  }
}
`);
const ONE = 'return "c": %3';
const ANOTHER_READER = `%4 "d" = generic %2, %0 : f32[96] reduce add [300] = $0[r0, i0] * $1[0, r0]
    return "c": %3, "d": %4`;

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

const rowsOf = (rows: number): Tensor => ({
  dtype: 'f32',
  shape: [rows, 300],
  data: Float32Array.from({ length: rows * 300 }, (_, k) => Math.sin(k)),
});

describe('constant columns of open rows', () => {
  it('take the place of the constant where the number of rows is open', () => {
    for (const options of [{ target: 'wasm' }, { target: 'c', cpu: 'avx2' }] as const) {
      const { weightBytes, kernels } = lowerToProgram(product('m', 96, ONE), options);
      expect(weightBytes).toBe(4 * 300 * 96);
      expect(kernels.flatMap((k) => k.params.filter((p) => p.access === 'scratch' && Number(p.size) >= 300))).toEqual(
        [],
      );
    }
  });

  it('are packed while the program runs where something else reads the constant', () => {
    expect(lowerToProgram(product(50, 96, ANOTHER_READER), { target: 'wasm' }).weightBytes).toBe(4 * 300 * 96);
  });

  it('give what the interpreter gives, for one row and for many', async () => {
    const m = product('m', 101, ONE);
    const built = await buildC([{ name: 'm', program: lowerToProgram(m, { target: 'c', cpu: 'avx2' }) }]);
    const compiled = [...built.values(), await instantiateWasm(lowerToProgram(m, { target: 'wasm' }))];
    sessions.push(...compiled);
    for (const rows of [1, 3, 4, 9, 50]) {
      const inputs = { a: rowsOf(rows) };
      const want = (createInterpreter(lowerToProgram(m)).runSync(inputs).c as Tensor).data as Float32Array;
      for (const s of compiled) {
        const got = ((await s.run(inputs)).c as Tensor).data as Float32Array;
        expect(got.length).toBe(want.length);
        expect(Math.max(...want.map((v, k) => Math.abs(v - (got[k] as number)))), `${rows} rows`).toBeLessThan(1e-5);
      }
    }
  });
});
