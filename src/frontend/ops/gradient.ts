// Gradients, by reverse-mode differentiation of tensor IR: the nodes between the inputs and the output are walked
// backwards, and what each reads gets its share by a scatter over the points at which it was read. Gathers, broadcasts,
// windows and contractions are therefore one rule. Scalar derivatives: ir/derivative.ts.

import type { Builder, Read } from '../../ir/builder.js';
import { derivative } from '../../ir/derivative.js';
import { e } from '../../ir/expr.js';
import { type Expr, rewriteExpr, visitExpr } from '../../ir/scalar.js';
import type { Node, NodeOf, Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

type Load = Extract<Expr, { readonly k: 'load' }>;

interface Walk {
  readonly b: Builder;
  readonly ctx: LowerContext;
  readonly sums: Map<Value, Value>;
}

/** Nodes that `y` is computed by from one of `xs`, each after those it reads. */
function between(y: Value, xs: ReadonlySet<Value>): readonly Node[] {
  const known = new Map<Value, boolean>();
  const order: Node[] = [];
  const depends = (v: Value): boolean => {
    const seen = known.get(v);
    if (seen !== undefined) return seen;
    known.set(v, xs.has(v));
    const { node } = v;
    if (xs.has(v) || !node) return xs.has(v);
    const any = node.inputs.map(depends).some(Boolean);
    known.set(v, any);
    if (any && !order.includes(node)) order.push(node);
    return any;
  };
  depends(y);
  return order;
}

/** `y` with other values in the places of some. */
function replay(b: Builder, y: Value, instead: ReadonlyMap<Value, Value>): Value {
  const now = new Map(instead);
  for (const n of between(y, new Set(instead.keys()))) {
    const made = b.node(
      n,
      n.inputs.map((v) => now.get(v) ?? v),
      n.outputs.map((v) => v.type),
      n.binds,
    );
    n.outputs.forEach((v, k) => {
      if (!now.has(v)) now.set(v, made[k] as Value);
    });
  }
  return now.get(y) ?? y;
}

function gradients(b: Builder, ctx: LowerContext, y: Value, xs: readonly Value[]): readonly Value[] {
  const w: Walk = { b, ctx, sums: new Map([[y, b.full(y.type.shape, 1, y.type.dtype)]]) };
  for (const n of [...between(y, new Set(xs))].reverse()) {
    const g = w.sums.get(n.outputs[0] as Value);
    if (g) backward(w, n, g);
  }
  return xs.map((x) => w.sums.get(x) ?? b.full(x.type.shape, 0, x.type.dtype));
}

function give(w: Walk, to: Value, share: Value): void {
  const before = w.sums.get(to);
  w.sums.set(to, before ? w.b.add(before, share) : share);
}

function backward(w: Walk, n: Node, g: Value): void {
  const { b, ctx } = w;
  const [x] = n.inputs;
  if (n.kind === 'generic') genericShares(w, n, g);
  else if (n.kind === 'view' && x)
    give(w, x, n.map === 'reshape' ? b.reshape(g, x.type.shape) : spread(b, x, g, n.map));
  else if (n.kind === 'concat') {
    const sizes = n.inputs.map((v) => v.type.shape[n.axis] ?? 1);
    b.split(g, n.axis, sizes).forEach((part, k) => {
      give(w, n.inputs[k] as Value, part);
    });
  } else ctx.limit(`gradients through ${n.origin.op} are not defined here`);
}

/** Adds every element of g to the element of x it came from. */
const spread = (b: Builder, x: Value, g: Value, map: readonly Expr[]): Value =>
  b.scatter(b.full(x.type.shape, 0, x.type.dtype), g.type.shape, 'add', (i, read) => ({
    index: map,
    value: read(g, i),
  }));

/** A body's expression where reduction axes follow the parallel ones, its operands read. */
function translated(n: NodeOf<'generic'>, x: Expr, axes: readonly Expr[], read: Read): Expr {
  const rank = n.shape.length;
  return rewriteExpr(x, (y) => {
    if (y.k === 'var' && /^r\d+$/.test(y.name)) return axes[rank + Number(y.name.slice(1))] as Expr;
    if (y.k !== 'load') return y;
    return read(n.inputs[y.src] as Value, y.index, {
      ...(y.pad && { pad: y.pad }),
      ...(y.guard && { guard: y.guard }),
    });
  });
}

function genericShares(w: Walk, n: NodeOf<'generic'>, g: Value): void {
  const { b, ctx } = w;
  const { reducer } = n;
  if (n.post || (reducer && !['add', 'max', 'min'].includes(reducer)))
    return ctx.limit(`gradients through a reduction by ${reducer} are not defined here`);
  const sites: Load[] = [];
  visitExpr(n.body, (y) => {
    if (y.k === 'load' && isFloat(y.dtype) && !sites.includes(y)) sites.push(y);
  });
  const rank = n.shape.length;
  for (const site of sites) {
    const slope = derivative(n.body, site);
    const x = n.inputs[site.src] as Value;
    if (!slope) continue;
    const share = b.scatter(b.full(x.type.shape, 0, x.type.dtype), [...n.shape, ...n.reduce], 'add', (axes, read) => {
      const at = (y: Expr): Expr => translated(n, y, axes, read);
      const here = e.mul(read(g, axes.slice(0, rank)), at(slope));
      const taken =
        reducer && reducer !== 'add' ? e.eq(at(n.body), read(n.outputs[0] as Value, axes.slice(0, rank))) : null;
      const kept = [...(taken ? [taken] : []), ...(site.guard ? [at(site.guard)] : [])];
      const none = e.const(0, here.dtype);
      return {
        index: site.index.map(at),
        value: e.cast(
          kept.reduce((v, c) => e.select(c, v, none), here),
          x.type.dtype,
        ),
      };
    });
    give(w, x, share);
  }
}

interface GradientAttrs {
  readonly names: readonly string[];
  readonly count: number;
  readonly y: string;
}

export const records: readonly AnyRecord[] = [
  op<'inputs*', GradientAttrs>('gradient', {
    doc: 'Derivatives of a value of the graph (the sum of its elements) by some of the values it is computed from.',
    inputs: ['inputs*'],
    onnx: {
      'ai.onnx.preview.training:Gradient@1': (n) => ({
        names: [...n.strings('xs'), ...n.strings('zs', [])],
        count: n.strings('xs').length,
        y: n.string('y'),
      }),
    },
    lower({ inputs }, { names, count, y }, b, ctx) {
      const named = (name: string): Value => ctx.valueNamed(name) ?? ctx.limit(`there is no value "${name}"`);
      const instead = new Map(
        names.flatMap((name, k) => (inputs[k] && inputs[k] !== named(name) ? [[named(name), inputs[k]] as const] : [])),
      );
      return gradients(b, ctx, replay(b, named(y), instead), inputs.slice(0, count));
    },
    limits: [
      'Values between must be elementwise, moves, sums, extrema or contractions: no loops, sorting or scattering.',
    ],
  }),
];
