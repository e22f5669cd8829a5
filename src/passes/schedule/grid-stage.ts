// Contractions on a GPU: a workgroup computes a tile of the result. Its invocations first copy what the tile needs of both
// factors into workgroup memory, a stretch of the reduction at a time, and then each computes a block of elements from
// there. A factor may be any expression, computed once for a whole row of the tile. Found by which loops each factor
// depends on: a matrix product, a convolution and a fused einsum are the same case. Sums keep their order.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import type { Fresh } from './grid-rows.js';
import { GPU_VECTORS, laneByLane, QUAD, quadLoop } from './grid-vector.js';
import { constOf, lanesAt } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { countNodes } from './grid-tile.js';
import { copyFactors } from './grid-stage-copy.js';
import {
  BLOCK,
  DEPTH,
  LANES,
  last,
  letOf,
  loop,
  named,
  placesOf,
  SIDE,
  type Side,
  TILE,
  total,
} from './stage-parts.js';
import { SIMD_32 } from './target.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** Below this, in any direction, a tile is mostly empty. */
const LEAST = 16;
/** Expression nodes that copies of the epilogue may come to. */
const MAX_CODE = 600;
/** Products that it takes to make up for the copies and the waits between them; blocks in registers serve less. */
const LEAST_WORK = 2 ** 22;
/** What an open size is taken for. */
export const OPEN = 512;

export interface Stage {
  readonly rows: Side;
  /** Neighbours along these are neighbours in the result. */
  readonly columns: Side;
  /** Both factors, or neither, depend on these. */
  readonly batch: readonly For[];
  /** Whether four columns of an invocation are one vector, computed and stored as such. */
  readonly quads: boolean;
}

export function chooseStage(nest: Nest, r: Reduction): Stage | null {
  const { term } = r;
  if (r.op !== 'add' || term.k !== 'op' || term.op !== 'mul' || term.lanes !== 1) return null;
  const [a, b] = term.args as [Expr, Expr];
  if (loadsOf(term, nest.store.value).some((x) => x.src === nest.store.buf)) return null;
  const sizes = [...nest.loops, ...r.loops].map((f) => f.hi);
  if (nest.loops.some((f) => sizes.some((x) => mentions(x, f.var)) || mentions(r.init, f.var))) return null;
  const onlyIn = (x: Expr, y: Expr): readonly For[] =>
    nest.loops.filter((f) => mentions(x, f.var) && !mentions(y, f.var) && constOf(f.hi) !== 1);
  const [p, q] = [
    { factor: a, loops: onlyIn(a, b) },
    { factor: b, loops: onlyIn(b, a) },
  ];
  if (p.loops.length === 0 || q.loops.length === 0) return null;
  if (!isWorthStaging(sizeOf(p.loops), sizeOf(q.loops), sizeOf(r.loops))) return null;
  const own = new Set([...p.loops, ...q.loops]);
  const rowsFirst = nest.loops.indexOf(last(p.loops)) < nest.loops.indexOf(last(q.loops));
  const isNext = (s: Side): boolean => isOne(coefficient(nest.store.index, last(s.loops).var));
  const [rows, columns] = isNext(q) || (rowsFirst && !isNext(p)) ? [p, q] : [q, p];
  return {
    rows,
    columns,
    batch: nest.loops.filter((f) => !own.has(f)),
    quads: storesQuads(nest, r, columns) && [rows, columns].every((x) => SIMD_32.has(x.factor.dtype)),
  };
}

/** Whether neighbours along the columns are neighbours in memory, in whole vectors. */
function storesQuads(nest: Nest, r: Reduction, columns: Side): boolean {
  const inner = last(columns.loops);
  const value = nest.store.value;
  const copies = hasVectors(value, inner) ? 1 : QUAD;
  return (
    quadLoop(nest.loops, nest.store) === inner &&
    SIMD_32.has(r.init.dtype) &&
    countNodes(value) * BLOCK * copies <= MAX_CODE
  );
}

const hasVectors = (value: Expr, inner: For): boolean =>
  vectorizeExpr(value, { ...lanesAt(inner.var, i32(0), GPU_VECTORS), gather: true }) !== null;

/** Rows, columns and steps of a contraction. */
export const isWorthStaging = (m: number, n: number, k: number): boolean =>
  Math.min(m, n, k) >= LEAST && m * n * k >= LEAST_WORK;

const sizeOf = (loops: readonly For[]): number => loops.reduce((n, f) => n * (constOf(f.hi) ?? OPEN), 1);
const blocks = (n: Expr): Expr => e.div(e.add(n, TILE - 1), TILE);

interface Tile {
  readonly nest: Nest;
  readonly r: Reduction;
  readonly stage: Stage;
  readonly fresh: Fresh;
  /** First row and column of the tile, first step of the stretch. */
  readonly first: { readonly row: string; readonly column: string; readonly step: string };
  readonly buffers: { readonly rows: number; readonly columns: number; readonly sums: number };
}

export function applyStage(nest: Nest, r: Reduction, stage: Stage, fresh: Fresh): Stmt {
  const first = { row: fresh.name('row'), column: fresh.name('column'), step: fresh.name('step') };
  const buffers = { rows: fresh.slot(), columns: fresh.slot(), sums: fresh.slot() };
  const t: Tile = { nest, r, stage, fresh, first, buffers };
  const grid = fresh.name('g');
  const across = blocks(total(stage.columns.loops));
  const down = blocks(total(stage.rows.loops));
  const group = named(grid);
  const batch = placesOf(stage.batch, e.div(group, e.mul(across, down)));
  const size = TILE * DEPTH;
  const alloc = (buf: number, dtype: Expr['dtype'], n: number, space: 'local' | 'register'): Stmt => ({
    s: 'alloc',
    buf,
    dtype,
    size: n,
    space,
  });
  return loop(grid, e.mul(total(stage.batch), e.mul(across, down)), 'grid', [
    letOf(first.column, e.mul(e.rem(group, across), TILE)),
    letOf(first.row, e.mul(e.rem(e.div(group, across), down), TILE)),
    ...[...batch].map(([name, value]) => letOf(name, value)),
    alloc(buffers.rows, stage.rows.factor.dtype, size, 'local'),
    alloc(buffers.columns, stage.columns.factor.dtype, size, 'local'),
    alloc(buffers.sums, r.init.dtype, TILE * TILE, 'register'),
    clearSums(t),
    loop(first.step, total(r.loops), 'serial', [copyFactors(t), BARRIER, addProducts(t), BARRIER], DEPTH),
    storeResults(t),
  ]);
}

const BARRIER: Stmt = { s: 'barrier' };

/** Where an invocation keeps its sums: a stretch of its own. A backend may give each one just that (register arrays of a group). */
const sumAt = (lane: Expr, i: number, j: number): Expr => e.add(e.mul(lane, BLOCK * BLOCK), i * BLOCK + j);
const CELLS = Array.from({ length: BLOCK * BLOCK }, (_, n): [number, number] => [Math.floor(n / BLOCK), n % BLOCK]);

function clearSums({ r, fresh, buffers, stage }: Tile): Stmt {
  const lane = fresh.name('lane');
  const clear = stage.quads
    ? Array.from({ length: BLOCK }, (_, i): Stmt => {
        const value = splat(r.init, QUAD);
        return { s: 'store', buf: buffers.sums, index: sumAt(named(lane), i, 0), value };
      })
    : CELLS.map(([i, j]): Stmt => ({ s: 'store', buf: buffers.sums, index: sumAt(named(lane), i, j), value: r.init }));
  return loop(lane, LANES, 'local', clear);
}

/** Rows of an invocation lie side by side, columns SIDE apart. */
const rowIn = (lane: Expr, i: number): Expr => e.add(e.mul(e.div(lane, SIDE), BLOCK), i);
const columnIn = (lane: Expr, j: number): Expr => e.add(e.rem(lane, SIDE), j * SIDE);

/** Rows by vectors of columns. */
function addVectors({ r, fresh, first, buffers, stage }: Tile): Stmt {
  const lane = fresh.name('lane');
  const k = fresh.name('k');
  const type = r.init.dtype;
  const { rows, columns } = stage;
  const [a, b] = [fresh.name('a'), fresh.name('b')];
  const sums = Array.from({ length: BLOCK }, () => fresh.name(r.acc));
  const at = (place: Expr): Expr => e.add(e.mul(named(k), TILE), place);
  const row = load(buffers.rows, [at(rowIn(named(lane), 0))], rows.factor.dtype, { lanes: QUAD });
  const column = load(buffers.columns, [at(quadIn(named(lane)))], columns.factor.dtype, { lanes: QUAD });
  const vectors = { a: variable(a, rows.factor.dtype, QUAD), b: variable(b, columns.factor.dtype, QUAD) };
  const steps = sums.map((name, i): Stmt => {
    const factor = splat(vec('extract', [vectors.a], rows.factor.dtype, 1, i), QUAD);
    return { s: 'set', var: name, value: e.add(variable(name, type, QUAD), e.mul(factor, vectors.b)) };
  });
  const held = (i: number): Expr => load(buffers.sums, [sumAt(named(lane), i, 0)], type, { lanes: QUAD });
  return loop(lane, LANES, 'local', [
    ...sums.map((name, i) => letOf(name, held(i), true)),
    loop(k, e.min(e.sub(total(r.loops), named(first.step)), DEPTH), 'serial', [
      letOf(a, row),
      letOf(b, column),
      ...steps,
    ]),
    ...sums.map(
      (name, i): Stmt => ({
        s: 'store',
        buf: buffers.sums,
        index: sumAt(named(lane), i, 0),
        value: variable(name, type, QUAD),
      }),
    ),
  ]);
}

/** The first of an invocation's columns where they are a vector. */
const quadIn = (lane: Expr): Expr => e.mul(e.rem(lane, SIDE), BLOCK);

function addProducts(t: Tile): Stmt {
  if (t.stage.quads) return addVectors(t);
  const { r, fresh, first, buffers, stage } = t;
  const lane = fresh.name('lane');
  const k = fresh.name('k');
  const type = r.init.dtype;
  const sums = CELLS.map(([i, j]) => ({ i, j, name: fresh.name(r.acc) }));
  const row = Array.from({ length: BLOCK }, () => fresh.name('a'));
  const column = Array.from({ length: BLOCK }, () => fresh.name('b'));
  const at = (place: Expr): Expr => e.add(e.mul(named(k), TILE), place);
  const { rows, columns } = stage;
  const reads = [
    ...row.map((name, i) => letOf(name, load(buffers.rows, [at(rowIn(named(lane), i))], rows.factor.dtype))),
    ...column.map((name, j) =>
      letOf(name, load(buffers.columns, [at(columnIn(named(lane), j))], columns.factor.dtype)),
    ),
  ];
  const steps = sums.map(({ i, j, name }): Stmt => {
    const product = e.mul(
      variable(row[i] as string, rows.factor.dtype),
      variable(column[j] as string, columns.factor.dtype),
    );
    return { s: 'set', var: name, value: e.add(variable(name, type), product) };
  });
  return loop(lane, LANES, 'local', [
    ...sums.map(({ i, j, name }) => letOf(name, load(buffers.sums, [sumAt(named(lane), i, j)], type), true)),
    loop(k, e.min(e.sub(total(r.loops), named(first.step)), DEPTH), 'serial', [...reads, ...steps]),
    ...sums.map(
      ({ i, j, name }): Stmt => ({
        s: 'store',
        buf: buffers.sums,
        index: sumAt(named(lane), i, j),
        value: variable(name, type),
      }),
    ),
  ]);
}

function storeResults(t: Tile): Stmt {
  const { nest, r, fresh, first, buffers, stage } = t;
  const lane = fresh.name('lane');
  const place = (side: Side, start: string, within: Expr): { lets: Stmt[]; at: Map<string, Expr>; inside: Expr } => {
    const own = fresh.name('at');
    const at = new Map<string, Expr>();
    const lets = [letOf(own, e.add(named(start), within))];
    for (const [name, value] of placesOf(side.loops, named(own))) {
      const axis = fresh.name(name);
      lets.push(letOf(axis, value));
      at.set(name, named(axis));
    }
    return { lets, at, inside: e.lt(named(own), total(side.loops)) };
  };
  const cell = (i: ReturnType<typeof place>, j: ReturnType<typeof place>, sum: Expr): Stmt => {
    const map = new Map<string, Expr>([...i.at, ...j.at, [r.acc, sum]]);
    const { buf, index, value } = nest.store;
    const store: Stmt = { s: 'store', buf, index: substituteVars(index, map), value: substituteVars(value, map) };
    return { s: 'if', cond: e.and(i.inside, j.inside), then: [store], else: [] };
  };
  if (stage.quads) {
    const column = place(stage.columns, first.column, quadIn(named(lane)));
    const rows = Array.from({ length: BLOCK }, (_, i) => place(stage.rows, first.row, rowIn(named(lane), i)));
    return loop(lane, LANES, 'local', [
      ...column.lets,
      ...rows.flatMap((x) => x.lets),
      ...rows.map((row, i): Stmt => {
        const sums = load(buffers.sums, [sumAt(named(lane), i, 0)], r.init.dtype, { lanes: QUAD });
        const then = storeVector(t, new Map([...row.at, ...column.at]), sums);
        return { s: 'if', cond: e.and(row.inside, column.inside), then, else: [] };
      }),
    ]);
  }
  const sum = (index: Expr): Expr => load(buffers.sums, [index], r.init.dtype);
  if (countNodes(nest.store.value) * CELLS.length > MAX_CODE) {
    const n = fresh.name('cell');
    const [i, j] = [e.div(named(n), BLOCK), e.rem(named(n), BLOCK)];
    const row = place(stage.rows, first.row, e.add(e.mul(e.div(named(lane), SIDE), BLOCK), i));
    const column = place(stage.columns, first.column, e.add(e.rem(named(lane), SIDE), e.mul(j, SIDE)));
    const one = cell(row, column, sum(e.add(e.mul(named(lane), BLOCK * BLOCK), named(n))));
    return loop(lane, LANES, 'local', [loop(n, CELLS.length, 'serial', [...row.lets, ...column.lets, one])]);
  }
  const rows = Array.from({ length: BLOCK }, (_, i) => place(stage.rows, first.row, rowIn(named(lane), i)));
  const columns = Array.from({ length: BLOCK }, (_, j) => place(stage.columns, first.column, columnIn(named(lane), j)));
  return loop(lane, LANES, 'local', [
    ...rows.flatMap((x) => x.lets),
    ...columns.flatMap((x) => x.lets),
    ...CELLS.map(([i, j]) =>
      cell(rows[i] as ReturnType<typeof place>, columns[j] as ReturnType<typeof place>, sum(sumAt(named(lane), i, j))),
    ),
  ]);
}

/** One row of an invocation's results. */
function storeVector({ nest, r, stage, fresh }: Tile, at: ReadonlyMap<string, Expr>, sums: Expr): readonly Stmt[] {
  const axis = last(stage.columns.loops).var;
  const base = at.get(axis) as Expr;
  const others = new Map([...at].filter(([name]) => name !== axis));
  const value = substituteVars(nest.store.value, others);
  const { buf } = nest.store;
  const index = substituteVars(nest.store.index, at);
  const name = fresh.name(r.acc);
  const acc = variable(name, r.init.dtype, QUAD);
  const lanes = { ...lanesAt(axis, base, GPU_VECTORS), gather: true, vars: new Map([[r.acc, acc]]) };
  const vector = vectorizeExpr(value, lanes);
  const [before, whole] = vector
    ? [[], splat(vector, QUAD)]
    : laneByLane(
        value,
        (q) =>
          new Map([
            [axis, e.add(base, q)],
            [r.acc, vec('extract', [acc], r.init.dtype, 1, q)],
          ]),
        fresh,
      );
  return [letOf(name, sums), ...before, { s: 'store', buf, index, value: whole }];
}
