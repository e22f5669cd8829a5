// onnxruntime's fused operators on real numbers (com.microsoft), each as the operators it stands for.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import {
  type Arr,
  arr,
  at,
  build,
  indices,
  map,
  padded,
  range,
  reduce,
  spread,
  sum,
  transpose,
  zip,
} from './arrays.js';
import { type Family, familyOf, type Random } from './case.js';
import { attrsOf, drawWindow, inputIndex, matmulOf, outSizes, sizesFor } from './window.js';

type Made = ReturnType<Family['make']>;

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
const silu = (v: number): number => v * sigmoid(v);
/** By its integral: the error function is 2/√π · ∫ e^(−t²) from 0 to v. */
function erf(v: number): number {
  const steps = 2000;
  const h = v / steps;
  const f = (t: number): number => Math.exp(-t * t);
  return (
    ((2 / Math.sqrt(Math.PI)) *
      h *
      (f(0) + f(v) + sum(range(steps - 1).map((k) => (k % 2 ? 2 : 4) * f((k + 1) * h))))) /
    3
  );
}
const gelu = (v: number): number => (v / 2) * (1 + erf(v / Math.SQRT2));
const fastGelu = (v: number): number => (v / 2) * (1 + Math.tanh(0.7978845608 * (v + 0.044715 * v ** 3)));
const softplus = (v: number): number => Math.log1p(Math.exp(v));
const add = (...all: readonly Arr[]): Arr => zip((...v) => sum(v), ...all);
const floats = (r: Random, ...shape: number[]): Tensor => r.tensor(shape, -2, 2);

/** Over all axes from `axis` on. */
function softmax(x: Arr, axis: number): Arr {
  const axes = range(x.shape.length).slice(axis);
  const top = reduce(x, axes, true, (v) => Math.max(...v));
  const p = zip((v, m) => Math.exp(v - m), x, top);
  return zip(
    (v, s) => v / s,
    p,
    reduce(p, axes, true, (v) => sum(v)),
  );
}

/** (x − mean) / √(variance + epsilon) over axes. */
function standardized(x: Arr, axes: readonly number[], epsilon: number): Arr {
  const mean = reduce(x, axes, true, (v) => sum(v) / v.length);
  const centred = zip((v, m) => v - m, x, mean);
  const variance = reduce(centred, axes, true, (v) => sum(v.map((e) => e * e)) / v.length);
  return zip((v, s) => v / Math.sqrt(s + epsilon), centred, variance);
}

function biasSplitGelu(_: number, r: Random): Made {
  const d = 2 * r.int(1, 3);
  const [x, bias] = [floats(r, 2, 2, d), floats(r, d)];
  const s = add(arr(x), arr(bias));
  const want = build([2, 2, d / 2], ([n, t, k]) => {
    const [a, b] = [
      at(s, [n as number, t as number, k as number]),
      at(s, [n as number, t as number, (k as number) + d / 2]),
    ];
    return a * gelu(b);
  });
  return { inputs: [x, bias], want: [want] };
}

function biasSoftmax(_: number, r: Random): Made {
  const x = floats(r, r.int(1, 2), r.int(1, 3), r.int(1, 3), r.int(1, 4));
  const inner = r.int(0, 1);
  const shape = inner ? [x.shape[0] as number, 1, 1, x.shape[3] as number] : [1, 1, ...x.shape.slice(2)];
  const bias = floats(r, ...shape);
  const axis = r.pick([3, 2, -1]);
  const attrs = { axis, is_inner_broadcast: inner };
  return { attrs, inputs: [x, bias], want: [softmax(add(arr(x), arr(bias)), axis < 0 ? 3 : axis)] };
}

function biasDropout(_: number, r: Random): Made {
  const x = floats(r, 2, 3);
  const bias = floats(r, 3);
  const residual = r.bool() ? floats(r, 2, 3) : undefined;
  const want = add(arr(x), arr(bias), ...(residual ? [arr(residual)] : []));
  const off = fromNumbers('i1', [], [0]);
  const inputs = [x, bias, residual ?? null, fromNumbers('f32', [], [0.5]), off];
  return { inputs, constants: [3, 4], want: [want, build([2, 3], () => 1)] };
}

/** [batch, channels, …] with the channels of each group normalised together. */
function groupNormalized(x: Arr, groups: number, epsilon: number, gamma: Arr, beta: Arr): Arr {
  const [n, c, ...rest] = x.shape as [number, number, ...number[]];
  const grouped: Arr = { shape: [n, groups, c / groups, ...rest], data: x.data };
  const y = standardized(grouped, range(rest.length + 3).slice(2), epsilon).data;
  return build(x.shape, (i) => {
    const flat = i.reduce((p, v, k) => p * (x.shape[k] as number) + v, 0);
    return (y[flat] as number) * at(gamma, [i[1] as number]) + at(beta, [i[1] as number]);
  });
}

const groupNorm =
  (skips: boolean) =>
  (_: number, r: Random): Made => {
    const groups = r.int(1, 2);
    const c = 2 * groups;
    const last = r.bool();
    const shape = last ? [2, 2, 3, c] : [2, c, 2, 3];
    const [x, gamma, beta] = [r.tensor(shape, -2, 2), floats(r, c), floats(r, c)];
    const skip = last && r.bool() ? floats(r, ...(r.bool() ? [2, 1, 1, c] : [2, c])) : r.tensor(shape, -2, 2);
    const bias = r.bool() ? floats(r, c) : undefined;
    const channels = (v: Tensor): Arr => ({ shape: last ? v.shape : [c, 1, 1], data: arr(v).data });
    const wide: Arr = skip.shape.length === 2 ? { shape: [2, 1, 1, c], data: arr(skip).data } : arr(skip);
    const total = skips ? add(arr(x), wide, ...(bias ? [channels(bias)] : [])) : arr(x);
    const activation = r.int(0, 1);
    const first = last ? transpose(total, [0, 3, 1, 2]) : total;
    const y = map(groupNormalized(first, groups, 1e-5, arr(gamma), arr(beta)), activation ? silu : (v) => v);
    const want = last ? transpose(y, [0, 2, 3, 1]) : y;
    const attrs = { groups, activation, channels_last: Number(last) };
    if (!skips) return { attrs, inputs: [x, gamma, beta], want: [want], tolerance: 1e-4 };
    return { attrs, inputs: [x, gamma, beta, skip, bias ?? null], want: [want, total], tolerance: 1e-4 };
  };

const skipNorm =
  (simplified: boolean) =>
  (_: number, r: Random): Made => {
    const width = r.int(2, 4);
    const [x, gamma] = [floats(r, 2, 3, width), floats(r, width)];
    const skip = floats(
      r,
      ...(simplified
        ? [2, 3, width]
        : r.pick([
            [2, 3, width],
            [1, 3, width],
            [3, width],
          ])),
    );
    const beta = r.bool() ? floats(r, width) : undefined;
    const bias = r.bool() ? floats(r, width) : undefined;
    const total = add(arr(x), arr(skip), ...(bias ? [arr(bias)] : []));
    const epsilon = 0.125;
    const square = reduce(total, [2], true, (v) => sum(v.map((e) => e * e)) / v.length);
    const y = simplified ? zip((v, s) => v / Math.sqrt(s + epsilon), total, square) : standardized(total, [2], epsilon);
    const scaled = zip((v, g) => v * g, y, arr(gamma));
    const want = beta && !simplified ? add(scaled, arr(beta)) : scaled;
    const inputs = simplified ? [x, skip, gamma, bias ?? null] : [x, skip, gamma, beta ?? null, bias ?? null];
    return { attrs: { epsilon }, inputs, want: [want, null, null, total], outputs: 4, tolerance: 1e-4 };
  };

function embedLayerNorm(_: number, r: Random): Made {
  const [batch, length, width] = [2, 3, 4];
  const ids = r.tensor([batch, length], 0, 4, 'i32');
  const segments = r.bool() ? r.tensor([batch, length], 0, 1, 'i32') : undefined;
  const [words, positions, table] = [floats(r, 5, width), floats(r, 4, width), floats(r, 2, width)];
  const [gamma, beta] = [floats(r, width), floats(r, width)];
  const mask = r.bool() ? fromNumbers('i32', [batch, length], [1, 1, 0, 1, 0, 0]) : undefined;
  const places = r.bool() ? r.tensor([r.int(1, 2), length], 0, 3, 'i32') : undefined;
  const total = build([batch, length, width], ([n, t, k]) => {
    const [b, p, j] = [n as number, t as number, k as number];
    const place = places ? spread(arr(places), [b, p]) : p;
    const segment = segments ? at(arr(table), [at(arr(segments), [b, p]), j]) : 0;
    return at(arr(words), [at(arr(ids), [b, p]), j]) + at(arr(positions), [place, j]) + segment;
  });
  const y = zip((v, g, s) => v * g + s, standardized(total, [2], 1e-12), arr(gamma), arr(beta));
  const lengths = { shape: [batch], data: mask ? [2, 1] : [0, 0] };
  const inputs = [
    ids,
    segments ?? null,
    words,
    positions,
    segments ? table : null,
    gamma,
    beta,
    mask ?? null,
    places ?? null,
  ];
  return { attrs: { epsilon: 1e-12 }, inputs, want: [y, lengths, total], tolerance: 1e-4 };
}

function gatedRmsNorm(_: number, r: Random): Made {
  const [heads, size] = [r.int(1, 2), r.int(2, 3)];
  const [x, scale, gate] = [floats(r, 2, 2, heads * size), floats(r, size), floats(r, 2, 2, heads * size)];
  const epsilon = 0.01;
  const want = build(x.shape, (i) => {
    const [n, t, k] = i as [number, number, number];
    const from = k - (k % size);
    const mean = sum(range(size).map((j) => at(arr(x), [n, t, from + j]) ** 2)) / size;
    return (at(arr(x), i) / Math.sqrt(mean + epsilon)) * at(arr(scale), [k % size]) * silu(at(arr(gate), i));
  });
  return { attrs: { epsilon }, inputs: [x, scale, gate], want: [want], tolerance: 1e-4 };
}

function linearAttentionGate(_: number, r: Random): Made {
  const [a, bias, scale, b] = [floats(r, 2, 2, 3), floats(r, 3), floats(r, 3), floats(r, 2, 2, 3)];
  const decay = zip((v, p, s) => s * softplus(v + p), arr(a), arr(bias), arr(scale));
  if (r.bool()) return { inputs: [a, bias, scale], want: [decay] };
  return { inputs: [a, bias, scale, b], want: [decay, map(arr(b), sigmoid)] };
}

function fusedMatMul(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 4) as [number, number, number];
  const batch = r.bool() ? [2] : [];
  const [ta, tb] = [r.int(0, 1), r.int(0, 1)];
  const swap = (t: Arr): Arr => transpose(t, [...range(t.shape.length - 2), t.shape.length - 1, t.shape.length - 2]);
  const x = r.tensor([...batch, ...(ta ? [k, n] : [n, k])], -2, 2);
  const y = r.tensor([...batch, ...(tb ? [m, k] : [k, m])], -2, 2);
  const product = matmulOf(ta ? swap(arr(x)) : arr(x), tb ? swap(arr(y)) : arr(y));
  return { attrs: { alpha: 0.5, transA: ta, transB: tb }, inputs: [x, y], want: [map(product, (v) => v / 2)] };
}

const ACTIVATIONS: readonly (readonly [name: string, parameters: readonly number[], f: (v: number) => number])[] = [
  ['Relu', [], (v) => Math.max(v, 0)],
  ['LeakyRelu', [0.25], (v) => (v < 0 ? v / 4 : v)],
  ['Tanh', [], Math.tanh],
  ['Sigmoid', [], sigmoid],
  ['HardSigmoid', [0.25, 0.5], (v) => Math.min(Math.max(v / 4 + 0.5, 0), 1)],
  ['Clip', [-0.5, 1.5], (v) => Math.min(Math.max(v, -0.5), 1.5)],
];

const activated =
  (make: (version: number, r: Random) => Made) =>
  (version: number, r: Random): Made => {
    const { want, ...made } = make(version, r);
    const [activation, [alpha, beta], f] = r.pick(ACTIVATIONS);
    const attrs = {
      ...made.attrs,
      activation,
      ...(alpha !== undefined && { activation_alpha: alpha }),
      ...(beta !== undefined && { activation_beta: beta }),
    };
    return { ...made, attrs, want: want.map((w) => w && map(w, f)) };
  };

function fusedGemm(version: number, r: Random): Made {
  const { want, inputs, attrs } = fusedMatMul(version, r);
  if (inputs[0]?.shape.length !== 2) return fusedGemm(version, r);
  const m = want[0]?.shape[1] as number;
  const c = floats(r, m);
  return {
    attrs: { ...attrs, beta: 2 },
    inputs: [...inputs, c],
    want: [zip((v, w) => v + 2 * w, want[0] as Arr, arr(c))],
  };
}

const fusedConv =
  (last: boolean, fused: boolean) =>
  (_: number, r: Random): Made => {
    const w = drawWindow(2, r, true);
    const group = r.int(1, 2);
    const [c, m] = [group * r.int(1, 2), group * r.int(1, 2)];
    const x = r.tensor([1, c, ...sizesFor(w, r)], -1, 1);
    const k = r.tensor([m, c / group, ...w.kernel], -1, 1);
    const bias = r.tensor([m], -1, 1);
    const shape = [1, m, ...outSizes(x.shape.slice(2), w)];
    const extra = fused && r.bool() ? r.tensor(shape, -1, 1) : undefined;
    const [activation, parameters, f] = fused ? r.pick(ACTIVATIONS) : (['', [], (v: number) => v] as const);
    const want = build(shape, (i) => {
      const [, o, ...at2] = i as [number, number, ...number[]];
      const first = Math.floor(o / (m / group)) * (c / group);
      const taps = Array.from(
        indices(k.shape.slice(1)),
        ([j, ...t]) =>
          padded(arr(x), [0, first + (j as number), ...inputIndex(w, at2, t)]) * at(arr(k), [o, j as number, ...t]),
      );
      return f(sum(taps) + at(arr(bias), [o]) + (extra ? at(arr(extra), i) : 0));
    });
    const laid = (t: Arr): Arr => (last ? transpose(t, [0, 2, 3, 1]) : t);
    const tensor = (t: Tensor): Tensor => fromNumbers('f32', laid(arr(t)).shape, laid(arr(t)).data);
    const inputs = [tensor(x), k, bias, ...(extra ? [tensor(extra)] : [])];
    const more = activation ? { activation, ...(parameters.length > 0 && { activation_params: parameters }) } : {};
    return {
      attrs: { ...attrsOf(w, true), group, ...more },
      inputs,
      constants: r.bool() ? [1, 2] : [],
      want: [laid(want)],
    };
  };

function relativePositionBias(_: number, r: Random): Made {
  const bothWays = r.int(0, 1);
  const [buckets, heads, most] = [8, 2, 20];
  const table = floats(r, buckets, heads);
  const [queries, keys] = [r.int(1, 6), r.int(1, 9)];
  const bucket = (ahead: number): number => {
    const count = bothWays ? buckets / 2 : buckets;
    const from = bothWays && ahead > 0 ? count : 0;
    const distance = bothWays ? Math.abs(ahead) : -Math.min(ahead, 0);
    const exact = count / 2;
    if (distance < exact) return from + distance;
    const far = exact + Math.floor((Math.log(distance / exact) / Math.log(most / exact)) * (count - exact));
    return from + Math.min(far, count - 1);
  };
  const want = build([1, heads, queries, keys], ([, h, q, k]) =>
    at(arr(table), [bucket((k as number) - (q as number)), h as number]),
  );
  const attrs = { max_distance: most, is_bidirectional: bothWays };
  const inputs = [table, ...[queries, keys].map((v) => fromNumbers('i64', [1], [v]))];
  return { attrs, inputs, constants: [1, 2], want: [want] };
}

function gatedRelativePositionBias(_: number, r: Random): Made {
  const [heads, length, size, d] = [2, r.int(1, 3), 2, 4];
  const query = floats(r, 2, length, heads * size);
  const [queryBias, w, bias] = [floats(r, heads * size), floats(r, size, d), floats(r, d)];
  const [distances, factor] = [floats(r, 1, heads, length, length), floats(r, 1, heads, 1, 1)];
  const want = build([2, heads, length, length], ([n, h, q, k]) => {
    const head = range(size).map((j) => {
      const at2 = (h as number) * size + j;
      return at(arr(query), [n as number, q as number, at2]) + at(arr(queryBias), [at2]);
    });
    const linear = range(d).map((c) => sum(head.map((v, j) => v * at(arr(w), [j, c]))) + at(arr(bias), [c]));
    const [update, reset] = [sigmoid(sum(linear.slice(0, d / 2))), sigmoid(sum(linear.slice(d / 2)))];
    const gate = update * (reset * at(arr(factor), [0, h as number, 0, 0]) - 1) + 2;
    return gate * at(arr(distances), [0, h as number, q as number, k as number]);
  });
  return {
    attrs: { num_heads: heads },
    inputs: [query, queryBias, distances, w, bias, factor],
    want: [want],
    tolerance: 1e-4,
  };
}

function inverse(_: number, r: Random): Made {
  const n = r.int(1, 4);
  // Far from singular: a small matrix plus a multiple of a permutation.
  const order = r.shuffle(n);
  const x = build([2, n, n], ([, i, j]) => r.int(-32, 32) / 64 + (order[i as number] === j ? 4 : 0));
  const identity = (b: number, inv: Arr): Arr =>
    build([n, n], ([i, j]) => sum(range(n).map((k) => at(x, [b, i as number, k]) * at(inv, [b, k, j as number]))));
  const want = gaussJordan(x, n);
  for (const b of [0, 1])
    for (const [i, j] of indices([n, n]) as Iterable<[number, number]>)
      if (Math.abs(at(identity(b, want), [i, j]) - Number(i === j)) > 1e-9) throw new Error('not an inverse');
  return { inputs: [fromNumbers('f32', x.shape, x.data)], want: [want], tolerance: 1e-4 };
}

/** By cofactors. */
function gaussJordan(x: Arr, n: number): Arr {
  const minor = (b: number, rows: readonly number[], columns: readonly number[]): number => {
    const [first, ...rest] = rows;
    if (first === undefined) return 1;
    return sum(
      columns.map((c, k) => {
        const others = columns.filter((o) => o !== c);
        return (k % 2 ? -1 : 1) * at(x, [b, first, c]) * minor(b, rest, others);
      }),
    );
  };
  const without = (k: number): number[] => range(n).filter((v) => v !== k);
  return build([2, n, n], ([b, i, j]) => {
    const cofactor = minor(b as number, without(j as number), without(i as number));
    return (((i as number) + (j as number)) % 2 ? -cofactor : cofactor) / minor(b as number, range(n), range(n));
  });
}

function cropAndResize(_: number, r: Random): Made {
  const [h, w] = [r.int(2, 4), r.int(2, 4)];
  const x = floats(r, 2, 2, h, w);
  const rois = r.tensor([3, 4], -0.25, 1.25);
  const which = r.tensor([3], 0, 1, 'i32');
  const size = [r.int(1, 3), r.int(1, 3)] as const;
  const nearest = r.bool();
  const outside = 0.75;
  const want = build([3, 2, ...size], ([k, c, i, j]) => {
    const box = range(4).map((e) => at(arr(rois), [k as number, e])) as [number, number, number, number];
    const place = (lo: number, hi: number, cells: number, cell: number, d: number): number =>
      cells > 1 ? lo * (d - 1) + (cell * (hi - lo) * (d - 1)) / (cells - 1) : ((lo + hi) * (d - 1)) / 2;
    const y = place(box[0], box[2], size[0], i as number, h);
    const z = place(box[1], box[3], size[1], j as number, w);
    if (y < 0 || y > h - 1 || z < 0 || z > w - 1) return outside;
    const pixel = (a: number, b: number): number => at(arr(x), [at(arr(which), [k as number]), c as number, a, b]);
    const round = (v: number): number => Math.floor(v + 0.5);
    if (nearest) return pixel(round(y), round(z));
    const [p, q] = [y - Math.floor(y), z - Math.floor(z)];
    const line = (a: number): number => (1 - q) * pixel(a, Math.floor(z)) + q * pixel(a, Math.ceil(z));
    return (1 - p) * line(Math.floor(y)) + p * line(Math.ceil(y));
  });
  const attrs = { mode: nearest ? 'nearest' : 'bilinear', extrapolation_value: outside };
  return { attrs, inputs: [x, rois, which, fromNumbers('i32', [2], [...size])], constants: [3], want: [want] };
}

const complexProduct =
  (conjugate: boolean) =>
  (_: number, r: Random): Made => {
    const x = floats(r, 2, 3, 2);
    const y = floats(
      r,
      ...r.pick([
        [2, 3, 2],
        [3, 2],
        [1, 1, 2],
      ]),
    );
    const sign = conjugate ? -1 : 1;
    const want = build(x.shape, (i) => {
      const [a, b] = [0, 1].map((p) => at(arr(x), [...i.slice(0, -1), p])) as [number, number];
      const [c, d] = [0, 1].map((p) => spread(arr(y), [...i.slice(0, -1), p])) as [number, number];
      return i.at(-1) === 0 ? a * c - sign * b * d : sign * a * d + b * c;
    });
    return { inputs: [x, y], want: [want] };
  };

const spectrum = (signal: readonly number[], bin: number): [number, number] => {
  const angle = (j: number): number => (2 * Math.PI * bin * j) / signal.length;
  return [sum(signal.map((v, j) => v * Math.cos(angle(j)))), -sum(signal.map((v, j) => v * Math.sin(angle(j))))];
};

function rfft(_: number, r: Random): Made {
  const n = 2 * r.int(1, 5);
  const x = floats(r, 2, n);
  const row = (b: number): number[] => range(n).map((j) => at(arr(x), [b, j]));
  const want = build([2, n / 2 + 1, 2], ([b, k, p]) => spectrum(row(b as number), k as number)[p as number] as number);
  return { attrs: { normalized: 0, onesided: 1, signal_ndim: 1 }, inputs: [x], want: [want], tolerance: 1e-4 };
}

function irfft(_: number, r: Random): Made {
  const n = 2 * r.int(1, 5);
  const signals = range(2).map(() => arr(floats(r, n)).data);
  const data = signals.flatMap((s) => range(n / 2 + 1).flatMap((k) => spectrum(s, k)));
  const x = fromNumbers('f32', [2, n / 2 + 1, 2], data);
  return {
    attrs: { normalized: 0, onesided: 1, signal_ndim: 1 },
    inputs: [x],
    want: [{ shape: [2, n], data: signals.flat() }],
    tolerance: 1e-4,
  };
}

function unique(_: number, r: Random): Made {
  const x = r.tensor([r.int(1, 8)], -2, 2, r.pick(['i64', 'i32'] as const));
  const values = [...new Set(arr(x).data)];
  const numbers = arr(x).data.map((v) => values.indexOf(v));
  const counts = values.map((v) => arr(x).data.filter((w) => w === v).length);
  const vector = (data: readonly number[]): Arr => ({ shape: [data.length], data });
  return { inputs: [x], want: [vector(values), vector(numbers), vector(counts)] };
}

function ngramRepeatBlock(_: number, r: Random): Made {
  const [size, length, words] = [r.int(1, 3), r.int(1, 7), 4];
  const ids = r.tensor([2, length], 0, words - 1, 'i64');
  const scores = floats(r, 2, words);
  const want = build([2, words], (i) => {
    const [b, token] = i as [number, number];
    const row = range(length).map((k) => at(arr(ids), [b, k]));
    const grams = range(Math.max(0, length - size + 1)).map((k) => row.slice(k, k + size).join());
    const next = [...row, token].slice(-size).join();
    return length + 1 >= size && grams.includes(next) ? Number.NEGATIVE_INFINITY : at(arr(scores), i);
  });
  return { attrs: { ngram_size: size }, inputs: [ids, scores], want: [want] };
}

function dynamicTimeWarping(_: number, r: Random): Made {
  const [n, m] = [r.int(1, 4), r.int(1, 5)];
  // Distinct costs, so that the cheapest path is the only one.
  const costs = build([n, m], ([i, j]) => r.int(0, 40) / 8 + ((i as number) * m + (j as number)) / 1024);
  const best = new Map<string, readonly [number, readonly (readonly [number, number])[]]>();
  const path = (i: number, j: number): readonly [number, readonly (readonly [number, number])[]] => {
    if (i < 0 || j < 0) return i === -1 && j === -1 ? [0, []] : [Number.POSITIVE_INFINITY, []];
    const known = best.get(`${i} ${j}`);
    if (known) return known;
    const [before] = [path(i - 1, j - 1), path(i - 1, j), path(i, j - 1)].sort((a, b) => a[0] - b[0]);
    const found = [(before?.[0] ?? 0) + at(costs, [i, j]), [...(before?.[1] ?? []), [i, j] as const]] as const;
    best.set(`${i} ${j}`, found);
    return found;
  };
  const points = path(n - 1, m - 1)[1];
  const want = build([2, points.length], ([axis, k]) => points[k as number]?.[axis as number] as number);
  const shape = r.bool() ? [n, m] : [1, n, m];
  return { inputs: [fromNumbers('f32', shape, costs.data)], want: [want] };
}

function unfold(_: number, r: Random): Made {
  const [size, step] = [r.int(1, 3), r.int(1, 2)];
  const x = floats(r, 2, size + r.int(0, 4), 2);
  const dim = r.pick([1, -2]);
  const count = Math.floor(((x.shape[1] as number) - size) / step) + 1;
  const want = build([2, count, 2, size], ([a, w, b, k]) =>
    at(arr(x), [a as number, (w as number) * step + (k as number), b as number]),
  );
  return { attrs: { dim, size, step }, inputs: [x], want: [want] };
}

/** MurmurHash3 of the little-endian bytes, in 64-bit integers. */
function murmur(words: readonly bigint[], seed: bigint): bigint {
  const M = 0xffffffffn;
  const rotate = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (32n - by))) & M;
  let h = seed & M;
  for (const w of words) {
    const k = (rotate((w * 0xcc9e2d51n) & M, 15n) * 0x1b873593n) & M;
    h = (rotate(h ^ k, 13n) * 5n + 0xe6546b64n) & M;
  }
  h ^= BigInt(4 * words.length);
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & M;
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & M;
  return h ^ (h >> 16n);
}

function murmurHash(_: number, r: Random): Made {
  const dtype = r.pick(['i32', 'u32', 'i64', 'f32'] as const);
  const x = r.tensor([2, 3], dtype === 'u32' ? 0 : -1000, 1000, dtype);
  const [seed, positive] = [r.int(0, 1000), r.int(0, 1)];
  const words = (v: number): readonly bigint[] => {
    if (dtype === 'f32') return [BigInt(new Uint32Array(Float32Array.of(v).buffer)[0] as number)];
    const whole = BigInt.asUintN(64, BigInt(v));
    return dtype === 'i64' ? [whole & 0xffffffffn, whole >> 32n] : [whole & 0xffffffffn];
  };
  const want = map(arr(x), (v) => {
    const hash = murmur(words(v), BigInt(seed));
    return Number(positive ? hash : BigInt.asIntN(32, hash));
  });
  return { attrs: { seed, positive }, inputs: [x], want: [want] };
}

export function linearAttention(_: number, r: Random): Made {
  const rule = r.pick(['linear', 'gated', 'delta', 'gated_delta']);
  const [keyHeads, shared, steps, dk, dv] = [r.int(1, 2), r.int(1, 2), r.int(1, 3), 2, 3];
  const heads = keyHeads * shared;
  const [q, k, v] = [
    floats(r, 1, steps, heads * dk),
    floats(r, 1, steps, keyHeads * dk),
    floats(r, 1, steps, keyHeads * dv),
  ];
  const decay = rule.startsWith('gated') ? r.tensor([1, steps, keyHeads], -1, 0) : undefined;
  const beta = rule.endsWith('delta') ? r.tensor([1, steps, keyHeads], 0, 1) : undefined;
  let state = build([keyHeads, dk, dv], () => 0);
  const outputs: number[][] = [];
  for (const t of range(steps)) {
    const K = (h: number, i: number): number => at(arr(k), [0, t, h * dk + i]);
    const before = state;
    const kept = (h: number, i: number, j: number): number =>
      at(before, [h, i, j]) * (decay ? Math.exp(at(arr(decay), [0, t, h])) : 1);
    state = build([keyHeads, dk, dv], ([h, i, j]) => {
      const [a, b, c] = [h as number, i as number, j as number];
      const value = at(arr(v), [0, t, a * dv + c]);
      const seen = beta ? sum(range(dk).map((e) => kept(a, e, c) * K(a, e))) : 0;
      return kept(a, b, c) + (beta ? at(arr(beta), [0, t, a]) : 1) * K(a, b) * (value - seen);
    });
    const now = state;
    outputs.push(
      range(heads).flatMap((h) =>
        range(dv).map(
          (j) =>
            sum(range(dk).map((i) => at(arr(q), [0, t, h * dk + i]) * at(now, [Math.floor(h / shared), i, j]))) /
            Math.sqrt(dk),
        ),
      ),
    );
  }
  const want = [
    { shape: [1, steps, heads * dv], data: outputs.flat() },
    { shape: [1, keyHeads, dk, dv], data: state.data },
  ];
  const attrs = { update_rule: rule, q_num_heads: heads, kv_num_heads: keyHeads };
  return { attrs, inputs: [q, k, v, null, decay ?? null, beta ?? null], want, tolerance: 1e-4 };
}

export function causalConv(_: number, r: Random): Made {
  const [channels, length, taps, dilation] = [2, r.int(1, 4), r.int(1, 3), r.int(1, 2)];
  const before = (taps - 1) * dilation;
  const [x, w, bias, past] = [
    floats(r, 1, channels, length),
    floats(r, channels, 1, taps),
    floats(r, channels),
    floats(r, 1, channels, before),
  ];
  const whole = build([1, channels, before + length], ([, c, t]) =>
    (t as number) < before
      ? at(arr(past), [0, c as number, t as number])
      : at(arr(x), [0, c as number, (t as number) - before]),
  );
  const activation = r.pick(['none', 'silu', 'swish']);
  const y = build(x.shape, ([, c, t]) => {
    const dot = sum(
      range(taps).map(
        (j) => at(whole, [0, c as number, (t as number) + j * dilation]) * at(arr(w), [c as number, 0, j]),
      ),
    );
    const v = dot + at(arr(bias), [c as number]);
    return activation === 'none' ? v : silu(v);
  });
  const present = build([1, channels, before], ([, c, t]) => at(whole, [0, c as number, length + (t as number)]));
  const given = before > 0;
  const inputs = given ? [x, w, bias, past] : [x, w, bias];
  return { attrs: { activation, dilation }, inputs, want: given ? [y, present] : [y, null], outputs: given ? 2 : 1 };
}

const unary =
  (f: (v: number) => number, attrs: Made['attrs'] = {}) =>
  (_: number, r: Random): Made => {
    const x = r.tensor(r.shape(r.int(1, 3)), -3, 3);
    return { attrs, inputs: [x], want: [map(arr(x), f)] };
  };

export const fusedOperators: Family = familyOf('com.microsoft: fused operators', 'com.microsoft', {
  Gelu: unary(gelu),
  QuickGelu: unary((v) => v * sigmoid(1.5 * v), { alpha: 1.5 }),
  FastGelu: (_, r) => {
    const x = floats(r, 2, 3);
    const bias = r.bool() ? floats(r, 3) : undefined;
    return { inputs: bias ? [x, bias] : [x], want: [map(bias ? add(arr(x), arr(bias)) : arr(x), fastGelu)] };
  },
  GemmFastGelu: (_, r) => {
    const [x, w, bias] = [floats(r, 2, 3), floats(r, 3, 2), floats(r, 2)];
    return { inputs: [x, w, bias], want: [map(add(matmulOf(arr(x), arr(w)), arr(bias)), fastGelu)] };
  },
  BiasGelu: (_, r) => {
    const [x, bias] = [floats(r, 2, 3), floats(r, 3)];
    return { inputs: [x, bias], want: [map(add(arr(x), arr(bias)), gelu)] };
  },
  BiasSplitGelu: biasSplitGelu,
  BiasSoftmax: biasSoftmax,
  BiasDropout: biasDropout,
  BiasAdd: (_, r) => {
    const [x, bias, skip] = [floats(r, 2, 3, 2), floats(r, 2), floats(r, 2, 3, 2)];
    return { inputs: [x, bias, skip], want: [add(arr(x), arr(bias), arr(skip))] };
  },
  GatedAdd: (_, r) => {
    const [x, y, gate] = [floats(r, 2, 3), floats(r, 2, 3), floats(r, 2, 1)];
    return { inputs: [x, y, gate], want: [zip((p, q, g) => p + q * g, arr(x), arr(y), arr(gate))] };
  },
  GroupNorm: groupNorm(false),
  SkipGroupNorm: groupNorm(true),
  SkipLayerNormalization: skipNorm(false),
  SkipSimplifiedLayerNormalization: skipNorm(true),
  SimplifiedLayerNormalization: (_, r) => {
    const [x, scale] = [floats(r, 2, 3), floats(r, 3)];
    const square = reduce(arr(x), [1], true, (v) => sum(v.map((e) => e * e)) / v.length);
    const want = zip((v, s, g) => (v / Math.sqrt(s + 0.125)) * g, arr(x), square, arr(scale));
    return { attrs: { epsilon: 0.125, axis: -1 }, inputs: [x, scale], want: [want], tolerance: 1e-4 };
  },
  EmbedLayerNormalization: embedLayerNorm,
  GatedRMSNorm: gatedRmsNorm,
  LinearAttentionGate: linearAttentionGate,
  LinearAttention: linearAttention,
  CausalConvWithState: causalConv,
  FusedMatMul: fusedMatMul,
  TransposeMatMul: fusedMatMul,
  FusedMatMulActivation: activated(fusedMatMul),
  FusedGemm: activated(fusedGemm),
  FusedConv: fusedConv(false, true),
  NhwcFusedConv: fusedConv(true, true),
  NhwcConv: fusedConv(true, false),
  RelativePositionBias: relativePositionBias,
  GatedRelativePositionBias: gatedRelativePositionBias,
  Inverse: inverse,
  CropAndResize: cropAndResize,
  ComplexMul: complexProduct(false),
  ComplexMulConj: complexProduct(true),
  Rfft: rfft,
  Irfft: irfft,
  Unique: unique,
  NGramRepeatBlock: ngramRepeatBlock,
  DynamicTimeWarping: dynamicTimeWarping,
  UnfoldTensor: unfold,
  MurmurHash3: murmurHash,
  Trilu: (_, r) => {
    const x = floats(r, 2, 3, 3);
    const k = r.bool() ? r.int(-1, 1) : 0;
    const upper = r.int(0, 1);
    const want = build(x.shape, (i) => {
      const offset = (i[2] as number) - (i[1] as number);
      return (upper ? offset >= k : offset <= k) ? at(arr(x), i) : 0;
    });
    return { attrs: { upper }, inputs: k ? [x, fromNumbers('i64', [], [k])] : [x], want: [want] };
  },
  GatherND: (_, r) => {
    const [x, ids] = [floats(r, 3, 2), r.tensor([4, 2], 0, 1, 'i64')];
    const want = build([4], ([n]) =>
      at(
        arr(x),
        [0, 1].map((k) => at(arr(ids), [n as number, k])),
      ),
    );
    return { inputs: [x, ids], want: [want] };
  },
  TorchEmbedding: (_, r) => {
    const [table, ids] = [floats(r, 4, 3), r.tensor([2, 2], 0, 3, 'i64')];
    const want = build([2, 2, 3], ([i, j, k]) =>
      at(arr(table), [at(arr(ids), [i as number, j as number]), k as number]),
    );
    return { inputs: [table, ids], want: [want] };
  },
  ExpandDims: (_, r) => {
    const x = floats(r, 2, 3);
    const [axis, shape] = r.pick([
      [0, [1, 2, 3]],
      [1, [2, 1, 3]],
      [-1, [2, 3, 1]],
    ] as const);
    return { inputs: [x, fromNumbers('i32', [], [axis])], constants: [1], want: [{ shape, data: arr(x).data }] };
  },
  Range: (_, r) => {
    const [start, count, step] = [r.int(-3, 3), r.int(1, 5), r.pick([1, 2])];
    const dtype = r.pick(['i32', 'i64', 'f32'] as const);
    const given = step === 1 ? [start, start + count] : [start, start + step * count, step];
    const inputs = given.map((v) => fromNumbers(dtype, r.bool() ? [] : [1], [v]));
    const want = { shape: [count], data: range(count).map((k) => start + k * step) };
    return { inputs, constants: range(inputs.length), want: [want] };
  },
  Pad: (_, r) => {
    const x = floats(r, 2, 3);
    const pads = range(4).map(() => r.int(0, 2));
    const want = build(
      [2 + (pads[0] as number) + (pads[2] as number), 3 + (pads[1] as number) + (pads[3] as number)],
      (i) => {
        const from = i.map((v, k) => v - (pads[k] as number));
        return from.every((v, k) => v >= 0 && v < (x.shape[k] as number)) ? at(arr(x), from) : 1.5;
      },
    );
    const inputs = [x, fromNumbers('i64', r.bool() ? [4] : [1, 4], pads), fromNumbers('f32', [1], [1.5])];
    return { inputs, constants: [1], want: [want] };
  },
  GridSample: (_, r) => {
    const x = floats(r, 1, 1, 3, 3);
    // Pixel centres, with corners aligned.
    const places = range(4).map(() => [r.int(0, 2), r.int(0, 2)] as const);
    const grid = fromNumbers(
      'f32',
      [1, 2, 2, 2],
      places.flatMap(([i, j]) => [j - 1, i - 1]),
    );
    const want = { shape: [1, 1, 2, 2], data: places.map(([i, j]) => at(arr(x), [0, 0, i, j])) };
    return { attrs: { align_corners: 1, mode: 'bilinear' }, inputs: [x, grid], want: [want] };
  },
});
