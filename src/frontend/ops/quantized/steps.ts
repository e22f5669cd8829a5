// Proofs that a cheaper form of requantisation gives the reference's levels, value by value. A level is what is stored: a
// scaled integer plus zero point, clamped. Two non-decreasing functions that agree on both sides of each step of one of
// them agree everywhere, so the steps are all that is looked at.

import type { Range } from './affine.js';
import { type Multiplier, type Rounding, scalerOf } from './fixed-point.js';

/** A requantisation as the reference does it. */
export interface Requantization {
  readonly multiplier: Multiplier;
  readonly zero: number;
  /** What is stored is clamped to. */
  readonly range: Range;
  /** Values there can be. */
  readonly domain: Range;
}

/** Values in order, each with its level: the ends of the domain and both sides of each step. */
export interface Points {
  readonly values: Int32Array;
  readonly levels: Int32Array;
}

/** The level of a value, as the reference computes it. */
export function leveler(r: Omit<Requantization, 'domain'>, rounding: Rounding): (x: number) => number {
  const { range, zero } = r;
  const scale = scalerOf(r.multiplier, rounding);
  return (x) => Math.min(range.hi, Math.max(range.lo, scale(x) + zero));
}

/** The factor a multiplier stands for. */
export const factorOf = ({ q, shift }: Multiplier): number => q * 2 ** (shift - 31);

/** Null where the reference's own arithmetic may overflow. Also holds both sides of 0, where a form may change. */
export function stepsOf(r: Requantization, rounding: Rounding): Points | null {
  const { multiplier, zero, domain } = r;
  const size = Math.max(Math.abs(domain.lo), Math.abs(domain.hi));
  if (size * Math.max(factorOf(multiplier), 2 ** Math.max(0, multiplier.shift)) >= 2 ** 31) return null;
  const level = leveler(r, rounding);
  const [first, last] = [level(domain.lo), level(domain.hi)];
  const starts = startsOf(multiplier, rounding, first + 1 - zero, last - zero);
  const most = 2 * starts.length + 4;
  const [values, levels] = [new Int32Array(most), new Int32Array(most)];
  values[0] = domain.lo;
  levels[0] = first;
  let count = 1;
  let isBelow = domain.lo < 0 && domain.hi >= 0;
  for (let k = 0; k <= starts.length; k++) {
    const x = k < starts.length ? (starts[k] as number) : domain.hi + 1;
    const at = first + k;
    if (isBelow && x > 0) {
      isBelow = false;
      if ((values[count - 1] as number) < -1) [values[count], levels[count++]] = [-1, at];
      if ((values[count - 1] as number) < 0) [values[count], levels[count++]] = [0, at];
    }
    if ((values[count - 1] as number) < x - 1) [values[count], levels[count++]] = [x - 1, at];
    if (k === starts.length) break;
    if (values[count - 1] === x) count--; // two steps at once
    [values[count], levels[count++]] = [x, at + 1];
  }
  return { values: values.subarray(0, count), levels: levels.subarray(0, count) };
}

/** The least x that is scaled to j or more, for j from `from` to `to`. Where a quotient of floats does not decide, the reference does. */
function startsOf(m: Multiplier, rounding: Rounding, from: number, to: number): Float64Array {
  const right = Math.max(0, -m.shift);
  const [unit, half] = [2 ** right, right > 0 ? 2 ** (right - 1) : 0];
  const inverse = 2 ** (30 - Math.max(0, m.shift)) / m.q;
  const once = 2 ** (30 - m.shift) / m.q;
  const scale = scalerOf(m, rounding);
  const starts = new Float64Array(Math.max(0, to - from + 1));
  for (let j = from; j <= to; j++) {
    const least = j * unit - half + (j <= 0 && right > 0 ? 1 : 0); // of the first rounding's results; ties go away from 0
    const quotient = rounding === 'single' ? (2 * j - 1) * once : (2 * least - 1) * inverse;
    let x = Math.ceil(quotient);
    if (Math.abs(quotient - Math.round(quotient)) <= DOUBT) {
      while (scale(x - 1) >= j) x--;
      while (scale(x) < j) x++;
    }
    starts[j - from] = x;
  }
  return starts;
}

/** More than the error of a quotient below 2^31. */
const DOUBT = 2 ** -20;

/** What may be added so that a shift to the right gives the wanted levels: to products from 0 up, and to negative ones. */
export interface Offsets {
  readonly positive: Interval;
  readonly negative: Interval;
}

interface Interval {
  readonly least: number;
  readonly most: number;
}

const meet = (a: Interval, b: Interval): Interval => ({
  least: Math.max(a.least, b.least),
  most: Math.min(a.most, b.most),
});

const isEmpty = (i: Interval): boolean => i.least > i.most;

/** Offsets o for which clamp((product + o) >> shift) is the level of each point; null where there are none, or sums overflow. */
export function offsetsFor(levels: Int32Array, products: Float64Array, shift: number, range: Range): Offsets | null {
  const unit = 2 ** shift;
  let [low, high, lowBelow, highBelow] = [-LARGEST, LARGEST, -LARGEST, LARGEST];
  for (let i = 0; i < levels.length; i++) {
    const level = levels[i] as number;
    const p = products[i] as number;
    const least = (level > range.lo ? level * unit : -LARGEST) - p;
    const most = (level < range.hi ? (level + 1) * unit - 1 : LARGEST) - p;
    if (p >= 0) {
      if (least > low) low = least;
      if (most < high) high = most;
    } else {
      if (least > lowBelow) lowBelow = least;
      if (most < highBelow) highBelow = most;
    }
  }
  if (low > high || lowBelow > highBelow) return null;
  return { positive: { least: low, most: high }, negative: { least: lowBelow, most: highBelow } };
}

/** Bits behind the point, at most: of a sum's 31, levels have 8 and what is beyond them two. */
export const MOST_BITS = 21;

/** Well within 32 bits: two offsets and a product are added. */
const LARGEST = 2 ** 30;

/** One offset each, the same for all where there is one; `below` is added to it for negative products, if anything is. */
export interface Chosen {
  readonly offsets: readonly number[];
  readonly below: readonly number[] | null;
}

export function chooseOffsets(found: readonly Offsets[]): Chosen {
  const both = found.map((o) => meet(o.positive, o.negative));
  if (!both.some(isEmpty)) return { offsets: middles(both), below: null };
  const offsets = middles(found.map((o) => o.positive));
  const further = found.map(({ negative }, c) => ({
    least: negative.least - (offsets[c] as number),
    most: negative.most - (offsets[c] as number),
  }));
  return { offsets, below: middles(further) };
}

function middles(intervals: readonly Interval[]): readonly number[] {
  const common = intervals.reduce(meet);
  const middle = (i: Interval): number => Math.floor((i.least + i.most) / 2);
  return isEmpty(common) ? intervals.map(middle) : intervals.map(() => middle(common));
}
