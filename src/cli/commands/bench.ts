// `heddle bench`: models timed on heddle's targets and on other runtimes, side by side. bench/run.mjs drives it over the
// operators and models of the project's own comparison.

import type { CommandModule } from 'yargs';
import { CompileError } from '../../support/errors.js';
import { type BenchNote, type BenchRequest, type BenchRow, benchModel } from '../bench/bench-model.js';
import { formatBench, reportBench } from '../bench/bench-report.js';
import { MEASURE } from '../bench/measure.js';
import { locatePeer, PEER_NAMES, parsePeers } from '../bench/peers.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { TARGETS } from '../targets.js';
import { parseTargets } from './parse-targets.js';

type BenchFlags = ModelFlags & {
  readonly models: string[];
  readonly target: string[];
  readonly against: string[] | undefined;
  readonly likeWithLike: boolean;
  readonly input: string[] | undefined;
  readonly seed: number;
  readonly samples: number;
  readonly json: boolean;
};

export const benchCommand: CommandModule<unknown, BenchFlags> = {
  command: 'bench <models..>',
  describe: 'Time models on targets and on other runtimes, one thread each, side by side',
  builder: (y) =>
    addModelOptions(
      y.positional('models', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'Models, or folders with one; test_data_set_0 or random numbers are the input',
      }),
    ).options({
      target: {
        type: 'string',
        array: true,
        nargs: 1,
        default: ['c,wasm'],
        describe: `Of ${TARGETS.join(', ')}; commas separate`,
      },
      against: {
        type: 'string',
        array: true,
        nargs: 1,
        describe: `Of ${PEER_NAMES.join(', ')}; commas separate`,
      },
      'like-with-like': {
        type: 'boolean',
        default: false,
        describe: 'Compare C with native runtimes and WebAssembly with WebAssembly only',
      },
      input: { type: 'string', array: true, nargs: 1, describe: 'As for run; random where nothing is given' },
      seed: { type: 'number', requiresArg: true, default: 1, describe: 'For random inputs' },
      samples: {
        type: 'number',
        requiresArg: true,
        default: MEASURE.samples,
        describe: 'Rounds whose median counts',
      },
      json: { type: 'boolean', default: false, describe: 'The rows as JSON' },
    }) as never,
  handler: bench,
};

async function bench(flags: BenchFlags): Promise<void> {
  const targets = parseTargets(flags.target);
  const peers = parsePeers(flags.against ?? []);
  if (!(flags.samples >= 1)) throw new CompileError('E401', `--samples ${flags.samples} is not a number from 1`);
  for (const p of peers) locatePeer(p);
  const progress = startProgress();
  const request: BenchRequest = {
    targets,
    peers,
    likeWithLike: flags.likeWithLike,
    options: await compileOptions(flags),
    input: flags.input ?? [],
    seed: flags.seed,
    measure: { ...MEASURE, samples: Math.floor(flags.samples) },
    say: (text) => progress.update(text),
  };
  const { rows, notes } = await benchAll(flags.models, request);
  progress.done();
  const report = reportBench(rows, notes);
  if (flags.json) printJson(report);
  else printLine(formatBench(report));
  if (rows.length === 0) process.exitCode = 1;
}

/** In order; a model that cannot be read ends it, one that cannot be compiled does not. */
async function benchAll(
  models: readonly string[],
  request: BenchRequest,
): Promise<{ rows: readonly BenchRow[]; notes: readonly BenchNote[] }> {
  const rows: BenchRow[] = [];
  const notes: BenchNote[] = [];
  for (const [i, model] of models.entries()) {
    const say = (text: string): void => request.say(`${i + 1}/${models.length} ${text}`);
    const result = await benchModel(model, { ...request, say });
    rows.push(...result.rows);
    notes.push(...result.notes);
  }
  return { rows, notes };
}
