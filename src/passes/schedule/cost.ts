// An estimate of cycles per output of a register tile. Only the order of candidates matters; the figures are those of a
// core that starts two multiply-adds and two loads a cycle, and has a result after four.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { children, constant, type Expr, rewriteExpr } from '../../ir/scalar.js';
import type { TileSchedule } from './choose.js';
import { constOf, MAX_UNROLLED } from './loops.js';
import { mergeReduction } from './merge.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';

/** Sizes nobody knows are taken to be this. */
const TYPICAL = 64;
const LATENCY = 4;
const PER_CYCLE = 2;

export function costOf(t: TileSchedule, nest: Nest, r: Reduction, shorter: ReadonlyMap<string, number>): number {
  const sizeOf = (f: For): number => constOf(f.hi) ?? shorter.get(f.var) ?? TYPICAL;
  const { rowCount: rows, vectors, lanes } = t;
  const width = vectors * lanes;
  const columns = sizeOf(t.columns);
  const useful = covered(columns, width) * (t.rows ? covered(sizeOf(t.rows), rows) : 1);
  const depth = r.loops.reduce((p, f) => p * sizeOf(f), 1);
  const operands = loadsOf(r.term);
  const splats = operands.filter((x) => !x.index.some((i) => mentions(i, t.columns.var)));
  const invariant = t.rows ? splats.filter((x) => !x.index.some((i) => mentions(i, (t.rows as For).var))).length : 0;
  const loads = (splats.length - invariant) * rows + invariant + (operands.length - splats.length) * vectors;
  const packed = t.packed.length > 0;
  const inPlace = packed ? withoutPanel(r, t) : r;
  const cells = rows * vectors;
  const step = Math.max((cells + operations(inPlace.term, t, rows, vectors)) / PER_CYCLE, loads / PER_CYCLE, LATENCY);
  const outputs = rows * width * useful;
  const left = packed ? mergeReduction(inPlace).loops : r.loops;
  const innermost = sizeOf(left[left.length - 1] as For);
  const entering = depth * rows * vectors <= MAX_UNROLLED ? 0 : (depth / innermost) * ENTER;
  const contiguous = isOne(coefficient(nest.store.index, t.columns.var));
  const store = contiguous ? 1 / lanes : 1;
  const uses = t.inner.reduce((p, f) => p * sizeOf(f), 1);
  const packing = packed ? depth / (vectorizes(t.packed, t.columns) ? lanes : 1) / uses : 0;
  const far = !packed && t.rows !== null && depth * columns > FAR ? (depth * vectors) / outputs : 0;
  // Of equals the innermost loop, whose neighbours are near.
  return (depth * step + entering + START) / outputs + store + packing + far - nest.loops.indexOf(t.columns) * 1e-3;
}

/** The reduction with its panel, which walks every loop as one, taken out. */
const withoutPanel = (r: Reduction, t: TileSchedule): Reduction => ({
  ...r,
  term: rewriteExpr(r.term, (x) => (t.packed.includes(x) ? constant(0, x.dtype) : x)),
});

/** What a step computes besides multiplying and adding up: once a cell, a vector or a row, as it depends on them. */
function operations(term: Expr, t: TileSchedule, rows: number, vectors: number): number {
  const isProduct = term.k === 'op' && term.op === 'mul';
  let count = 0;
  const visit = (x: Expr): void => {
    if ((x.k !== 'op' && x.k !== 'cast' && x.k !== 'select') || x.dtype === 'i1') return;
    const [byColumn, byRow] = [t.columns, t.rows].map((f) => f !== null && mentions(x, f.var));
    if (x !== term || !isProduct) count += (byColumn ? vectors : 1) * (byRow ? rows : 1);
    for (const c of children(x)) visit(c);
  };
  visit(term);
  return count;
}

/** Elements of an operand read in place beyond which each of its rows is a new line of a far cache. */
const FAR = 16384;
/** Cycles to enter and leave a loop. */
const ENTER = 2;
/** Cycles to enter a tile. */
const START = 8;

/** Share of the work that is new, where the last tile is moved back over work done. */
const covered = (size: number, tile: number): number => size / (Math.ceil(size / tile) * tile);

const vectorizes = (parts: readonly Expr[], columns: For): boolean =>
  loadsOf(...parts).every((x) => isOne(coefficient(x.index[0] as Expr, columns.var)));
