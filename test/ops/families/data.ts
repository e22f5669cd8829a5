// Movement of data: shapes, slices, gathers, scatters, padding. Each says from which element of the input an element comes.

import type { DType } from '../../../src/support/dtype.js';
import { fromNumbers, sizeOf, type Tensor } from '../../../src/support/tensor.js';
import {
  type Arr,
  arr,
  at,
  broadcastShape,
  build,
  indices,
  range,
  scalar,
  spread,
  transpose,
  withAxis,
} from './arrays.js';
import { type Family, family, type Random, typesOf } from './case.js';

const i64 = (...values: number[]): Tensor => fromNumbers('i64', [values.length], values);
type Made = ReturnType<Family['make']>;

const TYPES: readonly DType[] = ['f32', 'f32', 'f64', 'f16', 'i32', 'i64', 'u8', 'i1'];
const some = (op: string, version: number, variable: string, r: Random, shape: readonly number[]): Tensor => {
  const dtype = r.pick(typesOf(op, version, variable, TYPES));
  return r.tensor(shape, dtype === 'u8' || dtype === 'i1' ? 0 : -4, dtype === 'i1' ? 1 : 4, dtype);
};
const reshaped = (t: Tensor, shape: readonly number[]): Arr => ({ shape, data: arr(t).data });
const maybeNegative = (axis: number, rank: number, r: Random): number => (r.bool() ? axis - rank : axis);

function flatten(version: number, r: Random): Made {
  const x = some('Flatten', version, 'T', r, r.shape(r.int(1, 4)));
  const axis = r.int(0, x.shape.length);
  const rows = sizeOf(x.shape.slice(0, axis));
  const signed = version >= 11 && axis < x.shape.length ? maybeNegative(axis, x.shape.length, r) : axis;
  return { attrs: { axis: signed }, inputs: [x], want: [reshaped(x, [rows, sizeOf(x.shape) / rows])] };
}

function reshape(version: number, r: Random): Made {
  const x = some('Reshape', version, 'T', r, r.shape(3));
  const [a, b, c] = x.shape as [number, number, number];
  const [text, shape] = r.pick([
    [[-1], [a * b * c]],
    [
      [0, -1],
      [a, b * c],
    ],
    [
      [a * b, c],
      [a * b, c],
    ],
    [
      [1, a, -1, c],
      [1, a, b, c],
    ],
  ] as const);
  const want = [reshaped(x, shape)];
  return version < 5
    ? { attrs: { shape: [...text] }, inputs: [x], want }
    : { inputs: [x, i64(...text)], constants: r.bool() ? [1] : [1], want };
}

const transposed = (version: number, r: Random): Made => {
  const rank = r.int(1, 4);
  const x = some('Transpose', version, 'T', r, r.shape(rank));
  const perm = r.bool(0.8) ? r.shuffle(rank) : undefined;
  const want = [transpose(arr(x), perm ?? range(rank).reverse())];
  return { attrs: perm ? { perm } : {}, inputs: [x], want };
};

function squeeze(version: number, r: Random): Made {
  const shape = r.shape(4).map((d) => (r.bool() ? 1 : d));
  const x = some('Squeeze', version, 'T', r, shape);
  const ones = range(4).filter((k) => shape[k] === 1);
  const axes = r.bool(0.7) && ones.length > 0 ? ones.filter((_, k) => k === 0 || r.bool()) : undefined;
  const want = [
    reshaped(
      x,
      shape.filter((_, k) => !(axes ?? ones).includes(k)),
    ),
  ];
  if (version < 13) return { attrs: axes ? { axes } : {}, inputs: [x], want };
  return { inputs: axes ? [x, i64(...axes)] : [x], constants: [1], want };
}

function unsqueeze(version: number, r: Random): Made {
  const x = some('Unsqueeze', version, 'T', r, r.shape(2));
  const axes = r.shuffle(4).slice(0, 2).sort();
  const rest = [...x.shape];
  const want = [
    reshaped(
      x,
      range(4).map((k) => (axes.includes(k) ? 1 : (rest.shift() as number))),
    ),
  ];
  return version < 13 ? { attrs: { axes }, inputs: [x], want } : { inputs: [x, i64(...axes)], constants: [1], want };
}

function concat(version: number, r: Random): Made {
  const shape = r.shape(r.int(1, 3));
  const axis = r.int(0, shape.length - 1);
  const first = some('Concat', version, 'T', r, shape);
  const more = range(r.int(0, 2)).map(() => r.tensor(withAxis(shape, axis, r.int(1, 3)), 0, 1, first.dtype));
  const parts = [first, ...more];
  const sizes = parts.map((t) => t.shape[axis] as number);
  const want = build(
    withAxis(
      shape,
      axis,
      sizes.reduce((p, d) => p + d),
    ),
    (index) => {
      let [i, k] = [index[axis] as number, 0];
      while (i >= (sizes[k] as number)) i -= sizes[k++] as number;
      return at(arr(parts[k] as Tensor), withAxis(index, axis, i));
    },
  );
  return { attrs: { axis: version >= 11 ? maybeNegative(axis, shape.length, r) : axis }, inputs: parts, want: [want] };
}

function split(version: number, r: Random): Made {
  const rank = r.int(1, 3);
  const axis = r.int(0, rank - 1);
  const sizes = range(r.int(1, 3)).map(() => r.int(1, 3));
  const even = r.bool(0.3);
  const used = even ? sizes.map(() => 2) : sizes;
  const x = some(
    'Split',
    version,
    'T',
    r,
    withAxis(
      r.shape(rank),
      axis,
      used.reduce((p, d) => p + d),
    ),
  );
  const a = arr(x);
  let start = 0;
  const want = used.map((n) => {
    const from = start;
    start += n;
    return build(withAxis(x.shape, axis, n), (index) => at(a, withAxis(index, axis, from + (index[axis] as number))));
  });
  const attrs = { axis };
  if (even)
    return {
      attrs: { ...attrs, ...(version >= 18 && { num_outputs: used.length }) },
      inputs: [x],
      outputs: used.length,
      want,
    };
  if (version === 1 || (version >= 2 && version < 13))
    return { attrs: { ...attrs, split: sizes }, inputs: [x], outputs: used.length, want };
  return { attrs, inputs: [x, i64(...sizes)], constants: [1], outputs: used.length, want };
}

function slice(version: number, r: Random): Made {
  const rank = r.int(1, 3);
  const x = some('Slice', version, version < 10 ? 'T' : 'T', r, r.shape(rank, 6));
  const axes = r.shuffle(rank).slice(0, r.int(1, rank)).sort();
  const parts = axes.map((k) => {
    const d = x.shape[k] as number;
    const back = version >= 10 && r.bool(0.3);
    const [a, b] = [r.int(0, d - 1), r.int(0, d - 1)];
    const step = version >= 10 ? r.int(1, 2) : 1;
    return back
      ? {
          start: Math.max(a, b),
          end: Math.min(a, b) === 0 ? -d - 1 : Math.min(a, b) - 1,
          stop: Math.min(a, b) - 1,
          step: -step,
        }
      : { start: Math.min(a, b), end: r.bool(0.2) ? 1000 : Math.max(a, b) + 1, stop: 0, step };
  });
  const places = x.shape.map((d, k) => {
    const p = parts[axes.indexOf(k)];
    if (!p) return range(d);
    const list: number[] = [];
    const inside = (i: number): boolean => (p.step > 0 ? i < Math.min(p.end, d) : i > p.stop);
    for (let i = p.start; inside(i); i += p.step) list.push(i);
    return list;
  });
  const want = [
    build(
      places.map((l) => l.length),
      (index) =>
        at(
          arr(x),
          index.map((i, k) => places[k]?.[i] as number),
        ),
    ),
  ];
  const [starts, ends, steps] = [parts.map((p) => p.start), parts.map((p) => p.end), parts.map((p) => p.step)];
  if (version < 10) return { attrs: { axes, starts, ends }, inputs: [x], want };
  return { inputs: [x, i64(...starts), i64(...ends), i64(...axes), i64(...steps)], constants: [1, 2, 3, 4], want };
}

function tile(version: number, r: Random): Made {
  const x = some('Tile', version, 'T', r, r.shape(r.int(1, 3)));
  const a = arr(x);
  if (version < 6) {
    const [axis, n] = [r.int(0, x.shape.length - 1), r.int(1, 3)];
    const size = x.shape[axis] as number;
    const want = build(withAxis(x.shape, axis, size * n), (i) => at(a, withAxis(i, axis, (i[axis] as number) % size)));
    return {
      inputs: [x, fromNumbers('f32', [], [n]), fromNumbers('f32', [], [axis])],
      constants: [1, 2],
      want: [want],
    };
  }
  const repeats = x.shape.map(() => r.int(1, 3));
  const want = build(
    x.shape.map((d, k) => d * (repeats[k] as number)),
    (i) =>
      at(
        a,
        i.map((v, k) => v % (x.shape[k] as number)),
      ),
  );
  return { inputs: [x, i64(...repeats)], constants: [1], want: [want] };
}

function expand(version: number, r: Random): Made {
  const shape = r.shape(r.int(1, 3));
  const x = some(
    'Expand',
    version,
    'T',
    r,
    shape.slice(r.int(0, shape.length)).map((d) => (r.bool() ? 1 : d)),
  );
  const want = build(broadcastShape(x.shape, shape), (i) => spread(arr(x), i));
  return { inputs: [x, i64(...shape)], constants: [1], want: [want] };
}

const wrapIndex = (i: number, d: number): number => (i < 0 ? i + d : i);

function gather(version: number, r: Random): Made {
  const x = some('Gather', version, 'T', r, r.shape(r.int(1, 3)));
  const axis = r.int(0, x.shape.length - 1);
  const d = x.shape[axis] as number;
  const ids = r.tensor(r.shape(r.int(0, 2)), version >= 11 ? -d : 0, d - 1, r.pick(['i32', 'i64'] as const));
  const shape = [...x.shape.slice(0, axis), ...ids.shape, ...x.shape.slice(axis + 1)];
  const want = build(shape, (i) => {
    const id = wrapIndex(at(arr(ids), i.slice(axis, axis + ids.shape.length)), d);
    return at(arr(x), [...i.slice(0, axis), id, ...i.slice(axis + ids.shape.length)]);
  });
  return { attrs: { axis }, inputs: [x, ids], want: [want] };
}

function gatherElements(version: number, r: Random): Made {
  const x = some('GatherElements', version, 'T', r, r.shape(r.int(1, 3)));
  const axis = r.int(0, x.shape.length - 1);
  const d = x.shape[axis] as number;
  const ids = r.tensor(withAxis(x.shape, axis, r.int(1, 4)), -d, d - 1, 'i64');
  const want = build(ids.shape, (i) => at(arr(x), withAxis(i, axis, wrapIndex(at(arr(ids), i), d))));
  return { attrs: { axis: maybeNegative(axis, x.shape.length, r) }, inputs: [x, ids], want: [want] };
}

/** Rows of index tuples into the leading axes after `batch` shared ones. */
const tuples = (
  shape: readonly number[],
  outer: readonly number[],
  depth: number,
  batch: number,
  r: Random,
): Tensor => {
  const rows = sizeOf(outer);
  const data = range(rows * depth).map((k) => r.int(0, (shape[batch + (k % depth)] as number) - 1));
  return fromNumbers('i64', [...outer, depth], data);
};

function gatherNd(version: number, r: Random): Made {
  const x = some('GatherND', version, 'T', r, r.shape(3));
  const batch = version >= 12 ? r.int(0, 1) : 0;
  const depth = r.int(1, 3 - batch);
  const outer = [...x.shape.slice(0, batch), ...r.shape(r.int(batch ? 0 : 1, 2))];
  const ids = tuples(x.shape, outer, depth, batch, r);
  const want = build([...outer, ...x.shape.slice(batch + depth)], (i) => {
    const place = range(depth).map((k) => at(arr(ids), [...i.slice(0, outer.length), k]));
    return at(arr(x), [...i.slice(0, batch), ...place, ...i.slice(outer.length)]);
  });
  return { attrs: batch ? { batch_dims: batch } : {}, inputs: [x, ids], want: [want] };
}

const COMBINE: Readonly<Record<string, (a: number, b: number) => number>> = {
  none: (_, b) => b,
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  max: Math.max,
  min: Math.min,
};

/** Distinct where order would show. */
const reductionOf = (version: number, r: Random): string =>
  version < 16 ? 'none' : r.pick(version < 18 ? ['none', 'add', 'mul'] : Object.keys(COMBINE));

function scatterElements(version: number, r: Random): Made {
  const x = r.tensor(r.shape(r.int(1, 3)), -2, 2);
  const axis = r.int(0, x.shape.length - 1);
  const d = x.shape[axis] as number;
  const reduction = reductionOf(version, r);
  const n = reduction === 'none' ? r.int(1, d) : r.int(1, 4);
  const shape = withAxis(x.shape, axis, n);
  // Along the axis each place once, unless updates combine.
  const order = r.shuffle(d);
  const ids = fromNumbers(
    'i64',
    shape,
    Array.from(indices(shape), (i) => (reduction === 'none' ? (order[i[axis] as number] as number) : r.int(0, d - 1))),
  );
  const updates = r.tensor(shape, -2, 2);
  const data = [...arr(x).data];
  for (const i of indices(shape)) {
    const to = withAxis(i, axis, at(arr(ids), i));
    const place = to.reduce((p, v, k) => p * (x.shape[k] as number) + v, 0);
    data[place] = (COMBINE[reduction] as (a: number, b: number) => number)(data[place] as number, at(arr(updates), i));
  }
  return {
    attrs: { axis, ...(reduction !== 'none' && { reduction }) },
    inputs: [x, ids, updates],
    want: [{ shape: x.shape, data }],
  };
}

function scatterNd(version: number, r: Random): Made {
  const x = r.tensor(r.shape(3), -2, 2);
  const depth = r.int(1, 3);
  const reduction = reductionOf(version, r);
  const places = r.shuffle(sizeOf(x.shape.slice(0, depth)));
  const n = Math.min(places.length, r.int(1, 4));
  const ids = build([n, depth], ([row, k]) => {
    let rest = places[row as number] as number;
    for (let a = depth - 1; a > (k as number); a--) rest = Math.floor(rest / (x.shape[a] as number));
    return rest % (x.shape[k as number] as number);
  });
  const updates = r.tensor([n, ...x.shape.slice(depth)], -2, 2);
  const data = [...arr(x).data];
  for (const i of indices(updates.shape)) {
    const to = [...range(depth).map((k) => at(ids, [i[0] as number, k])), ...i.slice(1)];
    const place = to.reduce((p, v, k) => p * (x.shape[k] as number) + v, 0);
    data[place] = (COMBINE[reduction] as (a: number, b: number) => number)(data[place] as number, at(arr(updates), i));
  }
  const inputs = [x, fromNumbers('i64', ids.shape, ids.data), updates];
  return { attrs: reduction === 'none' ? {} : { reduction }, inputs, want: [{ shape: x.shape, data }] };
}

function depthToSpace(version: number, r: Random): Made {
  const [n, c, h, w] = r.shape(4, 3) as [number, number, number, number];
  const b = r.int(1, 3);
  const x = r.tensor([n, c * b * b, h, w]);
  const crd = version >= 11 && r.bool();
  const want = build([n, c, h * b, w * b], (i) => {
    const [m, k, y, z] = i as [number, number, number, number];
    const block = (y % b) * b + (z % b);
    return at(arr(x), [m, crd ? k * b * b + block : block * c + k, Math.floor(y / b), Math.floor(z / b)]);
  });
  return { attrs: { blocksize: b, ...(crd && { mode: 'CRD' }) }, inputs: [x], want: [want] };
}

function spaceToDepth(_: number, r: Random): Made {
  const [n, c, h, w] = r.shape(4, 3) as [number, number, number, number];
  const b = r.int(1, 3);
  const x = r.tensor([n, c, h * b, w * b]);
  const want = build([n, c * b * b, h, w], (i) => {
    const [m, k, y, z] = i as [number, number, number, number];
    const block = Math.floor(k / c);
    return at(arr(x), [m, k % c, y * b + Math.floor(block / b), z * b + (block % b)]);
  });
  return { attrs: { blocksize: b }, inputs: [x], want: [want] };
}

function pad(version: number, r: Random): Made {
  const rank = r.int(1, 3);
  const x = r.tensor(r.shape(rank).map((d) => d + 1));
  const mode = r.pick(['constant', 'reflect', 'edge', ...(version >= 19 ? ['wrap'] : [])]);
  const [before, after] = [
    x.shape.map((d) => r.int(0, Math.min(2, d - 1))),
    x.shape.map((d) => r.int(0, Math.min(2, d - 1))),
  ];
  const value = r.bool() ? 1.5 : 0;
  const source = (i: number, d: number): number => {
    if (mode === 'edge') return Math.min(Math.max(i, 0), d - 1);
    if (mode === 'wrap') return (i + 2 * d) % d;
    if (mode === 'reflect') return i < 0 ? -i : i >= d ? 2 * (d - 1) - i : i;
    return i;
  };
  const want = build(
    x.shape.map((d, k) => d + (before[k] as number) + (after[k] as number)),
    (i) => {
      const from = i.map((v, k) => source(v - (before[k] as number), x.shape[k] as number));
      const v = at(arr(x), from);
      return Number.isNaN(v) ? value : v;
    },
  );
  const pads = [...before, ...after];
  if (version < 11)
    return { attrs: { mode, value, [version < 2 ? 'paddings' : 'pads']: pads }, inputs: [x], want: [want] };
  return { attrs: { mode }, inputs: [x, i64(...pads), fromNumbers('f32', [], [value])], constants: [1], want: [want] };
}

function oneHot(version: number, r: Random): Made {
  const depth = r.int(2, 5);
  const ids = r.tensor(r.shape(r.int(1, 2)), version >= 11 ? -depth : 0, depth - 1, 'i64');
  const axis = r.int(-1, ids.shape.length);
  const place = axis < 0 ? ids.shape.length : axis;
  const values = fromNumbers('f32', [2], [0.25, 3]);
  const want = build([...ids.shape.slice(0, place), depth, ...ids.shape.slice(place)], (i) => {
    const id = at(
      arr(ids),
      i.filter((_, k) => k !== place),
    );
    return wrapIndex(id, depth) === i[place] ? 3 : 0.25;
  });
  return { attrs: { axis }, inputs: [ids, fromNumbers('i64', [], [depth]), values], constants: [1], want: [want] };
}

function compress(_: number, r: Random): Made {
  const x = r.tensor(r.shape(r.int(1, 3)));
  const axis = r.bool(0.7) ? r.int(0, x.shape.length - 1) : undefined;
  const d = axis === undefined ? sizeOf(x.shape) : (x.shape[axis] as number);
  const condition = r.tensor([r.int(1, d)], 0, 1, 'i1');
  const kept = range(d).filter((k) => arr(condition).data[k]);
  const want =
    axis === undefined
      ? { shape: [kept.length], data: kept.map((k) => arr(x).data[k] as number) }
      : build(withAxis(x.shape, axis, kept.length), (i) =>
          at(arr(x), withAxis(i, axis, kept[i[axis] as number] as number)),
        );
  return { attrs: axis === undefined ? {} : { axis }, inputs: [x, condition], want: [want] };
}

function nonZero(_: number, r: Random): Made {
  const x = r.tensor(r.shape(r.int(1, 3)), 0, 1, r.pick(['i32', 'i1', 'i64'] as const));
  const hits = Array.from(indices(x.shape)).filter((i) => at(arr(x), i) !== 0);
  return {
    inputs: [x],
    want: [build([x.shape.length, hits.length], ([k, n]) => hits[n as number]?.[k as number] as number)],
  };
}

function eyeLike(_: number, r: Random): Made {
  const x = r.tensor(r.shape(2, 5));
  const k = r.int(-2, 2);
  return { attrs: { k }, inputs: [x], want: [build(x.shape, ([i, j]) => Number((j as number) - (i as number) === k))] };
}

function trilu(_: number, r: Random): Made {
  const x = r.tensor(r.shape(r.int(2, 3)));
  const [k, upper] = [r.int(-2, 2), r.int(0, 1)];
  const want = build(x.shape, (index) => {
    const [i, j] = index.slice(-2) as [number, number];
    return (upper ? j - i >= k : j - i <= k) ? at(arr(x), index) : 0;
  });
  return { attrs: { upper }, inputs: [x, fromNumbers('i64', [], [k])], constants: r.bool() ? [1] : [], want: [want] };
}

const shapeOf = (_: number, r: Random): Made => {
  const x = r.tensor(r.shape(r.int(1, 4)));
  return { inputs: [x], want: [{ shape: [x.shape.length], data: x.shape }] };
};

const constantOfShape = (version: number, r: Random): Made => {
  const shape = r.shape(r.int(1, 3));
  const dtype = r.pick(typesOf('ConstantOfShape', version, 'T2', ['f32', 'i64', 'i32', 'u8']));
  return {
    attrs: { value: fromNumbers(dtype, [1], [3]) },
    inputs: [i64(...shape)],
    constants: [0],
    want: [build(shape, () => 3)],
  };
};

const rangeOf = (_: number, r: Random): Made => {
  const [start, step, n] = [r.int(-3, 3), r.pick([1, 2, -1, -3]), r.int(1, 6)];
  const dtype = r.pick(['i32', 'i64', 'f32'] as const);
  const limit = start + step * n - Math.sign(step) * r.int(0, Math.abs(step) - 1);
  const want = { shape: [n], data: range(n).map((k) => start + k * step) };
  return { inputs: [start, limit, step].map((v) => fromNumbers(dtype, [], [v])), constants: [0, 1, 2], want: [want] };
};

function reverseSequence(_: number, r: Random): Made {
  const [time, batch] = r.bool() ? [0, 1] : [1, 0];
  const x = r.tensor(r.shape(3));
  const lengths = r.tensor([x.shape[batch] as number], 1, x.shape[time] as number, 'i64');
  const want = build(x.shape, (i) => {
    const n = arr(lengths).data[i[batch] as number] as number;
    const t = i[time] as number;
    return at(arr(x), withAxis(i, time, t < n ? n - 1 - t : t));
  });
  return { attrs: { time_axis: time, batch_axis: batch }, inputs: [x, lengths], want: [want] };
}

const CODES: Readonly<Partial<Record<DType, number>>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  i32: 6,
  i64: 7,
  i1: 9,
  f16: 10,
  f64: 11,
};
const NAMES: Readonly<Partial<Record<DType, string>>> = {
  f32: 'FLOAT',
  u8: 'UINT8',
  i8: 'INT8',
  i32: 'INT32',
  i64: 'INT64',
  i1: 'BOOL',
  f16: 'FLOAT16',
  f64: 'DOUBLE',
};

function cast(version: number, r: Random): Made {
  const types = Object.keys(CODES) as DType[];
  const [from, to] = [r.pick(types), r.pick(types)];
  // Whole small numbers: every type holds them.
  const x = fromNumbers(
    from,
    [3, 2],
    range(6).map(() => r.int(0, from === 'i1' ? 1 : 5)),
  );
  const want = { shape: [3, 2], data: arr(x).data.map((v) => (to === 'i1' ? Number(v !== 0) : v)) };
  return { attrs: { to: version < 6 ? (NAMES[to] as string) : (CODES[to] as number) }, inputs: [x], want: [want] };
}

function castLike(_: number, r: Random): Made {
  const types = Object.keys(CODES) as DType[];
  const x = fromNumbers(
    r.pick(types),
    [4],
    range(4).map(() => r.int(0, 1)),
  );
  return { inputs: [x, fromNumbers(r.pick(types), [2], [1, 0])], want: [arr(x)] };
}

export const data: Family = family('movement of data', {
  Flatten: flatten,
  Reshape: reshape,
  Transpose: transposed,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Split: split,
  Slice: slice,
  Tile: tile,
  Expand: expand,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  Scatter: scatterElements,
  ScatterElements: scatterElements,
  ScatterND: scatterNd,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Pad: pad,
  OneHot: oneHot,
  Compress: compress,
  NonZero: nonZero,
  EyeLike: eyeLike,
  Trilu: trilu,
  Shape: shapeOf,
  Size: (_, r) => {
    const x = r.tensor(r.shape(r.int(0, 4)));
    return { inputs: [x], want: [scalar(sizeOf(x.shape))] };
  },
  ConstantOfShape: constantOfShape,
  Range: rangeOf,
  ReverseSequence: reverseSequence,
  Cast: cast,
  CastLike: castLike,
});
