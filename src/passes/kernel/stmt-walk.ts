// Reading and rebuilding statements: direct expressions, nested bodies, and what a piece of program changes.

import type { Stmt } from '../../ir/kernel.js';
import type { Expr } from '../../ir/scalar.js';

/** The statement lists directly inside a statement. */
export function bodiesOf(stmt: Stmt): readonly (readonly Stmt[])[] {
  switch (stmt.s) {
    case 'for':
    case 'while':
    case 'intrin':
      return [stmt.body];
    case 'if':
      return [stmt.then, stmt.else];
    default:
      return [];
  }
}

/** Rebuilds a statement with `f` applied to the expressions it evaluates itself. An intrinsic's are left alone:
 *  its arguments and its body must keep speaking of the same things. */
export function mapStmtExprs(stmt: Stmt, f: (e: Expr) => Expr): Stmt {
  switch (stmt.s) {
    case 'for':
      return { ...stmt, lo: f(stmt.lo), hi: f(stmt.hi) };
    case 'while':
    case 'if':
      return { ...stmt, cond: f(stmt.cond) };
    case 'let':
    case 'set':
      return { ...stmt, value: f(stmt.value) };
    case 'store':
    case 'atomic':
      return { ...stmt, index: f(stmt.index), value: f(stmt.value) };
    default:
      return stmt;
  }
}

/** Rebuilds a statement with `f` applied to each list directly inside. */
export function mapBodies(stmt: Stmt, f: (body: readonly Stmt[]) => readonly Stmt[]): Stmt {
  switch (stmt.s) {
    case 'for':
    case 'while':
      return { ...stmt, body: f(stmt.body) };
    case 'if':
      return { ...stmt, then: f(stmt.then), else: f(stmt.else) };
    default:
      return stmt;
  }
}

/** What running some statements may change. */
export interface Effects {
  readonly declared: Set<string>;
  readonly assigned: Set<string>;
  readonly written: Set<number>;
  breaks: boolean;
  barrier: boolean;
}

export const noEffects = (): Effects => ({
  declared: new Set(),
  assigned: new Set(),
  written: new Set(),
  breaks: false,
  barrier: false,
});

export function effectsOf(body: readonly Stmt[], into: Effects = noEffects()): Effects {
  for (const stmt of body) {
    if (stmt.s === 'for' || stmt.s === 'let') into.declared.add(stmt.var);
    if (stmt.s === 'set') into.assigned.add(stmt.var);
    if (stmt.s === 'store' || stmt.s === 'atomic' || stmt.s === 'alloc') into.written.add(stmt.buf);
    if (stmt.s === 'break') into.breaks = true;
    if (stmt.s === 'barrier') into.barrier = true;
    for (const inner of bodiesOf(stmt)) effectsOf(inner, into);
  }
  return into;
}

/** Every variable name a kernel declares or assigns. */
export const namesOf = (body: readonly Stmt[]): Set<string> => {
  const { declared, assigned } = effectsOf(body);
  return new Set([...declared, ...assigned]);
};
