// Turns any kernel into the form backends accept: only i32 u32 i64 u64 f32 f64 i1 are computed with, buffers hold
// i8…u64, f32, f64, macros are expanded, divisions are total and sizes are arithmetic over i32 symbols.
// Types: legalize-expr.ts; narrow floats: legalize-float.ts; narrow integers and division: legalize-int.ts.

import type { Sym } from '../../ir/dim.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { dimSyms } from '../../ir/dim.js';
import type { Expr } from '../../ir/scalar.js';
import { visitExpr } from '../../ir/scalar.js';
import { DTYPE_INFO, type DType } from '../../support/dtype.js';
import { invariant, never } from '../../support/errors.js';
import { isNarrowFloat } from '../../support/float.js';
import { carrierOf, createExprLegalizer, type ExprLegalizer, storageOf } from './legalize-expr.js';
import { isNarrowInt, rangeOfType } from './legalize-int.js';
import { bodiesOf } from './stmt-walk.js';
import { FULL, type Range } from './value-range.js';

/** The kernel in legal form. `syms` become those the body reads, in order of first appearance. */
export function legalizeKernel(kernel: Kernel): Kernel {
  const slots = new Map<number, DType>(kernel.params.map((p, slot) => [slot, p.dtype]));
  collectAllocs(kernel.body, slots);
  const legalizer = createExprLegalizer((slot) => slots.get(slot));
  for (const sym of kernel.syms) legalizer.declare(sym.name, sym);
  const syms = new Map<string, Sym>();
  const given = new Map(kernel.syms.map((s) => [s.name, s]));
  const expr = (e: Expr): Expr => {
    collectSyms(e, given, syms);
    for (const sym of syms.values()) legalizer.declare(sym.name, sym);
    return legalizer.expr(e);
  };
  const body = legalizeBody({ ...legalizer, expr, slots }, kernel.body);
  const params = kernel.params.map((p) => ({ ...p, dtype: storageOf(p.dtype) }));
  return { name: kernel.name, params, syms: [...syms.values()], body };
}

interface Walk extends ExprLegalizer {
  readonly slots: ReadonlyMap<number, DType>;
}

function collectAllocs(body: readonly Stmt[], slots: Map<number, DType>): void {
  for (const stmt of body) {
    if (stmt.s === 'alloc') slots.set(stmt.buf, isNarrowFloat(stmt.dtype) ? 'f32' : stmt.dtype);
    for (const inner of bodiesOf(stmt)) collectAllocs(inner, slots);
  }
}

function collectSyms(e: Expr, given: ReadonlyMap<string, Sym>, into: Map<string, Sym>): void {
  visitExpr(e, (x) => {
    if (x.k === 'dim') dimSyms(x.dim, into);
    if (x.k === 'var') {
      const sym = given.get(x.name);
      if (sym) into.set(sym.name, sym);
    }
  });
}

const legalizeBody = (w: Walk, body: readonly Stmt[]): readonly Stmt[] => body.map((stmt) => legalizeStmt(w, stmt));

function legalizeStmt(w: Walk, stmt: Stmt): Stmt {
  switch (stmt.s) {
    case 'for': {
      const lo = w.expr(stmt.lo);
      const hi = w.expr(stmt.hi);
      w.declare(stmt.var, loopRange(w, lo, hi));
      return { ...stmt, lo, hi, body: legalizeBody(w, stmt.body) };
    }
    case 'while':
      return { ...stmt, cond: w.expr(stmt.cond), body: legalizeBody(w, stmt.body) };
    case 'if':
      return {
        ...stmt,
        cond: w.expr(stmt.cond),
        then: legalizeBody(w, stmt.then),
        else: legalizeBody(w, stmt.else),
      };
    case 'let': {
      const value = w.expr(stmt.value);
      if (!stmt.mutable) w.declare(stmt.var, w.rangeOf(value));
      else if (isNarrowInt(stmt.value.dtype)) w.declare(stmt.var, rangeOfType(stmt.value.dtype));
      return { ...stmt, value };
    }
    case 'set':
      return { ...stmt, value: w.expr(stmt.value) };
    case 'store':
      return { ...stmt, index: w.expr(stmt.index), value: w.stored(w.expr(stmt.value), slotType(w, stmt.buf)) };
    case 'atomic':
      invariant(!isNarrowFloat(slotType(w, stmt.buf)), 'atomic on a narrow float');
      return { ...stmt, index: w.expr(stmt.index), value: w.stored(w.expr(stmt.value), slotType(w, stmt.buf)) };
    case 'alloc':
      return { ...stmt, dtype: storageOf(isNarrowFloat(stmt.dtype) ? carrierOf(stmt.dtype) : stmt.dtype) };
    case 'intrin':
      return { ...stmt, args: stmt.args.map(w.expr), body: legalizeBody(w, stmt.body) };
    case 'break':
    case 'barrier':
      return stmt;
    default:
      return never(stmt, 'statement');
  }
}

const loopRange = (w: Walk, lo: Expr, hi: Expr): Range => {
  const range = { lo: w.rangeOf(lo).lo, hi: w.rangeOf(hi).hi - 1 };
  return range.lo <= range.hi ? range : FULL;
};

function slotType(w: Walk, slot: number): DType {
  const type = w.slots.get(slot);
  invariant(type && DTYPE_INFO[type].bytes > 0, `kernel writes buffer slot ${slot}, which holds nothing`);
  return type;
}
