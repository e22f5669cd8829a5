// Expressions are graphs; texts are trees. This finds the nodes of a statement that deserve a name of their own, so that
// nothing costly is printed twice. A node is named only if computing it early is harmless: it is computed anyway, or
// it can neither touch memory nor divide.

import { children, type Expr, type LoadExpr } from '../ir/scalar.js';

/** Nodes used more than once under `roots` that a printer should name on first sight. */
export function findShared(roots: readonly Expr[]): ReadonlySet<Expr> {
  const uses = new Map<Expr, number>();
  const count = (e: Expr): void => {
    const n = uses.get(e) ?? 0;
    uses.set(e, n + 1);
    if (n === 0) for (const c of children(e)) count(c);
  };
  for (const root of roots) count(root);
  const candidates = [...uses].filter(([e, n]) => n > 1 && !isCheap(e)).map(([e]) => e);
  if (candidates.length === 0) return new Set();
  const certain = findCertain(roots);
  const memo = new Map<Expr, boolean>();
  return new Set(candidates.filter((e) => certain.has(e) || isHarmless(e, memo)));
}

/** A leaf, or integer arithmetic directly over leaves: as short as its name. */
function isCheap(e: Expr): boolean {
  if (e.k === 'const' || e.k === 'var') return true;
  if (e.lanes > 1 || (e.k !== 'op' && e.k !== 'cast')) return e.k === 'dim' && typeof e.dim === 'number';
  if (e.k === 'op' && e.dtype !== 'i32' && e.dtype !== 'i1') return false;
  return children(e).every((c) => c.k === 'const' || c.k === 'var');
}

/** Nodes evaluated whatever guards say: everything not below the index or pad of a guarded load. */
function findCertain(roots: readonly Expr[]): ReadonlySet<Expr> {
  const certain = new Set<Expr>();
  const mark = (e: Expr): void => {
    if (certain.has(e)) return;
    certain.add(e);
    if (e.k === 'load' && e.guard) mark(e.guard);
    else for (const c of children(e)) mark(c);
  };
  for (const root of roots) mark(root);
  return certain;
}

function isHarmless(e: Expr, memo: Map<Expr, boolean>): boolean {
  const known = memo.get(e);
  if (known !== undefined) return known;
  const ok = e.k === 'load' ? isGuardedHarmless(e, memo) : !mayTrap(e) && children(e).every((c) => isHarmless(c, memo));
  memo.set(e, ok);
  return ok;
}

const isGuardedHarmless = (e: LoadExpr, memo: Map<Expr, boolean>): boolean =>
  e.guard !== undefined && isHarmless(e.guard, memo) && (e.pad === undefined || isHarmless(e.pad, memo));

function mayTrap(e: Expr): boolean {
  if (e.k !== 'op' || (e.op !== 'div' && e.op !== 'rem') || e.dtype === 'f32' || e.dtype === 'f64') return false;
  const divisor = e.args[1];
  return !(divisor?.k === 'const' && Number(divisor.value) > 0);
}
