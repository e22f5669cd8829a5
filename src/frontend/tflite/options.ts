// Operator options as attributes: every field of the options table under its schema name, defaults filled in, enums by
// name, element types by ours. An operator without a table gets its table's defaults, as the format's runtimes do; a table
// that belongs to another operator is an error. Custom options: the flexbuffer map's entries and `raw`, the bytes.

import type { AttrValue } from '../source.js';
import { elementTypeName } from './element-types.js';
import type { FieldSchema, TableSchema } from './field-schema.js';
import {
  bytesOf,
  enumName,
  malformed,
  numberOf,
  scalarOf,
  scalarsOf,
  stringOf,
  type Table,
  type TableName,
} from './flat.js';
import { readFlexMap } from './flexbuffer.js';
import { TABLES } from './generated/schema.js';

type Attrs = Map<string, AttrValue>;

/** Operators whose options table is not called after them. */
const SHARED_OPTIONS: Readonly<Record<string, TableName>> = {
  AVERAGE_POOL_2D: 'Pool2DOptions',
  MAX_POOL_2D: 'Pool2DOptions',
  L2_POOL_2D: 'Pool2DOptions',
  L2_NORMALIZATION: 'L2NormOptions',
  UNIDIRECTIONAL_SEQUENCE_RNN: 'SequenceRNNOptions',
  CONV_3D_TRANSPOSE: 'Conv3DOptions',
  MAXIMUM: 'MaximumMinimumOptions',
  MINIMUM: 'MaximumMinimumOptions',
  MEAN: 'ReducerOptions',
  SUM: 'ReducerOptions',
  REDUCE_PROD: 'ReducerOptions',
  REDUCE_MAX: 'ReducerOptions',
  REDUCE_MIN: 'ReducerOptions',
  REDUCE_ANY: 'ReducerOptions',
  REDUCE_ALL: 'ReducerOptions',
  RANDOM_STANDARD_NORMAL: 'RandomOptions',
  RANDOM_UNIFORM: 'RandomOptions',
  MULTINOMIAL: 'RandomOptions',
};

const optionTables = new Map(
  (Object.keys(TABLES) as TableName[])
    .filter((name) => name.endsWith('Options'))
    .map((name) => [name.slice(0, -'Options'.length).toLowerCase(), name]),
);

/** The options table an operator takes, by the schema's naming; undefined for operators without options. */
export const optionsTable = (op: string): TableName | undefined =>
  SHARED_OPTIONS[op] ?? optionTables.get(op.replaceAll('_', '').toLowerCase());

/** The attributes of a builtin operator from the table in its options union (null: defaults). */
export function builtinAttrs(op: string, table: Table | null): Attrs {
  const expected = optionsTable(op);
  if (table && expected && expected !== table.name) {
    throw malformed(table.source, table.at, `${op} carries ${table.name}, not ${expected}`);
  }
  const name = table?.name ?? expected;
  const attrs: Attrs = new Map();
  if (!name) return attrs;
  for (const [field, schema] of Object.entries(TABLES[name] as TableSchema)) {
    attrs.set(field, table ? readAttr(table, field, schema) : defaultAttr(schema));
  }
  if (table?.name === 'StableHLOCompositeOptions') addCompositeAttrs(attrs);
  return attrs;
}

/** The attributes of a custom operator; `raw` is always there. */
export function customAttrs(bytes: Uint8Array): Attrs {
  const attrs: Attrs = new Map(readFlexMap(bytes) ?? []);
  return attrs.set('raw', { kind: 'bytes', value: bytes });
}

/** A composite's own attributes are a flexbuffer map inside a byte vector: added as `composite_attributes.<name>`. */
function addCompositeAttrs(attrs: Attrs): void {
  const map = attrs.get('composite_attributes');
  if (map?.kind !== 'bytes') return;
  for (const [name, value] of readFlexMap(map.value) ?? []) attrs.set(`composite_attributes.${name}`, value);
}

function readAttr(table: Table, name: string, field: FieldSchema): AttrValue {
  switch (field.kind) {
    case 'string':
      return { kind: 'string', value: stringOf(table, field) ?? '' };
    case 'scalar':
      if (field.enum) return { kind: 'string', value: nameOf(table, field.enum, numberOf(table, field), name) };
      if (field.scalar === 'bool') return { kind: 'bool', value: numberOf(table, field) !== 0 };
      if (field.scalar === 'f32') return { kind: 'float', value: numberOf(table, field) };
      return { kind: 'int', value: BigInt(scalarOf(table, field)) };
    case 'vector':
      return readVector(table, name, field);
    default:
      throw malformed(table.source, table.at, `${table.name}.${name} is not an attribute`);
  }
}

function readVector(table: Table, name: string, field: FieldSchema & { kind: 'vector' }): AttrValue {
  if (field.scalar === 'u8') {
    const span = bytesOf(table, field);
    return { kind: 'bytes', value: table.source.bytes.subarray(span?.at ?? 0, (span?.at ?? 0) + (span?.count ?? 0)) };
  }
  const items = scalarsOf(table, field) ?? [];
  const of = field.enum;
  if (of) return { kind: 'strings', value: items.map((v) => nameOf(table, of, Number(v), name)) };
  if (field.scalar === 'f32') return { kind: 'floats', value: items.map(Number) };
  return { kind: 'ints', value: items.map(BigInt) };
}

/** An enum value by name; element types by our names. */
function nameOf(table: Table, of: string, value: number, field: string): string {
  const name = of === 'TensorType' ? elementTypeName(value) : enumName(of, value);
  if (name === undefined)
    throw malformed(table.source, table.at, `${table.name}.${field} is ${value}, which ${of} does not define`);
  return name;
}

function defaultAttr(field: FieldSchema): AttrValue {
  if (field.kind === 'string') return { kind: 'string', value: '' };
  if (field.kind === 'vector') {
    if (field.scalar === 'u8') return { kind: 'bytes', value: new Uint8Array(0) };
    if (field.enum) return { kind: 'strings', value: [] };
    return field.scalar === 'f32' ? { kind: 'floats', value: [] } : { kind: 'ints', value: [] };
  }
  const value = field.kind === 'scalar' ? field.default : 0;
  const of = field.kind === 'scalar' ? field.enum : undefined;
  if (of) return { kind: 'string', value: (of === 'TensorType' ? elementTypeName(value) : enumName(of, value)) ?? '' };
  if (field.kind === 'scalar' && field.scalar === 'bool') return { kind: 'bool', value: value !== 0 };
  if (field.kind === 'scalar' && field.scalar === 'f32') return { kind: 'float', value };
  return { kind: 'int', value: BigInt(value) };
}
