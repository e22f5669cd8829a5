// What a scheduled kernel is called with: the buffers it was lowered with as far as it still mentions them, memory for the
// call, and constants made at compile time by a small kernel of their own. The program builder turns these into buffers.

import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { mapSlots, slotsOf } from '../../ir/kernel-walk.js';

/** Parameters that are constant wherever a kernel is called, and whether nothing else reads what they hold: laid out anew, that
 *  takes no more room. */
export type Constants = ReadonlyMap<number, { readonly isOwn: boolean }>;

/** A kernel before scheduling. */
export interface Source {
  readonly kernel: Kernel;
  readonly constants: Constants;
}

export type Operand =
  /** The buffer at this position before scheduling. */
  | { readonly kind: 'given'; readonly slot: number }
  | { readonly kind: 'scratch' }
  /** What `kernel` writes to its last parameter; the others are the buffers at `reads`, all constant. */
  | { readonly kind: 'filled'; readonly kernel: Kernel; readonly reads: readonly number[] };

export interface ScheduledKernel {
  readonly kernel: Kernel;
  readonly operands: readonly Operand[];
}

/** A kernel called with what it was lowered with. */
export const unscheduled = (kernel: Kernel): ScheduledKernel => ({
  kernel,
  operands: kernel.params.map((_, slot) => ({ kind: 'given', slot })),
});

/** Where a schedule numbers local storage from, until it is known how many parameters there are. Kernels that declare storage
 *  before scheduling get no more parameters. */
export const FIRST_LOCAL = 1 << 20;

/** A parameter that a schedule added; `fill` computes it at compile time, as if it were at its slot in the kernel. */
export interface AddedParam {
  readonly param: BufferParam;
  readonly fill: readonly Stmt[] | null;
  /** Whether several nests use it, one after the other. */
  readonly isShared: boolean;
}

/** `kernel` with `body` and more parameters; constants that only fills read are parameters no longer. */
export function withOperands(kernel: Kernel, body: readonly Stmt[], added: readonly AddedParam[]): ScheduledKernel {
  const first = kernel.params.length;
  const inFills = new Set(added.flatMap((a) => (a.fill ? [...slotsOf(a.fill)] : [])));
  const mentioned = slotsOf(body);
  const kept = kernel.params.map((_, slot) => slot).filter((slot) => mentioned.has(slot) || !inFills.has(slot));
  const position = (slot: number): number => {
    if (slot >= FIRST_LOCAL) return slot - FIRST_LOCAL + kept.length + added.length;
    return slot < first ? kept.indexOf(slot) : kept.length + slot - first;
  };
  const operands: Operand[] = kept.map((slot) => ({ kind: 'given', slot }));
  operands.push(...added.map((a, k) => (a.fill ? filled(kernel, a, first + k) : ({ kind: 'scratch' } as const))));
  const params = [...kept.map((slot) => kernel.params[slot] as BufferParam), ...added.map((a) => a.param)];
  const renumbered = kept.length < first || [...mentioned].some((slot) => slot >= FIRST_LOCAL);
  const moved = renumbered ? mapSlots(body, position) : body;
  return { kernel: { ...kernel, params, body: moved }, operands };
}

function filled(kernel: Kernel, { param, fill }: AddedParam, own: number): Operand {
  const body = fill ?? [];
  const reads = [...slotsOf(body)].filter((slot) => slot !== own).sort((a, b) => a - b);
  const position = (slot: number): number => (slot === own ? reads.length : reads.indexOf(slot));
  const params = [...reads.map((slot) => kernel.params[slot] as BufferParam), { ...param, access: 'write' as const }];
  return {
    kind: 'filled',
    kernel: { name: `${kernel.name}_${param.name}`, params, syms: [], body: mapSlots(body, position) },
    reads,
  };
}
