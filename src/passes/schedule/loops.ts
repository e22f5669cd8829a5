// Small pieces schedules share: nesting loops, tiles that end at the edge, sizes where constant.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, variable } from '../../ir/scalar.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Source } from './operands.js';
import type { VectorTarget } from './target.js';
import type { Lanes } from './vectorize.js';

export interface ScheduleOptions {
  readonly target: VectorTarget;
  readonly numerics: 'fast' | 'strict';
  /** The kernel, for schedules that ask what its buffers hold. */
  readonly source?: Source;
}

/** The same target with vectors of `lanes`. */
export const atWidth = (o: ScheduleOptions, lanes: number): ScheduleOptions =>
  lanes === o.target.lanes ? o : { ...o, target: { ...o.target, lanes } };

/** Every width a vector can have, widest first. */
export function widths({ lanes }: VectorTarget): readonly number[] {
  const out: number[] = [];
  for (let w = lanes; w >= NARROWEST; w /= 2) out.push(w);
  return out;
}

/** Widths of vectors that serve so many elements (null: unknown), widest first, each for what the one before leaves over. */
export function widthsFor(target: VectorTarget, size: number | null): readonly number[] {
  if (size === null) return [...new Set([target.lanes, NARROWEST])];
  let left = size;
  return widths(target).filter((w) => {
    const serves = left >= w;
    left %= w;
    return serves;
  });
}

/** Lanes of the narrowest vectors: those every target has. */
export const NARROWEST = 4;

/** Statements a reduction inside a tile may be written out to. */
export const MAX_UNROLLED = 40;
/** And where rows of the tile then share what they read: a window of five by five, three rows. */
export const MAX_OVERLAPPING = 75;

export const wrap = (loops: readonly For[], body: readonly Stmt[]): readonly Stmt[] =>
  loops.reduceRight<readonly Stmt[]>((inner, f) => [{ ...f, body: inner }], body);

export const constOf = (x: Expr): number | null => (x.k === 'const' ? Number(x.value) : null);

/** Lanes along `name` from `base`, without gathers. */
export const lanesAt = (name: string, base: Expr, o: ScheduleOptions, vars: Lanes['vars'] = new Map()): Lanes => ({
  target: o.target,
  name,
  base,
  gather: false,
  vars,
});

export const each = (name: string, lo: Expr, hi: Expr, step: number, body: readonly Stmt[]): Stmt => ({
  s: 'for',
  var: name,
  lo,
  hi,
  step,
  mode: 'serial',
  body,
});

/** Tile size along a loop: at most `most`, no more than its constant size, a multiple of `unit`. */
export const tileSize = (loop: For, most: number, unit: number): number => {
  const size = constOf(loop.hi);
  return size === null ? most : Math.max(unit, Math.min(most, Math.floor(size / unit) * unit));
};

/** A loop over tiles; `start` is the tile's first position. The last tile is moved back to end at the edge. */
export function tileLoop(loop: For, tile: number, start: string, body: readonly Stmt[]): Stmt {
  const size = constOf(loop.hi);
  const at = variable(loop.var, 'i32');
  const exact = size !== null && size % tile === 0;
  const from = exact ? at : e.min(at, e.sub(loop.hi, tile));
  return { ...loop, step: tile, body: [{ s: 'let', var: start, value: from, mutable: false }, ...body] };
}

/** An accumulator and what it starts from. */
export interface Accumulator {
  readonly name: string;
  readonly init: Expr;
}

/** Accumulators keep their names where no block has its own. */
export const NO_BLOCKS = (name: string): string => name;

/** The loops of a reduction around `steps`, which is told the names that the accumulators, declared before, have inside. */
export function accumulate(
  { loops, blocks }: Pick<Reduction, 'loops' | 'blocks'>,
  accumulators: readonly Accumulator[],
  steps: (inside: (name: string) => string) => readonly Stmt[],
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
    ...accumulators.map((a): Stmt => {
      const [total, more] = [a.name, part(a.name)].map((name) => variable(name, a.init.dtype, a.init.lanes));
      return { s: 'set', var: a.name, value: e.add(total as Expr, more as Expr) };
    }),
  ];
  return wrap([...loops.slice(0, at), { ...cut, var: first, step: blocks.steps }], body);
}

/** The reduction as it was lowered. */
export const plainBody = (nest: Nest, r: Reduction): readonly Stmt[] => [
  { s: 'let', var: r.acc, value: r.init, mutable: true },
  ...accumulate(r, [{ name: r.acc, init: r.init }], (inside) => [
    { s: 'set', var: inside(r.acc), value: e.op(r.op, variable(inside(r.acc), r.init.dtype), r.term) },
  ]),
  nest.store,
];

/** Several steps at once: what is computed, then stores, then the rest. A load behind a store would wait, in a compiler's
 *  order, for what is stored. */
export function storesLast(steps: readonly Stmt[]): readonly Stmt[] {
  const stores = steps.filter((s) => s.s === 'store');
  if (stores.length < 2) return steps;
  const named = stores.map((s, k) => {
    const name = `${STORED}${k}`;
    const before: Stmt = { s: 'let', var: name, value: s.value, mutable: false };
    return { before, after: { ...s, value: variable(name, s.value.dtype, s.value.lanes) } };
  });
  return [...named.map((n) => n.before), ...named.map((n) => n.after), ...steps.filter((s) => s.s !== 'store')];
}

/** A name no size of a model is likely to have. */
const STORED = 'stored_';
