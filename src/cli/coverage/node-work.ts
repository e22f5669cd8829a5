// What each source node costs, by the primitives that came from it: how many, multiply-accumulates, bytes of weights and
// of its result. Sizes are the symbols' upper bounds; a weight counts for the first node that reads it.

import { bounds, type Dim, mul, product } from '../../ir/dim.js';
import type { Origin } from '../../ir/program.js';
import { type ConstData, type Module, type Node, type Region, regionsOf, type TensorType } from '../../ir/tensor.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { ownMacs } from '../count-work.js';

export interface NodeWork {
  /** Primitives that compute something. */
  readonly primitives: number;
  readonly macs: number;
  readonly weightBytes: number;
  readonly outputBytes: number;
}

export const NO_WORK: NodeWork = { primitives: 0, macs: 0, weightBytes: 0, outputBytes: 0 };

/** By `keyOf` the origin. Bodies of scans count once for each step, those of whiles once, branches both. */
export function workByNode(module: Module, keyOf: (o: Origin) => string): ReadonlyMap<string, NodeWork> {
  const work = new Map<string, NodeWork>();
  const counted = new Set<ConstData>();
  const visit = (region: Region, times: Dim): void => {
    for (const n of region.nodes) {
      for (const inner of regionsOf(n)) visit(inner, n.kind === 'scan' ? mul(times, n.count) : times);
      if (n.kind === 'const') continue;
      const key = keyOf(n.origin);
      const w = work.get(key) ?? NO_WORK;
      work.set(key, {
        primitives: w.primitives + (n.kind === 'view' || n.kind === 'dim' ? 0 : 1),
        macs: w.macs + most(mul(times, ownMacs(n))),
        weightBytes: w.weightBytes + newWeights(n, counted),
        outputBytes: n.outputs.reduce((sum, v) => sum + bytesOf(v.type), 0),
      });
    }
  };
  for (const entry of module.entries) visit(entry.body, 1);
  return work;
}

function newWeights(n: Node, counted: Set<ConstData>): number {
  let bytes = 0;
  for (const { node, type } of n.inputs) {
    if (node?.kind !== 'const' || counted.has(node.data)) continue;
    counted.add(node.data);
    bytes += bytesOf(type);
  }
  return bytes;
}

const bytesOf = (t: TensorType): number =>
  Math.ceil((most(product([...t.shape])) * (DTYPE_INFO[t.dtype].bits || 8)) / 8);

/** At the symbols' upper bounds; 0 where there is none. */
function most(d: Dim): number {
  const hi = bounds(d)[1];
  return Number.isFinite(hi) ? hi : 0;
}
