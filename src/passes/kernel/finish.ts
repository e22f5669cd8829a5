// What every freshly lowered kernel goes through before a backend sees it, in order.

import type { Kernel } from '../../ir/kernel.js';
import { legalizeKernel } from './legalize.js';

export function finishKernel(kernel: Kernel): Kernel {
  return legalizeKernel(kernel);
}
