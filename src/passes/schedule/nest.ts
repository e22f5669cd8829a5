// Recognises the plain loop nests that lowering makes: parallel loops around a store, or around one reduction and
// a store. Schedules are functions from this description to statements; anything else keeps its plain form.

import type { Stmt } from '../../ir/kernel.js';
import { mapStmt, visitKernelExprs } from '../../ir/kernel-walk.js';
import { type Expr, type LoadExpr, rewriteExpr } from '../../ir/scalar.js';

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
  /** Null: one term after the other. */
  readonly blocks: Blocks | null;
}

/** A long sum is one of blocks: so many steps of the loop over `var`, with all of those inside it, make one. */
export interface Blocks {
  readonly var: string;
  readonly steps: number;
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
  const outer = plainLoops([nest]);
  const found = outer.body.length === 1 ? matchBlocks(outer.body[0] as Stmt) : null;
  const cut = found?.total === start.var ? found : null;
  const inner = cut ? plainLoops(cut.body) : outer;
  const loops = cut ? [...outer.loops, cut.loop, ...inner.loops] : outer.loops;
  const [set] = inner.body;
  const acc = cut?.part ?? start.var;
  if (loops.length === 0 || inner.body.length !== 1 || set?.s !== 'set' || set.var !== acc) return null;
  const v = set.value;
  if (v.k !== 'op' || (v.op !== 'add' && v.op !== 'mul' && v.op !== 'max' && v.op !== 'min')) return null;
  const [a, term] = v.args;
  if (a?.k !== 'var' || a.name !== acc || !term || (cut && v.op !== 'add')) return null;
  return { acc: start.var, init: start.value, loops, op: v.op, term, blocks: cut?.blocks ?? null };
}

function plainLoops(stmts: readonly Stmt[]): { loops: readonly For[]; body: readonly Stmt[] } {
  const loops: For[] = [];
  let body = stmts;
  for (let at = body[0]; body.length === 1 && isPlain(at) && !matchBlocks(at); at = body[0]) {
    loops.push(at);
    body = at.body;
  }
  return { loops, body };
}

interface Cut {
  /** As if it had not been cut. */
  readonly loop: For;
  readonly blocks: Blocks;
  readonly total: string;
  readonly part: string;
  readonly body: readonly Stmt[];
}

/** What `accumulate` makes of a loop that is cut into blocks. */
function matchBlocks(outer: Stmt): Cut | null {
  if (outer.s !== 'for' || outer.body.length !== 3) return null;
  const [start, inner, add] = outer.body;
  if (start?.s !== 'let' || inner?.s !== 'for' || add?.s !== 'set') return null;
  if (inner.step !== 1 || inner.lo.k !== 'var' || inner.lo.name !== outer.var) return null;
  const { value, var: total } = add;
  const isSum =
    value.k === 'op' && value.op === 'add' && isVar(value.args[0], total) && isVar(value.args[1], start.var);
  if (!isSum) return null;
  const loop: For = { ...inner, lo: outer.lo, hi: outer.hi };
  return { loop, blocks: { var: inner.var, steps: outer.step }, total, part: start.var, body: inner.body };
}

/** Sums of blocks as sums of their terms: for a schedule that cuts sums as it needs. */
export function joinBlocks(body: readonly Stmt[]): readonly Stmt[] {
  return body.map((s): Stmt => {
    const cut = matchBlocks(s);
    if (!cut) return mapStmt(s, (x) => x, joinBlocks);
    const { loop, part, total } = cut;
    const rename = (x: Expr): Expr => rewriteExpr(x, (y) => (isVar(y, part) ? { ...y, name: total } : y));
    const intoTotal = (stmts: readonly Stmt[]): readonly Stmt[] =>
      stmts.map((t) => {
        const made = mapStmt(t, rename, intoTotal);
        return made.s === 'set' && made.var === part ? { ...made, var: total } : made;
      });
    return { ...loop, body: intoTotal(cut.body) };
  });
}

const isVar = (x: Expr | undefined, name: string): x is Expr & { k: 'var' } => x?.k === 'var' && x.name === name;

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
