// What a pass is and how a list of them is run: each with a name and one sentence, a pure function of the module;
// after each one the module is verified, and a failure is blamed on the pass by name.

import { InternalError } from '../support/errors.js';
import type { Program } from '../ir/program.js';
import type { Module } from '../ir/tensor.js';
import { verifyModule } from '../ir/verify.js';
import type { Tensor } from '../support/tensor.js';
import type { VectorTarget } from './schedule/target.js';

/** What passes may ask of their surroundings. */
export interface PassContext {
  readonly numerics: 'fast' | 'strict';
  /** Runs the first entry of a program without inputs; constant folding uses the interpreter through it. */
  readonly evaluate: (p: Program) => readonly Tensor[];
  /** What the target's vectors can do; null where it has none. */
  readonly vectors: VectorTarget | null;
}

export interface Pass {
  readonly name: string;
  readonly doc: string;
  readonly run: (m: Module, c: PassContext) => Module;
}

export interface RunOptions {
  readonly stopAfter?: string | undefined;
  /** Called after each pass; `changed` by identity. */
  readonly onPass?: (pass: Pass, before: Module, after: Module, milliseconds: number) => void;
}

export function runPasses(passes: readonly Pass[], m: Module, c: PassContext, options: RunOptions = {}): Module {
  let now = m;
  for (const pass of passes) {
    const start = performance.now();
    const next = pass.run(now, c);
    const problem = verifyModule(next);
    if (problem) throw new InternalError(`internal: pass ${pass.name} made invalid IR: ${problem}`);
    options.onPass?.(pass, now, next, performance.now() - start);
    now = next;
    if (pass.name === options.stopAfter) break;
  }
  return now;
}
