// When the values of a region are made and last read, by the position at which their nodes are lowered: a group of nodes
// is lowered where its last one stands. What placing values in memory is decided by, before there are steps.

import { type Node, type Region, regionsOf, type Value } from '../../ir/tensor.js';
import type { AttentionGroups } from './attention-groups.js';
import type { NearCopies } from './near-copies.js';
import type { RowGroups } from './row-groups.js';

export interface Groups {
  readonly rows: RowGroups;
  readonly attention: AttentionGroups;
  readonly near: NearCopies | null;
}

export interface Order {
  /** Where a node is lowered. */
  readonly at: (n: Node) => number;
  /** Where a value is last read, through views; infinite where it leaves the region. */
  readonly last: (v: Value) => number;
  /** Whether a node of the region keeps its result to its group. */
  readonly isInner: (n: Node) => boolean;
}

export function orderOf(region: Region, groups: Groups): Order {
  const at = new Map(region.nodes.map((n, k): [Node, number] => [n, k]));
  const inner = new Set<Node>();
  const join = (key: Node, members: readonly Node[], outputs: ReadonlySet<Node>): void => {
    for (const m of members) {
      at.set(m, at.get(key) as number);
      if (m !== key && !outputs.has(m)) inner.add(m);
    }
  };
  for (const [key, g] of groups.rows.groups) join(key, g.members, g.outputs);
  for (const [key, g] of groups.near?.groups ?? []) join(key, [g.copy], new Set());
  for (const [key, g] of groups.attention.groups) join(key, [g.scores, ...g.chain.members], new Set());
  const position = (n: Node): number => at.get(n) ?? Number.POSITIVE_INFINITY;
  const last = lastReads(region, position);
  return { at: position, last: (v) => last.get(v) ?? -1, isInner: (n) => inner.has(n) };
}

function lastReads(region: Region, at: (n: Node) => number): ReadonlyMap<Value, number> {
  const last = new Map<Value, number>();
  const read = (v: Value, when: number): void => {
    if ((last.get(v) ?? -1) < when) last.set(v, when);
  };
  for (const v of region.results) read(v, Number.POSITIVE_INFINITY);
  const within = (r: Region, when: number): void => {
    for (const v of r.results) read(v, when);
    for (const n of r.nodes) {
      for (const v of n.inputs) read(v, when);
      for (const inside of regionsOf(n)) within(inside, when);
    }
  };
  for (const n of region.nodes) for (const inside of regionsOf(n)) within(inside, at(n));
  // Views are read when their own readers are: backwards, so that those are known.
  for (const n of [...region.nodes].reverse()) {
    const when = n.kind === 'view' ? (last.get(n.outputs[0] as Value) ?? -1) : at(n);
    for (const v of n.inputs) read(v, when);
  }
  return last;
}
