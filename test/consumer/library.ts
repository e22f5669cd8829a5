// Uses the compiler as a library.

import {
  CompileError,
  compile,
  createInterpreter,
  emitC,
  emitWasm,
  instantiateWasm,
  type Program,
  type RuntimeTensor,
  type Session,
} from 'heddle';
import { resample, runMoonshine } from 'heddle/stt';

export async function run(model: Uint8Array): Promise<readonly (readonly number[])[]> {
  const dims = { n: { lo: 1, hi: 64 } };
  const x: RuntimeTensor = { dtype: 'f32', shape: [2, 2], data: Float32Array.of(0, 1, 1, 1) };
  const program: Program = compile(model, { dims, target: 'wasm' });
  const sessions: readonly Session[] = [createInterpreter(compile(model, { dims })), await instantiateWasm(program)];
  const results = await Promise.all(sessions.map((s) => s.run({ x })));
  return results.map(({ y }) => (y?.data instanceof Float32Array ? [...y.data] : []));
}

export function files(model: Uint8Array): readonly string[] {
  const options = { dims: { n: 4 } };
  const c = emitC(compile(model, { ...options, target: 'c' }), { prefix: 'net' });
  const wasm = emitWasm(compile(model, { ...options, target: 'wasm' }));
  return [...Object.keys(c), ...Object.keys(wasm)].sort();
}

export const codeOf = (bytes: Uint8Array): string | undefined => {
  try {
    compile(bytes);
    return undefined;
  } catch (error) {
    return error instanceof CompileError ? error.problems[0]?.code : undefined;
  }
};

export const speech = { resample, runMoonshine };
