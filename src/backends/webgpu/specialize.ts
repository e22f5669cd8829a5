// Rewrites for the letter of WGSL, which lets an implementation assume that there is no NaN: `x = x` asks its bits instead.

import type { Kernel } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { bitcast, constant, type Expr, exprKey, rawOp, rewriteExpr } from '../../ir/scalar.js';

export function specialize(kernel: Kernel): Kernel {
  const memo = new Map<Expr, Expr>();
  return { ...kernel, body: mapExprs(kernel.body, (x) => rewriteExpr(x, askBits, memo)) };
}

function askBits(x: Expr): Expr {
  if (x.k !== 'op' || x.op !== 'eq') return x;
  const [a, b] = x.args as [Expr, Expr];
  if (a.dtype !== 'f32' || exprKey(a) !== exprKey(b)) return x;
  const size = rawOp('and', bitcast(a, 'u32'), constant(0x7fffffff, 'u32'));
  return rawOp('le', size, constant(0x7f800000, 'u32'));
}
