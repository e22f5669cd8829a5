// An 8-bit tensor times a constant one: each constant value makes a function of one byte, which a product with a constant of its
// own, an offset and a shift give exactly where that is proved for all bytes. The slopes of a PRELU that is written out are such constants.

import type { Builder } from '../../../ir/builder.js';
import { type Dim, isConst } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { DType } from '../../../support/dtype.js';
import { toNumbers } from '../../../support/tensor.js';
import { type Affine, centred, domainOf, type Range } from './affine.js';
import type { Multiplier, Rounding } from './fixed-point.js';
import { levelFromProduct } from './one-product.js';
import { chooseOffsets, factorOf, leveler, MOST_BITS, type Offsets, offsetsFor } from './steps.js';

export interface ConstantProduct {
  readonly x: Value;
  readonly from: Affine;
  /** The constant, and its zero point. */
  readonly by: Value;
  readonly byZero: number;
  readonly multiplier: Multiplier;
  readonly zero: number;
  readonly range: Range;
  readonly dtype: DType;
}

/** Null where the other operand is not constant, or no short form is exact. */
export function constantProduct(b: Builder, spec: ConstantProduct, rounding: Rounding): Value | null {
  const { x, from, by, byZero, range, dtype } = spec;
  if (by.node?.kind !== 'const' || !repeatsAlong(by, x)) return null;
  const stored = toNumbers(by.node.data.read());
  const kinds = [...new Set(stored)];
  const domain = domainOf(x, from);
  const real = kinds.map((v) => (v - byZero) * factorOf(spec.multiplier));
  const most = real.reduce((m, f) => Math.max(m, Math.abs(f) * Math.max(-domain.lo, domain.hi)), 1);
  const shift = Math.min(MOST_BITS, Math.floor(29 - Math.log2(most)));
  const factors = real.map((f) => Math.round(f * 2 ** shift));
  const found: Offsets[] = [];
  const level = leveler(spec, rounding);
  const all = Float64Array.from({ length: domain.hi - domain.lo + 1 }, (_, i) => domain.lo + i);
  for (const [k, value] of kinds.entries()) {
    const levels = new Int32Array(all.map((p) => level(p * (value - byZero))));
    const products = all.map((p) => p * (factors[k] as number));
    const offsets = offsetsFor(levels, products, shift, range);
    if (!offsets) return null;
    found.push(offsets);
  }
  const { offsets, below } = chooseOffsets(found);
  const place = new Map(kinds.map((v, k) => [v, k]));
  const spread = (xs: readonly number[]): Value => {
    const data = Int32Array.from(stored, (v) => xs[place.get(v) as number] as number);
    return b.constant({ dtype: 'i32', shape: by.type.shape as readonly number[], data });
  };
  const tables = [factors, offsets, below].filter((xs) => xs !== null).map(spread);
  return b.map([x, ...tables], (p, ...read) => {
    const [factor, offset, further] = read as [Expr, Expr, Expr | undefined];
    const product = e.mul(centred(p as Expr, from.zero), factor);
    return cast(levelFromProduct(product, offset, further ?? null, { shift, range }), dtype);
  });
}

/** Whether the result has x's shape, and tables are small beside it. */
function repeatsAlong(by: Value, x: Value): boolean {
  const [small, large] = [by.type.shape, x.type.shape];
  const offset = large.length - small.length;
  const fits = offset >= 0 && small.every((d, k) => d === 1 || (isConst(d) && d === large[k + offset]));
  const count = (shape: readonly Dim[]): number => shape.reduce((n: number, d) => n * (isConst(d) ? d : 1), 1);
  return fits && (count(small) === 1 || count(small) * REPEATS <= count(large));
}

/** Three tables of four bytes an element are then no more than what is read of x and written. */
const REPEATS = 8;
