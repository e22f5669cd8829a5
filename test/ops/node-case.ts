// Runs one operator the way a model would hold it: a source graph with one node, imported, lowered and interpreted.
// Inputs listed in `constants` are initializers; the others arrive at run time, so both ways of a record are reachable.

import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { importSource, lowerToProgram } from '../../src/compile.js';
import type { AttrValue, SourceGraph, SourceModel, SourceQuant, SourceValue } from '../../src/frontend/source.js';
import type { DType } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';

export interface NodeCase {
  readonly format?: 'onnx' | 'tflite';
  readonly op: string;
  /** ONNX: default ai.onnx. */
  readonly domain?: string;
  readonly opset?: number;
  readonly attrs?: Readonly<Record<string, number | string | boolean | readonly (number | string)[] | Tensor>>;
  /** null: an absent optional input. */
  readonly inputs: readonly (Tensor | null)[];
  /** Positions of inputs that are constants of the model (default: none). */
  readonly constants?: readonly number[];
  /** Positions of inputs that are TFLite's variable tensors: they keep their contents between calls. */
  readonly variables?: readonly number[];
  /** Input axes given as symbols: 'position.axis'. */
  readonly symbols?: readonly string[];
  readonly outputs?: number;
  /** The inputs are keys and values of one map. */
  readonly map?: boolean;
  /** Types the file declares for the outputs. */
  readonly declared?: readonly { readonly dtype: DType; readonly shape: readonly number[] }[];
  /** By value: in0, out0, or a tensor of the operator's own. */
  readonly quant?: Readonly<Record<string, SourceQuant>>;
}

export const f32 = (shape: readonly number[], ...values: number[]): Tensor => fromNumbers('f32', shape, values);
export const i32 = (shape: readonly number[], ...values: number[]): Tensor => fromNumbers('i32', shape, values);
export const i64 = (shape: readonly number[], ...values: number[]): Tensor => fromNumbers('i64', shape, values);
export const of = (dtype: DType, shape: readonly number[], ...values: number[]): Tensor =>
  fromNumbers(dtype, shape, values);
/** 0, 1, 2, … in a shape. */
export const counting = (shape: readonly number[]): Tensor =>
  fromNumbers(
    'f32',
    shape,
    Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, k) => k),
  );

export interface NodeResult {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** All outputs. */
export function runNode(c: NodeCase): readonly NodeResult[] {
  const program = lowerToProgram(importSource(modelOf(c), { dims: {}, defaultDim: { lo: 1, hi: 64 } }));
  const entry = program.entries[0];
  if (!entry) throw new Error('no entry');
  const out = createInterpreter(program).runSync(fedInputs(c));
  return entry.outputs.map((o) => {
    const t = out[o.name] as Tensor;
    return { dtype: t.dtype, shape: t.shape, values: Array.from(toNumbers(t)) };
  });
}

/** What the program is given, by name. */
export const fedInputs = (c: NodeCase): Readonly<Record<string, Tensor>> =>
  Object.fromEntries(
    c.inputs.flatMap((t, k) =>
      t && !c.constants?.includes(k) && !c.variables?.includes(k)
        ? [[c.map ? `in0_${['keys', 'values'][k]}` : `in${k}`, t]]
        : [],
    ),
  );

/** The first output. */
export const run = (c: NodeCase): NodeResult => runNode(c)[0] as NodeResult;

export function modelOf(c: NodeCase): SourceModel {
  const format = c.format ?? 'onnx';
  const names = c.map ? ['in0'] : c.inputs.map((t, k) => (t ? `in${k}` : ''));
  const outputs = Array.from({ length: c.outputs ?? 1 }, (_, k) => `out${k}`);
  const constant = (k: number): boolean => c.constants?.includes(k) ?? false;
  const values = new Map<string, SourceValue>();
  const value = (name: string, type: SourceValue['type']): SourceValue => {
    const quant = c.quant?.[name];
    const variable = c.variables?.some((k) => name === `in${k}`) ?? false;
    const v: SourceValue = { name, type, ...(quant && { quant }), ...(variable && { variable }) };
    values.set(name, v);
    return v;
  };
  for (const [k, t] of c.inputs.entries())
    if (t && constant(k) && c.quant?.[`in${k}`]) value(`in${k}`, { kind: 'tensor', dtype: t.dtype, shape: t.shape });
  for (const name of Object.keys(c.quant ?? {})) if (!/^(in|out)/.test(name)) value(name, { kind: 'unknown' });
  const mapInput = (): SourceValue => {
    const [key, content] = c.inputs as readonly [Tensor, Tensor];
    return value('in0', { kind: 'map', key: key.dtype, value: { kind: 'tensor', dtype: content.dtype, shape: [] } });
  };
  const tensorInputs = c.inputs.flatMap((t, k) =>
    t && !constant(k)
      ? [
          value(`in${k}`, {
            kind: 'tensor',
            dtype: t.dtype,
            shape: t.shape.map((d, a) => (c.symbols?.includes(`${k}.${a}`) ? `s${k}_${a}` : d)),
          }),
        ]
      : [],
  );
  const graph: SourceGraph = {
    name: 'main',
    inputs: c.map ? [mapInput()] : tensorInputs.filter((v) => !v.variable),
    outputs: outputs.map((name, k) => {
      const d = c.declared?.[k];
      return value(name, d ? { kind: 'tensor', ...d } : { kind: 'unknown' });
    }),
    nodes: [
      {
        op: c.op,
        domain: c.domain ?? (format === 'onnx' ? 'ai.onnx' : 'tflite'),
        version: c.opset ?? 21,
        name: 'node',
        index: 0,
        path: [],
        inputs: names,
        outputs,
        attrs: new Map(Object.entries(c.attrs ?? {}).map(([k, v]) => [k, attrOf(v)])),
      },
    ],
    initializers: new Map(
      c.inputs.flatMap((t, k) =>
        t && constant(k) ? [[`in${k}`, { dtype: t.dtype, shape: t.shape, read: () => t }] as const] : [],
      ),
    ),
    values,
  };
  return {
    format,
    file: 'case',
    opsets: format === 'onnx' ? { 'ai.onnx': c.opset ?? 21 } : { tflite: 3 },
    producer: '',
    graphs: [graph],
    signatures: [],
    metadata: {},
  };
}

function attrOf(v: number | string | boolean | readonly (number | string)[] | Tensor): AttrValue {
  if (typeof v === 'string') return { kind: 'string', value: v };
  if (typeof v === 'boolean') return { kind: 'bool', value: v };
  if (typeof v === 'number')
    return Number.isInteger(v) ? { kind: 'int', value: BigInt(v) } : { kind: 'float', value: v };
  if ('dtype' in v) return { kind: 'tensor', value: v };
  if (v.some((x) => typeof x === 'string')) return { kind: 'strings', value: v.map(String) };
  return v.every(Number.isInteger) ? { kind: 'ints', value: v.map(BigInt) } : { kind: 'floats', value: v.map(Number) };
}
