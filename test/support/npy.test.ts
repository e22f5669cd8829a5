// .npy files: what is written reads back the same, what NumPy writes in other orders and versions reads, the rest is E403.

import { describe, expect, it } from 'vitest';
import { DTYPES } from '../../src/support/dtype.js';
import { CompileError } from '../../src/support/errors.js';
import { readNpy, writeNpy } from '../../src/support/npy.js';
import { fromNumbers, toNumbers } from '../../src/support/tensor.js';

/** A file as NumPy would write it, unpadded. */
function npy(descr: string, fortran: boolean, shape: string, data: ArrayBufferLike, version = 1): Uint8Array {
  const dict = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${shape}, }\n`;
  const header = new TextEncoder().encode(dict);
  const size =
    version === 1 ? [header.length & 255, header.length >> 8] : [header.length & 255, header.length >> 8, 0, 0];
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0];
  return Uint8Array.of(...magic, ...size, ...header, ...new Uint8Array(data));
}

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof CompileError) return error.problems[0]?.code ?? '';
    throw error;
  }
  return 'none';
};

describe('npy', () => {
  it.each(DTYPES.filter((t) => t !== 'string'))('writes and reads %s', (dtype) => {
    const t = fromNumbers(dtype, [2, 3], [0, 1, 1, 0, 1, 1]);
    expect(readNpy(writeNpy(t), { as: dtype })).toEqual(t);
  });

  it('writes and reads strings and scalars', () => {
    const strings = { dtype: 'string', shape: [3], data: ['', 'häß', '😀x'] } as const;
    expect(readNpy(writeNpy(strings))).toEqual(strings);
    const scalar = fromNumbers('f32', [], [2.5]);
    expect(readNpy(writeNpy(scalar))).toEqual(scalar);
  });

  it('starts data at a multiple of 64 and uses it in place', () => {
    const bytes = writeNpy(fromNumbers('f64', [2], [1, 2]));
    expect(bytes.length).toBe(128 + 16);
    const { data } = readNpy(bytes);
    expect(typeof data === 'object' && 'buffer' in data && data.buffer).toBe(bytes.buffer);
  });

  it('reads from a Node Buffer at any alignment', () => {
    const bytes = writeNpy(fromNumbers('f64', [2], [1, 2]));
    const shifted = Buffer.alloc(bytes.length + 3);
    shifted.set(bytes, 3);
    expect([...toNumbers(readNpy(shifted.subarray(3)))]).toEqual([1, 2]);
  });

  it.each([1, 2, 3])('reads version %d, big endian', (version) => {
    const bytes = npy('>i4', false, '(2,)', Uint8Array.of(0, 0, 1, 0, 255, 255, 255, 254).buffer, version);
    expect(readNpy(bytes).data).toEqual(Int32Array.of(256, -2));
  });

  it('turns Fortran order into row-major', () => {
    const t = readNpy(npy('|i1', true, '(2, 3)', Int8Array.of(1, 4, 2, 5, 3, 6).buffer));
    expect([...toNumbers(t)]).toEqual([1, 2, 3, 4, 5, 6]);
    const complex = readNpy(npy('<c8', true, '(1, 2)', Float32Array.of(1, 2, 3, 4).buffer));
    expect(complex).toEqual({ dtype: 'f32', shape: [1, 2, 2], data: Float32Array.of(1, 2, 3, 4) });
  });

  it('reads empty arrays', () => {
    expect(readNpy(npy('<f4', true, '(0, 3)', new ArrayBuffer(0)))).toEqual(fromNumbers('f32', [0, 3], []));
  });

  const four = new ArrayBuffer(4);
  it.each<[string, Uint8Array]>([
    ['another format', new TextEncoder().encode('hello, this is text')],
    ['a cut header', npy('<f4', false, '(1,)', four).subarray(0, 20)],
    ['cut data', npy('<f4', false, '(2,)', four)],
    ['data to spare', npy('<f4', false, '(1,)', new ArrayBuffer(5))],
    ['an enormous shape', npy('<f4', false, '(999999999999999, 999999999999999)', four)],
    ['objects', npy('|O', false, '(1,)', four)],
    ['dates', npy('<M8[ns]', false, '(1,)', four)],
    ['a negative shape', npy('<f4', false, '(-1,)', four)],
    ['version 9', npy('<f4', false, '(1,)', four, 9)],
    ['a character beyond Unicode', npy('<U1', false, '(1,)', Uint32Array.of(0xffffffff).buffer)],
    ['countless empty strings', npy('<U0', false, '(999999999,)', new ArrayBuffer(0))],
  ])('refuses %s', (_, bytes) => {
    expect(codeOf(() => readNpy(bytes, { file: 'a.npy' }))).toBe('E403');
  });
});

describe('fromNumbers', () => {
  it('truncates and wraps integers, and maps bool to 0 and 1', () => {
    expect(fromNumbers('i8', [3], [200, -1.9, Number.NaN]).data).toEqual(Int8Array.of(-56, -1, 0));
    expect(fromNumbers('u4', [2], [17, -1]).data).toEqual(Uint8Array.of(1, 15));
    expect(fromNumbers('i4', [1], [8]).data).toEqual(Int8Array.of(-8));
    expect(fromNumbers('i1', [3], [0, -2, 0.5]).data).toEqual(Uint8Array.of(0, 1, 1));
    expect(fromNumbers('u64', [1], [2n ** 64n - 1n]).data).toEqual(BigUint64Array.of(2n ** 64n - 1n));
  });
});
