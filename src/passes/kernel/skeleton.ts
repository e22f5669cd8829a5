// What is left of a kernel when its sizes are taken out: a text equal for kernels that differ in sizes alone. A size is i32
// arithmetic over constants and symbols, so that a caller can compute it.

import { type Dim, type Sym, symDim } from '../../ir/dim.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { kernelKey } from '../../ir/kernel-key.js';
import { mapStmt, stmtBodies } from '../../ir/kernel-walk.js';
import { type Expr, mapChildren, rewriteExpr, variable } from '../../ir/scalar.js';
import { sizeOp } from '../../ir/size-op.js';

/** Variables renamed in the order of their declaration: kernels that differ in names alone are then equal. */
export function withCanonicalNames(kernel: Kernel): Kernel {
  const names = new Map<string, string>();
  const syms = new Set(kernel.syms.map((s) => s.name));
  const declare = (name: string): string => {
    const known = names.get(name);
    if (known !== undefined) return known;
    let n = names.size;
    while (syms.has(`v${n}`)) n += syms.size;
    names.set(name, `v${n}`);
    return `v${n}`;
  };
  const memo = new Map<Expr, Expr>();
  const rename = (e: Expr): Expr =>
    rewriteExpr(
      e,
      (x) => (x.k === 'var' && names.has(x.name) ? variable(names.get(x.name) as string, x.dtype, x.lanes) : x),
      memo,
    );
  const go = (body: readonly Stmt[]): readonly Stmt[] =>
    body.map((s) => {
      if (s.s === 'for') {
        const [lo, hi, name] = [rename(s.lo), rename(s.hi), declare(s.var)];
        return { ...s, var: name, lo, hi, body: go(s.body) };
      }
      const own = mapStmt(s, rename, go);
      return own.s === 'let' || own.s === 'set' ? { ...own, var: declare(own.var) } : own;
    });
  return { ...kernel, body: go(kernel.body) };
}

export type Sizes = (e: Expr) => Dim | null;

/** The size an expression is, for a caller; null where it depends on anything but symbols. */
export function createSizes(kernel: Kernel): Sizes {
  const syms = new Map(kernel.syms.map((s) => [s.name, s]));
  const memo = new Map<Expr, Dim | null>();
  const of = (e: Expr): Dim | null => {
    const known = memo.get(e);
    if (known !== undefined) return known;
    const made = e.dtype === 'i32' && e.lanes === 1 ? compute(e, syms, of) : null;
    memo.set(e, made);
    return made;
  };
  return of;
}

function compute(e: Expr, syms: ReadonlyMap<string, Sym>, of: Sizes): Dim | null {
  if (e.k === 'const') return Number(e.value);
  if (e.k === 'dim') return e.dim;
  if (e.k === 'var') {
    const sym = syms.get(e.name);
    return sym ? symDim(sym) : null;
  }
  if (e.k !== 'op') return null;
  const args = e.args.map(of);
  if (!args.every((d) => d !== null)) return null;
  return FIXED.has(e.op) && typeof args[1] !== 'number' ? null : sizeOp(e.op, args);
}

/** Loops of up to this many steps are written out, by us or by a compiler: their counts are no sizes. */
const FEW_STEPS = 8;

const HOLE = variable('?', 'i32');

/** The second operand of these should be known when code is made. */
const FIXED = new Set(['div', 'rem', 'shl', 'shr_s', 'shr_u']);

export function skeletonKey(kernel: Kernel): string {
  const sizes = createSizes(kernel);
  const isLocal = (slot: number): boolean => slot >= kernel.params.length;
  const keeps = (e: Expr, c: Expr): boolean =>
    c.k === 'const' && ((e.k === 'op' && FIXED.has(e.op) && e.args[1] === c) || (e.k === 'load' && isLocal(e.src)));
  const outside = createSkeleton(sizes, keeps, false);
  const inside = createSkeleton(sizes, keeps, true);
  const go = (body: readonly Stmt[], skeleton: Skeleton): readonly Stmt[] =>
    body.map((s): Stmt => {
      if (s.s === 'for') {
        const inner = s.body.some(hasLoop) ? skeleton : inside;
        return { ...s, lo: bound(s.lo, 0), hi: bound(s.hi, FEW_STEPS), body: go(s.body, inner) };
      }
      if (s.s !== 'store') return mapStmt(s, skeleton.value, (b) => go(b, skeleton));
      const fixed = isLocal(s.buf) && s.index.k === 'const';
      return { ...s, index: fixed ? s.index : skeleton.index(s.index), value: skeleton.value(s.value) };
    });
  const bound = (e: Expr, few: number): Expr => (e.k === 'const' && Number(e.value) <= few ? e : outside.value(e));
  const params = kernel.params.map((p) => ({ ...p, size: 0 }));
  return `${kernel.shares?.count ?? ''}|${kernelKey({ ...kernel, params, syms: [], body: go(kernel.body, outside) })}`;
}

const hasLoop = (s: Stmt): boolean => s.s === 'for' || s.s === 'while' || stmtBodies(s).some((b) => b.some(hasLoop));

type Keeps = (e: Expr, child: Expr) => boolean;

interface Skeleton {
  readonly value: (e: Expr) => Expr;
  readonly index: (e: Expr) => Expr;
}

/** `near`: what is added to an index stays, as it is part of the instruction that loads or stores. */
function createSkeleton(sizes: Sizes, keeps: Keeps, near: boolean): Skeleton {
  const memo = new Map<Expr, Expr>();
  const of = (e: Expr): Expr => {
    const known = memo.get(e);
    if (known) return known;
    const made = sizes(e) !== null ? HOLE : mapChildren(e, (c) => child(e, c));
    memo.set(e, made);
    return made;
  };
  const child = (e: Expr, c: Expr): Expr => {
    if (keeps(e, c)) return c;
    return e.k === 'load' && e.index.includes(c) ? index(c) : of(c);
  };
  const index = (e: Expr): Expr => {
    if (!near) return of(e);
    if (e.k === 'const') return e;
    if (e.k === 'op' && (e.op === 'add' || e.op === 'sub') && e.lanes === 1) return mapChildren(e, index);
    return of(e);
  };
  return { value: of, index };
}
