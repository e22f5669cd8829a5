// Joining values along an axis and taking them apart again: Concat, Pack, Split, Unpack.

import type { Builder } from '../../ir/builder.js';
import { ceildiv, type Dim, dimKey, floordiv, isConst, max, min, mod, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { intRange } from '../../support/dtype.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { type AnyRecord, type Decode, type LowerContext, op } from './record.js';
import { computedSize, declaredSize, intAt, knownInts, most, sumDims } from './runtime-sizes.js';
import { takeRanges, whole } from './slice-range.js';

interface ConcatAttrs {
  readonly axis: number;
  readonly activation: FusedActivation;
}

/** Quantised operands take the output's scale; those that have it already are copied. */
function requantised(b: Builder, xs: readonly Value[], ctx: LowerContext): readonly Value[] {
  const out = ctx.quantOut(0);
  if (!out) return xs;
  return xs.map((x, k) => {
    const q = ctx.quantIn(k);
    if (!q || (q.scale[0] === out.scale[0] && q.zeroPoint[0] === out.zeroPoint[0])) return x;
    const ratio = Math.fround((q.scale[0] as number) * Math.fround(1 / (out.scale[0] as number)));
    const bias = Math.fround(-(q.zeroPoint[0] ?? 0) * ratio);
    const { lo, hi } = intRange(x.type.dtype);
    return b.map([x], (p) => {
      const scaled = cast(e.round(e.add(e.mul(cast(p, 'f32'), ratio), bias)), 'i32');
      return cast(e.clamp(e.add(scaled, out.zeroPoint[0] ?? 0), Number(lo), Number(hi)), x.type.dtype);
    });
  });
}

/** `count` equal parts of an axis; where they do not divide it, the last is smaller. */
function equalParts(size: Dim, count: number): readonly Dim[] {
  const part = mod(size, count) === 0 ? floordiv(size, count) : ceildiv(size, count);
  return Array.from({ length: count }, (_, k) => max(0, min(part, sub(size, mul(part, k)))));
}

interface SplitAttrs {
  readonly axis: number;
  readonly sizes?: readonly number[];
  /** Number of parts where sizes are not given. */
  readonly parts: number;
}

/** The parts of an axis. Sizes that depend on data are declared or bound, and reads beyond the axis are guarded. */
function splitAxis(
  b: Builder,
  x: Value,
  axis: number,
  a: SplitAttrs,
  sizes: Value | undefined,
  ctx: LowerContext,
): readonly Value[] {
  const size = x.type.shape[axis] as Dim;
  if (a.parts !== ctx.reader.outputCount)
    return ctx.limit(`${a.parts} parts do not fit ${ctx.reader.outputCount} outputs`);
  const wanted = a.sizes?.length ? a.sizes : sizes ? b.values(sizes) : equalParts(size, a.parts);
  if (wanted) {
    const rest = sub(size, sumDims(wanted.filter((d) => d !== -1)));
    return b.split(
      x,
      axis,
      wanted.map((d) => (d === -1 ? rest : d)),
    );
  }
  const lengths = Array.from(
    { length: a.parts },
    (_, k): Dim =>
      declaredSize(ctx, k, axis) ?? computedSize(b, 'part', 0, most(size), (read) => intAt(read, sizes as Value, k)),
  );
  return lengths.map((count, k) => {
    const first = sumDims(lengths.slice(0, k));
    return takeRanges(
      b,
      x,
      x.type.shape.map((n, d) => (d === axis ? { first, step: 1, count, checked: true } : whole(n))),
    );
  });
}

const onnxSplit: Decode<SplitAttrs> = (n) => ({
  axis: n.int('axis', 0),
  sizes: n.ints('split', []),
  parts: n.int('num_outputs', n.outputCount),
});

const axisInput = (b: Builder, v: Value | undefined, ctx: LowerContext): number =>
  knownInts(b, undefined, v)?.[0] ?? ctx.limit('the axis depends on data');

const concatAttr =
  (fallback?: number): Decode<ConcatAttrs> =>
  (n) => ({ axis: n.int('axis', fallback), activation: activationOf(n) });

export const records: readonly AnyRecord[] = [
  op<'xs*', ConcatAttrs>('concat', {
    doc: 'Values one after another along an axis',
    inputs: ['xs*'],
    onnx: { 'Concat@1': concatAttr(1), 'Concat@4': concatAttr() },
    tflite: { CONCATENATION: concatAttr(0) },
    quantized: ({ xs }, { axis }, b, ctx) => b.concat(requantised(b, xs, ctx), axis),
    lower: ({ xs }, { axis, activation }, b) => fusedActivation(b, b.concat(xs, axis), activation),
  }),
  op<'xs*', ConcatAttrs>('stablehlo_concatenate', {
    doc: 'Values one after another along an axis',
    inputs: ['xs*'],
    tflite: { STABLEHLO_CONCATENATE: (n) => ({ axis: n.int('dimension', 0), activation: 'NONE' }) },
    quantized: 'raw',
    lower: ({ xs }, { axis }, b) => b.concat(xs, axis),
  }),
  op('pack', {
    doc: 'Values of one shape along a new axis',
    inputs: ['xs*'],
    tflite: { PACK: (n) => ({ axis: n.int('axis', 0) }) },
    quantized: 'raw',
    lower: ({ xs }, { axis }, b) =>
      b.concat(
        xs.map((x) => b.unsqueeze(x, [axis])),
        axis,
      ),
  }),
  op<'x' | 'sizes?', SplitAttrs>('split', {
    doc: 'Parts of given sizes, or equal ones, along an axis',
    inputs: ['x', 'sizes?'],
    onnx: { 'Split@1': onnxSplit },
    lower: ({ x, sizes }, a, b, ctx) => {
      const axis = b.axis(x, a.axis);
      return splitAxis(b, x, axis, a, sizes, ctx);
    },
  }),
  op<'axis' | 'x', { readonly parts: number }>('split_equal', {
    doc: 'Equal parts along an axis',
    inputs: ['axis', 'x'],
    tflite: { SPLIT: (n) => ({ parts: n.int('num_splits', n.outputCount) }) },
    quantized: 'raw',
    lower: ({ axis, x }, { parts }, b, ctx) => {
      const k = b.axis(x, axisInput(b, axis, ctx));
      return splitAxis(b, x, k, { axis: k, parts }, undefined, ctx);
    },
  }),
  op<'x' | 'sizes' | 'axis', { readonly parts: number }>('split_v', {
    doc: 'Parts of given sizes along an axis; one size may be −1',
    inputs: ['x', 'sizes', 'axis'],
    tflite: { SPLIT_V: (n) => ({ parts: n.int('num_splits', n.outputCount) }) },
    quantized: 'raw',
    lower: ({ x, sizes, axis }, { parts }, b, ctx) => {
      const k = b.axis(x, axisInput(b, axis, ctx));
      return splitAxis(b, x, k, { axis: k, parts }, sizes, ctx);
    },
  }),
  op<'x', { readonly axis: number; readonly parts: number }>('unpack', {
    doc: 'The slices along an axis, which is dropped',
    inputs: ['x'],
    tflite: { UNPACK: (n) => ({ axis: n.int('axis', 0), parts: n.int('num', n.outputCount) }) },
    quantized: 'raw',
    lower: ({ x }, { axis, parts }, b, ctx) => {
      const k = b.axis(x, axis);
      const n = x.type.shape[k] as Dim;
      if (parts !== ctx.reader.outputCount || (isConst(n) && n !== parts))
        return ctx.limit(`an axis of size ${dimKey(n)} does not fit ${ctx.reader.outputCount} outputs`);
      return b
        .split(
          x,
          k,
          Array.from({ length: parts }, () => 1),
        )
        .map((v) => b.squeeze(v, [k]));
    },
  }),
];
