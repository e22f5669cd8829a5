// `heddle verify`: a target against the interpreter, value by value. Two comparisons: the outputs of the program as it ships,
// and every named value of the model, given out by a program that keeps them all; the first that differs is named.

import type { CommandModule } from 'yargs';
import { type CompileOptions, importSource, lowerToProgram } from '../../compile.js';
import type { SourceModel } from '../../frontend/source.js';
import { isFloat } from '../../support/dtype.js';
import { type Tensor, toNumbers } from '../../support/tensor.js';
import { openModel } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { type GivenInputs, gatherInputs } from '../run-inputs.js';
import { openSession, TARGETS, type Target } from '../targets.js';
import { compareTensors } from '../testing/compare.js';
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

const OTHERS: readonly Target[] = TARGETS.filter((t) => t !== 'interp');

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
      target: { type: 'string', array: true, nargs: 1, default: [...OTHERS], describe: `Of ${OTHERS.join(', ')}` },
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

interface Difference {
  readonly value: string;
  readonly node: string;
  readonly op: string;
  readonly index: number;
  readonly difference: string;
}

interface TargetFindings {
  readonly target: Target;
  readonly agrees: boolean;
  /** Outputs of the program as it ships. */
  readonly outputs: readonly { readonly value: string; readonly difference: string }[];
  readonly first: Difference | null;
  readonly compared: number;
}

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
  const findings = targets.map((t) => compareTarget(t, whole, tapped, order, flags));
  if (flags.json) printJson({ targets: findings });
  else for (const f of findings) printLine(describe(f));
  if (findings.some((f) => !f.agrees)) process.exitCode = 1;
}

type Results = ReadonlyMap<Target, ReadonlyMap<string, Tensor>>;

async function runAll(
  model: SourceModel,
  targets: readonly Target[],
  options: CompileOptions,
  inputs: GivenInputs,
  say: (text: string) => void,
): Promise<Results> {
  const module = importSource(model, options);
  const results = new Map<Target, ReadonlyMap<string, Tensor>>();
  for (const target of targets) {
    say(`running on ${target}`);
    const program = lowerToProgram(module, { ...options, target });
    results.set(target, await runOnce(await openSession(target, program), program, inputs.tensors, inputs.names));
  }
  return results;
}

interface Place {
  readonly node: string;
  readonly op: string;
  readonly index: number;
}

/** Which node makes each value of the main graph, in execution order. */
function valueOrder(model: SourceModel): ReadonlyMap<string, Place> {
  const graph = model.graphs[0];
  const order = new Map<string, Place>();
  for (const node of graph?.nodes ?? [])
    for (const output of node.outputs)
      if (output)
        order.set(graph?.values.get(output)?.label ?? output, { node: node.name, op: node.op, index: node.index });
  return order;
}

function compareTarget(
  target: Target,
  whole: Results,
  tapped: Results,
  order: ReadonlyMap<string, Place>,
  flags: VerifyFlags,
): TargetFindings {
  const outputs = differences(whole, target, flags);
  const values = differences(tapped, target, flags);
  const placed = values.map(({ value, difference }): Difference => {
    const place = order.get(value) ?? { node: '', op: '', index: Number.MAX_SAFE_INTEGER };
    return { value, ...place, difference };
  });
  const first = [...placed].sort((a, b) => a.index - b.index)[0] ?? null;
  const compared = tapped.get('interp')?.size ?? 0;
  return { target, agrees: outputs.length === 0 && first === null, outputs, first, compared };
}

function differences(
  results: Results,
  target: Target,
  flags: VerifyFlags,
): readonly { value: string; difference: string }[] {
  const got = results.get(target);
  return [...(results.get('interp') ?? [])].flatMap(([value, want]) => {
    const t = got?.get(value);
    const tolerance = isFloat(want.dtype)
      ? { rtol: flags.rtol, atol: flags.atol * Math.max(1, magnitude(want)) }
      : { rtol: 0, atol: 0 };
    const difference = t ? compareTensors(t, want, tolerance) : 'it is missing';
    return difference === null ? [] : [{ value, difference }];
  });
}

/** Sums that cancel lose digits in proportion to their terms, not to the result. */
const magnitude = (t: Tensor): number =>
  toNumbers(t).reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0);

function describe(f: TargetFindings): string {
  if (f.agrees) return `${f.target}: agrees with the interpreter on all ${f.compared} values`;
  const outputs = f.outputs.map((o) => `  output "${o.value}": ${o.difference}`);
  const at = f.first
    ? `  first difference: ${f.first.op} "${f.first.node}" (operator ${f.first.index}), value "${f.first.value}": ${f.first.difference}`
    : '  no difference where every value is kept: the passes between are at fault';
  return [`${f.target}: differs from the interpreter`, ...outputs, at].join('\n');
}
