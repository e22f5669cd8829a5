// SIMD128: the cells of each vector shape and the predicate the vectoriser asks. A vector fills 128 bits: lanes times
// element bits. A vector of i1 is a mask whose element width follows from its lanes (4 lanes: 32 bits, all ones is true).

import type { PrimitiveOp, VectorOp } from '../../ir/scalar.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import type { Cell } from './cells.js';
import type { CodeWriter } from './code.js';
import type { Instruction } from './opcodes.js';

export type VectorType =
  | 'f32x4'
  | 'f64x2'
  | 'i32x4'
  | 'u32x4'
  | 'i64x2'
  | 'u64x2'
  | 'i16x8'
  | 'u16x8'
  | 'i8x16'
  | 'u8x16'
  | 'i1x2'
  | 'i1x4'
  | 'i1x8'
  | 'i1x16';

export type Row = Partial<Record<PrimitiveOp, Cell>>;

/** Row of a float shape. */
const floatRow = (v: 'f32x4' | 'f64x2'): Row => ({
  add: [`${v}.add`],
  sub: [`${v}.sub`],
  mul: [`${v}.mul`],
  div: [`${v}.div`],
  min: [`${v}.min`],
  max: [`${v}.max`],
  neg: [`${v}.neg`],
  abs: [`${v}.abs`],
  floor: [`${v}.floor`],
  ceil: [`${v}.ceil`],
  trunc: [`${v}.trunc`],
  rint: [`${v}.nearest`],
  sqrt: [`${v}.sqrt`],
  eq: [`${v}.eq`],
  lt: [`${v}.lt`],
  le: [`${v}.le`],
});

const bitwise = { and: ['v128.and'], or: ['v128.or'], xor: ['v128.xor'] } as const;

const baseRow = (v: 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2', signed: boolean): Row => ({
  ...bitwise,
  add: [`${v}.add`],
  sub: [`${v}.sub`],
  neg: [`${v}.neg`],
  abs: signed ? [`${v}.abs`] : [],
  shl: [`${v}.shl`],
  shr_s: [`${v}.shr_s`],
  shr_u: [`${v}.shr_u`],
  floor: [],
  ceil: [],
  trunc: [],
  rint: [],
  eq: [`${v}.eq`],
});

const integerRow = (v: 'i8x16' | 'i16x8' | 'i32x4', s: 's' | 'u'): Row => ({
  ...baseRow(v, s === 's'),
  min: [`${v}.min_${s}`],
  max: [`${v}.max_${s}`],
  lt: [`${v}.lt_${s}`],
  le: [`${v}.le_${s}`],
});

/** Both halves' full products, then the upper words of each. */
const highProducts =
  (low: Instruction, high: Instruction, wordBytes: 2 | 4): Cell =>
  (c) => {
    const [a, b] = [c.local('v128'), c.local('v128')];
    c.set(b);
    c.tee(a);
    c.get(b);
    c.op(low);
    c.get(a);
    c.get(b);
    c.op(high);
    c.shuffle(
      Array.from({ length: 16 }, (_, i) => Math.floor(i / wordBytes) * 2 * wordBytes + wordBytes + (i % wordBytes)),
    );
    c.free(a, b);
  };

const wide32: Row = {
  mul: ['i32x4.mul'],
  mulhi_s: highProducts('i64x2.extmul_low_i32x4_s', 'i64x2.extmul_high_i32x4_s', 4),
  mulhi_u: highProducts('i64x2.extmul_low_i32x4_u', 'i64x2.extmul_high_i32x4_u', 4),
};

const wide16: Row = {
  mul: ['i16x8.mul'],
  mulhi_s: highProducts('i32x4.extmul_low_i16x8_s', 'i32x4.extmul_high_i16x8_s', 2),
  mulhi_u: highProducts('i32x4.extmul_low_i16x8_u', 'i32x4.extmul_high_i16x8_u', 2),
};

const choose64 =
  (greater: boolean): Cell =>
  (c) => {
    const [a, b] = [c.local('v128'), c.local('v128')];
    c.set(b);
    c.tee(a);
    c.get(b);
    c.get(greater ? b : a);
    c.get(greater ? a : b);
    c.op('i64x2.lt_s', 'v128.bitselect');
    c.free(a, b);
  };

const signed64: Row = { min: choose64(false), max: choose64(true), lt: ['i64x2.lt_s'], le: ['i64x2.le_s'] };

const maskRow: Row = {
  ...bitwise,
  add: ['v128.or'],
  mul: ['v128.and'],
  min: ['v128.and'],
  max: ['v128.or'],
  eq: ['v128.xor', 'v128.not'],
};

export const VECTOR_CELLS = {
  f32x4: floatRow('f32x4'),
  f64x2: floatRow('f64x2'),
  i32x4: { ...integerRow('i32x4', 's'), ...wide32 },
  u32x4: { ...integerRow('i32x4', 'u'), ...wide32 },
  i64x2: { ...baseRow('i64x2', true), ...signed64, mul: ['i64x2.mul'] },
  u64x2: { ...baseRow('i64x2', false), mul: ['i64x2.mul'] },
  i16x8: { ...integerRow('i16x8', 's'), ...wide16 },
  u16x8: { ...integerRow('i16x8', 'u'), ...wide16 },
  i8x16: { ...integerRow('i8x16', 's'), popcnt: ['i8x16.popcnt'] },
  u8x16: { ...integerRow('i8x16', 'u'), popcnt: ['i8x16.popcnt'] },
  i1x2: maskRow,
  i1x4: maskRow,
  i1x8: maskRow,
  i1x16: maskRow,
} satisfies Record<VectorType, Row>;

/** The shape of `lanes` elements, or null where they do not fill a vector. */
export function vectorType(dtype: DType, lanes: number): VectorType | null {
  const name = `${dtype}x${lanes}`;
  return name in VECTOR_CELLS ? (name as VectorType) : null;
}

/** Bits of one element of a vector with that many lanes. */
export const laneBits = (lanes: number): number => 128 / lanes;

/** The plain shape that holds `lanes` elements, for splats, masks and lane access. */
export const INTEGER_SHAPE: Readonly<Record<number, 'i64x2' | 'i32x4' | 'i16x8' | 'i8x16'>> = {
  2: 'i64x2',
  4: 'i32x4',
  8: 'i16x8',
  16: 'i8x16',
};

/** 1 in every lane, in the element type `dtype`: what a true mask lane becomes. */
export function onesVector(dtype: DType, lanes: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  const width = 16 / lanes;
  for (let i = 0; i < 16; i += width) {
    if (dtype === 'f32') view.setFloat32(i, 1, true);
    else if (dtype === 'f64') view.setFloat64(i, 1, true);
    else bytes[i] = 1;
  }
  return bytes;
}

const nonZero =
  (v: 'f32x4' | 'f64x2' | 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2'): Cell =>
  (c: CodeWriter) => {
    c.v128(new Uint8Array(16));
    c.op(`${v}.ne`);
  };

const sameBits = (from: VectorType, to: VectorType): boolean => {
  const integer = /^[iu](\d+)x/;
  return integer.exec(from)?.[1] === integer.exec(to)?.[1] && integer.test(from);
};

/** The conversion between two shapes of equal lanes, or null where SIMD128 has none. */
export function vectorCast(from: DType, to: DType, lanes: number): Cell | null {
  const a = vectorType(from, lanes);
  const b = vectorType(to, lanes);
  if (a === null || b === null) return null;
  if (a === b || sameBits(a, b)) return [];
  if (to === 'i1')
    return nonZero(from === 'f32' ? 'f32x4' : from === 'f64' ? 'f64x2' : (INTEGER_SHAPE[lanes] ?? 'i8x16'));
  if (from === 'i1') {
    return (c) => {
      c.v128(onesVector(to, lanes));
      c.op('v128.and');
    };
  }
  if (a === 'f32x4') return b === 'i32x4' ? ['i32x4.trunc_sat_f32x4_s'] : ['i32x4.trunc_sat_f32x4_u'];
  if (a === 'i32x4') return ['f32x4.convert_i32x4_s'];
  if (a === 'u32x4') return ['f32x4.convert_i32x4_u'];
  return null;
}

/** What may be asked of a vector beside the operations: a cast is asked with `wasmVectorCast`. */
export type VectorQuery =
  | PrimitiveOp
  | Exclude<VectorOp, 'dot' | 'zip' | 'evens'>
  | 'select'
  | 'load'
  | 'store'
  | 'bitcast';

/** Whether `op` exists on vectors of `lanes` elements of `dtype`; for comparisons `dtype` is the operands'.
 *  Shifts take one count for all lanes. */
export function wasmVectorOps(op: VectorQuery, dtype: DType, lanes: number): boolean {
  const type = vectorType(dtype, lanes);
  if (type === null) return false;
  switch (op) {
    case 'splat':
    case 'extract':
    case 'select':
      return true;
    case 'iota':
    case 'bitcast':
    case 'load':
    case 'store':
      return dtype !== 'i1';
    default: {
      const row: Row = VECTOR_CELLS[type];
      return row[op] !== undefined;
    }
  }
}

/** Whether a vector cast exists. */
export const wasmVectorCast = (from: DType, to: DType, lanes: number): boolean => vectorCast(from, to, lanes) !== null;

/** Whether `lanes` elements of a buffer of `stored` type load as `dtype`: same width, or widened from a narrower integer. */
export function wasmVectorLoad(stored: DType, dtype: DType, lanes: number): boolean {
  if (vectorType(dtype, lanes) === null || dtype === 'i1') return false;
  const [from, to] = [DTYPE_INFO[stored].bytes, DTYPE_INFO[dtype].bytes];
  if (isFloatStorage(stored) !== isFloatStorage(dtype)) return false;
  if (from === to) return true;
  return !isFloatStorage(stored) && from < to && to <= (from === 1 ? 4 : from * 2);
}

/** Narrower floats are held as their bits, which are integers here. */
const isFloatStorage = (t: DType): boolean => t === 'f32' || t === 'f64';
