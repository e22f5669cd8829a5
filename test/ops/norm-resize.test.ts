// Normalisation and resampling.

import { describe, expect, it } from 'vitest';
import { counting, f32, i64, of, run, runNode } from './node-case.js';

const close = (got: readonly number[], want: readonly number[], digits = 5): void => {
  expect(got.length).toBe(want.length);
  got.forEach((v, k) => {
    expect(v).toBeCloseTo(want[k] as number, digits);
  });
};

describe('normalisation', () => {
  it('gives LayerNormalization’s mean and inverse deviation', () => {
    const inputs = [f32([1, 2], 1, 3), f32([2], 2, 2), f32([2], 1, 1)];
    const [y, mean, inverse] = runNode({ op: 'LayerNormalization', attrs: { epsilon: 0 }, outputs: 3, inputs });
    close(y?.values ?? [], [-1, 3]);
    close(mean?.values ?? [], [2]);
    close(inverse?.values ?? [], [1]);
  });

  it('scales per group before opset 21 and per channel after', () => {
    const x = f32([1, 4, 1], 1, 3, 1, 3);
    const c = { op: 'GroupNormalization', attrs: { num_groups: 2, epsilon: 0 } };
    close(run({ ...c, opset: 18, inputs: [x, f32([2], 1, 10), f32([2], 0, 0)] }).values, [-1, 1, -10, 10]);
    close(run({ ...c, opset: 21, inputs: [x, f32([4], 1, 2, 3, 4), f32([4], 0, 0, 0, 1)] }).values, [-1, 2, -3, 5]);
  });

  it('uses the batch’s statistics in training mode and moves the running ones', () => {
    const inputs = [f32([2, 1], 1, 3), f32([1], 1), f32([1], 0), f32([1], 10), f32([1], 5)];
    const c = { op: 'BatchNormalization', attrs: { training_mode: 1, momentum: 0.5, epsilon: 0 }, outputs: 3, inputs };
    const [y, mean, variance] = runNode(c);
    close(y?.values ?? [], [-1, 1]);
    close([...(mean?.values ?? []), ...(variance?.values ?? [])], [6, 3]);
  });

  it('leaves a row of zeros alone in LpNormalization', () => {
    close(run({ op: 'LpNormalization', inputs: [f32([2, 2], 3, 4, 0, 0)] }).values, [0.6, 0.8, 0, 0]);
  });

  it('keeps everything in Dropout, and drops by ratio in training mode', () => {
    const [y, mask] = runNode({ op: 'Dropout', outputs: 2, inputs: [f32([2], 5, 6)] });
    expect([y?.values, mask?.values]).toEqual([
      [5, 6],
      [1, 1],
    ]);
    const ones = f32([1000], ...Array.from({ length: 1000 }, () => 1));
    const trained = run({ op: 'Dropout', inputs: [ones, f32([], 0.25), of('i1', [], 1)] }).values;
    const kept = trained.filter((v) => v !== 0);
    expect(kept.every((v) => Math.abs(v - 4 / 3) < 1e-6)).toBe(true);
    expect(kept.length).toBeGreaterThan(650);
    expect(kept.length).toBeLessThan(850);
  });
});

describe('Resize', () => {
  const x = f32([1, 1, 2], 1, 2);
  const sized = (mode: string, n: number, more = {}) =>
    run({ op: 'Resize', attrs: { mode, ...more }, inputs: [x, null, null, i64([3], 1, 1, n)], constants: [3] });

  it('interpolates between half-pixel centres', () => {
    close(sized('linear', 4).values, [1, 1.25, 1.75, 2]);
    close(sized('linear', 4, { coordinate_transformation_mode: 'align_corners' }).values, [1, 4 / 3, 5 / 3, 2]);
  });

  it('rounds halves as told', () => {
    const at = (nearest_mode: string) =>
      sized('nearest', 4, { coordinate_transformation_mode: 'asymmetric', nearest_mode }).values;
    expect(at('floor')).toEqual([1, 1, 2, 2]);
    expect(at('ceil')).toEqual([1, 2, 2, 2]);
    expect(at('round_prefer_floor')).toEqual([1, 1, 2, 2]);
    expect(at('round_prefer_ceil')).toEqual([1, 2, 2, 2]);
  });

  it('reproduces a line with a cubic away from the edges', () => {
    const inputs = [counting([8]), null, f32([1], 2)];
    const out = run({ op: 'Resize', attrs: { mode: 'cubic', cubic_coeff_a: -0.5 }, inputs, constants: [2] }).values;
    close(out.slice(4, 12), [1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5.25]);
  });

  it('averages over the shrunken pixel when antialiasing', () => {
    const inputs = [f32([4], 0, 4, 8, 12), null, f32([1], 0.5)];
    const out = run({ op: 'Resize', attrs: { mode: 'linear', antialias: 1 }, inputs, constants: [2] }).values;
    expect(out[0]).toBeCloseTo((0 * 0.25 + 0 * 0.75 + 4 * 0.75 + 8 * 0.25) / 2, 0);
  });

  it('reads scales that arrive at run time, whether or not the file declares the output', () => {
    const c = { op: 'Resize', attrs: { mode: 'nearest' }, inputs: [x, null, f32([3], 1, 1, 2)] };
    expect(run({ ...c, declared: [{ dtype: 'f32', shape: [1, 1, 4] }] }).values).toEqual([1, 1, 2, 2]);
    expect(run(c)).toMatchObject({ shape: [1, 1, 4], values: [1, 1, 2, 2] });
    expect(() => run({ ...c, attrs: { mode: 'linear', antialias: 1 } })).toThrow(/depends on data/);
  });

  it('keeps symbolic sizes symbolic', () => {
    const c = {
      op: 'Resize',
      attrs: { mode: 'nearest' },
      inputs: [counting([3]), null, f32([1], 1.5)],
      constants: [2],
    };
    expect(run({ ...c, symbols: ['0.0'] }).shape).toEqual([4]);
  });

  it('follows TFLite’s conventions', () => {
    const inputs = [f32([1, 1, 2, 1], 1, 2), { dtype: 'i32' as const, shape: [2], data: Int32Array.of(1, 4) }];
    const c = { format: 'tflite' as const, inputs, constants: [1] };
    close(run({ ...c, op: 'RESIZE_BILINEAR', attrs: { align_corners: false } }).values, [1, 1.5, 2, 2]);
    close(run({ ...c, op: 'RESIZE_BILINEAR', attrs: { half_pixel_centers: true } }).values, [1, 1.25, 1.75, 2]);
    close(run({ ...c, op: 'RESIZE_NEAREST_NEIGHBOR', attrs: { align_corners: true } }).values, [1, 1, 2, 2]);
  });
});
