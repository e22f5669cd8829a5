// Walking and rebuilding kernels: the expressions and nested bodies of each statement, in one place.

import type { Kernel, Stmt } from './kernel.js';
import { type Expr, rewriteExpr, visitExpr } from './scalar.js';
import type { Dim } from './dim.js';
import { never } from '../support/errors.js';

/** Expressions a statement evaluates itself (not those of nested bodies). */
export function stmtExprs(s: Stmt): readonly Expr[] {
  switch (s.s) {
    case 'for':
      return [s.lo, s.hi];
    case 'while':
    case 'if':
      return [s.cond];
    case 'let':
    case 'set':
      return [s.value];
    case 'store':
    case 'atomic':
      return [s.index, s.value];
    case 'intrin':
      return s.args;
    case 'break':
    case 'alloc':
    case 'barrier':
      return [];
    default:
      return never(s, 'statement');
  }
}

/** Bodies nested in a statement. */
export function stmtBodies(s: Stmt): readonly (readonly Stmt[])[] {
  if (s.s === 'if') return [s.then, s.else];
  return s.s === 'for' || s.s === 'while' || s.s === 'intrin' ? [s.body] : [];
}

/** Rebuilds a statement with its own expressions and nested bodies mapped. */
export function mapStmt(s: Stmt, f: (e: Expr) => Expr, g: (body: readonly Stmt[]) => readonly Stmt[]): Stmt {
  switch (s.s) {
    case 'for':
      return { ...s, lo: f(s.lo), hi: f(s.hi), body: g(s.body) };
    case 'while':
      return { ...s, cond: f(s.cond), body: g(s.body) };
    case 'if':
      return { ...s, cond: f(s.cond), then: g(s.then), else: g(s.else) };
    case 'let':
    case 'set':
      return { ...s, value: f(s.value) };
    case 'store':
    case 'atomic':
      return { ...s, index: f(s.index), value: f(s.value) };
    case 'intrin':
      return { ...s, args: s.args.map(f), body: g(s.body) };
    case 'break':
    case 'alloc':
    case 'barrier':
      return s;
    default:
      return never(s, 'statement');
  }
}

/** Maps every expression of a body, nested bodies included. */
export const mapExprs = (body: readonly Stmt[], f: (e: Expr) => Expr): readonly Stmt[] =>
  body.map((s) => mapStmt(s, f, (b) => mapExprs(b, f)));

export function visitStmts(body: readonly Stmt[], f: (s: Stmt) => void): void {
  for (const s of body) {
    f(s);
    for (const b of stmtBodies(s)) visitStmts(b, f);
  }
}

/** Every expression node of a kernel body, shared nodes once. */
export function visitKernelExprs(body: readonly Stmt[], f: (e: Expr) => void): void {
  const seen = new Set<Expr>();
  visitStmts(body, (s) => {
    for (const e of stmtExprs(s)) visitExpr(e, f, seen);
  });
}

/** Buffer slots a body loads from, stores to or declares. */
export function slotsOf(body: readonly Stmt[]): Set<number> {
  const slots = new Set<number>();
  visitKernelExprs(body, (x) => {
    if (x.k === 'load') slots.add(x.src);
  });
  visitStmts(body, (s) => {
    if (s.s === 'store' || s.s === 'atomic' || s.s === 'alloc') slots.add(s.buf);
  });
  return slots;
}

/** How many places read a buffer or store to it. */
export function accessesOf(body: readonly Stmt[], slot: number): number {
  let n = 0;
  visitStmts(body, (s) => {
    if (s.s === 'store' && s.buf === slot) n++;
    for (const x of stmtExprs(s))
      visitExpr(x, (y) => {
        if (y.k === 'load' && y.src === slot) n++;
      });
  });
  return n;
}

/** A body with its buffer slots renumbered. */
export function mapSlots(body: readonly Stmt[], f: (slot: number) => number): readonly Stmt[] {
  const memo = new Map<Expr, Expr>();
  const node = (x: Expr): Expr => (x.k === 'load' && f(x.src) !== x.src ? { ...x, src: f(x.src) } : x);
  const go = (list: readonly Stmt[]): readonly Stmt[] =>
    list.map((stmt) => {
      const s = mapStmt(stmt, (x) => rewriteExpr(x, node, memo), go);
      return s.s === 'store' || s.s === 'atomic' || s.s === 'alloc' ? { ...s, buf: f(s.buf) } : s;
    });
  return go(body);
}

/** Names of the variables that a body's expressions read. */
export function namesRead(body: readonly Stmt[]): Set<string> {
  const names = new Set<string>();
  visitKernelExprs(body, (e) => {
    if (e.k === 'var') names.add(e.name);
  });
  return names;
}

/** Sizes a body mentions. */
export function kernelDims(body: Kernel['body']): Dim[] {
  const dims: Dim[] = [];
  visitKernelExprs(body, (e) => {
    if (e.k === 'dim') dims.push(e.dim);
  });
  return dims;
}
