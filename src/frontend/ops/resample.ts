// Resampling of a tensor axis by axis, as every resize operator means it: an output position maps to a real input
// coordinate; nearest picks one element, linear and cubic weigh neighbours. Coordinates are computed in f64 where all
// sizes are known (they then fold to tables), else in f32, which every target has.

import type { Builder, Read } from '../../ir/builder.js';
import { type Dim, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, intRange, isFloat } from '../../support/dtype.js';

export type Rounding = 'floor' | 'ceil' | 'round_prefer_floor' | 'round_prefer_ceil' | 'round_away';

/** How one axis is resampled. `coordinate` gives the input coordinate of an output position, both of type `real`. */
export interface AxisResample {
  readonly axis: number;
  readonly out: Dim;
  readonly real: DType;
  readonly coordinate: (i: Expr, read: Read) => Expr;
}

/** A weighing of neighbours: `weight(d)` for an element at signed distance d, zero from `support` on. */
export interface Filter {
  readonly support: number;
  readonly weight: (d: Expr) => Expr;
}

export const TRIANGLE: Filter = { support: 1, weight: (d) => e.max(e.sub(1, e.abs(d)), 0) };

/** Keys' cubic with coefficient a. */
export const cubicFilter = (a: number): Filter => ({
  support: 2,
  weight: (signed) => {
    const d = e.abs(signed);
    const poly = (...c: [number, number, number, number]): Expr =>
      e.add(e.mul(e.add(e.mul(e.add(e.mul(d, c[0]), c[1]), d), c[2]), d), c[3]);
    const near = poly(a + 2, -(a + 3), 0, 1);
    const far = poly(a, -5 * a, 8 * a, -4 * a);
    return e.select(e.le(d, 1), near, e.select(e.lt(d, 2), far, e.mul(d, 0)));
  },
});

const ROUND: Readonly<Record<Rounding, (x: Expr) => Expr>> = {
  floor: (x) => e.floor(x),
  ceil: (x) => e.ceil(x),
  round_prefer_floor: (x) => e.ceil(e.sub(x, 0.5)),
  round_prefer_ceil: (x) => e.floor(e.add(x, 0.5)),
  round_away: (x) => e.round(x),
};

const clampIndex = (x: Expr, size: Dim): Expr => e.clamp(x, 0, e.dim(sub(size, 1)));

/** Nearest neighbour along several axes at once: one gather by small index tables. */
export function resampleNearest(
  b: Builder,
  x: Value,
  axes: readonly (AxisResample & { readonly round: Rounding })[],
): Value {
  const tables = axes.map((a) =>
    b.generic({
      shape: [a.out],
      body: ([i], _r, read) => {
        const at = ROUND[a.round](a.coordinate(cast(i as Expr, a.real), read));
        return clampIndex(cast(at, 'i32'), x.type.shape[a.axis] as Dim);
      },
    }),
  );
  const at = (k: number): number => axes.findIndex((a) => a.axis === k);
  return b.generic({
    shape: x.type.shape.map((d, k) => axes[at(k)]?.out ?? d),
    body: (i, _r, read) =>
      read(
        x,
        i.map((v, k) => (at(k) < 0 ? v : read(tables[at(k)] as Value, [v]))),
      ),
  });
}

export interface FilterOptions {
  /** Antialiasing widens the filter by 1 / shrink. `widest` is the least shrink can be, which the taps are counted by. */
  readonly shrink?: { readonly widest: number; readonly at: (read: Read) => Expr };
  /** Taps outside the input weigh nothing rather than repeating the edge. */
  readonly excludeOutside: boolean;
}

/** Weighs neighbours along one axis. The result keeps x's type where it is floating, else is f32. */
export function resampleFiltered(b: Builder, x: Value, a: AxisResample, filter: Filter, options: FilterOptions): Value {
  const size = x.type.shape[a.axis] as Dim;
  const { shrink } = options;
  const start = Math.floor(-filter.support / (shrink?.widest ?? 1)) + 1;
  const taps = 2 - 2 * start;
  const at = (i: Expr, read: Read): Expr => a.coordinate(cast(i, a.real), read);
  const first = b.generic({
    shape: [a.out],
    body: ([i], _r, read) => e.add(cast(e.floor(at(i as Expr, read)), 'i32'), start),
  });
  const raw = b.generic({
    shape: [a.out, taps],
    body: ([i, r], _r, read) => {
      const x0 = at(i as Expr, read);
      const distance = e.sub(e.add(cast(r as Expr, a.real), start), e.sub(x0, e.floor(x0)));
      const weight = filter.weight(shrink ? e.mul(distance, shrink.at(read)) : distance);
      if (!options.excludeOutside) return weight;
      const index = e.add(read(first, [i as Expr]), r as Expr);
      return e.select(e.and(e.le(0, index), e.lt(index, e.dim(size))), weight, 0);
    },
  });
  const normalise = options.excludeOutside || shrink !== undefined;
  const weights = b.cast(normalise ? b.div(raw, b.reduce(raw, 'add', [1], true)) : raw, 'f32');
  return b.generic({
    shape: x.type.shape.map((d, k) => (k === a.axis ? a.out : d)),
    reduce: [taps],
    reducer: 'add',
    body: (i, r, read) => {
      const tap = r[0] as Expr;
      const position = i[a.axis] as Expr;
      const from = clampIndex(e.add(read(first, [position]), tap), size);
      const value = cast(
        read(
          x,
          i.map((v, k) => (k === a.axis ? from : v)),
        ),
        'f32',
      );
      return e.mul(value, read(weights, [position, tap]));
    },
  });
}

/** f32 results in the input's type; integers are clamped and truncated. */
export function fromReal(b: Builder, y: Value, dtype: DType): Value {
  if (isFloat(dtype) || y.type.dtype === dtype) return b.cast(y, dtype);
  const { lo, hi } = intRange(dtype);
  return b.map([y], (v) => cast(cast(e.clamp(v, Number(lo), Number(hi)), 'i32'), dtype));
}
