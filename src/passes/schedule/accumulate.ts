// A reduction's loops around its steps. Long sums are made of blocks (decision 25): each has accumulators of its own, whose
// results are added to the totals, in order.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, variable } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import { constOf, each, wrap } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import type { VectorTarget } from './target.js';

/** An accumulator and what it starts from. */
export interface Accumulator {
  readonly name: string;
  readonly init: Expr;
}

/** Accumulators keep their names where no block has its own. */
export const NO_BLOCKS = (name: string): string => name;

/** The loops of a reduction around `steps`, which is told the names that the accumulators, declared before, have inside.
 *  `aside`: a buffer where the results of blocks wait for their totals. */
export function accumulate(
  { loops, blocks }: Pick<Reduction, 'loops' | 'blocks'>,
  accumulators: readonly Accumulator[],
  steps: (inside: (name: string) => string) => readonly Stmt[],
  aside: number | null = null,
): readonly Stmt[] {
  if (!blocks) return wrap(loops, steps(NO_BLOCKS));
  const at = loops.findIndex((f) => f.var === blocks.var);
  const cut = loops[at] as For;
  const first = `${cut.var}_b`;
  const part = (name: string): string => `${name}_b`;
  const size = constOf(cut.hi);
  const end = e.add(variable(first, 'i32'), blocks.steps);
  const hi = size !== null && size % blocks.steps === 0 ? end : e.min(end, cut.hi);
  const block: For = { ...cut, lo: variable(first, 'i32'), hi };
  const body: readonly Stmt[] = [
    ...accumulators.map((a): Stmt => ({ s: 'let', var: part(a.name), value: a.init, mutable: true })),
    ...wrap([block, ...loops.slice(at + 1)], steps(part)),
  ];
  const addUp = (more: (a: Accumulator) => Expr): readonly Stmt[] =>
    accumulators.map(
      (a): Stmt => ({ s: 'set', var: a.name, value: e.add(variable(a.name, a.init.dtype, a.init.lanes), more(a)) }),
    );
  const result = (a: Accumulator): Expr => variable(part(a.name), a.init.dtype, a.init.lanes);
  const around = [...loops.slice(0, at), { ...cut, var: first, step: blocks.steps }];
  if (aside === null) return wrap(around, [...body, ...addUp(result)]);
  invariant(at === 0 && size !== null, 'as many blocks as the buffer has room for');
  const { width, offsets } = layOut(accumulators);
  const count = Math.ceil(size / blocks.steps);
  const index = variable(`${cut.var}_n`, 'i32');
  const place = (a: Accumulator): Expr => e.add(e.mul(index, width), offsets.get(a.name) as number);
  const put = accumulators.map((a): Stmt => ({ s: 'store', buf: aside, index: place(a), value: result(a) }));
  const start: Stmt = { s: 'let', var: first, value: e.mul(index, blocks.steps), mutable: false };
  const waiting = (a: Accumulator): Expr => load(aside, [place(a)], a.init.dtype, { lanes: a.init.lanes });
  return [
    each(`${cut.var}_n`, i32(0), i32(count), 1, [start, ...body, ...put]),
    each(`${cut.var}_n`, i32(0), i32(count), 1, addUp(waiting)),
  ];
}

/** The reduction as it was lowered. */
export const plainBody = (nest: Nest, r: Reduction): readonly Stmt[] => [
  { s: 'let', var: r.acc, value: r.init, mutable: true },
  ...accumulate(r, [{ name: r.acc, init: r.init }], (inside) => [
    { s: 'set', var: inside(r.acc), value: e.op(r.op, variable(inside(r.acc), r.init.dtype), r.term) },
  ]),
  nest.store,
];

/** Where the accumulators' elements are within a block's. */
function layOut(accumulators: readonly Accumulator[]): { width: number; offsets: ReadonlyMap<string, number> } {
  const offsets = new Map<string, number>();
  let width = 0;
  for (const a of accumulators) {
    offsets.set(a.name, width);
    width += a.init.lanes;
  }
  return { width, offsets };
}

/** Bytes of results that wait: each is written once and read once, so a second-level cache will do. */
const MOST_ASIDE = 64 << 10;

/**
 * Memory for the results of all blocks where totals beside `values` other values would not find registers. A compiler that
 * does not see which of them a block needs puts some of those in memory, and every step then waits for a store.
 */
export function putAside(
  { loops, blocks, init }: Pick<Reduction, 'loops' | 'blocks' | 'init'>,
  accumulators: { readonly count: number; readonly lanes: number; readonly others: number },
  target: VectorTarget,
  panels: Panels,
): ReturnType<Panels['addOwn']> | null {
  const size = constOf((loops[0] as For).hi);
  const { count, lanes, others } = accumulators;
  if (!blocks || blocks.var !== loops[0]?.var || size === null || !panels.allowed) return null;
  if (target.spillsWell || 2 * count + others < target.registers) return null;
  const elements = Math.ceil(size / blocks.steps) * count * lanes;
  if (elements * DTYPE_INFO[init.dtype].bytes > MOST_ASIDE) return null;
  return panels.addOwn(init.dtype, elements);
}
