// The passes over tensor IR, in order, each with its reason. Lowering to kernels follows (lower/module.ts).

import { commonSubexpressions } from './common-subexpressions.js';
import { deadCode } from './dead-code.js';
import { foldConstants } from './fold-constants.js';
import { fuse } from './fuse.js';
import { materialize } from './materialize.js';
import { packConstants } from './pack-constants.js';
import { padOperands } from './pad-operands.js';
import type { Pass } from './pass.js';
import { splitSums } from './split-sums.js';

const removeDead: Pass = {
  name: 'dead-code',
  doc: 'Removes what nobody reads.',
  run: deadCode,
};

const copyViews: Pass = {
  name: 'materialize',
  doc: 'Copies views that someone needs in memory.',
  run: materialize,
};

const blockSums: Pass = {
  name: 'split-sums',
  doc: 'Adds up very long sums in blocks, which keeps their error small.',
  run: splitSums,
};

/** What every program goes through, optimised or not. */
export const REQUIRED: readonly Pass[] = [
  removeDead, // importing leaves shape chains behind
  blockSums, // changes rounding: on every target or on none
  copyViews, // last, when all readers are known
];

export const PIPELINE: readonly Pass[] = [
  removeDead, // first, so that nothing below works on what importing left behind
  blockSums, // changes rounding: on every target or on none; before fusion, which then fills both sums
  { name: 'cse', doc: 'Merges equal nodes.', run: commonSubexpressions }, // before folding and fusion count readers
  { name: 'fold', doc: 'Computes at compile time what is constant.', run: foldConstants },
  { name: 'fuse', doc: 'Inlines elementwise producers, merges epilogues.', run: (m) => deadCode(fuse(m)) }, // after folding: constants are leaves
  { name: 'pack', doc: 'Transposes constants so that vectors walk them.', run: packConstants }, // needs the final contractions: after fusion
  { name: 'pad', doc: 'Copies a padded operand where its reads can then be vectors.', run: padOperands }, // packing may have made it needless
  copyViews, // last, when all readers are known
];
