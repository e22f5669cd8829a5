// Which subgraphs an operator calls, checked: every index names a subgraph, and no subgraph calls itself, directly or
// through others. TFLite has no recursion; a file that pretends otherwise would make every later walk endless.

import { CompileError } from '../../support/errors.js';
import type { AttrValue, SourceGraph, SourceNode } from '../source.js';

/** Attributes that hold subgraph indices, by the schema's field names. */
const CALLS = [
  'subgraph',
  'then_subgraph_index',
  'else_subgraph_index',
  'cond_subgraph_index',
  'body_subgraph_index',
  'init_subgraph_index',
  'comparator_subgraph_index',
  'update_computation_subgraph_index',
  'decomposition_subgraph_index',
  'branch_subgraph_indices',
  'called_computations',
];

/** The subgraphs a builtin operator calls, in the order of its fields. */
export function calledGraphs(node: SourceNode): number[] {
  if (node.domain !== 'tflite') return [];
  return CALLS.flatMap((name) => indices(node.attrs.get(name)));
}

function indices(attr: AttrValue | undefined): number[] {
  if (attr?.kind === 'int') return [Number(attr.value)];
  return attr?.kind === 'ints' ? attr.value.map(Number) : [];
}

/** Throws E206 for a call to a subgraph that is not there, or for recursion. */
export function checkCalls(graphs: readonly SourceGraph[], file: string): void {
  const fail = (node: SourceNode, what: string) =>
    new CompileError('E206', what, { at: { file, op: node.op, operator: node.index, node: node.name } });
  const calls = graphs.map((graph) => graph.nodes.flatMap((node) => calledGraphs(node).map((to) => ({ node, to }))));
  const waiting = graphs.map(() => 0);
  for (const { node, to } of calls.flat()) {
    if (graphs[to] === undefined) throw fail(node, `subgraph ${to} is called; the file has ${graphs.length}`);
    waiting[to]! += 1;
  }
  // Kahn's algorithm: graphs nobody waits for are taken away until none is left, or only cycles are.
  const free = graphs.map((_, i) => i).filter((i) => waiting[i] === 0);
  for (let i = free.pop(); i !== undefined; i = free.pop()) {
    for (const { to } of calls[i]!) if (--waiting[to]! === 0) free.push(to);
  }
  const stuck = calls.findIndex((list, i) => waiting[i]! > 0 && list.some(({ to }) => waiting[to]! > 0));
  const call = calls[stuck]?.find(({ to }) => waiting[to]! > 0);
  if (call) throw fail(call.node, `subgraph ${stuck} calls itself by way of subgraph ${call.to}`);
}
