// How many scalar operations a stretch of a kernel comes to, at the bounds of its sizes. An estimate: branches count as the
// longer one, loops that may end early as if they did not.

import { upperBound } from '../../ir/dim.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { stmtBodies, stmtExprs } from '../../ir/kernel-walk.js';
import { type Expr, visitExpr } from '../../ir/scalar.js';
import { createRanges, I32_RANGE, type Ranges } from '../int-range.js';
import { storedType } from '../lang.js';
import { USUAL_ROUNDS } from './placement-costs.js';

const rangesOf = (kernel: Kernel): Ranges =>
  createRanges(kernel.syms, (slot) => {
    const param = kernel.params[slot];
    return param && storedType(param.dtype);
  });

/** How many iterations a grid has; where its size says nothing, as many as the largest buffer has elements. */
export function countIterations(kernel: Kernel, size: Expr): number {
  const { hi } = rangesOf(kernel).of(size);
  if (hi < I32_RANGE.hi) return Math.max(1, hi);
  return Math.max(1, ...kernel.params.map((p) => upperBound(p.size, p.name)));
}

/** `name`, where given, is a variable of so many values. */
export function countOperations(kernel: Kernel, body: readonly Stmt[], name?: string, values = 1): number {
  const ranges = rangesOf(kernel);
  if (name !== undefined) ranges.bind(name, { lo: 0, hi: Math.max(0, values - 1) });
  return countBody(body, ranges);
}

const countBody = (body: readonly Stmt[], ranges: Ranges): number => body.reduce((n, s) => n + countStmt(s, ranges), 0);

function countStmt(s: Stmt, ranges: Ranges): number {
  const own = 1 + stmtExprs(s).reduce((n, x) => n + countNodes(x), 0);
  if (s.s === 'let' && !s.mutable) ranges.bind(s.var, ranges.of(s.value));
  if (s.s === 'if') return own + Math.max(countBody(s.then, ranges), countBody(s.else, ranges));
  if (s.s === 'for') {
    const [lo, hi] = [ranges.of(s.lo).lo, ranges.of(s.hi).hi];
    ranges.bind(s.var, { lo, hi: Math.max(lo, hi - 1) });
    return own + tripsOf(lo, hi, s.step) * (1 + countBody(s.body, ranges));
  }
  const inner = stmtBodies(s).reduce((n, b) => n + countBody(b, ranges), 0);
  return s.s === 'while' ? own + USUAL_ROUNDS * (countNodes(s.cond) + inner) : own + inner;
}

const tripsOf = (lo: number, hi: number, step: number): number =>
  lo <= I32_RANGE.lo || hi >= I32_RANGE.hi ? USUAL_ROUNDS : Math.max(0, Math.ceil((hi - lo) / step));

/** Loads and operations; names and constants are free. */
function countNodes(x: Expr): number {
  let n = 0;
  visitExpr(x, (y) => {
    if (y.k !== 'const' && y.k !== 'var' && y.k !== 'dim') n += y.lanes;
  });
  return n;
}
