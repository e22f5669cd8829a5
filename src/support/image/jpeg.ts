// JPEG (ITU-T T.81): sequential and progressive Huffman-coded frames of 8 bits. This file reads the markers; the coefficients
// are decoded in jpeg-scan.ts and become pixels in jpeg-pixels.ts, with the integer arithmetic most decoders share, so that
// results agree with theirs to the bit.

import { toPicture } from './jpeg-pixels.js';
import { createScanReader, type Huffman, huffmanTable } from './jpeg-scan.js';
import { checkSize, type Picture, PictureError } from './picture.js';

/** One colour plane. Coefficients are in blocks of 64, row-major, in whole units of the interleaved order. */
export interface Component {
  readonly id: number;
  /** Sampling factors. */
  readonly h: number;
  readonly v: number;
  readonly table: number;
  /** Blocks that hold samples, and blocks held. */
  readonly blocksWide: number;
  readonly blocksHigh: number;
  readonly stride: number;
  readonly rows: number;
  readonly coefficients: Int16Array;
}

export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly progressive: boolean;
  readonly hMax: number;
  readonly vMax: number;
  readonly components: readonly Component[];
}

export interface Tables {
  /** In zigzag order. */
  readonly quantization: Map<number, Uint16Array>;
  readonly dc: Map<number, Huffman>;
  readonly ac: Map<number, Huffman>;
  restart: number;
  /** The colour transform an Adobe marker names; undefined without one. */
  transform: number | undefined;
}

const SOF = [0xc0, 0xc1, 0xc2];
const STANDALONE = (m: number): boolean => m === 0x01 || (m >= 0xd0 && m <= 0xd8);

export function decodeJpeg(bytes: Uint8Array): Picture {
  const tables: Tables = { quantization: new Map(), dc: new Map(), ac: new Map(), restart: 0, transform: undefined };
  let frame: Frame | undefined;
  let at = 2;
  for (;;) {
    while (at < bytes.length && bytes[at] !== 0xff) at++;
    while (bytes[at] === 0xff) at++;
    const marker = bytes[at++];
    if (marker === undefined || marker === 0xd9) break;
    if (STANDALONE(marker)) continue;
    const length = (bytes[at] as number) * 256 + (bytes[at + 1] as number);
    const body = bytes.subarray(at + 2, at + length);
    if (!(length >= 2) || body.length !== length - 2) throw new PictureError('JPEG: a segment ends early');
    at += length;
    if (SOF.includes(marker)) frame = readFrame(body, marker === 0xc2);
    else if (marker > 0xc0 && marker < 0xd0 && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      throw new PictureError(`JPEG: frames of kind ${marker - 0xc0} are not read`);
    else if (marker === 0xda) {
      if (!frame) throw new PictureError('JPEG: a scan without a frame');
      at = readScan(body, bytes, at, frame, tables);
    } else readTables(marker, body, tables);
  }
  if (!frame) throw new PictureError('JPEG: it holds no picture');
  return toPicture(frame, tables);
}

function readTables(marker: number, body: Uint8Array, t: Tables): void {
  if (marker === 0xdb) readQuantization(body, t);
  else if (marker === 0xc4) readHuffman(body, t);
  else if (marker === 0xdd) t.restart = (body[0] as number) * 256 + (body[1] as number);
  else if (marker === 0xee && String.fromCharCode(...body.subarray(0, 5)) === 'Adobe') t.transform = body[11];
}

function readQuantization(body: Uint8Array, t: Tables): void {
  for (let at = 0; at < body.length; ) {
    const [wide, id] = [(body[at] as number) >> 4, (body[at] as number) & 15];
    const size = wide ? 128 : 64;
    if (at + 1 + size > body.length) throw new PictureError('JPEG: a quantisation table ends early');
    const values = body.subarray(at + 1, at + 1 + size);
    t.quantization.set(
      id,
      Uint16Array.from({ length: 64 }, (_, k) =>
        wide ? (values[2 * k] as number) * 256 + (values[2 * k + 1] as number) : (values[k] as number),
      ),
    );
    at += 1 + size;
  }
}

function readHuffman(body: Uint8Array, t: Tables): void {
  for (let at = 0; at < body.length; ) {
    const [ac, id] = [(body[at] as number) >> 4, (body[at] as number) & 15];
    const counts = body.subarray(at + 1, at + 17);
    const total = counts.reduce((n, c) => n + c, 0);
    const symbols = body.subarray(at + 17, at + 17 + total);
    if (counts.length < 16 || symbols.length < total) throw new PictureError('JPEG: a code table ends early');
    (ac ? t.ac : t.dc).set(id, huffmanTable(counts, symbols));
    at += 17 + total;
  }
}

function readFrame(body: Uint8Array, progressive: boolean): Frame {
  const u16 = (k: number): number => (body[k] as number) * 256 + (body[k + 1] as number);
  const [height, width, count] = [u16(1), u16(3), body[5] as number];
  if (body[0] !== 8) throw new PictureError(`JPEG: ${body[0]} bits a sample are not read`);
  checkSize(width, height);
  const specs = Array.from({ length: count }, (_, k) => body.subarray(6 + 3 * k, 9 + 3 * k));
  const factors = specs.map((s) => [(s[1] as number) >> 4, (s[1] as number) & 15] as const);
  if (specs.length === 0 || factors.some(([h, v]) => !(h >= 1 && h <= 4 && v >= 1 && v <= 4)))
    throw new PictureError('JPEG: the sampling factors break the format');
  const [hMax, vMax] = [Math.max(...factors.map(([h]) => h)), Math.max(...factors.map(([, v]) => v))];
  const [unitsWide, unitsHigh] = [Math.ceil(width / (8 * hMax)), Math.ceil(height / (8 * vMax))];
  const components = specs.map((s, k): Component => {
    const [h, v] = factors[k] as readonly [number, number];
    const [stride, rows] = [unitsWide * h, unitsHigh * v];
    return {
      id: s[0] as number,
      h,
      v,
      table: s[2] as number,
      blocksWide: Math.ceil(Math.ceil((width * h) / hMax) / 8),
      blocksHigh: Math.ceil(Math.ceil((height * v) / vMax) / 8),
      stride,
      rows,
      coefficients: new Int16Array(stride * rows * 64),
    };
  });
  return { width, height, progressive, hMax, vMax, components };
}

/** Gives the position behind the scan. */
function readScan(head: Uint8Array, bytes: Uint8Array, at: number, frame: Frame, tables: Tables): number {
  const count = head[0] as number;
  const parts = Array.from({ length: count }, (_, k) => {
    const [id, ids] = [head[1 + 2 * k], head[2 + 2 * k] as number];
    const component = frame.components.find((c) => c.id === id);
    if (!component) throw new PictureError(`JPEG: a scan of the unknown component ${id}`);
    return { component, dc: tables.dc.get(ids >> 4), ac: tables.ac.get(ids & 15) };
  });
  const [from, to, approximation] = [...head.subarray(1 + 2 * count, 4 + 2 * count)] as [number, number, number];
  const band = frame.progressive
    ? { from, to: Math.min(to, 63), high: approximation >> 4, low: approximation & 15 }
    : { from: 0, to: 63, high: 0, low: 0 };
  return createScanReader(bytes, at, frame, tables.restart).read(parts, band);
}
