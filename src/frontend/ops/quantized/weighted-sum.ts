// A sum of two 8-bit tensors as products, an offset and a shift: the reference scales each operand, rounds, adds, scales and rounds
// again. There are 65,536 pairs of operands, and every one is looked at: a form that gives the reference's level for all of them is exact.

import { e } from '../../../ir/expr.js';
import type { Expr } from '../../../ir/scalar.js';
import type { Range } from './affine.js';
import { type Multiplier, type Rounding, scalerOf } from './fixed-point.js';
import { levelFromProduct } from './one-product.js';
import { chooseOffsets, factorOf, MOST_BITS, offsetsFor, type Points, stepsOf } from './steps.js';

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
  for (const weights of weightsFor(real.map((f) => f * 2 ** shift))) {
    const found = offsetsFor(pairs, productsOf(sum, weights), shift, sum.range);
    if (!found) continue;
    const { offsets, below } = chooseOffsets([found]);
    return (p, q) =>
      levelFromProduct(sumOf(p, q, weights), offsets[0] as number, below?.[0] ?? null, { shift, range: sum.range });
  }
  return null;
}

/** Factors of both operands; `fine` are further bits behind them, which take two more products. */
interface Weights {
  readonly factors: readonly [number, number];
  readonly fine: readonly [number, number] | null;
}

/** The nearest whole factors, then others near them, then some more bits. */
function weightsFor(real: readonly number[]): readonly Weights[] {
  const [first, second] = real.map(Math.round) as [number, number];
  const near = NEAR.map(([d, g]): Weights => ({ factors: [first + d, second + g], fine: null }));
  const fine = real.map((f) => Math.round((f - Math.round(f)) * 2 ** FINE_BITS)) as [number, number];
  return [...near, { factors: [first, second], fine }];
}

const FINE_BITS = 10;

const NEAR: readonly (readonly [number, number])[] = [0, 1].flatMap((far) =>
  [-1, 0, 1].flatMap((d) =>
    [-1, 0, 1].filter((g) => Math.max(Math.abs(d), Math.abs(g)) === far).map((g): [number, number] => [d, g]),
  ),
);

function sumOf(p: Expr, q: Expr, { factors, fine }: Weights): Expr {
  const whole = e.add(e.mul(p, factors[0]), e.mul(q, factors[1]));
  return fine ? e.add(whole, e.shrS(e.add(e.mul(p, fine[0]), e.mul(q, fine[1])), FINE_BITS)) : whole;
}

/** `sumOf` of all pairs, as `levelsOf` has them. */
function productsOf({ terms }: WeightedSum, { factors, fine }: Weights): Float64Array {
  const [p, q] = [terms[0].domain, terms[1].domain];
  const products = new Float64Array((p.hi - p.lo + 1) * (q.hi - q.lo + 1));
  const [first, second] = factors;
  const [fineFirst, fineSecond] = fine ?? [0, 0];
  let at = 0;
  for (let a = p.lo; a <= p.hi; a++)
    for (let b = q.lo; b <= q.hi; b++)
      products[at++] = a * first + b * second + ((a * fineFirst + b * fineSecond) >> FINE_BITS);
  return products;
}

/** Levels of all pairs, the second operand varying fastest. */
function levelsOf({ terms, bits, out, zero, range }: WeightedSum, rounding: Rounding): Int32Array | null {
  const [p, q] = terms.map(({ domain, multiplier, isNegative }) => {
    const scale = scalerOf(multiplier, rounding);
    const lifted = (k: number): number => scale((domain.lo + k) * 2 ** bits);
    return Float64Array.from({ length: domain.hi - domain.lo + 1 }, (_, k) => (isNegative ? -lifted(k) : lifted(k)));
  }) as [Float64Array, Float64Array];
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
