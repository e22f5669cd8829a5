// Sums of floats times narrow integers, by way of integers: where one row of floats meets many rows of stored bytes, as when a
// decoder scores its vocabulary, widening bytes to floats costs more than the products. The floats are written once as
// fixed-point numbers of two parts of 16 bits, and each part is multiplied by dot products of narrow lanes. What is found
// here is data; fixed-lanes.ts applies it. Fast numerics only (docs/decisions/0032).

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Kernel } from '../../ir/kernel.js';
import { type Expr, i32, type LoadExpr } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { createRangeScope, rangeOf } from '../kernel/value-range.js';
import { constOf, type ScheduleOptions } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { splitLoop } from './split.js';

/** Bits before the point of the upper part, and of the lower: ±2¹⁴ and ±2¹⁴ after scaling by the largest float. */
export const UPPER_BITS = 14;
export const LOWER_BITS = 15;

export interface FixedPoint {
  readonly nest: Nest;
  readonly r: Reduction;
  /** The floats, which no loop of `rows` changes. */
  readonly x: Expr;
  /** What is stored, minus `zero`, which is steady along the sum. */
  readonly stored: LoadExpr;
  readonly zero: Expr;
  readonly along: For;
  readonly depth: number;
  /** Loops that change the floats; then those that do not, the rows of stored numbers innermost. */
  readonly outer: readonly For[];
  readonly inner: readonly For[];
  readonly rows: For;
  /** Lanes of a vector of sums. */
  readonly lanes: number;
  /** Terms whose sums cannot overflow, a multiple of a vector of them. */
  readonly chunk: number;
}

/** Fewer rows do not pay for writing the floats as integers. */
const MIN_ROWS = 64;
/** Vectors of terms that a sum has at least. */
const MIN_VECTORS = 4;

/** Products of a block of rows at least. */
const BLOCK = 1 << 18;
const MOST_BLOCKS = 16;

/**
 * Null where the sum is another, or too short. Many rows of the same floats are several blocks, each of which writes the
 * floats for itself: threads, which share out the outermost loop, then do not wait for one another.
 */
export function findFixedPoint(nest: Nest, r: Reduction, kernel: Kernel, o: ScheduleOptions): FixedPoint | null {
  const found = find(nest, r, kernel, o);
  const count = found && constOf(found.rows.hi);
  if (!found || !count || found.outer.length > 0) return found;
  const most = Math.min(MOST_BLOCKS, Math.floor((count * found.depth) / BLOCK));
  const blocks = Array.from({ length: Math.max(0, most) }, (_, k) => most - k).find((n) => count % n === 0) ?? 1;
  if (blocks === 1) return found;
  const cut = splitLoop(nest, found.rows, count / blocks);
  const again = cut.reduction && find(cut, cut.reduction, kernel, o);
  if (!again) return found;
  const isBlock = (f: For): boolean => f.var === `${found.rows.var}_g`;
  return { ...again, outer: again.inner.filter(isBlock), inner: again.inner.filter((f) => !isBlock(f)) };
}

function find(nest: Nest, r: Reduction, kernel: Kernel, o: ScheduleOptions): FixedPoint | null {
  const { dot } = o.target;
  const [along] = r.loops;
  const depth = along && constOf(along.hi);
  if (!dot || o.numerics === 'strict' || r.op !== 'add' || r.term.dtype !== 'f32' || r.loops.length !== 1) return null;
  if (!along || !depth) return null;
  const factors = factorsOf(r.term);
  const at = factors.findIndex((f) => takeApart(f, along) !== null);
  const y = at >= 0 ? takeApart(factors[at] as Expr, along) : null;
  const others = factors.filter((_, k) => k !== at);
  if (!y || others.length === 0) return null;
  const x = others.reduce((p, q) => e.mul(p, q));
  const outer = nest.loops.filter((f) => mentions(x, f.var));
  const inner = nest.loops.filter((f) => !outer.includes(f));
  const rows = [...inner].reverse().find((f) => mentions(y.stored, f.var));
  const count = inner.reduce((n, f) => n * (constOf(f.hi) ?? MIN_ROWS), 1);
  if (!rows || count < MIN_ROWS || !mentions(x, along.var)) return null;
  const lanes = dot.lanes.find((n) => depth % (2 * n) === 0) ?? dot.lanes[dot.lanes.length - 1];
  const largest = largestOf(e.sub(y.stored, y.zero), kernel);
  if (lanes === undefined || depth < MIN_VECTORS * 2 * lanes) return null;
  const chunk = Math.floor((lanes * 2 ** (31 - UPPER_BITS)) / largest / (4 * lanes)) * 4 * lanes;
  if (DTYPE_INFO[storedType(y.stored, kernel)].bytes !== 1 || chunk < MIN_VECTORS * 2 * lanes) return null;
  return {
    nest,
    r,
    x,
    ...y,
    along,
    depth,
    outer,
    inner: [...inner.filter((f) => f !== rows), rows],
    rows,
    lanes,
    chunk,
  };
}

const factorsOf = (x: Expr): readonly Expr[] =>
  x.k === 'op' && x.op === 'mul' && x.dtype === 'f32' ? x.args.flatMap(factorsOf) : [x];

/** A float made of a stored integer, contiguous along the sum, and a zero point. */
function takeApart(x: Expr, along: For): Pick<FixedPoint, 'stored' | 'zero'> | null {
  if (x.k !== 'cast' || x.arg.dtype !== 'i32') return null;
  const [stored, zero] = x.arg.k === 'op' && x.arg.op === 'sub' ? (x.arg.args as [Expr, Expr]) : [x.arg, i32(0)];
  if (stored.k !== 'load' || stored.guard || mentions(zero, along.var)) return null;
  return isOne(coefficient(stored.index[0] as Expr, along.var)) ? { stored, zero } : null;
}

const storedType = (x: LoadExpr, kernel: Kernel) => kernel.params[x.src]?.dtype ?? x.dtype;

/** The largest absolute value. */
function largestOf(x: Expr, kernel: Kernel): number {
  const { lo, hi } = rangeOf(
    x,
    createRangeScope((slot) => kernel.params[slot]?.dtype),
  );
  return Math.max(1, -lo, hi);
}

/** Whether the floats are near as they are: one element of memory each. */
export const isBare = (x: Expr): boolean => x.k === 'load' && loadsOf(x).length === 1;
