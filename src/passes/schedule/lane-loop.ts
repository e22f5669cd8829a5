// One loop in lanes that both stores and reduces: what a row-wise kernel does with a row it reads once. Partial results
// run along the lanes, several vectors of them where a step is so short that it would wait for the one before, and are
// combined in a fixed order. Maxima and minima in fast numerics take the machine's own instruction and note NaN apart.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { constant, type Expr, i32, rawOp, select, substituteVars, variable, vec } from '../../ir/scalar.js';
import { pick } from '../kernel/ordered-extrema.js';
import { LONG_STEP, measure, vectorsAtOnce } from './latency.js';
import { atWidth, constOf, lanesAt, type ScheduleOptions, storesLast, widths, wrap } from './loops.js';
import type { For, Reduction, Store } from './nest.js';
import type { VectorTarget } from './target.js';
import { splat, vectorizeExpr } from './vectorize.js';

export interface LaneLoop {
  /** Loops around the vector loop that belong to the reduction too. */
  readonly outer: readonly For[];
  readonly loop: For;
  /** Contiguous along the loop. */
  readonly stores: readonly Store[];
  /** Into accumulators that are declared before. */
  readonly sums: readonly Sum[];
}

export type Sum = Pick<Reduction, 'acc' | 'init' | 'op' | 'term'>;

/** Vectors of the width that takes the fewest steps, single elements at the end among them. */
export function fittingWidth(loop: For, o: ScheduleOptions): ScheduleOptions {
  const size = constOf(loop.hi);
  if (size === null) return o;
  const steps = (w: number): number => (w > size ? Number.POSITIVE_INFINITY : Math.floor(size / w) + (size % w));
  return atWidth(
    o,
    widths(o.target).reduce((best, w) => (steps(w) < steps(best) ? w : best)),
  );
}

/** Null where the target has no such vectors. */
export function scheduleLaneLoop(l: LaneLoop, o: ScheduleOptions): readonly Stmt[] | null {
  const { lanes } = o.target;
  const size = constOf(l.loop.hi);
  if (size !== null && size < lanes) return null;
  const probe = vectorStep(l, o, variable(l.loop.var, 'i32'), 0);
  if (!probe) return null;
  const unroll = unrollOf(l, size, o.target);
  const partials = isLong(l) ? 1 : unroll;
  const [main, single] = [unroll * lanes, lanes];
  const [upToMain, upToSingle] = [main, single].map((step) => multiple(l.loop.hi, step)) as [Expr, Expr];
  const step = (k: number): readonly Stmt[] =>
    vectorStep(l, o, e.add(variable(l.loop.var, 'i32'), k * lanes), k % partials) as readonly Stmt[];
  const many = storesLast(Array.from({ length: unroll }, (_, k) => step(k)).flat());
  const loops: Stmt[] = [{ ...l.loop, hi: upToMain, step: main, body: many }];
  if (unroll > 1 && !(size !== null && size % main < lanes))
    loops.push({ ...l.loop, lo: upToMain, hi: upToSingle, step: single, body: step(0) });
  if (size === null || size % lanes !== 0) loops.push({ ...l.loop, lo: upToSingle, body: scalarStep(l) });
  return [
    ...l.sums.flatMap((s) => declare(s, o, partials)),
    ...wrap(l.outer, loops),
    ...l.sums.map((s) => combine(s, o, partials)),
  ];
}

/** The largest multiple of `step` up to `hi`. */
const multiple = (hi: Expr, step: number): Expr => {
  const size = constOf(hi);
  return size === null ? e.sub(hi, e.rem(hi, step)) : i32(size - (size % step));
};

function unrollOf(l: LaneLoop, size: number | null, target: VectorTarget): number {
  if (l.sums.length === 0) return 1;
  const vectors = size === null ? null : Math.floor(size / target.lanes);
  const values = [...l.sums.map((s) => s.term), ...l.stores.map((s) => s.value)];
  const wanted = vectorsAtOnce(values, target, l.stores.length > 0 ? vectors : null);
  const fits = vectors ?? wanted;
  return fits >= wanted ? wanted : fits >= 2 ? 2 : 1;
}

/** Steps so long that a sum has been added to long before the next needs it: one is enough, and leaves registers. */
const isLong = (l: LaneLoop): boolean =>
  measure([...l.sums.map((s) => s.term), ...l.stores.map((s) => s.value)]).count > LONG_STEP;

const partial = (s: Sum, k: number): string => `${s.acc}_v${k}`;
const ordered = (s: Sum): string => `${s.acc}_ordered`;

/** Whether the plain operation does, which does not care for NaN. */
const isPlain = (s: Sum, o: ScheduleOptions): s is Sum & { readonly op: 'max' | 'min' } =>
  o.numerics === 'fast' && s.init.dtype === 'f32' && (s.op === 'max' || s.op === 'min');

/** Whether NaN is noted by itself then. */
const notesNan = (s: Sum, o: ScheduleOptions): boolean => isPlain(s, o) && !o.quiet?.has(s.acc);

function declare(s: Sum, o: ScheduleOptions, unroll: number): readonly Stmt[] {
  const { lanes } = o.target;
  const all = Array.from(
    { length: unroll },
    (_, k): Stmt => ({ s: 'let', var: partial(s, k), value: splat(s.init, lanes), mutable: true }),
  );
  const yes = vec('splat', [constant(true, 'i1')], 'i1', lanes);
  return notesNan(s, o) ? [...all, { s: 'let', var: ordered(s), value: yes, mutable: true }] : all;
}

/** Stores and partial results of the vector at `base`; null where something has no vector. */
function vectorStep(l: LaneLoop, o: ScheduleOptions, base: Expr, k: number): readonly Stmt[] | null {
  const { lanes } = o.target;
  const at = lanesAt(l.loop.var, base, o);
  const out: Stmt[] = [];
  for (const store of l.stores) {
    const value = vectorizeExpr(store.value, at);
    if (!value) return null;
    const index = substituteVars(store.index, new Map([[l.loop.var, base]]));
    out.push({ ...store, index, value: splat(value, lanes) });
  }
  for (const s of l.sums) {
    const { dtype } = s.init;
    const term = vectorizeExpr(s.term, at);
    if (!term || !o.target.supports(s.op, dtype, lanes)) return null;
    const [acc, x] = [variable(partial(s, k), dtype, lanes), splat(term, lanes)];
    out.push({ s: 'set', var: partial(s, k), value: isPlain(s, o) ? pick(s.op, acc, x) : e.op(s.op, acc, x) });
    if (!notesNan(s, o)) continue;
    const before = variable(ordered(s), 'i1', lanes);
    out.push({ s: 'set', var: ordered(s), value: rawOp('and', before, rawOp('eq', x, x)) });
  }
  return out;
}

/** What the vectors do not reach, one by one. */
const scalarStep = (l: LaneLoop): readonly Stmt[] => [
  ...l.stores,
  ...l.sums.map((s): Stmt => ({ s: 'set', var: s.acc, value: e.op(s.op, variable(s.acc, s.init.dtype), s.term) })),
];

/** acc = acc ∘ (all vectors, lane by lane): pairs of neighbours first. Extrema stay in vectors to their end: of two scalars
 *  the greater is found by a jump, which data decide and so is often guessed wrong. */
function combine(s: Sum, o: ScheduleOptions, unroll: number): Stmt {
  const { lanes } = o.target;
  const { dtype } = s.init;
  const join = (x: Expr, y: Expr): Expr => (isPlain(s, o) ? pick(s.op, x, y) : e.op(s.op, x, y));
  const vectors = Array.from({ length: unroll }, (_, k): Expr => variable(partial(s, k), dtype, lanes));
  const sum = pairwise(vectors, join);
  const lane = (x: Expr, k: number): Expr => vec('extract', [x], x.dtype, 1, k);
  const each = (x: Expr): Expr[] => Array.from({ length: lanes }, (_, k) => lane(x, k));
  const acc = variable(s.acc, dtype);
  if (!isPlain(s, o)) return { s: 'set', var: s.acc, value: e.op(s.op, acc, pairwise(each(sum), join)) };
  const parts = each(sum).map((x) => splat(x, lanes));
  const best = lane(pick(s.op, splat(acc, lanes), pairwise(parts, join)), 0);
  if (!notesNan(s, o)) return { s: 'set', var: s.acc, value: best };
  const flag = variable(ordered(s), 'i1', lanes);
  const isOrdered = pairwise(each(flag), (x, y) => rawOp('and', x, y));
  return { s: 'set', var: s.acc, value: select(isOrdered, best, constant(Number.NaN, dtype)) };
}

function pairwise(list: readonly Expr[], join: (x: Expr, y: Expr) => Expr): Expr {
  let parts = list;
  while (parts.length > 1)
    parts = parts.flatMap((x, k) => (k % 2 === 0 ? [parts[k + 1] ? join(x, parts[k + 1] as Expr) : x] : []));
  return parts[0] as Expr;
}
