// The public API. Everything here also runs in a browser; the command line and building C with the machine's compiler
// are the only parts that need Node. `op`, `e` and `buildKernel` are what plugins are written with (docs/adding-an-op.md).

import { type CompileOptions, compileModel, type ReadOptions, readModel } from './compile.js';
import type { Program } from './ir/program.js';

export { emitC } from './backends/c/emit.js';
export { createInterpreter } from './backends/interp/interpreter.js';
export { emitWasmArtifact as emitWasm } from './backends/wasm/artifact.js';
export { instantiateWasm } from './backends/wasm/load.js';
export { emitWebGpuArtifact as emitWebGpu } from './backends/webgpu/artifact.js';
export { createWebGpuSession, type WebGpuDevice, type WebGpuSession } from './backends/webgpu/session.js';
export type { CompileOptions, ReadOptions, Target } from './compile.js';
export { compileModel, readModel } from './compile.js';
export type { NodeReader, OpRecord } from './frontend/ops/record.js';
export { op } from './frontend/ops/record.js';
export { e } from './ir/expr.js';
export { buildKernel } from './ir/kernel-builder.js';
export type { Program } from './ir/program.js';
export type { DeviceTensor, RuntimeTensor, Session } from './runtime/session.js';
export { CompileError, formatProblem } from './support/errors.js';
export type { Tensor } from './support/tensor.js';

/** A model file's bytes, ONNX or TFLite, compiled for `options.target`. Throws CompileError with every problem found. */
export const compile = (bytes: Uint8Array, options: CompileOptions & Partial<ReadOptions> = {}): Program =>
  compileModel(readModel(bytes, { ...options, file: options.file ?? 'model' }), options);
