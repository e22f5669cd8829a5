// What every freshly lowered kernel goes through before a backend sees it, in order.

import type { Kernel } from '../../ir/kernel.js';
import { type ScheduleOptions, scheduleKernel } from '../schedule/tile.js';
import { bindLets } from './bind-lets.js';
import { legalizeKernel } from './legalize.js';
import { simplifyKernel } from './simplify-index.js';

/** Without a schedule kernels keep their plain loops: the interpreter, and constant folding. */
export function finishKernel(kernel: Kernel, schedule?: ScheduleOptions): Kernel {
  const legal = legalizeKernel(kernel); // first: schedules look at what will be computed
  const simple = simplifyKernel(legal); // before scheduling: guards that always hold are gone, indices are sums
  const scheduled = schedule ? simplifyKernel(scheduleKernel(simple, schedule)) : simple; // again: tile bounds decide guards
  return bindLets(scheduled); // last: what a schedule repeats is computed once
}
