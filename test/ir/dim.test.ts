// Sizes are exact: whatever form arithmetic gives a size, its value under any assignment of the symbols is that of the
// plain integer arithmetic, its bounds hold it, and equal sizes have equal keys. Random trees check it, seeded.

import { describe, expect, it } from 'vitest';
import * as dim from '../../src/ir/dim.js';
import { type Dim, type Sym, symDim } from '../../src/ir/dim.js';
import { CompileError, InternalError } from '../../src/support/errors.js';

const N: Sym = { name: 'n', lo: 1, hi: 40 };
const M: Sym = { name: 'm', lo: 0, hi: 7 };
const [n, m] = [symDim(N), symDim(M)];

const SEED = Number(process.env.HEDDLE_SEED ?? 11);

function createRandom(seed: number): (below: number) => number {
  let s = seed | 0;
  return (below) => {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    return Math.floor(((s >>> 8) / 2 ** 24) * below);
  };
}

interface Sample {
  readonly dim: Dim;
  readonly value: (env: { n: number; m: number }) => number;
}

/** A random size beside what it should be worth. */
function sample(depth: number, below: (n: number) => number): Sample {
  const pick = depth === 0 ? below(3) : below(9);
  if (pick === 0) return { dim: n, value: (e) => e.n };
  if (pick === 1) return { dim: m, value: (e) => e.m };
  if (pick === 2) {
    const c = below(13) - 4;
    return { dim: c, value: () => c };
  }
  const [a, b] = [sample(depth - 1, below), sample(depth - 1, below)];
  const by = 1 + below(6);
  switch (pick) {
    case 3:
      return { dim: dim.add(a.dim, b.dim), value: (e) => a.value(e) + b.value(e) };
    case 4:
      return { dim: dim.sub(a.dim, b.dim), value: (e) => a.value(e) - b.value(e) };
    case 5:
      return { dim: dim.mul(a.dim, b.dim), value: (e) => a.value(e) * b.value(e) };
    case 6:
      return { dim: dim.floordiv(a.dim, by), value: (e) => Math.floor(a.value(e) / by) };
    case 7:
      return { dim: dim.mod(a.dim, by), value: (e) => a.value(e) - by * Math.floor(a.value(e) / by) };
    default: {
      const least = below(2) === 0;
      return {
        dim: (least ? dim.min : dim.max)(a.dim, b.dim),
        value: (e) => (least ? Math.min : Math.max)(a.value(e), b.value(e)),
      };
    }
  }
}

describe(`random sizes, seed ${SEED}`, () => {
  it('have the value of integer arithmetic, inside their bounds', () => {
    const below = createRandom(SEED);
    for (let trial = 0; trial < 1500; trial++) {
      const s = sample(1 + below(4), below);
      const [lo, hi] = dim.bounds(s.dim);
      for (let k = 0; k < 6; k++) {
        const env = { n: 1 + below(40), m: below(8) };
        const got = dim.evalDim(s.dim, new Map(Object.entries(env)));
        const what = `${dim.dimKey(s.dim)} at n = ${env.n}, m = ${env.m}`;
        expect(got + 0, what).toBe(s.value(env) + 0);
        expect(lo <= got && got <= hi, `${what}: ${got} is outside ${lo}..${hi}`).toBe(true);
      }
    }
  });

  it('a difference with itself is 0, a sum does not depend on its order', () => {
    const below = createRandom(SEED + 1);
    for (let trial = 0; trial < 300; trial++) {
      const [a, b] = [sample(3, below).dim, sample(3, below).dim];
      expect(dim.sub(a, a) as number).toBe(0);
      expect(dim.dimEq(dim.add(a, b), dim.add(b, a))).toBe(true);
      expect(dim.dimEq(dim.mul(a, b), dim.mul(b, a))).toBe(true);
    }
  });

  it('substituting numbers gives the value', () => {
    const below = createRandom(SEED + 2);
    for (let trial = 0; trial < 300; trial++) {
      const s = sample(3, below);
      const env = { n: 1 + below(40), m: below(8) };
      expect((dim.substituteDim(s.dim, (x) => env[x.name as 'n' | 'm']) as number) + 0).toBe(s.value(env) + 0);
    }
  });
});

describe('simplification', () => {
  it('divides multiples exactly', () => {
    expect(dim.dimKey(dim.floordiv(dim.mul(n, 6), 3))).toBe('2*n');
    expect(dim.dimEq(dim.floordiv(dim.mul(n, m), n), m)).toBe(true);
    expect(dim.mod(dim.mul(n, 12), 4)).toBe(0);
    expect(dim.dimKey(dim.floordiv(dim.add(dim.mul(n, 4), 3), 4))).toBe('n');
  });

  it('decides minima and maxima that bounds decide', () => {
    expect(dim.min(n, 100)).toBe(n);
    expect(dim.max(n, 1)).toBe(n);
    expect(dim.dimKey(dim.min(n, 8))).toBe('min(8, n)');
  });

  it('a symbol with one value is that number', () => {
    expect(symDim({ name: 'one', lo: 3, hi: 3 })).toBe(3);
  });

  it('says which size has no upper bound', () => {
    const open = symDim({ name: 'len', lo: 1, hi: Number.POSITIVE_INFINITY });
    expect(() => dim.upperBound(dim.mul(open, 2), '"x"')).toThrowError(CompileError);
    expect(() => dim.upperBound(dim.mul(open, 2), '"x"')).toThrowError('E205 "x" has no upper bound (2*len)');
    expect(dim.upperBound(dim.sub(m, 9), '"x"')).toBe(0);
  });

  it('never divides by what may be zero', () => {
    expect(() => dim.floordiv(n, 0)).toThrowError(InternalError);
  });
});
