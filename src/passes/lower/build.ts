// The program under construction: buffers without places yet, kernels shared by structure, steps of the region
// being lowered. Buffers may be renamed into others (a branch's result placed in the output) until the end.

import { invariant } from '../../support/errors.js';
import type { DType } from '../../support/dtype.js';
import type { Tensor } from '../../support/tensor.js';
import { add, dimKey, dimSyms, product, type Sym, symDim, upperBound } from '../../ir/dim.js';
import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { kernelKey } from '../../ir/kernel-key.js';
import { kernelDims } from '../../ir/kernel-walk.js';
import type { BufferRef, Origin, Step } from '../../ir/program.js';
import type { ConstData, TensorType } from '../../ir/tensor.js';
import type { Constants, Operand, ScheduledKernel } from '../schedule/operands.js';
import { type ConstSource, type Evaluate, fillConstant, fillKey } from './fill.js';

/** A buffer before planning. */
export interface VirtualBuffer {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
  readonly place:
    | { readonly kind: 'input' | 'output'; readonly entry: number; readonly index: number }
    /** `isOwn`: read in one place of the module. */
    | { readonly kind: 'const'; readonly data: ConstData; readonly isOwn?: boolean }
    | { readonly kind: 'state'; readonly init: Tensor }
    | { readonly kind: 'arena' };
  /** Nesting depth of the region that made it. */
  readonly region: number;
}

export interface ProgramBuilder {
  readonly buffers: VirtualBuffer[];
  readonly kernels: Kernel[];
  /** Buffer → the buffer (and offset) it was merged into. */
  readonly renamed: Map<number, BufferRef>;
  /** Which output slot of a kernel may share memory with which input slot. */
  readonly inPlace: Map<number, readonly (readonly [output: number, input: number])[]>;
  newBuffer(name: string, type: TensorType, place: VirtualBuffer['place']): BufferRef;
  /** Appends to the current step list. */
  emit(step: Step): void;
  /** Scratch that scheduling added to the kernel is allocated here. */
  emitKernel(task: KernelTask): void;
  /** Runs `f` with a fresh step list one region deeper. */
  nested<T>(f: () => T): { steps: Step[]; result: T; region: number };
  readonly region: () => number;
}

export interface KernelTask {
  readonly name: string;
  readonly params: readonly BufferParam[];
  readonly refs: readonly BufferRef[];
  readonly body: readonly Stmt[];
  readonly origins: readonly Origin[];
  readonly inPlace?: readonly (readonly [number, number])[];
}

/** Kernel passes; `constants` are the parameters whose buffers are constant. */
export type Finish = (k: Kernel, constants: Constants) => ScheduledKernel;

export function createProgramBuilder(finish: Finish, evaluate: Evaluate): ProgramBuilder {
  const shared = new Map<string, number>();
  const operands: (readonly Operand[])[] = [];
  const filled = new Map<string, BufferRef>();
  let steps: Step[] = [];
  let region = 0;
  let regions = 0;
  const p: ProgramBuilder = {
    buffers: [],
    kernels: [],
    renamed: new Map(),
    inPlace: new Map(),
    region: () => region,
    newBuffer(name, type, place) {
      const elements = upperBound(product(type.shape), `"${name}"`);
      const id = p.buffers.length;
      p.buffers.push({ id, name, dtype: type.dtype, elements, place, region });
      return { buffer: id, offset: 0 };
    },
    emit: (step) => {
      steps.push(step);
    },
    emitKernel(task) {
      const raw: Kernel = { name: task.name, params: task.params, syms: symsOf(task), body: task.body };
      const constants = constantsOf(p.buffers, task.refs);
      const key = `${[...constants].map(([k, { isOwn }]) => `${k}${isOwn ? '!' : ''}`)}|${kernelKey(raw)}`;
      let index = shared.get(key);
      if (index === undefined) {
        index = p.kernels.length;
        const scheduled = finish(raw, constants);
        p.kernels.push(scheduled.kernel);
        operands.push(scheduled.operands);
        shared.set(key, index);
        const same = scheduled.operands.every((o, k) => o.kind !== 'given' || o.slot === k);
        if (task.inPlace && same) p.inPlace.set(index, task.inPlace);
      }
      const kernel = p.kernels[index] as Kernel;
      task.refs.forEach((ref, slot) => {
        const at = (operands[index as number] ?? []).findIndex((o) => o.kind === 'given' && o.slot === slot);
        widenScratch(p, ref, kernel.params[at]);
      });
      const refs = (operands[index] ?? []).map((o, k): BufferRef => {
        const q = kernel.params[k] as BufferParam;
        const type = { dtype: q.dtype, shape: [q.size] };
        if (o.kind === 'given') return task.refs[o.slot] as BufferRef;
        if (o.kind === 'scratch') return p.newBuffer(`${task.name}.${q.name}`, type, { kind: 'arena' });
        const sources = o.reads.map((slot) => constSource(p.buffers, task.refs[slot] as BufferRef));
        const contents = fillKey(o, sources);
        const place = { kind: 'const', data: fillConstant(o, sources, evaluate) } as const;
        const ref = filled.get(contents) ?? p.newBuffer(`${task.name}.${q.name}`, type, place);
        filled.set(contents, ref);
        return ref;
      });
      steps.push({
        kind: 'kernel',
        kernel: index,
        buffers: refs,
        dims: kernel.syms.map(symDim),
        origins: task.origins,
      });
    },
    nested(f) {
      const outer = { steps, region };
      steps = [];
      region = ++regions;
      const mine = { steps, region };
      try {
        return { result: f(), ...mine };
      } finally {
        steps = outer.steps;
        region = outer.region;
      }
    },
  };
  return p;
}

/** A schedule may want more of scratch that lowering asked for. */
function widenScratch(p: ProgramBuilder, ref: BufferRef, param: BufferParam | undefined): void {
  const buffer = p.buffers[ref.buffer];
  if (param?.access !== 'scratch' || !buffer) return;
  const elements = Math.max(buffer.elements, upperBound(param.size, `"${buffer.name}"`));
  p.buffers[ref.buffer] = { ...buffer, elements };
}

function constantsOf(buffers: readonly VirtualBuffer[], refs: readonly BufferRef[]): Constants {
  const found = new Map<number, { isOwn: boolean }>();
  refs.forEach(({ buffer, offset }, slot) => {
    const place = buffers[buffer]?.place;
    if (offset !== 0 || place?.kind !== 'const') return;
    const isOwn = place.isOwn === true && refs.every((r, k) => k === slot || r.buffer !== buffer);
    found.set(slot, { isOwn });
  });
  return found;
}

function constSource(buffers: readonly VirtualBuffer[], ref: BufferRef): ConstSource {
  const b = buffers[ref.buffer];
  invariant(b?.place.kind === 'const', 'constants are filled from constants');
  return { id: b.id, name: b.name, data: b.place.data };
}

/** Symbols a body or its buffer sizes mention. */
function symsOf(task: KernelTask): readonly Sym[] {
  const found = new Map<string, Sym>();
  for (const d of kernelDims(task.body)) dimSyms(d, found);
  for (const q of task.params) if (q.access === 'scratch') dimSyms(q.size, found);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Follows renames to the buffer that holds the data in the end. */
export function resolveRef(ref: BufferRef, renamed: ReadonlyMap<number, BufferRef>): BufferRef {
  let at = ref;
  for (let next = renamed.get(at.buffer); next; next = renamed.get(at.buffer))
    at = { buffer: next.buffer, offset: add(at.offset, next.offset) };
  return at;
}

export const refKey = (r: BufferRef): string => `${r.buffer}+${dimKey(r.offset)}`;
