// Moving between scalars and vectors: splat (of constants, of loads, of masks), extract, iota.
// A true lane of a mask is all ones; a scalar i1 is 0 or 1.

import { type Expr, op, vec } from '../../ir/scalar.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import { writeAddress } from './access.js';
import type { CodeWriter } from './code.js';
import { type KernelState, slotOf } from './kernel-state.js';
import type { Instruction } from './opcodes.js';
import { INTEGER_SHAPE, vectorType } from './vector-cells.js';

type Shape = 'f32x4' | 'f64x2' | 'i64x2' | 'i32x4' | 'i16x8' | 'i8x16';

/** The instruction prefix for lane access; unsigned types and masks share the signed names. */
export function laneShape(dtype: DType, lanes: number): Shape {
  const type = vectorType(dtype, lanes);
  invariant(type, `WebAssembly has no vector of ${lanes} ${dtype}`);
  if (type === 'f32x4' || type === 'f64x2') return type;
  return INTEGER_SHAPE[lanes] as Shape;
}

/** The 16 bytes of a vector whose lanes are `value(i)`. */
function constantBytes(dtype: DType, lanes: number, value: (lane: number) => number | bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  const width = 16 / lanes;
  for (let i = 0; i < lanes; i++) {
    const v = value(i);
    if (dtype === 'f32') view.setFloat32(i * width, Number(v), true);
    else if (dtype === 'f64') view.setFloat64(i * width, Number(v), true);
    else {
      const whole = BigInt(dtype === 'i1' ? -Number(v) : v);
      for (let b = 0; b < width; b++) bytes[i * width + b] = Number((whole >> BigInt(8 * b)) & 0xffn);
    }
  }
  return bytes;
}

/** Pushes `lanes` copies of the scalar `e`. */
export function writeSplat(k: KernelState, e: Expr, dtype: DType, lanes: number, write: (e: Expr) => void): void {
  if (e.lanes > 1) return writeGroupSplat(k, e, write);
  const shape = laneShape(dtype, lanes);
  if (e.k === 'const') return k.c.v128(constantBytes(dtype, lanes, () => e.value));
  if (writeLoadSplat(k, e, lanes, write)) return;
  write(e);
  if (dtype === 'i1') {
    k.c.i32(-1);
    k.c.op('i32.mul');
    if (lanes === 2) k.c.op('i64.extend_i32_s');
  }
  k.c.op(`${shape}.splat`);
}

/** A group of 32 bits that lies in memory, repeated. */
function writeGroupSplat(k: KernelState, e: Expr, write: (e: Expr) => void): void {
  invariant(e.k === 'load' && !e.guard, 'a repeated group is a load');
  const slot = slotOf(k, e.src);
  const [index] = e.index;
  const bytes = slot.kind === 'memory' && slot.dtype === e.dtype ? DTYPE_INFO[slot.dtype].bytes * e.lanes : 0;
  invariant(slot.kind === 'memory' && index && bytes === 4, 'WebAssembly repeats groups of 32 bits');
  const offset = writeAddress(k, e.src, slot, index, write);
  k.c.memory('v128.load32_splat', offset);
}

/** An element fetched only to be copied into every lane is one instruction. */
function writeLoadSplat(k: KernelState, e: Expr, lanes: number, write: (e: Expr) => void): boolean {
  if (e.k !== 'load' || e.guard || k.shared.has(e) || e.dtype === 'i1') return false;
  const slot = slotOf(k, e.src);
  const [index] = e.index;
  const width = 16 / lanes;
  if (slot.kind !== 'memory' || !index || DTYPE_INFO[slot.dtype].bytes !== width) return false;
  const offset = writeAddress(k, e.src, slot, index, write);
  k.c.memory(`v128.load${width * 8}_splat` as Instruction, offset);
  return true;
}

/** Replaces the vector on the stack by its lane `lane`. */
export function writeExtract(c: CodeWriter, dtype: DType, lanes: number, lane: number): void {
  const shape = laneShape(dtype, lanes);
  if (shape === 'i8x16' || shape === 'i16x8')
    c.op(`${shape}.extract_lane_${DTYPE_INFO[dtype].kind === 'int' ? 's' : 'u'}`);
  else c.op(`${shape}.extract_lane`);
  c.out.u8(lane);
  if (dtype !== 'i1') return;
  if (shape === 'i64x2') c.op('i32.wrap_i64');
  c.i32(1);
  c.op('i32.and');
}

/** Pushes first, first + 1, … */
export function writeIota(
  k: KernelState,
  first: Expr | null,
  dtype: DType,
  lanes: number,
  write: (e: Expr) => void,
): void {
  const shape = laneShape(dtype, lanes);
  const from = first === null ? 0 : first.k === 'const' ? first.value : null;
  if (from !== null) {
    const exact = typeof from === 'bigint' ? (i: number) => from + BigInt(i) : (i: number) => from + i;
    return k.c.v128(constantBytes(dtype, lanes, exact));
  }
  if (first) writeSplat(k, first, dtype, lanes, write);
  k.c.v128(constantBytes(dtype, lanes, (i) => i));
  k.c.op(`${shape}.add`);
}

/** The expression of lane `lane`: of a scalar, itself. */
export const laneOf = (e: Expr, lane: number): Expr => (e.lanes === 1 ? e : vec('extract', [e], e.dtype, 1, lane));

/** base + lane, as an index. */
export const indexOfLane = (index: Expr, lane: number): Expr =>
  op('add', index, { k: 'const', dtype: 'i32', value: lane, lanes: 1 });
