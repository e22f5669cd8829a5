// Columns widened once for a block of rows: where multiplying takes lanes of 16 bits and widening bytes on loading costs
// as much as a product, a tile of columns is laid out in 16 bits for so many tiles of rows as a near cache holds.
// The packed columns themselves stay bytes: constants keep their size in the file.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, variable } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import type { DotSchedule } from './dot.js';
import { type ColumnLayout, tileAt } from './dot-panels.js';
import { constOf, each } from './loops.js';
import type { For } from './nest.js';
import type { DotTarget } from './target.js';

/** Fewer tiles of rows do not pay for widening. */
const LEAST_TILES = 4;
const MOST_TILES = 16;
/** Bytes of packed rows that stay near. */
const NEAR = 128 << 10;

/** Tiles of rows that share a widened tile of columns; 1: each widens on loading. */
export function tilesOfBlock(s: DotSchedule, l: ColumnLayout, rows: number, dot: DotTarget): number {
  if (!dot.widensInBlocks || !s.rows || s.group !== 2 || DTYPE_INFO[s.y.dtype].bytes !== 1) return 1;
  const near = Math.floor(NEAR / (rows * l.depth * 2));
  const most = Math.min(MOST_TILES, near);
  const size = constOf(s.rows.hi);
  const all = size === null ? most : Math.ceil(size / rows);
  if (Math.min(all, most) < LEAST_TILES) return 1;
  return Math.ceil(all / Math.ceil(all / most));
}

/** Lanes of 16 bits in the vectors that every target has. */
export const HALVES = 8;

/** Lays out the tile of `width` columns from `start` on in `wide`. */
export function widenTile(
  s: DotSchedule,
  l: ColumnLayout,
  packed: number,
  wide: number,
  start: Parameters<typeof tileAt>[2],
  width: number,
): Stmt {
  const at = variable('w', 'i32');
  const value = load(packed, [e.add(tileAt(s, l, start), at)], 'i16', { lanes: HALVES });
  return each('w', i32(0), i32(width * l.depth), HALVES, [{ s: 'store', buf: wide, index: at, value }]);
}

/** `block`: a loop over blocks of tiles. `each`: one over a block's tiles. `first`: rows of the block before a tile. */
export function blockLoops(rows: For, count: number, tiles: number, start: string) {
  const [from, tile] = [variable(`${rows.var}_b`, 'i32'), variable(`${rows.var}_t`, 'i32')];
  const step = count * tiles;
  const blocks: For = { ...rows, var: `${rows.var}_b`, step };
  const whole = constOf(rows.hi) !== null && (constOf(rows.hi) as number) % step === 0;
  const to = whole ? i32(step) : e.min(i32(step), e.sub(rows.hi, from));
  const last = e.sub(rows.hi, count);
  const position = e.add(from, tile);
  const value: Expr = whole ? position : e.min(position, last);
  const eachTile = (body: readonly Stmt[]): Stmt => ({
    ...rows,
    var: `${rows.var}_t`,
    hi: to,
    step: count,
    mode: 'serial',
    body: [{ s: 'let', var: start, value, mutable: false }, ...body],
  });
  return { block: (body: readonly Stmt[]): Stmt => ({ ...blocks, body }), each: eachTile, first: tile };
}
