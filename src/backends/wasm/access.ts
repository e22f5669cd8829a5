// Loads and stores: the address with its constant part in the instruction, then the instruction for the stored type.
// Narrow integers widen on loading and keep their low bits on storing. Vectors are never assumed aligned.

import { type Expr, op } from '../../ir/scalar.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import { type ComputeType, VALUE_TYPE_OF } from './cells.js';
import type { ValueType } from './encoder.js';
import { isNatural, type KernelState, LOW_MEMORY, type Slot } from './kernel-state.js';
import { ENCODED, type Instruction } from './opcodes.js';
import { findPointer } from './pointers.js';
import { wasmVectorLoad } from './vector-cells.js';

export type MemorySlot = Extract<Slot, { kind: 'memory' }>;
type Write = (e: Expr) => void;

/** `e` as base + offset, looking through sums; a sub-expression already in a local is not taken apart. */
function splitConstant(k: KernelState, e: Expr): { base: Expr | null; offset: number } {
  if (e.k === 'const') return { base: null, offset: Number(e.value) };
  if (e.k !== 'op' || e.lanes > 1 || (e.op !== 'add' && e.op !== 'sub') || k.shared.has(e))
    return { base: e, offset: 0 };
  const [a, b] = e.args.map((x) => splitConstant(k, x));
  if (!a || !b || (a.offset === 0 && b.offset === 0)) return { base: e, offset: 0 };
  const offset = e.op === 'add' ? a.offset + b.offset : a.offset - b.offset;
  if (b.base === null) return { base: a.base, offset };
  if (a.base === null) return e.op === 'add' ? { base: b.base, offset } : { base: e, offset: 0 };
  return { base: op(e.op, a.base, b.base), offset };
}

const log2 = (bytes: number): number => 31 - Math.clz32(bytes);

/** Pushes an address from which `index` is reached by the returned offset in bytes. */
export function writeAddress(k: KernelState, buf: number, slot: MemorySlot, index: Expr, write: Write): number {
  const bytes = DTYPE_INFO[slot.dtype].bytes;
  const walking = findPointer(k, buf, index);
  if (walking) {
    k.c.get(walking.local);
    return walking.ahead * bytes;
  }
  const split = splitConstant(k, index);
  const near = split.offset * bytes <= LOW_MEMORY || split.base === null || isNatural(k, split.base);
  const { base, offset } = split.offset >= 0 && near ? split : { base: index, offset: 0 };
  if (base !== null) {
    write(base);
    if (bytes > 1) {
      k.c.i32(log2(bytes));
      k.c.op('i32.shl');
    }
  }
  if (typeof slot.pointer === 'number') k.c.i32(slot.pointer);
  else k.c.get(slot.pointer);
  if (base !== null) k.c.op('i32.add');
  return offset * bytes;
}

const isSigned = (t: DType): boolean => DTYPE_INFO[t].kind === 'int';

const instruction = (name: string): Instruction => {
  invariant(ENCODED.has(name), `WebAssembly has no ${name}`);
  return name as Instruction;
};

/** `f32.load`, `i32.load8_s`, `i64.load32_u` … */
function scalarLoad(stored: DType, type: ValueType): Instruction {
  const bits = DTYPE_INFO[stored].bytes * 8;
  const own = Number(type.slice(1));
  const float = stored === 'f32' || stored === 'f64';
  invariant(float === type.startsWith('f') && bits <= own && (!float || bits === own), `load of ${stored} as ${type}`);
  return instruction(bits === own ? `${type}.load` : `${type}.load${bits}_${isSigned(stored) ? 's' : 'u'}`);
}

/** Loads one element as `dtype`; the address is on the stack. */
export function loadScalar(k: KernelState, slot: MemorySlot, dtype: ComputeType, offset: number): void {
  const { bytes } = DTYPE_INFO[slot.dtype];
  k.c.memory(scalarLoad(slot.dtype, VALUE_TYPE_OF[dtype]), offset, log2(bytes));
}

export function storeScalar(k: KernelState, slot: MemorySlot, dtype: ComputeType, offset: number): void {
  const type = VALUE_TYPE_OF[dtype];
  const bits = DTYPE_INFO[slot.dtype].bytes * 8;
  const own = Number(type.slice(1));
  const float = slot.dtype === 'f32' || slot.dtype === 'f64';
  invariant(
    float === type.startsWith('f') && bits <= own && (!float || bits === own),
    `store of ${type} as ${slot.dtype}`,
  );
  k.c.memory(instruction(bits === own ? `${type}.store` : `${type}.store${bits}`), offset, log2(bits / 8));
}

/** Loads `lanes` elements as a vector of `dtype`. */
export function loadVector(k: KernelState, slot: MemorySlot, dtype: DType, lanes: number, offset: number): void {
  const stored = slot.dtype;
  invariant(wasmVectorLoad(stored, dtype, lanes), `WebAssembly has no load of ${lanes} ${stored} as ${dtype}`);
  const width = DTYPE_INFO[stored].bytes * 8;
  const own = 128 / lanes;
  const sign = isSigned(stored) ? 's' : 'u';
  if (width === own) return k.c.memory('v128.load', offset);
  if (width * 2 === own) return k.c.memory(instruction(`v128.load${width}x${lanes}_${sign}`), offset);
  k.c.memory('v128.load32_zero', offset);
  k.c.op(`i16x8.extend_low_i8x16_${sign}`, `i32x4.extend_low_i16x8_${sign}`);
}

/** Stores a vector of `lanes` elements, where the buffer is narrower keeping the low bytes of each, or the nearest value it
 *  holds. */
export function storeVector(k: KernelState, slot: MemorySlot, lanes: number, offset: number, saturates: boolean): void {
  const width = DTYPE_INFO[slot.dtype].bytes;
  const own = 16 / lanes;
  invariant(width <= own, `WebAssembly has no store of ${lanes} lanes to ${slot.dtype}`);
  if (width === own) return k.c.memory('v128.store', offset);
  if (own === 8) narrowByShuffle(k, lanes, own, width);
  else if (saturates) narrow(k, own, width, isSigned(slot.dtype) ? 's' : 'u');
  else {
    // Nothing but an element's low bytes is left, so that saturation keeps them as they are.
    k.c.v128(lowBytes(own, width));
    k.c.op('v128.and');
    narrow(k, own, width, 'u');
  }
  const bytes = lanes * width;
  invariant(bytes === 8 || bytes === 4, `WebAssembly has no store of ${lanes} lanes to ${slot.dtype}`);
  k.c.memory(bytes === 8 ? 'v128.store64_lane' : 'v128.store32_lane', offset);
  k.c.out.u8(0);
}

/** Saturates to what `width` bytes hold, by way of signed numbers where there is a way. */
function narrow(k: KernelState, own: number, width: number, sign: 's' | 'u'): void {
  for (let now = own; now > width; now /= 2) {
    const last = now === 2 * width ? sign : 's';
    const v = k.c.local('v128');
    k.c.tee(v);
    k.c.get(v);
    k.c.op(now === 4 ? `i16x8.narrow_i32x4_${last}` : `i8x16.narrow_i16x8_${last}`);
    k.c.free(v);
  }
}

function narrowByShuffle(k: KernelState, lanes: number, own: number, width: number): void {
  const packed = Array.from({ length: lanes * width }, (_, i) => Math.floor(i / width) * own + (i % width));
  const v = k.c.local('v128');
  k.c.tee(v);
  k.c.get(v);
  k.c.shuffle([...packed, ...new Array<number>(16 - packed.length).fill(0)]);
  k.c.free(v);
}

/** Ones in the low `width` bytes of every `own`. */
const lowBytes = (own: number, width: number): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => (i % own < width ? 0xff : 0));
