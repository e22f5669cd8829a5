// A tile whose window lies inside what it reads needs no test for each of its loads: one test for all of them chooses
// between the tile and what the border does. Conditions are those of the guards, at every step and row of the tile.

import { linearize, termsKey } from '../../ir/linear.js';
import { e } from '../../ir/expr.js';
import { type Expr, i32, rewriteExpr, substituteVars, visitExpr } from '../../ir/scalar.js';
import { constOf } from './loops.js';
import { type For, loadsOf, type Reduction } from './nest.js';
import { positions } from './window.js';

/** Guards of a term's loads; null where one depends on what is in memory. */
export function guardsOf(r: Reduction): readonly Expr[] | null {
  const guards = loadsOf(r.term).flatMap((x) => (x.guard ? [x.guard] : []));
  let reads = false;
  for (const g of guards)
    visitExpr(g, (x) => {
      if (x.k === 'load') reads = true;
    });
  return reads ? null : [...new Set(guards)];
}

/** Whether all guards hold for so many rows from `first` on, over the whole reduction, whose sizes are constant. */
export function allInside(
  guards: readonly Expr[],
  loops: readonly For[],
  rows: For,
  first: Expr,
  rowCount: number,
): Expr {
  const sizes = [...loops.map((f) => [f.var, constOf(f.hi) as number] as const), [rows.var, rowCount] as const];
  const strictest = new Map<string, { readonly room: number; readonly cond: Expr }>();
  const take = (cond: Expr): void => {
    if (cond.k === 'op' && cond.op === 'and') return cond.args.forEach(take);
    const { key, room } = roomOf(cond);
    const known = strictest.get(key);
    if (!known || room < known.room) strictest.set(key, { room, cond });
  };
  for (const at of positions(sizes)) {
    const values = new Map<string, Expr>([...at].map(([name, n]) => [name, i32(n)]));
    values.set(rows.var, e.add(first, at.get(rows.var) as number));
    for (const g of guards) take(substituteVars(g, values));
  }
  const [one, ...others] = [...strictest.values()].map((s) => s.cond);
  return others.reduce((all, c) => e.and(all, c), one as Expr);
}

/** Of comparisons with one key, that of the least room implies the others. */
function roomOf(cond: Expr): { readonly key: string; readonly room: number } {
  const [a, b] = cond.k === 'op' && (cond.op === 'le' || cond.op === 'lt') ? cond.args : [];
  if (!a || !b || cond.k !== 'op' || a.dtype !== 'i32') {
    const { terms, constant } = linearize(cond, new Map(), new Map());
    return { key: `${termsKey(terms)}|${constant}`, room: 0 };
  }
  const { terms, constant } = linearize(e.sub(b, a), new Map(), new Map());
  return { key: `${cond.op}|${termsKey(terms)}`, room: constant };
}

/** The term where every guard holds. */
export const withoutGuards = (term: Expr): Expr =>
  rewriteExpr(term, (x) => (x.k === 'load' && x.guard ? { ...x, guard: undefined, pad: undefined } : x));
