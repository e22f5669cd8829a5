// Picture files to pixels: to the bit what the usual libraries give, and an error with a reason for whatever is broken.

import { describe, expect, it } from 'vitest';
import { decodePicture } from '../../src/support/image/decode.js';
import { PictureError } from '../../src/support/image/picture.js';
import { PICTURES } from './picture-files.js';

const fileOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const fnv = (bytes: Uint8Array): number => bytes.reduce((h, b) => Math.imul(h ^ b, 0x01000193) >>> 0, 0x811c9dc5);
const ascii = (text: string): number[] => [...text].map((c) => c.charCodeAt(0));
const u32 = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24];
const u16 = (n: number): number[] => [n & 255, n >> 8];

/** A bitmap of 2 × 2 pixels with a header of 40 bytes. */
const bmp = (bits: number, height: number, extra: number[], rows: number[]): Uint8Array => {
  const start = 54 + extra.length;
  const info = [...u32(40), ...u32(2), ...u32(height), ...u16(1), ...u16(bits), ...u32(0), ...u32(0)];
  const rest = [...u32(0), ...u32(0), ...u32(0), ...u32(0)];
  return Uint8Array.of(
    ...ascii('BM'),
    ...u32(start + rows.length),
    ...u32(0),
    ...u32(start),
    ...info,
    ...rest,
    ...extra,
    ...rows,
  );
};

describe('pictures', () => {
  it.each(Object.entries(PICTURES))('decode %s to the bit', (_name, { base64, channels, hash }) => {
    const p = decodePicture(fileOf(base64));
    expect([p.width, p.height, p.channels]).toEqual([21, 19, channels]);
    expect(fnv(p.data)).toBe(hash);
  });

  it('decode bitmaps from the bottom or the top, direct or through a palette', () => {
    const rows = [3, 2, 1, 6, 5, 4, 0, 0, 9, 8, 7, 12, 11, 10, 0, 0];
    expect([...decodePicture(bmp(24, 2, [], rows)).data]).toEqual([7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6]);
    expect([...decodePicture(bmp(24, -2, [], rows)).data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    const colors = [...[0, 0, 0, 0], ...[30, 20, 10, 0]];
    const bits = [0b0100_0000, 0, 0, 0, 0b1000_0000, 0, 0, 0];
    expect([...decodePicture(bmp(1, -2, colors, bits)).data]).toEqual([0, 0, 0, 10, 20, 30, 10, 20, 30, 0, 0, 0]);
  });

  it('decode portable maps in text and binary', () => {
    const data = (text: string, more: number[] = []): number[] => [
      ...decodePicture(Uint8Array.of(...ascii(text), ...more)).data,
    ];
    expect(data('P1\n# bits\n3 1\n101\n')).toEqual([0, 255, 0]);
    expect(data('P4 3 2\n', [0b10100000, 0b01000000])).toEqual([0, 255, 0, 255, 0, 255]);
    expect(data('P2 2 1 15\n 0 15\n')).toEqual([0, 255]);
    expect(data('P5 2 1 65535\n', [255, 255, 0, 128])).toEqual([255, 0]);
    expect(data('P3 1 1 255 1 2 3\n')).toEqual([1, 2, 3]);
    expect(data('P6 1 1 255\n', [4, 5, 6])).toEqual([4, 5, 6]);
  });

  it('say what is wrong with files that are cut off, damaged or none', () => {
    expect(() => decodePicture(Uint8Array.of(1, 2, 3, 4))).toThrow(/none of JPEG, PNG/);
    const decodes = (bytes: Uint8Array): string => {
      try {
        return `${decodePicture(bytes).width}`;
      } catch (error) {
        if (error instanceof PictureError) return 'refused';
        throw error;
      }
    };
    let seed = 7;
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % n;
    };
    const seen = Object.values(PICTURES).flatMap(({ base64 }) => {
      const file = fileOf(base64);
      return Array.from({ length: 40 }, () => {
        const damaged = file.slice(0, random(2) ? file.length : random(file.length));
        for (let k = 0; k < 3; k++) if (damaged.length > 4) damaged[4 + random(damaged.length - 4)] = random(256);
        return decodes(damaged);
      });
    });
    expect(seen).toContain('refused');
  });
});
