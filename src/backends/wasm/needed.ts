// What a loop's code still reads by name once pointers walk: addresses they hold are not computed, and neither are the
// names that only addresses read. A loop whose own variable nobody reads counts by a pointer.

import type { Stmt } from '../../ir/kernel.js';
import { stmtBodies, stmtExprs, visitStmts } from '../../ir/kernel-walk.js';
import { children, type Expr, type LoadExpr, visitExpr } from '../../ir/scalar.js';
import type { KernelState } from './kernel-state.js';
import { findPointer } from './pointers.js';

/** The names read in a body whose pointers are open. */
export function neededNames(k: KernelState, body: readonly Stmt[]): ReadonlySet<string> {
  const needed = new Set<string>();
  /** Names that are read where another is needed. */
  const behind = new Map<string, Set<string>>();
  collect(k, body, needed, behind);
  for (const name of needed) for (const other of behind.get(name) ?? []) needed.add(other);
  return needed;
}

function collect(k: KernelState, body: readonly Stmt[], needed: Set<string>, behind: Map<string, Set<string>>): void {
  for (const s of body) {
    if (s.s === 'for') collectAll(s, needed);
    else if (s.s === 'let' && !s.mutable) {
      const names = behind.get(s.var) ?? new Set();
      behind.set(s.var, names);
      scan(k, s.value, names);
    } else {
      const isWalked = (s.s === 'store' || s.s === 'atomic') && findPointer(k, s.buf, s.index) !== null;
      for (const e of stmtExprs(s)) if (!isWalked || e !== s.index) scan(k, e, needed);
      for (const inner of stmtBodies(s)) collect(k, inner, needed, behind);
    }
  }
}

/** A loop within has pointers of its own, which start from any name. */
function collectAll(s: Stmt, needed: Set<string>): void {
  visitStmts([s], (inner) => {
    for (const e of stmtExprs(inner))
      visitExpr(e, (x) => {
        if (x.k === 'var') needed.add(x.name);
      });
  });
}

function scan(k: KernelState, e: Expr, names: Set<string>, seen: Set<Expr> = new Set()): void {
  if (seen.has(e)) return;
  seen.add(e);
  if (e.k === 'var') names.add(e.name);
  const walked = e.k === 'load' ? walkedIndex(k, e) : null;
  for (const x of children(e)) if (x !== walked) scan(k, x, names, seen);
}

/** The index a pointer stands for. Lanes that are read one by one start from the index itself. */
function walkedIndex(k: KernelState, e: LoadExpr): Expr | null {
  const [index] = e.index;
  if (!index || index.lanes > 1 || (e.guard?.lanes ?? 1) > 1) return null;
  return findPointer(k, e.src, index) && index;
}
