// Scalar operators on sizes: what an i32 or i64 operation over size expressions is as a size expression.

import { add, bounds, type Dim, dimEq, floordiv, isConst, max, min, mod, mul, sub } from './dim.js';
import type { ScalarOp } from './scalar.js';

const truth = (b: boolean): Dim => (b ? 1 : 0);

/** Decides a comparison where the bounds of the difference allow it. */
function compare(op: 'lt' | 'le' | 'eq', a: Dim, b: Dim): Dim | null {
  if (op === 'eq' && dimEq(a, b)) return 1;
  const [lo, hi] = bounds(sub(a, b));
  if (op === 'eq') return lo > 0 || hi < 0 ? 0 : null;
  if (op === 'lt') return hi < 0 ? 1 : lo >= 0 ? 0 : null;
  return hi <= 0 ? 1 : lo > 0 ? 0 : null;
}

const flip = (x: Dim | null): Dim | null => (typeof x === 'number' ? truth(!x) : null);

/** Null where the result is no size, or not decided by the bounds of the operands. */
export function sizeOp(op: ScalarOp, args: readonly Dim[]): Dim | null {
  const [a, b] = args as [Dim, Dim];
  switch (op) {
    case 'add':
      return add(a, b);
    case 'sub':
      return sub(a, b);
    case 'mul':
      return mul(a, b);
    case 'div':
    case 'floordiv':
      return divide(op, a, b);
    case 'rem':
    case 'floormod':
      return bounds(b)[0] > 0 && (op === 'floormod' || bounds(a)[0] >= 0) ? mod(a, b) : null;
    case 'min':
      return min(a, b);
    case 'max':
      return max(a, b);
    case 'neg':
      return sub(0, a);
    case 'abs':
      return bounds(a)[0] >= 0 ? a : bounds(a)[1] <= 0 ? sub(0, a) : max(a, sub(0, a));
    case 'sign':
      return bounds(a)[0] > 0 ? 1 : bounds(a)[1] < 0 ? -1 : a === 0 ? 0 : null;
    case 'eq':
    case 'lt':
    case 'le':
      return compare(op, a, b);
    case 'ne':
      return flip(compare('eq', a, b));
    case 'gt':
      return compare('lt', b, a);
    case 'ge':
      return compare('le', b, a);
    case 'and':
      return isConst(a) && isConst(b) ? a & b : a === 0 || b === 0 ? 0 : null;
    case 'or':
      return isConst(a) && isConst(b) ? a | b : null;
    case 'shl':
      return isShift(b) ? mul(a, 2 ** b) : null;
    case 'shr_s':
      return isShift(b) ? floordiv(a, 2 ** b) : null;
    case 'not':
      return isConst(a) && (a === 0 || a === 1) ? 1 - a : null;
    default:
      return null;
  }
}

function divide(op: 'div' | 'floordiv', a: Dim, b: Dim): Dim | null {
  if (isConst(a) && isConst(b)) return b === 0 ? null : op === 'div' ? Math.trunc(a / b) : Math.floor(a / b);
  return bounds(b)[0] > 0 && (op === 'floordiv' || bounds(a)[0] >= 0) ? floordiv(a, b) : null;
}

const isShift = (b: Dim): b is number => isConst(b) && b >= 0 && b < 31;
