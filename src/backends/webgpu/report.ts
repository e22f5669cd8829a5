// What a plan comes to, for people: dispatches and pipelines, bytes, and everything that is not as one would wish on a
// GPU, by name: single invocations, waits for the device, 64-bit floats held in 32 bits, kernels in the WebAssembly twin.

import type { Program } from '../../ir/program.js';
import { never } from '../../support/errors.js';
import type { Placement } from './placement.js';
import type { GpuPlan, GpuSize, GpuStep } from './plan-types.js';
import { planProgram } from './plan.js';
import { WORKGROUP } from './shader-module.js';
import { kernelSteps } from './steps.js';

export interface GpuReport {
  /** By entry, with every size at its bound; the body of a `while` counts once. */
  readonly entries: readonly {
    readonly name: string;
    readonly dispatches: number;
    /** What dispatches and copies read and write if each touches every element of its operands once. */
    readonly bytesMoved: number;
    /** Waits for the device within a run, at most: what the host knows already is not read back. */
    readonly readbacks: number;
    /** Loops whose condition only the device knows: one of these waits each round. */
    readonly roundWaits: number;
  }[];
  readonly pipelines: number;
  readonly workgroupSizes: readonly string[];
  readonly deviceBytes: number;
  readonly needs: GpuPlan['needs'];
  /** Kernels that run as one invocation. */
  readonly serial: readonly string[];
  /** Kernels that write elements of 8 or 16 bits by atomics, as several invocations write into a word. */
  readonly atomics: readonly string[];
  /** Values that the model holds in f64 and the device in f32. */
  readonly narrowed: readonly string[];
  /** What the WebAssembly twin runs, and the bytes of its module. */
  readonly twin: {
    readonly bytes: number;
    readonly kernels: readonly TwinKernel[];
  };
}

export interface TwinKernel {
  readonly kernel: string;
  /** Of the model. */
  readonly nodes: readonly string[];
  readonly reason: string;
  /** That cross between device and twin for it in a run, at most. */
  readonly bytes: number;
}

interface Count {
  dispatches: number;
  bytesMoved: number;
  readbacks: number;
  roundWaits: number;
}

export function reportGpu(program: Program): GpuReport {
  const { plan, placement, twin } = planProgram(program);
  const serial = new Set<string>();
  const entries = plan.entries.map((e) => {
    const known = [...e.inputs.map((v) => v.buffer), ...plan.buffers.flatMap((b, k) => (isHeldTwice(b) ? [k] : []))];
    return { name: e.name, ...countSteps({ plan, inTwin: new Set(known), open: new Set(), serial }, e.steps) };
  });
  const sizes = new Set(plan.pipelines.map((p) => /@workgroup_size\(([^)]*)\)/.exec(p.code)?.[1] ?? ''));
  return {
    entries,
    pipelines: plan.pipelines.length,
    workgroupSizes: [...sizes].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)),
    deviceBytes: deviceBytesOf(plan),
    needs: plan.needs,
    serial: [...serial],
    atomics: plan.pipelines.flatMap((p) => (p.code.includes('array<atomic<') ? [p.name] : [])),
    narrowed: narrowedBuffers(program, placement),
    twin: {
      bytes: twin?.length ?? 0,
      kernels: [...placement].map(([s, { reason, bytes }]) => ({
        kernel: program.kernels[s.kernel]?.name ?? '',
        nodes: s.origins.flatMap((o) => [o, ...(o.also ?? [])]).map((o) => o.node || o.op),
        reason,
        bytes,
      })),
    },
  };
}

/** Bytes of a plan's buffers on the device. */
export const deviceBytesOf = (plan: GpuPlan): number =>
  plan.buffers.reduce((n, b) => (b.kind === 'twin' ? n : n + b.bytes), 0);

/** Values of f64 that a kernel on the device computes with. */
function narrowedBuffers(program: Program, placement: Placement): readonly string[] {
  const there = program.entries
    .flatMap((e) => kernelSteps(e.steps))
    .filter((s) => !placement.has(s))
    .flatMap((s) => s.buffers.map((r) => r.buffer));
  const used = new Set(there);
  return program.buffers.filter((b) => b.dtype === 'f64' && b.elements > 0 && used.has(b.id)).map((b) => b.name);
}

/** At first nothing of it is anywhere. */
const isHeldTwice = (b: GpuPlan['buffers'][number]): boolean => b.kind === 'value' && b.twin !== undefined;

/** Where the contents of buffers are as the steps go by, as far as that decides about waits. */
interface Tracked {
  readonly plan: GpuPlan;
  /** Buffers in both places whose contents the twin has. */
  readonly inTwin: Set<number>;
  /** Sizes whose values are on the device. */
  readonly open: Set<string>;
  readonly serial: Set<string>;
}

const NONE: Count = { dispatches: 0, bytesMoved: 0, readbacks: 0, roundWaits: 0 };
const WAIT: Count = { ...NONE, readbacks: 1 };

function isAway(t: Tracked, buffer: number): boolean {
  const b = t.plan.buffers[buffer];
  return b?.kind !== 'twin' && b?.kind !== 'const' && !t.inTwin.has(buffer);
}

/** A wait for sizes that are open, if these mention some. */
function settle(t: Tracked, sizes: readonly GpuSize[]): Count {
  const isOpen = (s: GpuSize): boolean =>
    typeof s === 'string' ? t.open.has(s) : typeof s === 'object' && s.slice(1).some((x) => isOpen(x as GpuSize));
  if (!sizes.some(isOpen)) return NONE;
  t.open.clear();
  return WAIT;
}

function countSteps(t: Tracked, steps: readonly GpuStep[]): Count {
  const total: Count = { ...NONE };
  for (const s of steps) addTo(total, countStep(t, s));
  return total;
}

function addTo(total: Count, c: Count, times = 1): Count {
  total.dispatches += times * c.dispatches;
  total.bytesMoved += times * c.bytesMoved;
  total.readbacks += times * c.readbacks;
  total.roundWaits += c.roundWaits;
  return total;
}

const sum = (...counts: readonly Count[]): Count => counts.reduce((all, c) => addTo(all, c), { ...NONE });

function countStep(t: Tracked, s: GpuStep): Count {
  const { plan } = t;
  switch (s.do) {
    case 'bind':
      if (isAway(t, s.from[0])) t.open.add(s.sym.name);
      else t.open.delete(s.sym.name);
      return NONE;
    case 'run': {
      if (s.parts.some((x) => x.count === null)) t.serial.add(plan.pipelines[s.pipeline]?.name ?? '');
      s.buffers.forEach((b, k) => void (plan.pipelines[s.pipeline]?.access[k] === 'write' && t.inTwin.delete(b)));
      return { ...NONE, dispatches: 1, bytesMoved: movedBytes(s) };
    }
    case 'twin': {
      const known = settle(t, s.symbols);
      const away = s.reads.some((b) => isAway(t, b));
      for (const b of [...s.reads, ...s.writes]) t.inTwin.add(b);
      return away ? sum(known, WAIT) : known;
    }
    case 'loop': {
      const known = settle(t, [s.count]);
      const first = countSteps(t, s.body);
      const times = typeof s.count === 'number' ? s.count : 1;
      return times > 1 ? addTo(sum(known, first), countSteps(t, s.body), times - 1) : sum(known, first);
    }
    case 'if': {
      const known = isAway(t, s.cond[0]) ? WAIT : NONE;
      const other: Tracked = { ...t, inTwin: new Set(t.inTwin), open: new Set(t.open) };
      return sum(known, worse(countSteps(t, s.then), countSteps(other, s.else)));
    }
    case 'while': {
      const test = countSteps(t, s.test);
      return sum(test, isAway(t, s.cond[0]) ? { ...WAIT, roundWaits: 1 } : NONE, countSteps(t, s.body));
    }
    case 'host': {
      const away = s.inputs.some(([b, , dtype]) => dtype !== 'string' && isAway(t, b));
      for (const [b] of s.outputs) if (plan.buffers[b]?.twin !== undefined) t.inTwin.add(b);
      return away
        ? WAIT
        : settle(
            t,
            s.inputs.flatMap(([, , , shape]) => shape),
          );
    }
    default:
      return never(s, 'step');
  }
}

const movedBytes = (s: GpuStep & { do: 'run' }): number =>
  s.parts.reduce((n, p) => n + p.bytes, 0) + (s.gather ?? []).reduce((n, [, , , bytes]) => n + 2 * bytes, 0);

const worse = (a: Count, b: Count): Count => ({
  dispatches: Math.max(a.dispatches, b.dispatches),
  bytesMoved: Math.max(a.bytesMoved, b.bytesMoved),
  readbacks: Math.max(a.readbacks, b.readbacks),
  roundWaits: Math.max(a.roundWaits, b.roundWaits),
});

/** The report as lines of text. */
export function formatGpuReport(r: GpuReport): readonly string[] {
  const count = (n: number): string => n.toLocaleString('en-US');
  const list = (names: readonly string[]): string =>
    names.slice(0, 8).join(', ') + (names.length > 8 ? ` and ${names.length - 8} more` : '');
  return [
    ...r.entries.map(
      (e) =>
        `entry ${e.name}: ${e.dispatches} dispatches, ${count(e.bytesMoved)} bytes moved, ${e.readbacks ? `at most ${e.readbacks}` : 'no'} readbacks a run${e.roundWaits ? `, and one each round of ${e.roundWaits} loops` : ''}`,
    ),
    `${r.pipelines} pipelines, workgroups of ${r.workgroupSizes.map((s) => `(${s})`).join(' and ') || WORKGROUP}; ${count(r.deviceBytes)} bytes on the device`,
    `needs ${r.needs.storageBuffers} storage buffers a stage, bindings of ${count(r.needs.bindingBytes)} bytes`,
    ...(r.serial.length > 0 ? [`one invocation: ${list(r.serial)}`] : []),
    ...(r.atomics.length > 0 ? [`narrow results by atomics: ${list(r.atomics)}`] : []),
    ...r.twin.kernels.map(
      (k) => `in the WebAssembly twin: ${k.kernel} (${list(k.nodes)}), ${count(k.bytes)} bytes cross: ${k.reason}`,
    ),
    ...(r.narrowed.length > 0 ? [`f64 held in f32: ${list(r.narrowed)}`] : []),
  ];
}
