// A decoded picture: 8 bits a channel, rows from the top, red green blue or grey alone. decode.ts tells the formats apart.

export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
}

/** A file that breaks its format, or uses a part of it that is not read. */
export class PictureError extends Error {}

/** Largest number of pixels a header may ask for: memory stays in the scale of pictures, whatever a file claims. */
const MAX_PIXELS = 2 ** 26;

export function checkSize(width: number, height: number): void {
  if (!(width > 0 && height > 0 && width * height <= MAX_PIXELS))
    throw new PictureError(`a picture of ${width} × ${height} pixels`);
}

/** The picture from a function of each pixel's position that writes its channels. */
export function paint(
  width: number,
  height: number,
  channels: 1 | 3,
  pixel: (x: number, y: number, into: Uint8Array, at: number) => void,
): Picture {
  checkSize(width, height);
  const data = new Uint8Array(width * height * channels);
  for (let y = 0, at = 0; y < height; y++) for (let x = 0; x < width; x++, at += channels) pixel(x, y, data, at);
  return { width, height, channels, data };
}

/** Grey by the weights of ITU-R BT.601, in 16-bit fixed point. */
export const greyOf = (r: number, g: number, b: number): number => (r * 19595 + g * 38470 + b * 7471 + 32768) >> 16;
