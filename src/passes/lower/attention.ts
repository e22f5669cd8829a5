// Attention as one kernel: a block of rows at a time goes through all of it, so that the rows between the contractions stay
// in a small buffer near the processor. In that buffer the block's rows lie side by side, element by element: whatever is
// done to one of them is done to all in vectors (schedule/row-lanes.ts), and no operand needs another layout. The last block
// is moved back to end with the rows. In fast numerics a division of the row by one number is applied to the sums instead.

import { bounds, type Dim, mul } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { constant, dimExpr, type Expr, i32, load, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { type KernelContext, lowerBody, type Output } from './access.js';
import type { AttentionGroup } from './attention-groups.js';
import type { KernelTask } from './build.js';
import { rangesOf, reductionStmts } from './generic.js';
import { type Generic, isOwn, readsOf, sourceOf } from './row-groups.js';
import { isSingle, lowerMemberBody, lowerMembers, type Place, type RowLowering, type RowMemory } from './rows.js';

export interface AttentionOptions {
  /** Rows that go side by side. */
  readonly block: number;
  readonly numerics: 'fast' | 'strict';
}

export function lowerAttention(
  c: KernelContext,
  g: AttentionGroup,
  out: Output,
  { block, numerics }: AttentionOptions,
): KernelTask {
  const { rows } = g.chain;
  const size = rows[g.queries] as Dim;
  const width = g.scores.shape.at(-1) as Dim;
  const divided = numerics === 'fast' && bounds(width)[0] > 0 ? divisionOf(g) : null;
  const output = { slot: c.write(out.ref, out), at: out.at };
  const buffers = new Map<string, number>();
  const scratch = (name: string, type: DType, elements: Dim): number => {
    const slot = buffers.get(name) ?? c.scratch(name, type, elements);
    buffers.set(name, slot);
    return slot;
  };
  const inBlocks = (count: number, tag: string): readonly Stmt[] => {
    const memory = (m: Generic, name: string): RowMemory => ({
      slot: scratch(name, (m.outputs[0] as Value).type.dtype, mul(width, block)),
      at: (column) => e.add(e.mul(column, count), rowOf(count)),
    });
    return blocks({ c, g, count, divided, tag, memory, numbers: () => scratch('numbers', 'f32', block), output }, size);
  };
  const wide = inBlocks(block, '');
  const few: Stmt = { s: 'if', cond: e.le(block, dimExpr(size)), then: wide, else: [] };
  const body = bounds(size)[0] >= block ? wide : [{ ...few, else: inBlocks(1, 's') }];
  const task = rows.reduceRight<readonly Stmt[]>(
    (inner, d, k) => (k === g.queries ? inner : [loop(`i${k}`, dimExpr(d), 1, inner)]),
    body,
  );
  return c.task(task);
}

interface Site {
  readonly c: KernelContext;
  readonly g: AttentionGroup;
  /** Rows of a block. */
  readonly count: number;
  readonly divided: Division | null;
  readonly tag: string;
  readonly memory: (m: Generic, name: string) => RowMemory;
  /** A number for each row of a block. */
  readonly numbers: () => number;
  readonly output: { readonly slot: number; readonly at: Output['at'] };
}

/** Names no size of a model is likely to have. */
const ROW = 'row_a';
const FIRST = 'row_first';
const BLOCK = 'row_block';

/** The row's place in its block. */
const rowOf = (count: number): Expr => (count === 1 ? i32(0) : variable(ROW, 'i32'));

const loop = (name: string, hi: Expr, step: number, body: readonly Stmt[]): Stmt => ({
  s: 'for',
  var: name,
  lo: i32(0),
  hi,
  step,
  mode: 'parallel',
  body,
});

function blocks(t: Site, size: Dim): readonly Stmt[] {
  const at = variable(`${BLOCK}${t.tag}`, 'i32');
  const first = t.count === 1 ? at : e.min(at, e.sub(dimExpr(size), t.count));
  const name = `${FIRST}${t.tag}`;
  const body: readonly Stmt[] = [{ s: 'let', var: name, value: first, mutable: false }, ...lowerBlock(t)];
  return [loop(`${BLOCK}${t.tag}`, dimExpr(size), t.count, body)];
}

/** One block: the first contraction, the chain, the second contraction. */
function lowerBlock(t: Site): readonly Stmt[] {
  const { g, count } = t;
  const { rows, members } = g.chain;
  const query = e.add(variable(`${FIRST}${t.tag}`, 'i32'), rowOf(count));
  const inBlock = (x: Expr): Expr => substituteVars(x, new Map([[`i${g.queries}`, query]]));
  const eachRow = (body: readonly Stmt[]): readonly Stmt[] => (count === 1 ? body : [loop(ROW, i32(count), 1, body)]);
  const scores = t.memory(g.scores, 'scores');
  const made = new Map<Generic, RowMemory>([[g.scores, scores]]);
  const l: RowLowering = {
    c: t.c,
    group: g.chain,
    outputs: new Map(),
    made: new Map<Generic, Place>([[g.scores, { k: 'row', ...scores }]]) as RowLowering['made'],
    tag: t.tag,
    memory: (m, name) => {
      const place = (count > 1 ? dyingRow(g, m, made) : null) ?? t.memory(m, name);
      made.set(m, place);
      return place;
    },
  };
  const kept = t.divided ? members.slice(0, -1) : members;
  const chain = lowerMembers(l, kept);
  const inverse = t.divided ? invert(t, l, t.divided) : [];
  return [
    ...eachRow(fillScores(t, scores, inBlock)),
    ...eachRow(mapExprs([...chain, ...inverse], inBlock)),
    ...eachRow(takeApart(t, l, query, rows.length)),
  ];
}

/** The first contraction: one element of the row after the other. */
function fillScores(t: Site, to: RowMemory, inBlock: (x: Expr) => Expr): readonly Stmt[] {
  const { scores } = t.g;
  const column = `i${scores.shape.length - 1}`;
  const { stmts, value } = reduction(
    t,
    scores,
    (x) => lowerBody(t.c, x, scores.inputs, rangesOf(scores.shape, scores.reduce)),
    `acc${t.tag}_p`,
    inBlock,
  );
  const store: Stmt = { s: 'store', buf: to.slot, index: to.at(variable(column, 'i32')), value };
  return [loop(column, dimExpr(scores.shape.at(-1) as Dim), 1, [...stmts, store])];
}

/** The second contraction: its sum runs over the row in the block. */
function takeApart(t: Site, l: RowLowering, query: Expr, axes: number): readonly Stmt[] {
  const { sum, chain, queries } = t.g;
  const last = chain.members.at(-1) as Generic;
  const source = l.made.get(t.divided ? t.divided.row : last) as Place & { k: 'row' };
  l.made.set(last, source);
  const own = new Map<string, Expr>();
  t.g.axes.forEach((axis, k) => {
    if (axis !== null) own.set(`i${axis}`, k === queries ? query : variable(`i${k}`, 'i32'));
  });
  const others = sum.shape.map((d, k) => ({ d, k })).filter(({ k }) => !own.has(`i${k}`));
  for (const { k, d } of others) own.set(`i${k}`, d === 1 ? i32(0) : variable(`d${k}`, 'i32'));
  const place = (x: Expr): Expr => substituteVars(x, own);
  const asSum: RowLowering = { ...l, group: { ...chain, rows: chain.rows.slice(0, axes) } };
  const { stmts, value } = reduction(t, sum, (x) => lowerMemberBody(asSum, x, sum), `acc${t.tag}_v`, place, t.divided);
  const index = place(t.output.at(sum.shape.map((_, k) => variable(`i${k}`, 'i32'))));
  const store: Stmt = { s: 'store', buf: t.output.slot, index, value };
  return others
    .filter(({ d }) => d !== 1)
    .reduceRight<readonly Stmt[]>((body, { d, k }) => [loop(`d${k}`, dimExpr(d), 1, body)], [...stmts, store]);
}

function reduction(
  t: Site,
  n: Generic,
  lower: (x: Expr) => Expr,
  name: string,
  place: (x: Expr) => Expr,
  divided: Division | null = null,
): { readonly stmts: readonly Stmt[]; readonly value: Expr } {
  const term = place(lower(n.body));
  const acc = variable(name, term.dtype);
  const stmts = reductionStmts(n.reduce, name, n.reducer as 'add', term);
  const whole = divided ? e.mul(acc, load(t.numbers(), [rowOf(t.count)], 'f32')) : acc;
  return { stmts, value: n.post ? substituteVars(place(lower(n.post)), new Map([['acc', whole]])) : whole };
}

/** The chain's last step, where it divides each element of `row` by the row's `number`. */
interface Division {
  readonly row: Generic;
  readonly number: Generic;
}

/** Only under a sum of products, each with one element of the row as a factor. */
function divisionOf({ chain, sum }: AttentionGroup): Division | null {
  const last = chain.members.at(-1) as Generic;
  const { body } = last;
  if (sum.reducer !== 'add' || body.dtype !== 'f32' || body.k !== 'op' || body.op !== 'div') return null;
  if (countFactors(sum, last) !== 1) return null;
  const [row, number] = body.args.map((x) => {
    const p = x.k === 'load' && !x.guard && !x.pad ? sourceOf(last.inputs[x.src] as Value).producer : null;
    return p && chain.members.includes(p) ? p : null;
  });
  if (!row || !number || isSingle({ group: chain }, row) || !isSingle({ group: chain }, number)) return null;
  return readsOwnElement(last, row, chain.rows.length) ? { row, number } : null;
}

/** How many factors of a product are elements of `p`; 0 also where it is read otherwise. */
function countFactors(n: Generic, p: Generic): number {
  const isRead = (x: Expr): boolean => x.k === 'load' && sourceOf(n.inputs[x.src] as Value).producer === p;
  const factors = (x: Expr): readonly Expr[] => (x.k === 'op' && x.op === 'mul' ? x.args.flatMap(factors) : [x]);
  let reads = 0;
  visitExpr(n.body, (x) => {
    if (isRead(x)) reads++;
  });
  const own = factors(n.body).filter(isRead).length;
  return reads === own ? own : 0;
}

function invert(t: Site, l: RowLowering, { number }: Division): readonly Stmt[] {
  const place = l.made.get(number);
  if (place?.k !== 'number') return [];
  const value = e.div(constant(1, 'f32'), place.value);
  return [{ s: 'store', buf: t.numbers(), index: rowOf(t.count), value }];
}

/** The memory of a row that `m` alone still reads, each element where it writes: it may take it over. */
function dyingRow(g: AttentionGroup, m: Generic, made: ReadonlyMap<Generic, RowMemory>): RowMemory | null {
  const { members, rows } = g.chain;
  const later = members.slice(members.indexOf(m) + 1);
  const { dtype } = (m.outputs[0] as Value).type;
  for (const [p, place] of made) {
    const fits = (p.outputs[0] as Value).type.dtype === dtype && m.inputs.some((v) => sourceOf(v).producer === p);
    const isLast = !later.some((n) => n.inputs.some((v) => sourceOf(v).producer === p));
    if (fits && isLast && readsOwnElement(m, p, rows.length)) return place;
  }
  return null;
}

const readsOwnElement = (reader: Generic, p: Generic, axes: number): boolean =>
  readsOf(reader, p).every((index) => index !== null && isOwn(index[axes] ?? i32(0), axes, p.shape));
