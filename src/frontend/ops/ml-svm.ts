// Support vector machines of ai.onnx.ml. A machine without support vectors is linear. A classifier with them compares every
// pair of classes: the sums of all pairs are one matrix product with the kernel's values, whose rows are zero outside the
// two classes; votes or coupled probabilities (ml-coupling.ts) follow from the sums.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { fromNumbers } from '../../support/tensor.js';
import { coupledProbabilities } from './ml-coupling.js';
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

const KERNELS = ['LINEAR', 'POLY', 'RBF', 'SIGMOID'] as const;

interface Machine {
  readonly kernel: (typeof KERNELS)[number];
  readonly gamma: number;
  readonly coef0: number;
  readonly degree: number;
  readonly coefficients: readonly number[];
  readonly vectors: readonly number[];
  readonly rho: readonly number[];
  readonly post: PostTransform;
}

function machine(n: NodeReader): Machine {
  const name = n.string('kernel_type', 'LINEAR');
  const kernel = KERNELS.find((k) => k === name);
  if (!kernel) throw new CompileError('E203', `kernel_type "${name}" is not defined`);
  const [gamma = 0, coef0 = 0, degree = 0] = n.floats('kernel_params', []);
  return {
    kernel,
    gamma,
    coef0,
    degree: Math.trunc(degree),
    coefficients: n.floats('coefficients'),
    vectors: n.floats('support_vectors', []),
    rho: n.floats('rho'),
    post: postTransformOf(n),
  };
}

const rowsOf = (b: Builder, x: Value): Value => b.cast(featureRows(b, x), 'f32');

/** k(x, v) of every row and support vector. */
function kernelValues(b: Builder, x: Value, m: Machine, count: number): Value {
  const width = featureCount(x);
  const vectors = matrix(b, m.vectors, count, width);
  if (m.kernel === 'RBF') {
    const distances = b.generic({
      shape: [x.type.shape[0] as Dim, count],
      reduce: [width],
      reducer: 'add',
      body: ([row, vector], [k], read) => {
        const d = e.sub(read(x, [row as Expr, k as Expr]), read(vectors, [vector as Expr, k as Expr]));
        return e.mul(d, d);
      },
    });
    return b.exp(b.mul(distances, -m.gamma));
  }
  const dots = b.matmul(x, vectors, { transposeY: true });
  if (m.kernel === 'LINEAR') return dots;
  const inner = b.add(b.mul(dots, m.gamma), m.coef0);
  return m.kernel === 'POLY' ? b.pow(inner, m.degree) : b.tanh(inner);
}

/** x · coefficientsᵀ + rho, the same for all rows. */
const linearScores = (b: Builder, x: Value, m: Machine, rows: number): Value =>
  b.add(b.matmul(x, matrix(b, m.coefficients, rows, featureCount(x)), { transposeY: true }), m.rho[0] ?? 0);

interface Regressor extends Machine {
  readonly count: number;
  readonly oneClass: boolean;
}

const SVMRegressor = op('svm_regressor', {
  doc: 'A weighted sum of kernel values with the support vectors, or a linear function; of one class, its sign.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:SVMRegressor@1': (n): Regressor => ({
      ...machine(n),
      count: n.int('n_supports', 0),
      oneClass: n.bool('one_class', false),
    }),
  },
  lower: ({ x }, m: Regressor, b) => {
    const rows = rowsOf(b, x);
    const weighted = (): Value =>
      b.add(b.matmul(kernelValues(b, rows, m, m.count), matrix(b, m.coefficients, m.count, 1)), m.rho[0] ?? 0);
    const score = m.count > 0 ? weighted() : linearScores(b, rows, m, 1);
    if (m.oneClass) return b.map([score], (s) => e.select(e.gt(s, 0), 1, -1));
    return postTransform(b, score, m.post);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

interface Classifier extends Machine {
  readonly perClass: readonly number[];
  readonly labels: Labels;
  readonly probA: readonly number[];
  readonly probB: readonly number[];
}

/** Pairs of classes, in the order of `rho`. */
const pairsOf = (classes: number): readonly (readonly [number, number])[] =>
  Array.from({ length: classes }, (_, i) =>
    Array.from({ length: classes - i - 1 }, (_, j) => [i, i + 1 + j] as const),
  ).flat();

/** Coefficients of each pair over all support vectors: row j−1 for those of class i, row i for those of class j. */
function pairCoefficients(m: Classifier, pairs: readonly (readonly [number, number])[], count: number): number[] {
  const owner = m.perClass.flatMap((n, c) => Array.from({ length: n }, () => c));
  return pairs.flatMap(([i, j]) =>
    owner.map(
      (c, v) => (c === i ? m.coefficients[(j - 1) * count + v] : c === j ? m.coefficients[i * count + v] : 0) ?? 0,
    ),
  );
}

/** How many pairs each class wins: a sum above zero is a vote for the first of the two. */
function votes(b: Builder, scores: Value, pairs: readonly (readonly [number, number])[], classes: number): Value {
  const table = (k: 0 | 1): Value =>
    b.constant(
      fromNumbers(
        'i32',
        [pairs.length],
        pairs.map((p) => p[k]),
      ),
    );
  const [first, second] = [table(0), table(1)];
  return b.generic({
    shape: [scores.type.shape[0] as Dim, classes],
    reduce: [pairs.length],
    reducer: 'add',
    body: ([row, c], [p], read) => {
      const won = e.gt(read(scores, [row as Expr, p as Expr]), 0);
      return cast(e.eq(e.select(won, read(first, [p as Expr]), read(second, [p as Expr])), c as Expr), 'i32');
    },
  });
}

/** Scores of pairs, or one per class where there are probabilities; and the class. */
function compare(b: Builder, x: Value, m: Classifier, classes: number): { scores: Value; best: Value } {
  const count = m.perClass.reduce((s, n) => s + n, 0);
  const pairs = pairsOf(classes);
  if (m.rho.length < pairs.length || m.coefficients.length < (classes - 1) * count)
    throw new CompileError('E203', `${classes} classes of ${count} vectors need more coefficients or rho`);
  const weights = matrix(b, pairCoefficients(m, pairs, count), pairs.length, count);
  const sums = b.add(
    b.matmul(kernelValues(b, x, m, count), weights, { transposeY: true }),
    matrix(b, m.rho.slice(0, pairs.length), 1, pairs.length),
  );
  const best = bestColumn(b, votes(b, sums, pairs, classes));
  return m.probA.length === 0 ? { scores: sums, best } : { scores: coupledProbabilities(b, sums, m, classes), best };
}

/** One column is two, −s and s, unless its transform is that of a single probability. */
function finalScores(b: Builder, scores: Value, post: PostTransform, classes: number): Value {
  if (scores.type.shape[1] !== 1 || post === 'PROBIT') return postTransform(b, scores, post);
  if (classes < 2) return scores;
  return postTransform(
    b,
    twoColumns(b, scores, e.neg, (s) => s),
    post,
  );
}

/** The class of linear scores; of two, the second where nothing is negative and the best is at least a half. */
function linearBest(b: Builder, scores: Value, m: Classifier, classes: number): Value {
  if (classes < 2) return b.map([b.squeeze(scores, [1])], (s) => cast(e.gt(s, 0), 'i64'));
  const best = bestColumn(b, scores);
  if (classes > 2 || m.rho.length > 1 || m.coefficients.some((c) => c < 0)) return best;
  return b.map([b.reduce(scores, 'max', [1]), best], (s, c) => e.select(e.ge(s, 0.5), constant(1, 'i64'), c as Expr));
}

const SVMClassifier = op('svm_classifier', {
  doc: 'The class that wins most pairs (or the best linear score), with the pairs’ sums or a probability per class.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:SVMClassifier@1': (n): Classifier => ({
      ...machine(n),
      perClass: n.ints('vectors_per_class', []),
      labels: labelsOf(n, 'classlabels_ints', 'classlabels_strings'),
      probA: n.floats('prob_a', []),
      probB: n.floats('prob_b', []),
    }),
  },
  lower: ({ x }, m: Classifier, b) => {
    const rows = rowsOf(b, x);
    const classes = Math.max(1, labelCount(m.labels));
    if (m.perClass.some((n) => n > 0)) {
      const { scores, best } = compare(b, rows, m, classes);
      return [lookUpLabels(b, best, m.labels), finalScores(b, scores, m.post, classes)];
    }
    const scores = linearScores(b, rows, m, classes);
    const best = linearBest(b, scores, m, classes);
    return [labelCount(m.labels) < 2 ? best : lookUpLabels(b, best, m.labels), finalScores(b, scores, m.post, classes)];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [SVMRegressor, SVMClassifier];
