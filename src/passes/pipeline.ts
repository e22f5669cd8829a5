// The passes over tensor IR, in order, each with its reason. Lowering to kernels follows (lower/module.ts).

import { algebra } from './algebra.js';
import { commonSubexpressions } from './common-subexpressions.js';
import { deadCode } from './dead-code.js';
import { foldConstants } from './fold-constants.js';
import { foldScale } from './fold-scale.js';
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

const simplify: Pass = {
  name: 'algebra',
  doc: 'Applies the equations of rules/ to bodies, views and nodes.',
  run: (m, c) => deadCode(algebra(m, c)),
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
  simplify, // before fusion: shorter bodies and fewer views between them; after folding, which shows values of constants
  { name: 'fuse', doc: 'Inlines elementwise producers, merges epilogues.', run: (m) => deadCode(fuse(m)) }, // after folding: constants are leaves
  {
    name: 'fold-scale',
    doc: 'Moves constant scales after a contraction into its constant operand.',
    run: (m, c) => foldConstants(deadCode(foldScale(m, c)), c),
  }, // needs epilogues: after fusion; before packing copies the operand
  simplify, // again: fusion brings producers' constants and casts together with their consumers'
  { name: 'pack', doc: 'Transposes constants so that vectors walk them.', run: packConstants }, // needs the final contractions: after fusion
  { name: 'pad', doc: 'Copies a padded operand where its reads can then be vectors.', run: padOperands }, // packing may have made it needless
  copyViews, // last, when all readers are known
];
