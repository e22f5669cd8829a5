// From bytes to protobuf messages, safely. A scan with the schema's field table checks every tag, length and nesting level, and
// how much memory decoding would take, before the generated decoder allocates anything. `bytes` fields alias the file.

import $protobuf from 'protobufjs/minimal.js';
import { CompileError } from '../../support/errors.js';
import { FIELDS } from './generated/fields.js';
import { onnx } from './generated/onnx.js';

export type ModelProto = onnx.ModelProto.$Properties;
export type GraphProto = onnx.GraphProto.$Properties;
export type NodeProto = onnx.NodeProto.$Properties;
export type AttributeProto = onnx.AttributeProto.$Properties;
export type FunctionProto = onnx.FunctionProto.$Properties;
export type TensorProto = onnx.TensorProto.$Properties;
export type SparseTensorProto = onnx.SparseTensorProto.$Properties;
export type TypeProto = onnx.TypeProto.$Properties;
export type ShapeProto = onnx.TensorShapeProto.$Properties;
export type ValueInfoProto = onnx.ValueInfoProto.$Properties;
export type SequenceProto = onnx.SequenceProto.$Properties;
export type OptionalProto = onnx.OptionalProto.$Properties;
export type MapProto = onnx.MapProto.$Properties;

const MAX_DEPTH = 96;
/** Bytes of heap that decoding may take: a floor for small files, and a multiple of the file for the rest. */
const heapBudget = (fileBytes: number): number => 2 ** 25 + 12 * fileBytes;

export const decodeModel = (bytes: Uint8Array, file: string): ModelProto =>
  decode(onnx.ModelProto, 'ModelProto', bytes, file);
export const decodeTensor = (bytes: Uint8Array, file: string): TensorProto =>
  decode(onnx.TensorProto, 'TensorProto', bytes, file);
export const decodeSequence = (bytes: Uint8Array, file: string): SequenceProto =>
  decode(onnx.SequenceProto, 'SequenceProto', bytes, file);
export const decodeOptional = (bytes: Uint8Array, file: string): OptionalProto =>
  decode(onnx.OptionalProto, 'OptionalProto', bytes, file);
export const decodeMap = (bytes: Uint8Array, file: string): MapProto => decode(onnx.MapProto, 'MapProto', bytes, file);

interface Decoder<T> {
  decode(reader: $protobuf.Reader): T;
}

function decode<T>(decoder: Decoder<T>, message: string, bytes: Uint8Array, file: string): T {
  // A plain view: slice() of a Node Buffer would alias where a copy is meant.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  scan(plain, message, file);
  const reader = new $protobuf.Reader(plain);
  reader.discardUnknown = true;
  Object.assign(reader, { int64: readInt64, uint64: readUint64 });
  try {
    return decoder.decode(reader);
  } catch (cause) {
    throw malformed(`${message} does not decode (${String(cause)})`, file, reader.pos);
  }
}

const malformed = (message: string, file: string, offset: number): CompileError =>
  new CompileError('E103', message, { at: { file, offset } });

/** Varints up to 64 bits: a number where exact, else a bigint; never protobufjs's Long objects. */
function readInt64(this: $protobuf.Reader): number | bigint {
  const { low, high } = readVarint(this);
  return join(low, high | 0, BigInt.asIntN);
}

function readUint64(this: $protobuf.Reader): number | bigint {
  const { low, high } = readVarint(this);
  return join(low, high, BigInt.asUintN);
}

function join(low: number, high: number, wrap: (bits: number, value: bigint) => bigint): number | bigint {
  const value = high * 2 ** 32 + low;
  return Number.isSafeInteger(value) ? value : wrap(64, (BigInt(high) << 32n) | BigInt(low));
}

/** The two unsigned halves; arithmetic on numbers alone, since negative numbers (ten bytes) are common. */
function readVarint(reader: $protobuf.Reader): { low: number; high: number } {
  const { buf } = reader;
  let low = 0;
  let high = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = buf[reader.pos++] ?? 0;
    const part = byte & 127;
    if (shift < 32) low |= part << shift;
    if (shift === 28) high |= part >> 4;
    else if (shift > 28) high |= part << (shift - 32);
    if (byte < 128) break;
  }
  return { low: low >>> 0, high: high >>> 0 };
}

/** Checks the structure of `message` throughout. Throws E103 with the offset of the first thing that does not fit. */
function scan(bytes: Uint8Array, message: string, file: string): void {
  const scanner = new Scanner(bytes, file);
  scanner.message(message, bytes.length, 0);
}

/** A cursor over the file and the estimate of what its decoded form takes. */
class Scanner {
  private pos = 0;
  private heap = 0;
  private readonly budget: number;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly file: string,
  ) {
    this.budget = heapBudget(bytes.length);
  }

  message(name: string, end: number, depth: number): void {
    if (depth > MAX_DEPTH) throw this.fail(`messages nest deeper than ${MAX_DEPTH}`);
    const fields = FIELDS[name] ?? {};
    this.spend(messageHeap(name));
    while (this.pos < end) {
      const start = this.pos;
      const tag = this.varint(end);
      const wire = tag % 8;
      const [field, kind, repeated] = fields[Math.floor(tag / 8)] ?? [`field ${Math.floor(tag / 8)}`, null, false];
      if (tag < 8 || tag > 0xffffffff) throw this.fail(`${name} has the impossible field tag ${tag}`, start);
      if (kind !== null && !fits(wire, kind, repeated)) {
        throw this.fail(`${name}.${field} has wire type ${wire}, which its type does not allow`, start);
      }
      if (wire === 2) this.lengthDelimited(`${name}.${field}`, kind, repeated, end, depth);
      else this.scalar(`${name}.${field}`, wire, end, start);
    }
  }

  private lengthDelimited(
    path: string,
    kind: number | string | null,
    repeated: boolean,
    end: number,
    depth: number,
  ): void {
    const start = this.pos;
    const length = this.varint(end);
    if (length > end - this.pos) {
      throw this.fail(`${path} says it has ${length} bytes but ${end - this.pos} are left`, start);
    }
    const stop = this.pos + length;
    if (typeof kind === 'string') this.message(kind, stop, depth + 1);
    else if (repeated && kind !== null && kind !== 2) this.packed(path, kind, stop);
    else if (kind !== null) this.spend(repeated ? 40 : 0);
    this.pos = stop;
  }

  /** A packed array costs eight bytes an element once decoded. */
  private packed(path: string, wire: number, stop: number): void {
    const length = stop - this.pos;
    const width = wire === 5 ? 4 : 8;
    if (wire !== 0) {
      if (length % width !== 0) throw this.fail(`${path} has ${length} bytes, not a multiple of ${width}`);
      this.spend((length / width) * 8);
      return;
    }
    this.spend(8 * length);
    while (this.pos < stop) this.varint(stop);
  }

  private scalar(path: string, wire: number, end: number, start: number): void {
    this.spend(8);
    if (wire === 0) this.varint(end);
    else if (wire === 1 || wire === 5) this.pos += wire === 1 ? 8 : 4;
    else throw this.fail(`${path} has wire type ${wire}, which ONNX does not use`, start);
    if (this.pos > end) throw this.fail(`${path} runs past the end of its message`, start);
  }

  private varint(end: number): number {
    const start = this.pos;
    let value = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = this.bytes[this.pos];
      if (byte === undefined || this.pos >= end) throw this.fail('a number runs past the end of its message', start);
      this.pos++;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw this.fail('a number has more than ten bytes', start);
  }

  private spend(bytes: number): void {
    this.heap += bytes;
    if (this.heap > this.budget) throw this.fail('the file packs far more parts into its size than a model can have');
  }

  private fail(message: string, offset = this.pos): CompileError {
    return malformed(message, this.file, offset);
  }
}

/** A repeated scalar may come packed (wire type 2) or one by one; everything else only in its own wire type. */
function fits(wire: number, kind: number | string, repeated: boolean): boolean {
  if (typeof kind === 'string') return wire === 2;
  return wire === kind || (repeated && wire === 2);
}

const heapOfMessage = new Map<string, number>();

/** An object, a slot for each field that is set, and an empty array for each repeated field. */
function messageHeap(name: string): number {
  let heap = heapOfMessage.get(name);
  if (heap === undefined) {
    const repeated = Object.values(FIELDS[name] ?? {}).filter(([, , isRepeated]) => isRepeated).length;
    heap = 64 + 24 * repeated;
    heapOfMessage.set(name, heap);
  }
  return heap;
}
