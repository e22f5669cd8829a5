// Where a profiling build looks at the clock: before and after every kernel and host step. Each is a point with a
// number; builds call out with the number before the step and with NO_POINT after it. Normal builds have no such calls.

import type { Program, Step } from '../ir/program.js';

export type ProfiledStep = Extract<Step, { kind: 'kernel' | 'host' }>;

/** What is called with, once a step is over. */
export const NO_POINT = -1;

/** A look at the clock; `at` is in milliseconds from some start. */
export interface Mark {
  readonly point: number;
  readonly at: number;
}

/** Kernel and host steps of all entries; the position is the point's number. */
export function profilePoints(program: Program): readonly ProfiledStep[] {
  const found = new Set<ProfiledStep>();
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.kind === 'kernel' || s.kind === 'host') found.add(s);
      else if (s.kind === 'if') [s.then, s.else].forEach(visit);
      else if (s.kind === 'loop') visit(s.body);
      else if (s.kind === 'while') [s.test, s.body].forEach(visit);
    }
  };
  for (const e of program.entries) visit(e.steps);
  return [...found];
}
