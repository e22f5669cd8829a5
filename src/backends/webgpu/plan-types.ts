// What a compiled model is to the code that runs it (executor/): plain data, the same in a session of this process and
// in a shipped model.mjs. Buffers and pipelines are named by their position.

import type { SymbolSpec, ValueSpec } from '../../runtime/io.js';
import type { SizeShader } from './size-shader.js';

/** A size of runtime/io.ts, or more of the arithmetic that kernels have (size-expr.ts). */
export type GpuSize = number | string | readonly [op: string, x: GpuSize, y?: GpuSize, z?: GpuSize];

/**
 * `bytes` on the device, a multiple of 4. `data`: where its first contents are in the weights; without it, zeros. `twin`:
 * its address in the memory of the WebAssembly twin, where that uses it; of kind `twin` it is there alone.
 */
export interface GpuBufferPlan {
  readonly dtype: string;
  readonly bytes: number;
  readonly kind: 'const' | 'state' | 'value' | 'twin';
  readonly twin?: number;
  readonly data?: readonly [offset: number, bytes: number];
}

/** Bindings: 0 the sizes (uniform, dynamic offset), then one for each of `access`. */
export interface GpuPipelinePlan {
  readonly name: string;
  readonly code: string;
  /** Texts that a device with subgroups has in place of others, in order. */
  readonly subgroups?: readonly (readonly [from: string, to: string])[];
  readonly access: readonly ('read' | 'write')[];
}

/** A tensor of a host step. */
export type GpuHostValue = readonly [buffer: number, offset: GpuSize, dtype: string, shape: readonly GpuSize[]];

/** An element's value: of sizes, or that of another element. */
export type GpuKnown = readonly [
  buffer: number,
  index: GpuSize,
  value: GpuSize | { readonly of: readonly [buffer: number, index: GpuSize] },
];

/** Bytes of a whole buffer into another from byte `at` on. */
export type GpuGather = readonly [from: number, into: number, at: number, bytes: number];

/** Work that has workgroups of its own in a dispatch. */
export interface GpuPart {
  /** Invocations, or null for exactly one. */
  readonly count: GpuSize | null;
  /** `count` is of workgroups. */
  readonly shared?: true;
  /** Of everything it reads and writes, at the sizes' bounds, each element once. */
  readonly bytes: number;
  /** The uniform's words after the part's `end` and `total`. */
  readonly sizes: readonly GpuSize[];
}

export type GpuStep =
  | {
      readonly do: 'run';
      readonly pipeline: number;
      readonly buffers: readonly number[];
      readonly parts: readonly GpuPart[];
      /** What it writes where that follows from the sizes: the host need not read it back. */
      readonly known?: readonly GpuKnown[];
      /** Copies to make first. */
      readonly gather?: readonly GpuGather[];
    }
  | {
      readonly do: 'bind';
      readonly sym: SymbolSpec & { readonly checked?: boolean };
      readonly from: readonly [buffer: number, offset: GpuSize];
    }
  | {
      readonly do: 'if';
      readonly cond: readonly [buffer: number, offset: GpuSize];
      readonly then: readonly GpuStep[];
      readonly else: readonly GpuStep[];
    }
  | { readonly do: 'loop'; readonly sym: string; readonly count: GpuSize; readonly body: readonly GpuStep[] }
  | {
      readonly do: 'while';
      readonly test: readonly GpuStep[];
      readonly cond: readonly [buffer: number, offset: GpuSize];
      readonly body: readonly GpuStep[];
    }
  | {
      readonly do: 'host';
      readonly op: string;
      /** Position among all host steps. */
      readonly index: number;
      readonly inputs: readonly GpuHostValue[];
      readonly outputs: readonly GpuHostValue[];
    }
  /** Kernels that the WebAssembly twin runs, in one call. */
  | {
      readonly do: 'twin';
      /** Position among its calls. */
      readonly call: number;
      /** Its arguments. */
      readonly symbols: readonly string[];
      readonly reads: readonly number[];
      readonly writes: readonly number[];
    };

export interface GpuEntryPlan {
  readonly name: string;
  readonly symbols: readonly SymbolSpec[];
  readonly inputs: readonly (ValueSpec & { readonly buffer: number })[];
  readonly outputs: readonly (ValueSpec & { readonly buffer: number })[];
  readonly steps: readonly GpuStep[];
}

export interface GpuPlan {
  readonly buffers: readonly GpuBufferPlan[];
  readonly pipelines: readonly GpuPipelinePlan[];
  readonly entries: readonly GpuEntryPlan[];
  /** Pages of the twin's memory, where there is one. */
  readonly twinPages?: number;
  /** Where data decide sizes: how the device evaluates them. */
  readonly sizes?: SizeShader;
  /** Most storage buffers a pipeline binds, most bytes a binding has, most invocations a workgroup has: to compare with the device's limits. */
  readonly needs: { readonly storageBuffers: number; readonly bindingBytes: number; readonly invocations: number };
}

/** What one run came to. */
export interface RunCounts {
  readonly dispatches: number;
  /** Waits for the device within the run, the outputs not among them. */
  readonly readbacks: number;
  readonly submits: number;
  /** Calls of the WebAssembly twin. */
  readonly twin: number;
}
