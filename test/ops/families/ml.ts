// Operators of ai.onnx.ml on tensors: encoders, scalers, linear models and trees. Trees are drawn, and walked as drawn.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, build, map, range, sum } from './arrays.js';
import { type Family, family, type Random } from './case.js';

type Made = ReturnType<Family['make']>;

/** A complete tree of two levels per root: features 0…, a threshold each, a value for every leaf. */
interface Tree {
  readonly features: readonly number[];
  readonly thresholds: readonly number[];
  readonly leaves: readonly (readonly number[])[];
}

const drawTree = (features: number, targets: number, r: Random): Tree => ({
  features: range(3).map(() => r.int(0, features - 1)),
  // Between the inputs, which are multiples of 1/64.
  thresholds: range(3).map(() => r.int(-64, 64) / 64 + 1 / 128),
  leaves: range(4).map(() => range(targets).map(() => r.int(-8, 8) / 4)),
});

const walk = (t: Tree, row: readonly number[]): readonly number[] => {
  const goesLeft = (node: number): boolean =>
    (row[t.features[node] as number] as number) <= (t.thresholds[node] as number);
  const inner = goesLeft(0) ? 1 : 2;
  return t.leaves[(inner - 1) * 2 + (goesLeft(inner) ? 0 : 1)] as readonly number[];
};

/** Nodes 0 to 2 decide, 3 to 6 are leaves. */
const nodeAttrs = (trees: readonly Tree[]): Record<string, readonly (number | string)[]> => ({
  nodes_treeids: trees.flatMap((_, t) => range(7).map(() => t)),
  nodes_nodeids: trees.flatMap(() => range(7)),
  nodes_featureids: trees.flatMap((t) => [...t.features, 0, 0, 0, 0]),
  nodes_values: trees.flatMap((t) => [...t.thresholds, 0, 0, 0, 0]),
  nodes_modes: trees.flatMap(() => range(7).map((k) => (k < 3 ? 'BRANCH_LEQ' : 'LEAF'))),
  nodes_truenodeids: trees.flatMap(() => [1, 3, 5, 0, 0, 0, 0]),
  nodes_falsenodeids: trees.flatMap(() => [2, 4, 6, 0, 0, 0, 0]),
});

const leafAttrs = (trees: readonly Tree[], targets: number, prefix: string): Record<string, readonly number[]> => {
  const each = trees.flatMap((t, k) =>
    t.leaves.flatMap((leaf, l) => range(targets).map((c) => ({ tree: k, node: 3 + l, c, w: leaf[c] as number }))),
  );
  return {
    [`${prefix}_treeids`]: each.map((e) => e.tree),
    [`${prefix}_nodeids`]: each.map((e) => e.node),
    [`${prefix}_ids`]: each.map((e) => e.c),
    [`${prefix}_weights`]: each.map((e) => e.w),
  };
};

const rows = (x: Arr): number[][] =>
  range(x.shape[0] as number).map((n) => range(x.shape[1] as number).map((k) => at(x, [n, k])));

function treeRegressor(_: number, r: Random): Made {
  const targets = r.int(1, 2);
  const trees = range(r.int(1, 3)).map(() => drawTree(3, targets, r));
  const x = r.tensor([r.int(1, 4), 3], -2, 2);
  const [aggregate, combine] = r.pick([
    ['SUM', (v: number[]) => sum(v)],
    ['AVERAGE', (v: number[]) => sum(v) / v.length],
    ['MAX', (v: number[]) => Math.max(...v)],
  ] as const);
  const data = rows(arr(x)).flatMap((row) =>
    range(targets).map((c) => combine(trees.map((t) => walk(t, row)[c] as number))),
  );
  const attrs = {
    ...nodeAttrs(trees),
    ...leafAttrs(trees, targets, 'target'),
    n_targets: targets,
    aggregate_function: aggregate,
  };
  return { attrs, inputs: [x], want: [{ shape: [x.shape[0] as number, targets], data }] };
}

function treeClassifier(_: number, r: Random): Made {
  const trees = range(r.int(1, 3)).map(() => drawTree(3, 3, r));
  const x = r.tensor([r.int(1, 4), 3], -2, 2);
  const scores = rows(arr(x)).map((row) => range(3).map((c) => sum(trees.map((t) => walk(t, row)[c] as number))));
  const labels = scores.map((s) => 10 + s.indexOf(Math.max(...s)));
  const attrs = {
    ...nodeAttrs(trees),
    ...leafAttrs(trees, 3, 'class'),
    classlabels_int64s: [10, 11, 12],
    post_transform: 'NONE',
  };
  return {
    attrs,
    inputs: [x],
    outputs: 2,
    want: [
      { shape: [labels.length], data: labels },
      { shape: [labels.length, 3], data: scores.flat() },
    ],
  };
}

function scaler(_: number, r: Random): Made {
  const x = r.tensor([r.int(1, 3), 3], -2, 2, r.pick(['f32', 'i64', 'i32', 'f64'] as const));
  const [offset, scale] = [
    [0.5, 1.25, -0.75],
    [0.5, 2.5, 1.5],
  ];
  const want = build(
    x.shape,
    (i) => (at(arr(x), i) - (offset[i[1] as number] as number)) * (scale[i[1] as number] as number),
  );
  return { attrs: { offset, scale }, inputs: [x], want: [want] };
}

function imputer(_: number, r: Random): Made {
  const x = r.tensor([r.int(1, 4), 3], 0, 2);
  const [replaced, values] = [1, [7.5, 8.5, 9.5]];
  const want = build(x.shape, (i) => (at(arr(x), i) === replaced ? (values[i[1] as number] as number) : at(arr(x), i)));
  const floats = { imputed_value_floats: values, replaced_value_float: replaced };
  return { attrs: floats, inputs: [x], want: [want] };
}

function oneHot(_: number, r: Random): Made {
  const cats = [2, 5, 7];
  const x = r.tensor([r.int(1, 5)], 2, 7, r.pick(['i64', 'i32', 'f32'] as const));
  const picked = arr(x).data.map((v) => Math.round(v));
  const want = [build([...x.shape, 3], ([n, k]) => Number(picked[n as number] === cats[k as number]))];
  const [name, text] = [(v: number): string => `k${v}`, r.bool()];
  const words: Tensor = { dtype: 'string', shape: x.shape, data: picked.map(name) };
  return {
    attrs: text ? { cats_strings: cats.map(name), zeros: 1 } : { cats_int64s: cats, zeros: 1 },
    inputs: [text ? words : fromNumbers(x.dtype, x.shape, picked)],
    want,
  };
}

function linearRegressor(_: number, r: Random): Made {
  const targets = r.int(1, 2);
  const x = r.tensor([r.int(1, 3), 3], -2, 2);
  const coefficients = range(3 * targets).map(() => r.int(-8, 8) / 4 + 0.125);
  const intercepts = range(targets).map((k) => k + 0.5);
  const want = build(
    [x.shape[0] as number, targets],
    ([n, t]) =>
      sum(range(3).map((k) => at(arr(x), [n as number, k]) * (coefficients[3 * (t as number) + k] as number))) +
      (intercepts[t as number] as number),
  );
  return { attrs: { coefficients, intercepts, targets }, inputs: [x], want: [want] };
}

function featureVectorizer(_: number, r: Random): Made {
  const [a, b] = [r.tensor([2, r.int(1, 3)]), r.tensor([2, r.int(1, 3)], -2, 2, 'f32')];
  const widths = [a, b].map((t) => t.shape[1] as number);
  const want = build([2, sum(widths)], ([n, k]) =>
    (k as number) < (widths[0] as number)
      ? at(arr(a), [n as number, k as number])
      : at(arr(b), [n as number, (k as number) - (widths[0] as number)]),
  );
  return { attrs: { inputdimensions: widths }, inputs: [a, b], want: [want] };
}

function labelEncoder(version: number, r: Random): Made {
  if (version < 2) {
    const words = ['red', 'green', 'blue'];
    const picked = range(4).map(() => r.pick([...words, 'pink']));
    const x: Tensor = { dtype: 'string', shape: [4], data: picked };
    const data = picked.map((w) => words.indexOf(w));
    return { attrs: { classes_strings: words, default_int64: -1 }, inputs: [x], want: [{ shape: [4], data }] };
  }
  const [keys, values] = [
    [3, 5, 9],
    [1.5, 2.5, 3.5],
  ];
  const x = fromNumbers(
    'i64',
    [4],
    range(4).map(() => r.pick([...keys, 4])),
  );
  const want = map(arr(x), (v) => values[keys.indexOf(v)] ?? -0.5);
  return { attrs: { keys_int64s: keys, values_floats: values, default_float: -0.5 }, inputs: [x], want: [want] };
}

const ml = (table: Readonly<Record<string, (version: number, r: Random) => Made>>): typeof table =>
  Object.fromEntries(Object.entries(table).map(([name, f]) => [`ai.onnx.ml:${name}`, f]));

export const classical: Family = family(
  'ai.onnx.ml',
  ml({
    TreeEnsembleRegressor: treeRegressor,
    TreeEnsembleClassifier: treeClassifier,
    Scaler: scaler,
    Imputer: imputer,
    OneHotEncoder: oneHot,
    LinearRegressor: linearRegressor,
    FeatureVectorizer: featureVectorizer,
    LabelEncoder: labelEncoder,
    Binarizer: (_, r) => {
      const x = r.tensor(r.shape(2));
      return { attrs: { threshold: 0.5 }, inputs: [x], want: [map(arr(x), (v) => Number(v > 0.5))] };
    },
    ArrayFeatureExtractor: (_, r) => {
      const x = r.tensor([r.int(1, 3), 4]);
      const ids = r.tensor([r.int(1, 4)], 0, 3, 'i64');
      return {
        inputs: [x, ids],
        want: [
          build([x.shape[0] as number, ids.shape[0] as number], ([n, k]) =>
            at(arr(x), [n as number, arr(ids).data[k as number] as number]),
          ),
        ],
      };
    },
  }),
);
