// Re-lays an operand of a contraction where its reads could then be vectors. A padded operand that is contiguous along
// the output's innermost axis that is no phase or other short one (a depthwise convolution over rows) would need a test for every element; one read with a
// stride would need a gather. Both are copied once: with the padding written out, and each residue of the stride by
// itself, so that neighbours in the output are neighbours in memory. Nothing is done where another axis already serves.

import { coefficient, isZero, mentions } from '../ir/affine.js';
import { axisVars } from '../ir/builder.js';
import { add, bounds, ceildiv, type Dim, dimEq, mul, sub } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { rewriteModule } from '../ir/rewrite.js';
import { constant, type Expr, i32, type LoadExpr, load, rewriteExpr, variable, visitExpr } from '../ir/scalar.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';
import { createRangeScope, isWithin, rangeOf } from './kernel/value-range.js';

/** Rows shorter than this are not worth a copy. */
const MIN_WIDTH = 4;

export function padOperands(m: Module): Module {
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'generic' || (node.reducer !== 'add' && node.reducer !== 'max')) return undefined;
      const site = strideSite(node);
      if (!site) return undefined;
      const v = node.inputs[site.load.src] as Value;
      const spans = site.load.index.map((x, k) => span(x, node) ?? wholeAxis(x, v.type.shape[k] as Dim, node));
      if (!spans.every((s) => s !== null)) return undefined;
      const plan = layOut(v, site, spans);
      const copied = w.emit(plan.copy, [v], [{ dtype: v.type.dtype, shape: plan.copy.shape }], node.origin)[0] as Value;
      const slot = node.inputs.length;
      const body = rewriteExpr(node.body, (x) =>
        x.k === 'load' && x.src === site.load.src ? load(slot, plan.index(x.index), x.dtype) : x,
      );
      return w.emit(
        { ...node, body },
        [...node.inputs, copied],
        node.outputs.map((o) => o.type),
        node.origin,
      );
    },
  });
}

interface Site {
  readonly load: LoadExpr;
  /** Elements between neighbours of the innermost output axis. */
  readonly stride: number;
  readonly axis: string;
}

/** The one read that walks the innermost output axis, if it is the only obstacle to vectors along it. */
function strideSite(node: NodeOf<'generic'>): Site | null {
  const isLong = (d: Dim | undefined): boolean => typeof d !== 'number' || d >= MIN_WIDTH;
  const at = [...node.shape.keys()].reverse().find((k) => isLong(node.shape[k]));
  if (at === undefined) return null;
  const axis = `i${at}`;
  const size = node.shape[at] as Dim;
  const loads: LoadExpr[] = [];
  visitExpr(node.body, (x) => {
    if (x.k === 'load') loads.push(x);
  });
  const walking = loads.filter((x) => x.index.some((i) => mentions(i, axis)));
  const [site] = walking;
  if (walking.length !== 1 || !site || site.guard || (site.pad && site.pad.k !== 'const')) return null;
  const v = node.inputs[site.src] as Value;
  const last = site.index[site.index.length - 1] as Expr;
  const stride = coefficient(last, axis);
  if (stride?.k !== 'const' || Number(stride.value) < 1) return null;
  if (!site.index.slice(0, -1).every((i) => isZero(coefficient(i, axis)))) return null;
  const inside = last.k === 'var' && dimEq(v.type.shape[v.type.shape.length - 1] as Dim, size);
  if (Number(stride.value) === 1 && (!site.pad || inside)) return null;
  return { load: site, stride: Number(stride.value), axis };
}

export interface Span {
  readonly lo: number;
  readonly hi: Dim;
}

/** Smallest and largest value of an affine index with non-negative coefficients over the node's axes. */
export function span(x: Expr, node: NodeOf<'generic'>): Span | null {
  const axes: (readonly [string, Dim])[] = [
    ...node.shape.map((d, k) => [`i${k}`, d] as const),
    ...node.reduce.map((d, k) => [`r${k}`, d] as const),
  ];
  let hi: Dim = 0;
  let rest = x;
  for (const [name, size] of axes) {
    const c = coefficient(x, name);
    if (c?.k !== 'const' || Number(c.value) < 0) return null;
    hi = add(hi, mul(Number(c.value), sub(size, 1)));
    rest = rewriteExpr(rest, (y) => (y.k === 'var' && y.name === name ? i32(0) : y));
  }
  if (rest.k !== 'const') return null;
  const base = Number(rest.value);
  return { lo: base, hi: add(hi, base) };
}

/** All of an axis, where an index that is no sum stays on it, as a group's channels do. */
function wholeAxis(x: Expr, size: Dim, node: NodeOf<'generic'>): Span | null {
  const scope = createRangeScope(() => undefined);
  const last = (d: Dim): number => bounds(d)[1] - 1;
  for (const [k, d] of node.shape.entries()) scope.vars.set(`i${k}`, { lo: 0, hi: last(d) });
  for (const [k, d] of node.reduce.entries()) scope.vars.set(`r${k}`, { lo: 0, hi: last(d) });
  return typeof size === 'number' && isWithin(rangeOf(x, scope), { lo: 0, hi: size - 1 })
    ? { lo: 0, hi: size - 1 }
    : null;
}

/** The copy, and how an index of the original becomes one of the copy. */
function layOut(v: Value, site: Site, spans: readonly Span[]) {
  const rank = spans.length;
  const { stride, axis } = site;
  const last = site.load.index[rank - 1] as Expr;
  const restOf = (x: Expr): Expr =>
    e.sub(
      rewriteExpr(x, (y) => (y.k === 'var' && y.name === axis ? i32(0) : y)),
      (spans[rank - 1] as Span).lo,
    );
  const phases = restOf(last).k === 'const' ? 1 : stride;
  const sizes = spans.map((s) => add(sub(s.hi, s.lo), 1));
  const outer = sizes.slice(0, -1);
  const shape = [...outer, phases, ceildiv(sizes[rank - 1] as Dim, stride)];
  const at = axisVars(shape.length);
  const from = spans.map((s, k) => {
    const position = k < rank - 1 ? (at[k] as Expr) : e.add(e.mul(at[rank] as Expr, stride), at[rank - 1] as Expr);
    return e.add(position, s.lo);
  });
  const pad = site.load.pad ?? constant(0, v.type.dtype);
  const copy = {
    kind: 'generic',
    shape,
    reduce: [],
    reducer: null,
    body: load(0, from, v.type.dtype, { pad }),
    post: null,
  } as const;
  const index = (x: readonly Expr[]): Expr[] => {
    const rest = restOf(x[rank - 1] as Expr);
    const column = e.add(variable(axis, 'i32'), e.div(rest, stride));
    return [...x.slice(0, -1).map((y, k) => e.sub(y, (spans[k] as Span).lo)), e.rem(rest, phases), column];
  };
  return { copy, index };
}
