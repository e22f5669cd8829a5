// Register blocks for a GPU: one iteration of the grid computes several elements of a reduction, so that what it loads
// serves more than one of them. Chosen by which loads depend on which loops. Along the second loop the elements of a
// block lie a block count apart, so that neighbours in the grid still read and write neighbours in memory.

import { mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import { constOf, wrap } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';

/** Iterations that should be left to run at once. */
const MIN_GRID = 1024;
/** Expression nodes that copies of the epilogue may come to. */
const MAX_CODE = 2000;
const SIZES = [4, 2, 1] as const;

/** Elements of a block along two of the nest's loops. */
export interface Block {
  readonly rows: number;
  readonly columns: number;
  readonly row: For;
  readonly column: For;
}

export function chooseBlock(nest: Nest, r: Reduction): Block | null {
  const loads = loadsOf(r.term);
  if (loads.some((x) => x.src === nest.store.buf) || loadsOf(nest.store.value).some((x) => x.src === nest.store.buf))
    return null;
  const total = nest.loops.reduce((n, f) => n * (constOf(f.hi) ?? 64), 1);
  const code = countNodes(nest.store.value);
  const depends = (x: Expr, f: For): boolean => mentions(x, f.var);
  let best: Block | null = null;
  let least = loads.length;
  for (const column of [...nest.loops].reverse()) {
    for (const row of nest.loops) {
      if (row === column) continue;
      for (const rows of SIZES) {
        for (const columns of SIZES) {
          const [m, n] = [constOf(row.hi) ?? 64, constOf(column.hi) ?? 64];
          if (rows > m || columns > n || rows * columns * code > MAX_CODE) continue;
          if (total / (rows * columns) < MIN_GRID) continue;
          const needed = loads.map((x) => (depends(x, row) ? rows : 1) * (depends(x, column) ? columns : 1));
          const waste = (Math.ceil(m / rows) * rows * Math.ceil(n / columns) * columns) / (m * n);
          const cost = (needed.reduce((a, b) => a + b, 0) * waste) / (rows * columns);
          if (cost >= least * 0.99) continue;
          least = cost;
          best = { rows, columns, row, column };
        }
      }
    }
  }
  return best;
}

export function countNodes(x: Expr): number {
  let n = 0;
  visitExpr(x, () => void n++);
  return n;
}

interface Places {
  readonly loop: For;
  readonly lets: readonly Stmt[];
  /** Where each element reads, always inside. */
  readonly at: readonly Expr[];
  /** Whether each element is one of the loop's; null: all are. */
  readonly inside: readonly (Expr | null)[];
}

export function applyBlock(nest: Nest, r: Reduction, block: Block, fresh: (name: string) => string): Stmt {
  const rows = placesAlong(block.row, block.rows, false, fresh);
  const columns = placesAlong(block.column, block.columns, true, fresh);
  const cells = rows.at.flatMap((row, i) =>
    columns.at.map((column, j) => ({
      acc: fresh(r.acc),
      at: new Map([
        [block.row.var, row],
        [block.column.var, column],
      ]),
      inside: [rows.inside[i], columns.inside[j]].flatMap((x) => x ?? []),
    })),
  );
  const type = r.init.dtype;
  const start = cells.map((c): Stmt => ({ s: 'let', var: c.acc, value: substituteVars(r.init, c.at), mutable: true }));
  const steps = cells.map(
    (c): Stmt => ({ s: 'set', var: c.acc, value: e.op(r.op, variable(c.acc, type), substituteVars(r.term, c.at)) }),
  );
  const stores = cells.map((c): Stmt => {
    const map = new Map<string, Expr>([...c.at, [r.acc, variable(c.acc, type)]]);
    const { buf, index, value } = nest.store;
    const store: Stmt = { s: 'store', buf, index: substituteVars(index, map), value: substituteVars(value, map) };
    const [first, ...rest] = c.inside;
    if (!first) return store;
    return { s: 'if', cond: rest.reduce((a, b) => e.and(a, b), first), then: [store], else: [] };
  });
  const loops = nest.loops.map((f) => (f === block.row ? rows.loop : f === block.column ? columns.loop : f));
  const body = [...rows.lets, ...columns.lets, ...start, ...wrap(r.loops, steps), ...stores];
  return wrap(loops, body)[0] as Stmt;
}

/** Elements of a block along one loop: side by side, or `apart` by the number of blocks. */
function placesAlong(f: For, size: number, apart: boolean, fresh: (name: string) => string): Places {
  const own = variable(f.var, 'i32');
  if (size === 1) return { loop: f, lets: [], at: [own], inside: [null] };
  const blocks = e.div(e.add(f.hi, size - 1), size);
  const n = constOf(f.hi);
  const exact = n !== null && n % size === 0;
  const counter = fresh(`${f.var}_block`);
  const wanted = Array.from({ length: size }, (_, k) => {
    const b = variable(counter, 'i32');
    return apart ? e.add(b, e.mul(blocks, k)) : e.add(e.mul(b, size), k);
  });
  const names = wanted.map(() => fresh(f.var));
  const last = e.sub(f.hi, 1);
  const lets = wanted.map(
    (x, k): Stmt => ({ s: 'let', var: names[k] as string, value: exact ? x : e.min(x, last), mutable: false }),
  );
  return {
    loop: { ...f, var: counter, hi: blocks },
    lets,
    at: names.map((name) => variable(name, 'i32')),
    inside: wanted.map((x) => (exact ? null : e.lt(x, f.hi))),
  };
}
