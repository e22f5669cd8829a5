// Elementwise arithmetic on two TFLite integer tensors. Both operands are brought to a common fixed-point scale with a few
// extra bits, combined, and scaled to the output. Which products of scales are rounded to float32 on the way is part of
// the reference kernels' result: DIV differs from the others in that.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { DType } from '../../../support/dtype.js';
import type { LowerContext } from '../record.js';
import {
  type Affine,
  centred,
  domainOf,
  fusedRange,
  inputAffine,
  mapRead,
  outputAffine,
  outputType,
  type Range,
  store,
} from './affine.js';
import { constantProduct } from './constant-factor.js';
import { type Multiplier, quantizeMultiplier, reciprocal } from './fixed-point.js';
import { mulHigh, scale, shiftRight } from './fixed-point-expr.js';
import { requantized } from './one-product.js';
import { lookUp, tabulate } from './tables.js';
import { weightedSum } from './weighted-sum.js';

interface Pair {
  readonly x: Value;
  readonly y: Value;
}

type Integer = (inputs: Pair, attrs: object, b: Builder, ctx: LowerContext) => Value;

/** Everything two-operand kernels are parameterised by. */
interface Setup {
  readonly left: Affine;
  readonly right: Affine;
  readonly output: Affine;
  readonly multiplier: (m: number) => Multiplier;
}

const setupOf = (ctx: LowerContext): Setup => ({
  left: inputAffine(ctx, 0),
  right: inputAffine(ctx, 1),
  output: outputAffine(ctx),
  multiplier: (m) => quantizeMultiplier(m, ctx.rounding),
});

/** f on the operands without their zero points, then the output's zero point and clamp. */
function combine(b: Builder, { x, y }: Pair, ctx: LowerContext, s: Setup, f: (p: Expr, q: Expr) => Expr): Value {
  const dtype = outputType(ctx);
  const range = fusedRange(ctx, s.output, dtype);
  return b.map([x, y], (p, q) =>
    store(f(centred(p, s.left.zero), centred(q, s.right.zero)), s.output.zero, range, dtype),
  );
}

/** Operand × 2^bits × multiplier. */
const lifted = (x: Expr, bits: number, m: Multiplier, ctx: LowerContext): Expr =>
  scale(bits === 0 ? x : e.shl(x, bits), m, ctx.rounding, 2 ** 29);

/** ADD and SUB: 20 extra bits for 8-bit operands, 15 for 16-bit ones. */
const sumWith =
  (isDifference: boolean): Integer =>
  (inputs, _a, b, ctx) => {
    const s = setupOf(ctx);
    const bits = inputs.x.type.dtype === 'i16' ? 15 : 20;
    const twice = 2 * Math.max(s.left.scale, s.right.scale);
    const [left, right] = [s.multiplier(s.left.scale / twice), s.multiplier(s.right.scale / twice)];
    const out = s.multiplier(twice / (2 ** bits * s.output.scale));
    const short = shortSum(inputs, ctx, s, { left, right, out, bits, isDifference });
    if (short) return short(b);
    return combine(b, inputs, ctx, s, (p, q) => {
      const [x, y] = [lifted(p, bits, left, ctx), lifted(q, bits, right, ctx)];
      return scale(isDifference ? e.sub(x, y) : e.add(x, y), out, ctx.rounding, 2 ** 30);
    });
  };

interface SumFactors {
  readonly left: Multiplier;
  readonly right: Multiplier;
  readonly out: Multiplier;
  readonly bits: number;
  readonly isDifference: boolean;
}

/** Of 8-bit operands, where a short form is proved. */
function shortSum(
  { x, y }: Pair,
  ctx: LowerContext,
  s: Setup,
  { left, right, out, bits, isDifference }: SumFactors,
): ((b: Builder) => Value) | null {
  const dtype = outputType(ctx);
  if (![x.type.dtype, y.type.dtype, dtype].every(isByte)) return null;
  const range = fusedRange(ctx, s.output, dtype);
  const level = weightedSum(
    {
      terms: [
        { domain: domainOf(x, s.left), multiplier: left, isNegative: false },
        { domain: domainOf(y, s.right), multiplier: right, isNegative: isDifference },
      ],
      bits,
      out,
      zero: s.output.zero,
      range,
    },
    ctx.rounding,
  );
  return (
    level && ((b) => b.map([x, y], (p, q) => cast(level(centred(p, s.left.zero), centred(q, s.right.zero)), dtype)))
  );
}

const isByte = (t: DType): boolean => t === 'i8' || t === 'u8';

export const addIntegers = sumWith(false);
export const subtractIntegers = sumWith(true);

/** ADD_N: operands of one scale, each with 20 extra bits. */
export const addAllIntegers = (
  { xs }: { readonly xs: readonly Value[] },
  _a: object,
  b: Builder,
  ctx: LowerContext,
): Value => {
  const [from, to] = [inputAffine(ctx, 0), outputAffine(ctx)];
  if (xs.some((_, k) => inputAffine(ctx, k).scale !== from.scale || inputAffine(ctx, k).zero !== from.zero))
    return ctx.limit('a sum of tensors with different scales');
  const half = quantizeMultiplier(0.5, ctx.rounding);
  const out = quantizeMultiplier((2 * from.scale) / (2 ** 20 * to.scale), ctx.rounding);
  const dtype = outputType(ctx);
  const range = fusedRange(ctx, to, dtype);
  return b.map(xs, (...x) => {
    const sum = x.map((v) => lifted(centred(v, from.zero), 20, half, ctx)).reduce((p, q) => e.add(p, q));
    return store(scale(sum, out, ctx.rounding), to.zero, range, dtype);
  });
};

export const multiplyIntegers: Integer = (inputs, _a, b, ctx) => {
  const s = setupOf(ctx);
  const multiplier = s.multiplier((s.left.scale * s.right.scale) / s.output.scale);
  const dtype = outputType(ctx);
  const [range, zero] = [fusedRange(ctx, s.output, dtype), s.output.zero];
  const { x, y } = inputs;
  if ([x, y].every((v) => isByte(v.type.dtype)) && isByte(dtype)) {
    const form = { multiplier, zero, range, dtype };
    const short =
      constantProduct(b, { x, from: s.left, by: y, byZero: s.right.zero, ...form }, ctx.rounding) ??
      constantProduct(b, { x: y, from: s.right, by: x, byZero: s.left.zero, ...form }, ctx.rounding);
    if (short) return short;
  }
  const domain = productOf(domainOf(x, s.left), domainOf(y, s.right));
  const level = requantized(b, { multiplier, zero, range, domain }, ctx.rounding, 2 ** 30);
  return b.map([x, y], (p, q) => cast(level(e.mul(centred(p, s.left.zero), centred(q, s.right.zero))), dtype));
};

function productOf(p: Range, q: Range): Range {
  const corners = [p.lo * q.lo, p.lo * q.hi, p.hi * q.lo, p.hi * q.hi];
  return { lo: Math.min(...corners), hi: Math.max(...corners) };
}

/** SQUARED_DIFFERENCE: 7 extra bits for 8-bit operands, none for 16-bit ones. */
export const squareDifferences: Integer = (inputs, _a, b, ctx) => {
  const s = setupOf(ctx);
  const bits = inputs.x.type.dtype === 'i16' ? 0 : 7;
  const twice = 2 * Math.max(s.left.scale, s.right.scale);
  const [left, right] = [s.multiplier(s.left.scale / twice), s.multiplier(s.right.scale / twice)];
  const out = s.multiplier((twice * twice) / (2 ** (2 * bits) * s.output.scale));
  return combine(b, inputs, ctx, s, (p, q) => {
    const d = e.sub(lifted(p, bits, left, ctx), lifted(q, bits, right, ctx));
    return scale(e.mul(d, d), out, ctx.rounding);
  });
};

/** Comparisons: both operands scaled with 8 extra bits, then compared as integers. */
export const compareIntegers =
  (compare: (p: Expr, q: Expr) => Expr): Integer =>
  ({ x, y }, _a, b, ctx) => {
    const [left, right] = [inputAffine(ctx, 0), inputAffine(ctx, 1)];
    const [m, n] = [quantizeMultiplier(left.scale, ctx.rounding), quantizeMultiplier(right.scale, ctx.rounding)];
    return b.map([x, y], (p, q) =>
      compare(lifted(centred(p, left.zero), 8, m, ctx), lifted(centred(q, right.zero), 8, n, ctx)),
    );
  };

/** PRELU: the slope's product with the input has its own multiplier. */
export const parametricRelu = (
  { x, slope }: { readonly x: Value; readonly slope: Value },
  _a: object,
  b: Builder,
  ctx: LowerContext,
): Value => {
  const s = setupOf(ctx);
  const plain = s.multiplier(s.left.scale / s.output.scale);
  const sloped = s.multiplier((s.left.scale * s.right.scale) / s.output.scale);
  const dtype = outputType(ctx);
  const [range, zero] = [fusedRange(ctx, s.output, dtype), s.output.zero];
  const [from, by] = [domainOf(x, s.left), domainOf(slope, s.right)];
  const piece = (multiplier: Multiplier, domain: Range, bound: number): ((v: Expr) => Expr) =>
    requantized(b, { multiplier, zero, range, domain }, ctx.rounding, bound);
  const above = piece(plain, { lo: Math.max(0, from.lo), hi: from.hi }, 2 ** 16);
  const below = piece(sloped, productOf(from, by), 2 ** 25);
  return b.map([x, slope], (v, w) => {
    const [p, q] = [centred(v, s.left.zero), centred(w, s.right.zero)];
    return cast(e.select(e.ge(p, 0), above(p), below(e.mul(p, q))), dtype);
  });
};

/**
 * DIV: the divisor's reciprocal and the bits it is off by, from tables over its 256 values; the dividend is shifted to use
 * all 31 bits, and one shift to the right undoes both.
 */
export const divideIntegers: Integer = ({ x, y }, _a, b, ctx) => {
  const s = setupOf(ctx);
  if (x.type.dtype === 'i16' || y.type.dtype === 'i16') return ctx.limit('division of 16-bit quantised tensors');
  const out = s.multiplier(Math.fround(s.left.scale / Math.fround(s.right.scale * s.output.scale)));
  const divisor = (q: number) => reciprocal(Math.max(1, Math.abs(q - s.right.zero)), 31);
  const inverses = tabulate(b, y.type.dtype, 'i32', (q) => divisor(q).scale);
  const excess = tabulate(b, y.type.dtype, 'i32', (q) => divisor(q).bitsOverUnit);
  const headroom = (p: number): number => (p === 0 ? 31 : Math.clz32(p < 0 ? ~p : p) - 1);
  const free = tabulate(b, x.type.dtype, 'i32', (p) => headroom(p - s.left.zero));
  const freeNegated = tabulate(b, x.type.dtype, 'i32', (p) => headroom(s.left.zero - p));
  const dtype = outputType(ctx);
  const range = fusedRange(ctx, s.output, dtype);
  return mapRead(b, [x, y], (read, p, q) => {
    const [px, qx] = [p as Expr, q as Expr];
    const flip = e.lt(centred(qx, s.right.zero), 0);
    const dividend = e.select(flip, e.neg(centred(px, s.left.zero)), centred(px, s.left.zero));
    const bits = e.select(flip, lookUp(read, freeNegated, px), lookUp(read, free, px));
    const quotient = mulHigh(e.shl(dividend, bits), lookUp(read, inverses, qx));
    const right = e.sub(e.add(lookUp(read, excess, qx), bits), out.shift);
    const product = scale(quotient, { q: out.q, shift: 0 }, 'double');
    return store(shiftRight(product, e.clamp(right, 0, 31)), s.output.zero, range, dtype);
  });
};
