// Operators of later operator sets: attention and its parts, spectra and windows, rearrangements, and steps of optimisers.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, build, map, range, spread, sum } from './arrays.js';
import { type Family, family, type Random, typesOf } from './case.js';
import { causalConv, linearAttention } from './contrib.js';
import { attend, joined, rotated, split } from './contrib-attention.js';

type Made = ReturnType<Family['make']>;

const floats = (r: Random, ...shape: number[]): Tensor => r.tensor(shape, -1, 1);

/** Attention in both ranks, with masks, a cache, a cap and shared key heads. */
function attention(version: number, r: Random): Made {
  const [batch, keyHeads, size, depth] = [r.int(1, 2), r.int(1, 2), 2, 3];
  const heads = keyHeads * r.int(1, 2);
  const [rows, fresh] = [r.int(1, 3), r.int(1, 3)];
  const flat = r.bool();
  const before = r.bool(0.4) ? r.int(1, 2) : 0;
  const keys = before + fresh;
  const draw = (n: number, length: number, width: number): Tensor =>
    flat ? floats(r, batch, length, n * width) : floats(r, batch, n, length, width);
  const [q, k, v] = [draw(heads, rows, size), draw(keyHeads, fresh, size), draw(keyHeads, fresh, depth)];
  const pasts = before ? [floats(r, batch, keyHeads, before, size), floats(r, batch, keyHeads, before, depth)] : [];
  const four = (x: Tensor, n: number): Arr => (flat ? split(arr(x), n) : arr(x));
  const allK = joined(pasts[0] && arr(pasts[0]), four(k, keyHeads));
  const allV = joined(pasts[1] && arr(pasts[1]), four(v, keyHeads));
  const kind = r.pick(['none', 'float', 'bool'] as const);
  const maskShape = r.pick([
    [rows, keys],
    [batch, 1, rows, keys],
    [1, heads, rows, keys],
  ]);
  // The first key is always seen.
  const mask = build(maskShape, (i) => (kind === 'float' ? r.int(-32, 32) / 16 : i.at(-1) === 0 ? 1 : r.int(0, 1)));
  const causal = r.bool(0.4);
  const softcap = r.bool(0.3) ? 2 : 0;
  const y = attend({
    q: four(q, heads),
    k: allK,
    v: allV,
    softcap,
    bias: (n, h, i, j) => {
      const hidden = (causal && j > i + before) || (kind === 'bool' && spread(mask, [n, h, i, j]) === 0);
      return hidden ? Number.NEGATIVE_INFINITY : kind === 'float' ? spread(mask, [n, h, i, j]) : 0;
    },
  });
  const want = flat ? y : split(y, heads);
  const given = kind === 'none' ? null : fromNumbers(kind === 'bool' ? 'i1' : 'f32', mask.shape, mask.data);
  const attrs = {
    ...(flat && { q_num_heads: heads, kv_num_heads: keyHeads }),
    ...(causal && { is_causal: 1 }),
    ...(softcap && { softcap }),
  };
  const inputs = [q, k, v, given, ...(before ? pasts : [])];
  return { attrs, inputs, want: version > 0 && before ? [want, allK, allV] : [want], tolerance: 1e-4 };
}

function rotary(_: number, r: Random): Made {
  const [batch, rows, heads, size] = [r.int(1, 2), r.int(1, 3), r.int(1, 2), 4];
  const flat = r.bool();
  const interleaved = r.bool();
  const x = floats(r, ...(flat ? [batch, rows, heads * size] : [batch, heads, rows, size]));
  const byPosition = r.bool();
  const shape = byPosition ? [6, size / 2] : [batch, rows, size / 2];
  const tables = [floats(r, ...shape), floats(r, ...shape)] as const;
  const positions = byPosition ? r.tensor([batch, rows], 0, 5, 'i64') : undefined;
  // One row of angles for every batch element and position.
  const angles = tables.map((t) =>
    build([batch * rows, size / 2], ([p, c]) => {
      const [n, i] = [Math.floor((p as number) / rows), (p as number) % rows];
      return positions ? at(arr(t), [at(arr(positions), [n, i]), c as number]) : at(arr(t), [n, i, c as number]);
    }),
  ) as [Arr, Arr];
  const heads4 = flat ? split(arr(x), heads) : arr(x);
  const y = rotated(heads4, size, interleaved, (n, t) => n * rows + t, angles);
  const merged = (i: readonly number[]): number =>
    at(y, [i[0] as number, Math.floor((i[2] as number) / size), i[1] as number, (i[2] as number) % size]);
  const attrs = { interleaved: Number(interleaved), ...(flat && { num_heads: heads }) };
  return {
    attrs,
    inputs: [x, ...tables, ...(positions ? [positions] : [])],
    want: [flat ? build(x.shape, merged) : y],
  };
}

function rmsNormalization(_: number, r: Random): Made {
  const x = r.tensor(r.shape(3), -2, 2);
  const axis = r.int(-2, -1);
  const shape = x.shape.slice(axis);
  const scale = r.tensor(shape, -2, 2);
  const lead = x.shape.length + axis;
  const want = build(x.shape, (i) => {
    const own = build(shape, (j) => at(arr(x), [...i.slice(0, lead), ...j])).data;
    const mean = sum(own.map((v) => v * v)) / own.length;
    return (at(arr(x), i) / Math.sqrt(mean + 0.125)) * at(arr(scale), i.slice(lead));
  });
  return { attrs: { axis, epsilon: 0.125 }, inputs: [x, scale], want: [want], tolerance: 1e-4 };
}

function tensorScatter(version: number, r: Random): Made {
  const dtype = r.pick(typesOf('TensorScatter', version, 'T', ['f32', 'f16', 'i32', 'u8']));
  const [batch, capacity, length] = [r.int(1, 3), r.int(2, 5), r.int(1, 2)];
  const past = r.tensor([batch, 2, capacity, 2], 0, 4, dtype);
  const update = r.tensor([batch, 2, length, 2], 0, 4, dtype);
  const circular = r.bool();
  const starts = r.bool() ? r.tensor([batch], 0, circular ? 9 : capacity - length, 'i64') : undefined;
  const want = build(past.shape, (i) => {
    const [n, c, t, d] = i as [number, number, number, number];
    const start = starts ? at(arr(starts), [n]) : 0;
    const from = range(length)
      .filter((k) => (circular ? (start + k) % capacity : start + k) === t)
      .at(-1);
    return from === undefined ? at(arr(past), i) : at(arr(update), [n, c, from, d]);
  });
  const attrs = { mode: circular ? 'circular' : 'linear' };
  return { attrs, inputs: starts ? [past, update, starts] : [past, update], want: [want] };
}

/** Σ x_j · e^(∓2πi·jk/n), a pair. */
const spectrum = (
  x: readonly (readonly [number, number])[],
  k: number,
  inverse: boolean,
): readonly [number, number] => {
  const angle = (j: number): number => ((inverse ? 2 : -2) * Math.PI * j * k) / x.length;
  const re = sum(x.map(([p, q], j) => p * Math.cos(angle(j)) - q * Math.sin(angle(j))));
  const im = sum(x.map(([p, q], j) => p * Math.sin(angle(j)) + q * Math.cos(angle(j))));
  return inverse ? [re / x.length, im / x.length] : [re, im];
};

function dft(version: number, r: Random): Made {
  const parts = r.int(1, 2);
  const inverse = parts === 2 && r.bool();
  const onesided = parts === 1 && r.bool();
  const x = floats(r, r.int(1, 2), r.int(1, 9), r.int(1, 3), parts);
  const axis = r.int(1, 2);
  const size = x.shape[axis] as number;
  const n = r.bool(0.3) ? r.int(1, 9) : size;
  const bins = onesided ? Math.floor(n / 2) + 1 : n;
  const shape = x.shape.map((d, k) => (k === axis ? bins : k === 3 ? 2 : d));
  const want = build(shape, (i) => {
    const put = (j: number, p: number): number[] => i.map((v, k) => (k === axis ? j : k === 3 ? p : v));
    const part = (j: number, p: number): number => (j < size && p < parts ? at(arr(x), put(j, p)) : 0);
    const row = range(n).map((j) => [part(j, 0), part(j, 1)] as const);
    return spectrum(row, i[axis] as number, inverse)[i[3] as 0 | 1];
  });
  const length = n === size ? null : fromNumbers('i64', [], [n]);
  const flags = { inverse: Number(inverse), onesided: Number(onesided) };
  if (version < 20)
    return { attrs: { ...flags, axis }, inputs: [x, length], constants: [1], want: [want], tolerance: 1e-4 };
  const inputs = [x, length, fromNumbers('i64', [], [r.bool() ? axis : axis - 4])];
  return { attrs: flags, inputs, constants: [1, 2], want: [want], tolerance: 1e-4 };
}

function stft(_: number, r: Random): Made {
  const [length, step, frames] = [r.int(2, 6), r.int(1, 3), r.int(1, 3)];
  const x = floats(r, 1, length + step * (frames - 1), 1);
  const window = r.bool() ? floats(r, length) : undefined;
  const onesided = r.bool();
  const bins = onesided ? Math.floor(length / 2) + 1 : length;
  const want = build([1, frames, bins, 2], ([, f, k, p]) => {
    const row = range(length).map(
      (j) => [at(arr(x), [0, (f as number) * step + j, 0]) * (window ? at(arr(window), [j]) : 1), 0] as const,
    );
    return spectrum(row, k as number, false)[p as 0 | 1];
  });
  const inputs = [x, fromNumbers('i64', [], [step]), window ?? null, fromNumbers('i64', [], [length])];
  return { attrs: { onesided: Number(onesided) }, inputs, constants: [1, 3], want: [want], tolerance: 1e-4 };
}

const windowOf =
  (f: (turn: number) => number) =>
  (_: number, r: Random): Made => {
    const [size, periodic] = [r.int(2, 9), r.int(0, 1)];
    const data = range(size).map((k) => f((2 * Math.PI * k) / (size - 1 + periodic)));
    return {
      attrs: { periodic },
      inputs: [fromNumbers('i64', [], [size])],
      constants: [0],
      want: [{ shape: [size], data }],
    };
  };

function centerCropPad(_: number, r: Random): Made {
  const x = floats(r, r.int(1, 5), r.int(1, 5));
  const target = [r.int(1, 6), r.int(1, 6)];
  const want = build(target, (i) => {
    const from = i.map((v, k) => {
      const [have, wish] = [x.shape[k] as number, target[k] as number];
      return wish < have ? v + Math.floor((have - wish) / 2) : v - Math.floor((wish - have) / 2);
    });
    return from.every((v, k) => v >= 0 && v < (x.shape[k] as number)) ? at(arr(x), from) : 0;
  });
  return { inputs: [x, fromNumbers('i64', [2], target)], constants: [1], want: [want] };
}

function unique(_: number, r: Random): Made {
  const x = r.tensor([r.int(1, 8)], -2, 2, r.pick(['i64', 'f32'] as const));
  const sorted = r.int(0, 1);
  const seen = [...new Set(arr(x).data)];
  const values = sorted ? seen.sort((a, b) => a - b) : seen;
  const vector = (data: readonly number[]): Arr => ({ shape: [data.length], data });
  const firsts = values.map((v) => arr(x).data.indexOf(v));
  const counts = values.map((v) => arr(x).data.filter((w) => w === v).length);
  const numbers = arr(x).data.map((v) => values.indexOf(v));
  return { attrs: { sorted }, inputs: [x], want: [values, firsts, numbers, counts].map(vector) };
}

/** Steps on two tensors at once: [rate, count, tensors, gradients, states…]. */
const optimizer =
  (
    attrs: Record<string, number | string>,
    states: number,
    step: (x: number, g: number, s: readonly number[], t: number) => readonly number[],
  ) =>
  (_: number, r: Random): Made => {
    const t = r.int(0, 3);
    const shapes = [[2], [1, 3]];
    // Squares are not negative.
    const groups = range(2 + states).map((k) => shapes.map((s) => r.tensor(s, k > 1 ? 0 : -1, 1)));
    const want = range(1 + states).flatMap((out) =>
      shapes.map((shape, which) => ({
        shape,
        data: range(sum([shape.reduce((p, d) => p * d, 1)])).map((e) => {
          const [x, g, ...s] = groups.map((group) => arr(group[which] as Tensor).data[e] as number);
          return step(x as number, g as number, s, t)[out] as number;
        }),
      })),
    );
    const inputs = [fromNumbers('f32', [], [RATE]), fromNumbers('i64', [], [t]), ...groups.flat()];
    return { attrs, inputs, want, tolerance: 1e-4 };
  };

const RATE = 0.125;

const adagrad = optimizer({ decay_factor: 0.5, epsilon: 0.25, norm_coefficient: 0.125 }, 1, (x, g, [h], t) => {
  const regular = 0.125 * x + g;
  const next = (h as number) + regular ** 2;
  return [x - ((RATE / (1 + t * 0.5)) * regular) / (Math.sqrt(next) + 0.25), next];
});

const adam = optimizer({ alpha: 0.5, beta: 0.75, epsilon: 0.25, norm_coefficient: 0.125 }, 2, (x, g, [v, h], t) => {
  const regular = 0.125 * x + g;
  const mean = 0.5 * (v as number) + 0.5 * regular;
  const square = 0.75 * (h as number) + 0.25 * regular ** 2;
  const rate = t > 0 ? (RATE * Math.sqrt(1 - 0.75 ** t)) / (1 - 0.5 ** t) : RATE;
  return [x - (rate * mean) / (Math.sqrt(square) + 0.25), mean, square];
});

const momentum = (mode: 'standard' | 'nesterov') =>
  optimizer({ alpha: 0.5, beta: 0.75, norm_coefficient: 0.125, mode }, 1, (x, g, [v], t) => {
    const regular = 0.125 * x + g;
    const next = 0.5 * (v as number) + (t > 0 ? 0.75 : 1) * regular;
    return [x - RATE * (mode === 'nesterov' ? regular + 0.5 * next : next), next];
  });

const TRAINING = 'ai.onnx.preview.training';

export const later: Family = family('later operator sets', {
  Attention: attention,
  RotaryEmbedding: rotary,
  LinearAttention: linearAttention,
  CausalConvWithState: (version, r) => {
    const made = causalConv(version, r);
    const { dilation, ...attrs } = made.attrs as Record<string, string | number>;
    return dilation === 1 ? { ...made, attrs } : (later.make('CausalConvWithState', version, r) as Made);
  },
  RMSNormalization: rmsNormalization,
  TensorScatter: tensorScatter,
  DFT: dft,
  STFT: stft,
  HannWindow: windowOf((t) => 0.5 - 0.5 * Math.cos(t)),
  HammingWindow: windowOf((t) => 25 / 46 - (21 / 46) * Math.cos(t)),
  BlackmanWindow: windowOf((t) => 0.42 - 0.5 * Math.cos(t) + 0.08 * Math.cos(2 * t)),
  CenterCropPad: centerCropPad,
  Unique: unique,
  BitCast: (_, r) => {
    const x = r.tensor([3], -9, 9, 'f32');
    const bits = new Int32Array(Float32Array.from(arr(x).data).buffer);
    return { attrs: { to: 6 }, inputs: [x], want: [{ shape: [3], data: Array.from(bits) }] };
  },
  'ai.onnx.ml:Normalizer': (_, r) => {
    const x = r.tensor([r.int(1, 3), 3], 0.5, 4);
    const [norm, of] = r.pick([
      ['MAX', (v: readonly number[]) => Math.max(...v)],
      ['L1', (v: readonly number[]) => sum(v.map(Math.abs))],
      ['L2', (v: readonly number[]) => Math.sqrt(sum(v.map((e) => e * e)))],
    ] as const);
    const row = (n: number): number[] => range(3).map((k) => at(arr(x), [n, k]));
    return { attrs: { norm }, inputs: [x], want: [build(x.shape, (i) => at(arr(x), i) / of(row(i[0] as number)))] };
  },
  'ai.onnx.ml:LinearClassifier': (_, r) => {
    const x = r.tensor([r.int(1, 3), 2], -2, 2);
    const weights = range(3).map((c) => range(2).map((k) => r.int(-32, 32) / 16 + c / 37 + k / 41));
    const scores = build([x.shape[0] as number, 3], ([n, c]) =>
      sum(range(2).map((k) => at(arr(x), [n as number, k]) * (weights[c as number]?.[k] as number))),
    );
    const best = range(x.shape[0] as number).map((n) => {
      const row = range(3).map((c) => at(scores, [n, c]));
      return 5 + row.indexOf(Math.max(...row));
    });
    const logistic = r.bool();
    const attrs = {
      coefficients: weights.flat(),
      intercepts: [0, 0, 0],
      classlabels_ints: [5, 6, 7],
      post_transform: logistic ? 'LOGISTIC' : 'NONE',
    };
    const shown = logistic ? map(scores, (v) => 1 / (1 + Math.exp(-v))) : scores;
    return { attrs, inputs: [x], want: [{ shape: [best.length], data: best }, shown], tolerance: 1e-4 };
  },
  [`${TRAINING}:Adagrad`]: adagrad,
  [`${TRAINING}:Adam`]: adam,
  [`${TRAINING}:Momentum`]: (version, r) => momentum(r.pick(['standard', 'nesterov'] as const))(version, r),
});
