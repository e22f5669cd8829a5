// Shapes, slices, padding, joining: the corners of each format, with parameters folded, symbolic and read at run time.

import { describe, expect, it } from 'vitest';
import { counting, f32, i32, i64, of, run, runNode } from './node-case.js';

const INT_MAX = 2 ** 31 - 1;

describe('Reshape', () => {
  it('copies sizes for 0 and fills in −1', () => {
    expect(run({ op: 'Reshape', inputs: [counting([2, 3, 4]), i64([3], 0, -1, 2)], constants: [1] }).shape).toEqual([
      2, 6, 2,
    ]);
    expect(
      run({ op: 'Reshape', inputs: [counting([2, 3, 4]), i64([2], 0, -1)], constants: [1], symbols: ['0.0', '0.1'] })
        .shape,
    ).toEqual([2, 12]);
  });

  it('takes 0 at its word with allowzero', () => {
    expect(
      run({ op: 'Reshape', attrs: { allowzero: 1 }, inputs: [f32([0, 3]), i64([2], 3, 0)], constants: [1] }).shape,
    ).toEqual([3, 0]);
  });

  it('takes sizes from data, if they fit', () => {
    const c = { op: 'Reshape', inputs: [counting([2, 3]), i64([2], 3, 2)] };
    expect(run({ ...c, declared: [{ dtype: 'f32', shape: [3, 2] }] }).shape).toEqual([3, 2]);
    expect(run(c)).toEqual({ dtype: 'f32', shape: [3, 2], values: [0, 1, 2, 3, 4, 5] });
    expect(() => run({ ...c, inputs: [counting([2, 3]), i64([2], 3, 3)] })).toThrow(/excess/);
  });
});

describe('Squeeze and Unsqueeze', () => {
  it('find their axes at run time', () => {
    expect(run({ op: 'Squeeze', inputs: [counting([1, 3, 1, 2]), i64([1], -2)] }).shape).toEqual([1, 3, 2]);
    expect(run({ op: 'Unsqueeze', inputs: [counting([3, 2]), i64([2], -1, 0)] }).shape).toEqual([1, 3, 2, 1]);
  });
});

describe('Slice', () => {
  const x = counting([10]);
  const slice = (start: number, end: number, step: number, constant: boolean) =>
    run({
      op: 'Slice',
      inputs: [x, i64([1], start), i64([1], end), i64([1], 0), i64([1], step)],
      constants: constant ? [1, 2, 3, 4] : [],
    }).values;

  it.each([
    [2, 7, 1, [2, 3, 4, 5, 6]],
    [-3, INT_MAX, 1, [7, 8, 9]],
    [0, -1, 3, [0, 3, 6]],
    [-1, -INT_MAX, -4, [9, 5, 1]],
    [20, 0, -3, [9, 6, 3]],
    [5, 5, 1, []],
    [8, 2, 1, []],
    [3, 2 ** 40, 2, [3, 5, 7, 9]],
  ])('[%i:%i:%i], folded and at run time', (start, end, step, want) => {
    expect(slice(start, end, step, true)).toEqual(want);
    expect(slice(start, end, step, false)).toEqual(want);
  });

  it('reads attributes in opset 1, with axes implied', () => {
    const c = { op: 'Slice', opset: 1, attrs: { starts: [1, 0], ends: [2, -1] }, inputs: [counting([2, 3])] };
    expect(run(c)).toMatchObject({ shape: [1, 2], values: [3, 4] });
  });

  it('slices a symbolic axis whose size may be smaller than the slice', () => {
    const c = { op: 'Slice', inputs: [counting([4]), i64([1], -6), i64([1], -1)], constants: [1, 2], symbols: ['0.0'] };
    expect(run(c).values).toEqual([0, 1, 2]);
  });
});

describe('STRIDED_SLICE', () => {
  const x = counting([2, 3, 4]);
  const strided = (
    begin: number[],
    end: number[],
    strides: number[],
    attrs: Record<string, number | boolean>,
    constant = true,
  ) => {
    const v = (a: number[]) => i32([a.length], ...a);
    return run({
      format: 'tflite',
      op: 'STRIDED_SLICE',
      attrs,
      inputs: [x, v(begin), v(end), v(strides)],
      constants: constant ? [1, 2, 3] : [2, 3],
    });
  };

  it('honours every mask', () => {
    expect(strided([0, 1], [0, 2], [1, 1], { begin_mask: 1, end_mask: 1 })).toMatchObject({ shape: [2, 1, 4] });
    expect(strided([0, 0, 1], [0, 0, 2], [1, 1, 1], { ellipsis_mask: 2, end_mask: 1 })).toMatchObject({
      shape: [2, 3, 1],
    });
    expect(strided([0, 1], [0, 2], [1, 1], { new_axis_mask: 1 }).shape).toEqual([1, 1, 3, 4]);
    expect(strided([-1, 2], [0, 0], [1, 1], { shrink_axis_mask: 3 })).toMatchObject({
      shape: [4],
      values: [20, 21, 22, 23],
    });
    expect(strided([1, 1], [1, 2], [1, 1], { offset: true })).toMatchObject({ shape: [1, 2, 4] });
    expect(strided([0, 0, 3], [2, 3, -5], [1, 1, -2], {})).toMatchObject({ shape: [2, 3, 2] });
  });

  it('drops an axis at a position read at run time', () => {
    expect(strided([1, 0], [2, 0], [1, 1], { shrink_axis_mask: 1, begin_mask: 2, end_mask: 2 }, false)).toMatchObject({
      shape: [3, 4],
      values: [12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],
    });
  });
});

describe('Pad', () => {
  const x = f32([3], 1, 2, 3);
  const pad = (mode: string, before: number, after: number, constant: boolean) =>
    run({
      op: 'Pad',
      attrs: { mode },
      inputs: [x, i64([2], before, after)],
      constants: constant ? [1] : [],
      declared: [{ dtype: 'f32', shape: [3 + before + after] }],
    }).values;

  it.each([
    ['constant', 2, 1, [0, 0, 1, 2, 3, 0]],
    ['edge', 2, 1, [1, 1, 1, 2, 3, 3]],
    ['reflect', 2, 2, [3, 2, 1, 2, 3, 2, 1]],
    ['reflect', 4, 0, [1, 2, 3, 2, 1, 2, 3]],
    ['wrap', 4, 1, [3, 1, 2, 3, 1, 2, 3, 1]],
    ['constant', -1, 2, [2, 3, 0, 0]],
    ['edge', 1, -2, [1, 1]],
  ])('%s by %i and %i', (mode, before, after, want) => {
    expect(pad(mode, before, after, true)).toEqual(want);
    expect(pad(mode, before, after, false)).toEqual(want);
  });

  it('mirrors with and without the edge in TFLite', () => {
    const mirror = (mode: string) =>
      run({ format: 'tflite', op: 'MIRROR_PAD', attrs: { mode }, inputs: [x, i32([1, 2], 2, 2)], constants: [1] })
        .values;
    expect(mirror('REFLECT')).toEqual([3, 2, 1, 2, 3, 2, 1]);
    expect(mirror('SYMMETRIC')).toEqual([2, 1, 1, 2, 3, 3, 2]);
  });

  it('fills quantised tensors with the zero point', () => {
    const quant = { scale: Float32Array.of(0.5), zeroPoint: [-3], axis: 0 };
    const c = {
      format: 'tflite' as const,
      op: 'PAD',
      inputs: [of('i8', [2], 7, 8), i32([1, 2], 1, 0)],
      constants: [1],
      quant: { in0: quant, out0: quant },
      declared: [{ dtype: 'i8' as const, shape: [3] }],
    };
    expect(run(c)).toMatchObject({ dtype: 'i8', values: [-3, 7, 8] });
  });
});

describe('Concat, Split and Tile', () => {
  it('splits unevenly, the last part smaller', () => {
    const parts = runNode({ op: 'Split', attrs: { num_outputs: 3, axis: 0 }, inputs: [counting([7])], outputs: 3 });
    expect(parts.map((p) => p.values)).toEqual([[0, 1, 2], [3, 4, 5], [6]]);
  });

  it('splits by sizes in an attribute, an input, and with −1', () => {
    const sizes = (c: Parameters<typeof runNode>[0]) => runNode(c).map((p) => p.values.length);
    expect(sizes({ op: 'Split', opset: 2, attrs: { split: [1, 3] }, inputs: [counting([4])], outputs: 2 })).toEqual([
      1, 3,
    ]);
    expect(sizes({ op: 'Split', inputs: [counting([4]), i64([2], 1, 3)], outputs: 2 })).toEqual([1, 3]);
    const inputs = [counting([4]), i32([2], 1, -1), i32([], 0)];
    expect(
      sizes({ format: 'tflite', op: 'SPLIT_V', attrs: { num_splits: 2 }, inputs, constants: [1, 2], outputs: 2 }),
    ).toEqual([1, 3]);
  });

  it('requantises operands that have another scale', () => {
    const q = (scale: number, zero: number) => ({ scale: Float32Array.of(scale), zeroPoint: [zero], axis: 0 });
    const c = {
      format: 'tflite' as const,
      op: 'CONCATENATION',
      attrs: { axis: 0 },
      inputs: [of('u8', [2], 10, 250), of('u8', [1], 20)],
      quant: { in0: q(1, 0), in1: q(0.5, 10), out0: q(0.5, 10) },
      declared: [{ dtype: 'u8' as const, shape: [3] }],
    };
    expect(run(c).values).toEqual([30, 255, 20]);
  });

  it('tiles one axis in opset 1, all from opset 6', () => {
    const x = f32([1, 2], 1, 2);
    expect(run({ op: 'Tile', opset: 1, inputs: [x, i64([], 2), i64([], 1)], constants: [1, 2] }).values).toEqual([
      1, 2, 1, 2,
    ]);
    expect(run({ op: 'Tile', inputs: [x, i64([2], 2, 2)], constants: [1] })).toMatchObject({
      shape: [2, 4],
      values: [1, 2, 1, 2, 1, 2, 1, 2],
    });
  });
});

describe('an empty axis', () => {
  const zeros = (n: number): number[] => Array.from({ length: n }, () => 0);

  it.each(['edge', 'reflect', 'wrap'])('is padded with zeros in mode %s, as there is nothing to repeat', (mode) => {
    const x = f32([0, 2]);
    const pads = i64([4], 1, 0, 1, 0);
    expect(run({ op: 'Pad', attrs: { mode }, inputs: [x, pads], constants: [1] })).toEqual({
      dtype: 'f32',
      shape: [2, 2],
      values: zeros(4),
    });
  });

  it('has no border to sample', () => {
    const grid = f32([1, 1, 2, 2], 0, 0, 0.5, -0.5);
    const c = { op: 'GridSample', attrs: { padding_mode: 'border' }, inputs: [f32([1, 1, 0, 3]), grid] };
    expect(run(c).values).toEqual(zeros(2));
  });
});
