// tfjs-tflite: TensorFlow Lite with XNNPACK in WebAssembly (SIMD, one thread). Its script is used without the browser client.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { CompileError } from '../../support/errors.js';
import { type BenchInput, type Contender, timeCalls } from './contender.js';
import type { Find } from './peers.js';

type Data = Float32Array | Int32Array | Int16Array | Int8Array | Uint8Array;

interface TensorInfo {
  data(): Data;
}

interface Vector {
  size(): number;
  get(i: number): TensorInfo;
}

interface Runner {
  GetInputs(): Vector;
  GetOutputs(): Vector;
  Infer(): boolean;
  delete(): void;
}

interface Tflite {
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(address: number): void;
  readonly TFLiteWebModelRunner: {
    CreateFromBufferAndOptions(
      address: number,
      bytes: number,
      options: object,
    ): { ok(): boolean; errorMessage(): string; value(): Runner };
  };
}

const SCRIPT = '@tensorflow/tfjs-tflite/wasm/tflite_web_api_cc_simd';

let loaded: Promise<Tflite> | undefined;

export async function openTfjsTflite(input: BenchInput, find: Find): Promise<Contender> {
  const quiet = { print: () => undefined, printErr: () => undefined };
  loaded ??= createRequire(find(`${SCRIPT}.js`))(find(`${SCRIPT}.js`))({
    wasmBinary: readFileSync(find(`${SCRIPT}.wasm`)),
    ...quiet,
  }) as Promise<Tflite>;
  const tflite = await loaded;
  const address = tflite._malloc(input.bytes.length);
  tflite.HEAPU8.set(input.bytes, address);
  const options = { numThreads: 1, enableProfiling: false, maxProfilingBufferEntries: 1 };
  const made = tflite.TFLiteWebModelRunner.CreateFromBufferAndOptions(address, input.bytes.length, options);
  if (!made.ok()) throw new CompileError('E301', `tfjs-tflite refuses the model: ${made.errorMessage()}`);
  const runner = made.value();
  const inputs = list(runner.GetInputs());
  const outputs = list(runner.GetOutputs());
  if (inputs.length !== input.tensors.length)
    throw new CompileError('E402', `tfjs-tflite counts ${inputs.length} inputs, not ${input.tensors.length}`);
  const infer = (): void => {
    for (const [i, t] of inputs.entries()) t.data().set(input.tensors[i]?.data as Uint8Array);
    if (!runner.Infer()) throw new Error('tfjs-tflite failed to run');
  };
  const call = (): readonly Data[] => {
    infer();
    return outputs.map((t) => t.data().slice());
  };
  const room = call();
  const callInto = (): void => {
    infer();
    outputs.forEach((t, i) => {
      room[i]?.set(t.data() as Uint8Array);
    });
  };
  return {
    name: 'tfjs-tflite',
    time: (repeats) => timeCalls(async () => callInto(), repeats),
    outputs: async () => call(),
    close: async () => {
      runner.delete();
      tflite._free(address);
    },
  };
}

const list = (v: Vector): readonly TensorInfo[] => Array.from({ length: v.size() }, (_, i) => v.get(i));
