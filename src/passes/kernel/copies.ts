// What naming leaves behind: `let x = y` of an immutable y becomes y everywhere, and an `if` inside an `if` of the same
// name is decided. Names are unique in a kernel, so both hold wherever the name is visible. Runs last.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, substituteVars } from '../../ir/scalar.js';

export function propagateCopies(kernel: Kernel): Kernel {
  const mutable = new Set<string>();
  visitStmts(kernel.body, (s) => {
    if (s.s === 'let' && s.mutable) mutable.add(s.var);
  });
  const copies = new Map<string, Expr>();
  const replace = (e: Expr): Expr => (copies.size === 0 ? e : substituteVars(e, copies));
  const go = (body: readonly Stmt[], known: ReadonlyMap<string, boolean>): readonly Stmt[] =>
    body.flatMap((s): readonly Stmt[] => {
      if (s.s === 'let' && !s.mutable && s.value.k === 'var' && !mutable.has(s.value.name)) {
        copies.set(s.var, replace(s.value));
        return [];
      }
      const own = mapStmt(s, replace, (b) => b);
      if (own.s !== 'if')
        return [
          mapStmt(
            own,
            (e) => e,
            (b) => go(b, known),
          ),
        ];
      const name = own.cond.k === 'var' && !mutable.has(own.cond.name) ? own.cond.name : null;
      const decided = name === null ? undefined : known.get(name);
      if (decided !== undefined) return go(decided ? own.then : own.else, known);
      const arm = (value: boolean) => (name === null ? known : new Map([...known, [name, value]]));
      return [{ ...own, then: go(own.then, arm(true)), else: go(own.else, arm(false)) }];
    });
  return { ...kernel, body: go(kernel.body, new Map()) };
}
