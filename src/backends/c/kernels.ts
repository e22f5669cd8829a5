// Kernels as static C functions: the walker's lines under a head with the right const, restrict and alias marks.

import type { Origin, Program } from '../../ir/program.js';
import { type PrintedKernel, printKernel } from '../clike.js';
import type { Lang } from '../lang.js';
import { sanitize } from '../names.js';
import { commentText } from './interface.js';
import { C_TYPES } from './lang.js';
import { type Aliasing, findAliasing, visitKernelSteps } from '../../ir/overlap.js';

export interface KernelText {
  readonly name: string;
  readonly text: string;
  readonly hasLocals: boolean;
}

/** By kernel index; kernels that no step runs are absent. */
export function printKernels(
  program: Program,
  lang: Lang,
  onHelper: (name: string) => void,
  clones: boolean,
): readonly (KernelText | undefined)[] {
  const origins = new Map<number, readonly Origin[]>();
  for (const entry of program.entries) {
    visitKernelSteps(entry.steps, (step) => {
      if (!origins.get(step.kernel)?.length) origins.set(step.kernel, step.origins);
    });
  }
  const aliasing = findAliasing(program);
  if (clones) onHelper('CLONES');
  return program.kernels.map((kernel, i) => {
    const from = origins.get(i);
    if (!from) return undefined;
    const name = kernelName(i, kernel.name);
    const printed = printKernel(kernel, lang, onHelper);
    const head = `${clones ? 'CLONES ' : ''}static void ${name}(${parameters(printed, aliasing[i] ?? [], onHelper)}) {`;
    const text = `${comment(kernel.name, from)}${head}\n${printed.lines.join('\n')}\n}`;
    return { name, text, hasLocals: printed.hasLocals };
  });
}

export const kernelName = (index: number, name: string): string => `k${index}_${sanitize(name)}`.slice(0, 56);

function parameters(k: PrintedKernel, aliasing: readonly Aliasing[], onHelper: (name: string) => void): string {
  const buffers = k.params.map(({ name, type, param }, i) => {
    const { restrict, mixedTypes } = aliasing[i] ?? { restrict: false, mixedTypes: false };
    const element = mixedTypes ? `any_${type}` : C_TYPES[type];
    if (mixedTypes) onHelper(element);
    return `${param.access === 'read' ? 'const ' : ''}${element} *${restrict ? 'restrict ' : ''}${name}`;
  });
  return [...buffers, ...k.syms.map((s) => `int32_t ${s}`)].join(', ') || 'void';
}

/** Element types that may share memory with others; by helper name. */
export const ALIAS_TYPES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(C_TYPES).map(([t, c]) => [
    `any_${t}`,
    `#if @GNU_C\ntypedef ${c} any_${t} __attribute__((may_alias));\n#else\ntypedef ${c} any_${t};\n#endif`,
  ]),
);

const comment = (name: string, origins: readonly Origin[]): string => {
  const lines = origins.map((o) => ` * ${commentText(o.op)} ${commentText([...o.path, o.node].join('/'))}`);
  return `/* ${commentText(name)}${lines.length ? `\n${lines.join('\n')}` : ''}\n */\n`;
};
