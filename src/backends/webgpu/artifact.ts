// What a user ships: model.mjs (plan, WGSL, and the executor's own text), its types, the WebAssembly twin where there is
// one, and the weights as a file whose name is a hash of its contents. The same program gives the same bytes.

import type { Program, Step } from '../../ir/program.js';
import { contentHash } from '../content-hash.js';
import { declarationText } from './declarations.js';
import { loaderText } from './loader-template.js';
import { planProgram } from './plan.js';

const TWIN = 'model.twin.wasm';

/** The files of the artifact by name. Throws E301 where the target cannot express the program. */
export function emitWebGpuArtifact(program: Program): Record<string, string | Uint8Array> {
  const { plan, weights, twin } = planProgram(program);
  const hosts = hostOps(program.entries.flatMap((e) => e.steps));
  const weightName = weights.length > 0 ? `model.${contentHash(weights)}.bin` : null;
  return {
    'model.mjs': loaderText(program.name, plan, hosts, {
      weights: weightName ? { file: weightName, bytes: weights.length } : null,
      twin: twin && TWIN,
    }),
    ...(twin ? { [TWIN]: twin } : {}),
    'model.d.ts': declarationText(program, hosts, twin !== null),
    'model.d.mts': "export * from './model.js';\n",
    ...(weightName ? { [weightName]: weights } : {}),
  };
}

/** The operators of host steps, in the order in which the plan numbers them. */
function hostOps(steps: readonly Step[]): readonly string[] {
  return steps.flatMap((s): readonly string[] => {
    if (s.kind === 'host') return [s.op];
    if (s.kind === 'if') return [...hostOps(s.then), ...hostOps(s.else)];
    if (s.kind === 'loop') return hostOps(s.body);
    return s.kind === 'while' ? [...hostOps(s.test), ...hostOps(s.body)] : [];
  });
}
