// Register blocks for a GPU: one iteration of the grid computes several elements of a reduction, so that what it loads
// serves more than one of them. Chosen by which loads depend on which loops. Along the second loop the elements of a
// block lie a block count apart, so that neighbours in the grid still read and write neighbours in memory.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, type LoadExpr, substituteVars, variable, vec, visitExpr } from '../../ir/scalar.js';
import type { Fresh } from './grid-rows.js';
import { GPU_VECTORS, isAligned, laneByLane, overQuads, QUAD, quadLoop } from './grid-vector.js';
import { constOf, lanesAt, wrap } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { SIMD_32 } from './target.js';
import { type Lanes, splat, vectorizeExpr } from './vectorize.js';

/** Iterations that should be left to run at once. */
const MIN_GRID = 1024;
/** Expression nodes that copies of the epilogue may come to. */
const MAX_CODE = 2000;
const SIZES = [4, 2, 1] as const;

/** Elements of a block along two of the nest's loops. `quads`: its columns are the lanes of a vector. */
export interface Block {
  readonly rows: number;
  readonly columns: number;
  readonly row: For | null;
  readonly column: For;
  readonly quads: boolean;
}

/** A narrow result is written in words, so it must have vectors (grid-vector.ts has what else there is). */
export function chooseBlock(nest: Nest, r: Reduction, isNarrow: boolean): Block | null {
  const loads = loadsOf(r.term);
  if (loads.some((x) => x.src === nest.store.buf) || loadsOf(nest.store.value).some((x) => x.src === nest.store.buf))
    return null;
  const total = nest.loops.reduce((n, f) => n * (constOf(f.hi) ?? 64), 1);
  const code = countNodes(nest.store.value);
  const depends = (x: Expr, f: For): boolean => mentions(x, f.var);
  let best: Block | null = null;
  let least = isNarrow ? Number.POSITIVE_INFINITY : loads.length;
  const quad = quadColumn(nest, r, isNarrow);
  if (quad)
    for (const row of [...nest.loops, null]) {
      if (row === quad.column) continue;
      for (const rows of row ? SIZES : [1]) {
        const m = row ? (constOf(row.hi) ?? 64) : 1;
        if (rows > m || rows * QUAD * code > MAX_CODE) continue;
        if (total / (rows * QUAD) < MIN_GRID && !(isNarrow && rows === 1)) continue;
        const needed = loads.map((x) => (row && depends(x, row) ? rows : 1) * quad.cost(x));
        const waste = (Math.ceil(m / rows) * rows) / m;
        const cost = (needed.reduce((a, b) => a + b, 0) * waste) / (rows * QUAD);
        if (cost >= least * 0.99) continue;
        least = cost;
        best = { rows, columns: QUAD, row, column: quad.column, quads: true };
      }
    }
  if (isNarrow) return best;
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
          best = { rows, columns, row, column, quads: false };
        }
      }
    }
  }
  return best;
}

/** What a vector of memory costs beside a single element. */
const VECTOR_LOAD = 1.5;

/** The loop whose vectors a reduction can compute, and what a load costs it. */
function quadColumn(
  nest: Nest,
  r: Reduction,
  isNarrow: boolean,
): { readonly column: For; readonly cost: (x: LoadExpr) => number } | null {
  const column = quadLoop(nest.loops, nest.store);
  const { value } = nest.store;
  if (!column || mentions(r.init, column.var) || r.loops.some((f) => mentions(f.hi, column.var))) return null;
  if (!GPU_VECTORS.target.supports(r.op, r.init.dtype, QUAD) || !SIMD_32.has(r.init.dtype)) return null;
  if (!isNarrow && (!SIMD_32.has(value.dtype) || value.dtype === 'i1')) return null;
  if (!vectorizeExpr(r.term, { ...lanesAt(column.var, i32(0), GPU_VECTORS), gather: true })) return null;
  const cost = (x: LoadExpr): number => {
    const index = x.index[0] as Expr;
    if (!mentions(x, column.var)) return 1;
    const whole = isOne(coefficient(index, column.var)) && isAligned(index, column.var);
    return whole && !(x.guard && mentions(x.guard, column.var)) ? VECTOR_LOAD : QUAD;
  };
  return { column, cost };
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

export function applyBlock(nest: Nest, r: Reduction, block: Block, fresh: Fresh): Stmt {
  return block.quads ? vectorBlock(nest, r, block, fresh) : scalarBlock(nest, r, block, fresh.name);
}

/** Rows of one vector each. */
function vectorBlock(nest: Nest, r: Reduction, { rows, row, column }: Block, fresh: Fresh): Stmt {
  const places = row && placesAlong(row, rows, false, fresh.name);
  const name = fresh.name(`${column.var}_quad`);
  const base = e.mul(variable(name, 'i32'), QUAD);
  const lanes: Lanes = { ...lanesAt(column.var, base, GPU_VECTORS), gather: true };
  const type = r.init.dtype;
  const cells = (places?.at ?? [null]).map((at, k) => ({
    acc: fresh.name(r.acc),
    at: new Map<string, Expr>(row && at ? [[row.var, at]] : []),
    inside: places?.inside[k] ?? null,
  }));
  const vectorOf = (acc: string): Expr => variable(acc, type, QUAD);
  const start = cells.map(
    (c): Stmt => ({ s: 'let', var: c.acc, value: splat(substituteVars(r.init, c.at), QUAD), mutable: true }),
  );
  const steps = cells.map((c): Stmt => {
    const term = vectorizeExpr(substituteVars(r.term, c.at), lanes) as Expr;
    return { s: 'set', var: c.acc, value: e.op(r.op, vectorOf(c.acc), splat(term, QUAD)) };
  });
  const stores = cells.flatMap((c): readonly Stmt[] => {
    const { buf, index } = nest.store;
    const at = substituteVars(index, new Map([...c.at, [column.var, base]]));
    const value = substituteVars(nest.store.value, c.at);
    const vector = vectorizeExpr(value, { ...lanes, vars: new Map([[r.acc, vectorOf(c.acc)]]) });
    const lane = (k: number): ReadonlyMap<string, Expr> =>
      new Map([
        [column.var, e.add(base, k)],
        [r.acc, vec('extract', [vectorOf(c.acc)], type, 1, k)],
      ]);
    const [before, whole] = vector ? [[], splat(vector, QUAD)] : laneByLane(value, lane, fresh);
    const body: readonly Stmt[] = [...before, { s: 'store', buf, index: at, value: whole }];
    return c.inside ? [{ s: 'if', cond: c.inside, then: body, else: [] }] : body;
  });
  const rest = nest.loops.map((f) => (f === row && places ? places.loop : f));
  const loops = overQuads(rest, column, name);
  return wrap(loops, [...(places?.lets ?? []), ...start, ...wrap(r.loops, steps), ...stores])[0] as Stmt;
}

function scalarBlock(nest: Nest, r: Reduction, block: Block, fresh: (name: string) => string): Stmt {
  const blockRow = block.row as For;
  const rows = placesAlong(blockRow, block.rows, false, fresh);
  const columns = placesAlong(block.column, block.columns, true, fresh);
  const cells = rows.at.flatMap((row, i) =>
    columns.at.map((column, j) => ({
      acc: fresh(r.acc),
      at: new Map([
        [blockRow.var, row],
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
  const loops = nest.loops.map((f) => (f === blockRow ? rows.loop : f === block.column ? columns.loop : f));
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
