// SOFTMAX of TFLite integers along the last axis. 8-bit inputs have 256 possible distances from the row's maximum, so the
// fixed-point exponentials are a table; sum and reciprocal follow the reference kernel in Q12.19 and Q0.31.
// 16-bit inputs interpolate two tables of 513 entries, of exp on [-10, 0] and of 1/(1+x) on [0, 1].

import type { Builder, Read } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { DTYPE_INFO } from '../../../support/dtype.js';
import type { LowerContext } from '../record.js';
import { inputAffine, outputType, typeRange } from './affine.js';
import { expOfNegative, quantizeMultiplier, type Rounding, roundAway, scaled } from './fixed-point.js';
import { mulHigh, scale, shiftRight } from './fixed-point-expr.js';
import { reciprocal } from './reciprocal.js';
import { integerTable } from './tables.js';

const { fround } = Math;

export const integerSoftmax = (
  { x }: { readonly x: Value },
  { beta }: { readonly beta: number },
  b: Builder,
  ctx: LowerContext,
): Value => (x.type.dtype === 'i16' ? softmax16(b, x, beta, ctx) : softmax8(b, x, beta, ctx));

/** Integer bits of a difference in Q5.26. */
const DIFFERENCE_BITS = 5;

/** Factor from stored differences to Q5.26, and the largest difference that counts. */
export function differenceScale(beta: number, inputScale: number, rounding: Rounding) {
  const most = rounding === 'single' ? 2 ** 30 - 1 : 2 ** 31 - 1;
  const multiplier = quantizeMultiplier(Math.min(beta * inputScale * 2 ** (31 - DIFFERENCE_BITS), most), rounding);
  const reach = Math.floor(((2 ** DIFFERENCE_BITS - 1) * 2 ** (31 - DIFFERENCE_BITS)) / 2 ** multiplier.shift);
  return { multiplier, reach };
}

/** exp(−k·scale·beta) in Q0.31 for k = 0 … 255; zero beyond reach. */
export function exponentials(b: Builder, beta: number, inputScale: number, rounding: Rounding): Value {
  const { multiplier, reach } = differenceScale(beta, inputScale, rounding);
  const entry = (_: unknown, k: number): number => (k > reach ? 0 : expOfNegative(scaled(-k, multiplier, rounding)));
  return integerTable(b, 'i32', Array.from({ length: 256 }, entry));
}

/** Sum of exponentials of each row, Q12.19, with the axis kept. */
export function sumOfExponentials(b: Builder, x: Value, most: Value, table: Value): Value {
  const last = x.type.shape.length - 1;
  const rows = [...x.type.shape.slice(0, last), 1];
  return b.generic({
    shape: rows,
    reduce: [x.type.shape[last] ?? 1],
    reducer: 'add',
    body: (i, r, read) => {
      const value = exponential(read, x, most, table, [...i.slice(0, last), r[0] as Expr]);
      return e.add(e.shrS(value, 12), e.and(e.shrS(value, 11), 1));
    },
  });
}

function exponential(read: Read, x: Value, most: Value, table: Value, i: readonly Expr[]): Expr {
  return read(table, [e.sub(cast(rowOf(read, most, i), 'i32'), cast(read(x, i), 'i32'))]);
}

const rowOf = (read: Read, v: Value, i: readonly Expr[]): Expr => read(v, [...i.slice(0, -1), e.const(0, 'i32')]);

function softmax8(b: Builder, x: Value, beta: number, ctx: LowerContext): Value {
  const dtype = outputType(ctx);
  const { lo, hi } = typeRange(dtype);
  const table = exponentials(b, beta, inputAffine(ctx, 0).scale, ctx.rounding);
  const most = b.reduce(x, 'max', [-1], true);
  const sum = sumOfExponentials(b, x, most, table);
  const factor = b.map([sum], (s) => reciprocal(s, 12).scale);
  const exponent = b.map([sum], (s) => e.add(reciprocal(s, 12).bitsOverUnit, 31 - DTYPE_INFO[dtype].bits));
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const product = mulHigh(rowOf(read, factor, i), exponential(read, x, most, table, i));
      return cast(e.min(e.add(shiftRight(product, rowOf(read, exponent, i)), lo), hi), dtype);
    },
  });
}

interface Curve {
  readonly inputScale: number;
  readonly inputZero: number;
  readonly f: (x: number) => number;
}

/** 513 samples of f over the 16-bit range in Q0.15, each moved by half the interpolation's error in mid-interval; float32 steps. */
function samples({ inputScale, inputZero, f }: Curve): readonly number[] {
  const [lo, hi] = [fround(inputScale * (-32768 - inputZero)), fround(inputScale * (32767 - inputZero))];
  const outputScale = fround(2 / 65535);
  const [outLo, outHi] = [fround(outputScale * -32768), fround(outputScale * 32767)];
  const step = fround(fround(hi - lo) / 512);
  const half = fround(step / 2);
  const inverse = fround(65536 / fround(outHi - outLo));
  const at = (v: number): number => fround(fround(f(v)) * inverse);
  const clamp = (v: number): number => Math.min(32767, Math.max(-32768, v));
  const position = (i: number): number => fround(lo + fround(i * step));
  const entry = (_: unknown, i: number): number => {
    if (i === 512) return clamp(roundAway(at(hi)));
    const sample = roundAway(at(position(i)));
    const between = roundAway(fround(fround(at(position(i + 1)) + sample) / 2));
    const error = fround(between - roundAway(at(fround(position(i) + half))));
    return clamp(fround(sample - roundAway(fround(error / 2))));
  };
  return Array.from({ length: 513 }, entry);
}

/** Interpolates a table of 513 samples at a 16-bit position held in i32. */
function interpolate(read: Read, table: Value, position: Expr): Expr {
  const index = e.add(e.shrS(position, 7), 256);
  const base = cast(read(table, [index]), 'i32');
  const slope = e.sub(cast(read(table, [e.add(index, 1)]), 'i32'), base);
  return e.add(base, e.shrS(e.add(e.mul(slope, e.and(position, 0x7f)), 64), 7));
}

const saturate16 = (x: Expr): Expr => e.clamp(x, -32768, 32767);

function softmax16(b: Builder, x: Value, beta: number, ctx: LowerContext): Value {
  const exps = integerTable(b, 'i16', samples({ inputScale: fround(10 / 65535), inputZero: 32767, f: Math.exp }));
  const inverses = integerTable(
    b,
    'i16',
    samples({ inputScale: fround(1 / 65535), inputZero: -32768, f: (v) => fround(1 / fround(1 + v)) }),
  );
  const m = quantizeMultiplier((inputAffine(ctx, 0).scale * beta) / (10 / 65535), ctx.rounding);
  const most = b.reduce(x, 'max', [-1], true);
  const exp = b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const difference = e.sub(cast(read(x, i), 'i32'), cast(rowOf(read, most, i), 'i32'));
      return interpolate(read, exps, saturate16(e.add(scale(difference, m, ctx.rounding), 32767)));
    },
  });
  const sum = b.reduce(exp, 'add', [-1], true);
  const inverse = b.generic({
    shape: sum.type.shape,
    body: (i, _r, read) => {
      const total = read(sum, i);
      const shifted = e.shrU(e.add(e.shl(total, e.sub(e.op('clz', total), 1)), 2 ** 13), 14);
      return interpolate(read, inverses, saturate16(e.sub(shifted, 2 ** 15 + 2 ** 16)));
    },
  });
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const right = e.sub(31, e.op('clz', rowOf(read, sum, i)));
      const product = e.mul(read(exp, i), rowOf(read, inverse, i));
      const half = e.shl(e.const(1, 'i32'), e.sub(right, 1));
      return cast(e.clamp(e.shrS(e.add(product, half), right), 0, 32767), 'i16');
    },
  });
}
