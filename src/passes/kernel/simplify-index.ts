// Index arithmetic in its simplest form, by what loop bounds and sizes guarantee: quotients and remainders of sums that are
// multiples plus a small rest, comparisons and minima that are decided, guards that always hold, canonical sums. Values of
// expressions never change. Works before and after legalization. Sums: index-polynomial.ts; proofs: index-proof.ts.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, substituteVars } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { createIndexSimplifier, type IndexSimplifier } from './simplify-expr.js';
import { bodiesOf, effectsOf, mapBodies } from './stmt-walk.js';

/** With `unloop`, loops of one iteration become their bodies. */
export function simplifyKernel(kernel: Kernel, { unloop = false } = {}): Kernel {
  const slots = new Map<number, DType>(kernel.params.map((p, slot) => [slot, p.dtype]));
  collectAllocs(kernel.body, slots);
  const mutable = effectsOf(kernel.body).assigned;
  const simplifier = createIndexSimplifier((slot) => slots.get(slot), mutable);
  for (const sym of kernel.syms) simplifier.declareRange(sym.name, sym, 0);
  const body = unloop ? dropSingleLoops(kernel.body) : kernel.body;
  return { ...kernel, body: simplifyBody(simplifier, body, 1) };
}

const isSingle = (s: Stmt & { s: 'for' }): boolean =>
  (s.mode === 'serial' || s.mode === 'parallel') &&
  s.lo.k === 'const' &&
  s.hi.k === 'const' &&
  s.lo.value < s.hi.value &&
  Number(s.hi.value) - Number(s.lo.value) <= s.step &&
  !breaksOut(s.body);

const breaksOut = (body: readonly Stmt[]): boolean =>
  body.some((s) => s.s === 'break' || (s.s !== 'for' && s.s !== 'while' && bodiesOf(s).some(breaksOut)));

const dropSingleLoops = (body: readonly Stmt[]): readonly Stmt[] =>
  body.flatMap((s): readonly Stmt[] => {
    const own = mapBodies(s, dropSingleLoops);
    if (own.s !== 'for' || !isSingle(own)) return [own];
    const start = new Map([[own.var, own.lo]]);
    return mapExprs(own.body, (x) => substituteVars(x, start));
  });

function collectAllocs(body: readonly Stmt[], slots: Map<number, DType>): void {
  for (const stmt of body) {
    if (stmt.s === 'alloc') slots.set(stmt.buf, stmt.dtype);
    for (const inner of bodiesOf(stmt)) collectAllocs(inner, slots);
  }
}

const simplifyBody = (s: IndexSimplifier, body: readonly Stmt[], depth: number): readonly Stmt[] =>
  body.flatMap((stmt) => simplifyStmt(s, stmt, depth));

const isFalse = (e: Expr): boolean => e.k === 'const' && e.dtype === 'i1' && !e.value;
const isTrue = (e: Expr): boolean => e.k === 'const' && e.dtype === 'i1' && Boolean(e.value);

function simplifyStmt(s: IndexSimplifier, stmt: Stmt, depth: number): readonly Stmt[] {
  switch (stmt.s) {
    case 'for': {
      const lo = s.index(stmt.lo);
      const hi = s.index(stmt.hi);
      if (lo.k === 'const' && hi.k === 'const' && Number(hi.value) <= Number(lo.value)) return [];
      s.declareLoop(stmt.var, lo, hi, stmt.step, depth);
      return [{ ...stmt, lo, hi, body: simplifyBody(s, stmt.body, depth + 1) }];
    }
    case 'while': {
      const cond = s.index(stmt.cond);
      return isFalse(cond) ? [] : [{ ...stmt, cond, body: simplifyBody(s, stmt.body, depth + 1) }];
    }
    case 'if': {
      const cond = s.index(stmt.cond);
      const chosen = isTrue(cond) ? stmt.then : isFalse(cond) ? stmt.else : null;
      // The arm keeps its scope: its names are unique in the kernel, so it may be spliced.
      if (chosen) return simplifyBody(s, chosen, depth);
      return [{ ...(mapBodies(stmt, (b) => simplifyBody(s, b, depth)) as Stmt & { s: 'if' }), cond }];
    }
    case 'let': {
      const value = s.value(stmt.value);
      if (!stmt.mutable) s.declareLet(stmt.var, value, depth - 1);
      return [{ ...stmt, value }];
    }
    case 'set':
      return [{ ...stmt, value: s.value(stmt.value) }];
    case 'store':
    case 'atomic':
      return [{ ...stmt, index: s.index(stmt.index), value: s.value(stmt.value) }];
    case 'intrin':
      return [{ ...stmt, args: stmt.args.map(s.value), body: simplifyBody(s, stmt.body, depth) }];
    default:
      return [stmt];
  }
}

/** For tests and single expressions: `e` under loops given as variable → [lo, hi). */
export function simplifyExpr(e: Expr, loops: Readonly<Record<string, readonly [Expr, Expr]>> = {}): Expr {
  const s = createIndexSimplifier(() => undefined, new Set());
  for (const [n, [name, [lo, hi]]] of Object.entries(loops).entries()) s.declareLoop(name, lo, hi, 1, n + 1);
  return s.index(e);
}
