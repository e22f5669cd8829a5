// Steps of a program and those inside them.

import type { Step } from '../../ir/program.js';

export type KernelStep = Step & { kind: 'kernel' };

/** The lists of steps in a step. */
export function nestedSteps(s: Step): readonly (readonly Step[])[] {
  if (s.kind === 'if') return [s.then, s.else];
  if (s.kind === 'loop') return [s.body];
  return s.kind === 'while' ? [s.test, s.body] : [];
}

export const kernelSteps = (steps: readonly Step[]): readonly KernelStep[] =>
  steps.flatMap((s) => (s.kind === 'kernel' ? [s] : nestedSteps(s).flatMap(kernelSteps)));
