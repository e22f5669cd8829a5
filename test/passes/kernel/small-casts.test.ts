// Casts of small whole floats become an addition with the same value for every float there is, NaN and infinities included.

import { describe, expect, it } from 'vitest';
import type { Kernel } from '../../../src/ir/kernel.js';
import {
  bitcast,
  cast,
  constant,
  type Expr,
  rawOp,
  rewriteExpr,
  variable,
  vec,
  visitExpr,
} from '../../../src/ir/scalar.js';
import { addSmallCasts } from '../../../src/passes/kernel/small-casts.js';
import { compileExpr } from '../../ir/scalar-js.js';

const kernelOf = (value: Expr): Kernel => ({
  name: 'k',
  params: [{ name: 'y', dtype: 'i32', access: 'write', size: 4 }],
  syms: [],
  body: [{ s: 'let', var: 'v', value, mutable: false }],
});

const rewritten = (value: Expr, keepsSums = true): Expr => {
  const [s] = addSmallCasts(kernelOf(value), { keepsSums }).body;
  if (s?.s !== 'let') throw new Error('one let');
  return s.value;
};

const oneLane = (e: Expr): Expr =>
  rewriteExpr(e, (y) =>
    y.k === 'vec' && y.op === 'splat' ? (y.args[0] as Expr) : y.lanes > 1 ? { ...y, lanes: 1 } : y,
  );

const holdsCast = (e: Expr): boolean => {
  let found = false;
  visitExpr(e, (y) => {
    found ||= y.k === 'cast' && y.arg.dtype === 'f32';
  });
  return found;
};

const x = variable('x', 'f32', 4);
const every = (v: number): Expr => vec('splat', [constant(v, 'f32')], 'f32', 4);
const clamped = (v: Expr, hi: number): Expr => rawOp('min', rawOp('max', v, every(0)), every(hi));
const whole = rawOp('add', rawOp('rint', x), every(7));
const VALUES = [-1e9, -8.5, -7, -0.5, -0, 0, 0.49, 0.5, 1.5, 2.5, 100, 247.5, 248, 255, 4e6, 5e9, Infinity, -Infinity];

describe('casts of small whole floats', () => {
  it.each([1, 255, 2 ** 22])('are an addition where clamped to 0 … %d', (hi) => {
    const before = cast(clamped(whole, hi), 'i32');
    const after = rewritten(before);
    expect(holdsCast(after)).toBe(false);
    const [f, g] = [before, after].map((e) => compileExpr(oneLane(e), ['x']));
    for (const v of [...VALUES, Number.NaN]) expect(g?.(v), `${v}`).toEqual(f?.(v));
  });

  it('lose a mask that keeps all of them, and no other', () => {
    const mask = (n: number): Expr => vec('splat', [constant(n, 'i32')], 'i32', 4);
    const small = cast(clamped(whole, 255), 'i32');
    expect(rewritten(rawOp('and', small, mask(255)))).toEqual(rewritten(small));
    for (const n of [127, 256]) {
      const kept = rewritten(rawOp('and', small, mask(n)));
      expect(kept.k === 'op' && kept.op).toBe('and');
    }
  });

  it('stay where a value may have a fraction, be larger or negative, and in scalars', () => {
    const others = [
      cast(clamped(x, 255), 'i32'),
      cast(clamped(whole, 2 ** 23), 'i32'),
      cast(rawOp('min', rawOp('max', whole, every(-1)), every(255)), 'i32'),
      cast(rawOp('rint', x), 'i32'),
      oneLane(cast(clamped(whole, 255), 'i32')),
    ];
    for (const e of others) expect(rewritten(e)).toBe(e);
  });
});

describe('the float of low bits beside 1.5·2²³', () => {
  const bitsOf = (n: number): number => new Int32Array(new Float32Array([n]).buffer)[0] as number;
  const low = (magic: number, less = magic): Expr =>
    cast(
      rawOp(
        'sub',
        bitcast(rawOp('add', x, every(magic)), 'i32'),
        vec('splat', [constant(bitsOf(less), 'i32')], 'i32', 4),
      ),
      'f32',
    );
  const SMALL = VALUES.filter((v) => Math.abs(v) < 2 ** 22);

  it.each([12582912, 12582912 + 127])('is a difference of floats: %d', (magic) => {
    const after = rewritten(low(magic));
    expect(after.k === 'op' && after.op).toBe('sub');
    const [f, g] = [low(magic), after].map((e) => compileExpr(oneLane(e), ['x']));
    for (const v of SMALL) expect(g?.(v), `${v}`).toEqual(f?.(v));
  });

  it('stays where a compiler may re-associate, in scalars, and where another number is taken away', () => {
    for (const e of [
      rewritten(low(12582912), false),
      rewritten(oneLane(low(12582912))),
      rewritten(low(12582912, 12582913)),
    ])
      expect(e.k).toBe('cast');
  });
});
