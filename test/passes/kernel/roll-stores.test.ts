// Long epilogues: the rows of a tile share them in a loop, short ones are written out, and the values stay.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../../src/cli/targets.js';
import { importSource, lowerToProgram, readModel } from '../../../src/compile.js';
import type { SourceModel } from '../../../src/frontend/source.js';
import type { Kernel, Stmt } from '../../../src/ir/kernel.js';
import { visitStmts } from '../../../src/ir/kernel-walk.js';
import { i32, type Expr, load, rawOp, variable, vec } from '../../../src/ir/scalar.js';
import { rollStores } from '../../../src/passes/kernel/roll-stores.js';
import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { encodeModel, floats, graph, node, value } from '../../frontend/onnx-models.js';

const wave = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * 1.7));

/** y = f(x·w + b), x with any number of rows. */
function model(f: string, columns: number): SourceModel {
  return readModel(
    encodeModel(
      graph([node('MatMul', ['x', 'w'], ['m']), node('Add', ['m', 'b'], ['a']), node(f, ['a'], ['y'])], {
        input: [value('x', ['n', 12])],
        output: [value('y', ['n', columns])],
        initializer: [floats('w', [12, columns], wave(12 * columns)), floats('b', [columns], wave(columns))],
      }),
    ),
    { file: `${f}.onnx` },
  );
}

const compile = (m: SourceModel, target: Target) => {
  const options = { target, numerics: 'strict', dims: { n: { lo: 1, hi: 9 } } } as const;
  return lowerToProgram(importSource(m, options), options);
};

async function run(m: SourceModel, target: Target, x: Tensor): Promise<number[]> {
  const session = await openSession(target, compile(m, target));
  const { y } = await session.run({ x: x as never });
  await session.close();
  return [...((y as Tensor).data as Float32Array)];
}

const declares = (k: Kernel): boolean => {
  let found = false;
  visitStmts(k.body, (s) => {
    found ||= s.s === 'alloc';
  });
  return found;
};

describe.each(['wasm', 'c'] as const)('long epilogues for %s', (target) => {
  it.each([8, 20])('compute the same over %d columns', async (columns) => {
    const m = model('Erf', columns);
    expect(compile(m, target).kernels.some(declares)).toBe(true);
    for (const n of [1, 4, 6, 9]) {
      const x = fromNumbers('f32', [n, 12], wave(n * 12));
      expect(await run(m, target, x)).toEqual(await run(m, 'interp', x));
    }
  });
});

describe('stores', () => {
  const sum = (r: number): Expr => variable(`acc_${r}`, 'f32', 4);
  const long = (x: Expr): Expr => Array.from({ length: 30 }).reduce<Expr>((y) => rawOp('mul', y, x), x);
  const kernel = (index: (r: number) => Expr, of: (r: number) => Expr): Kernel => ({
    name: 'k',
    params: [
      { name: 'x', dtype: 'f32', access: 'read', size: 64 },
      { name: 'y', dtype: 'f32', access: 'write', size: 64 },
    ],
    syms: [{ name: 'n', lo: 1, hi: 8 }],
    body: [
      ...[0, 1, 2, 3].map((r): Stmt => {
        const zero = vec('splat', [{ k: 'const', dtype: 'f32', value: 0, lanes: 1 }], 'f32', 4);
        return { s: 'let', var: `acc_${r}`, value: zero, mutable: true };
      }),
      ...[0, 1, 2, 3].map((r): Stmt => ({ s: 'store', buf: 1, index: index(r), value: of(r) })),
    ],
  });
  const rolled = (k: Kernel): boolean => declares(rollStores(k));
  const row = (r: number): Expr => load(0, [i32(4 * r)], 'f32', { lanes: 4 });

  it('are a loop where they differ by a step for each row', () => {
    const moving = (r: number): Expr => rawOp('add', i32(5), rawOp('mul', variable('n', 'i32'), i32(r)));
    expect(
      rolled(
        kernel(
          (r) => i32(8 * r),
          (r) => rawOp('add', long(sum(r)), row(r)),
        ),
      ),
    ).toBe(true);
    expect(rolled(kernel(moving, (r) => long(sum(r))))).toBe(true);
  });

  it('stay where rows differ otherwise, share a sum, or are short', () => {
    expect(
      rolled(
        kernel(
          (r) => i32(8 * r),
          () => long(sum(0)),
        ),
      ),
    ).toBe(false);
    expect(
      rolled(
        kernel(
          (r) => i32(8 * r),
          (r) => rawOp('add', sum(r), row(r)),
        ),
      ),
    ).toBe(false);
    const other = (r: number): Expr => rawOp(r === 2 ? 'sub' : 'add', long(sum(r)), row(r));
    expect(rolled(kernel((r) => i32(8 * r), other))).toBe(false);
  });
});
