// Integer inputs that say how an operator works (axes, sizes, repeats) and may only be known when the program runs.
// Sizes come, in this order, from folding, from what the file declares for the output, or from a bound symbol.

import type { Builder, Read } from '../../ir/builder.js';
import { add, bounds, type Dim, dimKey, mul, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { assumedBound } from '../assumed-sizes.js';
import type { LowerContext } from './record.js';

/** Longest list of axes, sizes or pairs of paddings a model may ask for. */
const MAX_LIST = 64;

/** Integers from an attribute, or what a constant input holds; null where they depend on data. */
export function knownInts(
  b: Builder,
  attr: readonly number[] | undefined,
  v: Value | undefined,
): readonly number[] | null {
  if (attr || !v || v.type.shape.includes(0)) return attr ?? [];
  const dims = b.values(v);
  return dims?.every((d): d is number => typeof d === 'number') ? dims : null;
}

/** Number of elements of an integer list input. */
export function lengthOf(v: Value, ctx: LowerContext): number {
  const n = product(v.type.shape);
  if (typeof n !== 'number') return ctx.limit('the length of an integer list depends on data');
  return n <= MAX_LIST ? n : ctx.limit(`a list of ${n} axes or sizes is longer than any shape`);
}

/** Element k of an integer list as i32. */
export const intAt = (read: Read, v: Value, k: number): Expr =>
  cast(
    clampToInt32(
      read(
        v,
        v.type.shape.map(() => i32(k)),
      ),
    ),
    'i32',
  );

/** 64-bit extremes ("to the end") stay extremes. */
const clampToInt32 = (x: Expr): Expr =>
  x.dtype === 'i64' ? e.clamp(x, e.const(-(2n ** 31n) + 1n, 'i64'), e.const(2n ** 31n - 1n, 'i64')) : x;

/** Element k of an integer list as an i32, an axis of `rank` with negatives counted from the end. */
export function axisAt(read: Read, v: Value, k: number, rank: number): Expr {
  const a = intAt(read, v, k);
  return e.select(e.lt(a, 0), e.add(a, rank), a);
}

/** Whether an axis list names axis d. */
export const namesAxis = (read: Read, axes: Value, count: number, d: number, rank: number): Expr =>
  e.or(e.const(0, 'i1'), ...Array.from({ length: count }, (_, k) => e.eq(axisAt(read, axes, k, rank), d)));

/** A size the program computes: its value is known, or becomes a symbol between lo and hi. */
export function computedSize(b: Builder, hint: string, lo: number, hi: number, value: (read: Read) => Expr): Dim {
  const v = b.generic({ shape: [], body: (_i, _r, read) => cast(value(read), 'i64') });
  return b.bindSym(v, hint, lo, hi);
}

/** The same for a size nothing bounds: `hi` is assumed, and more is an error when the program runs. */
export function assumedSize(b: Builder, hint: string, hi: number, value: (read: Read) => Expr): Dim {
  return b.checkedSize(b.generic({ shape: [], body: (_i, _r, read) => cast(value(read), 'i64') }), hint, hi);
}

/** Largest value a size can take. */
export const most = (d: Dim): number => bounds(d)[1];

/** Sizes the file declares for an output where they are numbers; undefined where unknown. */
export function declaredSize(ctx: LowerContext, output: number, axis: number): number | undefined {
  const d = ctx.declared(output)?.shape[axis];
  return typeof d === 'number' && d >= 0 ? d : undefined;
}

/** The whole shape the file declares for output 0, if it is all numbers. */
export function declaredShape(ctx: LowerContext): readonly Dim[] | undefined {
  const shape = ctx.declared(0)?.shape;
  return shape?.every((d) => typeof d === 'number' && d >= 0) ? shape : undefined;
}

/** Sizes a shape input asks for. `bound` gives the largest admissible value of each where nothing else does. */
export function sizesFrom(b: Builder, v: Value, ctx: LowerContext, bound?: (k: number) => number): readonly Dim[] {
  const known = b.values(v);
  if (known?.some((d) => bounds(d)[1] < 0)) return ctx.limit(`a shape has a negative size: [${known.map(dimKey)}]`);
  const whole = known ?? declaredShape(ctx);
  if (whole) return whole;
  const parts = Array.from(
    { length: lengthOf(v, ctx) },
    (_, k) => b.values(b.narrow(v, 0, k, 1))?.[0] ?? declaredSize(ctx, 0, k),
  );
  if (parts.includes(undefined) && !bound) ctx.sizesWanted(v);
  const fixed = parts.reduce<Dim>((p, d) => mul(p, d ?? 1), 1);
  const assumed = assumedBound(parts.filter((d) => d === undefined).length, most(fixed));
  return parts.map((part, k): Dim => {
    if (part !== undefined) return part;
    const hi = bound?.(k) ?? Number.POSITIVE_INFINITY;
    const value = (read: Read): Expr => intAt(read, v, k);
    return Number.isFinite(hi) ? computedSize(b, 'size', 0, hi, value) : assumedSize(b, 'size', assumed, value);
  });
}

/** Σ over axes d of value(d) where keep(d) and exactly `position` axes before d are kept too. */
export function nthKept(rank: number, position: number, keep: (d: number) => Expr, value: (d: number) => Dim): Expr {
  let before: Expr = i32(0);
  let found: Expr = i32(0);
  for (let d = 0; d < rank; d++) {
    const here = e.and(keep(d), e.eq(before, position));
    found = e.select(here, dimExpr(value(d)), found);
    before = e.add(before, cast(keep(d), 'i32'));
  }
  return found;
}

/** Sum of sizes. */
export const sumDims = (dims: readonly Dim[]): Dim => dims.reduce<Dim>((s, d) => add(s, d), 0);
