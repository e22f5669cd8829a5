// Reductions in lanes: partial results along the innermost reduction loop, combined in a fixed order. Floating sums are
// reordered this way only in fast numerics. Several rows of a parallel loop share the loads they have in common.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, substituteVars, variable, vec } from '../../ir/scalar.js';
import { invariant } from '../../support/errors.js';
import { fittingWidth, scheduleLaneLoop } from './lane-loop.js';
import { constOf, lanesAt, type ScheduleOptions, tileLoop, tileSize, wrap } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** A reduction by itself, its accumulator declared just before: lanes first, then added to the accumulator. */
export function reduceInLanes(r: Reduction, o: ScheduleOptions): readonly Stmt[] | null {
  const fitting = fittingWidth(r.loops[r.loops.length - 1] as For, o);
  const loop = innermostInLanes(r, fitting);
  return loop && scheduleLaneLoop({ outer: r.loops.slice(0, -1), loop, stores: [], sums: [r] }, fitting);
}

/** The innermost reduction loop, if lanes may run along it. */
export function innermostInLanes(r: Reduction, o: ScheduleOptions): For | null {
  const last = r.loops[r.loops.length - 1] as For;
  const size = constOf(last.hi);
  const reorders = r.term.dtype === 'f32' && (r.op === 'add' || r.op === 'mul');
  if ((o.numerics === 'strict' && reorders) || (size !== null && size < o.target.lanes)) return null;
  const walks = loadsOf(r.term).filter((x) => mentions(x.index[0] as Expr, last.var));
  if (walks.length === 0 || !walks.every((x) => isOne(coefficient(x.index[0] as Expr, last.var)))) return null;
  const probe = vectorizeExpr(r.term, lanesAt(last.var, variable(last.var, 'i32'), o));
  if (!probe || probe.lanes === 1 || !o.target.supports(r.op, r.init.dtype, o.target.lanes)) return null;
  return last;
}

/** Lanes along the innermost reduction loop, for several rows of a parallel loop at a time where a load is shared. */
export function tileAlongReduction(nest: Nest, r: Reduction, last: For, o: ScheduleOptions): readonly Stmt[] {
  const u = reuseRows(nest, r);
  const rows = u ? tileSize(u, o.target.tile.rows, 1) : 1;
  if (!u || rows === 1) return wrap(nest.loops, singleRow(nest, r, o));
  const start = `${u.var}_u`;
  const atRow = (x: Expr, row: number): Expr =>
    substituteVars(x, new Map([[u.var, e.add(variable(start, 'i32'), row)]]));
  const body = alongReductionBody(nest, r, last, o, rows, atRow);
  const outer = nest.loops.filter((f) => f !== u);
  const tiled = wrap(outer, [tileLoop(u, rows, start, body)]);
  if (constOf(u.hi) !== null) return tiled;
  const single = wrap(nest.loops, singleRow(nest, r, o));
  return [{ s: 'if', cond: e.lt(u.hi, rows), then: single, else: tiled }];
}

function singleRow(nest: Nest, r: Reduction, o: ScheduleOptions): readonly Stmt[] {
  const sum = reduceInLanes(r, o);
  invariant(sum, 'lanes were chosen because the reduction has them');
  return [{ s: 'let', var: r.acc, value: r.init, mutable: true }, ...sum, nest.store];
}

/** The innermost parallel loop along which some load of the reduction is reused. */
function reuseRows(nest: Nest, r: Reduction): For | null {
  const loads = loadsOf(r.term);
  const good = nest.loops.filter(
    (f) => loads.length > 1 && (constOf(f.hi) ?? 2) > 1 && loads.some((x) => !mentions(x.index[0] as Expr, f.var)),
  );
  return good[good.length - 1] ?? null;
}

function alongReductionBody(
  nest: Nest,
  r: Reduction,
  last: For,
  o: ScheduleOptions,
  rows: number,
  atRow: (x: Expr, row: number) => Expr,
): readonly Stmt[] {
  const { stmts, totals } = laneSums(r, last, o, rows, atRow);
  const finish = totals.map((total, k): Stmt => {
    const value = substituteVars(atRow(nest.store.value, k), new Map([[r.acc, total]]));
    return { ...nest.store, index: atRow(nest.store.index, k), value };
  });
  return [...stmts, ...finish];
}

/** Partial results in lanes, combined in a fixed order, the remainder one by one; one total a row. */
function laneSums(
  r: Reduction,
  last: For,
  o: ScheduleOptions,
  rows: number,
  atRow: (x: Expr, row: number) => Expr,
): { stmts: readonly Stmt[]; totals: readonly Expr[] } {
  const { lanes } = o.target;
  const size = constOf(last.hi);
  const dtype = r.init.dtype;
  const exact = size !== null && size % lanes === 0;
  const whole = size === null ? e.sub(last.hi, e.rem(last.hi, lanes)) : i32(size - (size % lanes));
  const row = Array.from({ length: rows }, (_, k) => ({ k, vector: `${r.acc}_v${k}`, scalar: `${r.acc}_s${k}` }));
  const start = row.flatMap((c): Stmt[] => [
    { s: 'let', var: c.vector, value: splat(r.init, lanes), mutable: true },
    ...(exact ? [] : [{ s: 'let', var: c.scalar, value: r.init, mutable: true } as const]),
  ]);
  const wide = row.map((c): Stmt => {
    const term = vectorizeExpr(atRow(r.term, c.k), lanesAt(last.var, variable(last.var, 'i32'), o)) as Expr;
    return { s: 'set', var: c.vector, value: e.op(r.op, variable(c.vector, dtype, lanes), splat(term, lanes)) };
  });
  const narrow = row.map(
    (c): Stmt => ({ s: 'set', var: c.scalar, value: e.op(r.op, variable(c.scalar, dtype), atRow(r.term, c.k)) }),
  );
  const inner: Stmt[] = [{ ...last, hi: whole, step: lanes, body: wide }];
  if (!exact) inner.push({ ...last, lo: whole, body: narrow });
  const totals = row.map((c): Expr => {
    let parts: Expr[] = Array.from({ length: lanes }, (_, k) =>
      vec('extract', [variable(c.vector, dtype, lanes)], dtype, 1, k),
    );
    while (parts.length > 1)
      parts = parts.flatMap((p, k) => (k % 2 === 0 ? [e.op(r.op, p, parts[k + 1] as Expr)] : []));
    return exact ? (parts[0] as Expr) : e.op(r.op, parts[0] as Expr, variable(c.scalar, dtype));
  });
  return { stmts: [...start, ...wrap(r.loops.slice(0, -1), inner)], totals };
}
