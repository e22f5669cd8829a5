// Whether an integer contraction takes Strassen's scheme in Winograd's form (1971), one level: two tiles of rows, two tiles of columns and two
// halves of the reduction take seven products of half the length instead of eight. What is multiplied are sums of up to four values, which must
// fit in 16 bits; sums of products wrap in 32, so the result is exact. What is found here is data; dot-strassen-tile.ts applies it.

import { DTYPE_INFO } from '../../support/dtype.js';
import { type DotSchedule, sizeOfLoops } from './dot.js';
import { HALVES } from './dot-blocks.js';
import type { ColumnLayout } from './dot-panels.js';
import { constOf } from './loops.js';
import type { DotTarget } from './target.js';

/** Signs of x₁₁, x₁₂, x₂₁ and x₂₂, or of a column operand's. */
type Signs = readonly [number, number, number, number];

export interface Product {
  readonly x: Signs;
  readonly y: Signs;
  /** The partial sum it goes on from; null: nothing. */
  readonly from: number | null;
  /** The partial sum it leaves, or the tile of rows and the tile of columns whose result it completes. */
  readonly to: number | readonly [number, number];
  /** Another partial sum it belongs to, too. */
  readonly also?: number;
}

/** Partial sums. */
export const PARTIALS = 3;
/** In the order they are taken. */
export const PRODUCTS: readonly Product[] = [
  { x: [1, 0, 0, 0], y: [1, 0, 0, 0], from: null, to: 0 },
  { x: [-1, 0, 1, 1], y: [1, -1, 0, 1], from: 0, to: 1 },
  { x: [0, 0, 1, 1], y: [-1, 1, 0, 0], from: 1, to: 2 },
  { x: [1, 1, -1, -1], y: [0, 0, 0, 1], from: 2, to: [0, 1] },
  { x: [1, 0, -1, 0], y: [0, -1, 0, 1], from: 2, to: [1, 1], also: 1 },
  { x: [0, 0, 0, 1], y: [-1, 1, 1, -1], from: 1, to: [1, 0] },
  { x: [0, 1, 0, 0], y: [0, 0, 1, 0], from: 0, to: [0, 0] },
];

export interface Strassen {
  /** Rows of a product: half of those that are taken together. */
  readonly rows: number;
  /** Such pairs of tiles in a block. */
  readonly tiles: number;
  /** Columns in pairs of tiles. */
  readonly width: number;
  /** Length of half the reduction. */
  readonly half: number;
}

/** Pairs of tiles in a block: columns are widened for each, so larger blocks gain 1 to 3 % (measured) and take memory. */
const MOST_TILES = 16;
/** Fewer do not pay for widening. */
const LEAST_TILES = 4;
/** Bytes of a block's sums of rows that stay in a second-level cache. */
const NEAR = 256 << 10;
/** What is saved at least, as a part of all operations on vectors. */
const LEAST_GAIN = 1 / 20;
/** Products for each operation: eight take a product of lanes and a sum. */
const OF_PAIR = 4;
/** Operations to begin seven products and to keep what they leave. */
const AROUND = 240;
/** And for eight lanes of each quarter of the rows: loads, sums, stores and the loop, which waits for what was just packed. */
const SUMMING = 40;

/** How it would run; null where it would save little, or sums would not fit. */
export function chooseStrassen(s: DotSchedule, l: ColumnLayout, dot: DotTarget): Strassen | null {
  const size = s.rows && constOf(s.rows.hi);
  const length = sizeOfLoops(s.depth);
  const half = length / 2;
  if (!size || !dot.widensInBlocks || !s.hasRoom || s.group !== 2 || DTYPE_INFO[s.y.dtype].bytes !== 1) return null;
  if (length % (2 * s.group) !== 0 || half < HALVES) return null;
  const { rows } = dot.tile;
  const most = Math.min(MOST_TILES, Math.floor(NEAR / (PRODUCTS.length * rows * half * 2)));
  const all = Math.ceil(size / (2 * rows));
  if (most < LEAST_TILES || all < 2) return null;
  const pairs = Math.floor(l.whole / (2 * l.tile));
  const products = (pairs * 2 * rows * 2 * l.tile * length) / OF_PAIR;
  const twice = (2 * rows * all - size) / (2 * rows * all); // rows that the last tile does again
  const spent = pairs * AROUND + (rows * half * SUMMING) / HALVES + twice * products;
  if (products / 8 - spent < LEAST_GAIN * products) return null;
  return { rows, tiles: Math.ceil(all / Math.ceil(all / most)), width: pairs * 2 * l.tile, half };
}
