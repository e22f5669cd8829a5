// ai.onnx.ml's tree ensembles: the parallel lists of each operator become one Ensemble (trees.ts).

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { toNumbers } from '../../support/tensor.js';
import {
  bestColumn,
  featureRows,
  type Labels,
  labelCount,
  labelsOf,
  lookUpLabels,
  POST_TRANSFORMS,
  type PostTransform,
  postTransform,
  postTransformOf,
  twoColumns,
} from './ml-scores.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { type Aggregate, type Ensemble, MODES, type Mode, type TreeNode, treeScores } from './trees.js';

/** A list of numbers given as floats, or since version 3 as a tensor. */
const numbers = (n: NodeReader, name: string): readonly number[] => {
  const t = n.tensor(`${name}_as_tensor`);
  return t ? Array.from(toNumbers(t)) : n.floats(name, []);
};

/** Nodes and roots of the operators up to version 3, whose nodes are named by tree and number. */
function classicEnsemble(n: NodeReader, prefix: 'class' | 'target', targets: number): Ensemble {
  const trees = n.ints('nodes_treeids', []);
  const ids = n.ints('nodes_nodeids', []);
  const key = (tree: number, id: number): string => `${tree}/${id}`;
  const index = new Map(ids.map((id, k) => [key(trees[k] ?? 0, id), k]));
  const find = (tree: number, id: number): number => index.get(key(tree, id)) ?? -1;
  const weights = leafWeights(n, prefix, find);
  const [modes, features, values] = [
    n.strings('nodes_modes', []),
    n.ints('nodes_featureids', []),
    numbers(n, 'nodes_values'),
  ];
  const [yes, no] = [n.ints('nodes_truenodeids', []), n.ints('nodes_falsenodeids', [])];
  const missing = n.ints('nodes_missing_value_tracks_true', []);
  const nodes = ids.map((_, k): TreeNode => {
    const tree = trees[k] ?? 0;
    const mode = modes[k] ?? 'LEAF';
    if (mode === 'LEAF') return { kind: 'leaf', weights: weights.get(k) ?? [] };
    if (!MODES.includes(mode as Mode)) throw new CompileError('E203', `node mode ${mode} is not defined`);
    return {
      kind: 'branch',
      mode: mode as Mode,
      feature: features[k] ?? 0,
      value: values[k] ?? 0,
      whenTrue: find(tree, yes[k] ?? -1),
      whenFalse: find(tree, no[k] ?? -1),
      nanIsTrue: missing[k] === 1,
    };
  });
  // The first node listed of a tree is its root.
  const roots = trees.flatMap((t, k) => (trees.indexOf(t) === k ? [k] : []));
  return { nodes, roots, targets };
}

function leafWeights(n: NodeReader, prefix: 'class' | 'target', find: (tree: number, id: number) => number) {
  const [trees, ids, targets] = [
    n.ints(`${prefix}_treeids`, []),
    n.ints(`${prefix}_nodeids`, []),
    n.ints(`${prefix}_ids`, []),
  ];
  const all = new Map<number, [number, number][]>();
  for (const [k, weight] of numbers(n, `${prefix}_weights`).entries()) {
    const node = find(trees[k] ?? 0, ids[k] ?? 0);
    const list = all.get(node) ?? [];
    list.push([targets[k] ?? 0, weight]);
    all.set(node, list);
  }
  return all;
}

interface RegressorAttrs {
  readonly ensemble: Ensemble;
  readonly aggregate: Aggregate;
  readonly base: readonly number[];
  readonly post: PostTransform;
}

const addBase = (b: Builder, scores: Value, base: readonly number[]): Value =>
  base.length === 0
    ? scores
    : b.add(
        scores,
        b.cast(b.constant({ dtype: 'f64', shape: [base.length], data: Float64Array.from(base) }), scores.type.dtype),
      );

const TreeRegressor = op('tree_ensemble_regressor', {
  doc: 'Sum, mean, least or greatest of what the leaves reached in every tree say, per target.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:TreeEnsembleRegressor@1': (n): RegressorAttrs => ({
      ensemble: classicEnsemble(n, 'target', n.int('n_targets', 1)),
      aggregate: n.string('aggregate_function', 'SUM') as Aggregate,
      base: numbers(n, 'base_values'),
      post: postTransformOf(n),
    }),
  },
  lower: ({ x }, a: RegressorAttrs, b) => {
    const scores = addBase(b, treeScores(b, featureRows(b, x), a.ensemble, a.aggregate), a.base);
    return b.cast(postTransform(b, scores, a.post), 'f32');
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

interface ClassifierAttrs {
  readonly ensemble: Ensemble;
  readonly base: readonly number[];
  readonly labels: Labels;
  readonly post: PostTransform;
  /** Of two classes, the one leaves score alone: the first stands for both. */
  readonly only: number | undefined;
  readonly allPositive: boolean;
}

function classifier(n: NodeReader): ClassifierAttrs {
  const labels = labelsOf(n, 'classlabels_int64s', 'classlabels_strings');
  const ids = new Set(n.ints('class_ids', []));
  const count = labelCount(labels);
  const only = count === 2 && ids.size === 1 ? [...ids][0] : undefined;
  const full = classicEnsemble(n, 'class', count);
  const single = (node: TreeNode): TreeNode =>
    node.kind === 'leaf' ? { kind: 'leaf', weights: node.weights.map(([, w]) => [0, w] as const) } : node;
  return {
    ensemble: only !== undefined ? { ...full, nodes: full.nodes.map(single), targets: 1 } : full,
    base: numbers(n, 'base_values'),
    labels,
    post: postTransformOf(n),
    only,
    allPositive: numbers(n, 'class_weights').every((w) => w >= 0),
  };
}

/** Scores and label of two classes from one score, as onnxruntime has it: a probability if all weights are positive. */
function binaryScores(b: Builder, score: Value, a: ClassifierAttrs): readonly [Value, Value] {
  const positive = b.map([b.squeeze(score, [1])], (s) => cast(e.gt(s, a.allPositive ? 0.5 : 0), 'i64'));
  if (a.only === 1)
    return [
      positive,
      postTransform(
        b,
        twoColumns(
          b,
          score,
          (s) => e.mul(s, 0),
          (s) => s,
        ),
        a.post,
      ),
    ];
  if (a.post === 'PROBIT') return [positive, postTransform(b, score, 'PROBIT')];
  if (a.allPositive)
    return [
      positive,
      twoColumns(
        b,
        score,
        (s) => e.sub(1, s),
        (s) => s,
      ),
    ];
  if (a.post === 'LOGISTIC')
    return [
      positive,
      twoColumns(
        b,
        score,
        (s) => e.sigmoid(e.neg(s)),
        (s) => e.sigmoid(s),
      ),
    ];
  return [
    positive,
    twoColumns(
      b,
      score,
      (s) => e.neg(s),
      (s) => s,
    ),
  ];
}

const TreeClassifier = op('tree_ensemble_classifier', {
  doc: 'Class scores summed over the leaves reached in every tree, and the label of the best.',
  inputs: ['x'],
  onnx: { 'ai.onnx.ml:TreeEnsembleClassifier@1': classifier },
  lower: ({ x }, a: ClassifierAttrs, b) => {
    const sums = treeScores(b, featureRows(b, x), a.ensemble, 'SUM');
    if (a.only !== undefined) {
      const [at, scores] = binaryScores(b, addBase(b, sums, a.base.slice(-1)), a);
      return [lookUpLabels(b, at, a.labels), b.cast(scores, 'f32')];
    }
    const scores = addBase(b, sums, a.base);
    return [lookUpLabels(b, bestColumn(b, scores), a.labels), b.cast(postTransform(b, scores, a.post), 'f32')];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const AGGREGATES: readonly Aggregate[] = ['AVERAGE', 'SUM', 'MIN', 'MAX'];

/** Version 5: nodes and leaves in separate lists; a membership node tests a set. */
function ensemble5(n: NodeReader): Ensemble {
  const tensorOf = (name: string): readonly number[] => {
    const t = n.tensor(name);
    return t ? Array.from(toNumbers(t)) : [];
  };
  const [splits, modes] = [tensorOf('nodes_splits'), tensorOf('nodes_modes')];
  const [features, missing] = [n.ints('nodes_featureids'), n.ints('nodes_missing_value_tracks_true', [])];
  const [yes, yesLeaf, no, noLeaf] = [
    'nodes_truenodeids',
    'nodes_trueleafs',
    'nodes_falsenodeids',
    'nodes_falseleafs',
  ].map((name) => n.ints(name)) as [readonly number[], readonly number[], readonly number[], readonly number[]];
  const sets = memberSets(tensorOf('membership_values'));
  const weights = tensorOf('leaf_weights');
  const leaves = n
    .ints('leaf_targetids')
    .map((target, k): TreeNode => ({ kind: 'leaf', weights: [[target, weights[k] ?? 0]] }));
  const count = features.length;
  const child = (id: number, leaf: number): number => (leaf ? count + id : id);
  const extra: TreeNode[] = [];
  const nodes = features.map((feature, k): TreeNode => {
    const whenTrue = child(yes[k] ?? 0, yesLeaf[k] ?? 0);
    const whenFalse = child(no[k] ?? 0, noLeaf[k] ?? 0);
    const nanIsTrue = missing[k] === 1;
    const mode = modes[k] ?? 0;
    if (mode < MODES.length)
      return {
        kind: 'branch',
        mode: MODES[mode] as Mode,
        feature,
        value: splits[k] ?? 0,
        whenTrue,
        whenFalse,
        nanIsTrue,
      };
    // x ∈ {a, b, …}: x = a, else x = b, else …
    const set = sets.shift() ?? [];
    const chain = (j: number): TreeNode => {
      const next = j + 1 < set.length ? count + leaves.length + extra.push(chain(j + 1)) - 1 : whenFalse;
      return {
        kind: 'branch',
        mode: 'BRANCH_EQ',
        feature,
        value: set[j] ?? Number.NaN,
        whenTrue,
        whenFalse: next,
        nanIsTrue,
      };
    };
    return chain(0);
  });
  return { nodes: [...nodes, ...leaves, ...extra], roots: n.ints('tree_roots'), targets: n.int('n_targets', 1) };
}

/** Sets of values, each ended by NaN. */
function memberSets(values: readonly number[]): number[][] {
  const sets: number[][] = [[]];
  for (const v of values) Number.isNaN(v) ? sets.push([]) : sets.at(-1)?.push(v);
  return sets;
}

const TreeEnsemble = op('tree_ensemble', {
  doc: 'Tree ensemble of version 5: any comparison or set membership, per-target sums, means or extremes.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:TreeEnsemble@5': (n): RegressorAttrs => ({
      ensemble: ensemble5(n),
      aggregate: AGGREGATES[n.int('aggregate_function', 1)] ?? 'SUM',
      base: [],
      post: POST_TRANSFORMS[n.int('post_transform', 0)] ?? 'NONE',
    }),
  },
  lower: ({ x }, a: RegressorAttrs, b) =>
    b.cast(postTransform(b, treeScores(b, featureRows(b, x), a.ensemble, a.aggregate), a.post), x.type.dtype),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [TreeRegressor, TreeClassifier, TreeEnsemble];
