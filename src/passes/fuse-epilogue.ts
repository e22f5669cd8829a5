// An elementwise consumer of a reduction becomes its epilogue (`post`): it must read the reduction at its own position
// only, be its only reader, and have the same elements. Axes of size 1 come and go; where the target does not mind in
// which order elements are stored, axes may also change places.

import { joinOrigins } from '../ir/origins.js';
import { axisVars } from '../ir/builder.js';
import { type Dim, dimEq } from '../ir/dim.js';
import type { Rewriter } from '../ir/rewrite.js';
import { type Expr, i32, rewriteExpr, substituteVars, variable } from '../ir/scalar.js';
import type { NodeOf, Value } from '../ir/tensor.js';
import { type Draft, dropUnused, loadSites, MAX_OPERANDS, slotOf } from './fuse-draft.js';
import { throughViews } from './through-views.js';

export interface EpilogueOptions {
  /** Whether nothing else reads a value. */
  readonly isPrivate: (v: Value) => boolean;
  /** Whether the result may be stored in another order than the reduction runs over. */
  readonly anyOrder: boolean;
}

export function mergeEpilogue(node: NodeOf<'generic'>, w: Rewriter, options: EpilogueOptions): NodeOf<'generic'> {
  if (node.reducer !== null) return node;
  for (const [k, v] of node.inputs.entries()) {
    const found = reductionBehind(v, options);
    if (!found) continue;
    const sites = loadSites({ body: node.body, post: null }, k);
    if (!sites.length || sites.some((s) => s.pad || s.guard)) continue;
    const places = sites.map((s) => axesOf(throughViews(s.index, found.views), found.reduction.shape, node.shape));
    const [axes] = places;
    if (!axes || places.some((p) => p?.join() !== axes.join())) continue;
    if (!options.anyOrder && !isAscending(axes)) continue;
    return asEpilogue(node, k, found.reduction, axes, w);
  }
  return node;
}

interface Found {
  readonly reduction: NodeOf<'generic'>;
  /** Outermost first. */
  readonly views: readonly Value[];
}

function reductionBehind(v: Value, { isPrivate, anyOrder }: EpilogueOptions): Found | null {
  const views: Value[] = [];
  let at = v;
  while (isPrivate(at)) {
    const n = at.node;
    if (n?.kind === 'generic')
      return n.reducer && !n.reducer.startsWith('arg') && n.binds.length === 0 ? { reduction: n, views } : null;
    if (n?.kind !== 'view' || (n.map !== 'reshape' && !anyOrder)) return null;
    views.push(at);
    at = n.inputs[0] as Value;
  }
  return null;
}

/** For each axis of the reduction the equal axis of its reader, null for size 1; null where elements are not one to one. */
function axesOf(
  index: readonly Expr[] | null,
  from: readonly Dim[],
  to: readonly Dim[],
): readonly (number | null)[] | null {
  if (!index) return null;
  const taken = new Set<number>();
  const out = index.map((x, k): number | null | undefined => {
    if (from[k] === 1) return null;
    const axis = x.k === 'var' ? to.findIndex((_, j) => x.name === `i${j}`) : -1;
    if (axis < 0 || taken.has(axis) || !dimEq(to[axis] as Dim, from[k] as Dim)) return undefined;
    taken.add(axis);
    return axis;
  });
  const all = to.every((d, j) => d === 1 || taken.has(j));
  return all && out.every((x) => x !== undefined) ? (out as (number | null)[]) : null;
}

const isAscending = (axes: readonly (number | null)[]): boolean => {
  const list = axes.filter((a) => a !== null);
  return list.every((a, k) => k === 0 || a > (list[k - 1] as number));
};

function asEpilogue(
  node: NodeOf<'generic'>,
  slot: number,
  reduction: NodeOf<'generic'>,
  axes: readonly (number | null)[],
  w: Rewriter,
): NodeOf<'generic'> {
  const vars = axisVars(node.shape.length);
  const env = new Map(axes.map((a, k): [string, Expr] => [`i${k}`, a === null ? i32(0) : (vars[a] as Expr)]));
  const d: Draft = { body: substituteVars(reduction.body, env), post: null, operands: [...reduction.inputs] };
  const result = reduction.post
    ? substituteVars(reduction.post, env)
    : variable('acc', (reduction.outputs[0] as Value).type.dtype);
  d.post = rewriteExpr(node.body, (x) => {
    if (x.k !== 'load') return x;
    return x.src === slot ? result : { ...x, src: slotOf(d, node.inputs[x.src] as Value) };
  });
  if (d.operands.length > MAX_OPERANDS) return node;
  const compact = dropUnused(d);
  const v = w.emit(
    {
      kind: 'generic',
      shape: node.shape,
      reduce: reduction.reduce,
      reducer: reduction.reducer,
      body: compact.body,
      post: compact.post,
    },
    compact.operands,
    node.outputs.map((o) => o.type),
    joinOrigins(node.origin, [reduction.origin]),
  )[0] as Value;
  return v.node as NodeOf<'generic'>;
}
