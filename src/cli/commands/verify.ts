// `heddle verify`: a target against the interpreter, value by value. Two comparisons: the outputs of the program as it ships,
// and every named value of the model, given out by a program that keeps them all; the first that differs is named.

import type { CommandModule } from 'yargs';
import { type CompileOptions, importSource, lowerToProgram } from '../../compile.js';
import type { SourceModel } from '../../frontend/source.js';
import { openModel } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { type GivenInputs, gatherInputs } from '../run-inputs.js';
import { CPU_TARGETS, openSession, type Target } from '../targets.js';
import { compareRuns, describeFindings, type Runs, type Values, valueOrder } from '../testing/first-difference.js';
import { sizesSeen } from '../testing/test-case.js';
import { parseTargets } from './parse-targets.js';
import { runOnce } from './run.js';

type VerifyFlags = ModelFlags & {
  readonly model: string;
  readonly input: string[] | undefined;
  readonly target: string[];
  readonly rtol: number;
  readonly atol: number;
  readonly seed: number;
  readonly json: boolean;
};

const OTHERS: readonly Target[] = CPU_TARGETS.filter((t) => t !== 'interp');

export const verifyCommand: CommandModule<unknown, VerifyFlags> = {
  command: 'verify <model>',
  describe: 'Compare targets with the interpreter value by value and name the first node that differs',
  builder: (y) =>
    addModelOptions(
      y.positional('model', {
        type: 'string',
        demandOption: true,
        describe: 'Model, or a folder with one; its test_data_set_0 is the default input',
      }),
    ).options({
      target: { type: 'string', array: true, nargs: 1, default: ['c', 'wasm'], describe: `Of ${OTHERS.join(', ')}` },
      input: { type: 'string', array: true, nargs: 1, describe: 'As for run; random where nothing is given' },
      rtol: { type: 'number', requiresArg: true, default: 1e-3, describe: 'Relative tolerance for floats' },
      atol: {
        type: 'number',
        requiresArg: true,
        default: 1e-5,
        describe: 'Absolute tolerance for floats, times a tensor’s largest magnitude where that is above 1',
      },
      seed: { type: 'number', requiresArg: true, default: 1, describe: 'For random inputs' },
      json: { type: 'boolean', default: false, describe: 'The report as JSON' },
    }) as never,
  handler: verify,
};

async function verify(flags: VerifyFlags): Promise<void> {
  const targets = parseTargets(flags.target, OTHERS);
  const { model } = openModel(flags.model);
  const base = await compileOptions(flags);
  const inputs = gatherInputs(model, {
    given: flags.input ?? [],
    folder: flags.model,
    dims: base.dims ?? {},
    shapes: base.shapes ?? {},
    seed: flags.seed,
    fill: true,
  });
  const seen = sizesSeen(model, [inputs.tensors]);
  const options = { ...base, dims: { ...seen.dims, ...base.dims }, shapes: { ...seen.shapes, ...base.shapes } };
  const progress = startProgress();
  const whole = await runAll(model, ['interp', ...targets], options, inputs, (text) => progress.update(text));
  const every = { ...options, taps: 'all' as const };
  const tapped = await runAll(model, ['interp', ...targets], every, inputs, (text) => progress.update(text));
  progress.done();
  const order = valueOrder(model);
  const runsOf = (t: Target): Runs => ({ whole: whole.get(t) ?? new Map(), tapped: tapped.get(t) ?? new Map() });
  const findings = targets.map((t) => ({ target: t, ...compareRuns(runsOf(t), runsOf('interp'), order, flags) }));
  if (flags.json) printJson({ targets: findings });
  else for (const f of findings) printLine(describeFindings(f.target, f));
  if (findings.some((f) => !f.agrees)) process.exitCode = 1;
}

type Results = ReadonlyMap<Target, Values>;

async function runAll(
  model: SourceModel,
  targets: readonly Target[],
  options: CompileOptions,
  inputs: GivenInputs,
  say: (text: string) => void,
): Promise<Results> {
  const module = importSource(model, options);
  const results = new Map<Target, Values>();
  for (const target of targets) {
    say(`running on ${target}`);
    const program = lowerToProgram(module, { ...options, target });
    results.set(target, await runOnce(await openSession(target, program), program, inputs.tensors, inputs.names));
  }
  return results;
}
