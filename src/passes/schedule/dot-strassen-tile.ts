// Applies Strassen's scheme (dot-strassen.ts). Sums of rows are made where a block's rows are packed, sums of columns where two tiles are
// widened for the block, so constants stay the bytes they are. The seven products are taken one after the other, each for all rows of the
// block and going on from a partial sum that another one left; four of them complete a tile of the result.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import { blockLoops, HALVES } from './dot-blocks.js';
import { addProducts, type DotSite, type PackedRows, packRows, startOf, startsFrom, tileAt } from './dot-panels.js';
import { PARTIALS, type Product, PRODUCTS, type Strassen } from './dot-strassen.js';
import { each, wrap } from './loops.js';
import type { For } from './nest.js';
import type { Panels } from './pack.js';
import { storeVector } from './tile.js';

/** Lanes between the products' columns: as many lines of a cache at the same place of a page would push each other out. */
const LINE = 32;

/** The rest of the columns: `rows` packed, four at a time, `forRows` around what is done with a tile. */
export type RestColumns = (
  packed: PackedRows,
  atRow: AtRow,
  wide: number,
  forRows: (body: readonly Stmt[]) => readonly Stmt[],
) => readonly Stmt[];

type AtRow = (x: Expr, row: number) => Expr;

interface Site extends DotSite, Strassen, Places {
  /** Rows of the block before the tile. */
  readonly first: Expr;
  /** The variable of its first row. */
  readonly start: string;
}

interface Places {
  /** The block's rows as they are, where the rest of the columns reads them, else a tile's. */
  readonly plain: number;
  /** Sums of rows for each product, and how far apart those are. */
  readonly sums: number;
  readonly apart: number;
  /** The same of columns. */
  readonly wide: number;
  readonly pitch: number;
  readonly partials: number;
  /** The rows' sums, where columns have a zero point. */
  readonly totals: number | null;
}

export function strassenDot(d: DotSite, how: Strassen, rest: RestColumns | null, panels: Panels): readonly Stmt[] {
  const { nest, s, l } = d;
  const rows = s.rows as For;
  const start = `${rows.var}_u`;
  const loops = blockLoops(rows, 2 * how.rows, how.tiles, start);
  const { site, declare } = placeSums({ ...d, ...how, first: loops.first, start }, rest !== null, panels);
  const atRow: AtRow = (x, row) => substituteVars(x, new Map([[rows.var, e.add(variable(start, 'i32'), row)]]));
  const columns: For = {
    ...s.columns,
    var: `${s.columns.var}_v`,
    hi: i32(how.width),
    step: 2 * l.tile,
    body: [widenSums(site), ...PRODUCTS.map((p, n) => loops.each(product(site, p, n, atRow)))],
  };
  const others = rest ? restOf(site, rest, loops.each) : [];
  const outer = nest.loops.filter((f) => f !== s.columns && f !== rows);
  const packing = loops.each(packSums(site, rest ? site.first : i32(0), atRow));
  return [...declare, ...wrap(outer, [loops.block([packing, columns, ...others])])];
}

/** Memory for a block's rows, for two tiles of columns and for partial sums. */
function placeSums(t: Omit<Site, keyof Places>, isKept: boolean, panels: Panels) {
  const { s, l, half, rows, tiles } = t;
  const block = 2 * rows * tiles;
  const [apart, pitch] = [rows * tiles * half, half * l.tile + LINE];
  const plain = panels.addOwn('i16', (isKept ? block : 2 * rows) * l.depth);
  const sums = panels.addOwn('i16', PRODUCTS.length * apart);
  const wide = panels.addOwn('i16', Math.max(PRODUCTS.length * pitch, isKept ? l.tile * l.depth : 0));
  const partials = panels.addOwn('i32', PARTIALS * rows * tiles * l.tile);
  const totals = isZero(s.y.zero) ? null : panels.addOwn('i32', block);
  const declare = [plain, sums, wide, partials, totals].flatMap((p) => p?.declare ?? []);
  const slots = { plain: plain.slot, sums: sums.slot, wide: wide.slot, partials: partials.slot };
  const site: Site = { ...t, ...slots, totals: totals?.slot ?? null, apart, pitch };
  return { site, declare };
}

/** A tile's rows, `before` rows behind the first that are kept, and their sums. */
function packSums(t: Site, before: Expr, atRow: AtRow): readonly Stmt[] {
  const place = { packed: t.plain, sums: null, first: before };
  const packed = packRows(t.s, t.l, place, 2 * t.rows, atRow, t.o);
  return [...packed.fill, ...keepTotals(t, packed), ...sumRows(t, before)];
}

const keepTotals = (t: Site, packed: PackedRows): readonly Stmt[] =>
  t.totals === null
    ? []
    : Array.from({ length: 2 * t.rows }, (_, row) => ({
        s: 'store',
        buf: t.totals as number,
        index: e.add(t.first, row),
        value: packed.sum(row),
      }));

const totalOf = (t: Site, row: number): Expr =>
  t.totals === null ? i32(0) : load(t.totals, [e.add(t.first, row)], 'i32');

/** Stores the signed sums of four vectors for each product. */
function storeSums(quarters: readonly Expr[], of: 'x' | 'y', slot: number, at: (n: number) => Expr): readonly Stmt[] {
  const names = quarters.map((_, n) => `quarter${n}`);
  const loads = quarters.map((value, n): Stmt => ({ s: 'let', var: names[n] as string, value, mutable: false }));
  const vector = (n: number): Expr => variable(names[n] as string, 'i16', HALVES);
  const stores = PRODUCTS.map((p, n): Stmt => {
    const [first, ...others] = [0, 1, 2, 3]
      .filter((k) => p[of][k] !== 0)
      .sort((a, b) => Number(p[of][b]) - Number(p[of][a]));
    const begin = vector(first as number);
    const value = others.reduce((sum, k) => (p[of][k] === 1 ? e.add(sum, vector(k)) : e.sub(sum, vector(k))), begin);
    return { s: 'store', buf: slot, index: at(n), value };
  });
  return [...loads, ...stores];
}

/** Sums of a tile's rows, from where they are packed as they are. */
function sumRows(t: Site, before: Expr): readonly Stmt[] {
  const k = t.half % HALVES === 0 ? variable('k', 'i32') : e.min(variable('k', 'i32'), t.half - HALVES);
  return Array.from({ length: t.rows }, (_, row) => {
    const quarters = [0, 1, 2, 3].map((q) => {
      const at = (row + (q >> 1) * t.rows) * t.l.depth + (q & 1) * t.half;
      return load(t.plain, [e.add(e.mul(before, t.l.depth), at, k)], 'i16', { lanes: HALVES });
    });
    const index = (n: number): Expr => e.add(e.mul(t.first, t.half / 2), n * t.apart + row * t.half, k);
    return each('k', i32(0), i32(t.half), HALVES, storeSums(quarters, 'x', t.sums, index));
  });
}

/** Sums of two tiles of columns, in 16 bits. */
function widenSums(t: Site): Stmt {
  const { s, l, half } = t;
  const k = variable('w', 'i32');
  const start = tileAt(s, l, variable(`${s.columns.var}_v`, 'i32'));
  const quarters = [0, 1, 2, 3].map((q) => {
    const at = (q & 1) * l.tile * l.depth + (q >> 1) * l.tile * half;
    return load(t.columns.slot, [e.add(start, at, k)], 'i16', { lanes: HALVES });
  });
  return each(
    'w',
    i32(0),
    i32(half * l.tile),
    HALVES,
    storeSums(quarters, 'y', t.wide, (n) => e.add(k, n * t.pitch)),
  );
}

/** One of the seven for a tile of the block. */
function product(t: Site, p: Product, n: number, atRow: AtRow): readonly Stmt[] {
  const { s, l, r, half } = t;
  const step = e.mul(variable('g', 'i32'), s.group);
  const x = (row: number): Expr => e.add(e.mul(t.first, half / 2), n * t.apart + row * half, step);
  const y = (v: number): Expr => e.add(e.mul(step, l.tile), n * t.pitch + v * s.lanes * s.group);
  const vectors = l.tile / s.lanes;
  const cells = Array.from({ length: t.rows * vectors }, (_, k): Cell => {
    const name = `${r.acc}_${k}`;
    return { row: Math.floor(k / vectors), v: k % vectors, k, name, acc: variable(name, 'i32', s.lanes) };
  });
  const { from, to } = p;
  const nothing = vec('splat', [i32(0)], 'i32', s.lanes);
  const begin = cells.map((c): Stmt => {
    const value = from === null ? nothing : left(t, from, c);
    return { s: 'let', var: c.name, value, mutable: true };
  });
  const sums = cells.map((c) => addProducts(s, c, { slot: t.sums, at: x }, { slot: t.wide, at: y }));
  const finish = cells.flatMap((c) => (typeof to === 'number' ? [leave(t, to, c, c.acc)] : complete(t, c, to, atRow)));
  return [...begin, each('g', i32(0), i32(half / s.group), 1, sums), ...alsoTo(t, p, cells), ...finish];
}

interface Cell {
  readonly row: number;
  readonly v: number;
  /** Its vector in the tile. */
  readonly k: number;
  readonly name: string;
  readonly acc: Expr;
}

const partialAt = (t: Site, which: number, c: Cell): Expr =>
  e.add(e.mul(t.first, t.l.tile / 2), which * t.rows * t.tiles * t.l.tile + c.k * t.s.lanes);

const left = (t: Site, which: number, c: Cell): Expr =>
  load(t.partials, [partialAt(t, which, c)], 'i32', { lanes: t.s.lanes });

const leave = (t: Site, which: number, c: Cell, value: Expr): Stmt => ({
  s: 'store',
  buf: t.partials,
  index: partialAt(t, which, c),
  value,
});

/** What a product has added goes to another partial sum, too. */
function alsoTo(t: Site, { from, also }: Product, cells: readonly Cell[]): readonly Stmt[] {
  if (from === null || also === undefined) return [];
  return cells.map((c) => leave(t, also, c, e.add(left(t, also, c), e.sub(c.acc, left(t, from, c)))));
}

/** Adds what a sum starts from, and stores it by way of the epilogue. */
function complete(t: Site, c: Cell, to: readonly [number, number], atRow: AtRow): readonly Stmt[] {
  const { s, l, r, nest, o } = t;
  const row = to[0] * t.rows + c.row;
  const base = e.add(variable(`${s.columns.var}_v`, 'i32'), to[1] * l.tile + c.v * s.lanes);
  const start = startOf(s, l, r, t.columns, atRow(s.x.zero, row), totalOf(t, row));
  const value = e.add(c.acc, startsFrom(start, s.columns.var, base, o));
  return [
    ...(isZero(start) ? [] : [{ s: 'set', var: c.name, value } as const]),
    ...storeVector(nest.store, r.acc, c.acc, s.columns.var, base, (x) => atRow(x, row), o),
  ];
}

/** The other columns, a tile of rows after the other. */
function restOf(t: Site, rest: RestColumns, eachPair: (body: readonly Stmt[]) => Stmt): readonly Stmt[] {
  const rows = t.s.rows as For;
  const [half, start] = [`${rows.var}_h`, `${rows.var}_w`];
  const at = variable(half, 'i32');
  const place = e.add(variable(t.start, 'i32'), at);
  const atRow: AtRow = (x, row) => substituteVars(x, new Map([[rows.var, e.add(variable(start, 'i32'), row)]]));
  const first = e.add(t.first, at);
  const sum = (row: number): Expr => totalOf({ ...t, first }, row);
  const forRows = (body: readonly Stmt[]): readonly Stmt[] => [
    eachPair([
      each(half, i32(0), i32(2 * t.rows), t.rows, [{ s: 'let', var: start, value: place, mutable: false }, ...body]),
    ]),
  ];
  return rest({ slot: t.plain, first, fill: [], sum }, atRow, t.wide, forRows);
}
