// Conditions whose outcome the operands' ranges settle. Compilers warn about comparing them, and nobody wants to read them.

import type { Expr } from '../ir/scalar.js';
import type { Ranges } from './int-range.js';

/** The value of a scalar i1 expression where it is known, else null. */
export function decide(ranges: Ranges, e: Expr): boolean | null {
  if (e.k === 'const') return e.dtype === 'i1' ? Boolean(e.value) : null;
  const [a, b] = e.k === 'op' ? e.args : [];
  if (e.k !== 'op' || !a || !b || e.lanes > 1) return null;
  switch (e.op) {
    case 'and':
      return a.dtype === 'i1' ? both(decide(ranges, a), decide(ranges, b), false) : null;
    case 'or':
      return a.dtype === 'i1' ? both(decide(ranges, a), decide(ranges, b), true) : null;
    case 'lt':
    case 'le':
    case 'eq':
      return a.dtype === 'i32' ? compareRanges(ranges, e.op, a, b) : compareUnsigned(e.op, a, b);
    default:
      return null;
  }
}

/** and, or: `strong` decides alone. */
const both = (x: boolean | null, y: boolean | null, strong: boolean): boolean | null =>
  x === strong || y === strong ? strong : x === null || y === null ? null : !strong;

function compareRanges(ranges: Ranges, op: 'lt' | 'le' | 'eq', a: Expr, b: Expr): boolean | null {
  const [x, y] = [ranges.of(a), ranges.of(b)];
  if (op === 'eq') return x.hi < y.lo || y.hi < x.lo ? false : null;
  if (op === 'lt') return x.hi < y.lo ? true : x.lo >= y.hi ? false : null;
  return x.hi <= y.lo ? true : x.lo > y.hi ? false : null;
}

/** Nothing unsigned is below zero. */
function compareUnsigned(op: 'lt' | 'le' | 'eq', a: Expr, b: Expr): boolean | null {
  if (a.dtype !== 'u32' && a.dtype !== 'u64') return null;
  if (op === 'lt' && b.k === 'const' && Number(b.value) === 0) return false;
  return op === 'le' && a.k === 'const' && Number(a.value) === 0 ? true : null;
}

/** The operand that is left of an i1 `and` or `or` whose other operand is known and changes nothing. */
export function remaining(ranges: Ranges, e: Expr & { k: 'op' }): Expr | null {
  const [a, b] = e.args;
  if (!a || !b || a.dtype !== 'i1' || e.lanes > 1 || (e.op !== 'and' && e.op !== 'or')) return null;
  const neutral = e.op === 'and';
  return decide(ranges, a) === neutral ? b : decide(ranges, b) === neutral ? a : null;
}
