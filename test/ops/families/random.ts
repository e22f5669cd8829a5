// Random operators: there is no value to expect, so the definition checked is the distribution, from enough draws that a right
// generator never fails and a wrong one does.

import { fromNumbers } from '../../../src/support/tensor.js';
import type { Family, Random } from './case.js';

export interface Distribution {
  readonly mean: number;
  readonly deviation: number;
  readonly lo: number;
  readonly hi: number;
}

type Made = ReturnType<Family['make']> & { readonly distribution: Distribution };

const DRAWS = 4000;
const infinite = { lo: Number.NEGATIVE_INFINITY, hi: Number.POSITIVE_INFINITY };

export function drawDistribution(op: string, r: Random): Made {
  const like = op.endsWith('Like');
  const inputs = like ? [fromNumbers('f32', [DRAWS], new Array(DRAWS).fill(0))] : [];
  const attrs = { seed: r.int(1, 1000) + 0.5, ...(!like && { shape: [DRAWS] }) };
  const made = { inputs, want: [null] };
  switch (op) {
    case 'RandomNormal':
    case 'RandomNormalLike':
      return {
        ...made,
        attrs: { ...attrs, mean: 1.5, scale: 2.5 },
        distribution: { mean: 1.5, deviation: 2.5, ...infinite },
      };
    case 'RandomUniform':
    case 'RandomUniformLike':
      return {
        ...made,
        attrs: { ...attrs, low: -1.5, high: 2.5 },
        distribution: { mean: 0.5, deviation: 4 / Math.sqrt(12), lo: -1.5, hi: 2.5 },
      };
    case 'Bernoulli':
      return {
        ...made,
        attrs: { seed: attrs.seed },
        inputs: [fromNumbers('f32', [DRAWS], new Array(DRAWS).fill(0.25))],
        distribution: { mean: 0.25, deviation: Math.sqrt(0.1875), lo: 0, hi: 1 },
      };
    default: {
      // Classes 0 and 1, three to one.
      const inputs = [fromNumbers('f32', [1, 2], [Math.log(3), 0])];
      return {
        ...made,
        attrs: { seed: attrs.seed, sample_size: DRAWS },
        inputs,
        distribution: { mean: 0.25, deviation: Math.sqrt(0.1875), lo: 0, hi: 1 },
      };
    }
  }
}

export const RANDOM_OPS = [
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Bernoulli',
  'Multinomial',
] as const;
