// What every pooling shares: which element stands at a tap of a window, the reduction over the taps, and how many of them
// lie inside the image. Operators are in pool.ts, their integer kinds in quantized/pool.ts.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type Layout, tapsInside, type WindowAttrs, type WindowAxis, windowAxes, windowIndex } from './window.js';

export interface Pool {
  readonly x: Value;
  readonly axes: readonly WindowAxis[];
  readonly layout: Layout;
}

export const poolOf = (x: Value, window: WindowAttrs, layout: Layout): Pool => ({
  x,
  layout,
  axes: windowAxes(window, layout.parts(x.type.shape).spatial),
});

export function pooledShape({ x, axes, layout }: Pool): readonly Dim[] {
  const { batch, channel } = layout.parts(x.type.shape);
  return layout.place<Dim>(
    batch,
    channel,
    axes.map((a) => a.out),
  );
}

/** Index of the element at tap `r` of the window at output position `i`. */
export function elementOf({ axes, layout }: Pool, i: readonly Expr[], r: readonly Expr[]): readonly Expr[] {
  const at = layout.parts(i);
  return layout.place<Expr>(
    at.batch,
    at.channel,
    axes.map((a, k) => windowIndex(a, at.spatial[k] as Expr, r[k] as Expr)),
  );
}

/** Reduces each window of `f(x)`; `pad` stands for what lies outside. */
export function poolWith(
  b: Builder,
  p: Pool,
  reducer: 'add' | 'max',
  pad: Expr,
  f: (v: Expr) => Expr = (v) => v,
): Value {
  const outside = p.axes.some((a) => a.padded) ? { pad } : {};
  return b.generic({
    shape: pooledShape(p),
    reduce: p.axes.map((a) => a.kernel),
    reducer,
    body: (i, r, read) => f(read(p.x, elementOf(p, i, r), outside)),
  });
}

/** Number of elements an average divides by, at output position `i`. */
export function windowCount(p: Pool, i: readonly Expr[], includePad: boolean): Expr {
  const { spatial } = p.layout.parts(i);
  const each = p.axes.map((a, k): Expr => {
    if (!a.padded) return i32(a.kernel);
    const [lo, hi] = includePad ? [sub(0, a.before), add(a.size, a.after)] : [0, a.size];
    return tapsInside(a, spatial[k] as Expr, lo, hi);
  });
  return e.mul(...(each as [Expr, ...Expr[]]));
}
