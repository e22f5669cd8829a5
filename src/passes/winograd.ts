// Convolutions with fewer products, in fast numerics, as they round differently: two neighbouring outputs come from four
// products instead of six for three taps, from three instead of four for two. winograd-taps.ts has the arithmetic,
// winograd-site.ts finds where it applies, winograd-nodes.ts writes it; here is when it pays.

import { mentions } from '../ir/affine.js';
import { bounds, ceildiv, type Dim, product } from '../ir/dim.js';
import { countUses, rewriteModule } from '../ir/rewrite.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';
import type { PassContext } from './pass.js';
import { emitNodes, extentsOf } from './winograd-nodes.js';
import { findSites, type Site } from './winograd-site.js';
import { chainsOf, type Plan, planTaps, productsOf, sumsOf } from './winograd-taps.js';

/** From where fewer products outweigh more sums, more code and more memory. */
export interface Worth {
  /** Outputs that share an input, terms of a sum, and outputs that share a tap: sums of taps are made on each run. */
  readonly reuse: number;
  readonly depth: number;
  readonly places: number;
  /** Elements of the axis that vectors run along. */
  readonly width: number;
  /** Products of the whole as it was. */
  readonly work: number;
  /** Share of them that must go. */
  readonly saved: number;
  /**
   * Elements of the sums for each term of one, at most: what is added up later travels through caches. Measured: the
   * 4·10⁵ of 64 channels of 56 × 56 gain a third, the 6·10⁶ of 224 × 224 nothing.
   */
  readonly sums: number;
}

const WORTH: Worth = { reuse: 16, depth: 48, places: 160, width: 8, work: 1 << 20, saved: 1 / 7, sums: 1 << 12 };

/** Lanes of long vectors, and what share of them a row of the map fills at least where they are best along it. */
const LONG = 8;
const FILLED = 0.9;

type Generic = NodeOf<'generic'>;

export function winograd(m: Module, c: PassContext, worth: Worth = WORTH): Module {
  if (c.numerics !== 'fast') return m;
  const reads = countUses(m);
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind !== 'generic' || node.reducer !== 'add' || node.binds.length > 0) return undefined;
      for (const site of findSites(node)) {
        const plan = planOf(site, node, worth);
        const extents = plan && extentsOf(node, site);
        const isOwn = reads.get(original.inputs[site.filter.src] as Value) === 1;
        const outputsLast = !fillsVectors(node, site, c.vectors?.lanes ?? 0);
        if (plan && extents) return emitNodes(node, site, plan, extents, { isOwn, outputsLast }, w);
      }
      return undefined;
    },
  });
}

/** Whether vectors run along a row of the map: where long ones would be partly idle, outputs are the better axis. */
function fillsVectors(n: Generic, site: Site, lanes: number): boolean {
  const width = bounds(pairsAlong(n, site).at(-1) as Dim)[1];
  return lanes < LONG || width / (Math.ceil(width / lanes) * lanes) >= FILLED;
}

/** The outputs of a sum: pairs of them along one axis. */
const pairsAlong = (n: Generic, { along }: Site): readonly Dim[] =>
  n.shape.map((d, k) => (k === along ? ceildiv(d, 2) : d));

/** Null where nothing is gained. Open sizes are taken at their largest. */
function planOf(site: Site, n: Generic, worth: Worth): Plan | null {
  const { data, filter, along, taps, stride } = site;
  const count = n.reduce[taps];
  if (typeof count !== 'number') return null;
  const plan = planTaps(count, stride);
  const most = (sizes: readonly Dim[]): number => bounds(product(sizes))[1];
  const size = most([n.shape[along] as Dim]);
  const products = productsOf(plan) * Math.ceil(size / 2);
  if (products > (1 - worth.saved) * count * size) return null;
  const reuse = most(n.shape.filter((_, k) => !mentions(data, `i${k}`)));
  const places = most(n.shape.filter((_, k) => !filter.index.some((x) => mentions(x, `i${k}`))));
  const depth = most(n.reduce.filter((_, k) => k !== taps)) * chainsOf(plan, 1);
  const shape = pairsAlong(n, site);
  const width = most(shape.slice(-1));
  const work = most(n.shape) * most(n.reduce);
  const sums = most(shape) * sumsOf(plan).length;
  const isSmall = reuse < worth.reuse || depth < worth.depth || places < worth.places || width < worth.width;
  return isSmall || work < worth.work || sums > worth.sums * depth ? null : plan;
}
