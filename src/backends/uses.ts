// Facts about a kernel that its printing needs up front: which variables are read, which buffers are touched, and
// which expressions keep their value while a loop runs.

import { dimSyms } from '../ir/dim.js';
import type { Kernel, Stmt } from '../ir/kernel.js';
import { type Expr, visitExpr } from '../ir/scalar.js';
import { isFloat } from '../support/dtype.js';

export interface Uses {
  readonly vars: ReadonlySet<string>;
  /** Variables that more than one statement reads. */
  readonly repeated: ReadonlySet<string>;
  /** Slots loaded from, stored to, or both. */
  readonly slots: ReadonlySet<number>;
  readonly loaded: ReadonlySet<number>;
  /** Reads neither memory nor a mutable variable. */
  readonly isStable: (e: Expr) => boolean;
}

/** The expressions a statement evaluates itself, not those of its bodies. */
export function exprsOf(s: Stmt): readonly Expr[] {
  switch (s.s) {
    case 'for':
      return [s.lo, s.hi];
    case 'while':
    case 'if':
      return [s.cond];
    case 'let':
    case 'set':
      return [s.value];
    case 'store':
    case 'atomic':
      return [s.index, s.value];
    case 'break':
    case 'alloc':
    case 'barrier':
    case 'intrin':
      return [];
  }
}

export function bodiesOf(s: Stmt): readonly (readonly Stmt[])[] {
  switch (s.s) {
    case 'for':
    case 'while':
    case 'intrin':
      return [s.body];
    case 'if':
      return [s.then, s.else];
    default:
      return [];
  }
}

/** Every statement, in order, outer before inner. */
export function visitStmts(body: readonly Stmt[], f: (s: Stmt) => void): void {
  for (const s of body) {
    f(s);
    for (const inner of bodiesOf(s)) visitStmts(inner, f);
  }
}

/** Vectors of floats that a loop adds to, in no loop inside it. */
export const sumsOf = (loop: Stmt & { s: 'for' }): number =>
  loop.body.filter((s) => s.s === 'set' && s.value.lanes > 1 && isFloat(s.value.dtype)).length;

export function findUses(kernel: Kernel): Uses {
  const vars = new Set<string>();
  const repeated = new Set<string>();
  const slots = new Set<number>();
  const loaded = new Set<number>();
  const mutable = new Set<string>();
  const read = (name: string): void => void (vars.has(name) ? repeated : vars).add(name);
  const note = (e: Expr): void => {
    if (e.k === 'var') read(e.name);
    else if (e.k === 'dim') for (const name of dimSyms(e.dim).keys()) vars.add(name);
    else if (e.k === 'load') {
      slots.add(e.src);
      loaded.add(e.src);
    }
  };
  visitStmts(kernel.body, (s) => {
    const seen = new Set<Expr>();
    for (const e of exprsOf(s)) visitExpr(e, note, seen);
    if (s.s === 'let' && s.mutable) mutable.add(s.var);
    if (s.s === 'store' || s.s === 'atomic') slots.add(s.buf);
    if (s.s === 'atomic') loaded.add(s.buf);
  });
  const isStable = (e: Expr): boolean => {
    let stable = true;
    visitExpr(e, (x) => {
      if (x.k === 'load' || (x.k === 'var' && mutable.has(x.name))) stable = false;
    });
    return stable;
  };
  return { vars, repeated, slots, loaded, isStable };
}
