// The program under construction: buffers without places yet, kernels shared by structure, steps of the region
// being lowered. Buffers may be renamed into others (a branch's result placed in the output) until the end.

import type { DType } from '../../support/dtype.js';
import type { Tensor } from '../../support/tensor.js';
import { add, dimKey, dimSyms, product, type Sym, symDim, upperBound } from '../../ir/dim.js';
import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { kernelKey } from '../../ir/kernel-key.js';
import { kernelDims } from '../../ir/kernel-walk.js';
import type { BufferRef, Origin, Step } from '../../ir/program.js';
import type { ConstData, TensorType } from '../../ir/tensor.js';

/** A buffer before planning. */
export interface VirtualBuffer {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
  readonly place:
    | { readonly kind: 'input' | 'output'; readonly entry: number; readonly index: number }
    | { readonly kind: 'const'; readonly data: ConstData }
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

export function createProgramBuilder(finish: (k: Kernel) => Kernel): ProgramBuilder {
  const shared = new Map<string, number>();
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
      const key = kernelKey(raw);
      let index = shared.get(key);
      if (index === undefined) {
        index = p.kernels.length;
        p.kernels.push(finish(raw));
        shared.set(key, index);
        if (task.inPlace) p.inPlace.set(index, task.inPlace);
      }
      const kernel = p.kernels[index] as Kernel;
      task.refs.forEach((ref, slot) => {
        widenScratch(p, ref, kernel.params[slot]);
      });
      const refs = [
        ...task.refs,
        ...kernel.params
          .slice(task.refs.length)
          .map((q) => p.newBuffer(`${task.name}.${q.name}`, { dtype: q.dtype, shape: [q.size] }, { kind: 'arena' })),
      ];
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
