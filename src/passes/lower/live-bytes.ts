// What a region holds in memory at each step, before buffers have places: an estimate that says whether a value may live
// elsewhere or longer than it does. It counts tensors; scratch memory is left out on both sides.

import { product, upperBound } from '../../ir/dim.js';
import type { Node, Region, Value } from '../../ir/tensor.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import type { Order } from './order.js';

/** A stretch of steps, both ends included. */
export interface Stay {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

export interface LiveBytes {
  readonly stayOf: (v: Value) => Stay;
  /** Replaces some stays by others, unless a step would then hold more than the region's fullest one does now. */
  readonly replace: (old: readonly Stay[], next: readonly Stay[]) => boolean;
}

/** Nodes that take memory of their own for what they yield. */
const HOLDS = new Set<Node['kind']>(['generic', 'concat', 'scatter', 'scan', 'while', 'if', 'call', 'kernel', 'dim']);

export function liveBytes(region: Region, order: Order): LiveBytes {
  const steps = region.nodes.length;
  const live = new Float64Array(steps);
  const stayOf = (v: Value): Stay => {
    const n = v.node as Node;
    const last = order.last(v);
    const leaves = last === Number.POSITIVE_INFINITY; // it will be in the memory of a result
    const held = HOLDS.has(n.kind) && !order.isInner(n) && !leaves;
    return { bytes: held ? bytesOf(v) : 0, first: order.at(n), last: Math.min(steps - 1, Math.max(last, order.at(n))) };
  };
  const add = (to: Float64Array, { bytes, first, last }: Stay, sign: 1 | -1): void => {
    for (let t = first; t <= last; t++) to[t] = (to[t] as number) + sign * bytes;
  };
  for (const n of region.nodes) for (const v of n.outputs) add(live, stayOf(v), 1);
  const most = fullest(region, order, live, stayOf);
  return {
    stayOf,
    replace(old, next) {
      const changed = Float64Array.from(live);
      for (const s of old) add(changed, s, -1);
      for (const s of next) add(changed, s, 1);
      if (changed.some((bytes, t) => bytes > most && bytes > (live[t] as number))) return false;
      live.set(changed);
      return true;
    },
  };
}

/** What some step certainly holds: an elementwise result may have taken the place of an operand that dies there. */
function fullest(region: Region, order: Order, live: Float64Array, stayOf: (v: Value) => Stay): number {
  return region.nodes.reduce((most, n) => {
    const t = order.at(n);
    const made = n.outputs.reduce((sum, v) => sum + stayOf(v).bytes, 0);
    const mayShare = n.kind === 'generic' && n.reducer === null;
    return Math.max(most, (live[t] as number) - (mayShare ? made : 0));
  }, 0);
}

const bytesOf = (v: Value): number => upperBound(product(v.type.shape), v.name ?? '') * DTYPE_INFO[v.type.dtype].bytes;
