// Windows bitmaps without compression: 1, 4, 8 bits with a palette, 24 and 32 bits, and bit fields.

import { checkSize, paint, type Picture, PictureError } from './picture.js';

export function decodeBmp(bytes: Uint8Array): Picture {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 30) throw new PictureError('BMP: the header ends early');
  const start = view.getUint32(10, true);
  const header = view.getUint32(14, true);
  const old = header === 12;
  const width = old ? view.getUint16(18, true) : view.getInt32(18, true);
  const signed = old ? view.getUint16(20, true) : view.getInt32(22, true);
  const [height, fromTop] = [Math.abs(signed), signed < 0];
  const bits = view.getUint16(old ? 24 : 28, true);
  const compression = old ? 0 : view.getUint32(30, true);
  checkSize(width, height);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw new PictureError(`BMP: ${bits} bits a pixel`);
  if (compression !== 0 && compression !== 3) throw new PictureError(`BMP: compression ${compression} is not read`);
  const stride = (((width * bits + 31) >>> 5) << 2) >>> 0;
  if (start + stride * height > bytes.length) throw new PictureError('BMP: the pixels end early');
  const read =
    bits <= 8 ? palette(bytes, 14 + header, old ? 3 : 4, bits, start) : direct(view, bits, compression === 3);
  return paint(width, height, 3, (x, y, into, at) =>
    read(start + (fromTop ? y : height - 1 - y) * stride, x, into, at),
  );
}

type Reader = (row: number, x: number, into: Uint8Array, at: number) => void;

/** Entries of blue, green, red. */
function palette(bytes: Uint8Array, from: number, entry: number, bits: number, end: number): Reader {
  const mask = (1 << bits) - 1;
  return (row, x, into, at) => {
    const bit = x * bits;
    const index = ((bytes[row + (bit >> 3)] as number) >> (8 - bits - (bit & 7))) & mask;
    const color = from + index * entry;
    if (color + 3 > end) throw new PictureError(`BMP: colour ${index} is not in the palette`);
    for (let c = 0; c < 3; c++) into[at + c] = bytes[color + 2 - c] as number;
  };
}

/** Each channel under a mask; 24 bits always hold whole bytes. */
function direct(view: DataView, bits: number, fields: boolean): Reader {
  const usual = bits === 16 ? [0x7c00, 0x3e0, 0x1f] : [0xff0000, 0xff00, 0xff];
  const masks = fields ? [54, 58, 62].map((at) => view.getUint32(at, true)) : usual;
  const channels = masks.map((mask) => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
    return { mask, shift, most: Math.max(1, mask >>> shift) };
  });
  const bytes = bits >> 3;
  return (row, x, into, at) => {
    const from = row + x * bytes;
    const word =
      bytes === 2
        ? view.getUint16(from, true)
        : bytes === 3
          ? view.getUint16(from, true) | (view.getUint8(from + 2) << 16)
          : view.getUint32(from, true);
    channels.forEach(({ mask, shift, most }, c) => {
      into[at + c] = Math.round((((word & mask) >>> shift) * 255) / most);
    });
  };
}
