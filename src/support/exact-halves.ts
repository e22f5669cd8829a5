// Floats that are halves: values of f16 or bf16 held as f32, and back to the 16 bits each was. Nothing is rounded: where one
// value is no half, none is made.

import type { NarrowFloat } from './float.js';

export type Half = Extract<NarrowFloat, 'f16' | 'bf16'>;

const ABS = 0x7fffffff;
/** Bits of 2^−14 and 2^16: normal numbers of f16 are from the one to below the other. */
const [LEAST_NORMAL, TOO_LARGE] = [0x38800000, 0x47800000];
/** What turns a subnormal f16 into the integer its bits are. */
const SUBNORMAL_UNITS = 2 ** 24;

/** The bits of every value in the format that holds them all; bf16, which takes less to read, where both do. Null where neither
 *  does, or where f16 would need an infinity or NaN. */
export function exactHalves(values: Float32Array): { readonly kind: Half; readonly bits: Int16Array } | null {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  if (words.every((w) => (w & 0xffff) === 0)) return { kind: 'bf16', bits: Int16Array.from(words, (w) => w >> 16) };
  const bits = new Int16Array(words.length);
  for (let k = 0; k < words.length; k++) {
    const word = words[k] as number;
    const magnitude = word & ABS;
    const sign = (word >>> 16) & 0x8000;
    if (magnitude >= LEAST_NORMAL) {
      if (magnitude >= TOO_LARGE || (magnitude & 0x1fff) !== 0) return null;
      bits[k] = sign | ((magnitude - LEAST_NORMAL + 0x800000) >> 13);
    } else {
      const units = Math.abs(values[k] as number) * SUBNORMAL_UNITS;
      if (!Number.isInteger(units)) return null;
      bits[k] = sign | units;
    }
  }
  return { kind: 'f16', bits };
}
