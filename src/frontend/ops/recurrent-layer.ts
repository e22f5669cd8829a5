// What TFLite's recurrent layers of float activations have in common: operands in float, activations as integer weights see
// them, states in variable tensors, the order of axes, and two directions over one input or two.

import type { Builder } from '../../ir/builder.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { dequantize, roundAsymmetric, roundSymmetric } from './quantized/hybrid.js';
import { type LowerContext, type NodeReader, op } from './record.js';

/** What the two directions, and hybrid and float layers, have in common. */
export interface Layer {
  readonly b: Builder;
  readonly ctx: LowerContext;
  /** An input in float; undefined where absent. */
  readonly value: (i: number) => Value | undefined;
  /** Activations before they meet integer weights. */
  readonly rounded: (x: Value) => Value;
}

export function layerOf(b: Builder, ctx: LowerContext, weights: number): Layer {
  const hybrid = ctx.reader.input(weights) && !isFloat((ctx.reader.input(weights) as Value).type.dtype);
  const asymmetric = ctx.reader.bool('asymmetric_quantize_inputs', false);
  return {
    b,
    ctx,
    value(i) {
      const v = ctx.reader.input(i);
      const q = ctx.quantIn(i);
      if (!v || !q || isFloat(v.type.dtype)) return v;
      // Old converters wrote signed bytes under the unsigned type, and the kernels read them so.
      return dequantize(b, v.type.dtype === 'u8' ? b.cast(v, 'i8') : v, q, ctx);
    },
    rounded: (x) => (!hybrid ? x : asymmetric ? roundAsymmetric(b, x, [-1]) : roundSymmetric(b, x, [-1])),
  };
}

/** Writes a state back where its tensor is a variable. */
export function keepState(b: Builder, ctx: LowerContext, i: number, v: Value): void {
  const name = ctx.stateOf(i);
  const shape = ctx.reader.input(i)?.type.shape;
  if (name && shape) b.stateWrite(name, b.reshape(v, shape));
}

/** [batch, time, …] ↔ [time, batch, …]. */
export const swapped = (b: Builder, x: Value, timeMajor: boolean): Value => (timeMajor ? x : b.transpose(x, [1, 0, 2]));

export interface Directions {
  readonly timeMajor: boolean;
  /** Both directions' outputs in one tensor. */
  readonly merge: boolean;
}

/** Runs one direction over steps [time, batch, in] and, where they come in, steps of a second input. */
type Run = (steps: Value, more: Value | undefined) => Value;

/** A second input is for both directions where it has weights of its own, the first of them at `weights`; otherwise the
 *  backward direction reads it in place of the first (layers stacked without cross links). */
export function bothDirections(
  b: Builder,
  ctx: LowerContext,
  x: Value,
  a: Directions,
  at: { readonly second: number; readonly weights: number },
  run: { readonly forward: Run; readonly backward: Run },
): Value | readonly Value[] {
  const second = ctx.reader.input(at.second);
  const crossed = second && ctx.reader.input(at.weights) ? swapped(b, second, a.timeMajor) : undefined;
  const steps = swapped(b, x, a.timeMajor);
  const other = second && !crossed ? swapped(b, second, a.timeMajor) : steps;
  const forward = run.forward(steps, crossed);
  const backward = b.flip(run.backward(b.flip(other, [0]), crossed && b.flip(crossed, [0])), [0]);
  if (a.merge) return swapped(b, b.concat([forward, backward], 2), a.timeMajor);
  return [swapped(b, forward, a.timeMajor), swapped(b, backward, a.timeMajor)];
}

export type Lower<A> = (
  inputs: { readonly x: Value },
  attrs: A,
  b: Builder,
  ctx: LowerContext,
) => Value | readonly Value[];

/** The other inputs are read by position. */
export function recurrentRecord<A extends object>(
  name: string,
  doc: string,
  builtin: string,
  decode: (n: NodeReader) => A,
  lower: Lower<A>,
  limits: readonly string[] = [],
) {
  return op<'x', A>(name, {
    doc,
    inputs: ['x'],
    tflite: { [builtin]: decode },
    lower,
    quantized: lower,
    ...(limits.length > 0 && { limits }),
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  });
}
