// Every command, in the order of `heddle --help`.

import type { Argv } from 'yargs';
import { benchCommand } from './bench.js';
import { compileCommand } from './compile.js';
import { coverageCommand } from './coverage.js';
import { inspectCommand } from './inspect.js';
import { optCommand } from './opt.js';
import { runCommand } from './run.js';
import { sttCommand } from './stt.js';
import { testCommand } from './test.js';
import { verifyCommand } from './verify.js';

export const addCommands = (y: Argv): Argv =>
  y
    .command(inspectCommand)
    .command(coverageCommand)
    .command(compileCommand)
    .command(runCommand)
    .command(testCommand)
    .command(verifyCommand)
    .command(benchCommand)
    .command(optCommand)
    .command(sttCommand);
