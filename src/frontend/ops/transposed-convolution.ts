// Transposed convolutions, of any rank and layout. An output position p gathers the taps k whose input position is whole:
// p + before − k·dilation = q·stride. Written so, most taps of a large stride miss. So p + before is split into
// stride·Q + φ and k into stride·j + φ: each phase φ is an ordinary convolution of the input with every stride-th tap, no
// tap misses, and the phases are axes of one contraction whose order in memory is the output's.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, floordiv, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { sumType, type WeightLayout } from './convolution.js';
import type { Layout } from './window.js';

export interface TransposeSpec {
  readonly x: Value;
  readonly w: Value;
  readonly layout: Layout;
  readonly weights: WeightLayout;
  readonly groups: number;
  readonly axes: readonly TransposedAxis[];
  readonly acc?: DType;
}

export interface TransposedAxis {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: Dim;
  readonly out: Dim;
}

/** out[n, o, p…] = Σ x[n, c, q] · w[o, c, k] over taps where p + before − k·dilation = q·stride. */
export function transposedConvolution(b: Builder, spec: TransposeSpec): Value {
  const split = spec.axes.map(splitAxis);
  const sum = split.every((a) => a !== null) ? inPhases(b, spec, split) : gathered(b, spec);
  return spec.acc ? sum : b.cast(sum, spec.x.type.dtype);
}

interface SplitAxis {
  readonly stride: number;
  /** Taps of a phase. */
  readonly taps: number;
  /** Q of the first output position, and the number of Q. */
  readonly first: number;
  readonly count: Dim;
  /** Positions before the first output position and after the last that the phases compute beside. */
  readonly skip: number;
  readonly out: Dim;
}

/** Null where taps are apart, or the padding is not known. */
function splitAxis({ kernel, stride, dilation, before, out }: TransposedAxis): SplitAxis | null {
  if (typeof before !== 'number' || dilation !== 1) return null;
  const first = Math.floor(before / stride);
  const end = floordiv(add(out, before + stride - 1), stride);
  const count = sub(end, first);
  return { stride, taps: Math.ceil(kernel / stride), first, count, skip: before - first * stride, out };
}

function inPhases(b: Builder, spec: TransposeSpec, axes: readonly SplitAxis[]): Value {
  const { x, layout, weights, groups } = spec;
  const { batch, channel } = layout.parts(x.type.shape);
  const w = wholePhases(b, spec, axes);
  const perGroupOut = weights.sizes(w.type.shape).out;
  const perGroupIn = floordiv(channel, groups);
  const acc = spec.acc ?? sumType(x.type.dtype);
  const out = mul(perGroupOut, groups);
  const phased = b.generic({
    shape: layout.place<Dim>(
      batch,
      out,
      axes.flatMap((a) => [a.count, a.stride]),
    ),
    reduce: [perGroupIn, ...axes.map((a) => a.taps)],
    reducer: 'add',
    body: (i, r, read) => {
      const at = layout.parts(i);
      const { o, c } = channels(at.channel, r[0] as Expr, groups, perGroupOut, perGroupIn);
      // The last tap first, so that the input is read forwards.
      const from = axes.map((a, k) => e.add(at.spatial[2 * k] as Expr, r[k + 1] as Expr, a.first + 1 - a.taps));
      const taps = axes.map((a, k) => {
        const j = e.sub(a.taps - 1, r[k + 1] as Expr);
        return e.add(e.mul(j, a.stride), at.spatial[2 * k + 1] as Expr);
      });
      const left = read(x, layout.place(at.batch, c, from), { pad: 0 });
      return e.mul(e.cast(left, acc), e.cast(read(w, weights.place(o, c, taps)), acc));
    },
  });
  const merged = axes.map((a) => mul(a.count, a.stride));
  const joined = b.reshape(phased, layout.place<Dim>(batch, out, merged));
  if (axes.every((a, k) => a.skip === 0 && sub(merged[k] as Dim, a.out) === 0)) return joined;
  const shape = layout.place<Dim>(
    batch,
    out,
    axes.map((a) => a.out),
  );
  return b.view(joined, shape, (i) => {
    const at = layout.parts(i);
    const moved = axes.map((a, k) => e.add(at.spatial[k] as Expr, a.skip));
    return layout.place(at.batch, at.channel, moved);
  });
}

/** The weights with so many taps that every phase has as many; those added are 0. */
function wholePhases(b: Builder, { w, weights, axes }: TransposeSpec, split: readonly SplitAxis[]): Value {
  if (axes.every((a, k) => a.kernel === (split[k] as SplitAxis).taps * a.stride)) return w;
  const { out, input } = weights.sizes(w.type.shape);
  const roles = weights.place(
    i32(0),
    i32(1),
    split.map((_, k) => i32(k + 2)),
  );
  const sizes = [out, input, ...split.map((a) => a.taps * a.stride)];
  const shape = roles.map((x) => sizes[x.k === 'const' ? Number(x.value) : 0] as Dim);
  return b.generic({ shape, body: (i, _r, read) => read(w, i, { pad: 0 }) });
}

interface Channels {
  readonly o: Expr;
  readonly c: Expr;
}

/** Output channel within its group, and input channel. */
function channels(channel: Expr, input: Expr, groups: number, perGroupOut: Dim, perGroupIn: Dim): Channels {
  if (groups === 1) return { o: channel, c: input };
  const group = e.div(channel, e.dim(perGroupOut));
  return { o: e.rem(channel, e.dim(perGroupOut)), c: e.add(e.mul(group, e.dim(perGroupIn)), input) };
}

/** Every tap of every position, those that miss guarded away. */
function gathered(b: Builder, spec: TransposeSpec): Value {
  const { x, w, layout, weights, groups, axes } = spec;
  const { batch, channel } = layout.parts(x.type.shape);
  const perGroupOut = weights.sizes(w.type.shape).out;
  const perGroupIn = floordiv(channel, groups);
  const acc = spec.acc ?? sumType(x.type.dtype);
  return b.generic({
    shape: layout.place<Dim>(
      batch,
      mul(perGroupOut, groups),
      axes.map((a) => a.out),
    ),
    reduce: [perGroupIn, ...axes.map((a) => a.kernel)],
    reducer: 'add',
    body: (i, r, read) => {
      const at = layout.parts(i);
      const taps = r.slice(1);
      const { o, c } = channels(at.channel, r[0] as Expr, groups, perGroupOut, perGroupIn);
      const { index, guard } = transposedIndex(axes, layout.parts(x.type.shape).spatial, at.spatial, taps);
      const left = read(x, layout.place(at.batch, c, index), { guard, pad: 0 });
      return e.mul(e.cast(left, acc), e.cast(read(w, weights.place(o, c, taps)), acc));
    },
  });
}

function transposedIndex(
  axes: readonly TransposedAxis[],
  sizes: readonly Dim[],
  at: readonly Expr[],
  taps: readonly Expr[],
): { readonly index: readonly Expr[]; readonly guard: Expr } {
  const scaled = axes.map((a, k) => e.sub(e.add(at[k] as Expr, e.dim(a.before)), e.mul(taps[k] as Expr, a.dilation)));
  const index = axes.map((a, k) => e.div(scaled[k] as Expr, a.stride));
  const tests = axes.flatMap((a, k) => [
    e.le(0, scaled[k] as Expr),
    ...(a.stride === 1 ? [] : [e.eq(e.rem(scaled[k] as Expr, a.stride), 0)]),
    e.lt(index[k] as Expr, e.dim(sizes[k] as Dim)),
  ]);
  return { index, guard: e.and(...tests) };
}
