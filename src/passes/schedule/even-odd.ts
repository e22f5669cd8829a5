// A loop whose even and odd steps differ, as where outputs are made of two sums in turn: it takes two steps at a time, so
// that none asks which it is, and both share what they read.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, i32, rawOp, rewriteExpr, variable, visitExpr } from '../../ir/scalar.js';
import type { For, Store } from './nest.js';

/** Null where no condition asks whether a step is even. */
export function evenAndOdd(store: Store, loop: For): readonly Stmt[] | null {
  const at = variable(loop.var, 'i32');
  let asks = false;
  visitExpr(store.value, (x) => {
    if (x.k === 'select' && exprKey(x.cond) === exprKey(e.eq(e.and(at, 1), 0))) asks = true;
  });
  if (!asks) return null;
  const whole = e.sub(loop.hi, e.and(loop.hi, 1));
  return [
    { ...loop, hi: whole, step: 2, body: [0, 1].flatMap((k) => mapExprs([store], (x) => atStep(x, at, k))) },
    { ...loop, lo: whole, body: [store] },
  ];
}

/** The expression `k` steps behind the even one. */
function atStep(x: Expr, even: Expr, k: number): Expr {
  const own = exprKey(even);
  const here = e.add(even, k);
  return rewriteExpr(x, (y) => {
    if (exprKey(y) === own) return here;
    if (y.k !== 'op' || exprKey(y.args[0] as Expr) !== exprKey(here)) return y;
    const [, by] = y.args;
    if (by?.k !== 'const' || Number(by.value) !== 1) return y;
    if (y.op === 'and') return i32(k);
    return y.op === 'shr_s' ? rawOp('shr_s', even, i32(1)) : y;
  });
}
