// NumPy's .npy files, versions 1 to 3, to and from tensors. Every length is checked before anything is allocated.
// NumPy has no narrow floats but f16: the others are kept as raw bytes (`V1`, `V2`) or unsigned bits and read with `as`.
// Complex numbers become a trailing axis of 2. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

import { DTYPE_INFO, type DType } from './dtype.js';
import { CompileError, invariant } from './errors.js';
import { sizeOf, STORAGE, type Tensor, type TypedArray } from './tensor.js';

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const PLATFORM_IS_LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** NumPy kind and item size → element type, and how many elements one item holds. */
const KINDS: Readonly<Record<string, readonly [Exclude<DType, 'string'>, number]>> = {
  b1: ['i1', 1],
  i1: ['i8', 1],
  i2: ['i16', 1],
  i4: ['i32', 1],
  i8: ['i64', 1],
  u1: ['u8', 1],
  u2: ['u16', 1],
  u4: ['u32', 1],
  u8: ['u64', 1],
  f2: ['f16', 1],
  f4: ['f32', 1],
  f8: ['f64', 1],
  c8: ['f32', 2],
  c16: ['f64', 2],
  V1: ['u8', 1],
  V2: ['u16', 1],
};

interface Header {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
  readonly dataStart: number;
}

export interface ReadNpyOptions {
  /** Name for messages. */
  readonly file?: string;
  /** Take the elements for this type of the same width, e.g. `u16` bits for bf16. */
  readonly as?: DType;
}

/** Reads one array. Numeric data aliases `file` where alignment, byte order and element order allow. Throws E403. */
export function readNpy(file: Uint8Array, options: ReadNpyOptions = {}): Tensor {
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const fail = failIn(options.file);
  const header = readHeader(bytes, fail);
  const [, order, kind, width] = /^([<>|=])([a-zA-Z])(\d+)$/.exec(header.descr) ?? [];
  if (!order || !kind || !width) throw fail(`element type '${header.descr}' is not supported`, 0);
  const swap = order === '>' ? PLATFORM_IS_LITTLE : order === '<' && !PLATFORM_IS_LITTLE;
  if (kind === 'U' || kind === 'S') return readStrings(bytes, header, kind, Number(width), order === '>', fail);

  const [dtype, parts] = KINDS[kind + width] ?? [];
  if (!dtype || !parts) throw fail(`element type '${header.descr}' is not supported`, 0);
  const itemBytes = DTYPE_INFO[dtype].bytes * parts;
  const payload = takePayload(bytes, header, itemBytes, fail);
  const data = toStorage(payload, dtype, swap);
  const shape = parts === 2 ? [...header.shape, 2] : header.shape;
  const ordered = header.fortran ? toRowMajor(data, header.shape, parts) : data;
  return retype({ dtype, shape, data: ordered }, options.as, fail);
}

/** Writes one array in version 1 (2 or 3 where the header needs it), row-major, little endian. */
export function writeNpy(t: Tensor): Uint8Array {
  const { descr, data } = encodeData(t);
  const shape = `(${t.shape.join(', ')}${t.shape.length === 1 ? ',' : ''})`;
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  const version = dict.length > 65_000 ? 2 : 1;
  const lead = version === 1 ? 10 : 12;
  const headerLength = Math.ceil((lead + dict.length + 1) / 64) * 64 - lead;
  const out = new Uint8Array(lead + headerLength + data.length);
  const view = new DataView(out.buffer);
  out.set([...MAGIC, version, 0]);
  if (version === 1) view.setUint16(8, headerLength, true);
  else view.setUint32(8, headerLength, true);
  out.set(new TextEncoder().encode(`${dict.padEnd(headerLength - 1)}\n`), lead);
  out.set(data, lead + headerLength);
  return out;
}

type Fail = (message: string, offset?: number) => CompileError;

const failIn =
  (file: string | undefined): Fail =>
  (message, offset) =>
    new CompileError('E403', `not a usable .npy file: ${message}`, { at: { file, offset } });

function readHeader(bytes: Uint8Array, fail: Fail): Header {
  if (bytes.length < 10 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw fail(`it does not begin with the bytes \\x93NUMPY (it has ${bytes.length} bytes)`, 0);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(6);
  if (version < 1 || version > 3) throw fail(`version ${version} is unknown`, 6);
  const lead = version === 1 ? 10 : 12;
  if (bytes.length < lead) throw fail('it ends inside the header', bytes.length);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > bytes.length - lead)
    throw fail(`the header says ${length} bytes but ${bytes.length - lead} are left`, 8);
  if (length > 1_000_000) throw fail(`a header of ${length} bytes is too long`, 8);
  const text = new TextDecoder(version === 3 ? 'utf-8' : 'latin1').decode(bytes.subarray(lead, lead + length));
  return { ...parseHeader(text, lead, fail), dataStart: lead + length };
}

/** The header is a Python dict literal with exactly these keys, in any order. */
function parseHeader(text: string, offset: number, fail: Fail): Omit<Header, 'dataStart'> {
  const descr = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(text)?.[1];
  const fortran = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text)?.[1];
  const shape = /['"]shape['"]\s*:\s*\(([\d\sL,]*)\)/.exec(text)?.[1];
  if (shape === undefined || fortran === undefined) throw fail(`the header is malformed: ${text.slice(0, 80)}`, offset);
  if (descr === undefined) throw fail('record types are not supported', offset);
  const dims = shape
    .split(',')
    .map((part) => part.trim().replace(/L$/, ''))
    .filter((part) => part !== '');
  if (dims.some((d) => !/^\d{1,15}$/.test(d)) || dims.length > 64)
    throw fail(`the shape (${shape}) is malformed`, offset);
  return { descr, fortran: fortran === 'True', shape: dims.map(Number) };
}

function takePayload(bytes: Uint8Array, header: Header, itemBytes: number, fail: Fail): Uint8Array {
  const need = sizeOf(header.shape) * itemBytes;
  const have = bytes.length - header.dataStart;
  if (need !== have) {
    throw fail(`shape (${header.shape.join(', ')}) needs ${need} bytes of data but ${have} follow`, header.dataStart);
  }
  return bytes.subarray(header.dataStart);
}

/** A view where the bytes can be used in place, else a copy. */
function toStorage(payload: Uint8Array, dtype: Exclude<DType, 'string'>, swap: boolean): TypedArray {
  const storage = STORAGE[dtype];
  const width = storage.BYTES_PER_ELEMENT;
  const mustCopy = payload.byteOffset % width !== 0 || (swap && width > 1);
  const source = mustCopy ? new Uint8Array(payload) : payload;
  if (swap) for (let i = 0; i < source.length; i += width) source.subarray(i, i + width).reverse();
  if (dtype === 'i1') return Uint8Array.from(source, (byte) => (byte === 0 ? 0 : 1));
  return new storage(source.buffer as ArrayBuffer, source.byteOffset, source.length / width);
}

/** Column-major items to row-major; an item is `parts` elements. */
function toRowMajor(data: TypedArray, shape: readonly number[], parts: number): TypedArray {
  const out = data.slice();
  const index = shape.map(() => 0);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(0, axis)));
  for (let to = 0; to < data.length; to += parts) {
    const from = index.reduce((sum, i, axis) => sum + i * (strides[axis] ?? 0), 0) * parts;
    for (let part = 0; part < parts; part++) copyElement(out, to + part, data, from + part);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      index[axis] = next === shape[axis] ? 0 : next;
      if (index[axis] !== 0) break;
    }
  }
  return out;
}

function copyElement(to: TypedArray, i: number, from: TypedArray, j: number): void {
  (to as Float64Array)[i] = (from as Float64Array)[j] as number;
}

function retype(t: Tensor, as: DType | undefined, fail: Fail): Tensor {
  if (as === undefined || as === t.dtype) return t;
  if (as === 'string' || t.dtype === 'string' || STORAGE[as].BYTES_PER_ELEMENT !== DTYPE_INFO[t.dtype].bytes) {
    throw fail(`elements of type ${t.dtype} cannot be taken for ${as}`);
  }
  const data = t.data as TypedArray;
  return { ...t, dtype: as, data: new STORAGE[as](data.buffer as ArrayBuffer, data.byteOffset, data.length) };
}

/** `U`: UTF-32 code units, zero-padded; `S`: bytes, zero-padded. */
function readStrings(
  bytes: Uint8Array,
  header: Header,
  kind: 'U' | 'S',
  width: number,
  big: boolean,
  fail: Fail,
): Tensor {
  const itemBytes = kind === 'U' ? width * 4 : width;
  const payload = takePayload(bytes, header, itemBytes, fail);
  const count = sizeOf(header.shape);
  if (itemBytes === 0 && count > bytes.length) throw fail(`${count} empty strings in ${bytes.length} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const readUnicode = (at: number): string => {
    const points = Array.from({ length: width }, (_, i) => view.getUint32(at + i * 4, !big));
    const bad = points.find((point) => point > 0x10ffff);
    if (bad !== undefined) throw fail(`${bad} is not a character`, header.dataStart + at);
    return points
      .map((point) => String.fromCodePoint(point))
      .join('')
      .replace(/\0+$/, '');
  };
  const readBytes = (at: number): string =>
    new TextDecoder().decode(payload.subarray(at, at + width)).replace(/\0+$/, '');
  const read = kind === 'U' ? readUnicode : readBytes;
  const data = Array.from({ length: count }, (_, i) => read(i * itemBytes));
  if (!header.fortran) return { dtype: 'string', shape: header.shape, data };
  const order = toRowMajor(Int32Array.from(data.keys()), header.shape, 1) as Int32Array;
  return { dtype: 'string', shape: header.shape, data: Array.from(order, (i) => data[i] ?? '') };
}

function encodeData(t: Tensor): { descr: string; data: Uint8Array } {
  if (t.dtype === 'string') return encodeStrings(t.data as readonly string[]);
  const data = t.data as TypedArray;
  const width = data.BYTES_PER_ELEMENT;
  const { kind } = DTYPE_INFO[t.dtype];
  const raw = kind === 'float' && t.dtype !== 'f16' && width < 4;
  const letter = raw ? 'V' : { float: 'f', int: 'i', uint: 'u', bool: 'b', string: 'U' }[kind];
  const out = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  invariant(PLATFORM_IS_LITTLE || width === 1, 'only little-endian machines write .npy');
  return { descr: `${width === 1 || raw ? '|' : '<'}${letter}${width}`, data: out };
}

function encodeStrings(strings: readonly string[]): { descr: string; data: Uint8Array } {
  const points = strings.map((s) => Array.from(s, (c) => c.codePointAt(0) ?? 0));
  const width = points.reduce((n, p) => Math.max(n, p.length), 1);
  const view = new DataView(new ArrayBuffer(points.length * width * 4));
  points.forEach((row, i) => {
    row.forEach((point, j) => {
      view.setUint32((i * width + j) * 4, point, true);
    });
  });
  return { descr: `<U${width}`, data: new Uint8Array(view.buffer) };
}
