// Functions of one TFLite integer tensor. 8-bit transcendental ones are tables of 256 entries; what is piecewise linear is
// integer arithmetic for every width; 16-bit sigmoid and tanh interpolate a table as the reference kernels do.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { isFloat } from '../../../support/dtype.js';
import { quantizeValue } from '../../quantization.js';
import type { LowerContext } from '../record.js';
import {
  activationRange,
  centred,
  domainOf,
  inputAffine,
  levelFrom,
  outputAffine,
  outputType,
  type Range,
  typeRange,
} from './affine.js';
import {
  inverseSquareRoot,
  type Multiplier,
  quantizeMultiplier,
  roundAway,
  scaled,
  shiftRight,
} from './fixed-point.js';
import { scale } from './fixed-point-expr.js';
import { requantized } from './one-product.js';
import { onTable, sigmoid16, sigmoidTable, tableInput, tanh16 } from './sigmoid16.js';
import { mapByTable, type TableType } from './tables.js';

interface One {
  readonly x: Value;
}

type Integer<A = object> = (inputs: One, attrs: A, b: Builder, ctx: LowerContext) => Value;

const { fround } = Math;

/** An 8-bit table of a real function, in the float32 steps of the reference; `rounded` false truncates (SQRT). */
export const tableOf =
  (f: (x: number) => number, options: { readonly rounded?: boolean } = {}): Integer =>
  ({ x }, _a, b, ctx) => {
    const [from, to] = [inputAffine(ctx, 0), outputAffine(ctx)];
    const dtype = outputType(ctx);
    if (x.type.dtype === 'i16') return ctx.limit('this function of 16-bit quantised tensors');
    const { lo, hi } = typeRange(dtype);
    const inverse = fround(1 / to.scale);
    return mapByTable(b, x, dtype as TableType, (q) => {
      const real = fround(f(fround(from.scale * (q - from.zero))));
      const level = options.rounded === false ? Math.trunc(fround(real / to.scale)) : roundAway(fround(real * inverse));
      const whole = level + to.zero;
      return Number.isNaN(whole) ? lo : Math.min(hi, Math.max(lo, whole));
    });
  };

/** A piecewise linear function: `f` is given the way to a piece's level, by its multiplier, for values within a domain. */
function linear(
  b: Builder,
  x: Value,
  ctx: LowerContext,
  f: (x: Expr, piece: (m: Multiplier, domain?: Range) => (x: Expr) => Expr) => Expr,
  activation = 'NONE',
): Value {
  const [from, to] = [inputAffine(ctx, 0), outputAffine(ctx)];
  const dtype = outputType(ctx);
  const range = activationRange(activation, to, dtype, ctx);
  const whole = domainOf(x, from);
  const bound = x.type.dtype === 'i32' ? 2 ** 31 : 2 ** 17;
  const piece = (multiplier: Multiplier, domain = whole): ((p: Expr) => Expr) =>
    requantized(b, { multiplier, zero: to.zero, range, domain }, ctx.rounding, bound);
  return b.map([x], (p) => cast(f(centred(p, from.zero), piece), dtype));
}

/** Ratio of input to output scale in float32, as a multiplier. */
const ratio = (ctx: LowerContext, factor = 1) =>
  quantizeMultiplier(
    fround(fround(inputAffine(ctx, 0).scale * fround(factor)) / outputAffine(ctx).scale),
    ctx.rounding,
  );

/** RELU, RELU6, RELU_N1_TO_1, RELU_0_TO_1: rescale, then clamp to the quantised bounds. */
export const clampedRelu =
  (activation: string): Integer =>
  ({ x }, _a, b, ctx) =>
    linear(b, x, ctx, (p, piece) => piece(ratio(ctx))(p), activation);

export const leakyRelu: Integer<{ readonly alpha: number }> = ({ x }, { alpha }, b, ctx) => {
  const [plain, sloped] = [ratio(ctx), ratio(ctx, Math.abs(alpha))];
  const { lo, hi } = domainOf(x, inputAffine(ctx, 0));
  const to = outputAffine(ctx);
  const range = typeRange(outputType(ctx));
  const mirrored = (p: Expr): Expr => levelFrom(e.neg(scale(p, sloped, ctx.rounding, 2 ** 17)), to.zero, range);
  return linear(b, x, ctx, (p, piece) => {
    const above = piece(plain, { lo: Math.max(lo, 0), hi })(p);
    return e.select(e.ge(p, 0), above, alpha < 0 ? mirrored(p) : piece(sloped, { lo, hi: Math.min(hi, 0) })(p));
  });
};

export const absolute: Integer = ({ x }, _a, b, ctx) =>
  linear(b, x, ctx, (p, piece) => piece(ratio(ctx), magnitudes(domainOf(x, inputAffine(ctx, 0))))(e.abs(p)));

const magnitudes = ({ lo, hi }: Range): Range => ({ lo: 0, hi: Math.max(-lo, hi) });

/** QUANTIZE from integers: ratio of scales in double. */
export const requantize: Integer = ({ x }, _a, b, ctx) => {
  const m = quantizeMultiplier(inputAffine(ctx, 0).scale / outputAffine(ctx).scale, ctx.rounding);
  return linear(b, x, ctx, (p, piece) => piece(m)(p));
};

/** RSQRT: a Newton iteration per value, with 20 extra bits; zero gives the largest value. */
export const inverseSquareRoots: Integer = ({ x }, _a, b, ctx) => {
  const [from, to] = [inputAffine(ctx, 0), outputAffine(ctx)];
  const dtype = outputType(ctx);
  if (x.type.dtype === 'i16') return ctx.limit('inverse square root of 16-bit quantised tensors');
  const { lo, hi } = typeRange(dtype);
  const m = quantizeMultiplier(1 / fround(fround(Math.sqrt(from.scale)) * to.scale), ctx.rounding);
  return mapByTable(b, x, dtype as TableType, (q) => {
    const value = q - from.zero;
    if (value <= 0) return hi;
    const { q: inverse, rightShift } = inverseSquareRoot(value);
    const data = scaled(1, { q: inverse, shift: 20 - rightShift }, ctx.rounding);
    return Math.min(hi, Math.max(lo, scaled(data, { q: m.q, shift: m.shift - 20 }, ctx.rounding) + to.zero));
  });
};

const INT16_MAX = 32767;
const saturate16 = (x: number): number => Math.min(INT16_MAX, Math.max(-INT16_MAX - 1, x));
/** Rounding high half of a doubled 16-bit product. */
const mulHigh16 = (p: number, q: number): number =>
  p === -INT16_MAX - 1 && q === p ? INT16_MAX : Math.floor((p * q + 2 ** 14) / 2 ** 15);
const multiplier16 = (q: number): number => Math.min(INT16_MAX, (q + 2 ** 15) >> 16);

/** HARD_SWISH in 16-bit arithmetic: x on the output's scale times a saturated (x/3 + 1)/2. */
export const hardSwish: Integer = ({ x }, _a, b, ctx) => {
  const [from, to] = [inputAffine(ctx, 0), outputAffine(ctx)];
  const dtype = outputType(ctx);
  if (x.type.dtype === 'i16') return ctx.limit('hard swish of 16-bit quantised tensors');
  const { lo, hi } = typeRange(dtype);
  const fine = fround(fround(1 / 128) * from.scale);
  const out = quantizeMultiplier(fround(fine / to.scale));
  const gate = quantizeMultiplier(fround(fine / fround(3 / 32768)));
  return mapByTable(b, x, dtype as TableType, (q) => {
    const value = (q - from.zero) * 128;
    const onOutput = mulHigh16(value, multiplier16(out.q));
    let level = value;
    if (gate.shift > 0) level = saturate16(level * 2 ** (gate.shift - 1));
    level = mulHigh16(level, multiplier16(gate.q));
    if (gate.shift > 0) level = saturate16(level * 2);
    if (gate.shift < 0) level = shiftRight(level, -gate.shift);
    const opening = (level + 2 ** 15) >> 1;
    const product = Math.trunc((opening * onOutput) / 2 ** 15);
    return Math.min(hi, Math.max(lo, shiftRight(product, Math.max(0, -out.shift)) + to.zero));
  });
};

/** LOGISTIC and TANH: tables for 8 bits, interpolation for 16. */
export const logistic: Integer = (inputs, attrs, b, ctx) =>
  inputs.x.type.dtype === 'i16'
    ? interpolated(inputs.x, b, ctx, sigmoid16, 0)
    : tableOf((x) => 1 / (1 + Math.exp(-x)))(inputs, attrs, b, ctx);

export const hyperbolicTangent: Integer = (inputs, attrs, b, ctx) =>
  inputs.x.type.dtype === 'i16' ? interpolated(inputs.x, b, ctx, tanh16, 1) : tableOf(Math.tanh)(inputs, attrs, b, ctx);

function interpolated(x: Value, b: Builder, ctx: LowerContext, f: typeof sigmoid16, mostShift: number): Value {
  const input = tableInput(inputAffine(ctx, 0).scale, mostShift);
  const table = sigmoidTable(b);
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => cast(f(read, table, onTable(cast(read(x, i), 'i32'), input)), 'i16'),
  });
}

/** GELU by the error function or its tanh approximation. */
export const gelu: Integer<{ readonly approximate: boolean }> = (inputs, { approximate }, b, ctx) =>
  tableOf(approximate ? geluTanh : geluExact)(inputs, {}, b, ctx);

const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const geluExact = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2));

/** Error function: its power series, or beyond 3 the continued fraction of its complement. */
function erf(x: number): number {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size > 3) {
    let fraction = size;
    for (let k = 60; k > 0; k--) fraction = size + k / 2 / fraction;
    return Math.sign(x) * (1 - Math.exp(-size * size) / fraction / Math.sqrt(Math.PI));
  }
  let term = x;
  let sum = x;
  for (let k = 1; Math.abs(term) > 1e-18 * Math.abs(sum); k++) {
    term *= (-x * x) / k;
    sum += term / (2 * k + 1);
  }
  return (sum * 2) / Math.sqrt(Math.PI);
}

/** QUANTIZE, from floats or from integers of another scale. */
export const toQuantized: Integer = (inputs, attrs, b, ctx) => {
  if (!isFloat(inputs.x.type.dtype)) return requantize(inputs, attrs, b, ctx);
  const q = ctx.quantOut(0) ?? ctx.limit('an output without a scale');
  return quantizeValue(b, inputs.x, q, outputType(ctx));
};
