// A kernel as dispatches that are not merged yet: one for each piece, its buffers bound, its sizes as the host or the device
// will evaluate them. Scratch that a schedule made larger, and operands copied side by side, lie in pools of all kernels.

import { upperBound } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { BufferRef } from '../../ir/program.js';
import { invariant } from '../../support/errors.js';
import { sizeOfDim } from '../entry-spec.js';
import { bindBuffers, type Held, poolOf } from './bindings.js';
import { align } from './buffers.js';
import type { Draft } from './merge.js';
import { cutPieces, type Piece } from './pieces.js';
import type { GpuGather, GpuKnown, GpuSize } from './plan-types.js';
import { addSizes, elementOf, placeOf, type Planner } from './planner.js';
import { deviceBytes, type Part, type Pattern, writePart } from './shader.js';
import { type KnownStore, knownStores, sizeOfExpr } from './size-expr.js';
import type { KernelStep } from './steps.js';

/** One dispatch for each piece of a kernel. */
export function draftKernel(p: Planner, s: KernelStep): readonly Draft[] {
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
        step: s,
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
