// Runs one operator on the interpreter, as C and as WebAssembly, several calls in a row, so that states show.

import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { importSource, lowerToProgram } from '../../src/compile.js';
import type { Program } from '../../src/ir/program.js';
import type { RuntimeTensor, Session } from '../../src/runtime/session.js';
import { type Tensor, toNumbers } from '../../src/support/tensor.js';
import { fedInputs, modelOf, type NodeCase } from './node-case.js';

export interface TargetCase extends NodeCase {
  readonly rounding?: 'double' | 'single';
  /** Input 0 of each call after the first. */
  readonly calls?: readonly Tensor[];
}

export interface TargetResult {
  readonly target: 'interp' | 'c' | 'wasm';
  /** By call, then by output. */
  readonly values: readonly (readonly (readonly number[])[])[];
}

/** Results by case. All C goes through one compiler call. */
export async function runOnTargets(cases: readonly TargetCase[]): Promise<readonly (readonly TargetResult[])[]> {
  const modules = cases.map((c) =>
    importSource(modelOf(c), { dims: {}, defaultDim: { lo: 1, hi: 64 }, ...(c.rounding && { rounding: c.rounding }) }),
  );
  const forC = modules.map((m, k) => ({ name: `case_${k}`, program: lowerToProgram(m, { target: 'c' }) }));
  const built = await buildC(forC, { cflags: ['-O0', '-w'], jobs: 2 });
  const results: TargetResult[][] = [];
  for (const [k, c] of cases.entries()) {
    const module = modules[k] as (typeof modules)[number];
    const interp = lowerToProgram(module);
    const wasm = lowerToProgram(module, { target: 'wasm' });
    const c99 = forC[k]?.program as Program;
    results.push([
      { target: 'interp', values: await callAll(interp, createInterpreter(interp), c) },
      { target: 'c', values: await callAll(c99, built.get(`case_${k}`) as Session, c) },
      { target: 'wasm', values: await callAll(wasm, await instantiateWasm(wasm), c) },
    ]);
  }
  await Promise.all([...built.values()].map((s) => s.close()));
  return results;
}

async function callAll(program: Program, session: Session, c: TargetCase): Promise<TargetResult['values']> {
  const values: (readonly (readonly number[])[])[] = [];
  const inputs = fedInputs(c);
  for (const fed of [inputs, ...(c.calls ?? []).map((in0) => ({ ...inputs, in0 }))])
    values.push(resultsOf(program, await session.run(fed)));
  return values;
}

const resultsOf = (program: Program, outputs: Readonly<Record<string, RuntimeTensor>>) =>
  (program.entries[0]?.outputs ?? []).map(({ name }) => Array.from(toNumbers(outputs[name] as Tensor)));
