// Operations on the bits of integers, shifts, and reinterpretation of bits as another type.
// A shift by the width or more yields 0 (arithmetic right shifts: the sign).

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { bitcast, cast, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { DTYPE_INFO, type DType, intRange } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { type AnyRecord, op } from './record.js';
import { binary, unary } from './scalar-record.js';

const bitsOf = (t: DType): number => DTYPE_INFO[t].bits;

const inWidth = (y: Expr): Expr => e.and(e.le(0, y), e.lt(y, bitsOf(y.dtype)));

/** x shifted by y bits where y is less than the width, else 0. */
const shift = (x: Expr, y: Expr, how: typeof e.shl): Expr =>
  e.select(inWidth(y), how(x, e.select(inWidth(y), y, e.const(0, y.dtype))), e.const(0, x.dtype));

const allOnes = (t: DType): bigint => (DTYPE_INFO[t].kind === 'int' ? -1n : intRange(t).hi);

const UNSIGNED: Readonly<Record<number, DType>> = { 8: 'u8', 16: 'u16', 32: 'u32', 64: 'u64' };

function unsignedOf(bits: number): DType {
  const t = UNSIGNED[bits];
  if (!t) throw new CompileError('E202', `elements of ${bits} bits cannot be reinterpreted`);
  return t;
}

/** Elements of the same width keep their place; i1 counts as a byte. */
function reinterpret(x: Expr, to: DType): Expr {
  if (x.dtype === to) return x;
  const bits = x.dtype === 'i1' ? cast(x, 'u8') : x;
  return to === 'i1' ? e.ne(bitcast(bits, 'u8'), 0) : bitcast(bits, to);
}

const width = (t: DType): number => (t === 'i1' ? 8 : bitsOf(t));

/** Several narrow elements (the last axis) make a wide one, or one wide element several narrow ones; little endian. */
function bitcastValue(b: Builder, x: Value, to: DType): Value {
  const [from, into] = [width(x.type.dtype), width(to)];
  if (from === into) return b.map([x], (p) => reinterpret(p, to));
  if (from > into) return splitElements(b, x, to, from / into);
  const n = into / from;
  if (x.type.shape.at(-1) !== n)
    throw new CompileError('E204', `the last axis must have size ${n} to become one ${to}`);
  return joinElements(b, x, to, n);
}

const splitElements = (b: Builder, x: Value, to: DType, n: number): Value =>
  b.generic({
    shape: [...x.type.shape, n],
    body: (i, _r, read) => {
      const whole = unsignedOf(width(x.type.dtype));
      const part = unsignedOf(width(to));
      const by = cast(e.mul(i.at(-1) as Expr, width(to)), whole);
      return reinterpret(cast(e.shrU(reinterpret(read(x, i.slice(0, -1)), whole), by), part), to);
    },
  });

const joinElements = (b: Builder, x: Value, to: DType, n: number): Value =>
  b.generic({
    shape: x.type.shape.slice(0, -1),
    body: (i, _r, read) => {
      const whole = unsignedOf(width(to));
      const part = unsignedOf(width(x.type.dtype));
      const parts = Array.from({ length: n }, (_, k) =>
        e.shl(cast(reinterpret(read(x, [...i, i32(k)]), part), whole), k * width(x.type.dtype)),
      );
      return reinterpret(
        parts.reduce((p, q) => e.or(p, q)),
        to,
      );
    },
  });

export const records: readonly AnyRecord[] = [
  binary('bitwise_and', { doc: 'Bits set in both', onnx: 'BitwiseAnd@18' }, (x, y) => e.and(x, y)),
  binary('bitwise_or', { doc: 'Bits set in either', onnx: 'BitwiseOr@18' }, (x, y) => e.or(x, y)),
  binary('bitwise_xor', { doc: 'Bits set in one of the two', onnx: 'BitwiseXor@18', tflite: 'BITWISE_XOR' }, e.xor),
  unary('bitwise_not', { doc: 'All bits flipped', onnx: 'BitwiseNot@18' }, (x) => e.xor(x, allOnes(x.dtype)), 'exact'),
  op('bit_shift', {
    doc: 'x shifted left or right by y bits, filling with zeros',
    inputs: ['x', 'y'],
    onnx: { 'BitShift@11': (n) => ({ left: n.string('direction') === 'LEFT' }) },
    lower: ({ x, y }, { left }, b) => b.map([x, y], (p, q) => shift(p, q, left ? e.shl : e.shrU)),
  }),
  binary('shift_left', { doc: 'x · 2^y in the bits of x', tflite: 'STABLEHLO_SHIFT_LEFT' }, (x, y) =>
    shift(x, y, e.shl),
  ),
  binary('right_shift', { doc: 'x shifted right by y bits, keeping the sign', tflite: 'RIGHT_SHIFT' }, (x, y) => {
    const by = e.clamp(y, 0, bitsOf(y.dtype) - 1);
    return DTYPE_INFO[x.dtype].kind === 'int' ? e.shrS(x, by) : e.shrU(x, by);
  }),
  op('bitcast', {
    doc: 'The same bits read as another element type',
    inputs: ['x'],
    onnx: { 'BitCast@26': (n) => ({ to: n.dtype('to') }) },
    tflite: { BITCAST: () => ({ to: undefined }) },
    quantized: 'raw',
    lower: ({ x }, a: { readonly to: DType | undefined }, b, ctx) => {
      const to = a.to ?? ctx.declared(0)?.dtype ?? ctx.limit('the file does not declare the output type');
      return bitcastValue(b, x, to);
    },
  }),
];
