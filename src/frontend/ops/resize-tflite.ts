// TFLite's resizers: to a stated height and width, channels last, in f32 arithmetic. The resampling is in resample.ts.

import { add, type Dim, max } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { integerResizeBilinear } from './quantized/resize.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { type AxisResample, fromReal, type Rounding, resampleFiltered, resampleNearest, TRIANGLE } from './resample.js';

interface TfliteResize {
  readonly height: Dim;
  readonly width: Dim;
  readonly alignCorners: boolean;
  readonly halfPixel: boolean;
}

const tfliteResize = (n: NodeReader): TfliteResize => {
  const [height = 1, width = 1] = n.dims(1) ?? [];
  return {
    height,
    width,
    alignCorners: n.bool('align_corners', false),
    halfPixel: n.bool('half_pixel_centers', false),
  };
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
  quantized: integerResizeBilinear,
  lower: ({ x }, a: TfliteResize, b) => {
    const plain = { excludeOutside: false };
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

export const records: readonly AnyRecord[] = [ResizeBilinear, ResizeNearest];
