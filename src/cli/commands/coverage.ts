// `heddle coverage`: what compiles, what needs a host, what is missing and what to do about it; a whole model or several in
// one run, or the whole operator set of a format. `merge` joins what shards of a sweep reported.

import type { Argv, CommandModule } from 'yargs';
import { RECORDS } from '../../frontend/ops/index.js';
import { CompileError, formatProblem } from '../../support/errors.js';
import { emitArtifact } from '../artifact.js';
import { withAssumedSizes } from '../coverage/assume-sizes.js';
import { mergeReports } from '../coverage/merge.js';
import { coverModel, type Emit } from '../coverage/node-coverage.js';
import { coverOperators } from '../coverage/operator-coverage.js';
import { formatPage } from '../coverage/page.js';
import { formatReport } from '../coverage/render.js';
import type { CoverageReport, ModelCoverage, OperatorSet } from '../coverage/report.js';
import { countByOperator, readTestReport } from '../coverage/test-results.js';
import { findModels, openModel } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { loadPlugins } from '../plugins.js';
import { printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { SHARD_OPTION, takeShard } from '../shard.js';
import { CPU_TARGETS, TARGETS, type Target } from '../targets.js';
import { parseTargets } from './parse-targets.js';

interface OutputFlags {
  readonly format: string;
  readonly json: boolean;
  readonly min: number | undefined;
}

type CoverageFlags = ModelFlags &
  OutputFlags & {
    readonly models: string[] | undefined;
    readonly target: string[];
    readonly ops: string | undefined;
    readonly results: string[] | undefined;
    readonly shard: string | undefined;
  };

const OUTPUT_OPTIONS = {
  format: { choices: ['table', 'json', 'md', 'html'], default: 'table', describe: 'How the report is written' },
  json: { type: 'boolean', default: false, describe: 'As --format json' },
  min: { type: 'number', requiresArg: true, describe: 'Exit 1 if fewer than this percentage of nodes run' },
} as const;

export const coverageCommand: CommandModule<unknown, CoverageFlags> = {
  command: 'coverage [models..]',
  describe: 'List what compiles for each target, and every gap with its reason',
  builder: (y) =>
    addModelOptions(
      y
        .command(mergeCommand)
        .positional('models', { type: 'string', array: true, describe: 'ONNX and TFLite files, or folders to search' }),
    ).options({
      target: {
        type: 'string',
        array: true,
        nargs: 1,
        default: [...CPU_TARGETS],
        describe: `Of ${TARGETS.join(', ')}`,
      },
      ...OUTPUT_OPTIONS,
      ops: { choices: ['onnx', 'tflite'], describe: 'The whole operator set of a format' },
      results: {
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'With --ops: a report of `heddle test --json`, for how many tests pass',
      },
      shard: SHARD_OPTION,
    }) as never,
  handler: coverage,
};

const mergeCommand: CommandModule<unknown, OutputFlags & { readonly reports: string[] }> = {
  command: 'merge <reports..>',
  describe: 'Join the JSON reports of shards, of coverage or of test',
  builder: (y: Argv<unknown>) =>
    y
      .positional('reports', { type: 'string', array: true, demandOption: true, describe: 'Files, in any order' })
      .options(OUTPUT_OPTIONS) as never,
  handler: merge,
};

async function coverage(flags: CoverageFlags): Promise<void> {
  if (!flags.ops && !flags.models?.length)
    throw new CompileError('E401', 'name a model, or a whole operator set with --ops');
  if (flags.results && !flags.ops) throw new CompileError('E401', '--results goes with --ops');
  const targets = parseTargets(flags.target);
  const set = flags.ops ? await coverSet(flags, flags.ops as 'onnx' | 'tflite', targets) : undefined;
  const { part, shard } = takeShard((flags.models ?? []).flatMap(findModels), flags.shard);
  const models = flags.models?.length ? await coverFiles(part, targets, flags) : undefined;
  report({ targets, ...(shard && { shard }), ...(models && { models }), ...set }, flags);
}

async function coverFiles(
  files: readonly string[],
  targets: readonly Target[],
  flags: CoverageFlags,
): Promise<readonly ModelCoverage[]> {
  const progress = startProgress();
  const models: ModelCoverage[] = [];
  for (const path of files) {
    progress.update(`${models.length}/${files.length} ${path}`);
    models.push(await coverFile(path, targets, flags));
  }
  progress.done();
  return models;
}

/** A file that cannot be read is a gap like any other, and so is one heddle stumbles over: the others are still looked at. */
async function coverFile(path: string, targets: readonly Target[], flags: CoverageFlags): Promise<ModelCoverage> {
  const options = await compileOptions(flags);
  try {
    const { model } = openModel(path);
    return await withAssumedSizes(model, options, (given) => coverModel(model, targets, given, tryEmit));
  } catch (error) {
    const problems = error instanceof CompileError ? error.problems.map(formatProblem) : [`heddle failed: ${error}`];
    if (!(error instanceof CompileError)) process.exitCode = 2;
    const percent = Object.fromEntries(targets.map((t) => [t, 0]));
    return { file: path, nodes: [], percent, assumed: {}, problems };
  }
}

const tryEmit: Emit = async (target, program) => {
  if (target === 'interp') return;
  await emitArtifact(target, program, { name: 'model', weights: 'file', main: false });
};

async function coverSet(
  flags: CoverageFlags,
  set: 'onnx' | 'tflite',
  targets: readonly Target[],
): Promise<OperatorSet> {
  const records = [...RECORDS, ...(await loadPlugins(flags.plugin))];
  const results = flags.results && countByOperator(flags.results.map(readTestReport));
  return coverOperators(set, { targets, records, ...(results && { results }) });
}

function merge(flags: OutputFlags & { readonly reports: string[] }): void {
  const merged = mergeReports(flags.reports);
  if (merged.kind === 'coverage') return report(merged.report, flags);
  printJson(merged.report);
}

/** Prints, and judges by --min. */
function report(r: CoverageReport, flags: OutputFlags): void {
  const format = flags.json ? 'json' : flags.format;
  if (format === 'json') printJson(r);
  else if (format === 'html') printLine(formatPage(r));
  else printLine(formatReport(r, format as 'table' | 'md'));
  const percents = [...(r.models ?? []).map((m) => m.percent), ...(r.percent ? [r.percent] : [])];
  const low = percents.some((p) => r.targets.some((t) => (p[t] ?? 0) < (flags.min ?? 0)));
  if (low) process.exitCode ||= 1;
}
