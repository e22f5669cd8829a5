// The targets a program can be run on from here, each with how much it wants optimised and how a session is opened.
// Back ends are loaded when first asked for, so that `heddle --help` stays quick.

import type { BuildCOptions, CSession, NamedProgram } from '../backends/c/load-node.js';
import { createInterpreter } from '../backends/interp/interpreter.js';
import { TARGETS, type Target } from '../compile.js';
import type { Program, Step } from '../ir/program.js';
import type { Session } from '../runtime/session.js';
import { invariant } from '../support/errors.js';

export { TARGETS };
export type { Target };

/** What commands look at unless told otherwise: webgpu needs a device, so it is asked for by name. */
export const CPU_TARGETS = ['interp', 'c', 'wasm'] as const satisfies readonly Target[];

/** Targets that compile writes files for. */
export const ARTIFACT_TARGETS = ['c', 'wasm', 'webgpu'] as const;
export type ArtifactTarget = (typeof ARTIFACT_TARGETS)[number];

export async function openSession(target: Target, program: Program): Promise<Session> {
  switch (target) {
    case 'interp':
      return createInterpreter(program);
    case 'wasm': {
      const { instantiateWasm } = await import('../backends/wasm/load.js');
      return instantiateWasm(program);
    }
    case 'c': {
      const sessions = await openC([{ name: 'model', program }], {});
      const session = sessions.get('model');
      invariant(session, 'the one program was built');
      return session;
    }
    case 'webgpu': {
      const [{ createWebGpuSession }, { sharedDevice }] = await Promise.all([
        import('../backends/webgpu/session.js'),
        import('../backends/webgpu/device-node.js'),
      ]);
      return createWebGpuSession(program, await sharedDevice());
    }
  }
}

/** One compiler call for all. */
export async function openC(programs: readonly NamedProgram[], options: BuildCOptions): Promise<Map<string, CSession>> {
  const { buildC } = await import('../backends/c/load-node.js');
  return buildC(programs, options);
}

/** What a target's floats may differ by whatever a case says: a GPU's arithmetic is no closer. */
export const leastTolerance = (target: Target): { readonly rtol: number; readonly atol: number } | undefined =>
  target === 'webgpu' ? { rtol: 2e-3, atol: 1e-4 } : undefined;

/** Throws what emitting C would throw, before a batch is built. */
export async function refuseForC(program: Program): Promise<void> {
  if (hostOps(program).length === 0) return;
  const { emitC } = await import('../backends/c/emit.js');
  emitC(program, { extern: true });
}

type HostStep = Extract<Step, { kind: 'host' }>;

/** Every step only a host can run. */
export function hostSteps(program: Program): readonly HostStep[] {
  const found: HostStep[] = [];
  for (const entry of program.entries) visitSteps(entry.steps, (step) => step.kind === 'host' && found.push(step));
  return found;
}

/** Names of the ops that need a host, each once. */
export const hostOps = (program: Program): readonly string[] => [...new Set(hostSteps(program).map((s) => s.op))];

/** Visits steps and those inside them. */
export function visitSteps(steps: readonly Step[], visit: (step: Step) => void): void {
  for (const step of steps) {
    visit(step);
    if (step.kind === 'if') for (const inner of [step.then, step.else]) visitSteps(inner, visit);
    else if (step.kind === 'loop') visitSteps(step.body, visit);
    else if (step.kind === 'while') for (const inner of [step.test, step.body]) visitSteps(inner, visit);
  }
}
