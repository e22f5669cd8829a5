// Slices: ONNX Slice, TFLite SLICE, and what they share with the strided slices. How a range resolves is in slice-range.ts.

import type { Builder, Read } from '../../ir/builder.js';
import { checkRange } from '../../ir/build-shape.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { axisAt, declaredSize, intAt, knownInts, lengthOf } from './runtime-sizes.js';
import { type AxisSpec, type Position, positionAt, type Range, rangeOf, takeRanges, whole } from './slice-range.js';

/** The listed axes in order, with start, end and step for each. */
interface Listed {
  readonly axes: readonly number[];
  readonly start: (k: number) => Position;
  readonly end: (k: number) => Position;
  readonly step: (k: number) => Position;
}

function sliceListed(b: Builder, x: Value, s: Listed, ctx: LowerContext): Value {
  const ranges: Range[] = x.type.shape.map(whole);
  s.axes.forEach((axis, k) => {
    const d = b.axis(x, axis);
    const step = s.step(k);
    if (step === 0) ctx.limit('a slice step is zero');
    const spec: AxisSpec = { start: s.start(k), end: s.end(k), step, declared: declaredSize(ctx, 0, d) };
    ranges[d] = rangeOf(b, x.type.shape[d] as Dim, spec);
  });
  return takeRanges(b, x, ranges);
}

/** Which axes are sliced is itself read at run time: each axis looks itself up in the list. */
function sliceUnlisted(
  b: Builder,
  x: Value,
  starts: Value,
  ends: Value,
  axes: Value,
  steps: Value | undefined,
  ctx: LowerContext,
): Value {
  const rank = x.type.shape.length;
  const count = lengthOf(axes, ctx);
  const lookUp = (d: number, list: Value | undefined, fallback: Expr) => (read: Read) =>
    Array.from({ length: list ? count : 0 }, (_, k) => k).reduce<Expr>(
      (p, k) => e.select(e.eq(axisAt(read, axes, k, rank), d), intAt(read, list as Value, k), p),
      fallback,
    );
  const ranges = x.type.shape.map((n, d) =>
    rangeOf(b, n, {
      start: lookUp(d, starts, dimExpr(0)),
      end: lookUp(d, ends, dimExpr(n)),
      step: steps ? lookUp(d, steps, dimExpr(1)) : 1,
      declared: declaredSize(ctx, 0, d),
    }),
  );
  return takeRanges(b, x, ranges);
}

interface SliceAttrs {
  readonly starts?: readonly number[];
  readonly ends?: readonly number[];
  readonly axes?: readonly number[];
}

/** Length of one axis in TFLite SLICE: −1 is the rest. */
function sizedRange(b: Builder, x: Value, begin: Value, sizes: Value, d: number, ctx: LowerContext): Range {
  const n = x.type.shape[d] as Dim;
  const first = positionAt(b, begin, d);
  const size = positionAt(b, sizes, d);
  const open = size === -1;
  const end: Position | undefined = open
    ? undefined
    : (read) => {
        const [at, length] = [first, size].map((p) => (typeof p === 'function' ? p(read) : dimExpr(p))) as [Expr, Expr];
        return e.select(e.lt(length, 0), dimExpr(n), e.add(at, length));
      };
  const fixed = typeof size === 'number' && size >= 0 ? size : declaredSize(ctx, 0, d);
  if (typeof first !== 'function' && typeof size !== 'function' && !open)
    return { first, step: 1, count: size, checked: false };
  return rangeOf(b, n, { start: first, end, step: 1, declared: typeof first === 'function' ? fixed : undefined });
}

export const records: readonly AnyRecord[] = [
  op<'x' | 'starts?' | 'ends?' | 'axes?' | 'steps?', SliceAttrs>('slice', {
    doc: 'A range of some axes, numpy style',
    inputs: ['x', 'starts?', 'ends?', 'axes?', 'steps?'],
    onnx: {
      'Slice@1': (n) => ({
        starts: n.ints('starts'),
        ends: n.ints('ends'),
        axes: n.has('axes') ? n.ints('axes') : n.ints('starts').map((_, k) => k),
      }),
      'Slice@10': () => ({}),
    },
    lower: ({ x, starts, ends, axes, steps }, a, b, ctx) => {
      const at =
        (attr: readonly number[] | undefined, v: Value | undefined, fallback: number) =>
        (k: number): Position =>
          attr ? (attr[k] ?? fallback) : v ? positionAt(b, v, k) : fallback;
      const all = (): readonly number[] => Array.from({ length: lengthOf(starts as Value, ctx) }, (_, k) => k);
      const listed = a.axes ?? (axes ? knownInts(b, undefined, axes) : all());
      if (!listed) return sliceUnlisted(b, x, starts as Value, ends as Value, axes as Value, steps, ctx);
      return sliceListed(
        b,
        x,
        { axes: listed, start: at(a.starts, starts, 0), end: at(a.ends, ends, 0), step: at(undefined, steps, 1) },
        ctx,
      );
    },
  }),
  op('slice_sized', {
    doc: 'A range of every axis by its beginning and length; −1 is the rest',
    inputs: ['x', 'begin', 'sizes'],
    tflite: { SLICE: () => ({}) },
    quantized: 'raw',
    lower: ({ x, begin, sizes }, _a, b, ctx) =>
      takeRanges(
        b,
        x,
        x.type.shape.map((_, d) => sizedRange(b, x, begin, sizes, d, ctx)),
      ),
  }),
  op('stablehlo_slice', {
    doc: 'A strided range of every axis, all positions in range',
    inputs: ['x'],
    tflite: {
      STABLEHLO_SLICE: (n) => ({
        starts: n.ints('start_indices'),
        ends: n.ints('limit_indices'),
        steps: n.ints('strides'),
      }),
    },
    quantized: 'raw',
    lower: ({ x }, a, b) =>
      takeRanges(
        b,
        x,
        x.type.shape.map((n, d) => rangeOf(b, n, { start: a.starts[d], end: a.ends[d], step: a.steps[d] ?? 1 })),
      ),
  }),
  op('stablehlo_dynamic_slice', {
    doc: 'A range of every axis from scalar starts, clamped so that it fits',
    inputs: ['x', 'starts*'],
    tflite: { STABLEHLO_DYNAMIC_SLICE: (n) => ({ sizes: n.ints('slice_sizes') }) },
    quantized: 'raw',
    lower: ({ x, starts }, { sizes }, b) =>
      takeRanges(
        b,
        x,
        x.type.shape.map((n, d): Range => {
          const count = sizes[d] ?? n;
          checkRange(n, 0, count);
          const first = (read: Read): Expr =>
            e.clamp(intAt(read, starts[d] as Value, 0), 0, e.sub(dimExpr(n), dimExpr(count)));
          return { first, step: 1, count, checked: false };
        }),
      ),
  }),
];
