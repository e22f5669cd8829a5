// The shape vocabulary of the builder: views (free), and the generics that move data: concat, pad, gather.
// Axes may be negative. Views are proved in range by construction; data-dependent reads are guarded.

import type { DType } from '../support/dtype.js';
import { CompileError, invariant } from '../support/errors.js';
import type { Builder } from './builder.js';
import { add, bounds, ceildiv, type Dim, dimEq, dimKey, floordiv, max, min, product, sub } from './dim.js';
import { e } from './expr.js';
import { cast, dimExpr, type Expr, i32 } from './scalar.js';
import type { Value } from './tensor.js';

/** One axis of a slice, numpy semantics: `end` undefined = to the end in the step's direction. */
export interface SliceAxis {
  readonly axis: number;
  readonly start: Dim;
  readonly end: Dim;
  readonly step: number;
}

export interface ShapeBuilder {
  /** Sizes as an i64 vector value. */
  shapeOf(x: Value): Value;
  /** Axis as a non-negative number; E203 where outside. */
  axis(x: Value, axis: number): number;
  reshape(x: Value, shape: readonly Dim[]): Value;
  /** Free re-indexing: `map` gives the source index for an output index; must always be in range. */
  view(x: Value, shape: readonly Dim[], map: (i: readonly Expr[]) => readonly Expr[]): Value;
  transpose(x: Value, perm: readonly number[]): Value;
  squeeze(x: Value, axes?: readonly number[]): Value;
  unsqueeze(x: Value, axes: readonly number[]): Value;
  /** Numpy slicing with negative starts and ends counted from the end and everything clamped. */
  slice(x: Value, axes: readonly SliceAxis[]): Value;
  /** `size` elements from `start` along one axis, known to be in range. */
  narrow(x: Value, axis: number, start: Dim, size: Dim): Value;
  flip(x: Value, axes: readonly number[]): Value;
  /** Numpy broadcast to `shape` (right-aligned). */
  broadcast(x: Value, shape: readonly Dim[]): Value;
  concat(xs: readonly Value[], axis: number): Value;
  split(x: Value, axis: number, sizes: readonly Dim[]): readonly Value[];
  /** Constant padding; negative amounts crop. */
  pad(x: Value, before: readonly Dim[], after: readonly Dim[], value: number | Expr | Value): Value;
  /** numpy take along `axis`: index tensor's shape replaces the axis, but for its first `batch` axes, which go with those of x.
   *  Negative indices count from the end; out of range reads 0. */
  gather(x: Value, indices: Value, axis: number, batch?: number): Value;
  /** start + i·step for i < count, as `dtype`. */
  iota(count: Dim, dtype: DType, start?: number, step?: number): Value;
  full(shape: readonly Dim[], value: number | bigint | boolean, dtype: DType): Value;
}

export function shapeBuilder(b: Builder): ShapeBuilder {
  const axisOf = (rank: number, axis: number): number => {
    if (axis < -rank || axis >= rank)
      throw new CompileError('E203', `axis ${axis} is outside a tensor of rank ${rank}`);
    return axis < 0 ? axis + rank : axis;
  };
  const rankOf = (x: Value): number => x.type.shape.length;

  function view(x: Value, shape: readonly Dim[], map: (i: readonly Expr[]) => readonly Expr[]): Value {
    const index = map(Array.from(shape, (_, k) => ({ k: 'var', name: `i${k}`, dtype: 'i32', lanes: 1 }) as const));
    invariant(index.length === rankOf(x), 'a view maps to every axis of its source');
    return b.node({ kind: 'view', map: index }, [x], [{ dtype: x.type.dtype, shape }])[0] as Value;
  }

  function reshape(x: Value, shape: readonly Dim[]): Value {
    const [from, to] = [product(x.type.shape), product(shape)];
    if (typeof from === 'number' && typeof to === 'number' && from !== to)
      throw new CompileError('E204', `${from} elements do not fit shape [${shape.map(dimKey)}]`);
    if (shape.length === rankOf(x) && shape.every((d, k) => dimEq(d, x.type.shape[k] as Dim))) return x;
    return b.node({ kind: 'view', map: 'reshape' }, [x], [{ dtype: x.type.dtype, shape }])[0] as Value;
  }

  function slice(x: Value, axes: readonly SliceAxis[]): Value {
    const shape = [...x.type.shape];
    const starts = x.type.shape.map((): Dim => 0);
    const steps = x.type.shape.map(() => 1);
    for (const s of axes) {
      const k = axisOf(rankOf(x), s.axis);
      const size = x.type.shape[k] as Dim;
      if (s.step === 0) throw new CompileError('E203', 'a slice step is zero');
      const { start, count } = sliceRange(size, s.start, s.end, s.step);
      starts[k] = start;
      steps[k] = s.step;
      shape[k] = count;
    }
    if (
      starts.every((s) => s === 0) &&
      steps.every((s) => s === 1) &&
      shape.every((d, k) => dimEq(d, x.type.shape[k] as Dim))
    )
      return x;
    return view(x, shape, (i) => i.map((v, k) => e.add(dimExpr(starts[k] as Dim), e.mul(v, steps[k] as number))));
  }

  function broadcast(x: Value, shape: readonly Dim[]): Value {
    const full = b.broadcastShape([x.type.shape, shape]);
    if (full.length === rankOf(x) && full.every((d, k) => dimEq(d, x.type.shape[k] as Dim))) return x;
    const skip = full.length - rankOf(x);
    return view(x, full, (i) =>
      x.type.shape.map((d, k) => {
        if (d === 1) return i32(0);
        const v = i[k + skip] as Expr;
        const out = full[k + skip] as Dim;
        return typeof d === 'number' || dimEq(d, out) || bounds(d)[0] > 1 ? v : e.select(e.eq(dimExpr(d), 1), 0, v);
      }),
    );
  }

  function pad(x: Value, before: readonly Dim[], after: readonly Dim[], value: number | Expr | Value): Value {
    const shape = x.type.shape.map((d, k) => max(0, add(add(d, before[k] ?? 0), after[k] ?? 0)));
    return b.generic({
      shape,
      body: (i, _r, read) => {
        const fill =
          typeof value === 'object' && 'type' in value
            ? read(
                value,
                value.type.shape.map(() => i32(0)),
              )
            : value;
        return read(
          x,
          i.map((v, k) => e.sub(v, dimExpr(before[k] ?? 0))),
          { pad: fill },
        );
      },
    });
  }

  function gather(x: Value, indices: Value, axis: number, batch = 0): Value {
    const k = axisOf(rankOf(x), axis);
    const size = x.type.shape[k] as Dim;
    const n = rankOf(indices) - batch;
    if (batch > k || n < 0) throw new CompileError('E203', `${batch} batch axes do not fit a gather along axis ${k}`);
    const shape = [...x.type.shape.slice(0, k), ...indices.type.shape.slice(batch), ...x.type.shape.slice(k + 1)];
    return b.generic({
      shape,
      body: (i, _r, read) => {
        const raw = cast(read(indices, [...i.slice(0, batch), ...i.slice(k, k + n)]), 'i32');
        const at = e.select(e.lt(raw, 0), e.add(raw, dimExpr(size)), raw);
        const inRange = e.and(e.le(0, at), e.lt(at, dimExpr(size)));
        return read(x, [...i.slice(0, k), at, ...i.slice(k + n)], {
          guard: inRange,
          pad: zeroOf(x.type.dtype),
        });
      },
    });
  }

  return {
    shapeOf: (x) => b.dims(x.type.shape),
    axis: (x, axis) => axisOf(rankOf(x), axis),
    reshape,
    view,
    transpose(x, perm) {
      if (perm.length !== rankOf(x) || [...perm].sort((p, q) => p - q).some((p, k) => p !== k))
        throw new CompileError('E203', `[${perm}] is not a permutation of ${rankOf(x)} axes`);
      if (perm.every((p, k) => p === k)) return x;
      const shape = perm.map((p) => x.type.shape[p] as Dim);
      return view(x, shape, (i) => perm.map((_, k) => i[perm.indexOf(k)] as Expr));
    },
    squeeze(x, axes) {
      const drop = axes?.map((a) => axisOf(rankOf(x), a));
      return reshape(
        x,
        x.type.shape.filter((d, k) => (drop ? !drop.includes(k) : d !== 1)),
      );
    },
    unsqueeze(x, axes) {
      const rank = rankOf(x) + axes.length;
      const at = axes.map((a) => axisOf(rank, a));
      if (new Set(at).size !== at.length) throw new CompileError('E203', `the new axes [${axes}] are not distinct`);
      const rest = [...x.type.shape];
      return reshape(
        x,
        Array.from({ length: rank }, (_, k) => (at.includes(k) ? 1 : (rest.shift() as Dim))),
      );
    },
    slice,
    narrow(x, axis, start, size) {
      const k = axisOf(rankOf(x), axis);
      if (start === 0 && dimEq(size, x.type.shape[k] as Dim)) return x;
      checkRange(x.type.shape[k] as Dim, start, size);
      return view(
        x,
        x.type.shape.map((d, j) => (j === k ? size : d)),
        (i) => i.map((v, j) => (j === k ? e.add(v, dimExpr(start)) : v)),
      );
    },
    flip(x, axes) {
      const at = axes.map((a) => axisOf(rankOf(x), a));
      return view(x, x.type.shape, (i) =>
        i.map((v, k) => (at.includes(k) ? e.sub(dimExpr(sub(x.type.shape[k] as Dim, 1)), v) : v)),
      );
    },
    broadcast,
    concat(xs, axis) {
      const first = xs[0];
      if (!first) throw new CompileError('E203', 'concat of nothing');
      if (xs.length === 1) return first;
      const k = axisOf(rankOf(first), axis);
      for (const x of xs) {
        if (rankOf(x) !== rankOf(first) || x.type.dtype !== first.type.dtype)
          throw new CompileError('E204', 'concat needs equal ranks and element types');
      }
      const total = xs.reduce<Dim>((s, x) => add(s, x.type.shape[k] as Dim), 0);
      const shape = first.type.shape.map((d, j) =>
        j === k ? total : (xs.map((x) => x.type.shape[j] as Dim).find((s) => typeof s === 'number') ?? d),
      );
      return b.node({ kind: 'concat', axis: k }, xs, [{ dtype: first.type.dtype, shape }])[0] as Value;
    },
    split(x, axis, sizes) {
      let at: Dim = 0;
      return sizes.map((size) => {
        const part = b.narrow(x, axis, at, size);
        at = add(at, size);
        return part;
      });
    },
    pad,
    gather,
    iota: (count, dtype, start = 0, step = 1) =>
      b.generic({ shape: [count], body: (i) => e.add(e.mul(cast(i[0] as Expr, dtype), step), start) }),
    full: (shape, value, dtype) => b.generic({ shape, body: () => e.const(value, dtype) }),
  };
}

const zeroOf = (dtype: DType): Expr => e.const(0, dtype);

/** Refuses `size` elements from `start` on where they cannot all lie in an axis of size `n`. */
export function checkRange(n: Dim, start: Dim, size: Dim): void {
  const beyond = bounds(sub(add(start, size), n))[0] > 0;
  if (beyond || bounds(start)[1] < 0 || bounds(size)[1] < 0)
    throw new CompileError(
      'E204',
      `${dimKey(size)} elements from ${dimKey(start)} on do not lie in an axis of size ${dimKey(n)}`,
    );
}

/** Numpy's clamping of start and end, and the element count, as sizes. */
export function sliceRange(size: Dim, start: Dim, end: Dim, step: number): { start: Dim; count: Dim } {
  const wrap = (p: Dim): Dim => {
    const [lo, hi] = bounds(p);
    if (lo >= 0) return p;
    if (hi < 0) return add(p, size);
    throw new CompileError('E207', `a slice position (${dimKey(p)}) may be negative or not`);
  };
  const clamp = (p: Dim, lo: Dim, hi: Dim): Dim => min(max(p, lo), hi);
  if (step > 0) {
    const first = clamp(wrap(start), 0, size);
    const last = clamp(wrap(end), 0, size);
    return { start: first, count: max(0, ceildiv(sub(last, first), step)) };
  }
  const first = clamp(wrap(start), -1, sub(size, 1));
  const last = clamp(wrap(end), -1, sub(size, 1));
  return { start: first, count: max(0, floordiv(add(sub(first, last), -step - 1), -step)) };
}
