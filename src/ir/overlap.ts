// Which kernel parameters may be `restrict`: those that at no call share memory with another parameter where either is
// written. Ranges are those at the symbols' bounds, so a loop's moving views count with everything they ever cover.

import { bounds, type Dim } from './dim.js';
import type { Kernel } from './kernel.js';
import { type BufferRef, type Program, type ProgramBuffer, spaceOf, type Step } from './program.js';
import { DTYPE_INFO } from '../support/dtype.js';
import { invariant } from '../support/errors.js';

export interface Aliasing {
  readonly restrict: boolean;
  /** Shares memory with a parameter of another element type: the compiler must be told. */
  readonly mixedTypes: boolean;
}

interface Extent {
  readonly space: string;
  readonly from: number;
  readonly to: number;
}

/** Per kernel and parameter. */
export function findAliasing(program: Program): readonly (readonly Aliasing[])[] {
  const buffers = new Map(program.buffers.map((b) => [b.id, b]));
  const found = program.kernels.map((k) => k.params.map(() => ({ restrict: true, mixedTypes: false })));
  for (const entry of program.entries) {
    visitKernelSteps(entry.steps, (step) => {
      const kernel = program.kernels[step.kernel];
      const aliasing = found[step.kernel];
      invariant(kernel && aliasing, `no kernel ${step.kernel}`);
      const extents = step.buffers.map((ref, i) => extentOf(ref, kernel, i, step.sizes?.[i], buffers));
      kernel.params.forEach((p, i) => {
        kernel.params.forEach((q, j) => {
          if (i === j || !overlap(extents[i], extents[j]) || (p.access === 'read' && q.access === 'read')) return;
          const own = aliasing[i];
          if (own) Object.assign(own, { restrict: false, mixedTypes: own.mixedTypes || p.dtype !== q.dtype });
        });
      });
    });
  }
  return found;
}

const overlap = (a: Extent | undefined, b: Extent | undefined): boolean =>
  a !== undefined && b !== undefined && a.space === b.space && a.from < b.to && b.from < a.to;

function extentOf(
  ref: BufferRef,
  kernel: Kernel,
  slot: number,
  size: Dim | undefined,
  buffers: ReadonlyMap<number, ProgramBuffer>,
): Extent {
  const b = buffers.get(ref.buffer);
  const param = kernel.params[slot];
  invariant(b && param, `kernel ${kernel.name} has no parameter ${slot}`);
  const bytes = DTYPE_INFO[b.dtype].bytes;
  const [lo, hi] = bounds(ref.offset);
  const end = Math.min(
    b.elements * bytes,
    hi * bytes + Math.max(0, bounds(size ?? param.size)[1]) * DTYPE_INFO[param.dtype].bytes,
  );
  const base = b.place.offset ?? 0;
  return { space: spaceOf(b) ?? `buffer ${b.id}`, from: base + Math.max(0, lo * bytes), to: base + end };
}

export function visitKernelSteps(steps: readonly Step[], f: (step: Step & { kind: 'kernel' }) => void): void {
  for (const step of steps) {
    if (step.kind === 'kernel') f(step);
    for (const inner of innerSteps(step)) visitKernelSteps(inner, f);
  }
}

export function innerSteps(step: Step): readonly (readonly Step[])[] {
  switch (step.kind) {
    case 'if':
      return [step.then, step.else];
    case 'loop':
      return [step.body];
    case 'while':
      return [step.test, step.body];
    default:
      return [];
  }
}
