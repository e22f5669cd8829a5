// What a tile reads when its reduction is written out: windows of neighbouring rows overlap, so several rows read some
// elements once. Counted from indices alone, by putting in every step and row there is.

import { mentions } from '../../ir/affine.js';
import { linearize, type LinearTerm, termsKey } from '../../ir/linear.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, exprKey, i32, type LoadExpr, substituteVars, visitExpr } from '../../ir/scalar.js';
import { simplifyExpr } from '../kernel/simplify-index.js';
import type { TileSchedule } from './choose.js';
import { constOf, MAX_OVERLAPPING, MAX_UNROLLED } from './loops.js';
import type { For, Reduction } from './nest.js';

/** Whether the rows of a tile may read some elements both: the others' rows ignore what its columns walk. */
export const rowsOverlap = (t: Pick<TileSchedule, 'rows' | 'inner'>): boolean =>
  t.rows !== null && !t.inner.includes(t.rows);

/** Whether a tile's reduction is written out: entering loops of three would cost as much as they do. */
export function isUnrolled(t: TileSchedule, r: Reduction): boolean {
  const steps = r.loops.reduce((p, f) => p * (constOf(f.hi) ?? Infinity), 1);
  const most = rowsOverlap(t) ? MAX_OVERLAPPING : MAX_UNROLLED;
  return !t.isFallback && !r.blocks && t.rowCount * t.vectors * steps <= most;
}

/** Steps of overlapping rows in the order of what they read, so that what several rows read is read once and then forgotten.
 *  Each sum keeps its own order; where the two do not agree, the steps stay as they are. */
export function inReadingOrder(steps: readonly Stmt[], t: TileSchedule): readonly Stmt[] {
  const { rows } = t;
  if (!rows || !rowsOverlap(t)) return steps;
  const places = steps.map((s) => (s.s === 'set' ? placeOf(s.value, `${rows.var}_u`) : null));
  const [first] = places;
  if (!first || places.some((p) => p?.key !== first.key)) return steps;
  const at = (k: number): number => places[k]?.constant as number;
  const order = steps.map((_, k) => k).sort((a, b) => at(a) - at(b) || a - b);
  const sorted = order.map((k) => steps[k] as Stmt);
  return keepsSums(steps, sorted) ? sorted : steps;
}

/** Where the first load that a row moves is, as what all steps have in common and a distance. */
function placeOf(x: Expr, row: string): { readonly key: string; readonly constant: number } | null {
  let found: Expr | null = null;
  visitExpr(x, (y) => {
    if (y.k === 'load' && !found && mentions(y.index[0] as Expr, row)) found = y.index[0] as Expr;
  });
  if (!found) return null;
  const { constant, terms } = linearize(simplifyExpr(found), new Map(), new Map());
  return { key: termsKey(terms), constant };
}

function keepsSums(steps: readonly Stmt[], sorted: readonly Stmt[]): boolean {
  const ofSum = (list: readonly Stmt[], name: string): readonly Stmt[] =>
    list.filter((s) => s.s === 'set' && s.var === name);
  const names = new Set(steps.map((s) => (s.s === 'set' ? s.var : '')));
  return [...names].every((name) => {
    const after = ofSum(sorted, name);
    return ofSum(steps, name).every((s, k) => s === after[k]);
  });
}

type Position = ReadonlyMap<string, number>;

/** Every position of these loops, a value for each variable. */
export function positions(loops: readonly (readonly [name: string, size: number])[]): readonly Position[] {
  return loops.reduce<readonly Position[]>(
    (all, [name, size]) => all.flatMap((at) => Array.from({ length: size }, (_, k) => new Map([...at, [name, k]]))),
    [new Map()],
  );
}

/** Different elements that a load has over all steps of these loops, which are of constant size, and so many rows. */
export function distinctReads(x: LoadExpr, loops: readonly For[], rows: For | null, rowCount: number): number {
  const index = x.index[0] as Expr;
  const sizes = loops.map((f) => [f.var, constOf(f.hi) as number] as const);
  if (rows) sizes.push([rows.var, rowCount]);
  const walked = sizes.filter(([name]) => mentions(index, name));
  const { terms } = linearize(index, new Map(), new Map());
  const isLinear = terms.every((t) => t.factors.every((f) => f.k === 'var' || !walked.some(([v]) => mentions(f, v))));
  const key = isLinear ? (at: Position) => keyAt(terms, at) : (at: Position) => keyOf(index, at);
  return new Set(positions(walked).map(key)).size;
}

/** Where the terms are at a position, as far as they depend on it. */
function keyAt(terms: readonly LinearTerm[], at: Position): string {
  const sums = new Map<string, number>();
  for (const t of terms) {
    const others: string[] = [];
    let coef = t.coef;
    for (const f of t.factors) {
      const value = f.k === 'var' ? at.get(f.name) : undefined;
      if (value === undefined) others.push(exprKey(f));
      else coef *= value;
    }
    const key = others.join('*');
    if (others.length < t.factors.length) sums.set(key, (sums.get(key) ?? 0) + coef);
  }
  return [...sums].map(([key, n]) => `${n}*${key}`).join('+');
}

function keyOf(index: Expr, at: Position): string {
  const values = new Map([...at].map(([name, n]) => [name, i32(n)]));
  const { constant, terms } = linearize(simplifyExpr(substituteVars(index, values)), new Map(), new Map());
  return `${termsKey(terms)}|${constant}`;
}
