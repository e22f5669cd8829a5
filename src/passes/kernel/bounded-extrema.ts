// A vector's minimum or maximum with a constant as a comparison and a choice: select(x < c, c, x). It is NaN where x is,
// as the operation demands, and one instruction on most machines, where the operation itself takes several to see to NaN
// and to zeros of both signs. With the constant 0 the sign of a zero may differ: that one is left alone in strict numerics.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, rawOp, rewriteExpr, select } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';

export function boundExtrema(kernel: Kernel, numerics: 'fast' | 'strict'): Kernel {
  const memo = new Map<Expr, Expr>();
  const rewrite = (x: Expr): Expr => rewriteExpr(x, (y) => bounded(y, numerics), memo);
  return { ...kernel, body: mapExprs(kernel.body, rewrite) as readonly Stmt[] };
}

function bounded(x: Expr, numerics: 'fast' | 'strict'): Expr {
  if (x.k !== 'op' || x.lanes === 1 || (x.op !== 'min' && x.op !== 'max') || !isFloat(x.dtype)) return x;
  const [a, b] = x.args as readonly [Expr, Expr];
  const [value, limit] = limitOf(a) === null ? [a, b] : [b, a];
  const at = limitOf(limit);
  if (at === null || Number.isNaN(at) || limitOf(value) !== null) return x;
  if (at === 0 && numerics === 'strict') return x;
  return select(x.op === 'max' ? rawOp('lt', value, limit) : rawOp('lt', limit, value), limit, value);
}

/** The constant in every lane. */
function limitOf(x: Expr): number | null {
  const one = x.k === 'vec' && x.op === 'splat' ? x.args[0] : x;
  return one?.k === 'const' ? Number(one.value) : null;
}
