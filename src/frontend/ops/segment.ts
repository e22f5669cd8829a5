// TFLite operators that put rows where indices say: segment reductions, sparse to dense, diagonals, and buckets.
// Rows whose index is out of range are dropped.

import type { Builder } from '../../ir/builder.js';
import { type Dim, isConst } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { fromNumbers, toNumbers } from '../../support/tensor.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

type Mode = 'add' | 'mul' | 'min' | 'max';

/** What an empty segment holds. */
function neutral(b: Builder, mode: Mode, dtype: Value['type']['dtype']): Expr {
  if (mode === 'add' || mode === 'mul') return e.const(mode === 'add' ? 0 : 1, dtype);
  const largest = 3.4028234663852886e38;
  if (dtype === 'f32') return e.const(mode === 'max' ? -largest : largest, dtype);
  return mode === 'max' ? b.lowest(dtype) : b.highest(dtype);
}

/** Rows of x, combined into the segment each belongs to. `ids` runs over the leading axes of x. */
function segments(b: Builder, x: Value, ids: Value, count: Dim, mode: Mode): Value {
  const lead = ids.type.shape.length;
  const start = b.generic({
    shape: [count, ...x.type.shape.slice(lead)],
    body: () => neutral(b, mode, x.type.dtype),
  });
  return b.scatter(start, x.type.shape, mode, (i, read) => ({
    index: [cast(read(ids, i.slice(0, lead)), 'i32'), ...i.slice(lead)],
    value: read(x, i),
  }));
}

/** One more than the last id of sorted ones: known where they are constant, else at most the declared size. */
function sortedCount(b: Builder, ids: Value, ctx: LowerContext): Dim {
  const known = ctx.reader.constant(1);
  if (known) return known.data.length === 0 ? 0 : (toNumbers(known).at(-1) as number) + 1;
  const rows = ids.type.shape[0] as Dim;
  if (!isConst(rows)) return ctx.limit('segments of rows whose number is not fixed', 'Fix it with --dim');
  const last = b.generic({ shape: [], body: (_i, _r, read) => e.add(cast(read(ids, [i32(rows - 1)]), 'i64'), 1) });
  // Ids may have gaps, but only the data know: the file's own count, if it has one, is the bound.
  const declared = ctx.declared(0)?.shape[0];
  return b.bindSym(last, 'segments', 0, typeof declared === 'number' ? Math.max(rows, declared) : rows);
}

const unsorted = (name: string, builtin: string, mode: Mode): AnyRecord =>
  op(name, {
    doc: 'Rows combined by segment, in any order; the number of segments is given.',
    inputs: ['x', 'ids', 'count'],
    tflite: { [builtin]: () => ({}) },
    lower: ({ x, ids }, _a, b, ctx) => segments(b, x, ids, ctx.reader.dims(2)?.[0] ?? 0, mode),
  });

/** Whether position i is on the diagonal of its matrix. */
const onDiagonal = (i: readonly Expr[]): Expr => e.eq(i.at(-2) as Expr, i.at(-1) as Expr);

export const records: readonly AnyRecord[] = [
  op('segment_sum', {
    doc: 'Rows summed by segment; ids are sorted and the last one says how many there are.',
    inputs: ['x', 'ids'],
    tflite: { SEGMENT_SUM: () => ({}) },
    lower: ({ x, ids }, _a, b, ctx) => segments(b, x, ids, sortedCount(b, ids, ctx), 'add'),
  }),
  unsorted('unsorted_segment_sum', 'UNSORTED_SEGMENT_SUM', 'add'),
  unsorted('unsorted_segment_prod', 'UNSORTED_SEGMENT_PROD', 'mul'),
  unsorted('unsorted_segment_max', 'UNSORTED_SEGMENT_MAX', 'max'),
  unsorted('unsorted_segment_min', 'UNSORTED_SEGMENT_MIN', 'min'),
  op('sparse_to_dense', {
    doc: 'A tensor of one value but for the elements listed.',
    inputs: ['indices', 'shape', 'values', 'fallback'],
    tflite: { SPARSE_TO_DENSE: () => ({}) },
    quantized: 'raw',
    lower: ({ indices, values, fallback }, _a, b, ctx) => {
      const shape = ctx.reader.dims(1) ?? [];
      const start = b.generic({
        shape,
        body: (_i, _r, read) =>
          read(
            fallback,
            fallback.type.shape.map(() => i32(0)),
          ),
      });
      const rank = indices.type.shape.length;
      const rows = rank === 0 ? 1 : (indices.type.shape[0] as Dim);
      return b.scatter(start, [rows], 'set', ([n], read) => ({
        index: shape.map((_, k) => cast(read(indices, [n as Expr, i32(k)].slice(0, rank)), 'i32')),
        value: read(values, values.type.shape.length === 0 ? [] : [values.type.shape[0] === 1 ? i32(0) : (n as Expr)]),
      }));
    },
  }),
  op('matrix_diag', {
    doc: 'Matrices that are zero but for the given diagonals.',
    inputs: ['x'],
    tflite: { MATRIX_DIAG: () => ({}) },
    quantized: 'raw',
    lower: ({ x }, _a, b) =>
      b.generic({
        shape: [...x.type.shape, x.type.shape.at(-1) as Dim],
        body: (i, _r, read) => e.select(onDiagonal(i), read(x, i.slice(0, -1)), e.const(0, x.type.dtype)),
      }),
  }),
  op('matrix_set_diag', {
    doc: 'Matrices with other diagonals.',
    inputs: ['x', 'diagonal'],
    tflite: { MATRIX_SET_DIAG: () => ({}) },
    quantized: 'raw',
    lower: ({ x, diagonal }, _a, b) =>
      b.generic({
        shape: x.type.shape,
        body: (i, _r, read) => {
          const given = read(diagonal, i.slice(0, -1), { guard: onDiagonal(i), pad: e.const(0, x.type.dtype) });
          return e.select(onDiagonal(i), given, read(x, i));
        },
      }),
  }),
  op<'x', { readonly boundaries: readonly number[] }>('bucketize', {
    doc: 'How many boundaries lie at or below each value.',
    inputs: ['x'],
    tflite: { BUCKETIZE: (n) => ({ boundaries: n.floats('boundaries', []) }) },
    lower: ({ x }, { boundaries }, b) => {
      if (boundaries.length === 0) return b.full(x.type.shape, 0, 'i32');
      const table = b.constant(fromNumbers('f32', [boundaries.length], boundaries));
      return b.generic({
        shape: x.type.shape,
        reduce: [boundaries.length],
        reducer: 'add',
        body: (i, r, read) => cast(e.le(read(table, r), cast(read(x, i), 'f32')), 'i32'),
      });
    },
  }),
];
