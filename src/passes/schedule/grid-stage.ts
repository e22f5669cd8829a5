// Contractions on a GPU: a workgroup computes a tile of the result. Its invocations first copy what the tile needs of both
// factors into workgroup memory, a stretch of the reduction at a time, and then each computes a block of elements from
// there. A factor may be any expression, computed once for a whole row of the tile. Found by which loops each factor
// depends on: a matrix product, a convolution and a fused einsum are the same case. Sums keep their order.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import type { Fresh } from './grid-rows.js';
import { constOf } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import { countNodes } from './grid-tile.js';

/** Invocations of a workgroup, as a square of `SIDE`; each computes BLOCK × BLOCK elements of a TILE × TILE tile. */
const SIDE = 8;
const LANES = SIDE * SIDE;
const BLOCK = 4;
export const TILE = SIDE * BLOCK;
/** Steps of the reduction staged at a time. */
const DEPTH = 16;
/** Below this, in any direction, a tile is mostly empty. */
const LEAST = 16;
/** Expression nodes that copies of the epilogue may come to. */
const MAX_CODE = 600;
/** Products that it takes to make up for the copies and the waits between them; blocks in registers serve less. */
const LEAST_WORK = 2 ** 22;
/** What an open size is taken for. */
export const OPEN = 512;

/** One of the two factors with the loops that only it depends on. */
interface Side {
  readonly factor: Expr;
  readonly loops: readonly For[];
}

export interface Stage {
  readonly rows: Side;
  /** Neighbours along these are neighbours in the result. */
  readonly columns: Side;
  /** Both factors, or neither, depend on these. */
  readonly batch: readonly For[];
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
  return { rows, columns, batch: nest.loops.filter((f) => !own.has(f)) };
}

/** Rows, columns and steps of a contraction. */
export const isWorthStaging = (m: number, n: number, k: number): boolean =>
  Math.min(m, n, k) >= LEAST && m * n * k >= LEAST_WORK;

const sizeOf = (loops: readonly For[]): number => loops.reduce((n, f) => n * (constOf(f.hi) ?? OPEN), 1);
const last = (loops: readonly For[]): For => loops[loops.length - 1] as For;
const total = (loops: readonly For[]): Expr => loops.reduce<Expr>((n, f) => e.mul(n, f.hi), i32(1));
const blocks = (n: Expr): Expr => e.div(e.add(n, TILE - 1), TILE);

/** Each loop's place in a row-major position. */
function placesOf(loops: readonly For[], at: Expr): ReadonlyMap<string, Expr> {
  const out = new Map<string, Expr>();
  let rest = at;
  for (const [k, f] of [...loops.entries()].reverse()) {
    out.set(f.var, k === 0 ? rest : e.rem(rest, f.hi));
    rest = e.div(rest, f.hi);
  }
  return out;
}

const letOf = (name: string, value: Expr, mutable = false): Stmt => ({ s: 'let', var: name, value, mutable });
const named = (name: string): Expr => variable(name, 'i32');
const loop = (v: string, hi: Expr | number, mode: For['mode'], body: readonly Stmt[], step = 1): Stmt => ({
  s: 'for',
  var: v,
  lo: i32(0),
  hi: typeof hi === 'number' ? i32(hi) : hi,
  step,
  mode,
  body,
});

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

function clearSums({ r, fresh, buffers }: Tile): Stmt {
  const lane = fresh.name('lane');
  const clear = CELLS.map(
    ([i, j]): Stmt => ({ s: 'store', buf: buffers.sums, index: sumAt(named(lane), i, j), value: r.init }),
  );
  return loop(lane, LANES, 'local', clear);
}

function copyFactors(t: Tile): Stmt {
  const lane = t.fresh.name('lane');
  const { rows, columns } = t.stage;
  return loop(lane, LANES, 'local', [
    copyFactor(t, rows, t.first.row, t.buffers.rows, named(lane)),
    copyFactor(t, columns, t.first.column, t.buffers.columns, named(lane)),
  ]);
}

/** A factor's TILE places by DEPTH steps; neighbours in the group read what lies side by side in memory. */
function copyFactor({ r, fresh, first }: Tile, side: Side, start: string, buf: number, lane: Expr): Stmt {
  const n = fresh.name('n');
  const element = e.add(e.mul(named(n), LANES), lane);
  const alongSteps = !loadsOf(side.factor).some((x) => isOne(coefficient(x.index[0] as Expr, last(side.loops).var)));
  const [place, step] = alongSteps
    ? [e.div(element, DEPTH), e.rem(element, DEPTH)]
    : [e.rem(element, TILE), e.div(element, TILE)];
  const [p, s] = [fresh.name('place'), fresh.name('step')];
  const at = e.min(e.add(named(start), named(p)), e.sub(total(side.loops), 1));
  const k = e.min(e.add(named(first.step), named(s)), e.sub(total(r.loops), 1));
  const renamed = new Map<string, Expr>();
  const lets = [...placesOf(side.loops, at), ...placesOf(r.loops, k)].map(([name, value]) => {
    const own = fresh.name(name);
    renamed.set(name, named(own));
    return letOf(own, value);
  });
  return loop(n, (TILE * DEPTH) / LANES, 'serial', [
    letOf(p, place),
    letOf(s, step),
    ...lets,
    { s: 'store', buf, index: e.add(e.mul(named(s), TILE), named(p)), value: substituteVars(side.factor, renamed) },
  ]);
}

/** Rows of an invocation lie side by side, columns SIDE apart. */
const rowIn = (lane: Expr, i: number): Expr => e.add(e.mul(e.div(lane, SIDE), BLOCK), i);
const columnIn = (lane: Expr, j: number): Expr => e.add(e.rem(lane, SIDE), j * SIDE);

function addProducts({ r, fresh, first, buffers, stage }: Tile): Stmt {
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
