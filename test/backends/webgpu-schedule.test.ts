// The schedules of a GPU compute what the plain nests compute: run in the interpreter, which takes grids, groups and
// barriers as loops, so that no device is needed. Sizes are such that no block and no row comes out even.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { compareTensors } from '../../src/cli/testing/compare.js';
import type { Kernel, Stmt } from '../../src/ir/kernel.js';
import { visitStmts } from '../../src/ir/kernel-walk.js';
import type { Program } from '../../src/ir/program.js';
import { constant, type Expr, i32, load, op, rawOp } from '../../src/ir/scalar.js';
import { finishGridKernel, finishKernel } from '../../src/passes/kernel/finish.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, iv, letVar, loop, setVar, store, tensor } from './program-builder.js';

const each = (name: string, n: number, ...body: Stmt[]): Stmt =>
  ({ ...loop(name, n, ...body), mode: 'parallel' }) as Stmt;
const f32 = (v: number): Expr => constant(v, 'f32');
const at = (row: Expr, width: number, column: Expr): Expr => op('add', op('mul', row, i32(width)), column);
const acc: Expr = { k: 'var', name: 'acc', dtype: 'f32', lanes: 1 };

/** y[m, n] = Σ a[m, k]·b[k, n], the store's value passed through `post`. */
function matmul(m: number, k: number, n: number): Program {
  return buildProgram('matmul', (b) => {
    const [x, w, y] = [b.input('x', 'f32', [m, k]), b.input('w', 'f32', [k, n]), b.output('y', 'f32', [m, n])];
    const term = rawOp('mul', load(0, [at(iv('i'), k, iv('r'))], 'f32'), load(1, [at(iv('r'), n, iv('j'))], 'f32'));
    const body = [
      letVar('acc', f32(0), true),
      loop('r', k, setVar('acc', rawOp('add', acc, term))),
      store(2, at(iv('i'), n, iv('j')), rawOp('max', acc, f32(0))),
    ];
    b.steps(
      b.kernel(
        'matmul',
        [
          [x, 'read'],
          [w, 'read'],
          [y, 'write'],
        ],
        [each('i', m, each('j', n, ...body))],
      ),
    );
  });
}

/** Each row minus its mean. */
function center(rows: number, width: number): Program {
  return buildProgram('center', (b) => {
    const [x, y] = [b.input('x', 'f32', [rows, width]), b.output('y', 'f32', [rows, width])];
    const element = (name: string): Expr => load(0, [at(iv('i'), width, iv(name))], 'f32');
    const mean: Expr = { k: 'var', name: 'mean', dtype: 'f32', lanes: 1 };
    const body = [
      letVar('acc', f32(0), true),
      loop('r', width, setVar('acc', rawOp('add', acc, element('r')))),
      letVar('mean', rawOp('mul', acc, f32(1 / width))),
      each('j', width, store(1, at(iv('i'), width, iv('j')), rawOp('sub', element('j'), mean))),
    ];
    b.steps(
      b.kernel(
        'center',
        [
          [x, 'read'],
          [y, 'write'],
        ],
        [each('i', rows, ...body)],
      ),
    );
  });
}

/** The sum of everything. */
function sum(n: number): Program {
  return buildProgram('sum', (b) => {
    const [x, y] = [b.input('x', 'f32', [n]), b.output('y', 'f32', [1])];
    const body = [
      letVar('acc', f32(0), true),
      loop('r', n, setVar('acc', rawOp('add', acc, load(0, [iv('r')], 'f32')))),
      store(1, i32(0), acc),
    ];
    b.steps(
      b.kernel(
        'sum',
        [
          [x, 'read'],
          [y, 'write'],
        ],
        body,
      ),
    );
  });
}

const finish = (p: Program, f: (k: Kernel) => Kernel): Program => ({ ...p, kernels: p.kernels.map((k) => f(k)) });

function modes(k: Kernel): Set<string> {
  const found = new Set<string>();
  visitStmts(k.body, (s) => void (s.s === 'for' && found.add(s.mode)));
  return found;
}

function values(shape: readonly number[], seed: number): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  return tensor(
    'f32',
    shape,
    Array.from({ length: n }, (_, i) => Math.sin(i * 0.7 + seed)),
  );
}

function expectEqual(program: Program): Kernel {
  const entry = program.entries[0] as Program['entries'][number];
  const inputs = Object.fromEntries(entry.inputs.map((v, k) => [v.name, values(v.shape as readonly number[], k)]));
  const run = (p: Program): Tensor => createInterpreter(p).runSync(inputs).y as Tensor;
  const scheduled = finish(program, (k) => finishGridKernel(k));
  const plain = run(finish(program, (k) => finishKernel(k)));
  expect(compareTensors(run(scheduled), plain, { rtol: 1e-5, atol: 1e-5 })).toBeNull();
  return scheduled.kernels[0] as Kernel;
}

describe('GPU schedules', () => {
  it('stage the tiles of a matrix product in memory of the group', () => {
    for (const [m, k, n] of [
      [170, 150, 165],
      [160, 176, 160],
      [16, 17, 16000],
    ] as const) {
      const kernel = expectEqual(matmul(m, k, n));
      expect([...modes(kernel)].sort()).toEqual(['grid', 'local', 'serial']);
    }
  });

  it('compute several elements of a small matrix product at once', () => {
    const k = expectEqual(matmul(131, 19, 133));
    expect([...modes(k)].sort()).toEqual(['grid', 'serial']);
    let sums = 0;
    visitStmts(k.body, (s) => void (s.s === 'let' && s.mutable && sums++));
    expect(sums).toBe(16);
  });

  it('leave a small product one element each', () => {
    const k = expectEqual(matmul(5, 19, 7));
    let sums = 0;
    visitStmts(k.body, (s) => void (s.s === 'let' && s.mutable && sums++));
    expect(sums).toBe(1);
  });

  it('give a row to a group of invocations', () => {
    expect([...modes(expectEqual(center(5, 197)))].sort()).toEqual(['grid', 'local', 'serial']);
  });

  it('give a sum over everything to one group', () => {
    expect(modes(expectEqual(sum(1001))).has('local')).toBe(true);
  });

  it('keep the order of sums where that is asked for', () => {
    const kernel = sum(1001).kernels[0] as Kernel;
    expect(modes(finishGridKernel(kernel, { exact: true })).has('local')).toBe(false);
  });

  it('make one loop of a nest that walks memory as one', () => {
    const program = buildProgram('double', (b) => {
      const [x, y] = [b.input('x', 'f32', [3, 5]), b.output('y', 'f32', [3, 5])];
      const index = at(iv('i'), 5, iv('j'));
      const twice = rawOp('mul', load(0, [index], 'f32'), f32(2));
      b.steps(
        b.kernel(
          'double',
          [
            [x, 'read'],
            [y, 'write'],
          ],
          [each('i', 3, each('j', 5, store(1, index, twice)))],
        ),
      );
    });
    const [only] = expectEqual(program).body;
    expect(only).toMatchObject({ s: 'for', mode: 'grid', hi: { k: 'const', value: 15 } });
  });
});
