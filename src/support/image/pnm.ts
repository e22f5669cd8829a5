// Portable bitmaps, greymaps and pixmaps, as text (P1 to P3) and binary (P4 to P6).

import { checkSize, paint, type Picture, PictureError } from './picture.js';

export function decodePnm(bytes: Uint8Array): Picture {
  const kind = (bytes[1] as number) - 48;
  const isText = kind <= 3;
  const isBits = kind === 1 || kind === 4;
  const header = reader(bytes, 2);
  const [width, height] = [header.number(), header.number()];
  checkSize(width, height);
  const most = isBits ? 1 : header.number();
  if (most < 1 || most > 65535) throw new PictureError(`PNM: a largest value of ${most}`);
  const channels = kind === 3 || kind === 6 ? 3 : 1;
  const next = isText ? header.sample(isBits) : binary(bytes, header.at() + 1, width * channels, isBits, most > 255);
  const level = (v: number): number => (isBits ? (v ? 0 : 255) : Math.round((Math.min(v, most) * 255) / most));
  return paint(width, height, channels, (_x, _y, into, at) => {
    for (let c = 0; c < channels; c++) into[at + c] = level(next());
  });
}

/** Numbers in text, with white space and comments between them. */
function reader(bytes: Uint8Array, from: number) {
  let at = from;
  const isDigit = (): boolean => (bytes[at] as number) >= 48 && (bytes[at] as number) <= 57;
  const skip = (): void => {
    while (at < bytes.length && !isDigit()) {
      if (bytes[at] === 35) while (at < bytes.length && bytes[at] !== 10) at++;
      at++;
    }
    if (at >= bytes.length) throw new PictureError('PNM: it ends early');
  };
  const number = (): number => {
    skip();
    let value = 0;
    for (; isDigit(); at++) value = Math.min(value * 10 + (bytes[at] as number) - 48, 2 ** 31);
    return value;
  };
  const digit = (): number => {
    skip();
    return (bytes[at++] as number) - 48;
  };
  return { at: () => at, number, sample: (bits: boolean) => (bits ? digit : number) };
}

/** Samples one after the other; rows of bits are padded to bytes. */
function binary(bytes: Uint8Array, from: number, row: number, bits: boolean, wide: boolean): () => number {
  let k = -1;
  return () => {
    k++;
    const at = from + (bits ? Math.floor(k / row) * Math.ceil(row / 8) + ((k % row) >> 3) : wide ? 2 * k : k);
    if (at + Number(wide) >= bytes.length) throw new PictureError('PNM: the pixels end early');
    const byte = bytes[at] as number;
    return bits ? (byte >> (7 - ((k % row) & 7))) & 1 : wide ? byte * 256 + (bytes[at + 1] as number) : byte;
  };
}
