// `heddle run`: a model on any target with inputs from files; outputs as .npy and a summary.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import { importSource, lowerToProgram } from '../../compile.js';
import type { Program } from '../../ir/program.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import { CompileError } from '../../support/errors.js';
import { writeNpy } from '../../support/npy.js';
import type { Tensor } from '../../support/tensor.js';
import { openModel, whyNot } from '../model-file.js';
import { addModelOptions, compileOptions, type ModelFlags } from '../model-options.js';
import { formatTable, printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { gatherInputs } from '../run-inputs.js';
import { openSession, TARGETS } from '../targets.js';
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
    ...options,
    dims: { ...seen.dims, ...options.dims },
    shapes: { ...seen.shapes, ...options.shapes },
  };
  const program = lowerToProgram(importSource(model, settings), { ...settings, target: target ?? 'interp' });
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
  const entry = program.entries[0];
  const given = new Map(names.map((name, k) => [name, tensors[k]]));
  const inputs: Record<string, RuntimeTensor> = {};
  for (const v of entry?.inputs ?? []) {
    const t = given.get(v.name);
    if (t) inputs[v.name] = t as RuntimeTensor;
  }
  try {
    const out = await session.run(inputs);
    return new Map((entry?.outputs ?? []).map((v) => [v.name, out[v.name] as Tensor]));
  } finally {
    await session.close();
  }
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
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, writeNpy(t));
  } catch (cause) {
    throw new CompileError('E401', `"${file}" cannot be written: ${whyNot(cause)}`);
  }
  return file;
}
