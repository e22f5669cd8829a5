// TFLite's integer operators, against small computations by hand in the reference kernels' arithmetic: padding with the
// zero point, activation bounds, weights by channel, tables, both roundings. Published cases are run by `heddle test`.

import { describe, expect, it } from 'vitest';
import { scaled, quantizeMultiplier } from '../../src/frontend/ops/quantized/fixed-point.js';
import type { SourceQuant } from '../../src/frontend/source.js';
import type { DType } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { f32, i32, of, run } from './node-case.js';

const quant = (scale: number | readonly number[], zero = 0, axis = 0): SourceQuant => {
  const scales = Float32Array.from(typeof scale === 'number' ? [scale] : scale);
  return { scale: scales, zeroPoint: Array.from(scales, () => zero), axis };
};

interface Case {
  readonly op: string;
  readonly attrs?: Readonly<Record<string, number | string | boolean>>;
  readonly inputs: readonly (Tensor | null)[];
  readonly constants?: readonly number[];
  readonly quants: readonly (SourceQuant | null)[];
  readonly out: { readonly dtype: DType; readonly shape: readonly number[]; readonly quant: SourceQuant };
}

const integers = (c: Case): readonly number[] =>
  run({
    format: 'tflite',
    op: c.op,
    opset: 1,
    attrs: { fused_activation_function: 'NONE', ...c.attrs },
    inputs: c.inputs,
    ...(c.constants && { constants: c.constants }),
    declared: [{ dtype: c.out.dtype, shape: c.out.shape }],
    quant: {
      ...Object.fromEntries(c.quants.flatMap((q, k) => (q ? [[`in${k}`, q]] : []))),
      out0: c.out.quant,
    },
  }).values;

const clamp8 = (v: number): number => Math.min(127, Math.max(-128, v));

describe('integer convolution', () => {
  const x = of('i8', [1, 1, 3, 1], 5, -7, 20);
  const w = of('i8', [2, 1, 3, 1], 1, 2, 3, -4, 5, -6);
  const [inScale, outScale] = [0.5, 0.25];
  const weightScales = [0.1, 0.02];
  const zero = 4;
  /** Sums with taps outside the image left out, then scaled by channel. */
  const expected = (act: (v: number) => number): readonly number[] => {
    const data = Array.from(x.data as Int8Array);
    const weights = Array.from(w.data as Int8Array);
    return [0, 1, 2].flatMap((at) =>
      [0, 1].map((c) => {
        const taps = [-1, 0, 1].map((d, k) => {
          const v = data[at + d];
          return v === undefined ? 0 : (v - zero) * (weights[3 * c + k] as number);
        });
        const sum = taps.reduce((p, q) => p + q) + [100, -50][c]!;
        const scale = Math.fround(weightScales[c] as number);
        return act(scaled(sum, quantizeMultiplier((inScale * scale) / outScale), 'double') - 3);
      }),
    );
  };
  const conv = (activation: string) =>
    integers({
      op: 'CONV_2D',
      attrs: { padding: 'SAME', stride_w: 1, stride_h: 1, fused_activation_function: activation },
      inputs: [x, w, i32([2], 100, -50)],
      constants: [1, 2],
      quants: [quant(inScale, zero), quant(weightScales), quant([0.05, 0.01])],
      out: { dtype: 'i8', shape: [1, 1, 3, 2], quant: quant(outScale, -3) },
    });

  it('pads with the zero point and scales by channel', () => {
    expect(conv('NONE')).toEqual(expected(clamp8));
  });

  it('clamps to the quantised bounds of its activation', () => {
    expect(conv('RELU6')).toEqual(expected((v) => Math.min(21, Math.max(-3, v))));
  });

  it('computes float activations with integer weights as floats', () => {
    const got = run({
      format: 'tflite',
      op: 'CONV_2D',
      attrs: { fused_activation_function: 'NONE', padding: 'VALID', stride_w: 1, stride_h: 1 },
      inputs: [f32([1, 1, 3, 1], 1, 2, -4), w, null],
      constants: [1],
      quant: { in1: quant(0.5) },
      declared: [{ dtype: 'f32', shape: [1, 1, 1, 2] }],
    });
    // 1 and 2 fall on steps of 4/127 nearly; the weights are exact.
    expect(got.values[0]).toBeCloseTo(0.5 * (1 + 4 - 12), 1);
    expect(got.values[1]).toBeCloseTo(0.5 * (-4 + 10 + 24), 1);
  });
});

describe('integer arithmetic', () => {
  const x = of('i8', [4], -128, 0, 64, 127);
  const y = of('i8', [1], 10);

  it('adds at a common scale with 20 extra bits', () => {
    const [sx, sy, so] = [0.1, 0.3, 0.2].map(Math.fround) as [number, number, number];
    const twice = 2 * Math.max(sx, sy);
    const [mx, my] = [quantizeMultiplier(sx / twice), quantizeMultiplier(sy / twice)];
    const mo = quantizeMultiplier(twice / (2 ** 20 * so));
    const one = (v: number): number => {
      const sum = scaled((v - 5) * 2 ** 20, mx, 'double') + scaled((10 + 2) * 2 ** 20, my, 'double');
      return clamp8(scaled(sum, mo, 'double') + 1);
    };
    const got = integers({
      op: 'ADD',
      inputs: [x, y],
      quants: [quant(0.1, 5), quant(0.3, -2)],
      out: { dtype: 'i8', shape: [4], quant: quant(0.2, 1) },
    });
    expect(got).toEqual([-128, 0, 64, 127].map(one));
  });

  it('maps all 256 values of a logistic through a table', () => {
    const all = Array.from({ length: 256 }, (_, k) => k - 128);
    const got = integers({
      op: 'LOGISTIC',
      inputs: [of('i8', [256], ...all)],
      quants: [quant(0.05, 3)],
      out: { dtype: 'i8', shape: [256], quant: quant(1 / 256, -128) },
    });
    const want = all.map((q) => {
      const real = 1 / (1 + Math.exp(-Math.fround(Math.fround(0.05) * (q - 3))));
      return clamp8(Math.round(Math.fround(real) * 256) - 128);
    });
    expect(got).toEqual(want);
  });

  it('averages only what lies inside the image, halves away from zero', () => {
    const got = integers({
      op: 'AVERAGE_POOL_2D',
      attrs: { padding: 'SAME', stride_w: 2, stride_h: 1, filter_width: 2, filter_height: 1 },
      inputs: [of('i8', [1, 1, 3, 1], 3, -6, -5)],
      quants: [quant(0.1, 7)],
      out: { dtype: 'i8', shape: [1, 1, 2, 1], quant: quant(0.1, 7) },
    });
    // (3 − 6) / 2 = −1.5 → −2; the last window has one element.
    expect(got).toEqual([-2, -5]);
  });

  it('softmax rows sum to one within a unit for each class', () => {
    const got = integers({
      op: 'SOFTMAX',
      attrs: { beta: 1 },
      inputs: [of('i8', [2, 3], 10, 10, 10, 127, -128, 0)],
      quants: [quant(0.1, 0)],
      out: { dtype: 'i8', shape: [2, 3], quant: quant(1 / 256, -128) },
    });
    expect(got.slice(0, 3)).toEqual([-43, -43, -43]);
    expect(got.slice(3)).toEqual([127, -128, -128]);
  });
});
