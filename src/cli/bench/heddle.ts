// heddle as a contender: a model compiled for a target and opened, with what that cost. C is timed in the process that
// runs it, the others here.

import type { WasmSession } from '../../backends/wasm/load.js';
import { type CompileOptions, importSource, lowerToProgram } from '../../compile.js';
import { type Program, spaceOf } from '../../ir/program.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import type { Tensor, TypedArray } from '../../support/tensor.js';
import { emitArtifact } from '../artifact.js';
import { openModel } from '../model-file.js';
import { nativeCpu } from '../native-cpu.js';
import { openC, openSession, type Target } from '../targets.js';
import { type BenchInput, type Contender, timeCalls, type Variant } from './contender.js';

export interface Costs {
  /** From the file's bytes to the artifact's. */
  readonly compile_ms: number;
  /** Without weights: of model.wasm, or of the object gcc makes of the C source. */
  readonly code_bytes: number;
  readonly weight_bytes: number;
  readonly arena_bytes: number;
  /** The most that lives in the arena at once: no plan is smaller. */
  readonly live_bytes: number;
  /** All memory of a session: weights, state, arena, inputs and outputs. */
  readonly memory_bytes: number;
}

export interface HeddleContender extends Contender, Costs {
  readonly name: Target;
  /** With new arrays for the results of each run, where `time` is without. */
  readonly fresh?: Variant;
}

/** What gcc is told; the numeric flags come with the program. */
const C_FLAGS: Readonly<Record<Build, readonly string[]>> = {
  native: ['-O3', '-march=native'],
  plain: ['-O3', '-DHEDDLE_PLAIN_C'],
};

/** C with the compiler's vector types for this machine, or as standard C99 for any. */
export type Build = 'native' | 'plain';

export async function openHeddle(
  target: Target,
  input: BenchInput,
  options: CompileOptions,
  build: Build = 'native',
): Promise<HeddleContender> {
  const start = performance.now();
  const settings = { ...(target === 'c' && build === 'native' && { cpu: nativeCpu() }), ...options, target };
  const program = lowerToProgram(importSource(openModel(input.file).model, settings), settings);
  await emitCode(target, program);
  const compile_ms = performance.now() - start;
  const code_bytes = await codeBytes(target, program, build);
  const costs = { compile_ms, code_bytes, ...memoryOf(program) };
  const inputs = nameInputs(program, input.tensors);
  if (target === 'c') {
    const session = (await openC([{ name: 'model', program }], { cflags: C_FLAGS[build] })).get('model');
    if (!session) throw new Error('the one program was built');
    return { ...contend(target, program, session, inputs), time: (repeats) => session.time(inputs, repeats), ...costs };
  }
  const session = await openSession(target, program);
  return { ...contend(target, program, session, inputs), ...(await intoKept(session, inputs)), ...costs };
}

/** Where a session can write results to arrays that the caller keeps. */
async function intoKept(session: Session, inputs: Inputs): Promise<Partial<HeddleContender>> {
  if (!('runInto' in session)) return {};
  const { runInto, run } = session as WasmSession;
  const room = Object.entries(await run(inputs)).filter(([, t]) => ArrayBuffer.isView(t.data));
  const into = Object.fromEntries(room.map(([name, t]) => [name, t.data as TypedArray]));
  return {
    time: (repeats) => timeCalls(() => runInto(inputs, into), repeats),
    fresh: { name: 'fresh results', time: (repeats) => timeCalls(() => run(inputs), repeats) },
  };
}

type Inputs = Readonly<Record<string, RuntimeTensor>>;

const contend = (name: Target, program: Program, session: Session, inputs: Inputs) => ({
  name,
  time: (repeats: number) => timeCalls(() => session.run(inputs), repeats),
  outputs: async () => {
    const out = await session.run(inputs);
    return (program.entries[0]?.outputs ?? []).map((o) => (out[o.name] as Tensor).data as ArrayLike<number | bigint>);
  },
  close: () => session.close(),
});

const nameInputs = (program: Program, tensors: readonly Tensor[]): Inputs =>
  Object.fromEntries((program.entries[0]?.inputs ?? []).map((v, i) => [v.name, tensors[i] as RuntimeTensor]));

/** What `compile` does after lowering, for its time. */
async function emitCode(target: Target, program: Program): Promise<void> {
  if (target !== 'interp') await emitArtifact(target, program, { name: 'model', weights: 'file', main: false });
}

export async function codeBytes(target: Target, program: Program, build: Build = 'native'): Promise<number> {
  if (target === 'wasm') {
    const { emitWasm } = await import('../../backends/wasm/program.js');
    return emitWasm(program, { weights: 'file' }).module.length;
  }
  if (target !== 'c') return 0;
  const { objectTextBytes } = await import('./object-size.js');
  return objectTextBytes(program, C_FLAGS[build]);
}

export function memoryOf(p: Program): Pick<Costs, 'weight_bytes' | 'arena_bytes' | 'live_bytes' | 'memory_bytes'> {
  const io = p.buffers
    .filter((b) => spaceOf(b) === null)
    .reduce((n, b) => n + b.elements * DTYPE_INFO[b.dtype].bytes, 0);
  const memory_bytes = p.weightBytes + p.arenaBytes + p.stateBytes + io;
  return { weight_bytes: p.weightBytes, arena_bytes: p.arenaBytes, live_bytes: p.peak.bytes, memory_bytes };
}
