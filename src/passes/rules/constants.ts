// Arithmetic on constants of scalar bodies, exactly as the program would do it: one rounding to the type per operation,
// integers wrapped. Null where the type is not one that is computed with as it stands.

import { DTYPE_INFO, type DType, intRange, isFloat } from '../../support/dtype.js';
import { constant, type Expr, type ScalarOp } from '../../ir/scalar.js';

export const number = (v: number, dtype: DType): Expr => constant(dtype === 'f32' ? Math.fround(v) : v, dtype);

const FLOAT: Partial<Record<ScalarOp, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  neg: (a) => -a,
  abs: Math.abs,
  sqrt: Math.sqrt,
};

function smaller(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

const INTEGER: Partial<Record<ScalarOp, (a: bigint, b: bigint) => bigint | null>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => (b === 0n || b === -1n ? null : a / b),
  min: smaller,
  max: (a, b) => -smaller(-a, -b),
  neg: (a) => -a,
  abs: (a) => (a < 0n ? -a : a),
};

/** The value of an operation on constants. */
export function foldOperation(op: ScalarOp, a: Expr, b: Expr = a): Expr | null {
  if (a.k !== 'const' || b.k !== 'const' || a.dtype !== b.dtype || a.dtype === 'i1') return null;
  const { dtype } = a;
  if (isFloat(dtype)) {
    const f = dtype === 'f32' || dtype === 'f64' ? FLOAT[op] : undefined;
    return f ? number(f(Number(a.value), Number(b.value)), dtype) : null;
  }
  const exact = INTEGER[op]?.(BigInt(a.value), BigInt(b.value)) ?? null;
  if (exact === null) return null;
  const { kind, bits } = DTYPE_INFO[dtype];
  return constant(kind === 'int' ? BigInt.asIntN(bits, exact) : BigInt.asUintN(bits, exact), dtype);
}

/** 1/c handed to `make`: where it is exact, or where it is not but a normal number. */
export function reciprocal(c: Expr, want: 'exact' | 'rounded', make: (r: Expr) => Expr): Expr | null {
  if (c.k !== 'const' || (c.dtype !== 'f32' && c.dtype !== 'f64')) return null;
  const v = Number(c.value);
  const smallest = c.dtype === 'f32' ? 2 ** -126 : 2 ** -1022;
  const inverse = 1 / v;
  if (!(Math.abs(inverse) >= smallest && Math.abs(v) >= smallest) || !Number.isFinite(v)) return null;
  const isPower = Number.isInteger(Math.log2(Math.abs(v))) && 2 ** Math.log2(Math.abs(v)) === Math.abs(v);
  return isPower === (want === 'exact') ? make(number(inverse, c.dtype)) : null;
}

/** Does `to` hold every value of `from`? */
export function isLossless(from: DType, to: DType): boolean {
  if (from === to) return true;
  if (from === 'string' || to === 'string' || to === 'i1') return false;
  if (from === 'i1') return !isFloat(to) || to === 'f32' || to === 'f64';
  if (isFloat(from)) return (to === 'f32' && DTYPE_INFO[from].bits < 32) || (to === 'f64' && from !== 'f64');
  if (isFloat(to))
    return (to === 'f32' && DTYPE_INFO[from].bits <= 16) || (to === 'f64' && DTYPE_INFO[from].bits <= 32);
  const [a, b] = [intRange(from), intRange(to)];
  return b.lo <= a.lo && a.hi <= b.hi;
}
