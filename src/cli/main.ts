#!/usr/bin/env node
// `heddle <command>`. Stdout is data, stderr is talk; exit code 0 is fine, 1 the user's problem, 2 ours.
// Each command is a module in commands/.

import yargs, { type Argv } from 'yargs';
import { hideBin } from 'yargs/helpers';
import { addCommands } from './commands/index.js';
import { joinTargets } from './commands/parse-targets.js';
import { reportError, UsageError } from './report-error.js';
import { version } from './version.js';

const WIDTH = 110;

async function main(args: readonly string[]): Promise<void> {
  const parser: Argv = yargs([...joinTargets(args)])
    .scriptName('heddle')
    .usage('$0 <command>\n\nCompiles ONNX and TFLite models to C and WebAssembly.')
    .locale('en')
    .version(version())
    .help()
    .alias({ help: 'h', version: 'V' })
    .wrap(Math.min(WIDTH, process.stderr.columns ?? WIDTH))
    .parserConfiguration({ 'dot-notation': false, 'parse-positional-numbers': false, 'camel-case-expansion': true })
    .demandCommand(1, 1, 'Name a command.', 'Name one command.')
    .recommendCommands()
    .strict()
    .exitProcess(false)
    .fail((message, error) => {
      throw error ?? new UsageError(`${message}\nSee heddle --help, or heddle <command> --help.`);
    });
  await addCommands(parser).parseAsync();
}

// A reader that has seen enough (`heddle … | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await main(hideBin(process.argv));
} catch (error) {
  const { text, exitCode } = reportError(error);
  process.stderr.write(`${text}\n`);
  process.exitCode = exitCode;
}
