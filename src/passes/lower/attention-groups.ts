// Finds a contraction, a chain over its rows and a contraction of what the chain makes over the same axis: attention, by
// whatever operators and scales, masks or biases it is written. Such a group need never hold all rows at once: lowering is in
// attention.ts. Found by shapes and index maps alone, on top of row-groups.ts; nobody else may read what lies between.

import { bounds, type Dim, dimEq } from '../../ir/dim.js';
import { mentions } from '../../ir/affine.js';
import { type LoadExpr, visitExpr } from '../../ir/scalar.js';
import type { Node, Region, Value } from '../../ir/tensor.js';
import { throughViews } from '../through-views.js';
import {
  type Generic,
  isOwn,
  isPlain,
  readersOf,
  readsOf,
  type RowGroup,
  type RowGroups,
  sourceOf,
} from './row-groups.js';

export interface AttentionGroup {
  /** Fills the rows the chain starts from. */
  readonly scores: Generic;
  readonly chain: RowGroup;
  /** Takes the chain's result apart along its columns. */
  readonly sum: Generic;
  /** The row axis that neither contraction's other operand walks: several rows of it share what they read. */
  readonly queries: number;
  /** For each axis of the rows, the axis of `sum` that it is; null for an axis of one element. */
  readonly axes: readonly (number | null)[];
}

/** By the node that takes the group's place, and every other node of a group. */
export interface AttentionGroups {
  readonly groups: ReadonlyMap<Node, AttentionGroup>;
  readonly absorbed: ReadonlySet<Node>;
}

/** `block`: as many rows as are worth computing side by side; shorter ones stay as they are. */
export function findAttention(region: Region, { groups: chains }: RowGroups, block: number): AttentionGroups {
  const groups = new Map<Node, AttentionGroup>();
  const absorbed = new Set<Node>();
  if (block === 0 || chains.size === 0) return { groups, absorbed };
  const readers = readersOf(region);
  for (const node of region.nodes) {
    const found = isPlain(node) && node.reducer !== null ? describe(node, chains, readers, block) : null;
    if (!found || [found.scores, ...found.chain.members].some((m) => absorbed.has(m))) continue;
    groups.set(node, found);
    for (const m of [found.scores, ...found.chain.members]) absorbed.add(m);
  }
  return { groups, absorbed };
}

type Readers = ReturnType<typeof readersOf>;

function describe(
  sum: Generic,
  chains: ReadonlyMap<Node, RowGroup>,
  readers: Readers,
  block: number,
): AttentionGroup | null {
  for (const v of new Set(sum.inputs)) {
    const last = sourceOf(v).producer;
    const chain = last && chains.get(last);
    if (!last || !chain || chain.outputs.size !== 1 || ![...readers(last)].every((r) => r === sum)) continue;
    const scores = scoresOf(chain, readers);
    const axes = scores && axesOf(sum, last, chain.rows);
    const queries = axes && scores ? queryAxis(scores, sum, chain, axes, block) : null;
    if (scores && axes && queries !== null) return { scores, chain, sum, queries, axes };
  }
  return null;
}

/** The one reduction with a value for each column that the chain reads, and nobody else. */
function scoresOf({ members, rows }: RowGroup, readers: Readers): Generic | null {
  const inside = new Set<Node>(members);
  const width = widthOf(members);
  const sources = members.flatMap((m) => m.inputs.flatMap((v) => sourceOf(v).producer ?? []));
  const found = new Set(sources.filter((p) => !inside.has(p) && isPlain(p) && p.reducer !== null));
  for (const p of found) {
    const { shape } = p;
    const fits = shape.length === rows.length + 1 && [...rows, width].every((d, k) => dimEq(d, shape[k] as Dim));
    const isPrivate = [...readers(p)].every((r) => typeof r !== 'string' && inside.has(r));
    const own = (m: Generic): boolean =>
      readsOf(m, p).every((index) => index?.slice(0, rows.length).every((x, k) => isOwn(x, k, rows)) ?? false);
    if (fits && isPrivate && members.every(own)) return p;
  }
  return null;
}

/** A chain ends in a row. */
const widthOf = (members: readonly Generic[]): Dim => (members[members.length - 1] as Generic).shape.at(-1) as Dim;

/** Where each row axis is among the axes of `sum`, if it reads rows at its own position and sums over their columns. */
function axesOf(sum: Generic, last: Generic, rows: readonly Dim[]): readonly (number | null)[] | null {
  const reads = readsOf(sum, last);
  const width = last.shape.at(-1) as Dim;
  if (sum.reduce.length !== 1 || !dimEq(sum.reduce[0] as Dim, width)) return null;
  const maps = reads.map((index) => {
    const column = index?.at(-1);
    if (!index || column?.k !== 'var' || column.name !== 'r0') return null;
    const axes = rows.map((d, k): number | null | undefined => {
      const x = index[k];
      const axis = x?.k === 'var' ? sum.shape.findIndex((_, j) => x.name === `i${j}`) : -1;
      if (axis >= 0) return dimEq(sum.shape[axis] as Dim, d) ? axis : undefined;
      return x?.k === 'const' && d === 1 ? null : undefined;
    });
    return axes.includes(undefined) ? null : (axes as (number | null)[]);
  });
  const [axes] = maps;
  const isSame = maps.every((m) => m?.join() === axes?.join());
  const taken = axes?.filter((a) => a !== null) ?? [];
  return axes && isSame && new Set(taken).size === taken.length ? axes : null;
}

/** The last row axis of more than one element, where it is long enough and both contractions have an operand that ignores it. */
function queryAxis(
  scores: Generic,
  sum: Generic,
  { rows }: RowGroup,
  axes: readonly (number | null)[],
  block: number,
): number | null {
  const queries = rows.reduce((found: number, d, k) => (d === 1 ? found : k), -1);
  const axis = axes[queries];
  if (queries < 0 || axis === undefined || axis === null) return null;
  if (bounds(rows[queries] as Dim)[1] < block) return null;
  return hasOperandWithout(scores, queries, rows.length) && hasOperandWithout(sum, axis, null) ? queries : null;
}

/** Whether a product's term reads something along its sum that ignores an axis (and walks another). */
function hasOperandWithout(n: Generic, axis: number, walked: number | null): boolean {
  if (n.reducer !== 'add' || n.body.k !== 'op' || n.body.op !== 'mul') return false;
  let found = false;
  visitExpr(n.body, (x) => {
    if (x.k !== 'load') return;
    const index = indexBehind(n.inputs[x.src] as Value, x);
    const walks = (name: string): boolean => index.some((y) => mentions(y, name));
    found ||= !walks(`i${axis}`) && (walked === null || walks(`i${walked}`)) && n.reduce.some((_, k) => walks(`r${k}`));
  });
  return found;
}

const indexBehind = (v: Value, x: LoadExpr): LoadExpr['index'] => throughViews(x.index, sourceOf(v).views) ?? x.index;
