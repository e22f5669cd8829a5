// Small ONNX models with subgraphs, written as nested lists: imported, lowered and interpreted. A node is
// [op, inputs, outputs, attributes], the op with its domain where that is not ONNX's own; a subgraph attribute is a graph made by `graph`.

import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { type CompileOptions, importSource, lowerToProgram } from '../../src/compile.js';
import type { AttrValue, SourceGraph, SourceModel, SourceType } from '../../src/frontend/source.js';
import { type Tensor, toNumbers } from '../../src/support/tensor.js';

type Attr = number | string | readonly number[] | readonly string[] | Tensor | SourceGraph;
type NodeSpec = readonly [
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attrs?: Readonly<Record<string, Attr>>,
];

/** A value's name and type; sizes may be symbols. */
type Port = readonly [name: string, dtype: Tensor['dtype'], shape: readonly (number | string)[]];

const isTexts = (v: Attr): v is readonly string[] => Array.isArray(v) && typeof v[0] === 'string';

function attrOf(v: Attr): AttrValue {
  if (typeof v === 'string') return { kind: 'string', value: v };
  if (typeof v === 'number') return { kind: 'int', value: BigInt(v) };
  if (isTexts(v)) return { kind: 'strings', value: v };
  if ('nodes' in v) return { kind: 'graph', value: v };
  if ('dtype' in v) return { kind: 'tensor', value: v };
  return { kind: 'ints', value: v.map(BigInt) };
}

const typed = ([name, dtype, shape]: Port) => ({ name, type: { kind: 'tensor', dtype, shape } as SourceType });

export function graph(
  inputs: readonly Port[],
  outputs: readonly string[],
  nodes: readonly NodeSpec[],
  constants: Readonly<Record<string, Tensor>> = {},
): SourceGraph {
  return {
    name: 'g',
    inputs: inputs.map(typed),
    outputs: outputs.map((name) => ({ name, type: { kind: 'unknown' } })),
    nodes: nodes.map(([op, ins, outs, attrs = {}], index) => ({
      op: op.slice(op.lastIndexOf(':') + 1),
      domain: op.includes(':') ? op.slice(0, op.lastIndexOf(':')) : 'ai.onnx',
      version: 21,
      name: `${op}_${index}`,
      index,
      path: [],
      inputs: ins,
      outputs: outs,
      attrs: new Map(Object.entries(attrs).map(([k, v]) => [k, attrOf(v)])),
    })),
    initializers: new Map(
      Object.entries(constants).map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape, read: () => t }]),
    ),
    values: new Map(),
  };
}

export const model = (main: SourceGraph): SourceModel => ({
  format: 'onnx',
  file: 'case',
  opsets: { 'ai.onnx': 21 },
  producer: '',
  graphs: [main],
  signatures: [],
  metadata: {},
});

export interface GraphResult {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Outputs by name. */
export function runGraph(
  main: SourceGraph,
  inputs: Readonly<Record<string, Tensor>>,
  options: CompileOptions = {},
): Record<string, GraphResult> {
  const program = lowerToProgram(importSource(model(main), { defaultDim: { lo: 1, hi: 16 }, ...options }));
  const out = createInterpreter(program).runSync(inputs);
  return Object.fromEntries(
    Object.entries(out).map(([name, t]) => [name, { shape: t.shape, values: Array.from(toNumbers(t)) }]),
  );
}
