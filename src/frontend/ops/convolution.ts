// The lowering of every convolution, of any rank and layout: a sum over channels and taps of padded reads. The
// transposed kind is in transposed-convolution.ts, window arithmetic in window.ts; the records are in conv.ts, those with
// scales in qlinear.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, DTYPE_INFO, isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { toNumbers } from '../../support/tensor.js';
import { type Layout, type WindowAttrs, type WindowAxis, windowAxes, windowIndex } from './window.js';

/** Order of a weight's axes: output channels, input channels (of one group), taps. `taps` are the spatial sizes. */
export interface WeightLayout {
  readonly place: (out: Expr, input: Expr, taps: readonly Expr[]) => readonly Expr[];
  readonly sizes: (shape: readonly Dim[]) => { readonly out: Dim; readonly input: Dim; readonly taps: readonly Dim[] };
}

/** ONNX: [out, in, taps…]. */
export const OIK: WeightLayout = {
  place: (o, i, k) => [o, i, ...k],
  sizes: (s) => ({ out: s[0] as Dim, input: s[1] as Dim, taps: s.slice(2) }),
};
/** ONNX ConvTranspose: [in, out of one group, taps…]. */
export const IOK: WeightLayout = {
  place: (o, i, k) => [i, o, ...k],
  sizes: (s) => ({ out: s[1] as Dim, input: s[0] as Dim, taps: s.slice(2) }),
};
/** TFLite CONV_2D and TRANSPOSE_CONV: [out, taps…, in]. */
export const OKI: WeightLayout = {
  place: (o, i, k) => [o, ...k, i],
  sizes: (s) => ({ out: s[0] as Dim, input: s.at(-1) as Dim, taps: s.slice(1, -1) }),
};
/** TFLite CONV_3D: [taps…, in, out]. */
export const KIO: WeightLayout = {
  place: (o, i, k) => [...k, i, o],
  sizes: (s) => ({ out: s.at(-1) as Dim, input: s.at(-2) as Dim, taps: s.slice(0, -2) }),
};
/** TFLite CONV_3D_TRANSPOSE: [taps…, out, in]. */
export const KOI: WeightLayout = {
  place: (o, i, k) => [...k, o, i],
  sizes: (s) => ({ out: s.at(-2) as Dim, input: s.at(-1) as Dim, taps: s.slice(0, -2) }),
};
/** TFLite DEPTHWISE_CONV_2D: [1, taps…, out]; each output channel reads one input channel. */
export const DEPTHWISE: WeightLayout = {
  place: (o, _i, k) => [i32(0), ...k, o],
  sizes: (s) => ({ out: s.at(-1) as Dim, input: 1, taps: s.slice(1, -1) }),
};

export interface ConvSpec {
  readonly x: Value;
  readonly w: Value;
  readonly window: WindowAttrs;
  readonly layout: Layout;
  readonly weights: WeightLayout;
  /** Type products are formed and summed in; default the input's, f32 for narrower floats. The result has it. */
  readonly acc?: DType;
  /** What stands outside the input; default 0. */
  readonly pad?: number;
  /** Subtracted from every element of x, which is padded with it. */
  readonly zero?: number;
}

export const sumType = (t: DType): DType => (isFloat(t) && DTYPE_INFO[t].bits < 32 ? 'f32' : t);

export function fixedTaps(taps: readonly Dim[]): readonly number[] {
  if (!taps.every((k): k is number => typeof k === 'number'))
    throw new CompileError('E205', 'a kernel of unknown size');
  return taps;
}

/** Weights and window put together: sizes of everything, resolved. */
export function resolveConv(spec: ConvSpec): {
  readonly axes: readonly WindowAxis[];
  readonly out: Dim;
  readonly input: Dim;
  readonly groups: Dim;
} {
  const { x, w, window, layout, weights } = spec;
  const { channel, spatial } = layout.parts(x.type.shape);
  const { out, input, taps } = weights.sizes(w.type.shape);
  const kernel = fixedTaps(taps);
  if (kernel.length !== spatial.length || (window.kernel.length > 0 && window.kernel.some((k, j) => k !== kernel[j])))
    throw new CompileError(
      'E204',
      `kernel [${window.kernel}] and weight [${kernel}] do not fit ${spatial.length} spatial axes`,
    );
  if (input === 0) throw new CompileError('E204', 'a weight without input channels');
  const groups = floordiv(channel, input);
  if (
    typeof groups === 'number' &&
    typeof input === 'number' &&
    typeof channel === 'number' &&
    groups * input !== channel
  )
    throw new CompileError('E204', `${channel} channels do not split into groups of ${input}`);
  return { axes: windowAxes(window, spatial, kernel), out, input, groups };
}

/** Sums walk memory in its order: the axis whose elements are neighbours last. */
const isChannelsLast = (layout: Layout, spatial: number): boolean =>
  layout
    .place(
      'batch',
      'channel',
      Array.from({ length: spatial }, () => 'spatial'),
    )
    .at(-1) === 'channel';

/** out[n, o, i…] = Σ x[n, group(o)·I + c, i·stride + k·dilation − before] · w[o, c, k]. */
export function convolution(b: Builder, spec: ConvSpec): Value {
  const { x, w, layout, weights } = spec;
  const { axes, out, input, groups } = resolveConv(spec);
  const { batch } = layout.parts(x.type.shape);
  const acc = spec.acc ?? sumType(x.type.dtype);
  const perGroup = floordiv(out, groups);
  const pad = axes.some((a) => a.padded) ? { pad: spec.pad ?? spec.zero ?? 0 } : {};
  const kernel = axes.map((a) => a.kernel);
  const channels = input === 1 ? [] : [input];
  const isLast = isChannelsLast(layout, axes.length);
  const sum = b.generic({
    shape: layout.place<Dim>(
      batch,
      out,
      axes.map((a) => a.out),
    ),
    reduce: isLast ? [...kernel, ...channels] : [...channels, ...kernel],
    reducer: 'add',
    body: (i, r, read) => {
      const at = layout.parts(i);
      const taps = isLast ? r.slice(0, axes.length) : r.slice(-axes.length);
      const c = channels.length === 0 ? i32(0) : (r.at(isLast ? -1 : 0) as Expr);
      const group = groups === 1 ? i32(0) : e.div(at.channel, e.dim(perGroup));
      const from = axes.map((a, k) => windowIndex(a, at.spatial[k] as Expr, taps[k] as Expr));
      const left = read(x, layout.place(at.batch, e.add(e.mul(group, e.dim(input)), c), from), pad);
      const value = spec.zero ? e.sub(e.cast(left, acc), spec.zero) : e.cast(left, acc);
      return e.mul(value, e.cast(read(w, weights.place(at.channel, c, taps)), acc));
    },
  });
  return spec.acc ? sum : b.cast(sum, x.type.dtype);
}

/** The stated number of groups must be the one the weight's shape means. */
export function checkGroups(spec: ConvSpec, group: number): void {
  const { groups } = resolveConv(spec);
  if (typeof groups === 'number' && groups !== group)
    throw new CompileError('E204', `group is ${group}, but the weight's shape means ${groups} groups`);
}

/** x and its zero point as a convolution takes them: as stored where the zero point is known, for padding is then equal to it. */
export function centredInput(b: Builder, x: Value, zero: Value | undefined): Pick<ConvSpec, 'x' | 'zero'> {
  const known = zero ? valuesOf(zero) : [0];
  const [first] = known ?? [];
  return known?.length === 1 && first !== undefined ? { x, zero: first } : { x: centred(b, x, zero) };
}

/** Values of a constant. */
const valuesOf = (v: Value): readonly number[] | null =>
  v.node?.kind === 'const' ? Array.from(toNumbers(v.node.data.read())) : null;

/** x − zero point, in i32 unless that is zero. A vector of zero points runs along `axis`. */
export function centred(b: Builder, x: Value, zero: Value | undefined, axis = 0): Value {
  if (!zero || valuesOf(zero)?.every((z) => z === 0)) return x;
  const vector = zero.type.shape.length === 1 && zero.type.shape[0] !== 1;
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const at = zero.type.shape.map(() => (vector ? (i[axis] as Expr) : i32(0)));
      return e.sub(e.cast(read(x, i), 'i32'), e.cast(read(zero, at), 'i32'));
    },
  });
}
