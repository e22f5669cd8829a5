// Pooling over regions of interest: boxes in the input's own coordinates, cut into a grid, one number a cell.
// How finely RoiAlign samples a cell may depend on the box, so both are loop programs.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { cast, constant, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { both } from './ordering.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

const f32 = (x: number): Expr => constant(x, 'f32');
const real = (x: Expr): Expr => cast(x, 'f32');

interface AlignAttrs {
  readonly height: number;
  readonly width: number;
  readonly samples: number;
  readonly scale: number;
  readonly max: boolean;
  /** Boxes are shifted by half a pixel, and may be smaller than one. */
  readonly halfPixel: boolean;
}

function alignAttrs(n: NodeReader, halfPixel: boolean): AlignAttrs {
  const mode = n.string('mode', 'avg');
  if (mode !== 'avg' && mode !== 'max') throw new CompileError('E203', `mode "${mode}" is not defined`);
  return {
    height: n.int('output_height', 1),
    width: n.int('output_width', 1),
    samples: n.int('sampling_ratio', 0),
    scale: n.float('spatial_scale', 1),
    max: mode === 'max',
    halfPixel,
  };
}

/** Where a sample falls between two neighbouring cells of an axis. */
interface Between {
  readonly low: Expr;
  readonly high: Expr;
  /** Share of `high`. */
  readonly share: Expr;
  readonly inside: Expr;
}

function between(k: KernelBuilder, at: Expr, size: Expr): Between {
  const inside = both(e.le(f32(-1), at), e.le(at, real(size)));
  const p = k.let(e.max(at, 0), 'p');
  const last = e.sub(size, 1);
  const low = k.let(e.min(cast(p, 'i32'), last), 'low');
  return {
    low,
    high: k.let(e.min(e.add(low, 1), last), 'high'),
    share: k.let(e.select(e.lt(low, last), e.sub(p, real(low)), f32(0)), 'share'),
    inside: k.let(inside, 'inside'),
  };
}

/** The image a box belongs to, one of those there are. */
const imageOf = (n: Expr, x: Value): Expr => e.clamp(n, 0, e.sub(dimExpr(x.type.shape[0] as Dim), 1));

/** One side of a box: where it starts, how long a cell is, and how many samples a cell gets. */
function side(k: KernelBuilder, lo: Expr, hi: Expr, cells: number, a: AlignAttrs) {
  const shift = a.halfPixel ? 0.5 : 0;
  const start = k.let(e.sub(e.mul(real(lo), f32(a.scale)), f32(shift)), 'start');
  const length = e.sub(e.sub(e.mul(real(hi), f32(a.scale)), f32(shift)), start);
  const cell = k.let(e.div(a.halfPixel ? length : e.max(length, 1), f32(cells)), 'cell');
  const samples = a.samples > 0 ? i32(a.samples) : k.let(cast(e.ceil(cell), 'i32'), 'samples');
  return { start, cell, samples };
}

function roiAlign(b: Builder, x: Value, rois: Value, batch: Value, a: AlignAttrs): Value {
  const [, channels, height, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  const count = rois.type.shape[0] as Dim;
  const [out] = buildKernel(b, 'roi_align', [x, rois, batch], (k) => {
    const [image, boxes, which] = k.inputs as [Buf, Buf, Buf];
    const pooled = k.output(x.type.dtype, [count, channels, a.height, a.width]);
    k.for(0, dimExpr(count), (r) => {
      const edge = (n: number): Expr => k.load(boxes, [r, n]);
      const n = k.let(imageOf(cast(k.load(which, [r]), 'i32'), x), 'n');
      const sx = side(k, edge(0), edge(2), a.width, a);
      const sy = side(k, edge(1), edge(3), a.height, a);
      const samples = k.let(e.max(e.mul(sx.samples, sy.samples), 1), 'count');
      const position = (s: typeof sx, cell: Expr, i: Expr): Expr =>
        e.add(
          e.add(s.start, e.mul(real(cell), s.cell)),
          e.div(e.mul(e.add(real(i), f32(0.5)), s.cell), real(s.samples)),
        );
      k.forEach([channels, a.height, a.width], ([c, ph, pw]) => {
        const total = k.mut(a.max ? f32(-Infinity) : f32(0), 'total');
        k.for(0, sy.samples, (iy) => {
          const v = between(k, position(sy, ph as Expr, iy), dimExpr(height));
          k.for(0, sx.samples, (ix) => {
            const h = between(k, position(sx, pw as Expr, ix), dimExpr(width));
            const at = (yy: Expr, xx: Expr): Expr => real(k.load(image, [n, c as Expr, yy, xx]));
            const inside = both(v.inside, h.inside);
            const shares = [v.low, v.high].flatMap((yy) =>
              [h.low, h.high].map((xx) => {
                const part = (s: Between, p: Expr): Expr => (p === s.high ? s.share : e.sub(f32(1), s.share));
                return e.mul(e.mul(part(v, yy), part(h, xx)), at(yy, xx));
              }),
            );
            const merged = shares.reduce((p, q) => (a.max ? e.max(p, q) : e.add(p, q)));
            const value = k.let(e.select(inside, merged, f32(0)), 'value');
            k.set(total, a.max ? e.max(total, value) : e.add(total, value));
          });
        });
        const none = e.lt(e.mul(sx.samples, sy.samples), 1);
        const result = a.max ? e.select(none, f32(0), total) : e.div(total, real(samples));
        k.store(pooled, [r, c as Expr, ph as Expr, pw as Expr], cast(result, x.type.dtype));
      });
    });
  });
  return out as Value;
}

/** First and last+1 input position of a cell, inside [0, size). */
function cellRange(k: KernelBuilder, cell: Expr, start: Expr, length: Expr, cells: number, size: Dim) {
  const step = e.div(real(length), f32(cells));
  const inside = (v: Expr): Expr => e.min(e.max(e.add(cast(v, 'i32'), start), 0), dimExpr(size));
  return {
    lo: k.let(inside(e.floor(e.mul(real(cell), step))), 'lo'),
    hi: k.let(inside(e.ceil(e.mul(real(e.add(cell, 1)), step))), 'hi'),
  };
}

function maxRoiPool(b: Builder, x: Value, rois: Value, cells: readonly [number, number], scale: number): Value {
  const { dtype, shape } = x.type;
  const [, channels, height, width] = shape as [Dim, Dim, Dim, Dim];
  const count = rois.type.shape[0] as Dim;
  const [out] = buildKernel(b, 'max_roi_pool', [x, rois], (k) => {
    const [image, boxes] = k.inputs as [Buf, Buf];
    const pooled = k.output(dtype, [count, channels, ...cells]);
    k.for(0, dimExpr(count), (r) => {
      const edge = (n: number): Expr =>
        k.let(cast(e.round(e.mul(real(k.load(boxes, [r, n])), f32(scale))), 'i32'), 'edge');
      const n = k.let(imageOf(cast(k.load(boxes, [r, 0]), 'i32'), x), 'n');
      const [x1, y1, x2, y2] = [edge(1), edge(2), edge(3), edge(4)];
      const length = (lo: Expr, hi: Expr): Expr => k.let(e.max(e.add(e.sub(hi, lo), 1), 1), 'length');
      const [h, w] = [length(y1, y2), length(x1, x2)];
      k.forEach([channels, ...cells], ([c, ph, pw]) => {
        const rows = cellRange(k, ph as Expr, y1, h, cells[0], height);
        const columns = cellRange(k, pw as Expr, x1, w, cells[1], width);
        const empty = e.or(e.le(rows.hi, rows.lo), e.le(columns.hi, columns.lo));
        const best = k.mut(e.select(empty, constant(0, dtype), constant(-Infinity, dtype)), 'best');
        k.for(rows.lo, rows.hi, (yy) => {
          k.for(columns.lo, columns.hi, (xx) => k.set(best, e.max(best, k.load(image, [n, c as Expr, yy, xx]))));
        });
        k.store(pooled, [r, c as Expr, ph as Expr, pw as Expr], best);
      });
    });
  });
  return out as Value;
}

interface CropAttrs {
  readonly nearest: boolean;
  readonly outside: number;
}

/** Crops of boxes [y1, x1, y2, x2] in units of the image, corners on corners, each resized to one size. */
function cropAndResize(
  b: Builder,
  x: Value,
  { rois, batch }: { readonly rois: Value; readonly batch: Value },
  crop: readonly [Dim, Dim],
  a: CropAttrs,
): Value {
  const [, channels, height, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  return b.generic({
    shape: [rois.type.shape[0] as Dim, channels, ...crop],
    body: ([r, c, row, column], _r, read) => {
      const image = cast(read(batch, [r as Expr]), 'i32');
      /** Where a position of the crop falls along an axis of the image. */
      const place = (axis: 0 | 1, at: Expr): { at: Expr; last: Expr } => {
        const [lo, hi] = [axis, axis + 2].map((k) => real(read(rois, [r as Expr, i32(k)]))) as [Expr, Expr];
        const last = real(e.sub(dimExpr(axis === 0 ? height : width), 1));
        const steps = e.sub(dimExpr(crop[axis]), 1);
        const spread = e.add(
          e.mul(lo, last),
          e.div(e.mul(e.mul(real(at), e.sub(hi, lo)), last), real(e.max(steps, 1))),
        );
        return { at: e.select(e.lt(0, steps), spread, e.mul(e.mul(e.add(lo, hi), last), 0.5)), last };
      };
      const [v, h] = [place(0, row as Expr), place(1, column as Expr)];
      const inside = both(e.le(f32(0), v.at), e.le(v.at, v.last), e.le(f32(0), h.at), e.le(h.at, h.last));
      const pixel = (y: Expr, xx: Expr): Expr =>
        real(
          read(x, [image, c as Expr, cast(y, 'i32'), cast(xx, 'i32')], {
            guard: inside,
            pad: constant(0, x.type.dtype),
          }),
        );
      const mix = (p: Expr, q: Expr, share: Expr): Expr => e.add(p, e.mul(e.sub(q, p), share));
      const line = (y: Expr): Expr => mix(pixel(y, e.floor(h.at)), pixel(y, e.ceil(h.at)), e.sub(h.at, e.floor(h.at)));
      const value = a.nearest
        ? pixel(e.round(v.at), e.round(h.at))
        : mix(line(e.floor(v.at)), line(e.ceil(v.at)), e.sub(v.at, e.floor(v.at)));
      return cast(e.select(inside, value, f32(a.outside)), x.type.dtype);
    },
  });
}

export const records: readonly AnyRecord[] = [
  op('crop_and_resize', {
    doc: 'Boxes cut out of images and resized to one size; a fixed value outside the image.',
    inputs: ['x', 'rois', 'batch', 'size'],
    onnx: {
      'com.microsoft:CropAndResize@1': (n): CropAttrs & { size: readonly Dim[] } => ({
        nearest: n.string('mode', 'bilinear') === 'nearest',
        outside: n.float('extrapolation_value', 0),
        size: n.dims(3) ?? [],
      }),
    },
    lower: ({ x, rois, batch }, a, b) => cropAndResize(b, x, { rois, batch }, [a.size[0] ?? 1, a.size[1] ?? 1], a),
  }),
  op('roi_align', {
    doc: 'Mean of bilinear samples in each cell of a grid laid over boxes, or the largest weighted neighbour of any sample.',
    inputs: ['x', 'rois', 'batch'],
    onnx: {
      'RoiAlign@10': (n) => alignAttrs(n, false),
      'RoiAlign@16': (n) => alignAttrs(n, n.string('coordinate_transformation_mode', 'half_pixel') === 'half_pixel'),
    },
    lower: ({ x, rois, batch }, a, b) => roiAlign(b, x, rois, batch, a),
  }),
  op('max_roi_pool', {
    doc: 'Maximum in each cell of a grid laid over boxes, edges rounded to whole positions.',
    inputs: ['x', 'rois'],
    onnx: {
      'MaxRoiPool@1': (n) => ({ cells: n.ints('pooled_shape'), scale: n.float('spatial_scale', 1) }),
    },
    lower: ({ x, rois }, a, b) => maxRoiPool(b, x, rois, [a.cells[0] ?? 1, a.cells[1] ?? 1], a.scale),
  }),
];
