// A program as device buffers (buffers.ts), pipelines and steps (plan-steps.ts). Kernels that do not need each other are one
// dispatch (merge.ts), those placed in the twin (placement.ts) one call. Kernels that differ only in how they are bound are
// pipelines of their own; equal texts are one pipeline.

import type { Program, Step } from '../../ir/program.js';
import { CompileError, invariant } from '../../support/errors.js';
import { describeEntry } from '../entry-spec.js';
import type { ProfiledStep } from '../profile-points.js';
import { BINDING_BYTES, placeBuffers } from './buffers.js';
import { draftKernel } from './draft.js';
import { type Placement, placeKernels } from './placement.js';
import { planSteps } from './plan-steps.js';
import type { GpuBufferPlan, GpuPlan, GpuStep } from './plan-types.js';
import { placeOf, type Planner } from './planner.js';
import { shareBuffers } from './share-buffers.js';
import { shareParts } from './share-parts.js';
import { WORKGROUP } from './shader-module.js';
import { sizeShader } from './size-shader.js';
import { type KernelStep, kernelSteps, nestedSteps } from './steps.js';
import { emitTwin } from './twin.js';

export interface CompiledPlan {
  readonly plan: GpuPlan;
  /** What `data` of the plan's buffers points into. */
  readonly weights: Uint8Array;
  readonly placement: Placement;
  /** The module of the twin, which exports `call_N` and imports its memory; null where nothing is placed there. */
  readonly twin: Uint8Array | null;
  /** For each of `computingSteps` of the plan, the steps of the program it is. */
  readonly sources: readonly (readonly ProfiledStep[])[];
}

/** Dispatches, calls of the twin and of the host, in the order in which they stand in the plan. */
export function computingSteps(steps: readonly GpuStep[]): readonly GpuStep[] {
  return steps.flatMap((s): readonly GpuStep[] => {
    if (s.do === 'if') return computingSteps([...s.then, ...s.else]);
    if (s.do === 'loop') return computingSteps(s.body);
    if (s.do === 'while') return computingSteps([...s.test, ...s.body]);
    return s.do === 'bind' ? [] : [s];
  });
}

export interface PlanOptions {
  /** Constants lie in buffers of at most so many bytes, or one of their own. */
  readonly most?: number;
  /** Decides what the twin runs; `refused` are the steps that it must. */
  readonly place?: (program: Program, refused: ReadonlyMap<KernelStep, string>) => Placement;
}

/** Throws E301 with every kernel the target cannot express. */
export function planProgram(program: Program, options: PlanOptions = {}): CompiledPlan {
  const { most = BINDING_BYTES, place = placeKernels } = options;
  const refused = new Map<KernelStep, string>();
  for (;;) {
    const known = refused.size;
    const planned = planPlaced(program, place(program, refused), refused, most);
    if (planned) return planned;
    invariant(refused.size > known, 'another plan is tried only for another reason');
  }
}

/** null where more kernels turn out to be the twin's: they are in `refused` then. */
function planPlaced(
  program: Program,
  placement: Placement,
  refused: Map<KernelStep, string>,
  most: number,
): CompiledPlan | null {
  const { list, weights, places } = placeBuffers(program, idleBuffers(program, placement), most);
  const p: Planner = {
    program,
    placement,
    places,
    list,
    pieces: new Map(),
    pipelines: [],
    known: new Map(),
    parts: new Map(),
    pools: new Map(),
    calls: [],
    sources: [],
    hosts: 0,
  };
  if (!draftAll(p, refused)) return null;
  p.parts = shareParts(p.parts);
  const planned = program.entries.map((entry) => {
    const spec = describeEntry(entry);
    const bufferOf = (id: number): number => placeOf(p, id).position;
    return {
      name: entry.name,
      symbols: spec.symbols,
      inputs: spec.inputs.map((v, k) => ({ ...v, buffer: bufferOf(entry.inputs[k]?.buffer as number) })),
      outputs: spec.outputs.map((v, k) => ({ ...v, buffer: bufferOf(entry.outputs[k]?.buffer as number) })),
      steps: planSteps(p, entry.steps),
    };
  });
  const all = [
    ...list,
    ...[...p.pools.values()].map(({ bytes }): GpuBufferPlan => ({ dtype: 'u8', bytes, kind: 'value' })),
  ];
  const { buffers, entries, numberOf } = shareBuffers(all, planned);
  const positionOf = (id: number): number => numberOf(placeOf(p, id).position);
  const twin = p.calls.length > 0 ? emitTwin(program, p.calls, buffers, positionOf) : null;
  const needs = {
    storageBuffers: Math.max(0, ...p.pipelines.map((x) => x.access.length)),
    bindingBytes: Math.max(0, ...buffers.map((b) => b.bytes)),
    invocations: Math.max(WORKGROUP, ...[...p.parts.values()].map((x) => x.grid?.lanes ?? 0)),
  };
  const held = buffers.map((b, k): GpuBufferPlan => {
    const address = twin?.addresses.get(k);
    return address === undefined ? b : { ...b, twin: address };
  });
  const sizes = program.entries.some((e) => hasBind(e.steps)) ? { sizes: sizeShader(WORKGROUP) } : {};
  const pages = twin ? { twinPages: twin.pages } : {};
  const plan = { buffers: held, pipelines: p.pipelines, entries, ...pages, ...sizes, needs };
  return { plan, weights, placement, twin: twin?.module ?? null, sources: p.sources };
}

const hasBind = (steps: readonly Step[]): boolean =>
  steps.some((s) => s.kind === 'bind' || nestedSteps(s).some(hasBind));

/** Whether a buffer is mentioned by kernels of the twin and by nothing else. */
function idleBuffers(program: Program, placement: Placement): (id: number) => boolean {
  const twin = new Set([...placement.keys()].flatMap((s) => s.buffers.map((r) => r.buffer)));
  const elsewhere = new Set<number>();
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.kind === 'kernel' && !placement.has(s)) for (const r of s.buffers) elsewhere.add(r.buffer);
      if (s.kind === 'bind') noteConstant(s.from.buffer);
      if (s.kind === 'if' || s.kind === 'while') noteConstant(s.cond.buffer);
      if (s.kind === 'host') for (const a of [...s.inputs, ...s.outputs]) noteConstant(a.ref.buffer);
      nestedSteps(s).forEach(visit);
    }
  };
  const constants = new Set(program.buffers.filter((b) => b.place.kind === 'const').map((b) => b.id));
  /** The host reads and writes values in the twin as well as on the device, but knows constants from their file. */
  const noteConstant = (id: number): void => void (constants.has(id) && elsewhere.add(id));
  for (const e of program.entries) visit(e.steps);
  return (id) => twin.has(id) && !elsewhere.has(id);
}

/** Every part there will be, before any is used. False where a kernel that has a twin turns out to be beyond the device. */
function draftAll(p: Planner, refused: Map<KernelStep, string>): boolean {
  let isWhole = true;
  for (const s of p.program.entries.flatMap((e) => kernelSteps(e.steps))) {
    if (p.placement.has(s)) continue;
    try {
      draftKernel(p, s);
    } catch (error) {
      if (!(error instanceof CompileError) || !p.program.kernels[s.kernel]?.twin) throw error;
      refused.set(s, error.problems.map((x) => x.message).join('; '));
      isWhole = false;
    }
  }
  return isWhole;
}

/** E302 where a device of these limits cannot run the plan. */
export function checkLimits(
  plan: GpuPlan,
  limits: {
    readonly maxStorageBuffersPerShaderStage: number;
    readonly maxStorageBufferBindingSize: number;
    readonly maxComputeInvocationsPerWorkgroup: number;
  },
): void {
  const { storageBuffers, bindingBytes, invocations } = plan.needs;
  if (invocations > limits.maxComputeInvocationsPerWorkgroup)
    throw new CompileError(
      'E302',
      `a workgroup has ${invocations} invocations, this device allows ${limits.maxComputeInvocationsPerWorkgroup}`,
    );
  if (storageBuffers > limits.maxStorageBuffersPerShaderStage)
    throw new CompileError(
      'E302',
      `a kernel binds ${storageBuffers} buffers, this device allows ${limits.maxStorageBuffersPerShaderStage}`,
    );
  if (bindingBytes > limits.maxStorageBufferBindingSize)
    throw new CompileError(
      'E302',
      `a buffer has ${bindingBytes} bytes, this device binds at most ${limits.maxStorageBufferBindingSize}`,
    );
}
