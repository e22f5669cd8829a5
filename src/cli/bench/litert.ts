// LiteRT.js: XNNPACK in WebAssembly, one thread. It is made for browsers: its loader wants `importScripts`, and its Tensor
// class knows no int8, so inputs and outputs go through its own buffers.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CompileError } from '../../support/errors.js';
import { type BenchInput, type Contender, timeCalls } from './contender.js';
import type { Find } from './peers.js';

interface Deletable {
  delete(): void;
}

interface Names {
  size(): number;
  get(i: number): string;
}

interface TensorType {
  bytes(): number;
  elementType(): { readonly value: number };
}

interface Buffer extends Deletable {
  packedSize(): number;
  lock(mode: unknown): number;
  unlock(): void;
  tensorType(): TensorType;
}

interface Output {
  readonly element: number;
  readonly bytes: Uint8Array;
}

interface LitertModel extends Deletable {
  getSignature(i: number): { inputNames(): Names; outputNames(): Names };
  getInputTensorType(signature: number, i: number): TensorType;
}

interface CompiledModel extends Deletable {
  run(signature: number, inputs: readonly Buffer[]): Promise<readonly Buffer[]> | readonly Buffer[];
}

interface Wasm {
  readonly HEAPU8: Uint8Array;
  readonly LiteRtTensorBuffer: { createManaged(env: unknown, kind: unknown, type: TensorType, bytes: number): Buffer };
  readonly LiteRtTensorBufferType: { readonly HOST_MEMORY: unknown };
  readonly LiteRtTensorBufferLockMode: { readonly READ: unknown; readonly WRITE: unknown };
  _malloc(bytes: number): number;
  _free(address: number): void;
  loadModel(env: unknown, address: number, bytes: number): LitertModel;
  compileModel(env: unknown, model: LitertModel, options: object): Promise<CompiledModel>;
}

interface Litert {
  readonly liteRtWasm: Wasm;
  getDefaultEnvironment(): { readonly liteRtEnvironment: unknown };
}

interface LitertModule {
  loadLiteRt(folder: string): Promise<Litert>;
}

let loaded: Promise<Litert> | undefined;

export async function openLitert(input: BenchInput, find: Find): Promise<Contender> {
  loaded ??= load(find);
  const litert = await loaded;
  const wasm = litert.liteRtWasm;
  const environment = litert.getDefaultEnvironment();
  const address = wasm._malloc(input.bytes.length);
  wasm.HEAPU8.set(input.bytes, address);
  const model = wasm.loadModel(environment.liteRtEnvironment, address, input.bytes.length);
  const options = { accelerator: 'wasm', cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {} };
  const compiled = await quietly(() =>
    wasm.compileModel(environment.liteRtEnvironment, model, { environment, ...options }),
  );
  const buffers = makeInputs(wasm, environment.liteRtEnvironment, model, input);
  const call = async (into: readonly Output[] = []): Promise<readonly Output[]> => {
    for (const [i, b] of buffers.entries()) write(wasm, b, input.tensors[i]?.data as Uint8Array);
    const outputs = await compiled.run(0, buffers);
    return outputs.map((out, i) => {
      const bytes = read(wasm, out, into[i]?.bytes);
      const element = out.tensorType().elementType().value;
      out.delete();
      return { element, bytes };
    });
  };
  const room = await call();
  return {
    name: 'litert',
    time: (repeats) => timeCalls(() => call(room), repeats),
    outputs: async () => (await call()).map(({ element, bytes }) => typed(element, bytes)),
    close: async () => {
      for (const x of [...buffers, compiled, model]) x.delete();
      wasm._free(address);
    },
  };
}

async function load(find: Find): Promise<Litert> {
  const world = globalThis as unknown as Record<string, unknown>;
  world.self ??= globalThis;
  world.navigator ??= {};
  world.importScripts = (path: string): void => {
    const module = { exports: {} };
    const source = readFileSync(path, 'utf8');
    const run = new Function('module', 'exports', 'require', '__dirname', '__filename', source);
    run(module, module.exports, createRequire(path), dirname(path), path);
    world.ModuleFactory = module.exports;
  };
  const main = find('@litertjs/core');
  const { loadLiteRt } = (await import(pathToFileURL(main).href)) as LitertModule;
  try {
    return await quietly(() => loadLiteRt(`${join(dirname(main), '..', 'wasm')}/`));
  } finally {
    delete world.importScripts;
  }
}

/** It logs every step, and warns of the GPU that is not there, on the console. */
async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const { log, info, warn, error } = console;
  const silent = (): void => undefined;
  Object.assign(console, { log: silent, info: silent, warn: silent, error: silent });
  try {
    return await work();
  } finally {
    Object.assign(console, { log, info, warn, error });
  }
}

function makeInputs(wasm: Wasm, env: unknown, model: LitertModel, input: BenchInput): readonly Buffer[] {
  const names = model.getSignature(0).inputNames();
  if (names.size() !== input.tensors.length)
    throw new CompileError('E402', `litert counts ${names.size()} inputs, not ${input.tensors.length}`);
  return input.tensors.map((t, i) => {
    const type = model.getInputTensorType(0, i);
    const given = (t.data as Uint8Array).byteLength;
    if (type.bytes() !== given)
      throw new CompileError('E402', `litert takes ${type.bytes()} bytes for input ${i}, not ${given}`);
    return wasm.LiteRtTensorBuffer.createManaged(env, wasm.LiteRtTensorBufferType.HOST_MEMORY, type, given);
  });
}

function write(wasm: Wasm, b: Buffer, data: Uint8Array): void {
  const address = b.lock(wasm.LiteRtTensorBufferLockMode.WRITE);
  wasm.HEAPU8.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), address);
  b.unlock();
}

function read(wasm: Wasm, b: Buffer, into: Uint8Array = new Uint8Array(b.packedSize())): Uint8Array {
  const address = b.lock(wasm.LiteRtTensorBufferLockMode.READ);
  into.set(wasm.HEAPU8.subarray(address, address + into.length));
  b.unlock();
  return into;
}

/** LiteRT's numbers for element types. */
function typed(element: number, bytes: Uint8Array): ArrayLike<number | bigint> {
  if (element === 1) return new Float32Array(bytes.buffer);
  if (element === 2) return new Int32Array(bytes.buffer);
  if (element === 4) return new BigInt64Array(bytes.buffer);
  if (element === 7) return new Int16Array(bytes.buffer);
  return element === 9 ? new Int8Array(bytes.buffer) : bytes;
}
