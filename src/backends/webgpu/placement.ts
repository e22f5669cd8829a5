// Which kernels the WebAssembly twin runs instead of the GPU: those that the GPU cannot, those that would be one invocation
// over more than a trifle, and short ones whose company spares a wait. Chosen by cost with the copies counted
// (placement-costs.ts, placement-cost.ts); everything else stays on the device. What is chosen is data: plan.ts carries it
// out, the reports name it.

import type { Program, Step } from '../../ir/program.js';
import { invariant } from '../../support/errors.js';
import { cutPieces } from './pieces.js';
import { createCostModel, type KernelCosts, type KernelStep } from './placement-cost.js';
import { COSTS, LONG_ENOUGH, SHORT, TRIFLE, WORTHWHILE } from './placement-costs.js';
import { knownStores } from './size-expr.js';
import { kernelSteps, nestedSteps } from './steps.js';
import { countIterations, countOperations } from './work.js';

export interface Placed {
  readonly reason: string;
  /** Bytes that cross for it in a run, at the sizes' bounds. */
  readonly bytes: number;
}

export type Placement = ReadonlyMap<KernelStep, Placed>;

/** `refused`: steps that the back end found it cannot express, and why. */
export function placeKernels(program: Program, refused: ReadonlyMap<KernelStep, string> = new Map()): Placement {
  const steps = program.entries.flatMap((e) => kernelSteps(e.steps));
  const costs = new Map(steps.map((s) => [s, costsOf(program, s)]));
  const forced = new Map<KernelStep, string>();
  for (const s of steps) {
    const why = refused.get(s) ?? whyForced(program, s, costs.get(s) as KernelCosts);
    if (why !== null && program.kernels[s.kernel]?.twin) forced.set(s, why);
  }
  const model = createCostModel(program, costs);
  const serial = steps.filter((s) => isUnfit(program, costs.get(s) as KernelCosts, s));
  if (forced.size + serial.length === 0 && !model.waits(new Set())) return new Map();
  const chosen = improve(program, new Set(forced.keys()), serial, costs, model.of);
  const bytes = model.crossing(chosen);
  return new Map(
    steps.flatMap((s): [KernelStep, Placed][] => {
      if (!chosen.has(s)) return [];
      const { operations } = costs.get(s) as KernelCosts;
      const alone = `a single invocation of ${operations} operations on a GPU`;
      const company = 'short, and with its neighbours there it spares copies or waits';
      const reason = forced.get(s) ?? (serial.includes(s) ? alone : company);
      return [[s, { reason, bytes: bytes.get(s) ?? 0 }]];
    }),
  );
}

function whyForced(program: Program, s: KernelStep, costs: KernelCosts): string | null {
  const kernel = program.kernels[s.kernel];
  if (!kernel?.twin) return null;
  if (kernel.twin.refusal !== null) return kernel.twin.refusal;
  const has64 = s.buffers.some((r) => program.buffers.find((b) => b.id === r.buffer)?.dtype === 'f64');
  return has64 && costs.twin <= LONG_ENOUGH ? 'values of f64, which a GPU has not' : null;
}

const isUnfit = (program: Program, costs: KernelCosts, s: KernelStep): boolean =>
  costs.isSerial && costs.operations > TRIFLE && program.kernels[s.kernel]?.twin !== undefined;

function costsOf(program: Program, s: KernelStep): KernelCosts {
  const kernel = program.kernels[s.kernel];
  invariant(kernel, `no kernel ${s.kernel}`);
  const refusal = kernel.twin?.refusal ?? null;
  let [device, operations, known] = [0, 0, true];
  let isSerial = false;
  for (const piece of refusal === null ? cutPieces(kernel) : []) {
    if (piece.slots.length === 0) continue;
    const { grid } = piece;
    const iterations = grid ? countIterations(kernel, grid.count) : 1;
    const all = countOperations(kernel, piece.body, grid?.name, iterations) * iterations;
    operations += all;
    isSerial ||= !grid && all > TRIFLE;
    device += COSTS.dispatch + all * (grid ? COSTS.parallelOperation : COSTS.serialOperation);
    known &&= knownStores(kernel, piece, new Map(kernel.syms.map((y) => [y.name, y.name]))).length > 0;
  }
  if (refusal !== null) operations = countOperations(kernel, kernel.body);
  const access = (kinds: readonly string[]): number[] =>
    s.buffers.flatMap((r, k) => (kinds.includes(kernel.params[k]?.access ?? '') ? [r.buffer] : []));
  return {
    device,
    twin: COSTS.hostOperation * operations,
    operations,
    isSerial,
    isKnown: known && refusal === null,
    reads: access(['read', 'readwrite']),
    writes: access(['write', 'readwrite']),
  };
}

/** Adds what pays until nothing does, then takes back what does not. */
function improve(
  program: Program,
  start: ReadonlySet<KernelStep>,
  serial: readonly KernelStep[],
  costs: ReadonlyMap<KernelStep, KernelCosts>,
  costOf: (twin: ReadonlySet<KernelStep>) => number,
): ReadonlySet<KernelStep> {
  const mayMove = (s: KernelStep): boolean =>
    program.kernels[s.kernel]?.twin !== undefined && (serial.includes(s) || (costs.get(s)?.twin ?? 0) <= SHORT);
  const sets = candidates(program, [...start, ...serial], costs, mayMove);
  let now = new Set(start);
  let cost = costOf(now);
  for (let round = 0; round < ROUNDS; round++) {
    const tried = sets.map((set) => {
      const next = new Set([...now, ...set]);
      return { next, cost: next.size > now.size ? costOf(next) : cost };
    });
    const best = tried.reduce((a, b) => (b.cost < a.cost ? b : a), { next: now, cost });
    if (best.cost > cost - WORTHWHILE) break;
    now = best.next;
    cost = best.cost;
  }
  for (const s of [...now].reverse()) {
    if (start.has(s)) continue;
    const next = new Set([...now].filter((x) => x !== s));
    const without = costOf(next);
    if (without > cost + WORTHWHILE) continue;
    now = next;
    cost = without;
  }
  return now;
}

const ROUNDS = 24;

/** Sets of steps worth trying together. */
function candidates(
  program: Program,
  seeds: readonly KernelStep[],
  costs: ReadonlyMap<KernelStep, KernelCosts>,
  mayMove: (s: KernelStep) => boolean,
): readonly (readonly KernelStep[])[] {
  const all = program.entries.flatMap((e) => kernelSteps(e.steps));
  const writers = new Map<number, KernelStep[]>();
  const readers = new Map<number, KernelStep[]>();
  const note = (map: Map<number, KernelStep[]>, b: number, s: KernelStep): void =>
    void map.set(b, [...(map.get(b) ?? []), s]);
  for (const s of all) {
    for (const b of costs.get(s)?.writes ?? []) note(writers, b, s);
    for (const b of costs.get(s)?.reads ?? []) note(readers, b, s);
  }
  const near = (s: KernelStep, forward: boolean): readonly KernelStep[] => {
    const { reads = [], writes = [] } = costs.get(s) ?? {};
    return forward ? writes.flatMap((b) => readers.get(b) ?? []) : reads.flatMap((b) => writers.get(b) ?? []);
  };
  /** A step and what can move with it, so many steps away. */
  const around = (from: readonly KernelStep[], directions: readonly boolean[], most: number): readonly KernelStep[] => {
    const found = new Set(from);
    let edge = [...from];
    for (let k = 0; k < most && edge.length > 0; k++) {
      edge = edge.flatMap((s) => directions.flatMap((d) => near(s, d))).filter((s) => !found.has(s) && mayMove(s));
      for (const s of edge) found.add(s);
    }
    return [...found].filter(mayMove);
  };
  const deciding = conditions(program).map((b) => writers.get(b) ?? []);
  const roots = [...seeds.map((s) => [s]), ...deciding];
  return [
    seeds,
    all.filter(mayMove),
    ...inside(program).map((steps) => steps.filter(mayMove)),
    ...roots.flatMap((r) => [0, 1, 2, 4, 64].flatMap((n) => [around(r, [false], n), around(r, [false, true], n)])),
    ...seeds.flatMap((s) => near(s, true).filter(mayMove)).map((s) => [s]),
  ].filter((set) => set.length > 0);
}

/** Buffers of which the host must know an element. */
function conditions(program: Program): readonly number[] {
  const found = new Set<number>();
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.kind === 'if' || s.kind === 'while') found.add(s.cond.buffer);
      if (s.kind === 'bind') found.add(s.from.buffer);
      nestedSteps(s).forEach(visit);
    }
  };
  for (const e of program.entries) visit(e.steps);
  return [...found];
}

/** The kernels in each loop and branch. */
function inside(program: Program): readonly (readonly KernelStep[])[] {
  const found: (readonly KernelStep[])[] = [];
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      for (const list of nestedSteps(s)) found.push(kernelSteps(list));
      if (s.kind === 'while') found.push(kernelSteps([s]));
      nestedSteps(s).forEach(visit);
    }
  };
  for (const e of program.entries) visit(e.steps);
  return found;
}
