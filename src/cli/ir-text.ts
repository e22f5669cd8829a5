// The text form of tensor IR, where this build has one (ir/print.ts, ir/parse.ts).

import type { Module } from '../ir/tensor.js';
import { CompileError } from '../support/errors.js';

/** Loads a module of the compiler by path; E405 where it is not part of this build. */
async function loadFunction<F>(path: string, name: string): Promise<F> {
  let found: unknown;
  try {
    found = ((await import(new URL(path, import.meta.url).href)) as Record<string, unknown>)[name];
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
  }
  if (typeof found === 'function') return found as F;
  throw new CompileError('E405', 'this build has no text form of the IR');
}

export const loadPrinter = (): Promise<(m: Module) => string> => loadFunction('../ir/print.js', 'printModule');
export const loadParser = (): Promise<(text: string) => Module> => loadFunction('../ir/parse.js', 'parseModule');
