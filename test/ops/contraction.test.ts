// Matrix products and convolutions against sums written out here.

import { describe, expect, it } from 'vitest';
import { counting, f32, of, run } from './node-case.js';

describe('matrix products', () => {
  it('treats vectors as numpy does', () => {
    expect(run({ op: 'MatMul', inputs: [f32([2], 1, 2), f32([2], 3, 4)] })).toMatchObject({ shape: [], values: [11] });
    expect(run({ op: 'MatMul', inputs: [counting([2, 1, 3]), f32([3], 1, 1, 1)] })).toMatchObject({
      shape: [2, 1],
      values: [3, 12],
    });
  });

  it('scales, transposes and adds in Gemm', () => {
    const inputs = [f32([1, 2], 1, 2), f32([1, 2], 3, 4), f32([1], 10)];
    expect(run({ op: 'Gemm', attrs: { alpha: 0.5, beta: 2, transB: 1 }, inputs }).values).toEqual([25.5]);
  });

  it('subtracts zero points of rows and columns', () => {
    const inputs = [of('u8', [2, 1], 5, 9), of('u8', [1, 2], 7, 8), of('u8', [2], 4, 7), of('u8', [2], 5, 5)];
    expect(run({ op: 'MatMulInteger', inputs }).values).toEqual([2, 3, 4, 6]);
  });

  it('moves the leading axis behind the batch in FusedMatMul', () => {
    const c = { op: 'FusedMatMul', domain: 'com.microsoft', opset: 1, attrs: { transBatchA: 1 } };
    const inputs = [counting([3, 2, 1]), f32([2, 1, 1], 1, 10)];
    expect(run({ ...c, inputs })).toMatchObject({ shape: [2, 3, 1], values: [0, 2, 4, 10, 30, 50] });
  });
});

describe('einsum', () => {
  const x = counting([2, 3]);
  it('sums letters the output lacks and reorders the others', () => {
    expect(run({ op: 'Einsum', attrs: { equation: 'ij->j' }, inputs: [x] }).values).toEqual([3, 5, 7]);
    expect(run({ op: 'Einsum', attrs: { equation: 'ij->ji' }, inputs: [x] }).values).toEqual([0, 3, 1, 4, 2, 5]);
  });

  it('takes diagonals of repeated letters', () => {
    expect(run({ op: 'Einsum', attrs: { equation: 'ii->i' }, inputs: [counting([3, 3])] }).values).toEqual([0, 4, 8]);
    expect(run({ op: 'Einsum', attrs: { equation: 'ii' }, inputs: [counting([3, 3])] }).values).toEqual([12]);
  });

  it('aligns ellipses at the right and broadcasts them', () => {
    const inputs = [counting([2, 1, 3]), counting([3, 2])];
    const out = run({ op: 'Einsum', attrs: { equation: '...ij, jk -> ...ik' }, inputs });
    expect(out).toMatchObject({ shape: [2, 1, 2], values: [10, 13, 28, 40] });
  });

  it('contracts three operands', () => {
    const inputs = [f32([1, 2], 1, 2), f32([2, 2], 1, 2, 3, 4), f32([2, 1], 1, 1)];
    expect(run({ op: 'Einsum', attrs: { equation: 'ij,jk,kl' }, inputs })).toMatchObject({
      shape: [1, 1],
      values: [17],
    });
  });
});

describe('convolution', () => {
  it('pads, strides and dilates', () => {
    const attrs = { pads: [1, 2], strides: [2], dilations: [2] };
    const out = run({ op: 'Conv', attrs, inputs: [counting([1, 1, 5]), f32([1, 1, 3], 1, 10, 100)] });
    expect(out).toMatchObject({ shape: [1, 1, 2], values: [310, 31] });
  });

  it('splits SAME padding by the kind’s own end', () => {
    const inputs = [f32([1, 1, 3], 1, 2, 3), f32([1, 1, 2], 1, 10)];
    expect(run({ op: 'Conv', attrs: { auto_pad: 'SAME_UPPER' }, inputs }).values).toEqual([21, 32, 3]);
    expect(run({ op: 'Conv', attrs: { auto_pad: 'SAME_LOWER' }, inputs }).values).toEqual([10, 21, 32]);
  });

  it('keeps groups apart', () => {
    const out = run({ op: 'Conv', attrs: { group: 2 }, inputs: [f32([1, 2, 1], 3, 5), f32([2, 1, 1], 10, 100)] });
    expect(out.values).toEqual([30, 500]);
  });

  it('runs over sizes only known at run time', () => {
    const inputs = [counting([1, 1, 5]), f32([1, 1, 2], 1, 1)];
    expect(run({ op: 'Conv', inputs, symbols: ['0.2'] }).values).toEqual([1, 3, 5, 7]);
  });

  it('refuses a group that the weight contradicts', () => {
    const inputs = [counting([1, 4, 3]), counting([2, 2, 1])];
    expect(() => run({ op: 'Conv', inputs })).toThrow(/group is 1/);
  });

  it('transposes to the adjoint: scatters each input over its window', () => {
    const inputs = [f32([1, 1, 2], 1, 10), f32([1, 1, 3], 1, 2, 3)];
    expect(run({ op: 'ConvTranspose', attrs: { strides: [2] }, inputs }).values).toEqual([1, 2, 13, 20, 30]);
    const cropped = { strides: [2], pads: [1, 0], output_padding: [1] };
    expect(run({ op: 'ConvTranspose', attrs: cropped, inputs }).values).toEqual([2, 13, 20, 30, 0]);
  });

  it('reads channel ⌊c / multiplier⌋ in DEPTHWISE_CONV_2D', () => {
    const attrs = { padding: 'VALID', stride_h: 1, stride_w: 1, depth_multiplier: 2 };
    const inputs = [f32([1, 1, 1, 2], 3, 5), f32([1, 1, 1, 4], 1, 10, 100, 1000)];
    expect(run({ format: 'tflite', op: 'DEPTHWISE_CONV_2D', attrs, inputs }).values).toEqual([3, 30, 500, 5000]);
  });
});
