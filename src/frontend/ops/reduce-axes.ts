// Which axes a reduction takes, and the reduction itself for axes that only the running program knows: every axis d
// gets a reduction loop of R_d and an output loop of K_d steps, one of which is 1, so that x is read at i_d + r_d.

import type { Builder, Read } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, dimExpr, type Expr } from '../../ir/scalar.js';
import type { Reducer, Value } from '../../ir/tensor.js';
import type { Decode, LowerContext } from './record.js';
import { computedSize, declaredSize, knownInts, lengthOf, most, namesAxis, nthKept } from './runtime-sizes.js';

export interface AxesAttrs {
  /** From an attribute; otherwise the axes are an input. */
  readonly axes?: readonly number[];
  readonly keepDims: boolean;
  /** No axes: nothing is reduced, rather than everything. */
  readonly noop: boolean;
  /** What an empty list of axes means; the formats differ. */
  readonly empty: 'all' | 'none';
}

/** Reduces a value of x's shape; `keep` overrides whether reduced axes stay as size 1. */
export type Reduction = (x: Value, how: Reducer | 'mean', keep?: boolean) => Value;

const axesAttribute: Decode<AxesAttrs> = (n) => ({
  axes: n.ints('axes', []),
  keepDims: n.bool('keepdims', true),
  noop: false,
  empty: 'all',
});

const axesInput: Decode<AxesAttrs> = (n) => ({
  keepDims: n.bool('keepdims', true),
  noop: n.bool('noop_with_empty_axes', false),
  empty: 'all',
});

/** The decodings of an ONNX reduction that takes its axes as an input from opset `since` on. */
export const axesDecodings = (name: string, since: number): Readonly<Record<string, Decode<AxesAttrs>>> => ({
  [`${name}@1`]: axesAttribute,
  [`${name}@${since}`]: axesInput,
});

export function resolveAxes(
  b: Builder,
  x: Value,
  input: Value | undefined,
  a: AxesAttrs,
  ctx: LowerContext,
): Reduction {
  const axes = knownInts(b, a.axes, input);
  if (!axes) return runtimeReduction(b, x.type.shape, input as Value, a, ctx);
  const all = axes.length === 0 && a.empty === 'all' && !a.noop;
  return (v, how, keep = a.keepDims) => b.reduce(v, how, all ? undefined : axes, keep);
}

/** Reduction over axes read at run time; the list's length is known, so the result's rank is. */
function runtimeReduction(b: Builder, shape: readonly Dim[], axes: Value, a: AxesAttrs, ctx: LowerContext): Reduction {
  const rank = shape.length;
  const count = lengthOf(axes, ctx);
  const reduced = (d: number, read: Read): Expr => namesAxis(read, axes, count, d, rank);
  const loops = shape.map((n, d) =>
    computedSize(b, 'reduced', 0, Math.max(1, most(n)), (read) => e.select(reduced(d, read), dimExpr(n), 1)),
  );
  const kept = shape.map(
    (n, d): Dim =>
      (a.keepDims ? declaredSize(ctx, 0, d) : undefined) ??
      computedSize(b, 'kept', 0, Math.max(1, most(n)), (read) => e.select(reduced(d, read), 1, dimExpr(n))),
  );
  const squeezed = (): readonly Dim[] =>
    Array.from(
      { length: rank - count },
      (_, k): Dim =>
        declaredSize(ctx, 0, k) ??
        computedSize(b, 'kept', 0, Math.max(...shape.map(most)), (read) =>
          nthKept(
            rank,
            k,
            (d) => e.eq(cast(reduced(d, read), 'i32'), 0),
            (d) => shape[d] as Dim,
          ),
        ),
    );
  return (v, how, keep = a.keepDims) => {
    const total = b.generic({
      shape: kept,
      reduce: loops,
      reducer: how === 'mean' ? 'add' : how,
      body: (i, r, read) =>
        read(
          v,
          shape.map((_, d) => e.add(i[d] as Expr, r[d] as Expr)),
        ),
    });
    const size = loops.reduce<Expr>((p, d) => e.mul(p, dimExpr(d)), dimExpr(1));
    const out = how === 'mean' ? b.map([total], (p) => e.div(p, cast(size, p.dtype))) : total;
    return keep ? out : b.reshape(out, squeezed());
  };
}
