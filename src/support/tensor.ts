// A tensor in memory: row-major, contiguous, in the storage of its element type (see dtype.ts).
// Everything that moves data between files, folding, the interpreter and tests speaks this type.

import { type DType, DTYPE_INFO } from './dtype.js';
import { invariant } from './errors.js';
import { decodeFloats, encodeFloats, isNarrowFloat } from './float.js';

export type TypedArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** `data` holds product(shape) elements; f16/bf16 as Uint16Array bits, f8/f4 as Uint8Array bits, i4/i2 as Int8Array, i1 as Uint8Array 0/1. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray | readonly string[];
}

export type TypedArrayConstructor =
  | Float64ArrayConstructor
  | Float32ArrayConstructor
  | BigInt64ArrayConstructor
  | BigUint64ArrayConstructor
  | Int32ArrayConstructor
  | Uint32ArrayConstructor
  | Int16ArrayConstructor
  | Uint16ArrayConstructor
  | Int8ArrayConstructor
  | Uint8ArrayConstructor;

export const STORAGE: Record<Exclude<DType, 'string'>, TypedArrayConstructor> = {
  f64: Float64Array,
  f32: Float32Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  f8e4m3fn: Uint8Array,
  f8e4m3fnuz: Uint8Array,
  f8e5m2: Uint8Array,
  f8e5m2fnuz: Uint8Array,
  f8e8m0: Uint8Array,
  f4e2m1: Uint8Array,
  i64: BigInt64Array,
  i32: Int32Array,
  i16: Int16Array,
  i8: Int8Array,
  i4: Int8Array,
  i2: Int8Array,
  u64: BigUint64Array,
  u32: Uint32Array,
  u16: Uint16Array,
  u8: Uint8Array,
  u4: Uint8Array,
  u2: Uint8Array,
  i1: Uint8Array,
};

/** Number of elements of a concrete shape. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** A tensor over existing storage; `data` must hold product(shape) elements. */
export function tensor(dtype: DType, shape: readonly number[], data: Tensor['data']): Tensor {
  invariant(data.length === sizeOf(shape), `${data.length} elements given for shape [${shape.join(', ')}]`);
  return { dtype, shape, data };
}

/** The elements as numbers: narrow floats decoded, 64-bit integers rounded to the nearest double. */
export function toNumbers(t: Tensor): Float64Array {
  const { dtype, data } = t;
  invariant(dtype !== 'string', 'strings are not numbers');
  if (isNarrowFloat(dtype)) return Float64Array.from(decodeFloats(dtype, data as ArrayLike<number>));
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}

/** A tensor from numbers, rounded or wrapped to `dtype`: integers truncate and wrap (NaN is 0), i1 is 1 for any non-zero. */
export function fromNumbers(dtype: DType, shape: readonly number[], values: ArrayLike<number | bigint>): Tensor {
  invariant(dtype !== 'string', 'strings are not numbers');
  if (isNarrowFloat(dtype)) return tensor(dtype, shape, encodeFloats(dtype, Array.from(values, Number)));
  if (dtype === 'f64') return tensor(dtype, shape, Float64Array.from(values, Number));
  if (dtype === 'f32') return tensor(dtype, shape, Float32Array.from(values, Number));
  if (dtype === 'i1')
    return tensor(
      dtype,
      shape,
      Uint8Array.from(values, (v) => (Number(v) === 0 ? 0 : 1)),
    );
  const { kind, bits } = DTYPE_INFO[dtype];
  const wrap = kind === 'int' ? BigInt.asIntN : BigInt.asUintN;
  const wrapped = Array.from(values, (v) => wrap(bits, toBigInt(v)));
  if (dtype === 'i64') return tensor(dtype, shape, BigInt64Array.from(wrapped));
  if (dtype === 'u64') return tensor(dtype, shape, BigUint64Array.from(wrapped));
  return tensor(dtype, shape, (STORAGE[dtype] as Int32ArrayConstructor).from(wrapped, Number));
}

const toBigInt = (v: number | bigint): bigint =>
  typeof v === 'bigint' ? v : Number.isFinite(v) ? BigInt(Math.trunc(v)) : 0n;
