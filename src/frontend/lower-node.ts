// One source node through its record: decode attributes, bind inputs by name, lower. For TFLite it decides
// between the integer arithmetic of a record and dequantise → lower → quantise.

import type { Value } from '../ir/tensor.js';
import { DTYPE_INFO } from '../support/dtype.js';
import { CompileError } from '../support/errors.js';
import type { ImportContext, Scope } from './import.js';
import { createNodeReader } from './node-reader.js';
import type { AnyRecord, Attrs, LowerContext, NodeReader } from './ops/record.js';
import { dequantizeValue, quantizeValue } from './quantization.js';
import type { FoundRecord } from './record-table.js';
import { wantSizes } from './assumed-sizes.js';
import type { SourceNode, SourceQuant } from './source.js';

export interface NodeTask {
  readonly node: SourceNode;
  readonly scope: Scope;
  readonly inputs: readonly (Value | undefined)[];
  readonly record: FoundRecord;
  readonly context: ImportContext;
  readonly prefix: readonly string[];
}

type Bound = Readonly<Record<string, Value | readonly Value[] | undefined>>;

export function lowerNode(task: NodeTask): readonly Value[] {
  const { record, decode } = task.record;
  const ctx = createLowerContext(task);
  const quantized = isQuantized(task);
  const mode = quantized ? (record.quantized ?? 'dequantize') : 'raw';
  const inputs =
    mode === 'dequantize' ? task.inputs.map((v, k) => dequantizeInput(v, ctx.quantIn(k), ctx)) : task.inputs;
  const reader = createNodeReader(task.node, inputs, task.context.b);
  const attrs = decode(reader);
  const bound = bindInputs(record, attrs, reader);
  const run = typeof mode === 'function' ? mode : record.lower;
  if (!run) return runOnHost(task, bound, attrs, ctx);
  const out = run(bound as never, attrs, task.context.b, ctx);
  const results = Array.isArray(out) ? (out as readonly Value[]) : [out as Value];
  if (mode !== 'dequantize') return results;
  return results.map((v, k) => {
    const q = ctx.quantOut(k);
    const declared = ctx.declared(k);
    if (!v || !q || !declared || !narrow(declared.dtype) || v.type.dtype !== 'f32') return v;
    return quantizeValue(task.context.b, v, q, declared.dtype);
  });
}

const narrow = (t: string): boolean => ['i8', 'u8', 'i16', 'i4', 'u4', 'i2'].includes(t);

/** A TFLite node works on quantised integers if an input or output of narrow integer type has a scale. */
function isQuantized(task: NodeTask): boolean {
  if (task.context.model.format !== 'tflite') return false;
  const inputs = task.node.inputs.some((name, k) => {
    const v = task.inputs[k];
    return v && narrow(v.type.dtype) && task.context.quants.has(name);
  });
  return (
    inputs ||
    task.node.outputs.some((name) => {
      const t = task.scope.graph.values.get(name)?.type;
      return t?.kind === 'tensor' && narrow(t.dtype) && task.context.quants.has(name);
    })
  );
}

function dequantizeInput(v: Value | undefined, q: SourceQuant | undefined, ctx: LowerContext): Value | undefined {
  if (!v || !q || DTYPE_INFO[v.type.dtype].kind === 'float') return v;
  const bias = v.type.dtype === 'i32' || v.type.dtype === 'i64';
  if (bias && v.node?.kind !== 'const') return v;
  return dequantizeValue(ctx.builder, v, q);
}

/** An input that a record does not know of would go unheard. */
function refuseMore({ inputs }: AnyRecord, reader: NodeReader): void {
  if (inputs.some((spec) => spec.endsWith('*'))) return;
  for (let k = inputs.length; k < reader.inputCount; k++)
    if (reader.input(k)) throw new CompileError('E203', `input ${k} is none that this operator has`);
}

/** Positional inputs under the record's names; `$inputs` of the decoded attributes overrides. */
function bindInputs(record: AnyRecord, attrs: Attrs, reader: NodeReader): Bound {
  const override = attrs.$inputs as Bound | undefined;
  const bound: Record<string, Value | readonly Value[] | undefined> = {};
  if (!override && !reader.source.domain.startsWith('tflite')) refuseMore(record, reader);
  record.inputs.forEach((spec, k) => {
    const name = spec.replace(/[?*]$/, '');
    if (override && name in override) bound[name] = override[name];
    else if (spec.endsWith('*'))
      bound[name] = Array.from({ length: Math.max(0, reader.inputCount - k) }, (_, j) => reader.input(k + j)).filter(
        (v): v is Value => v !== undefined,
      );
    else bound[name] = reader.input(k);
    if (bound[name] === undefined && !spec.endsWith('?'))
      throw new CompileError('E203', `input "${name}" (position ${k}) is missing`);
  });
  return bound;
}

function createLowerContext(task: NodeTask): LowerContext {
  const { node, scope, context } = task;
  const { graph } = scope;
  const at = (names: readonly string[], i: number): string => names[i] ?? '';
  return {
    builder: context.b,
    reader: createNodeReader(node, task.inputs, context.b),
    rounding: context.options.rounding ?? 'double',
    quantIn: (i) => context.quants.get(at(node.inputs, i)),
    quantOut: (i) => context.quants.get(at(node.outputs, i)),
    quantNamed: (name) => context.quants.get(name),
    declared(i) {
      const t =
        graph.values.get(at(node.outputs, i))?.type ?? graph.outputs.find((o) => o.name === at(node.outputs, i))?.type;
      if (t?.kind !== 'tensor' || !t.shape) return undefined;
      return { dtype: t.dtype, shape: t.shape.map((d) => (typeof d === 'number' ? d : -1)) };
    },
    constantNamed(name) {
      const constant = graph.initializers.get(name);
      return constant && context.b.lazyConstant(constant);
    },
    valueNamed: (name) => context.valueNamed(name, scope),
    stateOf: (i) => context.stateName(graph, at(node.inputs, i)),
    importGraph: (g, args) => context.importGraph(g, args, context.model.format === 'onnx' ? scope : null, task.prefix),
    subgraph(index) {
      const g = context.model.graphs[index];
      if (!g) throw new CompileError('E206', `subgraph ${index} does not exist`);
      return g;
    },
    sizesWanted: (v) => wantSizes(context, v),
    limit(message, hint) {
      throw new CompileError('E202', message, hint === undefined ? {} : { hint });
    },
  };
}

function runOnHost(task: NodeTask, bound: Bound, attrs: Attrs, ctx: LowerContext): readonly Value[] {
  const { record } = task.record;
  if (!record.reference) throw new CompileError('E201', `record ${record.name} has neither lower nor reference`);
  const types = record.reference.types(bound as never, attrs, ctx);
  const values = record.inputs.flatMap((s) => bound[s.replace(/[?*]$/, '')] ?? []) as readonly Value[];
  return task.context.b.host(record.name, record.reference.run(attrs), values, types);
}
