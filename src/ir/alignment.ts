// What a kernel's indices are multiples of. A vector of four lanes is one element of a buffer of vectors only where its
// index is a multiple of four, and so is a word of packed elements.

import type { Stmt } from './kernel.js';
import { visitStmts } from './kernel-walk.js';
import type { Expr } from './scalar.js';

/** The largest known divisor of a value, a power of two up to MOST. */
export type DivisorOf = (x: Expr) => number;

const MOST = 64;

const powerIn = (n: number): number => {
  let p = 1;
  while (p < MOST && n % (2 * p) === 0) p *= 2;
  return p;
};

/** `known`: divisors of free variables. */
export function createDivisors(body: readonly Stmt[], known: ReadonlyMap<string, number> = new Map()): DivisorOf {
  const lets = new Map<string, Expr>();
  const loops = new Map<string, readonly [lo: Expr, step: number]>();
  visitStmts(body, (s) => {
    if (s.s === 'let' && !s.mutable) lets.set(s.var, s.value);
    if (s.s === 'for') loops.set(s.var, [s.lo, s.step]);
  });
  const memo = new Map<Expr, number>();
  const of = (x: Expr): number => {
    const done = memo.get(x);
    if (done !== undefined) return done;
    const found = x.dtype === 'i32' ? compute(x) : 1;
    memo.set(x, found);
    return found;
  };
  const compute = (x: Expr): number => {
    if (x.k === 'const') return powerIn(Number(x.value));
    if (x.k === 'var') {
      const loop = loops.get(x.name);
      if (loop) return Math.min(of(loop[0]), powerIn(loop[1]));
      const value = lets.get(x.name);
      return value ? of(value) : (known.get(x.name) ?? 1);
    }
    if (x.k === 'select') return Math.min(of(x.a), of(x.b));
    if (x.k === 'vec') return x.op === 'splat' && x.args[0] ? of(x.args[0]) : 1;
    if (x.k !== 'op') return 1;
    const [a, b] = x.args as [Expr, Expr];
    switch (x.op) {
      case 'mul':
        return Math.min(MOST, of(a) * of(b));
      case 'add':
      case 'sub':
      case 'min':
      case 'max':
      case 'rem': // a − b·q
        return Math.min(of(a), of(b));
      case 'neg':
        return of(a);
      case 'and':
        return Math.max(of(a), of(b));
      case 'shl':
        return b.k === 'const' ? Math.min(MOST, of(a) * 2 ** Number(b.value)) : of(a);
      case 'div':
      case 'shr_s': {
        const by = b.k !== 'const' ? 0 : x.op === 'div' ? Number(b.value) : 2 ** Number(b.value);
        return by > 0 && of(a) % by === 0 ? of(a) / by : 1;
      }
      default:
        return 1;
    }
  };
  return of;
}

/** `x / by` where `x` is known to be a multiple of it, without a division where that is plain. */
export function divideExactly(x: Expr, by: number, divisorOf: DivisorOf, shift: (x: Expr) => Expr): Expr {
  const go = (y: Expr): Expr | null => {
    if (y.k === 'const') return Number(y.value) % by === 0 ? { ...y, value: Number(y.value) / by } : null;
    if (y.k !== 'op' || y.lanes !== 1) return null;
    const [a, b] = y.args as [Expr, Expr];
    if (y.op === 'mul') {
      const right = b.k === 'const' ? go(b) : null;
      if (right?.k === 'const') return Number(right.value) === 1 ? a : { ...y, args: [a, right] };
      return null;
    }
    if (y.op !== 'add' && y.op !== 'sub') return null;
    if (divisorOf(a) % by !== 0 || divisorOf(b) % by !== 0) return null;
    return { ...y, args: [go(a) ?? shift(a), go(b) ?? shift(b)] };
  };
  return go(x) ?? shift(x);
}
