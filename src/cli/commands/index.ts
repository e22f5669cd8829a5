// Every command, in the order of `heddle --help`.

import type { Argv } from 'yargs';
import { testCommand } from './test.js';

export const addCommands = (y: Argv): Argv => y.command(testCommand);
