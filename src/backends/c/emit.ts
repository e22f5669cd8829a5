// A Program as a C project: names and contents of its files. Start at source.ts for the code, header.ts for the interface.

import type { Program } from '../../ir/program.js';
import { CompileError, type Problem } from '../../support/errors.js';
import { sanitize } from '../names.js';
import { printHeader } from './header.js';
import { hostSteps } from './host-steps.js';
import { type CInterface, describeInterface } from './interface.js';
import { flagsFor } from './machine.js';
import { printMain } from './npy-main.js';
import { printCMake, printMakefile } from './project.js';
import { printSource } from './source.js';
import { weightAssembly, weightBytes } from './weights.js';

/** Above this many bytes weights become a file of their own. */
export const INLINE_WEIGHT_LIMIT = 65536;

export interface EmitCOptions {
  /** Prefix of files and of all global names; by default the program's name. */
  readonly prefix?: string;
  /** `inline`: arrays in the source. `file`: `<prefix>.bin`. By default, by size. */
  readonly weights?: 'inline' | 'file';
  /** Whether to write a main.c that runs .npy files. */
  readonly main?: boolean;
  /** Whom the project is built for (machine.ts); by default the machine that builds it. */
  readonly cpu?: string;
  /** A copy of each kernel for several processors, chosen when the program starts. */
  readonly multiversion?: boolean;
  /** Calls `PREFIX_host`, which the caller defines, for operators only a host can run, instead of refusing them. */
  readonly extern?: boolean;
  /** Calls `heddle_mark`, which the caller defines, around every step (backends/profile-points.ts). */
  readonly profile?: boolean;
}

/** The prefix `emitC` uses. */
export const cPrefix = (program: Program, options: EmitCOptions = {}): string =>
  sanitize(options.prefix ?? program.name);

/** `<prefix>.c`, `<prefix>.h`, `Makefile`, `CMakeLists.txt`; with a weight file also `<prefix>.bin` and `<prefix>_weights.S`. */
export function emitC(program: Program, options: EmitCOptions = {}): Record<string, string | Uint8Array> {
  refuseHostSteps(program, options.extern ?? false);
  const prefix = cPrefix(program, options);
  const weightsInline =
    (options.weights ?? (program.weightBytes > INLINE_WEIGHT_LIMIT ? 'file' : 'inline')) === 'inline';
  const c: CInterface = describeInterface(program, prefix);
  const project = {
    prefix,
    weightsInline,
    main: options.main ?? false,
    machine: flagsFor(options.cpu ?? 'generic', options.multiversion ?? false),
  };
  return {
    [`${prefix}.c`]: printSource(program, c, { weightsInline, profile: options.profile, clones: options.multiversion }),
    [`${prefix}.h`]: printHeader(program, c, { weightsInline }),
    ...(weightsInline
      ? {}
      : { [`${prefix}.bin`]: weightBytes(program), [`${prefix}_weights.S`]: weightAssembly(prefix) }),
    Makefile: printMakefile(program, project),
    'CMakeLists.txt': printCMake(program, project),
    ...(options.main ? { 'main.c': printMain(c) } : {}),
  };
}

/** One error that lists every host op that cannot be called: all, or with external functions those on strings. */
function refuseHostSteps(program: Program, extern: boolean): void {
  const problems = hostSteps(program).flatMap((step): Problem[] => {
    const origin = step.origins[0];
    const at = { op: step.op, node: origin?.node, operator: origin?.index };
    const strings = [...step.inputs, ...step.outputs].some((a) => a.dtype === 'string');
    if (strings) return [{ code: 'E301', message: 'C has no strings', at, hint: 'Compile for wasm' }];
    if (extern) return [];
    const message = 'C cannot run this operator: it exists only as a function of the host';
    return [{ code: 'E301', message, at, hint: 'Define that function and pass --extern, or compile for wasm' }];
  });
  if (problems.length > 0) throw new CompileError(problems);
}
