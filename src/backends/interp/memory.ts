// Where a program's buffers live while the interpreter runs it: one block each for arena and state, the model's own
// arrays for constants, the caller's for inputs (copied only where misaligned), fresh ones for outputs.

import { type DimEnv, evalDim } from '../../ir/dim.js';
import type { BufferRef, Program, ProgramBuffer } from '../../ir/program.js';
import type { RuntimeTensor } from '../../runtime/session.js';
import { DTYPE_INFO, type DType } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import { STORAGE, type TypedArray } from '../../support/tensor.js';

/** Bytes of one buffer. */
interface Block {
  readonly buffer: ArrayBufferLike;
  readonly offset: number;
  readonly bytes: number;
}

type Numeric = Exclude<DType, 'string'>;

export interface Memory {
  /** Points the entry's inputs at the caller's tensors and gives its outputs fresh storage. */
  readonly enter: (entry: number, inputs: Readonly<Record<string, RuntimeTensor>>) => void;
  /** `elements` elements of type `dtype` from `ref` on; all that is left of the buffer by default. */
  readonly view: (ref: BufferRef, env: DimEnv, dtype: DType, elements?: number) => TypedArray;
  readonly bufferOf: (id: number) => ProgramBuffer;
  /** Contents of a string buffer; strings have no bytes. */
  readonly strings: Map<number, readonly string[]>;
  readonly resetState: () => void;
}

const bytesOf = (t: DType): number => DTYPE_INFO[t].bytes;

export function createMemory(program: Program): Memory {
  const buffers = new Map(program.buffers.map((b) => [b.id, b]));
  const blocks = new Map<number, Block>();
  const strings = new Map<number, readonly string[]>();
  let arena: ArrayBuffer | undefined;
  let state: ArrayBuffer | undefined;

  const bufferOf = (id: number): ProgramBuffer => {
    const b = buffers.get(id);
    invariant(b, `no buffer ${id}`);
    return b;
  };

  const resetState = (): void => {
    state = new ArrayBuffer(program.stateBytes);
    for (const b of program.buffers) {
      if (b.place.kind !== 'state') continue;
      blocks.delete(b.id);
      new Uint8Array(state, b.place.offset).set(rawBytes(b.place.init.data as TypedArray));
    }
  };

  const placeOf = (b: ProgramBuffer): Block => {
    const bytes = b.elements * bytesOf(b.dtype);
    if (b.place.kind === 'const') return blockOf(b.place.data.data as TypedArray);
    if (b.place.kind === 'arena') {
      arena ??= new ArrayBuffer(program.arenaBytes);
      return { buffer: arena, offset: b.place.offset, bytes };
    }
    invariant(b.place.kind === 'state', `the ${b.place.kind} "${b.name}" belongs to an entry that is not running`);
    if (!state) resetState();
    return { buffer: state as ArrayBuffer, offset: b.place.offset, bytes };
  };

  const block = (id: number): Block => {
    const known = blocks.get(id);
    if (known) return known;
    const placed = placeOf(bufferOf(id));
    blocks.set(id, placed);
    return placed;
  };

  const view = (ref: BufferRef, env: DimEnv, dtype: DType, elements?: number): TypedArray => {
    const b = block(ref.buffer);
    const start = evalDim(ref.offset, env) * bytesOf(bufferOf(ref.buffer).dtype);
    const length = elements ?? Math.floor((b.bytes - start) / bytesOf(dtype));
    invariant(
      start >= 0 && start + length * bytesOf(dtype) <= b.bytes,
      `a view outside of ${bufferOf(ref.buffer).name}`,
    );
    return new STORAGE[dtype as Numeric](b.buffer as ArrayBuffer, b.offset + start, length);
  };

  const enter = (entry: number, inputs: Readonly<Record<string, RuntimeTensor>>): void => {
    const values = program.entries[entry];
    invariant(values, `no entry ${entry}`);
    for (const input of values.inputs) {
      const data = inputs[input.name]?.data;
      if (ArrayBuffer.isView(data)) blocks.set(input.buffer, alignedBlock(data, bytesOf(input.dtype)));
      else strings.set(input.buffer, data ?? []);
    }
    for (const b of program.buffers) {
      if (b.place.kind !== 'output' || b.place.entry !== entry) continue;
      const bytes = b.elements * bytesOf(b.dtype);
      blocks.set(b.id, { buffer: new ArrayBuffer(bytes), offset: 0, bytes });
    }
    for (const b of program.buffers) {
      if (b.dtype === 'string' && b.place.kind === 'const') strings.set(b.id, b.place.data.data as readonly string[]);
    }
  };

  return { enter, view, bufferOf, strings, resetState };
}

const rawBytes = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
const blockOf = (a: ArrayBufferView): Block => ({ buffer: a.buffer, offset: a.byteOffset, bytes: a.byteLength });

const alignedBlock = (a: ArrayBufferView, elementBytes: number): Block =>
  a.byteOffset % elementBytes === 0 ? blockOf(a) : blockOf(rawBytes(a).slice());
