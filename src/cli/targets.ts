// The targets a program can be run on from here, each with how much it wants optimised and how a session is opened.
// Back ends are loaded when first asked for, so that `heddle --help` stays quick.

import { createInterpreter } from '../backends/interp/interpreter.js';
import type { Program, Step } from '../ir/program.js';
import type { Session } from '../runtime/session.js';
import { invariant } from '../support/errors.js';

export const TARGETS = ['interp', 'c', 'wasm'] as const;
export type Target = (typeof TARGETS)[number];

/** Targets that compile writes files for. */
export const ARTIFACT_TARGETS = ['c', 'wasm'] as const;
export type ArtifactTarget = (typeof ARTIFACT_TARGETS)[number];

/** The interpreter runs node by node, so that it stays an oracle for the passes. */
export const optimizeFor = (target: Target): 'none' | 'full' => (target === 'interp' ? 'none' : 'full');

export async function openSession(target: Target, program: Program): Promise<Session> {
  switch (target) {
    case 'interp':
      return createInterpreter(program);
    case 'wasm': {
      const { instantiateWasm } = await import('../backends/wasm/load.js');
      return instantiateWasm(program);
    }
    case 'c': {
      const sessions = await openC([{ name: 'model', program }]);
      const session = sessions.get('model');
      invariant(session, 'the one program was built');
      return session;
    }
  }
}

/** One compiler call for all. */
export async function openC(
  programs: readonly { readonly name: string; readonly program: Program }[],
): Promise<Map<string, Session>> {
  const { buildC } = await import('../backends/c/load-node.js');
  return buildC(programs, {});
}

/** Names of the ops that need a host, each once. */
export function hostOps(program: Program): readonly string[] {
  const found = new Set<string>();
  const visit = (steps: readonly Step[]): void => {
    for (const step of steps) {
      if (step.kind === 'host') found.add(step.op);
      else if (step.kind === 'if') [step.then, step.else].forEach(visit);
      else if (step.kind === 'loop') visit(step.body);
      else if (step.kind === 'while') [step.test, step.body].forEach(visit);
    }
  };
  for (const entry of program.entries) visit(entry.steps);
  return [...found];
}
