// JPEG coefficients to pixels: the inverse cosine transform of Loeffler, Ligtenberg and Moschytz in 13-bit fixed point,
// triangle-weighted upsampling of halved planes, and JFIF's colour transform in 16-bit fixed point.

import type { Component, Frame, Tables } from './jpeg.js';
import { ZIGZAG } from './jpeg-scan.js';
import { paint, type Picture, PictureError } from './picture.js';

interface Plane {
  /** Samples that belong to the picture, and samples from row to row. */
  readonly width: number;
  readonly height: number;
  readonly stride: number;
  readonly data: Uint8Array;
}

const clamp = (v: number): number => Math.min(255, Math.max(0, v));

/** Eight values a step apart, in place; `shift` bits are rounded off. */
function transform8(v: Int32Array, at: number, step: number, shift: number): void {
  const x = (k: number): number => v[at + k * step] as number;
  const half = (x(2) + x(6)) * 4433;
  const [even2, even3] = [half - x(6) * 15137, half + x(2) * 6270];
  const [sum, difference] = [(x(0) + x(4)) * 8192, (x(0) - x(4)) * 8192];
  const even = [sum + even3, difference + even2, difference - even2, sum - even3] as const;
  const z5 = (x(7) + x(3) + x(5) + x(1)) * 9633;
  const [z1, z2] = [(x(7) + x(1)) * -7373, (x(5) + x(3)) * -20995];
  const [z3, z4] = [(x(7) + x(3)) * -16069 + z5, (x(5) + x(1)) * -3196 + z5];
  const odd = [x(1) * 12299 + z1 + z4, x(3) * 25172 + z2 + z3, x(5) * 16819 + z2 + z4, x(7) * 2446 + z1 + z3] as const;
  const round = 2 ** (shift - 1);
  for (let k = 0; k < 4; k++) {
    const [p, q] = [even[k] as number, odd[k] as number];
    v[at + k * step] = (p + q + round) >> shift;
    v[at + (7 - k) * step] = (p - q + round) >> shift;
  }
}

function planeOf(c: Component, frame: Frame, tables: Tables): Plane {
  const scale = tables.quantization.get(c.table);
  if (!scale) throw new PictureError('JPEG: a quantisation table is missing');
  const stride = c.stride * 8;
  const data = new Uint8Array(stride * c.rows * 8);
  const block = new Int32Array(64);
  for (let n = 0; n < c.stride * c.rows; n++) {
    for (let k = 0; k < 64; k++) {
      const at = ZIGZAG[k] as number;
      block[at] = (c.coefficients[n * 64 + at] as number) * (scale[k] as number);
    }
    for (let k = 0; k < 8; k++) transform8(block, k, 8, 11);
    for (let k = 0; k < 8; k++) transform8(block, 8 * k, 1, 18);
    const from = Math.floor(n / c.stride) * 8 * stride + (n % c.stride) * 8;
    for (let k = 0; k < 64; k++) data[from + (k >> 3) * stride + (k & 7)] = clamp((block[k] as number) + 128);
  }
  const part = (size: number, factor: number, most: number): number => Math.ceil((size * factor) / most);
  return { width: part(frame.width, c.h, frame.hMax), height: part(frame.height, c.v, frame.vMax), stride, data };
}

/** A sample of the plane at picture position (x, y), which has `dx` × `dy` times as many. */
function sampler(p: Plane, dx: number, dy: number): (x: number, y: number) => number {
  const at = (x: number, y: number): number => p.data[y * p.stride + x] as number;
  const row = (y: number): number => Math.min(p.height - 1, Math.max(0, y));
  if (dx === 1 && dy === 1) return at;
  if (dx === 1 && dy === 2)
    return (x, y) => (3 * at(x, y >> 1) + at(x, row((y >> 1) + (y & 1 ? 1 : -1))) + (y & 1 ? 2 : 1)) >> 2;
  if (dx !== 2 || dy > 2 || p.width <= 2) return (x, y) => at(Math.floor(x / dx), Math.floor(y / dy));
  /** Three parts the nearest, one part the next; at an end the nearest alone. */
  const across = (value: (k: number) => number, x: number, bias: readonly [number, number], bits: number): number => {
    const k = x >> 1;
    const next = x & 1 ? k + 1 : k - 1;
    const other = next < 0 || next >= p.width ? value(k) : value(next);
    return (3 * value(k) + other + (bias[x & 1] as number)) >> bits;
  };
  if (dy === 1) return (x, y) => across((k) => at(k, y), x, [1, 2], 2);
  return (x, y) => {
    const [near, far] = [y >> 1, row((y >> 1) + (y & 1 ? 1 : -1))];
    return across((k) => 3 * at(k, near) + at(k, far), x, [8, 7], 4);
  };
}

export function toPicture(frame: Frame, tables: Tables): Picture {
  const { width, height, components } = frame;
  const samplers = components.map((c) => sampler(planeOf(c, frame, tables), frame.hMax / c.h, frame.vMax / c.v));
  const [a, b, c] = samplers;
  if (!a || (samplers.length !== 1 && samplers.length !== 3) || samplers.length > 3)
    throw new PictureError(`JPEG: ${samplers.length} colour components are not read`);
  if (!b || !c)
    return paint(width, height, 1, (x, y, into, at) => {
      into[at] = a(x, y);
    });
  const isRgb = tables.transform === 0 || (tables.transform === undefined && isNamedRgb(components));
  return paint(width, height, 3, (x, y, into, at) => {
    const [p, q, r] = [a(x, y), b(x, y), c(x, y)];
    if (isRgb) into.set([p, q, r], at);
    else {
      const [cb, cr] = [q - 128, r - 128];
      into[at] = clamp(p + ((91881 * cr + 32768) >> 16));
      into[at + 1] = clamp(p + ((-22554 * cb - 46802 * cr + 32768) >> 16));
      into[at + 2] = clamp(p + ((116130 * cb + 32768) >> 16));
    }
  });
}

/** Components called R, G and B. */
const isNamedRgb = (components: readonly Component[]): boolean =>
  components.map((c) => String.fromCharCode(c.id)).join('') === 'RGB';
