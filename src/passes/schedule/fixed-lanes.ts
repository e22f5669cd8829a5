// Applies fixed-point.ts: in front of the rows the floats are written as integers (fixed-parts.ts), and each row adds up products
// with both parts in integers, exactly, a chunk at a time; chunks are added up in floats. Where integers would give less than
// floats do, the rows are added up in floats.

import { isZero, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { type Stmt, VECTORS } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { cast, constant, type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import { sizeOfLoops } from './dot.js';
import { positionIn } from './dot-panels.js';
import { inChunks, type Parts, partsOf, wholeOf } from './fixed-parts.js';
import { type FixedPoint, LOWER_BITS } from './fixed-point.js';
import { constOf, each, type ScheduleOptions, tileLoop, tileSize, wrap } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import type { Panels } from './pack.js';
import { splat } from './vectorize.js';

/** Bytes of the rows that are read side by side: longer ones go one by one, as one stream of memory. */
const NEAR = 768;
/** Vectors that a step takes of one row by itself. */
const UNROLL = 2;

/** How a nest is scheduled otherwise. */
export type InFloats = (nest: Nest, r: Reduction) => readonly Stmt[];

/** Null where the floats are no vectors. */
export function fixedLanes(
  found: FixedPoint,
  inFloats: InFloats,
  o: ScheduleOptions,
  panels: Panels,
): readonly Stmt[] | null {
  const parts = partsOf(found, o, panels);
  if (!parts) return null;
  const f = withTables(found, panels);
  const floats = inFloats({ ...f.nest, loops: f.inner }, sumOfChunks(f));
  const cond = o.target.dot?.mayLackVectors ? e.and(variable(VECTORS, 'i1'), parts.fits) : parts.fits;
  const integers = [...parts.write, ...rowLoops(f, parts)];
  return wrap(f.outer, [...parts.measure, { s: 'if', cond, then: integers, else: floats }]);
}

/** The sum in floats, where a scale is steady within a chunk as one over chunks: vectors then go along each. */
function sumOfChunks(f: FixedPoint): Reduction {
  const { r, along, chunk, scale, zero } = f;
  const changes = scale !== null && [scale, zero].some((x) => mentions(x, along.var));
  if (!changes || f.depth % chunk !== 0) return r;
  const outer: For = { ...along, var: `${along.var}_c`, hi: i32(f.depth / chunk) };
  const at = e.add(e.mul(variable(outer.var, 'i32'), chunk), variable(along.var, 'i32'));
  const steady = (x: Expr): Expr => substituteVars(x, new Map([[along.var, e.mul(variable(outer.var, 'i32'), chunk)]]));
  const moved = (x: Expr): Expr => substituteVars(x, new Map([[along.var, at]]));
  const stored = cast(e.sub(moved(f.stored), steady(zero)), 'f32');
  const term = e.mul(moved(f.x), stored, steady(scale));
  return { ...r, loops: [outer, { ...along, hi: i32(chunk) }], term, blocks: null };
}

/** What constants give for each chunk by arithmetic is computed at compile time. */
function withTables(f: FixedPoint, panels: Panels): FixedPoint {
  return { ...f, scale: f.scale && tableOf(f, f.scale, panels), zero: tableOf(f, f.zero, panels) };
}

function tableOf(f: FixedPoint, x: Expr, panels: Panels): Expr {
  const { nest, along, chunk, depth, constants } = f;
  const loops = nest.loops.filter((l) => mentions(x, l.var));
  const count = mentions(x, along.var) ? Math.ceil(depth / chunk) : 1;
  const loads = loadsOf(x);
  const isConstant = loads.length > 0 && loads.every((l) => constants.has(l.src));
  if (x.k === 'load' || !isConstant || loops.some((l) => constOf(l.hi) === null)) return x;
  const at = (k: Expr): Expr => e.add(e.mul(positionIn(loops), count), k);
  const dtype = x.dtype === 'f32' ? 'f32' : 'i32';
  const table = panels.addFilled(dtype, sizeOfLoops(loops) * count, true, (slot) => {
    const k = variable('chunk', 'i32');
    const value = substituteVars(x, new Map([[along.var, e.mul(k, chunk)]]));
    return wrap(loops, [each('chunk', i32(0), i32(count), 1, [{ s: 'store', buf: slot, index: at(k), value }])]);
  });
  return load(table.slot, [at(count === 1 ? i32(0) : e.div(variable(along.var, 'i32'), chunk))], dtype);
}

type AtRow = (x: Expr, row: number) => Expr;

function rowLoops(f: FixedPoint, parts: Parts): readonly Stmt[] {
  const { rows, inner } = f;
  const count = 2 * f.depth <= NEAR ? tileSize(rows, 2, 1) : 1;
  const around = inner.filter((l) => l !== rows);
  const start = `${rows.var}_u`;
  const atRow: AtRow = (x, row) => substituteVars(x, new Map([[rows.var, e.add(variable(start, 'i32'), row)]]));
  const single = wrap(
    inner,
    rowBody(f, parts, 1, (x) => x),
  );
  if (count === 1) return single;
  const tiled = wrap(around, [tileLoop(rows, count, start, rowBody(f, parts, count, atRow))]);
  if (constOf(rows.hi) !== null) return tiled;
  return [{ s: 'if', cond: e.lt(rows.hi, count), then: single, else: tiled }];
}

/** Names of a row's sums: with the upper and with the lower parts, both as floats, and of what fills no vector. */
const namesOf = (f: FixedPoint, row: number) => ({
  row,
  sums: [`${f.r.acc}_upper${row}`, `${f.r.acc}_lower${row}`],
  total: `${f.r.acc}_f${row}`,
  rest: [`${f.r.acc}_upper_s${row}`, `${f.r.acc}_lower_s${row}`],
});

type Row = ReturnType<typeof namesOf>;

function rowBody(f: FixedPoint, parts: Parts, count: number, atRow: AtRow): readonly Stmt[] {
  const { lanes, nest, r } = f;
  const whole = wholeOf(f);
  const isOne = whole <= f.chunk;
  const rows = Array.from({ length: count }, (_, row) => namesOf(f, row));
  const chunks = inChunks(f, (first, over) => [
    ...rows.flatMap((c) => beginChunk(f, parts, c, first, atRow)),
    ...over(count === 1 ? UNROLL : 1, (k) => rows.flatMap((c) => products(f, parts, c, k, atRow))),
    ...rows.map((c): Stmt => {
      const scale = scaleAt(f, c.row, first, atRow);
      const sum = join(c.sums, lanes);
      const value = scale ? e.mul(sum, splat(scale, lanes)) : sum;
      if (isOne) return { s: 'let', var: c.total, value, mutable: false };
      return { s: 'set', var: c.total, value: e.add(variable(c.total, 'f32', lanes), value) };
    }),
  ]);
  const nothing = splat(constant(0, 'f32'), lanes);
  const declare = rows.map(({ total }): Stmt => ({ s: 'let', var: total, value: nothing, mutable: true }));
  const rest = whole < f.depth ? rows.flatMap((c) => restOf(f, parts, c, whole, atRow)) : [];
  const finish = rows.map((c): Stmt => {
    const sum = addLanes(variable(c.total, 'f32', lanes));
    const scale = scaleAt(f, c.row, i32(0), atRow);
    const more = scale ? e.mul(join(c.rest, 1), scale) : join(c.rest, 1);
    const all = e.mul(whole < f.depth ? e.add(sum, more) : sum, parts.unit);
    const value = isZero(r.init) ? all : e.add(r.init, all);
    const stored = mapExprs([nest.store], (x) => atRow(x, c.row))[0] as Stmt & { s: 'store' };
    return { ...stored, value: substituteVars(stored.value, new Map([[r.acc, value]])) };
  });
  return [...(isOne ? [] : declare), ...chunks, ...rest, ...finish];
}

const scaleAt = (f: FixedPoint, row: number, first: Expr, atRow: AtRow): Expr | null =>
  f.scale && substituteVars(atRow(f.scale, row), new Map([[f.along.var, first]]));

/** Sums start from what the zero point takes. */
function beginChunk(f: FixedPoint, parts: Parts, c: Row, first: Expr, atRow: AtRow): readonly Stmt[] {
  const zero = substituteVars(atRow(f.zero, c.row), new Map([[f.along.var, first]]));
  return c.sums.map((name, which): Stmt => {
    const none = isZero(f.zero);
    const value = none ? splat(i32(0), f.lanes) : e.mul(splat(e.neg(zero), f.lanes), parts.sum(first, which));
    return { s: 'let', var: name, value, mutable: true };
  });
}

function products(f: FixedPoint, parts: Parts, c: Row, k: Expr, atRow: AtRow): readonly Stmt[] {
  const { lanes } = f;
  const stored = substituteVars(atRow(f.stored, c.row), new Map([[f.along.var, k]]));
  const y: Expr = { ...(stored as FixedPoint['stored']), dtype: 'i16', lanes: 2 * lanes };
  return c.sums.map((name, which): Stmt => {
    const value = vec('dot', [variable(name, 'i32', lanes), parts.vector(k, which), y], 'i32', lanes);
    return { s: 'set', var: name, value };
  });
}

/** Terms that fill no vector; then no scale changes along the sum. */
function restOf(f: FixedPoint, parts: Parts, c: Row, whole: number, atRow: AtRow): readonly Stmt[] {
  const k = variable(f.along.var, 'i32');
  const y = e.sub(atRow(f.stored, c.row), atRow(f.zero, c.row));
  const add = c.rest.map((name, which): Stmt => {
    return { s: 'set', var: name, value: e.add(variable(name, 'i32'), e.mul(parts.single(k, which), y)) };
  });
  return [
    ...c.rest.map((name): Stmt => ({ s: 'let', var: name, value: i32(0), mutable: true })),
    each(f.along.var, i32(whole), i32(f.depth), 1, add),
  ];
}

/** Sums with the upper and the lower parts as one float, in units. */
function join(names: readonly string[], lanes: number): Expr {
  const [upper, lower] = names.map((name) => cast(variable(name, 'i32', lanes), 'f32')) as [Expr, Expr];
  const factor = constant(2 ** LOWER_BITS, 'f32');
  return e.add(e.mul(upper, lanes > 1 ? splat(factor, lanes) : factor), lower);
}

/** Pairs of neighbours first. */
function addLanes(v: Expr): Expr {
  let parts: readonly Expr[] = Array.from({ length: v.lanes }, (_, k) => vec('extract', [v], 'f32', 1, k));
  while (parts.length > 1) parts = parts.flatMap((p, k) => (k % 2 === 0 ? [e.add(p, parts[k + 1] as Expr)] : []));
  return parts[0] as Expr;
}
