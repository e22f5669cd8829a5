// Expressions as stack code: `writeExpr` leaves the value on the stack. Scalars use cells.ts, vectors vector-cells.ts.
// What a statement uses more than once is computed at its first sight into a local; inside the arm of a guarded load
// such a local counts only to the arm's end. A scalar where a vector is asked for is splat.

import { type Expr, isPrimitive, type LoadExpr } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { invariant, never } from '../../support/errors.js';
import { dimToExpr } from '../dim-expr.js';
import { extremumOf } from '../extremum.js';
import { loadScalar, writeAddress } from './access.js';
import {
  bitcastCell,
  CAST_CELLS,
  type ComputeType,
  isComputeType,
  scalarCell,
  VALUE_TYPE_OF,
  writeCell,
} from './cells.js';
import type { CodeWriter } from './code.js';
import type { ValueType } from './encoder.js';
import { type KernelState, slotOf, variableOf } from './kernel-state.js';
import { writeExtract, writeIota, writeSplat } from './lanes.js';
import { type Row, VECTOR_CELLS, vectorCast, vectorType } from './vector-cells.js';
import { writeVectorLoad } from './vector-load.js';

type OpExpr = Extract<Expr, { k: 'op' }>;

const NARROW: ReadonlySet<DType> = new Set(['i8', 'u8', 'i16', 'u16']);

/** The type a scalar travels as. A single lane of a vector of narrow integers is an i32. */
export const computeType = (t: DType): ComputeType => {
  if (NARROW.has(t)) return 'i32';
  invariant(isComputeType(t), `a legalized kernel computes with ${t}`);
  return t;
};

export const valueType = (dtype: DType, lanes: number): ValueType =>
  lanes > 1 ? 'v128' : VALUE_TYPE_OF[computeType(dtype)];

/** Pushes the value of `e`. */
export function writeExpr(k: KernelState, e: Expr): void {
  if (!k.shared.has(e)) return writeNode(k, e);
  const known = k.computed.get(e);
  if (known) return k.c.get(known);
  const local = k.c.local(valueType(e.dtype, e.lanes));
  writeNode(k, e);
  k.c.tee(local);
  k.computed.set(e, local);
}

/** Pushes `e` with `lanes` lanes. */
export function writeAs(k: KernelState, e: Expr, lanes: number): void {
  if (e.lanes === lanes) return writeExpr(k, e);
  invariant(e.lanes === 1, `a value of ${e.lanes} lanes where ${lanes} are needed`);
  writeSplat(k, e, e.dtype, lanes, (x) => writeExpr(k, x));
}

function writeNode(k: KernelState, e: Expr): void {
  const write = (x: Expr): void => writeExpr(k, x);
  switch (e.k) {
    case 'const':
      return writeConst(k.c, e.value, computeType(e.dtype));
    case 'var':
      return k.c.get(variableOf(k, e.name).local);
    case 'dim':
      return writeNode(k, dimToExpr(e.dim));
    case 'load':
      return writeLoad(k, e);
    case 'op':
      return e.lanes > 1 ? writeVectorOp(k, e) : writeScalarOp(k, e);
    case 'select':
      return writeSelect(k, e);
    case 'cast':
      return writeCast(k, e);
    case 'bitcast': {
      writeAs(k, e.arg, e.lanes);
      if (e.lanes === 1) writeCell(k.c, bitcastCell(computeType(e.arg.dtype), computeType(e.dtype)));
      return;
    }
    case 'vec': {
      const [arg] = e.args;
      if (e.op === 'dot') return writeDot(k, e);
      if (e.op === 'iota') return writeIota(k, arg ?? null, e.dtype, e.lanes, write);
      invariant(arg, `${e.op} without a value`);
      if (e.op === 'zip') return writeZip(k, e);
      if (e.op === 'evens') return writeEvens(k, e);
      if (e.op === 'splat') return writeSplat(k, arg, e.dtype, e.lanes, write);
      writeExpr(k, arg);
      return writeExtract(k.c, e.dtype, arg.lanes, e.lane);
    }
    default:
      never(e, 'expression');
  }
}

export function writeConst(c: CodeWriter, value: number | bigint, type: ComputeType): void {
  switch (VALUE_TYPE_OF[type]) {
    case 'i64':
      return c.i64(BigInt(value));
    case 'f32':
      return c.f32(Number(value));
    case 'f64':
      return c.f64(Number(value));
    default:
      return c.i32(Number(value) | 0);
  }
}

function writeScalarOp(k: KernelState, e: OpExpr): void {
  const operands = e.args[0];
  invariant(operands, `${e.op} without arguments`);
  for (const a of e.args) writeExpr(k, a);
  writeCell(k.c, scalarCell(e.op, computeType(operands.dtype)));
}

/** Shifts take their count as a scalar; everything else takes vectors. */
function writeVectorOp(k: KernelState, e: OpExpr): void {
  const [a, b] = e.args;
  invariant(a && isPrimitive(e.op), `${e.op} was not expanded`);
  if (k.relaxed && writeMultiplyAdd(k, e)) return;
  const type = vectorType(a.dtype, e.lanes);
  const row: Row = type ? VECTOR_CELLS[type] : {};
  const cell = row[e.op];
  invariant(
    cell,
    `WebAssembly has no ${e.op} on ${a.dtype}x${e.lanes}; the vectoriser should have asked wasmVectorOps`,
  );
  writeAs(k, a, e.lanes);
  if (b && (e.op === 'shl' || e.op === 'shr_s' || e.op === 'shr_u')) writeShiftCount(k, b, e.lanes);
  else if (b) writeAs(k, b, e.lanes);
  writeCell(k.c, cell);
}

/** x·y + z, or z − x·y, as one instruction that rounds once or twice, as the machine does it: fast numerics allow both. */
function writeMultiplyAdd(k: KernelState, e: OpExpr): boolean {
  const [a, b] = e.args;
  if (!a || !b || e.dtype !== 'f32' || e.lanes !== 4) return false;
  const isProduct = (x: Expr): x is OpExpr => x.k === 'op' && x.op === 'mul' && !k.shared.has(x);
  const product = isProduct(b) ? b : e.op === 'add' && isProduct(a) ? a : null;
  if (!product || (e.op !== 'add' && e.op !== 'sub')) return false;
  for (const x of product.args) writeAs(k, x, e.lanes);
  writeAs(k, product === b ? a : b, e.lanes);
  k.c.op(e.op === 'add' ? 'f32x4.relaxed_madd' : 'f32x4.relaxed_nmadd');
  return true;
}

function writeShiftCount(k: KernelState, count: Expr, lanes: number): void {
  const uniform = count.k === 'vec' && count.op === 'splat' ? count.args[0] : count;
  invariant(uniform?.lanes === 1, `WebAssembly shifts ${lanes} lanes by one count only`);
  writeExpr(k, uniform);
  if (VALUE_TYPE_OF[computeType(uniform.dtype)] === 'i64') k.c.op('i32.wrap_i64');
}

/** Pairs of i16 into i32 lanes. */
function writeDot(k: KernelState, e: Extract<Expr, { k: 'vec' }>): void {
  const [acc, a, b] = e.args;
  invariant(
    acc && a?.dtype === 'i16' && b?.dtype === 'i16' && a.lanes === 8,
    'WebAssembly has a dot of i16 pairs only',
  );
  writeExpr(k, acc);
  writeExpr(k, a);
  writeExpr(k, b);
  k.c.op('i32x4.dot_i16x8_s', 'i32x4.add');
}

/** Lanes of two vectors in turn. */
function writeZip(k: KernelState, { args, lane: half, lanes }: Extract<Expr, { k: 'vec' }>): void {
  for (const x of args) writeExpr(k, x);
  const bytes = 16 / lanes;
  k.c.shuffle(
    Array.from({ length: 16 }, (_, i) => {
      const [lane, byte] = [Math.floor(i / bytes), i % bytes];
      return (lane % 2) * 16 + 8 * half + Math.floor(lane / 2) * bytes + byte;
    }),
  );
}

function writeEvens(k: KernelState, { args, lanes }: Extract<Expr, { k: 'vec' }>): void {
  for (const x of args) writeExpr(k, x);
  const bytes = 16 / lanes;
  k.c.shuffle(
    Array.from({ length: 16 }, (_, i) => {
      const [lane, byte] = [Math.floor(i / bytes), i % bytes];
      return (lane < lanes / 2 ? 2 * lane : 2 * lane + 1) * bytes + byte;
    }),
  );
}

function writeSelect(k: KernelState, e: Extract<Expr, { k: 'select' }>): void {
  const extremum = e.lanes > 1 ? extremumOf(e) : null;
  if (extremum) {
    writeAs(k, extremum.a, e.lanes);
    writeAs(k, extremum.b, e.lanes);
    return k.c.op(`${e.dtype === 'f32' ? 'f32x4' : 'f64x2'}.p${extremum.op}`);
  }
  writeAs(k, e.a, e.lanes);
  writeAs(k, e.b, e.lanes);
  writeExpr(k, e.cond);
  k.c.op(e.cond.lanes > 1 ? 'v128.bitselect' : 'select');
}

function writeCast(k: KernelState, e: Extract<Expr, { k: 'cast' }>): void {
  writeExpr(k, e.arg);
  if (e.lanes === 1) return writeCell(k.c, CAST_CELLS[computeType(e.arg.dtype)][computeType(e.dtype)]);
  const cell = vectorCast(e.arg.dtype, e.dtype, e.lanes);
  invariant(cell, `WebAssembly has no cast of ${e.lanes} lanes from ${e.arg.dtype} to ${e.dtype}`);
  writeCell(k.c, cell);
}

/** A guarded load is the arm of an `if`, so that nothing is touched where the guard is false. */
function writeLoad(k: KernelState, e: LoadExpr): void {
  const [index] = e.index;
  invariant(index && e.index.length === 1, 'a kernel load takes one flat index');
  if (index.lanes > 1 || (e.guard?.lanes ?? 1) > 1) return writeVectorLoad(k, e, (x, n) => writeAs(k, x, n));
  if (!e.guard) return writeUnguarded(k, e, index);
  writeExpr(k, e.guard);
  k.c.open('if', valueType(e.dtype, e.lanes));
  writeArm(k, () => writeUnguarded(k, e, index));
  k.c.else();
  writeArm(k, () => {
    if (e.pad) writeAs(k, e.pad, e.lanes);
    else if (e.lanes > 1) k.c.v128(new Uint8Array(16));
    else writeConst(k.c, 0, computeType(e.dtype));
  });
  k.c.close();
}

/** What is first computed inside an arm is unknown after it. */
function writeArm(k: KernelState, write: () => void): void {
  const before = new Set(k.computed.keys());
  write();
  for (const [e, local] of k.computed) {
    if (before.has(e)) continue;
    k.computed.delete(e);
    k.c.free(local);
  }
}

function writeUnguarded(k: KernelState, e: LoadExpr, index: Expr): void {
  const slot = slotOf(k, e.src);
  if (slot.kind === 'locals') {
    const at = slot.elements.get(index.k === 'const' ? Number(index.value) : -1);
    invariant(at, `kernel ${k.c.name} reads an element its register buffer has not`);
    return k.c.get(at);
  }
  if (e.lanes > 1) return writeVectorLoad(k, e, (x, n) => writeAs(k, x, n));
  const offset = writeAddress(k, e.src, slot, index, (x) => writeExpr(k, x));
  loadScalar(k, slot, computeType(e.dtype), offset);
}
