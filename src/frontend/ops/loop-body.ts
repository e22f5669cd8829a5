// What every form of a loop shares: its description, a trial run of its body for the types it gives, and bounds on
// the number of steps. Forms: loop.ts; sizes that change: loop-growth.ts; data-dependent ends: loop-while.ts.

import type { Builder } from '../../ir/builder.js';
import { bounds, type Dim, dimKey, dimSyms, product, type Sym } from '../../ir/dim.js';
import type { Region, TensorType, Value } from '../../ir/tensor.js';
import { assumedBound } from '../assumed-sizes.js';
import type { LowerContext } from './record.js';
import { declaredSize } from './runtime-sizes.js';

/** Where nothing bounds a trip count that nothing is stacked for. */
export const FOREVER = 2 ** 31 - 1;

/** One step: from the carried values to (continue?, carried…, stacked…). */
export type Step = (step: Value, cond: Value, carried: readonly Value[]) => readonly Value[];

export interface Loop {
  readonly b: Builder;
  readonly ctx: LowerContext;
  readonly step: Step;
  readonly init: readonly Value[];
  /** Condition before the first step, an i1 scalar. */
  readonly cond: Value;
  /** Largest number of steps, an i64 scalar. */
  readonly trips: Value | undefined;
}

export const known = (b: Builder, v: Value | undefined): Dim | undefined => (v ? b.values(v)?.[0] : undefined);
export const sameShape = (x: TensorType, y: TensorType): boolean =>
  x.shape.length === y.shape.length && x.shape.every((d, k) => dimKey(d) === dimKey(y.shape[k] as Dim));

/** Symbols a region's own nodes define. */
export const ownSyms = (r: Region): ReadonlySet<string> =>
  new Set(r.nodes.flatMap((n) => n.binds.map((x) => x.sym.name)));

/** Checks what a scan's body returns: state as it came, stacked slices of one size. */
export function scanBody(ctx: LowerContext, carried: readonly Value[], run: () => readonly Value[]): readonly Value[] {
  const first = ctx.builder.nodes.length;
  const outs = run();
  const own = new Set(ctx.builder.nodes.slice(first).flatMap((n) => n.binds.map((x) => x.sym.name)));
  outs.forEach((v, k) => {
    const before = carried[k];
    if (before && (!sameShape(v.type, before.type) || v.type.dtype !== before.type.dtype))
      ctx.limit(`carried value ${k} changes from ${typeText(before.type)} to ${typeText(v.type)} in a step`);
    checkFixed(ctx, v, own, k);
  });
  return outs;
}

const typeText = (t: TensorType): string => `${t.dtype}[${t.shape.map(dimKey).join(', ')}]`;

export function checkFixed(ctx: LowerContext, v: Value, own: ReadonlySet<string>, k: number): void {
  if (v.type.shape.some((d) => [...dimSyms(d).keys()].some((s) => own.has(s))))
    ctx.limit(`output ${k} of the loop body has a size that differs from step to step`);
}

/** Runs the body once on parameters of the given types, for the types it gives. */
export function probe(l: Loop, types: readonly TensorType[], constantCond: boolean): Region {
  const { b } = l;
  const counter: TensorType = { dtype: 'i64', shape: [] };
  const flag: TensorType = { dtype: 'i1', shape: [] };
  return b.region([counter, flag, ...types], ([step, cond, ...carried]) =>
    l.step(asSize(l, step as Value), constantCond ? b.scalar(true, 'i1') : (cond as Value), carried),
  );
}

/** The step's number as a size, so that positions and sizes computed from it stay exact. */
export function asSize(l: Loop, step: Value): Value {
  const trips = known(l.b, l.trips);
  const hi = trips === undefined ? declaredSize(l.ctx, l.init.length, 0) : bounds(trips)[1];
  const last = hi !== undefined && Number.isFinite(hi) ? Math.max(0, hi - 1) : FOREVER;
  return l.b.dim(l.b.bindSym(step, 'step', 0, last));
}

/** The most steps the loop can take, from its count or the file's own word; undefined where nothing says. */
export function tripBound(l: Loop): number | undefined {
  const n = known(l.b, l.trips);
  const hi = n === undefined ? declaredSize(l.ctx, l.init.length, 0) : bounds(n)[1];
  return hi !== undefined && Number.isFinite(hi) ? Math.max(0, hi) : undefined;
}

/** The bound as a symbol for the number of steps taken, where a row of each `items` is kept per step: if nothing bounds
 *  the loop, a bound is assumed and checked. */
export function tripSymbol(l: Loop, items: readonly TensorType[]): Sym {
  const hi = tripBound(l);
  if (hi !== undefined) return l.b.freshSym('trips', 0, hi);
  if (l.trips) l.ctx.sizesWanted(l.trips);
  const row = items.reduce((n, t) => Math.max(n, bounds(product(t.shape))[1]), 1);
  return l.b.checkedSym('trips', assumedBound(1, row));
}
