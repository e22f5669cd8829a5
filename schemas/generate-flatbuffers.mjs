// Turns schemas/tflite.fbs into src/frontend/tflite/generated/schema.ts: enums, unions and, per table, each field's
// vtable slot, type and default. A table and one checked reader (flat.ts) stand in for flatc's accessors, because those
// trust every offset in the file. Covers the part of the language the schema uses and stops at anything else.
// Run by `npm run generate:flatbuffers`.

import { readFileSync, writeFileSync } from 'node:fs';

const SOURCE = 'schemas/tflite.fbs';
const TARGET = 'src/frontend/tflite/generated/schema.ts';

const SCALARS = {
  bool: 'bool',
  byte: 'i8',
  int8: 'i8',
  ubyte: 'u8',
  uint8: 'u8',
  short: 'i16',
  int16: 'i16',
  ushort: 'u16',
  uint16: 'u16',
  int: 'i32',
  int32: 'i32',
  uint: 'u32',
  uint32: 'u32',
  long: 'i64',
  int64: 'i64',
  ulong: 'u64',
  uint64: 'u64',
  float: 'f32',
  float32: 'f32',
  double: 'f64',
  float64: 'f64',
};

/** Tokens of the schema language: names and numbers, strings, single punctuation marks. */
function tokenize(text) {
  const bare = text.replace(/\/\/[^\n]*/g, '');
  return bare.match(/[A-Za-z_][\w.]*|-?\d[\w.]*|"[^"]*"|[{}()[\]:;,=]/g) ?? [];
}

/** Declarations in file order: enums (name, base, members), unions (name, members), tables (name, fields). */
function parse(tokens) {
  let at = 0;
  const peek = () => tokens[at];
  const take = () => tokens[at++];
  const accept = (t) => peek() === t && take() === t;
  const expect = (t) => {
    const found = take();
    if (found !== t) throw new Error(`${SOURCE}: expected '${t}', found '${found}' (token ${at})`);
  };
  const attributes = () => {
    const names = [];
    if (!accept('(')) return names;
    while (!accept(')')) {
      names.push(take());
      if (accept(':')) take();
      accept(',');
    }
    return names;
  };
  const members = () => {
    const list = [];
    let next = 0;
    expect('{');
    while (!accept('}')) {
      const name = take();
      if (accept('=')) next = Number(take());
      list.push({ name, value: next++ });
      attributes();
      accept(',');
    }
    return list;
  };
  const fields = () => {
    const list = [];
    expect('{');
    while (!accept('}')) {
      const name = take();
      expect(':');
      const vector = accept('[');
      const type = take();
      if (vector) expect(']');
      const value = accept('=') ? take() : undefined;
      list.push({ name, type, vector, value, deprecated: attributes().includes('deprecated') });
      expect(';');
    }
    return list;
  };

  const enums = [];
  const unions = [];
  const tables = [];
  let identifier = '';
  while (at < tokens.length) {
    const word = take();
    const name = take();
    if (word === 'enum') {
      expect(':');
      enums.push({ name, base: SCALARS[take()], members: members() });
    } else if (word === 'union') unions.push({ name, members: members() });
    else if (word === 'table') {
      attributes();
      tables.push({ name, fields: fields() });
    } else if (['namespace', 'root_type', 'file_identifier', 'file_extension'].includes(word)) {
      if (word === 'file_identifier') identifier = name.slice(1, -1);
      expect(';');
    } else throw new Error(`${SOURCE}: '${word}' is not understood`);
  }
  return { identifier, enums, unions, tables };
}

/** One field as the text of its descriptor; its slot counts deprecated fields and a union's hidden type field. */
function describe(field, slot, schema) {
  const { type, vector, value } = field;
  const enumeration = schema.enums.find((e) => e.name === type);
  const scalar = SCALARS[type] ?? enumeration?.base;
  const of = enumeration ? `, enum: '${type}'` : '';
  if (scalar && vector) return `{ kind: 'vector', slot: ${slot}, scalar: '${scalar}'${of} }`;
  if (scalar)
    return `{ kind: 'scalar', slot: ${slot}, scalar: '${scalar}', default: ${defaultOf(value, enumeration)}${of} }`;
  if (type === 'string' && !vector) return `{ kind: 'string', slot: ${slot} }`;
  if (schema.tables.some((t) => t.name === type)) {
    return `{ kind: '${vector ? 'tables' : 'table'}', slot: ${slot}, table: '${type}' }`;
  }
  if (schema.unions.some((u) => u.name === type) && !vector) {
    return `{ kind: 'union', slot: ${slot + 1}, union: '${type}' }`;
  }
  throw new Error(`${SOURCE}: field ${field.name} has type ${type}, which is not understood`);
}

function defaultOf(value, enumeration) {
  if (value === undefined || value === 'false') return 0;
  if (value === 'true') return 1;
  const member = enumeration?.members.find((m) => m.name === value);
  const number = member ? member.value : Number(value);
  if (Number.isNaN(number)) throw new Error(`${SOURCE}: default ${value} is not understood`);
  return number;
}

function tableText(table, schema) {
  const lines = [];
  let slot = 0;
  for (const field of table.fields) {
    if (!field.deprecated) lines.push(`    ${field.name}: ${describe(field, slot, schema)},`);
    slot += schema.unions.some((u) => u.name === field.type) ? 2 : 1;
  }
  return lines.length ? `  ${table.name}: {\n${lines.join('\n')}\n  },` : `  ${table.name}: {},`;
}

/** Member names by value; the schema's enums count up from 0 without holes, unions from 1 (0 is NONE). */
function namesText({ name, members }, first) {
  members.forEach((m, i) => {
    if (m.value !== i) throw new Error(`${SOURCE}: ${name}.${m.name} is not numbered in order`);
  });
  const names = [...first, ...members.map((m) => m.name)];
  return `  ${name}: [\n${names.map((n) => `    '${n}',`).join('\n')}\n  ],`;
}

const schema = parse(tokenize(readFileSync(SOURCE, 'utf8')));
writeFileSync(
  TARGET,
  `// Generated from ${SOURCE} by \`npm run generate:flatbuffers\`; do not edit.

import type { TableSchema } from '../field-schema.js';

export const FILE_IDENTIFIER = '${schema.identifier}';

export const ENUMS = {
${schema.enums.map((e) => namesText(e, [])).join('\n')}
} as const satisfies Record<string, readonly string[]>;

export const UNIONS = {
${schema.unions.map((u) => namesText(u, ['NONE'])).join('\n')}
} as const satisfies Record<string, readonly string[]>;

export const TABLES = {
${schema.tables.map((t) => tableText(t, schema)).join('\n')}
} as const satisfies Record<string, TableSchema>;
`,
);
