// Work for several threads: the outermost parallel loop of a kernel runs over one share of its iterations, given by the
// variable SHARE. Nothing else changes, so the values are those of one thread. Scratch memory gets a stretch for each thread.
// There are more shares than threads where there is work enough: who is disturbed takes fewer.
// Kernels whose loops depend on each other, or are too short to be worth a second thread, stay whole.

import { upperBound } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Kernel, SHARE, type Stmt, THREAD } from '../../ir/kernel.js';
import { stmtBodies, stmtExprs, visitKernelExprs, visitStmts } from '../../ir/kernel-walk.js';
import { i32, variable, visitExpr } from '../../ir/scalar.js';
import { createRangeScope, type RangeScope, rangeOf } from '../kernel/value-range.js';
import { redirect } from './private-scratch.js';

type For = Stmt & { s: 'for' };

/** Operations, vectors counted as one, below which a kernel is done sooner than a second thread has begun: some 30 µs. */
const LEAST_WORK = 100_000;
/** Operations of a share that is not too short to be taken by itself. */
const LEAST_SHARE = 100_000;
const MOST_SHARES_EACH = 4;

export function shareKernel(kernel: Kernel, threads: number): Kernel {
  const scope = createRangeScope((slot) => kernel.params[slot]?.dtype);
  for (const s of kernel.syms) scope.vars.set(s.name, s);
  let bad = false;
  visitStmts(kernel.body, (s) => {
    if (s.s === 'alloc' || s.s === 'atomic' || s.s === 'barrier') bad = true;
    if (s.s === 'for') scope.vars.set(s.var, { lo: 0, hi: Math.max(0, rangeOf(s.hi, scope).hi) });
    if (s.s === 'let') scope.vars.set(s.var, rangeOf(s.value, scope));
  });
  const work = workOf(kernel.body, scope);
  if (bad || work < LEAST_WORK) return kernel;
  const count = threads * Math.max(1, Math.min(MOST_SHARES_EACH, Math.floor(work / LEAST_SHARE / threads)));
  const parts: Part[] = [];
  const body = splitBody(kernel.body, count, scope, parts);
  if (!body || !parts.some((p) => p.cut) || !areIndependent(parts)) return kernel;
  return giveScratch({ ...kernel, body, shares: { count, threads } }, threads);
}

/** Operations of one run at the sizes' upper bounds; what both arms of a choice cost is taken from the dearer. */
function workOf(body: readonly Stmt[], scope: RangeScope): number {
  return body.reduce((total, s) => {
    if (s.s === 'if') return total + Math.max(workOf(s.then, scope), workOf(s.else, scope));
    const own = stmtExprs(s).reduce((n, x) => n + operations(x), 1);
    const inner = stmtBodies(s).reduce((n, b) => n + workOf(b, scope), 0);
    const trips = s.s === 'for' ? Math.max(1, rangeOf(s.hi, scope).hi / s.step) : 1;
    return total + own + trips * inner;
  }, 0);
}

function operations(x: Parameters<typeof visitExpr>[0]): number {
  let n = 0;
  visitExpr(x, (y) => {
    if (y.k === 'op' || y.k === 'load' || y.k === 'select') n++;
  });
  return n;
}

/** A statement at the top, cut into shares or left to the first. */
interface Part {
  readonly stmt: Stmt;
  readonly cut: boolean;
}

/** Every long top-level loop cut; null where statements depend on each other by a variable. */
function splitBody(body: readonly Stmt[], shares: number, scope: RangeScope, parts: Part[]): readonly Stmt[] | null {
  const out: Stmt[] = [];
  for (const s of body) {
    if (s.s === 'let') {
      if (s.mutable) return null;
      out.push(s);
    } else if (s.s === 'if') {
      const [then, otherwise] = [s.then, s.else].map((b) => splitBody(b, shares, scope, parts));
      if (!then || !otherwise) return null;
      out.push({ ...s, then, else: otherwise });
    } else {
      const cut = s.s === 'for' ? splitLoop(s, shares, scope) : null;
      parts.push({ stmt: s, cut: cut !== null });
      out.push(cut ?? { s: 'if', cond: e.eq(variable(SHARE, 'i32'), 0), then: [s], else: [] });
    }
  }
  return out;
}

/** The outermost loop with an iteration for each share, below loops that only nest. */
function splitLoop(s: For, shares: number, scope: RangeScope): For | null {
  if (s.mode !== 'parallel' || s.lo.k !== 'const' || Number(s.lo.value) !== 0) return null;
  const [only] = s.body;
  const trips = rangeOf(s.hi, scope).hi / s.step;
  if (trips < shares && s.body.length === 1 && only?.s === 'for') {
    const inner = splitLoop(only, shares, scope);
    if (inner) return { ...s, body: [inner] };
  }
  if (trips < 2) return null;
  const count = e.div(e.add(s.hi, s.step - 1), s.step);
  const edge = (share: ReturnType<typeof variable>) => e.mul(e.div(e.mul(count, share), shares), s.step);
  const share = variable(SHARE, 'i32');
  return { ...s, lo: edge(share), hi: e.min(s.hi, edge(e.add(share, 1))) };
}

/** No part reads what another writes: threads do not wait for each other between them. */
function areIndependent(parts: readonly Part[]): boolean {
  const effects = parts.map(({ stmt }) => {
    const [reads, writes] = [new Set<number>(), new Set<number>()];
    visitKernelExprs([stmt], (x) => {
      if (x.k === 'load') reads.add(x.src);
    });
    visitStmts([stmt], (s) => {
      if (s.s === 'store') writes.add(s.buf);
    });
    return { reads, writes };
  });
  return effects.every((a, i) => effects.every((b, j) => i === j || ![...a.writes].some((w) => b.reads.has(w))));
}

/** A stretch of each scratch buffer for each thread. */
function giveScratch(kernel: Kernel, threads: number): Kernel {
  let { body } = kernel;
  const params = kernel.params.map((p, slot) => {
    if (p.access !== 'scratch') return p;
    const size = upperBound(p.size, p.name);
    const own = e.mul(variable(THREAD, 'i32'), i32(size));
    body = redirect(body, slot, slot, (x) => e.add(own, x));
    return { ...p, size: size * threads };
  });
  return { ...kernel, params, body };
}
