// Constant contents as text: a few elements inline, all-equal ones as splat(x), others by a hash of their bytes whose
// data travel in a side table. Elements of formats without literals, and NaNs with a payload, are bits in hex.

import { DTYPE_INFO, type DType, isFloat } from '../support/dtype.js';
import { sizeOf, type Tensor, type TypedArray } from '../support/tensor.js';
import { printFloat32, printNumber } from './print-expr.js';
import type { ConstData } from './tensor.js';

/** More elements than this are not written out. */
const INLINE = 24;

const texts = new WeakMap<ConstData, string>();

/** Contents made from a form such as random(7) print as that form. */
export const rememberText = (data: ConstData, text: string): void => void texts.set(data, text);

/** `f32[2, 2] [1, 2, 3, 4]`, `f32[64] splat(0)`, `f32[64, 3] #3f2a…`. */
export function printConst(data: ConstData): string {
  const known = texts.get(data);
  if (known !== undefined) return known;
  const text = `${data.dtype}[${data.shape.join(', ')}] ${printElements(data.read())}`;
  texts.set(data, text);
  return text;
}

function printElements(t: Tensor): string {
  const n = sizeOf(t.shape);
  if (n <= INLINE || t.dtype === 'string')
    return `[${Array.from({ length: n }, (_, k) => printElement(t, k)).join(', ')}]`;
  const first = printElement(t, 0);
  for (let k = 1; k < n; k++) if (!sameElement(t, k) && printElement(t, k) !== first) return hashOf(t);
  return `splat(${first})`;
}

const sameElement = (t: Tensor, k: number): boolean => t.data[k] === t.data[0] && t.data[k] !== 0;

export function printElement(t: Tensor, k: number): string {
  const v = t.data[k] as number | bigint | string;
  if (typeof v === 'string') return JSON.stringify(v);
  if (t.dtype === 'f32' || t.dtype === 'f64') {
    if (Number.isNaN(v)) return bitsOfFloat(t.data as Float32Array | Float64Array, k);
    return t.dtype === 'f32' ? printFloat32(Number(v)) : printNumber(v);
  }
  return isFloat(t.dtype) ? `0x${v.toString(16)}` : String(v);
}

function bitsOfFloat(data: Float32Array | Float64Array, k: number): string {
  const width = data.BYTES_PER_ELEMENT;
  const view = new DataView(data.buffer, data.byteOffset + k * width, width);
  return `0x${(width === 4 ? view.getUint32(0, true) : view.getBigUint64(0, true)).toString(16)}`;
}

/** 64 bits of the element bytes, as #hex. */
export function hashOf(t: Tensor): string {
  const { buffer, byteOffset, byteLength } = t.data as TypedArray;
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  let [a, b] = [0x811c9dc5 ^ byteLength, 0x2545f491 ^ DTYPE_INFO[t.dtype].bits];
  for (let i = 0; i < bytes.length; i++) {
    const x = bytes[i] as number;
    a = Math.imul(a ^ x, 0x01000193);
    b = Math.imul((b ^ x) + (b >>> 15), 0x2c1b3c6d);
  }
  const mix = (x: number): string =>
    ((Math.imul(x ^ (x >>> 15), 0x85ebca6b) ^ (x >>> 13)) >>> 0).toString(16).padStart(8, '0');
  return `#${mix(a)}${mix(b ^ (a >>> 7))}`;
}

/** Is this constant written by hash? */
export const isByHash = (dtype: DType, text: string): boolean => dtype !== 'string' && / #[0-9a-f]+$/.test(text);
