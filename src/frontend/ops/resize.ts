// Resize, Upsample and TFLite's resizers: each states sizes and a coordinate transform per axis; the resampling itself
// is in resample.ts. Sampling at given points (GridSample) is in grid-sample.ts.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, dimEq, dimKey, floordiv, max, mul } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, intRange, isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { type AxisResample, cubicFilter, type Filter, type Rounding, resampleFiltered, resampleNearest, TRIANGLE } from './resample.js';

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
  readonly scales: readonly number[] | undefined;
  readonly sizes: readonly Dim[] | undefined;
}

const ROUNDINGS: Readonly<Record<string, Rounding>> = {
  floor: 'floor',
  ceil: 'ceil',
  round_prefer_floor: 'round_prefer_floor',
  round_prefer_ceil: 'round_prefer_ceil',
};

/** Numbers an input holds; undefined where absent or empty. */
function numbersOf(n: NodeReader, i: number): readonly number[] | undefined {
  const dims = n.dims(i);
  if (!dims || dims.length === 0) return undefined;
  if (!dims.every((d): d is number => typeof d === 'number')) throw new CompileError('E207', 'scales depend on a size that is not known');
  return dims;
}

const resize = (n: NodeReader): ResizeAttrs => {
  const sizes = n.dims(3);
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
    scales: numbersOf(n, 2),
    sizes: sizes && sizes.length > 0 ? sizes : undefined,
  };
};

/** Before opset 11: scales alone, coordinates divided by the scale. */
const simple = (n: NodeReader, scales: readonly number[] | undefined): ResizeAttrs => ({
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

/** One axis to resize. `scale` is null where it depends on a size that is not known; then it is out / in. */
interface Target {
  readonly axis: number;
  readonly size: Dim;
  readonly out: Dim;
  readonly scale: number | null;
}

/** floor(size · scale); of a symbolic size only for scales that are simple fractions. */
function scaledSize(size: Dim, scale: number): Dim {
  if (typeof size === 'number') return Math.floor(size * scale);
  for (let q = 1; q <= 64; q++) {
    const p = Math.round(scale * q);
    if (p > 0 && Math.abs(p / q - scale) < 1e-6 * scale) return floordiv(mul(size, p), q);
  }
  throw new CompileError('E205', `size ${dimKey(size)} times ${scale} is not a fraction`, { hint: 'Fix the size with --dim' });
}

function targets(x: Value, a: ResizeAttrs, b: Builder): readonly Target[] {
  const axes = a.axes.length > 0 ? a.axes.map((k) => b.axis(x, k)) : x.type.shape.map((_, k) => k);
  const given = a.sizes ?? a.scales;
  if (!given) throw new CompileError('E203', 'neither scales nor sizes are given');
  if (given.length !== axes.length) throw new CompileError('E203', `${given.length} scales or sizes for ${axes.length} axes`);
  const shape = axes.map((k) => x.type.shape[k] as Dim);
  if (a.sizes && a.policy !== 'stretch') return keepAspect(axes, shape, a.sizes, a.policy);
  return axes.map((axis, k) => {
    const size = shape[k] as Dim;
    if (!a.sizes) {
      const scale = a.scales?.[k] as number;
      return { axis, size, scale, out: scaledSize(size, scale) };
    }
    const out = a.sizes[k] as Dim;
    return { axis, size, out, scale: typeof out === 'number' && typeof size === 'number' ? out / size : null };
  });
}

function keepAspect(axes: readonly number[], shape: readonly Dim[], sizes: readonly Dim[], policy: string): readonly Target[] {
  const ratios = shape.map((d, k) => Number(sizes[k]) / Number(d));
  if (ratios.some(Number.isNaN)) throw new CompileError('E205', `${policy} needs known sizes`, { hint: 'Fix them with --dim' });
  const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios);
  return axes.map((axis, k) => {
    const size = shape[k] as number;
    return { axis, size, scale, out: Math.floor(size * scale + 0.5) };
  });
}

/** The coordinate transforms of ONNX, on positions of type `real`. */
function coordinates(t: Target, transform: string, roi: readonly [Expr, Expr] | null): AxisResample {
  const known = typeof t.size === 'number' && typeof t.out === 'number' && roi === null;
  const real: DType = known ? 'f64' : 'f32';
  const num = (v: number): Expr => constant(v, real);
  const dim = (d: Dim): Expr => (typeof d === 'number' ? num(d) : cast(e.dim(d), real));
  const size = dim(t.size);
  const scale = t.scale === null ? e.div(dim(t.out), size) : num(t.scale);
  // The size before rounding down, which is what align_corners is defined by.
  const length = t.scale === null ? dim(t.out) : e.mul(num(t.scale), size);
  const last = e.sub(size, 1);
  const centre = (i: Expr): Expr => e.sub(e.div(e.add(i, 0.5), scale), 0.5);
  const one = e.eq(length, 1);
  const map: Readonly<Record<string, (i: Expr) => Expr>> = {
    half_pixel: centre,
    pytorch_half_pixel: (i) => e.select(one, 0, centre(i)),
    asymmetric: (i) => e.div(i, scale),
    align_corners: (i) => e.div(e.mul(i, last), e.select(one, 1, e.sub(length, 1))),
    tf_half_pixel_for_nn: (i) => e.div(e.add(i, 0.5), scale),
    half_pixel_symmetric: (i) =>
      e.add(e.mul(e.div(size, 2), e.sub(1, e.div(dim(t.out), length))), centre(i)),
    tf_crop_and_resize: (i) => {
      const [from, to] = roi ?? [num(0), num(1)];
      const span = e.sub(to, from);
      const spread = e.div(e.mul(e.mul(i, span), last), e.select(one, 1, e.sub(length, 1)));
      return e.add(e.mul(from, last), e.select(one, e.div(e.mul(span, last), 2), spread));
    },
  };
  const coordinate = map[transform];
  if (!coordinate) throw new CompileError('E203', `coordinate_transformation_mode "${transform}" is not defined`);
  return { axis: t.axis, out: t.out, real, coordinate };
}

/** A constant region of interest, as [start, end] of the k-th resized axis. */
function regionOf(ctx: LowerContext, a: ResizeAttrs, count: number, k: number): readonly [Expr, Expr] | null {
  if (a.transform !== 'tf_crop_and_resize') return null;
  const roi = ctx.reader.constant(1);
  if (!roi || roi.data.length !== 2 * count) ctx.limit('a region of interest that is not constant', 'Make it an initializer');
  return [constant(Number(roi.data[k]), 'f32'), constant(Number(roi.data[k + count]), 'f32')];
}

const sameCoordinate = (t: Target): boolean => dimEq(t.size, t.out) && (t.scale === null || t.scale === 1);

function lowerResize(b: Builder, x: Value, a: ResizeAttrs, ctx: LowerContext): Value {
  const all = targets(x, a, b);
  const crop = a.transform === 'tf_crop_and_resize';
  const axes = all.flatMap((t, k) =>
    sameCoordinate(t) && !crop ? [] : [{ ...coordinates(t, a.transform, regionOf(ctx, a, all.length, k)), target: t }],
  );
  const y = a.mode === 'nearest' ? nearest(b, x, a, axes) : filtered(b, x, a, axes, ctx);
  return crop ? extrapolate(b, y, x, axes, a.extrapolation) : y;
}

type Resolved = AxisResample & { readonly target: Target };

const nearest = (b: Builder, x: Value, a: ResizeAttrs, axes: readonly Resolved[]): Value =>
  axes.length === 0
    ? x
    : resampleNearest(
        b,
        x,
        axes.map((r) => ({
          ...r,
          round: a.nearest !== 'by_direction' ? a.nearest : (r.target.scale ?? 1) < 1 ? 'ceil' : 'floor',
        })),
      );

function filtered(b: Builder, x: Value, a: ResizeAttrs, axes: readonly Resolved[], ctx: LowerContext): Value {
  const filters: Readonly<Record<string, Filter>> = { linear: TRIANGLE, cubic: cubicFilter(a.cubic) };
  const filter = filters[a.mode];
  if (!filter) return ctx.limit(`mode "${a.mode}" is not nearest, linear or cubic`);
  const y = axes.reduce((v, r) => {
    if (a.antialias && r.target.scale === null) ctx.limit('antialiasing to a size that is not known', 'Fix the sizes with --dim');
    const shrink = a.antialias ? Math.min(1, r.target.scale ?? 1) : 1;
    return resampleFiltered(b, v, r, filter, { shrink, excludeOutside: a.excludeOutside });
  }, x);
  return fromReal(b, y, x.type.dtype);
}

/** f32 results in the input's type; integers are clamped and truncated. */
function fromReal(b: Builder, y: Value, dtype: DType): Value {
  if (isFloat(dtype) || y.type.dtype === dtype) return b.cast(y, dtype);
  const { lo, hi } = intRange(dtype);
  return b.map([y], (v) => cast(cast(e.clamp(v, Number(lo), Number(hi)), 'i32'), dtype));
}

/** Positions whose coordinate lies outside the input take a fixed value. */
function extrapolate(b: Builder, y: Value, x: Value, axes: readonly Resolved[], value: number): Value {
  if (axes.length === 0) return y;
  return b.generic({
    shape: y.type.shape,
    body: (i, _r, read) => {
      const inside = axes.flatMap((r) => {
        const c = r.coordinate(cast(i[r.axis] as Expr, r.real));
        return [e.le(0, c), e.le(c, cast(e.sub(e.dim(x.type.shape[r.axis] as Dim), 1), r.real))];
      });
      return e.select(e.and(...inside), read(y, i), constant(value, y.type.dtype));
    },
  });
}

const Resize = op('resize', {
  doc: 'Resamples chosen axes to new sizes: nearest, linear or cubic, in all of ONNX’s coordinate systems.',
  inputs: ['x'],
  onnx: {
    'Upsample@1': (n) => simple(n, [1, 1, n.float('height_scale'), n.float('width_scale')]),
    'Upsample@7': (n) => simple(n, n.floats('scales')),
    'Upsample@9': (n) => simple(n, numbersOf(n, 1)),
    'Resize@10': (n) => simple(n, numbersOf(n, 1)),
    'Resize@11': resize,
  },
  lower: ({ x }, a: ResizeAttrs, b, ctx) => lowerResize(b, x, a, ctx),
  limits: [
    'Scales and sizes must not depend on data.',
    'tf_crop_and_resize needs a constant region of interest.',
    'Antialiasing and keep_aspect_ratio_policy need known sizes.',
  ],
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

interface TfliteResize {
  readonly height: Dim;
  readonly width: Dim;
  readonly alignCorners: boolean;
  readonly halfPixel: boolean;
}

const tfliteResize = (n: NodeReader): TfliteResize => {
  const [height = 1, width = 1] = n.dims(1) ?? [];
  return { height, width, alignCorners: n.bool('align_corners', false), halfPixel: n.bool('half_pixel_centers', false) };
};

/** TFLite multiplies by in / out, in f32; half-pixel coordinates are shifted back only where `centred`. */
function tfliteAxis(x: Value, axis: number, out: Dim, a: TfliteResize, centred: boolean): AxisResample {
  const size = x.type.shape[axis] as Dim;
  const real = (d: Dim): Expr => cast(e.dim(d), 'f32');
  const corners = a.alignCorners && out !== 1;
  const [p, q] = corners ? [add(size, -1), max(1, add(out, -1))] : [size, out];
  const known = typeof p === 'number' && typeof q === 'number';
  const scale = known ? constant(Math.fround(p / q), 'f32') : e.div(real(p), real(q));
  const coordinate = (i: Expr): Expr =>
    a.halfPixel ? e.sub(e.mul(e.add(i, 0.5), scale), centred ? 0.5 : 0) : e.mul(i, scale);
  return { axis, out, real: 'f32', coordinate };
}

const ResizeBilinear = op('resize_bilinear', {
  doc: 'TFLite: linear interpolation to a stated height and width; channels last.',
  inputs: ['x', 'size'],
  tflite: { RESIZE_BILINEAR: tfliteResize },
  lower: ({ x }, a: TfliteResize, b) => {
    const plain = { shrink: 1, excludeOutside: false };
    const rows = resampleFiltered(b, x, tfliteAxis(x, 1, a.height, a, true), TRIANGLE, plain);
    return fromReal(b, resampleFiltered(b, rows, tfliteAxis(x, 2, a.width, a, true), TRIANGLE, plain), x.type.dtype);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const ResizeNearest = op('resize_nearest_neighbor', {
  doc: 'TFLite: nearest neighbour at a stated height and width; channels last.',
  inputs: ['x', 'size'],
  tflite: { RESIZE_NEAREST_NEIGHBOR: tfliteResize },
  quantized: 'raw',
  lower: ({ x }, a: TfliteResize, b) => {
    const round: Rounding = a.alignCorners ? 'round_away' : 'floor';
    const axis = (k: number, out: Dim) => ({ ...tfliteAxis(x, k, out, a, false), round });
    return resampleNearest(b, x, [axis(1, a.height), axis(2, a.width)]);
  },
});

export const records: readonly AnyRecord[] = [Resize, ResizeBilinear, ResizeNearest];
