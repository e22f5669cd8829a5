// The executor as it runs here, and as text: each file of this folder is one function that uses nothing around it, so the
// text of a shipped loader is the functions' own, whatever a bundler made of the names that import them.

import { createCommands } from './commands.js';
import { createDispatches, createPipelines } from './dispatch.js';
import { createElements } from './elements.js';
import { createExecutor, type ExecutorParts } from './executor.js';
import { createGuard } from './guard.js';
import { createOpenSizes } from './open-sizes.js';
import { createSizes } from './sizes.js';
import { createSteps } from './steps.js';
import { createStores } from './stores.js';
import { createContents } from './weights.js';

export const EXECUTOR_PARTS: ExecutorParts = {
  createElements,
  createSizes,
  createGuard,
  createCommands,
  createContents,
  createStores,
  createOpenSizes,
  createPipelines,
  createDispatches,
  createSteps,
};

/** Declares `createExecutor` and `PARTS`, its first argument. */
export const executorText = (): string =>
  [
    `const createExecutor = ${createExecutor};`,
    `const PARTS = {\n${Object.entries(EXECUTOR_PARTS)
      .map(([name, part]) => `${name}: ${part},`)
      .join('\n')}\n};`,
  ].join('\n');
