// Integer rules of legalization: wrapping a value carried in i32 back into its narrow type, operations of narrow types
// on their i32 carriers, and division that is defined for every operand (x/0 = 0, MIN/−1 = MIN, remainders 0).

import { constant, type Expr, i32, rawOp, type ScalarOp, select } from '../../ir/scalar.js';
import { DTYPE_INFO, type DType, intRange } from '../../support/dtype.js';
import type { Range } from './value-range.js';

export const isNarrowInt = (t: DType): boolean => {
  const { kind, bits } = DTYPE_INFO[t];
  return (kind === 'int' || kind === 'uint') && bits < 32;
};

export const rangeOfType = (t: DType): Range => {
  const { lo, hi } = intRange(t);
  return { lo: Number(lo), hi: Number(hi) };
};

/** The low bits of `x` as a value of narrow type `t`. */
export function wrapNarrow(x: Expr, t: DType): Expr {
  const { kind, bits } = DTYPE_INFO[t];
  if (kind === 'uint') return rawOp('and', x, i32(2 ** bits - 1));
  const shift = i32(32 - bits);
  return rawOp('shr_s', rawOp('shl', x, shift), shift);
}

/** Operations whose low result bits depend on the operands' low bits only. */
export const LOW_BITS: ReadonlySet<ScalarOp> = new Set<ScalarOp>(['add', 'sub', 'mul', 'neg']);

/** The bits of a narrow value with zeros above. */
const unsignedBits = (x: Expr, t: DType): Expr =>
  DTYPE_INFO[t].kind === 'uint' ? x : rawOp('and', x, i32(2 ** DTYPE_INFO[t].bits - 1));

const signedBits = (x: Expr, t: DType): Expr => {
  if (DTYPE_INFO[t].kind === 'int') return x;
  const shift = i32(32 - DTYPE_INFO[t].bits);
  return rawOp('shr_s', rawOp('shl', x, shift), shift);
};

/** An operation of narrow type `t` on carriers in range; the result may need wrapping. */
export function narrowOp(op: ScalarOp, args: readonly Expr[], t: DType): Expr {
  const [a, b] = args as [Expr, Expr];
  const width = DTYPE_INFO[t].bits;
  switch (op) {
    case 'shr_u':
      return rawOp('shr_u', unsignedBits(a, t), b);
    case 'shr_s':
      return rawOp('shr_s', signedBits(a, t), b);
    case 'clz':
      return rawOp('sub', rawOp('clz', unsignedBits(a, t)), i32(32 - width));
    case 'popcnt':
      return rawOp('popcnt', unsignedBits(a, t));
    case 'mulhi_u':
      return rawOp('shr_u', rawOp('mul', unsignedBits(a, t), unsignedBits(b, t)), i32(width));
    case 'mulhi_s':
      return rawOp('shr_s', rawOp('mul', signedBits(a, t), signedBits(b, t)), i32(width));
    default:
      return rawOp(op, ...args);
  }
}

const isMinusOne = (e: Expr): boolean => e.k === 'const' && BigInt(e.value) === -1n;
const isZero = (e: Expr): boolean => e.k === 'const' && BigInt(e.value) === 0n;

/** Division or remainder without undefined operands; `divisor` is what is known of b. */
export function totalDivision(op: 'div' | 'rem', a: Expr, b: Expr, divisor: Range): Expr {
  const t = a.dtype;
  const zero = constant(0, t);
  if (isZero(b)) return zero;
  if (isMinusOne(b)) return op === 'div' ? rawOp('neg', a) : zero;
  if (b.k === 'const') return rawOp(op, a, b);
  const mayBeZero = divisor.lo <= 0 && divisor.hi >= 0;
  const mayBeMinusOne = DTYPE_INFO[t].kind === 'int' && divisor.lo <= -1 && divisor.hi >= -1;
  if (!mayBeZero && !mayBeMinusOne) return rawOp(op, a, b);
  const one = constant(1, t);
  const byZero = rawOp('eq', b, zero);
  const byMinusOne = rawOp('eq', b, constant(-1, t));
  const unsafe = !mayBeMinusOne ? byZero : !mayBeZero ? byMinusOne : rawOp('or', byZero, byMinusOne);
  // Dividing by 1 instead leaves the remainder 0 that both cases want.
  const safe = rawOp(op, a, select(unsafe, one, b));
  if (op === 'rem') return safe;
  const signed = mayBeMinusOne ? select(byMinusOne, rawOp('neg', a), safe) : safe;
  return mayBeZero ? select(byZero, zero, signed) : signed;
}
