// Applies a dot schedule: rows in tiles, each packed once and then multiplied with every tile of columns. The zero points
// enter where the sums start: Σ (a−za)(b−zb) = Σ a·b − za·Σb − zb·Σa + K·za·zb. A row left over takes several tiles at once,
// so that there are sums enough to keep the multiplier busy; where there is only one row, a tile itself is that wide.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { type Stmt, VECTORS } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import type { DotSchedule } from './dot.js';
import { blockLoops, tilesOfBlock, widenTile } from './dot-blocks.js';
import { loopDot } from './dot-loops.js';
import {
  addProducts,
  type DotSite,
  layoutColumns,
  type PackedRows,
  packColumns,
  packRows,
  startOf,
  startsFrom,
  tileAt,
} from './dot-panels.js';
import { chooseStrassen, type Strassen } from './dot-strassen.js';
import { type RestColumns, strassenDot } from './dot-strassen-tile.js';
import { atWidth, constOf, type ScheduleOptions, tileLoop, wrap } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import type { DotTarget } from './target.js';
import { storeVector } from './tile.js';

/** What the functions below share. */
interface Site extends DotSite {
  /** Sums of the last tile where its last vector is not full. */
  readonly spill: number | null;
  /** A tile of columns in 16 bits, for the rows of a block; null: columns are read where they are packed. */
  readonly wide: number | null;
  /** Columns before this one are done otherwise. */
  readonly from: number;
}

export function tileDot(
  nest: Nest,
  r: Reduction,
  s: DotSchedule,
  dot: DotTarget,
  o: ScheduleOptions,
  panels: Panels,
): readonly Stmt[] {
  const l = layoutColumns(s, s.rows ? dot.tile.vectors : dot.tile.alone);
  const columns = packColumns(s, l, panels, o);
  const strassen = chooseStrassen(s, l, dot);
  if (strassen) return [...columns.fill, ...inSeven({ nest, r, s, l, columns, o }, strassen, dot, panels)];
  const count = rowsOfTile(s, dot);
  const width = constOf(s.columns.hi) as number;
  const spill = l.whole + l.rest > width ? panels.addOwn('i32', count * l.rest) : null;
  const tiles = tilesOfBlock(s, l, count, dot);
  const packing = panels.addOwn(s.x.dtype, tiles * count * l.depth);
  const sums = tiles > 1 && !isZero(s.y.zero) ? panels.addOwn('i32', tiles * count) : null;
  const wide = tiles > 1 ? panels.addOwn('i16', Math.max(l.tile, l.rest) * l.depth) : null;
  const declare = [spill, packing, sums, wide].flatMap((panel) => panel?.declare ?? []);
  const site: Site = {
    nest,
    r,
    s,
    l,
    columns,
    o: atWidth(o, s.lanes),
    spill: spill?.slot ?? null,
    wide: wide?.slot ?? null,
    from: 0,
  };
  const outer = nest.loops.filter((f) => f !== s.columns && f !== s.rows);
  const tiled = (rows: number): readonly Stmt[] => {
    const start = `${s.rows?.var}_u`;
    const atRow: AtRow = (x, row) =>
      s.rows ? substituteVars(x, new Map([[s.rows.var, e.add(variable(start, 'i32'), row)]])) : x;
    const place = { packed: packing.slot, sums: sums?.slot ?? null };
    const one = (): readonly Stmt[] => {
      const packed = packRows(s, l, { ...place, sums: null, first: i32(0) }, rows, atRow, o);
      return [...packed.fill, ...columnLoops({ ...site, wide: null }, packed, rows, dot, atRow, (b) => b)];
    };
    if (!s.rows) return wrap(outer, one());
    if (tiles === 1 || rows === 1) return wrap(outer, [tileLoop(s.rows, rows, start, one())]);
    const { block, each, first } = blockLoops(s.rows, rows, tiles, start);
    const packed = packRows(s, l, { ...place, first }, rows, atRow, o);
    return wrap(outer, [block([each(packed.fill), ...columnLoops(site, packed, rows, dot, atRow, (b) => [each(b)])])]);
  };
  const known = s.rows === null || constOf(s.rows.hi) !== null || count === 1;
  const few = (): Expr => e.lt((s.rows as For).hi, count);
  const body = known ? tiled(count) : [{ s: 'if', cond: few(), then: tiled(1), else: tiled(count) } as const];
  if (!dot.mayLackVectors) return [...declare, ...columns.fill, ...body];
  const loops = loopDot({ nest, r, s, l, columns, o }, panels);
  return [...columns.fill, { s: 'if', cond: variable(VECTORS, 'i1'), then: [...declare, ...body], else: loops }];
}

/** By Strassen's scheme, and the columns it leaves. */
function inSeven(d: DotSite, how: Strassen, dot: DotTarget, panels: Panels): readonly Stmt[] {
  const { s, l } = d;
  const width = constOf(s.columns.hi) as number;
  const site = { ...d, o: atWidth(d.o, s.lanes) };
  if (how.width === l.whole + l.rest) return strassenDot(site, how, null, panels);
  const spill = l.whole + l.rest > width ? panels.addOwn('i32', how.rows * l.rest) : null;
  const rest: RestColumns = (packed, atRow, wide, forRows) =>
    columnLoops({ ...site, spill: spill?.slot ?? null, wide, from: how.width }, packed, how.rows, dot, atRow, forRows);
  return [...(spill?.declare ?? []), ...strassenDot(site, how, rest, panels)];
}

/** Rows of a tile: as many as registers allow, evenly over the rows there are. */
function rowsOfTile(s: DotSchedule, dot: DotTarget): number {
  const size = s.rows ? constOf(s.rows.hi) : 1;
  return size === null ? dot.tile.rows : Math.ceil(size / Math.ceil(size / dot.tile.rows));
}

type AtRow = (x: Expr, row: number) => Expr;

/** Loops over the tiles of columns; `forRows` puts what is done with one around the rows that share it. */
function columnLoops(
  t: Site,
  packed: PackedRows,
  rows: number,
  dot: DotTarget,
  atRow: AtRow,
  forRows: (body: readonly Stmt[]) => readonly Stmt[],
): readonly Stmt[] {
  const { s, l } = t;
  const name = `${s.columns.var}_v`;
  const start = variable(name, 'i32');
  const body = (from: Expr, tiles: number, width: number): readonly Stmt[] => [
    ...(t.wide === null ? [] : [widenTile(s, l, t.columns.slot, t.wide, from, width)]),
    ...forRows(tileBody(t, packed, rows, from, tiles, width, atRow)),
  ];
  const loop = (from: number, to: number, tiles: number): readonly Stmt[] =>
    to > from
      ? [
          {
            ...t.s.columns,
            var: name,
            lo: i32(from),
            hi: i32(to),
            step: tiles * l.tile,
            body: body(start, tiles, l.tile),
          },
        ]
      : [];
  const sums = dot.tile.rows * dot.tile.vectors * s.lanes;
  const several = t.wide === null && s.rows ? Math.max(1, Math.floor(sums / (rows * l.tile))) : 1;
  const main = l.whole - ((l.whole - t.from) % (several * l.tile));
  const rest = l.rest > 0 ? body(i32(l.whole), 1, l.rest) : [];
  return [...loop(t.from, main, several), ...loop(main, l.whole, 1), ...rest];
}

/** Sums of `rows` rows and `tiles` tiles of columns from `start` on: begin, reduce, store. */
function tileBody(
  t: Site,
  packed: PackedRows,
  rows: number,
  start: Expr,
  tiles: number,
  width: number,
  atRow: AtRow,
): readonly Stmt[] {
  const { s, l, r } = t;
  const vectors = width / s.lanes;
  const cells = Array.from({ length: rows * tiles * vectors }, (_, n) => {
    const [row, k] = [Math.floor(n / (tiles * vectors)), n % (tiles * vectors)];
    const [tile, v] = [Math.floor(k / vectors), k % vectors];
    const tileStart = e.add(start, tile * width);
    const name = `${r.acc}_${row}_${k}`;
    return { row, v, tileStart, name, base: e.add(tileStart, v * s.lanes), acc: variable(name, 'i32', s.lanes) };
  });
  const step = variable('g', 'i32');
  const reduce = cells.map((c): Stmt => {
    const at = (row: number): Expr => e.add(e.mul(packed.first, l.depth), row * l.depth, e.mul(step, s.group));
    const tile = t.wide === null ? tileAt(s, l, c.tileStart) : i32(0);
    const index = (v: number): Expr => e.add(tile, e.mul(step, width * s.group), v * s.lanes * s.group);
    return addProducts(s, c, { slot: packed.slot, at }, { slot: t.wide ?? t.columns.slot, at: index });
  });
  const begin = cells.map((c): Stmt => {
    const start = startOf(s, l, r, t.columns, atRow(s.x.zero, c.row), packed.sum(c.row));
    const value = startsFrom(start, s.columns.var, c.base, t.o);
    return { s: 'let', var: c.name, value, mutable: true };
  });
  const groups: Stmt = {
    s: 'for',
    var: 'g',
    lo: i32(0),
    hi: i32(l.depth / s.group),
    step: 1,
    mode: 'serial',
    body: reduce,
  };
  const finish = cells.flatMap((c) => storeCell(t, c, vectors, atRow));
  return [...begin, groups, ...finish];
}

interface Cell {
  readonly row: number;
  readonly v: number;
  readonly name: string;
  readonly base: Expr;
  readonly acc: Expr;
}

/** The epilogue of one vector; where only some lanes are columns, one by one from memory. */
function storeCell(t: Site, c: Cell, vectors: number, atRow: AtRow): readonly Stmt[] {
  const { s, l, r, nest, o } = t;
  const total = constOf(s.columns.hi) as number;
  const partial = t.spill !== null && c.base.k === 'const' && Number(c.base.value) + s.lanes > total;
  if (!partial || c.v !== vectors - 1)
    return storeVector(nest.store, r.acc, c.acc, s.columns.var, c.base, (x) => atRow(x, c.row), o);
  const first = Number((c.base as { value: number }).value);
  const at = c.row * l.rest;
  const value = load(t.spill as number, [e.add(variable(s.columns.var, 'i32'), at - first)], 'i32');
  return [
    { s: 'store', buf: t.spill as number, index: i32(at), value: c.acc },
    {
      ...s.columns,
      lo: i32(first),
      body: [
        {
          ...nest.store,
          index: atRow(nest.store.index, c.row),
          value: substituteVars(atRow(nest.store.value, c.row), new Map([[r.acc, value]])),
        },
      ],
    },
  ];
}
