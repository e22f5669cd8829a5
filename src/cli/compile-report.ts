// What compiling a model came to: sizes of code, weights and memory, work, and which operators became which kernels.

import { bounds, dimKey, type Sym } from '../ir/dim.js';
import type { Origin, Program, ProgramBuffer, ProgramValue } from '../ir/program.js';
import { checkedSymbols, inputSymbols } from '../backends/entry-spec.js';
import { formatGpuReport, type GpuReport, reportGpu } from '../backends/webgpu/report.js';
import { DTYPE_INFO } from '../support/dtype.js';
import type { Files } from './artifact.js';
import type { Count } from './count-work.js';
import { formatCount, formatTable } from './print.js';
import { hostOps, visitSteps } from './targets.js';

export interface OpRow {
  /** Source operators a kernel computes, joined where fused. */
  readonly op: string;
  readonly kernels: number;
  readonly weightBytes: number;
}

export interface CompileReport {
  readonly target: string;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  readonly codeBytes: number;
  readonly weightBytes: number;
  readonly arenaBytes: number;
  readonly stateBytes: number;
  readonly peak: { readonly bytes: number; readonly node: string; readonly op: string };
  readonly macs: Count;
  readonly kernels: number;
  readonly ops: readonly OpRow[];
  readonly hostOps: readonly string[];
  /** WebGPU: dispatches, pipelines, and what does not run as one would wish. */
  readonly gpu?: GpuReport;
  readonly symbols: readonly Sym[];
  /** Sizes that data decide and that nothing bounds: the bounds assumed, which a run checks. */
  readonly assumed: readonly Sym[];
  readonly entries: readonly {
    readonly name: string;
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
  }[];
}

/** Files that hold code; the others are weights, projects and types. */
const CODE = /\.(c|wasm|mjs)$/;

export const byteLength = (content: string | Uint8Array): number =>
  typeof content === 'string' ? new TextEncoder().encode(content).length : content.length;

export function reportCompile(target: string, program: Program, files: Files, macs: Count): CompileReport {
  const sizes = Object.entries(files).map(([name, content]) => ({ name, bytes: byteLength(content) }));
  const symbols = new Map(program.entries.flatMap(inputSymbols).map((s) => [s.name, s]));
  return {
    target,
    files: sizes,
    codeBytes: sizes.filter((f) => CODE.test(f.name)).reduce((n, f) => n + f.bytes, 0),
    weightBytes: program.weightBytes,
    arenaBytes: program.arenaBytes,
    stateBytes: program.stateBytes,
    peak: { bytes: program.peak.bytes, node: program.peak.origin?.node ?? '', op: program.peak.origin?.op ?? '' },
    macs,
    kernels: program.kernels.length,
    ops: opRows(program),
    hostOps: hostOps(program),
    ...(target === 'webgpu' ? { gpu: reportGpu(program) } : {}),
    symbols: [...symbols.values()],
    assumed: checkedSymbols(program),
    entries: program.entries.map((e) => ({
      name: e.name,
      inputs: e.inputs.map(showValue),
      outputs: e.outputs.map(showValue),
    })),
  };
}

const showValue = (v: ProgramValue): string =>
  `${v.name}: ${v.dtype}[${v.shape.map((d) => (bounds(d)[0] === bounds(d)[1] ? bounds(d)[0] : dimKey(d))).join(', ')}]`;

/** `Conv+Relu`; long chains are cut. */
function labelOf(origins: readonly Origin[]): string {
  const ops = [...new Set(origins.map((o) => o.op))];
  return ops.length > 4 ? `${ops.slice(0, 3).join('+')}+${ops.length - 3} more` : ops.join('+');
}

function opRows(program: Program): readonly OpRow[] {
  const buffers = new Map(program.buffers.map((b) => [b.id, b]));
  const counted = new Set<number>();
  const rows = new Map<string, { op: string; kernels: number; weightBytes: number }>();
  const take = (id: number): number => {
    const b = buffers.get(id);
    if (b?.place.kind !== 'const' || counted.has(id)) return 0;
    counted.add(id);
    return bytesOf(b);
  };
  for (const entry of program.entries)
    visitSteps(entry.steps, (step) => {
      if (step.kind !== 'kernel') return;
      const op = labelOf(step.origins);
      const row = rows.get(op) ?? { op, kernels: 0, weightBytes: 0 };
      row.kernels++;
      for (const ref of step.buffers) row.weightBytes += take(ref.buffer);
      rows.set(op, row);
    });
  return [...rows.values()].sort((a, b) => b.weightBytes - a.weightBytes || b.kernels - a.kernels);
}

const bytesOf = (b: ProgramBuffer): number => b.elements * DTYPE_INFO[b.dtype].bytes;

export function formatReport(r: CompileReport, folder: string): string {
  const peak = r.peak.node || r.peak.op ? ` at ${r.peak.op} "${r.peak.node}"` : '';
  const lines = [
    `${folder}: ${r.files.map((f) => `${f.name} (${formatCount(f.bytes)})`).join(', ')}`,
    `code ${formatCount(r.codeBytes)} bytes, weights ${formatCount(r.weightBytes)}, arena ${formatCount(r.arenaBytes)}, state ${formatCount(r.stateBytes)}`,
    `peak ${formatCount(r.peak.bytes)} bytes${peak}; ${typeof r.macs === 'number' ? formatCount(r.macs) : r.macs} MACs; ${r.kernels} kernels`,
    ...r.entries.map((e) => `entry ${e.name}(${e.inputs.join(', ')}) -> (${e.outputs.join(', ')})`),
    ...r.symbols.map((s) => `size ${s.name}: ${s.lo} to ${s.hi}`),
    ...r.assumed.map((s) => `size ${s.name}, decided by data: assumed ${s.lo} to ${s.hi}, or --dim ${s.name}=0..N`),
    ...(r.gpu ? formatGpuReport(r.gpu) : []),
    ...(r.hostOps.length > 0 ? [`host functions: ${r.hostOps.join(', ')}`] : []),
  ];
  const rows = r.ops.map((o) => [o.op, o.kernels, formatCount(o.weightBytes)]);
  return `${lines.join('\n')}\n\n${formatTable(['operators', 'kernels', 'weight bytes'], rows)}`;
}
