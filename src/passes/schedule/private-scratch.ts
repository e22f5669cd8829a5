// On a GPU the iterations of a grid run at once, so scratch memory that one grid loop uses by itself must be a different
// one in each iteration: a small local array, or a stretch of a buffer that is as many times larger.

import { type Dim, upperBound } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt, slotsOf } from '../../ir/kernel-walk.js';
import { dimExpr, type Expr, rewriteExpr, variable } from '../../ir/scalar.js';
import { invariant } from '../../support/errors.js';
import { isShared } from './grid-rows.js';
import { createRangeScope, rangeOf } from '../kernel/value-range.js';

/** Elements a local array may have: it should fit registers, or the memory of a workgroup. */
const SMALL = 32;
const SMALL_SHARED = 1024;
/** And all of a kernel's together; partial results of its reductions come to it. */
const SMALL_TOGETHER = 2048;

type For = Stmt & { s: 'for' };

export function privatizeScratch(kernel: Kernel): Kernel {
  const touched = kernel.body.map((s) => slotsOf([s]));
  let k = kernel;
  let room = SMALL_TOGETHER;
  kernel.params.forEach((p, slot) => {
    if (p.access !== 'scratch') return;
    const users = touched.flatMap((slots, at) => (slots.has(slot) ? [at] : []));
    const [only] = users;
    const loop = only === undefined ? undefined : k.body[only];
    if (users.length !== 1 || loop?.s !== 'for' || loop.mode !== 'grid') return;
    const { params, body, taken } = privatize(k, slot, loop, room);
    room -= taken;
    k = { ...k, params, body: k.body.map((s, at) => (at === only ? body : s)) };
  });
  return k;
}

function privatize(
  k: Kernel,
  slot: number,
  loop: For,
  room: number,
): { params: Kernel['params']; body: Stmt; taken: number } {
  const param = k.params[slot];
  invariant(param, 'scratch is a parameter');
  const size = param.size;
  const shared = isShared(loop.body);
  if (typeof size === 'number' && size <= (shared ? Math.min(room, SMALL_SHARED) : SMALL)) {
    const local = 1 + Math.max(k.params.length - 1, ...slotsOf(k.body));
    const alloc: Stmt = { s: 'alloc', buf: local, dtype: param.dtype, size, space: shared ? 'local' : 'register' };
    const moved = redirect(loop.body, slot, local, (x) => x);
    return { params: k.params, body: { ...loop, body: [alloc, ...moved] }, taken: size };
  }
  const scope = createRangeScope(() => undefined);
  for (const s of k.syms) scope.vars.set(s.name, s);
  const count = rangeOf(loop.hi, scope).hi;
  const own = e.mul(variable(loop.var, 'i32'), boundExpr(size));
  const params = k.params.map((p, at) => (at === slot ? { ...p, size: boundOf(size) * count } : p));
  return { params, body: { ...loop, body: redirect(loop.body, slot, slot, (x) => e.add(own, x)) }, taken: 0 };
}

/** Sizes are taken at their bounds: a stretch must not depend on symbols the kernel does not get. */
const boundOf = (d: Dim): number => upperBound(d, 'scratch');
const boundExpr = (d: Dim): Expr => dimExpr(boundOf(d));

/** Reads and writes of `from` go to `to` instead, at a mapped index. */
export function redirect(body: readonly Stmt[], from: number, to: number, index: (x: Expr) => Expr): readonly Stmt[] {
  const memo = new Map<Expr, Expr>();
  const node = (x: Expr): Expr => (x.k === 'load' && x.src === from ? { ...x, src: to, index: x.index.map(index) } : x);
  const go = (list: readonly Stmt[]): readonly Stmt[] =>
    list.map((stmt) => {
      const s = mapStmt(stmt, (x) => rewriteExpr(x, node, memo), go);
      return (s.s === 'store' || s.s === 'atomic') && s.buf === from ? { ...s, buf: to, index: index(s.index) } : s;
    });
  return go(body);
}
