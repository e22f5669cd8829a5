// Plain arrays for definitions of operators: row-major numbers with a shape, walked index by index. Slow and obvious: nothing
// here, and nothing in the families, goes through heddle's own lowering.

import { sizeOf, type Tensor, toNumbers } from '../../../src/support/tensor.js';

export interface Arr {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

export const arr = (t: Tensor): Arr => ({ shape: t.shape, data: Array.from(toNumbers(t)) });

export const scalar = (x: number): Arr => ({ shape: [], data: [x] });

/** Every index of a shape in row-major order. */
export function* indices(shape: readonly number[]): Generator<number[]> {
  const n = sizeOf(shape);
  for (let k = 0; k < n; k++) {
    const index: number[] = [];
    let rest = k;
    for (let a = shape.length - 1; a >= 0; a--) {
      const d = shape[a] as number;
      index.unshift(rest % d);
      rest = Math.floor(rest / d);
    }
    yield index;
  }
}

export const build = (shape: readonly number[], f: (index: number[]) => number): Arr => ({
  shape,
  data: Array.from(indices(shape), f),
});

/** NaN outside, so that a wrong definition shows. */
export function at(a: Arr, index: readonly number[]): number {
  let place = 0;
  for (const [k, i] of index.entries()) {
    const d = a.shape[k] as number;
    if (i < 0 || i >= d) return Number.NaN;
    place = place * d + i;
  }
  return a.data[place] as number;
}

/** With 0 outside. */
export const padded = (a: Arr, index: readonly number[]): number =>
  index.every((i, k) => i >= 0 && i < (a.shape[k] as number)) ? at(a, index) : 0;

export const map = (a: Arr, f: (x: number) => number): Arr => ({ shape: a.shape, data: a.data.map(f) });

/** numpy's rule. */
export function broadcastShape(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, k) => {
    const sizes = shapes.map((s) => s[s.length - rank + k] ?? 1);
    return sizes.find((d) => d !== 1) ?? 1;
  });
}

/** The element of `a` that stands at an index of the broadcast shape. */
export const spread = (a: Arr, index: readonly number[]): number =>
  at(
    a,
    a.shape.map((d, k) => (d === 1 ? 0 : (index[index.length - a.shape.length + k] as number))),
  );

export const zip = (f: (...xs: number[]) => number, ...arrays: readonly Arr[]): Arr =>
  build(broadcastShape(...arrays.map((a) => a.shape)), (index) => f(...arrays.map((a) => spread(a, index))));

/** Gathers what is reduced for each kept index; kept axes of size 1 stay where `keep`. */
export function reduce(a: Arr, axes: readonly number[], keep: boolean, f: (values: number[]) => number): Arr {
  const over = new Set(axes.map((x) => (x < 0 ? x + a.shape.length : x)));
  const inner = a.shape.map((d, k) => (over.has(k) ? d : 1));
  const outer = a.shape.map((d, k) => (over.has(k) ? 1 : d));
  const whole = build(outer, (o) =>
    f(
      Array.from(indices(inner), (i) =>
        at(
          a,
          i.map((x, k) => x + (o[k] as number)),
        ),
      ),
    ),
  );
  return keep ? whole : { shape: outer.filter((_, k) => !over.has(k)), data: whole.data };
}

export const transpose = (a: Arr, perm: readonly number[]): Arr =>
  build(
    perm.map((p) => a.shape[p] as number),
    (index) => {
      const source: number[] = [];
      for (const [k, p] of perm.entries()) source[p] = index[k] as number;
      return at(a, source);
    },
  );

export const sum = (xs: readonly number[]): number => xs.reduce((p, x) => p + x, 0);
export const range = (n: number): number[] => Array.from({ length: n }, (_, k) => k);

/** To even at a half. */
export const roundEven = (x: number): number => {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
};

/** Index along an axis replaced. */
export const withAxis = (index: readonly number[], axis: number, i: number): number[] =>
  index.map((x, k) => (k === axis ? i : x));
