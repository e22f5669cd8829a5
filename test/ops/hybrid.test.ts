// Float activations with integer weights: quantised slice by slice on the fly, summed as integers, scaled afterwards. Against
// the same arithmetic by hand; published cases are run by `heddle test`.

import { describe, expect, it } from 'vitest';
import { f32, of, run } from './node-case.js';

const ROWS = [
  [0.5, -2, 1.25, 0.75],
  [0, 0, 0, 0],
  [30, 1, -7, 12.5],
] as const;
const WEIGHTS = [
  [1, -2, 127, 4],
  [-128, 5, 60, -7],
] as const;
const BIAS = [0.5, -1];
const SCALES = [0.1, 0.02];

const inputs = [f32([3, 4], ...ROWS.flat()), of('i8', [2, 4], ...WEIGHTS.flat()), f32([2], ...BIAS)];

const fullyConnected = (scales: readonly number[], asymmetric: boolean): readonly number[] =>
  run({
    format: 'tflite',
    op: 'FULLY_CONNECTED',
    opset: 1,
    attrs: { fused_activation_function: 'RELU', asymmetric_quantize_inputs: asymmetric },
    inputs,
    constants: [1, 2],
    declared: [{ dtype: 'f32', shape: [3, 2] }],
    quant: { in1: { scale: Float32Array.from(scales), zeroPoint: scales.map(() => 0), axis: 0 } },
  }).values;

const roundHalfAway = (v: number): number => Math.sign(v) * Math.round(Math.abs(v));

/** Whole steps of a row, less its zero point, and the size of a step. */
function quantize(
  row: readonly number[],
  asymmetric: boolean,
): { readonly steps: readonly number[]; readonly step: number } {
  if (!asymmetric) {
    const most = Math.max(...row.map(Math.abs));
    const step = most === 0 ? 1 : Math.fround(most / 127);
    return { step, steps: row.map((v) => roundHalfAway(v / step)) };
  }
  const [low, high] = [Math.min(0, ...row), Math.max(0, ...row)];
  const step = low === high ? 1 : Math.fround((high - low) / 255);
  const [first, last] = [low / step, high / step];
  const zero = roundHalfAway(Math.abs(first) + 128 <= Math.abs(last) + 127 ? -128 - first : 127 - last);
  return { step, steps: row.map((v) => Math.min(127, Math.max(-128, roundHalfAway(v / step + zero))) - zero) };
}

describe('a dense layer of float activations and byte weights', () => {
  it.each([
    ['one scale', SCALES.slice(0, 1), false],
    ['a scale for each output', SCALES, false],
    ['one scale, activations with a zero point', SCALES.slice(0, 1), true],
    ['a scale for each output, activations with a zero point', SCALES, true],
  ] as const)('%s', (_, scales, asymmetric) => {
    const want = ROWS.flatMap((row) => {
      const { steps, step } = quantize(row, asymmetric);
      return WEIGHTS.map((w, o) => {
        const sum = w.reduce((p, v, k) => p + v * (steps[k] as number), 0);
        return Math.max(0, sum * step * (scales[o] ?? scales[0] ?? 0) + (BIAS[o] as number));
      });
    });
    fullyConnected(scales, asymmetric).forEach((v, i) => {
      expect(v).toBeCloseTo(want[i] as number, 4);
    });
  });
});
