// Fusion by composing generics. Two moves, both by index substitution: an elementwise producer is inlined into the
// generic that reads it (through any view), and an elementwise consumer of a reduction becomes its epilogue (fuse-epilogue.ts).
// Work is never multiplied: a producer is inlined where each element is read once, or where it is cheap.

import type { DType } from '../support/dtype.js';
import { bounds, type Dim, dimEq, product, sub } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { joinOrigins } from '../ir/origins.js';
import { countUses, rewriteModule, type Rewriter, visitNodes } from '../ir/rewrite.js';
import {
  dimExpr,
  type Expr,
  exprKey,
  isPrimitive,
  type LoadExpr,
  load,
  rewriteExpr,
  type ScalarOp,
  visitExpr,
} from '../ir/scalar.js';
import type { Origin } from '../ir/program.js';
import type { Module, Node, NodeOf, Region, Value } from '../ir/tensor.js';
import { type Draft, dropUnused, loadSites, MAX_OPERANDS, slotOf } from './fuse-draft.js';
import { mergeEpilogue } from './fuse-epilogue.js';
import { isSharedBy } from './shared-weights.js';
import { isWorthStaging, OPEN } from './schedule/grid-stage.js';
import { TILE } from './schedule/stage-parts.js';
import { throughViews } from './through-views.js';

/** What a producer may cost: repeated by each of several readers, by each element of a broadcast, by each step of a reduction. */
const CHEAP_ONCE = 8;
const CHEAP = 6;
const CHEAP_REPEATED = 2.5;
/** Elementwise, where arithmetic is cheap beside a copy: a GPU. */
const CHEAP_BESIDE_MEMORY = 24;
/** By each tile of a contraction: what it costs a GPU to write an element, read it again and start a kernel for that. */
const CHEAP_TILED = 256;
/** In all, beside what it costs a GPU to start a kernel. */
const CHEAP_BESIDE_KERNEL = 1 << 20;
/** A selection reads some of its operands only at part of its elements. */
const REPEATED_BY_SELECTION = 2;
const MAX_BODY = 400;
const MACRO_COST = 10;
const DIVISION_COST = 5;

export interface FuseOptions {
  /** Whether inlining may divide indices, and reductions may store in any order: on a GPU both cost less than a copy. */
  readonly anyIndex?: boolean;
  /** Leaves producers with several readers alone: they may yet become the epilogue of what they read. */
  readonly single?: boolean;
}

export function fuse(m: Module, options: FuseOptions = {}): Module {
  const uses = countUses(m);
  const home = new Map<Node, Region>();
  for (const entry of m.entries)
    visitNodes(entry.body, (n, region) => {
      home.set(n, region);
    });
  /** New values keep the use count and region of the node they replace. */
  const info = new Map<Value, { uses: number; region: Region | undefined }>();
  const infoOf = (v: Value) => info.get(v) ?? { uses: uses.get(v) ?? 0, region: v.node ? home.get(v.node) : undefined };
  return rewriteModule(m, {
    node(node, w, original) {
      const out = original.outputs[0];
      const region = home.get(original);
      const keep = (v: Value): void => {
        if (out) info.set(v, { uses: uses.get(out) ?? 0, region });
      };
      if (node.outputs[0]) keep(node.outputs[0]);
      if (node.kind !== 'generic' || node.binds.length > 0) return undefined;
      const same = (v: Value): boolean => infoOf(v).region === region;
      const fused = inlineProducers(
        node,
        w,
        (v) => same(v),
        (v) => infoOf(v).uses,
        options,
      );
      const merged = mergeEpilogue(fused, w, {
        isPrivate: (v) => same(v) && infoOf(v).uses === 1,
        anyOrder: options.anyIndex ?? false,
      });
      if (merged === node) return undefined;
      if (merged.outputs[0]) keep(merged.outputs[0]);
      return merged.outputs;
    },
  });
}

function opCost(op: ScalarOp, dtype: DType): number {
  if (!isPrimitive(op)) return MACRO_COST;
  if (op === 'div' || op === 'rem' || op === 'sqrt') return DIVISION_COST;
  return dtype === 'i32' ? 0.5 : 1;
}

/** Number of operations in a body, macros and divisions counted as many. */
export function bodyCost(body: Expr): number {
  let cost = 0;
  visitExpr(body, (x) => {
    if (x.k === 'op') cost += opCost(x.op, x.dtype);
    else if (x.k === 'cast' || x.k === 'select') cost += 1;
    else if (x.k === 'load') cost += 0.5;
  });
  return cost;
}

const bodySize = (x: Expr): number => {
  let n = 0;
  visitExpr(x, () => {
    n++;
  });
  return n;
};

function inlineProducers(
  node: NodeOf<'generic'>,
  w: Rewriter,
  local: (v: Value) => boolean,
  uses: (v: Value) => number,
  options: FuseOptions,
): NodeOf<'generic'> {
  const d: Draft = { body: node.body, post: node.post, operands: [...node.inputs] };
  let { origin } = node;
  let changed = false;
  for (let k = 0; k < d.operands.length; k++) {
    const v = d.operands[k] as Value;
    const path = producerOf(v);
    if (!path) continue;
    const sites = loadSites(d, k);
    if (sites.length === 0) continue;
    const single =
      uses(v) <= 1 && path.views.every((x) => uses(x) <= 1) && uses(path.producer.outputs[0] as Value) <= 1;
    if (options.single && !single) continue;
    const reads = options.anyIndex ? new Set(sites.map(exprKey)).size : sites.length; // equal ones are computed once
    if (!worthInlining({ ...node, body: d.body }, path.producer, k, reads, single, options)) continue;
    if (!local(path.producer.outputs[0] as Value)) continue;
    const next = substituteLoads(d, k, path, options);
    if (!next) continue;
    Object.assign(d, next);
    origin = joinOrigins(origin, [path.producer.origin, ...viewOrigins(path.views)]);
    changed = true;
  }
  if (!changed) return node;
  return rebuild({ ...node, origin }, d, w);
}

interface ProducerPath {
  /** Views between the operand and the producer, outermost first. */
  readonly views: readonly Value[];
  readonly producer: NodeOf<'generic'>;
}

/** Of views whose index a reader takes over, the innermost first. */
export const viewOrigins = (views: readonly Value[]): readonly Origin[] =>
  [...views].reverse().flatMap((v) => (v.node ? [v.node.origin] : []));

/** The elementwise generic behind an operand, through views. */
function producerOf(v: Value): ProducerPath | null {
  const views: Value[] = [];
  let at = v;
  while (at.node?.kind === 'view') {
    views.push(at);
    at = at.node.inputs[0] as Value;
  }
  const n = at.node;
  if (n?.kind !== 'generic' || n.reducer !== null || n.post || n.binds.length > 0) return null;
  return { views, producer: n };
}

/** Whether inlining saves more than it repeats. `single`: nobody else reads the producer. */
function worthInlining(
  consumer: NodeOf<'generic'>,
  producer: NodeOf<'generic'>,
  slot: number,
  sites: number,
  single: boolean,
  { anyIndex }: FuseOptions,
): boolean {
  const cost = bodyCost(producer.body);
  const points = product([...consumer.shape, ...consumer.reduce]);
  const most = product([anyIndex ? REPEATED_BY_SELECTION : 1, ...producer.shape]);
  const inAll = bounds(points)[1] * cost * sites;
  if (anyIndex && inAll <= CHEAP_BESIDE_KERNEL && (single || (!consumer.reducer && movesOnly(producer.body))))
    return true;
  const once = sites === 1 && notLarger(points, most);
  if (once) return single || cost <= CHEAP_ONCE;
  if (single && !anyIndex && isSharedBy(producer, consumer)) return true;
  if (anyIndex && single && sites === 1 && cost * tilesReading(consumer, slot) <= CHEAP_TILED) return true;
  if (consumer.reducer) return cost * sites <= CHEAP_REPEATED;
  return cost * sites <= (anyIndex && !isNumber(producer.shape) ? CHEAP_BESIDE_MEMORY : CHEAP);
}

/** Whether a body takes elements as they are: a concat, a slice. */
function movesOnly(x: Expr): boolean {
  if (x.k === 'select') return movesOnly(x.a) && movesOnly(x.b);
  return x.k === 'load' || x.k === 'const';
}

const isNumber = (shape: readonly Dim[]): boolean => shape.every((d) => d === 1);

/** How often a GPU's tiles (schedule/grid-stage.ts) compute a factor of a contraction; many times where there are none. */
function tilesReading(consumer: NodeOf<'generic'>, slot: number): number {
  const { body, shape, reduce } = consumer;
  if (consumer.reducer !== 'add' || body.k !== 'op' || body.op !== 'mul') return MANY;
  const uses = body.args.map((x) => mentionedAxes(x));
  const own = body.args.findIndex((x) => loadSites({ body: x, post: null }, slot).length > 0);
  const mine = uses[own];
  const other = uses[1 - own];
  if (!mine || !other) return MANY;
  const sizeOf = (keep: (axis: string) => boolean): number =>
    shape.reduce<number>((n, d, k) => (keep(`i${k}`) ? n * (typeof d === 'number' ? d : OPEN) : n), 1);
  const [m, n] = [sizeOf((a) => mine.has(a) && !other.has(a)), sizeOf((a) => other.has(a) && !mine.has(a))];
  const k = reduce.reduce<number>((p, d) => p * (typeof d === 'number' ? d : OPEN), 1);
  return isWorthStaging(m, n, k) ? Math.ceil(n / TILE) : MANY;
}

const MANY = Number.POSITIVE_INFINITY;

function mentionedAxes(x: Expr): ReadonlySet<string> {
  const axes = new Set<string>();
  visitExpr(x, (y) => void (y.k === 'var' && axes.add(y.name)));
  return axes;
}

const notLarger = (a: Dim, b: Dim): boolean => dimEq(a, b) || bounds(sub(a, b))[1] <= 0;

/** Replaces every load of operand `slot` by the producer's body at that index. Null where a view in between is in the way. */
function substituteLoads(d: Draft, slot: number, path: ProducerPath, options: FuseOptions): Draft | null {
  const { producer } = path;
  const next: Draft = { body: d.body, post: d.post, operands: [...d.operands] };
  let failed = false;
  const at = (site: LoadExpr): Expr => {
    const v = d.operands[slot] as Value;
    const guard = site.pad && !site.guard ? inside(site.index, v.type.shape) : site.guard;
    const index = throughViews(site.index, path.views, options.anyIndex);
    if (!index) {
      failed = true;
      return site;
    }
    const env = new Map(index.map((x, k): [string, Expr] => [`i${k}`, x]));
    // In one walk: an index put in place of a variable may hold loads of the consumer, which keep their slots.
    const body = rewriteExpr(producer.body, (y) => {
      if (y.k === 'var') return env.get(y.name) ?? y;
      if (y.k !== 'load') return y;
      const operand = producer.inputs[y.src] as Value;
      return load(slotOf(next, operand), y.index, y.dtype, guardLoad(y, operand, guard));
    });
    return guard && site.pad ? e.select(guard, body, site.pad) : body;
  };
  const replace = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'load' && y.src === slot ? at(y) : y));
  next.body = replace(d.body);
  next.post = d.post && replace(d.post);
  if (failed || bodySize(next.body) > MAX_BODY || next.operands.length > MAX_OPERANDS) return null;
  return next;
}

/** An inlined load must not touch memory where the consumer's own guard is false. */
function guardLoad(
  x: LoadExpr,
  operand: Value,
  guard: Expr | undefined,
): { guard?: Expr | undefined; pad?: Expr | undefined } {
  const own = x.pad && !x.guard ? inside(x.index, operand.type.shape) : x.guard;
  if (!guard) return { guard: own, pad: x.pad };
  return { guard: own ? e.and(guard, own) : guard, pad: x.pad ?? e.const(0, x.dtype) };
}

/** i1: the index lies inside the shape. */
function inside(index: readonly Expr[], shape: readonly Dim[]): Expr {
  return index
    .map((x, k) => e.and(e.le(0, x), e.lt(x, dimExpr(shape[k] as Dim))))
    .reduce((p, q) => e.and(p, q), e.const(true, 'i1') as Expr);
}

function rebuild(node: NodeOf<'generic'>, d: Draft, w: Rewriter): NodeOf<'generic'> {
  const compact = dropUnused(d);
  const v = w.emit(
    {
      kind: 'generic',
      shape: node.shape,
      reduce: node.reduce,
      reducer: node.reducer,
      body: compact.body,
      post: compact.post,
    },
    compact.operands,
    node.outputs.map((o) => o.type),
    node.origin,
    node.binds,
  )[0] as Value;
  return v.node as NodeOf<'generic'>;
}
