// Products of narrow integers of which both factors walk the columns, as in a depthwise convolution, two steps of the
// reduction at a time: lanes of both steps are taken in turn, and one dot product of narrow lanes does for eight columns what
// would be four products and sums of widened lanes. Sums are exact in any order. For reductions that are written out.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { constant, type Expr, exprKey, i32, type LoadExpr, substituteVars, variable, vec } from '../../ir/scalar.js';
import { simplifyExpr } from '../kernel/simplify-index.js';
import type { TileSchedule } from './choose.js';
import { constOf, type ScheduleOptions } from './loops.js';
import type { Reduction } from './nest.js';
import { narrowLanes } from './half-lanes.js';
import { isUnrolled, positions } from './window.js';

type Factors = readonly [LoadExpr, LoadExpr];

/** The factors in vectors, where a tile takes them in pairs. */
export function pairedFactors(t: TileSchedule, r: Reduction, o: ScheduleOptions): Factors | null {
  const { term } = r;
  const { dot } = o.target;
  if (!dot?.zips || !dot.lanes.includes(t.lanes) || t.vectors % 2 !== 0 || t.packed.length > 0) return null;
  if (r.op !== 'add' || term.dtype !== 'i32' || term.k !== 'op' || term.op !== 'mul' || !isUnrolled(t, r)) return null;
  const [x, y] = term.args.map((f) => narrowLanes(f, t.columns.var, 2 * t.lanes, o));
  return x && y ? [x, y] : null;
}

export interface PairCell {
  readonly row: number;
  /** Its vector in the tile. */
  readonly k: number;
  readonly acc: string;
}

/** Every step of the reduction, two by two, onto the accumulators. */
export function pairSteps(
  [x, y]: Factors,
  t: TileSchedule,
  r: Reduction,
  cells: readonly PairCell[],
  start: Expr,
  atRow: (x: Expr, row: number) => Expr,
): readonly Stmt[] {
  const lanes = 2 * t.lanes;
  const at = (f: LoadExpr, row: number, place: ReadonlyMap<string, Expr>, group: number): Expr => {
    const columns = new Map([...place, [t.columns.var, e.add(start, group * lanes)]]);
    return substituteVars(atRow(f, row), columns);
  };
  return pairsOf(x, r, t.rowCount, atRow).flatMap(([p, q]) =>
    cells.map((c): Stmt => {
      const both = (f: LoadExpr): Expr => {
        const group = Math.floor(c.k / 2);
        const second = q ? at(f, c.row, q, group) : vec('splat', [constant(0, 'i16')], 'i16', lanes);
        return vec('zip', [at(f, c.row, p, group), second], 'i16', lanes, c.k % 2);
      };
      const sum = variable(c.acc, 'i32', t.lanes);
      return { s: 'set', var: c.acc, value: vec('dot', [sum, both(x), both(y)], 'i32', t.lanes) };
    }),
  );
}

type Place = ReadonlyMap<string, Expr>;
type Pair = readonly [Place, Place | null];

/** Steps in pairs along the loop along which rows share most of them. */
function pairsOf(x: LoadExpr, r: Reduction, rows: number, atRow: (x: Expr, row: number) => Expr): readonly Pair[] {
  const index = x.index[0] as Expr;
  const distinct = (pairs: readonly Pair[]): number => {
    const keys = pairs.flatMap((pair) =>
      Array.from({ length: rows }, (_, row) =>
        pair.map((place) => (place ? exprKey(simplifyExpr(substituteVars(atRow(index, row), place))) : '')).join(),
      ),
    );
    return new Set(keys).size;
  };
  const candidates = r.loops.map((along) => {
    const others = r.loops.filter((f) => f !== along).map((f) => [f.var, constOf(f.hi) as number] as const);
    const size = constOf(along.hi) as number;
    return positions(others).flatMap((place) =>
      Array.from({ length: Math.ceil(size / 2) }, (_, n): Pair => {
        const step = (k: number): Place =>
          new Map([...[...place].map(([name, v]) => [name, i32(v)] as const), [along.var, i32(k)]]);
        return [step(2 * n), 2 * n + 1 < size ? step(2 * n + 1) : null];
      }),
    );
  });
  return candidates.reduce((best, c) => (distinct(c) < distinct(best) ? c : best));
}
