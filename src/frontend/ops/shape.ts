// Shapes: asking for them and changing them; nothing here moves data. Expand and Tile are in repeat.ts.
// Sizes fold through arithmetic on symbols; what only the running program knows is in runtime-sizes.ts.

import type { Builder, Read } from '../../ir/builder.js';
import { bounds, type Dim, dimEq, dimKey, floordiv, isChecked, max, product, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { computedSize, declaredSize, knownInts, lengthOf, most, namesAxis, nthKept } from './runtime-sizes.js';

/** The sizes a Reshape asks for: one −1 takes what is left, 0 (unless `allowZero`) keeps the input's size. */
function requestedShape(x: Value, wanted: readonly Dim[], allowZero: boolean, ctx: LowerContext): readonly Dim[] {
  const { shape } = x.type;
  const sizes = wanted.map((d, k) =>
    d === 0 && !allowZero ? (shape[k] ?? ctx.limit(`size 0 at axis ${k} has no input axis`)) : d,
  );
  const open = sizes.indexOf(-1);
  if (sizes.some((d, k) => k !== open && bounds(d)[1] < 0)) return ctx.limit(`[${sizes.map(dimKey)}] is not a shape`);
  if (open < 0) return sizes;
  const rest = product(sizes.filter((_, k) => k !== open));
  const total = product(shape);
  if (rest === 0) return sizes.map((d, k) => (k === open ? 0 : d));
  if (bounds(rest)[0] <= 0) return cancelCommon(sizes, shape, open);
  return sizes.map((d, k) => (k === open ? floordiv(total, rest) : d));
}

/** Sizes that may be 0 cannot divide: equal factors of both sides are dropped first. */
function cancelCommon(sizes: readonly Dim[], shape: readonly Dim[], open: number): readonly Dim[] {
  const left = [...shape];
  const over: Dim[] = [];
  for (const [k, d] of sizes.entries()) {
    if (k === open) continue;
    const at = left.findIndex((s) => dimEq(s, d));
    if (at >= 0) left.splice(at, 1);
    else over.push(d);
  }
  return sizes.map((d, k) => (k === open ? floordiv(product(left), max(1, product(over))) : d));
}

/** A shape input whose contents depend on data: declared sizes, at most one of them unknown. */
function runtimeShape(x: Value, v: Value, allowZero: boolean, ctx: LowerContext): readonly Dim[] {
  const rank = lengthOf(v, ctx);
  const sizes = Array.from(
    { length: rank },
    (_, k): Dim => ctx.builder.values(ctx.builder.narrow(v, 0, k, 1))?.[0] ?? declaredSize(ctx, 0, k) ?? -1,
  );
  if (sizes.filter((d) => d === -1).length > 1) {
    ctx.sizesWanted(v);
    return ctx.limit('the shape depends on data', 'Fix the sizes it is computed from with --dim');
  }
  return requestedShape(x, sizes, allowZero, ctx);
}

/** The shape comes from the input where it folds, else from an option (TFLite, ONNX opset 1), else from the declared output. */
function reshapeTo(x: Value, shape: Value | undefined, a: ReshapeAttrs, b: Builder, ctx: LowerContext): Value {
  const option = a.option?.length || !shape ? a.option : undefined;
  const wanted = (shape && b.values(shape)) ?? option;
  if (wanted) {
    const sizes = requestedShape(x, wanted, a.allowZero, ctx);
    if (sizes.some(isChecked)) b.requireZero(sub(product(sizes), product(x.type.shape)), 'excess');
    return b.reshape(x, sizes);
  }
  return b.reshape(x, shape ? runtimeShape(x, shape, a.allowZero, ctx) : ctx.limit('there is no shape to take'));
}

interface ReshapeAttrs {
  readonly allowZero: boolean;
  readonly option?: readonly number[];
}

/** Axes dropped by Squeeze: those given, or every axis of size 1. */
function squeeze(
  b: Builder,
  x: Value,
  attr: readonly number[] | undefined,
  axes: Value | undefined,
  ctx: LowerContext,
): Value {
  const { shape } = x.type;
  if (!attr?.length && !axes) return b.squeeze(x);
  const known = knownInts(b, attr, axes);
  if (known) return b.squeeze(x, known);
  const count = lengthOf(axes as Value, ctx);
  const kept = Array.from(
    { length: shape.length - count },
    (_, k): Dim =>
      declaredSize(ctx, 0, k) ??
      computedSize(b, 'kept', 0, Math.max(...shape.map(most)), (read) =>
        nthKept(
          shape.length,
          k,
          (d) => e.eq(e.cast(namesAxis(read, axes as Value, count, d, shape.length), 'i32'), 0),
          (d) => shape[d] as Dim,
        ),
      ),
  );
  return b.reshape(x, kept);
}

function unsqueeze(
  b: Builder,
  x: Value,
  attr: readonly number[] | undefined,
  axes: Value | undefined,
  ctx: LowerContext,
): Value {
  const known = knownInts(b, attr, axes);
  if (known) return b.unsqueeze(x, known);
  const { shape } = x.type;
  const count = lengthOf(axes as Value, ctx);
  const rank = shape.length + count;
  const isNew = (read: Read, k: number): Expr => namesAxis(read, axes as Value, count, k, rank);
  const sizes = Array.from(
    { length: rank },
    (_, k): Dim =>
      declaredSize(ctx, 0, k) ??
      computedSize(b, 'size', 0, Math.max(1, ...shape.map(most)), (read) => {
        const before = Array.from({ length: k }, (_, j) => e.cast(isNew(read, j), 'i32')).reduce(
          (p, q) => e.sub(p, q),
          dimExpr(k),
        );
        const own = shape.reduce<Expr>((p, d, j) => e.select(e.eq(before, j), dimExpr(d), p), dimExpr(1));
        return e.select(isNew(read, k), 1, own);
      }),
  );
  return b.reshape(x, sizes);
}

const axesOption = (n: { ints(name: string, fallback?: readonly number[]): readonly number[] }, name: string) => ({
  axes: n.ints(name, []),
});

interface AxesOption {
  readonly axes?: readonly number[];
}

const LAYOUT: readonly AnyRecord[] = [
  op<'x' | 'shape?', ReshapeAttrs>('reshape', {
    doc: 'The same elements in row-major order under another shape',
    inputs: ['x', 'shape?'],
    onnx: {
      'Reshape@1': (n) => ({ allowZero: false, option: n.ints('shape', []) }),
      'Reshape@5': () => ({ allowZero: false }),
      'Reshape@14': (n) => ({ allowZero: n.bool('allowzero', false) }),
    },
    tflite: {
      RESHAPE: (n) => ({ allowZero: true, option: n.ints('new_shape', []) }),
      STABLEHLO_RESHAPE: () => ({ allowZero: true }),
    },
    quantized: 'raw',
    lower: ({ x, shape }, a, b, ctx) => {
      const declared = ctx.declared(0)?.shape;
      const option = a.option ?? (shape ? undefined : (declared?.map(Number) ?? []));
      return reshapeTo(x, shape, option ? { ...a, option } : a, b, ctx);
    },
  }),
  op('flatten', {
    doc: 'A matrix: the axes before `axis`, and the rest',
    inputs: ['x'],
    onnx: { 'Flatten@1': (n) => ({ axis: n.int('axis', 1) }) },
    lower: ({ x }, { axis }, b, ctx) => {
      const rank = x.type.shape.length;
      const k = axis < 0 ? axis + rank : axis;
      if (k < 0 || k > rank) return ctx.limit(`axis ${axis} is outside a tensor of rank ${rank}`);
      return b.reshape(x, [product(x.type.shape.slice(0, k)), product(x.type.shape.slice(k))]);
    },
  }),
  op<'x' | 'axes?', AxesOption>('squeeze', {
    doc: 'Drops axes of size 1',
    inputs: ['x', 'axes?'],
    onnx: { 'Squeeze@1': (n) => axesOption(n, 'axes'), 'Squeeze@13': () => ({}) },
    tflite: { SQUEEZE: (n) => axesOption(n, 'squeeze_dims') },
    quantized: 'raw',
    lower: ({ x, axes }, a, b, ctx) => squeeze(b, x, a.axes, axes, ctx),
  }),
  op<'x' | 'axes?', AxesOption>('unsqueeze', {
    doc: 'Adds axes of size 1',
    inputs: ['x', 'axes?'],
    onnx: {
      'Unsqueeze@1': (n) => axesOption(n, 'axes'),
      'Unsqueeze@13': () => ({}),
      'com.microsoft:ExpandDims@1': () => ({}),
    },
    tflite: { EXPAND_DIMS: () => ({}) },
    quantized: 'raw',
    lower: ({ x, axes }, a, b, ctx) => unsqueeze(b, x, a.axes, axes, ctx),
  }),
  op<'x' | 'perm?', { readonly perm?: readonly number[] }>('transpose', {
    doc: 'Axes in another order; reversed where none is given',
    inputs: ['x', 'perm?'],
    onnx: { 'Transpose@1': (n) => (n.has('perm') ? { perm: n.ints('perm') } : {}) },
    tflite: { TRANSPOSE: () => ({}), STABLEHLO_TRANSPOSE: (n) => ({ perm: n.ints('permutation') }) },
    quantized: 'raw',
    lower: ({ x, perm }, a, b, ctx) => {
      const rank = x.type.shape.length;
      if (!a.perm && !perm)
        return b.transpose(
          x,
          x.type.shape.map((_, k) => rank - 1 - k),
        );
      const order = knownInts(b, a.perm, perm) ?? ctx.limit('the permutation depends on data');
      return b.transpose(
        x,
        order.map((p) => (p < 0 ? p + rank : p)),
      );
    },
  }),
  op('identity', {
    doc: 'The value itself',
    inputs: ['x'],
    onnx: { 'Identity@1': () => ({}) },
    quantized: 'raw',
    lower: ({ x }) => x,
  }),
];

const QUERIES: readonly AnyRecord[] = [
  op<'x', { readonly start: number; readonly end: number | undefined; readonly dtype: DType }>('shape', {
    doc: 'Sizes of x, or a range of them',
    inputs: ['x'],
    onnx: {
      'Shape@1': (n) => ({ start: n.int('start', 0), end: n.has('end') ? n.int('end') : undefined, dtype: 'i64' }),
    },
    tflite: {
      SHAPE: (n) => ({ start: 0, end: undefined, dtype: n.dtype('out_type', 'i32') === 'i64' ? 'i64' : 'i32' }),
    },
    quantized: 'raw',
    lower: ({ x }, { start, end, dtype }, b) => b.cast(b.dims(x.type.shape.slice(start, end)), dtype),
  }),
  op('size', {
    doc: 'Number of elements of x',
    inputs: ['x'],
    onnx: { 'Size@1': () => ({}) },
    lower: ({ x }, _a, b) => b.dim(product(x.type.shape)),
  }),
  op('rank', {
    doc: 'Number of axes of x',
    inputs: ['x'],
    tflite: { RANK: () => ({}) },
    quantized: 'raw',
    lower: ({ x }, _a, b) => b.scalar(x.type.shape.length, 'i32'),
  }),
  op('broadcast_args', {
    doc: 'The shape two shapes broadcast to',
    inputs: ['x', 'y'],
    tflite: { BROADCAST_ARGS: () => ({}) },
    lower: ({ x, y }, _a, b, ctx) => {
      const [p, q] = [b.values(x), b.values(y)];
      if (p && q) return b.cast(b.dims(b.broadcastShape([p, q])), x.type.dtype);
      const [m, n] = [lengthOf(x, ctx), lengthOf(y, ctx)];
      const rank = Math.max(m, n);
      const ones = (v: Value, count: number): Value => b.pad(v, [rank - count], [0], 1);
      return b.map([ones(x, m), ones(y, n)], (s, t) => e.select(e.eq(s, 1), t, s));
    },
  }),
];

export const records: readonly AnyRecord[] = [...LAYOUT, ...QUERIES];
