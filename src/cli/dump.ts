// Looking into the pipeline: `--dump-ir`, `--stop-after`, `--time-passes`.

import type { InferredOptionTypes, Options } from 'yargs';
import type { Pass, RunOptions } from '../passes/pass.js';
import { GPU_PIPELINE, PIPELINE, REQUIRED } from '../passes/pipeline.js';
import { printModule } from '../ir/print.js';
import type { Module } from '../ir/tensor.js';
import { CompileError } from '../support/errors.js';
import { formatTable } from './print.js';

export const DUMP_OPTIONS = {
  'dump-ir': { type: 'string', requiresArg: true, describe: 'Print the IR on stderr: after:PASS, changed or all' },
  'stop-after': {
    type: 'string',
    requiresArg: true,
    describe: 'Stop after a pass (or import), print the IR on stdout, write nothing',
  },
  'time-passes': { type: 'boolean', default: false, describe: 'Print on stderr how long each pass takes' },
} as const satisfies Record<string, Options>;

export type DumpFlags = InferredOptionTypes<typeof DUMP_OPTIONS>;

export const ALL_PASSES: readonly Pass[] = [
  ...new Map([...GPU_PIPELINE, ...REQUIRED, ...PIPELINE].map((p) => [p.name, p])).values(),
];

export function findPass(name: string): Pass {
  const pass = ALL_PASSES.find((p) => p.name === name);
  if (pass) return pass;
  throw new CompileError('E401', `there is no pass "${name}"`, {
    hint: `Passes: ${ALL_PASSES.map((p) => p.name).join(', ')}`,
  });
}

export interface PassWatch {
  readonly options: RunOptions;
  /** Says what was asked for beyond dumps. */
  readonly finish: () => void;
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

export function watchPasses(flags: DumpFlags): PassWatch {
  const wanted = dumpFilter(flags['dump-ir']);
  const times: [string, string][] = [];
  if (flags['stop-after'] !== undefined && flags['stop-after'] !== 'import') findPass(flags['stop-after']);
  const onPass = (pass: Pass, before: Module, after: Module, milliseconds: number): void => {
    times.push([pass.name, `${milliseconds.toFixed(1)} ms`]);
    if (wanted?.(pass, before, after)) say(`// after ${pass.name}\n${printModule(after)}`);
  };
  return {
    options: { stopAfter: flags['stop-after'], onPass },
    finish: () => flags['time-passes'] && say(formatTable(['pass', 'time'], times)),
  };
}

function dumpFilter(text: string | undefined): ((pass: Pass, before: Module, after: Module) => boolean) | null {
  if (text === undefined) return null;
  if (text === 'all') return () => true;
  if (text === 'changed') return (_, before, after) => before !== after;
  const name = /^after:(.+)$/.exec(text)?.[1];
  if (!name)
    throw new CompileError('E401', `--dump-ir ${text} is not understood`, { hint: 'Write after:PASS, changed or all' });
  findPass(name);
  return (pass) => pass.name === name;
}
