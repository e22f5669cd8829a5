// GraphProto → SourceGraph: constants, nodes with functions inlined and attributes resolved, subgraphs, execution order.
// Every value has one definition and every read has one somewhere; a subgraph's undefined names are reads of its node.

import { CompileError, type ErrorPlace } from '../../support/errors.js';
import type { AttrValue, LazyTensor, SourceGraph, SourceNode, SourceValue } from '../source.js';
import { bindAttributes, readAttribute } from './attributes.js';
import { expandNodes, type PlacedNode } from './functions.js';
import { type OrderedItem, sortNodes } from './order.js';
import { MAX_NESTING, normalizeDomain, opsetOf, type ReadContext, type Scope } from './scope.js';
import { readSparseTensor, readTensor } from './tensor-data.js';
import { readValueInfo } from './value-type.js';
import type { GraphProto, ValueInfoProto } from './wire.js';

/** A name that a graph reads but does not define, and the first node that reads it. */
type FreeNames = Map<string, ErrorPlace>;

interface BuiltGraph {
  readonly graph: SourceGraph;
  readonly free: FreeNames;
}

interface BuiltNode extends OrderedItem {
  readonly node: Omit<SourceNode, 'index'>;
  readonly free: FreeNames;
}

/** The main graph. Throws E206 if it reads a value that nothing defines. */
export function readMainGraph(proto: GraphProto, scope: Scope, context: ReadContext): SourceGraph {
  const { graph, free } = buildGraph(proto, scope, context);
  const [missing] = free;
  if (missing) {
    const [name, at] = missing;
    throw new CompileError('E206', `value "${name}" is read but nothing defines it`, { at });
  }
  return graph;
}

function buildGraph(proto: GraphProto, scope: Scope, context: ReadContext): BuiltGraph {
  const { file } = context;
  const defined = new Set<string>();
  const define = (name: string, at: ErrorPlace): void => {
    if (defined.has(name)) throw new CompileError('E206', `value "${name}" is defined twice`, { at });
    defined.add(name);
  };
  const initializers = readInitializers(proto, scope, context, define);
  // Before IR version 4 every initializer is also an input; here it is a constant and not an input.
  const inputs = readValues(proto.input ?? [], scope, file).filter((value) => !initializers.has(value.name));
  for (const value of inputs) define(value.name, { file });
  const outputs = readValues(proto.output ?? [], scope, file);
  const values = new Map(readValues(proto.value_info ?? [], scope, file).map((value) => [value.name, value]));

  const built: BuiltNode[] = [];
  for (const placed of expandNodes(proto.node ?? [], scope, context)) {
    const node = buildNode(placed, context);
    for (const name of node.outputs) define(name, placeOf(placed, file));
    built.push(node);
  }
  const nodes = sortNodes(built, file).map(({ node }, index) => ({ ...node, index }));
  const free = freeNames(built, outputs, defined, file);
  return { graph: { name: proto.name ?? '', inputs, outputs, nodes, initializers, values }, free };
}

const placeOf = (placed: PlacedNode, file: string): ErrorPlace => ({
  file,
  node: placed.name,
  op: placed.proto.op_type ?? '',
});

function readValues(infos: readonly ValueInfoProto[], scope: Scope, file: string): SourceValue[] {
  return infos.map((info) => {
    if (!info.name)
      throw new CompileError('E206', 'an input, output or value of a graph has no name', { at: { file } });
    return readValueInfo(info, file, scope.rename(info.name));
  });
}

function readInitializers(
  proto: GraphProto,
  scope: Scope,
  context: ReadContext,
  define: (name: string, at: ErrorPlace) => void,
): Map<string, LazyTensor> {
  const found = new Map<string, LazyTensor>();
  const tensorContext = { ...context, place: {} };
  const add = (name: string | null | undefined, tensor: LazyTensor): void => {
    if (!name) throw new CompileError('E206', 'an initializer has no name', { at: { file: context.file } });
    define(scope.rename(name), { file: context.file });
    found.set(scope.rename(name), tensor);
  };
  for (const tensor of proto.initializer ?? []) add(tensor.name, readTensor(tensor, tensorContext));
  for (const sparse of proto.sparse_initializer ?? [])
    add(sparse.values?.name, readSparseTensor(sparse, tensorContext));
  return found;
}

function buildNode(placed: PlacedNode, context: ReadContext): BuiltNode {
  const { proto, scope, name } = placed;
  const at = placeOf(placed, context.file);
  const op = proto.op_type ?? '';
  if (op === '') throw new CompileError('E206', 'a node has no operator', { at });
  const domain = normalizeDomain(proto.domain);
  const inputs = (proto.input ?? []).map((value) => (value === '' ? '' : scope.rename(value)));
  const outputs = (proto.output ?? []).map((value) => (value === '' ? '' : scope.rename(value)));
  const free: FreeNames = new Map(inputs.filter(Boolean).map((value) => [value, at]));
  const attrs = readAttributes(placed, context, at, free);
  return {
    node: { op, domain, version: opsetOf(scope, domain, at), name, path: scope.path, inputs, outputs, attrs },
    name,
    op,
    outputs: outputs.filter(Boolean),
    reads: new Set(free.keys()),
    free,
  };
}

/** Attributes by name; what their subgraphs capture is added to `free`. */
function readAttributes(
  { proto, scope, name }: PlacedNode,
  context: ReadContext,
  at: ErrorPlace,
  free: FreeNames,
): Map<string, AttrValue> {
  const attrs = new Map<string, AttrValue>();
  const readSubgraph = (graph: GraphProto, owner: Scope, label: string): SourceGraph => {
    if (scope.path.length >= MAX_NESTING)
      throw new CompileError('E105', `nesting is deeper than ${MAX_NESTING}`, { at });
    const inner = { ...owner, path: [...scope.path, `${lastPart(name, scope)}.${label}`] };
    const built = buildGraph(graph, inner, context);
    for (const [captured, place] of built.free) if (!free.has(captured)) free.set(captured, place);
    return built.graph;
  };
  for (const [key, bound] of bindAttributes(proto.attribute ?? [], scope, at)) {
    attrs.set(key, readAttribute(key, bound, context, at, readSubgraph));
  }
  return attrs;
}

/** A path lists each level once, so an inlined node appears there without the prefix of its function. */
const lastPart = (name: string, scope: Scope): string => name.slice(scope.prefix.length);

function freeNames(
  nodes: readonly BuiltNode[],
  outputs: readonly SourceValue[],
  defined: ReadonlySet<string>,
  file: string,
): FreeNames {
  const free: FreeNames = new Map();
  const read = (name: string, at: ErrorPlace): void => {
    if (!defined.has(name) && !free.has(name)) free.set(name, at);
  };
  for (const node of nodes) for (const [name, at] of node.free) read(name, at);
  for (const output of outputs) read(output.name, { file, op: 'graph output' });
  return free;
}
