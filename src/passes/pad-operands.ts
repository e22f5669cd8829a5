// Padding by a copy where it pays: a contraction whose padded operand is contiguous along the output's innermost
// axis (a depthwise convolution over rows) cannot run in vectors with a test for every element, so the operand is
// copied once into a padded buffer. Where the padded operand is only broadcast (scalar reads), nothing is done.

import { coefficient, isOne, isZero, mentions } from '../ir/affine.js';
import { axisVars } from '../ir/builder.js';
import { e } from '../ir/expr.js';
import { rewriteModule } from '../ir/rewrite.js';
import { type Expr, i32, type LoadExpr, load, rewriteExpr, visitExpr } from '../ir/scalar.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';

export function padOperands(m: Module): Module {
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'generic' || node.reducer !== 'add') return undefined;
      const site = paddedSite(node);
      if (!site) return undefined;
      const v = node.inputs[site.src] as Value;
      const spans = site.index.map((x) => span(x, node));
      if (!spans.every((s) => s !== null) || !v.type.shape.every((d) => typeof d === 'number')) return undefined;
      const before = spans.map((s) => Math.max(0, -s[0]));
      const shape = spans.map((s, k) => Math.max(v.type.shape[k] as number, s[1] + 1) + (before[k] as number));
      const at = axisVars(shape.length).map((x, k) => e.sub(x, before[k] as number));
      const body = load(0, at, v.type.dtype, { pad: site.pad });
      const copy = { kind: 'generic', shape, reduce: [], reducer: null, body, post: null } as const;
      const padded = w.emit(copy, [v], [{ dtype: v.type.dtype, shape }], node.origin)[0] as Value;
      const slot = node.inputs.length;
      const next = rewriteExpr(node.body, (x) =>
        x.k === 'load' && x.src === site.src
          ? load(
              slot,
              x.index.map((i, k) => e.add(i, before[k] as number)),
              x.dtype,
            )
          : x,
      );
      return w.emit(
        { ...node, body: next },
        [...node.inputs, padded],
        node.outputs.map((o) => o.type),
        node.origin,
      );
    },
  });
}

/** The one padded read that is contiguous along the innermost output axis, where the other reads allow vectors. */
function paddedSite(node: NodeOf<'generic'>): LoadExpr | null {
  const name = `i${node.shape.length - 1}`;
  const size = node.shape[node.shape.length - 1];
  if (typeof size !== 'number' || size < 4) return null;
  const loads: LoadExpr[] = [];
  visitExpr(node.body, (x) => {
    if (x.k === 'load') loads.push(x);
  });
  const walking = loads.filter((x) => x.index.some((i) => mentions(i, name)));
  const [site] = walking;
  if (walking.length !== 1 || !site?.pad || site.guard || site.pad.k !== 'const') return null;
  const last = site.index[site.index.length - 1] as Expr;
  const rest = site.index.slice(0, -1).every((i) => isZero(coefficient(i, name)));
  return rest && isOne(coefficient(last, name)) ? site : null;
}

/** Smallest and largest value of an affine index over the node's axes; null where not affine with constants. */
function span(x: Expr, node: NodeOf<'generic'>): readonly [number, number] | null {
  const axes: [string, number][] = [];
  for (const [k, d] of node.shape.entries()) if (typeof d === 'number') axes.push([`i${k}`, d]);
  for (const [k, d] of node.reduce.entries()) if (typeof d === 'number') axes.push([`r${k}`, d]);
  let [lo, hi] = [0, 0];
  let rest = x;
  for (const [name, size] of axes) {
    const c = coefficient(x, name);
    if (c?.k !== 'const') return null;
    const reach = Number(c.value) * (size - 1);
    lo += Math.min(0, reach);
    hi += Math.max(0, reach);
    rest = rewriteExpr(rest, (y) => (y.k === 'var' && y.name === name ? i32(0) : y));
  }
  const base = rest.k === 'const' ? Number(rest.value) : null;
  return base === null ? null : [lo + base, hi + base];
}
