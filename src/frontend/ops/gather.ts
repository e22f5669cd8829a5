// Reads at positions that are data: whole slices, single elements, points, and the one-hot encoding of positions.
// Negative indices count from the end (ONNX); an index out of range reads 0 rather than foreign memory.

import type { Builder, Read } from '../../ir/builder.js';
import { type Dim, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { assumedBound } from '../assumed-sizes.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { assumedSize, declaredSize, intAt, most } from './runtime-sizes.js';

/** An index as i32, counted from the end where negative. */
export function wrapIndex(raw: Expr, size: Dim): Expr {
  const at = cast(raw, 'i32');
  return e.select(e.lt(at, 0), e.add(at, dimExpr(size)), at);
}

/** out[i] = x[i with axis replaced by indices[i]]. */
function gatherElements(b: Builder, x: Value, indices: Value, axis: number): Value {
  const k = b.axis(x, axis);
  return b.generic({
    shape: indices.type.shape,
    body: (i, _r, read) => {
      const at = wrapIndex(read(indices, i), x.type.shape[k] as Dim);
      return read(
        x,
        i.map((v, d) => (d === k ? at : v)),
        { pad: e.const(0, x.type.dtype) },
      );
    },
  });
}

/** The last axis of `indices` is a point in the axes of x after the batch axes. */
function gatherPoints(b: Builder, x: Value, indices: Value, batch: number, ctx: LowerContext): Value {
  const depth = indices.type.shape.at(-1);
  if (typeof depth !== 'number') return ctx.limit('the number of indexed axes is not fixed');
  if (batch + depth > x.type.shape.length)
    return ctx.limit(`points of ${depth} coordinates do not fit the input's rank`);
  const lead = indices.type.shape.slice(0, -1);
  return b.generic({
    shape: [...lead, ...x.type.shape.slice(batch + depth)],
    body: (i, _r, read) => {
      const place = i.slice(0, lead.length);
      const point = Array.from({ length: depth }, (_, k) =>
        wrapIndex(read(indices, [...place, i32(k)]), x.type.shape[batch + k] as Dim),
      );
      return read(x, [...i.slice(0, batch), ...point, ...i.slice(lead.length)], { pad: e.const(0, x.type.dtype) });
    },
  });
}

interface OneHotSpec {
  readonly depth: Dim;
  readonly axis: number;
  /** Negative indices count from the end. */
  readonly wrap: boolean;
  readonly on: (read: Read) => Expr;
  readonly off: (read: Read) => Expr;
}

function oneHot(b: Builder, indices: Value, s: OneHotSpec): Value {
  const rank = indices.type.shape.length + 1;
  const k = s.axis < 0 ? s.axis + rank : s.axis;
  const { shape } = indices.type;
  return b.generic({
    shape: [...shape.slice(0, k), s.depth, ...shape.slice(k)],
    body: (i, _r, read) => {
      const raw = read(
        indices,
        i.filter((_, d) => d !== k),
      );
      const at = s.wrap ? wrapIndex(raw, s.depth) : cast(raw, 'i32');
      return e.select(e.eq(at, i[k] as Expr), s.on(read), s.off(read));
    },
  });
}

/** How many classes: a constant, the declared size, or what the program computes. */
function depthOf(b: Builder, depth: Value, axis: number, indices: Value, ctx: LowerContext): Dim {
  const rank = indices.type.shape.length + 1;
  const known = b.values(depth)?.[0] ?? declaredSize(ctx, 0, axis < 0 ? axis + rank : axis);
  if (known !== undefined) return known;
  ctx.sizesWanted(depth);
  const bound = assumedBound(1, most(product(indices.type.shape)));
  return assumedSize(b, 'depth', bound, (read) => intAt(read, depth, 0));
}

export const records: readonly AnyRecord[] = [
  op('gather', {
    doc: 'Slices of x along an axis, picked by an index tensor',
    inputs: ['x', 'indices'],
    onnx: { 'Gather@1': (n) => ({ axis: n.int('axis', 0), batch: 0 }) },
    tflite: { GATHER: (n) => ({ axis: n.int('axis', 0), batch: n.int('batch_dims', 0) }) },
    quantized: 'raw',
    examples: [
      { in: { x: [1, 2, 3], indices: { dtype: 'i64', data: [-1, 0] } }, attrs: { axis: 0, batch: 0 }, out: [3, 1] },
    ],
    lower: ({ x, indices }, { axis, batch }, b) => {
      const from = batch < 0 ? batch + indices.type.shape.length : batch;
      return b.gather(x, indices, axis, from);
    },
  }),
  op('gather_elements', {
    doc: 'Elements of x at positions along one axis, the other axes going along',
    inputs: ['x', 'indices'],
    onnx: { 'GatherElements@11': (n) => ({ axis: n.int('axis', 0) }) },
    examples: [
      {
        in: {
          x: [
            [1, 2],
            [3, 4],
          ],
          indices: { dtype: 'i64', data: [[0], [1]] },
        },
        attrs: { axis: 1 },
        out: [[1], [4]],
      },
    ],
    lower: ({ x, indices }, { axis }, b) => gatherElements(b, x, indices, axis),
  }),
  op('gather_nd', {
    doc: 'Elements or slices of x at points',
    inputs: ['x', 'indices'],
    onnx: {
      'GatherND@11': (n) => ({ batch: n.int('batch_dims', 0) }),
      'com.microsoft:GatherND@1': () => ({ batch: 0 }),
    },
    tflite: { GATHER_ND: () => ({ batch: 0 }) },
    quantized: 'raw',
    lower: ({ x, indices }, { batch }, b, ctx) => gatherPoints(b, x, indices, batch, ctx),
  }),
  op('embedding_lookup', {
    doc: 'Rows of a table, picked by ids',
    inputs: ['ids', 'table'],
    onnx: {
      'com.microsoft:TorchEmbedding@1': (n) => ({ $inputs: { table: n.input(0), ids: n.input(1) } }),
    },
    tflite: { EMBEDDING_LOOKUP: () => ({}) },
    lower: ({ ids, table }, _a, b) => b.gather(table, ids, 0),
  }),
  op('one_hot', {
    doc: 'A new axis that is `on` at the position an index names and `off` elsewhere',
    inputs: ['indices', 'depth', 'values'],
    onnx: { 'OneHot@9': (n) => ({ axis: n.int('axis', -1) }) },
    lower: ({ indices, depth, values }, { axis }, b, ctx) =>
      oneHot(b, indices, {
        depth: depthOf(b, depth, axis, indices, ctx),
        axis,
        wrap: true,
        on: (read) => read(values, [i32(1)]),
        off: (read) => read(values, [i32(0)]),
      }),
  }),
  op('one_hot_values', {
    doc: 'A new axis that is `on` at the position an index names and `off` elsewhere',
    inputs: ['indices', 'depth', 'on', 'off'],
    tflite: { ONE_HOT: (n) => ({ axis: n.int('axis', -1) }) },
    quantized: 'raw',
    lower: ({ indices, depth, on, off }, { axis }, b, ctx) =>
      oneHot(b, indices, {
        depth: depthOf(b, depth, axis, indices, ctx),
        axis,
        wrap: false,
        on: (read) =>
          read(
            on,
            on.type.shape.map(() => i32(0)),
          ),
        off: (read) =>
          read(
            off,
            off.type.shape.map(() => i32(0)),
          ),
      }),
  }),
];
