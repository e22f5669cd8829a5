// Pooling: what counts at the edges.

import { describe, expect, it } from 'vitest';
import { counting, f32, run, runNode } from './node-case.js';

const x = f32([1, 1, 4], 1, 2, 3, 4);

describe('pooling', () => {
  it('never lets padding win a maximum', () => {
    const inputs = [f32([1, 1, 2], -5, -7)];
    expect(run({ op: 'MaxPool', attrs: { kernel_shape: [2], pads: [1, 1] }, inputs }).values).toEqual([-5, -5, -7]);
  });

  it('reports positions in the whole input, in either order', () => {
    const c = { op: 'MaxPool', outputs: 2, inputs: [counting([1, 2, 2, 3])] };
    expect(runNode({ ...c, attrs: { kernel_shape: [2, 2] } })[1]?.values).toEqual([4, 5, 10, 11]);
    expect(runNode({ ...c, attrs: { kernel_shape: [2, 2], storage_order: 1 } })[1]?.values).toEqual([3, 5, 9, 11]);
  });

  it('drops a last window that would start on padding', () => {
    const attrs = { kernel_shape: [1], strides: [2], pads: [0, 1], ceil_mode: 1 };
    expect(run({ op: 'MaxPool', attrs, inputs: [f32([1, 1, 2], 1, 2)] }).shape).toEqual([1, 1, 1]);
  });

  it('averages over the elements inside, or over padding too', () => {
    const attrs = { kernel_shape: [3], pads: [1, 1] };
    expect(run({ op: 'AveragePool', attrs, inputs: [x] }).values).toEqual([1.5, 2, 3, 3.5]);
    const all = run({ op: 'AveragePool', attrs: { ...attrs, count_include_pad: 1 }, inputs: [x] }).values;
    expect(all[0]).toBeCloseTo(1);
    expect(all[3]).toBeCloseTo(7 / 3);
  });

  it('counts padding but not what a ceiling adds beyond it', () => {
    const attrs = { kernel_shape: [3], strides: [2], pads: [0, 1], ceil_mode: 1, count_include_pad: 1 };
    expect(run({ op: 'AveragePool', attrs, inputs: [f32([1, 1, 3], 3, 6, 9)] }).values).toEqual([6, 4.5]);
  });

  it('puts maxima back, in the shape asked for', () => {
    const c = { op: 'MaxUnpool', attrs: { kernel_shape: [2], strides: [2] } };
    const pooled = runNode({ op: 'MaxPool', outputs: 2, attrs: { kernel_shape: [2], strides: [2] }, inputs: [x] });
    expect(pooled.map((r) => r.values)).toEqual([
      [2, 4],
      [1, 3],
    ]);
    const inputs = [f32([1, 1, 2], 2, 4), { dtype: 'i64' as const, shape: [1, 1, 2], data: BigInt64Array.of(1n, 3n) }];
    expect(run({ ...c, inputs }).values).toEqual([0, 2, 0, 4]);
  });
});
