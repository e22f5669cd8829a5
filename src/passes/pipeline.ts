// The passes over tensor IR, in order, each with its reason. Lowering to kernels follows (lower/module.ts).

import { deadCode } from './dead-code.js';
import { materialize } from './materialize.js';
import type { Pass } from './pass.js';

/** What every program goes through, optimised or not. */
export const REQUIRED: readonly Pass[] = [
  { name: 'dead-code', doc: 'Removes what nobody reads: importing leaves shape chains behind.', run: deadCode },
  { name: 'materialize', doc: 'Copies views that someone needs in memory; last, when all readers are known.', run: materialize },
];

export const PIPELINE: readonly Pass[] = [...REQUIRED];
