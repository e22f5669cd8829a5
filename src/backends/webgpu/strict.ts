// What `--strict` asks for: a model of which the GPU would leave something to its WebAssembly twin is refused, with every
// node and the reason.

import type { Origin, Program } from '../../ir/program.js';
import { CompileError, type Problem } from '../../support/errors.js';
import { planProgram } from './plan.js';

/** Source nodes that run in the twin, each with why. */
export const twinNodes = (program: Program): readonly { readonly origin: Origin; readonly reason: string }[] =>
  [...planProgram(program).placement].flatMap(([s, { reason }]) =>
    s.origins.flatMap((o) => [o, ...(o.also ?? [])]).map((origin) => ({ origin, reason })),
  );

/** Throws E301 where anything is placed in the twin. */
export function refuseTwin(program: Program): void {
  const { placement } = planProgram(program);
  const problems = [...placement].map(([s, { reason }]): Problem => {
    const [o] = s.origins;
    return {
      code: 'E301',
      message: `"${program.kernels[s.kernel]?.name}" is nothing for a GPU: ${reason}`,
      at: o && { op: o.op, node: o.node, operator: o.index },
      hint: 'Without --strict the WebAssembly twin runs it',
    };
  });
  if (problems.length > 0) throw new CompileError(problems);
}
