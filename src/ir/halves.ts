// Halves held as 16 bits, and the arithmetic that makes floats of them: no branch, and exact, subnormals included. What an f16's
// highest exponent stands for, infinity and NaN, it does not know; bf16 has it right by itself.

import type { Half } from '../support/exact-halves.js';
import { e } from './expr.js';
import { bitcast, cast, constant, type Expr, type LoadExpr } from './scalar.js';

/** From the exponent's and the sign's place in 16 bits to that in 32. */
const SHIFT = 13;
/** All but the copies of the sign, below the first. */
const MASK = 0x8fffe000 | 0;
/** What an exponent of f32 is biased more by. */
const SCALE = 2 ** 112;

/** The float that `bits` are, an element of i16. */
export function widenHalf(kind: Half, bits: Expr): Expr {
  const wide = cast(bits, 'i32');
  if (kind === 'bf16') return bitcast(e.shl(wide, 16), 'f32');
  return e.mul(bitcast(e.and(e.shl(wide, SHIFT), MASK), 'f32'), constant(SCALE, 'f32'));
}

/** The load of bits of f16 that `x` makes floats of as `widenHalf` does; null where it is anything else. */
export function widenedLoad(x: Expr): LoadExpr | null {
  if (x.k !== 'op' || x.op !== 'mul' || !isAll(x.args[1], SCALE)) return null;
  const [bits] = x.args;
  const masked = bits?.k === 'bitcast' && bits.dtype === 'f32' ? bits.arg : null;
  if (masked?.k !== 'op' || masked.op !== 'and' || !isAll(masked.args[1], MASK)) return null;
  const [shifted] = masked.args;
  if (shifted?.k !== 'op' || shifted.op !== 'shl' || !isAll(shifted.args[1], SHIFT)) return null;
  const [load] = shifted.args;
  return load?.k === 'load' && load.dtype === 'i32' ? load : null;
}

/** A constant, in all lanes where there are some. */
function isAll(x: Expr | undefined, value: number): boolean {
  const one = x?.k === 'vec' && x.op === 'splat' ? x.args[0] : x;
  return one?.k === 'const' && Number(one.value) === value;
}
