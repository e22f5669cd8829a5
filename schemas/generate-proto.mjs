// Generates src/frontend/onnx/generated/ from onnx.proto: the decoder (onnx.js), its types (onnx.d.ts), and the field
// table that the length check reads before anything is decoded (fields.ts). Run by `npm run generate:proto`.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import protobuf from 'protobufjs';
import cli from 'protobufjs-cli';

const SOURCE = 'schemas/onnx.proto';
const OUT = 'src/frontend/onnx/generated';
const NOTE = '// Generated from schemas/onnx.proto by `npm run generate:proto`. Do not edit.\n';

mkdirSync(OUT, { recursive: true });
const pbjs = promisify(cli.pbjs.main);
const options = ['-t', 'static-module', '-w', 'esm', '-r', 'heddle', '--dependency', 'protobufjs/minimal.js'];
const trims = ['--keep-case', '--null-defaults', '--no-verify', '--no-convert', '--no-delimited', '--no-typeurl'];

// The types come from the comments, so they are made from a commented build; the code that ships has none.
await pbjs([...options, ...trims, '-o', join(OUT, 'onnx.js'), '--dts', SOURCE]);
const declarations = readFileSync(join(OUT, 'onnx.d.ts'), 'utf8');
await pbjs([...options, ...trims, '--no-comments', '-o', join(OUT, 'onnx.js'), SOURCE]);
const code = readFileSync(join(OUT, 'onnx.js'), 'utf8');

// 64-bit fields are read as number, or as bigint beyond 2^53 (wire.ts), never as Long.
const plain = declarations.replaceAll('number|Long', 'number|bigint').replace(/^import Long.*\n/m, '');
writeFileSync(join(OUT, 'onnx.js'), NOTE + code);
writeFileSync(join(OUT, 'onnx.d.ts'), NOTE + plain);
writeFileSync(join(OUT, 'fields.ts'), NOTE + fieldTable(new protobuf.Root().loadSync(SOURCE, { keepCase: true })));

/** One line a message: field number → [name, wire type (or message name), repeated]. */
function fieldTable(root) {
  root.resolveAll();
  const lines = [];
  const visit = (type) => {
    if (type instanceof protobuf.Type)
      lines.push(`  '${nameOf(type)}': { ${type.fieldsArray.map(entry).join(', ')} },`);
    for (const nested of type.nestedArray ?? []) visit(nested);
  };
  visit(root);
  const doc = '/** Field number → name, wire type or message name, and whether the field repeats. */\n';
  const type = 'Readonly<Record<string, Readonly<Record<number, readonly [string, number | string, boolean]>>>>';
  return `\n${doc}export const FIELDS: ${type} = {\n${lines.sort().join('\n')}\n};\n`;
}

function nameOf(type) {
  return type.fullName.replace(/^\.onnx\./, '');
}

function entry(field) {
  const isMessage = field.resolvedType instanceof protobuf.Type;
  const isEnum = field.resolvedType instanceof protobuf.Enum;
  const kind = isMessage ? `'${nameOf(field.resolvedType)}'` : isEnum ? 0 : protobuf.types.basic[field.type];
  return `${field.id}: ['${field.name}', ${kind}, ${field.repeated}]`;
}
