// Tensors in files: NumPy arrays and ONNX test data. What a .npy file cannot say (bf16, int4, …) is taken from the type
// the model declares.

import { readValueProto, type Value } from '../frontend/onnx/tensor-proto.js';
import type { SourceType } from '../frontend/source.js';
import { type DType, DTYPE_INFO } from '../support/dtype.js';
import { CompileError } from '../support/errors.js';
import { readNpy } from '../support/npy.js';
import type { Tensor } from '../support/tensor.js';
import { readBytes } from './model-file.js';

/** Types that .npy has no name for: they are stored as these. */
const STORED_AS: Partial<Record<DType, readonly DType[]>> = {
  bf16: ['u16', 'i16'],
  f16: ['u16'],
  f8e4m3fn: ['u8'],
  f8e4m3fnuz: ['u8'],
  f8e5m2: ['u8'],
  f8e5m2fnuz: ['u8'],
  f8e8m0: ['u8'],
  f4e2m1: ['u8'],
  i4: ['i8'],
  i2: ['i8'],
  u4: ['u8'],
  u2: ['u8'],
  i1: ['u8'],
};

/** Reads a .npy or .pb file that holds a value of the declared type. */
export function readValueFile(file: string, declared: SourceType | undefined): Value {
  const bytes = readBytes(file);
  if (file.endsWith('.pb')) return readValueProto(bytes, file, declared ?? 'tensor');
  return { kind: 'tensor', tensor: asDeclared(readNpy(bytes, { file }), declared) };
}

export function readTensorFile(file: string, declared: SourceType | undefined): Tensor {
  const value = readValueFile(file, declared);
  if (value.kind === 'tensor') return value.tensor;
  throw new CompileError('E402', `"${file}" holds a ${value.kind}, not a tensor`);
}

function asDeclared(t: Tensor, declared: SourceType | undefined): Tensor {
  if (declared?.kind !== 'tensor' || declared.dtype === t.dtype) return t;
  if (!STORED_AS[declared.dtype]?.includes(t.dtype) || DTYPE_INFO[declared.dtype].bytes !== DTYPE_INFO[t.dtype].bytes)
    return t;
  return { ...t, dtype: declared.dtype };
}
