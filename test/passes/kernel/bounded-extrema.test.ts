// A vector's minimum or maximum with a constant becomes a choice with the same value, NaN included.

import { describe, expect, it } from 'vitest';
import type { Kernel } from '../../../src/ir/kernel.js';
import { constant, type Expr, rawOp, variable, vec } from '../../../src/ir/scalar.js';
import { boundExtrema } from '../../../src/passes/kernel/bounded-extrema.js';
import { compileExpr } from '../../ir/scalar-js.js';

const kernelOf = (value: Expr): Kernel => ({
  name: 'k',
  params: [{ name: 'y', dtype: 'f32', access: 'write', size: 4 }],
  syms: [],
  body: [{ s: 'let', var: 'v', value, mutable: false }],
});

const rewritten = (value: Expr, numerics: 'fast' | 'strict' = 'fast'): Expr => {
  const [s] = boundExtrema(kernelOf(value), numerics).body;
  if (s?.s !== 'let') throw new Error('one let');
  return s.value;
};

/** The same expression for one lane. */
const oneLane = (x: Expr): Expr => {
  if (x.k === 'vec' && x.op === 'splat') return x.args[0] as Expr;
  if (x.k === 'var') return variable(x.name, x.dtype);
  if (x.k === 'op') return rawOp(x.op, ...x.args.map(oneLane));
  if (x.k === 'select') return { ...x, cond: oneLane(x.cond), a: oneLane(x.a), b: oneLane(x.b), lanes: 1 };
  return x;
};

const x = variable('x', 'f32', 4);
const every = (v: number): Expr => vec('splat', [constant(v, 'f32')], 'f32', 4);
const VALUES = [-2, -1, -0.5, 0, 0.5, 1, 2, Infinity, -Infinity, Number.NaN];

describe('vector extrema with a constant', () => {
  it.each([
    ['min', -1],
    ['max', -1],
    ['min', 6],
    ['max', 0],
  ] as const)('%s(x, %d) is a choice of equal value', (op, limit) => {
    for (const args of [
      [x, every(limit)],
      [every(limit), x],
    ] as const) {
      const before = rawOp(op, ...args);
      const after = rewritten(before);
      expect(after.k).toBe('select');
      const [f, g] = [before, after].map((e) => compileExpr(oneLane(e), ['x']));
      for (const v of VALUES) expect(g?.(v)).toEqual(f?.(v));
    }
  });

  it('stays where zeros of both signs matter, where two values vary, and in scalars', () => {
    const zero = rawOp('max', x, every(0));
    expect(rewritten(zero, 'strict')).toBe(zero);
    const two = rawOp('max', x, variable('y', 'f32', 4));
    expect(rewritten(two)).toBe(two);
    const scalar = rawOp('max', variable('x', 'f32'), constant(1, 'f32'));
    expect(rewritten(scalar)).toBe(scalar);
  });
});
