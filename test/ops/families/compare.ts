// Compares what ran with what a definition says, or two runs with each other.

import { type DType, DTYPE_INFO } from '../../../src/support/dtype.js';
import type { Arr } from './arrays.js';

export interface Result extends Arr {
  readonly dtype: DType;
}

/** Of one step of the type, generously: definitions compute in doubles. */
const TOLERANCE: Readonly<Partial<Record<DType, number>>> = { f64: 1e-6, f32: 2e-5, f16: 4e-3, bf16: 3e-2 };

/** Empty, or the first difference in words. Floats agree to a relative and absolute tolerance; integers exactly, or to an absolute one. */
export function difference(
  got: (Pick<Result, 'dtype' | 'shape'> & { readonly values: readonly number[] }) | undefined,
  want: Arr,
  tolerance?: number,
): string {
  if (!got) return 'no output';
  if (got.shape.join() !== want.shape.join()) return `shape [${got.shape}], not [${want.shape}]`;
  const real = DTYPE_INFO[got.dtype].kind === 'float';
  const close = tolerance ?? TOLERANCE[got.dtype] ?? 0;
  for (const [k, w] of want.data.entries()) {
    const g = got.values[k] as number;
    const same = Object.is(g, w) || g === w || Math.abs(g - w) <= (real ? close * Math.max(1, Math.abs(w)) : close);
    if (!same) return `element ${k} is ${g}, not ${w}`;
  }
  return '';
}
