// What a plan comes to, for people: dispatches and pipelines, bytes, and everything that is not as one would wish on a
// GPU, by name: single invocations, waits for the device, 64-bit floats held in 32 bits, host steps.

import type { Program } from '../../ir/program.js';
import type { GpuPlan, GpuStep } from './plan-types.js';
import { planProgram } from './plan.js';
import { WORKGROUP } from './shader-module.js';

export interface GpuReport {
  /** By entry, with every size at its bound; the body of a `while` counts once. */
  readonly entries: readonly {
    readonly name: string;
    readonly dispatches: number;
    /** What dispatches and copies read and write if each touches every element of its operands once. */
    readonly bytesMoved: number;
    /** Waits for the device within a run, at most: a number the host knows already is not read back. */
    readonly readbacks: number;
  }[];
  readonly pipelines: number;
  readonly workgroupSizes: readonly string[];
  readonly deviceBytes: number;
  readonly needs: GpuPlan['needs'];
  /** Kernels that run as one invocation. */
  readonly serial: readonly string[];
  /** Values that the model holds in f64 and this target in f32. */
  readonly narrowed: readonly string[];
}

interface Count {
  dispatches: number;
  bytesMoved: number;
  readbacks: number;
}

export function reportGpu(program: Program): GpuReport {
  const { plan } = planProgram(program);
  const serial = new Set<string>();
  const entries = plan.entries.map((e) => ({ name: e.name, ...countSteps(plan, e.steps, serial) }));
  const sizes = new Set(plan.pipelines.map((p) => /@workgroup_size\(([^)]*)\)/.exec(p.code)?.[1] ?? ''));
  return {
    entries,
    pipelines: plan.pipelines.length,
    workgroupSizes: [...sizes].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)),
    deviceBytes: plan.buffers.reduce((n, b) => n + b.bytes, 0),
    needs: plan.needs,
    serial: [...serial],
    narrowed: program.buffers.filter((b) => b.dtype === 'f64' && b.elements > 0).map((b) => b.name),
  };
}

function countSteps(plan: GpuPlan, steps: readonly GpuStep[], serial: Set<string>): Count {
  const total: Count = { dispatches: 0, bytesMoved: 0, readbacks: 0 };
  const add = (c: Count, times = 1): void => {
    total.dispatches += times * c.dispatches;
    total.bytesMoved += times * c.bytesMoved;
    total.readbacks += times * c.readbacks;
  };
  const wait = { dispatches: 0, bytesMoved: 0, readbacks: 1 };
  for (const [k, s] of steps.entries()) {
    switch (s.do) {
      case 'bind':
        if (steps[k - 1]?.do !== 'bind') add(wait); // read together
        break;
      case 'run':
        add({ dispatches: 1, bytesMoved: movedBytes(s), readbacks: 0 });
        if (s.parts.some((x) => x.count === null)) serial.add(plan.pipelines[s.pipeline]?.name ?? '');
        break;
      case 'loop':
        add(countSteps(plan, s.body, serial), typeof s.count === 'number' ? s.count : 1);
        break;
      case 'if':
        add(wait);
        add(worse(countSteps(plan, s.then, serial), countSteps(plan, s.else, serial)));
        break;
      case 'while':
        add(wait);
        add(countSteps(plan, s.test, serial));
        add(countSteps(plan, s.body, serial));
        break;
      default:
        add(wait);
    }
  }
  return total;
}

const movedBytes = (s: GpuStep & { do: 'run' }): number =>
  s.parts.reduce((n, p) => n + p.bytes, 0) + (s.gather ?? []).reduce((n, [, , , bytes]) => n + 2 * bytes, 0);

const worse = (a: Count, b: Count): Count => ({
  dispatches: Math.max(a.dispatches, b.dispatches),
  bytesMoved: Math.max(a.bytesMoved, b.bytesMoved),
  readbacks: Math.max(a.readbacks, b.readbacks),
});

/** The report as lines of text. */
export function formatGpuReport(r: GpuReport): readonly string[] {
  const count = (n: number): string => n.toLocaleString('en-US');
  const list = (names: readonly string[]): string =>
    names.slice(0, 8).join(', ') + (names.length > 8 ? ` and ${names.length - 8} more` : '');
  return [
    ...r.entries.map(
      (e) =>
        `entry ${e.name}: ${e.dispatches} dispatches, ${count(e.bytesMoved)} bytes moved, ${e.readbacks ? `at most ${e.readbacks}` : 'no'} readbacks a run`,
    ),
    `${r.pipelines} pipelines, workgroups of ${r.workgroupSizes.map((s) => `(${s})`).join(' and ') || WORKGROUP}; ${count(r.deviceBytes)} bytes on the device`,
    `needs ${r.needs.storageBuffers} storage buffers a stage, bindings of ${count(r.needs.bindingBytes)} bytes`,
    ...(r.serial.length > 0 ? [`one invocation: ${list(r.serial)}`] : []),
    ...(r.narrowed.length > 0 ? [`f64 held in f32: ${list(r.narrowed)}`] : []),
  ];
}
