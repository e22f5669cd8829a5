// Index simplification: the equations it is for, and random expressions whose every value must stay what it was.

import { describe, expect, it } from 'vitest';
import { compileKernel } from '../../../src/backends/interp/compile-kernel.js';
import { ceildiv, mul as mulDim, symDim } from '../../../src/ir/dim.js';
import type { Kernel, Stmt } from '../../../src/ir/kernel.js';
import { expandMacro } from '../../../src/ir/macros.js';
import {
  constant,
  dimExpr,
  type Expr,
  exprKey,
  i32,
  isPrimitive,
  load,
  op,
  rawOp,
  rewriteExpr,
  type ScalarOp,
  select,
  variable,
  vec,
} from '../../../src/ir/scalar.js';
import { simplifyExpr, simplifyKernel } from '../../../src/passes/kernel/simplify-index.js';
import { randomSource } from '../../ir/macro-accuracy.js';
import { compileExpr } from '../../ir/scalar-js.js';

const [i, j, k] = ['i', 'j', 'k'].map((name) => variable(name, 'i32')) as [Expr, Expr, Expr];
const n = (v: number): Expr => i32(v);
const o = (name: ScalarOp, a: Expr, b: Expr): Expr => rawOp(name, a, b);
const loops = { i: [n(0), n(10)], j: [n(0), n(8)], k: [n(0), n(3)] } as const;

const D = { name: 'D', lo: 1, hi: 1000 };
const N = { name: 'N', lo: 0, hi: 1000 };
const d = dimExpr(symDim(D));

type Bounds = Readonly<Record<string, readonly [Expr, Expr]>>;

const EQUATIONS: readonly (readonly [name: string, from: Expr, to: Expr, bounds?: Bounds])[] = [
  ['(i·8 + j)/8 = i', o('div', o('add', o('mul', i, n(8)), j), n(8)), i],
  ['(i·8 + j) % 8 = j', o('rem', o('add', o('mul', i, n(8)), j), n(8)), j],
  ['(i·3 + k)/3 = i', o('div', o('add', o('mul', i, n(3)), k), n(3)), i],
  ['(i·8 + j + 8)/8 = i + 1', o('div', o('add', o('add', o('mul', i, n(8)), j), n(8)), n(8)), o('add', i, n(1))],
  ['j/8 = 0', o('div', j, n(8)), n(0)],
  ['i/4 = i >> 2', o('div', i, n(4)), o('shr_s', i, n(2))],
  ['i % 4 = i & 3', o('rem', i, n(4)), o('and', i, n(3))],
  ['floordiv(i, 5) = i/5', o('floordiv', i, n(5)), o('div', i, n(5))],
  ['floormod(i, 5) = i % 5', o('floormod', i, n(5)), o('rem', i, n(5))],
  [
    'floordiv(i·8 − 8 + j, 8) = i − 1',
    o('floordiv', o('add', o('sub', o('mul', i, n(8)), n(8)), j), n(8)),
    o('add', i, n(-1)),
  ],
  ['(i/2)/3 = i/6', o('div', o('div', i, n(2)), n(3)), o('div', i, n(6))],
  ['(i·4)/8 = i/2', o('div', o('mul', i, n(4)), n(8)), o('shr_s', i, n(1))],
  ['(i/5)·5 + i%5 = i', o('add', o('mul', o('div', i, n(5)), n(5)), o('rem', i, n(5))), i],
  ['i + 1 + 2 − i = 3', o('sub', o('add', o('add', i, n(1)), n(2)), i), n(3)],
  [
    '(1 + j) + i·8 = (i·8 + j) + 1',
    o('add', o('add', n(1), j), o('mul', i, n(8))),
    o('add', o('add', o('mul', i, n(8)), j), n(1)),
  ],
  ['j < 8 always', o('lt', j, n(8)), constant(1, 'i1')],
  ['j < 0 never', o('lt', j, n(0)), constant(0, 'i1')],
  ['i·8 + j < 80 always', o('lt', o('add', o('mul', i, n(8)), j), n(80)), constant(1, 'i1')],
  ['i + 1 ≠ i', op('ne', o('add', i, n(1)), i), constant(1, 'i1')],
  ['min(j, 7) = j', o('min', j, n(7)), j],
  ['max(i − 20, 0) = 0', o('max', o('sub', i, n(20)), n(0)), n(0)],
  ['select(k < 3, i, j) = i', select(o('lt', k, n(3)), i, j), i],
  ['(i·D + j)/D = i for j < D', o('div', o('add', o('mul', i, d), j), d), i, { i: [n(0), n(10)], j: [n(0), d] }],
  ['(i·D + j) % D = j for j < D', o('rem', o('add', o('mul', i, d), j), d), j, { i: [n(0), n(10)], j: [n(0), d] }],
  ['j < D for j below it', o('lt', j, d), constant(1, 'i1'), { j: [n(0), d] }],
  [
    'i·D + j < N·D for i < N, j < D',
    o('lt', o('add', o('mul', i, d), j), dimExpr(mulDim(symDim(N), symDim(D)))),
    constant(1, 'i1'),
    { i: [n(0), dimExpr(symDim(N))], j: [n(0), d] },
  ],
  [
    'i·4 < N for i < ⌈N/4⌉',
    o('lt', o('mul', i, n(4)), dimExpr(symDim(N))),
    constant(1, 'i1'),
    { i: [n(0), dimExpr(ceildiv(symDim(N), 4))] },
  ],
  [
    'i·4 + j < N for j < min(4, N − i·4)',
    o('lt', o('add', o('mul', i, n(4)), j), dimExpr(symDim(N))),
    constant(1, 'i1'),
    {
      i: [n(0), dimExpr(ceildiv(symDim(N), 4))],
      j: [n(0), o('min', n(4), o('sub', dimExpr(symDim(N)), o('mul', i, n(4))))],
    },
  ],
];

describe('equations', () => {
  it.each(EQUATIONS.map(([name, ...rest]) => [name, rest] as const))('%s', (_name, [from, to, bounds = loops]) => {
    const simple = simplifyExpr(from, bounds);
    expect(exprKey(simple)).toBe(exprKey(to));
    expect(exprKey(simplifyExpr(simple, bounds))).toBe(exprKey(to));
  });

  it('keeps a division whose dividend may be negative', () => {
    const e = o('div', o('sub', i, n(5)), n(2));
    expect(simplifyExpr(e, loops)).toMatchObject({ k: 'op', op: 'div' });
  });
});

/** Random trees over i and j. */
function randomExpr(random: () => number, depth: number): Expr {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  if (depth === 0 || random() < 0.1) return pick([i, j, k, n(Math.floor(random() * 20) - 4)]);
  const a = randomExpr(random, depth - 1);
  const divisor = n(pick([1, 2, 3, 4, 7, 8, 16]));
  const name = pick<ScalarOp>([
    'add',
    'sub',
    'mul',
    'add',
    'mul',
    'div',
    'rem',
    'floordiv',
    'floormod',
    'min',
    'max',
    'neg',
    'shr_s',
    'and',
  ]);
  if (name === 'neg') return rawOp('neg', a);
  if (name === 'shr_s') return rawOp('shr_s', a, n(pick([0, 1, 3])));
  if (name === 'and') return rawOp('and', a, n(pick([1, 7, 5, -2])));
  if (['div', 'rem', 'floordiv', 'floormod'].includes(name)) return rawOp(name, a, divisor);
  const b = randomExpr(random, depth - 1);
  if (random() < 0.15) return select(rawOp(pick<ScalarOp>(['lt', 'le', 'eq']), a, b), a, randomExpr(random, depth - 1));
  return rawOp(name, a, b);
}

const expandAll = (e: Expr): Expr =>
  rewriteExpr(e, (x) =>
    x.k === 'op' && !isPrimitive(x.op) ? expandMacro(x.op, x.args, x.args[0]?.dtype ?? 'i32') : x,
  );

it.each(Array.from({ length: 8 }, (_, seed) => seed + 1))('random expressions keep their values (seed %i)', (seed) => {
  const random = randomSource(seed);
  for (let round = 0; round < 250; round++) {
    const e = randomExpr(random, 5);
    const before = compileExpr(expandAll(e), ['i', 'j', 'k']);
    const simple = simplifyExpr(e, loops);
    const after = compileExpr(expandAll(simple), ['i', 'j', 'k']);
    for (let a = 0; a < 10; a++)
      for (let b = 0; b < 8; b++)
        for (let c = 0; c < 3; c++)
          if (before(a, b, c) !== after(a, b, c))
            expect(`${exprKey(simple)} at ${[a, b, c]}: ${after(a, b, c)}`).toBe(`${exprKey(e)}: ${before(a, b, c)}`);
  }
});

const kernel = (body: readonly Stmt[]): Kernel => ({
  name: 'k',
  params: [
    { name: 'x', dtype: 'i32', access: 'read', size: 80 },
    { name: 'y', dtype: 'i32', access: 'write', size: 80 },
  ],
  syms: [],
  body,
});

describe('kernels', () => {
  const at = o('add', o('mul', i, n(8)), j);
  const nest = (body: readonly Stmt[]): readonly Stmt[] => [
    {
      s: 'for',
      var: 'i',
      lo: n(0),
      hi: n(10),
      step: 1,
      mode: 'serial',
      body: [{ s: 'for', var: 'j', lo: n(0), hi: n(8), step: 1, mode: 'serial', body }],
    },
  ];
  const store = (value: Expr): Stmt => ({ s: 'store', buf: 1, index: at, value });
  const innermost = (x: Kernel): readonly Stmt[] =>
    ((x.body[0] as Stmt & { s: 'for' }).body[0] as Stmt & { s: 'for' }).body;

  it('drops guards that always hold and takes the pad where they never do', () => {
    const guard = o('lt', at, n(80));
    const always = simplifyKernel(kernel(nest([store(load(0, [at], 'i32', { guard, pad: n(0) }))])));
    expect((innermost(always)[0] as Stmt & { s: 'store' }).value).toMatchObject({ k: 'load', guard: undefined });
    const never = simplifyKernel(kernel(nest([store(load(0, [at], 'i32', { guard: o('lt', at, n(0)), pad: n(7) }))])));
    expect((innermost(never)[0] as Stmt & { s: 'store' }).value).toEqual(n(7));
  });

  it('takes the arm of a decided branch and drops empty loops', () => {
    const branch: Stmt = { s: 'if', cond: o('lt', j, n(8)), then: [store(i)], else: [store(j)] };
    expect(innermost(simplifyKernel(kernel(nest([branch]))))).toEqual([store(i)]);
    const empty: Stmt = { s: 'for', var: 'e', lo: n(3), hi: n(3), step: 1, mode: 'serial', body: [store(i)] };
    expect(innermost(simplifyKernel(kernel(nest([empty]))))).toEqual([]);
  });

  it('sees through lets, and not through mutable variables', () => {
    const t = variable('t', 'i32');
    const quotient = o('div', t, n(8));
    const make = (mutable: boolean): Kernel =>
      kernel(
        nest([
          { s: 'let', var: 't', value: at, mutable },
          { s: 'set', var: mutable ? 't' : 'u', value: n(-9) },
          store(quotient),
        ]),
      );
    const fixed = innermost(simplifyKernel(make(false)))[2] as Stmt & { s: 'store' };
    expect(exprKey(fixed.value)).toBe(exprKey(o('shr_s', t, n(3))));
    const changing = innermost(simplifyKernel(make(true)))[2] as Stmt & { s: 'store' };
    expect(exprKey(changing.value)).toBe(exprKey(quotient));
  });

  it('knows where a stepped loop stops', () => {
    const D4 = dimExpr(mulDim(symDim(D), 4));
    const tile = (hi: Expr): Stmt => ({
      s: 'for',
      var: 'b',
      lo: n(0),
      hi,
      step: 4,
      mode: 'serial',
      body: [{ s: 'for', var: 'c', lo: n(0), hi: n(4), step: 1, mode: 'serial', body: [inside(hi)] }],
    });
    const at4 = o('add', variable('b', 'i32'), variable('c', 'i32'));
    const inside = (hi: Expr): Stmt => ({ s: 'if', cond: o('lt', at4, hi), then: [store(at4)], else: [] });
    const kinds = (hi: Expr): string => innermost(simplifyKernel(kernel([tile(hi)])))[0]?.s ?? '';
    expect(kinds(n(80))).toBe('store');
    expect(kinds(D4)).toBe('store');
    expect(kinds(n(78))).toBe('if');
    expect(kinds(d)).toBe('if');
  });

  it('forgets a loop when another takes its name', () => {
    const again = (hi: number): Stmt => ({
      s: 'for',
      var: 'i',
      lo: n(0),
      hi: n(hi),
      step: 1,
      mode: 'serial',
      body: [{ s: 'store', buf: 1, index: i, value: o('div', i, n(8)) }],
    });
    const [, second] = simplifyKernel(kernel([again(8), again(80)])).body as readonly (Stmt & { s: 'for' })[];
    expect(second?.body[0]).toMatchObject({ value: { op: 'shr_s' } });
  });

  it.each([
    [24, 20, 'no mask'],
    [24, 24, 'no mask'],
    [24, 19, 'a mask'],
    [8, 0, 'the pad'],
  ])('a mask over %i columns in tiles of eight that end at %i is %s', (columns, end, want) => {
    const lanes = (from: Expr): Expr => vec('iota', [from], 'i32', 4);
    const guard = rawOp('lt', lanes(i), vec('splat', [n(end)], 'i32', 4));
    const value = load(0, [i], 'i32', { lanes: 4, guard, pad: n(-1) });
    const store: Stmt = { s: 'store', buf: 1, index: i, value };
    const tiles: Stmt = { s: 'for', var: 'i', lo: n(0), hi: n(columns), step: 8, mode: 'serial', body: [store] };
    const [loop] = simplifyKernel(kernel([tiles])).body as readonly (Stmt & { s: 'for' })[];
    const out = loop?.body[0] as (Stmt & { s: 'store' }) | undefined;
    const found = out?.value.k === 'load' ? (out.value.guard ? 'a mask' : 'no mask') : 'the pad';
    expect(found).toBe(want);
  });

  it('does not re-associate loaded data', () => {
    const acc = o('add', o('add', load(0, [j], 'i32'), n(1)), o('mul', load(0, [i], 'i32'), n(2)));
    const out = innermost(simplifyKernel(kernel(nest([store(acc)]))))[0] as Stmt & { s: 'store' };
    expect(exprKey(out.value)).toBe(exprKey(acc));
  });

  it('a transpose written with divisions runs the same', () => {
    const flat = variable('f', 'i32');
    const source = o('add', o('mul', o('rem', flat, n(8)), n(10)), o('div', flat, n(8)));
    const body: Stmt = { s: 'store', buf: 1, index: flat, value: load(0, [source], 'i32') };
    const k1 = kernel([{ s: 'for', var: 'f', lo: n(0), hi: n(80), step: 1, mode: 'serial', body: [body] }]);
    const x = Int32Array.from({ length: 80 }, (_, v) => v * v);
    const [a, b] = [k1, simplifyKernel(k1)].map((each) => {
      const y = new Int32Array(80);
      compileKernel(each)(x, y);
      return y;
    });
    expect(b).toEqual(a);
  });
});
