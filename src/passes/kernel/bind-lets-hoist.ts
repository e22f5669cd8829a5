// Moves what does not change inside a loop in front of it. Arithmetic moves freely (it is total after legalization);
// a load moves only if it is guarded, reads an element that surely exists, or surely runs: the loop has a step at least at all
// sizes and no way out, and the load stands on its straight path. Out of branches only index arithmetic moves. Grid and local
// loops keep everything.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { children, type Expr, type LoadExpr, mapChildren, variable } from '../../ir/scalar.js';
import { createNumbering, type Numbering } from './expr-numbering.js';
import { createRangeScope, rangeOf } from './value-range.js';
import { type Effects, effectsOf, mapBodies, mapStmtExprs } from './stmt-walk.js';

type For = Stmt & { s: 'for' };

/** State of moving things out of one loop. */
interface Loop {
  readonly effects: Effects;
  readonly isInvariant: Map<Expr, boolean>;
  readonly numbering: Numbering;
  readonly names: Map<number, string>;
  readonly moved: Stmt[];
  /** Whether only what is splat moves. */
  readonly keepsSplats: boolean;
  /** Whether a loop has at least one step, whatever the sizes are. */
  readonly runs: (loop: For) => boolean;
  readonly fresh: () => string;
  readonly exists: Exists;
}

/** Whether a load may run at any time: what it reads is there whatever the sizes are. */
export type Exists = (x: LoadExpr) => boolean;

/** How an expression is reached: `sure` whenever the loop runs, `free` if only safe arithmetic may move. */
type Reach = 'sure' | 'loop' | 'branch';

export function hoistInvariants(
  kernel: Kernel,
  { keepsSplats, fresh, exists }: Pick<Loop, 'keepsSplats' | 'fresh' | 'exists'>,
): readonly Stmt[] {
  const sizes = createRangeScope((slot) => kernel.params[slot]?.dtype);
  for (const { name, lo, hi } of kernel.syms) sizes.vars.set(name, { lo, hi });
  const runs = ({ lo, hi }: For): boolean => rangeOf(lo, sizes).hi < rangeOf(hi, sizes).lo;
  const go = (body: readonly Stmt[]): readonly Stmt[] =>
    body.flatMap((stmt) => {
      const inner = mapBodies(stmt, go);
      return inner.s === 'for' && inner.mode !== 'grid' && inner.mode !== 'local'
        ? hoistLoop(inner, { runs, keepsSplats, fresh, exists })
        : [inner];
    });
  return go(kernel.body);
}

function hoistLoop(stmt: For, how: Pick<Loop, 'runs' | 'keepsSplats' | 'fresh' | 'exists'>): readonly Stmt[] {
  const effects = effectsOf(stmt.body);
  effects.declared.add(stmt.var);
  const loop: Loop = {
    effects,
    isInvariant: new Map(),
    numbering: createNumbering(),
    names: new Map(),
    moved: [],
    ...how,
  };
  const reach = how.runs(stmt) && !effects.breaks ? 'sure' : 'loop';
  const body = hoistBody(loop, stmt.body, reach, true);
  return [...loop.moved, { ...stmt, body }];
}

function hoistBody(loop: Loop, body: readonly Stmt[], reach: Reach, direct: boolean): readonly Stmt[] {
  return body.flatMap((stmt): readonly Stmt[] => {
    if (direct && stmt.s === 'let' && !stmt.mutable && canMove(loop, stmt.value, reach)) {
      loop.moved.push(stmt);
      loop.effects.declared.delete(stmt.var);
      loop.isInvariant.clear();
      return [];
    }
    const own = mapStmtExprs(stmt, (e) => hoistParts(loop, e, stmt.s === 'while' ? 'branch' : reach));
    return [mapBodies(own, (b) => hoistBody(loop, b, reachInside(loop, own, reach), false))];
  });
}

function reachInside(loop: Loop, stmt: Stmt, reach: Reach): Reach {
  if (stmt.s === 'for') return reach === 'sure' && !loop.runs(stmt) ? 'loop' : reach;
  return 'branch';
}

function isInvariant(loop: Loop, e: Expr): boolean {
  const known = loop.isInvariant.get(e);
  if (known !== undefined) return known;
  const { declared, assigned, written, barrier } = loop.effects;
  const varies =
    (e.k === 'var' && (declared.has(e.name) || assigned.has(e.name))) ||
    (e.k === 'load' && (barrier || written.has(e.src)));
  const result = !varies && children(e).every((c) => isInvariant(loop, c));
  loop.isInvariant.set(e, result);
  return result;
}

/** Whether evaluating `e` reads memory without a guard, where there may be none. */
export function hasBareLoad(e: Expr, exists: Exists, memo: Map<Expr, boolean> = new Map()): boolean {
  const known = memo.get(e);
  if (known !== undefined) return known;
  const always = e.k === 'load' && !exists(e) ? (e.guard ? [e.guard] : null) : children(e);
  const result = always === null || always.some((c) => hasBareLoad(c, exists, memo));
  memo.set(e, result);
  return result;
}

function canMove(loop: Loop, e: Expr, reach: Reach): boolean {
  if (!isInvariant(loop, e)) return false;
  if (reach === 'sure') return true;
  if (hasBareLoad(e, loop.exists)) return false;
  return reach === 'loop' || e.dtype === 'i32' || e.dtype === 'i1';
}

/** Replaces the largest movable parts of `e` by variables set in front of the loop. */
function hoistParts(loop: Loop, e: Expr, reach: Reach, done: Map<Expr, Expr> = new Map()): Expr {
  if (isFree(e)) return e;
  const known = done.get(e);
  if (known) return known;
  let out: Expr;
  if (canMove(loop, e, reach) && !(loop.keepsSplats && isSplat(e))) out = moved(loop, e);
  else if (e.k === 'load' && e.guard) out = hoistGuarded(loop, e, reach, done);
  else out = mapChildren(e, (c) => hoistParts(loop, c, reach, done));
  done.set(e, out);
  return out;
}

/** Below a guard nothing may move that needs it. */
function hoistGuarded(loop: Loop, e: LoadExpr, reach: Reach, done: Map<Expr, Expr>): Expr {
  const inside = new Map<Expr, Expr>();
  const below: Reach = reach === 'sure' ? 'loop' : reach;
  const index = e.index.map((x) => hoistParts(loop, x, below, inside));
  const pad = e.pad && hoistParts(loop, e.pad, below, inside);
  return { ...e, index, guard: e.guard && hoistParts(loop, e.guard, reach, done), pad };
}

function moved(loop: Loop, e: Expr): Expr {
  const id = loop.numbering.of(e);
  let name = loop.names.get(id);
  if (name === undefined) {
    name = loop.fresh();
    loop.names.set(id, name);
    loop.moved.push({ s: 'let', var: name, value: e, mutable: false });
  }
  return variable(name, e.dtype, e.lanes);
}

export const isSplat = (e: Expr): boolean => e.k === 'vec' && e.op === 'splat' && e.args[0]?.lanes === 1;

/** Nothing is gained by giving these a name: leaves, and what addressing or a single instruction absorbs. */
export function isFree(e: Expr): boolean {
  if (e.k === 'const' || e.k === 'var' || e.k === 'dim') return true;
  if (e.k === 'bitcast') return isLeaf(e.arg);
  if (e.k === 'vec') return e.op === 'splat' && e.args[0]?.k === 'const';
  if (e.k !== 'op' || e.lanes > 1) return false;
  if (e.dtype === 'i1') return e.args.every(isLeaf);
  const isOffset = e.dtype === 'i32' && (e.op === 'add' || e.op === 'sub');
  return isOffset && isLeaf(e.args[0]) && e.args[1]?.k === 'const';
}

const isLeaf = (e: Expr | undefined): boolean => e?.k === 'const' || e?.k === 'var' || e?.k === 'dim';
