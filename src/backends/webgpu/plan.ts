// A program as device buffers, pipelines and steps. Every buffer of the program is a buffer of the device by itself, as
// WebGPU forbids to bind two parts of one for reading and writing at once. Kernels that differ only in how they are bound
// are pipelines of their own; equal texts are one pipeline.

import { upperBound } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { BufferRef, HostArg, Program, ProgramBuffer, Step } from '../../ir/program.js';
import { CompileError, invariant, never } from '../../support/errors.js';
import type { TypedArray } from '../../support/tensor.js';
import { describeEntry, sizeOfDim } from '../entry-spec.js';
import { bindBuffers, poolOf } from './bindings.js';
import { cutPieces, type Piece } from './pieces.js';
import type {
  GpuBufferPlan,
  GpuGather,
  GpuHostValue,
  GpuKnown,
  GpuPipelinePlan,
  GpuPlan,
  GpuSize,
  GpuStep,
} from './plan-types.js';
import { deviceBytes, type Pattern, type Shader, writeShader } from './shader.js';
import { type KnownStore, knownStores, sizeOfExpr } from './size-expr.js';

export interface CompiledPlan {
  readonly plan: GpuPlan;
  /** What `data` of the plan's buffers points into. */
  readonly weights: Uint8Array;
}

interface Planner {
  readonly program: Program;
  /** Program buffer id → position in the plan. */
  readonly buffers: ReadonlyMap<number, number>;
  /** By position. */
  readonly bytes: readonly number[];
  readonly pieces: Map<number, readonly Piece[]>;
  readonly pipelines: GpuPipelinePlan[];
  /** By code. */
  readonly known: Map<string, number>;
  readonly shaders: Map<string, { readonly pipeline: number; readonly shader: Shader }>;
  /** Bytes of each buffer for private scratch and gathered operands; all dispatches use the same ones. */
  readonly pools: Map<string, { readonly position: number; bytes: number }>;
  hosts: number;
}

/** Throws E301 with every kernel the target cannot express. */
export function planProgram(program: Program): CompiledPlan {
  const { list, weights } = planBuffers(program);
  const p: Planner = {
    program,
    buffers: new Map(program.buffers.map((b, k) => [b.id, k])),
    bytes: list.map((b) => b.bytes),
    pieces: new Map(),
    pipelines: [],
    known: new Map(),
    shaders: new Map(),
    pools: new Map(),
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
  const buffers = [
    ...list,
    ...[...p.pools.values()].map(({ bytes }): GpuBufferPlan => ({ dtype: 'u8', bytes, kind: 'value' })),
  ];
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
  const scalar = (r: BufferRef): readonly [number, GpuSize] => [p.buffers.get(r.buffer) as number, sizeOfDim(r.offset)];
  switch (s.kind) {
    case 'kernel':
      return planKernel(p, s);
    case 'bind':
      return [
        {
          do: 'bind',
          sym: { name: s.sym.name, lo: s.sym.lo, hi: s.sym.hi, ...(s.sym.checked ? { checked: true } : {}) },
          from: scalar(s.from),
        },
      ];
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
  const syms = new Map(kernel.syms.map((sym, k) => [sym.name, dims[k] as GpuSize]));
  return pieces.flatMap((piece, k): GpuStep[] => {
    if (piece.slots.length === 0) return [];
    const refs = piece.slots.map((slot) => s.buffers[slot] as BufferRef);
    const { pattern, gathered } = bindBuffers(kernel, piece, refs, (id) => p.bytes[p.buffers.get(id) as number] ?? 0);
    const { pipeline, shader } = shaderFor(p, s, k, piece, pattern);
    const place = placeBuffers(p, kernel, piece, refs, pattern, gathered);
    const sizes = shader.sizes.map((x): GpuSize => {
      if ('sym' in x) return dims[x.sym] as GpuSize;
      const offset = sizeOfDim((refs[x.offset] as BufferRef).offset);
      return addSizes(offset, place.starts[x.offset] ?? 0);
    });
    const count = piece.grid && sizeOfExpr(piece.grid.count, syms);
    invariant(!piece.grid || count !== null, `the grid of ${kernel.name} has a size the host cannot compute`);
    const known = planKnown(p, s, knownStores(kernel, piece, syms));
    return [
      {
        do: 'run',
        pipeline,
        buffers: place.bound,
        sizes,
        count,
        ...(piece.grid?.shared ? { shared: true as const } : {}),
        ...(known.length > 0 ? { known } : {}),
        ...(place.gather.length > 0 ? { gather: place.gather } : {}),
      },
    ];
  });
}

function planKnown(p: Planner, s: Step & { kind: 'kernel' }, stores: readonly KnownStore[]): readonly GpuKnown[] {
  const place = (slot: number, index: GpuSize): readonly [number, GpuSize] => {
    const ref = s.buffers[slot] as BufferRef;
    return [p.buffers.get(ref.buffer) as number, ref.offset === 0 ? index : ['+', index, sizeOfDim(ref.offset)]];
  };
  return stores.map(({ slot, index, value }) => [
    ...place(slot, index),
    typeof value === 'object' && 'load' in value ? { of: place(...value.load) } : value,
  ]);
}

const addSizes = (a: GpuSize, b: number): GpuSize => (typeof a === 'number' ? a + b : b === 0 ? a : ['+', a, b]);

interface Placed {
  readonly bound: readonly number[];
  /** Element at which each gathered or pooled position starts, by position. */
  readonly starts: readonly (number | undefined)[];
  readonly gather: readonly GpuGather[];
}

function placeBuffers(
  p: Planner,
  kernel: Kernel,
  piece: Piece,
  refs: readonly BufferRef[],
  pattern: Pattern,
  gathered: readonly (readonly number[])[],
): Placed {
  const bound: number[] = [];
  const starts: (number | undefined)[] = [];
  const gather: GpuGather[] = [];
  const placeOne = (r: BufferRef, i: number): number => {
    const slot = piece.slots[i] as number;
    const pool = poolOf(kernel, slot);
    if (pool) {
      const { start, bytes } = placeInPool(kernel, slot, pool);
      starts[i] = start;
      return takePool(p, pool, bytes);
    }
    const own = privateBytes(p, kernel, slot, r);
    return own > 0 ? takePool(p, `private ${i}`, own) : (p.buffers.get(r.buffer) as number);
  };
  refs.forEach((r, i) => {
    bound[pattern.bindings[i] as number] = placeOne(r, i);
  });
  for (const [n, list] of gathered.entries()) {
    const sources = list.map((k) => p.buffers.get(refs[k]?.buffer as number) as number);
    const total = sources.reduce((n, b) => n + (p.bytes[b] as number), 0);
    const into = takePool(p, `gathered ${n}`, total);
    let at = 0;
    list.forEach((k, m) => {
      const from = sources[m] as number;
      const bytes = p.bytes[from] as number;
      const element = deviceBytes(kernel.params[piece.slots[k] as number]?.dtype ?? 'u8');
      gather.push([from, into, at, bytes]);
      starts[k] = at / element;
      at += bytes;
    });
    bound[pattern.bindings[list[0] as number] as number] = into;
  }
  return { bound, starts, gather };
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

/** The position of a buffer that all kernels share, of at least that many bytes. */
function takePool(p: Planner, name: string, bytes: number): number {
  const pool = p.pools.get(name) ?? { position: p.program.buffers.length + p.pools.size, bytes: 16 };
  pool.bytes = Math.max(pool.bytes, align(bytes, 4));
  p.pools.set(name, pool);
  return pool.position;
}

/** Where pooled scratch starts, in elements, and the size of all of the kernel's in that pool, in bytes. */
function placeInPool(kernel: Kernel, slot: number, name: string): { start: number; bytes: number } {
  let at = 0;
  let start = 0;
  const element = deviceBytes(kernel.params[slot]?.dtype ?? 'u8');
  kernel.params.forEach((param, k) => {
    if (poolOf(kernel, k) !== name) return;
    if (k === slot) start = at / element;
    at += align(upperBound(param.size, param.name) * element, 16);
  });
  return { start, bytes: at };
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
