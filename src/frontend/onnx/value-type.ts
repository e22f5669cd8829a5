// TypeProto → SourceType. What no runtime value of ours can have (opaque and sparse types) is `unknown`:
// the op that needs it says so, with its node.

import { CompileError } from '../../support/errors.js';
import type { SourceDim, SourceType, SourceValue } from '../source.js';
import { elementType } from './element-type.js';
import type { ShapeProto, TypeProto, ValueInfoProto } from './wire.js';

const UNKNOWN: SourceType = { kind: 'unknown' };

export function readValueInfo(info: ValueInfoProto, file: string, name = info.name ?? ''): SourceValue {
  return { name, type: info.type ? readType(info.type, file, name) : UNKNOWN };
}

/** `value` names the value in messages. */
export function readType(type: TypeProto, file: string, value: string): SourceType {
  if (type.tensor_type) return readTensorType(type.tensor_type.elem_type ?? 0, type.tensor_type.shape, file, value);
  const sequence = type.sequence_type;
  if (sequence) return { kind: 'sequence', element: readElement(sequence.elem_type, file, value) };
  const optional = type.optional_type;
  if (optional) return { kind: 'optional', element: readElement(optional.elem_type, file, value) };
  const key = elementType(type.map_type?.key_type ?? 0);
  if (key) return { kind: 'map', key: key.dtype, value: readElement(type.map_type?.value_type, file, value) };
  return UNKNOWN;
}

const readElement = (type: TypeProto | null | undefined, file: string, value: string): SourceType =>
  type ? readType(type, file, value) : UNKNOWN;

function readTensorType(code: number, shape: ShapeProto | null | undefined, file: string, value: string): SourceType {
  if (code === 0) return UNKNOWN;
  const element = elementType(code);
  if (!element) {
    throw new CompileError('E105', `value "${value}" has the unknown element type ${code}`, {
      at: { file },
      hint: 'heddle knows the types up to INT2 (26)',
    });
  }
  if (!shape) return { kind: 'tensor', dtype: element.dtype, shape: null };
  const dims = (shape.dim ?? []).map((dim) => readDim(dim, file, value));
  return { kind: 'tensor', dtype: element.dtype, shape: element.complex ? [...dims, 2] : dims };
}

function readDim(dim: NonNullable<ShapeProto['dim']>[number], file: string, value: string): SourceDim {
  const size = dim.dim_value ?? null;
  if (size === null) return dim.dim_param || null;
  if (typeof size === 'bigint') {
    throw new CompileError('E103', `value "${value}" has a dimension of ${size}`, { at: { file } });
  }
  return size < 0 ? null : size;
}
