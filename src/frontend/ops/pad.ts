// Padding in every mode of the formats. An output position p becomes an input position by the mode's rule; amounts may
// be negative (cropping) and may be read when the program runs, if the file declares the padded shape.

import type { Builder, Read } from '../../ir/builder.js';
import { add, type Dim, max, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type AnyRecord, type Decode, type LowerContext, type NodeReader, op } from './record.js';
import { axisAt, declaredSize, intAt, knownInts, lengthOf } from './runtime-sizes.js';

type Mode = 'constant' | 'edge' | 'reflect' | 'symmetric' | 'wrap';

/** What is put before and after each axis. `before` as an expression where it is read at run time. */
interface Amounts {
  readonly shape: readonly Dim[];
  readonly before: (read: Read, axis: number) => Expr;
}

/** Input position for position p relative to the input, which may lie outside. */
const SOURCE: Readonly<Record<Exclude<Mode, 'constant'>, (p: Expr, size: Expr) => Expr>> = {
  edge: (p, size) => e.clamp(p, 0, e.sub(size, 1)),
  wrap: (p, size) => e.floormod(p, size),
  /** The edge is not repeated: period 2·(size − 1). */
  reflect(p, size) {
    const last = e.sub(size, 1);
    const m = e.floormod(p, e.max(e.mul(last, 2), 1));
    return e.select(e.le(m, last), m, e.sub(e.mul(last, 2), m));
  },
  /** The edge is repeated: period 2·size. */
  symmetric(p, size) {
    const m = e.floormod(p, e.mul(size, 2));
    return e.select(e.lt(m, size), m, e.sub(e.sub(e.mul(size, 2), 1), m));
  },
};

function padded(b: Builder, x: Value, a: Amounts, mode: Mode, fill: Value | undefined): Value {
  const sizes = x.type.shape.map(dimExpr);
  return b.generic({
    shape: a.shape,
    body: (i, _r, read) => {
      const at = i.map((v, d) => e.sub(v, a.before(read, d)));
      if (mode !== 'constant')
        return read(
          x,
          at.map((p, d) => (a.shape[d] === x.type.shape[d] && p === i[d] ? p : SOURCE[mode](p, sizes[d] as Expr))),
        );
      const pad = fill
        ? cast(
            read(
              fill,
              fill.type.shape.map(() => i32(0)),
            ),
            x.type.dtype,
          )
        : e.const(0, x.type.dtype);
      return read(x, at, { pad });
    },
  });
}

const fixedAmounts = (x: Value, before: readonly Dim[], after: readonly Dim[]): Amounts => ({
  shape: x.type.shape.map((d, k) => max(0, add(d, add(before[k] ?? 0, after[k] ?? 0)))),
  before: (_read, d) => dimExpr(before[d] ?? 0),
});

/** `pads` holds all befores, then all afters, for the axes listed (all where none are). */
function amountsFromInput(b: Builder, x: Value, pads: Value, axes: Value | undefined, ctx: LowerContext): Amounts {
  const rank = x.type.shape.length;
  const amounts = b.values(pads);
  const listed = axes ? knownInts(b, undefined, axes) : x.type.shape.map((_, k) => k);
  if (amounts && listed) return spread(b, x, amounts, listed);
  const count = axes ? lengthOf(axes, ctx) : rank;
  return {
    shape: x.type.shape.map((_, d) => declaredSize(ctx, 0, d) ?? ctx.limit('how much to pad depends on data')),
    before: (read, d) => {
      const hits = Array.from({ length: count }, (_, k): [Expr, Expr] => [
        axes ? e.eq(axisAt(read, axes, k, rank), d) : e.const(Number(k === d), 'i1'),
        intAt(read, pads, k),
      ]);
      return hits.reduce<Expr>((p, [hit, amount]) => e.select(hit, amount, p), i32(0));
    },
  };
}

/** Amounts for the listed axes as amounts for all. */
function spread(b: Builder, x: Value, amounts: readonly Dim[], axes: readonly number[]): Amounts {
  const before = x.type.shape.map((): Dim => 0);
  const after = x.type.shape.map((): Dim => 0);
  for (const [k, axis] of axes.entries()) {
    const d = b.axis(x, axis);
    before[d] = amounts[k] ?? 0;
    after[d] = amounts[k + axes.length] ?? 0;
  }
  return fixedAmounts(x, before, after);
}

/** TFLite: a matrix of [before, after] rows. */
function amountsFromRows(b: Builder, x: Value, rows: Value, ctx: LowerContext): Amounts {
  const n = b.values(rows);
  if (n)
    return fixedAmounts(
      x,
      n.filter((_, k) => k % 2 === 0),
      n.filter((_, k) => k % 2 === 1),
    );
  return {
    shape: x.type.shape.map((_, d) => declaredSize(ctx, 0, d) ?? ctx.limit('how much to pad depends on data')),
    before: (read, d) => cast(read(rows, [i32(d), i32(0)]), 'i32'),
  };
}

interface PadAttrs {
  readonly mode: Mode;
  readonly pads?: readonly number[];
  readonly value?: number;
}

const modeOf = (n: NodeReader): Mode => n.string('mode', 'constant') as Mode;

const padAttribute =
  (name: string): Decode<PadAttrs> =>
  (n) => ({ mode: modeOf(n), pads: n.ints(name), value: n.float('value', 0) });

/** Zero of a quantised tensor is its zero point. */
export const zeroPoint = (b: Builder, x: Value, ctx: LowerContext): Value | undefined => {
  const zero = ctx.quantIn(0)?.zeroPoint[0];
  return zero ? b.scalar(zero, x.type.dtype) : undefined;
};

/** Dilation by `interior` zeros between elements, then padding: STABLEHLO_PAD and DILATE. */
function padInterior(
  b: Builder,
  x: Value,
  low: readonly number[],
  high: readonly number[],
  interior: readonly number[],
  fill: Value,
): Value {
  const step = (k: number): number => (interior[k] ?? 0) + 1;
  const shape = x.type.shape.map((d, k) =>
    add(add(max(0, sub(mul(d, step(k)), step(k) - 1)), low[k] ?? 0), high[k] ?? 0),
  );
  return b.generic({
    shape,
    body: (i, _r, read) => {
      const at = i.map((v, k) => e.sub(v, low[k] ?? 0));
      const inside = at.map((p, k) => {
        const last = e.mul(e.sub(dimExpr(x.type.shape[k] as Dim), 1), step(k));
        return e.and(e.le(0, p), e.le(p, last), e.eq(e.rem(p, step(k)), 0));
      });
      return read(
        x,
        at.map((p, k) => e.div(p, step(k))),
        {
          guard: e.and(e.const(1, 'i1'), ...inside),
          pad: read(
            fill,
            fill.type.shape.map(() => i32(0)),
          ),
        },
      );
    },
  });
}

const constInts = (b: Builder, v: Value, ctx: LowerContext): readonly number[] =>
  knownInts(b, undefined, v) ?? ctx.limit('the amounts depend on data');

export const records: readonly AnyRecord[] = [
  op<'x' | 'pads?' | 'value?' | 'axes?', PadAttrs>('pad', {
    doc: 'Puts a constant, or a continuation of x, before and after each axis; negative amounts crop',
    inputs: ['x', 'pads?', 'value?', 'axes?'],
    onnx: {
      'Pad@1': padAttribute('paddings'),
      'Pad@2': padAttribute('pads'),
      'Pad@11': (n) => ({ mode: modeOf(n) }),
      'com.microsoft:Pad@1': (n) => ({ mode: modeOf(n) }),
    },
    lower: ({ x, pads, value, axes }, a, b, ctx) => {
      if (!Object.hasOwn(SOURCE, a.mode) && a.mode !== 'constant') return ctx.limit(`mode "${a.mode}" is not known`);
      if (!a.pads) return padded(b, x, amountsFromInput(b, x, pads as Value, axes, ctx), a.mode, value);
      const all = x.type.shape.map((_, k) => k);
      return padded(b, x, spread(b, x, a.pads, all), a.mode, b.scalar(a.value ?? 0, 'f32'));
    },
  }),
  op<'x' | 'pads' | 'value?', object>('pad_rows', {
    doc: 'Zeros (or a given value) before and after each axis',
    inputs: ['x', 'pads', 'value?'],
    tflite: { PAD: () => ({}), PADV2: () => ({}) },
    quantized: ({ x, pads, value }, _a, b, ctx) =>
      padded(b, x, amountsFromRows(b, x, pads, ctx), 'constant', value ?? zeroPoint(b, x, ctx)),
    lower: ({ x, pads, value }, _a, b, ctx) => padded(b, x, amountsFromRows(b, x, pads, ctx), 'constant', value),
  }),
  op('mirror_pad', {
    doc: 'x mirrored at its edges, with or without repeating them',
    inputs: ['x', 'pads'],
    tflite: {
      MIRROR_PAD: (n) => ({ mode: n.string('mode', 'REFLECT') === 'SYMMETRIC' ? 'symmetric' : 'reflect' }) as const,
    },
    quantized: 'raw',
    lower: ({ x, pads }, { mode }, b, ctx) => padded(b, x, amountsFromRows(b, x, pads, ctx), mode, undefined),
  }),
  op('stablehlo_pad', {
    doc: 'Padding before, after and between elements',
    inputs: ['x', 'value'],
    tflite: {
      STABLEHLO_PAD: (n) => ({
        low: n.ints('edge_padding_low'),
        high: n.ints('edge_padding_high'),
        interior: n.ints('interior_padding'),
      }),
    },
    quantized: 'raw',
    lower: ({ x, value }, a, b) => padInterior(b, x, a.low, a.high, a.interior, value),
  }),
  op('dilate', {
    doc: 'A value between the elements of each axis',
    inputs: ['x', 'dilations', 'value'],
    tflite: { DILATE: () => ({}) },
    quantized: 'raw',
    lower: ({ x, dilations, value }, _a, b, ctx) =>
      padInterior(
        b,
        x,
        [],
        [],
        constInts(b, dilations, ctx).map((d) => d - 1),
        value,
      ),
  }),
];
