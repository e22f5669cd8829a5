// State that is read where it is kept: as long as nobody writes a state, its contents need no copy of their own.

import { type Node, type Region, regionsOf, type Value } from '../../ir/tensor.js';
import type { Order } from './order.js';

/** Reads whose values are last needed before the state is written again. */
export function readsInPlace(region: Region, order: Order): ReadonlySet<Node> {
  const writes = new Map<string, number[]>();
  const note = (nodes: readonly Node[], at: (n: Node) => number): void => {
    for (const n of nodes) {
      if (n.kind === 'state_write') writes.set(n.state, [...(writes.get(n.state) ?? []), at(n)]);
      for (const inside of regionsOf(n)) note(inside.nodes, () => at(n));
    }
  };
  note(region.nodes, order.at);
  return new Set(
    region.nodes.filter((n) => {
      if (n.kind !== 'state_read') return false;
      const [first, last] = [order.at(n), order.last(n.outputs[0] as Value)];
      return !(writes.get(n.state) ?? []).some((at) => first < at && at <= last);
    }),
  );
}
