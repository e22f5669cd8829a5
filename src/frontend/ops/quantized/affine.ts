// Quantisation parameters of a node's tensors in the form the integer kernels need them, the clamping a fused activation
// means, and the last step of every kernel: scale the accumulator, add the zero point, clamp, narrow.

import type { Builder, Read } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { type DType, intRange } from '../../../support/dtype.js';
import type { SourceQuant } from '../../source.js';
import type { LowerContext } from '../record.js';
import { roundAway } from './fixed-point.js';

/** One scale and zero point for a whole tensor. `scale` is a float32 value. */
export interface Affine {
  readonly scale: number;
  readonly zero: number;
}

const perTensor = (q: SourceQuant | undefined, ctx: LowerContext, what: string): Affine => {
  if (!q || q.block || q.scale.length !== 1)
    return ctx.limit(
      `${what} needs one scale and zero point for the whole tensor`,
      'Convert the model again with per-tensor activations',
    );
  return { scale: q.scale[0] as number, zero: q.zeroPoint[0] ?? 0 };
};

export const inputAffine = (ctx: LowerContext, i: number): Affine => perTensor(ctx.quantIn(i), ctx, `input ${i}`);
export const outputAffine = (ctx: LowerContext, i = 0): Affine => perTensor(ctx.quantOut(i), ctx, `output ${i}`);

/** Of one of the operator's own tensors, which hold no data. */
export const intermediateAffine = (ctx: LowerContext, i: number): Affine =>
  perTensor(ctx.quantNamed(ctx.reader.strings('intermediates', [])[i] ?? ''), ctx, `intermediate tensor ${i}`);

/** Element type the file declares for an output. */
export const outputType = (ctx: LowerContext, i = 0): DType =>
  ctx.declared(i)?.dtype ?? ctx.limit(`output ${i} has no declared type`);

export const isNarrow = (t: DType): boolean => ['i8', 'u8', 'i16', 'i4', 'u4', 'i2'].includes(t);

export interface Range {
  readonly lo: number;
  readonly hi: number;
}

export function typeRange(t: DType): Range {
  const { lo, hi } = intRange(t);
  return { lo: Number(lo), hi: Number(hi) };
}

/** A real number as quantised by C float arithmetic: float division, half away from zero. */
export const quantizeReal = (x: number, q: Affine): number =>
  q.zero + roundAway(Math.fround(Math.fround(x) / Math.fround(q.scale)));

const BOUNDS: Readonly<Record<string, readonly [number, number]>> = {
  RELU: [0, Number.POSITIVE_INFINITY],
  RELU6: [0, 6],
  RELU_N1_TO_1: [-1, 1],
  RELU_0_TO_1: [0, 1],
};

/** Quantised bounds of an activation by its schema name, within the element type. */
export function activationRange(name: string, q: Affine, dtype: DType, ctx: LowerContext): Range {
  const { lo, hi } = typeRange(dtype);
  if (name === 'NONE') return { lo, hi };
  const bounds = BOUNDS[name] ?? ctx.limit(`fused activation ${name} has no integer form`);
  const [low, high] = bounds;
  return {
    lo: Math.max(lo, quantizeReal(low, q)),
    hi: high === Number.POSITIVE_INFINITY ? hi : Math.min(hi, quantizeReal(high, q)),
  };
}

/** The fused activation of the node, as quantised bounds of output 0. */
export const fusedRange = (ctx: LowerContext, q: Affine, dtype: DType): Range =>
  activationRange(ctx.reader.string('fused_activation_function', 'NONE'), q, dtype, ctx);

/** Values of a stored tensor without its zero point. */
export function domainOf(x: Value, { zero }: Affine): Range {
  const { lo, hi } = typeRange(x.type.dtype);
  return { lo: lo - zero, hi: hi - zero };
}

/** i32 result without zero point → what is stored, still in 32 bits. */
export const levelFrom = (x: Expr, zero: number, { lo, hi }: Range): Expr =>
  e.clamp(zero === 0 ? x : e.add(x, zero), lo, hi);

/** i32 result without zero point → stored element. */
export const store = (x: Expr, zero: number, range: Range, dtype: DType): Expr =>
  cast(levelFrom(x, zero, range), dtype);

/** A stored element as i32 without its zero point. */
export const centred = (x: Expr, zero: number): Expr => {
  const wide = cast(x, 'i32');
  return zero === 0 ? wide : e.sub(wide, zero);
};

/** Elementwise with broadcasting over stored elements; `f` also gets `read` for tables. */
export function mapRead(b: Builder, values: readonly Value[], f: (read: Read, ...x: readonly Expr[]) => Expr): Value {
  const shape = b.broadcastShape(values.map((v) => v.type.shape));
  return b.generic({
    shape,
    body: (i, _r, read) => f(read, ...values.map((v) => b.readBroadcast(read, v, i))),
  });
}
