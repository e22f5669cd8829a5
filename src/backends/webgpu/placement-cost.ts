// What a placement costs: the program is gone through in order, as the executor will, with each buffer's contents on one
// side or both; what a step needs from the other side is a wait or an upload.

import type { Program, ProgramBuffer, Step } from '../../ir/program.js';
import { dimSyms } from '../../ir/dim.js';
import { dependencies, phasesOf } from './phases.js';
import { COSTS, USUAL_ROUNDS } from './placement-costs.js';
import { deviceBytes } from './shader.js';
import type { KernelStep } from './steps.js';

export type { KernelStep } from './steps.js';

export interface KernelCosts {
  /** Nanoseconds on either side, copies aside. */
  readonly device: number;
  readonly twin: number;
  readonly operations: number;
  /** Whether a part of it is a single invocation. */
  readonly isSerial: boolean;
  /** Whether the host knows what it stores without asking. */
  readonly isKnown: boolean;
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

type Side = 'device' | 'twin' | 'both';

interface State {
  readonly where: Map<number, Side>;
  /** Buffers whose contents the host knows. */
  readonly known: Set<number>;
  /** Symbols whose values are on the device. */
  readonly open: Set<string>;
}

export interface CostModel {
  /** Nanoseconds of a run of every entry. */
  of(twin: ReadonlySet<KernelStep>): number;
  /** Whether a run waits for more than its outputs. */
  waits(twin: ReadonlySet<KernelStep>): boolean;
  /** Bytes that cross for each step of the twin. */
  crossing(twin: ReadonlySet<KernelStep>): ReadonlyMap<KernelStep, number>;
}

export function createCostModel(program: Program, costs: ReadonlyMap<KernelStep, KernelCosts>): CostModel {
  const buffers = new Map(program.buffers.map((b) => [b.id, b]));
  const isConst = (id: number): boolean => buffers.get(id)?.place.kind === 'const';
  const segments = new Map<Step, { steps: readonly KernelStep[]; after: readonly number[][] }>();
  const touches = (s: KernelStep): KernelCosts => costs.get(s) as KernelCosts;
  const segmentAt = (steps: readonly Step[], start: number) => {
    const head = steps[start] as Step;
    const known = segments.get(head);
    if (known) return known;
    const end = steps.findIndex((s, k) => k >= start && s.kind !== 'kernel');
    const list = steps.slice(start, end < 0 ? steps.length : end) as KernelStep[];
    const made = { steps: list, after: dependencies(list, touches) };
    segments.set(head, made);
    return made;
  };

  const walk = (twin: ReadonlySet<KernelStep>) => {
    let crossed = new Map<KernelStep, number>();
    let waits = 0;
    const cross = (s: KernelStep, bytes: number): void => void crossed.set(s, (crossed.get(s) ?? 0) + bytes);
    /** Who in the twin wrote a buffer last. */
    const writer = new Map<number, KernelStep>();
    const wait = (bytes = 0): number => {
      waits++;
      return COSTS.wait + bytes * COSTS.readByte;
    };
    const onDevice = (s: KernelStep, state: State): number => {
      const own = touches(s);
      let ns = own.device;
      for (const b of [...own.reads, ...own.writes]) {
        if (isConst(b) || state.where.get(b) !== 'twin') continue;
        const bytes = onDeviceBytes(buffers.get(b));
        ns += COSTS.upload + bytes * COSTS.uploadByte;
        const from = writer.get(b);
        if (from) cross(from, bytes);
        state.where.set(b, 'both');
      }
      for (const b of own.writes) {
        state.where.set(b, 'device');
        if (own.isKnown) state.known.add(b);
        else state.known.delete(b);
      }
      return ns;
    };
    const inTwin = (steps: readonly KernelStep[], state: State): number => {
      let ns = COSTS.call;
      let read = 0;
      const wanted = new Set<number>();
      for (const s of steps) {
        const own = touches(s);
        ns += own.twin;
        if ([...s.dims, ...s.buffers.map((r) => r.offset)].some((d) => mentions(d, state.open))) {
          ns += wait();
          state.open.clear();
        }
        for (const b of [...own.reads, ...own.writes]) {
          if (isConst(b) || wanted.has(b) || state.where.get(b) !== 'device') continue;
          wanted.add(b);
          read += onDeviceBytes(buffers.get(b));
          cross(s, onDeviceBytes(buffers.get(b)));
          state.where.set(b, 'both');
        }
        for (const b of own.writes) {
          state.where.set(b, 'twin');
          state.known.add(b);
          writer.set(b, s);
        }
      }
      return wanted.size > 0 ? ns + wait(read) : ns;
    };
    const must = (buffer: number, state: State): number =>
      state.where.get(buffer) !== 'device' || state.known.has(buffer) || isConst(buffer) ? 0 : wait();
    const visit = (steps: readonly Step[], state: State): number => {
      let ns = 0;
      for (let k = 0; k < steps.length; k++) {
        const s = steps[k] as Step;
        if (s.kind === 'kernel') {
          const { steps: list, after } = segmentAt(steps, k);
          for (const phase of phasesOf(list, after, (x) => twin.has(x)))
            ns += phase.twin ? inTwin(phase.steps, state) : phase.steps.reduce((n, x) => n + onDevice(x, state), 0);
          k += list.length - 1;
        } else ns += visitOther(s, state);
      }
      return ns;
    };
    const repeated = (times: number, once: () => number): number => {
      if (times <= 0) return 0;
      const first = once();
      return times === 1 ? first : first + (times - 1) * once();
    };
    const visitOther = (s: Exclude<Step, KernelStep>, state: State): number => {
      switch (s.kind) {
        case 'bind':
          if (state.where.get(s.from.buffer) === 'device' && !state.known.has(s.from.buffer))
            state.open.add(s.sym.name);
          else state.open.delete(s.sym.name);
          return 0;
        case 'if': {
          const ns = must(s.cond.buffer, state);
          const copy: State = { where: new Map(state.where), known: new Set(state.known), open: new Set(state.open) };
          return ns + Math.max(visit(s.then, state), visit(s.else, copy));
        }
        case 'loop': {
          const count = typeof s.count === 'number' ? s.count : USUAL_ROUNDS;
          return repeated(count, () => visit(s.body, state));
        }
        case 'while':
          return repeated(USUAL_ROUNDS, () => visit(s.test, state) + must(s.cond.buffer, state) + visit(s.body, state));
        case 'host': {
          const away = s.inputs.filter((a) => a.dtype !== 'string' && state.where.get(a.ref.buffer) === 'device');
          const bytes = away.reduce((n, a) => n + onDeviceBytes(buffers.get(a.ref.buffer)), 0);
          for (const a of s.outputs) state.where.set(a.ref.buffer, 'both');
          return away.length > 0 ? wait(bytes) : 0;
        }
      }
    };
    let ns = 0;
    let inside = 0;
    const kept = new Map<number, Side>();
    const all: [KernelStep, number][] = [];
    // Twice: state is where the run before left it.
    for (const entry of program.entries)
      for (const measured of [false, true]) {
        waits = 0;
        crossed = new Map();
        const state: State = {
          where: new Map(kept),
          known: new Set(entry.inputs.map((v) => v.buffer)),
          open: new Set(),
        };
        const own = visit(entry.steps, state);
        inside += waits;
        const away = entry.outputs.filter((v) => state.where.get(v.buffer) === 'device');
        const bytes = away.reduce((n, v) => n + onDeviceBytes(buffers.get(v.buffer)), 0);
        if (measured) {
          ns += own + (away.length > 0 ? wait(bytes) : 0);
          all.push(...crossed);
        }
        for (const b of program.buffers) if (b.place.kind === 'state') kept.set(b.id, state.where.get(b.id) ?? 'both');
      }
    return { ns, waits: inside, crossed: new Map(all) };
  };
  return {
    of: (twin) => walk(twin).ns,
    waits: (twin) => walk(twin).waits > 0,
    crossing: (twin) => walk(twin).crossed,
  };
}

const mentions = (dim: Parameters<typeof dimSyms>[0], open: ReadonlySet<string>): boolean =>
  open.size > 0 && [...dimSyms(dim).keys()].some((name) => open.has(name));

const onDeviceBytes = (b: ProgramBuffer | undefined): number =>
  !b || b.dtype === 'string' ? 0 : b.elements * deviceBytes(b.dtype);
