// Operators only a host can run, in C: calls of one external function, `PREFIX_host`, that the user of the code defines and
// asks for. The header declares it and says what each step takes and gives; steps are numbered as `hostSteps` lists them.

import { dimKey } from '../../ir/dim.js';
import type { HostArg, Program, Step } from '../../ir/program.js';
import { type CInterface, commentText } from './interface.js';
import { innerSteps } from '../../ir/overlap.js';

export type HostStep = Extract<Step, { kind: 'host' }>;

/** In program order; the position is the number `PREFIX_host` is called with. */
export function hostSteps(program: Program): readonly HostStep[] {
  const found: HostStep[] = [];
  const visit = (steps: readonly Step[]): void => {
    for (const step of steps) {
      if (step.kind === 'host') found.push(step);
      for (const inner of innerSteps(step)) visit(inner);
    }
  };
  for (const entry of program.entries) visit(entry.steps);
  return found;
}

const showArg = (a: HostArg): string => `${a.dtype}[${a.shape.map(dimKey).join(', ')}]`;

/** What the header says of the function; empty where there is nothing to call. */
export function declareHost(program: Program, { prefix, upper }: CInterface): string {
  const steps = hostSteps(program);
  if (steps.length === 0) return '';
  const lines = steps.map((s, k) => {
    const about = `${s.op}(${s.inputs.map(showArg).join(', ')}) -> ${s.outputs.map(showArg).join(', ')}`;
    return ` *   ${k}: ${commentText(about)}`;
  });
  return `
/* Operators that are no part of this code. Whoever links it defines ${prefix}_host, which gets a step's number, its inputs and
 * where its outputs go, and returns 0; with anything else the run returns ${upper}_HOST_FAILED.
${lines.join('\n')}
 */
#define ${upper}_HOST_FAILED 3

typedef struct {
  const void *data;
  const int32_t *shape;
  int32_t rank;
} ${prefix}_host_input;

typedef struct {
  void *data;
  int64_t room; /* elements there is memory for */
} ${prefix}_host_output;

int ${prefix}_host(int32_t step, const ${prefix}_host_input *in, const ${prefix}_host_output *out);
`;
}

/** The statements of one call. `pointer` and `size` print references and sizes. */
export function printHostCall(
  step: HostStep,
  number: number,
  c: { readonly prefix: string; readonly upper: string },
  print: { readonly pointer: (a: HostArg, write: boolean) => string; readonly size: (a: HostArg) => readonly string[] },
  room: (a: HostArg) => number,
): string[] {
  const shapes = step.inputs.map((a, k) => `  const int32_t host_shape_${k}[] = {${print.size(a).join(', ') || '0'}};`);
  const inputs = step.inputs.map((a, k) => `{${print.pointer(a, false)}, host_shape_${k}, ${a.shape.length}}`);
  const outputs = step.outputs.map((a) => `{${print.pointer(a, true)}, ${room(a)}}`);
  return [
    '{',
    ...shapes,
    `  const ${c.prefix}_host_input host_in[] = {${inputs.join(', ') || '{0, 0, 0}'}};`,
    `  const ${c.prefix}_host_output host_out[] = {${outputs.join(', ') || '{0, 0}'}};`,
    `  if (${c.prefix}_host(${number}, host_in, host_out)) return ${c.upper}_HOST_FAILED;`,
    '}',
  ];
}
