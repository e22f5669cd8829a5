// Picture files by their first bytes: JPEG, PNG, BMP, TIFF, PNM. Synchronous, and the same in Node and browsers.

import { decode as decodePngFile } from 'fast-png';
import { decode as decodeTiffFile } from 'tiff';
import { decodeBmp } from './bmp.js';
import { decodeJpeg } from './jpeg.js';
import { paint, type Picture, PictureError } from './picture.js';
import { decodePnm } from './pnm.js';

interface Format {
  readonly name: string;
  readonly starts: readonly (readonly number[])[];
  readonly decode: (bytes: Uint8Array) => Picture;
}

const ascii = (text: string): readonly number[] => [...text].map((c) => c.charCodeAt(0));

const FORMATS: readonly Format[] = [
  { name: 'JPEG', starts: [[0xff, 0xd8, 0xff]], decode: decodeJpeg },
  { name: 'PNG', starts: [[0x89, ...ascii('PNG')]], decode: decodePng },
  { name: 'BMP', starts: [ascii('BM')], decode: decodeBmp },
  {
    name: 'TIFF',
    starts: [
      [...ascii('II'), 42, 0],
      [...ascii('MM'), 0, 42],
    ],
    decode: decodeTiff,
  },
  { name: 'PNM', starts: [1, 2, 3, 4, 5, 6].map((k) => ascii(`P${k}`)), decode: decodePnm },
];

export function decodePicture(bytes: Uint8Array): Picture {
  const format = FORMATS.find((f) => f.starts.some((s) => s.every((b, k) => bytes[k] === b)));
  if (!format) throw new PictureError(`this is none of ${FORMATS.map((f) => f.name).join(', ')}`);
  try {
    return format.decode(bytes);
  } catch (error) {
    if (error instanceof PictureError) throw error;
    throw new PictureError(`${format.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

interface Samples {
  readonly width: number;
  readonly height: number;
  readonly data: ArrayLike<number>;
  /** Samples a pixel, and how many of them are transparency, which is left out. */
  readonly channels: number;
  readonly alpha: boolean;
  readonly most: number;
  /** Colours that samples are positions in. */
  readonly palette?: readonly (readonly number[])[] | undefined;
  readonly inverted?: boolean;
}

function fromSamples(s: Samples): Picture {
  const color = s.palette ? 3 : s.channels - Number(s.alpha);
  if (color !== 1 && color !== 3) throw new PictureError(`${color} colour channels are not read`);
  const level = (v: number): number => {
    const scaled = Math.round((v * 255) / s.most);
    return s.inverted ? 255 - scaled : scaled;
  };
  return paint(s.width, s.height, color, (x, y, into, at) => {
    const from = (y * s.width + x) * s.channels;
    const entry = s.palette?.[s.data[from] as number];
    for (let c = 0; c < color; c++) into[at + c] = entry ? (entry[c] as number) : level(s.data[from + c] as number);
  });
}

function decodePng(bytes: Uint8Array): Picture {
  const { width, height, data, channels, depth, palette } = decodePngFile(bytes);
  const samples = depth < 8 ? unpack(data as Uint8Array, width * channels, height, depth) : data;
  return fromSamples({
    width,
    height,
    data: samples,
    channels,
    alpha: channels === 2 || channels === 4,
    most: 2 ** depth - 1,
    palette,
  });
}

/** Samples narrower than a byte; rows start at bytes. */
function unpack(data: Uint8Array, row: number, height: number, bits: number): Uint8Array {
  const bytes = Math.ceil((row * bits) / 8);
  const mask = 2 ** bits - 1;
  return Uint8Array.from({ length: row * height }, (_, k) => {
    const bit = (k % row) * bits;
    return ((data[Math.floor(k / row) * bytes + (bit >> 3)] as number) >> (8 - bits - (bit & 7))) & mask;
  });
}

function decodeTiff(bytes: Uint8Array): Picture {
  const [page] = decodeTiffFile(bytes, { pages: [0] });
  if (!page) throw new PictureError('TIFF: it holds no picture');
  const { width, height, data, components, alpha, bitsPerSample, type, palette } = page;
  if (![8, 16].includes(bitsPerSample)) throw new PictureError(`TIFF: ${bitsPerSample} bits a sample are not read`);
  return fromSamples({
    width,
    height,
    data,
    channels: components,
    alpha,
    most: 2 ** bitsPerSample - 1,
    palette: palette?.map((c) => c.map((v) => v >> 8)),
    inverted: type === 0,
  });
}
