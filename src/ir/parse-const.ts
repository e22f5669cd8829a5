// Constant contents from text: elements, splat(x), random(seed) for tests, or a hash looked up in the side table.

import { DTYPE_INFO, type DType, isFloat } from '../support/dtype.js';
import { STORAGE, sizeOf, type Tensor, type TypedArray } from '../support/tensor.js';
import { parseDType } from './parse-expr.js';
import type { Tokens } from './parse-tokens.js';
import { rememberText } from './print-const.js';
import type { ConstData } from './tensor.js';

/** More elements than this are refused in a form that makes them from nothing. */
const MAX_MADE = 1 << 24;

/** `f32[2, 2] [1, 2, 3, 4]` and the other forms of print-const.ts. */
export function parseConst(t: Tokens, table: ReadonlyMap<string, Tensor>): ConstData {
  const dtype = parseDType(t);
  const shape = t.list('[', () => t.integer('a size'), ']');
  const n = sizeOf(shape);
  const at = t.peek();
  if (!shape.every((d) => d >= 0) || !Number.isSafeInteger(n))
    return t.fail('sizes must not be negative or too large', at);
  if (at.kind === 'hash') return fromTable(t, dtype, shape, table);
  if (t.is('[')) return data(dtype, shape, parseElements(t, dtype, n));
  const form = t.one('word', 'elements');
  if (n > MAX_MADE) return t.fail(`${n} elements are too many for ${form}`, at);
  if (form === 'splat') {
    const [value] = parseElements(t, dtype, 1, ['(', ')']);
    return data(dtype, shape, dtype === 'string' ? Array(n).fill(value) : filled(dtype, n, value as number));
  }
  if (form !== 'random' || dtype === 'string') return t.fail('expected elements, splat(x), random(seed) or a hash', at);
  t.expect('(');
  const seed = t.integer('a seed');
  t.expect(')');
  const made = data(dtype, shape, randomElements(dtype, n, seed));
  rememberText(made, `${dtype}[${shape.join(', ')}] random(${seed})`);
  return made;
}

const data = (dtype: DType, shape: readonly number[], elements: Tensor['data']): ConstData => {
  const t: Tensor = { dtype, shape, data: elements };
  return { dtype, shape, read: () => t };
};

function fromTable(t: Tokens, dtype: DType, shape: readonly number[], table: ReadonlyMap<string, Tensor>): ConstData {
  const at = t.peek();
  const found = table.get(`#${t.next().text}`);
  if (!found) return t.fail(`the data of constant #${at.text} are not at hand`, at);
  if (found.dtype !== dtype || sizeOf(found.shape) !== sizeOf(shape))
    return t.fail(`#${at.text} is ${found.dtype}[${found.shape.join(', ')}]`, at);
  return data(dtype, shape, found.data);
}

const newArray = (dtype: DType, n: number): TypedArray => new STORAGE[dtype as 'f32'](n) as TypedArray;

const filled = (dtype: DType, n: number, value: number | bigint): TypedArray => newArray(dtype, n).fill(value as never);

function parseElements(
  t: Tokens,
  dtype: DType,
  n: number,
  [open, close] = ['[', ']'] as const as readonly [string, string],
): Tensor['data'] {
  const at = t.peek();
  if (dtype === 'string') {
    const texts = t.list(open, () => t.one('string', 'a string'), close);
    return texts.length === n ? texts : t.fail(`${texts.length} elements for a shape of ${n}`, at);
  }
  const values = t.list(open, () => parseElement(t, dtype), close);
  if (values.length !== n) return t.fail(`${values.length} elements for a shape of ${n}`, at);
  const out = newArray(dtype, n);
  values.forEach((v, k) => {
    if (typeof v === 'object') writeBits(out, k, v.bits);
    else out[k] = v as never;
  });
  return out;
}

/** A number; hex digits are the element's bits. */
function parseElement(t: Tokens, dtype: DType): number | bigint | { readonly bits: bigint } {
  const at = t.peek();
  const sign = t.take('-') ? '-' : '';
  const text = t.is('inf') ? t.next().text : t.one('number', 'an element');
  if (text.startsWith('0x')) return { bits: BigInt(text) };
  if (isFloat(dtype)) {
    if (DTYPE_INFO[dtype].bits < 32) return t.fail(`elements of type ${dtype} are written as bits: 0x…`, at);
    return Number(`${sign}${text.replace('inf', 'Infinity')}`);
  }
  if (!/^\d+$/.test(text)) return t.fail(`${text} is not a whole number`, at);
  return dtype === 'i64' || dtype === 'u64' ? BigInt(`${sign}${text}`) : Number(`${sign}${text}`);
}

function writeBits(out: TypedArray, k: number, bits: bigint): void {
  const view = new DataView(out.buffer, out.byteOffset + k * out.BYTES_PER_ELEMENT, out.BYTES_PER_ELEMENT);
  for (let i = 0; i < out.BYTES_PER_ELEMENT; i++) view.setUint8(i, Number((bits >> BigInt(8 * i)) & 255n));
}

/** Small values whose sums and products are mostly exact: floats in [-1, 1) by 64ths, integers of four bits. */
function randomElements(dtype: DType, n: number, seed: number): TypedArray {
  const out = newArray(dtype, n);
  const { kind, bits } = DTYPE_INFO[dtype];
  let state = Math.imul(seed, 0x9e3779b9) ^ 0x85ebca6b;
  for (let k = 0; k < n; k++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const x = (state >>> 16) & 127;
    if (kind === 'bool') out[k] = (x & 1) as never;
    else if (dtype === 'f32' || dtype === 'f64') out[k] = ((x - 64) / 64) as never;
    else {
      const small = kind === 'float' ? x & 15 : kind === 'int' ? (x & 15) - 8 : x & 15;
      const value = bits < 4 ? small & 1 : small;
      out[k] = (dtype === 'i64' || dtype === 'u64' ? BigInt(value) : value) as never;
    }
  }
  return out;
}
