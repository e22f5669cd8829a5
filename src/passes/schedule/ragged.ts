// Columns that no whole number of tiles covers: the last tile is moved back over work that is done, which for 100 columns in
// tiles of 32 is a fifth of all. Where narrower vectors take less for what is left over, the nest is two along its columns.

import { e } from '../../ir/expr.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, i32, substituteVars, variable } from '../../ir/scalar.js';
import { bestTile, fitsNear, mayTake, type Setting, type TileSchedule } from './choose.js';
import { costOf } from './cost.js';
import { constOf, type ScheduleOptions, widths } from './loops.js';
import type { For, Nest, Reduction, Store } from './nest.js';
import { isUnrolled } from './window.js';

/** What two nests may take of the time of one: each is code. */
const MOST = 0.92;

/** One of the two, and how it is to be scheduled. */
export interface Part {
  readonly nest: Nest;
  readonly reduction: Reduction;
  readonly at: Setting;
}

/** A nest as one for the columns that tiles fill and one for the rest; `tile` is the best for it as a whole. Neither has a panel
 *  for one tile only: it would be filled outside the loops that are left, which threads could then not share. */
export function cutRagged(
  nest: Nest,
  r: Reduction,
  tile: TileSchedule,
  o: ScheduleOptions,
  at: Setting,
): readonly Part[] | null {
  const { columns } = tile;
  const size = constOf(columns.hi);
  if (at.part || at.shorter.size > 0 || size === null || isUnrolled(tile, r)) return null;
  if (tile.packed.some((x) => x.k !== 'load')) return null; // to be computed once, not for each row
  const cyclesOf = (p: Part, steps: number, stored: boolean): number => {
    const best = bestTile(p.nest, p.reduction, o, p.at);
    if (best?.tile.columns.var !== columns.var) return Infinity;
    const { packed, vectors, lanes, isStored } = best.tile;
    if (isStored !== stored) return Infinity;
    return packed.length > 0 && !isStored && vectors * lanes === steps ? Infinity : best.cost * steps;
  };
  let least = MOST * costOf(tile, nest, r, o, at.shorter) * size;
  let cheapest: readonly Part[] | null = null;
  for (const [head, tail] of cutsOf(size, o))
    for (const isStored of tile.isStored ? [true] : fitsNear(r, columns, tile.inner, o) ? [false] : [false, true]) {
      if (isStored && !mayTake(head + tail, size)) continue;
      const whole = { ...at, isStored };
      const tiles: Part = { ...alongColumns(nest, r, columns, 0, head), at: { ...whole, part: 'tiles' } };
      const rest: Part = { ...alongColumns(nest, r, columns, size - tail, tail), at: { ...whole, part: 'rest' } };
      const cycles = cyclesOf(tiles, head, isStored) + cyclesOf(rest, tail, isStored);
      if (cycles < least) [least, cheapest] = [cycles, [tiles, rest]];
    }
  return cheapest;
}

/** Where a loop may be cut: as many columns as vectors fill, and the rest or the narrowest vector that covers it. */
function cutsOf(size: number, o: ScheduleOptions): readonly (readonly [head: number, tail: number])[] {
  const all = widths(o.target);
  const tiles = [...new Set(all.flatMap((lanes) => [lanes, o.target.tile.vectors * lanes]))];
  return tiles.flatMap((width) => {
    const head = size - (size % width);
    if (head === 0 || head === size) return [];
    const covering = [...all].reverse().find((lanes) => lanes >= size - head && lanes < size);
    return [...new Set([size - head, covering ?? size - head])].map((tail) => [head, tail] as const);
  });
}

/** The part of a nest from column `from` on, so many columns of it. */
function alongColumns(nest: Nest, r: Reduction, columns: For, from: number, count: number): Omit<Part, 'at'> {
  const moved = new Map([[columns.var, e.add(variable(columns.var, 'i32'), from)]]);
  const move = (x: Expr): Expr => (from === 0 ? x : substituteVars(x, moved));
  const loops = nest.loops.map((f) => (f === columns ? { ...f, hi: i32(count) } : f));
  const reduction = { ...r, init: move(r.init), term: move(r.term) };
  return { nest: { loops, store: mapExprs([nest.store], move)[0] as Store, reduction }, reduction };
}
