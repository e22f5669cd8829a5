// Sampling at computed points: AffineGrid makes the points, GridSample reads there. A point is a vector of real
// coordinates, innermost axis first, −1 to 1 across the input; neighbours are weighed by a product of 1-D filters.

import type { Builder } from '../../ir/builder.js';
import { type Dim, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { cubicFilter, type Filter, TRIANGLE } from './resample.js';
import { declaredShape } from './runtime-sizes.js';

interface GridAttrs {
  readonly mode: 'nearest' | 'linear' | 'cubic';
  readonly padding: 'zeros' | 'border' | 'reflection';
  readonly alignCorners: boolean;
}

const MODES: Readonly<Record<string, GridAttrs['mode']>> = {
  bilinear: 'linear',
  bicubic: 'cubic',
  nearest: 'nearest',
  linear: 'linear',
  cubic: 'cubic',
};

const gridSample = (n: NodeReader): GridAttrs => {
  const mode = MODES[n.string('mode', 'linear')];
  const padding = n.string('padding_mode', 'zeros') as GridAttrs['padding'];
  if (!mode || !['zeros', 'border', 'reflection'].includes(padding))
    throw new CompileError('E203', 'mode or padding_mode is not defined');
  return { mode, padding, alignCorners: n.bool('align_corners', false) };
};

const real = (d: Dim): Expr => cast(e.dim(d), 'f32');

/** −1…1 to element coordinates. */
function denormalise(v: Expr, size: Dim, alignCorners: boolean): Expr {
  const half = e.mul(e.add(v, 1), 0.5);
  return alignCorners ? e.mul(half, real(sub(size, 1))) : e.sub(e.mul(half, real(size)), 0.5);
}

/** Folds a coordinate back at the input's borders: at the outer elements' centres or outer edges. */
function reflect(x: Expr, size: Dim, alignCorners: boolean): Expr {
  const low = alignCorners ? 0 : -0.5;
  const range = e.max(real(alignCorners ? sub(size, 1) : size), 1e-6);
  const period = e.mul(range, 2);
  const from = e.sub(x, low);
  const inPeriod = e.sub(from, e.mul(period, e.floor(e.div(from, period))));
  return e.add(e.min(inPeriod, e.sub(period, inPeriod)), low);
}

/** A coordinate before interpolation, by padding mode. */
function confine(x: Expr, size: Dim, a: GridAttrs): Expr {
  if (a.mode === 'cubic' || a.padding === 'zeros') return x;
  if (a.padding === 'border') return e.clamp(x, 0, real(sub(size, 1)));
  return reflect(x, size, a.alignCorners);
}

/** The element an integral coordinate reads (in i32), which for zero padding may be outside. */
function elementAt(x: Expr, size: Dim, a: GridAttrs): Expr {
  if (a.padding === 'zeros') return cast(x, 'i32');
  const inside = a.padding === 'reflection' ? reflect(x, size, a.alignCorners) : x;
  return e.clamp(cast(e.rint(inside), 'i32'), 0, e.dim(sub(size, 1)));
}

const FILTERS: Readonly<Record<'linear' | 'cubic', Filter>> = { linear: TRIANGLE, cubic: cubicFilter(-0.75) };

function sample(b: Builder, x: Value, grid: Value, a: GridAttrs): Value {
  const [batch, channels, ...sizes] = x.type.shape as [Dim, Dim, ...Dim[]];
  const rank = sizes.length;
  const places = grid.type.shape.slice(1, -1);
  // Coordinates of each point in the order of x's axes; the grid lists the innermost first.
  const points = b.generic({
    shape: [batch, ...places, rank],
    body: (i, _r, read) => {
      const axis = i.at(-1) as Expr;
      const v = cast(read(grid, [...i.slice(0, -1), e.sub(rank - 1, axis)]), 'f32');
      return sizes.reduceRight<Expr>((rest, size, k) => {
        const here = confine(denormalise(v, size, a.alignCorners), size, a);
        return k === rank - 1 ? here : e.select(e.eq(axis, k), here, rest);
      }, v);
    },
  });
  const filter = a.mode === 'nearest' ? null : FILTERS[a.mode];
  const reach = filter ? filter.support : 0;
  const spec = (
    i: readonly Expr[],
    taps: readonly Expr[],
    read: Parameters<Parameters<Builder['generic']>[0]['body']>[2],
  ): Expr => {
    const at = sizes.map((_, k) => read(points, [i[0] as Expr, ...i.slice(2), e.const(k, 'i32')]));
    const base = at.map((v) => (filter ? e.add(e.floor(v), 1 - reach) : e.rint(v)));
    const where = base.map((v, k) => (filter ? e.add(v, cast(taps[k] as Expr, 'f32')) : v));
    const index = where.map((v, k) => elementAt(v, sizes[k] as Dim, a));
    const value = cast(read(x, [i[0] as Expr, i[1] as Expr, ...index], a.padding === 'zeros' ? { pad: 0 } : {}), 'f32');
    return filter ? where.reduce((p, v, k) => e.mul(p, filter.weight(e.sub(at[k] as Expr, v))), value) : value;
  };
  const shape = [batch, channels, ...places];
  const y = filter
    ? b.generic({ shape, reduce: sizes.map(() => 2 * reach), reducer: 'add', body: spec })
    : b.generic({ shape, body: spec });
  return b.cast(y, x.type.dtype);
}

const GridSample = op('grid_sample', {
  doc: 'Reads the input at given points: nearest, linear or cubic; outside is zero, the border, or a reflection.',
  inputs: ['x', 'grid'],
  onnx: { 'GridSample@16': gridSample, 'com.microsoft:GridSample@1': gridSample },
  lower: ({ x, grid }, a: GridAttrs, b) => sample(b, x, grid, a),
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

interface AffineAttrs {
  readonly places: readonly Dim[] | undefined;
  readonly alignCorners: boolean;
}

const AffineGrid = op('affine_grid', {
  doc: 'Points of a regular grid over −1…1, each sent through an affine map.',
  inputs: ['theta', 'size'],
  onnx: {
    'AffineGrid@20': (n): AffineAttrs => ({
      places: n.tryDims(1)?.slice(2),
      alignCorners: n.bool('align_corners', false),
    }),
  },
  lower: ({ theta }, { places: known, alignCorners }: AffineAttrs, b, ctx) => {
    const places =
      known ?? declaredShape(ctx)?.slice(1, -1) ?? ctx.limit('a size that depends on data', 'Fix it with --dim');
    const rank = places.length;
    const position = (i: Expr, size: Dim): Expr => {
      const t = cast(i, 'f32');
      if (alignCorners) return e.sub(e.div(e.mul(t, 2), e.max(real(sub(size, 1)), 1)), 1);
      return e.sub(e.div(e.add(e.mul(t, 2), 1), real(size)), 1);
    };
    return b.generic({
      shape: [theta.type.shape[0] as Dim, ...places, rank],
      body: (i, _r, read) => {
        const [n, row] = [i[0] as Expr, i.at(-1) as Expr];
        const entry = (k: number): Expr => cast(read(theta, [n, row, e.const(k, 'i32')]), 'f32');
        const terms = places.map((size, k) => e.mul(entry(rank - 1 - k), position(i[k + 1] as Expr, size)));
        return cast(e.add(entry(rank), ...terms), theta.type.dtype);
      },
    });
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [GridSample, AffineGrid];
