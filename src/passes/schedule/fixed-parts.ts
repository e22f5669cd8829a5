// The floats of fixed-point.ts as integers: x ≈ (upper·2¹⁵ + lower)·unit, where unit is a power of two such that the largest
// float has UPPER_BITS bits before the point. Scaling is then exact, and what is lost is 2⁻²⁹ of the largest. Whether that
// serves is known only when they are: not where the largest dwarfs the others, or is no number.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { bitcast, cast, constant, type Expr, i32, load, variable, vec } from '../../ir/scalar.js';
import { vectorizeElementwise } from './elementwise.js';
import { type FixedPoint, LOWER_BITS, UPPER_BITS } from './fixed-point.js';
import { fittingWidth, scheduleLaneLoop } from './lane-loop.js';
import { each, type ScheduleOptions } from './loops.js';
import type { Panels } from './pack.js';
import { splat } from './vectorize.js';

/** How many times the mean of the others the largest float may be. */
const MOST_OVER_MEAN = 1024;
/** Where powers of two and their inverses are normal numbers. */
const [LEAST, MOST] = [2 ** -90, 2 ** 90];
const BIAS = 127;
const MANTISSA = 23;

export interface Parts {
  /** Finds out how large the floats are. */
  readonly measure: readonly Stmt[];
  /** Whether integers serve. */
  readonly fits: Expr;
  readonly write: readonly Stmt[];
  readonly unit: Expr;
  /** 2·lanes numbers of the upper (0) or the lower parts (1) from position `k` on; a single one. */
  readonly vector: (k: Expr, which: number) => Expr;
  readonly single: (k: Expr, which: number) => Expr;
  /** What a zero point is multiplied with: the parts of the chunk at `first`, added up in the lanes their products are. */
  readonly sum: (first: Expr, which: number) => Expr;
}

/** Null where the floats are no vectors. */
export function partsOf(f: FixedPoint, o: ScheduleOptions, panels: Panels): Parts | null {
  const { depth, lanes } = f;
  const at = variable(f.along.var, 'i32');
  const isNear = f.x.k === 'load';
  const near = isNear ? null : panels.add('f32', depth);
  const x = near === null ? f.x : load(near, [at], 'f32');
  const fill = (buf: number, index: Expr, value: Expr): readonly Stmt[] => {
    const loops = [{ ...f.along, mode: 'parallel' }] as const;
    return vectorizeElementwise({ loops, reduction: null, store: { s: 'store', buf, index, value } }, o);
  };
  const measured = measure(f, x, o);
  if (!measured) return null;
  const slot = panels.add('i16', 2 * depth);
  const sums = isZero(f.zero) ? null : panels.add('i32', 2 * Math.ceil(depth / f.chunk) * lanes);
  const [largest, total, inverse, unit] = ['largest', 'total', 'inverse', 'unit'].map((name) =>
    variable(name, 'f32'),
  ) as [Expr, Expr, Expr, Expr];
  const exponent = e.and(bitcast(largest, 'i32'), 0x7f800000);
  const scaled = e.mul(x, inverse);
  const upper = e.rint(scaled);
  const lower = e.rint(e.mul(e.sub(scaled, upper), 2 ** LOWER_BITS));
  const vector = (k: Expr, which: number): Expr => load(slot, [e.add(k, which * depth)], 'i16', { lanes: 2 * lanes });
  const sumAt = (first: Expr, which: number): Expr => e.add(e.mul(e.div(first, f.chunk), 2 * lanes), which * lanes);
  return {
    measure: [...(near === null ? [] : fill(near, at, f.x)), ...measured],
    fits: e.and(
      e.and(e.le(constant(LEAST, 'f32'), largest), e.le(largest, constant(MOST, 'f32'))),
      e.le(e.mul(largest, depth / MOST_OVER_MEAN), e.sub(total, largest)),
    ),
    write: [
      // The largest is below 2^(b+1) for its exponent b, so 2^(UPPER_BITS − 1 − b) scales it.
      define('inverse', bitcast(e.sub((2 * BIAS + UPPER_BITS - 1) << MANTISSA, exponent), 'f32')),
      define('unit', bitcast(e.sub(exponent, (UPPER_BITS - 1 + LOWER_BITS) << MANTISSA), 'f32')),
      ...fill(slot, at, cast(upper, 'i32')),
      ...fill(slot, e.add(at, depth), cast(lower, 'i32')),
      ...(sums === null ? [] : sumChunks(f, sums, vector, sumAt)),
    ],
    unit,
    vector,
    single: (k, which) => load(slot, [e.add(k, which * depth)], 'i32'),
    sum: (first, which) => load(sums ?? slot, [sumAt(first, which)], 'i32', { lanes }),
  };
}

const define = (name: string, value: Expr): Stmt => ({ s: 'let', var: name, value, mutable: false });

/** The largest absolute value and the sum of all. */
function measure(f: FixedPoint, x: Expr, o: ScheduleOptions): readonly Stmt[] | null {
  const zero = constant(0, 'f32');
  const sums = [
    { acc: 'largest', init: zero, op: 'max', term: e.abs(x) },
    { acc: 'total', init: zero, op: 'add', term: e.abs(x) },
  ] as const;
  const loops = scheduleLaneLoop({ outer: [], loop: f.along, stores: [], sums }, fittingWidth(f.along, o));
  const declare = sums.map(({ acc }): Stmt => ({ s: 'let', var: acc, value: zero, mutable: true }));
  return loops && [...declare, ...loops];
}

function sumChunks(
  f: FixedPoint,
  sums: number,
  vector: Parts['vector'],
  sumAt: (first: Expr, which: number) => Expr,
): readonly Stmt[] {
  const { lanes } = f;
  const ones = vec('splat', [constant(1, 'i16')], 'i16', 2 * lanes);
  const names = ['upper_sum', 'lower_sum'];
  return inChunks(f, (first, over) => [
    ...names.map((name): Stmt => ({ s: 'let', var: name, value: splat(i32(0), lanes), mutable: true })),
    ...over(1, (k) =>
      names.map((name, which): Stmt => {
        const value = vec('dot', [variable(name, 'i32', lanes), vector(k, which), ones], 'i32', lanes);
        return { s: 'set', var: name, value };
      }),
    ),
    ...names.map((name, which): Stmt => {
      return { s: 'store', buf: sums, index: sumAt(first, which), value: variable(name, 'i32', lanes) };
    }),
  ]);
}

/** Terms that vectors take. */
export const wholeOf = ({ depth, lanes }: FixedPoint): number => depth - (depth % (2 * lanes));

/** Vectors of a chunk up to which it is written out. */
const WRITTEN_OUT = 4;

/** Statements for every vector of a chunk; `vectors` of them make a step. */
export type Over = (vectors: number, step: (k: Expr) => readonly Stmt[]) => readonly Stmt[];

/** The terms that vectors take, chunk by chunk; `make` is told where one begins and how to go over it. */
export function inChunks(f: FixedPoint, make: (first: Expr, over: Over) => readonly Stmt[]): readonly Stmt[] {
  const whole = wholeOf(f);
  const { chunk, lanes, along } = f;
  const width = 2 * lanes;
  const isOne = whole <= chunk;
  const first = isOne ? i32(0) : variable(`${along.var}_c`, 'i32');
  const end = isOne ? i32(whole) : whole % chunk === 0 ? e.add(first, chunk) : e.min(e.add(first, chunk), i32(whole));
  const over: Over = (vectors, step) => {
    const fixed = isOne || whole % chunk === 0 ? Math.min(whole, chunk) / width : Number.POSITIVE_INFINITY;
    if (fixed <= WRITTEN_OUT) return Array.from({ length: fixed }, (_, k) => step(e.add(first, k * width))).flat();
    const n = fixed % vectors === 0 ? vectors : 1;
    const k = variable(along.var, 'i32');
    const body = Array.from({ length: n }, (_, u) => step(e.add(k, u * width))).flat();
    return [each(along.var, first, end, n * width, body)];
  };
  return isOne ? make(first, over) : [each(`${along.var}_c`, i32(0), i32(whole), chunk, make(first, over))];
}
