// Random cases of operators on every CPU target: the interpreter against the operator's definition, C and WebAssembly against
// the interpreter. All C of a batch goes through one compiler call.

import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { hostOps } from '../../src/cli/targets.js';
import { importSource, lowerToProgram, type Target } from '../../src/compile.js';
import type { SourceGraph } from '../../src/frontend/source.js';
import type { Program } from '../../src/ir/program.js';
import type { Module } from '../../src/ir/tensor.js';
import type { RuntimeTensor, Session } from '../../src/runtime/session.js';
import { CompileError } from '../../src/support/errors.js';
import { type Tensor, toNumbers } from '../../src/support/tensor.js';
import { type Family, makeCase, type OpCase, versionsOf } from './families/case.js';
import { difference, type Result } from './families/compare.js';
import { fedInputs, modelOf } from './node-case.js';

export interface Draw {
  readonly family: Family;
  readonly op: string;
  readonly seed: number;
}

/** One line for each draw that went wrong, with the command that repeats it. */
export async function fuzz(draws: readonly Draw[]): Promise<readonly string[]> {
  const prepared = draws.map(prepare);
  const forC = prepared.flatMap((p) => (p.c ? [{ name: p.name, program: p.c }] : []));
  const sessions: Map<string, Session> =
    forC.length > 0 ? await buildC(forC, { cflags: ['-O1', '-w'], jobs: 2 }) : new Map();
  for (const p of prepared) {
    if (p.c) await runAgainst(p, 'c', async () => sessions.get(p.name) as Session);
    if (p.wasm) await runAgainst(p, 'wasm', () => instantiateWasm(p.wasm as Program));
  }
  await Promise.all([...sessions.values()].map((s) => s.close()));
  return prepared.flatMap((p) =>
    p.problems.map((text) => `${p.label}: ${text}\n  npm run fuzz:ops -- --op ${p.draw.op} --seed ${p.draw.seed}`),
  );
}

interface Prepared {
  readonly draw: Draw;
  readonly name: string;
  readonly label: string;
  readonly made: OpCase;
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** By position, from the interpreter. */
  readonly want: readonly Result[];
  readonly c?: Program;
  readonly wasm?: Program;
  readonly problems: string[];
}

function prepare(draw: Draw, k: number): Prepared {
  const { family, op, seed } = draw;
  const versions = versionsOf(family, op);
  const version = versions[seed % versions.length] as number;
  const made = makeCase(family, op, version, seed);
  const inputs = fedInputs(made);
  const attrs = JSON.stringify(made.attrs ?? {}, (_, v) => (typeof v === 'bigint' ? Number(v) : v));
  const shapes = made.inputs.map((t) => (t ? `${t.dtype}[${t.shape}]` : '-')).join(' ');
  const base = {
    draw,
    name: `case_${k}`,
    label: `${op}-${version} seed ${seed} (${shapes} ${attrs})`,
    made,
    inputs,
  };
  try {
    const module = importCase(made, seed % 3 === 0);
    const want = runInterpreter(module, inputs);
    const wrong = made.want.map((w, i) => (w ? difference(asResult(want[i]), w, made.tolerance) : '')).find(Boolean);
    return { ...base, want, problems: wrong ? [`the interpreter: ${wrong}`] : [], ...programs(module) };
  } catch (error) {
    return { ...base, want: [], problems: [`${error}`] };
  }
}

/** With open sizes where asked for and where the operator can do with them. */
function importCase(made: OpCase, open: boolean): Module {
  const model = modelOf({ ...made, outputs: made.outputs ?? made.want.length });
  const options = { defaultDim: { lo: 1, hi: 64 } };
  if (!open) return importSource(model, options);
  try {
    return importSource({ ...model, graphs: model.graphs.map(openSizes) }, options);
  } catch (error) {
    if (error instanceof CompileError) return importSource(model, options);
    throw error;
  }
}

/** Sizes above one become symbols, equal ones the same. */
const openSizes = (g: SourceGraph): SourceGraph => ({
  ...g,
  inputs: g.inputs.map((v) =>
    v.type.kind === 'tensor' && v.type.shape
      ? { ...v, type: { ...v.type, shape: v.type.shape.map((d) => (Number(d) > 1 ? `n${d}` : d)) } }
      : v,
  ),
});

const asResult = (r: Result | undefined): Parameters<typeof difference>[0] =>
  r && { dtype: r.dtype, shape: r.shape, values: r.data };

function runInterpreter(module: Module, inputs: Readonly<Record<string, Tensor>>): readonly Result[] {
  const program = lowerToProgram(module);
  return resultsOf(program, createInterpreter(program).runSync(inputs));
}

const resultsOf = (program: Program, outputs: Readonly<Record<string, RuntimeTensor>>): readonly Result[] =>
  (program.entries[0]?.outputs ?? []).map(({ name }) => {
    const t = outputs[name] as Tensor;
    return { dtype: t.dtype, shape: t.shape, data: Array.from(toNumbers(t)) };
  });

/** Strings stay in the interpreter; everything else compiles for both. */
function programs(module: Module): Pick<Prepared, 'c' | 'wasm'> {
  const on = (target: Target): Program => lowerToProgram(module, { target });
  const c = on('c');
  return hostOps(c).length === 0 ? { c, wasm: on('wasm') } : {};
}

async function runAgainst(p: Prepared, target: 'c' | 'wasm', open: () => Promise<Session>): Promise<void> {
  const program = p[target] as Program;
  try {
    const session = await open();
    const got = resultsOf(program, await session.run(p.inputs));
    if (target === 'wasm') await session.close();
    const wrong = p.want.map((w, i) => difference(asResult(got[i]), w, p.made.tolerance)).find(Boolean);
    if (wrong) p.problems.push(`${target} against the interpreter: ${wrong}`);
  } catch (error) {
    if (error instanceof CompileError && p.problems.length > 0) return;
    p.problems.push(`${target}: ${error}`);
  }
}
