// Transposed convolutions whose taps a stride does not divide: nothing is multiplied by the zeros that fill up their weights.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram, optimizeModule } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import { visitNodes } from '../../src/ir/rewrite.js';
import type { Module } from '../../src/ir/tensor.js';
import { deadCode } from '../../src/passes/dead-code.js';
import { PIPELINE } from '../../src/passes/pipeline.js';
import type { Session } from '../../src/runtime/session.js';
import { sizeOf } from '../../src/support/tensor.js';
import type { Tensor } from '../../src/support/tensor.js';

/** 3 × `wide` taps of stride 2 over 16 × 20 × 20, filled up to an even number of taps. */
const transposed = (wide: number, x: string, w: string, cast: (y: string) => string, post = ''): Module =>
  parseModule(`module "transposed" {
  entry "run" ("x": %0 "x" ${x}[16, 20, 20]) {
    %1 = const ${w}[16, 8, 3, ${wide}] random(3)
    %2 = generic %1 : ${w}[16, 8, 4, 4] = $0[i0, i1, i2, i3 else 0]
    %3 "y" = generic %0, %2 : ${x === 'f32' ? 'f32' : 'i32'}[8, 20, 2, 20, 2] reduce add [16, 2, 2] = ${cast('$0[r0, i1 + r1 - 1, i3 + r2 - 1 else 0]')} * ${cast('$1[r0, i0, (1 - r1) * 2 + i2, (1 - r2) * 2 + i4]')}${post}
    return "y": %3
  }
}
`);

const CASES: readonly (readonly [name: string, module: Module, elements: number])[] = [
  ['three by three', transposed(3, 'f32', 'f32', (y) => y), 9],
  ['three by four', transposed(4, 'f32', 'f32', (y) => y), 12],
  [
    'four columns, an epilogue of the phases',
    transposed(4, 'f32', 'f32', (y) => y, ' then acc * 2 + f32(i2 + i4 * 10)'),
    12,
  ],
  ['integers', transposed(3, 'i8', 'i8', (y) => `i32(${y})`), 9],
];

/** What leads to phases. */
const FIRST: ReadonlySet<string> = new Set(['dead-code', 'fold', 'algebra', 'fuse', 'phases']);

/** Elements of the constants that nodes read. */
function constants(m: Module): number {
  let n = 0;
  for (const entry of deadCode(m).entries)
    visitNodes(entry.body, (node) => {
      if (node.kind === 'const') n += sizeOf(node.data.shape);
    });
  return n;
}

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

describe('phases with fewer taps', () => {
  it.each(CASES)('have weights of their own and the results of the whole: %s', async (_name, m, taps) => {
    const isFloat = m.entries[0]?.body.params[0]?.type.dtype === 'f32';
    expect(constants(optimizeModule(m, { target: 'wasm' }, [...PIPELINE.filter((p) => FIRST.has(p.name))]))).toBe(
      16 * 8 * taps,
    );
    const whole = lowerToProgram(m, { numerics: isFloat ? 'strict' : 'fast' });
    const parts = lowerToProgram(m, { target: 'wasm' });
    const data = isFloat
      ? Float32Array.from({ length: 6400 }, (_, k) => Math.sin(k))
      : Int8Array.from({ length: 6400 }, (_, k) => k * 37);
    const x = { dtype: isFloat ? 'f32' : 'i8', shape: [16, 20, 20], data } as Tensor;
    const session = await instantiateWasm(parts);
    sessions.push(session);
    const [got, want] = [(await session.run({ x })).y, createInterpreter(whole).runSync({ x }).y] as [Tensor, Tensor];
    const [a, b] = [got.data, want.data] as [Float32Array, Float32Array];
    expect(a.length).toBe(b.length);
    const worst = Math.max(...b.map((v, k) => Math.abs(v - (a[k] as number))));
    if (isFloat) expect(worst).toBeLessThan(1e-5);
    else expect(worst).toBe(0);
  });
});
