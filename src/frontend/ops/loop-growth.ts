// Carried values whose sizes change from step to step: which axes, and how large they can get. The body is run on sizes
// of their own until no further axis changes; bounds then come from what a step makes of a size.

import { add, bounds, type Dim, dimKey, dimSyms, max, mul, sub, substituteDim, symDim } from '../../ir/dim.js';
import type { Region, Value } from '../../ir/tensor.js';
import { FOREVER, type Loop, probe, tripBound } from './loop-body.js';
import { most } from './runtime-sizes.js';

/** Axes of a carried value that change, each with the largest size. */
export type Growth = readonly { readonly axis: number; readonly hi: number }[];

/** Finds the axes that change, by running the body on sizes of their own; each may grow by a fixed amount a step. */
export function growths(l: Loop, first: Region): readonly Growth[] {
  const { b, ctx, init } = l;
  const changing = init.map(() => new Map<number, Dim>());
  let seen = first;
  const collect = (): boolean => {
    let found = false;
    init.forEach((v, k) => {
      const out = (seen.results[k + 1] as Value).type;
      if (out.shape.length !== v.type.shape.length) ctx.limit(`carried value ${k} changes its rank`);
      v.type.shape.forEach((d, axis) => {
        const now = changing[k]?.get(axis) ?? d;
        if (changing[k]?.has(axis) || dimKey(now) === dimKey(out.shape[axis] as Dim)) return;
        changing[k]?.set(axis, symDim(b.freshSym('grown', bounds(d)[0], FOREVER)));
        found = true;
      });
    });
    return found;
  };
  while (collect()) {
    const types = init.map((v, k) => ({
      dtype: v.type.dtype,
      shape: v.type.shape.map((d, axis) => changing[k]?.get(axis) ?? d),
    }));
    seen = probe(l, types, false);
  }
  const axes = init.flatMap((v, k) =>
    [...(changing[k] as Map<number, Dim>)].map(([axis, before]): GrowingAxis => {
      const [start, after] = [v.type.shape[axis] as Dim, (seen.results[k + 1] as Value).type.shape[axis] as Dim];
      return { value: k, axis, start, before, after };
    }),
  );
  const his = settledBounds(axes) ?? axes.map((a) => steadyBound(l, a, axes));
  return init.map((_, k) => axes.flatMap((a, n) => (a.value === k ? [{ axis: a.axis, hi: his[n] as number }] : [])));
}

/** One changing size: what it starts from, and what a step makes of it. */
interface GrowingAxis {
  readonly value: number;
  readonly axis: number;
  readonly start: Dim;
  readonly before: Dim;
  readonly after: Dim;
}

const nameOfSym = (d: Dim): string => [...dimSyms(d).keys()][0] ?? '';

/** Bounds that another step does not exceed, if two rounds find such. */
function settledBounds(axes: readonly GrowingAxis[]): readonly number[] | null {
  let his = axes.map((a) => most(a.start));
  for (let round = 0; round < 3; round++) {
    const at = new Map(axes.map((a, n): [string, Dim] => [nameOfSym(a.before), sized(a.before, his[n] as number)]));
    const next = axes.map((a, n) => Math.max(his[n] as number, most(substituteDim(a.after, (s) => at.get(s.name)))));
    if (next.every((hi, n) => hi === his[n])) return his;
    his = next;
  }
  return null;
}

/** The symbol a size stands for, with an upper bound. */
function sized(d: Dim, hi: number): Dim {
  const [sym] = dimSyms(d).values();
  return sym ? symDim({ ...sym, lo: Math.min(sym.lo, hi), hi }) : d;
}

/** Bound of a size that grows by the same amount each step. */
function steadyBound(l: Loop, a: GrowingAxis, axes: readonly GrowingAxis[]): number {
  const growth = sub(a.after, a.before);
  const changing = new Set(axes.map((x) => nameOfSym(x.before)));
  if ([...dimSyms(growth).keys()].some((s) => changing.has(s)))
    return l.ctx.limit(`carried value ${a.value} grows without a known bound along axis ${a.axis}`);
  const steps =
    tripBound(l) ??
    l.ctx.limit(
      'a carried value grows, and nothing bounds the number of steps',
      'Give the model a constant trip count',
    );
  return most(max(a.start, add(a.start, mul(growth, steps))));
}
