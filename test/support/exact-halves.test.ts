// Floats that are halves, and floats that are none.

import { describe, expect, it } from 'vitest';
import { exactHalves } from '../../src/support/exact-halves.js';
import { decodeTable } from '../../src/support/float.js';

const bits = (values: readonly number[]): readonly number[] | undefined => {
  const found = exactHalves(Float32Array.from(values));
  return found ? [...Uint16Array.from(found.bits)] : undefined;
};

describe('exact halves', () => {
  it('finds the bits of every finite f16', () => {
    const codes = Array.from({ length: 1 << 16 }, (_, k) => k).filter((k) => (k & 0x7c00) !== 0x7c00);
    const table = decodeTable('f16');
    expect(bits(codes.map((k) => table[k] as number))).toEqual(codes);
    expect(exactHalves(Float32Array.of(table[1] as number, table[3] as number, table[0x3c01] as number))?.kind).toBe(
      'f16',
    );
  });

  it('finds the bits of every bf16 that is no NaN', () => {
    const codes = Array.from({ length: 1 << 16 }, (_, k) => k).filter((k) => (k & 0x7fff) <= 0x7f80);
    const table = decodeTable('bf16');
    expect(bits(codes.map((k) => table[k] as number))).toEqual(codes);
  });

  it('finds none where a float is neither', () => {
    expect(bits([1, 0.1])).toBeUndefined();
    expect(bits([1 / 1024 + 1, 65536])).toBeUndefined();
    expect(bits([1 / 1024 + 1, 2 ** -25])).toBeUndefined();
    expect(bits([1 / 1024 + 1, 1 + 2 ** -11])).toBeUndefined();
    expect(bits([1 / 1024 + 1, Number.POSITIVE_INFINITY])).toBeUndefined();
    expect(bits([1 / 1024 + 1, Number.NaN])).toBeUndefined();
  });
});
