// What the integer LSTM kernels share: where an LSTM's operands stand, products of activations with the weights of all gates
// as one contraction with a multiplier for each row, clips.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { type Affine, inputAffine } from './affine.js';
import { type Multiplier, quantizeMultiplier } from './fixed-point.js';
import { channelScaler } from './fixed-point-expr.js';

/** Inputs by gate: input, forget, cell, output; peepholes: input, forget, output; projection: weights, bias; states: output, cell.
 *  `second`: weights of a second input. */
export interface LstmPositions {
  readonly input: readonly [number, number, number, number];
  readonly recurrent: readonly [number, number, number, number];
  readonly peephole: readonly [number, number, number];
  readonly bias: readonly [number, number, number, number];
  readonly projection: readonly [number, number];
  readonly states: readonly [number, number];
  readonly norm: readonly [number, number, number, number] | null;
  readonly second: readonly [number, number, number, number] | null;
}

/** Gates before their nonlinearity have 12 fractional bits, unless they are normalised. */
export const GATE_SCALE = 2 ** -12;
/** After it they have 15. */
export const UNIT = 2 ** -15;

export const saturate16 = (x: Expr): Expr => e.clamp(x, -32768, 32767);

export const needed = (ctx: LowerContext, i: number): Value =>
  ctx.reader.input(i) ?? ctx.limit(`input ${i} is missing`);

/** A factor made of float32 steps, from the left: p·q / r. */
export const floatRatio = (p: number, q: number, r: number): number => Math.fround(Math.fround(p * q) / r);

export interface Clips {
  readonly cellClip: number;
  readonly projClip: number;
}

/** A clip in whole steps; none where it is 0. */
export const clipSteps = (clip: number, { scale }: Affine, most: number): number =>
  clip > 0 ? Math.trunc(Math.min(Math.fround(Math.fround(clip) / scale), most)) : 0;

/** One matrix of weights: its position, and the scale its sums are wanted at. */
export interface Rows {
  readonly weights: number;
  readonly scale: number;
}

/** Sums of x with the rows of several matrices, biases added, at the wanted scales, in i32 and not yet saturated. */
export function gateProducts(
  b: Builder,
  ctx: LowerContext,
  x: Value,
  affine: Affine,
  rows: readonly Rows[],
  biases: readonly Value[],
): Value {
  const values = rows.map((r) => needed(ctx, r.weights));
  const wide = x.type.dtype === 'i16';
  const centred = affine.zero === 0 ? x : b.map([x], (v) => e.sub(cast(v, 'i16'), affine.zero));
  const sum = b.matmul(centred, b.concat(values, 0), { transposeY: true, acc: wide ? 'i64' : 'i32' });
  const multipliers = rows.flatMap(({ weights, scale }, k): Multiplier[] => {
    const m = quantizeMultiplier(floatRatio(inputAffine(ctx, weights).scale, affine.scale, scale), ctx.rounding);
    return Array.from({ length: values[k]?.type.shape[0] as number }, () => m);
  });
  const scaler = channelScaler(b, multipliers, ctx.rounding, { wide });
  const bias = biases.length > 0 ? b.concat(biases, 0) : undefined;
  return b.generic({
    shape: sum.type.shape,
    body: (i, _r, read) => {
      const channel = i.at(-1) as Expr;
      const total = bias ? e.add(read(sum, i), cast(read(bias, [channel]), sum.type.dtype)) : read(sum, i);
      return scaler(total, read, channel);
    },
  });
}
