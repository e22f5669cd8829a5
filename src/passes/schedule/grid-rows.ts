// Rows for a GPU: where a grid is small or each of its iterations walks a row several times (softmax, layer norm, a sum
// over everything), a workgroup computes one iteration. Its invocations (`local` loops) each take every LANES-th element;
// a reduction leaves one partial result an invocation, which all then combine in the same order. Changes the order of sums.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { never } from '../../support/errors.js';
import { effectsOf } from '../kernel/stmt-walk.js';
import { i32, load, substituteVars, type Expr, variable } from '../../ir/scalar.js';
import { constOf } from './loops.js';
import { type For, matchReduction, type Reduction } from './nest.js';

/** Invocations of a workgroup. */
export const LANES = 64;
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
  return phases.flatMap((p, k) => runPhase(p, k < phases.length - 1, fresh));
}

function runPhase(p: Phase, hasMore: boolean, fresh: Fresh): readonly Stmt[] {
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
      return [localLoop(lane, [first]), ...after];
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
      if (inner.some((x) => x.s !== 'store' && !(x.s === 'let' && !x.mutable))) return null;
      phases.push({ kind: 'each', loops, body: inner });
    } else return null;
  }
  return accumulatorsStay(body, phases) ? phases : null;
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
  const own = new Set(phases.flatMap((p) => (p.kind === 'reduce' ? [p.reduction.acc] : [])));
  return [...assigned].every((name) => own.has(name));
}

const lengthOf = (loops: readonly For[]): number => loops.reduce((n, f) => n * (constOf(f.hi) ?? MIN_SUM), 1);

function pays(phases: readonly Phase[], iterations: number): boolean {
  const sums = phases.flatMap((p) => (p.kind === 'reduce' ? [lengthOf(p.reduction.loops)] : []));
  const rows = phases.flatMap((p) => (p.kind === 'each' ? [lengthOf(p.loops)] : []));
  const longest = Math.max(0, ...sums, ...rows);
  if (sums.length === 0) return false;
  return rows.length > 0 ? longest >= MIN_ROW : iterations <= FEW && longest >= MIN_SUM;
}

const localLoop = (lane: string, body: readonly Stmt[]): Stmt => ({
  s: 'for',
  var: lane,
  lo: i32(0),
  hi: i32(LANES),
  step: 1,
  mode: 'local',
  body,
});

/** Every LANES-th element of a nest, from the invocation's own on. */
function strided(loops: readonly For[], lane: string, body: readonly Stmt[], fresh: Fresh): readonly Stmt[] {
  const [only] = loops;
  if (only && loops.length === 1) return [{ ...only, mode: 'serial', lo: variable(lane, 'i32'), step: LANES, body }];
  const counter = fresh.name('at');
  let inner: Expr = i32(1);
  const places = new Map<string, Expr>();
  for (const [k, f] of [...loops.entries()].reverse()) {
    const rest = e.div(variable(counter, 'i32'), inner);
    places.set(f.var, k === 0 ? rest : e.rem(rest, f.hi));
    inner = e.mul(f.hi, inner);
  }
  const lets = loops.map((f): Stmt => ({ s: 'let', var: f.var, value: places.get(f.var) as Expr, mutable: false }));
  const all = { s: 'for', var: counter, lo: variable(lane, 'i32'), hi: inner, step: LANES } as const;
  return [{ ...all, mode: 'serial', body: [...lets, ...body] }];
}

function inLanes(loops: readonly For[], body: readonly Stmt[], fresh: Fresh): Stmt {
  const lane = fresh.name('lane');
  return localLoop(lane, strided(loops, lane, body, fresh));
}

/** Partial results go through shared memory; every invocation ends up with the whole one in the accumulator. */
function reduceTogether(r: Reduction, fresh: Fresh): readonly Stmt[] {
  const type = r.init.dtype;
  const tile = fresh.slot();
  const lane = fresh.name('lane');
  const part = fresh.name(`${r.acc}_part`);
  const term = substituteVars(r.term, new Map([[r.acc, variable(part, type)]]));
  const step: Stmt = { s: 'set', var: part, value: e.op(r.op, variable(part, type), term) };
  const k = fresh.name('k');
  const at = (index: Expr): Expr => load(tile, [index], type);
  return [
    { s: 'alloc', buf: tile, dtype: type, size: LANES, space: 'local' },
    localLoop(lane, [
      { s: 'let', var: part, value: r.init, mutable: true },
      ...strided(r.loops, lane, [step], fresh),
      { s: 'store', buf: tile, index: variable(lane, 'i32'), value: variable(part, type) },
    ]),
    BARRIER,
    { s: 'let', var: r.acc, value: at(i32(0)), mutable: true },
    {
      s: 'for',
      var: k,
      lo: i32(1),
      hi: i32(LANES),
      step: 1,
      mode: 'serial',
      body: [{ s: 'set', var: r.acc, value: e.op(r.op, variable(r.acc, type), at(variable(k, 'i32'))) }],
    },
  ];
}

/** Whether a body is the work of a group. */
export const isShared = (body: readonly Stmt[]): boolean => body.some((s) => s.s === 'for' && s.mode === 'local');
