// Addresses that walk: for each `for` loop, the loads and stores of its body whose index is linear in the loop variable
// share a pointer local, set on entry and advanced once an iteration. Engines do not hoist this themselves.
// Accesses that differ by a constant share one pointer and say the difference as the instruction's offset.

import type { Stmt } from '../../ir/kernel.js';
import { stmtBodies, stmtExprs, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, visitExpr } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import type { Local } from './code.js';
import { type KernelState, LOW_MEMORY, type Pointer } from './kernel-state.js';
import { isInvariant, type Linear, type LinearTerm, linearize, termsKey } from './linear.js';

export type ForStmt = Extract<Stmt, { s: 'for' }>;

/** More pointers than this cost more in spilled registers than they save. */
const MOST_POINTERS = 12;

interface Plan {
  readonly key: string;
  readonly buf: number;
  readonly bytes: number;
  /** The address at the loop's first value: terms of the index, and the smallest constant. */
  readonly terms: readonly LinearTerm[];
  readonly first: number;
  /** What one step of the loop variable adds, in elements. */
  readonly advance: readonly LinearTerm[];
  readonly uses: number;
}

/** A planned pointer while its loop is written; `stride` holds the bytes of a step where they are not constant. */
export interface LivePointer extends Pointer {
  readonly stride: Local | number;
}

/** Expressions of a body evaluated once an iteration, and the buffers they touch; inner `for` bodies excluded. */
function accesses(body: readonly Stmt[], found: (buf: number, index: Expr) => void): void {
  const visit = (e: Expr): void =>
    visitExpr(e, (x) => {
      if (x.k === 'load' && x.index[0] && x.index[0].lanes === 1) found(x.src, x.index[0]);
    });
  for (const s of body) {
    for (const e of stmtExprs(s)) visit(e);
    if (s.s === 'store' || s.s === 'atomic') found(s.buf, s.index);
    if (s.s !== 'for') for (const inner of stmtBodies(s)) accesses(inner, found);
  }
}

/** Every variable declared or set anywhere in a body. */
function changedVars(body: readonly Stmt[]): Set<string> {
  const changed = new Set<string>();
  visitStmts(body, (s) => {
    if (s.s === 'let' || s.s === 'set' || s.s === 'for') changed.add(s.var);
  });
  return changed;
}

const keyOf = (buf: number, terms: readonly LinearTerm[]): string => `${buf}|${termsKey(terms)}`;

const isVar = (e: Expr, name: string): boolean => e.k === 'var' && e.name === name;

/** The terms one step adds, or null where the index is not linear in the loop variable with steady coefficients. */
function advanceOf(index: Linear, loop: ForStmt, changing: ReadonlySet<string>): readonly LinearTerm[] | null {
  const advance: LinearTerm[] = [];
  for (const t of index.terms) {
    const others = t.factors.filter((f) => !isVar(f, loop.var));
    if (t.factors.length - others.length > 1) return null;
    if (!others.every((f) => isInvariant(f, changing))) return null;
    if (others.length < t.factors.length) advance.push({ coef: t.coef * loop.step, factors: others, key: '' });
  }
  return advance;
}

/** The pointers worth having in a loop, most used first. */
function planPointers(k: KernelState, loop: ForStmt): readonly Plan[] {
  const changing = changedVars(loop.body).add(loop.var);
  const plans: Plan[] = [];
  const constants = new Map<string, { linear: Linear; buf: number; constants: number[] }>();
  accesses(loop.body, (buf, index) => {
    if (k.slots.get(buf)?.kind !== 'memory') return;
    const linear = linearize(index, k.definitions, k.linear);
    if (linear.terms.length === 0) return;
    const key = keyOf(buf, linear.terms);
    const group = constants.get(key);
    if (group) group.constants.push(linear.constant);
    else constants.set(key, { linear, buf, constants: [linear.constant] });
  });
  for (const [key, group] of constants) {
    const advance = advanceOf(group.linear, loop, changing);
    const slot = k.slots.get(group.buf);
    if (advance === null || slot?.kind !== 'memory') continue;
    const bytes = DTYPE_INFO[slot.dtype].bytes;
    const reach = LOW_MEMORY / bytes;
    let rest = group.constants.sort((a, b) => a - b);
    while (rest[0] !== undefined) {
      const first = rest[0];
      const far = rest.filter((c) => c - first > reach);
      plans.push({
        key,
        buf: group.buf,
        bytes,
        terms: group.linear.terms,
        first,
        advance,
        uses: rest.length - far.length,
      });
      rest = far;
    }
  }
  return plans.sort((a, b) => b.uses - a.uses).slice(0, MOST_POINTERS);
}

/** Pushes bytes · Σ terms, and reports whether anything was pushed. */
function writeTerms(k: KernelState, terms: readonly LinearTerm[], bytes: number, write: (e: Expr) => void): boolean {
  terms.forEach((t, i) => {
    k.c.i32(t.coef * bytes);
    for (const f of t.factors) {
      write(f);
      k.c.op('i32.mul');
    }
    if (i > 0) k.c.op('i32.add');
  });
  return terms.length > 0;
}

/** Writes the pointers' first values; the loop variable already holds its own. */
export function openPointers(k: KernelState, loop: ForStmt, write: (e: Expr) => void): readonly LivePointer[] {
  return planPointers(k, loop).map((plan) => {
    const slot = k.slots.get(plan.buf);
    const local = k.c.local('i32');
    const start = slot?.kind === 'memory' ? slot.pointer : 0;
    if (typeof start === 'number') k.c.i32(start + plan.first * plan.bytes);
    else k.c.get(start);
    if (writeTerms(k, plan.terms, plan.bytes, write)) k.c.op('i32.add');
    if (typeof start !== 'number' && plan.first !== 0) {
      k.c.i32(plan.first * plan.bytes);
      k.c.op('i32.add');
    }
    k.c.set(local);
    return { key: plan.key, first: plan.first, local, stride: writeStride(k, plan, write) };
  });
}

function writeStride(k: KernelState, plan: Plan, write: (e: Expr) => void): Local | number {
  if (plan.advance.every((t) => t.factors.length === 0))
    return plan.advance.reduce((n, t) => n + t.coef, 0) * plan.bytes;
  const stride = k.c.local('i32');
  writeTerms(k, plan.advance, plan.bytes, write);
  k.c.set(stride);
  return stride;
}

/** Moves every pointer on by one step of the loop. */
export function advancePointers(k: KernelState, pointers: readonly LivePointer[]): void {
  for (const { local, stride } of pointers) {
    if (stride === 0) continue;
    k.c.get(local);
    if (typeof stride === 'number') k.c.i32(stride);
    else k.c.get(stride);
    k.c.op('i32.add');
    k.c.set(local);
  }
}

export function closePointers(k: KernelState, pointers: readonly LivePointer[]): void {
  for (const { local, stride } of pointers) k.c.free(...(typeof stride === 'number' ? [local] : [local, stride]));
}

/** The pointer that reaches `index` of `buf`, and how many elements past it. */
export function findPointer(k: KernelState, buf: number, index: Expr): { local: Local; ahead: number } | null {
  if (k.pointers.length === 0) return null;
  const slot = k.slots.get(buf);
  if (slot?.kind !== 'memory') return null;
  const linear = linearize(index, k.definitions, k.linear);
  const key = keyOf(buf, linear.terms);
  const reach = LOW_MEMORY / DTYPE_INFO[slot.dtype].bytes;
  for (const p of k.pointers) {
    const ahead = linear.constant - p.first;
    if (p.key === key && ahead >= 0 && ahead <= reach) return { local: p.local, ahead };
  }
  return null;
}
