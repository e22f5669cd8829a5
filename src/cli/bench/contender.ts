// One side of a comparison: a model made ready to run by heddle or by another runtime, on one thread. `time` measures as
// close to the run as that runtime allows, with what a caller always pays (inputs handed over, outputs received, in arrays he
// keeps where the runtime can write to those).

import type { Tensor } from '../../support/tensor.js';

export interface Contender {
  readonly name: string;
  /** Milliseconds of one run, on average over so many. */
  readonly time: (repeats: number) => Promise<number>;
  /** One run's outputs in the model's order, for a check that both sides compute the same. */
  readonly outputs: () => Promise<readonly ArrayLike<number | bigint>[]>;
  readonly close: () => Promise<void>;
}

/** The same runtime used in another way, timed beside it. */
export type Variant = Pick<Contender, 'name' | 'time'>;

/** What every contender is given. Tensors are in the order of the model's inputs. */
export interface BenchInput {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly tensors: readonly Tensor[];
}

/** For runtimes that are called from this process. */
export async function timeCalls(call: () => Promise<unknown>, repeats: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) await call();
  return (performance.now() - start) / repeats;
}
