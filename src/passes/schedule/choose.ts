// Which schedule a reduction gets, from how its indices depend on its loops; no operator is known here. The choice is
// plain data: what is split, reordered, vectorised, unrolled and packed. Matrix products, convolutions and their
// transposes are all the same case: an axis that only some reads walk (columns) and one that those reads ignore (rows).
// Candidates of every width compete by an estimate of cycles (cost.ts).

import { coefficient, isOne, isZero, mentioning, mentions } from '../../ir/affine.js';
import { type Expr, i32, rewriteExpr, variable, visitExpr, visitWithin } from '../../ir/scalar.js';
import { costOf } from './cost.js';
import { guardsOf } from './interior.js';
import { innermostInLanes } from './lanes.js';
import { atWidth, constOf, lanesAt, MAX_OVERLAPPING, NARROWEST, type ScheduleOptions, widths } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { vectorizeExpr } from './vectorize.js';
import { distinctReads, isUnrolled, rowsOverlap } from './window.js';

export type Schedule =
  /** As lowered. */
  | { readonly kind: 'plain' }
  /** A register tile of `rowCount` × `vectors`: columns in vectors, rows unrolled, columns' loop outermost of `inner`. */
  | TileSchedule
  /** Lanes along the reduction. */
  | { readonly kind: 'lanes'; readonly along: For; readonly lanes: number };

export interface TileSchedule {
  readonly kind: 'tile';
  readonly columns: For;
  /** In a vector. */
  readonly lanes: number;
  /** Vectors of columns in the tile. */
  readonly vectors: number;
  readonly rows: For | null;
  readonly rowCount: number;
  /** Loops the column operand ignores, rows last; they run inside the columns' loop where the operand is packed. */
  readonly inner: readonly For[];
  /** Parts of the term that depend on columns but not on `inner`: computed once a column tile into a panel. Empty: read in place. */
  readonly packed: readonly Expr[];
  /** The packed part is constant: it is laid out at compile time, the panels of all column tiles one behind the other. */
  readonly isStored: boolean;
  /** For sizes smaller than another tile: code counts for more than speed. */
  readonly isFallback: boolean;
}

/** What is known where the schedule is to run. */
export interface Setting {
  /** Whether the kernel can take panels. */
  readonly mayPack: boolean;
  /** Loops of unknown size that are shorter than this here: a tile of that many was tried. */
  readonly shorter: ReadonlyMap<string, number>;
  /** Loops of unknown size that have at least so many steps here. */
  readonly atLeast: ReadonlyMap<string, number>;
  /** Floats are added up as floats: the other way was tried. */
  readonly inFloats?: boolean;
  /** Which of two nests along its columns this is, the first being for whole tiles. */
  readonly part?: 'tiles' | 'rest';
  /** Whether the tiles of the nest it is a part of are stored: then those of both parts are, and nothing else is. */
  readonly isStored?: boolean;
}

/** A panel is worth its copy from this many uses, and from this many steps of the reduction. */
const MIN_REUSE = 16;
const MIN_DEPTH = 8;
/** Bytes of a panel that stay in a first- or second-level cache. */
const MAX_PANEL = 256 << 10;
/** Elements of a column operand that few rows need not have in one stream. */
const MAX_APART = 16384;
/** And up to which it is laid out at compile time, by the interpreter. */
const MAX_STORED = 1 << 24;
/** Columns that may be stored for each there is, where the last tile is full and rows are many. */
const MAX_ROOM = 1 + 1 / 32;

export function chooseSchedule(nest: Nest, r: Reduction, o: ScheduleOptions, at: Setting): Schedule {
  const best = bestTile(nest, r, o, at);
  if (best) return best.tile;
  for (const lanes of widths(o.target)) {
    const along = innermostInLanes(r, atWidth(o, lanes));
    if (along) return { kind: 'lanes', along, lanes };
  }
  return { kind: 'plain' };
}

/** The tile that takes least, and what that is for each output. */
export function bestTile(
  nest: Nest,
  r: Reduction,
  o: ScheduleOptions,
  at: Setting,
): { readonly tile: TileSchedule; readonly cost: number } | null {
  const tiles = nest.loops
    .flatMap((columns) => describeTiles(nest, r, columns, o, at))
    .filter((t) => !t.isFallback || isShort(t, nest, at))
    .map((tile) => ({ tile, cost: costOf(tile, nest, r, o, at.shorter) }));
  return tiles.sort((a, b) => a.cost - b.cost)[0] ?? null;
}

/** Whether a loop is known to have room for so many steps at once. */
export const hasRoom = (f: For, steps: number, at: Setting): boolean =>
  steps === 1 || constOf(f.hi) !== null || steps <= (at.atLeast.get(f.var) ?? 1);

/** Little code: vectors are stored as such, and at most the columns need another fallback. */
const isShort = (t: TileSchedule, nest: Nest, at: Setting): boolean =>
  isOne(coefficient(nest.store.index, t.columns.var)) && (t.rows === null || hasRoom(t.rows, t.rowCount, at));

/** Every tile with these columns: of each width a vector can have, of each number of vectors and rows. */
function describeTiles(nest: Nest, r: Reduction, columns: For, o: ScheduleOptions, at: Setting): TileSchedule[] {
  const reads = (x: { index: readonly Expr[]; guard?: Expr | undefined }, f: For): boolean =>
    [...x.index, ...(x.guard ? [x.guard] : [])].some((y) => mentions(y, f.var));
  const walking = loadsOf(r.term).filter((x) => reads(x, columns));
  if (walking.length === 0 && !mentions(r.term, columns.var)) return [];
  const inner = nest.loops.filter((f) => f !== columns && !walking.some((x) => reads(x, f)));
  const isFallback = at.shorter.size > 0;
  const { tile } = o.target;
  const ignored =
    [...inner]
      .reverse()
      .find((f) => (constOf(f.hi) ?? 2) > 1 && !at.shorter.has(f.var) && (!isFallback || hasRoom(f, tile.rows, at))) ??
    null;
  const walked = nest.loops.filter((f) => f !== columns && !inner.includes(f));
  const overlapping = isFallback ? [] : [...walked].reverse().filter((f) => overlaps(r, f)); // of equals the innermost
  return [
    ...tilesWith(r, columns, ignored, inner, o, at),
    ...overlapping.flatMap((rows) => tilesWith(r, columns, rows, [], o, at)),
  ];
}

/** Whether two neighbours along a loop read some elements both, where the reduction is short enough to be written out. */
function overlaps(r: Reduction, f: For): boolean {
  const steps = r.loops.reduce((p, l) => p * (constOf(l.hi) ?? Infinity), 1);
  const loads = loadsOf(r.term).filter((x) => mentions(x.index[0] as Expr, f.var));
  if (r.blocks || 2 * steps > MAX_OVERLAPPING || (constOf(f.hi) ?? 2) < 2 || !guardsOf(r)) return false;
  return loads.some((x) => distinctReads(x, r.loops, f, 2) < 2 * distinctReads(x, r.loops, f, 1));
}

function tilesWith(
  r: Reduction,
  columns: For,
  rows: For | null,
  inner: readonly For[],
  o: ScheduleOptions,
  at: Setting,
): TileSchedule[] {
  const size = constOf(columns.hi);
  const short = at.shorter.get(columns.var);
  const isFallback = at.shorter.size > 0;
  const { tile } = o.target;
  const isWindow = rowsOverlap({ rows, inner });
  return widths(o.target)
    .flatMap((lanes): TileSchedule[] => {
      const narrow = atWidth(o, lanes);
      const next = short === undefined ? Infinity : short <= NARROWEST ? 0 : Math.max(short / 4, NARROWEST);
      const longest = Math.max(next, at.atLeast.get(columns.var) ?? 0);
      const fits = (v: number): boolean =>
        (v === 1 || lanes === o.target.lanes) && // several narrow vectors: a wide one does it
        (size === null ? v * lanes <= longest : v * lanes <= size);
      const counts = upTo(rows ? tile.vectors : 2 * tile.vectors).filter(fits);
      if (counts.length === 0) return [];
      const inPlace = readsInPlace(r, columns, narrow);
      const found =
        at.mayPack && at.part !== 'rest' && rows && !isWindow ? packedParts(r, columns, inner, narrow, at) : [];
      const isSteady = r.loops.length === 1 || o.target.unrolls;
      const isSmall = fitsNear(r, columns, inner, o);
      const isNear = inPlace && isSteady && isSmall && found.every((x) => x.k === 'load');
      const parts = isNear ? [] : found;
      const few = isFew(inner);
      const mayStore = at.mayPack && !isFallback && !isWindow && (at.isStored ?? !(few ? isSmall : isNear));
      const stored = mayStore ? storedParts(r, columns, few, narrow) : [];
      const most = rows ? (constOf(rows.hi) ?? tile.rows) : 1;
      const limit = isWindow ? tile.overlapping : tile.rows;
      const known = rows === null || isWindow || constOf(rows.hi) !== null;
      const rowCounts = known ? upTo(Math.min(limit, most)).slice(isWindow ? 1 : 0) : [tile.rows];
      const widest = size === null && !isWindow ? counts.slice(-1) : counts;
      return widest.flatMap((vectors) => {
        const mayGrow = few || (size !== null && mayTake(roomOf(size, vectors * lanes), size));
        const isStored = stored.length > 0 && mayGrow;
        const inMemory = [...(inPlace ? [[]] : []), ...(parts.length > 0 ? [parts] : [])];
        const operands = isStored ? [stored] : inMemory;
        return rowCounts.flatMap((rowCount) =>
          operands.map(
            (packed) =>
              ({ kind: 'tile', columns, lanes, vectors, rows, rowCount, inner, packed, isStored, isFallback }) as const,
          ),
        );
      });
    })
    .filter((t) => !isWindow || isUnrolled(t, r));
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, k) => k + 1);

/** The whole column operand is near, for as many rows as read it: reading it in place costs nothing. */
export function fitsNear(r: Reduction, columns: For, inner: readonly For[], o: ScheduleOptions): boolean {
  const sizes = [columns, ...r.loops].map((f) => constOf(f.hi) ?? Infinity);
  return sizes.reduce((p, d) => p * d, 1) <= (isFew(inner) ? MAX_APART : o.target.near);
}

/** Every read invariant or contiguous along the columns, and the term a vector. */
function readsInPlace(r: Reduction, columns: For, o: ScheduleOptions): boolean {
  const loads = loadsOf(r.term);
  const strides = loads.map((x) => coefficient(x.index[0] as Expr, columns.var));
  if (!strides.every((c) => isZero(c) || isOne(c))) return false;
  if (!strides.some(isOne) && !mentions(r.term, columns.var)) return false; // what is masked by columns walks them, too
  if (loads.some((x) => x.guard && mentions(x.guard, columns.var))) return false;
  const probe = vectorizeExpr(r.term, lanesAt(columns.var, i32(0), o));
  return probe !== null && probe.lanes > 1;
}

/** Whether the term is a vector once the packed part is one. */
function vectorizesAround(r: Reduction, part: Expr, columns: For, o: ScheduleOptions): boolean {
  const name = 'packed';
  const rest = rewriteExpr(r.term, (x) => (x === part ? variable(name, part.dtype) : x));
  const vars = new Map([[name, variable(name, part.dtype, o.target.lanes)]]);
  const made = vectorizeExpr(rest, lanesAt(columns.var, i32(0), o, vars));
  return made !== null && made.lanes > 1 && o.target.supports(r.op, r.init.dtype, o.target.lanes);
}

/** Columns that tiles of so many have stored. */
const roomOf = (size: number, width: number): number => Math.ceil(size / width) * width;

/** Whether a constant may be stored in tiles that have room for so many of its columns. */
export const mayTake = (room: number, size: number): boolean => room <= MAX_ROOM * size;

/** So few rows that a panel made for them would not pay. */
const isFew = (inner: readonly For[]): boolean =>
  inner.reduce((p, f) => p * (constOf(f.hi) ?? Infinity), 1) < MIN_REUSE;

/** A constant whose columns' tiles are to be one stream of memory: a panel that is made while the program runs reads
 *  pieces of rows far apart. None where it has another reader, which would keep it as it is, or is of halves that many rows
 *  would widen. */
function storedParts(r: Reduction, columns: For, few: boolean, o: ScheduleOptions): readonly Expr[] {
  const own = new Set([columns, ...r.loops].map((f) => f.var));
  const sizes = [columns, ...r.loops].map((f) => constOf(f.hi) ?? Infinity);
  const parts = loadsOf(r.term).filter((x) => x.index.some((i) => mentions(i, columns.var)));
  const [part] = parts;
  if (!part || parts.length > 1 || part === r.term || part.guard) return [];
  const isHalf = part.dtype === 'i32' && o.source?.kernel.params[part.src]?.dtype === 'i16' && r.init.dtype === 'f32';
  if (part.dtype !== 'f32' && !(isHalf && few)) return [];
  let isApart = o.source?.constants.get(part.src)?.isOwn === true;
  for (const i of part.index)
    visitExpr(i, (x) => {
      if (x.k === 'dim' || x.k === 'load' || (x.k === 'var' && !own.has(x.name))) isApart = false;
    });
  if (!isApart || sizes.reduce((p, d) => p * d, 1) > MAX_STORED) return [];
  return vectorizesAround(r, part, columns, o) ? [part] : [];
}

/** The largest parts of the term that walk the columns and ignore the inner loops; none where packing does not pay. */
function packedParts(
  r: Reduction,
  columns: For,
  inner: readonly For[],
  o: ScheduleOptions,
  at: Setting,
): readonly Expr[] {
  const reuse = inner.reduce((p, f) => p * (constOf(f.hi) ?? (at.shorter.has(f.var) ? 1 : MIN_REUSE)), 1);
  const depths = r.loops.map((f) => constOf(f.hi));
  if (reuse < MIN_REUSE || depths.some((d) => d === null)) return [];
  const depth = (depths as number[]).reduce((p, d) => p * d, 1);
  const width = 4 * o.target.lanes * o.target.tile.vectors;
  if (depth < MIN_DEPTH || depth * width > MAX_PANEL) return [];
  const parts: Expr[] = [];
  let fits = true;
  const byColumn = mentioning(columns.var);
  const byInner = inner.map((f) => mentioning(f.var));
  visitWithin(r.term, (x) => {
    if (!byColumn(x)) return false;
    const isPart = !byInner.some((by) => by(x)) && (x.dtype === 'f32' || x.dtype === 'i32') && x.k !== 'var';
    if (isPart) parts.push(x);
    else if (x.k !== 'op' && x.k !== 'cast') fits = false;
    return !isPart && fits;
  });
  if (!fits || parts.length !== 1 || parts[0] === r.term) return [];
  let loads = 0;
  visitExpr(parts[0] as Expr, (x) => {
    if (x.k === 'load') loads++;
  });
  return loads > 0 && vectorizesAround(r, parts[0] as Expr, columns, o) ? parts : [];
}
