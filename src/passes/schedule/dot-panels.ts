// What a contraction by dot products packs. Columns: tile by tile, a tile's groups in the order of the reduction, zeros
// where a group or a vector is not full; and the sums of the columns, where the row operand has a zero point. Rows: one
// after the other, each in the order of the reduction, and their sums where the column operand has a zero point.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import { invariant } from '../../support/errors.js';
import { type DotSchedule, sizeOfLoops } from './dot.js';
import { constOf, each, lanesAt, type ScheduleOptions, wrap } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import { halfLanes } from './half-lanes.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** Positions in the packed columns. */
export interface ColumnLayout {
  /** Columns of a whole tile, and how many columns whole tiles hold. */
  readonly tile: number;
  readonly whole: number;
  /** Columns of the last tile, vectors filled up. */
  readonly rest: number;
  /** Length of the reduction, groups filled up. */
  readonly depth: number;
  readonly group: number;
}

export function layoutColumns(s: DotSchedule, vectors: number): ColumnLayout {
  const width = constOf(s.columns.hi) as number;
  const tile = s.lanes * Math.max(1, Math.min(vectors, Math.floor(width / s.lanes)));
  const whole = width - (width % tile);
  const rest = Math.ceil((width - whole) / s.lanes) * s.lanes;
  const depth = Math.ceil(sizeOfLoops(s.depth) / s.group) * s.group;
  return { tile, whole, rest, depth, group: s.group };
}

/** Row-major position in some loops. */
export const positionIn = (loops: readonly For[]): Expr =>
  loops.reduce<Expr>((at, f, k) => e.add(k === 0 ? at : e.mul(at, f.hi), variable(f.var, 'i32')), i32(0));

/** The columns of one position of the loops they use. */
const stretch = (l: ColumnLayout): number => (l.whole + l.rest) * l.depth;

/** Where the columns' tile that starts at `start` begins. */
export const tileAt = (s: DotSchedule, l: ColumnLayout, start: Expr): Expr =>
  e.add(e.mul(positionIn(s.used), stretch(l)), e.mul(start, l.depth));

export const sumAt = (s: DotSchedule, l: ColumnLayout, column: Expr): Expr =>
  e.add(e.mul(positionIn(s.used), l.whole + l.rest), column);

export interface PackedColumns {
  readonly slot: number;
  /** The columns' sums, one i32 each. */
  readonly sums: number | null;
  /** Statements that fill both; none where it is done at compile time. */
  readonly fill: readonly Stmt[];
}

/** A contraction, how its columns are laid out, and where they are. */
export interface DotSite {
  readonly nest: Nest;
  readonly r: Reduction;
  readonly s: DotSchedule;
  readonly l: ColumnLayout;
  readonly columns: PackedColumns;
  readonly o: ScheduleOptions;
}

export function packColumns(s: DotSchedule, l: ColumnLayout, panels: Panels, o: ScheduleOptions): PackedColumns {
  const size = sizeOfLoops(s.used) * stretch(l);
  const isFull = l.whole + l.rest === constOf(s.columns.hi) && l.depth === sizeOfLoops(s.depth);
  const columns = panels.addFilled(s.y.dtype, size, s.isConstant, (slot) => [
    ...(isFull ? [] : [clear(slot, size)]),
    ...wrap(s.used, fillColumns(s, l, slot, o)),
  ]);
  if (isZero(s.x.zero)) return { slot: columns.slot, sums: null, fill: columns.fill };
  const count = sizeOfLoops(s.used) * (l.whole + l.rest);
  const sums = panels.addFilled('i32', count, s.isConstant, (slot) => [
    clear(slot, count),
    ...wrap([...s.used, s.columns], sumColumn(s, l, slot)),
  ]);
  return { slot: columns.slot, sums: sums.slot, fill: [...columns.fill, ...sums.fill] };
}

const clear = (slot: number, size: number): Stmt =>
  each('z', i32(0), i32(size), 1, [{ s: 'store', buf: slot, index: variable('z', 'i32'), value: i32(0) }]);

function fillColumns(s: DotSchedule, l: ColumnLayout, slot: number, o: ScheduleOptions): readonly Stmt[] {
  const width = constOf(s.columns.hi) as number;
  const start = variable('tile', 'i32');
  const column = variable('column', 'i32');
  const k = variable('k', 'i32');
  const tileOf = (from: number, to: number, step: number, real: number): readonly Stmt[] => {
    if (to <= from) return [];
    const pairs = s.isConstant ? null : fillPairs(s, l, slot, { start, width: step, real }, o); // at compile time elements do
    if (pairs) return [each('tile', i32(from), i32(to), step, pairs)];
    const group = e.mul(e.div(k, l.group), step * l.group);
    const at = e.add(tileAt(s, l, start), group, e.mul(column, l.group), e.rem(k, l.group));
    const value = substituteVars(s.y.value, new Map([[s.columns.var, e.add(start, column)]]));
    const store: Stmt = { s: 'store', buf: slot, index: at, value };
    const along = each('column', i32(0), i32(real), 1, [store]);
    const depth = wrap(s.depth, [{ s: 'let', var: 'k', value: positionIn(s.depth), mutable: false }, along]);
    return [each('tile', i32(from), i32(to), step, depth)];
  };
  return [
    ...tileOf(0, l.whole, l.tile, l.tile),
    ...tileOf(l.whole, l.whole + l.rest, Math.max(1, l.rest), width - l.whole),
  ];
}

/** A tile's columns two steps of the reduction at a time, lanes of both taken in turn; null where that is not to be had. */
function fillPairs(
  s: DotSchedule,
  l: ColumnLayout,
  slot: number,
  { start, width, real }: { readonly start: Expr; readonly width: number; readonly real: number },
  o: ScheduleOptions,
): readonly Stmt[] | null {
  const lanes = 2 * s.lanes;
  const last = s.depth[s.depth.length - 1] as For;
  if (!o.target.dot?.zips || l.group !== 2 || real % lanes !== 0 || (constOf(last.hi) as number) % 2 !== 0) return null;
  const value = halfLanes(s.y.value, s.columns.var, lanes, o);
  if (!value) return null;
  const at = (column: number, step: number): Expr =>
    substituteVars(
      value,
      new Map([
        [s.columns.var, e.add(start, column)],
        [last.var, e.add(variable(last.var, 'i32'), step)],
      ]),
    );
  const stores = Array.from({ length: (2 * real) / lanes }, (_, n): Stmt => {
    const column = Math.floor(n / 2) * lanes;
    const index = e.add(tileAt(s, l, start), e.mul(positionIn(s.depth), width), n * lanes);
    return { s: 'store', buf: slot, index, value: vec('zip', [at(column, 0), at(column, 1)], 'i16', lanes, n % 2) };
  });
  return wrap(s.depth.slice(0, -1), [{ ...last, step: 2, body: stores }]);
}

function sumColumn(s: DotSchedule, l: ColumnLayout, slot: number): readonly Stmt[] {
  const total = variable('total', 'i32');
  return [
    { s: 'let', var: 'total', value: i32(0), mutable: true },
    ...wrap(s.depth, [{ s: 'set', var: 'total', value: e.add(total, s.y.value) }]),
    { s: 'store', buf: slot, index: sumAt(s, l, variable(s.columns.var, 'i32')), value: total },
  ];
}

export interface PackedRows {
  readonly slot: number;
  /** Rows packed before this tile's. */
  readonly first: Expr;
  readonly fill: readonly Stmt[];
  /** The sum of a row's packed values, or 0 where nobody asks. */
  readonly sum: (row: number) => Expr;
}

/** Where rows are packed, and where their sums go if not into variables. */
export interface RowsPlace {
  readonly packed: number;
  readonly sums: number | null;
  readonly first: Expr;
}

/** Packs `rows` rows; `atRow` moves an expression to one of them. */
export function packRows(
  s: DotSchedule,
  l: ColumnLayout,
  { packed: slot, sums: kept, first }: RowsPlace,
  rows: number,
  atRow: (x: Expr, row: number) => Expr,
  o: ScheduleOptions,
): PackedRows {
  const at = (row: number): Expr => e.add(e.mul(first, l.depth), row * l.depth);
  const fill = Array.from({ length: rows }, (_, row) => fillRow(s, atRow(s.x.value, row), slot, at(row), o));
  const summed = !isZero(s.y.zero);
  const sums = Array.from({ length: summed ? rows : 0 }, (_, row): readonly Stmt[] => {
    const sum = sumRow(s, slot, row, at(row));
    if (kept === null) return sum;
    return [...sum, { s: 'store', buf: kept, index: e.add(first, row), value: variable(`row_sum${row}`, 'i32') }];
  });
  const sumOf = (row: number): Expr =>
    kept === null ? variable(`row_sum${row}`, 'i32') : load(kept, [e.add(first, row)], 'i32');
  return { slot, first, fill: [...fill.flat(), ...sums.flat()], sum: (row) => (summed ? sumOf(row) : i32(0)) };
}

/** One row, in vectors along its innermost loop where it can be. */
function fillRow(s: DotSchedule, value: Expr, slot: number, first: Expr, o: ScheduleOptions): readonly Stmt[] {
  const at = e.add(positionIn(s.depth), first);
  const last = s.depth[s.depth.length - 1] as For;
  const size = constOf(last.hi) as number;
  const wide = vectorizeExpr(value, lanesAt(last.var, variable(last.var, 'i32'), o));
  const vectors = [s.x.dtype === 'i16' ? halfLanes(value, last.var, 2 * o.target.lanes, o) : null, wide];
  const inner: Stmt[] = [];
  let from = 0;
  for (const v of [...vectors, value]) {
    if (!v || (v !== value && v.lanes === 1)) continue;
    const to = size - ((size - from) % v.lanes);
    inner.push(...steps(last, from, to, v.lanes, { s: 'store', buf: slot, index: at, value: v }));
    from = to;
  }
  return wrap(s.depth.slice(0, -1), inner);
}

/** Fewer steps than this are written out. */
const FEW = 4;

function steps(loop: For, from: number, to: number, step: number, body: Stmt): readonly Stmt[] {
  if (from === to) return [];
  const count = (to - from) / step;
  if (count > FEW) return [{ ...loop, lo: i32(from), hi: i32(to), step, body: [body] }];
  const at = (n: number) => (x: Expr) => substituteVars(x, new Map([[loop.var, i32(from + n * step)]]));
  return Array.from({ length: count }, (_, n) => mapExprs([body], at(n))).flat();
}

function sumRow(s: DotSchedule, slot: number, row: number, first: Expr): readonly Stmt[] {
  const name = `row_sum${row}`;
  const k = variable('k', 'i32');
  const next = e.add(variable(name, 'i32'), load(slot, [e.add(k, first)], 'i32'));
  return [
    { s: 'let', var: name, value: i32(0), mutable: true },
    each('k', i32(0), i32(sizeOfLoops(s.depth)), 1, [{ s: 'set', var: name, value: next }]),
  ];
}

/** Where an operand lies: `at` of a row, or of a vector of columns. */
export interface Place {
  readonly slot: number;
  readonly at: (n: number) => Expr;
}

/** A group of the reduction added to the sum of one row and one vector of columns. */
export function addProducts(s: DotSchedule, sum: Sum, rows: Place, columns: Place): Stmt {
  const x = load(rows.slot, [rows.at(sum.row)], s.x.dtype, { lanes: s.group });
  const a = vec('splat', [x], s.x.dtype, s.group * s.lanes);
  const type = s.group === 2 ? 'i16' : s.y.dtype;
  const b = load(columns.slot, [columns.at(sum.v)], type, { lanes: s.group * s.lanes });
  return { s: 'set', var: sum.name, value: vec('dot', [variable(sum.name, 'i32', s.lanes), a, b], 'i32', s.lanes) };
}

/** Of a tile: its row and its vector of columns there. */
export interface Sum {
  readonly name: string;
  readonly row: number;
  readonly v: number;
}

/** What a column's sum starts from: the reduction's own start, and what the zero points add. `zero` and `rowSum` are the row's. */
export function startOf(
  s: DotSchedule,
  l: ColumnLayout,
  r: Reduction,
  columns: PackedColumns,
  zero: Expr,
  rowSum: Expr,
): Expr {
  const parts: Expr[] = [r.init];
  if (columns.sums !== null) {
    const sum = load(columns.sums, [sumAt(s, l, variable(s.columns.var, 'i32'))], 'i32');
    parts.push(e.neg(e.mul(zero, sum)));
  }
  if (!isZero(s.y.zero)) parts.push(e.mul(s.y.zero, e.sub(e.mul(zero, sizeOfLoops(s.depth)), rowSum)));
  return parts.reduce((p, q) => e.add(p, q));
}

/** A start for the columns from `base` on. */
export function startsFrom(start: Expr, name: string, base: Expr, o: ScheduleOptions): Expr {
  const wide = vectorizeExpr(start, lanesAt(name, base, o));
  invariant(wide, 'zero points are vectors along the columns');
  return splat(wide, o.target.lanes);
}
