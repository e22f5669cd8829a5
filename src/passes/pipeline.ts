// The passes over tensor IR, in order, each with its reason. Lowering to kernels follows (lower/module.ts).

import { algebra } from './algebra.js';
import { commonSubexpressions } from './common-subexpressions.js';
import { deadCode } from './dead-code.js';
import { foldConstants } from './fold-constants.js';
import { foldScale } from './fold-scale.js';
import { type FuseOptions, fuse } from './fuse.js';
import { hoistFactors } from './hoist-factors.js';
import { integerSums } from './integer-sums.js';
import { materialize } from './materialize.js';
import { narrowIntegers } from './narrow-integers.js';
import { packConstants } from './pack-constants.js';
import { padOperands } from './pad-operands.js';
import { visitNodes } from '../ir/rewrite.js';
import type { Module } from '../ir/tensor.js';
import type { Pass } from './pass.js';
import { selectConcats } from './select-concat.js';
import { storeHalves } from './store-halves.js';
import { storeNibbles } from './store-nibbles.js';
import { splitPhases } from './split-phases.js';
import { splitReductions } from './split-reductions.js';
import { splitSums } from './split-sums.js';
import { winograd } from './winograd.js';

const removeDead: Pass = {
  name: 'dead-code',
  doc: 'Removes what nobody reads.',
  run: deadCode,
};

const copyViews: Pass = {
  name: 'materialize',
  doc: 'Copies views that someone needs in memory.',
  run: (m) => materialize(m),
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

/** For a GPU, which gains from every node less. First what has one reader: what that merges may turn several readers of a value into one. Each until nothing changes. */
function fuseAll(m: Module, options: FuseOptions): Module {
  return fuseRounds(fuseRounds(m, { ...options, single: true }), options);
}

function fuseRounds(m: Module, options: FuseOptions): Module {
  const next = deadCode(fuse(m, options));
  return countNodes(next) < countNodes(m) ? fuseRounds(next, options) : next;
}

function countNodes(m: Module): number {
  let n = 0;
  for (const entry of m.entries) visitNodes(entry.body, () => void n++);
  return n;
}

/** What every program goes through, optimised or not. */
export const REQUIRED: readonly Pass[] = [
  removeDead, // importing leaves shape chains behind
  blockSums, // changes rounding: on every target or on none
  copyViews, // last, when all readers are known
];

export const PIPELINE: readonly Pass[] = [
  removeDead, // first, so that nothing below works on what importing left behind
  {
    name: 'integer-sums',
    doc: 'Adds up products of scaled integers as integers.',
    run: (m, c) => deadCode(integerSums(m, c)),
  }, // while weights are still as they are stored; before long sums of floats are cut
  blockSums, // changes rounding: on every target or on none; before fusion, which then fills both sums
  { name: 'cse', doc: 'Merges equal nodes.', run: commonSubexpressions }, // before folding and fusion count readers
  {
    name: 'fold',
    doc: 'Computes at compile time what is constant.',
    run: (m, c) => foldConstants(m, c, { streamed: c.numerics === 'fast', shared: c.vectors !== null }),
  },
  simplify, // before fusion: shorter bodies and fewer views between them; after folding, which shows values of constants
  { name: 'fuse', doc: 'Inlines elementwise producers, merges epilogues.', run: (m) => deadCode(fuse(m)) }, // after folding: constants are leaves
  { name: 'hoist-factors', doc: 'Moves factors a sum does not walk out of it.', run: hoistFactors }, // after fusion brought them in; folding scales moves some into constants
  {
    name: 'fold-scale',
    doc: 'Moves constant scales after a contraction into its constant operand.',
    run: (m, c) => foldConstants(deadCode(foldScale(m, c)), c),
  }, // needs epilogues: after fusion; before packing copies the operand
  simplify, // again: fusion brings producers' constants and casts together with their consumers'
  { name: 'narrow', doc: 'Holds small integers in two bytes.', run: narrowIntegers }, // after fusion, which leaves what several read; before copies of it
  { name: 'phases', doc: 'Leaves out products with constant zeros.', run: splitPhases }, // needs epilogues: after fusion; the parts' weights are laid out below
  { name: 'winograd', doc: 'Computes convolutions with fewer products.', run: winograd }, // writes padding and strides out itself: before copies that do
  { name: 'pad', doc: 'Copies a padded operand where its reads can then be vectors.', run: padOperands }, // needs the final contractions: after fusion
  {
    name: 'pack',
    doc: 'Transposes constants so that vectors walk them.',
    run: (m, c) => packConstants(m, { keepsStreamed: c.numerics === 'fast' }),
  }, // where padding did not give vectors another axis
  {
    name: 'weights',
    doc: 'Holds weights in two bytes, or half of one, where their values fit.',
    run: (m, c) => storeNibbles(storeHalves(m, c), c),
  }, // their layout is final, and nothing scales them any more
  copyViews, // last, when all readers are known
];

/** Where memory may count for more than speed: nothing that takes buffers to save arithmetic. */
export const SMALL_PIPELINE: readonly Pass[] = PIPELINE.filter((p) => p.name !== 'winograd');

/** Passes that serve vectors of one processor: copies only cost a GPU a dispatch, narrow elements an atomic store. */
const NOT_ON_GPU: ReadonlySet<string> = new Set(['pad', 'narrow', 'phases', 'winograd', 'weights']);

/** Passes that serve a GPU otherwise: it has no schedule for weights as they are stored. */
const ON_GPU: Readonly<Record<string, Pass['run']>> = {
  fold: (m, c) => foldConstants(m, c),
  pack: (m) => packConstants(m),
  materialize: (m) => materialize(m, { anyIndex: true }),
};

/** For a GPU a copy is worse than arithmetic: concats select, and fusion goes through any index. */
export const GPU_PIPELINE: readonly Pass[] = PIPELINE.filter((p) => !NOT_ON_GPU.has(p.name)).flatMap((p) =>
  p.name === 'fuse'
    ? [
        {
          name: 'split-reductions',
          doc: 'Cuts few very long reductions in two.',
          run: splitReductions,
        }, // before fusion, which then fills both; sums of floats are cut already
        {
          name: 'select-concat',
          doc: 'Turns concats into selections, which their readers can inline.',
          run: selectConcats,
        }, // right before fusion, which does the rest
        { ...p, run: (m: Module) => fuseAll(m, { anyIndex: true }) },
      ]
    : [{ ...p, run: ON_GPU[p.name] ?? p.run }],
);
