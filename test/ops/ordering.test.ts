// Sorting, distinct values, selections by data, and non-max suppression.

import { describe, expect, it } from 'vitest';
import { counting, f32, i32, i64, of, run, runNode } from './node-case.js';

describe('TopK', () => {
  it('puts the lower position first among equals', () => {
    const [values, at] = runNode({
      op: 'TopK',
      inputs: [f32([6], 1, 3, 3, 0, 3, 2), i64([1], 4)],
      constants: [1],
      outputs: 2,
    });
    expect(values?.values).toEqual([3, 3, 3, 2]);
    expect(at?.values).toEqual([1, 2, 4, 5]);
  });

  it('takes the smallest along a middle axis', () => {
    const x = f32([2, 3, 2], 5, 1, 4, 2, 3, 3, 0, 9, 8, 7, 6, 5);
    const attrs = { axis: 1, largest: 0 };
    const [values, at] = runNode({ op: 'TopK', attrs, inputs: [x, i64([1], 2)], constants: [1], outputs: 2 });
    expect(values).toMatchObject({ shape: [2, 2, 2], values: [3, 1, 4, 2, 0, 5, 6, 7] });
    expect(at?.values).toEqual([2, 0, 1, 1, 0, 2, 2, 1]);
  });

  it('takes as many as a run-time value says, of a size known at run time', () => {
    const c = { op: 'TopK', inputs: [f32([5], 4, 2, 5, 1, 3), i64([1], 3)], symbols: ['0.0'], outputs: 2 };
    expect(runNode(c)[0]).toMatchObject({ shape: [3], values: [5, 4, 3] });
  });

  it('agrees with a sort for every length and count', () => {
    let seed = 1;
    const next = (): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed % 7;
    };
    for (let n = 1; n < 20; n++) {
      const x = Array.from({ length: n }, next);
      const k = 1 + (next() % n);
      const [values] = runNode({ op: 'TopK', inputs: [f32([n], ...x), i64([1], k)], constants: [1], outputs: 2 });
      expect(values?.values).toEqual([...x].sort((a, b) => b - a).slice(0, k));
    }
  });
});

describe('Unique', () => {
  const x = f32([6], 2, 1, 1, 3, 4, 3);

  it('sorts, and tells positions, numbers and counts', () => {
    const [y, first, number, count] = runNode({ op: 'Unique', inputs: [x], outputs: 4 });
    expect(y?.values).toEqual([1, 2, 3, 4]);
    expect(first?.values).toEqual([1, 0, 3, 4]);
    expect(number?.values).toEqual([1, 0, 0, 2, 3, 2]);
    expect(count?.values).toEqual([2, 1, 2, 1]);
  });

  it('keeps the order of appearance', () => {
    expect(run({ op: 'Unique', attrs: { sorted: 0 }, inputs: [x], outputs: 4 }).values).toEqual([2, 1, 3, 4]);
    const [y, number] = runNode({ format: 'tflite', op: 'UNIQUE', inputs: [i32([4], 7, 5, 7, 5)], outputs: 2 });
    expect(y?.values).toEqual([7, 5]);
    expect(number?.values).toEqual([0, 1, 0, 1]);
  });

  it('compares slices along an axis', () => {
    const rows = f32([2, 3], 1, 1, 0, 1, 1, 0);
    const [y] = runNode({ op: 'Unique', attrs: { axis: 1 }, inputs: [rows], outputs: 4 });
    expect(y).toMatchObject({ shape: [2, 2], values: [0, 1, 0, 1] });
  });
});

describe('what is true', () => {
  it('is found by position', () => {
    const x = of('i1', [2, 2], 1, 0, 1, 1);
    expect(run({ op: 'NonZero', inputs: [x] })).toMatchObject({ shape: [2, 3], values: [0, 1, 1, 0, 0, 1] });
    expect(run({ format: 'tflite', op: 'WHERE', inputs: [x] })).toMatchObject({
      shape: [3, 2],
      values: [0, 0, 1, 0, 1, 1],
    });
  });

  it('selects slices or elements', () => {
    const x = counting([2, 3]);
    const columns = of('i1', [2], 0, 1);
    expect(run({ op: 'Compress', attrs: { axis: 1 }, inputs: [x, columns] })).toMatchObject({
      shape: [2, 1],
      values: [1, 4],
    });
    expect(run({ op: 'Compress', inputs: [x, of('i1', [5], 1, 0, 0, 0, 1)] }).values).toEqual([0, 4]);
  });

  it('may be nothing at all', () => {
    expect(run({ op: 'NonZero', inputs: [f32([3], 0, 0, 0)] }).shape).toEqual([1, 0]);
  });
});

describe('NonMaxSuppression', () => {
  const boxes = f32([1, 4, 4], 0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 10, 1, 11, 0, 10.1, 1, 11.1);
  const scores = f32([1, 2, 4], 0.9, 0.8, 0.3, 0.7, 0.1, 0.2, 0.3, 0.4);

  it('keeps the best of what overlaps, class by class', () => {
    const inputs = [boxes, scores, i64([1], 3), f32([1], 0.5), f32([1], 0.15)];
    expect(run({ op: 'NonMaxSuppression', inputs, constants: [2] })).toMatchObject({
      shape: [4, 3],
      values: [0, 0, 0, 0, 0, 3, 0, 1, 3, 0, 1, 1],
    });
  });

  it('keeps nothing where nothing is asked for', () => {
    expect(run({ op: 'NonMaxSuppression', inputs: [boxes, scores] }).shape).toEqual([0, 3]);
  });

  it('fills a fixed number of rows, and lets scores decay', () => {
    const plain = f32([4, 4], ...Array.from(boxes.data as Float32Array));
    const common = [plain, f32([4], 0.9, 0.8, 0.3, 0.7), i32([], 3)];
    const v4 = [...common, f32([], 0.5), f32([], 0)];
    const [at, n] = runNode({ format: 'tflite', op: 'NON_MAX_SUPPRESSION_V4', inputs: v4, constants: [2], outputs: 2 });
    expect(at?.values).toEqual([0, 3, 0]);
    expect(n?.values).toEqual([2]);
    const v5 = [...common, f32([], 1), f32([], 0), f32([], 0.5)];
    const [soft, score] = runNode({
      format: 'tflite',
      op: 'NON_MAX_SUPPRESSION_V5',
      inputs: v5,
      constants: [2],
      outputs: 3,
    });
    expect(soft?.values).toEqual([0, 3, 1]);
    const iou = 0.9 / 1.1;
    expect(score?.values[2]).toBeCloseTo(0.8 * Math.exp(-iou * iou), 5);
  });
});

describe('random numbers', () => {
  const draw = (op: string, attrs = {}) => run({ op, inputs: [], attrs: { shape: [4000], ...attrs } }).values;
  const mean = (x: readonly number[]): number => x.reduce((a, v) => a + v, 0) / x.length;

  it('are the same for the same seed, and spread as they should', () => {
    const normal = draw('RandomNormal', { seed: 3.5, mean: 2.0, scale: 0.5 });
    expect(draw('RandomNormal', { seed: 3.5, mean: 2.0, scale: 0.5 })).toEqual(normal);
    expect(mean(normal)).toBeCloseTo(2, 1);
    expect(Math.sqrt(mean(normal.map((v) => (v - 2) ** 2)))).toBeCloseTo(0.5, 1);
    const uniform = draw('RandomUniform', { low: -1, high: 3 });
    expect(Math.min(...uniform)).toBeGreaterThan(-1);
    expect(Math.max(...uniform)).toBeLessThan(3);
    expect(mean(uniform)).toBeCloseTo(1, 1);
  });

  it('choose classes as often as their probabilities say', () => {
    const logits = f32([1, 3], Math.log(0.5), Math.log(0.2), Math.log(0.3));
    const drawn = run({ op: 'Multinomial', inputs: [logits], attrs: { sample_size: 4000 } }).values;
    const share = (c: number): number => drawn.filter((v) => v === c).length / drawn.length;
    expect(share(0)).toBeCloseTo(0.5, 1);
    expect(share(1)).toBeCloseTo(0.2, 1);
  });
});
