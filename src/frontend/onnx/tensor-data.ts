// TensorProto → LazyTensor. Type, dims and data length are checked at once; elements are decoded on the first read().
// Raw data that is aligned aliases the file; 4- and 2-bit elements unpack to one a byte. Nothing is allocated by dims alone.

import { DTYPE_INFO, type DType } from '../../support/dtype.js';
import { CompileError, invariant, type ErrorCode, type ErrorPlace } from '../../support/errors.js';
import { sizeOf, STORAGE, type Tensor, type TypedArray } from '../../support/tensor.js';
import type { LazyTensor } from '../source.js';
import { elementType } from './element-type.js';
import { type ExternalFiles, locateExternal } from './external-data.js';
import type { SparseTensorProto, TensorProto } from './wire.js';

/** What reading a tensor needs to know of its surroundings. */
export interface TensorContext {
  readonly file: string;
  /** The whole file, for offsets in messages. */
  readonly bytes: Uint8Array;
  readonly external: ExternalFiles;
  /** Node or initializer at hand, for messages. */
  readonly place: ErrorPlace;
}

const MAX_RANK = 64;
/** A sparse tensor may grow by this factor, or to this many elements, when written out. */
const SPARSE_GROWTH = 256;
const SPARSE_FLOOR = 2 ** 22;

/** Checks one tensor; the elements stay in the file until `read()`. Throws E103, E104, E105. */
export function readTensor(proto: TensorProto, context: TensorContext): LazyTensor {
  const fail = failFor(proto, context);
  const element = elementType(proto.data_type ?? 0);
  if (!element) throw fail('E105', `element type ${proto.data_type ?? 0} is unknown`);
  if (proto.segment) throw fail('E105', 'tensors in segments are not supported');
  const dims = readDims(proto.dims ?? [], fail);
  const shape = element.complex ? [...dims, 2] : dims;
  const decode = chooseSource(proto, element.dtype, sizeOf(shape), context, fail);
  let tensor: Tensor | null = null;
  return {
    dtype: element.dtype,
    shape,
    read: () => {
      tensor ??= { dtype: element.dtype, shape, data: decode() };
      return tensor;
    },
  };
}

type Fail = (code: ErrorCode, message: string, offset?: number) => CompileError;

const failFor =
  (proto: TensorProto, context: TensorContext): Fail =>
  (code, message, offset) =>
    new CompileError(code, `tensor "${proto.name ?? ''}": ${message}`, {
      at: { file: context.file, ...context.place, offset },
    });

function readDims(dims: readonly (number | bigint)[], fail: Fail): number[] {
  if (dims.length > MAX_RANK) throw fail('E103', `rank ${dims.length} is more than ${MAX_RANK}`);
  const shape = dims.map((dim) => {
    if (typeof dim === 'bigint' || dim < 0) throw fail('E103', `dimension ${dim} is not a size`);
    return dim;
  });
  if (!Number.isSafeInteger(sizeOf(shape))) throw fail('E103', `shape [${shape.join(', ')}] is too large`);
  return shape;
}

/** Where the elements are, checked for length; the result decodes them. */
function chooseSource(
  proto: TensorProto,
  dtype: DType,
  count: number,
  context: TensorContext,
  fail: Fail,
): () => Tensor['data'] {
  if (proto.data_location === 1) {
    if (dtype === 'string') throw fail('E104', 'strings cannot be external');
    const locate = locateExternal(proto.external_data ?? [], rawLength(dtype, count), context.external, fail);
    return () => fromRaw(locate(), dtype, count);
  }
  if (dtype === 'string') return stringSource(proto, count, fail);
  const raw = proto.raw_data;
  if (raw && (raw.length > 0 || !hasTypedData(proto))) {
    const offset = raw.buffer === context.bytes.buffer ? raw.byteOffset - context.bytes.byteOffset : undefined;
    const need = rawLength(dtype, count);
    if (raw.length !== need) {
      throw fail('E103', `${shapeText(proto)} of ${dtype} needs ${need} bytes but there are ${raw.length}`, offset);
    }
    return () => fromRaw(raw, dtype, count);
  }
  return typedSource(proto, dtype, count, fail);
}

const shapeText = (proto: TensorProto): string => `shape [${(proto.dims ?? []).join(', ')}]`;

const hasTypedData = (proto: TensorProto): boolean =>
  [proto.float_data, proto.int32_data, proto.int64_data, proto.double_data, proto.uint64_data].some((d) => d?.length);

/** Bytes that `count` elements take in a file; 4- and 2-bit elements share bytes. */
const rawLength = (dtype: DType, count: number): number => Math.ceil((count * fileBits(dtype)) / 8);

const fileBits = (dtype: DType): number => (dtype === 'i1' ? 8 : DTYPE_INFO[dtype].bits);

function fromRaw(raw: Uint8Array, dtype: DType, count: number): TypedArray {
  invariant(dtype !== 'string', 'strings have no raw form');
  if (fileBits(dtype) < 8) return unpack(raw, dtype, count);
  if (dtype === 'i1')
    return raw.every((byte) => byte <= 1) ? raw : Uint8Array.from(raw, (byte) => (byte === 0 ? 0 : 1));
  const storage = STORAGE[dtype];
  const source = raw.byteOffset % storage.BYTES_PER_ELEMENT === 0 ? raw : new Uint8Array(raw);
  return new storage(source.buffer as ArrayBuffer, source.byteOffset, count);
}

/** Low bits first; signed types extend their sign. */
function unpack(raw: ArrayLike<number>, dtype: Exclude<DType, 'string'>, count: number): TypedArray {
  const { kind, bits } = DTYPE_INFO[dtype];
  const perByte = 8 / bits;
  const out = kind === 'int' ? new Int8Array(count) : new Uint8Array(count);
  const unused = 32 - bits;
  for (let i = 0; i < count; i++) {
    const field = (raw[Math.floor(i / perByte)] ?? 0) >> ((i % perByte) * bits);
    out[i] = kind === 'int' ? (field << unused) >> unused : field & ((1 << bits) - 1);
  }
  return out;
}

function stringSource(proto: TensorProto, count: number, fail: Fail): () => readonly string[] {
  const strings = proto.string_data ?? [];
  if (strings.length !== count) {
    throw fail('E103', `${shapeText(proto)} needs ${count} strings but there are ${strings.length}`);
  }
  return () => strings.map((bytes) => new TextDecoder().decode(bytes));
}

/** The `*_data` field that the format assigns to each element type. */
function typedSource(proto: TensorProto, dtype: Exclude<DType, 'string'>, count: number, fail: Fail): () => TypedArray {
  const values = typedField(proto, dtype);
  const need = fileBits(dtype) < 8 ? rawLength(dtype, count) : count;
  if (values.length !== need) {
    throw fail('E103', `${shapeText(proto)} of ${dtype} needs ${need} values but there are ${values.length}`);
  }
  if (fileBits(dtype) < 8) return () => unpack(values as readonly number[], dtype, count);
  if (dtype === 'i64') return () => BigInt64Array.from(values, BigInt);
  if (dtype === 'u64') return () => BigUint64Array.from(values, BigInt);
  if (dtype === 'i1') return () => Uint8Array.from(values, (v) => (Number(v) === 0 ? 0 : 1));
  return () => (STORAGE[dtype] as Int32ArrayConstructor).from(values, Number);
}

function typedField(proto: TensorProto, dtype: DType): readonly (number | bigint)[] {
  switch (dtype) {
    case 'f32':
      return proto.float_data ?? [];
    case 'f64':
      return proto.double_data ?? [];
    case 'i64':
      return proto.int64_data ?? [];
    case 'u32':
    case 'u64':
      return proto.uint64_data ?? [];
    default:
      return proto.int32_data ?? [];
  }
}

/** A sparse tensor as the dense one it stands for. Throws E103 where values, indices and dims disagree. */
export function readSparseTensor(proto: SparseTensorProto, context: TensorContext): LazyTensor {
  const valuesProto = proto.values ?? {};
  const fail = failFor(valuesProto, context);
  const values = readTensor(valuesProto, context);
  const indices = readTensor(proto.indices ?? { data_type: 7, dims: [0] }, context);
  const shape = readDims(proto.dims ?? [], fail);
  const stored = values.shape[0] ?? 0;
  if (values.dtype === 'string' || values.shape.length !== 1)
    throw fail('E105', 'sparse values must be numbers in one axis');
  const indicesFit = indices.shape.length === 1 || (indices.shape.length === 2 && indices.shape[1] === shape.length);
  if (indices.dtype !== 'i64' || !indicesFit || indices.shape[0] !== stored) {
    throw fail('E103', `sparse indices of shape [${indices.shape.join(', ')}] do not fit ${stored} values`);
  }
  if (sizeOf(shape) > Math.max(SPARSE_FLOOR, stored * SPARSE_GROWTH)) {
    throw fail('E105', `a sparse tensor of ${sizeOf(shape)} elements with ${stored} values is too large to write out`);
  }
  return { dtype: values.dtype, shape, read: () => densify(values, indices, shape, fail) };
}

function densify(values: LazyTensor, indices: LazyTensor, shape: readonly number[], fail: Fail): Tensor {
  invariant(values.dtype !== 'string', 'sparse strings were refused');
  const data = new STORAGE[values.dtype](sizeOf(shape));
  const source = values.read().data as TypedArray;
  const index = Array.from(indices.read().data as BigInt64Array, Number);
  const width = indices.shape.length === 2 ? shape.length : 1;
  for (let i = 0; i < source.length; i++) {
    const row = index.slice(i * width, (i + 1) * width);
    const sizes = width === 1 && indices.shape.length === 1 ? [data.length] : shape;
    let flat = 0;
    row.forEach((at, axis) => {
      const size = sizes[axis] ?? 0;
      if (at < 0 || at >= size) throw fail('E103', `sparse index ${at} is outside an axis of ${size}`);
      flat = flat * size + at;
    });
    (data as Float64Array)[flat] = source[i] as number;
  }
  return { dtype: values.dtype, shape, data };
}
