// Rows for a GPU: where a grid is small or each of its iterations walks a row several times (softmax, layer norm, a sum
// over everything), a workgroup computes one iteration. Its invocations (`local` loops) each take every n-th element;
// a reduction leaves one partial result an invocation, which all then combine in the same order. Changes the order of sums.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { never } from '../../support/errors.js';
import { effectsOf } from '../kernel/stmt-walk.js';
import { type Expr, i32, load, rewriteExpr, substituteVars, variable, vec } from '../../ir/scalar.js';
import { GPU_VECTORS, isAligned, QUAD } from './grid-vector.js';
import { constOf, lanesAt } from './loops.js';
import { type For, loadsOf, matchReduction, type Reduction } from './nest.js';
import { SIMD_32 } from './target.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** Invocations of a workgroup: for rows of ordinary length, and for those of at least LONG_ROW elements. */
const LANES = 64;
const MANY_LANES = 256;
const LONG_ROW = 1024;
/** Shorter rows are left to one invocation. */
const MIN_ROW = 64;
/** With more iterations than this, one invocation each keeps a GPU busy with a plain reduction. */
const FEW = 64;
const MIN_SUM = 256;

type Phase =
  | { readonly kind: 'let'; readonly stmt: Stmt }
  | { readonly kind: 'reduce'; readonly reduction: Reduction }
  | { readonly kind: 'each'; readonly loops: readonly For[]; readonly body: readonly Stmt[] }
  | { readonly kind: 'once'; readonly stmt: Stmt };

/** What makes names and buffer slots that are not taken. */
export interface Fresh {
  readonly name: (wanted: string) => string;
  readonly slot: () => number;
}

/** The body of one iteration as the work of a group, or null where that does not pay or is not possible. */
export function shareRow(
  body: readonly Stmt[],
  iterations: number,
  exact: boolean,
  fresh: Fresh,
): readonly Stmt[] | null {
  const phases = splitPhases(body);
  if (!phases || !pays(phases, iterations)) return null;
  if (exact && phases.some((p) => p.kind === 'reduce' && p.reduction.init.dtype === 'f32')) return null;
  const lanes = longestOf(phases) >= LONG_ROW ? MANY_LANES : LANES;
  return phases.flatMap((p, k) => runPhase(p, k < phases.length - 1, { ...fresh, lanes }));
}

/** How a group is made up, and names. */
interface Group extends Fresh {
  readonly lanes: number;
}

function runPhase(p: Phase, hasMore: boolean, fresh: Group): readonly Stmt[] {
  const after = hasMore ? [BARRIER] : [];
  switch (p.kind) {
    case 'let':
      return [p.stmt];
    case 'reduce':
      return reduceTogether(p.reduction, fresh);
    case 'each':
      return [inLanes(p.loops, p.body, fresh), ...after];
    case 'once': {
      const lane = fresh.name('lane');
      const first: Stmt = { s: 'if', cond: e.eq(variable(lane, 'i32'), 0), then: [p.stmt], else: [] };
      return [localLoop(lane, [first], fresh.lanes), ...after];
    }
    default:
      return never(p, 'phase');
  }
}

const BARRIER: Stmt = { s: 'barrier' };

function splitPhases(body: readonly Stmt[]): readonly Phase[] | null {
  const phases: Phase[] = [];
  for (let k = 0; k < body.length; k++) {
    const s = body[k] as Stmt;
    const next = body[k + 1];
    const reduction = next && matchReduction(s, next);
    if (reduction) {
      phases.push({ kind: 'reduce', reduction });
      k++;
    } else if (s.s === 'let' && !s.mutable) phases.push({ kind: 'let', stmt: s });
    else if (s.s === 'store') phases.push({ kind: 'once', stmt: s });
    else if (s.s === 'for' && s.mode === 'parallel') {
      const { loops, inner } = parallelLoops(s);
      if (!inner.every(isSerial)) return null;
      phases.push({ kind: 'each', loops, body: inner });
    } else return null;
  }
  return accumulatorsStay(body, phases) ? phases : null;
}

/** What one invocation does by itself for an element. */
function isSerial(s: Stmt): boolean {
  if (s.s === 'for') return s.mode === 'serial' && s.body.every(isSerial);
  return s.s === 'store' || s.s === 'let' || s.s === 'set';
}

/** A parallel nest whose sizes do not depend on its own loops. */
function parallelLoops(s: For): { loops: readonly For[]; inner: readonly Stmt[] } {
  const loops: For[] = [];
  let inner: readonly Stmt[] = [s];
  for (let at = inner[0]; inner.length === 1 && at?.s === 'for' && isPlain(at); at = inner[0]) {
    loops.push(at);
    inner = at.body;
  }
  return { loops, inner };
}

const isPlain = (s: For): boolean =>
  s.mode === 'parallel' && s.step === 1 && s.lo.k === 'const' && Number(s.lo.value) === 0 && s.hi.k !== 'load';

/** Nothing but its own loop assigns an accumulator. */
function accumulatorsStay(body: readonly Stmt[], phases: readonly Phase[]): boolean {
  const { assigned } = effectsOf(body);
  const own = new Set(
    phases.flatMap((p) => {
      if (p.kind === 'reduce') return [p.reduction.acc];
      return p.kind === 'each' ? [...effectsOf(p.body).declared] : [];
    }),
  );
  return [...assigned].every((name) => own.has(name));
}

const lengthOf = (loops: readonly For[]): number => loops.reduce((n, f) => n * (constOf(f.hi) ?? MIN_SUM), 1);

function pays(phases: readonly Phase[], iterations: number): boolean {
  const sums = phases.flatMap((p) => (p.kind === 'reduce' ? [p.reduction] : []));
  const longest = longestOf(phases);
  if (sums.length === 0) return false;
  if (phases.some((p) => p.kind === 'each')) return longest >= MIN_ROW;
  return longest >= MIN_SUM && (iterations <= FEW || sums.every(walksMemory));
}

const longestOf = (phases: readonly Phase[]): number =>
  Math.max(
    0,
    ...phases.map((p) => {
      if (p.kind === 'reduce') return lengthOf(p.reduction.loops);
      return p.kind === 'each' ? lengthOf(p.loops) : 0;
    }),
  );

/** A single operand along memory: invocations side by side read it as it lies there, one that walks a row alone does not. */
function walksMemory(r: Reduction): boolean {
  const loads = loadsOf(r.term);
  const last = r.loops[r.loops.length - 1] as For;
  return loads.length === 1 && loads.every((x) => isOne(coefficient(withoutEnd(x.index[0] as Expr), last.var)));
}

/** An index without what keeps it from passing the end. */
const withoutEnd = (index: Expr): Expr =>
  rewriteExpr(index, (x) => (x.k === 'op' && x.op === 'min' ? (x.args[0] as Expr) : x));

const localLoop = (lane: string, body: readonly Stmt[], lanes: number): Stmt => ({
  s: 'for',
  var: lane,
  lo: i32(0),
  hi: i32(lanes),
  step: 1,
  mode: 'local',
  body,
});

/** Every lanes-th element of a nest, from the invocation's own on. */
function strided(loops: readonly For[], lane: string, body: readonly Stmt[], fresh: Group): readonly Stmt[] {
  const [only] = loops;
  if (only && loops.length === 1)
    return [{ ...only, mode: 'serial', lo: variable(lane, 'i32'), step: fresh.lanes, body }];
  const counter = fresh.name('at');
  let inner: Expr = i32(1);
  const places = new Map<string, Expr>();
  for (const [k, f] of [...loops.entries()].reverse()) {
    const rest = e.div(variable(counter, 'i32'), inner);
    places.set(f.var, k === 0 ? rest : e.rem(rest, f.hi));
    inner = e.mul(f.hi, inner);
  }
  const lets = loops.map((f): Stmt => ({ s: 'let', var: f.var, value: places.get(f.var) as Expr, mutable: false }));
  const all = { s: 'for', var: counter, lo: variable(lane, 'i32'), hi: inner, step: fresh.lanes } as const;
  return [{ ...all, mode: 'serial', body: [...lets, ...body] }];
}

function inLanes(loops: readonly For[], body: readonly Stmt[], fresh: Group): Stmt {
  const lane = fresh.name('lane');
  const stmts = vectorStores(loops, body, lane, fresh) ?? strided(loops, lane, body, fresh);
  return localLoop(lane, stmts, fresh.lanes);
}

/** The loop of a row that every invocation has whole vectors of. */
function quadRow(loops: readonly For[], lanes: number): For | null {
  const [only] = loops;
  const size = only && loops.length === 1 ? constOf(only.hi) : null;
  return only && size !== null && size % QUAD === 0 && size >= QUAD * lanes ? only : null;
}

const isWhole = (index: Expr, name: string): boolean => isOne(coefficient(index, name)) && isAligned(index, name);

/** Whether what moves along the row does so in whole vectors. */
const walksWhole = (x: Expr, row: For): boolean =>
  loadsOf(x).every((y) => {
    const index = y.index[0] as Expr;
    return !mentions(y, row.var) || (isWhole(index, row.var) && !(y.guard && mentions(y.guard, row.var)));
  });

/** From the invocation's own vector on, as many apart as there are invocations. */
const overVectors = (row: For, lane: string, lanes: number, body: readonly Stmt[]): Stmt => ({
  ...row,
  mode: 'serial',
  lo: e.mul(variable(lane, 'i32'), QUAD),
  step: QUAD * lanes,
  body,
});

function vectorStores(
  loops: readonly For[],
  body: readonly Stmt[],
  lane: string,
  { lanes }: Group,
): readonly Stmt[] | null {
  const row = quadRow(loops, lanes);
  const [store] = body;
  if (!row || store?.s !== 'store' || body.length !== 1 || !isWhole(store.index, row.var)) return null;
  if (!walksWhole(store.value, row)) return null;
  const value = vectorizeExpr(store.value, lanesAt(row.var, variable(row.var, 'i32'), GPU_VECTORS));
  if (!value || !SIMD_32.has(value.dtype)) return null;
  return [overVectors(row, lane, lanes, [{ ...store, value: splat(value, QUAD) }])];
}

/** An invocation's part of a reduction, in four parts until the end. */
function vectorPart(r: Reduction, part: string, lane: string, { lanes }: Group): { body: Stmt[]; result: Expr } | null {
  const row = quadRow(r.loops, lanes);
  const type = r.init.dtype;
  if (!row || !SIMD_32.has(type) || !GPU_VECTORS.target.supports(r.op, type, QUAD) || !walksWhole(r.term, row))
    return null;
  const term = vectorizeExpr(r.term, lanesAt(row.var, variable(row.var, 'i32'), GPU_VECTORS));
  if (!term || term.lanes === 1) return null;
  const all = variable(part, type, QUAD);
  const step: Stmt = { s: 'set', var: part, value: e.op(r.op, all, term) };
  const at = (k: number): Expr => vec('extract', [all], type, 1, k);
  return {
    body: [{ s: 'let', var: part, value: splat(r.init, QUAD), mutable: true }, overVectors(row, lane, lanes, [step])],
    result: e.op(r.op, e.op(r.op, at(0), at(1)), e.op(r.op, at(2), at(3))),
  };
}

/** Partial results go through shared memory; every invocation ends up with the whole one in the accumulator. */
function reduceTogether(r: Reduction, fresh: Group): readonly Stmt[] {
  const type = r.init.dtype;
  const tile = fresh.slot();
  const lane = fresh.name('lane');
  const part = fresh.name(`${r.acc}_part`);
  const vectors = vectorPart(r, part, lane, fresh);
  const term = substituteVars(r.term, new Map([[r.acc, variable(part, type)]]));
  const step: Stmt = { s: 'set', var: part, value: e.op(r.op, variable(part, type), term) };
  const at = (index: Expr): Expr => load(tile, [index], type);
  return [
    { s: 'alloc', buf: tile, dtype: type, size: fresh.lanes, space: 'local' },
    localLoop(
      lane,
      [
        ...(vectors?.body ?? [
          { s: 'let', var: part, value: r.init, mutable: true } as const,
          ...strided(r.loops, lane, [step], fresh),
        ]),
        { s: 'store', buf: tile, index: variable(lane, 'i32'), value: vectors?.result ?? variable(part, type) },
      ],
      fresh.lanes,
    ),
    BARRIER,
    { s: 'intrin', name: `group_${r.op}`, args: [at(i32(0))], body: combine(r, tile, fresh) },
    { s: 'let', var: r.acc, value: at(i32(0)), mutable: true },
  ];
}

/** What a group's invocations left in their places, brought together in the first; devices have ways of their own for that. Halves what is left until the first place holds all; so many at the end one invocation adds by itself. */
const COMBINED_BY_ONE = 8;

function combine(r: Reduction, tile: number, fresh: Group): readonly Stmt[] {
  const type = r.init.dtype;
  const stmts: Stmt[] = [];
  const at = (lane: string, apart: number): Expr => load(tile, [e.add(variable(lane, 'i32'), apart)], type);
  for (let width = fresh.lanes / 2; width >= 1; width /= 2) {
    const lane = fresh.name('lane');
    const isLast = width < COMBINED_BY_ONE;
    const value = isLast
      ? Array.from({ length: 2 * width - 1 }, (_, k) => at(lane, k + 1)).reduce((a, b) => e.op(r.op, a, b), at(lane, 0))
      : e.op(r.op, at(lane, 0), at(lane, width));
    const store: Stmt = { s: 'store', buf: tile, index: variable(lane, 'i32'), value };
    const cond = e.lt(variable(lane, 'i32'), isLast ? 1 : width);
    stmts.push(localLoop(lane, [{ s: 'if', cond, then: [store], else: [] }], fresh.lanes), BARRIER);
    if (isLast) break;
  }
  return stmts;
}

/** Whether a body is the work of a group. */
export const isShared = (body: readonly Stmt[]): boolean => body.some((s) => s.s === 'for' && s.mode === 'local');
