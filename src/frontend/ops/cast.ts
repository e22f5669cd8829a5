// Conversion between element types. The scalar `cast` has the semantics of the formats; what is left here are the
// corners of the 8-bit floats: overflow to NaN or infinity (saturate = 0) and how powers of two round (f8e8m0).

import { e } from '../../ir/expr.js';
import { bitcast, cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { type AnyRecord, type Decode, type LowerContext, op } from './record.js';
import { castText } from './text-numbers.js';

type RoundMode = 'up' | 'down' | 'nearest';

interface CastAttrs {
  readonly to: DType | undefined;
  readonly saturate: boolean;
  readonly round: RoundMode;
}

/** Magnitudes that no longer round to the largest finite value, whether the first of them counts, and the code that stands for them. */
const OVERFLOW: Partial<Record<DType, { limit: number; inclusive: boolean; code: number; signed: boolean }>> = {
  f8e4m3fn: { limit: 464, inclusive: false, code: 0x7f, signed: true },
  f8e4m3fnuz: { limit: 248, inclusive: true, code: 0x80, signed: false },
  f8e5m2: { limit: 61440, inclusive: true, code: 0x7c, signed: true },
  f8e5m2fnuz: { limit: 61440, inclusive: true, code: 0x80, signed: false },
  f8e8m0: { limit: 2 ** 127, inclusive: false, code: 0xff, signed: false },
};

/** Overflow becomes NaN, or infinity where the format has one. Chosen among bit patterns: a choice among values would be encoded again. */
export function castUnsaturated(x: Expr, to: DType): Expr {
  const f = cast(x, 'f32');
  const o = OVERFLOW[to];
  if (!o) return cast(x, to);
  const sign = o.signed ? e.select(e.lt(f, 0), e.const(0x80, 'u8'), e.const(0, 'u8')) : e.const(0, 'u8');
  const over = o.inclusive ? e.ge(e.abs(f), o.limit) : e.gt(e.abs(f), o.limit);
  return bitcast(e.select(over, e.or(sign, o.code), bitcast(cast(f, to), 'u8')), to);
}

const EXPONENT_BITS = 0x7f800000;
const HALF = 0x00400000;

/** A power of two near |x|, toward zero or nearest: the encoding itself only rounds up. */
function toPowerOfTwo(x: Expr, round: RoundMode): Expr {
  const f = e.abs(cast(x, 'f32'));
  if (round === 'up') return f;
  const bits = bitcast(f, 'i32');
  const rounded = e.and(round === 'down' ? bits : e.add(bits, HALF), EXPONENT_BITS);
  return e.select(e.lt(f, Number.POSITIVE_INFINITY), bitcast(rounded, 'f32'), f);
}

/** One element converted. */
function convert(x: Expr, to: DType, a: CastAttrs): Expr {
  const source = to === 'f8e8m0' ? toPowerOfTwo(x, a.round) : x;
  return a.saturate ? cast(source, to) : castUnsaturated(source, to);
}

function lowerCast(x: Value, to: DType, a: CastAttrs, ctx: LowerContext): Value {
  if (to === x.type.dtype) return x;
  if (to === 'string' || x.type.dtype === 'string') return castText(ctx.builder, x, to);
  return ctx.builder.map([x], (p) => convert(p, to, a));
}

const PLAIN = { to: undefined, saturate: true, round: 'up' } as const;

const byNumber: Decode<CastAttrs> = (n) => ({
  to: n.dtype('to'),
  saturate: n.bool('saturate', true),
  round: n.string('round_mode', 'up') as RoundMode,
});

/** Opset 1 named the type: 'FLOAT', 'INT32'. */
const NAMED: Readonly<Record<string, DType>> = {
  FLOAT: 'f32',
  UINT8: 'u8',
  INT8: 'i8',
  UINT16: 'u16',
  INT16: 'i16',
  INT32: 'i32',
  INT64: 'i64',
  STRING: 'string',
  BOOL: 'i1',
  FLOAT16: 'f16',
  DOUBLE: 'f64',
  UINT32: 'u32',
  UINT64: 'u64',
};

export const records: readonly AnyRecord[] = [
  op<'x', CastAttrs>('cast', {
    doc: 'Conversion to another element type; floats truncate toward zero on the way to integers',
    inputs: ['x'],
    onnx: {
      'Cast@1': (n) => ({ ...PLAIN, to: NAMED[n.string('to').toUpperCase()] }),
      'Cast@6': byNumber,
    },
    tflite: { CAST: () => PLAIN, STABLEHLO_CONVERT: () => PLAIN },
    quantized: 'raw',
    lower: ({ x }, a, _b, ctx) =>
      lowerCast(x, a.to ?? ctx.declared(0)?.dtype ?? ctx.limit('the target type is not stated'), a, ctx),
  }),
  op<'x' | 'like', CastAttrs>('cast_like', {
    doc: 'Conversion to the element type of another value',
    inputs: ['x', 'like'],
    onnx: {
      'CastLike@15': (n) => ({
        ...PLAIN,
        saturate: n.bool('saturate', true),
        round: n.string('round_mode', 'up') as RoundMode,
      }),
    },
    lower: ({ x, like }, a, _b, ctx) => lowerCast(x, like.type.dtype, a, ctx),
  }),
];
