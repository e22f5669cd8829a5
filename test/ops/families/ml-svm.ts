// Support vector machines and maps of ai.onnx.ml. Sums go over support vectors one by one, pairs of classes are compared as the
// definition has them, and probabilities couple by LIBSVM's iteration, in doubles.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, range, sum } from './arrays.js';
import { type Family, family, type Random } from './case.js';

type Made = ReturnType<Family['make']>;

const KERNELS = {
  LINEAR: (dot: number) => dot,
  POLY: (dot: number, _d: number, [g, c, p]: readonly number[]) =>
    ((g as number) * dot + (c as number)) ** (p as number),
  RBF: (_dot: number, distance: number, [g]: readonly number[]) => Math.exp(-(g as number) * distance),
  SIGMOID: (dot: number, _d: number, [g, c]: readonly number[]) => Math.tanh((g as number) * dot + (c as number)),
};

const fractions = (n: number, r: Random): number[] => range(n).map(() => r.int(-32, 32) / 32);
const rowsOf = (x: Arr): number[][] =>
  range(x.shape[0] as number).map((n) => range(x.shape[1] as number).map((k) => at(x, [n, k])));

interface Machine {
  readonly attrs: Record<string, number | string | readonly (number | string)[]>;
  /** The kernel's values with every support vector. */
  readonly kernel: (row: readonly number[]) => readonly number[];
}

function drawMachine(count: number, features: number, r: Random): Machine {
  const name = r.pick(['LINEAR', 'POLY', 'RBF', 'SIGMOID'] as const);
  const params = [0.5, 0.25, r.int(1, 3)];
  const vectors = range(count).map(() => fractions(features, r));
  return {
    attrs: { kernel_type: name, kernel_params: params, support_vectors: vectors.flat() },
    kernel: (row) =>
      vectors.map((v) =>
        KERNELS[name](
          sum(v.map((s, k) => s * (row[k] as number))),
          sum(v.map((s, k) => (s - (row[k] as number)) ** 2)),
          params,
        ),
      ),
  };
}

const input = (features: number, r: Random): Tensor =>
  r.tensor([r.int(1, 4), features], -2, 2, r.pick(['f32', 'f64', 'i64', 'i32'] as const));

const logistic = (v: number): number => 1 / (1 + Math.exp(-v));
const softmax = (v: readonly number[], zero = false): number[] => {
  const top = Math.max(...v);
  const p = v.map((x) => (zero && x === 0 ? 0 : Math.exp(x - top)));
  return p.map((x) => (sum(p) === 0 ? x : x / sum(p)));
};
/** √2·erf⁻¹(2p − 1), by Winitzki's formula, as ONNX defines it. */
const probit = (p: number): number => {
  const x = 2 * p - 1;
  const log = Math.log((1 - x) * (1 + x));
  const v = 2 / (Math.PI * 0.147) + log / 2;
  return Math.SQRT2 * Math.sign(x) * Math.sqrt(Math.sqrt(v * v - log / 0.147) - v);
};
const TRANSFORMS: Readonly<Record<string, (v: readonly number[]) => readonly number[]>> = {
  NONE: (v) => v,
  LOGISTIC: (v) => v.map(logistic),
  SOFTMAX: (v) => softmax(v),
  SOFTMAX_ZERO: (v) => softmax(v, true),
  PROBIT: (v) => v.map(probit),
};

function regressor(_: number, r: Random): Made {
  const features = 3;
  const count = r.int(0, 4);
  const x = input(features, r);
  const machine = drawMachine(count, features, r);
  const coefficients = fractions(count || features, r);
  const oneClass = r.bool(0.3);
  const post = oneClass ? 'NONE' : r.pick(['NONE', 'LOGISTIC', 'SOFTMAX', 'SOFTMAX_ZERO']);
  const want = rowsOf(arr(x)).map((row) => {
    const values = count ? machine.kernel(row) : row;
    const score = sum(values.map((v, k) => v * (coefficients[k] as number))) + 0.0625 / 3;
    return oneClass ? (score > 0 ? 1 : -1) : ((TRANSFORMS[post] as typeof softmax)([score])[0] as number);
  });
  const attrs = {
    ...machine.attrs,
    coefficients,
    n_supports: count,
    rho: [0.0625 / 3],
    post_transform: post,
    one_class: Number(oneClass),
  };
  return { attrs, inputs: [x], want: [{ shape: [want.length, 1], data: want }], tolerance: 1e-4 };
}

/** Probabilities of classes from those of pairs. */
function couple(r: readonly (readonly number[])[]): number[] {
  const k = r.length;
  const R = (i: number, j: number): number => r[i]?.[j] as number;
  const q = range(k).map((t) =>
    range(k).map((j) => (j === t ? sum(range(k).map((o) => (o === t ? 0 : R(o, t) ** 2))) : -R(j, t) * R(t, j))),
  );
  const p = range(k).map(() => 1 / k);
  const row = (t: number): number => sum(range(k).map((j) => (q[t]?.[j] as number) * (p[j] as number)));
  for (let n = 0; n < Math.max(100, k); n++) {
    const qp = range(k).map(row);
    let pqp = sum(p.map((v, t) => v * (qp[t] as number)));
    if (Math.max(...qp.map((v) => Math.abs(v - pqp))) < 0.005 / k) break;
    for (let t = 0; t < k; t++) {
      const own = q[t]?.[t] as number;
      const diff = (pqp - (qp[t] as number)) / own;
      p[t] = (p[t] as number) + diff;
      pqp = (pqp + diff * (diff * own + 2 * (qp[t] as number))) / (1 + diff) ** 2;
      for (let j = 0; j < k; j++) {
        p[j] = (p[j] as number) / (1 + diff);
        qp[j] = ((qp[j] as number) + diff * (q[t]?.[j] as number)) / (1 + diff);
      }
    }
  }
  return p;
}

/** One score of two classes is written as −s and s. */
function columns(scores: readonly number[], post: string): readonly number[] {
  const transform = TRANSFORMS[post] as (v: readonly number[]) => readonly number[];
  const [only = 0] = scores;
  return transform(scores.length === 1 && post !== 'PROBIT' ? [-only, only] : scores);
}

function classifier(_: number, r: Random): Made {
  const classes = r.int(2, 4);
  const features = 3;
  const x = input(features, r);
  const labels = range(classes).map((c) => 10 + 3 * c);
  if (r.bool(0.25)) return linearClassifier(x, labels, r);
  const perClass = range(classes).map(() => r.int(1, 3));
  const starts = perClass.map((_n, c) => sum(perClass.slice(0, c)));
  const count = sum(perClass);
  const machine = drawMachine(count, features, r);
  const coefficients = range(classes - 1).map(() => fractions(count, r));
  const pairs = range(classes).flatMap((i) => range(classes - i - 1).map((j) => [i, i + 1 + j] as const));
  // No score is zero, so that rounding does not decide a vote.
  const rho = pairs.map((_p, k) => 1 / 48 + k / 96);
  const probable = r.bool();
  const [a, b] = [pairs.map(() => -1.5), pairs.map((_p, k) => 0.25 - k / 8)];
  const post = probable
    ? r.pick(['NONE', 'SOFTMAX', 'PROBIT'])
    : r.pick(['NONE', 'LOGISTIC', 'SOFTMAX', 'SOFTMAX_ZERO']);
  const results = rowsOf(arr(x)).map((row) => {
    const kernel = machine.kernel(row);
    const part = (row2: number, owner: number): number =>
      sum(
        range(perClass[owner] as number).map((k) => {
          const v = (starts[owner] as number) + k;
          return (coefficients[row2]?.[v] as number) * (kernel[v] as number);
        }),
      );
    const scores = pairs.map(([i, j], k) => part(j - 1, i) + part(i, j) + (rho[k] as number));
    const votes = range(classes).map((c) =>
      sum(pairs.map(([i, j], k) => Number(((scores[k] as number) > 0 ? i : j) === c))),
    );
    const best = votes.indexOf(Math.max(...votes));
    if (!probable) return { best, scores: columns(scores, post) };
    const table = range(classes).map(() => range(classes).map(() => 0));
    pairs.forEach(([i, j], k) => {
      const p = 1 / (1 + Math.exp((a[k] as number) * (scores[k] as number) + (b[k] as number)));
      const clamped = Math.min(Math.max(p, 1e-7), 1 - 1e-7);
      (table[i] as number[])[j] = clamped;
      (table[j] as number[])[i] = 1 - clamped;
    });
    return { best, scores: columns(couple(table), post) };
  });
  const attrs = {
    ...machine.attrs,
    coefficients: coefficients.flat(),
    rho,
    vectors_per_class: perClass,
    classlabels_ints: labels,
    post_transform: post,
    ...(probable && { prob_a: a, prob_b: b }),
  };
  return finished(attrs, x, labels, results);
}

function finished(
  attrs: NonNullable<Made['attrs']>,
  x: Tensor,
  labels: readonly number[],
  results: readonly { readonly best: number; readonly scores: readonly number[] }[],
): Made {
  const n = results.length;
  return {
    attrs,
    inputs: [x],
    want: [
      { shape: [n], data: results.map((v) => labels[v.best] as number) },
      { shape: [n, results[0]?.scores.length as number], data: results.flatMap((v) => v.scores) },
    ],
    tolerance: 1e-4,
  };
}

function linearClassifier(x: Tensor, labels: readonly number[], r: Random): Made {
  const weights = labels.map((_l, c) => range(3).map((k) => r.int(-32, 32) / 32 + c / 41 + k / 53 - 0.5));
  const post = r.pick(['NONE', 'LOGISTIC', 'SOFTMAX']);
  const results = rowsOf(arr(x)).map((row) => {
    const scores = weights.map((w) => sum(w.map((v, k) => v * (row[k] as number))) + 0.25);
    return { best: scores.indexOf(Math.max(...scores)), scores: columns(scores, post) };
  });
  const attrs = { coefficients: weights.flat(), rho: [0.25], classlabels_ints: labels, post_transform: post };
  return finished(attrs, x, labels, results);
}

const words = (...data: string[]): Tensor => ({ dtype: 'string', shape: [data.length], data });

function dictVectorizer(_: number, r: Random): Made {
  const vocabulary = r.shuffle(6).map((k) => k * 7);
  const keys = r
    .shuffle(6)
    .slice(0, r.int(1, 6))
    .map((k) => (k === 5 ? 1000 : k * 7));
  const values = r.tensor([keys.length], -4, 4, r.pick(['f32', 'f64'] as const));
  const data = vocabulary.map((v) => arr(values).data[keys.indexOf(v)] ?? 0);
  const want = [{ shape: [6], data }];
  if (r.bool())
    return {
      map: true,
      attrs: { int64_vocabulary: vocabulary },
      inputs: [fromNumbers('i64', [keys.length], keys), values],
      want,
    };
  const name = (v: number): string => `k${v}`;
  return {
    map: true,
    attrs: { string_vocabulary: vocabulary.map(name) },
    inputs: [words(...keys.map(name)), values],
    want,
  };
}

function castMap(_: number, r: Random): Made {
  const keys = r.shuffle(8).slice(0, r.int(1, 6));
  const values = r.tensor([keys.length]);
  const [to, change] = r.pick([
    ['TO_FLOAT', (v: number) => v],
    ['TO_INT64', Math.trunc],
  ] as const);
  const pairs = keys.map((k, j) => [k, change(arr(values).data[j] as number)] as const);
  const columns = r.int(1, 9);
  const dense = [...pairs].sort(([a], [b]) => a - b).map(([, v]) => v);
  const sparse = range(columns).map((c) => pairs.find(([k]) => k === c)?.[1] ?? 0);
  const packed = r.bool();
  const attrs = { cast_to: to, map_form: packed ? 'DENSE' : 'SPARSE', max_map: columns };
  const data = packed ? dense : sparse;
  return {
    map: true,
    attrs,
    inputs: [fromNumbers('i64', [keys.length], keys), values],
    want: [{ shape: [1, data.length], data }],
  };
}

export const vectorsAndMaps: Family = family('ai.onnx.ml: support vectors and maps', {
  'ai.onnx.ml:SVMRegressor': regressor,
  'ai.onnx.ml:SVMClassifier': classifier,
  'ai.onnx.ml:DictVectorizer': dictVectorizer,
  'ai.onnx.ml:CastMap': castMap,
  'ai.onnx.ml:ZipMap': (_, r) => {
    const x = r.tensor(r.bool() ? [r.int(1, 4), 3] : [3]);
    const keys = r.bool() ? { classlabels_strings: ['a', 'b', 'c'] } : { classlabels_int64s: [4, 2, 9] };
    return { attrs: keys, inputs: [x], want: [{ shape: x.shape.length === 1 ? [1, 3] : x.shape, data: arr(x).data }] };
  },
  'ai.onnx.ml:CategoryMapper': (_, r) => {
    const [names, numbers] = [
      ['red', 'green', 'blue'],
      [7, -2, 40],
    ];
    const picked = range(4).map(() => r.pick([...names, 'pink']));
    const attrs = { cats_strings: names, cats_int64s: numbers, default_int64: -9 };
    const data = picked.map((w) => numbers[names.indexOf(w)] ?? -9);
    return { attrs, inputs: [words(...picked)], want: [{ shape: [4], data }] };
  },
});
