// A program as device buffers (buffers.ts), pipelines and steps. Kernels that do not need each other are one dispatch
// (merge.ts), those placed in the twin (placement.ts) one call. Kernels that differ only in how they are bound are
// pipelines of their own; equal texts are one pipeline.

import { upperBound } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { BufferRef, HostArg, Program, Step } from '../../ir/program.js';
import { CompileError, invariant, never } from '../../support/errors.js';
import { describeEntry, sizeOfDim } from '../entry-spec.js';
import { bindBuffers, type Held, poolOf } from './bindings.js';
import { align, BINDING_BYTES, type PlacedBuffer, placeBuffers } from './buffers.js';
import { type Draft, type Merged, mergeDrafts } from './merge.js';
import { dependencies, phasesOf, type Touches } from './phases.js';
import { cutPieces, type Piece } from './pieces.js';
import { type Placement, placeKernels } from './placement.js';
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
import { deviceBytes, type Part, type Pattern, writePart } from './shader.js';
import { shareBuffers } from './share-buffers.js';
import { shareParts } from './share-parts.js';
import { WORKGROUP, writeModule } from './shader-module.js';
import { sizeShader } from './size-shader.js';
import { type KnownStore, knownStores, sizeOfExpr } from './size-expr.js';
import { type KernelStep, kernelSteps, nestedSteps } from './steps.js';
import { emitTwin, type TwinCall, twinCall } from './twin.js';

export interface CompiledPlan {
  readonly plan: GpuPlan;
  /** What `data` of the plan's buffers points into. */
  readonly weights: Uint8Array;
  readonly placement: Placement;
  /** The module of the twin, which exports `call_N` and imports its memory; null where nothing is placed there. */
  readonly twin: Uint8Array | null;
}

interface Planner {
  readonly program: Program;
  readonly placement: Placement;
  /** By the program's buffer id. */
  readonly places: ReadonlyMap<number, PlacedBuffer>;
  /** Of the program's own; pools follow. */
  readonly list: readonly GpuBufferPlan[];
  readonly pieces: Map<number, readonly Piece[]>;
  readonly pipelines: GpuPipelinePlan[];
  /** By code. */
  readonly known: Map<string, number>;
  /** By kernel, piece and pattern. */
  parts: Map<string, Part>;
  /** Bytes of each buffer for private scratch and gathered operands; all dispatches use the same ones. */
  readonly pools: Map<string, { readonly position: number; bytes: number }>;
  readonly calls: TwinCall[];
  hosts: number;
}

/** Throws E301 with every kernel the target cannot express. Constants lie in buffers of `most` bytes, or one of their own. */
export function planProgram(program: Program, most = BINDING_BYTES): CompiledPlan {
  const refused = new Map<KernelStep, string>();
  for (;;) {
    const known = refused.size;
    const planned = planPlaced(program, placeKernels(program, refused), refused, most);
    if (planned) return planned;
    invariant(refused.size > known, 'another plan is tried only for another reason');
  }
}

/** null where more kernels turn out to be the twin's: they are in `refused` then. */
function planPlaced(
  program: Program,
  placement: Placement,
  refused: Map<KernelStep, string>,
  most: number,
): CompiledPlan | null {
  const { list, weights, places } = placeBuffers(program, idleBuffers(program, placement), most);
  const p: Planner = {
    program,
    placement,
    places,
    list,
    pieces: new Map(),
    pipelines: [],
    known: new Map(),
    parts: new Map(),
    pools: new Map(),
    calls: [],
    hosts: 0,
  };
  if (!draftAll(p, refused)) return null;
  p.parts = shareParts(p.parts);
  const planned = program.entries.map((entry) => {
    const spec = describeEntry(entry);
    const bufferOf = (id: number): number => placeOf(p, id).position;
    return {
      name: entry.name,
      symbols: spec.symbols,
      inputs: spec.inputs.map((v, k) => ({ ...v, buffer: bufferOf(entry.inputs[k]?.buffer as number) })),
      outputs: spec.outputs.map((v, k) => ({ ...v, buffer: bufferOf(entry.outputs[k]?.buffer as number) })),
      steps: planSteps(p, entry.steps),
    };
  });
  const all = [
    ...list,
    ...[...p.pools.values()].map(({ bytes }): GpuBufferPlan => ({ dtype: 'u8', bytes, kind: 'value' })),
  ];
  const { buffers, entries, numberOf } = shareBuffers(all, planned);
  const positionOf = (id: number): number => numberOf(placeOf(p, id).position);
  const twin = p.calls.length > 0 ? emitTwin(program, p.calls, buffers, positionOf) : null;
  const needs = {
    storageBuffers: Math.max(0, ...p.pipelines.map((x) => x.access.length)),
    bindingBytes: Math.max(0, ...buffers.map((b) => b.bytes)),
  };
  const held = buffers.map((b, k): GpuBufferPlan => {
    const address = twin?.addresses.get(k);
    return address === undefined ? b : { ...b, twin: address };
  });
  const sizes = program.entries.some((e) => hasBind(e.steps)) ? { sizes: sizeShader(WORKGROUP) } : {};
  const pages = twin ? { twinPages: twin.pages } : {};
  const plan = { buffers: held, pipelines: p.pipelines, entries, ...pages, ...sizes, needs };
  return { plan, weights, placement, twin: twin?.module ?? null };
}

const hasBind = (steps: readonly Step[]): boolean =>
  steps.some((s) => s.kind === 'bind' || nestedSteps(s).some(hasBind));

/** Whether a buffer is mentioned by kernels of the twin and by nothing else. */
function idleBuffers(program: Program, placement: Placement): (id: number) => boolean {
  const twin = new Set([...placement.keys()].flatMap((s) => s.buffers.map((r) => r.buffer)));
  const elsewhere = new Set<number>();
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.kind === 'kernel' && !placement.has(s)) for (const r of s.buffers) elsewhere.add(r.buffer);
      if (s.kind === 'bind') noteConstant(s.from.buffer);
      if (s.kind === 'if' || s.kind === 'while') noteConstant(s.cond.buffer);
      if (s.kind === 'host') for (const a of [...s.inputs, ...s.outputs]) noteConstant(a.ref.buffer);
      nestedSteps(s).forEach(visit);
    }
  };
  const constants = new Set(program.buffers.filter((b) => b.place.kind === 'const').map((b) => b.id));
  /** The host reads and writes values in the twin as well as on the device, but knows constants from their file. */
  const noteConstant = (id: number): void => void (constants.has(id) && elsewhere.add(id));
  for (const e of program.entries) visit(e.steps);
  return (id) => twin.has(id) && !elsewhere.has(id);
}

const placeOf = (p: Planner, id: number): PlacedBuffer => {
  const place = p.places.get(id);
  invariant(place, `no buffer ${id}`);
  return place;
};

/** A reference as a buffer of the plan and an element. */
function elementOf(p: Planner, r: BufferRef): readonly [number, GpuSize] {
  const { position, start } = placeOf(p, r.buffer);
  return [position, addSizes(sizeOfDim(r.offset), start)];
}

/** Kernels between two other steps are free to merge, and to change places where they do not need each other. */
function planSteps(p: Planner, steps: readonly Step[]): readonly GpuStep[] {
  const out: GpuStep[] = [];
  let kernels: KernelStep[] = [];
  const flush = (): void => {
    const after = dependencies(kernels, (s) => touchedBy(p, s));
    for (const phase of phasesOf(kernels, after, (s) => p.placement.has(s))) {
      if (phase.twin) out.push(callTwin(p, phase.steps));
      else out.push(...mergeDrafts(phase.steps.flatMap((s) => draftKernel(p, s))).map((m) => runStep(p, m)));
    }
    kernels = [];
  };
  for (const s of steps) {
    if (s.kind === 'kernel') kernels.push(s);
    else {
      flush();
      out.push(planStep(p, s));
    }
  }
  flush();
  return out;
}

function planStep(p: Planner, s: Exclude<Step, { kind: 'kernel' }>): GpuStep {
  switch (s.kind) {
    case 'bind':
      return {
        do: 'bind',
        sym: { name: s.sym.name, lo: s.sym.lo, hi: s.sym.hi, ...(s.sym.checked ? { checked: true } : {}) },
        from: elementOf(p, s.from),
      };
    case 'if':
      return { do: 'if', cond: elementOf(p, s.cond), then: planSteps(p, s.then), else: planSteps(p, s.else) };
    case 'loop':
      return { do: 'loop', sym: s.sym.name, count: sizeOfDim(s.count), body: planSteps(p, s.body) };
    case 'while':
      return { do: 'while', test: planSteps(p, s.test), cond: elementOf(p, s.cond), body: planSteps(p, s.body) };
    case 'host': {
      const value = (a: HostArg): GpuHostValue => [...elementOf(p, a.ref), a.dtype, a.shape.map(sizeOfDim)];
      return { do: 'host', op: s.op, index: p.hosts++, inputs: s.inputs.map(value), outputs: s.outputs.map(value) };
    }
    default:
      return never(s, 'step');
  }
}

/** What a kernel reads and writes, scratch as both. */
function touchedBy(p: Planner, s: KernelStep): Touches {
  const { params } = p.program.kernels[s.kernel] as Kernel;
  const own = (access: string): readonly number[] =>
    s.buffers.flatMap((r, k) => (params[k]?.access === access ? [r.buffer] : []));
  const both = [...own('readwrite'), ...own('scratch')];
  return { reads: [...own('read'), ...both], writes: [...own('write'), ...both] };
}

/** Constants are the twin's own. */
function callTwin(p: Planner, steps: readonly KernelStep[]): GpuStep {
  const call = twinCall(steps);
  const positions = (list: readonly number[]): number[] =>
    [...new Set(list)].flatMap((id) => {
      const position = p.places.get(id)?.position;
      return position === undefined || p.list[position]?.kind === 'const' ? [] : [position];
    });
  return {
    do: 'twin',
    call: p.calls.push(call) - 1,
    symbols: call.symbols.map((s) => s.name),
    reads: positions(steps.flatMap((s) => touchedBy(p, s).reads)),
    writes: positions(steps.flatMap((s) => touchedBy(p, s).writes)),
  };
}

/** Every part there will be, before any is used. False where a kernel that has a twin turns out to be beyond the device. */
function draftAll(p: Planner, refused: Map<KernelStep, string>): boolean {
  let isWhole = true;
  for (const s of p.program.entries.flatMap((e) => kernelSteps(e.steps))) {
    if (p.placement.has(s)) continue;
    try {
      draftKernel(p, s);
    } catch (error) {
      if (!(error instanceof CompileError) || !p.program.kernels[s.kernel]?.twin) throw error;
      refused.set(s, error.problems.map((x) => x.message).join('; '));
      isWhole = false;
    }
  }
  return isWhole;
}

/** One dispatch for each piece of a kernel. */
function draftKernel(p: Planner, s: KernelStep): readonly Draft[] {
  const kernel = p.program.kernels[s.kernel];
  invariant(kernel, `no kernel ${s.kernel}`);
  const pieces = p.pieces.get(s.kernel) ?? cutPieces(kernel);
  p.pieces.set(s.kernel, pieces);
  const dims = s.dims.map(sizeOfDim);
  const syms = new Map(kernel.syms.map((sym, k) => [sym.name, dims[k] as GpuSize]));
  return pieces.flatMap((piece, k): Draft[] => {
    if (piece.slots.length === 0) return [];
    const refs = piece.slots.map((slot) => s.buffers[slot] as BufferRef);
    const { pattern, gathered } = bindBuffers(kernel, piece, refs, (id) => heldAt(p, id));
    const part = partFor(p, s, k, piece, pattern);
    const place = placeOperands(p, kernel, piece, refs, pattern, gathered);
    const sizes = part.sizes.map((x): GpuSize => {
      if ('sym' in x) return dims[x.sym] as GpuSize;
      if ('constant' in x) return x.constant;
      const offset = sizeOfDim((refs[x.offset] as BufferRef).offset);
      return addSizes(offset, place.starts[x.offset] ?? 0);
    });
    const count = piece.grid && sizeOfExpr(piece.grid.count, syms);
    invariant(!piece.grid || count !== null, `the grid of ${kernel.name} has a size the host cannot compute`);
    return [
      {
        label: labelOf(s, kernel.name),
        part,
        bound: place.bound,
        size: {
          count,
          ...(piece.grid?.shared ? { shared: true as const } : {}),
          bytes: bytesMoved(kernel, piece),
          sizes,
        },
        known: planKnown(p, s, knownStores(kernel, piece, syms)),
        gather: place.gather,
      },
    ];
  });
}

function bytesMoved(kernel: Kernel, piece: Piece): number {
  const bytes = piece.slots.map((slot) => {
    const param = kernel.params[slot];
    return param ? upperBound(param.size, param.name) * deviceBytes(param.dtype) : 0;
  });
  return bytes.reduce((n, b) => n + b, 0);
}

function heldAt(p: Planner, id: number): Held {
  const { position } = placeOf(p, id);
  const plan = p.list[position];
  return { bytes: plan?.bytes ?? 0, constants: plan?.kind === 'const' ? position : null };
}

function runStep(p: Planner, { drafts, placed, buffers }: Merged): GpuStep {
  const { code, access } = writeModule(placed);
  let pipeline = p.known.get(code);
  if (pipeline === undefined) {
    pipeline = p.pipelines.push({ name: drafts.map((d) => d.label).join(' + '), code, access }) - 1;
    p.known.set(code, pipeline);
  }
  const known = drafts.flatMap((d) => d.known);
  const gather = drafts.flatMap((d) => d.gather);
  return {
    do: 'run',
    pipeline,
    buffers,
    parts: drafts.map((d) => d.size),
    ...(known.length > 0 ? { known } : {}),
    ...(gather.length > 0 ? { gather } : {}),
  };
}

function planKnown(p: Planner, s: KernelStep, stores: readonly KnownStore[]): readonly GpuKnown[] {
  const place = (slot: number, index: GpuSize): readonly [number, GpuSize] => {
    const [position, start] = elementOf(p, s.buffers[slot] as BufferRef);
    return [position, typeof start === 'number' ? addSizes(index, start) : ['+', index, start]];
  };
  return stores.map(({ slot, index, value }) => [
    ...place(slot, index),
    typeof value === 'object' && 'load' in value ? { of: place(...value.load) } : value,
  ]);
}

const addSizes = (a: GpuSize, b: number): GpuSize => (typeof a === 'number' ? a + b : b === 0 ? a : ['+', a, b]);

interface Operands {
  readonly bound: readonly number[];
  /** Element at which each gathered or pooled position starts, by position. */
  readonly starts: readonly (number | undefined)[];
  readonly gather: readonly GpuGather[];
}

function placeOperands(
  p: Planner,
  kernel: Kernel,
  piece: Piece,
  refs: readonly BufferRef[],
  pattern: Pattern,
  gathered: readonly (readonly number[])[],
): Operands {
  const bound: number[] = [];
  const starts: (number | undefined)[] = [];
  const gather: GpuGather[] = [];
  const placeOne = (r: BufferRef, i: number): number => {
    const { position, start } = placeOf(p, r.buffer);
    starts[i] = start;
    const slot = piece.slots[i] as number;
    const pool = poolOf(kernel, slot);
    if (pool) {
      const room = placeInPool(kernel, slot, pool);
      starts[i] = room.start;
      return takePool(p, pool, room.bytes);
    }
    const own = privateBytes(p, kernel, slot, r);
    return own > 0 ? takePool(p, `private ${i}`, own) : position;
  };
  refs.forEach((r, i) => {
    bound[pattern.bindings[i] as number] = placeOne(r, i);
  });
  for (const [n, list] of gathered.entries()) {
    const sources = list.map((k) => placeOf(p, refs[k]?.buffer as number).position);
    const bytesOf = (b: number): number => p.list[b]?.bytes ?? 0;
    const total = sources.reduce((n, b) => n + bytesOf(b), 0);
    const into = takePool(p, `gathered ${n}`, total);
    let at = 0;
    list.forEach((k, m) => {
      const from = sources[m] as number;
      const bytes = bytesOf(from);
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
  const given = p.program.buffers.find((b) => b.id === ref.buffer);
  invariant(param && given, 'a step gives every parameter a buffer');
  if (param.access !== 'scratch') return 0;
  const elements = upperBound(param.size, param.name);
  return elements > given.elements ? elements * deviceBytes(param.dtype) : 0;
}

/** The position of a buffer that all kernels share, of at least that many bytes. */
function takePool(p: Planner, name: string, bytes: number): number {
  const pool = p.pools.get(name) ?? { position: p.list.length + p.pools.size, bytes: 16 };
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

function partFor(p: Planner, s: KernelStep, k: number, piece: Piece, pattern: Pattern): Part {
  const key = `${s.kernel}/${k}/${pattern.bindings}/${pattern.moved}`;
  const kernel = p.program.kernels[s.kernel];
  invariant(kernel, `no kernel ${s.kernel}`);
  const part = p.parts.get(key) ?? writePart(kernel, piece, pattern);
  p.parts.set(key, part);
  return part;
}

const labelOf = (s: KernelStep, name: string): string => {
  const node = s.origins.find((o) => o.node)?.node;
  return node && node !== name ? `${name} "${node}"` : name;
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
