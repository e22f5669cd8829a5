// Arithmetic, logic, bits and conversions where the definitions are easy to get wrong.

import { describe, expect, it } from 'vitest';
import { counting, f32, i32, i64, of, run } from './node-case.js';

describe('broadcasting', () => {
  it('follows numpy from opset 7 on', () => {
    expect(run({ op: 'Add', inputs: [f32([2, 1], 1, 2), f32([3], 10, 20, 30)] })).toMatchObject({
      shape: [2, 3],
      values: [11, 21, 31, 12, 22, 32],
    });
  });

  it('places the second operand at `axis` before', () => {
    const inputs = [counting([2, 3, 2]), f32([3], 100, 200, 300)];
    const out = run({ op: 'Add', opset: 6, attrs: { broadcast: 1, axis: 1 }, inputs });
    expect(out.values).toEqual([100, 101, 202, 203, 304, 305, 106, 107, 208, 209, 310, 311]);
  });

  it('compares sizes that are only known at run time', () => {
    const c = { op: 'Mul', inputs: [f32([3], 1, 2, 3), f32([1], 5)], symbols: ['0.0', '1.0'] };
    expect(run(c)).toMatchObject({ shape: [3], values: [5, 10, 15] });
  });
});

describe('integer arithmetic', () => {
  it('truncates quotients', () => {
    expect(run({ op: 'Div', inputs: [i32([4], -7, 7, -7, 7), i32([4], 2, 2, -2, -2)] }).values).toEqual([-3, 3, 3, -3]);
  });

  it('floors in FLOOR_DIV and FLOOR_MOD', () => {
    const inputs = [i32([4], -7, 7, -7, 7), i32([4], 2, 2, -2, -2)];
    expect(run({ format: 'tflite', op: 'FLOOR_DIV', inputs }).values).toEqual([-4, 3, 3, -4]);
    expect(run({ format: 'tflite', op: 'FLOOR_MOD', inputs }).values).toEqual([1, 1, -1, -1]);
  });

  it('gives Mod the sign of the divisor, with fmod that of the dividend', () => {
    const inputs = [i64([2], -4, 7), i64([2], 3, -3)];
    expect(run({ op: 'Mod', inputs }).values).toEqual([2, -2]);
    expect(run({ op: 'Mod', attrs: { fmod: 1 }, inputs }).values).toEqual([-1, 1]);
    expect(run({ format: 'tflite', op: 'FLOOR_MOD', inputs: [f32([2], -4.5, 4.5), f32([2], 3, -3)] }).values).toEqual([
      1.5, -1.5,
    ]);
  });

  it('raises whole numbers to whole powers exactly, whatever the exponent’s type', () => {
    const x = i32([5], 3, -2, 2, -1, 7);
    expect(run({ op: 'Pow', inputs: [x, i64([5], 6, 3, 0, 101, -1)] }).values).toEqual([729, -8, 1, -1, 0]);
    expect(run({ op: 'Pow', inputs: [x, f32([5], 6, 3, 0, 101, 0.5)] }).values).toEqual([729, -8, 1, -1, 2]);
    expect(run({ op: 'Pow', inputs: [i32([1], 9), f32([], 0.5)] }).values).toEqual([3]);
  });

  it('wraps narrow types', () => {
    expect(run({ op: 'Add', inputs: [of('u8', [2], 250, 1), of('u8', [2], 10, 1)] }).values).toEqual([4, 2]);
  });

  it('clips in every type, with bounds as attributes or inputs', () => {
    expect(run({ op: 'Clip', opset: 6, attrs: { min: -1.5, max: 1.5 }, inputs: [f32([3], -2, 0, 2)] }).values).toEqual([
      -1.5, 0, 1.5,
    ]);
    expect(run({ op: 'Clip', inputs: [of('i8', [3], -100, 0, 100), null, of('i8', [], 5)] }).values).toEqual([
      -100, 0, 5,
    ]);
  });
});

describe('bits', () => {
  it('shifts by the width or more to zero', () => {
    const inputs = [of('u8', [3], 255, 255, 255), of('u8', [3], 1, 7, 8)];
    expect(run({ op: 'BitShift', attrs: { direction: 'LEFT' }, inputs }).values).toEqual([254, 128, 0]);
    expect(run({ op: 'BitShift', attrs: { direction: 'RIGHT' }, inputs }).values).toEqual([127, 1, 0]);
  });

  it('reinterprets wide elements as several narrow ones and back', () => {
    const declared = [{ dtype: 'u8', shape: [1, 4] }] as const;
    const narrow = run({ format: 'tflite', op: 'BITCAST', inputs: [i32([1], 0x04030201)], declared });
    expect(narrow).toMatchObject({ dtype: 'u8', shape: [1, 4], values: [1, 2, 3, 4] });
    const wide = run({
      format: 'tflite',
      op: 'BITCAST',
      inputs: [of('u8', [1, 4], 1, 2, 3, 4)],
      declared: [{ dtype: 'i32', shape: [1] }],
    });
    expect(wide).toMatchObject({ dtype: 'i32', shape: [1], values: [0x04030201] });
  });
});

describe('conversions', () => {
  const bits = (c: Parameters<typeof run>[0]): readonly number[] => run(c).values;
  const to = { e4m3fn: 17, e5m2: 19, e8m0: 24, f32: 1 };

  it('saturates 8-bit floats unless told not to', () => {
    const inputs = [f32([4], 464, 465, -1e6, 1)];
    expect(bits({ op: 'Cast', attrs: { to: to.e4m3fn }, inputs })).toEqual([448, 448, -448, 1]);
    expect(bits({ op: 'Cast', attrs: { to: to.e4m3fn, saturate: 0 }, inputs })).toEqual([
      448,
      Number.NaN,
      Number.NaN,
      1,
    ]);
    expect(bits({ op: 'Cast', attrs: { to: to.e5m2, saturate: 0 }, inputs: [f32([2], 61440, -61440)] })).toEqual([
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
  });

  it('rounds powers of two as asked', () => {
    const inputs = [f32([3], 5, 6, 7)];
    const rounded = (round_mode: string) => bits({ op: 'Cast', opset: 24, attrs: { to: to.e8m0, round_mode }, inputs });
    expect(rounded('up')).toEqual([8, 8, 8]);
    expect(rounded('down')).toEqual([4, 4, 4]);
    expect(rounded('nearest')).toEqual([4, 8, 8]);
  });

  it('reads the type names of opset 1', () => {
    expect(run({ op: 'Cast', opset: 1, attrs: { to: 'INT32' }, inputs: [f32([2], 1.9, -1.9)] })).toMatchObject({
      dtype: 'i32',
      values: [1, -1],
    });
  });
});

describe('activations', () => {
  it('do not overflow', () => {
    expect(run({ op: 'Softplus', inputs: [f32([3], -200, 0, 200)] }).values).toEqual([
      0,
      expect.closeTo(Math.LN2, 6) as never,
      200,
    ]);
    expect(run({ op: 'Elu', inputs: [f32([2], 200, -200)] }).values).toEqual([200, -1]);
  });

  it('flatten at `axis` before opset 13', () => {
    const x = f32([1, 2, 2], 0, 0, 0, 0);
    expect(run({ op: 'Softmax', opset: 11, inputs: [x] }).values).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(run({ op: 'Softmax', opset: 13, inputs: [x] }).values).toEqual([0.5, 0.5, 0.5, 0.5]);
  });

  it('take one slope per channel in opset 1', () => {
    const inputs = [f32([1, 2, 2], -1, -2, -3, -4), f32([2], 10, 100)];
    expect(run({ op: 'PRelu', opset: 6, inputs }).values).toEqual([-10, -20, -300, -400]);
  });
});
