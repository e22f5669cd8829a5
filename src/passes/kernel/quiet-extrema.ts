// A row's maximum need not note NaN where one among the elements shows anyway. A softmax sums exponentials, each NaN where its
// element is, and divides all that it stores by the sum: then everything is NaN, whatever the maximum was. Known of any
// maximum or minimum all uses of which end so; `schedule/lane-loop.ts` takes it from here.

import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { accessesOf, slotsOf, stmtBodies, stmtExprs } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, type LoadExpr, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';
import { type For, matchNest, matchReduction, type Nest, type Reduction, type Store } from '../schedule/nest.js';
import { disturbs, isElement, isSameRange, type Maximum } from './row-bounds.js';
import { effectsOf } from './stmt-walk.js';

/** Names of the accumulators of such maxima and minima. */
export function quietExtrema(kernel: Kernel): ReadonlySet<string> {
  const quiet = new Set<string>();
  const loud = new Set<string>();
  const look = (body: readonly Stmt[]): void =>
    body.forEach((s, k) => {
      const start = body[k - 1];
      const r = start ? matchReduction(start, s) : null;
      if (r) (showsAnyway(r, body, k + 1, kernel) ? quiet : loud).add(r.acc);
      stmtBodies(s).forEach(look);
    });
  look(kernel.body);
  return new Set([...quiet].filter((name) => !loud.has(name)));
}

/** What is known of a row that holds a NaN. */
interface Row {
  /** What the extremum is of. */
  readonly elements: Maximum;
  /** Whether they are still where it was taken from. */
  intact: boolean;
  /** Names whose values depend on whether the extremum is NaN. */
  readonly unsure: Set<string>;
  /** Names whose values are NaN either way. */
  readonly nan: Set<string>;
  /** Scratch memory that depends on it; with the store that makes each element NaN whose element of the row is. */
  readonly scratch: Map<number, Written | null>;
  readonly params: readonly BufferParam[];
}

interface Written {
  readonly loop: For;
  readonly store: Store;
}

function showsAnyway(r: Reduction, body: readonly Stmt[], from: number, kernel: Kernel): boolean {
  const [loop] = r.loops;
  if ((r.op !== 'max' && r.op !== 'min') || r.init.dtype !== 'f32' || r.loops.length !== 1 || !loop) return false;
  const after = body.slice(from);
  for (let left: readonly number[] = []; ; ) {
    const row: Row = {
      elements: { most: r.acc, loop, term: r.term },
      intact: true,
      unsure: new Set([r.acc]),
      nan: new Set(),
      scratch: new Map(left.map((slot) => [slot, null])), // by the row before
      params: kernel.params,
    };
    if (!after.every((s, k) => isHarmless(s, after[k - 1], row))) return false;
    const slots = [...row.scratch.keys()];
    if (slots.length === left.length)
      return slots.every((slot) => accessesOf(kernel.body, slot) === accessesOf(after, slot));
    left = slots;
  }
}

/** Notes what a statement does; false where something may be seen that depends on the extremum. */
function isHarmless(s: Stmt, before: Stmt | undefined, row: Row): boolean {
  const reduction = before ? matchReduction(before, s) : null;
  const nest = matchNest(s);
  const loops = reduction?.loops ?? [...(nest?.loops ?? []), ...(nest?.reduction?.loops ?? [])];
  let fine = !loops.some((f) => isUnsure(f.hi, row));
  if (reduction) noteReduction(reduction, row);
  else if (nest) fine &&= noteStore(nest, row);
  else if (s.s === 'let') noteName(s.var, s.value, s.mutable, row);
  else fine = !touches(s, row);
  if (disturbs(s, row.elements, row.params)) row.intact = false;
  return fine;
}

function noteReduction(r: Reduction, row: Row): void {
  const [loop] = r.loops;
  const isSum = (r.op === 'add' || r.op === 'mul') && r.loops.length === 1;
  const isAll = isSum && loop && isSameRange(loop, row.elements.loop) && isNan(r.term, row, loop);
  (isAll ? row.unsure : row.nan).delete(r.acc);
  if (isAll) row.nan.add(r.acc);
  else if (isUnsure(r.term, row)) row.unsure.add(r.acc);
}

function noteName(name: string, value: Expr, mutable: boolean, row: Row): void {
  if (!mutable && isNan(value, row)) row.nan.add(name);
  else if (isUnsure(value, row)) row.unsure.add(name);
}

function noteStore({ store, loops, reduction: r }: Nest, row: Row): boolean {
  if (r) {
    row.nan.delete(r.acc);
    if (isUnsure(r.term, row) || isUnsure(r.init, row)) row.unsure.add(r.acc);
  }
  if (isUnsure(store.index, row)) return false;
  const unsure = isUnsure(store.value, row);
  if (row.params[store.buf]?.access !== 'scratch') return !unsure || isNan(store.value, row);
  const [loop] = loops;
  const isRow = !r && loops.length === 1 && loop && isSameRange(loop, row.elements.loop);
  if (unsure) row.scratch.set(store.buf, isRow && isNan(store.value, row, loop) ? { loop, store } : null);
  else if (row.scratch.has(store.buf)) row.scratch.set(store.buf, null);
  return true;
}

/** Whether a statement of another kind has to do with what depends on the extremum. */
function touches(s: Stmt, row: Row): boolean {
  const { assigned } = effectsOf([s]);
  const reads = (x: Stmt): boolean =>
    stmtExprs(x).some((y) => isUnsure(y, row)) || stmtBodies(x).some((b) => b.some(reads));
  return reads(s) || [...slotsOf([s])].some((n) => row.scratch.has(n)) || [...assigned].some((n) => row.unsure.has(n));
}

function isUnsure(x: Expr, { unsure, scratch }: Row): boolean {
  let found = false;
  visitExpr(x, (y) => {
    found ||= (y.k === 'var' && unsure.has(y.name)) || (y.k === 'load' && scratch.has(y.src));
  });
  return found;
}

/** Operations that are NaN where an operand is. */
const STRICT: ReadonlySet<string> = new Set(['add', 'sub', 'mul', 'div', 'neg', 'abs', 'sqrt', 'max', 'min']);

const COMPARISONS: ReadonlySet<string> = new Set(['lt', 'le', 'eq']);

/** Whether a value is NaN in a row that holds one; with `loop`, in the iteration that comes to it. */
function isNan(whole: Expr, row: Row, loop: For | null = null): boolean {
  const { elements, intact, nan, scratch } = row;
  const known = new Map<Expr, boolean>();
  const decide = (x: Expr): boolean => {
    if (loop && intact && x.k === elements.term.k && isElement(x, elements, loop)) return true;
    if (x.k === 'var') return nan.has(x.name);
    if (x.k === 'load') return loop !== null && isWritten(x, scratch.get(x.src) ?? null, loop);
    if (x.k === 'const') return isFloat(x.dtype) && Number.isNaN(Number(x.value));
    if (x.k === 'select') return of(x.b) && (of(x.a) || isComparison(x.cond));
    return x.k === 'op' && isFloat(x.dtype) && STRICT.has(x.op) && x.args.some(of);
  };
  /** With NaN it does not hold. */
  const isComparison = (x: Expr): boolean => x.k === 'op' && COMPARISONS.has(x.op) && x.args.some(of);
  const of = (x: Expr): boolean => {
    const before = known.get(x);
    if (before !== undefined) return before;
    const found = decide(x);
    known.set(x, found);
    return found;
  };
  return of(whole);
}

function isWritten(x: LoadExpr, written: Written | null, loop: For): boolean {
  if (!written || x.guard || x.dtype !== written.store.value.dtype) return false;
  const here = substituteVars(written.store.index, new Map([[written.loop.var, variable(loop.var, 'i32')]]));
  return exprKey(x.index[0] as Expr) === exprKey(here);
}
