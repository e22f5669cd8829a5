// `heddle coverage`: what compiles, what needs a host, what is missing and what to do about it; a whole model or several in
// one run, or the whole operator set of a format.

import type { CommandModule } from 'yargs';
import { RECORDS } from '../../frontend/ops/index.js';
import { CompileError, formatProblem } from '../../support/errors.js';
import { emitArtifact } from '../artifact.js';
import { coverModel, type Emit, type ModelCoverage } from '../coverage/node-coverage.js';
import { coverOperators } from '../coverage/operator-coverage.js';
import { formatModels, formatOperators } from '../coverage/render.js';
import { openModel } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { loadPlugins } from '../plugins.js';
import { printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { CPU_TARGETS, TARGETS, type Target } from '../targets.js';
import { parseTargets } from './parse-targets.js';

type CoverageFlags = ModelFlags & {
  readonly models: string[] | undefined;
  readonly target: string[];
  readonly format: string;
  readonly json: boolean;
  readonly ops: string | undefined;
  readonly min: number | undefined;
};

export const coverageCommand: CommandModule<unknown, CoverageFlags> = {
  command: 'coverage [models..]',
  describe: 'List what compiles for each target, and every gap with its reason',
  builder: (y) =>
    addModelOptions(y.positional('models', { type: 'string', array: true, describe: 'ONNX and TFLite files' })).options(
      {
        target: {
          type: 'string',
          array: true,
          nargs: 1,
          default: [...CPU_TARGETS],
          describe: `Of ${TARGETS.join(', ')}`,
        },
        format: { choices: ['table', 'json', 'md'], default: 'table', describe: 'How the report is written' },
        json: { type: 'boolean', default: false, describe: 'As --format json' },
        ops: { choices: ['onnx', 'tflite'], describe: 'The whole operator set of a format instead of a model' },
        min: { type: 'number', requiresArg: true, describe: 'Exit 1 if fewer than this percentage of nodes run' },
      },
    ) as never,
  handler: coverage,
};

async function coverage(flags: CoverageFlags): Promise<void> {
  const format = flags.json ? 'json' : (flags.format as 'table' | 'json' | 'md');
  if (flags.ops) return coverSet(flags, flags.ops as 'onnx' | 'tflite', format);
  if (!flags.models?.length) throw new CompileError('E401', 'name a model, or a whole operator set with --ops');
  const targets = parseTargets(flags.target);
  const progress = startProgress();
  const models: ModelCoverage[] = [];
  for (const path of flags.models) {
    progress.update(`${models.length}/${flags.models.length} ${path}`);
    models.push(await coverFile(path, targets, flags));
  }
  progress.done();
  if (format === 'json') printJson({ targets, models: models.map(toJson) });
  else printLine(formatModels(models, targets, format));
  const { min } = flags;
  if (min !== undefined && models.some((m) => targets.some((t) => (m.percent[t] ?? 0) < min))) process.exitCode = 1;
}

/** Whether an operator compiles does not hang on a bound somebody has yet to choose. */
const ANY_SIZE = { lo: 1, hi: 256 };

/** A file that cannot be read is a gap like any other: the other files are still looked at. */
async function coverFile(path: string, targets: readonly Target[], flags: CoverageFlags): Promise<ModelCoverage> {
  const options = { defaultDim: ANY_SIZE, ...(await compileOptions(flags)) };
  try {
    const { model } = openModel(path);
    return await coverModel(model, targets, options, tryEmit);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    const percent = Object.fromEntries(targets.map((t) => [t, 0]));
    return { file: path, nodes: [], percent, problems: error.problems };
  }
}

const tryEmit: Emit = async (target, program) => {
  if (target === 'interp' || target === 'webgpu') return;
  await emitArtifact(target, program, { name: 'model', weights: 'file', main: false });
};

const toJson = (m: ModelCoverage): object => ({ ...m, problems: m.problems.map(formatProblem) });

async function coverSet(flags: CoverageFlags, set: 'onnx' | 'tflite', format: 'table' | 'json' | 'md'): Promise<void> {
  const operators = coverOperators(set, [...RECORDS, ...(await loadPlugins(flags.plugin))]);
  const covered = operators.filter((o) => o.status !== 'unsupported' && o.missing.length === 0).length;
  const percent = Math.floor((1000 * covered) / operators.length) / 10;
  if (format === 'json') printJson({ set, percent, operators });
  else printLine(formatOperators(operators, percent, format));
  if (flags.min !== undefined && percent < flags.min) process.exitCode = 1;
}
