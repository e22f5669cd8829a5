// The buffers of a program as buffers of a device. Constants of one type lie together, as many as one binding may hold,
// so that a kernel that reads several binds one buffer. Everything else is a buffer of its own: WebGPU forbids to bind
// two parts of one for reading and writing at once.

import type { Program, ProgramBuffer } from '../../ir/program.js';
import type { TypedArray } from '../../support/tensor.js';
import type { GpuBufferPlan } from './plan-types.js';
import { deviceBytes } from './shader.js';

/** Bytes that every WebGPU device can bind at once. */
export const BINDING_BYTES = 2 ** 27;

export interface PlacedBuffer {
  /** In the plan's list. */
  readonly position: number;
  /** Elements before it. */
  readonly start: number;
}

export interface PlacedBuffers {
  readonly list: readonly GpuBufferPlan[];
  readonly weights: Uint8Array;
  /** By the program's id. */
  readonly places: ReadonlyMap<number, PlacedBuffer>;
}

export const align = (n: number, to: number): number => Math.ceil(n / to) * to;

interface Chunk {
  readonly position: number;
  readonly parts: Uint8Array[];
  bytes: number;
}

/** `isIdle`: buffers of the program that nothing on the device or the host looks at. `most`: bytes of constants in a buffer. */
export function placeBuffers(
  program: Program,
  isIdle: (id: number) => boolean = () => false,
  most = BINDING_BYTES,
): PlacedBuffers {
  const list: GpuBufferPlan[] = [];
  const places = new Map<number, PlacedBuffer>();
  const chunks = new Map<string, Chunk>();
  const contents: { readonly position: number; readonly parts: readonly Uint8Array[]; readonly bytes: () => number }[] =
    [];
  for (const b of program.buffers) {
    const size = b.dtype === 'string' ? 0 : b.elements * deviceBytes(b.dtype);
    const { place } = b;
    if (place.kind === 'const') {
      if (isIdle(b.id)) continue;
      const data = bytesFor(b, place.data.data as TypedArray);
      const room = align(data.length, 16);
      let chunk = chunks.get(b.dtype);
      if (!chunk || chunk.bytes + room > most) {
        const fresh: Chunk = { position: list.length, parts: [], bytes: 0 };
        list.push({ dtype: b.dtype, bytes: 16, kind: 'const' });
        contents.push({ position: fresh.position, parts: fresh.parts, bytes: () => fresh.bytes });
        chunks.set(b.dtype, fresh);
        chunk = fresh;
      }
      places.set(b.id, {
        position: chunk.position,
        start: chunk.bytes / deviceBytes(b.dtype === 'string' ? 'u8' : b.dtype),
      });
      chunk.parts.push(padded(data, room));
      chunk.bytes += room;
      continue;
    }
    const position = list.length;
    places.set(b.id, { position, start: 0 });
    list.push({
      dtype: b.dtype,
      bytes: Math.max(16, align(size, 4)),
      kind: place.kind === 'state' ? 'state' : isIdle(b.id) ? 'twin' : 'value',
    });
    if (place.kind !== 'state') continue;
    const init = bytesFor(b, place.init.data as TypedArray);
    if (init.some((x) => x !== 0))
      contents.push({ position, parts: [padded(init, align(init.length, 16))], bytes: () => init.length });
  }
  return { list: withContents(list, contents), weights: join(contents.flatMap((c) => c.parts)), places };
}

function withContents(
  list: readonly GpuBufferPlan[],
  contents: readonly {
    readonly position: number;
    readonly parts: readonly Uint8Array[];
    readonly bytes: () => number;
  }[],
): readonly GpuBufferPlan[] {
  const out = [...list];
  let at = 0;
  for (const { position, parts, bytes } of contents) {
    const plan = out[position] as GpuBufferPlan;
    out[position] = { ...plan, bytes: Math.max(plan.bytes, align(bytes(), 4)), data: [at, bytes()] };
    at += parts.reduce((n, p) => n + p.length, 0);
  }
  return out;
}

function padded(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length === size) return bytes;
  const out = new Uint8Array(size);
  out.set(bytes);
  return out;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function bytesFor(b: ProgramBuffer, data: TypedArray): Uint8Array {
  if (b.dtype === 'string') return new Uint8Array(0);
  const held = b.dtype === 'f64' ? Float32Array.from(data as Float64Array) : data;
  return new Uint8Array(held.buffer, held.byteOffset, held.byteLength);
}
