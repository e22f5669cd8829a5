// The steps of a program as those of a plan. Kernels between two other steps are free to merge, and to change places where
// they do not need each other: the sides take turns as seldom as that allows (phases.ts).

import type { Kernel } from '../../ir/kernel.js';
import type { HostArg, Step } from '../../ir/program.js';
import { never } from '../../support/errors.js';
import { sizeOfDim } from '../entry-spec.js';
import { draftKernel } from './draft.js';
import { type Merged, mergeDrafts } from './merge.js';
import { dependencies, phasesOf, type Touches } from './phases.js';
import type { GpuHostValue, GpuStep } from './plan-types.js';
import { elementOf, type Planner } from './planner.js';
import { writeModule } from './shader-module.js';
import type { KernelStep } from './steps.js';
import { twinCall } from './twin.js';

export function planSteps(p: Planner, steps: readonly Step[]): readonly GpuStep[] {
  const out: GpuStep[] = [];
  let kernels: KernelStep[] = [];
  const flush = (): void => {
    const after = dependencies(kernels, (s) => touchedBy(p, s));
    for (const phase of phasesOf(kernels, after, (s) => p.placement.has(s))) {
      if (phase.twin) out.push(callTwin(p, phase.steps));
      else out.push(...mergeDrafts(phase.steps.flatMap((s) => draftKernel(p, s))).map((m) => runStep(p, m)));
    }
    kernels = [];
  };
  for (const s of steps) {
    if (s.kind === 'kernel') kernels.push(s);
    else {
      flush();
      out.push(planStep(p, s));
    }
  }
  flush();
  return out;
}

function planStep(p: Planner, s: Exclude<Step, { kind: 'kernel' }>): GpuStep {
  switch (s.kind) {
    case 'bind':
      return {
        do: 'bind',
        sym: { name: s.sym.name, lo: s.sym.lo, hi: s.sym.hi, ...(s.sym.checked ? { checked: true } : {}) },
        from: elementOf(p, s.from),
      };
    case 'if':
      return { do: 'if', cond: elementOf(p, s.cond), then: planSteps(p, s.then), else: planSteps(p, s.else) };
    case 'loop':
      return { do: 'loop', sym: s.sym.name, count: sizeOfDim(s.count), body: planSteps(p, s.body) };
    case 'while':
      return { do: 'while', test: planSteps(p, s.test), cond: elementOf(p, s.cond), body: planSteps(p, s.body) };
    case 'host': {
      p.sources.push([s]);
      const value = (a: HostArg): GpuHostValue => [...elementOf(p, a.ref), a.dtype, a.shape.map(sizeOfDim)];
      return { do: 'host', op: s.op, index: p.hosts++, inputs: s.inputs.map(value), outputs: s.outputs.map(value) };
    }
    default:
      return never(s, 'step');
  }
}

/** What a kernel reads and writes, scratch as both. */
function touchedBy(p: Planner, s: KernelStep): Touches {
  const { params } = p.program.kernels[s.kernel] as Kernel;
  const own = (access: string): readonly number[] =>
    s.buffers.flatMap((r, k) => (params[k]?.access === access ? [r.buffer] : []));
  const both = [...own('readwrite'), ...own('scratch')];
  return { reads: [...own('read'), ...both], writes: [...own('write'), ...both] };
}

/** Constants are the twin's own. */
function callTwin(p: Planner, steps: readonly KernelStep[]): GpuStep {
  const call = twinCall(steps);
  p.sources.push(steps);
  const positions = (list: readonly number[]): number[] =>
    [...new Set(list)].flatMap((id) => {
      const position = p.places.get(id)?.position;
      return position === undefined || p.list[position]?.kind === 'const' ? [] : [position];
    });
  return {
    do: 'twin',
    call: p.calls.push(call) - 1,
    symbols: call.symbols.map((s) => s.name),
    reads: positions(steps.flatMap((s) => touchedBy(p, s).reads)),
    writes: positions(steps.flatMap((s) => touchedBy(p, s).writes)),
  };
}

function runStep(p: Planner, { drafts, placed, buffers }: Merged): GpuStep {
  const { code, swaps, access } = writeModule(placed);
  p.sources.push(drafts.map((d) => d.step));
  let pipeline = p.known.get(code);
  if (pipeline === undefined) {
    const name = drafts.map((d) => d.label).join(' + ');
    pipeline = p.pipelines.push({ name, code, access, ...(swaps ? { subgroups: swaps } : {}) }) - 1;
    p.known.set(code, pipeline);
  }
  const known = drafts.flatMap((d) => d.known);
  const gather = drafts.flatMap((d) => d.gather);
  return {
    do: 'run',
    pipeline,
    buffers,
    parts: drafts.map((d) => d.size),
    ...(known.length > 0 ? { known } : {}),
    ...(gather.length > 0 ? { gather } : {}),
  };
}
