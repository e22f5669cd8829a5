// The whole compiler on one screen: read → import → passes → lower → emit.

import { createInterpreter } from './backends/interp/interpreter.js';
import { WASM_VECTORS } from './backends/wasm/vector-target.js';
import { refuseTwin } from './backends/webgpu/strict.js';
import { importModel, type ImportOptions } from './frontend/import.js';
import { readOnnx } from './frontend/onnx/read.js';
import { RECORDS } from './frontend/ops/index.js';
import type { AnyRecord } from './frontend/ops/record.js';
import { createRecordTable } from './frontend/record-table.js';
import type { SourceModel } from './frontend/source.js';
import { readTflite } from './frontend/tflite/read.js';
import type { Kernel } from './ir/kernel.js';
import type { Program } from './ir/program.js';
import type { Module } from './ir/tensor.js';
import { finishForGpu, finishKernel, finishScheduled, nameKernels } from './passes/kernel/finish.js';
import { lowerGeneric } from './passes/lower/generic.js';
import { lowerModule } from './passes/lower/module.js';
import { mergeKernels } from './passes/merge-kernels.js';
import { type Pass, type RunOptions, runPasses } from './passes/pass.js';
import { GPU_PIPELINE, PIPELINE, REQUIRED, SMALL_PIPELINE } from './passes/pipeline.js';
import { type Cpu, CPUS } from './passes/schedule/cpus.js';
import { type Constants, type ScheduledKernel, unscheduled } from './passes/schedule/operands.js';
import type { VectorTarget } from './passes/schedule/target.js';
import { CompileError } from './support/errors.js';
import type { Tensor } from './support/tensor.js';

export interface ReadOptions {
  readonly file: string;
  /** Opens an ONNX external data file by its location in the model. */
  readonly external?: (location: string) => Uint8Array;
}

/** ONNX or TFLite by content. */
export function readModel(bytes: Uint8Array, options: ReadOptions): SourceModel {
  const tflite = bytes.length >= 8 && String.fromCharCode(...bytes.subarray(4, 8)) === 'TFL3';
  return tflite ? readTflite(bytes, options) : readOnnx(bytes, options);
}

export interface CompileOptions extends Omit<ImportOptions, 'records'>, RunOptions {
  /** Records in front of heddle's own. */
  readonly plugins?: readonly AnyRecord[];
  readonly numerics?: 'fast' | 'strict';
  /** Who will run it. 'interp' (default) keeps node by node and scalar code; the others take the whole pipeline. */
  readonly target?: Target;
  /** Whose vectors C is scheduled for: any compiler takes the code, this CPU runs it best. Default: 'generic'. */
  readonly cpu?: Cpu;
  /** Shares that loops are cut into, where the target has threads: WebAssembly. The results are those of one. */
  readonly threads?: number;
  /** WebGPU: refuse what would run in the WebAssembly twin. */
  readonly strict?: boolean;
  /** Overrides what the target implies: 'none' leaves every source node a kernel of its own. */
  readonly optimize?: 'none' | 'full';
}

export const TARGETS = ['interp', 'c', 'wasm', 'webgpu'] as const;
export type Target = (typeof TARGETS)[number];

/** What a target's vectors can do; null: scalar code. C takes those of its CPU, the GPU's twin those of WebAssembly. */
const VECTORS: Readonly<Record<Exclude<Target, 'c'>, VectorTarget | null>> = {
  interp: null,
  wasm: WASM_VECTORS,
  webgpu: null,
};

/** Source model → tensor IR. Throws CompileError with every problem found. */
export function importSource(model: SourceModel, options: CompileOptions = {}): Module {
  const table = createRecordTable([...RECORDS, ...(options.plugins ?? [])]);
  return importModel(model, { ...options, records: table });
}

const isFull = ({ target = 'interp', optimize }: CompileOptions): boolean =>
  (optimize ?? (target === 'interp' ? 'none' : 'full')) === 'full';

/** Tensor IR → better tensor IR: the passes a target wants, or those given. */
export function optimizeModule(m: Module, options: CompileOptions = {}, passes?: readonly Pass[]): Module {
  const { numerics = 'fast' } = options;
  const context = { numerics, evaluate, vectors: vectorsOf(options) };
  return runPasses(passes ?? (isFull(options) ? pipelineFor(options) : REQUIRED), m, context, options);
}

const vectorsOf = ({ target = 'interp', cpu = 'generic' }: CompileOptions): VectorTarget | null =>
  target === 'c' ? CPUS[cpu] : VECTORS[target];

/** C for no CPU in particular may be for a microcontroller. */
function pipelineFor({ target, cpu = 'generic' }: CompileOptions): readonly Pass[] {
  if (target === 'webgpu') return GPU_PIPELINE;
  return target === 'c' && cpu === 'generic' ? SMALL_PIPELINE : PIPELINE;
}

/** Tensor IR → program. */
export function lowerToProgram(m: Module, options: CompileOptions = {}): Program {
  const { numerics = 'fast', target = 'interp', threads = 1 } = options;
  const full = isFull(options);
  const vectors = vectorsOf(options);
  const optimised = optimizeModule(m, options);
  const finish = (k: Kernel, constants: Constants): ScheduledKernel => {
    if (target === 'webgpu') return unscheduled(finishForGpu(k, { target: WASM_VECTORS, numerics }));
    if (!full || !vectors) return unscheduled(finishKernel(k));
    return finishScheduled(k, { target: vectors, numerics }, constants, target === 'wasm' ? threads : 1);
  };
  const shareRows = !full ? 'none' : target === 'webgpu' ? 'all' : 'chains';
  const attentionBlock = full && vectors ? vectors.lanes * vectors.tile.vectors : 0;
  const generic = lowerGeneric;
  const fusion = { shareRows, attentionBlock, avoidsCopies: full } as const;
  const ownsValues = target === 'wasm';
  const program = lowerModule(optimised, { numerics, finish, evaluate, generic, ownsValues, ...fusion });
  if (target === 'webgpu' && options.strict) refuseTwin(program);
  return full && vectors ? nameKernels(mergeKernels(program), vectors) : program;
}

export const compileModel = (model: SourceModel, options: CompileOptions = {}): Program =>
  lowerToProgram(importSource(model, options), options);

/** Runs a program without inputs in the interpreter: how constants are folded. */
function evaluate(p: Program): readonly Tensor[] {
  const entry = p.entries[0];
  if (!entry) throw new CompileError('E405', 'a program without entries cannot run');
  const out = createInterpreter(p).runSync({});
  return entry.outputs.map((o) => out[o.name] as Tensor);
}
