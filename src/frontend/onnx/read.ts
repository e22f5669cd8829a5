// Reads an ONNX file: bytes → checked protobuf messages (wire.ts) → SourceModel (graph.ts). Local functions are inlined,
// weights stay in the file until asked for, and whatever a file may hold, the result is a model or a CompileError.

import { CompileError } from '../../support/errors.js';
import type { SourceModel } from '../source.js';
import { type ExternalFiles, rememberFiles } from './external-data.js';
import { indexFunctions } from './functions.js';
import { readMainGraph } from './graph.js';
import { Budget, collectNames, readOpsets, type ReadContext, type Scope } from './scope.js';
import { decodeModel, type GraphProto, type ModelProto } from './wire.js';

export interface ReadOnnxOptions {
  /** Path or name for messages. */
  readonly file: string;
  /** Opens a file beside the model, for weights kept outside it. */
  readonly external?: ExternalFiles;
}

/** Throws CompileError: E102 not ONNX, E103 malformed, E104 external data, E105 unsupported, E206 bad graph. */
export function readOnnx(bytes: Uint8Array, options: ReadOnnxOptions): SourceModel {
  const { file } = options;
  const model = decodeModelFile(bytes, file);
  const graph = model.graph;
  if (!graph) throw notOnnx(file, 'it has no graph');
  const opsets = modelOpsets(model);
  const functions = indexFunctions(model.functions ?? [], file);
  const context: ReadContext = {
    file,
    bytes,
    external: rememberFiles(options.external),
    functions,
    names: functions.size > 0 ? namesOf(graph) : new Set(),
    attributes: new Map(),
    budget: new Budget(file, bytes.length),
  };
  const scope: Scope = { rename: (name) => name, prefix: '', opsets, path: [], attributes: null, calls: [] };
  return {
    format: 'onnx',
    file,
    opsets: Object.fromEntries(opsets),
    producer: [model.producer_name, model.producer_version].filter(Boolean).join(' '),
    graphs: [readMainGraph(graph, scope, context)],
    signatures: [],
    metadata: Object.fromEntries((model.metadata_props ?? []).map(({ key, value }) => [key ?? '', value ?? ''])),
  };
}

function decodeModelFile(bytes: Uint8Array, file: string): ModelProto {
  if (bytes.length === 0) throw notOnnx(file, 'it is empty');
  const start = String.fromCharCode(...bytes.subarray(0, 24));
  if (start.slice(4, 8) === 'TFL3') throw notOnnx(file, 'it is a TFLite file');
  if (start.startsWith('version https://git-lfs')) throw notOnnx(file, 'it is a Git LFS pointer, not the file itself');
  if (!looksLikeModel(bytes)) throw notOnnx(file, `it begins with byte ${bytes[0]}`);
  return decodeModel(bytes, file);
}

/** A ModelProto may begin with any of its fields: the first tag must be one of them, in its wire type. */
function looksLikeModel(bytes: Uint8Array): boolean {
  const first = bytes[0] ?? 0;
  const second = bytes[1] ?? 0;
  if (first < 128) return [0x08, 0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72].includes(first);
  return [0xa2, 0xca, 0xd2].includes(first) && second === 0x01;
}

const notOnnx = (file: string, why: string): CompileError =>
  new CompileError('E102', `this is not an ONNX model: ${why}`, { at: { file, offset: 0 } });

/** Files of IR version 1 and 2 name no opset: they mean version 1. */
function modelOpsets(model: ModelProto): Map<string, number> {
  const opsets = readOpsets(model.opset_import);
  if (Number(model.ir_version ?? 0) < 3 && !opsets.has('ai.onnx')) opsets.set('ai.onnx', 1);
  return opsets;
}

function namesOf(graph: GraphProto): Set<string> {
  const names = new Set<string>();
  collectNames(graph, names);
  return names;
}
