// An integer contraction for a compiler without vector types. What it makes vectors of by itself, with an instruction for
// pairs where the processor has one, is a loop along the reduction that adds up products of two arrays of 16 bits. So a
// block of rows and a few columns at a time are laid out in 16 bits along the reduction, and each row is multiplied with
// those columns in one loop. The packed columns are those of dot-tile.ts, which vectors read: constants exist once.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { cast, constant, type Expr, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import { sizeOfLoops } from './dot.js';
import { type DotSite, positionIn, startOf, startsFrom, tileAt } from './dot-panels.js';
import { atWidth, constOf, each, NARROWEST, wrap } from './loops.js';
import type { For } from './nest.js';
import type { Panels } from './pack.js';
import { storeVector } from './tile.js';

/** Sums that one loop adds up: as many as pay for the row's loads and stay in registers. */
const SUMS = 8;
/** Rows that share widened columns. */
const MOST_ROWS = 64;
/** Where nobody knows how many there are. */
const FEW_ROWS = 8;
/** Rows that pay for widening columns: it takes as long as two rows' products with them. */
const ENOUGH_ROWS = 16;
/** Bytes that both take: little beside what the kernel writes, and near. */
const LEAST_BYTES = 8 << 10;
const MOST_BYTES = 64 << 10;
/** Products of a row between widening columns, where those of the whole reduction would leave room for few rows. */
const CHUNK = 128;

interface Site extends DotSite {
  /** Columns at a time; they divide every tile. */
  readonly count: number;
  /** Length of the reduction. */
  readonly depth: number;
  /** As much of it as columns are widened for at a time. */
  readonly chunk: number;
  /** Whether a row alone is laid out in the same stretches, too. */
  readonly inParts: boolean;
  readonly rows: number;
  readonly wide: number;
  readonly sums: number;
  /** Rows of a block. */
  readonly block: number;
  /** Sums of the block's rows, where the columns have a zero point. */
  readonly rowSums: number | null;
}

export function loopDot(d: DotSite, panels: Panels): readonly Stmt[] {
  const { nest, s, l } = d;
  const depth = sizeOfLoops(s.depth);
  const outputs = nest.loops.reduce((n, f) => n * (constOf(f.hi) ?? 1), 1);
  const count = l.tile % SUMS === 0 && l.rest % SUMS === 0 ? SUMS : NARROWEST;
  const { block, chunk } = s.rows
    ? blockOf(s.rows, depth, outputs, count)
    : { block: 1, chunk: Math.min(depth, CHUNK) };
  const inParts = block === 1 && chunk < depth && s.depth.length === 1 && isZero(s.y.zero);
  const rows = panels.addOwn('i16', inParts ? chunk : block * depth);
  const wide = panels.addOwn('i16', count * chunk);
  const sums = panels.addOwn('i32', chunk < depth ? block * count : count);
  const rowSums = isZero(s.y.zero) ? null : panels.addOwn('i32', block);
  const declare = [rows, wide, sums, rowSums].flatMap((p) => p?.declare ?? []);
  const slots = { rows: rows.slot, wide: wide.slot, sums: sums.slot, rowSums: rowSums?.slot ?? null };
  const site: Site = { ...d, o: atWidth(d.o, NARROWEST), count, depth, chunk, inParts, block, ...slots };
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

/** As many rows as have room beside the widened columns, evenly over those there are. Where they are few, columns are widened
 *  a stretch at a time, and the rows' sums wait in memory meanwhile. */
function blockOf(rows: For, depth: number, outputs: number, count: number): { block: number; chunk: number } {
  const bytes = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, outputs / 4));
  const size = constOf(rows.hi);
  const most = Math.min(MOST_ROWS, size ?? FEW_ROWS);
  const evenly = (room: number): number => {
    const block = Math.max(1, Math.min(most, Math.floor(room)));
    return size === null ? block : Math.ceil(size / Math.ceil(size / block));
  };
  const whole = evenly(bytes / (2 * depth) - count);
  const chunk = Math.min(depth, CHUNK);
  const inChunks = evenly((bytes - 2 * count * chunk) / (2 * depth + 4 * count));
  return whole >= Math.min(ENOUGH_ROWS, inChunks)
    ? { block: whole, chunk: whole === 1 ? chunk : depth }
    : { block: inChunks, chunk };
}

/** The row at position `at` of the block, and its sum where somebody asks. */
function packRow(t: Site, at: Expr): readonly Stmt[] {
  const { s, depth } = t;
  if (t.inParts) return [];
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

/** `length` elements of the row from `first` on. */
function packPart({ s, rows }: Site, first: Expr, length: number): Stmt {
  const along = s.depth[0] as For;
  const k = variable(along.var, 'i32');
  const store: Stmt = { s: 'store', buf: rows, index: e.sub(k, first), value: s.x.value };
  return { ...along, lo: first, hi: e.add(first, length), body: [store] };
}

/** Loops over `count` columns at a time; `forRows` puts what is done with them around the block's rows. */
function columnLoops(t: Site, forRows: (body: readonly Stmt[]) => readonly Stmt[], at: Expr): readonly Stmt[] {
  const { s, l, count } = t;
  const name = s.columns.var;
  const [tile, within] = [variable(`${name}_v`, 'i32'), variable(`${name}_w`, 'i32')];
  const some = (start: Expr, from: Expr, width: number): readonly Stmt[] => {
    const row = (products: readonly Stmt[]): readonly Stmt[] => sumsOfRow(t, e.add(start, from), at, products);
    if (t.chunk === t.depth) return [...widen(t, start, from, width), ...forRows(row(products(t, at)))];
    if (t.block === 1) return forRows(row(inChunks(t, start, from, width, at)));
    return rowsInChunks(t, start, from, width, forRows, at);
  };
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

/** A row alone: columns are widened and used up a stretch of the reduction at a time. */
function inChunks(t: Site, start: Expr, from: Expr, width: number, at: Expr): readonly Stmt[] {
  const { depth, chunk } = t;
  const whole = depth - (depth % chunk);
  const first = variable('k_b', 'i32');
  const part = (k: Expr, length: number): readonly Stmt[] => [
    ...(t.inParts ? [packPart(t, k, length)] : []),
    ...widen(t, start, from, width, k, length),
    ...products(t, at, t.inParts ? i32(0) : k, length),
  ];
  const rest = depth > whole ? part(i32(whole), depth - whole) : [];
  return [each('k_b', i32(0), i32(whole), chunk, part(first, chunk)), ...rest];
}

/** Several rows: the sums of each wait in memory while others have their turn with a stretch. */
function rowsInChunks(
  t: Site,
  start: Expr,
  from: Expr,
  width: number,
  forRows: (body: readonly Stmt[]) => readonly Stmt[],
  at: Expr,
): readonly Stmt[] {
  const { depth, chunk, count, block } = t;
  const zero: Stmt = { s: 'store', buf: t.sums, index: variable('k', 'i32'), value: i32(0) };
  const part = (k: Expr, length: number): readonly Stmt[] => [
    ...widen(t, start, from, width, k, length),
    ...forRows([...declareSums(t), ...products(t, at, k, length), ...putSums(t, e.mul(at, count), true)]),
  ];
  const whole = depth - (depth % chunk);
  return [
    each('k', i32(0), i32(block * count), 1, [zero]),
    each('k_b', i32(0), i32(whole), chunk, part(variable('k_b', 'i32'), chunk)),
    ...(depth > whole ? part(i32(whole), depth - whole) : []),
    ...forRows(storeAll(t, e.add(start, from), e.mul(at, count), at)),
  ];
}

/** Columns `from` … of the tile of `width` columns at `start`, one after the other, `length` of each from `first` on, which is
 *  a multiple of a group. Groups outermost: compilers make vectors of what lies side by side, not of what lies a group apart. */
function widen(
  t: Site,
  start: Expr,
  from: Expr,
  width: number,
  first: Expr = i32(0),
  length: number = t.depth,
): readonly Stmt[] {
  const { s, l, count, chunk } = t;
  const [g, c, k] = [variable('g', 'i32'), variable('c', 'i32'), variable('k', 'i32')];
  const groups = (lo: number, hi: number, lanes: number): Stmt => {
    const tile = e.add(tileAt(s, l, start), e.mul(first, width));
    const source = e.add(tile, e.mul(g, width * l.group), e.mul(e.add(from, c), l.group), k);
    const index = e.add(e.mul(c, chunk), e.mul(g, l.group), k);
    const store: Stmt = { s: 'store', buf: t.wide, index, value: load(t.columns.slot, [source], 'i32') };
    const group: Stmt = {
      ...each('c', i32(0), i32(count), 1, [each('k', i32(0), i32(lanes), 1, [store])]),
      mode: 'vector',
    };
    return each('g', i32(lo), i32(hi), 1, [group]);
  };
  const full = Math.floor(length / l.group);
  const left = length % l.group;
  return [...(full > 0 ? [groups(0, full, l.group)] : []), ...(left > 0 ? [groups(full, full + 1, left)] : [])];
}

const sumName = (t: Site, c: number): string => `${t.r.acc}_${c}`;

/** The loop along the reduction, from `first` on. */
function products(t: Site, at: Expr, first: Expr = i32(0), length: number = t.depth): readonly Stmt[] {
  const k = variable('k', 'i32');
  const a = load(t.rows, [e.add(e.mul(at, t.depth), first, k)], 'i32');
  const add = Array.from({ length: t.count }, (_, c): Stmt => {
    const product = e.mul(a, load(t.wide, [e.add(k, c * t.chunk)], 'i32'));
    const name = sumName(t, c);
    return { s: 'set', var: name, value: e.add(variable(name, 'u32'), cast(product, 'u32')) };
  });
  return [each('k', i32(0), i32(length), 1, add)];
}

/** One row with the columns from `base` on. */
const sumsOfRow = (t: Site, base: Expr, at: Expr, body: readonly Stmt[]): readonly Stmt[] => [
  ...declareSums(t),
  ...body,
  ...putSums(t, i32(0)),
  ...storeAll(t, base, i32(0), at),
];

/** Unsigned sums: those that wrap in C without a cast in their way, for compilers see no sum of products through casts. */
const declareSums = (t: Site): readonly Stmt[] =>
  Array.from({ length: t.count }, (_, c) => ({
    s: 'let',
    var: sumName(t, c),
    value: constant(0, 'u32'),
    mutable: true,
  }));

/** Into memory from `first` on, or on top of what is there. */
function putSums(t: Site, first: Expr, onTop = false): readonly Stmt[] {
  return Array.from({ length: t.count }, (_, c): Stmt => {
    const index = e.add(first, c);
    const sum = cast(variable(sumName(t, c), 'u32'), 'i32');
    return { s: 'store', buf: t.sums, index, value: onTop ? e.add(load(t.sums, [index], 'i32'), sum) : sum };
  });
}

const storeAll = (t: Site, base: Expr, first: Expr, at: Expr): readonly Stmt[] =>
  Array.from({ length: t.count / NARROWEST }, (_, v) =>
    storeSums(t, e.add(base, v * NARROWEST), e.add(first, v * NARROWEST), v, at),
  ).flat();

/** The epilogue of a vector's worth of sums, which lie from `from` on; where only some are columns, one by one. */
function storeSums(t: Site, base: Expr, from: Expr, v: number, at: Expr): readonly Stmt[] {
  const { nest, r, s, l, o } = t;
  const name = s.columns.var;
  const total = constOf(s.columns.hi) as number;
  const first = constOf(base);
  const rowSum = t.rowSums === null ? i32(0) : load(t.rowSums, [at], 'i32');
  const start = startOf(s, l, r, t.columns, s.x.zero, rowSum);
  if (first !== null && first >= total) return [];
  const sumOf = (index: Expr, lanes = 1): Expr => load(t.sums, [index], 'i32', { lanes });
  if (first !== null && first + NARROWEST > total) {
    const value = e.add(start, sumOf(e.sub(e.add(from, variable(name, 'i32')), first)));
    const store: Stmt = { ...nest.store, value: substituteVars(nest.store.value, new Map([[r.acc, value]])) };
    return [{ ...s.columns, lo: i32(first), body: [store] }];
  }
  const acc = `${r.acc}_v${v}`;
  const value = e.add(startsFrom(start, name, base, o), sumOf(from, NARROWEST));
  const stored = storeVector(nest.store, r.acc, variable(acc, 'i32', NARROWEST), name, base, (x) => x, o);
  return [{ s: 'let', var: acc, value, mutable: false }, ...stored];
}
