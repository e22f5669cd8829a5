// Fusion by composing generics. Two moves, both by index substitution: an elementwise producer is inlined into the
// generic that reads it (through any view), and an elementwise consumer of a reduction becomes its epilogue.
// Work is never multiplied: a producer is inlined where each element is read once, or where it is cheap.

import { axisVars } from '../ir/builder.js';
import type { DType } from '../support/dtype.js';
import { bounds, type Dim, dimEq, product, sub } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { rewriteModule, type Rewriter, visitNodes } from '../ir/rewrite.js';
import {
  dimExpr,
  type Expr,
  i32,
  isPrimitive,
  type LoadExpr,
  load,
  rewriteExpr,
  type ScalarOp,
  substituteVars,
  variable,
  visitExpr,
} from '../ir/scalar.js';
import type { Module, Node, NodeOf, Region, Value } from '../ir/tensor.js';

/** What a producer may cost: repeated by each of several readers, by each element of a broadcast, by each step of a reduction. */
const CHEAP_ONCE = 8;
const CHEAP = 6;
const CHEAP_REPEATED = 2.5;
const MAX_BODY = 400;
const MAX_OPERANDS = 14;
const MACRO_COST = 10;
const DIVISION_COST = 5;

export function fuse(m: Module): Module {
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
      );
      const merged = mergeEpilogue(fused, w, (v) => same(v) && infoOf(v).uses === 1);
      if (merged === node) return undefined;
      if (merged.outputs[0]) keep(merged.outputs[0]);
      return merged.outputs;
    },
  });
}

function countUses(m: Module): Map<Value, number> {
  const uses = new Map<Value, number>();
  const use = (v: Value): void => {
    uses.set(v, (uses.get(v) ?? 0) + 1);
  };
  const region = (r: Region): void => {
    for (const v of r.results) use(v);
  };
  for (const entry of m.entries) {
    region(entry.body);
    visitNodes(entry.body, (n) => {
      for (const v of n.inputs) use(v);
      if (n.kind === 'scan') region(n.body);
      if (n.kind === 'while') [n.test, n.body].forEach(region);
      if (n.kind === 'if') [n.then, n.else].forEach(region);
    });
  }
  return uses;
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

/** A body under construction with its operand list. */
export interface Draft {
  body: Expr;
  post: Expr | null;
  operands: Value[];
}

function slotOf(d: Draft, v: Value): number {
  const k = d.operands.indexOf(v);
  return k >= 0 ? k : d.operands.push(v) - 1;
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
): NodeOf<'generic'> {
  const d: Draft = { body: node.body, post: node.post, operands: [...node.inputs] };
  let changed = false;
  for (let k = 0; k < d.operands.length; k++) {
    const v = d.operands[k] as Value;
    const path = producerOf(v);
    if (!path) continue;
    const sites = loadSites(d, k);
    if (sites.length === 0) continue;
    const single =
      uses(v) <= 1 && path.views.every((x) => uses(x) <= 1) && uses(path.producer.outputs[0] as Value) <= 1;
    if (!worthInlining(node, path.producer, sites.length, single) || !local(path.producer.outputs[0] as Value))
      continue;
    const next = substituteLoads(d, k, path, w);
    if (!next) continue;
    Object.assign(d, next);
    changed = true;
  }
  if (!changed) return node;
  return rebuild(node, d, w);
}

interface ProducerPath {
  /** Views between the operand and the producer, outermost first. */
  readonly views: readonly Value[];
  readonly producer: NodeOf<'generic'>;
}

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

function loadSites(d: Draft, slot: number): LoadExpr[] {
  const sites: LoadExpr[] = [];
  for (const x of [d.body, ...(d.post ? [d.post] : [])])
    visitExpr(x, (y) => {
      if (y.k === 'load' && y.src === slot) sites.push(y);
    });
  return sites;
}

/** Whether inlining saves more than it repeats. `single`: nobody else reads the producer. */
function worthInlining(
  consumer: NodeOf<'generic'>,
  producer: NodeOf<'generic'>,
  sites: number,
  single: boolean,
): boolean {
  const cost = bodyCost(producer.body);
  const points = product([...consumer.shape, ...consumer.reduce]);
  const once = sites === 1 && notLarger(points, product(producer.shape));
  if (once) return single || cost <= CHEAP_ONCE;
  return cost * sites <= (consumer.reducer ? CHEAP_REPEATED : CHEAP);
}

const notLarger = (a: Dim, b: Dim): boolean => dimEq(a, b) || bounds(sub(a, b))[1] <= 0;

/** Replaces every load of operand `slot` by the producer's body at that index. Null where a view in between is in the way. */
function substituteLoads(d: Draft, slot: number, path: ProducerPath, w: Rewriter): Draft | null {
  const { producer } = path;
  const next: Draft = { body: d.body, post: d.post, operands: [...d.operands] };
  let failed = false;
  const at = (site: LoadExpr): Expr => {
    const v = d.operands[slot] as Value;
    const guard = site.pad && !site.guard ? inside(site.index, v.type.shape) : site.guard;
    const index = throughViews(site.index, path.views);
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
  if (failed || bodySize(next.body) > MAX_BODY || next.operands.length > MAX_OPERANDS || !w) return null;
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

/** Maps an index of the outermost view to the innermost source; null at a reshape that is not free to follow. */
export function throughViews(index: readonly Expr[], views: readonly Value[]): readonly Expr[] | null {
  let at: readonly Expr[] = index;
  for (const v of views) {
    const n = v.node as NodeOf<'view'>;
    if (n.map === 'reshape') {
      const next = throughReshape(at, v.type.shape, (n.inputs[0] as Value).type.shape);
      if (!next) return null;
      at = next;
    } else {
      const env = new Map(at.map((x, k): [string, Expr] => [`i${k}`, x]));
      at = n.map.map((x) => substituteVars(x, env));
    }
  }
  return at;
}

/** Reshapes whose index needs no division: unit axes come and go, and axes merge (a·n + b). */
export function throughReshape(
  index: readonly Expr[],
  from: readonly Dim[],
  to: readonly Dim[],
): readonly Expr[] | null {
  const out: Expr[] = [];
  let k = 0;
  for (const size of to) {
    if (size === 1) {
      out.push(i32(0));
      continue;
    }
    let merged: Expr | null = null;
    let total: Dim = 1;
    while (k < from.length && !(merged && dimEq(total, size))) {
      const d = from[k] as Dim;
      const x = index[k] as Expr;
      k++;
      if (d === 1) continue;
      merged = merged ? e.add(e.mul(merged, dimExpr(d)), x) : x;
      total = product([total, d]);
    }
    if (!merged || !dimEq(total, size)) return null;
    out.push(merged);
  }
  return from.slice(k).every((d) => d === 1) ? out : null;
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

/** Operands nobody loads any more are removed and slots renumbered. */
export function dropUnused(d: Draft): Draft {
  const used = new Set<number>();
  for (const x of [d.body, ...(d.post ? [d.post] : [])])
    visitExpr(x, (y) => {
      if (y.k === 'load') used.add(y.src);
    });
  const order = [...used].sort((a, b) => a - b);
  const renumber = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'load' ? { ...y, src: order.indexOf(y.src) } : y));
  return {
    body: renumber(d.body),
    post: d.post && renumber(d.post),
    operands: order.map((k) => d.operands[k] as Value),
  };
}

/** An elementwise consumer whose reads of a reduction are all at its own position becomes the reduction's epilogue. */
function mergeEpilogue(node: NodeOf<'generic'>, w: Rewriter, private_: (v: Value) => boolean): NodeOf<'generic'> {
  if (node.reducer !== null) return node;
  for (const [k, v] of node.inputs.entries()) {
    const found = reductionBehind(v, private_);
    if (!found) continue;
    const axes = matchAxes(found.shape, node.shape);
    if (!axes) continue;
    const sites = loadSites({ body: node.body, post: null, operands: [] }, k);
    if (!sites.length || !sites.every((s) => !s.pad && !s.guard && isIdentity(s.index, node.shape))) continue;
    return asEpilogue(node, k, found, axes, w);
  }
  return node;
}

function reductionBehind(v: Value, private_: (v: Value) => boolean): NodeOf<'generic'> | null {
  let at = v;
  while (private_(at)) {
    const n = at.node;
    if (n?.kind === 'generic') return n.reducer && !n.reducer.startsWith('arg') && n.binds.length === 0 ? n : null;
    if (n?.kind !== 'view' || n.map !== 'reshape') return null;
    at = n.inputs[0] as Value;
  }
  return null;
}

/** For each axis of `from` the equal axis of `to`, unit axes aside; null where the shapes differ otherwise. */
function matchAxes(from: readonly Dim[], to: readonly Dim[]): readonly (number | null)[] | null {
  const targets = to.map((d, k) => ({ d, k })).filter((t) => t.d !== 1);
  const out = from.map((d) => {
    if (d === 1) return null;
    const t = targets.shift();
    return t && dimEq(t.d, d) ? t.k : undefined;
  });
  return targets.length === 0 && out.every((x) => x !== undefined) ? (out as (number | null)[]) : null;
}

const isIdentity = (index: readonly Expr[], shape: readonly Dim[]): boolean =>
  index.every((x, k) => (x.k === 'var' && x.name === `i${k}`) || (shape[k] === 1 && x.k === 'const'));

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
    node.origin,
  )[0] as Value;
  return v.node as NodeOf<'generic'>;
}
