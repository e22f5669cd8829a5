// How an index depends on one loop variable: the coefficient, as an expression free of it. The basis of every
// scheduling decision: 0 is invariant, 1 is contiguous, null is not affine.

import { e } from './expr.js';
import { children, type Expr, i32 } from './scalar.js';

export const mentions = (x: Expr, name: string): boolean => mentioning(name)(x);

/** `mentions` for many parts of one expression: each node is looked at once. */
export function mentioning(name: string): (x: Expr) => boolean {
  const known = new Map<Expr, boolean>();
  const visit = (x: Expr): boolean => {
    const found = known.get(x) ?? (x.k === 'var' ? x.name === name : children(x).some(visit));
    known.set(x, found);
    return found;
  };
  return visit;
}

/** d(x)/d(var) for an i32 expression, or null where x is not affine in it. */
export function coefficient(x: Expr, name: string): Expr | null {
  if (x.k === 'var') return i32(x.name === name ? 1 : 0);
  if (!mentions(x, name)) return i32(0);
  if (x.k !== 'op') return null;
  const [a, b] = x.args as [Expr, Expr];
  if (x.op === 'neg') {
    const c = coefficient(a, name);
    return c && e.sub(i32(0), c);
  }
  if (x.op === 'add' || x.op === 'sub') {
    const [p, q] = [coefficient(a, name), coefficient(b, name)];
    return p && q && (x.op === 'add' ? e.add(p, q) : e.sub(p, q));
  }
  if (x.op === 'mul') {
    const [p, q] = [coefficient(a, name), coefficient(b, name)];
    if (!p || !q) return null;
    if (!mentions(a, name)) return e.mul(a, q);
    return mentions(b, name) ? null : e.mul(p, b);
  }
  if (x.op === 'shl' && b.k === 'const') {
    const p = coefficient(a, name);
    return p && e.mul(p, 2 ** Number(b.value));
  }
  return null;
}

export const isZero = (x: Expr | null): boolean => x?.k === 'const' && Number(x.value) === 0;
export const isOne = (x: Expr | null): boolean => x?.k === 'const' && Number(x.value) === 1;
