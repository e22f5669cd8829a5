// The compiled module: kernels, buffers with places in memory, and for each entry the list of steps to run.
// This is all a backend sees. Every value's memory, size and lifetime is decided here; nothing allocates at run time.

import type { Tensor } from '../support/tensor.js';
import type { DType } from '../support/dtype.js';
import type { Dim, Sym } from './dim.js';
import type { Kernel } from './kernel.js';

/** Where a piece of the model came from: the source operator and the file's own names. */
export interface Origin {
  readonly op: string;
  readonly node: string;
  /** Position in the source graph. */
  readonly index: number;
  /** Through functions and subgraphs, outermost first. */
  readonly path: readonly string[];
  /** Further source operators whose work is done here too; none of these has others. */
  readonly also?: readonly Origin[];
}

/** One memory object. `elements` is its size at the symbols' bounds. Offsets are bytes and multiples of 16. */
export interface ProgramBuffer {
  readonly id: number;
  readonly name: string;
  readonly dtype: DType;
  readonly elements: number;
  readonly place: /** `offset`: in the arena, whose bytes are others' before or after; without: in memory of its own. */
    | { readonly kind: 'input' | 'output'; readonly entry: number; readonly index: number; readonly offset?: number }
    | { readonly kind: 'const'; readonly offset: number; readonly data: Tensor }
    | { readonly kind: 'arena'; readonly offset: number }
    | { readonly kind: 'state'; readonly offset: number; readonly init: Tensor };
}

/** What a buffer's offset counts in; null: it has memory of its own. */
export function spaceOf({ place }: ProgramBuffer): 'const' | 'arena' | 'state' | null {
  if (place.offset === undefined) return null;
  return place.kind === 'input' || place.kind === 'output' ? 'arena' : place.kind;
}

/** Part of a buffer: starts `offset` elements in. */
export interface BufferRef {
  readonly buffer: number;
  readonly offset: Dim;
}

export type Step =
  /** Runs a kernel; `buffers` match its params, `dims` its syms. `origin` is every source node it computes. */
  | {
      readonly kind: 'kernel';
      readonly kernel: number;
      readonly buffers: readonly BufferRef[];
      readonly dims: readonly Dim[];
      /** Elements of each buffer at this call, where the kernel serves calls of several sizes. */
      readonly sizes?: readonly Dim[];
      readonly origins: readonly Origin[];
    }
  /** Gives a symbol its value from a scalar i64 or i32 buffer, clamped to the symbol's bounds. */
  | { readonly kind: 'bind'; readonly sym: Sym; readonly from: BufferRef }
  /** `cond` is one i1 element. */
  | { readonly kind: 'if'; readonly cond: BufferRef; readonly then: readonly Step[]; readonly else: readonly Step[] }
  /** Runs body `count` times with `sym` = 0, 1, … */
  | { readonly kind: 'loop'; readonly sym: Sym; readonly count: Dim; readonly body: readonly Step[] }
  /** Runs `test`, stops when `cond` (one i1 element) is 0, else runs body and repeats. */
  | {
      readonly kind: 'while';
      readonly test: readonly Step[];
      readonly cond: BufferRef;
      readonly body: readonly Step[];
    }
  /** A host op: `reference` of the plugin or record named `op` is called. */
  | {
      readonly kind: 'host';
      readonly op: string;
      readonly call: HostCall;
      readonly inputs: readonly HostArg[];
      readonly outputs: readonly HostArg[];
      readonly origins: readonly Origin[];
    };

export type HostCall = (inputs: readonly Tensor[]) => readonly Tensor[];

export interface HostArg {
  readonly ref: BufferRef;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** An input or output of an entry. Inputs' symbols are read off their actual shapes. */
export interface ProgramValue {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
  readonly buffer: number;
}

export interface ProgramEntry {
  readonly name: string;
  readonly inputs: readonly ProgramValue[];
  readonly outputs: readonly ProgramValue[];
  readonly steps: readonly Step[];
}

/** Whether an output of some run may be this input, by type and number of axes. */
export const mayReturn = (input: ProgramValue, entries: readonly ProgramEntry[]): boolean =>
  input.dtype !== 'string' &&
  entries.some((e) => e.outputs.some((o) => o.dtype === input.dtype && o.shape.length === input.shape.length));

export interface Program {
  readonly name: string;
  readonly kernels: readonly Kernel[];
  readonly buffers: readonly ProgramBuffer[];
  readonly entries: readonly ProgramEntry[];
  readonly arenaBytes: number;
  readonly stateBytes: number;
  readonly weightBytes: number;
  /** Largest sum of simultaneously live arena bytes, and the source node at which it occurs. */
  readonly peak: { readonly bytes: number; readonly origin: Origin | null };
  readonly numerics: 'fast' | 'strict';
}
