// Contractions that multiply by zeros known at compile time: of a transposed convolution whose taps a stride does not divide,
// some phases have fewer taps than others, and their weights are filled up with zeros. Such a node becomes one for each
// step of the axis of phases, with its own taps and weights, side by side in one result. A float's zero times infinity goes
// missing, so of floats only under fast numerics.

import { mentions } from '../ir/affine.js';
import { bounds, product } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { countUses, type Rewriter, rewriteModule } from '../ir/rewrite.js';
import {
  type Expr,
  factorsOf,
  i32,
  type LoadExpr,
  rewriteExpr,
  substituteVars,
  variable,
  visitExpr,
} from '../ir/scalar.js';
import type { ConstData, Module, NodeOf, TensorType, Value } from '../ir/tensor.js';
import { isFloat } from '../support/dtype.js';
import { STORAGE, sizeOf, type Tensor, type TypedArray } from '../support/tensor.js';
import { simplifyExpr } from './kernel/simplify-index.js';
import type { PassContext } from './pass.js';

/** Phases worth a node of their own each. */
const MOST_PHASES = 4;
/** Products of the whole from which nodes pay. Open sizes are taken at their largest. */
const WORK = 1 << 18;

type Generic = NodeOf<'generic'>;

/** An axis of the result and one of the reduction that together walk one of a constant. */
interface Site {
  readonly slot: number;
  readonly dimension: number;
  readonly axis: number;
  readonly taps: number;
  readonly phases: readonly Phase[];
}

/** Of one step of the axis: the first tap that is not all zeros, and where in the constant it and those to the last such are. */
interface Phase {
  readonly first: number;
  readonly at: readonly number[];
}

export function splitPhases(m: Module, c: PassContext): Module {
  const uses = countUses(m);
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind !== 'generic' || node.reducer !== 'add' || node.binds.length > 0) return undefined;
      if (c.numerics !== 'fast' && isFloat(node.body.dtype)) return undefined;
      if (bounds(product([...node.shape, ...node.reduce]))[1] < WORK) return undefined;
      const isOwn = (slot: number): boolean => uses.get(original.inputs[slot] as Value) === 1;
      return split(node, isOwn, w);
    },
  });
}

/** The result of a node cut along one axis after the other; undefined where there is nothing to cut. */
function split(node: Generic, isOwn: (slot: number) => boolean, w: Rewriter): readonly Value[] | undefined {
  const site = findSite(node, isOwn);
  if (!site) return undefined;
  const parts = site.phases.map((_, phase) => {
    const part = partOf(node, site, phase, w);
    return (split(part, isOwn, w) ?? w.emit(part, part.inputs, [typeOf(part)], node.origin))[0] as Value;
  });
  return w.emit({ kind: 'concat', axis: site.axis }, parts, [typeOf(node)], node.origin);
}

const typeOf = (n: Generic): TensorType => ({ ...(n.outputs[0] as Value).type, shape: n.shape });

function findSite(node: Generic, isOwn: (slot: number) => boolean): Site | null {
  for (const factor of factorsOf(node.body)) {
    const x = factor.k === 'cast' ? factor.arg : factor;
    const data = x.k === 'load' && !x.pad ? constantOf(node.inputs[x.src]) : null;
    if (x.k !== 'load' || !data || !isOwn(x.src) || isReadElsewhere(node, x)) continue;
    for (const dimension of x.index.keys()) {
      const site = siteAlong(node, x, data, dimension);
      if (site) return site;
    }
  }
  return null;
}

function isReadElsewhere(node: Generic, load: LoadExpr): boolean {
  let found = false;
  for (const x of node.post ? [node.body, node.post] : [node.body])
    visitExpr(x, (y) => {
      if (y.k === 'load' && y.src === load.src && y !== load) found = true;
    });
  return found;
}

const constantOf = (v: Value | undefined): ConstData | null => (v?.node?.kind === 'const' ? v.node.data : null);

function siteAlong(node: Generic, x: LoadExpr, data: ConstData, dimension: number): Site | null {
  const index = x.index[dimension] as Expr;
  const walking = (names: readonly string[]): number[] =>
    [...names.keys()].filter((k) => mentions(index, names[k] as string));
  const axes = walking(node.shape.map((_, k) => `i${k}`));
  const taps = walking(node.reduce.map((_, k) => `r${k}`));
  const [axis, tap] = [axes[0], taps[0]];
  if (axes.length !== 1 || taps.length !== 1 || axis === undefined || tap === undefined) return null;
  const [steps, count] = [node.shape[axis], node.reduce[tap]];
  if (typeof steps !== 'number' || typeof count !== 'number' || steps < 2 || steps > MOST_PHASES || count < 2)
    return null;
  const used = usedSlices(data, dimension);
  const phases = Array.from({ length: steps }, (_, phase): Phase => {
    const at = Array.from({ length: count }, (_, k) => indexAt(index, axis, phase, tap, k));
    const alive = [...at.keys()].filter((k) => used[at[k] as number] !== false);
    const first = alive[0] ?? 0;
    return { first, at: at.slice(first, (alive.at(-1) ?? 0) + 1) };
  });
  if (phases.every((p) => p.at.length === count) || phases.some((p) => p.at.some(Number.isNaN))) return null;
  return { slot: x.src, dimension, axis, taps: tap, phases };
}

/** Where along a constant's axis anything but zeros is. */
function usedSlices(data: ConstData, dimension: number): readonly boolean[] {
  const values = data.read().data as TypedArray;
  const inner = sizeOf(data.shape.slice(dimension + 1));
  const size = data.shape[dimension] as number;
  const used = Array.from({ length: size }, () => false);
  for (let k = 0; k < values.length; k++) if (Number(values[k]) !== 0) used[Math.floor(k / inner) % size] = true;
  return used;
}

/** The index for one step of both axes; NaN where it is not known. */
function indexAt(index: Expr, axis: number, phase: number, tap: number, k: number): number {
  const steps = new Map<string, Expr>([
    [`i${axis}`, i32(phase)],
    [`r${tap}`, i32(k)],
  ]);
  const known = simplifyExpr(substituteVars(index, steps));
  return known.k === 'const' ? Number(known.value) : Number.NaN;
}

/** The node of one phase: one step of the axis, its taps, and the weights those read in their order. */
function partOf(node: Generic, site: Site, phase: number, w: Rewriter): Generic {
  const { slot, dimension, axis, taps, phases } = site;
  const { first, at } = phases[phase] as Phase;
  const count = at.length;
  const data = constantOf(node.inputs[slot]) as ConstData;
  const name = `r${taps}`;
  const steps = new Map<string, Expr>([
    [`i${axis}`, i32(phase)],
    [name, e.add(variable(name, 'i32'), first)],
  ]);
  const body = rewriteExpr(node.body, (x) => {
    if (x.k !== 'load' || x.src !== slot) return x;
    return { ...x, index: x.index.map((y, k) => (k === dimension ? e.sub(variable(name, 'i32'), first) : y)) };
  });
  const weights = picked(data, dimension, at);
  const type = { dtype: data.dtype, shape: weights.shape };
  const inputs = [...node.inputs];
  inputs[slot] = w.emit({ kind: 'const', data: weights }, [], [type], node.origin)[0] as Value;
  const move = (x: Expr): Expr => substituteVars(x, steps);
  const shape = node.shape.map((d, k) => (k === axis ? 1 : d));
  const reduce = node.reduce.map((d, k) => (k === taps ? count : d));
  return { ...node, shape, reduce, body: move(body), post: node.post && move(node.post), inputs };
}

/** A constant of some slices along an axis. */
function picked(data: ConstData, axis: number, at: readonly number[]): ConstData {
  const shape = data.shape.map((d, k) => (k === axis ? at.length : d));
  let made: Tensor | undefined;
  const read = (): Tensor => {
    if (made) return made;
    const source = data.read().data as TypedArray;
    const inner = sizeOf(data.shape.slice(axis + 1));
    const out = new STORAGE[data.dtype as 'f32'](sizeOf(shape)) as TypedArray;
    for (let to = 0; to < out.length; to++) {
      const k = Math.floor(to / inner);
      const from = Math.floor(k / at.length) * (data.shape[axis] as number) + (at[k % at.length] as number);
      out[to] = source[from * inner + (to % inner)] as never;
    }
    made = { dtype: data.dtype, shape, data: out };
    return made;
  };
  return { dtype: data.dtype, shape, read };
}
