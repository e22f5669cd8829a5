// The judgement itself: which differences count.

import { describe, expect, it } from 'vitest';
import { compareTensors, defaultTolerance } from '../../src/cli/testing/compare.js';
import type { DType } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';

const t = (dtype: DType, ...values: number[]): Tensor => fromNumbers(dtype, [values.length], values);
const compare = (got: Tensor, want: Tensor): string | null => compareTensors(got, want, defaultTolerance(want.dtype));

describe('compareTensors', () => {
  it('takes floats within the tolerance, NaN for NaN, infinities exactly', () => {
    expect(compare(t('f32', 1.0009, Number.NaN, Infinity), t('f32', 1, Number.NaN, Infinity))).toBeNull();
    expect(compare(t('f32', 1.0011), t('f32', 1))).toContain('first at [0]');
    expect(compare(t('f32', 1e30), t('f32', Infinity))).toContain('max abs error Infinity');
    expect(compare(t('f32', 1), t('f32', Number.NaN))).not.toBeNull();
    expect(compare(t('f32', 0.5e-7), t('f32', 0))).toBeNull();
    expect(compare(t('f32', 2e-7), t('f32', 0))).not.toBeNull();
  });

  it('allows one unit in the last place of types coarser than the tolerance', () => {
    expect(compare(t('bf16', 1.0078125), t('bf16', 1))).toBeNull();
    expect(compare(t('bf16', 1.015625), t('bf16', 1))).not.toBeNull();
  });

  it('takes integers exactly, 64-bit ones too', () => {
    const big = (v: bigint): Tensor => ({ dtype: 'i64', shape: [1], data: BigInt64Array.of(v) });
    expect(compare(big(2n ** 60n), big(2n ** 60n))).toBeNull();
    expect(compare(big(2n ** 60n + 1n), big(2n ** 60n))).toContain('got 1152921504606846977');
    expect(compareTensors(t('i8', 5), t('i8', 4), { rtol: 0, atol: 1 })).toBeNull();
  });

  it('names type and shape before values', () => {
    expect(compare(t('f64', 1), t('f32', 1))).toBe('type is f64, expected f32');
    expect(compare(t('f32', 1, 2), t('f32', 1))).toBe('shape is [2], expected [1]');
  });

  it('looks only at the elements that are defined', () => {
    expect(compareTensors(t('i32', 9, 2, 9), t('i32', 1, 2, 3), { rtol: 0, atol: 0 }, [1, 2])).toBeNull();
  });
});
