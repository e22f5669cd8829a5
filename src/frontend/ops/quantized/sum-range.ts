// Which values an integer contraction's accumulators can take, by output channel: from the weights themselves, which say far
// more than their type does.

import type { Value } from '../../../ir/tensor.js';
import { toNumbers } from '../../../support/tensor.js';
import { type Affine, type Range, typeRange } from './affine.js';

export interface ConstantFactors {
  readonly x: Value;
  readonly input: Affine;
  readonly w: Value;
  /** Weights' zero point, and the axis their output channels are along. */
  readonly zero: number;
  readonly axis: number;
  readonly bias: Value | undefined;
}

/** Of Σ (x − zero point)·w + bias, whatever part of the sum lies within the input; null where weights or bias are not constant. */
export function sumRanges({ x, input, w, zero, axis, bias }: ConstantFactors): readonly Range[] | null {
  if (w.node?.kind !== 'const' || (bias && bias.node?.kind !== 'const')) return null;
  const { shape } = w.node.data;
  const weights = w.node.data.read().data as ArrayLike<number>; // of 16 bits or less
  const added = bias?.node?.kind === 'const' ? toNumbers(bias.node.data.read()) : null;
  const channels = shape[axis] as number;
  const inner = shape.slice(axis + 1).reduce((n, d) => n * d, 1);
  const type = typeRange(x.type.dtype);
  const [least, most] = [Math.min(0, type.lo - input.zero), Math.max(0, type.hi - input.zero)]; // 0: beyond the input
  const lo = new Float64Array(channels);
  const hi = new Float64Array(channels);
  for (let at = 0, run = 0; at < weights.length; run++) {
    const c = run % channels;
    let [below, above] = [0, 0];
    for (const end = at + inner; at < end; at++) {
      const v = (weights[at] as number) - zero;
      if (v > 0) above += v;
      else below += v;
    }
    lo[c] = (lo[c] as number) + above * least + below * most;
    hi[c] = (hi[c] as number) + above * most + below * least;
  }
  return Array.from(lo, (v, c) => {
    const extra = added?.[c] ?? 0;
    return { lo: v + extra, hi: (hi[c] as number) + extra };
  });
}
