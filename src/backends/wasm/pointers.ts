// Addresses that walk: for each `for` loop, the loads and stores of its body whose index is linear in the loop variable
// share a pointer local, set on entry and advanced once an iteration. Engines do not hoist this themselves.
// Accesses that differ by a constant share one pointer and say the difference as the instruction's offset.

import type { Stmt } from '../../ir/kernel.js';
import { stmtBodies, stmtExprs, visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, visitExpr } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import type { Local } from './code.js';
import { type KernelState, LOW_MEMORY, type Pointer } from './kernel-state.js';
import { isInvariant, type Linear, type LinearTerm, linearize, termsKey } from '../../ir/linear.js';

export type ForStmt = Extract<Stmt, { s: 'for' }>;

/** More pointers than this cost more in spilled registers than they save. */
const MOST_POINTERS = 12;

interface Plan {
  readonly key: string;
  readonly buf: number;
  readonly bytes: number;
  /** The element it points to: less than the index by a constant. */
  readonly first: number;
  /** An index of the group, `constant` past that element's without `first`. */
  readonly index: Expr;
  readonly constant: number;
  /** What one step of the loop variable adds, in elements. */
  readonly advance: readonly LinearTerm[];
  readonly uses: number;
}

/** A planned pointer while its loop is written; `stride` holds the bytes of a step where they are not constant. */
export interface LivePointer extends Pointer {
  readonly stride: Local | number;
  /** Whether no pointer before it has the same stride. */
  readonly isOwn: boolean;
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
    if (others.length < t.factors.length)
      advance.push({ coef: t.coef * loop.step, factors: others, key: others.map(exprKey).join('*') });
  }
  return advance;
}

interface Group {
  readonly linear: Linear;
  readonly buf: number;
  readonly found: { readonly constant: number; readonly index: Expr }[];
}

/** The pointers worth having in a loop, most used first. */
function planPointers(k: KernelState, loop: ForStmt, changing: ReadonlySet<string>): readonly Plan[] {
  const plans: Plan[] = [];
  const groups = new Map<string, Group>();
  accesses(loop.body, (buf, index) => {
    if (k.slots.get(buf)?.kind !== 'memory') return;
    const linear = linearize(index, k.definitions, k.linear);
    if (linear.terms.length === 0) return;
    const key = keyOf(buf, linear.terms);
    const found = { constant: linear.constant, index };
    const group = groups.get(key);
    if (group) group.found.push(found);
    else groups.set(key, { linear, buf, found: [found] });
  });
  for (const [key, group] of groups) {
    const advance = advanceOf(group.linear, loop, changing);
    const slot = k.slots.get(group.buf);
    if (advance === null || slot?.kind !== 'memory') continue;
    const bytes = DTYPE_INFO[slot.dtype].bytes;
    const reach = LOW_MEMORY / bytes;
    let rest = group.found.sort((a, b) => a.constant - b.constant);
    while (rest[0] !== undefined) {
      const { index, constant } = rest[0];
      const near = rest[0].constant >= 0 && rest.every((x) => x.constant <= reach);
      const first = near ? 0 : constant; // what an instruction can add need not be in the pointer
      const far = rest.filter((x) => x.constant - first > reach);
      plans.push({ key, buf: group.buf, bytes, first, index, constant, advance, uses: rest.length - far.length });
      rest = far;
    }
  }
  return plans.sort((a, b) => b.uses - a.uses).slice(0, MOST_POINTERS);
}

/** Pushes Σ terms, and reports whether anything was pushed. */
function writeTerms(k: KernelState, terms: readonly LinearTerm[], write: (e: Expr) => void): boolean {
  terms.forEach((t, i) => {
    t.factors.forEach((f, n) => {
      write(f);
      if (n > 0) k.c.op('i32.mul');
    });
    if (t.factors.length === 0) k.c.i32(t.coef);
    else if (t.coef !== 1) {
      k.c.i32(t.coef);
      k.c.op('i32.mul');
    }
    if (i > 0) k.c.op('i32.add');
  });
  return terms.length > 0;
}

/** Elements on the stack to bytes. */
function writeScale(k: KernelState, bytes: number): void {
  if (bytes === 1) return;
  k.c.i32(31 - Math.clz32(bytes));
  k.c.op('i32.shl');
}

/** Writes the pointers' first values; the loop variable already holds its own. */
export function openPointers(k: KernelState, loop: ForStmt, write: (e: Expr) => void): readonly LivePointer[] {
  const changing = changedVars(loop.body).add(loop.var);
  // What the body names is not yet known where the loop begins; names from outside are shorter than what they stand for.
  const inside = new Map([...k.definitions].filter(([name]) => changing.has(name)));
  if (loop.lo.k === 'const') inside.set(loop.var, loop.lo);
  const memo = new Map<Expr, Linear>();
  const strides = new Map<string, Local | number>();
  return planPointers(k, loop, changing).map((plan) => {
    const local = k.c.local('i32');
    writeStart(k, plan, linearize(plan.index, inside, memo), write);
    k.c.set(local);
    const key = `${plan.bytes}|${termsKey(plan.advance)}`;
    const isOwn = !strides.has(key);
    const stride = strides.get(key) ?? writeStride(k, plan, write);
    strides.set(key, stride);
    return { key: plan.key, first: plan.first, local, stride, isOwn };
  });
}

function writeStart(k: KernelState, plan: Plan, start: Linear, write: (e: Expr) => void): void {
  const slot = k.slots.get(plan.buf);
  const base = slot?.kind === 'memory' ? slot.pointer : 0;
  const ahead = (start.constant + plan.first - plan.constant) * plan.bytes;
  if (typeof base === 'number') k.c.i32(base + ahead);
  else k.c.get(base);
  if (writeTerms(k, start.terms, write)) {
    writeScale(k, plan.bytes);
    k.c.op('i32.add');
  }
  if (typeof base === 'number' || ahead === 0) return;
  k.c.i32(ahead);
  k.c.op('i32.add');
}

function writeStride(k: KernelState, plan: Plan, write: (e: Expr) => void): Local | number {
  if (plan.advance.every((t) => t.factors.length === 0))
    return plan.advance.reduce((n, t) => n + t.coef, 0) * plan.bytes;
  const stride = k.c.local('i32');
  writeTerms(k, plan.advance, write);
  writeScale(k, plan.bytes);
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

/** The pointer that tells when a loop of known length ends, and what it then is. */
export function writeEnd(
  k: KernelState,
  loop: ForStmt,
  pointers: readonly LivePointer[],
): { readonly pointer: Local; readonly end: Local } | null {
  if (loop.lo.k !== 'const' || loop.hi.k !== 'const') return null;
  const steps = Math.ceil((Number(loop.hi.value) - Number(loop.lo.value)) / loop.step);
  for (const { local: pointer, stride } of pointers) {
    if (typeof stride !== 'number' || stride === 0) continue;
    const end = k.c.local('i32');
    k.c.get(pointer);
    k.c.i32(stride * steps);
    k.c.op('i32.add');
    k.c.set(end);
    return { pointer, end };
  }
  return null;
}

export function closePointers(k: KernelState, pointers: readonly LivePointer[]): void {
  for (const { local, stride, isOwn } of pointers)
    k.c.free(...(typeof stride === 'number' || !isOwn ? [local] : [local, stride]));
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
