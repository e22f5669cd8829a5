// Copies of a value: broadcast to a shape, and tiles side by side. All of them are views.

import type { Builder } from '../../ir/builder.js';
import { type Dim, dimEq, mul, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { assumedBound } from '../assumed-sizes.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { assumedSize, declaredShape, declaredSize, intAt, knownInts, most, sizesFrom } from './runtime-sizes.js';

/** Sizes of x repeated: output position modulo input size. */
const tile = (b: Builder, x: Value, shape: readonly Dim[]): Value =>
  b.view(x, shape, (i) =>
    i.map((v, k) => (dimEq(shape[k] as Dim, x.type.shape[k] as Dim) ? v : e.rem(v, dimExpr(x.type.shape[k] as Dim)))),
  );

function tiledShape(b: Builder, x: Value, repeats: Value, ctx: LowerContext): readonly Dim[] {
  const times = b.values(repeats);
  if (times) return x.type.shape.map((d, k) => mul(d, times[k] ?? 1));
  const sizes = x.type.shape.map(
    (d, k) => declaredSize(ctx, 0, k) ?? b.values(b.narrow(repeats, 0, k, 1))?.map((n) => mul(d, n))[0],
  );
  const open = sizes.filter((d) => d === undefined).length;
  if (open > 0) ctx.sizesWanted(repeats);
  const bound = assumedBound(open, most(product(x.type.shape)));
  return sizes.map(
    (size, k) =>
      size ??
      mul(
        x.type.shape[k] as Dim,
        assumedSize(b, 'times', bound, (read) => intAt(read, repeats, k)),
      ),
  );
}

export const records: readonly AnyRecord[] = [
  op('expand', {
    doc: 'Broadcast to a shape',
    inputs: ['x', 'shape'],
    onnx: { 'Expand@8': () => ({}) },
    tflite: { BROADCAST_TO: () => ({}) },
    quantized: 'raw',
    lower: ({ x, shape }, _a, b, ctx) => b.broadcast(x, sizesFrom(b, shape, ctx)),
  }),
  op('broadcast_in_dim', {
    doc: 'Broadcast with an explicit place for every axis',
    inputs: ['x'],
    tflite: { STABLEHLO_BROADCAST_IN_DIM: (n) => ({ places: n.ints('broadcast_dimensions') }) },
    lower: ({ x }, { places }, b, ctx) => {
      const shape = declaredShape(ctx) ?? ctx.limit('the file does not declare the output shape');
      const fits = x.type.shape.every((d, k) => d === 1 || dimEq(d, shape[places[k] ?? -1] ?? -1));
      if (!fits) return ctx.limit('the axes do not fit the output shape');
      return b.view(x, shape, (i) => x.type.shape.map((d, k) => (d === 1 ? dimExpr(0) : (i[places[k] ?? k] as Expr))));
    },
  }),
  op<'x' | 'repeats' | 'axis?', { readonly single: boolean }>('tile', {
    doc: 'Copies of x side by side along each axis',
    inputs: ['x', 'repeats', 'axis?'],
    onnx: { 'Tile@1': () => ({ single: true }), 'Tile@6': () => ({ single: false }) },
    tflite: { TILE: () => ({ single: false }) },
    quantized: 'raw',
    lower: ({ x, repeats, axis }, { single }, b, ctx) => {
      if (!single || !axis) return tile(b, x, tiledShape(b, x, repeats, ctx));
      const at = knownInts(b, undefined, axis)?.[0] ?? ctx.limit('the axis depends on data');
      const times = b.values(repeats)?.[0] ?? ctx.limit('how often to repeat depends on data');
      return tile(
        b,
        x,
        x.type.shape.map((d, k) => (k === b.axis(x, at) ? mul(d, times) : d)),
      );
    },
  }),
];
