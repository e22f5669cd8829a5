// `heddle run`: a model on any target with inputs from files; outputs as .npy and a summary.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CommandModule } from 'yargs';
import { describeEntry, solveInputs } from '../../backends/entry-spec.js';
import { importSource, lowerToProgram } from '../../compile.js';
import type { Program } from '../../ir/program.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import { CompileError } from '../../support/errors.js';
import { writeNpy } from '../../support/npy.js';
import type { Tensor } from '../../support/tensor.js';
import { openModel, whyNot } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { nativeCpu } from '../native-cpu.js';
import { formatTable, printJson, printLine } from '../print.js';
import { measurePeak } from '../machine-peak.js';
import { openProfiled, profileRuns } from '../profile.js';
import {
  bestOf,
  chromeTrace,
  formatProfile,
  type Peak,
  type ProfileRow,
  profileTable,
  shareOfPeak,
} from '../profile-report.js';
import { startProgress } from '../progress.js';
import { type GivenInputs, gatherInputs } from '../run-inputs.js';
import { openSession, TARGETS, type Target } from '../targets.js';
import { summariseTensor, type TensorSummary } from '../tensor-summary.js';
import { sizesSeen } from '../testing/test-case.js';
import { parseTargets } from './parse-targets.js';

type RunFlags = ModelFlags & {
  readonly model: string;
  readonly input: string[] | undefined;
  readonly target: string;
  readonly outputDir: string | undefined;
  readonly seed: number;
  readonly json: boolean;
  readonly profile: boolean;
  readonly trace: string | undefined;
  readonly runs: number;
};

export const runCommand: CommandModule<unknown, RunFlags> = {
  command: 'run <model>',
  describe: 'Run a model on any target and show or save its outputs',
  builder: (y) =>
    addModelOptions(
      y.positional('model', {
        type: 'string',
        demandOption: true,
        describe: 'Model, or a folder with one; its test_data_set_0 is the default input',
      }),
    ).options({
      input: {
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'name=FILE.npy, name=FILE.pb, name=random, or random for all the others',
      },
      target: { choices: [...TARGETS], default: 'interp', requiresArg: true, describe: 'What to run on' },
      'output-dir': { type: 'string', requiresArg: true, describe: 'Save the outputs here as .npy' },
      seed: { type: 'number', requiresArg: true, default: 1, describe: 'For random inputs' },
      json: { type: 'boolean', default: false, describe: 'The summary as JSON' },
      profile: { type: 'boolean', default: false, describe: 'Show where the time goes, node by node' },
      trace: { type: 'string', requiresArg: true, describe: 'Write the profile to this file for Chrome or Perfetto' },
      runs: { type: 'number', requiresArg: true, default: 10, describe: 'Runs a profile is the median of' },
    }) as never,
  handler: run,
};

async function run(flags: RunFlags): Promise<void> {
  const [target] = parseTargets([flags.target]);
  const options = await compileOptions(flags);
  const { model } = openModel(flags.model);
  const inputs = gatherInputs(model, {
    given: flags.input ?? [],
    folder: flags.model,
    dims: options.dims ?? {},
    shapes: options.shapes ?? {},
    seed: flags.seed,
    fill: false,
  });
  const progress = startProgress();
  progress.update(`compiling ${flags.model}`);
  const seen = sizesSeen(model, [inputs.tensors]);
  const settings = {
    ...(target === 'c' && { cpu: nativeCpu() }),
    ...options,
    dims: { ...seen.dims, ...options.dims },
    shapes: { ...seen.shapes, ...options.shapes },
  };
  const program = lowerToProgram(importSource(model, settings), { ...settings, target: target ?? 'interp' });
  if (flags.profile || flags.trace !== undefined) {
    const found = await profileModel(target ?? 'interp', program, inputs, flags.runs);
    const peak = bestOf(found.rows, await measurePeak(target ?? 'interp', settings));
    progress.done();
    return reportProfile(flags, program, found, peak);
  }
  const session = await openSession(target ?? 'interp', program);
  const start = performance.now();
  const outputs = await runOnce(session, program, inputs.tensors, inputs.names);
  const milliseconds = performance.now() - start;
  progress.done();
  report(flags, outputs, milliseconds);
}

/** The first entry's outputs in their order; the session is closed. */
export async function runOnce(
  session: Session,
  program: Program,
  tensors: readonly Tensor[],
  names: readonly string[],
): Promise<ReadonlyMap<string, Tensor>> {
  try {
    return outputsOf(program, await session.run(inputsOf(program, tensors, names)));
  } finally {
    await session.close();
  }
}

function inputsOf(
  program: Program,
  tensors: readonly Tensor[],
  names: readonly string[],
): Readonly<Record<string, RuntimeTensor>> {
  const given = new Map(names.map((name, k) => [name, tensors[k]]));
  const inputs: Record<string, RuntimeTensor> = {};
  for (const v of program.entries[0]?.inputs ?? []) {
    const t = given.get(v.name);
    if (t) inputs[v.name] = t as RuntimeTensor;
  }
  return inputs;
}

const outputsOf = (program: Program, out: Readonly<Record<string, RuntimeTensor>>): ReadonlyMap<string, Tensor> =>
  new Map((program.entries[0]?.outputs ?? []).map((v) => [v.name, out[v.name] as Tensor]));

interface ModelProfile {
  readonly rows: readonly ProfileRow[];
  readonly trace: string;
  readonly outputs: ReadonlyMap<string, Tensor>;
}

async function profileModel(target: Target, program: Program, given: GivenInputs, runs: number): Promise<ModelProfile> {
  const entry = program.entries[0];
  if (!entry || !(runs >= 1)) throw new CompileError('E401', `--runs ${runs} is not a number from 1`);
  const inputs = inputsOf(program, given.tensors, given.names);
  const sizes = solveInputs(describeEntry(entry), inputs);
  const profiled = await openProfiled(target, program);
  try {
    const { events, outputs } = await profileRuns(profiled, inputs, Math.floor(runs));
    const rows = profileTable(program, profiled.points, events, sizes);
    return { rows, trace: chromeTrace(program, profiled.points, events), outputs: outputsOf(program, outputs) };
  } finally {
    await profiled.session.close();
  }
}

function reportProfile(flags: RunFlags, program: Program, { rows, trace, outputs }: ModelProfile, peak: Peak): void {
  if (flags.trace !== undefined) writeOutput(flags.trace, trace);
  if (flags.outputDir !== undefined) for (const [name, t] of outputs) save(flags.outputDir, name, t);
  const milliseconds = Number(rows.reduce((sum, r) => sum + r.ms, 0).toPrecision(6));
  if (flags.json) {
    const profile = rows.map((r) => ({ ...r, of_peak: shareOfPeak(r, peak) }));
    return printJson({ target: flags.target, milliseconds, runs: Math.floor(flags.runs), peak, profile });
  }
  printLine(formatProfile(rows, peak));
  const steps = rows.reduce((n, r) => n + r.calls, 0);
  process.stderr.write(`${flags.target}: ${milliseconds} ms in ${steps} steps of ${program.kernels.length} kernels\n`);
}

function report(flags: RunFlags, outputs: ReadonlyMap<string, Tensor>, milliseconds: number): void {
  const files = new Map<string, string>();
  if (flags.outputDir !== undefined) for (const [name, t] of outputs) files.set(name, save(flags.outputDir, name, t));
  const summaries = [...outputs].map(([name, t]): TensorSummary & { file?: string } => {
    const file = files.get(name);
    return { name, ...summariseTensor(t), ...(file === undefined ? {} : { file }) };
  });
  const rounded = Math.round(milliseconds * 1000) / 1000;
  if (flags.json) return printJson({ target: flags.target, milliseconds: rounded, outputs: summaries });
  const rows = summaries.map((s) => [
    s.name,
    `${s.dtype}[${s.shape.join(', ')}]`,
    show(s.min),
    show(s.max),
    show(s.mean),
    s.first.join(' '),
  ]);
  printLine(formatTable(['output', 'type', 'min', 'max', 'mean', 'first values'], rows));
  for (const file of files.values()) printLine(`wrote ${file}`);
  process.stderr.write(`${flags.target}: one run took ${rounded} ms\n`);
}

const show = (n: number | null): string => (n === null ? '' : String(Number(n.toPrecision(6))));

function save(folder: string, name: string, t: Tensor): string {
  const file = join(folder, `${name.replace(/[^\w.-]+/g, '_')}.npy`);
  writeOutput(file, writeNpy(t));
  return file;
}

function writeOutput(file: string, content: string | Uint8Array): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  } catch (cause) {
    throw new CompileError('E401', `"${file}" cannot be written: ${whyNot(cause)}`);
  }
}
