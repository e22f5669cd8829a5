// A scheduled kernel as what can be started by itself: each grid loop with the lets in front of it, and each stretch of
// other statements as a single invocation. Buffers carry values from one piece to the next; see passes/schedule/grid.ts.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { stmtBodies, visitKernelExprs, visitStmts } from '../../ir/kernel-walk.js';
import { bounds } from '../../ir/dim.js';
import { type Expr, visitExpr } from '../../ir/scalar.js';
import { invariant } from '../../support/errors.js';

export interface Piece {
  /** Its buffers are the kernel's; nothing but `body` counts. */
  readonly body: readonly Stmt[];
  /** The variable that each invocation has one value of, or each group where `shared`, and how many there are; null: a single invocation. */
  readonly grid: {
    readonly name: string;
    readonly count: Expr;
    readonly most: number;
    readonly shared: boolean;
    /** Invocations of a group, where it is one's work. */
    readonly lanes: number;
  } | null;
  /** Slots of the kernel's parameters it touches, ascending; those it stores to. */
  readonly slots: readonly number[];
  readonly written: ReadonlySet<number>;
}

type Let = Stmt & { s: 'let' };

export function cutPieces(kernel: Kernel): readonly Piece[] {
  const hasGrid = kernel.body.some((s) => s.s === 'for' && s.mode === 'grid');
  const lets: Let[] = [];
  const groups: { body: Stmt[]; grid: (Stmt & { s: 'for' }) | null }[] = [];
  for (const s of kernel.body) {
    const last = groups.at(-1);
    if (hasGrid && s.s === 'let') lets.push(s);
    else if (s.s === 'for' && s.mode === 'grid') groups.push({ body: [...lets, ...s.body], grid: s });
    else if (last && !last.grid && lets.length === 0) last.body.push(s);
    else groups.push({ body: [...lets, s], grid: null });
  }
  return groups.map((g) => makePiece(kernel, g.body, g.grid && expandLets(g.grid, lets)));
}

/** The grid's size in terms of the kernel's sizes alone. */
function expandLets(grid: Stmt & { s: 'for' }, lets: readonly Let[]): Stmt & { s: 'for' } {
  const values = new Map(lets.map((l) => [l.var, l.value]));
  const expand = (x: Expr): Expr => {
    if (x.k === 'var') {
      const value = values.get(x.name);
      return value ? expand(value) : x;
    }
    return x.k === 'op' ? { ...x, args: x.args.map(expand) } : x;
  };
  return { ...grid, hi: expand(grid.hi) };
}

function makePiece(kernel: Kernel, all: readonly Stmt[], grid: (Stmt & { s: 'for' }) | null): Piece {
  const body = dropIdleLets(all);
  const touched = new Set<number>();
  const written = new Set<number>();
  visitKernelExprs(body, (x) => {
    if (x.k === 'load') touched.add(x.src);
  });
  visitStmts(body, (s) => {
    if (s.s !== 'store' && s.s !== 'atomic') return;
    touched.add(s.buf);
    written.add(s.buf);
  });
  const slots = [...touched].filter((slot) => slot < kernel.params.length).sort((a, b) => a - b);
  const most = grid ? mostOf(grid.hi, new Map(kernel.syms.map((s) => [s.name, s.hi]))) : 1;
  const lanes = lanesOf(body);
  const shared = lanes > 0;
  return { body, slots, written, grid: grid && { name: grid.var, count: grid.hi, most, shared, lanes } };
}

/** How many invocations the loops over a group's have; 0 where there are none. */
function lanesOf(body: readonly Stmt[]): number {
  let lanes = 0;
  visitStmts(body, (s) => {
    if (s.s === 'for' && s.mode === 'local') lanes = invocationsOf(s);
  });
  return lanes;
}

export function invocationsOf(s: Stmt & { s: 'for' }): number {
  invariant(s.hi.k === 'const', 'a group has a number of invocations');
  return Number(s.hi.value);
}

/** An upper bound of a size, for the range of the grid variable. */
function mostOf(x: Expr, syms: ReadonlyMap<string, number>): number {
  if (x.k === 'const') return Number(x.value);
  if (x.k === 'var') return syms.get(x.name) ?? 2 ** 31 - 1;
  if (x.k === 'dim') return bounds(x.dim)[1];
  if (x.k !== 'op' || (x.op !== 'mul' && x.op !== 'add')) return 2 ** 31 - 1;
  const [a, b] = x.args.map((y) => mostOf(y, syms)) as [number, number];
  return Math.min(2 ** 31 - 1, x.op === 'mul' ? a * b : a + b);
}

/** Without the lets at the top that nothing reads. */
function dropIdleLets(body: readonly Stmt[]): readonly Stmt[] {
  const used = new Set<string>();
  const kept: Stmt[] = [];
  const note = (list: readonly Stmt[]): void =>
    visitKernelExprs(list, (x) => {
      if (x.k === 'var') used.add(x.name);
    });
  const assigned = new Set<string>();
  visitStmts(body, (s) => {
    if (s.s === 'set') assigned.add(s.var);
  });
  for (const s of [...body].reverse()) {
    if (s.s === 'let' && !used.has(s.var) && !assigned.has(s.var)) continue;
    note([s]);
    kept.push(s);
  }
  return kept.reverse();
}

/** Whether a body runs anything in parallel form that a single invocation would serialise. */
export function hasParallel(body: readonly Stmt[]): boolean {
  return body.some((s) => (s.s === 'for' && s.mode === 'parallel') || stmtBodies(s).some(hasParallel));
}

/** Variables of a body that it does not declare: sizes, and the grid's. */
export function freeVars(body: readonly Stmt[]): ReadonlySet<string> {
  const free = new Set<string>();
  const declared = new Set<string>();
  visitStmts(body, (s) => {
    if (s.s === 'let' || s.s === 'for') declared.add(s.var);
  });
  visitKernelExprs(body, (x) => visitExpr(x, (y) => void (y.k === 'var' && !declared.has(y.name) && free.add(y.name))));
  return free;
}
