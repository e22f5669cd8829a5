// A row group as one kernel: a loop over the rows around a loop nest for each member. A reduction over the row becomes a
// variable, an intermediate row a small scratch buffer, or a stretch of its own buffer where others read it too.

import { type Dim, dimEq } from '../../ir/dim.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import type { Node, Value } from '../../ir/tensor.js';
import { throughViews } from '../through-views.js';
import { type KernelContext, lowerBody, type Output, slotOf } from './access.js';
import type { KernelTask } from './build.js';
import { nest, rangesOf, reductionStmts } from './generic.js';
import { type Generic, isOwn, isRowNumber, type RowGroup, sourceOf } from './row-groups.js';

/** Scratch memory for a row: where its elements are. */
export interface RowMemory {
  readonly slot: number;
  readonly at: (column: Expr) => Expr;
}

/** Where a member's row is: a variable, scratch memory for one row, or all rows in memory. */
export type Place =
  | { readonly k: 'number'; readonly value: Expr }
  | ({ readonly k: 'row' } & RowMemory)
  | { readonly k: 'whole'; readonly slot: number; readonly at: Output['at'] };

export interface RowLowering {
  readonly c: KernelContext;
  readonly group: RowGroup;
  readonly outputs: ReadonlyMap<Generic, Output>;
  readonly made: Map<Node, Place>;
  /** Memory for a member nobody else reads. */
  readonly memory: (m: Generic, name: string) => RowMemory;
  /** Goes into every name, where rows are lowered more than once. */
  readonly tag: string;
}

/** `outputs`: memory for the members that others read. */
export function lowerRows(c: KernelContext, group: RowGroup, outputs: ReadonlyMap<Generic, Output>): KernelTask {
  const memory = (m: Generic, name: string): RowMemory => {
    const { dtype, shape } = (m.outputs[0] as Value).type;
    return { slot: c.scratch(name, dtype, shape[group.rows.length] as Dim), at: (column) => column };
  };
  const l: RowLowering = { c, group, outputs, made: new Map(), memory, tag: '' };
  const body = lowerMembers(l, group.members);
  const last = group.members[group.members.length - 1] as Generic;
  const output = c.outputSlot();
  return c.task(nest('i', group.rows, body, true), isSingle(l, last) ? [] : inPlaceOperands(c, group, output));
}

/** Statements for the row at `i0 …`. */
export const lowerMembers = (l: RowLowering, members: readonly Generic[]): readonly Stmt[] =>
  members.flatMap((m, k) => (isSingle(l, m) ? lowerNumber(l, m, k) : lowerRow(l, m, k)));

/** One number a row; an elementwise row of one element is as well a row. */
export function isSingle({ group }: Pick<RowLowering, 'group'>, m: Generic): boolean {
  if (m.reducer !== null) return isRowNumber(m, group.rows);
  return m.shape.length <= group.rows.length
    ? isRowNumber(m, group.rows)
    : group.rows.length === 0 && m.shape.every((d) => d === 1);
}

/** A body with loads of members as what they became. */
export function lowerMemberBody(l: RowLowering, body: Expr, reader: Generic): Expr {
  return lowerBody(l.c, body, reader.inputs, rangesOf(reader.shape, reader.reduce), (v, x) => {
    const { views, producer } = sourceOf(v);
    const at = producer && l.made.get(producer);
    if (!at) return null;
    if (at.k === 'number') return at.value;
    const index = throughViews(x.index, views) as readonly Expr[];
    if (at.k === 'whole') return load(at.slot, [at.at(index)], x.dtype);
    return load(at.slot, [at.at(index[l.group.rows.length] as Expr)], x.dtype);
  });
}

const rowVars = (n: number): Expr[] => Array.from({ length: n }, (_, k) => variable(`i${k}`, 'i32'));

function lowerNumber(l: RowLowering, m: Generic, k: number): readonly Stmt[] {
  const axes = l.group.rows.length;
  const units = new Map(m.shape.slice(axes).map((_, j): [string, Expr] => [`i${axes + j}`, i32(0)]));
  const lower = (body: Expr): Expr => substituteVars(lowerMemberBody(l, body, m), units);
  const name = `m${l.tag}${k}`;
  const stmts: Stmt[] = [];
  let value = lower(m.body);
  if (m.reducer !== null) {
    const { stmts: loops, result: acc } = reduction(m, `${l.tag}${k}`, value);
    stmts.push(...loops);
    value = m.post ? substituteVars(lower(m.post), new Map([['acc', acc]])) : acc;
  }
  stmts.push({ s: 'let', var: name, value, mutable: false });
  l.made.set(m, { k: 'number', value: variable(name, value.dtype) });
  const out = l.outputs.get(m);
  if (!out) return stmts;
  const index = m.shape.map((_, k) => (k < axes ? variable(`i${k}`, 'i32') : i32(0)));
  const slot = l.c.write(out.ref, out);
  stmts.push({ s: 'store', buf: slot, index: out.at(index), value: variable(name, value.dtype) });
  return stmts;
}

function lowerRow(l: RowLowering, m: Generic, k: number): readonly Stmt[] {
  const axes = l.group.rows.length;
  const width = m.shape[axes] as Generic['shape'][number];
  const { stmts, value } = rowElement(l, m, k);
  const out = l.outputs.get(m);
  const column = variable(`i${axes}`, 'i32');
  const place = out ? null : l.memory(m, `row${k}`);
  const slot = out ? l.c.write(out.ref, out) : (place as RowMemory).slot;
  l.made.set(m, out ? { k: 'whole', slot, at: out.at } : { k: 'row', ...(place as RowMemory) });
  const index = out ? out.at(rowVars(axes + 1)) : (place as RowMemory).at(column);
  const store: Stmt = { s: 'store', buf: slot, index, value };
  return nest('i', [width], [...stmts, store], true).map((s) => renameLoop(s, `i${axes}`));
}

/** What computes one element of a row, which may be a reduction by itself. */
function rowElement(l: RowLowering, m: Generic, k: number): { stmts: readonly Stmt[]; value: Expr } {
  const value = lowerMemberBody(l, m.body, m);
  if (m.reducer === null) return { stmts: [], value };
  const { stmts, result } = reduction(m, `${l.tag}${k}`, value);
  const post = m.post && lowerMemberBody(l, m.post, m);
  return { stmts, value: post ? substituteVars(post, new Map([['acc', result]])) : result };
}

function reduction(m: Generic, tag: string, value: Expr): { stmts: readonly Stmt[]; result: Expr } {
  const name = `acc${tag}`;
  const stmts = reductionStmts(m.reduce, name, m.reducer as 'add', value);
  return { stmts, result: variable(name, value.dtype) };
}

/** Memory of operands that the last result may take: read at the row being computed only, by the last member at its own element. */
function inPlaceOperands(c: KernelContext, group: RowGroup, out: number): KernelTask['inPlace'] {
  const last = group.members[group.members.length - 1] as Generic;
  if (group.outputs.size > 1 || c.apart(last.outputs[0] as Value)) return [];
  const type = (last.outputs[0] as Value).type;
  const whole = new Set<number>();
  const bad = new Set<number>();
  const made = new Set<Node>(group.members);
  for (const m of group.members)
    for (const body of [m.body, ...(m.post ? [m.post] : [])])
      visitExpr(body, (x) => {
        if (x.k !== 'load') return;
        const v = m.inputs[x.src] as Value;
        const { producer } = sourceOf(v);
        if (producer && made.has(producer)) return;
        const fits =
          v.node?.kind !== 'view' &&
          !c.apart(v) &&
          v.type.dtype === type.dtype &&
          v.type.shape.length === last.shape.length &&
          v.type.shape.every((d, k) => dimEq(d, last.shape[k] as Dim));
        const upTo = m === last ? last.shape.length : last.shape.length - 1;
        const own = x.index
          .slice(0, upTo)
          .every((i, k) => isOwn(i, k, last.shape) && dimEq(v.type.shape[k] ?? -1, last.shape[k] ?? -1));
        (fits && own && !x.guard ? whole : bad).add(slotOf(c, v));
      });
  return [...whole].filter((slot) => !bad.has(slot)).map((slot) => [out, slot] as const);
}

/** The nest helper counts its variables from 0; a row's loop has the last axis's name. */
const renameLoop = (s: Stmt, name: string): Stmt => (s.s === 'for' ? { ...s, var: name } : s);
