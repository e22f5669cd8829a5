// `heddle opt`: any passes on any text IR.

import type { CommandModule } from 'yargs';
import { optimizeModule } from '../../compile.js';
import { parseModule } from '../../ir/parse.js';
import { printModule } from '../../ir/print.js';
import { DUMP_OPTIONS, type DumpFlags, findPass, watchPasses } from '../dump.js';
import { readBytes } from '../model-file.js';
import { printJson, printLine } from '../print.js';

type OptFlags = DumpFlags & {
  readonly file: string;
  readonly passes: string | undefined;
  readonly numerics: string;
  readonly json: boolean;
};

export const optCommand: CommandModule<unknown, OptFlags> = {
  command: 'opt <file>',
  describe: 'Run passes on a text IR file and print the result',
  builder: (y) =>
    y.positional('file', { type: 'string', demandOption: true, describe: 'Text IR' }).options({
      passes: { type: 'string', requiresArg: true, describe: 'Passes by name, in order, with commas' },
      numerics: { choices: ['fast', 'strict'], default: 'fast', describe: 'What float rewrites may do' },
      json: { type: 'boolean', default: false, describe: 'The text in a JSON object' },
      ...DUMP_OPTIONS,
    }) as never,
  handler: opt,
};

function opt(flags: OptFlags): void {
  const passes = (flags.passes ?? '').split(',').filter(Boolean).map(findPass);
  const watch = watchPasses(flags);
  const module = parseModule(new TextDecoder().decode(readBytes(flags.file)));
  const numerics = flags.numerics as 'fast' | 'strict';
  const text = printModule(optimizeModule(module, { numerics, ...watch.options }, passes));
  watch.finish();
  if (flags.json) printJson({ passes: passes.map((p) => p.name), text });
  else printLine(text.trimEnd());
}
