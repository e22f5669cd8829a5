// A tensor in one line: type, shape, range, the first few elements.

import { type Tensor, toNumbers } from '../support/tensor.js';

export interface TensorSummary {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Of the finite elements; null where there are none. */
  readonly min: number | null;
  readonly max: number | null;
  readonly mean: number | null;
  readonly first: readonly (number | string)[];
}

const SHOWN = 6;

export function summariseTensor(t: Tensor): Omit<TensorSummary, 'name'> {
  const { dtype, shape } = t;
  if (dtype === 'string') {
    const first = (t.data as readonly string[]).slice(0, SHOWN).map((s) => JSON.stringify(s));
    return { dtype, shape, min: null, max: null, mean: null, first };
  }
  const values = toNumbers(t);
  let [min, max, sum, count] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    min = Math.min(min, v);
    max = Math.max(max, v);
    sum += v;
    count++;
  }
  const first = Array.from(values.subarray(0, SHOWN), (v) =>
    Number.isFinite(v) ? Number(v.toPrecision(6)) : String(v),
  );
  const some = count > 0;
  return { dtype, shape, min: some ? min : null, max: some ? max : null, mean: some ? sum / count : null, first };
}
