// Attention operators: masks, caches, shared heads, rotation; classical models; spectra.

import { describe, expect, it } from 'vitest';
import { f32, i64, of, run, runNode } from './node-case.js';

const close = (got: readonly number[], want: readonly number[]): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, k) => {
    expect(v).toBeCloseTo(want[k] as number, 5);
  });
};

describe('Attention', () => {
  const q = f32([1, 1, 2, 1], 0, 0);
  const k = f32([1, 1, 3, 1], 1, 2, 3);
  const v = f32([1, 1, 3, 1], 3, 6, 9);
  const at = { op: 'Attention', opset: 23 };

  it('averages values when scores are equal', () => {
    close(run({ ...at, inputs: [q, k, v] }).values, [6, 6]);
  });

  it('gives zero to a row that may see nothing', () => {
    const mask = of('i1', [2, 3], 0, 0, 0, 1, 0, 1);
    close(run({ ...at, inputs: [q, k, v, mask] }).values, [0, 6]);
  });

  it('counts causal positions behind the cache', () => {
    const past = f32([1, 1, 1, 1], 1);
    const inputs = [q, f32([1, 1, 2, 1], 2, 3), f32([1, 1, 2, 1], 6, 9), null, past, f32([1, 1, 1, 1], 3)];
    const [y, keys] = runNode({ ...at, attrs: { is_causal: 1 }, outputs: 2, inputs });
    close(y?.values ?? [], [4.5, 6]);
    expect(keys?.values).toEqual([1, 2, 3]);
  });

  it('lets consecutive query heads share a key head', () => {
    const queries = f32([1, 4, 1, 1], 0, 0, 0, 0);
    const inputs = [queries, f32([1, 2, 1, 1], 1, 1), f32([1, 2, 1, 1], 5, 7)];
    close(run({ ...at, inputs }).values, [5, 5, 7, 7]);
  });

  it('reads lengths and spans from com.microsoft’s mask_index', () => {
    const w = f32([1, 3], 0, 0, 1);
    const x = f32([1, 3, 1], 3, 6, 9);
    const c = { op: 'Attention', domain: 'com.microsoft', opset: 1, attrs: { num_heads: 1 } };
    close(run({ ...c, inputs: [x, w, null, of('i32', [1], 2)] }).values, [4.5, 4.5, 4.5]);
    close(run({ ...c, inputs: [x, w, null, of('i32', [2], 3, 1)] }).values, [7.5, 7.5, 7.5]);
  });
});

describe('RotaryEmbedding', () => {
  const quarter = [f32([2, 1], 1, 0), f32([2, 1], 0, 1)] as const;
  it('turns halves or neighbours by the angle of the position', () => {
    const c = { op: 'RotaryEmbedding', opset: 23 };
    const x = f32([1, 1, 2, 2], 3, 4, 3, 4);
    close(run({ ...c, inputs: [x, ...quarter, i64([1, 2], 0, 1)] }).values, [3, 4, -4, 3]);
    close(run({ ...c, attrs: { interleaved: 1 }, inputs: [x, ...quarter, i64([1, 2], 1, 0)] }).values, [-4, 3, 3, 4]);
  });
});

describe('classical models', () => {
  const ml = { domain: 'ai.onnx.ml' };
  const tree = {
    nodes_treeids: [0, 0, 0],
    nodes_nodeids: [0, 1, 2],
    nodes_featureids: [0, 0, 0],
    nodes_modes: ['BRANCH_LEQ', 'LEAF', 'LEAF'],
    nodes_values: [0.5, 0, 0],
    nodes_truenodeids: [1, 0, 0],
    nodes_falsenodeids: [2, 0, 0],
    target_treeids: [0, 0],
    target_nodeids: [1, 2],
    target_ids: [0, 0],
    target_weights: [1.5, 2.5],
    n_targets: 1,
  };

  it('walks trees', () => {
    const c = { ...ml, op: 'TreeEnsembleRegressor', opset: 3, inputs: [f32([3, 1], 0, 0.5, 1)] };
    expect(run({ ...c, attrs: tree })).toMatchObject({ shape: [3, 1], values: [1.5, 1.5, 2.5] });
  });

  it('refuses trees that loop', () => {
    const attrs = { ...tree, nodes_truenodeids: [0, 0, 0] };
    const c = { ...ml, op: 'TreeEnsembleRegressor', opset: 3, inputs: [f32([1, 1], 0)] };
    expect(() => run({ ...c, attrs })).toThrow(/its own ancestor/);
  });

  it('refuses trees that test features nobody has', () => {
    const attrs = { ...tree, nodes_featureids: [3, 0, 0] };
    const c = { ...ml, op: 'TreeEnsembleRegressor', opset: 3, inputs: [f32([1, 2], 0, 0)] };
    expect(() => run({ ...c, attrs })).toThrow(/feature 3 of 2/);
  });

  it('labels the best class', () => {
    const attrs = { coefficients: [1, -1], intercepts: [0.5, 0.5], classlabels_ints: [7, 9] };
    const inputs = [f32([2, 1], 2, -2)];
    const [label, scores] = runNode({ ...ml, op: 'LinearClassifier', opset: 1, attrs, outputs: 2, inputs });
    expect(label?.values).toEqual([7, 9]);
    expect(scores?.values).toEqual([2.5, -1.5, -1.5, 2.5]);
  });
});

describe('DFT', () => {
  it('inverts itself, one-sided too', () => {
    const x = f32([1, 5, 1], 1, -2, 3, 0.5, 4);
    const spectrum = run({ op: 'DFT', opset: 17, attrs: { onesided: 1 }, inputs: [x] });
    expect(spectrum.shape).toEqual([1, 3, 2]);
    const inputs = [f32([1, 3, 2], ...spectrum.values), i64([], 5)];
    const back = run({ op: 'DFT', opset: 20, attrs: { onesided: 1, inverse: 1 }, inputs, constants: [1] });
    close(back.values, [1, -2, 3, 0.5, 4]);
  });

  it('is exact where the angles are', () => {
    const out = run({ op: 'DFT', opset: 17, inputs: [f32([1, 4, 1], 1, 2, 3, 4)] });
    expect(out.values).toEqual([10, 0, -2, 2, -2, 0, -2, -2]);
  });
});
