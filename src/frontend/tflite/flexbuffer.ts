// Reads the top level of a FlexBuffers map, the form in which most custom operators store their options. Checked like
// everything else in the file: any slip means "not such a map", which the caller answers by keeping the raw bytes.
// One level is all an attribute can hold; nested maps are left out. Format: FlexBuffers internals, google.github.io/flatbuffers.

import type { AttrValue } from '../source.js';

/** The format's type numbers. */
const TYPE = {
  NULL: 0,
  INT: 1,
  UINT: 2,
  FLOAT: 3,
  KEY: 4,
  STRING: 5,
  INDIRECT_INT: 6,
  INDIRECT_UINT: 7,
  INDIRECT_FLOAT: 8,
  MAP: 9,
  VECTOR: 10,
  VECTOR_INT: 11,
  VECTOR_UINT: 12,
  VECTOR_FLOAT: 13,
  VECTOR_KEY: 14,
  VECTOR_STRING: 15,
  VECTOR_INT2: 16,
  VECTOR_FLOAT4: 24,
  BLOB: 25,
  BOOL: 26,
  VECTOR_BOOL: 36,
} as const;

/** A value not yet read: its type, the width of what it points to, and where it stands with which width. */
interface Ref {
  readonly type: number;
  readonly childWidth: number;
  readonly at: number;
  readonly width: number;
}

/** Thrown and caught in this file only. */
class NotFlex extends Error {}

/** The entries of the map, sorted by key as stored, or null if the bytes are not a map. */
export function readFlexMap(bytes: Uint8Array): ReadonlyMap<string, AttrValue> | null {
  try {
    return new FlexReader(bytes).rootMap();
  } catch (error) {
    if (error instanceof NotFlex) return null;
    throw error;
  }
}

class FlexReader {
  private readonly view: DataView;
  /** Elements that may still be read: vectors may share their contents, the file's size bounds the sum. */
  private budget: number;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.budget = 16 * bytes.length + 64;
  }

  rootMap(): ReadonlyMap<string, AttrValue> {
    const { length } = this.bytes;
    if (length < 3) throw new NotFlex();
    const root = this.ref(length - 2 - this.uint(length - 1, 1), this.uint(length - 1, 1), this.uint(length - 2, 1));
    if (root.type !== TYPE.MAP) throw new NotFlex();
    const at = this.target(root);
    const width = root.childWidth;
    const keys = this.target({ ...root, at: at - 3 * width, width });
    const keyWidth = this.uint(at - 2 * width, width);
    const count = this.count(at, width);
    if (this.uint(keys - keyWidth, keyWidth) !== count) throw new NotFlex();
    const entries = new Map<string, AttrValue>();
    for (let i = 0; i < count; i++) {
      const slot = keys + i * keyWidth;
      const key = this.text(slot - this.uint(slot, keyWidth), null);
      const value = this.value(this.element(at, width, count, i));
      if (value) entries.set(key, value);
    }
    return entries;
  }

  /** An attribute for a reference, or null where attributes cannot hold it. */
  private value(ref: Ref): AttrValue | null {
    switch (ref.type) {
      case TYPE.INT:
      case TYPE.UINT:
      case TYPE.INDIRECT_INT:
      case TYPE.INDIRECT_UINT:
        return { kind: 'int', value: this.integer(ref) };
      case TYPE.FLOAT:
      case TYPE.INDIRECT_FLOAT:
        return { kind: 'float', value: this.float(ref) };
      case TYPE.BOOL:
        return { kind: 'bool', value: this.uint(ref.at, ref.width) !== 0 };
      case TYPE.KEY:
      case TYPE.STRING:
        return { kind: 'string', value: this.string(ref) };
      case TYPE.BLOB: {
        const at = this.target(ref);
        return { kind: 'bytes', value: this.bytes.slice(at, at + this.count(at, ref.childWidth, 1)) };
      }
      default:
        return this.vector(ref);
    }
  }

  private vector(ref: Ref): AttrValue | null {
    const items = this.items(ref);
    if (!items) return null;
    const kinds = new Set(items.map((item) => item.type));
    const only = (...types: number[]) => [...kinds].every((k) => types.includes(k));
    const { INT, UINT, BOOL, INDIRECT_INT, INDIRECT_UINT, FLOAT, INDIRECT_FLOAT, STRING, KEY } = TYPE;
    if (only(INT, UINT, BOOL, INDIRECT_INT, INDIRECT_UINT))
      return { kind: 'ints', value: items.map((i) => this.integer(i)) };
    if (only(INT, UINT, INDIRECT_INT, INDIRECT_UINT, FLOAT, INDIRECT_FLOAT)) {
      return { kind: 'floats', value: items.map((i) => this.float(i)) };
    }
    return only(STRING, KEY) ? { kind: 'strings', value: items.map((i) => this.string(i)) } : null;
  }

  /** The elements of an untyped, typed or fixed-length vector. */
  private items(ref: Ref): Ref[] | null {
    const { type, childWidth: width } = ref;
    const typed = (count: number, element: number, at: number) =>
      Array.from({ length: count }, (_, i) => ({ type: element, childWidth: 1, at: at + i * width, width }));
    if (type === TYPE.VECTOR) {
      const at = this.target(ref);
      const count = this.count(at, width);
      return Array.from({ length: count }, (_, i) => this.element(at, width, count, i));
    }
    if ((type >= TYPE.VECTOR_INT && type <= TYPE.VECTOR_STRING) || type === TYPE.VECTOR_BOOL) {
      const at = this.target(ref);
      return typed(
        this.count(at, width),
        type === TYPE.VECTOR_BOOL ? TYPE.BOOL : type - TYPE.VECTOR_INT + TYPE.INT,
        at,
      );
    }
    if (type >= TYPE.VECTOR_INT2 && type <= TYPE.VECTOR_FLOAT4) {
      const step = type - TYPE.VECTOR_INT2;
      return typed(2 + Math.floor(step / 3), TYPE.INT + (step % 3), this.target(ref));
    }
    return null;
  }

  private ref(at: number, width: number, packed: number): Ref {
    return { type: packed >> 2, childWidth: 1 << (packed & 3), at, width };
  }

  /** Element `i` of an untyped vector of `count`: its type byte stands behind the elements. */
  private element(at: number, width: number, count: number, i: number): Ref {
    return this.ref(at + i * width, width, this.uint(at + count * width + i, 1));
  }

  private target(ref: Ref): number {
    return ref.at - this.uint(ref.at, ref.width);
  }

  /** The length of a vector at `at`, checked against the bytes that follow and paid for. */
  private count(at: number, width: number, elementWidth = width): number {
    const count = this.uint(at - width, width);
    this.budget -= count * elementWidth;
    if (this.budget < 0 || at < 0 || count * elementWidth > this.bytes.length - at) throw new NotFlex();
    return count;
  }

  private integer(ref: Ref): bigint {
    const signed = ref.type === TYPE.INT || ref.type === TYPE.INDIRECT_INT;
    const indirect = ref.type === TYPE.INDIRECT_INT || ref.type === TYPE.INDIRECT_UINT;
    const at = indirect ? this.target(ref) : ref.at;
    const width = indirect ? ref.childWidth : ref.width;
    const bits = this.bits(at, width);
    return signed ? BigInt.asIntN(8 * width, bits) : bits;
  }

  private float(ref: Ref): number {
    if (ref.type !== TYPE.FLOAT && ref.type !== TYPE.INDIRECT_FLOAT) return Number(this.integer(ref));
    const indirect = ref.type === TYPE.INDIRECT_FLOAT;
    const at = indirect ? this.target(ref) : ref.at;
    const width = indirect ? ref.childWidth : ref.width;
    this.check(at, width);
    if (width === 4) return this.view.getFloat32(at, true);
    if (width === 8) return this.view.getFloat64(at, true);
    throw new NotFlex();
  }

  private string(ref: Ref): string {
    const at = this.target(ref);
    return this.text(at, ref.type === TYPE.KEY ? null : this.count(at, ref.childWidth, 1));
  }

  /** Text of `length` bytes, or up to the next zero byte. */
  private text(at: number, length: number | null): string {
    this.check(at, 1);
    const end = length === null ? this.bytes.indexOf(0, at) : at + length;
    this.budget -= end - at;
    if (end < at || this.budget < 0) throw new NotFlex();
    return new TextDecoder().decode(this.bytes.subarray(at, end));
  }

  private uint(at: number, width: number): number {
    const value = Number(this.bits(at, width));
    if (!Number.isSafeInteger(value)) throw new NotFlex();
    return value;
  }

  private bits(at: number, width: number): bigint {
    this.check(at, width);
    if (width === 1) return BigInt(this.view.getUint8(at));
    if (width === 2) return BigInt(this.view.getUint16(at, true));
    if (width === 4) return BigInt(this.view.getUint32(at, true));
    if (width === 8) return this.view.getBigUint64(at, true);
    throw new NotFlex();
  }

  private check(at: number, width: number): void {
    if (at < 0 || at + width > this.bytes.length) throw new NotFlex();
  }
}
