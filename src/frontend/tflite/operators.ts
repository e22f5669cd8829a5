// The operators of one subgraph as source nodes, in the file's order, which is the execution order. Every index is checked;
// errors name the operator and its op. What they read and write is named in value-names.ts.

import { CompileError } from '../../support/errors.js';
import type { AttrValue, SourceNode, SourceValue } from '../source.js';
import { fileSpan } from './constants.js';
import { bytesOf, enumName, numberOf, numbersOf, stringOf, type Table, tablesOf, unionOf } from './flat.js';
import { TABLES } from './generated/schema.js';
import { builtinAttrs, customAttrs } from './options.js';
import { type OperatorValues, valueName } from './value-names.js';

/** An entry of the model's operator codes. */
export interface OperatorCode {
  readonly op: string;
  readonly domain: 'tflite' | 'tflite.custom';
  readonly version: number;
}

/** Old files hold the code in a byte, newer ones in a wider field; the larger counts. A code newer than the schema keeps its number. */
export function readOperatorCode(table: Table<'OperatorCode'>): OperatorCode {
  const fields = TABLES.OperatorCode;
  const code = Math.max(numberOf(table, fields.deprecated_builtin_code), numberOf(table, fields.builtin_code));
  const version = numberOf(table, fields.version);
  const op = enumName('BuiltinOperator', code) ?? `BUILTIN_${code}`;
  if (op === 'CUSTOM') return { op: stringOf(table, fields.custom_code) ?? '', domain: 'tflite.custom', version };
  return { op, domain: 'tflite', version };
}

/** An operator before its tensors are known: what it is and which tensor indices it names (-1: absent). */
export interface RawOperator {
  readonly table: Table<'Operator'>;
  readonly code: OperatorCode;
  readonly index: number;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Tensors of the operator's own that carry quantisation parameters only (quantised LSTM). */
  readonly intermediates: readonly number[];
}

/** Reads the operators' indices; with `tensors` in the subgraph, each must be below that. */
export function readOperators(
  graph: Table<'SubGraph'>,
  codes: readonly OperatorCode[],
  tensors: number,
): RawOperator[] {
  const fields = TABLES.Operator;
  return tablesOf(graph, TABLES.SubGraph.operators).map((table, index) => {
    const codeIndex = numberOf(table, fields.opcode_index);
    const code = codes[codeIndex];
    if (!code)
      throw misuse(table, index, undefined, `operator ${index} names operator code ${codeIndex} of ${codes.length}`);
    const indices = (what: 'inputs' | 'outputs' | 'intermediates') =>
      numbersOf(table, fields[what]).map((t, i) => {
        if (t >= -1 && t < tensors) return t;
        throw misuse(table, index, code.op, `${what.slice(0, -1)} ${i} is tensor ${t}; the subgraph has ${tensors}`);
      });
    return {
      table,
      code,
      index,
      inputs: indices('inputs'),
      outputs: indices('outputs'),
      intermediates: indices('intermediates'),
    };
  });
}

function misuse(table: Table, operator: number, op: string | undefined, what: string): CompileError {
  const node = op === undefined ? undefined : `${op}_${operator}`;
  return new CompileError('E206', what, {
    at: { file: table.source.file, offset: table.at, operator, op, node },
    hint: 'The file is damaged or its exporter is at fault: export the model again',
  });
}

/** The finished node. It is called after its first output, since operators have no names of their own. */
export function sourceNode(
  operator: RawOperator,
  { inputs, outputs }: OperatorValues,
  values: ReadonlyMap<string, SourceValue>,
): SourceNode {
  const { code, index } = operator;
  const name = values.get(outputs[0] ?? '')?.label ?? `${code.op}_${index}`;
  const attrs = inOperator(operator, name, () => readAttrs(operator));
  return { op: code.op, domain: code.domain, version: code.version, name, index, path: [], inputs, outputs, attrs };
}

/** Options, and `intermediates`: the names of the operator's own tensors, where it has any. */
function readAttrs({ table, code, intermediates }: RawOperator): ReadonlyMap<string, AttrValue> {
  const fields = TABLES.Operator;
  const attrs =
    code.domain === 'tflite.custom'
      ? customAttrs(customOptions(table))
      : builtinAttrs(code.op, unionOf(table, fields.builtin_options) ?? unionOf(table, fields.builtin_options_2));
  if (intermediates.length === 0) return attrs;
  const names = intermediates.map((t) => (t < 0 ? '' : valueName(t)));
  return attrs.set('intermediates', { kind: 'strings', value: names });
}

/** A custom operator's option bytes, in the flatbuffer or beyond it. */
function customOptions(table: Table<'Operator'>): Uint8Array {
  const fields = TABLES.Operator;
  const large = numberOf(table, fields.large_custom_options_offset);
  const span =
    large > 1
      ? fileSpan(table, large, numberOf(table, fields.large_custom_options_size))
      : bytesOf(table, fields.custom_options);
  return span ? table.source.bytes.subarray(span.at, span.at + span.count) : new Uint8Array(0);
}

/** Adds the operator to errors from its options. */
function inOperator<T>({ code, index }: RawOperator, node: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    throw new CompileError(error.problems.map((p) => ({ ...p, at: { ...p.at, op: code.op, operator: index, node } })));
  }
}
