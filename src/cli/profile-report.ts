// Profiles for people and tools: a table under the model's own node names, JSON rows, and a trace that Chrome and Perfetto
// open. profile.ts makes the events, profile-work.ts says how much work each step is.

import type { ProfiledStep } from '../backends/profile-points.js';
import type { Origin, Program } from '../ir/program.js';
import { invariant } from '../support/errors.js';
import { median } from './bench/measure.js';
import { firstLine, formatTable } from './print.js';
import type { ProfileEvent, ProfilePoint } from './profile.js';
import { countWork, type Sizes } from './profile-work.js';

export interface ProfileRow {
  /** The model's names of the nodes it computes, and their operators. */
  readonly node: string;
  readonly op: string;
  readonly kernel: string;
  /** In one run. */
  readonly calls: number;
  readonly ms: number;
  /** Of all steps' time. */
  readonly share: number;
  /** Arithmetic on values in one run, an estimate from the kernel's loops: a multiply-accumulate is two. */
  readonly operations: number;
  /** Of all buffers the kernel is given, in one run. */
  readonly bytes: number;
}

/** The best a machine does on a target. */
export interface Peak {
  /** In 10⁹ a second. */
  readonly operations: number;
  readonly bytes: number;
}

/** Rows by time, longest first; times are medians over the runs, as a busy machine lengthens some. */
export function profileTable(
  program: Program,
  points: readonly ProfilePoint[],
  runs: readonly (readonly ProfileEvent[])[],
  sizes: Sizes,
): readonly ProfileRow[] {
  const totals = points.map(() => ({ calls: 0, ms: runs.map(() => 0) }));
  runs.forEach((events, run) => {
    for (const { point, start, end } of events) {
      const total = totals[point];
      invariant(total, `there is no step ${point}`);
      total.calls++;
      total.ms[run] = (total.ms[run] ?? 0) + end - start;
    }
  });
  const times = totals.map((t) => ({ calls: t.calls, ms: median(t.ms) }));
  const all = times.reduce((sum, t) => sum + t.ms, 0);
  const counted = new Set<ProfiledStep>(); // one that runs in pieces is worth its work once
  return points
    .map((steps, i): ProfileRow => {
      const { calls, ms } = times[i] as { calls: number; ms: number };
      const work = steps.filter((s) => !counted.has(s)).map((s) => countWork(program, s, sizes));
      for (const s of steps) counted.add(s);
      const total = (of: 'operations' | 'bytes'): number => work.reduce((n, w) => n + w[of], 0);
      const perRun = calls / runs.length;
      return {
        ...describePoint(program, steps),
        calls: perRun,
        ms,
        share: all > 0 ? ms / all : 0,
        operations: total('operations') * perRun,
        bytes: total('bytes') * perRun,
      };
    })
    .filter((row) => row.calls > 0)
    .sort((a, b) => b.ms - a.ms);
}

/** Steps that run as one, in the model's words. */
function describePoint(
  program: Program,
  steps: ProfilePoint,
): { readonly node: string; readonly op: string; readonly kernel: string } {
  const origins = [...new Set(steps.flatMap((s) => s.origins))];
  const kernels = steps.map((s) => (s.kind === 'kernel' ? (program.kernels[s.kernel]?.name ?? '') : `host ${s.op}`));
  const ops = [...new Set(origins.map((o) => o.op))];
  const nodes = [...new Set(origins.map(nodeName))];
  return { node: shorten(nodes), op: shorten(ops, '+'), kernel: [...new Set(kernels)].join(' + ') };
}

const nodeName = (o: Origin): string => [...o.path, o.node].join('/');

const shorten = (names: readonly string[], separator = ', '): string =>
  names.length > 3 ? `${names.slice(0, 2).join(separator)}${separator}${names.length - 2} more` : names.join(separator);

/** Some models' node names are paragraphs; JSON has them whole. */
const NODE_WIDTH = 60;

export function formatProfile(rows: readonly ProfileRow[], peak: Peak): string {
  const cells = rows.map((r) => [
    firstLine(r.node, NODE_WIDTH),
    r.op,
    Number.isInteger(r.calls) ? r.calls : r.calls.toFixed(1),
    Number(r.ms.toPrecision(4)),
    `${(100 * r.share).toFixed(1)} %`.padStart(7),
    perSecond(r.operations, r.ms),
    perSecond(r.bytes, r.ms),
    `${(100 * shareOfPeak(r, peak)).toFixed(0)} %`.padStart(7),
  ]);
  return formatTable(['node', 'op', 'calls', 'ms', '  share', 'Gop/s', 'GB/s', 'of peak'], cells);
}

/** In units of 10⁹ a second. */
const perSecond = (amount: number, ms: number): number => (ms > 0 ? Number((amount / ms / 1e6).toPrecision(3)) : 0);

/** The better of what is known and what these rows reach: a step may do better than the reference. */
export function bestOf(rows: readonly ProfileRow[], known: Peak): Peak {
  const best = (of: (r: ProfileRow) => number): number =>
    Math.max(0, ...rows.map((r) => (r.ms > 0 ? of(r) / r.ms / 1e6 : 0)));
  return {
    operations: Math.max(
      known.operations,
      best((r) => r.operations),
    ),
    bytes: Math.max(
      known.bytes,
      best((r) => r.bytes),
    ),
  };
}

/** The share of the machine's best that a step comes to: of its arithmetic or of its memory, whichever is more. */
export const shareOfPeak = (r: ProfileRow, peak: Peak): number =>
  r.ms > 0 ? Math.max(r.operations / peak.operations, r.bytes / peak.bytes) / r.ms / 1e6 : 0;

/** The trace format of Chrome's own viewer and of Perfetto: one complete event a step. */
export function chromeTrace(
  program: Program,
  points: readonly ProfilePoint[],
  runs: readonly (readonly ProfileEvent[])[],
): string {
  const first = runs[0]?.[0]?.start ?? 0;
  const traceEvents = runs.flat().map(({ point, start, end }) => {
    const steps = points[point];
    invariant(steps, `there is no step ${point}`);
    const { node, op, kernel } = describePoint(program, steps);
    const times = { ts: (start - first) * 1000, dur: (end - start) * 1000 };
    return { name: node || kernel, cat: op, ph: 'X', pid: 1, tid: 1, ...times, args: { op, kernel } };
  });
  return JSON.stringify({ traceEvents, displayTimeUnit: 'ms' });
}
