// A sum of two 8-bit tensors as two products, an offset and a shift: the reference scales each operand, rounds, adds, scales and rounds
// again. There are 65,536 pairs of operands, and every one is looked at: a form that gives the reference's level for all of them is exact.

import { e } from '../../../ir/expr.js';
import type { Expr } from '../../../ir/scalar.js';
import type { Range } from './affine.js';
import { type Multiplier, type Rounding, scaled } from './fixed-point.js';
import { factorOf, type Interval, isEmpty, meet, type Points, stepsOf } from './steps.js';

/** One operand: its values without zero point, and how the reference scales value·2^bits. */
export interface Term {
  readonly domain: Range;
  readonly multiplier: Multiplier;
  readonly isNegative: boolean;
}

export interface WeightedSum {
  readonly terms: readonly [Term, Term];
  readonly bits: number;
  readonly out: Multiplier;
  readonly zero: number;
  readonly range: Range;
}

/** Gives the level of two operands without zero points; null where no short form is exact. */
export function weightedSum(sum: WeightedSum, rounding: Rounding): ((p: Expr, q: Expr) => Expr) | null {
  const pairs = levelsOf(sum, rounding);
  if (!pairs) return null;
  const real = sum.terms.map(
    (t) => (t.isNegative ? -1 : 1) * factorOf(t.multiplier) * 2 ** sum.bits * factorOf(sum.out),
  );
  const most = sum.terms.reduce(
    (s, { domain }, k) => s + Math.max(-domain.lo, domain.hi) * Math.abs(real[k] as number),
    1,
  );
  const shift = Math.min(MOST_BITS, Math.floor(30 - Math.log2(most)));
  const [first, second] = real.map((f) => Math.round(f * 2 ** shift)) as [number, number];
  for (const [d, g] of NEAR) {
    const factors: readonly [number, number] = [first + d, second + g];
    const found = offsets(sum, pairs, factors, shift);
    if (found) return build(sum.range, factors, shift, found);
  }
  return null;
}

const MOST_BITS = 21;

/** Factors that are tried, nearest first. */
const NEAR: readonly (readonly [number, number])[] = [0, 1, 2].flatMap((far) =>
  [-2, -1, 0, 1, 2].flatMap((d) =>
    [-2, -1, 0, 1, 2].filter((g) => Math.max(Math.abs(d), Math.abs(g)) === far).map((g): [number, number] => [d, g]),
  ),
);

/** Levels of all pairs, the second operand varying fastest. */
function levelsOf({ terms, bits, out, zero, range }: WeightedSum, rounding: Rounding): Int32Array | null {
  const [p, q] = terms.map(({ domain, multiplier, isNegative }) =>
    Float64Array.from({ length: domain.hi - domain.lo + 1 }, (_, k) => {
      const v = scaled((domain.lo + k) * 2 ** bits, multiplier, rounding);
      return isNegative ? -v : v;
    }),
  ) as [Float64Array, Float64Array];
  const domain = { lo: Math.min(...p) + Math.min(...q), hi: Math.max(...p) + Math.max(...q) };
  const points = stepsOf({ multiplier: out, zero, range, domain }, rounding);
  if (!points) return null;
  const starts = startsOf(points, range);
  const factor = factorOf(out);
  const levels = new Int32Array(p.length * q.length);
  let at = 0;
  for (const a of p)
    for (const b of q) {
      const v = a + b;
      let k = Math.min(range.hi, Math.max(range.lo, Math.round(v * factor) + zero)) - range.lo;
      while (v < (starts[k] as number)) k--;
      while (v >= (starts[k + 1] as number)) k++;
      levels[at++] = k + range.lo;
    }
  return levels;
}

/** The least value of each level, from the lowest level up, and beyond the highest. */
function startsOf({ values, levels }: Points, range: Range): Float64Array {
  const starts = new Float64Array(range.hi - range.lo + 2).fill(Number.POSITIVE_INFINITY);
  starts.fill(Number.NEGATIVE_INFINITY, 0, (levels[0] as number) - range.lo + 1);
  for (let i = 1; i < values.length; i++)
    starts.fill(values[i] as number, (levels[i - 1] as number) - range.lo + 1, (levels[i] as number) - range.lo + 1);
  return starts;
}

interface Found {
  readonly offset: number;
  /** Added where the products' sum is negative. */
  readonly below: number;
}

function offsets(
  { terms, range }: WeightedSum,
  levels: Int32Array,
  [first, second]: readonly [number, number],
  shift: number,
): Found | null {
  const unit = 2 ** shift;
  const [p, q] = [terms[0].domain, terms[1].domain];
  let [low, high, lowBelow, highBelow] = [-LARGEST, LARGEST, -LARGEST, LARGEST];
  let at = 0;
  for (let a = p.lo; a <= p.hi; a++) {
    let v = a * first + q.lo * second;
    for (let b = q.lo; b <= q.hi; b++, v += second) {
      const level = levels[at++] as number;
      const least = (level > range.lo ? level * unit : -LARGEST) - v;
      const most = (level < range.hi ? (level + 1) * unit - 1 : LARGEST) - v;
      if (v >= 0) {
        if (least > low) low = least;
        if (most < high) high = most;
      } else {
        if (least > lowBelow) lowBelow = least;
        if (most < highBelow) highBelow = most;
      }
    }
    if (low > high || lowBelow > highBelow) return null;
  }
  const [positive, negative]: [Interval, Interval] = [
    { least: low, most: high },
    { least: lowBelow, most: highBelow },
  ];
  const both = meet(positive, negative);
  if (!isEmpty(both)) return { offset: middle(both), below: 0 };
  return { offset: middle(positive), below: middle(negative) - middle(positive) };
}

const LARGEST = 2 ** 30;
const middle = (i: Interval): number => Math.floor((i.least + i.most) / 2);

const build =
  (range: Range, [first, second]: readonly [number, number], shift: number, { offset, below }: Found) =>
  (p: Expr, q: Expr): Expr => {
    const products = e.add(e.mul(p, first), e.mul(q, second));
    const sum = e.add(products, offset);
    const rounded = below === 0 ? sum : e.add(sum, e.and(e.shrS(products, 31), below));
    return e.clamp(e.shrS(rounded, shift), range.lo, range.hi);
  };
