// Sums of floats times narrow integers, by way of integers: where one row of floats meets many rows of stored bytes, as when a
// decoder scores its vocabulary, widening bytes to floats costs more than the products. The floats are written once as
// fixed-point numbers of two parts of 16 bits (fixed-parts.ts), and each part is multiplied by dot products of narrow lanes
// (fixed-lanes.ts). What is found here is data. Fast numerics only (docs/decisions/0032).

import type { Constants } from './operands.js';
import { coefficient, isOne, mentioning, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Kernel } from '../../ir/kernel.js';
import { children, type Expr, factorsOf, i32, type LoadExpr, visitWithin } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { createRangeScope, rangeOf } from '../kernel/value-range.js';
import { constOf, type ScheduleOptions } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import { splitLoop } from './split.js';

/** Bits before the point of the upper part, and of the lower: ±2¹⁴ and ±2¹⁴ after scaling by the largest float. */
export const UPPER_BITS = 14;
export const LOWER_BITS = 15;

export interface FixedPoint {
  readonly nest: Nest;
  readonly r: Reduction;
  readonly along: For;
  readonly depth: number;
  /** The floats, which no loop of `inner` changes. */
  readonly x: Expr;
  /** What is stored, minus `zero`, times `scale` (null: 1), both steady within a chunk. */
  readonly stored: LoadExpr;
  readonly zero: Expr;
  readonly scale: Expr | null;
  /** Buffers that are constant. */
  readonly constants: Constants;
  /** Loops that change the floats; then those that do not, the rows of stored numbers innermost. */
  readonly outer: readonly For[];
  readonly inner: readonly For[];
  readonly rows: For;
  /** Lanes of a vector of sums. */
  readonly lanes: number;
  /** Terms that are added up in integers: their sums cannot overflow, and they fill whole vectors. */
  readonly chunk: number;
}

/** Fewer rows do not pay for writing the floats as integers. */
const MIN_ROWS = 64;
/** Vectors of terms that a sum has at least, and a chunk of it. */
const MIN_VECTORS = 4;
const MIN_CHUNK = 2;

/** Products of a block of rows at least, some 20 µs of WebAssembly: about what a thread's share is worth. More blocks than any threads take in turn
 *  write the floats again for nothing. */
const BLOCK = 1 << 18;
const MOST_BLOCKS = 16;

/**
 * Null where the sum is another, or too short. Many rows of the same floats are several blocks, each of which writes the
 * floats for itself: threads, which share out the outermost loop, then do not wait for one another.
 */
export function findFixedPoint(nest: Nest, r: Reduction, o: ScheduleOptions): FixedPoint | null {
  const found = find(nest, r, o);
  const count = found && constOf(found.rows.hi);
  if (!found || !count || found.outer.length > 0) return found;
  const most = Math.min(MOST_BLOCKS, Math.floor((count * found.depth) / BLOCK));
  const blocks = Array.from({ length: Math.max(0, most) }, (_, k) => most - k).find((n) => count % n === 0) ?? 1;
  if (blocks === 1) return found;
  const cut = splitLoop(nest, found.rows, count / blocks);
  const again = cut.reduction && find(cut, cut.reduction, o);
  if (!again) return found;
  const isBlock = (f: For): boolean => f.var === `${found.rows.var}_g`;
  return { ...again, outer: again.inner.filter(isBlock), inner: again.inner.filter((f) => !isBlock(f)) };
}

function find(nest: Nest, r: Reduction, o: ScheduleOptions): FixedPoint | null {
  const { source } = o;
  const [along] = r.loops;
  const depth = along && constOf(along.hi);
  if (o.numerics === 'strict' || r.op !== 'add' || r.term.dtype !== 'f32' || r.loops.length !== 1) return null;
  if (!along || !depth || !source) return null;
  const { kernel, constants } = source;
  const factors = factorsOf(r.term);
  const at = factors.findIndex((f) => takeApart(f, along, kernel) !== null);
  const y = at >= 0 ? takeApart(factors[at] as Expr, along, kernel) : null;
  const rows = y && [...nest.loops].reverse().find((f) => mentions(y.stored, f.var));
  if (!y || !rows) return null;
  const others = factors.filter((_, k) => k !== at);
  const x = product(others.filter((f) => !mentions(f, rows.var)));
  const scale = product(others.filter((f) => mentions(f, rows.var)));
  if (!x || !mentions(x, along.var)) return null;
  const outer = nest.loops.filter((f) => mentions(x, f.var));
  const inner = nest.loops.filter((f) => !outer.includes(f) && f !== rows);
  if ([...inner, rows].reduce((n, f) => n * (constOf(f.hi) ?? MIN_ROWS), 1) < MIN_ROWS) return null;
  const steady = steadyFor(along, ...(scale ? [scale] : []), y.zero);
  const shape = steady === null ? null : chunksOf(depth, steady, largestOf(e.sub(y.stored, y.zero), kernel), o);
  return shape && { nest, r, along, depth, x, ...y, scale, constants, outer, inner: [...inner, rows], rows, ...shape };
}

const product = (list: readonly Expr[]): Expr | null => (list.length > 0 ? list.reduce((p, q) => e.mul(p, q)) : null);

/** A float made of a stored byte, contiguous along the sum, and a zero point. */
function takeApart(x: Expr, along: For, kernel: Kernel): Pick<FixedPoint, 'stored' | 'zero'> | null {
  if (x.k !== 'cast' || x.arg.dtype !== 'i32') return null;
  const [stored, zero] = x.arg.k === 'op' && x.arg.op === 'sub' ? (x.arg.args as [Expr, Expr]) : [x.arg, i32(0)];
  const dtype = stored.k === 'load' ? kernel.params[stored.src]?.dtype : undefined;
  if (stored.k !== 'load' || stored.guard || !dtype || DTYPE_INFO[dtype].bytes !== 1) return null;
  return isOne(coefficient(stored.index[0] as Expr, along.var)) ? { stored, zero } : null;
}

/** Steps of a loop within which expressions do not change (Infinity: they never do), or null where blocks do not nest. */
function steadyFor(along: For, ...list: readonly Expr[]): number | null {
  const found = new Set<number>();
  const moves = mentioning(along.var);
  const visit = (x: Expr): boolean => {
    if (!moves(x)) return false;
    const [v, by] = x.k === 'op' ? x.args : [];
    const n = by && constOf(by);
    const isQuotient = x.k === 'op' && v?.k === 'var' && n !== null && n !== undefined;
    if (isQuotient && x.op === 'div') found.add(n);
    else if (isQuotient && (x.op === 'shr_s' || x.op === 'shr_u')) found.add(2 ** n);
    else if (children(x).length === 0) found.add(1);
    else return true;
    return false;
  };
  for (const x of list) visitWithin(x, visit);
  const least = Math.min(...found);
  return [...found].every((n) => n % least === 0) ? least : null;
}

/** The widest vectors that leave no term over, if any do, and the longest chunk that may be added up in their lanes. */
function chunksOf(
  depth: number,
  steady: number,
  largest: number,
  { target: { dot } }: ScheduleOptions,
): Pick<FixedPoint, 'lanes' | 'chunk'> | null {
  const whole = Math.min(steady, depth);
  const fits = (n: number): boolean => whole % (2 * n) === 0 && whole >= MIN_CHUNK * 2 * n;
  const isSteady = steady >= depth;
  const lanes = dot?.lanes.find(fits) ?? (isSteady ? dot?.lanes[dot.lanes.length - 1] : undefined);
  if (!lanes || depth < MIN_VECTORS * 2 * lanes) return null;
  const most = Math.floor(2 ** (31 - UPPER_BITS) / largest / 4) * 4 * lanes;
  if (isSteady) return most < MIN_CHUNK * 2 * lanes ? null : { lanes, chunk: most };
  return depth % steady === 0 && steady <= most ? { lanes, chunk: steady } : null;
}

/** The largest absolute value. */
function largestOf(x: Expr, kernel: Kernel): number {
  const { lo, hi } = rangeOf(
    x,
    createRangeScope((slot) => kernel.params[slot]?.dtype),
  );
  return Math.max(1, -lo, hi);
}
