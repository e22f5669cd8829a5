// Reads and writes at positions that are data, and values made from sizes.

import { describe, expect, it } from 'vitest';
import { counting, f32, i32, i64, run } from './node-case.js';

describe('gather', () => {
  it('counts negative indices from the end', () => {
    expect(run({ op: 'Gather', attrs: { axis: 1 }, inputs: [counting([2, 3]), i64([2], -1, 0)] })).toMatchObject({
      shape: [2, 2],
      values: [2, 0, 5, 3],
    });
    expect(
      run({ op: 'GatherElements', attrs: { axis: 1 }, inputs: [counting([2, 3]), i64([2, 1], -1, 0)] }).values,
    ).toEqual([2, 3]);
    expect(run({ op: 'GatherND', inputs: [counting([2, 3]), i64([2, 2], -1, 0, 0, -1)] }).values).toEqual([3, 2]);
  });

  it('goes along batch axes', () => {
    const inputs = [counting([2, 3]), i32([2, 2], 2, 0, 1, 1)];
    expect(run({ format: 'tflite', op: 'GATHER', attrs: { axis: 1, batch_dims: 1 }, inputs })).toMatchObject({
      shape: [2, 2],
      values: [2, 0, 4, 4],
    });
    expect(
      run({ op: 'GatherND', attrs: { batch_dims: 1 }, inputs: [counting([2, 3]), i64([2, 1], 2, 0)] }).values,
    ).toEqual([2, 3]);
  });

  it('encodes positions, in range or not', () => {
    const inputs = [i64([3], 1, -1, 7), i64([], 3), f32([2], 0, 5)];
    expect(run({ op: 'OneHot', inputs, constants: [1] })).toMatchObject({
      shape: [3, 3],
      values: [0, 5, 0, 0, 0, 5, 0, 0, 0],
    });
    const tfl = [i32([2], 1, -1), i32([], 2), f32([], 1), f32([], 0)];
    expect(run({ format: 'tflite', op: 'ONE_HOT', attrs: { axis: -1 }, inputs: tfl, constants: [1] }).values).toEqual([
      0, 1, 0, 0,
    ]);
  });
});

describe('scatter', () => {
  it('combines duplicates in order', () => {
    const inputs = [f32([3], 1, 1, 1), i64([3], 1, 1, -1), f32([3], 10, 20, 30)];
    const scatter = (reduction: string) =>
      run({ op: 'ScatterElements', opset: 18, attrs: { reduction }, inputs }).values;
    expect(scatter('none')).toEqual([1, 20, 30]);
    expect(scatter('add')).toEqual([1, 31, 31]);
    expect(scatter('mul')).toEqual([1, 200, 30]);
    expect(scatter('max')).toEqual([1, 20, 30]);
  });

  it('clamps the start of an updated block', () => {
    const inputs = [counting([4]), f32([2], 8, 9), i32([1], 7)];
    expect(run({ format: 'tflite', op: 'DYNAMIC_UPDATE_SLICE', inputs }).values).toEqual([0, 1, 8, 9]);
  });

  it('wraps a circular cache', () => {
    const inputs = [f32([1, 3, 1], 0, 0, 0), f32([1, 2, 1], 7, 8), i64([1], 2)];
    expect(run({ op: 'TensorScatter', opset: 24, attrs: { mode: 'circular' }, inputs }).values).toEqual([8, 0, 7]);
  });
});

describe('creation', () => {
  it('counts up and down', () => {
    const range = (...v: readonly number[]) =>
      run({ op: 'Range', inputs: v.map((x) => f32([], x)), constants: [0, 1, 2] }).values;
    expect(range(1, 2, 0.25)).toEqual([1, 1.25, 1.5, 1.75]);
    expect(range(3, -1, -2)).toEqual([3, 1]);
    expect(range(3, 3, 1)).toEqual([]);
  });

  it('keeps diagonals, also at extreme offsets', () => {
    const inputs = [counting([2, 3]), i64([], 1)];
    expect(run({ op: 'Trilu', inputs }).values).toEqual([0, 1, 2, 0, 0, 5]);
    expect(run({ op: 'Trilu', attrs: { upper: 0 }, inputs: [counting([2, 3]), i64([], 2 ** 40)] }).values).toEqual([
      0, 1, 2, 3, 4, 5,
    ]);
  });
});
