// Narrow floats as integer arithmetic over f32: bits → value (exact), value → bits and value → nearest representable value
// (ties to even; f16 and bf16 overflow to infinity, the 8- and 4-bit kinds saturate). Agrees bit by bit with support/float.ts.

import { bitcast, cast, constant, type Expr, i32, rawOp, select } from '../../ir/scalar.js';
import type { NarrowFloat } from '../../support/float.js';

/** Codes are without the sign; `top` is the largest code overflow yields, `nan` a complete code. */
interface Format {
  readonly bits: number;
  readonly mantissa: number;
  readonly bias: number;
  readonly top: number;
  readonly nan: number;
  /** The highest exponent holds infinity and NaN. */
  readonly special: boolean;
  /** NaN takes the code of −0. */
  readonly unsignedZero: boolean;
}

const format = (
  bits: number,
  mantissa: number,
  bias: number,
  top: number,
  nan: number,
  special = false,
  unsignedZero = false,
): Format => ({ bits, mantissa, bias, top, nan, special, unsignedZero });

const FORMATS: Record<Exclude<NarrowFloat, 'f8e8m0'>, Format> = {
  f16: format(16, 10, 15, 0x7c00, 0x7e00, true),
  bf16: format(16, 7, 127, 0x7f80, 0x7fc0, true),
  f8e4m3fn: format(8, 3, 7, 0x7e, 0x7f),
  f8e4m3fnuz: format(8, 3, 8, 0x7f, 0x80, false, true),
  f8e5m2: format(8, 2, 15, 0x7b, 0x7e, true),
  f8e5m2fnuz: format(8, 2, 16, 0x7f, 0x80, false, true),
  f4e2m1: format(4, 1, 1, 0x7, 0x8),
};

const INFINITY_BITS = 0x7f800000;
const add = (a: Expr, b: number): Expr => (b === 0 ? a : rawOp('add', a, i32(b)));
const and = (a: Expr, b: number): Expr => rawOp('and', a, i32(b));
const shl = (a: Expr, n: number): Expr => (n === 0 ? a : rawOp('shl', a, i32(n)));
const shr = (a: Expr, n: number): Expr => (n === 0 ? a : rawOp('shr_s', a, i32(n)));
const below = (a: Expr, b: number): Expr => rawOp('lt', a, i32(b));
const f32 = (v: number): Expr => constant(v, 'f32');
const asFloat = (bits: Expr): Expr => bitcast(bits, 'f32');

/** The f32 bits of 2^e. */
const powerBits = (e: number): number => (e + 127) << 23;

/** The value of a bit pattern held in an i32 (higher bits zero). */
export function decodeNarrow(kind: NarrowFloat, code: Expr): Expr {
  if (kind === 'bf16') return asFloat(shl(code, 16));
  if (kind === 'f8e8m0') return decodeE8M0(code);
  const { bits, mantissa, bias, nan, special, unsignedZero } = FORMATS[kind];
  const signBit = 1 << (bits - 1);
  const magnitude = and(code, signBit - 1);
  const normal = add(shl(magnitude, 23 - mantissa), (127 - bias) << 23);
  const smallest = f32(2 ** (1 - bias));
  const subnormal = bitcast(rawOp('sub', asFloat(add(normal, 1 << 23)), smallest), 'i32');
  let value = select(below(magnitude, 1 << mantissa), subnormal, normal);
  if (special) {
    const topExponent = 2 ** (bits - 1 - mantissa) - 1;
    const lift = (255 - topExponent - (127 - bias)) << 23;
    value = select(below(magnitude, topExponent << mantissa), value, add(normal, lift));
  }
  value = rawOp('or', value, shl(and(code, signBit), 32 - bits));
  if (special || kind === 'f4e2m1') return asFloat(value);
  const isNan = rawOp('eq', unsignedZero ? code : magnitude, i32(nan));
  return select(isNan, f32(Number.NaN), asFloat(value));
}

function decodeE8M0(code: Expr): Expr {
  const bits = select(rawOp('eq', code, i32(0)), i32(0x00400000), shl(code, 23));
  return select(rawOp('eq', code, i32(0xff)), f32(Number.NaN), asFloat(bits));
}

interface Parts {
  readonly bits: Expr;
  /** Bits of |x|. */
  readonly magnitude: Expr;
  readonly isNan: Expr;
}

function partsOf(x: Expr): Parts {
  const bits = bitcast(x, 'i32');
  const magnitude = and(bits, 0x7fffffff);
  return { bits, magnitude, isNan: rawOp('lt', i32(INFINITY_BITS), magnitude) };
}

/** Half a unit of the target less one, plus the bit that makes ties go to even; `drop` bits will be cut off. */
function roundBits(magnitude: Expr, drop: number): Expr {
  const odd = and(shr(magnitude, drop), 1);
  return rawOp('add', add(magnitude, (1 << (drop - 1)) - 1), odd);
}

/** |x| in units of the smallest subnormal, as an i32: adding a number whose own unit that is rounds exactly once. */
function subnormalUnits(magnitude: Expr, { mantissa, bias }: Format): Expr {
  const exponent = 1 - bias - mantissa + 23;
  const shifted = rawOp('add', asFloat(magnitude), f32(2 ** exponent));
  return add(bitcast(shifted, 'i32'), -powerBits(exponent));
}

/** The bit pattern nearest to an f32 value, in an i32. */
export function encodeNarrow(kind: NarrowFloat, x: Expr): Expr {
  const { bits, magnitude, isNan } = partsOf(x);
  if (kind === 'f8e8m0') return encodeE8M0(magnitude, isNan);
  const f = FORMATS[kind];
  const drop = 23 - f.mantissa;
  const rebias = (127 - f.bias) << 23;
  let code = shr(add(roundBits(magnitude, drop), -rebias), drop);
  if (f.bias < 127) code = select(below(magnitude, powerBits(1 - f.bias)), subnormalUnits(magnitude, f), code);
  if (kind !== 'bf16') code = rawOp('min', code, i32(f.top));
  const sign = and(rawOp('shr_u', bits, i32(32 - f.bits)), 1 << (f.bits - 1));
  const signed = rawOp('or', code, sign);
  const value = f.unsignedZero ? select(rawOp('eq', code, i32(0)), i32(0), signed) : signed;
  return select(isNan, i32(f.nan), value);
}

/** Powers of two, rounded up; zero and what lies below become 2^−127. */
function encodeE8M0(magnitude: Expr, isNan: Expr): Expr {
  const up = rawOp('min', shr(add(magnitude, 0x7fffff), 23), i32(0xfe));
  const code = select(below(magnitude, 0x00400001), i32(0), up);
  return select(isNan, i32(0xff), code);
}

/** The nearest value of the format, as an f32. */
export function roundNarrow(kind: NarrowFloat, x: Expr): Expr {
  if (kind === 'f8e8m0') return decodeNarrow(kind, encodeNarrow(kind, x));
  const f = FORMATS[kind];
  const { bits, magnitude, isNan } = partsOf(x);
  const drop = 23 - f.mantissa;
  let size = asFloat(and(roundBits(magnitude, drop), -(1 << drop)));
  if (f.bias < 127) {
    const units = cast(subnormalUnits(magnitude, f), 'f32');
    const subnormal = rawOp('mul', units, f32(2 ** (1 - f.bias - f.mantissa)));
    size = select(below(magnitude, powerBits(1 - f.bias)), subnormal, size);
  }
  size = limit(kind, f, size);
  const sign = rawOp('xor', bits, magnitude);
  const signed = asFloat(rawOp('or', bitcast(size, 'i32'), sign));
  const value = f.unsignedZero ? select(rawOp('eq', size, f32(0)), f32(0), signed) : signed;
  if (kind === 'f4e2m1') return select(isNan, f32(-0), value);
  return select(isNan, x, value);
}

/** Overflow: to infinity for the 16-bit kinds, to the largest value for the others. */
function limit(kind: NarrowFloat, f: Format, size: Expr): Expr {
  if (kind === 'bf16') return size;
  if (kind === 'f16') return select(rawOp('lt', size, f32(2 ** 16)), size, f32(Number.POSITIVE_INFINITY));
  const fraction = f.top & ((1 << f.mantissa) - 1);
  const largest = (1 + fraction / 2 ** f.mantissa) * 2 ** ((f.top >> f.mantissa) - f.bias);
  return rawOp('min', size, f32(largest));
}
