// Builds TFLite files for tests: plain objects by the schema's field names, written by the flatbuffers package, so that
// the reader is tested against a writer that is not ours. A union's value is `[table name, fields]`.

import { Builder } from 'flatbuffers';
import type { FieldSchema, Scalar, TableSchema } from '../../src/frontend/tflite/field-schema.js';
import { TABLES, UNIONS } from '../../src/frontend/tflite/generated/schema.js';

export type Fields = Readonly<Record<string, unknown>>;
export type TableName = keyof typeof TABLES;

/** The bytes of a model; `version` is 3 unless given. */
export function buildModel(model: Fields): Uint8Array {
  const builder = new Builder(1024);
  builder.forceDefaults(true);
  builder.finish(writeTable(builder, 'Model', { version: 3, ...model }), 'TFL3');
  return builder.asUint8Array().slice();
}

function writeTable(b: Builder, name: TableName, fields: Fields): number {
  const schema: TableSchema = TABLES[name];
  const known = Object.entries(fields).map(([key, value]) => {
    const field = schema[key];
    if (!field) throw new Error(`${name} has no field ${key}`);
    return { field, value, child: writeChild(b, field, value) };
  });
  b.startObject(32);
  for (const { field, value, child } of known) {
    if (field.kind === 'scalar') addScalar(b, field.slot, field.scalar, value as number | bigint | boolean);
    else if (child !== null) b.addFieldOffset(field.slot, child, 0);
    if (field.kind === 'union')
      b.addFieldInt8(field.slot - 1, unionTag(field.union, (value as [string, Fields])[0]), 0);
  }
  return b.endObject();
}

const unionTag = (union: string, member: string): number =>
  (UNIONS as Readonly<Record<string, readonly string[]>>)[union]!.indexOf(member);

/** What must be written before the table itself: strings, vectors, tables. */
function writeChild(b: Builder, field: FieldSchema, value: unknown): number | null {
  switch (field.kind) {
    case 'scalar':
      return null;
    case 'string':
      return b.createString(value as string);
    case 'vector':
      return writeVector(b, field.scalar, Array.from(value as Iterable<number | bigint>));
    case 'table':
      return writeTable(b, field.table as TableName, value as Fields);
    case 'tables': {
      const items = (value as readonly Fields[]).map((item) => writeTable(b, field.table as TableName, item));
      b.startVector(4, items.length, 4);
      for (const item of items.reverse()) b.addOffset(item);
      return b.endVector();
    }
    case 'union': {
      const [table, fields] = value as [TableName, Fields];
      return writeTable(b, table, fields);
    }
  }
}

function writeVector(b: Builder, scalar: Scalar, values: readonly (number | bigint)[]): number {
  const width = { bool: 1, i8: 1, u8: 1, i16: 2, u16: 2, i32: 4, u32: 4, i64: 8, u64: 8, f32: 4, f64: 8 }[scalar];
  b.startVector(width, values.length, width === 1 ? 16 : width);
  for (const value of [...values].reverse()) {
    if (width === 8) b.addInt64(BigInt(value));
    else if (scalar === 'f32') b.addFloat32(Number(value));
    else if (width === 4) b.addInt32(Number(value));
    else if (width === 2) b.addInt16(Number(value));
    else b.addInt8(Number(value));
  }
  return b.endVector();
}

function addScalar(b: Builder, slot: number, scalar: Scalar, value: number | bigint | boolean): void {
  if (scalar === 'i64' || scalar === 'u64') b.addFieldInt64(slot, BigInt(value), 0n);
  else if (scalar === 'f32') b.addFieldFloat32(slot, Number(value), 0);
  else if (scalar === 'i32' || scalar === 'u32') b.addFieldInt32(slot, Number(value), 0);
  else b.addFieldInt8(slot, Number(value), 0);
}
