// Small pieces schedules share: nesting loops, tiles that end at the edge, sizes where constant.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, variable } from '../../ir/scalar.js';
import type { For } from './nest.js';
import type { Source } from './operands.js';
import type { VectorTarget } from './target.js';
import type { Lanes } from './vectorize.js';

export interface ScheduleOptions {
  readonly target: VectorTarget;
  readonly numerics: 'fast' | 'strict';
  /** The kernel, for schedules that ask what its buffers hold. */
  readonly source?: Source;
  /** Accumulators of maxima and minima that need not note NaN: it shows anyway. */
  readonly quiet?: ReadonlySet<string>;
}

/** The same target with vectors of `lanes`. */
export const atWidth = (o: ScheduleOptions, lanes: number): ScheduleOptions =>
  lanes === o.target.lanes ? o : { ...o, target: { ...o.target, lanes } };

/** Every width a vector can have, widest first. */
export function widths({ lanes }: VectorTarget): readonly number[] {
  const out: number[] = [];
  for (let w = lanes; w >= NARROWEST; w /= 2) out.push(w);
  return out;
}

/** Widths of vectors that serve so many elements (null: unknown), widest first, each for what the one before leaves over. */
export function widthsFor(target: VectorTarget, size: number | null): readonly number[] {
  if (size === null) return [...new Set([target.lanes, NARROWEST])];
  let left = size;
  return widths(target).filter((w) => {
    const serves = left >= w;
    left %= w;
    return serves;
  });
}

/** Lanes of the narrowest vectors: those every target has. */
export const NARROWEST = 4;

/** Statements a reduction inside a tile may be written out to. */
export const MAX_UNROLLED = 40;
/** And where rows of the tile then share what they read: a window of five by five, three rows. */
export const MAX_OVERLAPPING = 75;

export const wrap = (loops: readonly For[], body: readonly Stmt[]): readonly Stmt[] =>
  loops.reduceRight<readonly Stmt[]>((inner, f) => [{ ...f, body: inner }], body);

export const constOf = (x: Expr): number | null => (x.k === 'const' ? Number(x.value) : null);

/** Lanes along `name` from `base`, without gathers, or vectors made of two. */
export const lanesAt = (name: string, base: Expr, o: ScheduleOptions, vars: Lanes['vars'] = new Map()): Lanes => ({
  target: o.target,
  name,
  base,
  gather: false,
  apart: false,
  vars,
});

export const each = (name: string, lo: Expr, hi: Expr, step: number, body: readonly Stmt[]): For => ({
  s: 'for',
  var: name,
  lo,
  hi,
  step,
  mode: 'serial',
  body,
});

/** Tile size along a loop: at most `most`, no more than its constant size, a multiple of `unit`. */
export const tileSize = (loop: For, most: number, unit: number): number => {
  const size = constOf(loop.hi);
  return size === null ? most : Math.max(unit, Math.min(most, Math.floor(size / unit) * unit));
};

/** A loop over tiles; `start` is the tile's first position. The last tile is moved back to end at the edge. */
export function tileLoop(loop: For, tile: number, start: string, body: readonly Stmt[]): Stmt {
  const size = constOf(loop.hi);
  const at = variable(loop.var, 'i32');
  const exact = size !== null && size % tile === 0;
  const from = exact ? at : e.min(at, e.sub(loop.hi, tile));
  return { ...loop, step: tile, body: [{ s: 'let', var: start, value: from, mutable: false }, ...body] };
}

/** Several steps at once: what is computed, then stores, then the rest. A load behind a store would wait, in a compiler's
 *  order, for what is stored. */
export function storesLast(steps: readonly Stmt[]): readonly Stmt[] {
  const stores = steps.filter((s) => s.s === 'store');
  if (stores.length < 2) return steps;
  const named = stores.map((s, k) => {
    const name = `${STORED}${k}`;
    const before: Stmt = { s: 'let', var: name, value: s.value, mutable: false };
    return { before, after: { ...s, value: variable(name, s.value.dtype, s.value.lanes) } };
  });
  return [...named.map((n) => n.before), ...named.map((n) => n.after), ...steps.filter((s) => s.s !== 'store')];
}

/** A name no size of a model is likely to have. */
const STORED = 'stored_';
