// Reductions: what axes mean, empty sets, running sums; axes that only the running program knows.

import { describe, expect, it } from 'vitest';
import { counting, f32, i32, i64, of, run } from './node-case.js';

const x = counting([2, 3, 2]);

describe('axes', () => {
  it.each([
    ['attribute', { op: 'ReduceSum', opset: 11, attrs: { axes: [1], keepdims: 0 }, inputs: [x] }],
    ['constant', { op: 'ReduceSum', attrs: { keepdims: 0 }, inputs: [x, i64([1], -2)], constants: [1] }],
    ['read at run time', { op: 'ReduceSum', attrs: { keepdims: 0 }, inputs: [x, i64([1], -2)] }],
  ])('as %s', (_, c) => {
    expect(run(c)).toMatchObject({ shape: [2, 2], values: [6, 9, 24, 27] });
  });

  it('read at run time keep reduced axes, and divide by their count', () => {
    const c = { op: 'ReduceMean', inputs: [x, i64([2], 0, 2)] };
    expect(run(c)).toMatchObject({ shape: [1, 3, 1], values: [3.5, 5.5, 7.5] });
  });

  it('none mean all, unless noop_with_empty_axes', () => {
    const inputs = [x, i64([0])];
    expect(run({ op: 'ReduceSum', inputs })).toMatchObject({ shape: [1, 1, 1], values: [66] });
    expect(
      run({ op: 'ReduceSumSquare', attrs: { noop_with_empty_axes: 1 }, inputs: [f32([2], 2, 3), i64([0])] }).values,
    ).toEqual([4, 9]);
    expect(
      run({ format: 'tflite', op: 'SUM', attrs: { keep_dims: false }, inputs: [x, i32([0])], constants: [1] }).shape,
    ).toEqual([2, 3, 2]);
  });
});

describe('empty sets and extremes', () => {
  it('give the neutral element', () => {
    const empty = f32([2, 0]);
    const over = (op: string) =>
      run({ op, inputs: [empty, i64([1], 1)], constants: [1], attrs: { keepdims: 0 } }).values;
    expect(over('ReduceSum')).toEqual([0, 0]);
    expect(over('ReduceProd')).toEqual([1, 1]);
    expect(over('ReduceMax')).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
    expect(over('ReduceLogSumExp')).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  });

  it('keep LogSumExp finite for large numbers', () => {
    const out = run({ op: 'ReduceLogSumExp', attrs: { keepdims: 0 }, inputs: [f32([2], 1000, 1000)] });
    expect(out.values[0]).toBeCloseTo(1000 + Math.LN2, 3);
  });

  it('take truth values', () => {
    expect(run({ op: 'ReduceMax', attrs: { keepdims: 0 }, inputs: [of('i1', [3], 0, 1, 0)] })).toMatchObject({
      dtype: 'i1',
      values: [1],
    });
  });

  it('find the first or the last of equal maxima', () => {
    const inputs = [f32([1, 4], 1, 3, 3, 0)];
    expect(run({ op: 'ArgMax', attrs: { axis: 1, keepdims: 0 }, inputs }).values).toEqual([1]);
    expect(run({ op: 'ArgMax', attrs: { axis: 1, keepdims: 0, select_last_index: 1 }, inputs }).values).toEqual([2]);
  });
});

describe('running sums', () => {
  /** Whole numbers small enough that every partial sum is exact. */
  const line = (n: number): number[] => Array.from({ length: n }, (_, k) => ((k * 7) % 13) - 6);
  const expected = (v: readonly number[], exclusive: boolean, reverse: boolean): number[] => {
    const order = reverse ? [...v].reverse() : v;
    let total = 0;
    const sums = order.map((p) => {
      const before = total;
      total += p;
      return exclusive ? before : total;
    });
    return reverse ? sums.reverse() : sums;
  };

  it.each([1, 16, 17, 31, 33, 257, 1000])('of %i elements, in blocks or directly', (n) => {
    for (const exclusive of [0, 1])
      for (const reverse of [0, 1]) {
        const c = { op: 'CumSum', attrs: { exclusive, reverse }, inputs: [f32([n], ...line(n)), i64([], 0)] };
        const want = expected(line(n), exclusive === 1, reverse === 1);
        expect(run({ ...c, constants: [1] }).values).toEqual(want);
        if (n < 40) expect(run(c).values).toEqual(want);
      }
  });

  it('along an inner axis of symbolic size', () => {
    const inputs = [counting([2, 40]), i64([], 1)];
    const row = Array.from({ length: 40 }, (_, k) => (k * (k + 1)) / 2);
    const out = run({ op: 'CumSum', inputs, constants: [1], symbols: ['0.1'] });
    expect(out.values.slice(0, 40)).toEqual(row);
    expect(out.values.slice(40)).toEqual(row.map((s, k) => s + 40 * (k + 1)));
  });
});
