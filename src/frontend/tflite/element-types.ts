// TFLite's element types in ours. Complex numbers become a trailing dimension of 2 (real, imaginary); resource and variant
// handles have no elements. COMPLEX64 in an attribute keeps its own name, since no element type of ours stands for it.

import type { DType } from '../../support/dtype.js';
import { ENUMS } from './generated/schema.js';

type TensorType = (typeof ENUMS.TensorType)[number];

/** How one element is stored in the model; `packed` is the elements in a byte where there are several. */
export interface ElementType {
  readonly name: TensorType;
  readonly dtype: DType;
  readonly complex?: true;
  readonly packed?: 2 | 4;
}

const of = (name: TensorType, dtype: DType, more: Partial<ElementType> = {}): ElementType => ({ name, dtype, ...more });

const ELEMENT_TYPES: Record<TensorType, ElementType | 'handle'> = {
  FLOAT32: of('FLOAT32', 'f32'),
  FLOAT16: of('FLOAT16', 'f16'),
  INT32: of('INT32', 'i32'),
  UINT8: of('UINT8', 'u8'),
  INT64: of('INT64', 'i64'),
  STRING: of('STRING', 'string'),
  BOOL: of('BOOL', 'i1'),
  INT16: of('INT16', 'i16'),
  COMPLEX64: of('COMPLEX64', 'f32', { complex: true }),
  INT8: of('INT8', 'i8'),
  FLOAT64: of('FLOAT64', 'f64'),
  COMPLEX128: of('COMPLEX128', 'f64', { complex: true }),
  UINT64: of('UINT64', 'u64'),
  RESOURCE: 'handle',
  VARIANT: 'handle',
  UINT32: of('UINT32', 'u32'),
  UINT16: of('UINT16', 'u16'),
  INT4: of('INT4', 'i4', { packed: 2 }),
  BFLOAT16: of('BFLOAT16', 'bf16'),
  INT2: of('INT2', 'i2', { packed: 4 }),
  UINT4: of('UINT4', 'u4', { packed: 2 }),
  FLOAT8_E4M3FN: of('FLOAT8_E4M3FN', 'f8e4m3fn'),
  FLOAT8_E5M2: of('FLOAT8_E5M2', 'f8e5m2'),
};

/** The element type of a tensor; 'handle' for resources and variants, undefined for a code this schema lacks. */
export function elementType(code: number): ElementType | 'handle' | undefined {
  const name = ENUMS.TensorType[code];
  return name === undefined ? undefined : ELEMENT_TYPES[name];
}

/** The name an attribute carries: ours ('f32'), or the schema's in lower case where we have none ('complex64'). */
export function elementTypeName(code: number): string | undefined {
  const type = elementType(code);
  if (type === undefined) return undefined;
  return type === 'handle' || type.complex ? ENUMS.TensorType[code]?.toLowerCase() : type.dtype;
}
