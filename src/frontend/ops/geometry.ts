// Operators on positions: sliding blocks put back together, centred crops and pads.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv, max, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { constant, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { intAt, knownInts, lengthOf } from './runtime-sizes.js';

interface Col2ImAttrs {
  readonly dilations: readonly number[];
  readonly strides: readonly number[];
  readonly pads: readonly number[];
}

/** Each image position sums the block entries that cover it. Block sizes may be known only at run time; their product is not. */
function col2im(b: Builder, x: Value, image: readonly Dim[], block: Value, channels: Dim, a: Col2ImAttrs): Value {
  const rank = image.length;
  const [batch, rows] = x.type.shape as [Dim, Dim];
  const known = knownInts(b, undefined, block);
  const entries = floordiv(rows, channels);
  const zero = constant(0, x.type.dtype);
  return b.generic({
    shape: [batch, channels, ...image],
    reduce: [entries],
    reducer: 'add',
    body([n, c, ...at], [entry], read) {
      let rest = entry as Expr;
      let guard: Expr = constant(true, 'i1');
      let column: Expr = i32(0);
      let columns: Expr = i32(1);
      for (let d = rank - 1; d >= 0; d--) {
        const size = known ? i32(known[d] as number) : e.max(intAt(read, block, d), 1);
        const [stride, dilation] = [a.strides[d] ?? 1, a.dilations[d] ?? 1];
        const [before, after] = [a.pads[d] ?? 0, a.pads[d + rank] ?? 0];
        const shifted = e.sub(e.add(at[d] as Expr, before), e.mul(e.rem(rest, size), dilation));
        rest = e.div(rest, size);
        const room = e.sub(e.add(dimExpr(image[d] as Dim), before + after - 1), e.mul(e.sub(size, 1), dilation));
        const windows = e.add(e.div(room, stride), 1);
        const window = e.div(shifted, stride);
        guard = e.and(guard, e.le(0, shifted), e.eq(e.rem(shifted, stride), 0), e.lt(window, windows));
        column = e.add(column, e.mul(window, columns));
        columns = e.mul(columns, windows);
      }
      const row = e.add(e.mul(c as Expr, dimExpr(entries)), entry as Expr);
      return read(x, [n as Expr, row, column], { guard, pad: zero });
    },
  });
}

function centerCropPad(b: Builder, x: Value, target: readonly Dim[], axes: readonly number[]): Value {
  const before = x.type.shape.map((): Dim => 0);
  const after = x.type.shape.map((): Dim => 0);
  axes.forEach((axis, k) => {
    const at = b.axis(x, axis);
    const [size, wanted] = [x.type.shape[at] as Dim, target[k] as Dim];
    const half = (d: Dim): Dim => floordiv(max(d, 0), 2);
    before[at] = sub(half(sub(wanted, size)), half(sub(size, wanted)));
    after[at] = sub(sub(wanted, size), before[at] as Dim);
  });
  return b.pad(x, before, after, 0);
}

export const records: readonly AnyRecord[] = [
  op('col2im', {
    doc: 'Sums sliding blocks, given as columns, into the image they were taken from.',
    inputs: ['x', 'image', 'block'],
    onnx: {
      'Col2Im@18': (n): Col2ImAttrs => ({
        dilations: n.ints('dilations', []),
        strides: n.ints('strides', []),
        pads: n.ints('pads', []),
      }),
    },
    lower({ x, image, block }, a, b, ctx) {
      const sizes = b.values(image) ?? Array.from({ length: lengthOf(image, ctx) }, (_, k) => declaredAxis(ctx, k + 2));
      const known = knownInts(b, undefined, block);
      const channels = known
        ? floordiv(
            x.type.shape[1] as Dim,
            known.reduce((p, q) => p * q, 1),
          )
        : declaredAxis(ctx, 1);
      return col2im(b, x, sizes, block, channels, a);
    },
  }),
  op('center_crop_pad', {
    doc: 'Crops or pads axes to given sizes, the same amount at both ends (the odd element at the far one).',
    inputs: ['x', 'shape'],
    onnx: { 'CenterCropPad@18': (n) => ({ target: n.tryDims(1), axes: n.has('axes') ? n.ints('axes') : undefined }) },
    lower({ x }, { target, axes }, b, ctx) {
      const list = axes ?? x.type.shape.map((_, k) => k);
      const sizes = target ?? list.map((axis) => declaredAxis(ctx, b.axis(x, axis)));
      return centerCropPad(b, x, sizes, list);
    },
  }),
];

function declaredAxis(ctx: LowerContext, axis: number): Dim {
  const d = ctx.declared(0)?.shape[axis];
  return typeof d === 'number' && d >= 0 ? d : ctx.limit('a size depends on data', 'Make it a constant');
}
