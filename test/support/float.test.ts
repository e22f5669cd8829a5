// Narrow floats: every bit pattern survives a round trip, rounding is to nearest even, and overflow follows ONNX Cast.

import { describe, expect, it } from 'vitest';
import { decodeFloat, decodeFloats, encodeFloat, encodeFloats, type NarrowFloat } from '../../src/support/float.js';

const KINDS: readonly (readonly [NarrowFloat, number])[] = [
  ['f16', 16],
  ['bf16', 16],
  ['f8e4m3fn', 8],
  ['f8e4m3fnuz', 8],
  ['f8e5m2', 8],
  ['f8e5m2fnuz', 8],
  ['f8e8m0', 8],
  ['f4e2m1', 4],
];

const valuesOf = (kind: NarrowFloat, bits: number): number[] =>
  Array.from({ length: 2 ** bits }, (_, code) => decodeFloat(kind, code));

describe.each(KINDS)('%s', (kind, bits) => {
  const values = valuesOf(kind, bits);
  const options = { saturate: false, round: 'nearest' } as const;

  it('gives back every bit pattern but the spare NaNs', () => {
    for (const [code, value] of values.entries()) {
      if (Number.isNaN(value)) expect(decodeFloat(kind, encodeFloat(kind, value, options))).toBeNaN();
      else expect(encodeFloat(kind, value, options)).toBe(code);
    }
  });

  it('rounds a point between two neighbours to the nearer one, a tie to the even one', () => {
    const finite = [...new Set(values.filter((v) => Number.isFinite(v) && v > 0))].sort((a, b) => a - b);
    for (const [i, low] of finite.slice(0, -1).entries()) {
      const high = finite[i + 1] ?? low;
      const middle = (low + high) / 2;
      const round = (x: number): number => decodeFloat(kind, encodeFloat(kind, x, options));
      expect(round(low + (high - low) * 0.25)).toBe(low);
      expect(round(low + (high - low) * 0.75)).toBe(high);
      const even = encodeFloat(kind, low) % 2 === 0 || kind === 'f8e8m0' ? low : high;
      if (kind !== 'f8e8m0') expect(round(middle)).toBe(even);
    }
  });

  it('converts arrays as it converts numbers', () => {
    const codes = Array.from(values, (_, code) => code);
    expect(decodeFloats(kind, codes)).toEqual(Float32Array.from(values));
    const numbers = values.filter((v) => !Number.isNaN(v));
    expect([...encodeFloats(kind, numbers)]).toEqual(numbers.map((v) => encodeFloat(kind, v)));
  });
});

describe('known values', () => {
  it.each<[NarrowFloat, number, number]>([
    ['f16', 1, 0x3c00],
    ['f16', -0, 0x8000],
    ['f16', 65504, 0x7bff],
    ['f16', 65519.999, 0x7bff],
    ['f16', 65520, 0x7c00],
    ['f16', 2 ** -24, 1],
    ['f16', 2 ** -25, 0],
    ['f16', 2 ** -25 * 1.0000001, 1],
    ['f16', Number.NEGATIVE_INFINITY, 0xfc00],
    ['bf16', Math.PI, 0x4049],
    ['bf16', 3.4e38, 0x7f80],
    ['bf16', 5e-324, 0],
    ['f8e4m3fn', 448, 0x7e],
    ['f8e4m3fn', 0.001953125, 0x01],
    ['f8e4m3fnuz', 240, 0x7f],
    ['f8e4m3fnuz', -0, 0],
    ['f8e4m3fnuz', Number.NaN, 0x80],
    ['f8e5m2', 57344, 0x7b],
    ['f8e5m2fnuz', 57344, 0x7f],
    ['f4e2m1', 6, 7],
    ['f4e2m1', -0.5, 9],
    ['f4e2m1', 2.5, 4],
    ['f4e2m1', 100, 7],
  ])('%s of %d', (kind, value, code) => {
    expect(encodeFloat(kind, value)).toBe(code);
  });

  it.each<[NarrowFloat, number, number, number, number]>([
    ['f8e4m3fn', 0x7e, 0xfe, 0x7f, 0xff],
    ['f8e4m3fnuz', 0x7f, 0xff, 0x80, 0x80],
    ['f8e5m2', 0x7b, 0xfb, 0x7c, 0xfc],
    ['f8e5m2fnuz', 0x7f, 0xff, 0x80, 0x80],
  ])('%s saturates or overflows as Cast says', (kind, max, min, above, below) => {
    for (const x of [1e6, Number.POSITIVE_INFINITY]) {
      expect(encodeFloat(kind, x)).toBe(max);
      expect(encodeFloat(kind, -x)).toBe(min);
      expect(encodeFloat(kind, x, { saturate: false })).toBe(above);
      expect(encodeFloat(kind, -x, { saturate: false })).toBe(below);
    }
  });

  it('f8e8m0 holds powers of two and rounds as told', () => {
    const code = (x: number, round: 'up' | 'down' | 'nearest', saturate = true): number =>
      encodeFloat('f8e8m0', x, { round, saturate });
    expect(code(1, 'up')).toBe(127);
    expect([code(1.1, 'up'), code(1.1, 'down'), code(1.1, 'nearest')]).toEqual([128, 127, 127]);
    expect([code(1.5, 'nearest'), code(1.49, 'nearest')]).toEqual([128, 127]);
    expect([code(3.4e38, 'up'), code(3.4e38, 'up', false), code(1.8e38, 'nearest', false)]).toEqual([0xfe, 0xff, 0xfe]);
    expect([code(0, 'up'), code(2 ** -127, 'up'), code(2 ** -126.9, 'up')]).toEqual([0, 0, 1]);
    expect([code(Number.POSITIVE_INFINITY, 'up'), code(Number.NaN, 'up')]).toEqual([0xfe, 0xff]);
  });
});
