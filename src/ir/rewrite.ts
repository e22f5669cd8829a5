// Rebuilding regions: a pass gives a function that may replace a node; everything that depends on a replaced value
// is rebuilt, everything else is shared with the input. Symbols stay; a replaced node hands on its binds.

import type { Sym } from './dim.js';
import type { Origin } from './program.js';
import {
  regionsOf,
  type Bind,
  makeNode,
  type Module,
  type Node,
  type Payload,
  type Region,
  type TensorType,
  type Value,
} from './tensor.js';

export interface Rewriter {
  /** Adds a node before the one being looked at. */
  emit(
    payload: Payload,
    inputs: readonly Value[],
    types: readonly TensorType[],
    origin: Origin,
    binds?: readonly Bind[],
  ): readonly Value[];
}

/** Sees a node whose inputs are already mapped (and the node as it was); returns its outputs' replacements, or undefined to keep it. */
export type Replace = (node: Node, w: Rewriter, original: Node) => readonly Value[] | undefined;

export interface RewriteRules {
  readonly node?: Replace;
  /** Last chance to change a region's results (mapped). */
  readonly results?: (results: readonly Value[], w: Rewriter, depth: number) => readonly Value[];
}

export function rewriteModule(m: Module, rules: RewriteRules): Module {
  return { ...m, entries: m.entries.map((e) => ({ ...e, body: rewriteRegion(e.body, rules, new Map(), 0) })) };
}

export function rewriteRegion(
  region: Region,
  rules: RewriteRules,
  outer: ReadonlyMap<Value, Value>,
  depth: number,
): Region {
  const env = new Map(outer);
  const nodes: Node[] = [];
  const w: Rewriter = {
    emit(payload, inputs, types, origin, binds = []) {
      const n = makeNode(payload, inputs, types, origin, binds);
      nodes.push(n);
      return n.outputs;
    },
  };
  for (const node of region.nodes) {
    const mapped = mapNode(node, env, rules, depth);
    const replaced = rules.node?.(mapped, w, node);
    if (!replaced) nodes.push(mapped);
    const outputs = replaced ?? mapped.outputs;
    node.outputs.forEach((v, k) => {
      const to = outputs[k];
      if (to && to !== v) {
        env.set(v, to);
        if (v.name !== undefined && to.name === undefined && to.node) Object.assign(to, { name: v.name });
      }
    });
  }
  const mappedResults = region.results.map((v) => env.get(v) ?? v);
  const results = rules.results?.(mappedResults, w, depth) ?? mappedResults;
  return { params: region.params, nodes, results };
}

/** The node with inputs and nested regions mapped; itself where nothing changed. */
function mapNode(node: Node, env: ReadonlyMap<Value, Value>, rules: RewriteRules, depth: number): Node {
  const inputs = node.inputs.map((v) => env.get(v) ?? v);
  const regions = mapRegions(node, env, rules, depth);
  if (!regions && inputs.every((v, k) => v === node.inputs[k])) return node;
  const payload = { ...node, ...regions } as Payload;
  return makeNode(
    payload,
    inputs,
    node.outputs.map((v) => v.type),
    node.origin,
    node.binds,
    node.outputs.map((v) => v.name),
  );
}

function mapRegions(
  node: Node,
  env: ReadonlyMap<Value, Value>,
  rules: RewriteRules,
  depth: number,
): Partial<Record<'body' | 'test' | 'then' | 'else', Region>> | null {
  const go = (r: Region): Region => rewriteRegion(r, rules, env, depth + 1);
  switch (node.kind) {
    case 'scan':
      return { body: go(node.body) };
    case 'while':
      return { test: go(node.test), body: go(node.body) };
    case 'if':
      return { then: go(node.then), else: go(node.else) };
    default:
      return null;
  }
}

/** Every node of a module, nested ones included, in order. */
export function visitNodes(region: Region, f: (n: Node, region: Region) => void): void {
  for (const n of region.nodes) {
    f(n, region);
    for (const inside of regionsOf(n)) visitNodes(inside, f);
  }
}

/** Symbols defined inside a module, by the node that binds them. */
export function bindingNodes(m: Module): Map<Sym, Node> {
  const out = new Map<Sym, Node>();
  for (const e of m.entries)
    visitNodes(e.body, (n) => {
      for (const b of n.binds) out.set(b.sym, n);
    });
  return out;
}

/** What reads each value, as often as it does, in these regions and those inside; null where it leaves one. */
export function readersIn(regions: Iterable<Region>): ReadonlyMap<Value, readonly (Node | null)[]> {
  const readers = new Map<Value, (Node | null)[]>();
  const add = (v: Value, by: Node | null): void => {
    const known = readers.get(v);
    if (known) known.push(by);
    else readers.set(v, [by]);
  };
  const within = (r: Region): void => {
    for (const v of r.results) add(v, null);
    for (const n of r.nodes) {
      for (const v of n.inputs) add(v, n);
      regionsOf(n).forEach(within);
    }
  };
  for (const r of regions) within(r);
  return readers;
}

/** How often each value is an operand or leaves a region, nested ones included. */
export const countUses = (m: Module): ReadonlyMap<Value, number> =>
  new Map([...readersOf(m)].map(([v, readers]) => [v, readers.length]));

export const readersOf = (m: Module): ReturnType<typeof readersIn> => readersIn(m.entries.map((entry) => entry.body));
