// ONNX Runtime, native and WebAssembly: both have the same interface. One thread, all graph optimisations.

import { pathToFileURL } from 'node:url';
import type { DType } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { type BenchInput, type Contender, timeCalls } from './contender.js';
import type { Part } from '../../stt/part.js';
import { readBytes } from '../model-file.js';
import type { Find } from './peers.js';

interface OrtTensor {
  readonly data: ArrayLike<number | bigint>;
  readonly dims: readonly number[];
}

interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

interface Ort {
  readonly env: { logLevel: string; readonly wasm: { numThreads?: number } };
  readonly InferenceSession: {
    create(model: string | Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OrtSession>;
  };
  readonly Tensor: new (type: string, data: unknown, shape: readonly number[]) => OrtTensor;
}

const TYPES: Partial<Record<DType, string>> = {
  f64: 'float64',
  f32: 'float32',
  f16: 'float16',
  i64: 'int64',
  i32: 'int32',
  i16: 'int16',
  i8: 'int8',
  u64: 'uint64',
  u32: 'uint32',
  u16: 'uint16',
  u8: 'uint8',
  i1: 'bool',
  string: 'string',
};

export const openOnnxruntimeNode = (input: BenchInput, find: Find): Promise<Contender> =>
  open('onnxruntime-node', 'cpu', input, find);
export const openOnnxruntimeWeb = (input: BenchInput, find: Find): Promise<Contender> =>
  open('onnxruntime-web', 'wasm', input, find);

async function openSession(
  name: string,
  provider: 'cpu' | 'wasm',
  input: Pick<BenchInput, 'file' | 'bytes'>,
  find: Find,
): Promise<{ ort: Ort; session: OrtSession }> {
  const loaded = (await import(pathToFileURL(find(name)).href)) as Ort & { default?: Ort };
  const ort = loaded.default ?? loaded;
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(name === 'onnxruntime-node' ? input.file : input.bytes, {
    executionProviders: [provider],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
  });
  return { ort, session };
}

/** A network by the names of its inputs and outputs, for loops that call it many times. */
export async function openOrtPart(
  name: 'onnxruntime-node' | 'onnxruntime-web',
  file: string,
  find: Find,
): Promise<Part & { close(): Promise<void> }> {
  const provider = name === 'onnxruntime-node' ? 'cpu' : 'wasm';
  const { ort, session } = await openSession(name, provider, { file, bytes: readBytes(file) }, find);
  return {
    run: async (inputs) => {
      const tensors = Object.entries(inputs) as [string, Tensor][];
      const out = await session.run(
        Object.fromEntries(tensors.map(([key, t]) => [key, new ort.Tensor(typeName(name, t), t.data, t.shape)])),
      );
      return Object.fromEntries(
        Object.entries(out).map(([key, t]) => [key, { dtype: 'f32', shape: t.dims, data: t.data as Float32Array }]),
      );
    },
    close: () => session.release(),
  };
}

/** In one process both share a registry of providers, where the native one comes first: each must be asked for by name. */
async function open(name: string, provider: 'cpu' | 'wasm', input: BenchInput, find: Find): Promise<Contender> {
  const { ort, session } = await openSession(name, provider, input, find);
  const feeds = Object.fromEntries(
    input.tensors.map((t, i) => {
      const input = session.inputNames[i];
      if (input === undefined) throw new CompileError('E402', `${name} has no input ${i}`);
      return [input, new ort.Tensor(typeName(name, t), t.data, t.shape)];
    }),
  );
  return {
    name,
    time: (repeats) => timeCalls(() => session.run(feeds), repeats),
    outputs: async () => {
      const out = await session.run(feeds);
      return session.outputNames.map((output) => out[output]?.data ?? []);
    },
    close: () => session.release(),
  };
}

function typeName(name: string, t: Tensor): string {
  const type = TYPES[t.dtype];
  if (type === undefined) throw new CompileError('E402', `${name} takes no ${t.dtype} tensors from here`);
  return type;
}
