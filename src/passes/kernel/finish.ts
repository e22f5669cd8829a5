// What every freshly lowered kernel goes through before a backend sees it, in order.

import type { Kernel } from '../../ir/kernel.js';
import type { Program } from '../../ir/program.js';
import { CompileError } from '../../support/errors.js';
import { type GridOptions, gridKernel } from '../schedule/grid.js';
import { blockRows } from '../schedule/row-blocks.js';
import { scheduleKernel } from '../schedule/kernel.js';
import { joinBlocks } from '../schedule/nest.js';
import type { ScheduleOptions } from '../schedule/loops.js';
import type { Constants, ScheduledKernel } from '../schedule/operands.js';
import { shareKernel } from '../schedule/share.js';
import type { VectorTarget } from '../schedule/target.js';
import { bindLets } from './bind-lets.js';
import { boundExtrema } from './bounded-extrema.js';
import { orderExtrema } from './ordered-extrema.js';
import { propagateCopies } from './copies.js';
import { legalizeKernel } from './legalize.js';
import { narrowF64 } from './narrow-f64.js';
import { quietExtrema } from './quiet-extrema.js';
import { rollStores } from './roll-stores.js';
import { dropRowBounds } from './row-bounds.js';
import { simplifyKernel } from './simplify-index.js';
import { addSmallCasts } from './small-casts.js';

/** Kernels with their plain loops: for the interpreter, and constant folding. */
export const finishKernel = (kernel: Kernel): Kernel => nameValues(simplifyKernel(legalizeKernel(kernel)));

/** For a target with vectors; `constants` are the parameters whose buffers are constant. Values get names when kernels that
 *  are equal up to sizes have been merged: `nameKernels`. */
export function finishScheduled(
  kernel: Kernel,
  schedule: ScheduleOptions,
  constants: Constants,
  threads = 1,
): ScheduledKernel {
  const legal = legalizeKernel(kernel); // first: schedules look at what will be computed
  const simple = simplifyKernel(legal); // before scheduling: guards that always hold are gone, indices are sums
  const known = dropRowBounds(simple); // before scheduling, which takes the row's loops apart
  const quiet = schedule.numerics === 'fast' ? quietExtrema(known) : new Set<string>();
  const scheduled = scheduleKernel(known, { ...schedule, quiet }, constants);
  const again = simplifyKernel(scheduled.kernel, { unloop: true }); // tile bounds decide guards
  const small = addSmallCasts(again, schedule.target); // looks for extrema
  const ordered = orderExtrema(small, schedule.numerics); // after scheduling, which looks for reductions by max
  const spelled = boundExtrema(ordered, schedule.numerics);
  const blocked = blockRows(
    { kernel: spelled, operands: scheduled.operands },
    schedule.target.rowsAtOnce,
    threads === 1,
  );
  const shared = threads > 1 ? shareKernel(blocked.kernel, threads) : blocked.kernel; // when loops have their final steps
  const operands = blocked.operands.map((o) => (o.kind === 'filled' ? { ...o, kernel: finishFill(o.kernel) } : o));
  return { kernel: rollStores(shared), operands };
}

const finishFill = (kernel: Kernel): Kernel => nameValues(simplifyKernel(kernel, { unloop: true }));

export const nameKernels = (p: Program, target: VectorTarget): Program => ({
  ...p,
  kernels: p.kernels.map((k) => nameValues(k, target.keepsSplats)),
});

/** Last: what a schedule repeats is computed once. */
const nameValues = (kernel: Kernel, keepsSplats = false): Kernel => propagateCopies(bindLets(kernel, { keepsSplats }));

/** For a GPU with a processor beside it: a kernel for either. What only the processor can run says why. */
export function finishForGpu(kernel: Kernel, schedule: ScheduleOptions): Kernel {
  let made: Kernel | undefined;
  const make = (): Kernel => {
    made ??= finishBeside(kernel, schedule);
    return made;
  };
  try {
    const own = finishGridKernel(kernel, { exact: schedule.numerics === 'strict' });
    return { ...own, twin: { make, refusal: null } };
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    return { ...make(), twin: { make, refusal: error.problems.map((p) => p.message).join('; ') } };
  }
}

/** Scheduled where that takes no memory but the kernel's own: its buffers are those of the GPU's. Dot products pack. */
function finishBeside(kernel: Kernel, schedule: ScheduleOptions): Kernel {
  const { dot, ...rest } = schedule.target;
  const target = { ...rest, rowsAtOnce: 1 };
  for (const o of [
    { ...schedule, target: { ...target, ...(dot && { dot }) } },
    { ...schedule, target },
  ]) {
    const { kernel: scheduled, operands } = finishScheduled(kernel, o, new Map());
    const isSame =
      operands.length === kernel.params.length && operands.every((op, k) => op.kind === 'given' && op.slot === k);
    if (isSame) return nameValues(scheduled);
  }
  return finishKernel(kernel);
}

/** For a GPU: grids instead of vectors, and nothing in f64. */
export function finishGridKernel(kernel: Kernel, options?: GridOptions): Kernel {
  const whole = { ...kernel, body: joinBlocks(kernel.body) }; // groups cut sums by themselves
  const legal = legalizeKernel(narrowF64(whole)); // narrowed first: macros look at the bits of what they are given
  const grids = gridKernel(simplifyKernel(legal), options); // the simplest sizes are those a host can compute
  return bindLets(simplifyKernel(grids)); // again: axes are read off one counter
}
