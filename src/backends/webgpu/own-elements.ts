// Register arrays that a group declares once for all its invocations: each uses a stretch of its own, lane · size + place.
// On a GPU every invocation has such an array to itself, so it holds one stretch and is indexed as lane 0 would.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, visitStmts } from '../../ir/kernel-walk.js';
import { e } from '../../ir/expr.js';
import { type Expr, i32, rewriteExpr } from '../../ir/scalar.js';
import { invocationsOf } from './pieces.js';

export function ownElements(kernel: Kernel): Kernel {
  const arrays = new Set<number>();
  for (const s of kernel.body) if (s.s === 'alloc' && s.space === 'register') arrays.add(s.buf);
  const lanes = new Set<string>();
  let size = 1;
  const values = new Map<string, Expr>();
  visitStmts(kernel.body, (s) => {
    if (s.s === 'for' && s.mode === 'local') {
      lanes.add(s.var);
      size = invocationsOf(s);
    }
    if (s.s === 'let' && !s.mutable) values.set(s.var, s.value);
  });
  if (arrays.size === 0 || lanes.size === 0) return kernel;
  const first = (index: Expr): Expr =>
    rewriteExpr(index, (x) => {
      if (x.k === 'op') return e.op(x.op, ...x.args);
      if (x.k !== 'var') return x;
      if (lanes.has(x.name)) return i32(0);
      const value = values.get(x.name);
      return value ? first(value) : x;
    });
  const loads = (x: Expr): Expr =>
    rewriteExpr(x, (y) => (y.k === 'load' && arrays.has(y.src) ? { ...y, index: y.index.map(first) } : y));
  const go = (body: readonly Stmt[]): readonly Stmt[] =>
    body.map((stmt) => {
      const s = mapStmt(stmt, loads, go);
      if (s.s === 'alloc' && arrays.has(s.buf)) return { ...s, size: s.size / size };
      return s.s === 'store' && arrays.has(s.buf) ? { ...s, index: first(s.index) } : s;
    });
  return { ...kernel, body: go(kernel.body) };
}
