// Quantisation: rounding, saturation, granularity, and operators on quantised tensors.

import { describe, expect, it } from 'vitest';
import { f32, of, run, runNode } from './node-case.js';

describe('QuantizeLinear and DequantizeLinear', () => {
  it('rounds halves to even and saturates', () => {
    const inputs = [f32([6], 0.5, 1.5, 2.5, -0.5, 300, -300), f32([], 1), of('i8', [], 0)];
    expect(run({ op: 'QuantizeLinear', inputs }).values).toEqual([0, 2, 2, 0, 127, -128]);
  });

  it('takes scales per axis and per block', () => {
    const x = of('u8', [2, 4], 10, 20, 30, 40, 50, 60, 70, 80);
    const perAxis = [x, f32([4], 1, 2, 3, 4), of('u8', [4], 0, 0, 0, 10)];
    expect(run({ op: 'DequantizeLinear', attrs: { axis: -1 }, inputs: perAxis }).values).toEqual([
      10, 40, 90, 120, 50, 120, 210, 280,
    ]);
    const blocked = [x, f32([2, 2], 1, 2, 3, 4)];
    expect(run({ op: 'DequantizeLinear', attrs: { axis: 1, block_size: 2 }, inputs: blocked }).values).toEqual([
      10, 20, 60, 80, 150, 180, 280, 320,
    ]);
  });

  it('saturates 8-bit floats unless told not to', () => {
    const inputs = [f32([3], 1000, -1000, 1.0625), f32([], 1), of('f8e4m3fn', [], 0)];
    expect(run({ op: 'QuantizeLinear', inputs }).values).toEqual([448, -448, 1]);
    const wild = run({ op: 'QuantizeLinear', attrs: { saturate: 0 }, inputs }).values;
    expect(wild).toEqual([Number.NaN, Number.NaN, 1]);
  });

  it('covers zero with the range found at run time, and survives a range of nothing', () => {
    const [y, scale, zero] = runNode({ op: 'DynamicQuantizeLinear', outputs: 3, inputs: [f32([3], -1, 0, 1.55)] });
    expect(scale?.values[0]).toBeCloseTo(0.01, 6);
    expect(zero?.values).toEqual([100]);
    expect(y?.values).toEqual([0, 100, 255]);
    const [flat] = runNode({ op: 'DynamicQuantizeLinear', outputs: 3, inputs: [f32([2], 0, 0)] });
    expect(flat?.values).toEqual([0, 0]);
  });
});

describe('operators on quantised tensors', () => {
  it('pads QLinearConv with the zero point', () => {
    const inputs = [
      of('u8', [1, 1, 2], 130, 126),
      f32([], 0.5),
      of('u8', [], 128),
      of('i8', [1, 1, 3], 1, 1, 1),
      f32([], 1),
      of('i8', [], 0),
      f32([], 0.5),
      of('u8', [], 10),
    ];
    expect(run({ op: 'QLinearConv', attrs: { pads: [1, 1] }, inputs }).values).toEqual([10, 10]);
  });

  it('unpacks MatMulNBits from the low bits up', () => {
    const c = { op: 'MatMulNBits', domain: 'com.microsoft', opset: 1 };
    const attrs = { bits: 4, block_size: 16, K: 2, N: 1 };
    const packed = of('u8', [1, 1, 8], 0x9a, 0, 0, 0, 0, 0, 0, 0);
    // 0xa and 0x9 less the implied zero point 8.
    expect(run({ ...c, attrs, inputs: [f32([1, 2], 1, 10), packed, f32([1], 0.5)] }).values).toEqual([6]);
  });

  it('rescales QLinearAdd', () => {
    const c = { op: 'QLinearAdd', domain: 'com.microsoft', opset: 1 };
    const one = (q: number, s: number, z: number) => [of('u8', [1], q), f32([], s), of('u8', [], z)];
    const inputs = [...one(130, 0.5, 128), ...one(20, 0.25, 16), f32([], 1), of('u8', [], 5)];
    expect(run({ ...c, inputs }).values).toEqual([7]);
  });
});
