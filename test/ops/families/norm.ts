// Normalisation, quantisation and losses, each written out as its definition has it.

import { type DType, intRange } from '../../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, build, indices, map, range, roundEven, scalar, sum } from './arrays.js';
import { type Family, family, type Random, typesOf } from './case.js';

type Made = ReturnType<Family['make']>;

const mean = (xs: readonly number[]): number => sum(xs) / xs.length;
const variance = (xs: readonly number[]): number => mean(xs.map((x) => (x - mean(xs)) ** 2));
const perChannel = (t: Tensor, c: number): number => arr(t).data[c] as number;

/** All elements of a channel: over the batch and space. */
const channel = (x: Arr, c: number): number[] =>
  Array.from(indices(x.shape))
    .filter((i) => i[1] === c)
    .map((i) => at(x, i));

function batchNorm(version: number, r: Random): Made {
  const x = r.tensor(r.shape(r.int(2, 4)), -2, 2);
  const c = x.shape[1] as number;
  const [scale, bias, m] = [r.tensor([c]), r.tensor([c]), r.tensor([c])];
  const v = r.tensor([c], 0.5, 3);
  const training = version >= 14 && r.bool();
  const momentum = 0.75;
  const X = arr(x);
  const stats = range(c).map((k) =>
    training
      ? { mean: mean(channel(X, k)), variance: variance(channel(X, k)) }
      : { mean: perChannel(m, k), variance: perChannel(v, k) },
  );
  const y = build(x.shape, (i) => {
    const k = i[1] as number;
    const s = stats[k] as (typeof stats)[number];
    return (perChannel(scale, k) * (at(X, i) - s.mean)) / Math.sqrt(s.variance + 1e-5) + perChannel(bias, k);
  });
  const running = (t: Tensor, now: (k: number) => number): Arr =>
    build([c], ([k]) => perChannel(t, k as number) * momentum + now(k as number) * (1 - momentum));
  const want = training
    ? [y, running(m, (k) => stats[k]?.mean as number), running(v, (k) => stats[k]?.variance as number)]
    : [y];
  const attrs: Record<string, number | number[]> =
    version < 7 ? { is_test: 1 } : version >= 14 ? { training_mode: Number(training), momentum } : {};
  if (version < 6) attrs.consumed_inputs = [0, 0, 0, 1, 1];
  return { attrs, inputs: [x, scale, bias, m, v], outputs: want.length, want, tolerance: 1e-4 };
}

/** Normalised over the group of elements `key` puts an element in, then scaled. */
function grouped(
  x: Arr,
  key: (i: readonly number[]) => string,
  scale: (i: readonly number[]) => readonly [number, number],
  epsilon = 1e-5,
): Arr {
  const groups = new Map<string, number[]>();
  for (const i of indices(x.shape)) groups.set(key(i), [...(groups.get(key(i)) ?? []), at(x, i)]);
  return build(x.shape, (i) => {
    const xs = groups.get(key(i)) as number[];
    const [s, b] = scale(i);
    return (s * (at(x, i) - mean(xs))) / Math.sqrt(variance(xs) + epsilon) + b;
  });
}

function instanceNorm(version: number, r: Random): Made {
  const x = r.tensor([r.int(1, 2), r.int(1, 3), r.int(2, 4), r.int(2, 4)], -2, 2);
  const [scale, bias] = [r.tensor([x.shape[1] as number]), r.tensor([x.shape[1] as number])];
  const want = grouped(
    arr(x),
    ([n, c]) => `${n} ${c}`,
    ([, c]) => [perChannel(scale, c as number), perChannel(bias, c as number)],
  );
  return {
    attrs: version < 6 ? { consumed_inputs: [0, 0, 0] } : {},
    inputs: [x, scale, bias],
    want: [want],
    tolerance: 1e-4,
  };
}

function groupNorm(version: number, r: Random): Made {
  const [groups, per] = [r.int(1, 2), r.int(1, 3)];
  const c = groups * per;
  const x = r.tensor([r.int(1, 2), c, r.int(2, 4)], -2, 2);
  // Version 18 scales by group, later ones by channel.
  const byGroup = version < 21;
  const n = byGroup ? groups : c;
  const [scale, bias] = [r.tensor([n]), r.tensor([n])];
  const groupOf = (k: number): number => Math.floor(k / per);
  const want = grouped(
    arr(x),
    ([b, k]) => `${b} ${groupOf(k as number)}`,
    ([, k]) => {
      const at0 = byGroup ? groupOf(k as number) : (k as number);
      return [perChannel(scale, at0), perChannel(bias, at0)];
    },
  );
  return { attrs: { num_groups: groups }, inputs: [x, scale, bias], want: [want], tolerance: 1e-4 };
}

function layerNorm(_: number, r: Random): Made {
  const x = r.tensor([...r.shape(r.int(1, 2)), r.int(2, 5)], -2, 2);
  const axis = r.int(0, x.shape.length - 1);
  const inner = x.shape.slice(axis);
  const [scale, bias] = [r.tensor(inner), r.tensor(inner)];
  const want = grouped(
    arr(x),
    (i) => i.slice(0, axis).join(' '),
    (i) => [at(arr(scale), i.slice(axis)), at(arr(bias), i.slice(axis))],
  );
  return { attrs: { axis }, inputs: [x, scale, bias], want: [want], tolerance: 2e-4 };
}

function mvn(_: number, r: Random): Made {
  const x = r.tensor([2, 2, 3, 2], -2, 2);
  const axes = r.bool() ? [0, 2, 3] : [2, 3];
  const want = grouped(
    arr(x),
    (i) => i.filter((_, k) => !axes.includes(k)).join(' '),
    () => [1, 0],
    1e-9,
  );
  return { attrs: axes.length === 3 && r.bool() ? {} : { axes }, inputs: [x], want: [want], tolerance: 1e-4 };
}

function lpNorm(_: number, r: Random): Made {
  const x = r.tensor(r.shape(3), 0.5, 3);
  const [axis, p] = [r.int(-3, 2), r.int(1, 2)];
  const k = (axis + 3) % 3;
  const norm = (i: readonly number[]): number => {
    const xs = range(x.shape[k] as number).map((j) =>
      Math.abs(
        at(
          arr(x),
          i.map((v, a) => (a === k ? j : v)),
        ),
      ),
    );
    return p === 1 ? sum(xs) : Math.sqrt(sum(xs.map((v) => v * v)));
  };
  return { attrs: { axis, p }, inputs: [x], want: [build(x.shape, (i) => at(arr(x), i) / norm(i))] };
}

function lrn(_: number, r: Random): Made {
  const x = r.tensor([1, r.int(1, 5), 2, 2], -2, 2);
  const size = r.pick([1, 3, 5]);
  const half = (size - 1) / 2;
  const want = build(x.shape, (i) => {
    const c = i[1] as number;
    const near = range(x.shape[1] as number).filter((k) => Math.abs(k - c) <= half);
    const squares = sum(near.map((k) => at(arr(x), [0, k, i[2] as number, i[3] as number]) ** 2));
    return at(arr(x), i) / (1 + (0.01 / size) * squares) ** 0.75;
  });
  return { attrs: { size, alpha: 0.01, beta: 0.75, bias: 1 }, inputs: [x], want: [want] };
}

export const normalisation: Family = family('normalisation', {
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  GroupNormalization: groupNorm,
  LayerNormalization: layerNorm,
  MeanVarianceNormalization: mvn,
  LpNormalization: lpNorm,
  LRN: lrn,
});

/** Scale and zero point of an element: one for all, by axis from version 13, by blocks from version 21. */
interface Scales {
  readonly axis: number;
  readonly block: number;
  readonly scale: Arr;
  readonly zero: Arr;
  readonly attrs: Readonly<Record<string, number>>;
}

function drawScales(x: readonly number[], version: number, dtype: DType, r: Random): Scales {
  const kind = r.pick(['tensor', ...(version >= 13 ? ['axis'] : []), ...(version >= 21 ? ['block'] : [])]);
  const axis = r.int(0, x.length - 1);
  const d = x[axis] as number;
  const block = kind === 'block' ? r.int(1, d) : 0;
  const shape =
    kind === 'tensor' ? [] : kind === 'axis' ? [d] : x.map((s, k) => (k === axis ? Math.ceil(s / block) : s));
  const draw = r.tensor(shape, 0, 4, 'i32');
  const lo = dtype.startsWith('u') ? 0 : -4;
  return {
    axis,
    block,
    scale: map(arr(draw), (v) => 2 ** (v - 4)),
    zero: arr(r.tensor(shape, lo, 4, 'i32')),
    attrs: { ...(kind !== 'tensor' && { axis }), ...(block && { block_size: block }) },
  };
}

const scaleAt = (a: Arr, s: Scales, i: readonly number[]): number =>
  a.shape.length === 0
    ? (a.data[0] as number)
    : s.block
      ? at(
          a,
          i.map((v, k) => (k === s.axis ? Math.floor(v / s.block) : v)),
        )
      : at(a, [i[s.axis] as number]);

const QUANTISED: readonly DType[] = ['i8', 'u8', 'i16', 'u16'];

function quantize(version: number, r: Random): Made {
  const dtype = r.pick(
    typesOf(
      'QuantizeLinear',
      version,
      version < 19 ? 'T2' : version < 23 ? 'T2' : 'T3',
      QUANTISED.slice(0, version < 21 ? 2 : 4),
    ),
  );
  const x = r.tensor(r.shape(r.int(1, 3)), -9, 9);
  const s = drawScales(x.shape, version, dtype, r);
  const { lo, hi } = intRange(dtype);
  const want = build(x.shape, (i) =>
    Math.min(
      Math.max(roundEven(at(arr(x), i) / scaleAt(s.scale, s, i)) + scaleAt(s.zero, s, i), Number(lo)),
      Number(hi),
    ),
  );
  const inputs = [x, fromNumbers('f32', s.scale.shape, s.scale.data), fromNumbers(dtype, s.zero.shape, s.zero.data)];
  return { attrs: s.attrs, inputs, constants: r.bool() ? [1, 2] : [], want: [want] };
}

function dequantize(version: number, r: Random): Made {
  const dtype = r.pick(QUANTISED.slice(0, version < 21 ? 2 : 4));
  const x = r.tensor(r.shape(r.int(1, 3)), dtype.startsWith('u') ? 0 : -100, 100, dtype);
  const s = drawScales(x.shape, version, dtype, r);
  const want = build(x.shape, (i) => (at(arr(x), i) - scaleAt(s.zero, s, i)) * scaleAt(s.scale, s, i));
  const inputs = [x, fromNumbers('f32', s.scale.shape, s.scale.data), fromNumbers(dtype, s.zero.shape, s.zero.data)];
  return { attrs: s.attrs, inputs, constants: r.bool() ? [1, 2] : [], want: [want] };
}

function dynamicQuantize(_: number, r: Random): Made {
  const x = r.tensor(r.shape(2), -3, 3);
  const xs = arr(x).data;
  const f = Math.fround;
  const [lo, hi] = [Math.min(0, ...xs), Math.max(0, ...xs)];
  if (lo === hi) return dynamicQuantize(_, r);
  const scale = f(f(hi - lo) / 255);
  const zero = Math.min(Math.max(roundEven(f(f(0 - lo) / scale)), 0), 255);
  const q = map(arr(x), (v) => Math.min(Math.max(roundEven(f(v / scale)) + zero, 0), 255));
  return { inputs: [x], outputs: 3, want: [q, scalar(scale), scalar(zero)] };
}

function qlinearMatmul(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 5) as [number, number, number];
  const [ta, tb] = [r.pick(['u8', 'i8'] as const), r.pick(['u8', 'i8'] as const)];
  const draw = (shape: readonly number[], t: DType): Tensor => r.tensor(shape, t === 'u8' ? 0 : -60, 60, t);
  const [a, b] = [draw([n, k], ta), draw([k, m], tb)];
  const [za, zb, zy] = [r.int(0, 9), r.int(0, 9), r.int(0, 9)];
  const want = build([n, m], ([i, j]) => {
    const dot = sum(range(k).map((q) => (at(arr(a), [i as number, q]) - za) * (at(arr(b), [q, j as number]) - zb)));
    const { lo, hi } = intRange(ta);
    return Math.min(Math.max(roundEven((dot * 0.25 * 0.5) / 8) + zy, Number(lo)), Number(hi));
  });
  const one = (dtype: DType, v: number): Tensor => fromNumbers(dtype, [], [v]);
  const inputs = [a, one('f32', 0.25), one(ta, za), b, one('f32', 0.5), one(tb, zb), one('f32', 8), one(ta, zy)];
  return { inputs, constants: r.bool() ? [1, 2, 4, 5, 6, 7] : [], want: [want] };
}

export const quantisation: Family = family('quantisation', {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
  QLinearMatMul: qlinearMatmul,
});

const loss =
  (fromScores: boolean) =>
  (version: number, r: Random): Made => {
    const [n, c, d] = [r.int(1, 3), r.int(2, 4), r.int(1, 3)];
    const x = r.tensor([n, c, d], -2, 2);
    const ignore = r.bool() ? r.int(0, c - 1) : undefined;
    const labels = r.tensor([n, d], 0, c - 1, r.pick(['i32', 'i64'] as const));
    const weights = r.bool() ? r.tensor([c], 0.25, 2) : undefined;
    const reduction = r.pick(['none', 'sum', 'mean']);
    const X = arr(x);
    const logProb = (b: number, k: number, p: number): number => {
      if (!fromScores) return at(X, [b, k, p]);
      return at(X, [b, k, p]) - Math.log(sum(range(c).map((q) => Math.exp(at(X, [b, q, p])))));
    };
    const weight = (l: number): number => (l === ignore ? 0 : weights ? perChannel(weights, l) : 1);
    const label = (i: readonly number[]): number => at(arr(labels), i);
    const each = build(
      [n, d],
      ([b, p]) =>
        -logProb(b as number, label([b as number, p as number]), p as number) *
        weight(label([b as number, p as number])),
    );
    const total = sum(each.data);
    const share = sum(arr(labels).data.map(weight));
    if (reduction === 'mean' && share === 0) return loss(fromScores)(version, r);
    const want = reduction === 'none' ? each : scalar(reduction === 'sum' ? total : total / share);
    const attrs = { reduction, ...(ignore !== undefined && { ignore_index: ignore }) };
    return { attrs, inputs: weights ? [x, labels, weights] : [x, labels], want: [want], tolerance: 1e-4 };
  };

export const losses: Family = family('losses', {
  NegativeLogLikelihoodLoss: loss(false),
  SoftmaxCrossEntropyLoss: loss(true),
});
