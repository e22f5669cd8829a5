// An estimate of cycles per output of a register tile. Only the order of candidates matters; the figures are those of a
// core that starts two multiply-adds and two loads a cycle, and has a result after four.

import { coefficient, isOne, mentioning, mentions } from '../../ir/affine.js';
import { constant, type Expr, type LoadExpr, rewriteExpr, visitWithin } from '../../ir/scalar.js';
import type { TileSchedule } from './choose.js';
import { guardsOf, withoutGuards } from './interior.js';
import { constOf, type ScheduleOptions } from './loops.js';
import { mergeReduction } from './merge.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { pairedFactors } from './pairs.js';
import { distinctReads, isUnrolled, rowsOverlap } from './window.js';

/** Sizes nobody knows are taken to be this. */
const TYPICAL = 64;
/** Cycles from one addition to the next of a sum, where nothing comes in between. */
const LATENCY = 4;
const latencyOf = (o: ScheduleOptions): number => o.target.latency ?? LATENCY;
/** What comes in between where a tile's sums are just as many as are added up meanwhile. */
const BETWEEN = 1;
const PER_CYCLE = 2;
/** Cycles from one addition to the next of a sum that has no register. */
const THROUGH_MEMORY = 12;
/** What takes some cores of a kind twice as long and others not: between them. */
const SLOWER = 1.5;

export function costOf(
  t: TileSchedule,
  nest: Nest,
  r: Reduction,
  o: ScheduleOptions,
  shorter: ReadonlyMap<string, number>,
): number {
  const sizeOf = (f: For): number => constOf(f.hi) ?? shorter.get(f.var) ?? TYPICAL;
  const cost = isUnrolled(t, r) ? costAtBorders : costInLoops;
  return (t.lanes > o.target.fullRate ? SLOWER : 1) * cost(t, nest, r, o, sizeOf);
}

type Cost = (t: TileSchedule, nest: Nest, r: Reduction, o: ScheduleOptions, sizeOf: (f: For) => number) => number;

const costInLoops: Cost = (t, nest, r, o, sizeOf) => {
  const { rowCount: rows, vectors, lanes } = t;
  const width = vectors * lanes;
  const columns = sizeOf(t.columns);
  const useful = covered(columns, width) * (t.rows ? covered(sizeOf(t.rows), rows) : 1);
  const depth = r.loops.reduce((p, f) => p * sizeOf(f), 1);
  const operands = loadsOf(r.term);
  const splats = operands.filter((x) => !x.index.some((i) => mentions(i, t.columns.var)));
  const invariant = t.rows ? splats.filter((x) => !x.index.some((i) => mentions(i, (t.rows as For).var))).length : 0;
  const packed = t.packed.length > 0;
  const inPlace = packed ? withoutPanel(r, t) : r;
  const wide = operands.filter((x) => !splats.includes(x));
  const lines = wide.reduce((n, x) => n + vectors * linesOf(x, t, nest, r), 0);
  const loads = (splats.length - invariant) * rows + invariant + lines;
  const cells = rows * vectors;
  const computed = loadsOf(inPlace.term).filter((x) => r.loops.some((f) => !coefficient(x.index[0] as Expr, f.var)));
  const instructions = Math.max(cells + operations(inPlace.term, t, rows, vectors), loads) + ADDRESS * computed.length;
  const strided = splats.filter((x) => depth > NEAR_LINES && isStrided(x, r)).length;
  const isCrowded = !o.target.spillsWell && cells + vectors + 1 + steadyVectors(t, nest) > o.target.registers;
  const busy = instructions / PER_CYCLE;
  const waiting = isCrowded ? THROUGH_MEMORY : busy < LATENCY ? latencyOf(o) : LATENCY + BETWEEN;
  const step = Math.max(busy, waiting) + FETCH * strided;
  const outputs = rows * width * useful;
  const left = packed ? mergeReduction(inPlace).loops : r.loops;
  const innermost = sizeOf(left[left.length - 1] as For);
  const entering = (depth / innermost) * ENTER;
  const contiguous = isOne(coefficient(nest.store.index, t.columns.var));
  const store = contiguous ? 1 / lanes : APART;
  const packing = packingOf(t, depth, sizeOf);
  // Each row of what is read in place and is not near is a new line of a far cache.
  const far = !packed && t.rows !== null && depth * columns > o.target.near ? (depth * vectors) / outputs : 0;
  // Of equals the innermost loop, whose neighbours are near.
  return (depth * step + entering + START) / outputs + store + packing + far - nest.loops.indexOf(t.columns) * 1e-3;
};

/** Vectors that stores take and that stay the same while rows go by: a compiler keeps them in registers. */
function steadyVectors({ packed, columns, vectors, inner }: TileSchedule, { store }: Nest): number {
  if (packed.length === 0) return 0;
  const isSteady = (x: LoadExpr): boolean => mentions(x, columns.var) && !inner.some((f) => mentions(x, f.var));
  return vectors * loadsOf(store.value).filter(isSteady).length;
}

/** Instructions a cycle, of those that are neither all arithmetic nor all loads. */
const ISSUE = 4;
/** Instructions a core has begun at a time, of several tiles where they are short. */
const BEGUN = 320;
/** Instructions of a tile's own: its loop and addresses. */
const OVERHEAD = 10;
/** Instructions of a load that may lie beyond a border, on top. */
const TEST = 2;
/** Instructions a value costs that found no register: one stores it, one gets it back, and neither is for free. */
const SPILL = 3;

/** Rows that share what they read go one by one at a border. */
const costAtBorders: Cost = (t, nest, r, o, sizeOf) => {
  const { rows, rowCount } = t;
  const guards = guardsOf(r) ?? [];
  if (!rows || !rowsOverlap(t) || guards.length === 0) return costUnrolled(t, nest, r, o, sizeOf);
  const border = nest.loops.filter((f) => guards.some((g) => mentions(g, f.var)));
  const inside = border.reduce((share, f) => {
    const steps = Math.ceil(sizeOf(f) / (f === rows ? rowCount : 1));
    return (share * Math.max(0, steps - 2)) / steps;
  }, 1);
  const alone = costUnrolled({ ...t, rows: null, rowCount: 1 }, nest, r, o, sizeOf);
  return (
    inside * costUnrolled(t, nest, { ...r, term: withoutGuards(r.term) }, o, sizeOf) +
    (1 - inside) * (alone + TEST / (t.vectors * t.lanes))
  );
};

/**
 * A tile whose reduction is written out: the next tile does not wait for it, so instructions count more than latency.
 * Values live at once: accumulators, what is the same for every tile, and as many loads as the target starts early.
 */
const costUnrolled: Cost = (t, nest, r, o, sizeOf) => {
  const { rowCount: rows, vectors, lanes, columns } = t;
  const cells = rows * vectors;
  const steps = r.loops.reduce((p, f) => p * sizeOf(f), 1);
  const paired = pairedFactors(t, r, o) !== null;
  let loads = 0;
  let steady = 0;
  let tests = 0;
  for (const x of loadsOf(r.term)) {
    const count = distinctReads(x, r.loops, t.rows, rows);
    if (x.index.some((i) => mentions(i, columns.var))) loads += count * (paired ? vectors / 2 : vectors);
    else if (t.rows && x.index.some((i) => mentions(i, t.rows?.var ?? ''))) loads += count;
    else steady += count;
    if (x.guard) tests += TEST * count * vectors;
  }
  const early = o.target.loadsFirst ? Math.max(1, loads - steps) : 1;
  const spills = Math.max(0, cells + steady + early + 1 - o.target.registers);
  const inPlace = t.packed.length > 0 ? withoutPanel(r, t) : r;
  // Two steps are one product and one sum; a load is for two vectors, and what is loaded becomes pairs.
  const work = paired ? steps * cells + loads : steps * (2 * cells + operations(inPlace.term, t, rows, vectors));
  const instructions = work + loads + tests + SPILL * spills + 2 * cells + OVERHEAD;
  const useful = covered(sizeOf(columns), vectors * lanes) * (t.rows ? covered(sizeOf(t.rows), rows) : 1);
  const store = isOne(coefficient(nest.store.index, columns.var)) ? 0 : 1;
  const cycles = Math.max(instructions / ISSUE, (steps * latencyOf(o)) / Math.max(1, BEGUN / instructions));
  return cycles / (cells * lanes * useful) + store + packingOf(t, steps, sizeOf) - nest.loops.indexOf(columns) * 1e-3;
};

/** What filling a panel costs each output that uses it. */
function packingOf(t: TileSchedule, depth: number, sizeOf: (f: For) => number): number {
  const { packed, columns, lanes, inner } = t;
  if (t.isStored) return 0;
  const uses = inner.reduce((p, f) => p * sizeOf(f), 1);
  return packed.length > 0 ? depth / (vectorizes(packed, columns) ? lanes : 1) / uses : 0;
}

/** The reduction with its panel, which walks every loop as one, taken out. */
const withoutPanel = (r: Reduction, t: TileSchedule): Reduction => ({
  ...r,
  term: rewriteExpr(r.term, (x) => (t.packed.includes(x) ? constant(0, x.dtype) : x)),
});

type Test = (x: Expr) => boolean;

/** What a step computes besides multiplying and adding up: once a cell, a vector or a row, as it depends on them. What several
 *  parts share is computed once. */
function operations(term: Expr, t: TileSchedule, rows: number, vectors: number): number {
  const isProduct = term.k === 'op' && term.op === 'mul';
  const [byColumn, byRow] = [t.columns, t.rows].map((f) => (f ? mentioning(f.var) : () => false)) as [Test, Test];
  let count = 0;
  visitWithin(term, (x) => {
    if (x.k === 'bitcast') return true;
    if ((x.k !== 'op' && x.k !== 'cast' && x.k !== 'select') || x.dtype === 'i1') return false;
    if (x !== term || !isProduct) count += (byColumn(x) ? vectors : 1) * (byRow(x) ? rows : 1);
    return true;
  });
  return count;
}

/** Lines of a cache that are still in a first level when the next tile comes to them. */
const NEAR_LINES = 256;
/** Cycles to fetch one from a second level, while other work goes on. */
const FETCH = 2;

/** Whether each step of a sum reads another line. */
const isStrided = (x: LoadExpr, r: Reduction): boolean =>
  Math.abs(constOf(coefficient(x.index[0] as Expr, (r.loops.at(-1) as For).var) ?? constant(0, 'i32')) ?? 0) >= LINE;

/** 32-bit elements in a line of a cache. */
const LINE = 16;

/** Lines a vector of this load lies in: more than one where it may start anywhere. Buffers start at multiples of four elements. */
function linesOf(x: LoadExpr, { columns, lanes, packed }: TileSchedule, nest: Nest, r: Reduction): number {
  const others = [...nest.loops, ...r.loops].filter((f) => f !== columns);
  const strides = packed.length > 0 ? [] : others.map((f) => coefficient(x.index[0] as Expr, f.var));
  const isAligned = strides.every((c) => c === null || (constOf(c) ?? 0) % lanes === 0);
  return isAligned ? 1 : 1 + lanes / LINE;
}

/** Cycles of a lane that is stored by itself: it is taken out first, and its neighbours may be in other lines. */
const APART = 1.25;

/** Instructions of an address that a step of the sum does not just move, by a division mostly. */
const ADDRESS = 8;

/** Cycles to enter and leave a loop. */
const ENTER = 2;
/** Cycles to enter a tile. */
const START = 8;

/** Share of the work that is new, where the last tile is moved back over work done. */
const covered = (size: number, tile: number): number => size / (Math.ceil(size / tile) * tile);

const vectorizes = (parts: readonly Expr[], columns: For): boolean =>
  loadsOf(...parts).every((x) => isOne(coefficient(x.index[0] as Expr, columns.var)));
