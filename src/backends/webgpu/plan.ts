// A program as device buffers, pipelines and steps. Every buffer of the program is a buffer of the device by itself, as
// WebGPU forbids to bind two parts of one for reading and writing at once. Kernels that differ only in how they are bound
// are pipelines of their own; equal texts are one pipeline.

import { evalDim, upperBound } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { BufferRef, HostArg, Program, ProgramBuffer, Step } from '../../ir/program.js';
import { CompileError, invariant, never } from '../../support/errors.js';
import type { TypedArray } from '../../support/tensor.js';
import type { Size } from '../../runtime/io.js';
import { describeEntry, sizeOfDim } from '../entry-spec.js';
import { cutPieces, type Piece } from './pieces.js';
import type { GpuBufferPlan, GpuHostValue, GpuPipelinePlan, GpuPlan, GpuStep } from './plan-types.js';
import { deviceBytes, type Pattern, type Shader, writeShader } from './shader.js';
import { sizeOfExpr } from './size-expr.js';

export interface CompiledPlan {
  readonly plan: GpuPlan;
  /** What `data` of the plan's buffers points into. */
  readonly weights: Uint8Array;
}

interface Planner {
  readonly program: Program;
  /** Program buffer id → position in the plan. */
  readonly buffers: ReadonlyMap<number, number>;
  readonly pieces: Map<number, readonly Piece[]>;
  readonly pipelines: GpuPipelinePlan[];
  /** By code. */
  readonly known: Map<string, number>;
  readonly shaders: Map<string, { readonly pipeline: number; readonly shader: Shader }>;
  /** Bytes of each buffer for scratch that every invocation has for itself; all dispatches use the same ones. */
  readonly scratch: number[];
  hosts: number;
}

/** Throws E301 with every kernel the target cannot express. */
export function planProgram(program: Program): CompiledPlan {
  const { list, weights } = planBuffers(program);
  const p: Planner = {
    program,
    buffers: new Map(program.buffers.map((b, k) => [b.id, k])),
    pieces: new Map(),
    pipelines: [],
    known: new Map(),
    shaders: new Map(),
    scratch: [],
    hosts: 0,
  };
  const entries = program.entries.map((entry) => {
    const spec = describeEntry(entry);
    const bufferOf = (id: number): number => p.buffers.get(id) as number;
    return {
      name: entry.name,
      symbols: spec.symbols,
      inputs: spec.inputs.map((v, k) => ({ ...v, buffer: bufferOf(entry.inputs[k]?.buffer as number) })),
      outputs: spec.outputs.map((v, k) => ({ ...v, buffer: bufferOf(entry.outputs[k]?.buffer as number) })),
      steps: planSteps(p, entry.steps),
    };
  });
  const buffers = [...list, ...p.scratch.map((bytes): GpuBufferPlan => ({ dtype: 'u8', bytes, kind: 'value' }))];
  const needs = {
    storageBuffers: Math.max(0, ...p.pipelines.map((x) => x.access.length)),
    bindingBytes: Math.max(0, ...buffers.map((b) => b.bytes)),
  };
  return { plan: { buffers, pipelines: p.pipelines, entries, needs }, weights };
}

const align = (n: number, to: number): number => Math.ceil(n / to) * to;

function planBuffers(program: Program): { list: readonly GpuBufferPlan[]; weights: Uint8Array } {
  const parts: { at: number; bytes: Uint8Array }[] = [];
  let end = 0;
  const keep = (bytes: Uint8Array): readonly [number, number] => {
    const at = end;
    parts.push({ at, bytes });
    end = align(end + bytes.length, 16);
    return [at, bytes.length];
  };
  const list = program.buffers.map((b): GpuBufferPlan => {
    const size = b.dtype === 'string' ? 0 : b.elements * deviceBytes(b.dtype);
    const common = { dtype: b.dtype, bytes: Math.max(16, align(size, 4)) };
    const { place } = b;
    if (place.kind === 'const')
      return { ...common, kind: 'const', data: keep(bytesFor(b, place.data.data as TypedArray)) };
    if (place.kind !== 'state') return { ...common, kind: 'value' };
    const init = bytesFor(b, place.init.data as TypedArray);
    return init.every((x) => x === 0) ? { ...common, kind: 'state' } : { ...common, kind: 'state', data: keep(init) };
  });
  const weights = new Uint8Array(end);
  for (const { at, bytes } of parts) weights.set(bytes, at);
  return { list, weights };
}

function bytesFor(b: ProgramBuffer, data: TypedArray): Uint8Array {
  if (b.dtype === 'string') return new Uint8Array(0);
  const held = b.dtype === 'f64' ? Float32Array.from(data as Float64Array) : data;
  return new Uint8Array(held.buffer, held.byteOffset, held.byteLength);
}

const planSteps = (p: Planner, steps: readonly Step[]): readonly GpuStep[] => steps.flatMap((s) => planStep(p, s));

function planStep(p: Planner, s: Step): readonly GpuStep[] {
  const scalar = (r: BufferRef): readonly [number, Size] => [p.buffers.get(r.buffer) as number, sizeOfDim(r.offset)];
  switch (s.kind) {
    case 'kernel':
      return planKernel(p, s);
    case 'bind':
      return [{ do: 'bind', sym: { name: s.sym.name, lo: s.sym.lo, hi: s.sym.hi }, from: scalar(s.from) }];
    case 'if':
      return [{ do: 'if', cond: scalar(s.cond), then: planSteps(p, s.then), else: planSteps(p, s.else) }];
    case 'loop':
      return [{ do: 'loop', sym: s.sym.name, count: sizeOfDim(s.count), body: planSteps(p, s.body) }];
    case 'while':
      return [{ do: 'while', test: planSteps(p, s.test), cond: scalar(s.cond), body: planSteps(p, s.body) }];
    case 'host': {
      const value = (a: HostArg): GpuHostValue => [
        p.buffers.get(a.ref.buffer) as number,
        sizeOfDim(a.ref.offset),
        a.dtype,
        a.shape.map(sizeOfDim),
      ];
      return [{ do: 'host', op: s.op, index: p.hosts++, inputs: s.inputs.map(value), outputs: s.outputs.map(value) }];
    }
    default:
      return never(s, 'step');
  }
}

function planKernel(p: Planner, s: Step & { kind: 'kernel' }): readonly GpuStep[] {
  const kernel = p.program.kernels[s.kernel];
  invariant(kernel, `no kernel ${s.kernel}`);
  let pieces = p.pieces.get(s.kernel);
  if (!pieces) {
    pieces = cutPieces(kernel);
    p.pieces.set(s.kernel, pieces);
  }
  const dims = s.dims.map(sizeOfDim);
  const syms = new Map(kernel.syms.map((sym, k) => [sym.name, dims[k] as Size]));
  return pieces.flatMap((piece, k): GpuStep[] => {
    if (piece.slots.length === 0) return [];
    const refs = piece.slots.map((slot) => s.buffers[slot] as BufferRef);
    const pattern = patternOf(piece, refs);
    const { pipeline, shader } = shaderFor(p, s, k, piece, pattern);
    const bound: number[] = [];
    let scratch = 0;
    refs.forEach((r, i) => {
      const own = privateBytes(p, kernel, piece.slots[i] as number, r);
      bound[pattern.bindings[i] as number] =
        own > 0 ? takeScratch(p, scratch++, own) : (p.buffers.get(r.buffer) as number);
    });
    const sizes = shader.sizes.map(
      (x): Size => ('sym' in x ? (dims[x.sym] as Size) : sizeOfDim((refs[x.offset] as BufferRef).offset)),
    );
    return [{ do: 'run', pipeline, buffers: bound, sizes, count: piece.grid && sizeOfExpr(piece.grid.count, syms) }];
  });
}

/** Bytes of scratch that the schedule has made larger than what the program provides; 0 where it has not. */
function privateBytes(p: Planner, kernel: Kernel, slot: number, ref: BufferRef): number {
  const param = kernel.params[slot];
  const given = p.program.buffers[p.buffers.get(ref.buffer) as number];
  invariant(param && given, 'a step gives every parameter a buffer');
  if (param.access !== 'scratch') return 0;
  const elements = upperBound(param.size, param.name);
  return elements > given.elements ? elements * deviceBytes(param.dtype) : 0;
}

function takeScratch(p: Planner, n: number, bytes: number): number {
  p.scratch[n] = Math.max(p.scratch[n] ?? 0, 16, align(bytes, 4));
  return p.program.buffers.length + n;
}

/** A buffer that is written may be bound once only; one that is only read shares for the same price. */
function patternOf(piece: Piece, refs: readonly BufferRef[]): Pattern {
  const written = new Set(refs.filter((_, k) => piece.written.has(piece.slots[k] as number)).map((r) => r.buffer));
  const bindingOf = new Map<number, number>();
  let next = 0;
  const bindings = refs.map((r) => {
    const known = written.has(r.buffer) ? bindingOf.get(r.buffer) : undefined;
    const binding = known ?? next++;
    bindingOf.set(r.buffer, binding);
    return binding;
  });
  return { bindings, moved: refs.map((r) => typeof r.offset !== 'number' || evalDim(r.offset, new Map()) !== 0) };
}

function shaderFor(
  p: Planner,
  s: Step & { kind: 'kernel' },
  part: number,
  piece: Piece,
  pattern: Pattern,
): { pipeline: number; shader: Shader } {
  const key = `${s.kernel}/${part}/${pattern.bindings}/${pattern.moved}`;
  const known = p.shaders.get(key);
  if (known) return known;
  const kernel = p.program.kernels[s.kernel];
  invariant(kernel, `no kernel ${s.kernel}`);
  const shader = writeShader(kernel, piece, pattern);
  let pipeline = p.known.get(shader.code);
  if (pipeline === undefined) {
    pipeline = p.pipelines.length;
    p.pipelines.push({ name: labelOf(s, shader), code: shader.code, access: shader.access });
    p.known.set(shader.code, pipeline);
  }
  const made = { pipeline, shader };
  p.shaders.set(key, made);
  return made;
}

const labelOf = (s: Step & { kind: 'kernel' }, shader: Shader): string => {
  const node = s.origins.find((o) => o.node)?.node;
  return node ? `${shader.name} "${node}"` : shader.name;
};

/** E302 where a device of these limits cannot run the plan. */
export function checkLimits(
  plan: GpuPlan,
  limits: { readonly maxStorageBuffersPerShaderStage: number; readonly maxStorageBufferBindingSize: number },
): void {
  const { storageBuffers, bindingBytes } = plan.needs;
  if (storageBuffers > limits.maxStorageBuffersPerShaderStage)
    throw new CompileError(
      'E302',
      `a kernel binds ${storageBuffers} buffers, this device allows ${limits.maxStorageBuffersPerShaderStage}`,
    );
  if (bindingBytes > limits.maxStorageBufferBindingSize)
    throw new CompileError(
      'E302',
      `a buffer has ${bindingBytes} bytes, this device binds at most ${limits.maxStorageBufferBindingSize}`,
    );
}
