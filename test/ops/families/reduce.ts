// Reductions and orderings along axes: how axes were given in each version, and what an absent or empty list meant.

import type { DType } from '../../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, build, indices, range, reduce, sum, withAxis } from './arrays.js';
import { type Family, family, type Random, typesOf } from './case.js';

const i64 = (...values: number[]): Tensor => fromNumbers('i64', [values.length], values);

const REDUCERS: Readonly<Record<string, (xs: number[]) => number>> = {
  ReduceL1: (xs) => sum(xs.map(Math.abs)),
  ReduceL2: (xs) => Math.sqrt(sum(xs.map((x) => x * x))),
  ReduceLogSum: (xs) => Math.log(sum(xs)),
  ReduceLogSumExp: (xs) => Math.log(sum(xs.map(Math.exp))),
  ReduceMax: (xs) => Math.max(...xs),
  ReduceMean: (xs) => sum(xs) / xs.length,
  ReduceMin: (xs) => Math.min(...xs),
  ReduceProd: (xs) => xs.reduce((p, x) => p * x, 1),
  ReduceSum: sum,
  ReduceSumSquare: (xs) => sum(xs.map((x) => x * x)),
};

const EXACT = new Set(['ReduceMax', 'ReduceMin', 'ReduceSum', 'ReduceSumSquare', 'ReduceL1']);

export const reductions: Family = {
  name: 'reductions',
  ops: Object.keys(REDUCERS),
  make(op, version, r) {
    const types: readonly DType[] = EXACT.has(op) ? ['f32', 'f64', 'i32', 'i64'] : ['f32', 'f64'];
    const dtype = r.pick(typesOf(op, version, 'T', types));
    const rank = r.int(1, 4);
    const x = r.tensor(r.shape(rank), op === 'ReduceLogSum' ? 0.5 : -2, 2, dtype);
    const given = r.bool(0.8);
    const axes = r.shuffle(rank).slice(0, r.int(1, rank));
    const signed = version >= 11 && r.bool() ? axes.map((a) => a - rank) : axes;
    const keep = r.bool();
    const want = [reduce(arr(x), given ? axes : range(rank), keep, REDUCERS[op] as (xs: number[]) => number)];
    const attrs = keep && r.bool() ? {} : { keepdims: Number(keep) };
    const asInput = version >= (op === 'ReduceSum' ? 13 : 18);
    if (!asInput) return { attrs: { ...attrs, ...(given && { axes: signed }) }, inputs: [x], want };
    if (!given && r.bool())
      return { attrs: { ...attrs, noop_with_empty_axes: 1, keepdims: 1 }, inputs: [x], want: [noop(op, x)] };
    return { attrs, inputs: given ? [x, i64(...signed)] : [x], constants: given ? [1] : [], want };
  },
};

/** With no axes each element is reduced alone. */
const noop = (op: string, x: Tensor): Arr => ({
  shape: x.shape,
  data: arr(x).data.map((v) => (REDUCERS[op] as (xs: number[]) => number)([v])),
});

/** Position of the greatest by `better`; the last of equals where `last`. */
const argBest = (xs: number[], better: (a: number, b: number) => boolean, last: boolean): number =>
  xs.reduce((best, x, k) => (better(x, xs[best] as number) || (last && x === xs[best]) ? k : best), 0);

const arg =
  (better: (a: number, b: number) => boolean) =>
  (version: number, r: Random): ReturnType<Family['make']> => {
    const rank = r.int(1, 4);
    const axis = r.int(version >= 11 ? -rank : 0, rank - 1);
    const x = r.tensor(r.shape(rank, 5), -2, 2, r.pick(['f32', 'i32', 'f64'] as const));
    const keepdims = r.int(0, 1);
    const last = version >= 12 && r.bool();
    const want = [reduce(arr(x), [axis], keepdims === 1, (xs) => argBest(xs, better, last))];
    return { attrs: { axis, keepdims, ...(last && { select_last_index: 1 }) }, inputs: [x], want };
  };

/** Rows along one axis, or before version 13 over all axes from one on. */
const rowwise =
  (f: (xs: number[]) => number[]) =>
  (version: number, r: Random): ReturnType<Family['make']> => {
    const rank = r.int(1, 4);
    const axis = r.int(0, rank - 1);
    const x = r.tensor(r.shape(rank));
    const explicit = r.bool(0.8);
    const used = explicit ? axis : version < 13 ? Math.min(1, rank) : rank - 1;
    const flat = version < 13 || used === rank - 1;
    const moved: Arr = flat ? coerce(arr(x), version < 13 ? used : rank - 1) : arr(x);
    const want = flat ? { shape: x.shape, data: alongAxis(moved, 1, f).data } : alongAxis(moved, used, f);
    const attrs = explicit ? { axis: version >= 11 && r.bool() ? axis - rank : axis } : {};
    return { attrs, inputs: [x], want: [want] };
  };

const coerce = (a: Arr, axis: number): Arr => {
  const rows = a.shape.slice(0, axis).reduce((p, d) => p * d, 1);
  return { shape: [rows, a.data.length / rows], data: a.data };
};

function alongAxis(a: Arr, axis: number, f: (xs: number[]) => number[]): Arr {
  const data = new Array<number>(a.data.length);
  const strideOf = a.shape.slice(axis + 1).reduce((p, d) => p * d, 1);
  for (const index of indices(a.shape.map((d, k) => (k === axis ? 1 : d)))) {
    const row = f(range(a.shape[axis] as number).map((i) => at(a, withAxis(index, axis, i))));
    const start = index.reduce((p, i, k) => p * (a.shape[k] as number) + i, 0);
    row.forEach((v, i) => {
      data[start + i * strideOf] = v;
    });
  }
  return { shape: a.shape, data };
}

const softmax = (xs: number[]): number[] => {
  const e = xs.map((x) => Math.exp(x - Math.max(...xs)));
  return e.map((x) => x / sum(e));
};

const cumulative =
  (f: (a: number, b: number) => number, unit: number) =>
  (_: number, r: Random): ReturnType<Family['make']> => {
    const rank = r.int(1, 3);
    const axis = r.int(-rank, rank - 1);
    const x = r.tensor(r.shape(rank, 5), -2, 2, r.pick(['f32', 'f64', 'i32'] as const));
    const [exclusive, reverse] = [r.int(0, 1), r.int(0, 1)];
    const run = (given: number[]): number[] => {
      const xs = reverse ? [...given].reverse() : given;
      const out = xs.map((_, k) => xs.slice(0, exclusive ? k : k + 1).reduce(f, unit));
      return reverse ? out.reverse() : out;
    };
    const want = [alongAxis(arr(x), axis < 0 ? axis + rank : axis, run)];
    return {
      attrs: { exclusive, reverse },
      inputs: [x, fromNumbers('i32', [], [axis])],
      constants: r.bool() ? [1] : [],
      want,
    };
  };

function topK(version: number, r: Random): ReturnType<Family['make']> {
  const rank = r.int(1, 3);
  const shape = r.shape(rank, 5);
  const axis = r.int(0, rank - 1);
  const k = r.int(1, shape[axis] as number);
  const x = r.tensor(shape, -3, 3);
  const largest = version < 11 || r.bool();
  const order = (xs: number[]): number[] =>
    range(xs.length).sort(
      (a, b) => (largest ? (xs[b] as number) - (xs[a] as number) : (xs[a] as number) - (xs[b] as number)) || a - b,
    );
  const a = arr(x);
  const take = (f: (xs: number[], place: number) => number): Arr =>
    build(withAxis(shape, axis, k), (index) => {
      const xs = range(shape[axis] as number).map((i) => at(a, withAxis(index, axis, i)));
      return f(xs, order(xs)[index[axis] as number] as number);
    });
  const attrs = {
    axis: version >= 11 && r.bool() ? axis - rank : axis,
    ...(version >= 11 && { largest: Number(largest) }),
    ...(version < 10 && { k }),
  };
  const inputs = version < 10 ? [x] : [x, i64(k)];
  return { attrs, inputs, constants: [1], outputs: 2, want: [take((xs, p) => xs[p] as number), take((_, p) => p)] };
}

export const ordered: Family = family('along an axis', {
  ArgMax: arg((a, b) => a > b),
  ArgMin: arg((a, b) => a < b),
  Softmax: rowwise(softmax),
  LogSoftmax: rowwise((xs) => softmax(xs).map(Math.log)),
  Hardmax: rowwise((xs) => xs.map((_, k) => Number(k === argBest(xs, (a, b) => a > b, false)))),
  CumSum: cumulative((a, b) => a + b, 0),
  CumProd: cumulative((a, b) => a * b, 1),
  TopK: topK,
});
