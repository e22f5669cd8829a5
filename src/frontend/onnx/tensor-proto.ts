// Test data files (.pb): one TensorProto, SequenceProto, MapProto or OptionalProto, without a mark of which.
// The caller says what it expects, from the model's declared type; a tensor is the default.

import { CompileError } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import type { SourceType } from '../source.js';
import { rememberFiles } from './external-data.js';
import { readSparseTensor, readTensor, type TensorContext } from './tensor-data.js';
import {
  decodeMap,
  decodeOptional,
  decodeSequence,
  decodeTensor,
  type MapProto,
  type OptionalProto,
  type SequenceProto,
  type SparseTensorProto,
  type TensorProto,
} from './wire.js';

/** A value of test data. A map's keys and values stand at the same positions. */
export type Value =
  | { readonly kind: 'tensor'; readonly tensor: Tensor }
  | { readonly kind: 'sequence'; readonly values: readonly Value[] }
  | { readonly kind: 'map'; readonly keys: readonly (bigint | string)[]; readonly values: readonly Value[] }
  | { readonly kind: 'optional'; readonly value: Value | null };

/** What a file holds. */
export type ValueKind = Value['kind'];

/** Reads a serialized TensorProto. Throws E103, E105. */
export function readTensorProto(bytes: Uint8Array, file: string): Tensor {
  return readTensor(decodeTensor(bytes, file), contextOf(bytes, file)).read();
}

/** Reads a value of the kind the model declares; a declared type may be given instead of a kind. */
export function readValueProto(bytes: Uint8Array, file: string, expected: ValueKind | SourceType): Value {
  const kind = typeof expected === 'string' ? expected : expected.kind;
  const context = contextOf(bytes, file);
  switch (kind) {
    case 'sequence':
      return readSequence(decodeSequence(bytes, file), context);
    case 'optional':
      return readOptional(decodeOptional(bytes, file), context);
    case 'map':
      return readMap(decodeMap(bytes, file), context);
    default:
      return { kind: 'tensor', tensor: readTensorProto(bytes, file) };
  }
}

const contextOf = (bytes: Uint8Array, file: string): TensorContext => ({
  file,
  bytes,
  external: rememberFiles(undefined),
  place: {},
});

/** Published SequenceProto.DataType and OptionalProto.DataType codes. */
const ELEMENT = { undefined: 0, tensor: 1, sparse: 2, sequence: 3, map: 4, optional: 5 } as const;

function readSequence(proto: SequenceProto, context: TensorContext): Value {
  return { kind: 'sequence', values: readElements(proto, context) };
}

function readElements(proto: SequenceProto, context: TensorContext): Value[] {
  switch (proto.elem_type ?? ELEMENT.undefined) {
    case ELEMENT.undefined:
    case ELEMENT.tensor:
      return (proto.tensor_values ?? []).map((t) => tensorValue(t, context));
    case ELEMENT.sparse:
      return (proto.sparse_tensor_values ?? []).map((t) => sparseValue(t, context));
    case ELEMENT.sequence:
      return (proto.sequence_values ?? []).map((s) => readSequence(s, context));
    case ELEMENT.map:
      return (proto.map_values ?? []).map((m) => readMap(m, context));
    case ELEMENT.optional:
      return (proto.optional_values ?? []).map((o) => readOptional(o, context));
    default:
      throw unknownElement(proto.elem_type, context);
  }
}

const readOptional = (proto: OptionalProto, context: TensorContext): Value => ({
  kind: 'optional',
  value: readContent(proto, context),
});

function readContent(proto: OptionalProto, context: TensorContext): Value | null {
  switch (proto.elem_type ?? ELEMENT.undefined) {
    case ELEMENT.undefined:
      return null;
    case ELEMENT.tensor:
      return proto.tensor_value ? tensorValue(proto.tensor_value, context) : null;
    case ELEMENT.sparse:
      return proto.sparse_tensor_value ? sparseValue(proto.sparse_tensor_value, context) : null;
    case ELEMENT.sequence:
      return proto.sequence_value ? readSequence(proto.sequence_value, context) : null;
    case ELEMENT.map:
      return proto.map_value ? readMap(proto.map_value, context) : null;
    case ELEMENT.optional:
      return proto.optional_value ? readOptional(proto.optional_value, context) : null;
    default:
      throw unknownElement(proto.elem_type, context);
  }
}

const tensorValue = (proto: TensorProto, context: TensorContext): Value => ({
  kind: 'tensor',
  tensor: readTensor(proto, context).read(),
});

const sparseValue = (proto: SparseTensorProto, context: TensorContext): Value => ({
  kind: 'tensor',
  tensor: readSparseTensor(proto, context).read(),
});

function readMap(proto: MapProto, context: TensorContext): Value {
  const decoder = new TextDecoder();
  const strings = proto.string_keys ?? [];
  const keys = strings.length ? strings.map((k) => decoder.decode(k)) : (proto.keys ?? []).map((k) => BigInt(k));
  const values = readElements(proto.values ?? {}, context);
  if (keys.length !== values.length) {
    throw new CompileError('E103', `a map has ${keys.length} keys and ${values.length} values`, {
      at: { file: context.file },
    });
  }
  return { kind: 'map', keys, values };
}

const unknownElement = (code: number | null | undefined, context: TensorContext): CompileError =>
  new CompileError('E103', `element kind ${code} is unknown`, { at: { file: context.file } });
