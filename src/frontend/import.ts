// From a source model to a tensor IR module: walks the nodes, finds each one's record, decodes, lowers.
// Problems are collected, not thrown one by one: a node whose input failed is skipped, everything else is still
// looked at, and all problems are thrown together at the end.

import { type Builder, createBuilder } from '../ir/builder.js';
import { isConst, type Dim, type Sym, symDim } from '../ir/dim.js';
import type { Entry, Module, Region, TensorType, Value } from '../ir/tensor.js';
import { CompileError, invariant, type Problem } from '../support/errors.js';
import { sizeOf, STORAGE, type Tensor } from '../support/tensor.js';
import { type Assumptions, bindElements, fixInput, isFixable, type Learned, withAssumptions } from './assumed-sizes.js';
import { importNode } from './import-node.js';
import { assemble, type InputStructure, namedTensors, partsOf } from './input-structure.js';
import type { AnyRecord } from './ops/record.js';
import type { RecordTable } from './record-table.js';
import type { SourceGraph, SourceModel, SourceNode, SourceQuant, SourceValue } from './source.js';

/** A size fixed to a number, or a range for a symbol. */
export type DimOption = number | { readonly lo: number; readonly hi: number };

export interface ImportOptions {
  readonly records: RecordTable;
  /** By symbol name; unnamed sizes are called `<input>_<axis>`. A number under the name of an input that is a single integer
   *  or truth value fixes that input: the program is made for it, and refuses others. */
  readonly dims?: Readonly<Record<string, DimOption>>;
  /** Bounds of symbols that `dims` does not name. Default 1..Infinity (a size with no upper bound is an error where memory is planned). */
  readonly defaultDim?: { readonly lo: number; readonly hi: number };
  /** Element type and shape for inputs the file gives none. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** What inputs that are sequences or optionals consist of. */
  readonly structures?: Readonly<Record<string, InputStructure>>;
  /** ONNX: pairs of an input and the output that feeds it in the next call; both become state. */
  readonly state?: readonly { readonly input: string; readonly output: string }[];
  /** Source values to give out beside the model's own outputs ('all': every named one). */
  readonly taps?: readonly string[] | 'all';
  /** TFLite fixed-point rounding. */
  readonly rounding?: 'double' | 'single';
  /** Told of every node, those of subgraphs first; a subgraph that is imported several times tells several times. */
  readonly onNode?: (outcome: NodeOutcome) => void;
}

/** What became of a source node; `skipped`: an input comes from a node that failed. */
export interface NodeOutcome {
  readonly node: SourceNode;
  /** Through subgraphs and functions, outermost first. */
  readonly path: readonly string[];
  readonly record: AnyRecord | undefined;
  readonly status: 'lowered' | 'failed' | 'skipped';
  readonly problems: readonly Problem[];
}

/** Names visible in a graph being imported: its own, then those of the graphs around it. */
export interface Scope {
  readonly graph: SourceGraph;
  /** undefined marks a value whose node failed. */
  readonly values: Map<string, Value | undefined>;
  readonly outer: Scope | null;
}

/** What lowering a node needs of the import in progress. */
export interface ImportContext {
  readonly model: SourceModel;
  readonly b: Builder;
  readonly options: ImportOptions;
  /** Of the graph being imported, by value name. */
  readonly quants: Map<string, SourceQuant>;
  readonly problems: Problem[];
  /** Assumptions about sizes: those that hold, and what this import learns. */
  readonly given: Assumptions;
  readonly learned: Learned;
  /** The program's inputs by value. */
  readonly params: Map<Value, string>;
  valueNamed(name: string, scope: Scope): Value | undefined;
  importGraph(
    graph: SourceGraph,
    args: readonly Value[],
    outer: Scope | null,
    prefix: readonly string[],
  ): readonly Value[];
  stateName(graph: SourceGraph, name: string): string | undefined;
}

export function importModel(model: SourceModel, options: ImportOptions): Module {
  let outcomes: NodeOutcome[] = [];
  const onNode = (o: NodeOutcome): void => void outcomes.push(o);
  try {
    return withAssumptions((given, learned) => {
      outcomes = [];
      return importOnce(model, { ...options, onNode }, given, learned);
    });
  } finally {
    for (const o of outcomes) options.onNode?.(o);
  }
}

function importOnce(model: SourceModel, options: ImportOptions, given: Assumptions, learned: Learned): Module {
  const b = createBuilder((name) => upper(options.dims?.[name]) ?? given.bounds.get(name));
  const problems: Problem[] = [];
  const context = createContext(model, b, options, { given, learned, problems });
  const entries = entryGraphs(model).map((e) => importEntry(e, context));
  if (problems.length > 0) throw new CompileError(problems);
  return { name: entries[0]?.name ?? 'main', entries: entries.map((e) => ({ ...e })), states: b.states };
}

const upper = (d: DimOption | undefined): number | undefined => (typeof d === 'object' ? d.hi : d);

interface EntryGraph {
  readonly name: string;
  readonly graph: SourceGraph;
  readonly inputs: ReadonlyMap<string, string>;
  readonly outputs: ReadonlyMap<string, string>;
}

/** Signatures where the file has several, else its main graph as `run`. Keys are value names, entries public names. */
function entryGraphs(model: SourceModel): readonly EntryGraph[] {
  const main = model.graphs[0];
  invariant(main, 'a model has a graph');
  const label = (v: SourceValue): [string, string] => [v.name, v.label ?? v.name];
  const whole: EntryGraph = {
    name: 'run',
    graph: main,
    inputs: new Map(uniqueNames(main.inputs.map(label))),
    outputs: new Map(uniqueNames(main.outputs.map(label))),
  };
  const others = model.signatures
    .filter((s) => s.graph !== 0 && model.graphs[s.graph])
    .map((s) => ({
      name: s.key,
      graph: model.graphs[s.graph] as SourceGraph,
      inputs: new Map(Object.entries(s.inputs).map(([k, v]) => [v, k])),
      outputs: new Map(Object.entries(s.outputs).map(([k, v]) => [v, k])),
    }));
  return [whole, ...others];
}

function uniqueNames(pairs: readonly [string, string][]): [string, string][] {
  const seen = new Map<string, number>();
  return pairs.map(([name, label]) => {
    const n = seen.get(label) ?? 0;
    seen.set(label, n + 1);
    return [name, n === 0 ? label : `${label}_${n}`];
  });
}

function createContext(
  model: SourceModel,
  b: Builder,
  options: ImportOptions,
  shared: Pick<ImportContext, 'given' | 'learned' | 'problems'>,
): ImportContext {
  const { problems } = shared;
  const quants = new Map<string, SourceQuant>();
  const context: ImportContext = {
    model,
    b,
    options,
    quants,
    ...shared,
    params: new Map(),
    valueNamed: (name, scope) => lookup(name, scope, context),
    stateName(graph, name) {
      const v = graph.values.get(name);
      return v?.variable ? `${graph.name || 'graph'}.${v.label ?? name}` : undefined;
    },
    importGraph(graph, args, outer, prefix) {
      const scope: Scope = { graph, values: new Map(), outer };
      graph.inputs.forEach((v, k) => {
        if (args[k]) scope.values.set(v.name, args[k]);
      });
      const before = problems.length;
      importNodes(scope, context, prefix);
      // A subgraph's problems belong to the node that holds it, which may know another way.
      if (problems.length > before) throw new CompileError(problems.splice(before));
      return graph.outputs.map((o) => {
        const v = lookup(o.name, scope, context);
        if (!v) throw new CompileError('E206', `the subgraph's output "${o.name}" could not be built`);
        return v;
      });
    },
  };
  return context;
}

function importEntry(entry: EntryGraph, context: ImportContext): Entry {
  const { b, options } = context;
  const { graph } = entry;
  const scope: Scope = { graph, values: new Map(), outer: null };
  const env = scope.values;
  const symbols = new Map<string, Dim>();
  const stateInputs = new Map((options.state ?? []).map((s) => [s.input, s.output]));
  const inputs = graph.inputs.filter((v) => !graph.initializers.has(v.name) && !isVariable(graph, v.name));
  const fed = inputs.filter((v) => !stateInputs.has(v.name));
  const structure = (v: SourceValue): InputStructure | undefined => options.structures?.[v.name];
  const parts = fed.flatMap((v) => partsOf(v, structure(v)));
  const types = new Map(
    [...inputs.filter((v) => !fed.includes(v)), ...parts].map((v) => [v.name, inputType(v, context, symbols)]),
  );
  const nameOf = (v: SourceValue): string => entry.inputs.get(v.name) ?? v.name;
  const outputNames: string[] = [];
  const body: Region = b.region(
    parts.map((v) => types.get(v.name) as TensorType),
    (params) => {
      const values = parts.map((v, k) => {
        const value = b.named(params[k] as Value, nameOf(v));
        context.params.set(value, v.name);
        const name = v.label ?? v.name;
        const fixed = symbols.has(name) ? undefined : options.dims?.[name];
        if (typeof fixed === 'number' && isFixable(value.type)) return fixInput(b, value, name, fixed);
        return context.given.shapeInputs.has(v.name) ? bindElements(b, value, name) : value;
      });
      const given = values[Symbol.iterator]();
      for (const v of fed) env.set(v.name, assemble(b, v, structure(v), given));
      for (const v of inputs.filter((x) => stateInputs.has(x.name)))
        env.set(v.name, declareState(v.name, types.get(v.name) as TensorType, b));
      importNodes(scope, context, []);
      for (const [input, output] of stateInputs) writeState(input, output, scope, context);
      return collectOutputs(entry, scope, context, outputNames, new Set(stateInputs.values()));
    },
  );
  return { name: entry.name, inputNames: parts.map(nameOf), outputNames, body };
}

const isVariable = (graph: SourceGraph, name: string): boolean => graph.values.get(name)?.variable === true;

/** TFLite fills 8-bit variables with their zero point, others with 0. */
function declareState(name: string, type: TensorType, b: Builder, quant?: SourceQuant): Value {
  const init = zeros(type, name);
  if (type.dtype === 'i8' && quant) (init.data as Int8Array).fill(quant.zeroPoint[0] ?? 0);
  b.state(name, type, init);
  return b.stateRead(name);
}

/** All zeros of a concrete type. */
export function zeros(type: TensorType, what: string): Tensor {
  if (!type.shape.every(isConst))
    throw new CompileError('E205', `state "${what}" has a size that is not fixed`, {
      hint: 'Fix it with --dim name=N',
    });
  const { dtype } = type;
  invariant(dtype !== 'string', 'no string state');
  return { dtype, shape: type.shape as number[], data: new STORAGE[dtype](sizeOf(type.shape as number[])) };
}

function writeState(input: string, output: string, scope: Scope, context: ImportContext): void {
  const v = lookup(output, scope, context);
  if (v) context.b.stateWrite(input, v);
  else
    context.problems.push({ code: 'E401', message: `--state names output "${output}", which the model does not have` });
}

/** The graph's outputs, then taps. */
function collectOutputs(
  entry: EntryGraph,
  scope: Scope,
  context: ImportContext,
  names: string[],
  skip: ReadonlySet<string>,
): readonly Value[] {
  const { graph } = entry;
  const results: Value[] = [];
  for (const o of graph.outputs) {
    if (skip.has(o.name)) continue;
    const v = lookup(o.name, scope, context);
    if (v) {
      for (const [name, tensor] of namedTensors(entry.outputs.get(o.name) ?? o.name, v)) {
        names.push(name);
        results.push(tensor);
      }
    } else if (context.problems.length === 0)
      context.problems.push({
        code: 'E206',
        message: `output "${o.name}" is never computed`,
        at: { file: context.model.file },
      });
  }
  const taps = context.options.taps ?? [];
  for (const [name, v] of scope.values) {
    if (!v?.node || v.node.kind === 'const' || (taps !== 'all' && !taps.includes(name)) || results.includes(v))
      continue;
    names.push(graph.values.get(name)?.label ?? name);
    results.push(v);
  }
  return results;
}

function inputType(v: SourceValue, context: ImportContext, symbols: Map<string, Dim>): TensorType {
  const { options, b, problems } = context;
  const bad = (message: string, hint?: string): TensorType => {
    problems.push({ code: 'E202', message: `input "${v.name}" ${message}`, at: { file: context.model.file }, hint });
    return { dtype: 'f32', shape: [] };
  };
  if (v.type.kind !== 'tensor') return bad(`is a ${v.type.kind}, and its elements are not known`);
  const given = options.shapes?.[v.name];
  const shape = v.type.shape ?? given?.map(() => null);
  if (!shape) return bad('has no shape in the file', 'Give one with --shape');
  const dims = shape.map((d, k): Dim => {
    if (typeof d === 'number') return d;
    const name = d ?? `${v.label ?? v.name}_${k}`;
    const known = symbols.get(name);
    if (known !== undefined) return known;
    const range = options.dims?.[name] ?? options.defaultDim ?? { lo: 1, hi: Number.POSITIVE_INFINITY };
    const dim = typeof range === 'number' ? range : symDim(makeSym(b, name, range));
    symbols.set(name, dim);
    return dim;
  });
  return { dtype: v.type.dtype, shape: dims };
}

const makeSym = (b: Builder, name: string, range: { lo: number; hi: number }): Sym =>
  b.freshSym(name.replace(/\W+/g, '_').replace(/^(\d)/, 'd$1') || 'n', range.lo, range.hi);

/** A value by name: computed, constant or variable; undefined where its node failed. */
export function lookup(name: string, scope: Scope, context: ImportContext): Value | undefined {
  for (let at: Scope | null = scope; at; at = at.outer) {
    if (at.values.has(name)) return at.values.get(name);
    const made = constantOrState(name, at.graph, context);
    if (!made) continue;
    scope.values.set(name, made);
    return made;
  }
  return undefined;
}

/** An initializer or a variable of one graph, built in the current region. */
function constantOrState(name: string, graph: SourceGraph, context: ImportContext): Value | undefined {
  const { b } = context;
  const constant = graph.initializers.get(name);
  if (constant) return b.named(b.lazyConstant(constant), graph.values.get(name)?.label ?? name);
  const state = context.stateName(graph, name);
  if (!state) return undefined;
  const source = graph.values.get(name) as SourceValue;
  return declareState(state, inputType(source, context, new Map()), b, source.quant);
}

function importNodes(scope: Scope, context: ImportContext, prefix: readonly string[]): void {
  const { graph } = scope;
  for (const v of graph.values.values()) if (v.quant) context.quants.set(v.name, v.quant);
  for (const v of [...graph.inputs, ...graph.outputs]) if (v.quant) context.quants.set(v.name, v.quant);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => (name ? lookup(name, scope, context) : undefined));
    importNode(node, inputs, scope, context, prefix);
  }
}
