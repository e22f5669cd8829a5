// The schedule of a nest, chosen by how its indices depend on its loops, never by what operator it came from.
// Elementwise nests: adjacent loops that walk memory as one are collapsed, the innermost runs in vectors.
// Reductions: a register tile of rows × vectors over two parallel loops, the last tile moved back to end at the edge;
// or, where no parallel loop is contiguous, vectors along the reduction itself (fast numerics only for floats).

import { coefficient, isOne, isZero, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, i32, rewriteExpr, substituteVars, variable, vec } from '../../ir/scalar.js';
import { type For, loadsOf, matchNest, matchReduction, type Nest, type Reduction, type Store } from './nest.js';
import type { VectorTarget } from './target.js';
import { laneExpr, type Lanes, splat, vectorizeExpr } from './vectorize.js';

export interface ScheduleOptions {
  readonly target: VectorTarget;
  readonly numerics: 'fast' | 'strict';
}

export function scheduleKernel(kernel: Kernel, o: ScheduleOptions): Kernel {
  return { ...kernel, body: uniqueNames(scheduleBody(kernel.body, o)) };
}

/** Nests are scheduled whole; loops around several of them (row-wise kernels) keep their order and are entered. */
function scheduleBody(body: readonly Stmt[], o: ScheduleOptions): readonly Stmt[] {
  return body.flatMap((s, k): readonly Stmt[] => {
    const nest = matchNest(s);
    if (nest)
      return (nest.reduction ? tileReduction(nest, nest.reduction, o) : vectorizeElementwise(collapse(nest), o)) ?? [s];
    const reduction = k > 0 ? matchReduction(body[k - 1] as Stmt, s) : null;
    if (reduction) return reduceInLanes(reduction, o) ?? [s];
    return s.s === 'for' ? [{ ...s, body: scheduleBody(s.body, o) }] : [s];
  });
}

/** A reduction by itself, its accumulator declared just before: lanes first, then added to the accumulator. */
function reduceInLanes(r: Reduction, o: ScheduleOptions): readonly Stmt[] | null {
  const last = innermostInLanes(r, o);
  if (!last) return null;
  const rows = laneSums(r, last, o, 1, (x) => x);
  const total = rows.totals[0] as Expr;
  return [...rows.stmts, { s: 'set', var: r.acc, value: e.op(r.op, variable(r.acc, r.init.dtype), total) }];
}

/** The innermost reduction loop, if lanes may run along it. */
function innermostInLanes(r: Reduction, o: ScheduleOptions): For | null {
  const last = r.loops[r.loops.length - 1] as For;
  const size = constOf(last.hi);
  const reorders = r.term.dtype === 'f32' && (r.op === 'add' || r.op === 'mul');
  if ((o.numerics === 'strict' && reorders) || (size !== null && size < o.target.lanes)) return null;
  const walks = loadsOf(r.term).filter((x) => mentions(x.index[0] as Expr, last.var));
  if (walks.length === 0 || !walks.every((x) => isOne(coefficient(x.index[0] as Expr, last.var)))) return null;
  const probe = vectorizeExpr(r.term, lanesAt(last.var, variable(last.var, 'i32'), o));
  if (!probe || probe.lanes === 1 || !o.target.supports(r.op, r.init.dtype, o.target.lanes)) return null;
  return last;
}

const wrap = (loops: readonly For[], body: readonly Stmt[]): readonly Stmt[] =>
  loops.reduceRight<readonly Stmt[]>((inner, f) => [{ ...f, body: inner }], body);

const constOf = (x: Expr): number | null => (x.k === 'const' ? Number(x.value) : null);

/** Merges adjacent loops where every index walks them as one: coefficient of the outer = size × that of the inner. */
export function collapse(nest: Nest): Nest {
  const { loops } = nest;
  const last = loops[loops.length - 1];
  const outer = loops[loops.length - 2];
  if (!last || !outer || nest.reduction) return nest;
  const exprs = [nest.store.index, ...loadsOf(nest.store.value).flatMap((x) => [...x.index])];
  const other = withoutIndices(nest.store.value);
  if (mentions(other, outer.var) || mentions(other, last.var)) return nest;
  for (const x of exprs) {
    const [a, b] = [coefficient(x, outer.var), coefficient(x, last.var)];
    if (!a || !b || exprKey(a) !== exprKey(e.mul(b, last.hi))) return nest;
  }
  const merged: For = { ...last, hi: e.mul(outer.hi, last.hi) };
  const zero = new Map([[outer.var, i32(0) as Expr]]);
  const [store] = mapExprs([nest.store], (x) => substituteVars(x, zero)) as readonly Store[];
  return collapse({ loops: [...loops.slice(0, -2), merged], reduction: null, store: store as Store });
}

/** The value with each load's index blanked: what else depends on the loops. */
const withoutIndices = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'load' ? { ...y, index: [i32(0)] } : y));

function vectorizeElementwise(nest: Nest, o: ScheduleOptions): readonly Stmt[] | null {
  const inner = nest.loops[nest.loops.length - 1] as For;
  const outer = nest.loops.slice(0, -1);
  const { lanes } = o.target;
  const size = constOf(inner.hi);
  const plain = wrap(nest.loops, [nest.store]);
  if (!isOne(coefficient(nest.store.index, inner.var)) || (size !== null && size < lanes)) return plain;
  const loads = loadsOf(nest.store.value).filter((x) => x.index.some((y) => mentions(y, inner.var)));
  const contiguous = loads.filter((x) => isOne(coefficient(x.index[0] as Expr, inner.var)));
  if (loads.length > 2 * contiguous.length) return plain;
  const base = variable(inner.var, 'i32');
  const value = vectorizeExpr(nest.store.value, {
    target: o.target,
    name: inner.var,
    base,
    gather: true,
    vars: new Map(),
  });
  if (!value) return plain;
  const whole = size === null ? e.sub(inner.hi, e.rem(inner.hi, lanes)) : i32(size - (size % lanes));
  const main: Stmt = { ...inner, hi: whole, step: lanes, body: [{ ...nest.store, value: splat(value, lanes) }] };
  if (size !== null && size % lanes === 0) return wrap(outer, [main]);
  const rest: Stmt = { ...inner, lo: whole, body: [nest.store] };
  return wrap(outer, [main, rest]);
}

function tileReduction(nest: Nest, r: Reduction, o: ScheduleOptions): readonly Stmt[] | null {
  const axis = vectorAxis(nest, r, o);
  if (axis) return tileParallel(nest, r, axis, o);
  const last = innermostInLanes(r, o);
  return last && tileAlongReduction(nest, r, last, o);
}

interface Axis {
  readonly loop: For;
  readonly contiguousStore: boolean;
}

/** The parallel loop to run in vectors: every load invariant or contiguous along it, at least one contiguous. */
function vectorAxis(nest: Nest, r: Reduction, o: ScheduleOptions): Axis | null {
  const loads = loadsOf(r.term);
  const candidates = nest.loops.flatMap((loop): Axis[] => {
    const size = constOf(loop.hi);
    if (size !== null && size < o.target.lanes) return [];
    const strides = loads.map((x) => coefficient(x.index[0] as Expr, loop.var));
    if (!strides.every((c) => isZero(c) || isOne(c)) || !strides.some(isOne)) return [];
    const probe = vectorizeExpr(r.term, lanesAt(loop.var, i32(0), o));
    if (!probe || probe.lanes === 1) return [];
    if (loads.some((x) => x.guard && mentions(x.guard, loop.var))) return [];
    return [{ loop, contiguousStore: isOne(coefficient(nest.store.index, loop.var)) }];
  });
  return candidates.find((c) => c.contiguousStore) ?? candidates[0] ?? null;
}

const lanesAt = (name: string, base: Expr, o: ScheduleOptions, vars: Lanes['vars'] = new Map()): Lanes => ({
  target: o.target,
  name,
  base,
  gather: false,
  vars,
});

/** A second parallel loop along which the vector loads are reused. */
function rowAxis(nest: Nest, r: Reduction, vector: string): For | null {
  const wide = loadsOf(r.term).filter((x) => mentions(x.index[0] as Expr, vector));
  const others = nest.loops.filter((f) => f.var !== vector && (constOf(f.hi) ?? 2) > 1);
  const reused = others.filter((f) =>
    wide.every((x) => !mentions(x.index[0] as Expr, f.var) && !(x.guard && mentions(x.guard, f.var))),
  );
  return reused[reused.length - 1] ?? null;
}

/** Tile size along a loop: at most `most`, no more than its constant size. */
const tileSize = (loop: For, most: number, unit: number): number => {
  const size = constOf(loop.hi);
  return size === null ? most : Math.max(unit, Math.min(most, Math.floor(size / unit) * unit));
};

/** start of the tile: the last one ends at the edge. */
function tileLoop(loop: For, tile: number, start: string, body: readonly Stmt[]): Stmt {
  const size = constOf(loop.hi);
  const at = variable(loop.var, 'i32');
  const exact = size !== null && size % tile === 0;
  const from = exact ? at : e.min(at, e.sub(loop.hi, tile));
  return { ...loop, step: tile, body: [{ s: 'let', var: start, value: from, mutable: false }, ...body] };
}

function tileParallel(nest: Nest, r: Reduction, axis: Axis, o: ScheduleOptions): readonly Stmt[] {
  const { lanes } = o.target;
  const v = axis.loop;
  const u = rowAxis(nest, r, v.var);
  const vectors = tileSize(v, lanes * (u ? o.target.tile.vectors : 2 * o.target.tile.vectors), lanes) / lanes;
  const rows = u ? tileSize(u, o.target.tile.rows, 1) : 1;
  const vStart = `${v.var}_v`;
  const uStart = u ? `${u.var}_u` : '';
  const cells = Array.from({ length: rows }, (_, row) =>
    Array.from({ length: vectors }, (_, k) => ({
      row,
      acc: `${r.acc}_${row}_${k}`,
      base: e.add(variable(vStart, 'i32'), k * lanes),
    })),
  ).flat();
  const atRow = (x: Expr, row: number): Expr =>
    u ? substituteVars(x, new Map([[u.var, e.add(variable(uStart, 'i32'), row)]])) : x;
  const accDtype = r.init.dtype;
  const start = cells.map((c): Stmt => ({ s: 'let', var: c.acc, value: splat(r.init, lanes), mutable: true }));
  const steps = cells.map((c): Stmt => {
    const term = vectorizeExpr(atRow(r.term, c.row), lanesAt(v.var, c.base, o)) as Expr;
    const acc = variable(c.acc, accDtype, lanes);
    return { s: 'set', var: c.acc, value: e.op(r.op, acc, splat(term, lanes)) };
  });
  const finish = cells.flatMap((c) =>
    storeVector(nest.store, r.acc, variable(c.acc, accDtype, lanes), v.var, c.base, (x) => atRow(x, c.row), o),
  );
  const inner: Stmt[] = [...start, ...wrap(r.loops, steps), ...finish];
  const tiledV = tileLoop(v, vectors * lanes, vStart, inner);
  const tiled = u ? tileLoop(u, rows, uStart, [tiledV]) : tiledV;
  const outer = nest.loops.filter((f) => f !== u && f !== v);
  const scheduled = wrap(outer, [tiled]);
  const small = [
    ...(constOf(v.hi) === null ? [e.lt(v.hi, vectors * lanes)] : []),
    ...(u && constOf(u.hi) === null && rows > 1 ? [e.lt(u.hi, rows)] : []),
  ];
  if (small.length === 0) return scheduled;
  const fallback = u && rows > 1 ? tileParallelSmall(nest, r, axis, o) : wrap(nest.loops, plainBody(nest, r));
  return [{ s: 'if', cond: small.reduce((p, q) => e.or(p, q)), then: fallback, else: scheduled }];
}

/** For fewer rows than a tile: vectors alone, then scalars. */
function tileParallelSmall(nest: Nest, r: Reduction, axis: Axis, o: ScheduleOptions): readonly Stmt[] {
  const single: ScheduleOptions = { ...o, target: { ...o.target, tile: { vectors: o.target.tile.vectors, rows: 1 } } };
  return tileParallel(nest, r, axis, single);
}

const plainBody = (nest: Nest, r: Reduction): readonly Stmt[] => [
  { s: 'let', var: r.acc, value: r.init, mutable: true },
  ...wrap(r.loops, [{ s: 'set', var: r.acc, value: e.op(r.op, variable(r.acc, r.init.dtype), r.term) }]),
  nest.store,
];

/** The epilogue and store of one accumulator: in one vector where the target can, else lane by lane. */
function storeVector(
  store: Store,
  accName: string,
  acc: Expr,
  name: string,
  base: Expr,
  row: (x: Expr) => Expr,
  o: ScheduleOptions,
): readonly Stmt[] {
  const l = { ...lanesAt(name, base, o, new Map([[accName, acc]])), gather: true };
  const index = row(store.index);
  const value = vectorizeExpr(row(store.value), l);
  if (value && isOne(coefficient(index, name)))
    return [{ ...store, index: substituteVars(index, new Map([[name, base]])), value: splat(value, o.target.lanes) }];
  const known = value ? `${(acc as { name: string }).name}_y` : null;
  const first: Stmt[] =
    known && value ? [{ s: 'let', var: known, value: splat(value, o.target.lanes), mutable: false }] : [];
  return [
    ...first,
    ...Array.from(
      { length: o.target.lanes },
      (_, lane): Stmt => ({
        ...store,
        index: laneExpr(index, l, lane),
        value:
          known && value
            ? vec('extract', [variable(known, value.dtype, o.target.lanes)], value.dtype, 1, lane)
            : laneExpr(row(store.value), l, lane),
      }),
    ),
  ];
}

/** Lanes along the innermost reduction loop, for several rows of a parallel loop at a time where a load is shared. */
function tileAlongReduction(nest: Nest, r: Reduction, last: For, o: ScheduleOptions): readonly Stmt[] {
  const u = reuseRows(nest, r);
  const rows = u ? tileSize(u, o.target.tile.rows, 1) : 1;
  if (!u || rows === 1)
    return wrap(
      nest.loops,
      alongReductionBody(nest, r, last, o, 1, (x) => x),
    );
  const start = `${u.var}_u`;
  const atRow = (x: Expr, row: number): Expr =>
    substituteVars(x, new Map([[u.var, e.add(variable(start, 'i32'), row)]]));
  const body = alongReductionBody(nest, r, last, o, rows, atRow);
  const outer = nest.loops.filter((f) => f !== u);
  const tiled = wrap(outer, [tileLoop(u, rows, start, body)]);
  if (constOf(u.hi) !== null) return tiled;
  const single = wrap(
    nest.loops,
    alongReductionBody(nest, r, last, o, 1, (x) => x),
  );
  return [{ s: 'if', cond: e.lt(u.hi, rows), then: single, else: tiled }];
}

/** The innermost parallel loop along which some load of the reduction is reused. */
function reuseRows(nest: Nest, r: Reduction): For | null {
  const loads = loadsOf(r.term);
  const good = nest.loops.filter(
    (f) => loads.length > 1 && (constOf(f.hi) ?? 2) > 1 && loads.some((x) => !mentions(x.index[0] as Expr, f.var)),
  );
  return good[good.length - 1] ?? null;
}

function alongReductionBody(
  nest: Nest,
  r: Reduction,
  last: For,
  o: ScheduleOptions,
  rows: number,
  atRow: (x: Expr, row: number) => Expr,
): readonly Stmt[] {
  const { stmts, totals } = laneSums(r, last, o, rows, atRow);
  const finish = totals.map((total, k): Stmt => {
    const value = substituteVars(atRow(nest.store.value, k), new Map([[r.acc, total]]));
    return { ...nest.store, index: atRow(nest.store.index, k), value };
  });
  return [...stmts, ...finish];
}

/** Partial results in lanes, combined in a fixed order, the remainder one by one; one total a row. */
function laneSums(
  r: Reduction,
  last: For,
  o: ScheduleOptions,
  rows: number,
  atRow: (x: Expr, row: number) => Expr,
): { stmts: readonly Stmt[]; totals: readonly Expr[] } {
  const { lanes } = o.target;
  const size = constOf(last.hi);
  const dtype = r.init.dtype;
  const exact = size !== null && size % lanes === 0;
  const whole = size === null ? e.sub(last.hi, e.rem(last.hi, lanes)) : i32(size - (size % lanes));
  const row = Array.from({ length: rows }, (_, k) => ({ k, vector: `${r.acc}_v${k}`, scalar: `${r.acc}_s${k}` }));
  const start = row.flatMap((c): Stmt[] => [
    { s: 'let', var: c.vector, value: splat(r.init, lanes), mutable: true },
    ...(exact ? [] : [{ s: 'let', var: c.scalar, value: r.init, mutable: true } as const]),
  ]);
  const wide = row.map((c): Stmt => {
    const term = vectorizeExpr(atRow(r.term, c.k), lanesAt(last.var, variable(last.var, 'i32'), o)) as Expr;
    return { s: 'set', var: c.vector, value: e.op(r.op, variable(c.vector, dtype, lanes), splat(term, lanes)) };
  });
  const narrow = row.map(
    (c): Stmt => ({ s: 'set', var: c.scalar, value: e.op(r.op, variable(c.scalar, dtype), atRow(r.term, c.k)) }),
  );
  const inner: Stmt[] = [{ ...last, hi: whole, step: lanes, body: wide }];
  if (!exact) inner.push({ ...last, lo: whole, body: narrow });
  const totals = row.map((c): Expr => {
    let parts: Expr[] = Array.from({ length: lanes }, (_, k) =>
      vec('extract', [variable(c.vector, dtype, lanes)], dtype, 1, k),
    );
    while (parts.length > 1)
      parts = parts.flatMap((p, k) => (k % 2 === 0 ? [e.op(r.op, p, parts[k + 1] as Expr)] : []));
    return exact ? (parts[0] as Expr) : e.op(r.op, parts[0] as Expr, variable(c.scalar, dtype));
  });
  return { stmts: [...start, ...wrap(r.loops.slice(0, -1), inner)], totals };
}

/** Loops and variables may have been copied: every declaration gets a name of its own. */
function uniqueNames(body: readonly Stmt[]): readonly Stmt[] {
  const taken = new Set<string>();
  const fresh = (name: string): string => {
    let out = name;
    for (let k = 1; taken.has(out); k++) out = `${name}_${k}`;
    taken.add(out);
    return out;
  };
  const go = (list: readonly Stmt[], outer: ReadonlyMap<string, string>): readonly Stmt[] => {
    const names = new Map(outer);
    const rename = (x: Expr): Expr => renameVars(x, names);
    return list.map((s): Stmt => {
      switch (s.s) {
        case 'let': {
          const value = rename(s.value);
          const name = fresh(s.var);
          names.set(s.var, name);
          return { ...s, var: name, value };
        }
        case 'set':
          return { ...s, var: names.get(s.var) ?? s.var, value: rename(s.value) };
        case 'for': {
          const [lo, hi] = [rename(s.lo), rename(s.hi)];
          const name = fresh(s.var);
          return { ...s, var: name, lo, hi, body: go(s.body, new Map([...names, [s.var, name]])) };
        }
        case 'if':
          return { ...s, cond: rename(s.cond), then: go(s.then, names), else: go(s.else, names) };
        case 'while':
          return { ...s, cond: rename(s.cond), body: go(s.body, names) };
        default:
          return mapExprs([s], rename)[0] as Stmt;
      }
    });
  };
  return go(body, new Map());
}

const renameVars = (x: Expr, names: ReadonlyMap<string, string>): Expr =>
  rewriteExpr(x, (y) => {
    const to = y.k === 'var' ? names.get(y.name) : undefined;
    return to && y.k === 'var' && to !== y.name ? variable(to, y.dtype, y.lanes) : y;
  });
