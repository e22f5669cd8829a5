// Fair timing of several contenders on one machine: each is warmed up, then short batches of all of them alternate, and
// the median over the rounds counts. What disturbs the machine for a while disturbs all alike.

import type { Variant } from './contender.js';

export interface MeasureOptions {
  /** Rounds, at least 1. */
  readonly samples: number;
  /** Milliseconds of warming up for each, and of one batch. */
  readonly warmUpMs: number;
  readonly batchMs: number;
}

export const MEASURE: MeasureOptions = { samples: 21, warmUpMs: 400, batchMs: 10 };

const FEWEST_WARM_UPS = 3;

/** Milliseconds of one run. The best says what a machine can do that is busy with other things too. */
export interface Timing {
  readonly median: number;
  readonly best: number;
}

/** In the order of the contenders. */
export async function measure(contenders: readonly Variant[], options: MeasureOptions): Promise<readonly Timing[]> {
  const repeats: number[] = [];
  for (const c of contenders) repeats.push(Math.max(1, Math.round(options.batchMs / (await warmUp(c, options)))));
  const samples = contenders.map((): number[] => []);
  for (let round = 0; round < options.samples; round++) {
    for (let i = 0; i < contenders.length; i++) {
      const at = (i + round) % contenders.length;
      samples[at]?.push(await (contenders[at] as Variant).time(repeats[at] as number));
    }
  }
  return samples.map((s) => ({ median: median(s), best: Math.min(...s) }));
}

/** Engines compile hot code in the background: batches grow until the time is up. The last batch's milliseconds a run. */
async function warmUp(c: Variant, { warmUpMs }: MeasureOptions): Promise<number> {
  const start = performance.now();
  let repeats = 1;
  for (let batch = 1; ; batch++) {
    const ms = await c.time(repeats);
    const left = warmUpMs - (performance.now() - start);
    if (left <= 0 && batch >= FEWEST_WARM_UPS) return Math.max(ms, 1e-6);
    repeats = Math.max(1, Math.min(2 * repeats, Math.floor(left / Math.max(ms, 1e-6))));
  }
}

/** The lower of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[(sorted.length - 1) >> 1] ?? Number.NaN;
}

export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length);
