// The register tile: rows × vectors of accumulators over two parallel loops, the whole reduction inside. With a panel the
// columns' loop goes outermost, so that one panel serves every row; without, operands are read in place. Both loops are at
// least as long as the tile: kernel.ts sees to it where sizes are open.

import { coefficient, isOne } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, i32, substituteVars, variable, vec } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';
import { accumulate, NO_BLOCKS, putAside } from './accumulate.js';
import type { TileSchedule } from './choose.js';
import { allInside, guardsOf, withoutGuards } from './interior.js';
import { atWidth, constOf, lanesAt, type ScheduleOptions, tileLoop, wrap } from './loops.js';
import type { For, Nest, Reduction, Store } from './nest.js';
import { packTerm, type Panels } from './pack.js';
import { pairedFactors, pairSteps } from './pairs.js';
import { laneExpr, splat, vectorizeExpr } from './vectorize.js';
import { inReadingOrder, isUnrolled, rowsOverlap } from './window.js';

export function tileParallel(
  nest: Nest,
  r: Reduction,
  s: TileSchedule,
  options: ScheduleOptions,
  panels: Panels,
): readonly Stmt[] {
  const { columns, rows, rowCount, vectors, lanes } = s;
  const o = atWidth(options, lanes);
  const first = `${columns.var}_v`;
  const pack = s.packed.length > 0 ? packTerm(r, s, variable(first, 'i32'), o, panels) : null;
  // Beside the accumulators: a vector of each column, and a row's value as it is and multiplied.
  const values = { count: rowCount * vectors, lanes, others: vectors + 2 };
  const aside = isUnrolled(s, r) ? null : putAside(r, values, o.target, panels);
  const body = bodyAtBorders(nest, r, s, o) ?? tileBody(nest, r, s, o, pack, aside?.slot);
  const rowTile = (inner: readonly Stmt[]): readonly Stmt[] =>
    rows ? [tileLoop(rows, rowCount, `${rows.var}_u`, inner)] : inner;
  const columnTile = (inner: readonly Stmt[]): Stmt => tileLoop(columns, vectors * lanes, first, inner);
  const inner = s.inner.filter((f) => f !== rows);
  const others = nest.loops.filter((f) => f !== columns && f !== rows);
  const tiled = pack
    ? wrap(
        others.filter((f) => !inner.includes(f)),
        [columnTile([...pack.fill, ...wrap(inner, rowTile(body))])],
      )
    : wrap(others, rowTile([columnTile(body)]));
  return [...(aside?.declare ?? []), ...tiled];
}

/** A tile whose rows share what they read, where that may lie beyond a border: at one, rows go one by one. */
function bodyAtBorders(nest: Nest, r: Reduction, s: TileSchedule, o: ScheduleOptions): readonly Stmt[] | null {
  const guards = guardsOf(r);
  const { rows, rowCount } = s;
  if (!rows || !rowsOverlap(s) || !guards || guards.length === 0) return null;
  const first = variable(`${rows.var}_u`, 'i32');
  const inside = tileBody(nest, { ...r, term: withoutGuards(r.term) }, s, o, null);
  const single = tileBody(nest, r, { ...s, rows: null, rowCount: 1 }, o, null);
  const each: Stmt = { ...rows, lo: first, hi: e.add(first, rowCount), body: single };
  return [{ s: 'if', cond: allInside(guards, r.loops, rows, first, rowCount), then: inside, else: [each] }];
}

/** Accumulators, the reduction loops, and the stores of one tile. */
function tileBody(
  nest: Nest,
  r: Reduction,
  s: TileSchedule,
  o: ScheduleOptions,
  pack: ReturnType<typeof packTerm> | null,
  aside: number | null = null,
): readonly Stmt[] {
  const { lanes } = o.target;
  const { columns, rows } = s;
  const dtype = r.init.dtype;
  const start = variable(`${columns.var}_v`, 'i32');
  const cells = Array.from({ length: s.rowCount * s.vectors }, (_, n) => {
    const [row, k] = [Math.floor(n / s.vectors), n % s.vectors];
    return { row, k, acc: `${r.acc}_${row}_${k}`, base: e.add(start, k * lanes) };
  });
  const atRow = (x: Expr, row: number): Expr =>
    rows && s.rowCount >= 1
      ? substituteVars(x, new Map([[rows.var, e.add(variable(`${rows.var}_u`, 'i32'), row)]]))
      : x;
  const left = pack?.reduction ?? r;
  const steps = (inside: (name: string) => string): readonly Stmt[] =>
    cells.map((c): Stmt => {
      const vars = new Map(pack ? [[pack.variable, pack.vector(c.k)]] : []);
      const term = vectorizeExpr(atRow(left.term, c.row), lanesAt(columns.var, c.base, o, vars)) as Expr;
      const acc = inside(c.acc);
      return { s: 'set', var: acc, value: e.op(r.op, variable(acc, dtype, lanes), splat(term, lanes)) };
    });
  const finish = cells.flatMap((c) =>
    storeVector(nest.store, r.acc, variable(c.acc, dtype, lanes), columns.var, c.base, (x) => atRow(x, c.row), o),
  );
  const accumulators = cells.map((c) => ({ name: c.acc, init: splat(r.init, lanes) }));
  const paired = pack ? null : pairedFactors(s, r, o);
  const writtenOut = (): readonly Stmt[] =>
    paired ? pairSteps(paired, s, r, cells, start, atRow) : inReadingOrder(unroll(left.loops, steps(NO_BLOCKS)), s);
  const sums = isUnrolled(s, left) ? writtenOut() : accumulate(left, accumulators, steps, aside);
  const declare = accumulators.map((a): Let => ({ s: 'let', var: a.name, value: a.init, mutable: true }));
  if (isUnrolled(s, left) && startsAtNothing(r, o)) return [...startWithTerms(declare, sums), ...finish];
  return [...declare, ...sums, ...finish];
}

/** Whether the first term may stand for the sum of it and what the sum starts from: but for the sign of a zero. */
const startsAtNothing = (r: Reduction, o: ScheduleOptions): boolean =>
  r.op === 'add' && constOf(r.init) === 0 && (o.numerics === 'fast' || !isFloat(r.init.dtype));

/** Sums written out begin with their first terms. */
function startWithTerms(declare: readonly Let[], steps: readonly Stmt[]): readonly Stmt[] {
  const waiting = new Map(declare.map((s) => [s.var, s]));
  return steps.flatMap((s): readonly Stmt[] => {
    const start = s.s === 'set' ? waiting.get(s.var) : undefined;
    if (s.s !== 'set' || !start) return [s];
    waiting.delete(s.var);
    const [acc, term] = s.value.k === 'op' && s.value.op === 'add' ? s.value.args : [];
    return acc?.k === 'var' && acc.name === s.var && term ? [{ ...start, value: term }] : [start, s];
  });
}

type Let = Extract<Stmt, { s: 'let' }>;

/** Steps written out for every position of loops of known sizes. */
export function unroll(loops: readonly For[], steps: readonly Stmt[]): readonly Stmt[] {
  const [outer, ...inner] = loops;
  if (!outer) return steps;
  return Array.from({ length: constOf(outer.hi) as number }, (_, n) =>
    mapExprs(unroll(inner, steps), (x) => substituteVars(x, new Map([[outer.var, i32(n)]]))),
  ).flat();
}

/** The epilogue and store of one accumulator: in one vector where the target can, else lane by lane. */
export function storeVector(
  store: Store,
  accName: string,
  acc: Expr,
  name: string,
  base: Expr,
  row: (x: Expr) => Expr,
  o: ScheduleOptions,
): readonly Stmt[] {
  const l = { ...lanesAt(name, base, o, new Map([[accName, acc]])), gather: true };
  const index = row(store.index);
  const value = vectorizeExpr(row(store.value), l);
  if (value && isOne(coefficient(index, name)))
    return [{ ...store, index: substituteVars(index, new Map([[name, base]])), value: splat(value, o.target.lanes) }];
  const known = value ? `${(acc as { name: string }).name}_y` : null;
  const first: Stmt[] =
    known && value ? [{ s: 'let', var: known, value: splat(value, o.target.lanes), mutable: false }] : [];
  return [
    ...first,
    ...Array.from(
      { length: o.target.lanes },
      (_, lane): Stmt => ({
        ...store,
        index: laneExpr(index, l, lane),
        value:
          known && value
            ? vec('extract', [variable(known, value.dtype, o.target.lanes)], value.dtype, 1, lane)
            : laneExpr(row(store.value), l, lane),
      }),
    ),
  ];
}
