// Bodies under construction: expressions with the list of operands that their loads name by position.

import { type Expr, type LoadExpr, rewriteExpr, visitExpr } from '../ir/scalar.js';
import type { Value } from '../ir/tensor.js';

/** Operands a generic may come to. */
export const MAX_OPERANDS = 14;

/** A body under construction with its operand list. */
export interface Draft {
  body: Expr;
  post: Expr | null;
  operands: Value[];
}

/** The position of an operand, added where it is new. */
export function slotOf(d: Draft, v: Value): number {
  const k = d.operands.indexOf(v);
  return k >= 0 ? k : d.operands.push(v) - 1;
}

/** Loads of one operand. */
export function loadSites(d: Pick<Draft, 'body' | 'post'>, slot: number): LoadExpr[] {
  const sites: LoadExpr[] = [];
  for (const x of [d.body, ...(d.post ? [d.post] : [])])
    visitExpr(x, (y) => {
      if (y.k === 'load' && y.src === slot) sites.push(y);
    });
  return sites;
}

/** Operands nobody loads any more are removed and slots renumbered. */
export function dropUnused(d: Draft): Draft {
  const used = new Set<number>();
  for (const x of [d.body, ...(d.post ? [d.post] : [])])
    visitExpr(x, (y) => {
      if (y.k === 'load') used.add(y.src);
    });
  const order = [...used].sort((a, b) => a - b);
  const renumber = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'load' ? { ...y, src: order.indexOf(y.src) } : y));
  return {
    body: renumber(d.body),
    post: d.post && renumber(d.post),
    operands: order.map((k) => d.operands[k] as Value),
  };
}
