// ONNX's Resize and Upsample: sizes or scales, and a coordinate transform per axis; the resampling itself is in
// resample.ts. TFLite's resizers are in resize-tflite.ts, sampling at given points in grid-sample.ts.

import type { Builder, Read } from '../../ir/builder.js';
import { type Dim, dimEq, dimKey, floordiv, mul, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { assumedBound } from '../assumed-sizes.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import {
  type AxisResample,
  cubicFilter,
  type Filter,
  fromReal,
  type Rounding,
  resampleFiltered,
  resampleNearest,
  TRIANGLE,
} from './resample.js';
import { assumedSize, declaredSize, most } from './runtime-sizes.js';

interface ResizeAttrs {
  readonly mode: string;
  readonly transform: string;
  /** 'by_direction': ceil where an axis shrinks, else floor (before opset 11). */
  readonly nearest: Rounding | 'by_direction';
  readonly cubic: number;
  readonly excludeOutside: boolean;
  readonly extrapolation: number;
  readonly antialias: boolean;
  readonly axes: readonly number[];
  readonly policy: string;
  readonly scales: Parameter | undefined;
  readonly sizes: Parameter | undefined;
}

/** A list of scales or sizes: the numbers, or the input that will hold them. */
interface Parameter {
  readonly known: readonly Dim[] | undefined;
  readonly value: Value | undefined;
}

const ROUNDINGS: Readonly<Record<string, Rounding>> = {
  floor: 'floor',
  ceil: 'ceil',
  round_prefer_floor: 'round_prefer_floor',
  round_prefer_ceil: 'round_prefer_ceil',
};

/** An input's list; undefined where absent or empty. */
function parameter(n: NodeReader, i: number): Parameter | undefined {
  const value = n.input(i);
  return value && !value.type.shape.includes(0) ? { known: n.tryDims(i), value } : undefined;
}

const given = (known: readonly number[]): Parameter => ({ known, value: undefined });

const resize = (n: NodeReader): ResizeAttrs => {
  const nearest = ROUNDINGS[n.string('nearest_mode', 'round_prefer_floor')];
  if (!nearest) throw new CompileError('E203', `nearest_mode "${n.string('nearest_mode')}" is not defined`);
  return {
    mode: n.string('mode', 'nearest'),
    transform: n.string('coordinate_transformation_mode', 'half_pixel'),
    nearest,
    cubic: n.float('cubic_coeff_a', -0.75),
    excludeOutside: n.bool('exclude_outside', false),
    extrapolation: n.float('extrapolation_value', 0),
    antialias: n.bool('antialias', false),
    axes: n.ints('axes', []),
    policy: n.string('keep_aspect_ratio_policy', 'stretch'),
    scales: parameter(n, 2),
    sizes: parameter(n, 3),
  };
};

/** Before opset 11: scales alone, coordinates divided by the scale. */
const simple = (n: NodeReader, scales: Parameter | undefined): ResizeAttrs => ({
  mode: n.string('mode', 'nearest').replace('bilinear', 'linear'),
  transform: 'asymmetric',
  nearest: 'by_direction',
  cubic: -0.75,
  excludeOutside: false,
  extrapolation: 0,
  antialias: false,
  axes: [],
  policy: 'stretch',
  scales,
  sizes: undefined,
});

/** One axis to resize. `scale` is a number, or read when the program runs. */
interface Target {
  readonly axis: number;
  readonly size: Dim;
  readonly out: Dim;
  readonly scale: number | ((read: Read) => Expr);
}

/** floor(size · scale); of a symbolic size only for scales that are simple fractions. */
function scaledSize(size: Dim, scale: number): Dim {
  if (typeof size === 'number') return Math.floor(size * scale);
  for (let q = 1; q <= 64; q++) {
    const p = Math.round(scale * q);
    if (p > 0 && Math.abs(p / q - scale) < 1e-6 * scale) return floordiv(mul(size, p), q);
  }
  throw new CompileError('E205', `size ${dimKey(size)} times ${scale} is not a fraction`, {
    hint: 'Fix the size with --dim',
  });
}

function targets(x: Value, a: ResizeAttrs, b: Builder, ctx: LowerContext): readonly Target[] {
  const axes = a.axes.length > 0 ? a.axes.map((k) => b.axis(x, k)) : x.type.shape.map((_, k) => k);
  const list = a.sizes ?? a.scales;
  if (!list) throw new CompileError('E203', 'neither scales nor sizes are given');
  const count = list.known?.length ?? list.value?.type.shape[0];
  if (count !== axes.length) throw new CompileError('E203', `${count} scales or sizes for ${axes.length} axes`);
  const computed = outputSize(b, ctx, x, axes.length);
  if (a.sizes && a.policy !== 'stretch') return keepAspect(x, axes, a.sizes, a.policy, computed, ctx);
  return axes.map((axis, k) => {
    const size = x.type.shape[axis] as Dim;
    return a.sizes ? sizedTarget(axis, size, a.sizes, k, computed) : scaledTarget(axis, size, list, k, computed, ctx);
  });
}

/** A size only the running program knows: the one the file declares for the output, or what `value` computes. */
type Computed = (axis: number, value: (read: Read) => Expr) => Dim;

function outputSize(b: Builder, ctx: LowerContext, x: Value, open: number): Computed {
  const growth = assumedBound(open, most(product(x.type.shape)));
  return (axis, value) =>
    declaredSize(ctx, 0, axis) ?? assumedSize(b, 'resized', most(x.type.shape[axis] as Dim) * growth, value);
}

function scaledTarget(
  axis: number,
  size: Dim,
  scales: Parameter,
  k: number,
  computed: Computed,
  ctx: LowerContext,
): Target {
  const known = scales.known?.[k];
  if (typeof known === 'number') return { axis, size, scale: known, out: scaledSize(size, known) };
  const { value } = scales;
  if (!value) return ctx.limit('a scale that depends on a size');
  const scale = (read: Read): Expr => cast(read(value, [i32(k)]), 'f32');
  return { axis, size, out: computed(axis, (read) => e.floor(e.mul(realDim(size, 'f32'), scale(read)))), scale };
}

function sizedTarget(axis: number, size: Dim, sizes: Parameter, k: number, computed: Computed): Target {
  const out = sizes.known?.[k] ?? computed(axis, (read) => read(sizes.value as Value, [i32(k)]));
  const exact = typeof out === 'number' && typeof size === 'number';
  return { axis, size, out, scale: exact ? out / size : () => e.div(realDim(out, 'f32'), realDim(size, 'f32')) };
}

/** One scale for all axes, so that the result is within (or covers) the wanted sizes. */
function keepAspect(
  x: Value,
  axes: readonly number[],
  sizes: Parameter,
  policy: string,
  computed: Computed,
  ctx: LowerContext,
): readonly Target[] {
  const shape = axes.map((k) => x.type.shape[k] as Dim);
  const ratios = shape.map((d, k) => Number(sizes.known?.[k]) / Number(d));
  const smaller = policy === 'not_larger';
  if (!ratios.some(Number.isNaN)) {
    const scale = smaller ? Math.min(...ratios) : Math.max(...ratios);
    return axes.map((axis, k) => ({
      axis,
      size: shape[k] as number,
      scale,
      out: Math.floor((shape[k] as number) * scale + 0.5),
    }));
  }
  const { value } = sizes;
  if (!value) return ctx.limit(`${policy} for sizes that are not known`, 'Fix them with --dim');
  const scale = (read: Read): Expr => {
    const each = shape.map((d, k) => e.div(cast(read(value, [i32(k)]), 'f32'), realDim(d, 'f32')));
    return each.reduce((p, q) => (smaller ? e.min(p, q) : e.max(p, q)));
  };
  return axes.map((axis, k) => {
    const size = shape[k] as Dim;
    const rounded = (read: Read): Expr => e.floor(e.add(e.mul(realDim(size, 'f32'), scale(read)), 0.5));
    return { axis, size, scale, out: computed(axis, rounded) };
  });
}

const realDim = (d: Dim, t: DType): Expr => (typeof d === 'number' ? constant(d, t) : cast(e.dim(d), t));

/** Start and end of a region of interest along one axis. */
type Region = (read: Read) => readonly [Expr, Expr];

/** The coordinate transforms of ONNX. */
function coordinates(t: Target, transform: string, region: Region | null): AxisResample {
  const known = typeof t.size === 'number' && typeof t.out === 'number' && typeof t.scale === 'number' && !region;
  const real: DType = known ? 'f64' : 'f32';
  const size = realDim(t.size, real);
  const last = e.sub(size, 1);
  const coordinate = (i: Expr, read: Read): Expr => {
    const scale = typeof t.scale === 'number' ? constant(t.scale, real) : t.scale(read);
    // The size before rounding down, which is what align_corners is defined by.
    const length = e.mul(scale, size);
    const one = e.eq(length, 1);
    const centre = (): Expr => e.sub(e.div(e.add(i, 0.5), scale), 0.5);
    switch (transform) {
      case 'half_pixel':
        return centre();
      case 'pytorch_half_pixel':
        return e.select(one, 0, centre());
      case 'asymmetric':
        return e.div(i, scale);
      case 'align_corners':
        return e.div(e.mul(i, last), e.select(one, 1, e.sub(length, 1)));
      case 'tf_half_pixel_for_nn':
        return e.div(e.add(i, 0.5), scale);
      case 'half_pixel_symmetric':
        return e.add(e.mul(e.div(size, 2), e.sub(1, e.div(realDim(t.out, real), length))), centre());
      case 'tf_crop_and_resize': {
        const [from, to] = region?.(read) ?? [constant(0, real), constant(1, real)];
        const span = e.mul(e.sub(to, from), last);
        const spread = e.div(e.mul(i, span), e.select(one, 1, e.sub(length, 1)));
        return e.add(e.mul(from, last), e.select(one, e.div(span, 2), spread));
      }
      default:
        throw new CompileError('E203', `coordinate_transformation_mode "${transform}" is not defined`);
    }
  };
  return { axis: t.axis, out: t.out, real, coordinate };
}

/** The k-th of `count` resized axes' region of interest: all starts are listed, then all ends. */
function regionOf(ctx: LowerContext, a: ResizeAttrs, count: number, k: number): Region | null {
  if (a.transform !== 'tf_crop_and_resize') return null;
  const roi = ctx.reader.input(1);
  if (!roi || roi.type.shape[0] !== 2 * count)
    throw new CompileError('E203', 'tf_crop_and_resize needs a region of interest');
  return (read) => [cast(read(roi, [i32(k)]), 'f32'), cast(read(roi, [i32(k + count)]), 'f32')];
}

const sameCoordinate = (t: Target): boolean => dimEq(t.size, t.out) && (typeof t.scale !== 'number' || t.scale === 1);

function lowerResize(b: Builder, x: Value, a: ResizeAttrs, ctx: LowerContext): Value {
  const all = targets(x, a, b, ctx);
  const crop = a.transform === 'tf_crop_and_resize';
  const axes = all.flatMap((t, k) =>
    sameCoordinate(t) && !crop ? [] : [{ ...coordinates(t, a.transform, regionOf(ctx, a, all.length, k)), target: t }],
  );
  const y = a.mode === 'nearest' ? nearest(b, x, a, axes, ctx) : filtered(b, x, a, axes, ctx);
  return crop ? extrapolate(b, y, x, axes, a.extrapolation) : y;
}

type Resolved = AxisResample & { readonly target: Target };

function shrinks({ scale, size, out }: Target, ctx: LowerContext): boolean {
  if (typeof scale === 'number') return scale < 1;
  if (typeof out === 'number' && typeof size === 'number') return out < size;
  return ctx.limit('whether an axis shrinks depends on data', 'Fix the sizes it is computed from with --dim');
}

const nearest = (b: Builder, x: Value, a: ResizeAttrs, axes: readonly Resolved[], ctx: LowerContext): Value =>
  axes.length === 0
    ? x
    : resampleNearest(
        b,
        x,
        axes.map((r) => ({
          ...r,
          round: a.nearest !== 'by_direction' ? a.nearest : shrinks(r.target, ctx) ? 'ceil' : 'floor',
        })),
      );

function filtered(b: Builder, x: Value, a: ResizeAttrs, axes: readonly Resolved[], ctx: LowerContext): Value {
  const filters: Readonly<Record<string, Filter>> = { linear: TRIANGLE, cubic: cubicFilter(a.cubic) };
  const filter = filters[a.mode];
  if (!filter) return ctx.limit(`mode "${a.mode}" is not nearest, linear or cubic`);
  const y = axes.reduce((v, r) => {
    const shrink = a.antialias && shrinks(r.target, ctx) ? shrinkOf(r, ctx) : undefined;
    return resampleFiltered(b, v, r, filter, { ...(shrink && { shrink }), excludeOutside: a.excludeOutside });
  }, x);
  return fromReal(b, y, x.type.dtype);
}

/** A shrinking axis's scale, at least (out / in) as its output is at most in · scale. */
function shrinkOf({ target, real }: Resolved, ctx: LowerContext) {
  const { scale, size, out } = target;
  const widest = typeof scale === 'number' ? scale : Number(out) / Number(size);
  if (Number.isNaN(widest)) ctx.limit('antialiasing to a size that is not known', 'Fix the sizes with --dim');
  return {
    widest,
    at: (read: Read): Expr => (typeof scale === 'number' ? constant(scale, real) : e.min(scale(read), 1)),
  };
}

/** Positions whose coordinate lies outside the input take a fixed value. */
function extrapolate(b: Builder, y: Value, x: Value, axes: readonly Resolved[], value: number): Value {
  if (axes.length === 0) return y;
  return b.generic({
    shape: y.type.shape,
    body: (i, _r, read) => {
      const inside = axes.flatMap((r) => {
        const c = r.coordinate(cast(i[r.axis] as Expr, r.real), read);
        return [e.le(0, c), e.le(c, cast(e.sub(e.dim(x.type.shape[r.axis] as Dim), 1), r.real))];
      });
      return e.select(e.and(...inside), read(y, i), constant(value, y.type.dtype));
    },
  });
}

const Resize = op('resize', {
  doc: 'Resamples chosen axes to new sizes: nearest, linear or cubic, in all of ONNX’s coordinate systems.',
  inputs: ['x', 'roi?', 'scales?', 'sizes?'],
  onnx: {
    'Upsample@1': (n) => simple(n, given([1, 1, n.float('height_scale'), n.float('width_scale')])),
    'Upsample@7': (n) => simple(n, given(n.floats('scales'))),
    'Upsample@9': (n) => simple(n, parameter(n, 1)),
    'Resize@10': (n) => simple(n, parameter(n, 1)),
    'Resize@11': resize,
  },
  lower: ({ x }, a: ResizeAttrs, b, ctx) => lowerResize(b, x, a, ctx),
  limits: [
    'Where scales or sizes depend on data and the file declares the output, axes of equal size are not resampled.',
    'Antialiasing needs known sizes.',
  ],
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [Resize];
