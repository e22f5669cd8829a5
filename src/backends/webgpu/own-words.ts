// Who owns the 32-bit words of packed elements. Where no two invocations write into one word, stores need no atomics:
// a vector that fills words from a boundary on, or single elements near a position that is the invocation's own.

import { coefficient } from '../../ir/affine.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, i32, rewriteExpr, substituteVars } from '../../ir/scalar.js';
import { createRanges } from '../int-range.js';
import type { DivisorOf } from '../../ir/alignment.js';

export interface Owner {
  /** The variable that each invocation, or each group, has one value of; null: a single invocation. */
  readonly grid: string | null;
  readonly shared: boolean;
  /** Of the grid's values, at most. */
  readonly most: number;
}

type Store = Extract<Stmt, { s: 'store' }>;
type For = Extract<Stmt, { s: 'for' }>;

/** Of the given slots, with elements a word each, those whose words all have one writer. */
export function findOwned(
  kernel: Kernel,
  slots: ReadonlyMap<number, number>,
  owner: Owner,
  divisorOf: DivisorOf,
): ReadonlySet<number> {
  const stores = new Map<number, Store[]>();
  const foreign = new Set<number>();
  const lets = new Map<string, Expr>();
  const loops = new Map<string, For>();
  const ranges = createRanges(kernel.syms, () => undefined);
  /** What only the first invocation of a group does. */
  const single = new Set<Stmt>();
  visitStmts(kernel.body, (s) => {
    if (s.s === 'store' && slots.has(s.buf)) stores.set(s.buf, [...(stores.get(s.buf) ?? []), s]);
    if (s.s === 'atomic') foreign.add(s.buf);
    if (s.s === 'let' && !s.mutable) lets.set(s.var, s.value);
    if (s.s === 'if' && isFirst(s.cond, loops)) visitStmts(s.then, (x) => void single.add(x));
    if (s.s !== 'for') return;
    loops.set(s.var, s);
    ranges.bind(s.var, { lo: ranges.of(s.lo).lo, hi: ranges.of(s.hi).hi - 1 });
  });
  const expand = (x: Expr): Expr =>
    rewriteExpr(x, (y) => {
      const value = y.k === 'var' ? lets.get(y.name) : undefined;
      return value ? expand(value) : y;
    });
  /** Coefficient of the grid's variable where the rest stays below it. */
  const strideOf = (index: Expr, grid: string, lanes: number, most: number): number | null => {
    const by = coefficient(index, grid);
    if (by?.k !== 'const') return null;
    const rest = ranges.of(substituteVars(index, new Map([[grid, i32(0)]])));
    return rest.lo >= 0 && rest.hi + lanes <= Math.min(most, Number(by.value)) ? Number(by.value) : null;
  };
  const ownsStore = (s: Store, word: number): boolean => {
    const { lanes } = s.value;
    if (owner.grid === null) return true;
    if (lanes % word === 0 && divisorOf(s.index) % word === 0) return true;
    if (owner.shared && owner.most === 1 && single.has(s)) return true;
    const index = expand(s.index);
    if (!owner.shared) {
      const stride = strideOf(index, owner.grid, lanes, Number.POSITIVE_INFINITY);
      return stride !== null && stride % word === 0;
    }
    // Of a group: each invocation has words of its own along a loop that starts at its place and goes on by all of them.
    return [...loops.values()].some((f) => {
      const lane = f.lo.k === 'op' && f.lo.op === 'mul' ? f.lo.args[0] : undefined;
      const local = lane?.k === 'var' ? loops.get(lane.name) : undefined;
      const by = coefficient(f.lo, lane?.k === 'var' ? lane.name : '');
      if (local?.mode !== 'local' || by?.k !== 'const' || local.hi.k !== 'const') return false;
      if (Number(by.value) % word !== 0 || f.step !== Number(by.value) * Number(local.hi.value)) return false;
      const along = coefficient(index, f.var);
      if (along?.k !== 'const' || Number(along.value) !== 1) return false;
      const rest = substituteVars(index, new Map([[f.var, i32(0)]]));
      const stride = strideOf(rest, owner.grid as string, lanes, Number(by.value));
      return stride !== null && stride % word === 0 && ranges.of(f.hi).hi <= stride;
    });
  };
  return new Set(
    [...stores].flatMap(([slot, list]) =>
      !foreign.has(slot) && list.every((s) => ownsStore(s, slots.get(slot) as number)) ? [slot] : [],
    ),
  );
}

function isFirst(cond: Expr, loops: ReadonlyMap<string, For>): boolean {
  if (cond.k !== 'op' || cond.op !== 'eq') return false;
  const [a, b] = cond.args;
  return a?.k === 'var' && loops.get(a.name)?.mode === 'local' && b?.k === 'const' && Number(b.value) === 0;
}
