// TFLite resource variables: VAR_HANDLE names one, READ_VARIABLE and ASSIGN_VARIABLE are state reads and writes in program
// order, and the subgraph that CALL_ONCE runs becomes the states' first contents. A handle is a string constant, the
// variable's name, which nothing computes with. `is_variable` tensors are the importer's: LowerContext.stateOf.

import type { Builder } from '../../ir/builder.js';
import { isConst } from '../../ir/dim.js';
import type { TensorType, Value } from '../../ir/tensor.js';
import { STORAGE, sizeOf, type Tensor } from '../../support/tensor.js';
import type { SourceGraph, SourceNode } from '../source.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

const variableName = (container: string, shared: string): string => (container ? `${container}/${shared}` : shared);

/** Name of the variable a handle stands for. */
function nameOf(handle: Value, ctx: LowerContext): string {
  const n = handle.node;
  if (n?.kind !== 'const' || n.data.dtype !== 'string')
    return ctx.limit('a variable handle is computed', 'Handles must come from VAR_HANDLE in the same graph');
  return String(n.data.read().data[0]);
}

/** Makes the state if it is new; contents start at zero unless CALL_ONCE gave some. */
function ensureState(b: Builder, name: string, type: TensorType, ctx: LowerContext): void {
  const known = b.states.find((s) => s.name === name);
  if (known) {
    if (known.type.dtype !== type.dtype || sizeOf(known.type.shape as number[]) !== sizeOf(type.shape as number[]))
      ctx.limit(`variable "${name}" changes its type or size`);
    return;
  }
  if (type.dtype === 'string' || !type.shape.every((d) => isConst(d) && d >= 0))
    ctx.limit(`variable "${name}" has a size that is not fixed`, 'Fix the sizes it depends on with --dim');
  const shape = type.shape as readonly number[];
  const dtype = type.dtype as Exclude<typeof type.dtype, 'string'>;
  b.state(name, { dtype, shape }, { dtype, shape, data: new STORAGE[dtype](sizeOf(shape)) });
}

/** What the assignments of an initialisation subgraph leave in each variable. */
function initialContents(graph: SourceGraph, ctx: LowerContext): ReadonlyMap<string, Tensor> {
  const handles = new Map<string, string>();
  const contents = new Map<string, Tensor>();
  const text = (n: SourceNode, name: string): string => String(n.attrs.get(name)?.value ?? '');
  for (const n of graph.nodes) {
    const [target = '', value = ''] = n.inputs;
    if (n.op === 'VAR_HANDLE')
      handles.set(n.outputs[0] ?? '', variableName(text(n, 'container'), text(n, 'shared_name')));
    else if (n.op === 'ASSIGN_VARIABLE') {
      const constant =
        graph.initializers.get(value) ?? ctx.limit('a variable’s first contents are computed, not constant');
      contents.set(handles.get(target) ?? ctx.limit('a variable handle is computed'), constant.read());
    } else ctx.limit(`${n.op} in an initialisation subgraph`, 'Only constants can be assigned to variables there');
  }
  return contents;
}

export const records: readonly AnyRecord[] = [
  op<never, object>('call_once', {
    doc: 'First contents of variables, from a subgraph that runs once.',
    inputs: [],
    tflite: { CALL_ONCE: () => ({}) },
    lower: (_i, _a, b, ctx) => {
      const graph = ctx.subgraph(ctx.reader.int('init_subgraph_index', 0));
      for (const [name, t] of initialContents(graph, ctx)) b.state(name, { dtype: t.dtype, shape: t.shape }, t);
      return [];
    },
    limits: ['The subgraph may only assign constants.'],
  }),
  op<never, object>('var_handle', {
    doc: 'Names a variable that outlives the call.',
    inputs: [],
    tflite: { VAR_HANDLE: () => ({}) },
    lower: (_i, _a, b, ctx) => {
      const name = variableName(ctx.reader.string('container', ''), ctx.reader.string('shared_name', ''));
      return b.constant({ dtype: 'string', shape: [], data: [name] });
    },
  }),
  op('read_variable', {
    doc: 'Contents of a variable.',
    inputs: ['handle'],
    tflite: { READ_VARIABLE: () => ({}) },
    quantized: 'raw',
    lower: ({ handle }, _a, b, ctx) => {
      const name = nameOf(handle, ctx);
      const known = b.states.find((s) => s.name === name)?.type;
      ensureState(b, name, known ?? ctx.declared(0) ?? ctx.limit(`variable "${name}" has no type`), ctx);
      return b.stateRead(name);
    },
  }),
  op('assign_variable', {
    doc: 'Replaces the contents of a variable.',
    inputs: ['handle', 'value'],
    tflite: { ASSIGN_VARIABLE: () => ({}) },
    quantized: 'raw',
    lower: ({ handle, value }, _a, b, ctx) => {
      const name = nameOf(handle, ctx);
      ensureState(b, name, value.type, ctx);
      b.stateWrite(name, value);
      return [];
    },
  }),
];
