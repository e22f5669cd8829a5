// ONNX TensorProto.DataType codes and what each is here. Complex types become a real type with a trailing axis of 2.

import type { DType } from '../../support/dtype.js';

export interface ElementType {
  readonly name: string;
  readonly dtype: DType;
  readonly complex?: true;
}

/** Index is the published code; 0 is UNDEFINED. */
const ELEMENT_TYPES: readonly (ElementType | null)[] = [
  null,
  { name: 'FLOAT', dtype: 'f32' },
  { name: 'UINT8', dtype: 'u8' },
  { name: 'INT8', dtype: 'i8' },
  { name: 'UINT16', dtype: 'u16' },
  { name: 'INT16', dtype: 'i16' },
  { name: 'INT32', dtype: 'i32' },
  { name: 'INT64', dtype: 'i64' },
  { name: 'STRING', dtype: 'string' },
  { name: 'BOOL', dtype: 'i1' },
  { name: 'FLOAT16', dtype: 'f16' },
  { name: 'DOUBLE', dtype: 'f64' },
  { name: 'UINT32', dtype: 'u32' },
  { name: 'UINT64', dtype: 'u64' },
  { name: 'COMPLEX64', dtype: 'f32', complex: true },
  { name: 'COMPLEX128', dtype: 'f64', complex: true },
  { name: 'BFLOAT16', dtype: 'bf16' },
  { name: 'FLOAT8E4M3FN', dtype: 'f8e4m3fn' },
  { name: 'FLOAT8E4M3FNUZ', dtype: 'f8e4m3fnuz' },
  { name: 'FLOAT8E5M2', dtype: 'f8e5m2' },
  { name: 'FLOAT8E5M2FNUZ', dtype: 'f8e5m2fnuz' },
  { name: 'UINT4', dtype: 'u4' },
  { name: 'INT4', dtype: 'i4' },
  { name: 'FLOAT4E2M1', dtype: 'f4e2m1' },
  { name: 'FLOAT8E8M0', dtype: 'f8e8m0' },
  { name: 'UINT2', dtype: 'u2' },
  { name: 'INT2', dtype: 'i2' },
];

/** The element type with this code (the `to` of Cast, `elem_type`, `data_type`), or null for none of the published ones. */
export const elementType = (code: number): ElementType | null => ELEMENT_TYPES[code] ?? null;
