// model.h: everything a caller needs to know, stated once: sizes in bytes, shapes, bounds, who owns what.

import { dimKey } from '../../ir/dim.js';
import type { Program } from '../../ir/program.js';
import { declareHost } from './host-steps.js';
import { type CEntry, type CInterface, type CValue, commentText } from './interface.js';

export interface HeaderOptions {
  readonly weightsInline: boolean;
}

export function printHeader(program: Program, c: CInterface, options: HeaderOptions): string {
  const { prefix, upper } = c;
  const param = options.weightsInline ? '' : ` ${upper}_WEIGHTS_PARAM`;
  return `/* ${commentText(program.name)}, compiled to C99. Freestanding: no allocation, no globals that change, no library.
 *
 * Every function is re-entrant: calls that share neither arena nor state may run at the same time.
 * The caller owns all memory. Arena and state must be aligned to 16 bytes; at 64, the lines of caches, long vectors are
 * faster. The arena's contents mean nothing between calls. The state outlives calls: ${prefix}_reset gives it its
 * first value, and runs change it.
 * Inputs, outputs, arena and state must not overlap. Tensors are contiguous, last axis fastest.
 */
#ifndef ${upper}_H
#define ${upper}_H

#include <stdint.h>

#define ${upper}_ARENA_BYTES ${program.arenaBytes}
#define ${upper}_STATE_BYTES ${program.stateBytes}
#define ${upper}_WEIGHT_BYTES ${program.weightBytes}

#define ${upper}_OK 0          /* what every run returns when all went well */
#define ${upper}_BAD_SIZE 1    /* a size is out of its bounds; outputs mean nothing */
#define ${upper}_BAD_POINTER 2 /* arena or state is missing or not aligned; nothing was computed */
${options.weightsInline ? '' : externalWeights(c)}
#if defined(__cplusplus)
extern "C" {
#endif
${declareHost(program, c)}
${c.entries.map((e) => printEntry(e, param)).join('\n')}
/* Puts the ${program.stateBytes} bytes of state to their initial contents. */
void ${prefix}_reset(void *state);

#if defined(__cplusplus)
}
#endif

#endif
`;
}

const externalWeights = ({ prefix, upper }: CInterface): string => `
/* The weights are linked in through ${prefix}_weights.S. Where ${upper}_EXTERNAL_WEIGHTS is defined they are not, and every
 * run takes the address of the contents of ${prefix}.bin instead, aligned to 16 bytes. */
#if defined(${upper}_EXTERNAL_WEIGHTS)
#define ${upper}_WEIGHTS_PARAM , const void *weights
#else
#define ${upper}_WEIGHTS_PARAM
#endif
`;

function printEntry(e: CEntry, param: string): string {
  const inputs = [
    ...e.inputs.map((v) => `  const ${v.type} *${v.field}; /* ${describe(v)} */`),
    ...e.syms.map(({ sym, field }) => `  int32_t ${field}; /* ${sym.lo} <= ${commentText(sym.name)} <= ${sym.hi} */`),
  ];
  const outputs = e.outputs.flatMap((v) => [
    `  ${v.type} *${v.field}; /* ${describe(v)}; room for ${v.elementsMacro} elements */`,
    ...(v.shapeField
      ? [`  int32_t ${v.shapeField}[${v.value.shape.length}]; /* written: the shape of ${v.field} */`]
      : []),
  ]);
  const macros = [...e.inputs, ...e.outputs].map((v) => `#define ${v.elementsMacro} ${v.maxElements}`);
  return `/* Entry "${commentText(e.entry.name)}". The macros are element counts at the sizes' upper bounds. */
${macros.join('\n')}

${struct(inputs, e.inputsType)}

${struct(outputs, e.outputsType)}

int ${e.functionName}(const ${e.inputsType} *in, ${e.outputsType} *out, void *arena, void *state${param});
`;
}

/** C has no empty structs. */
const struct = (fields: readonly string[], name: string): string =>
  `typedef struct {\n${fields.join('\n') || '  char unused;'}\n} ${name};`;

const describe = (v: CValue): string =>
  commentText(`${v.value.name}: ${v.value.dtype}[${v.value.shape.map(dimKey).join(', ')}]`);
