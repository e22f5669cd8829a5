// Classical models and feature operators of ai.onnx.ml. Trees are in ml-trees.ts, support vectors in ml-svm.ts; what
// classifiers share is in ml-scores.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import {
  bestColumn,
  featureCount,
  featureRows,
  type Labels,
  labelCount,
  labelsOf,
  lookUpLabels,
  matrix,
  type PostTransform,
  postTransform,
  postTransformOf,
  twoColumns,
} from './ml-scores.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { keyList, positionsIn } from './vocabulary.js';

interface LinearAttrs {
  readonly coefficients: readonly number[];
  readonly intercepts: readonly number[];
  readonly post: PostTransform;
  readonly targets: number;
}

const linear = (n: NodeReader): LinearAttrs => ({
  coefficients: n.floats('coefficients'),
  intercepts: n.floats('intercepts', []),
  post: postTransformOf(n),
  targets: n.int('targets', 1),
});

/** x · coefficientsᵀ + intercepts, [rows, targets]. */
function linearScores(b: Builder, x: Value, a: LinearAttrs, targets: number): Value {
  const rows = b.cast(featureRows(b, x), 'f32');
  const y = b.matmul(rows, matrix(b, a.coefficients, targets, featureCount(rows)), { transposeY: true });
  return a.intercepts.length === 0 ? y : b.add(y, matrix(b, a.intercepts, 1, targets));
}

const LinearRegressor = op('linear_regressor', {
  doc: 'Linear function of the features, per target.',
  inputs: ['x'],
  onnx: { 'ai.onnx.ml:LinearRegressor@1': linear },
  lower: ({ x }, a: LinearAttrs, b) => postTransform(b, linearScores(b, x, a, a.targets), a.post),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const LinearClassifier = op('linear_classifier', {
  doc: 'Linear score per class, and the label of the best.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:LinearClassifier@1': (n): LinearAttrs & { labels: Labels } => ({
      ...linear(n),
      labels: labelsOf(n, 'classlabels_ints', 'classlabels_strings'),
    }),
  },
  lower: ({ x }, a: LinearAttrs & { labels: Labels }, b) => {
    const classes = Math.max(1, Math.round(a.coefficients.length / featureCount(x)));
    const scores = linearScores(b, x, a, classes);
    if (classes > 1 || labelCount(a.labels) !== 2)
      return [lookUpLabels(b, bestColumn(b, scores), a.labels), postTransform(b, scores, a.post)];
    // One score for the second of two classes.
    const positive = b.map([b.squeeze(scores, [1])], (s) => cast(e.gt(s, 0), 'i64'));
    const other = (v: Expr): Expr => (a.post === 'NONE' ? e.sub(1, v) : e.neg(v));
    const pair = twoColumns(b, scores, other, (v) => v);
    return [lookUpLabels(b, positive, a.labels), postTransform(b, pair, a.post)];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const NORMS: Readonly<Record<string, (b: Builder, x: Value) => Value>> = {
  MAX: (b, x) => b.reduce(x, 'max', [-1], true),
  L1: (b, x) => b.reduce(b.abs(x), 'add', [-1], true),
  L2: (b, x) => b.sqrt(b.reduce(b.mul(x, x), 'add', [-1], true)),
};

const Normalizer = op('normalizer', {
  doc: 'Divides each row by its maximum, L1 or L2 norm; rows whose norm is zero stay.',
  inputs: ['x'],
  onnx: { 'ai.onnx.ml:Normalizer@1': (n): { norm: string } => ({ norm: n.string('norm', 'MAX') }) },
  lower: ({ x }, { norm }: { norm: string }, b) => {
    const rows = b.cast(x, 'f32');
    const of = NORMS[norm];
    if (!of) throw new CompileError('E203', `norm "${norm}" is not defined`);
    return b.map([rows, of(b, rows)], (v, n) => e.select(e.eq(n, 0), v, e.div(v, n)));
  },
});

interface ScalerAttrs {
  readonly offset: readonly number[];
  readonly scale: readonly number[];
}

const vector = (b: Builder, values: readonly number[]): Value =>
  b.constant({ dtype: 'f32', shape: [values.length], data: Float32Array.from(values) });

const Scaler = op('scaler', {
  doc: '(x − offset) · scale, per feature or for all alike.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:Scaler@1': (n): ScalerAttrs => ({ offset: n.floats('offset', [0]), scale: n.floats('scale', [1]) }),
  },
  lower: ({ x }, { offset, scale }: ScalerAttrs, b) =>
    b.map([b.cast(x, 'f32'), vector(b, offset), vector(b, scale)], (v, o, s) => e.mul(e.sub(v, o as Expr), s as Expr)),
});

const Binarizer = op('binarizer', {
  doc: '1 above the threshold, else 0.',
  inputs: ['x'],
  onnx: { 'ai.onnx.ml:Binarizer@1': (n): { threshold: number } => ({ threshold: n.float('threshold', 0) }) },
  lower: ({ x }, { threshold }: { threshold: number }, b) =>
    b.map([x], (v) => cast(e.gt(cast(v, 'f64'), threshold), x.type.dtype)),
});

const ArrayFeatureExtractor = op('array_feature_extractor', {
  doc: 'Picks elements of the last axis by index.',
  inputs: ['x', 'indices'],
  onnx: { 'ai.onnx.ml:ArrayFeatureExtractor@1': () => ({}) },
  lower: ({ x, indices }, _a, b) => {
    const rows = x.type.shape.length === 1 ? b.unsqueeze(x, [0]) : x;
    return b.gather(rows, b.reshape(indices, [product(indices.type.shape)]), -1);
  },
});

interface ImputerAttrs {
  readonly replaced: number;
  readonly imputed: readonly number[];
}

const Imputer = op('imputer', {
  doc: 'Replaces one value (NaN by default for floats) by a value per feature.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:Imputer@1': (n): ImputerAttrs => {
      const floats = n.floats('imputed_value_floats', []);
      if (floats.length > 0) return { replaced: n.float('replaced_value_float', 0), imputed: floats };
      return { replaced: n.int('replaced_value_int64', 0), imputed: n.ints('imputed_value_int64s', []) };
    },
  },
  lower: ({ x }, { replaced, imputed }: ImputerAttrs, b) => {
    const t = x.type.dtype;
    const values = b.cast(b.constant({ dtype: 'f64', shape: [imputed.length], data: Float64Array.from(imputed) }), t);
    return b.map([x, values], (v, w) => {
      const hit = Number.isNaN(replaced) ? e.op('is_nan', v) : e.eq(v, replaced);
      return e.select(hit, w as Expr, v);
    });
  },
});

const FeatureVectorizer = op('feature_vectorizer', {
  doc: 'Joins inputs along the feature axis, as f32.',
  inputs: ['xs*'],
  onnx: {
    'ai.onnx.ml:FeatureVectorizer@1': (n): { sizes: readonly number[] } => ({ sizes: n.ints('inputdimensions', []) }),
  },
  lower: ({ xs }, { sizes }: { sizes: readonly number[] }, b) => {
    const parts = xs.map((x, k) => {
      const rows = b.cast(featureRows(b, x), 'f32');
      const flat = b.reshape(rows, [rows.type.shape[0] as Dim, product(rows.type.shape.slice(1))]);
      const have = flat.type.shape[1] as Dim;
      const size = sizes[k] ?? have;
      return typeof have === 'number' && typeof size === 'number' && have < size
        ? b.pad(flat, [0, 0], [0, size - have], 0)
        : b.narrow(flat, 1, 0, size);
    });
    return b.concat(parts, 1);
  },
});

const OneHotEncoder = op('one_hot_encoder', {
  doc: 'A column per category: 1 where the value is that category.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:OneHotEncoder@1': (n): { categories: Tensor } => ({
      categories: keyList(n, 'cats_strings', 'cats_int64s'),
    }),
  },
  lower: ({ x }, { categories }: { categories: Tensor }, b) => {
    const text = x.type.dtype === 'string';
    if (text !== (categories.dtype === 'string'))
      throw new CompileError('E203', 'categories and values differ in type');
    const at = positionsIn(b, text ? x : b.cast(x, 'i64'), categories);
    return b.generic({
      shape: [...x.type.shape, categories.data.length],
      body: (i, _r, read) =>
        e.select(e.eq(read(at, i.slice(0, -1)), i.at(-1) as Expr), constant(1, 'f32'), constant(0, 'f32')),
    });
  },
  limits: ['A value outside the categories gives zeros, whatever `zeros` says.'],
});

export const records: readonly AnyRecord[] = [
  LinearRegressor,
  LinearClassifier,
  Normalizer,
  Scaler,
  Binarizer,
  ArrayFeatureExtractor,
  Imputer,
  FeatureVectorizer,
  OneHotEncoder,
];
