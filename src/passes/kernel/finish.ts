// What every freshly lowered kernel goes through before a backend sees it, in order.

import type { Kernel } from '../../ir/kernel.js';
import { type GridOptions, gridKernel } from '../schedule/grid.js';
import { scheduleKernel } from '../schedule/kernel.js';
import type { ScheduleOptions } from '../schedule/loops.js';
import { shareKernel } from '../schedule/share.js';
import { bindLets } from './bind-lets.js';
import { boundExtrema } from './bounded-extrema.js';
import { propagateCopies } from './copies.js';
import { legalizeKernel } from './legalize.js';
import { narrowF64 } from './narrow-f64.js';
import { simplifyKernel } from './simplify-index.js';

/** Without a schedule kernels keep their plain loops: the interpreter, and constant folding. */
export function finishKernel(kernel: Kernel, schedule?: ScheduleOptions, threads = 1): Kernel {
  const legal = legalizeKernel(kernel); // first: schedules look at what will be computed
  const simple = simplifyKernel(legal); // before scheduling: guards that always hold are gone, indices are sums
  const scheduled = schedule ? simplifyKernel(scheduleKernel(simple, schedule), { unloop: true }) : simple; // again: tile bounds decide guards
  const spelled = schedule ? boundExtrema(scheduled, schedule.numerics) : scheduled; // after scheduling, which looks for reductions by max
  const shared = threads > 1 ? shareKernel(spelled, threads) : spelled; // when loops have their final steps
  return propagateCopies(bindLets(shared)); // last: what a schedule repeats is computed once
}

/** For a GPU: grids instead of vectors, and nothing in f64. */
export function finishGridKernel(kernel: Kernel, options?: GridOptions): Kernel {
  const legal = legalizeKernel(narrowF64(kernel)); // narrowed first: macros look at the bits of what they are given
  const grids = gridKernel(simplifyKernel(legal), options); // the simplest sizes are those a host can compute
  return bindLets(simplifyKernel(grids)); // again: axes are read off one counter
}
