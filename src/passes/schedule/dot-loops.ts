// An integer contraction for a compiler without vector types. What it makes vectors of by itself, with an instruction for
// pairs where the processor has one, is a loop along the reduction that adds up products of two arrays of 16 bits. So a
// block of rows and a few columns at a time are laid out in 16 bits along the reduction, and each row is multiplied with
// those columns in one loop. The packed columns are those of dot-tile.ts, which vectors read: constants exist once.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { cast, constant, type Expr, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import { type DotSchedule, sizeOfLoops } from './dot.js';
import { type ColumnLayout, type PackedColumns, positionIn, startOf, startsFrom, tileAt } from './dot-panels.js';
import { atWidth, constOf, each, NARROWEST, type ScheduleOptions, wrap } from './loops.js';
import type { Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import { storeVector } from './tile.js';

/** Sums that one loop adds up: as many as pay for the row's loads and stay in registers. */
const SUMS = 8;
/** Rows that share widened columns, and bytes of them that stay near. */
const MOST_ROWS = 64;
const NEAR = 64 << 10;

interface Site {
  readonly nest: Nest;
  readonly r: Reduction;
  readonly s: DotSchedule;
  readonly l: ColumnLayout;
  readonly columns: PackedColumns;
  readonly o: ScheduleOptions;
  /** Columns at a time; they divide every tile. */
  readonly count: number;
  /** Length of the reduction. */
  readonly depth: number;
  readonly rows: number;
  readonly wide: number;
  readonly sums: number;
  /** Sums of the block's rows, where the columns have a zero point. */
  readonly rowSums: number | null;
}

export function loopDot(
  nest: Nest,
  r: Reduction,
  s: DotSchedule,
  l: ColumnLayout,
  columns: PackedColumns,
  o: ScheduleOptions,
  panels: Panels,
): readonly Stmt[] {
  const depth = sizeOfLoops(s.depth);
  const block = s.rows ? rowsOfBlock(constOf(s.rows.hi), depth) : 1;
  const count = l.tile % SUMS === 0 && l.rest % SUMS === 0 ? SUMS : NARROWEST;
  const rows = panels.addOwn('i16', block * depth);
  const wide = panels.addOwn('i16', count * depth);
  const sums = panels.addOwn('i32', count);
  const rowSums = isZero(s.y.zero) ? null : panels.addOwn('i32', block);
  const declare = [rows, wide, sums, rowSums].flatMap((p) => p?.declare ?? []);
  const slots = { rows: rows.slot, wide: wide.slot, sums: sums.slot, rowSums: rowSums?.slot ?? null };
  const site: Site = { nest, r, s, l, columns, o: atWidth(o, NARROWEST), count, depth, ...slots };
  const outer = nest.loops.filter((f) => f !== s.columns && f !== s.rows);
  if (!s.rows) {
    const alone = (body: readonly Stmt[]): readonly Stmt[] => body;
    return [...declare, ...wrap(outer, [...packRow(site, i32(0)), ...columnLoops(site, alone, i32(0))])];
  }
  const [first, at] = [variable(`${s.rows.var}_b`, 'i32'), variable(`${s.rows.var}_t`, 'i32')];
  const size = constOf(s.rows.hi);
  const isWhole = size !== null && size % block === 0;
  const end = isWhole ? i32(block) : e.min(i32(block), e.sub(s.rows.hi, first));
  const row: Stmt = { s: 'let', var: s.rows.var, value: e.add(first, at), mutable: false };
  const forRows = (body: readonly Stmt[]): readonly Stmt[] => [
    each(`${s.rows?.var}_t`, i32(0), end, 1, [row, ...body]),
  ];
  const body = [...forRows(packRow(site, at)), ...columnLoops(site, forRows, at)];
  return [...declare, ...wrap(outer, [{ ...s.rows, var: `${s.rows.var}_b`, step: block, body }])];
}

/** Evenly over the rows there are. */
function rowsOfBlock(size: number | null, depth: number): number {
  const most = Math.max(1, Math.min(MOST_ROWS, Math.floor(NEAR / (2 * depth))));
  return size === null ? most : Math.ceil(size / Math.ceil(size / most));
}

/** The row at position `at` of the block, and its sum where somebody asks. */
function packRow(t: Site, at: Expr): readonly Stmt[] {
  const { s, depth } = t;
  const start = e.mul(at, depth);
  const store: Stmt = { s: 'store', buf: t.rows, index: e.add(start, positionIn(s.depth)), value: s.x.value };
  if (t.rowSums === null) return wrap(s.depth, [store]);
  const [k, total] = [variable('k', 'i32'), variable('row_sum', 'i32')];
  const next = e.add(total, load(t.rows, [e.add(start, k)], 'i32'));
  return [
    ...wrap(s.depth, [store]),
    { s: 'let', var: 'row_sum', value: i32(0), mutable: true },
    each('k', i32(0), i32(depth), 1, [{ s: 'set', var: 'row_sum', value: next }]),
    { s: 'store', buf: t.rowSums, index: at, value: total },
  ];
}

/** Loops over `count` columns at a time; `forRows` puts what is done with them around the block's rows. */
function columnLoops(t: Site, forRows: (body: readonly Stmt[]) => readonly Stmt[], at: Expr): readonly Stmt[] {
  const { s, l, count } = t;
  const name = s.columns.var;
  const [tile, within] = [variable(`${name}_v`, 'i32'), variable(`${name}_w`, 'i32')];
  const some = (start: Expr, from: Expr, width: number): readonly Stmt[] => [
    ...widen(t, start, from, width),
    ...forRows(sumsOfRow(t, e.add(start, from), at)),
  ];
  const inTile = (start: Expr, width: number): readonly Stmt[] => [
    each(`${name}_w`, i32(0), i32(width), count, some(start, within, width)),
  ];
  const total = constOf(s.columns.hi) as number;
  const whole = each(`${name}_v`, i32(0), i32(l.whole), l.tile, inTile(tile, l.tile));
  // Positions of the last tile are constants, which tell where columns end.
  const rest = Array.from({ length: l.rest / count }, (_, k) => k * count)
    .filter((from) => l.whole + from < total)
    .flatMap((from) => some(i32(l.whole), i32(from), l.rest));
  return [...(l.whole > 0 ? [whole] : []), ...rest];
}

/** Columns `from` … of the tile of `width` columns at `start`, one after the other. Groups outermost: compilers make vectors
 *  of what lies side by side, not of what lies a group apart. */
function widen(t: Site, start: Expr, from: Expr, width: number): readonly Stmt[] {
  const { s, l, count, depth } = t;
  const [g, c, k] = [variable('g', 'i32'), variable('c', 'i32'), variable('k', 'i32')];
  const groups = (lo: number, hi: number, length: number): Stmt => {
    const source = e.add(tileAt(s, l, start), e.mul(g, width * l.group), e.mul(e.add(from, c), l.group), k);
    const index = e.add(e.mul(c, depth), e.mul(g, l.group), k);
    const store: Stmt = { s: 'store', buf: t.wide, index, value: load(t.columns.slot, [source], 'i32') };
    const group = each('c', i32(0), i32(count), 1, [each('k', i32(0), i32(length), 1, [store])]);
    return each('g', i32(lo), i32(hi), 1, [group]);
  };
  const full = Math.floor(depth / l.group);
  const left = depth % l.group;
  return [...(full > 0 ? [groups(0, full, l.group)] : []), ...(left > 0 ? [groups(full, full + 1, left)] : [])];
}

/** One row with the widened columns, of which the first is `base`. Unsigned sums: those that wrap in C without a cast in their
 *  way, for compilers see no sum of products through casts. */
function sumsOfRow(t: Site, base: Expr, at: Expr): readonly Stmt[] {
  const { r, count, depth } = t;
  const k = variable('k', 'i32');
  const names = Array.from({ length: count }, (_, c) => `${r.acc}_${c}`);
  const a = load(t.rows, [e.add(e.mul(at, depth), k)], 'i32');
  const add = names.map((name, c): Stmt => {
    const product = e.mul(a, load(t.wide, [e.add(k, c * depth)], 'i32'));
    return { s: 'set', var: name, value: e.add(variable(name, 'u32'), cast(product, 'u32')) };
  });
  return [
    ...names.map((name): Stmt => ({ s: 'let', var: name, value: constant(0, 'u32'), mutable: true })),
    each('k', i32(0), i32(depth), 1, add),
    ...names.map(
      (name, c): Stmt => ({ s: 'store', buf: t.sums, index: i32(c), value: cast(variable(name, 'u32'), 'i32') }),
    ),
    ...Array.from({ length: count / NARROWEST }, (_, v) => storeSums(t, e.add(base, v * NARROWEST), v, at)).flat(),
  ];
}

/** The epilogue of a vector's worth of sums; where only some are columns, one by one. */
function storeSums(t: Site, base: Expr, v: number, at: Expr): readonly Stmt[] {
  const { nest, r, s, l, o } = t;
  const name = s.columns.var;
  const total = constOf(s.columns.hi) as number;
  const first = constOf(base);
  const rowSum = t.rowSums === null ? i32(0) : load(t.rowSums, [at], 'i32');
  const start = startOf(s, l, r, t.columns, s.x.zero, rowSum);
  if (first !== null && first >= total) return [];
  const sumOf = (index: Expr, lanes = 1): Expr => load(t.sums, [index], 'i32', { lanes });
  if (first !== null && first + NARROWEST > total) {
    const value = e.add(start, sumOf(e.add(variable(name, 'i32'), v * NARROWEST - first)));
    const store: Stmt = { ...nest.store, value: substituteVars(nest.store.value, new Map([[r.acc, value]])) };
    return [{ ...s.columns, lo: i32(first), body: [store] }];
  }
  const acc = `${r.acc}_v${v}`;
  const value = e.add(startsFrom(start, name, base, o), sumOf(i32(v * NARROWEST), NARROWEST));
  const stored = storeVector(nest.store, r.acc, variable(acc, 'i32', NARROWEST), name, base, (x) => x, o);
  return [{ s: 'let', var: acc, value, mutable: false }, ...stored];
}
