// Is a result the expected one? Floats within |got − want| ≤ atol + rtol·|want|, NaN equal to NaN, infinities exact;
// integers exact unless a tolerance is given; strings and bools always exact. The answer to "no" says how far and where.

import { DTYPE_INFO, type DType, isFloat } from '../../support/dtype.js';
import type { Tensor } from '../../support/tensor.js';
import { toNumbers } from '../../support/tensor.js';

export interface Tolerance {
  readonly rtol: number;
  readonly atol: number;
}

export const DEFAULT_TOLERANCE: Tolerance = { rtol: 1e-3, atol: 1e-7 };

/** One unit in the last place of 1, for types coarser than the default tolerance. */
const EPSILON: Partial<Record<DType, number>> = { f16: 2 ** -10, bf16: 2 ** -7 };

/** What holds where a case says nothing. */
export function defaultTolerance(dtype: DType): Tolerance {
  if (!isFloat(dtype)) return { rtol: 0, atol: 0 };
  return { rtol: Math.max(DEFAULT_TOLERANCE.rtol, EPSILON[dtype] ?? 0), atol: DEFAULT_TOLERANCE.atol };
}

/** Only elements from the first number to before the second count. */
export type ElementRange = readonly [number, number];

/** null where they agree, else the difference in a sentence. */
export function compareTensors(got: Tensor, want: Tensor, tolerance: Tolerance, range?: ElementRange): string | null {
  if (got.dtype !== want.dtype) return `type is ${got.dtype}, expected ${want.dtype}`;
  if (got.shape.join() !== want.shape.join())
    return `shape is [${got.shape.join(', ')}], expected [${want.shape.join(', ')}]`;
  if (got.data.length !== want.data.length) return `${got.data.length} elements, expected ${want.data.length}`;
  const [lo, hi] = range ?? [0, want.data.length];
  const exact = want.dtype === 'string' || DTYPE_INFO[want.dtype].kind === 'bool' || isExactInteger(want, tolerance);
  return exact ? compareExactly(got, want, lo, hi) : compareFloats(got, want, tolerance, lo, hi);
}

const isExactInteger = (t: Tensor, { rtol, atol }: Tolerance): boolean => !isFloat(t.dtype) && rtol === 0 && atol === 0;

function compareExactly(got: Tensor, want: Tensor, lo: number, hi: number): string | null {
  let first = -1;
  let count = 0;
  for (let i = lo; i < hi; i++) {
    if (got.data[i] === want.data[i]) continue;
    if (first < 0) first = i;
    count++;
  }
  if (count === 0) return null;
  const show = (t: Tensor): string => (t.dtype === 'string' ? JSON.stringify(t.data[first]) : String(t.data[first]));
  const far = want.dtype === 'string' ? '' : `, max abs error ${largestDifference(got, want, lo, hi)}`;
  return `${count} of ${hi - lo} elements differ${far}, first at ${place(first, want.shape)}: got ${show(got)}, expected ${show(want)}`;
}

function largestDifference(got: Tensor, want: Tensor, lo: number, hi: number): number {
  const [x, y] = [toNumbers(got), toNumbers(want)];
  let most = 0;
  for (let i = lo; i < hi; i++) most = Math.max(most, Math.abs((x[i] as number) - (y[i] as number)));
  return most;
}

function compareFloats(got: Tensor, want: Tensor, tolerance: Tolerance, lo: number, hi: number): string | null {
  const [x, y] = [toNumbers(got), toNumbers(want)];
  let [first, count, maxAbs, maxRel] = [-1, 0, 0, 0];
  for (let i = lo; i < hi; i++) {
    const a = x[i] as number;
    const b = y[i] as number;
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const error = Number.isFinite(a) && Number.isFinite(b) ? Math.abs(a - b) : Number.POSITIVE_INFINITY;
    maxAbs = Math.max(maxAbs, error);
    if (b !== 0) maxRel = Math.max(maxRel, error / Math.abs(b));
    if (Number.isFinite(error) && error <= tolerance.atol + tolerance.rtol * Math.abs(b)) continue;
    if (first < 0) first = i;
    count++;
  }
  if (count === 0) return null;
  return (
    `${count} of ${hi - lo} elements differ, max abs error ${short(maxAbs)}, max rel error ${short(maxRel)}, ` +
    `first at ${place(first, want.shape)}: got ${x[first]}, expected ${y[first]}`
  );
}

const short = (n: number): string => String(Number(n.toPrecision(3)));

/** A row-major position as indices. */
export function place(position: number, shape: readonly number[]): string {
  let rest = position;
  const index = shape.map(() => 0);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] as number;
    index[axis] = rest % size;
    rest = Math.floor(rest / size);
  }
  return `[${index.join(', ')}]`;
}
