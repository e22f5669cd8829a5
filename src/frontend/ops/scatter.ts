// Writes at positions that are data: into a copy of a value, replacing or combining. Positions out of range are dropped.

import type { Builder, Read } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { wrapIndex } from './gather.js';
import { type AnyRecord, type Decode, type LowerContext, op } from './record.js';
import { intAt, sizesFrom } from './runtime-sizes.js';

type Mode = 'set' | 'add' | 'mul' | 'min' | 'max';

const MODES: Readonly<Record<string, Mode>> = { none: 'set', add: 'add', mul: 'mul', min: 'min', max: 'max' };

interface ScatterAttrs {
  readonly axis: number;
  readonly reduction: string;
}

const modeOf = (name: string, ctx: LowerContext): Mode =>
  Object.hasOwn(MODES, name) ? (MODES[name] as Mode) : ctx.limit(`reduction "${name}" is not known`);

const decode: Decode<ScatterAttrs> = (n) => ({ axis: n.int('axis', 0), reduction: n.string('reduction', 'none') });

/** The last axis of `indices` is a point in the first axes of `into`; an update is an element or slice there. */
function scatterPoints(b: Builder, into: Value, indices: Value, updates: Value, mode: Mode, ctx: LowerContext): Value {
  const depth = indices.type.shape.at(-1);
  if (typeof depth !== 'number') return ctx.limit('the number of indexed axes is not fixed');
  if (depth > into.type.shape.length) return ctx.limit(`points of ${depth} coordinates do not fit the output's rank`);
  const lead = indices.type.shape.length - 1;
  return b.scatter(into, updates.type.shape, mode, (i, read) => {
    const place = i.slice(0, lead);
    const point = Array.from({ length: depth }, (_, k) =>
      wrapIndex(read(indices, [...place, i32(k)]), into.type.shape[k] as Dim),
    );
    return { index: [...point, ...i.slice(lead)], value: read(updates, i) };
  });
}

/** Replaces a block of `x` that starts at `starts`, moved so that it fits. */
function updateBlock(b: Builder, x: Value, update: Value, start: (d: number, read: Read) => Expr): Value {
  return b.scatter(x, update.type.shape, 'set', (i, read) => ({
    index: i.map((v, d) => {
      const room = e.sub(dimExpr(x.type.shape[d] as Dim), dimExpr(update.type.shape[d] as Dim));
      return e.add(v, e.clamp(start(d, read), 0, room));
    }),
    value: read(update, i),
  }));
}

export const records: readonly AnyRecord[] = [
  op<'x' | 'indices' | 'updates', ScatterAttrs>('scatter_elements', {
    doc: 'Elements of x replaced or combined at positions along one axis, the other axes going along',
    inputs: ['x', 'indices', 'updates'],
    onnx: { 'ScatterElements@11': decode, 'Scatter@9': decode },
    examples: [
      {
        in: { x: [1, 1, 1], indices: { dtype: 'i64', data: [1, 1] }, updates: [2, 3] },
        attrs: { axis: 0, reduction: 'add' },
        out: [1, 6, 1],
      },
    ],
    lower: ({ x, indices, updates }, a, b, ctx) => {
      const k = b.axis(x, a.axis);
      return b.scatter(x, indices.type.shape, modeOf(a.reduction, ctx), (i, read) => {
        const at = wrapIndex(read(indices, i), x.type.shape[k] as Dim);
        return { index: i.map((v, d) => (d === k ? at : v)), value: read(updates, i) };
      });
    },
  }),
  op<'x' | 'indices' | 'updates', ScatterAttrs>('scatter_nd', {
    doc: 'Elements or slices of x replaced or combined at points',
    inputs: ['x', 'indices', 'updates'],
    onnx: { 'ScatterND@11': decode },
    lower: ({ x, indices, updates }, a, b, ctx) => scatterPoints(b, x, indices, updates, modeOf(a.reduction, ctx), ctx),
  }),
  op('scatter_new', {
    doc: 'Updates added up at points of a new tensor of zeros',
    inputs: ['indices', 'updates', 'shape'],
    tflite: { SCATTER_ND: () => ({}) },
    quantized: 'raw',
    lower: ({ indices, updates, shape }, _a, b, ctx) => {
      const zeros = b.full(sizesFrom(b, shape, ctx), 0, updates.type.dtype);
      return scatterPoints(b, zeros, indices, updates, updates.type.dtype === 'i1' ? 'max' : 'add', ctx);
    },
  }),
  op<'x' | 'update' | 'starts?', { readonly axis: number; readonly circular: boolean }>('tensor_scatter', {
    doc: 'A cache with new entries written from each batch element’s own position on',
    inputs: ['x', 'update', 'starts?'],
    onnx: {
      'TensorScatter@24': (n) => ({ axis: n.int('axis', -2), circular: n.string('mode', 'linear') === 'circular' }),
    },
    lower: ({ x, update, starts }, { axis, circular }, b) => {
      const k = b.axis(x, axis);
      return b.scatter(x, update.type.shape, 'set', (i, read) => {
        const start = starts ? cast(read(starts, [i[0] as Expr]), 'i32') : i32(0);
        const at = e.add(start, i[k] as Expr);
        const wrapped = circular ? e.rem(at, dimExpr(x.type.shape[k] as Dim)) : at;
        return { index: i.map((v, d) => (d === k ? wrapped : v)), value: read(update, i) };
      });
    },
  }),
  op('dynamic_update_slice', {
    doc: 'A block of x replaced; the block is moved so that it fits',
    inputs: ['x', 'update', 'starts'],
    tflite: { DYNAMIC_UPDATE_SLICE: () => ({}) },
    quantized: 'raw',
    lower: ({ x, update, starts }, _a, b) => updateBlock(b, x, update, (d, read) => intAt(read, starts, d)),
  }),
  op('stablehlo_dynamic_update_slice', {
    doc: 'A block of x replaced; the block is moved so that it fits',
    inputs: ['x', 'update', 'starts*'],
    tflite: { STABLEHLO_DYNAMIC_UPDATE_SLICE: () => ({}) },
    quantized: 'raw',
    lower: ({ x, update, starts }, _a, b) => updateBlock(b, x, update, (d, read) => intAt(read, starts[d] as Value, 0)),
  }),
];
