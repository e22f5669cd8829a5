// Applies fixed-point.ts. In front of the rows the floats are written as integers: x ≈ (upper·2¹⁵ + lower)·unit, where unit
// is a power of two such that the largest float has UPPER_BITS bits before the point. Scaling is then exact, and what is
// lost is 2⁻²⁹ of the largest. Each row adds up products with both parts in integers, exactly. Where that would be less
// than floats give, as the largest dwarfs the others or is no number, the rows are added up in floats.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { type Stmt, VECTORS } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { bitcast, cast, constant, type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import { vectorizeElementwise } from './elementwise.js';
import { type FixedPoint, isBare, LOWER_BITS, UPPER_BITS } from './fixed-point.js';
import { scheduleLaneLoop, fittingWidth } from './lane-loop.js';
import { tileAlongReduction } from './lanes.js';
import { constOf, each, type ScheduleOptions, tileLoop, tileSize, wrap } from './loops.js';
import type { For } from './nest.js';
import type { Panels } from './pack.js';
import { splat } from './vectorize.js';

/** Bytes of the rows that are read side by side: longer ones go one by one, as one stream of memory. */
const NEAR = 1024;
/** Vectors a step of the loop over one row takes. */
const UNROLL = 2;
/** How many times the mean of the others the largest float may be. */
const MOST_OVER_MEAN = 1024;
/** Where powers of two and their inverses are normal numbers. */
const [LEAST, MOST] = [2 ** -90, 2 ** 90];

interface Site extends FixedPoint {
  /** Slots: the upper parts and then the lower ones; sums of both over each lane, chunk by chunk. */
  readonly parts: number;
  readonly sums: number;
  readonly unit: Expr;
}

export function fixedLanes(f: FixedPoint, o: ScheduleOptions, panels: Panels): readonly Stmt[] | null {
  const size = f.depth;
  const chunks = Math.ceil(size / f.chunk);
  const near = isBare(f.x) ? null : panels.add('f32', size);
  const at = variable(f.along.var, 'i32');
  const x = near === null ? f.x : load(near, [at], 'f32');
  const loop: For = { ...f.along, mode: 'parallel' };
  const fill = (buf: number, index: Expr, value: Expr): readonly Stmt[] =>
    vectorizeElementwise({ loops: [loop], reduction: null, store: { s: 'store', buf, index, value } }, o);
  const [largest, total] = ['largest', 'total'].map((name) => variable(name, 'f32')) as [Expr, Expr];
  const magnitude = e.abs(x);
  const measured = scheduleLaneLoop(
    {
      outer: [],
      loop: f.along,
      stores: [],
      sums: [
        { acc: 'largest', init: constant(0, 'f32'), op: 'max', term: magnitude },
        { acc: 'total', init: constant(0, 'f32'), op: 'add', term: magnitude },
      ],
    },
    fittingWidth(f.along, o),
  );
  if (!measured) return null;
  const parts = panels.add('i16', 2 * size);
  const sums = panels.add('i32', 2 * chunks * f.lanes);
  const exponent = e.and(bitcast(largest, 'i32'), 0x7f800000);
  const power = (value: Expr): Expr => bitcast(value, 'f32');
  const inverse = variable('inverse', 'f32');
  const unit = variable('unit', 'f32');
  const scaled = e.mul(x, inverse);
  const upper = e.rint(scaled);
  const lower = e.rint(e.mul(e.sub(scaled, upper), 2 ** LOWER_BITS));
  const site: Site = { ...f, parts, sums, unit };
  const fits = e.and(
    e.and(e.le(constant(LEAST, 'f32'), largest), e.le(largest, constant(MOST, 'f32'))),
    e.le(e.mul(largest, f.depth / MOST_OVER_MEAN), e.sub(total, largest)),
  );
  const define = (name: string, value: Expr): Stmt => ({ s: 'let', var: name, value, mutable: false });
  const zero = (name: string): Stmt => ({ s: 'let', var: name, value: constant(0, 'f32'), mutable: true });
  const integers: readonly Stmt[] = [
    // The largest is below 2^(b+1) for exponent b; its inverse scale is 2^(UPPER_BITS − 1 − b).
    define('inverse', power(e.sub((2 * BIAS + UPPER_BITS - 1) << MANTISSA, exponent))),
    define('unit', power(e.sub(exponent, (UPPER_BITS - 1 + LOWER_BITS) << MANTISSA))),
    ...fill(parts, at, cast(upper, 'i32')),
    ...fill(parts, e.add(at, size), cast(lower, 'i32')),
    ...(isZero(f.zero) ? [] : sumParts(site)),
    ...rowLoops(site),
  ];
  const floats = tileAlongReduction({ ...f.nest, loops: f.inner }, f.r, f.along, o);
  const cond = o.target.dot?.mayLackVectors ? e.and(variable(VECTORS, 'i1'), fits) : fits;
  return wrap(f.outer, [
    ...(near === null ? [] : fill(near, at, f.x)),
    zero('largest'),
    zero('total'),
    ...measured,
    { s: 'if', cond, then: integers, else: floats },
  ]);
}

const BIAS = 127;
const MANTISSA = 23;

/** Terms that vectors take. */
const wholeOf = (t: Site): number => t.depth - (t.depth % (2 * t.lanes));

const part = (t: Site, k: Expr, which: number): Expr =>
  load(t.parts, [e.add(k, which * t.depth)], 'i16', { lanes: 2 * t.lanes });

const NAMES = ['upper', 'lower'];

/** What a zero point is multiplied with: the parts, added up in the lanes their products are. */
function sumParts(t: Site): readonly Stmt[] {
  const ones = vec('splat', [constant(1, 'i16')], 'i16', 2 * t.lanes);
  const k = variable(t.along.var, 'i32');
  const sum = (which: number): Expr => variable(`${NAMES[which]}_sum`, 'i32', t.lanes);
  const names = [0, 1].map((which) => `${NAMES[which]}_sum`);
  return inChunks(t, 2 * t.lanes, (at, loop) => [
    ...names.map((name): Stmt => ({ s: 'let', var: name, value: splat(i32(0), t.lanes), mutable: true })),
    loop(
      names.map((name, which) => ({
        s: 'set',
        var: name,
        value: vec('dot', [sum(which), part(t, k, which), ones], 'i32', t.lanes),
      })),
    ),
    ...names.map((_, which): Stmt => ({ s: 'store', buf: t.sums, index: sumIndex(t, at, which), value: sum(which) })),
  ]);
}

/** `first`: the first term of a chunk. */
const sumIndex = (t: Site, first: Expr, which: number): Expr =>
  e.add(e.mul(e.div(first, t.chunk), 2 * t.lanes), which * t.lanes);

/** One loop over the terms that vectors take, or one for each chunk. */
function inChunks(
  t: Site,
  step: number,
  make: (first: Expr, loop: (body: readonly Stmt[]) => Stmt) => readonly Stmt[],
): readonly Stmt[] {
  const whole = wholeOf(t);
  const over =
    (lo: Expr, hi: Expr) =>
    (body: readonly Stmt[]): Stmt =>
      each(t.along.var, lo, hi, step, body);
  if (whole <= t.chunk) return make(i32(0), over(i32(0), i32(whole)));
  const first = variable(`${t.along.var}_c`, 'i32');
  const end = e.min(e.add(first, t.chunk), i32(whole));
  return [each(`${t.along.var}_c`, i32(0), i32(whole), t.chunk, make(first, over(first, end)))];
}

function rowLoops(t: Site): readonly Stmt[] {
  const { rows } = t;
  const count = 2 * t.depth <= NEAR ? tileSize(rows, 2, 1) : 1;
  const around = t.inner.filter((f) => f !== rows);
  const tiled = (n: number): readonly Stmt[] => {
    if (n === 1)
      return wrap(
        [...around, rows],
        rowBody(t, 1, (x) => x),
      );
    const start = `${rows.var}_u`;
    const atRow = (x: Expr, row: number): Expr =>
      substituteVars(x, new Map([[rows.var, e.add(variable(start, 'i32'), row)]]));
    return wrap(around, [tileLoop(rows, n, start, rowBody(t, n, atRow))]);
  };
  if (count === 1 || constOf(rows.hi) !== null) return tiled(count);
  return [{ s: 'if', cond: e.lt(rows.hi, count), then: tiled(1), else: tiled(count) }];
}

type AtRow = (x: Expr, row: number) => Expr;

/** Sums of some rows: products with both parts, a chunk at a time; then as floats. */
function rowBody(t: Site, count: number, atRow: AtRow): readonly Stmt[] {
  const { lanes, depth, along, nest, r } = t;
  const whole = wholeOf(t);
  const unroll = count === 1 && whole % (UNROLL * 2 * lanes) === 0 ? UNROLL : 1;
  const k = variable(along.var, 'i32');
  const isOne = whole <= t.chunk;
  const cells = Array.from({ length: count }, (_, row) => ({ row, total: `${r.acc}_f${row}` }));
  const sumName = (row: number, which: number): string => `${r.acc}_${NAMES[which]}${row}`;
  const both = (row: number, dtype: 'i32', n: number): readonly Expr[] =>
    [0, 1].map((which) => variable(sumName(row, which), dtype, n));
  const joined = (row: number): Expr => join(both(row, 'i32', lanes), lanes);
  const chunk = inChunks(t, unroll * 2 * lanes, (first, loop) => [
    ...cells.flatMap(({ row }) =>
      [0, 1].map((which): Stmt => {
        const sum = load(t.sums, [sumIndex(t, first, which)], 'i32', { lanes });
        const zero = atRow(t.zero, row);
        const value = isZero(t.zero) ? splat(i32(0), lanes) : e.mul(splat(e.neg(zero), lanes), sum);
        return { s: 'let', var: sumName(row, which), value, mutable: true };
      }),
    ),
    loop(
      Array.from({ length: unroll }, (_, u) => e.add(k, u * 2 * lanes)).flatMap((at) =>
        cells.flatMap(({ row }) => {
          const stored = substituteVars(atRow(t.stored, row), new Map([[along.var, at]]));
          const y: Expr = { ...(stored as typeof t.stored), dtype: 'i16', lanes: 2 * lanes };
          return both(row, 'i32', lanes).map((sum, which): Stmt => {
            const value = vec('dot', [sum, part(t, at, which), y], 'i32', lanes);
            return { s: 'set', var: sumName(row, which), value };
          });
        }),
      ),
    ),
    ...cells.map(
      ({ row, total }): Stmt =>
        isOne
          ? { s: 'let', var: total, value: joined(row), mutable: false }
          : { s: 'set', var: total, value: e.add(variable(total, 'f32', lanes), joined(row)) },
    ),
  ]);
  const totals = isOne
    ? []
    : cells.map(
        ({ total }): Stmt => ({ s: 'let', var: total, value: splat(constant(0, 'f32'), lanes), mutable: true }),
      );
  const rest = whole < depth ? cells.flatMap(({ row }) => restOf(t, row, whole, atRow)) : [];
  const finish = cells.map(({ row, total }): Stmt => {
    const sum = addLanes(variable(total, 'f32', lanes));
    const all =
      whole < depth
        ? e.add(
            sum,
            join(
              [0, 1].map((w) => variable(restName(t, row, w), 'i32')),
              1,
            ),
          )
        : sum;
    const value = isZero(r.init) ? e.mul(all, t.unit) : e.add(r.init, e.mul(all, t.unit));
    const stored = mapExprs([nest.store], (x) => atRow(x, row))[0] as Stmt & { s: 'store' };
    return { ...stored, value: substituteVars(stored.value, new Map([[r.acc, value]])) };
  });
  return [...totals, ...chunk, ...rest, ...finish];
}

/** Both parts' sums as one float, in units. */
const join = ([upper, lower]: readonly Expr[], lanes: number): Expr => {
  const factor = constant(2 ** LOWER_BITS, 'f32');
  const [p, q] = [upper, lower].map((x) => cast(x as Expr, 'f32')) as [Expr, Expr];
  return e.add(e.mul(p, lanes > 1 ? splat(factor, lanes) : factor), q);
};

const restName = (t: Site, row: number, which: number): string => `${t.r.acc}_${NAMES[which]}${row}_s`;

/** Terms that fill no vector. */
function restOf(t: Site, row: number, whole: number, atRow: AtRow): readonly Stmt[] {
  const k = variable(t.along.var, 'i32');
  const y = e.sub(atRow(t.stored, row), atRow(t.zero, row));
  const names = [0, 1].map((which) => restName(t, row, which));
  const add = names.map((name, which): Stmt => {
    const x = load(t.parts, [e.add(k, which * t.depth)], 'i32');
    return { s: 'set', var: name, value: e.add(variable(name, 'i32'), e.mul(x, y)) };
  });
  return [
    ...names.map((name): Stmt => ({ s: 'let', var: name, value: i32(0), mutable: true })),
    each(t.along.var, i32(whole), i32(t.depth), 1, add),
  ];
}

/** Pairs of neighbours first. */
function addLanes(v: Expr): Expr {
  let parts: readonly Expr[] = Array.from({ length: v.lanes }, (_, k) => vec('extract', [v], 'f32', 1, k));
  while (parts.length > 1) parts = parts.flatMap((p, k) => (k % 2 === 0 ? [e.add(p, parts[k + 1] as Expr)] : []));
  return parts[0] as Expr;
}
