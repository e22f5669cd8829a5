// Σ(a·w)·s + b → Σ(a·(w·s)) + b: where the epilogue of a contraction scales its sum by constants along axes that a
// constant operand walks too, the factor goes into that operand at compile time. A rule about generics: it serves
// batch normalisation after any convolution, scaled matrix products, depthwise alike. Additions on the way to the last
// multiplication are scaled with it and become one constant. Changes rounding, so only under fast numerics.

import { e } from '../ir/expr.js';
import { countUses, rewriteModule, type Rewriter } from '../ir/rewrite.js';
import {
  children,
  constant,
  type Expr,
  exprKey,
  i32,
  type LoadExpr,
  load,
  rewriteExpr,
  variable,
  visitExpr,
} from '../ir/scalar.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';
import { isSmooth } from './algebra.js';
import { dropUnused } from './fuse-draft.js';
import type { PassContext } from './pass.js';

export function foldScale(m: Module, c: PassContext): Module {
  if (c.numerics !== 'fast') return m;
  const uses = countUses(m);
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind !== 'generic' || node.reducer !== 'add' || !node.post || node.binds.length > 0) return undefined;
      if (node.body.dtype !== 'f32' || !isSmooth(node)) return undefined;
      const chain = scaleChain(node);
      if (!chain) return undefined;
      const slot = factorSlot(node, chain, (k) => isPrivate(original.inputs[k] as Value, uses));
      return slot === null ? undefined : rebuild(node, chain, slot, w);
    },
  });
}

/** A constant, or views of one. */
function isConstant(v: Value): boolean {
  if (v.node?.kind === 'view') return isConstant(v.node.inputs[0] as Value);
  return v.node?.kind === 'const';
}

function isPrivate(v: Value, uses: ReadonlyMap<Value, number>): boolean {
  if (uses.get(v) !== 1) return false;
  return v.node?.kind === 'view' ? isPrivate(v.node.inputs[0] as Value, uses) : true;
}

/** The part of an epilogue that is acc·scale + offset, both constant. */
interface Chain {
  readonly top: Expr;
  readonly scale: Expr;
  readonly offset: Expr | null;
}

/** From `acc` upwards while exactly one expression reads the one below and is linear in it. */
function scaleChain(n: NodeOf<'generic'>): Chain | null {
  const readers = new Map<string, Set<Expr>>();
  const unique = new Map<string, Expr>();
  visitExpr(n.post as Expr, (x) => {
    if (unique.has(exprKey(x))) return;
    unique.set(exprKey(x), x);
    for (const c of children(x)) {
      const key = exprKey(c);
      readers.set(key, (readers.get(key) ?? new Set()).add(x));
    }
  });
  const acc = variable('acc', 'f32');
  let best: Chain | null = null;
  let now: { top: Expr; scale: Expr | null; offset: Expr | null } = { top: acc, scale: null, offset: null };
  for (;;) {
    const above = [...(readers.get(exprKey(now.top)) ?? [])];
    const [x] = above;
    if (!x || above.length !== 1) return best;
    const next = extend(now, x, n);
    if (!next) return best;
    now = next;
    const { top, scale, offset } = now;
    if (scale) best = { top, scale, offset };
  }
}

function extend(at: { top: Expr; scale: Expr | null; offset: Expr | null }, x: Expr, n: NodeOf<'generic'>) {
  if (x.k !== 'op' || x.dtype !== 'f32') return null;
  const key = exprKey(at.top);
  const [a, b] = x.args as [Expr, Expr];
  const isLeft = exprKey(a) === key;
  const other = isLeft ? b : a;
  if (!other || exprKey(other) === key || !isConstantExpr(other, n)) return null;
  const { scale, offset } = at;
  switch (x.op) {
    case 'add':
      return { top: x, scale, offset: offset ? e.add(offset, other) : other };
    case 'sub':
      return isLeft ? { top: x, scale, offset: offset ? e.sub(offset, other) : e.op('neg', other) } : null;
    case 'mul':
      return { top: x, scale: scale ? e.mul(scale, other) : other, offset: offset && e.mul(offset, other) };
    case 'div':
      if (!isLeft) return null;
      return { top: x, scale: e.div(scale ?? constant(1, 'f32'), other), offset: offset && e.div(offset, other) };
    default:
      return null;
  }
}

/** Reads constants at plain positions of parallel axes, and nothing else of the program. */
function isConstantExpr(x: Expr, n: NodeOf<'generic'>): boolean {
  let ok = true;
  visitExpr(x, (y) => {
    if (y.k === 'var' && !/^i\d+$/.test(y.name)) ok = false;
    if (y.k === 'dim' || y.k === 'vec') ok = false;
    if (y.k === 'load') ok &&= !y.guard && !y.pad && isConstant(n.inputs[y.src] as Value) && y.index.every(isPlain);
  });
  return ok;
}

const isPlain = (x: Expr): boolean => x.k === 'var' || x.k === 'const';

const axesOf = (x: Expr): Set<string> => {
  const names = new Set<string>();
  visitExpr(x, (y) => {
    if (y.k === 'var') names.add(y.name);
  });
  return names;
};

/** The operand to scale: a private f32 constant that multiplies the whole body and walks every axis of the scale. */
function factorSlot(n: NodeOf<'generic'>, chain: Chain, single: (slot: number) => boolean): number | null {
  const wanted = [...axesOf(chain.scale)];
  const loads: LoadExpr[] = [];
  visitExpr(n.body, (x) => {
    if (x.k === 'load') loads.push(x);
  });
  const found = factors(n.body).find((f): f is LoadExpr => {
    if (f.k !== 'load' || f.guard || f.pad || f.dtype !== 'f32' || !single(f.src)) return false;
    const v = n.inputs[f.src] as Value;
    const plain = wanted.every((name) => f.index.filter((i) => i.k === 'var' && i.name === name).length === 1);
    const alone = loads.filter((x) => x.src === f.src).length === 1 && !reads(n.post as Expr, f.src);
    return plain && alone && isConstant(v) && v.type.shape.every((d) => typeof d === 'number');
  });
  return found ? found.src : null;
}

/** The operands of a product. */
const factors = (x: Expr): readonly Expr[] => (x.k === 'op' && x.op === 'mul' ? x.args.flatMap(factors) : [x]);

function reads(x: Expr, slot: number): boolean {
  let found = false;
  visitExpr(x, (y) => {
    if (y.k === 'load' && y.src === slot) found = true;
  });
  return found;
}

function rebuild(n: NodeOf<'generic'>, chain: Chain, slot: number, w: Rewriter): readonly Value[] {
  const operands = [...n.inputs];
  const scaled = operands.push(scaledOperand(n, chain, slot, w)) - 1;
  const body = rewriteExpr(n.body, (x) => (x.k === 'load' && x.src === slot ? { ...x, src: scaled } : x));
  const acc = variable('acc', 'f32');
  const offset = chain.offset && constantOffset(chain.offset, n, operands, w);
  const replacement = offset ? e.add(acc, offset) : acc;
  const key = exprKey(chain.top);
  const replace = (x: Expr): Expr => (exprKey(x) === key ? replacement : mapWithout(x, replace));
  const post = replace(n.post as Expr);
  const d = dropUnused({ body, post: post.k === 'var' ? null : post, operands });
  return w.emit(
    { ...n, body: d.body, post: d.post },
    d.operands,
    n.outputs.map((v) => v.type),
    n.origin,
  );
}

/** Top-down: what is replaced is not looked into. */
const mapWithout = (x: Expr, f: (x: Expr) => Expr): Expr => {
  if (x.k !== 'op' && x.k !== 'select' && x.k !== 'cast' && x.k !== 'bitcast') return x;
  const memo = new Map(children(x).map((c) => [c, f(c)]));
  return rewriteChildren(x, memo);
};

function rewriteChildren(x: Expr, memo: ReadonlyMap<Expr, Expr>): Expr {
  const of = (c: Expr): Expr => memo.get(c) ?? c;
  switch (x.k) {
    case 'op':
      return e.op(x.op, ...x.args.map(of));
    case 'select':
      return e.select(of(x.cond), of(x.a), of(x.b));
    case 'cast':
    case 'bitcast':
      return { ...x, arg: of(x.arg) };
    default:
      return x;
  }
}

/** w·s over the operand's own axes; constant, so folding computes it. */
function scaledOperand(n: NodeOf<'generic'>, chain: Chain, slot: number, w: Rewriter): Value {
  const v = n.inputs[slot] as Value;
  const site = factors(n.body).find((f) => f.k === 'load' && f.src === slot) as LoadExpr;
  const own = new Map<string, Expr>();
  site.index.forEach((x, k) => {
    if (x.k === 'var') own.set(x.name, variable(`i${k}`, 'i32'));
  });
  const inputs: Value[] = [v];
  const scale = over(chain.scale, own, n, inputs);
  const whole = load(
    0,
    v.type.shape.map((d, k) => (d === 1 ? i32(0) : variable(`i${k}`, 'i32'))),
    'f32',
  );
  return emitConstant(w, n, e.mul(whole, scale), v.type.shape, inputs, v.name);
}

/** The offset as one read of a constant, computed over the axes it depends on; as it stands where it is simple. */
function constantOffset(x: Expr, n: NodeOf<'generic'>, operands: Value[], w: Rewriter): Expr {
  if (x.k === 'const' || x.k === 'load') return x;
  const axes = [...axesOf(x)].sort();
  const sizes = axes.map((name) => n.shape[Number(name.slice(1))]);
  if (axes.length === 0 || !sizes.every((d) => typeof d === 'number')) return x;
  const own = new Map(axes.map((name, k): [string, Expr] => [name, variable(`i${k}`, 'i32')]));
  const inputs: Value[] = [];
  const body = over(x, own, n, inputs);
  const slot = operands.push(emitConstant(w, n, body, sizes, inputs)) - 1;
  return load(
    slot,
    axes.map((name) => variable(name, 'i32')),
    'f32',
  );
}

/** An expression of the node's constants with axes renamed and operands collected anew. */
function over(x: Expr, axes: ReadonlyMap<string, Expr>, n: NodeOf<'generic'>, inputs: Value[]): Expr {
  return rewriteExpr(x, (y) => {
    if (y.k === 'var') return axes.get(y.name) ?? y;
    if (y.k !== 'load') return y;
    const v = n.inputs[y.src] as Value;
    const known = inputs.indexOf(v);
    return { ...y, src: known < 0 ? inputs.push(v) - 1 : known };
  });
}

function emitConstant(
  w: Rewriter,
  n: NodeOf<'generic'>,
  body: Expr,
  shape: NodeOf<'generic'>['shape'],
  inputs: readonly Value[],
  name?: string,
): Value {
  const payload = { kind: 'generic', shape, reduce: [], reducer: null, body, post: null } as const;
  const v = w.emit(payload, inputs, [{ dtype: 'f32', shape }], n.origin)[0] as Value;
  return name === undefined ? v : Object.assign(v, { name });
}
