// Random operators draw from the distributions they name. Their numbers are a hash of seed and position, so a failure is
// never chance; the bounds are five standard errors of a true draw of as many numbers.

import { describe, expect, it } from 'vitest';
import { f32, type NodeCase, of, run, runNode } from './node-case.js';

const N = 40_000;
const SHAPE = [200, 200];

const mean = (x: readonly number[]): number => x.reduce((s, v) => s + v, 0) / x.length;
const variance = (x: readonly number[]): number => {
  const m = mean(x);
  return mean(x.map((v) => (v - m) ** 2));
};
const filled = (value: number): NodeCase['inputs'][0] => f32(SHAPE, ...Array.from({ length: N }, () => value));

/** Share of values in each of ten equal parts of an interval. */
const tenths = (x: readonly number[], lo: number, hi: number): number[] => {
  const counts = Array.from({ length: 10 }, () => 0);
  for (const v of x) {
    const k = Math.floor(((v - lo) / (hi - lo)) * 10);
    counts[k] = (counts[k] ?? 0) + 1;
  }
  return counts.map((n) => n / x.length);
};

/** Correlation of neighbours. */
const lag = (x: readonly number[]): number => {
  const m = mean(x);
  return mean(x.slice(1).map((v, k) => (v - m) * ((x[k] as number) - m))) / variance(x);
};

const FIVE_ERRORS = 5 / Math.sqrt(N);

describe('random operators', () => {
  it.each(['RandomUniform', 'RandomUniformLike'])('%s fills its interval evenly', (op) => {
    const like = op.endsWith('Like');
    const { values } = run({
      op,
      inputs: like ? [filled(0)] : [],
      attrs: { low: -1.5, high: 2.5, seed: 7.5, ...(like ? {} : { shape: SHAPE }) },
    });
    expect(values).toHaveLength(N);
    expect(Math.min(...values.slice(0, 20000))).toBeGreaterThanOrEqual(-1.5);
    expect(Math.max(...values.slice(0, 20000))).toBeLessThan(2.5);
    for (const share of tenths(values, -1.5, 2.5)) expect(Math.abs(share - 0.1)).toBeLessThan(0.3 * FIVE_ERRORS);
    expect(Math.abs(lag(values))).toBeLessThan(FIVE_ERRORS);
  });

  it.each(['RandomNormal', 'RandomNormalLike'])('%s has the mean, the deviation and the tails of a normal', (op) => {
    const like = op.endsWith('Like');
    const { values } = run({
      op,
      inputs: like ? [filled(0)] : [],
      attrs: { mean: 3.5, scale: 2.5, seed: 1.5, ...(like ? {} : { shape: SHAPE }) },
    });
    const z = values.map((v) => (v - 3.5) / 2.5);
    expect(Math.abs(mean(z))).toBeLessThan(FIVE_ERRORS);
    expect(Math.abs(variance(z) - 1)).toBeLessThan(Math.SQRT2 * FIVE_ERRORS);
    const beyond = (t: number): number => z.filter((v) => Math.abs(v) > t).length / N;
    expect(Math.abs(beyond(1) - 0.3173)).toBeLessThan(0.466 * FIVE_ERRORS);
    expect(Math.abs(beyond(2) - 0.0455)).toBeLessThan(0.209 * FIVE_ERRORS);
    expect(Math.abs(lag(z))).toBeLessThan(FIVE_ERRORS);
  });

  it.each([0.1, 0.5, 0.93])('Bernoulli draws one with probability %d', (p) => {
    const { values } = run({ op: 'Bernoulli', inputs: [filled(p)], attrs: { seed: 2.5 } });
    expect(new Set(values)).toEqual(new Set([0, 1]));
    expect(Math.abs(mean(values) - p)).toBeLessThan(Math.sqrt(p * (1 - p)) * FIVE_ERRORS);
    expect(Math.abs(lag(values))).toBeLessThan(FIVE_ERRORS);
  });

  it('Bernoulli follows the probability of each element, also in double', () => {
    const probabilities = Array.from({ length: N }, (_, k) => (k % 4) / 3);
    const { values, dtype } = run({
      op: 'Bernoulli',
      inputs: [of('f64', [N], ...probabilities)],
      attrs: { dtype: 11 },
    });
    expect(dtype).toBe('f64');
    for (const k of [0, 1, 2, 3]) {
      const share = mean(values.filter((_, at) => at % 4 === k));
      expect(Math.abs(share - k / 3)).toBeLessThan(k === 0 || k === 3 ? 1e-9 : FIVE_ERRORS);
    }
  });

  it.each([0.25, 0.75])('Dropout in training mode drops a share of %d and scales what is left', (ratio) => {
    const [y, mask] = runNode({
      op: 'Dropout',
      inputs: [filled(3), f32([], ratio), of('i1', [], 1)],
      outputs: 2,
    });
    const kept = mask?.values ?? [];
    expect(Math.abs(mean(kept) - (1 - ratio))).toBeLessThan(Math.sqrt(ratio * (1 - ratio)) * FIVE_ERRORS);
    expect(Math.abs(lag(kept))).toBeLessThan(FIVE_ERRORS);
    const wanted = Math.fround(3 / (1 - ratio));
    y?.values.forEach((v, k) => {
      if (Math.abs(v - (kept[k] ? wanted : 0)) > 1e-5) throw new Error(`element ${k} is ${v}`);
    });
  });

  it('Dropout keeps everything where the run is no training', () => {
    const [y, mask] = runNode({ op: 'Dropout', inputs: [filled(3), f32([], 0.5), of('i1', [], 0)], outputs: 2 });
    expect(new Set(y?.values)).toEqual(new Set([3]));
    expect(new Set(mask?.values)).toEqual(new Set([1]));
  });

  it('Multinomial draws classes in proportion to their probabilities', () => {
    const shares = [0.1, 0.2, 0.3, 0.4];
    const logits = f32([1, 4], ...shares.map((p) => Math.log(p) + 2));
    const { values } = run({ op: 'Multinomial', inputs: [logits], attrs: { sample_size: N, seed: 4.5 } });
    shares.forEach((p, k) => {
      const share = values.filter((v) => v === k).length / N;
      expect(Math.abs(share - p)).toBeLessThan(Math.sqrt(p * (1 - p)) * FIVE_ERRORS);
    });
    expect(Math.abs(lag(values))).toBeLessThan(FIVE_ERRORS);
  });

  it('gives other numbers for another seed and another node of the same model', () => {
    const draw = (seed: number): readonly number[] =>
      run({ op: 'RandomUniform', inputs: [], attrs: { seed, shape: [64] } }).values;
    expect(draw(1.5)).toEqual(draw(1.5));
    const same = draw(1.5).filter((v, k) => v === draw(2.5)[k]).length;
    expect(same).toBeLessThan(4);
  });
});
