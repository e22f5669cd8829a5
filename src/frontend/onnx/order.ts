// Puts nodes into execution order. Files are required to be sorted and mostly are, so sorted input comes back unchanged;
// otherwise the earliest ready node goes next, which keeps the file's order where it can. A cycle is reported by its nodes.

import { CompileError } from '../../support/errors.js';

export interface OrderedItem {
  readonly name: string;
  readonly op: string;
  readonly outputs: readonly string[];
  /** Everything the node needs from this graph, captures of its subgraphs included. */
  readonly reads: ReadonlySet<string>;
}

/** Sorted by dependency. Names that no item outputs are taken as given. Throws E206 for a cycle. */
export function sortNodes<T extends OrderedItem>(items: readonly T[], file: string): readonly T[] {
  const producer = new Map<string, number>();
  for (const [i, item] of items.entries()) for (const name of item.outputs) producer.set(name, i);
  const needs = items.map((item) => producersOf(item, producer));
  if (needs.every((list, i) => list.every((j) => j < i))) return items;

  const users: number[][] = items.map(() => []);
  for (const [i, list] of needs.entries()) for (const j of list) users[j]?.push(i);
  const waiting = needs.map((list) => list.length);
  const ready = new MinHeap();
  for (const [i, count] of waiting.entries()) if (count === 0) ready.push(i);
  const order: number[] = [];
  for (let i = ready.pop(); i !== undefined; i = ready.pop()) {
    order.push(i);
    for (const user of users[i] ?? []) {
      const left = (waiting[user] ?? 0) - 1;
      waiting[user] = left;
      if (left === 0) ready.push(user);
    }
  }
  if (order.length < items.length) throw cycleError(items, needs, new Set(order), file);
  return order.map((i) => items[i] as T);
}

const producersOf = (item: OrderedItem, producer: ReadonlyMap<string, number>): number[] => [
  ...new Set([...item.reads].map((name) => producer.get(name)).filter((i) => i !== undefined)),
];

/** Follows unmet needs from any stuck node until one repeats. */
function cycleError(
  items: readonly OrderedItem[],
  needs: readonly (readonly number[])[],
  done: ReadonlySet<number>,
  file: string,
): CompileError {
  const trail: number[] = [];
  const seen = new Map<number, number>();
  let at = items.findIndex((_, i) => !done.has(i));
  while (!seen.has(at)) {
    seen.set(at, trail.length);
    trail.push(at);
    at = needs[at]?.find((i) => !done.has(i)) ?? at;
  }
  const cycle = [...trail.slice(seen.get(at)), at].map((i) => `"${items[i]?.name ?? ''}"`).reverse();
  const shown = cycle.length > 8 ? [...cycle.slice(0, 7), '…', cycle[0]] : cycle;
  const first = items[at];
  return new CompileError('E206', `the graph has a cycle: ${shown.join(' → ')}`, {
    at: { file, node: first?.name, op: first?.op },
  });
}

/** Smallest index first. */
class MinHeap {
  private readonly items: number[] = [];

  push(value: number): void {
    const { items } = this;
    let i = items.push(value) - 1;
    for (let up = (i - 1) >> 1; i > 0 && this.at(up) > value; up = (i - 1) >> 1) {
      items[i] = this.at(up);
      i = up;
    }
    items[i] = value;
  }

  pop(): number | undefined {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    let i = 0;
    for (let child = 1; child < items.length; child = 2 * i + 1) {
      if (this.at(child + 1) < this.at(child)) child++;
      if (this.at(child) >= last) break;
      items[i] = this.at(child);
      i = child;
    }
    items[i] = last;
    return top;
  }

  private at(i: number): number {
    return this.items[i] ?? Number.POSITIVE_INFINITY;
  }
}
