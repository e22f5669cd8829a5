// Checked access to a flatbuffer, driven by the tables in generated/schema.ts. Nothing is read before its offset, vtable
// entry or length has been compared with the file, and every read is paid for from a budget in proportion to the file's
// size, so that tables which share children over and over cannot make a small file cost more than a large one.

import { CompileError } from '../../support/errors.js';
import type { FieldSchema, Scalar } from './field-schema.js';
import { ENUMS, type TABLES, UNIONS } from './generated/schema.js';

export type TableName = keyof typeof TABLES;
type UnionName = keyof typeof UNIONS;

/** The file being read. `budget` falls with every read; see the note above. */
export interface FlatFile {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  budget: number;
  /** Elements that may still be decoded: unpacked, copied, or implied without being stored. Falls likewise. */
  elements: number;
}

/** A table whose extent and vtable have been checked. The type parameter names it, so that fields can be looked up safely. */
export interface Table<N extends TableName = TableName> {
  readonly source: FlatFile;
  readonly name: N;
  readonly at: number;
  readonly size: number;
  readonly vtable: number;
  readonly vtableSize: number;
}

/** A stretch of the file: `count` elements from byte `at`. */
export interface Span {
  readonly at: number;
  readonly count: number;
}

const WIDTH: Record<Scalar, number> = {
  bool: 1,
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  u64: 8,
  f32: 4,
  f64: 8,
};
const REFERENCE = 4;

/** Reads per byte of file before we say that it refers to the same parts too often; real files stay below 2. */
const READS_PER_BYTE = 16;

/** Decoded elements per byte of file. Dense ones stay below 4; the rest is for sparse tensors and memory nobody wrote. */
const ELEMENTS_PER_BYTE = 64;

export function openFlat(bytes: Uint8Array, file: string): FlatFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const allow = (perByte: number) => perByte * bytes.length + 65536;
  return { file, bytes, view, budget: allow(READS_PER_BYTE), elements: allow(ELEMENTS_PER_BYTE) };
}

/** The error for a file that breaks its own layout at `offset`. */
export function malformed(source: FlatFile, offset: number, what: string): CompileError {
  return new CompileError('E103', what, {
    at: { file: source.file, offset },
    hint: 'The file is truncated or damaged: compare its size with the original',
  });
}

function spend(source: FlatFile, cost: number, at: number): void {
  source.budget -= cost;
  if (source.budget < 0) throw malformed(source, at, 'the file refers to the same parts again and again');
}

/** Pays for `count` decoded elements. */
export function spendElements(source: FlatFile, count: number, at: number): void {
  source.elements -= count;
  if (source.elements >= 0) return;
  throw malformed(
    source,
    at,
    `tensors expand beyond measure: ${count} more elements in a file of ${source.bytes.length} bytes`,
  );
}

function checkSpan(source: FlatFile, at: number, size: number, what: string): void {
  if (at < 0 || size > source.bytes.length - at) {
    throw malformed(source, at, `${what} of ${size} bytes does not fit in a file of ${source.bytes.length}`);
  }
}

/** Follows the offset stored at `at` (the caller has checked those four bytes). Offsets point forward only. */
function follow(source: FlatFile, at: number, what: string): number {
  const target = at + source.view.getUint32(at, true);
  if (target === at) throw malformed(source, at, `${what} has offset 0`);
  checkSpan(source, target, 4, what);
  return target;
}

export function rootTable<N extends TableName>(source: FlatFile, name: N): Table<N> {
  checkSpan(source, 0, 8, 'the header');
  return tableAt(source, follow(source, 0, name), name);
}

function tableAt<N extends TableName>(source: FlatFile, at: number, name: N): Table<N> {
  spend(source, 8, at);
  checkSpan(source, at, 4, name);
  const vtable = at - source.view.getInt32(at, true);
  checkSpan(source, vtable, 4, `the vtable of ${name}`);
  const vtableSize = source.view.getUint16(vtable, true);
  const size = source.view.getUint16(vtable + 2, true);
  if (vtableSize < 4 || vtableSize % 2 !== 0)
    throw malformed(source, vtable, `the vtable of ${name} has size ${vtableSize}`);
  checkSpan(source, vtable, vtableSize, `the vtable of ${name}`);
  checkSpan(source, at, size, name);
  return { source, name, at, size, vtable, vtableSize };
}

/** Where a field of `width` bytes stands, or 0 if the table leaves it out. */
function fieldAt(table: Table, slot: number, width: number): number {
  const entry = 4 + 2 * slot;
  if (entry >= table.vtableSize) return 0;
  const offset = table.source.view.getUint16(table.vtable + entry, true);
  if (offset === 0) return 0;
  if (offset < 4 || offset + width > table.size) {
    throw malformed(table.source, table.vtable + entry, `field ${slot} of ${table.name} lies outside its table`);
  }
  return table.at + offset;
}

function readScalar(view: DataView, at: number, scalar: Scalar): number | bigint {
  switch (scalar) {
    case 'bool':
    case 'u8':
      return view.getUint8(at);
    case 'i8':
      return view.getInt8(at);
    case 'i16':
      return view.getInt16(at, true);
    case 'u16':
      return view.getUint16(at, true);
    case 'i32':
      return view.getInt32(at, true);
    case 'u32':
      return view.getUint32(at, true);
    case 'i64':
      return view.getBigInt64(at, true);
    case 'u64':
      return view.getBigUint64(at, true);
    case 'f32':
      return view.getFloat32(at, true);
    case 'f64':
      return view.getFloat64(at, true);
  }
}

type Of<K extends FieldSchema['kind']> = Extract<FieldSchema, { kind: K }>;

/** A scalar, or its default; 64-bit integers as bigint. */
export function scalarOf(table: Table, field: Of<'scalar'>): number | bigint {
  const at = fieldAt(table, field.slot, WIDTH[field.scalar]);
  if (at) return readScalar(table.source.view, at, field.scalar);
  return field.scalar === 'i64' || field.scalar === 'u64' ? BigInt(field.default) : field.default;
}

/** A scalar of at most 53 bits. */
export function numberOf(table: Table, field: Of<'scalar'>): number {
  const value = Number(scalarOf(table, field));
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw malformed(table.source, table.at, `${table.name} holds the number ${value}`);
  }
  return value;
}

/** Extent of a vector in elements of `width` bytes, or null if the table leaves it out. */
function vectorAt(table: Table, slot: number, width: number): Span | null {
  const field = fieldAt(table, slot, REFERENCE);
  if (!field) return null;
  const at = follow(table.source, field, `field ${slot} of ${table.name}`);
  const count = table.source.view.getUint32(at, true);
  checkSpan(table.source, at + 4, count * width, `field ${slot} of ${table.name}`);
  return { at: at + 4, count };
}

/** Extent of a byte vector: nothing is copied, nothing spent. */
export const bytesOf = (table: Table, field: Of<'vector'>): Span | null =>
  vectorAt(table, field.slot, WIDTH[field.scalar]);

/** A vector of scalars; null where the table leaves it out. */
export function scalarsOf(table: Table, field: Of<'vector'>): readonly (number | bigint)[] | null {
  const width = WIDTH[field.scalar];
  const span = vectorAt(table, field.slot, width);
  if (!span) return null;
  spend(table.source, span.count * width, span.at);
  return Array.from({ length: span.count }, (_, i) => readScalar(table.source.view, span.at + i * width, field.scalar));
}

/** A vector of numbers, empty where the table leaves it out. */
export const numbersOf = (table: Table, field: Of<'vector'>): number[] => (scalarsOf(table, field) ?? []).map(Number);

export function stringOf(table: Table, field: Of<'string'>): string | null {
  const span = vectorAt(table, field.slot, 1);
  if (!span) return null;
  spend(table.source, span.count, span.at);
  return new TextDecoder().decode(table.source.bytes.subarray(span.at, span.at + span.count));
}

export function tableOf<N extends TableName>(
  table: Table,
  field: Of<'table'> & { readonly table: N },
): Table<N> | null {
  const at = fieldAt(table, field.slot, REFERENCE);
  return at ? tableAt(table.source, follow(table.source, at, field.table), field.table) : null;
}

export function tablesOf<N extends TableName>(table: Table, field: Of<'tables'> & { readonly table: N }): Table<N>[] {
  const span = vectorAt(table, field.slot, REFERENCE);
  if (!span) return [];
  const { source } = table;
  const item = (_: unknown, i: number) =>
    tableAt(source, follow(source, span.at + REFERENCE * i, field.table), field.table);
  return Array.from({ length: span.count }, item);
}

/** The table a union holds, or null for NONE. `union` is the field's own name for it. */
export function unionOf(table: Table, field: Of<'union'> & { readonly union: UnionName }): Table | null {
  const tag = fieldAt(table, field.slot - 1, 1);
  const type = tag ? table.source.view.getUint8(tag) : 0;
  const name = UNIONS[field.union][type];
  if (name === undefined) throw malformed(table.source, tag, `${field.union} has no member ${type}`);
  const at = fieldAt(table, field.slot, REFERENCE);
  if (name === 'NONE') return null;
  if (!at) throw malformed(table.source, tag, `${field.union} names ${name} but holds nothing`);
  return tableAt(table.source, follow(table.source, at, name), name as TableName);
}

/** The schema's name for an enum value, or undefined where this schema has none. */
export const enumName = (name: string, value: number): string | undefined =>
  (ENUMS as Readonly<Record<string, readonly string[]>>)[name]?.[value];

/** Narrows a table read through a union. */
export const isTable = <N extends TableName>(table: Table, name: N): table is Table<N> => table.name === name;
