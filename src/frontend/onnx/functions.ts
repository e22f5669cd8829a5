// Local functions are inlined as the graph is read: each node of a body comes out as a node of the caller's graph, its values
// renamed to `<call>/<name>`, its provenance in `path`. The importer never sees a call. A function that reaches itself is E206.

import { CompileError, type ErrorPlace } from '../../support/errors.js';
import { bindAttributes } from './attributes.js';
import {
  type BoundAttribute,
  functionKey,
  MAX_NESTING,
  normalizeDomain,
  type ReadContext,
  readOpsets,
  type Scope,
} from './scope.js';
import type { FunctionProto, NodeProto } from './wire.js';

/** A node and the scope it was written in; its name, made up if it has none. */
export interface PlacedNode {
  readonly proto: NodeProto;
  readonly scope: Scope;
  readonly name: string;
}

const MAX_PREFIX = 200;

/** The nodes of a graph or body, with calls to local functions replaced by their bodies. */
export function* expandNodes(nodes: readonly NodeProto[], scope: Scope, context: ReadContext): Generator<PlacedNode> {
  for (const [i, proto] of nodes.entries()) {
    const name = scope.prefix + (proto.name || `${proto.op_type ?? ''}_${i}`);
    const parts = (proto.input?.length ?? 0) + (proto.output?.length ?? 0) + (proto.attribute?.length ?? 0);
    if (context.functions.size > 0) context.budget.spend(64 + 8 * parts, name);
    const key = functionKey(proto.domain ?? '', proto.op_type ?? '', proto.overload ?? '');
    const callee = context.functions.get(key);
    if (!callee) yield { proto, scope, name };
    else yield* expandCall(callee, key, { proto, scope, name }, context);
  }
}

function* expandCall(
  callee: FunctionProto,
  key: string,
  call: PlacedNode,
  context: ReadContext,
): Generator<PlacedNode> {
  const at: ErrorPlace = { file: context.file, node: call.name, op: call.proto.op_type ?? '' };
  const { inner, copies } = enterFunction(callee, key, call, context, at);
  yield* expandNodes(callee.node ?? [], inner, context);
  // An output that is also an input has no node of its own; the caller's name for it needs one.
  for (const [i, copy] of copies.entries()) {
    const proto = { op_type: 'Identity', domain: '', input: [copy.from], output: [copy.to], name: '', attribute: [] };
    const scope = { ...inner, rename: (name: string) => name };
    yield { proto, scope, name: `${inner.prefix}output_${i}` };
  }
}

/** Opens the scope of a body: formals bound to the call's values, fresh names for the rest. */
function enterFunction(
  callee: FunctionProto,
  key: string,
  call: PlacedNode,
  context: ReadContext,
  at: ErrorPlace,
): { inner: Scope; copies: { from: string; to: string }[] } {
  const { proto, scope } = call;
  if (scope.calls.includes(key)) {
    throw new CompileError('E206', `a function calls itself: ${[...scope.calls, key].join(' → ')}`, { at });
  }
  if (scope.path.length >= MAX_NESTING) throw new CompileError('E105', `nesting is deeper than ${MAX_NESTING}`, { at });
  const lists = [callee.input, callee.output, callee.opset_import, callee.attribute_proto];
  context.budget.spend(8 * (lists.reduce((n, list) => n + (list?.length ?? 0), 0) + scope.opsets.size), call.name);
  const { bound, copies } = bindFormals(callee, call, at);
  const prefix = choosePrefix(call, context);
  const inner: Scope = {
    rename: freshNames(bound, prefix, context),
    prefix,
    opsets: new Map([...scope.opsets, ...readOpsets(callee.opset_import)]),
    path: [...scope.path, proto.name ? `${proto.name}:${proto.op_type ?? ''}` : (proto.op_type ?? '')],
    attributes: passAttributes(callee, call, at),
    calls: [...scope.calls, key],
  };
  return { inner, copies: copies.map((copy) => ({ from: inner.rename(copy.formal), to: copy.actual })) };
}

/** Formal name → the caller's name. Missing trailing inputs are absent (''); missing outputs stay local. */
function bindFormals(callee: FunctionProto, { proto, scope }: PlacedNode, at: ErrorPlace) {
  const formals = callee.input ?? [];
  const results = callee.output ?? [];
  const given = proto.input ?? [];
  if (given.length > formals.length || (proto.output?.length ?? 0) > results.length) {
    throw new CompileError('E206', `the call has more inputs or outputs than function "${callee.name ?? ''}"`, { at });
  }
  const bound = new Map<string, string>();
  formals.forEach((formal, i) => {
    const actual = given[i] ?? '';
    bound.set(formal, actual === '' ? '' : scope.rename(actual));
  });
  const copies: { formal: string; actual: string }[] = [];
  results.forEach((formal, i) => {
    const actual = proto.output?.[i] ?? '';
    if (actual === '') return;
    if (bound.has(formal)) copies.push({ formal, actual: scope.rename(actual) });
    else bound.set(formal, scope.rename(actual));
  });
  return { bound, copies };
}

function choosePrefix({ name }: PlacedNode, context: ReadContext): string {
  const base = name.length > MAX_PREFIX ? `fn${context.names.size}` : name;
  return `${base}/`;
}

/** One new name for each local name, unlike any in the file or made before. */
function freshNames(
  bound: ReadonlyMap<string, string>,
  prefix: string,
  context: ReadContext,
): (name: string) => string {
  const names = new Map(bound);
  return (name) => {
    if (name === '') return '';
    const known = names.get(name);
    if (known !== undefined) return known;
    let fresh = prefix + name;
    for (let i = 2; context.names.has(fresh); i++) fresh = `${prefix}${name}#${i}`;
    context.budget.spend(fresh.length, prefix);
    context.names.add(fresh);
    names.set(name, fresh);
    return fresh;
  };
}

/** What the caller set, over the function's defaults. */
function passAttributes(callee: FunctionProto, call: PlacedNode, at: ErrorPlace): Map<string, BoundAttribute> {
  const passed = new Map<string, BoundAttribute>();
  for (const proto of callee.attribute_proto ?? []) passed.set(proto.name ?? '', { proto, scope: call.scope });
  for (const [name, bound] of bindAttributes(call.proto.attribute ?? [], call.scope, at)) passed.set(name, bound);
  return passed;
}

/** The file's functions by key. Throws E206 for two of one key. */
export function indexFunctions(functions: readonly FunctionProto[], file: string): Map<string, FunctionProto> {
  const index = new Map<string, FunctionProto>();
  for (const fn of functions) {
    const key = functionKey(normalizeDomain(fn.domain), fn.name ?? '', fn.overload ?? '');
    if (index.has(key)) throw new CompileError('E206', `function ${key} is defined twice`, { at: { file } });
    index.set(key, fn);
  }
  return index;
}
