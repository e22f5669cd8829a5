// How the buffers of one step are bound. A buffer that is written may be bound only once, so all its uses share a binding.
// Where a kernel uses more buffers than every device can bind, its scratch shares buffers, and then some that are only
// read are copied side by side first.

import { type Dim, evalDim } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { BufferRef } from '../../ir/program.js';
import { storedType } from '../lang.js';
import type { Piece } from './pieces.js';
import { deviceBytes, type Pattern } from './shader.js';

/** What every WebGPU device binds to a stage. */
export const MOST_BINDINGS = 8;

export interface Bindings {
  readonly pattern: Pattern;
  /** Positions in the piece's slots whose buffers are copied into one; each list is a binding. */
  readonly gathered: readonly (readonly number[])[];
}

/** Where a kernel has many buffers its scratch of one type is one buffer: the name of that, or null. */
export function poolOf(kernel: Kernel, slot: number): string | null {
  const param = kernel.params[slot];
  if (param?.access !== 'scratch' || kernel.params.length <= MOST_BINDINGS) return null;
  return `scratch of ${storedType(param.dtype)}`;
}

/** Where a program's buffer is on the device. */
export interface Held {
  readonly bytes: number;
  /** The number of the buffer of constants it lies in; null: a buffer of its own. */
  readonly constants: number | null;
}

export function bindBuffers(
  kernel: Kernel,
  piece: Piece,
  refs: readonly BufferRef[],
  heldOf: (buffer: number) => Held,
): Bindings {
  const held = refs.map((r) => heldOf(r.buffer));
  const isWritten = (k: number): boolean => piece.written.has(piece.slots[k] as number);
  const written = new Set(refs.filter((_, k) => isWritten(k)).map((r) => r.buffer));
  const groups = new Map<string, number[]>();
  refs.forEach((r, k) => {
    const pool = poolOf(kernel, piece.slots[k] as number);
    const constants = held[k]?.constants ?? null;
    const type = storedType(kernel.params[piece.slots[k] as number]?.dtype ?? 'u8');
    const own = constants === null ? `slot ${k}` : `constants ${constants} of ${type}`;
    const key = pool ?? (written.has(r.buffer) ? `buffer ${r.buffer}` : own);
    groups.set(key, [...(groups.get(key) ?? []), k]);
  });
  const isPooled = (k: number): boolean => poolOf(kernel, piece.slots[k] as number) !== null;
  const isConstant = (k: number): boolean => (held[k]?.constants ?? null) !== null;
  const isFree = (k: number): boolean => !isPooled(k) && !isConstant(k) && !written.has(refs[k]?.buffer as number);
  const bytes = (k: number): number => held[k]?.bytes ?? 0;
  const free = [...groups.values()].filter(([k]) => isFree(k as number)).flat();
  const gathered = gather(
    free.sort((a, b) => bytes(a) - bytes(b)),
    (k) => storedType(kernel.params[piece.slots[k] as number]?.dtype ?? 'u8'),
    groups.size - MOST_BINDINGS,
  );
  const together = new Set(gathered.flat());
  const lists = [...[...groups.values()].filter(([k]) => !together.has(k as number)), ...gathered];
  lists.sort(([a], [b]) => (a as number) - (b as number));
  const bindings = refs.map((_, k) => lists.findIndex((list) => list.includes(k)));
  const isMoved = (r: BufferRef, k: number): boolean =>
    isPooled(k) ||
    isConstant(k) ||
    together.has(k) ||
    typeof r.offset !== 'number' ||
    evalDim(r.offset, new Map()) !== 0;
  /** What is gathered starts at a multiple of 4 bytes, everything else at one of 16. */
  const multipleAt = (r: BufferRef, k: number): number => {
    const bytes = together.has(k) ? 4 : 16;
    return Math.min(bytes / Math.min(bytes, bytesOf(kernel, piece.slots[k] as number)), multipleOf(r.offset));
  };
  const moved = refs.map((r, k) => isMoved(r, k) && multipleAt(r, k));
  return { pattern: { bindings, moved }, gathered };
}

const bytesOf = (kernel: Kernel, slot: number): number => deviceBytes(kernel.params[slot]?.dtype ?? 'u8');

/** The largest power of two, up to 16, that certainly divides a size. */
function multipleOf(d: Dim): number {
  const parts = typeof d === 'number' ? [d] : [d.constant, ...d.terms.map((t) => t.coef)];
  return [16, 8, 4, 2].find((n) => parts.every((p) => p % n === 0)) ?? 1;
}

/** Lists of positions of one type that save `excess` bindings in all, or as many as can be saved. */
function gather(free: readonly number[], typeOf: (k: number) => string, excess: number): readonly number[][] {
  if (excess <= 0) return [];
  const byType = new Map<string, number[]>();
  for (const k of free) byType.set(typeOf(k), [...(byType.get(typeOf(k)) ?? []), k]);
  const lists: number[][] = [];
  let left = excess;
  for (const list of [...byType.values()].sort((a, b) => b.length - a.length)) {
    const taken = list.slice(0, left + 1);
    if (left <= 0 || taken.length < 2) break;
    lists.push(taken.sort((a, b) => a - b));
    left -= taken.length - 1;
  }
  return lists;
}
