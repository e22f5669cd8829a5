// A tensor module becomes a program: entries' inputs and outputs get buffers, regions become steps, and the planner
// gives every buffer its place. The only way from level one to level two.

import { invariant, never } from '../../support/errors.js';
import type { BufferRef, Program, ProgramEntry, Step } from '../../ir/program.js';
import { countUses } from '../../ir/rewrite.js';
import type { ConstData, Entry, Module, Value } from '../../ir/tensor.js';
import { planMemory } from '../plan-memory.js';
import { createProgramBuilder, type Finish, type ProgramBuilder, resolveRef } from './build.js';
import type { Evaluate } from './fill.js';
import type { lowerGeneric } from './generic.js';
import type { RowSharing } from './row-groups.js';
import { lowerRegion, place, type RegionLowering, storageOf } from './region.js';

export interface LowerOptions {
  readonly numerics: 'fast' | 'strict';
  /** Kernel passes: what a freshly lowered kernel goes through. */
  readonly finish: Finish;
  /** Runs a program without inputs. */
  readonly evaluate: Evaluate;
  readonly generic: typeof lowerGeneric;
  readonly shareRows: RowSharing;
  /** Rows of attention that go side by side; 0: none. */
  readonly attentionBlock: number;
  /** Whether parts of a concat are made where they belong in it, and states read where they are kept. */
  readonly avoidsCopies: boolean;
  /** Whether inputs and outputs lie in the program's memory, and nobody sees an input there once its entry runs. */
  readonly ownsValues: boolean;
}

export function lowerModule(m: Module, options: LowerOptions): Program {
  const p = createProgramBuilder(options.finish, options.evaluate);
  const states = new Map(m.states.map((s) => [s.name, p.newBuffer(s.name, s.type, { kind: 'state', init: s.init })]));
  const consts: RegionLowering['consts'] = new Map();
  const constUses = new Map<ConstData, number>();
  for (const [v, n] of countUses(m))
    if (v.node?.kind === 'const') constUses.set(v.node.data, (constUses.get(v.node.data) ?? 0) + n);
  const drafts = m.entries.map((entry, k) => lowerEntry(entry, k, { ...options, p, states, consts, constUses }));
  const { numerics, ownsValues } = options;
  return planMemory({ name: m.name, numerics, ownsValues, p, entries: drafts.map((d) => resolveEntry(d, p)) });
}

function lowerEntry(entry: Entry, index: number, shared: Omit<RegionLowering, 'storage' | 'places'>): ProgramEntry {
  const { p } = shared;
  const l: RegionLowering = { ...shared, storage: new Map(), places: new Map() };
  const inputs = entry.body.params.map((v, k) => {
    const ref = p.newBuffer(entry.inputNames[k] ?? `input_${k}`, v.type, { kind: 'input', entry: index, index: k });
    l.storage.set(v, ref);
    return { name: entry.inputNames[k] as string, dtype: v.type.dtype, shape: v.type.shape, buffer: ref.buffer };
  });
  const outputs = entry.body.results.map((v, k) => {
    const ref = p.newBuffer(entry.outputNames[k] ?? `output_${k}`, v.type, { kind: 'output', entry: index, index: k });
    return { name: entry.outputNames[k] as string, dtype: v.type.dtype, shape: v.type.shape, buffer: ref.buffer };
  });
  const { steps } = p.nested(() => {
    const region = p.region();
    lowerRegion(l, entry.body);
    const taken = new Set<number>();
    entry.body.results.forEach((v, k) => {
      placeOutput(l, v, { buffer: outputs[k]?.buffer as number, offset: 0 }, region, taken);
    });
  });
  return { name: entry.name, inputs, outputs, steps };
}

const NO_ORIGIN = { op: 'output', node: '', index: -1, path: [] };

function placeOutput(l: RegionLowering, v: Value, to: BufferRef, region: number, taken: Set<number>): void {
  invariant(storageOf(l, v), 'an output has storage');
  place(l, v, to, region, v.node?.origin ?? NO_ORIGIN, taken);
}

/** Replaces references to merged buffers by what they were merged into. */
function resolveEntry(entry: ProgramEntry, p: ProgramBuilder): ProgramEntry {
  return { ...entry, steps: resolveSteps(entry.steps, p.renamed) };
}

function resolveSteps(steps: readonly Step[], renamed: ProgramBuilder['renamed']): readonly Step[] {
  const ref = (r: BufferRef): BufferRef => resolveRef(r, renamed);
  return steps.map((s): Step => {
    switch (s.kind) {
      case 'kernel':
        return { ...s, buffers: s.buffers.map(ref) };
      case 'bind':
        return { ...s, from: ref(s.from) };
      case 'if':
        return { ...s, cond: ref(s.cond), then: resolveSteps(s.then, renamed), else: resolveSteps(s.else, renamed) };
      case 'loop':
        return { ...s, body: resolveSteps(s.body, renamed) };
      case 'while':
        return { ...s, cond: ref(s.cond), test: resolveSteps(s.test, renamed), body: resolveSteps(s.body, renamed) };
      case 'host':
        return {
          ...s,
          inputs: s.inputs.map((a) => ({ ...a, ref: ref(a.ref) })),
          outputs: s.outputs.map((a) => ({ ...a, ref: ref(a.ref) })),
        };
      default:
        return never(s, 'step');
    }
  });
}
