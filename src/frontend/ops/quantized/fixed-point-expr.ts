// The fixed-point arithmetic of fixed-point.ts as 32-bit integer expressions. They are equal to the reference kernels bit
// for bit, yet cheap: one high product, no 64-bit intermediate, so that they vectorise and run where there is no i64.
// Factors known at import are immediates, or constant tables read by channel.

import type { Builder, Read } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr, i32 } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { type Multiplier, type Rounding, reducedMultiplier } from './fixed-point.js';

const mulHighSigned = (a: Expr, b: Expr | number): Expr => e.op('mulhi_s', a, b);

/** (a·b + 2^30) >> 31 for i32 a and b, not both the minimum. The doubled product's high half, and what its low half carries. */
export function mulHigh(a: Expr, b: Expr): Expr {
  const carry = e.shrU(e.add(e.shrU(e.mul(a, b), 30), 1), 1);
  return e.add(e.shl(mulHighSigned(a, b), 1), carry);
}

/** As mulHigh with a known factor 0 ≤ q < 2^31: 2q fits 32 bits unsigned, which saves shifting the product. */
const mulHighConst = (a: Expr, q: number): Expr => doubled(a, i32((2 * q) | 0), 2 * q < 2 ** 31);

/** The high half of a·d rounded, d = 2q held in 32 bits; where its top bit is set the signed product lacks a·2^32. */
function doubled(a: Expr, d: Expr, small = false): Expr {
  const high = mulHighSigned(a, d);
  return e.add(small ? high : e.add(high, a), e.shrU(e.mul(a, d), 31));
}

/** x / 2^exponent, half away from zero; exponent in 0..31. */
export function shiftRight(x: Expr, exponent: number | Expr): Expr {
  if (exponent === 0) return x;
  const mask = typeof exponent === 'number' ? i32(2 ** exponent - 1) : e.sub(e.shl(i32(1), exponent), 1);
  const threshold = e.sub(e.shrS(mask, 1), e.shrS(x, 31));
  const up = e.select(e.gt(e.and(x, mask), threshold), 1, 0);
  return e.add(e.shrS(x, exponent), up);
}

/** shiftRight where x plus half of 2^exponent cannot overflow. */
function shiftRightSmall(x: Expr, exponent: number): Expr {
  if (exponent === 0) return x;
  return e.shrS(e.add(x, e.shrS(x, 31), 2 ** (exponent - 1)), exponent);
}

/** x·2^exponent for a known exponent, saturated to 32 bits. */
export function shiftLeftSaturated(x: Expr, exponent: number): Expr {
  const limit = Math.floor((2 ** 31 - 1) / 2 ** exponent);
  const shifted = e.shl(x, exponent);
  return e.select(e.gt(x, limit), 2 ** 31 - 1, e.select(e.lt(x, -limit - 1), -(2 ** 31), shifted));
}

/** i32 x times a multiplier, both roundings. `bound`: |x| is known not to exceed it, which allows a shorter form. */
export function scale(x: Expr, m: Multiplier, rounding: Rounding, bound = 2 ** 31): Expr {
  if (m.q === 0) return i32(0);
  if (rounding === 'single') return scaleOnce(x, m);
  if (m.shift === 1 && m.q === 2 ** 30) return x;
  const left = Math.max(0, m.shift);
  const high = mulHighConst(left > 0 ? e.shl(x, left) : x, m.q);
  const right = Math.max(0, -m.shift);
  return bound * 2 ** left <= 2 ** 30 && right <= 30 ? shiftRightSmall(high, right) : shiftRight(high, right);
}

/** One rounding, half up: (x·q + 2^(s-1)) >> s with s = 31 - shift. From s = 33 on the product's low half does not matter. */
function scaleOnce(x: Expr, { q, shift }: Multiplier): Expr {
  const total = 31 - shift;
  if (total >= 33) return e.shrS(e.add(mulHighSigned(x, q), 2 ** (total - 33)), total - 32);
  const product = e.mul(cast(x, 'i64'), q);
  return cast(e.shrS(e.add(product, e.const(1n << BigInt(total - 1), 'i64')), total), 'i32');
}

/** A 64-bit accumulator times a multiplier, which loses its low 16 bits first: the same in both roundings. */
export function scaleWide(x: Expr, m: Multiplier): Expr {
  const { q, shift } = reducedMultiplier(m);
  const total = 15 - shift;
  return cast(e.shrS(e.add(e.mul(x, q), e.const(1n << BigInt(total - 1), 'i64')), total), 'i32');
}

/** Scales an accumulator element; `channel` is the index along the axis the multipliers run over. */
export type Scaler = (x: Expr, read: Read, channel: Expr) => Expr;

/** One multiplier for all channels, or one each as constant tables. `bounds`: |x| is known not to exceed them, by channel or
 *  all alike, which allows shorter forms. */
export function channelScaler(
  b: Builder,
  multipliers: readonly Multiplier[],
  rounding: Rounding,
  { wide, bounds = [2 ** 31] }: { readonly wide: boolean; readonly bounds?: readonly number[] },
): Scaler {
  const [first] = multipliers;
  if (!first) return (x) => x;
  if (multipliers.every((m) => m.q === first.q && m.shift === first.shift))
    return wide ? (x) => scaleWide(x, first) : (x) => scale(x, first, rounding, greatest(bounds));
  if (wide) return wideTables(b, multipliers);
  return rounding === 'single' ? singleTables(b, multipliers) : doubleTables(b, multipliers, bounds);
}

const greatest = (bounds: readonly number[]): number => bounds.reduce((most, v) => Math.max(most, v), 0);

function table(b: Builder, dtype: 'i32' | 'i64', values: readonly number[]): Value {
  const data = dtype === 'i32' ? Int32Array.from(values) : BigInt64Array.from(values, BigInt);
  return b.constant({ dtype, shape: [values.length], data });
}

function wideTables(b: Builder, multipliers: readonly Multiplier[]): Scaler {
  const reduced = multipliers.map(reducedMultiplier);
  const factor = table(
    b,
    'i64',
    reduced.map((m) => m.q),
  );
  const total = table(
    b,
    'i64',
    reduced.map((m) => 15 - m.shift),
  );
  return (x, read, c) => {
    const s = read(total, [c]);
    return cast(e.shrS(e.add(e.mul(x, read(factor, [c])), e.shl(e.const(1, 'i64'), e.sub(s, 1))), s), 'i32');
  };
}

function singleTables(b: Builder, multipliers: readonly Multiplier[]): Scaler {
  const q = table(
    b,
    'i32',
    multipliers.map((m) => m.q),
  );
  if (multipliers.every((m) => m.shift <= -2)) {
    const right = table(
      b,
      'i32',
      multipliers.map((m) => -1 - m.shift),
    );
    const half = table(
      b,
      'i32',
      multipliers.map((m) => 2 ** (-2 - m.shift)),
    );
    return (x, read, c) => e.shrS(e.add(mulHighSigned(x, read(q, [c])), read(half, [c])), read(right, [c]));
  }
  const total = table(
    b,
    'i64',
    multipliers.map((m) => 31 - m.shift),
  );
  return (x, read, c) => {
    const s = read(total, [c]);
    const product = e.mul(cast(x, 'i64'), cast(read(q, [c]), 'i64'));
    return cast(e.shrS(e.add(product, e.shl(e.const(1, 'i64'), e.sub(s, 1))), s), 'i32');
  };
}

function doubleTables(b: Builder, multipliers: readonly Multiplier[], bounds: readonly number[]): Scaler {
  if (multipliers.every((m, c) => shiftsAsProduct(m, bounds[c] ?? bounds[0] ?? 2 ** 31)))
    return productTables(b, multipliers);
  const doubledQ = table(
    b,
    'i32',
    multipliers.map((m) => (2 * m.q) | 0),
  );
  const high = (x: Expr, read: Read, c: Expr): Expr => mulHighTable(x, read(doubledQ, [c]), multipliers);
  const most = greatest(bounds) * 2 ** Math.max(0, ...multipliers.map((m) => m.shift));
  if (most <= 2 ** 28 && multipliers.every((m) => m.shift >= -28)) return shortTables(b, multipliers, high);
  const left = table(
    b,
    'i32',
    multipliers.map((m) => Math.max(0, m.shift)),
  );
  const right = table(b, 'i32', multipliers.map(rightShift));
  const anyLeft = multipliers.some((m) => m.shift > 0);
  return (x, read, c) => {
    const shifted = anyLeft ? e.shl(x, read(left, [c])) : x;
    return shiftRight(high(shifted, read, c), read(right, [c]));
  };
}

/** Right by two or more, and what is added before for rounding does not overflow; or to nothing at all. */
const shiftsAsProduct = (m: Multiplier, bound: number): boolean =>
  m.q === 0 || (m.shift <= -2 && bound * (m.q / 2 ** 31) + 2 ** (-1 - m.shift) < 2 ** 31 - 2);

/** A shift by a channel's amount is a high product with a power of two, and one with 0 is 0: lanes differ freely. */
function productTables(b: Builder, multipliers: readonly Multiplier[]): Scaler {
  const of = (value: (m: Multiplier) => number): Value =>
    table(
      b,
      'i32',
      multipliers.map((m) => value(m) | 0),
    );
  const doubledQ = of((m) => 2 * m.q);
  const power = of((m) => (m.q === 0 ? 0 : 2 ** (32 + m.shift)));
  const half = of((m) => (m.q === 0 ? 0 : 2 ** (-1 - m.shift)));
  return (x, read, c) => {
    const y = doubled(x, read(doubledQ, [c]));
    return mulHighSigned(e.add(y, e.shrS(y, 31), read(half, [c])), read(power, [c]));
  };
}

const rightShift = (m: Multiplier): number => Math.max(0, -m.shift);

/** Values of 28 bits have room to go two bits up first: then a shift by 0 or 1 is a high product, too. A left shift is a product. */
function shortTables(
  b: Builder,
  multipliers: readonly Multiplier[],
  high: (x: Expr, read: Read, c: Expr) => Expr,
): Scaler {
  const of = (value: (m: Multiplier) => number): Value => table(b, 'i32', multipliers.map(value));
  const left = multipliers.some((m) => m.shift > 0) ? of((m) => 2 ** Math.max(0, m.shift)) : null;
  const power = of((m) => 2 ** (30 - rightShift(m)));
  const half = of((m) => Math.floor(2 ** (rightShift(m) - 1)));
  // What is not shifted right is not rounded.
  const rounds = multipliers.every((m) => m.shift < 0) ? null : of((m) => (m.shift < 0 ? -1 : 0));
  return (x, read, c) => {
    const y = high(left ? e.mul(x, read(left, [c])) : x, read, c);
    const sign = e.shrS(y, 31);
    const rounded = e.add(y, rounds ? e.and(sign, read(rounds, [c])) : sign, read(half, [c]));
    return mulHighSigned(e.shl(rounded, 2), read(power, [c]));
  };
}

/** Zero multipliers (no top bit in 2q) among normal ones need the top bit tested per channel. */
function mulHighTable(x: Expr, d: Expr, multipliers: readonly Multiplier[]): Expr {
  if (multipliers.every((m) => m.q >= 2 ** 30)) return doubled(x, d);
  const high = e.add(mulHighSigned(x, d), e.and(x, e.shrS(d, 31)));
  return e.add(high, e.shrU(e.mul(x, d), 31));
}
