// `heddle compile` (also `convert`): a model into the files of one target, and a report of what it came to.

import type { CommandModule } from 'yargs';
import { importSource, lowerToProgram, optimizeModule } from '../../compile.js';
import { printModule } from '../../ir/print.js';
import { CompileError } from '../../support/errors.js';
import { emitArtifact, writeFiles } from '../artifact.js';
import { formatReport, reportCompile } from '../compile-report.js';
import { countMacs } from '../count-work.js';
import { DUMP_OPTIONS, type DumpFlags, watchPasses } from '../dump.js';
import { openModel } from '../model-file.js';
import { type Cpu, CPU_NAMES } from '../../passes/schedule/cpus.js';
import { nativeCpu } from '../native-cpu.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { ARTIFACT_TARGETS } from '../targets.js';
import { parseTargets } from './parse-targets.js';

type CompileFlags = ModelFlags &
  DumpFlags & {
    readonly model: string;
    readonly target: string;
    readonly output: string | undefined;
    readonly name: string;
    readonly weights: string | undefined;
    readonly cpu: string;
    readonly multiversion: boolean;
    readonly relaxed: string;
    readonly threads: number;
    readonly main: boolean;
    readonly extern: boolean;
    readonly json: boolean;
  };

export const compileCommand: CommandModule<unknown, CompileFlags> = {
  command: ['compile <model>', 'convert <model>'],
  describe: 'Compile a model to C, WebAssembly or WebGPU',
  builder: (y) =>
    addModelOptions(
      y.positional('model', { type: 'string', demandOption: true, describe: 'ONNX or TFLite file' }),
    ).options({
      target: { choices: [...ARTIFACT_TARGETS], demandOption: true, requiresArg: true, describe: 'What to compile to' },
      output: { alias: 'o', type: 'string', requiresArg: true, describe: 'Folder for the artifact; made if missing' },
      name: { type: 'string', requiresArg: true, default: 'model', describe: 'C: prefix of files and global names' },
      weights: { choices: ['inline', 'file'], describe: 'Where weights go; by default by size' },
      cpu: {
        choices: [...CPU_NAMES, 'native'],
        default: 'generic',
        requiresArg: true,
        describe: 'C: whose vectors it is scheduled for; any compiler takes the code',
      },
      multiversion: {
        type: 'boolean',
        default: false,
        describe: 'C: kernels compiled for several x86-64 processors, chosen when the program starts (gcc)',
      },
      relaxed: {
        choices: ['auto', 'off', 'only'],
        default: 'auto',
        describe: 'WebAssembly: a second module with relaxed SIMD, which the loader takes where the engine can',
      },
      threads: {
        type: 'number',
        requiresArg: true,
        default: 1,
        describe: 'WebAssembly: shares that long loops are cut into, for as many threads at most',
      },
      main: { type: 'boolean', default: false, describe: 'C: also a main.c that runs .npy files' },
      extern: {
        type: 'boolean',
        default: false,
        describe: 'C: call a function of yours for operators only a host can run',
      },
      json: { type: 'boolean', default: false, describe: 'The report as JSON' },
      ...DUMP_OPTIONS,
    }) as never,
  handler: compile,
};

async function compile(flags: CompileFlags): Promise<void> {
  const [target] = parseTargets([flags.target], ARTIFACT_TARGETS);
  if (!target || (flags.output === undefined && flags['stop-after'] === undefined))
    throw new CompileError('E401', 'name the folder for the artifact with -o DIR');
  const progress = startProgress();
  const options = await compileOptions(flags);
  const watch = watchPasses(flags);
  const { model } = openModel(flags.model);
  progress.update(`importing ${flags.model}`);
  const module = importSource(model, options);
  const cpu = flags.cpu === 'native' ? nativeCpu() : (flags.cpu as Cpu);
  const settings = { ...options, ...watch.options, target, cpu, threads: checkThreads(flags.threads) };
  if (flags['stop-after'] !== undefined) {
    const stopped = flags['stop-after'] === 'import' ? module : optimizeModule(module, settings);
    printLine(printModule(stopped).trimEnd());
    return watch.finish();
  }
  progress.update('optimising');
  const program = lowerToProgram(module, settings);
  progress.update('writing code');
  const files = await emitArtifact(target, program, {
    name: flags.name,
    weights: flags.weights as 'inline' | 'file' | undefined,
    cpu: flags.cpu,
    multiversion: flags.multiversion,
    relaxed: flags.relaxed as 'auto' | 'off' | 'only',
    main: flags.main,
    extern: flags.extern,
  });
  const folder = flags.output as string;
  writeFiles(folder, files);
  progress.done();
  watch.finish();
  const report = reportCompile(target, program, files, countMacs(module));
  if (flags.json) printJson(report);
  else printLine(formatReport(report, folder));
}

function checkThreads(n: number): number {
  if (Number.isInteger(n) && n >= 1 && n <= 64) return n;
  throw new CompileError('E401', `--threads ${n} is not a number from 1 to 64`);
}
