// The entropy-coded part of a JPEG: bits, Huffman codes, and the four kinds of blocks (T.81 F.2, G.1): a whole block, or in
// progressive frames the first or a later pass over the constant term or over a band of the others.

import type { Component, Frame } from './jpeg.js';
import { PictureError } from './picture.js';

/** Canonical codes: per length the first code, the first symbol's position and the number of codes. */
export interface Huffman {
  readonly first: Int32Array;
  readonly offset: Int32Array;
  readonly counts: Uint8Array;
  readonly symbols: Uint8Array;
}

export function huffmanTable(counts: Uint8Array, symbols: Uint8Array): Huffman {
  const [first, offset] = [new Int32Array(17), new Int32Array(17)];
  let [code, k] = [0, 0];
  for (let n = 1; n <= 16; n++) {
    first[n] = code;
    offset[n] = k;
    const here = counts[n - 1] as number;
    k += here;
    code = (code + here) << 1;
  }
  return { first, offset, counts, symbols };
}

/** Where the coefficient at each place of the zigzag stands in the block. */
export const ZIGZAG = Uint8Array.of(
  ...[0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21],
  ...[28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61],
  ...[54, 47, 55, 62, 63],
);

export interface Band {
  readonly from: number;
  readonly to: number;
  /** Bits known before this pass, and after it, counted from below; 0 and 0 where a pass gives all. */
  readonly high: number;
  readonly low: number;
}

interface Part {
  readonly component: Component;
  readonly dc: Huffman | undefined;
  readonly ac: Huffman | undefined;
}

interface Bits {
  readonly bit: () => number;
  readonly take: (n: number) => number;
  /** n bits as a signed number of T.81's table F.1. */
  readonly signed: (n: number) => number;
  readonly symbol: (h: Huffman | undefined) => number;
  /** Drops what is left of a byte and passes a restart marker, if one is next. */
  readonly restart: () => void;
  readonly at: () => number;
}

/** After the data's end, zeros. */
function bitReader(bytes: Uint8Array, from: number): Bits {
  let [at, held, value] = [from, 0, 0];
  const bit = (): number => {
    if (held === 0) {
      value = at < bytes.length ? (bytes[at] as number) : 0;
      if (value === 0xff && bytes[at + 1] !== 0) value = 0;
      else at += value === 0xff ? 2 : 1;
      held = 8;
    }
    held--;
    return (value >> held) & 1;
  };
  const take = (n: number): number => {
    let v = 0;
    for (let k = 0; k < n; k++) v = (v << 1) | bit();
    return v;
  };
  const symbol = (h: Huffman | undefined): number => {
    if (!h) throw new PictureError('JPEG: a scan uses a code table that is not there');
    let code = 0;
    for (let n = 1; n <= 16; n++) {
      code = (code << 1) | bit();
      const k = code - (h.first[n] as number);
      if (k < (h.counts[n - 1] as number)) return h.symbols[(h.offset[n] as number) + k] as number;
    }
    throw new PictureError('JPEG: a code that is in no table');
  };
  const restart = (): void => {
    held = 0;
    while (at < bytes.length - 1 && !(bytes[at] === 0xff && bytes[at + 1] !== 0)) at++;
    const marker = bytes[at + 1] ?? 0;
    if (marker >= 0xd0 && marker <= 0xd7) at += 2;
  };
  const signed = (n: number): number => {
    if (n === 0) return 0;
    const v = take(n);
    return v < 2 ** (n - 1) ? v - 2 ** n + 1 : v;
  };
  return { bit, take, signed, symbol, restart, at: () => at };
}

export function createScanReader(bytes: Uint8Array, start: number, frame: Frame, interval: number) {
  const bits = bitReader(bytes, start);
  const previous = new Map<Component, number>();
  let run = 0;

  /** The constant term: a difference to the block before. */
  const constantTerm = ({ component, dc }: Part): number => {
    const value = (previous.get(component) ?? 0) + bits.signed(bits.symbol(dc));
    previous.set(component, value);
    return value;
  };

  const whole = (part: Part, c: Int16Array, at: number): void => {
    c[at] = constantTerm(part);
    for (let k = 1; k < 64; k++) {
      const rs = bits.symbol(part.ac);
      const [skip, size] = [rs >> 4, rs & 15];
      if (size === 0 && skip < 15) return;
      k += skip;
      if (k > 63) return;
      if (size > 0) c[at + (ZIGZAG[k] as number)] = bits.signed(size);
    }
  };

  const firstPass = (part: Part, c: Int16Array, at: number, band: Band): void => {
    if (run > 0) {
      run--;
      return;
    }
    for (let k = band.from; k <= band.to; k++) {
      const rs = bits.symbol(part.ac);
      const [skip, size] = [rs >> 4, rs & 15];
      if (size === 0 && skip < 15) {
        run = (1 << skip) - 1 + bits.take(skip);
        return;
      }
      k += skip;
      if (k > 63) return;
      if (size > 0) c[at + (ZIGZAG[k] as number)] = bits.signed(size) * (1 << band.low);
    }
  };

  /** One more bit of what is not zero. */
  const refine = (c: Int16Array, at: number, low: number): void => {
    const v = c[at] as number;
    if (bits.bit() && !(Math.abs(v) & (1 << low))) c[at] = v + (v < 0 ? -1 : 1) * (1 << low);
  };

  const laterPass = (part: Part, c: Int16Array, at: number, band: Band): void => {
    let k = band.from;
    while (run === 0 && k <= band.to) {
      const rs = bits.symbol(part.ac);
      let skip = rs >> 4;
      const fresh = rs & 15 ? (bits.bit() ? 1 : -1) * (1 << band.low) : 0;
      if (fresh === 0 && skip < 15) {
        run = (1 << skip) + bits.take(skip);
        break;
      }
      for (; k <= band.to; k++) {
        const place = at + (ZIGZAG[k] as number);
        if (c[place] !== 0) refine(c, place, band.low);
        else if (skip-- === 0) {
          if (fresh !== 0) c[place] = fresh;
          k++;
          break;
        }
      }
    }
    if (run === 0) return;
    for (; k <= band.to; k++) if (c[at + (ZIGZAG[k] as number)] !== 0) refine(c, at + (ZIGZAG[k] as number), band.low);
    run--;
  };

  const block = (part: Part, row: number, column: number, band: Band): void => {
    const c = part.component.coefficients;
    const at = (row * part.component.stride + column) * 64;
    if (!frame.progressive) whole(part, c, at);
    else if (band.from > 0) (band.high === 0 ? firstPass : laterPass)(part, c, at, band);
    else if (band.high === 0) c[at] = constantTerm(part) * (1 << band.low);
    else if (bits.bit()) c[at] = (c[at] as number) | (1 << band.low);
  };

  /** Units of one component alone are its blocks; of several, a rectangle of blocks of each. */
  const units = (parts: readonly Part[], band: Band): { count: number; read: (n: number) => void } => {
    const [only] = parts;
    if (parts.length === 1 && only) {
      const { blocksWide, blocksHigh } = only.component;
      const read = (n: number): void => block(only, Math.floor(n / blocksWide), n % blocksWide, band);
      return { count: blocksWide * blocksHigh, read };
    }
    const wide = Math.ceil(frame.width / (8 * frame.hMax));
    const read = (n: number): void => {
      for (const part of parts) {
        const { h, v } = part.component;
        for (let k = 0; k < h * v; k++)
          block(part, Math.floor(n / wide) * v + Math.floor(k / h), (n % wide) * h + (k % h), band);
      }
    };
    return { count: wide * Math.ceil(frame.height / (8 * frame.vMax)), read };
  };

  return {
    read(parts: readonly Part[], band: Band): number {
      const { count, read } = units(parts, band);
      for (let n = 0; n < count; n++) {
        if (interval > 0 && n > 0 && n % interval === 0) {
          bits.restart();
          previous.clear();
          run = 0;
        }
        read(n);
      }
      return bits.at();
    },
  };
}
