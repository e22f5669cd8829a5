// Kernels between two other steps, put in an order in which the sides take turns as seldom as their needs allow: each
// crossing may be a wait. Only the order of independent work changes.

import type { KernelStep } from './steps.js';

export interface Touches {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

export interface Phase {
  readonly twin: boolean;
  readonly steps: readonly KernelStep[];
}

/** For each step the earlier ones it must follow, by position. */
export function dependencies(steps: readonly KernelStep[], touches: (s: KernelStep) => Touches): readonly number[][] {
  const wrote = new Map<number, number>();
  const reading = new Map<number, number[]>();
  return steps.map((s, k) => {
    const { reads, writes } = touches(s);
    const before = [
      ...[...reads, ...writes].flatMap((b) => wrote.get(b) ?? []),
      ...writes.flatMap((b) => reading.get(b) ?? []),
    ];
    for (const b of writes) {
      wrote.set(b, k);
      reading.set(b, []);
    }
    for (const b of reads) reading.set(b, [...(reading.get(b) ?? []), k]);
    return [...new Set(before)].filter((j) => j !== k);
  });
}

/** Starts with the side that has more to do at once where both could: the twin, unless it must wait. */
export function phasesOf(
  steps: readonly KernelStep[],
  after: readonly number[][],
  isTwin: (s: KernelStep) => boolean,
): readonly Phase[] {
  const all = steps.map(isTwin);
  if (all.every((t) => t === all[0])) return steps.length > 0 ? [{ twin: all[0] as boolean, steps }] : [];
  const [a, b] = [alternate(steps, after, all, true), alternate(steps, after, all, false)];
  return b.length < a.length ? b : a;
}

function alternate(
  steps: readonly KernelStep[],
  after: readonly number[][],
  sides: readonly boolean[],
  first: boolean,
): readonly Phase[] {
  const done = new Set<number>();
  const phases: Phase[] = [];
  for (let twin = first; done.size < steps.length; twin = !twin) {
    const taken: KernelStep[] = [];
    steps.forEach((s, k) => {
      if (done.has(k) || sides[k] !== twin || !(after[k] ?? []).every((j) => done.has(j))) return;
      done.add(k);
      taken.push(s);
    });
    if (taken.length > 0) phases.push({ twin, steps: taken });
  }
  return phases;
}
