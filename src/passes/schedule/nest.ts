// Recognises the plain loop nests that lowering makes: parallel loops around a store, or around one reduction and
// a store. Schedules are functions from this description to statements; anything else keeps its plain form.

import type { Stmt } from '../../ir/kernel.js';
import { visitKernelExprs } from '../../ir/kernel-walk.js';
import type { Expr, LoadExpr } from '../../ir/scalar.js';

export type For = Extract<Stmt, { s: 'for' }>;
export type Store = Extract<Stmt, { s: 'store' }>;

export interface Nest {
  /** Parallel loops, outermost first; each from 0 by 1. */
  readonly loops: readonly For[];
  readonly reduction: Reduction | null;
  readonly store: Store;
}

export interface Reduction {
  readonly acc: string;
  readonly init: Expr;
  /** Reduction loops, outermost first. */
  readonly loops: readonly For[];
  /** acc = op(acc, term). */
  readonly op: 'add' | 'mul' | 'max' | 'min';
  readonly term: Expr;
}

const isPlain = (s: Stmt | undefined): s is For =>
  s?.s === 'for' && s.step === 1 && s.lo.k === 'const' && Number(s.lo.value) === 0;

export function matchNest(s: Stmt): Nest | null {
  const loops: For[] = [];
  let body: readonly Stmt[] = [s];
  for (let at = body[0]; body.length === 1 && isPlain(at) && at.mode === 'parallel'; at = body[0]) {
    loops.push(at);
    body = at.body;
  }
  if (loops.length === 0) return null;
  const last = body[body.length - 1];
  if (last?.s !== 'store') return null;
  if (body.length === 1) return { loops, reduction: null, store: last };
  const reduction = body.length === 3 ? matchReduction(body[0] as Stmt, body[1] as Stmt) : null;
  return reduction && { loops, reduction, store: last };
}

/** `start` declares an accumulator that the loops of `nest` alone fill. */
export function matchReduction(start: Stmt, nest: Stmt): Reduction | null {
  if (start.s !== 'let' || !start.mutable) return null;
  const loops: For[] = [];
  let body: readonly Stmt[] = [nest];
  for (let at = body[0]; body.length === 1 && isPlain(at); at = body[0]) {
    loops.push(at);
    body = at.body;
  }
  const [set] = body;
  if (loops.length === 0 || body.length !== 1 || set?.s !== 'set' || set.var !== start.var) return null;
  const v = set.value;
  if (v.k !== 'op' || (v.op !== 'add' && v.op !== 'mul' && v.op !== 'max' && v.op !== 'min')) return null;
  const [a, term] = v.args;
  if (a?.k !== 'var' || a.name !== start.var || !term) return null;
  return { acc: start.var, init: start.value, loops, op: v.op, term };
}

/** Loads in an expression, shared nodes once. */
export function loadsOf(...exprs: readonly Expr[]): LoadExpr[] {
  const out: LoadExpr[] = [];
  visitKernelExprs(
    exprs.map((value): Stmt => ({ s: 'let', var: '', value, mutable: false })),
    (x) => {
      if (x.k === 'load') out.push(x);
    },
  );
  return out;
}
