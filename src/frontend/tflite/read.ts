// Reads a .tflite file into the importer's terms: subgraphs, operators with their options, constants left in the file.
// Any bytes give a model or a CompileError that names the offset or operator; nothing is allocated beyond the file's own
// scale. Next: flat.ts (how every offset is checked), options.ts (attributes), tensors.ts and constants.ts (weights).

import { CompileError } from '../../support/errors.js';
import type { SourceGraph, SourceModel, SourceSignature } from '../source.js';
import { type ModelBuffer, modelBuffer } from './constants.js';
import {
  type FlatFile,
  malformed,
  numberOf,
  numbersOf,
  openFlat,
  rootTable,
  stringOf,
  type Table,
  tablesOf,
} from './flat.js';
import { FILE_IDENTIFIER, TABLES } from './generated/schema.js';
import { type OperatorCode, readOperatorCode, readOperators, sourceNode } from './operators.js';
import { checkCalls } from './subgraphs.js';
import { readTensors } from './tensors.js';
import { addRewrites, nameValues, valueName } from './value-names.js';

const SCHEMA_VERSION = 3;

/** Whether the bytes carry TFLite's file identifier. */
export function isTflite(bytes: Uint8Array): boolean {
  return [...FILE_IDENTIFIER].every((c, i) => bytes[4 + i] === c.charCodeAt(0));
}

/** Decodes a TFLite model. Throws CompileError: E102 not TFLite, E103 damaged, E105 beyond this reader, E206 inconsistent. */
export function readTflite(bytes: Uint8Array, options: { file: string }): SourceModel {
  const source = openFlat(bytes, options.file);
  if (!isTflite(bytes)) {
    throw new CompileError('E102', `a TFLite file has '${FILE_IDENTIFIER}' at byte 4, this one has not`, {
      at: { file: options.file, offset: 4 },
      hint: 'Check that the file is a .tflite model and is complete',
    });
  }
  const model = rootTable(source, 'Model');
  const fields = TABLES.Model;
  const version = numberOf(model, fields.version);
  checkVersion(source, version);
  const codes = tablesOf(model, fields.operator_codes).map(readOperatorCode);
  const buffers = tablesOf(model, fields.buffers).map(modelBuffer);
  const subgraphs = tablesOf(model, fields.subgraphs);
  if (subgraphs.length === 0)
    throw new CompileError('E206', 'the model has no subgraph', { at: { file: options.file } });
  const graphs = subgraphs.map((table, index) => readGraph(table, index, codes, buffers));
  checkCalls(graphs, options.file);
  return {
    format: 'tflite',
    file: options.file,
    opsets: { tflite: version },
    producer: stringOf(model, fields.description) ?? '',
    graphs,
    signatures: tablesOf(model, fields.signature_defs).map((table) => readSignature(table, graphs)),
    metadata: Object.fromEntries(tablesOf(model, fields.metadata).map((table) => readMetadata(table, buffers))),
  };
}

function checkVersion(source: FlatFile, version: number): void {
  if (version === SCHEMA_VERSION) return;
  throw new CompileError('E105', `the model has schema version ${version}, not ${SCHEMA_VERSION}`, {
    at: { file: source.file },
    hint: 'Convert it again with a converter of 2018 or later',
  });
}

function readGraph(
  table: Table<'SubGraph'>,
  index: number,
  codes: readonly OperatorCode[],
  buffers: readonly ModelBuffer[],
): SourceGraph {
  const fields = TABLES.SubGraph;
  const tensorTables = tablesOf(table, fields.tensors);
  const count = tensorTables.length;
  const boundary = (what: 'inputs' | 'outputs') =>
    numbersOf(table, fields[what]).map((t, i) => {
      if (t >= 0 && t < count) return t;
      throw malformed(
        table.source,
        table.at,
        `${what.slice(0, -1)} ${i} of subgraph ${index} is tensor ${t} of ${count}`,
      );
    });
  const [inputs, outputs] = [boundary('inputs'), boundary('outputs')];
  const operators = readOperators(table, codes, count);
  const names = nameValues(operators, inputs, outputs);
  const roles = { inputs: new Set(inputs), unwritten: names.readFirst };
  const { values, initializers } = readTensors(tensorTables, buffers, roles);
  addRewrites(values, names.rewrites);
  return {
    name: stringOf(table, fields.name) || `subgraph_${index}`,
    inputs: inputs.map((t) => values.get(valueName(t))!),
    outputs: names.outputs.map((name) => values.get(name)!),
    nodes: operators.map((operator, i) => sourceNode(operator, names.operators[i]!, values)),
    initializers,
    values,
  };
}

function readSignature(table: Table<'SignatureDef'>, graphs: readonly SourceGraph[]): SourceSignature {
  const fields = TABLES.SignatureDef;
  const graph = numberOf(table, fields.subgraph_index);
  const values = graphs[graph]?.values;
  if (!values) throw malformed(table.source, table.at, `a signature names subgraph ${graph} of ${graphs.length}`);
  const final = (name: string) =>
    graphs[graph]?.outputs.find((v) => v.name === name || v.name.startsWith(`${name}.`))?.name ?? name;
  const names = (maps: readonly Table<'TensorMap'>[], rename: (name: string) => string) =>
    Object.fromEntries(
      maps.map((map) => {
        const name = valueName(numberOf(map, TABLES.TensorMap.tensor_index));
        if (!values.has(name))
          throw malformed(map.source, map.at, `a signature names tensor ${name} of ${values.size}`);
        return [stringOf(map, TABLES.TensorMap.name) ?? '', rename(name)];
      }),
    );
  return {
    key: stringOf(table, fields.signature_key) ?? '',
    graph,
    inputs: names(tablesOf(table, fields.inputs), (name) => name),
    outputs: names(tablesOf(table, fields.outputs), final),
  };
}

/** Longest metadata shown as text; labels and nested models are not worth a copy. */
const METADATA_TEXT = 4096;

/** Short text as it is; binary or long entries as their size. */
function readMetadata(table: Table<'Metadata'>, buffers: readonly ModelBuffer[]): readonly [string, string] {
  const name = stringOf(table, TABLES.Metadata.name) ?? '';
  const index = numberOf(table, TABLES.Metadata.buffer);
  const buffer = buffers[index];
  if (!buffer) throw malformed(table.source, table.at, `metadata '${name}' names buffer ${index} of ${buffers.length}`);
  const span = buffer.span ?? { at: 0, count: 0 };
  const bytes = table.source.bytes.subarray(span.at, span.at + Math.min(span.count, METADATA_TEXT));
  const text = new TextDecoder().decode(bytes).replace(/\0+$/, '');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what tells binary from text.
  const binary = span.count > METADATA_TEXT || /[\0-\x08\x0e-\x1f\ufffd]/.test(text);
  return [name, binary ? `(${span.count} bytes)` : text];
}
