// The bytes behind constants: which part of the file each buffer is, and its decoding into a Tensor on first use.
// A view of the file where alignment allows, else a copy; tensors that share a buffer share the decoded array, and what a
// file may decode to is bounded by its size. Little-endian hosts are assumed, as by the format.

import { DTYPE_INFO } from '../../support/dtype.js';
import { STORAGE, sizeOf, type Tensor, type TypedArray } from '../../support/tensor.js';
import type { LazyTensor } from '../source.js';
import type { ElementType } from './element-types.js';
import { bytesOf, type FlatFile, malformed, numberOf, type Span, spendElements, type Table } from './flat.js';
import { TABLES } from './generated/schema.js';

/** One entry of the model's buffers: its bytes, or null where it holds none. `decoded` caches by element type. */
export interface ModelBuffer {
  readonly source: FlatFile;
  readonly span: Span | null;
  readonly decoded: Map<string, TypedArray | readonly string[]>;
}

/** A buffer's bytes stand in the flatbuffer, or beyond it at a file offset (models over 2 GB). */
export function modelBuffer(table: Table<'Buffer'>): ModelBuffer {
  const { source } = table;
  const fields = TABLES.Buffer;
  const decoded: ModelBuffer['decoded'] = new Map();
  const offset = numberOf(table, fields.offset);
  if (offset <= 1) return { source, span: bytesOf(table, fields.data), decoded };
  return { source, span: fileSpan(table, offset, numberOf(table, fields.size)), decoded };
}

/** A stretch of the file named by absolute offset and size. */
export function fileSpan(table: Table, at: number, count: number): Span {
  const { length } = table.source.bytes;
  if (count > length - at)
    throw malformed(table.source, table.at, `${count} bytes at ${at} lie beyond the file's ${length}`);
  return { at, count };
}

/** Bytes that `count` elements take in the file. */
const storedBytes = (type: ElementType, count: number): number =>
  type.packed ? Math.ceil(count / type.packed) : count * DTYPE_INFO[type.dtype].bytes;

/** A dense constant. `shape` is in our terms: complex numbers already have their dimension of 2. */
export function denseConstant(
  buffer: ModelBuffer,
  span: Span,
  type: ElementType,
  shape: readonly number[],
): LazyTensor {
  const count = sizeOf(shape);
  if (type.dtype !== 'string' && span.count !== storedBytes(type, count)) {
    const expected = storedBytes(type, count);
    throw malformed(
      buffer.source,
      span.at,
      `${type.name}[${shape}] needs ${expected} bytes, its buffer has ${span.count}`,
    );
  }
  if (type.dtype === 'string') countStrings(buffer.source, span, count);
  const read = (): Tensor => ({ dtype: type.dtype, shape, data: elements(buffer, span, type, count) });
  return { dtype: type.dtype, shape, read };
}

/** The first `count` elements of a buffer; as many as its bytes hold where no count is given. */
export function elements(
  buffer: ModelBuffer,
  span: Span,
  type: ElementType,
  count?: number,
): TypedArray | readonly string[] {
  const width = DTYPE_INFO[type.dtype].bytes;
  const n = count ?? (type.packed ? span.count * type.packed : Math.floor(span.count / width));
  const key = `${type.dtype} ${n}`;
  const known = buffer.decoded.get(key);
  if (known) return known;
  spendElements(buffer.source, n, span.at);
  const bytes = buffer.source.bytes.subarray(span.at, span.at + span.count);
  const data = decode(buffer.source, span, bytes, type, n);
  buffer.decoded.set(key, data);
  return data;
}

function decode(source: FlatFile, span: Span, bytes: Uint8Array, type: ElementType, count: number) {
  if (type.dtype === 'string') return readStrings(source, span, count);
  if (type.packed) return unpack(bytes, type.packed, count, type.dtype === 'u4');
  if (type.dtype === 'i1') return bytes.some((b) => b > 1) ? bytes.map((b) => (b ? 1 : 0)) : bytes;
  const Storage = STORAGE[type.dtype];
  const aligned = bytes.byteOffset % Storage.BYTES_PER_ELEMENT === 0;
  // Not slice(): of a Node Buffer that is a view.
  const from = aligned ? bytes : new Uint8Array(bytes);
  return new Storage(from.buffer as ArrayBuffer, from.byteOffset, count);
}

/** Two or four elements a byte, lowest bits first, sign-extended unless `unsigned`. */
function unpack(bytes: Uint8Array, perByte: 2 | 4, count: number, unsigned: boolean): Int8Array | Uint8Array {
  const bits = 8 / perByte;
  const out = unsigned ? new Uint8Array(count) : new Int8Array(count);
  for (let i = 0; i < count; i++) {
    const raw = (bytes[Math.floor(i / perByte)] ?? 0) >> (bits * (i % perByte));
    out[i] = unsigned ? raw & ((1 << bits) - 1) : (raw << (32 - bits)) >> (32 - bits);
  }
  return out;
}

/** TFLite's string layout: int32 count, count + 1 int32 offsets from the buffer's start, then the characters. */
function countStrings(source: FlatFile, span: Span, count: number): void {
  const stored = span.count < 4 ? -1 : source.view.getInt32(span.at, true);
  if (stored === count && 4 * (count + 2) <= span.count) return;
  throw malformed(
    source,
    span.at,
    `a string tensor of ${count} elements has a buffer of ${span.count} bytes for ${stored}`,
  );
}

function readStrings(source: FlatFile, span: Span, count: number): readonly string[] {
  const text = new TextDecoder();
  const offset = (i: number) => source.view.getInt32(span.at + 4 + 4 * i, true);
  const strings: string[] = [];
  for (let i = 0; i < count; i++) {
    const [start, end] = [offset(i), offset(i + 1)];
    if (start < 4 * (count + 2) || end < start || end > span.count) {
      throw malformed(source, span.at + 4 + 4 * i, `string ${i} runs from ${start} to ${end} in ${span.count} bytes`);
    }
    strings.push(text.decode(source.bytes.subarray(span.at + start, span.at + end)));
  }
  return strings;
}
