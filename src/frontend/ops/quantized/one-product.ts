// Requantisation by one product and one shift. The reference rounds twice, half away from zero the second time: two high
// products where shifts differ by channel. One product with a few more bits, an offset and a shift give the same
// levels where no step lies too near to another result, which steps.ts proves for the multipliers at hand. Offsets
// hold both roundings and the zero point; where the signs want different ones, negative products get a further one.

import type { Builder, Read } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { type Expr, i32 } from '../../../ir/scalar.js';
import { levelFrom, type Range } from './affine.js';
import type { Rounding } from './fixed-point.js';
import { scale } from './fixed-point-expr.js';
import {
  chooseOffsets,
  factorOf,
  MOST_BITS,
  type Offsets,
  offsetsFor,
  type Points,
  type Requantization,
  stepsOf,
} from './steps.js';

/** The level of an accumulator; `channel` is the index along the axis the multipliers run over. */
export type Requantizer = (x: Expr, read: Read, channel: Expr) => Expr;

/** (x·2^left·factor + offset) >> shift, of a product's upper 32 bits where it is `high`; x is clamped first where `clamps` are given. */
interface Form {
  readonly high: boolean;
  /** Exponents. */
  readonly lefts: readonly number[];
  readonly factors: readonly number[];
  readonly shift: number;
  readonly clamps: readonly Range[] | null;
}

/** Requantisers of one range and zero point; null where none of the short forms is exact. */
export function oneProduct(b: Builder, channels: readonly Requantization[], rounding: Rounding): Requantizer | null {
  const range = channels[0]?.range;
  if (!range || range.hi - range.lo > 255) return null;
  const points: Points[] = [];
  for (const c of channels) {
    const steps = stepsOf(c, rounding);
    if (!steps) return null;
    points.push(steps);
  }
  const within = points.map(reach);
  const isConstant = points.map(({ levels }) => levels[0] === levels[levels.length - 1]);
  const factors = channels.map((c, i) => (isConstant[i] ? 0 : factorOf(c.multiplier)));
  for (const kind of KINDS) {
    const domains = channels.map((c, i) => (kind.clamped || isConstant[i] ? (within[i] as Range) : c.domain));
    const form = kind.usual ? formOf(factors, domains, USUAL_BITS, kind) : mostPrecise(factors, domains, kind);
    const offsets = form && prove(form, points, range);
    if (form && offsets) return build(b, form, offsets, range);
  }
  return null;
}

/** clamp((product + offset) >> shift), with a further offset for negative products. */
export function levelFromProduct(
  product: Expr,
  offset: Expr | number,
  below: Expr | number | null,
  { shift, range }: { readonly shift: number; readonly range: Range },
): Expr {
  const sum = e.add(product, offset);
  const rounded = below === null ? sum : e.add(sum, e.and(e.shrS(product, 31), below));
  return e.clamp(e.shrS(rounded, shift), range.lo, range.hi);
}

/** The level of x by one multiplier: by one product where that is exact, else as the reference does it. `bound` as for `scale`. */
export function requantized(b: Builder, r: Requantization, rounding: Rounding, bound?: number): (x: Expr) => Expr {
  const short = oneProduct(b, [r], rounding);
  if (short) return (x) => short(x, readNothing, i32(0));
  return (x) => levelFrom(scale(x, r.multiplier, rounding, bound), r.zero, r.range);
}

/** One channel's values are constants. */
const readNothing: Read = () => {
  throw new Error('nothing is read for one multiplier');
};

/** A plain product or a high one, of all accumulators or clamped ones, shifted alike or by channel before, with the usual shifts or
 *  as many bits as fit. */
interface Kind {
  readonly high: boolean;
  readonly clamped: boolean;
  readonly alike: boolean;
  readonly usual: boolean;
}

/** Cheapest first, but layers that shift alike share their code. */
const KINDS: readonly Kind[] = [
  { high: false, clamped: false, alike: true, usual: false },
  { high: true, clamped: false, alike: true, usual: true },
  { high: true, clamped: false, alike: false, usual: true },
  { high: true, clamped: false, alike: true, usual: false },
  { high: true, clamped: false, alike: false, usual: false },
  { high: true, clamped: true, alike: false, usual: false },
];

/** The values between which levels change; 0 where they do not. */
function reach({ values, levels }: Points): Range {
  const first = values[levels.lastIndexOf(levels[0] as number)] as number;
  const last = values[levels.indexOf(levels[levels.length - 1] as number)] as number;
  return first < last ? { lo: first, hi: last } : { lo: 0, hi: 0 };
}

const sizeOf = ({ lo, hi }: Range): number => Math.max(Math.abs(lo), Math.abs(hi), 1);

/** As many bits behind the point as fit. */
function mostPrecise(factors: readonly number[], domains: readonly Range[], kind: Kind): Form | null {
  for (let bits = MOST_BITS; bits >= LEAST_BITS; bits--) {
    const form = formOf(factors, domains, bits, kind);
    if (form) return form;
  }
  return null;
}

/** Steps of fewer are too coarse to succeed. */
const LEAST_BITS = 10;
/** What nearly all layers of the test data can have (decision 44): those share their code. */
const USUAL_BITS = 16;
const USUAL_LEFTS = 4;

function formOf(
  factors: readonly number[],
  domains: readonly Range[],
  shift: number,
  { high, clamped, alike, usual }: Kind,
): Form | null {
  if (factors.some((f, c) => f * sizeOf(domains[c] as Range) * 2 ** shift > 2 ** 29)) return null;
  const scaledUp = factors.map((f) => f * 2 ** (high ? shift + 32 : shift));
  const least = scaledUp.map((f) => (high ? Math.max(0, Math.floor(Math.log2(Math.max(f, 1))) - 30) : 0));
  const most = domains.map((d) => Math.ceil(30 - Math.log2(sizeOf(d))));
  const common = Math.max(...least);
  const left = usual ? Math.ceil(common / USUAL_LEFTS) * USUAL_LEFTS : common;
  const lefts = alike ? least.map(() => left) : least;
  const whole = scaledUp.map((f, c) => Math.round(f / 2 ** (lefts[c] as number)));
  const fits = whole.every((f, c) => f < 2 ** 31 && (lefts[c] as number) <= (most[c] as number));
  return fits ? { high, lefts, factors: whole, shift, clamps: clamped ? domains : null } : null;
}

function prove(form: Form, points: readonly Points[], range: Range): readonly Offsets[] | null {
  const found: Offsets[] = [];
  const products = new Float64Array(Math.max(...points.map((p) => p.values.length)));
  for (const c of hardestFirst(form)) {
    const { values: at, levels } = points[c] as Points;
    writeProducts(products, form, c, at);
    const offsets = offsetsFor(levels, products, form.shift, range);
    if (!offsets) return null;
    found[c] = offsets;
  }
  return found;
}

/** The smaller a factor, the nearer results lie to steps. */
function hardestFirst({ factors, lefts }: Form): readonly number[] {
  const sizes = factors.map((f, c) => f * 2 ** (lefts[c] as number));
  return [...factors.keys()].sort((c, d) => (sizes[c] as number) - (sizes[d] as number));
}

/** Exact: by halves of a factor of 31 bits, as doubles hold 53. */
function writeProducts(to: Float64Array, { high, lefts, factors, clamps }: Form, c: number, at: Int32Array): void {
  const factor = factors[c] as number;
  const left = 2 ** (lefts[c] as number);
  const [upper, lower] = [left * (factor >>> 16), left * (factor & 0xffff)];
  const { lo, hi } = clamps?.[c] ?? EVERY;
  for (let i = 0; i < at.length; i++) {
    const x = Math.min(hi, Math.max(lo, at[i] as number));
    to[i] = high ? Math.floor((x * upper + Math.floor((x * lower) / 65536)) / 65536) : x * factor;
  }
}

const EVERY: Range = { lo: -(2 ** 31), hi: 2 ** 31 - 1 };

function build(b: Builder, form: Form, found: readonly Offsets[], range: Range): Requantizer {
  const { offsets, below: further } = chooseOffsets(found);
  const { lefts, clamps, shift } = form;
  const [factor, offset] = [values(b, form.factors), values(b, offsets)];
  const below = further && values(b, further);
  const power = isSame(lefts) ? null : values(b, lefts.map(powerOfTwo));
  const [least, most] = [clamps && values(b, clamps.map(lowOf)), clamps && values(b, clamps.map(highOf))];
  return (x, read, c) => {
    const inside = least && most ? e.clamp(x, least(read, c), most(read, c)) : x;
    const raised = power ? e.mul(inside, power(read, c)) : shiftedLeft(inside, lefts[0] ?? 0);
    const product = form.high ? e.op('mulhi_s', raised, factor(read, c)) : e.mul(raised, factor(read, c));
    return levelFromProduct(product, offset(read, c), below?.(read, c) ?? null, { shift, range });
  };
}

const powerOfTwo = (k: number): number => 2 ** k;
const lowOf = (r: Range): number => r.lo;
const highOf = (r: Range): number => r.hi;
const isSame = (xs: readonly number[]): boolean => xs.every((x) => x === xs[0]);
const shiftedLeft = (x: Expr, k: number): Expr => (k === 0 ? x : e.shl(x, k));

/** A constant, or a table of constants read by channel. */
function values(b: Builder, xs: readonly number[]): (read: Read, channel: Expr) => Expr {
  const first = i32((xs[0] as number) | 0);
  if (isSame(xs)) return () => first;
  const table = b.constant({ dtype: 'i32', shape: [xs.length], data: Int32Array.from(xs) });
  return (read, c) => read(table, [c]);
}
