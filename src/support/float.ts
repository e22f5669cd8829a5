// Conversions between JavaScript numbers and the narrow float formats, as bit patterns: f16, bf16, the 8-bit kinds, f4e2m1.
// Decoding is exact. Encoding rounds once, straight from the double, to nearest with ties to even.
// What overflows follows ONNX Cast: the 8-bit kinds saturate unless told otherwise, f16 and bf16 go to infinity.

import type { DType } from './dtype.js';

export type NarrowFloat = Extract<
  DType,
  'f16' | 'bf16' | 'f8e4m3fn' | 'f8e4m3fnuz' | 'f8e5m2' | 'f8e5m2fnuz' | 'f8e8m0' | 'f4e2m1'
>;

/** How a number that does not fit is encoded. `round` concerns f8e8m0 alone, whose values are the powers of two. */
export interface EncodeOptions {
  /** 8-bit kinds: clamp to the largest finite value (default true) rather than produce NaN or infinity. */
  readonly saturate?: boolean;
  readonly round?: 'up' | 'down' | 'nearest';
}

/** A sign-exponent-mantissa format. `max` is the code of the largest finite value; `inf` and `nan` are codes, null if absent. */
interface Format {
  readonly bits: number;
  readonly mantissa: number;
  readonly bias: number;
  readonly max: number;
  readonly inf: number | null;
  readonly nan: number | null;
  /** No negative zero: the code of −0 is NaN. */
  readonly unsignedZero?: boolean;
}

const FORMATS: Record<Exclude<NarrowFloat, 'f8e8m0'>, Format> = {
  f16: { bits: 16, mantissa: 10, bias: 15, max: 0x7bff, inf: 0x7c00, nan: 0x7e00 },
  bf16: { bits: 16, mantissa: 7, bias: 127, max: 0x7f7f, inf: 0x7f80, nan: 0x7fc0 },
  f8e4m3fn: { bits: 8, mantissa: 3, bias: 7, max: 0x7e, inf: null, nan: 0x7f },
  f8e4m3fnuz: { bits: 8, mantissa: 3, bias: 8, max: 0x7f, inf: null, nan: 0x80, unsignedZero: true },
  f8e5m2: { bits: 8, mantissa: 2, bias: 15, max: 0x7b, inf: 0x7c, nan: 0x7e },
  f8e5m2fnuz: { bits: 8, mantissa: 2, bias: 16, max: 0x7f, inf: null, nan: 0x80, unsignedZero: true },
  f4e2m1: { bits: 4, mantissa: 1, bias: 1, max: 0x7, inf: null, nan: null },
};

const scratch = new DataView(new ArrayBuffer(8));

export const isNarrowFloat = (dtype: DType): dtype is NarrowFloat => dtype === 'f8e8m0' || dtype in FORMATS;

/** The number nearest to `x` in format `kind`, as its bit pattern. */
export function encodeFloat(kind: NarrowFloat, x: number, options: EncodeOptions = {}): number {
  if (kind === 'f8e8m0') return encodeE8M0(x, options);
  const format = FORMATS[kind];
  const negative = x < 0 || Object.is(x, -0);
  const sign = negative ? 1 << (format.bits - 1) : 0;
  if (Number.isNaN(x)) return format.nan ?? 1 << (format.bits - 1);
  const code = encodeMagnitude(format, Math.abs(x));
  if (code > format.max) return overflow(format, sign, options.saturate ?? true);
  return code === 0 && format.unsignedZero ? 0 : sign | code;
}

/** Code of a non-negative number, infinity included, in a format whose exponents had no upper end. */
function encodeMagnitude({ mantissa, bias }: Format, x: number): number {
  if (x === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  const lowest = 1 - bias;
  const exponent = Math.max(exponentOf(x), lowest);
  // Exact: both operands of the division differ from integers by a power of two only.
  const rounded = roundTiesToEven(x / 2 ** (exponent - mantissa));
  return (exponent - lowest) * 2 ** mantissa + rounded;
}

function overflow(format: Format, sign: number, saturate: boolean): number {
  if (format.bits === 16 && format.inf !== null) return sign | format.inf;
  if (saturate || format.nan === null) return sign | format.max;
  if (format.inf !== null) return sign | format.inf;
  return format.unsignedZero ? format.nan : sign | format.nan;
}

/** Floor of the base-2 logarithm; of a subnormal double, −1023, which is below every format's range. */
function exponentOf(x: number): number {
  scratch.setFloat64(0, x);
  return ((scratch.getUint16(0) >> 4) & 0x7ff) - 1023;
}

function roundTiesToEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** Sign is ignored; zero and what lies below the range become 2^−127 (code 0). Ties go up, as Cast says. */
function encodeE8M0(x: number, { saturate = true, round = 'up' }: EncodeOptions): number {
  if (Number.isNaN(x)) return 0xff;
  const magnitude = Math.abs(x);
  if (magnitude <= 2 ** -127) return 0;
  if (magnitude > 2 ** 127) return saturate ? 0xfe : overflowE8M0(magnitude, round);
  const exponent = exponentOf(magnitude);
  const rest = magnitude / 2 ** exponent;
  const up = round === 'up' ? rest > 1 : round === 'nearest' && rest >= 1.5;
  return exponent + 127 + (up ? 1 : 0);
}

/** Not saturating, what rounds to the largest power still is it. */
function overflowE8M0(magnitude: number, round: EncodeOptions['round']): number {
  const keeps = round === 'down' ? 2 ** 128 : round === 'nearest' ? 2 ** 127 * 1.5 : 0;
  return magnitude < keeps ? 0xfe : 0xff;
}

/** The exact value of a bit pattern. */
export function decodeFloat(kind: NarrowFloat, bits: number): number {
  if (kind === 'f8e8m0') return bits === 0xff ? Number.NaN : 2 ** (bits - 127);
  const format = FORMATS[kind];
  const signBit = 1 << (format.bits - 1);
  const code = bits & (signBit - 1);
  const sign = bits & signBit ? -1 : 1;
  if (format.unsignedZero && bits === format.nan) return Number.NaN;
  if (code > format.max) return code === format.inf ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  const exponent = code >> format.mantissa;
  const fraction = code & ((1 << format.mantissa) - 1);
  const significand = exponent === 0 ? fraction : fraction + (1 << format.mantissa);
  return sign * significand * 2 ** (Math.max(exponent, 1) - format.bias - format.mantissa);
}

const tables = new Map<NarrowFloat, Float32Array>();

/** Values by bit pattern; every value of every narrow format is exact in f32. */
export function decodeTable(kind: NarrowFloat): Float32Array {
  let table = tables.get(kind);
  if (!table) {
    const size = kind === 'f8e8m0' ? 256 : 1 << FORMATS[kind].bits;
    table = Float32Array.from({ length: size }, (_, bits) => decodeFloat(kind, bits));
    tables.set(kind, table);
  }
  return table;
}

/** Decodes a whole array of bit patterns to f32. */
export function decodeFloats(kind: NarrowFloat, bits: ArrayLike<number>): Float32Array {
  const table = decodeTable(kind);
  const mask = table.length - 1;
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = table[(bits[i] ?? 0) & mask] ?? 0;
  return out;
}

/** Encodes a whole array: 16-bit kinds to Uint16Array, narrower ones to Uint8Array. */
export function encodeFloats(
  kind: NarrowFloat,
  values: ArrayLike<number>,
  options: EncodeOptions = {},
): Uint16Array | Uint8Array {
  const wide = kind === 'f16' || kind === 'bf16';
  const out = wide ? new Uint16Array(values.length) : new Uint8Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = encodeFloat(kind, values[i] ?? 0, options);
  return out;
}
