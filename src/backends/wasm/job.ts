// The job: a few i32 in low memory by which the thread that runs an entry hands a kernel to the others. Written and read by
// the code of threads.ts and by the loader.

import type { Kernel } from '../../ir/kernel.js';
import type { Program } from '../../ir/program.js';

/** Byte offsets in the job. */
export const JOB = {
  /** Counts jobs; helpers wait for it to change. */
  number: 0,
  /** Shares that are not done. */
  left: 4,
  /** Which of the kernels with shares. */
  kernel: 8,
  /** How many helpers there are: 0 until the loader has started them. */
  helpers: 12,
  /** Whether the thread that runs entries may sleep: not the main thread of a page. */
  sleeps: 16,
  /** Tells helpers to end. */
  quit: 20,
  /** A helper failed. */
  failed: 24,
  /** How many shares nobody has taken; negative where some have asked in vain. */
  untaken: 28,
  args: 32,
} as const;

export const argumentsOf = (k: Kernel): number => k.params.length + k.syms.length;

export const sharedKernels = (program: Program): readonly Kernel[] =>
  program.kernels.filter((k) => k.shares !== undefined);

/** 0 where nothing is shared. */
export function jobBytes(program: Program): number {
  const kernels = sharedKernels(program);
  return kernels.length === 0 ? 0 : JOB.args + 4 * Math.max(...kernels.map(argumentsOf));
}
