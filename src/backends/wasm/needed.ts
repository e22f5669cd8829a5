// What a loop's code still reads by name once pointers walk: addresses they hold are not computed, and neither are the
// names that only addresses read. A loop whose own variable nobody reads counts by a pointer.

import type { Stmt } from '../../ir/kernel.js';
import { namesRead, stmtBodies, stmtExprs } from '../../ir/kernel-walk.js';
import { children, type Expr, type LoadExpr } from '../../ir/scalar.js';
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
    // A loop within has pointers of its own, which start from any name.
    if (s.s === 'for') for (const name of namesRead([s])) needed.add(name);
    else if (s.s === 'let' && !s.mutable) {
      const names = behind.get(s.var) ?? new Set();
      behind.set(s.var, names);
      scan(k, s.value, names);
    } else {
      const isAt = (s.s === 'store' || s.s === 'atomic') && findPointer(k, s.buf, s.index) !== null;
      for (const e of isAt ? [s.value] : stmtExprs(s)) scan(k, e, needed);
      for (const inner of stmtBodies(s)) collect(k, inner, needed, behind);
    }
  }
}

function scan(k: KernelState, e: Expr, names: Set<string>, seen: Set<Expr> = new Set()): void {
  if (seen.has(e)) return;
  seen.add(e);
  if (e.k === 'var') names.add(e.name);
  for (const x of e.k === 'load' && isWalked(k, e) ? [e.guard, e.pad] : children(e)) if (x) scan(k, x, names, seen);
}

/** Whether a pointer stands for the index. Lanes that are read one by one start from the index itself. */
function isWalked(k: KernelState, { src, index: [index], guard }: LoadExpr): boolean {
  return index?.lanes === 1 && (guard?.lanes ?? 1) === 1 && findPointer(k, src, index) !== null;
}
