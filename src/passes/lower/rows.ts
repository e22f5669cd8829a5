// Row-wise chains share their outer loops: a softmax or a layer norm is several generics over the same rows, and run as
// one kernel, row by row. A reduction over the row becomes a variable, an intermediate row a small scratch buffer.
// Found by shapes and index maps alone. The group is computed where its last member stands.

import { dimEq, product } from '../../ir/dim.js';
import type { Stmt } from '../../ir/kernel.js';
import type { BufferRef } from '../../ir/program.js';
import { type Expr, load, rewriteExpr, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import type { Node, NodeOf, Region, Value } from '../../ir/tensor.js';
import { regionsOf } from '../../ir/tensor.js';
import { throughViews } from '../through-views.js';
import { flatten, type KernelContext, type Ranges, readValue } from './access.js';
import type { KernelTask } from './build.js';
import { identity, nest, rangesOf } from './generic.js';

type Generic = NodeOf<'generic'>;

/** Members in execution order; the last one's output is the group's. */
export interface RowGroup {
  readonly members: readonly Generic[];
}

/** Groups of a region (not of nested ones), by last member; and every other member. */
export function findRowGroups(region: Region): { groups: Map<Node, RowGroup>; absorbed: Set<Node> } {
  const users = realUsers(region);
  const order = new Map(region.nodes.map((n, k): [Node, number] => [n, k]));
  const groups = new Map<Node, RowGroup>();
  const absorbed = new Set<Node>();
  for (let k = region.nodes.length - 1; k >= 0; k--) {
    const last = region.nodes[k] as Node;
    if (!isElementwise(last) || absorbed.has(last) || last.shape.length === 0) continue;
    const members = grow(last, users, order, absorbed);
    if (!members.some((m) => m.reducer !== null)) continue;
    members.sort((a, b) => (order.get(a) as number) - (order.get(b) as number));
    groups.set(last, { members });
    for (const m of members) if (m !== last) absorbed.add(m);
  }
  return { groups, absorbed };
}

const isElementwise = (n: Node | null | undefined): n is Generic =>
  n?.kind === 'generic' && n.reducer === null && n.binds.length === 0;

/** Who computes with a value, views looked through; null stands for anybody outside the region's own nodes. */
function realUsers(region: Region): (v: Value) => ReadonlySet<Node | null> {
  const direct = new Map<Value, Set<Node | null>>();
  const add = (v: Value, n: Node | null): void => {
    const set = direct.get(v) ?? new Set();
    set.add(n);
    direct.set(v, set);
  };
  const outside = (r: Region): void => {
    for (const v of r.results) add(v, null);
    for (const n of r.nodes) {
      for (const v of n.inputs) add(v, null);
      regionsOf(n).forEach(outside);
    }
  };
  for (const v of region.results) add(v, null);
  for (const n of region.nodes) {
    for (const v of n.inputs) add(v, n);
    regionsOf(n).forEach(outside);
  }
  const resolve = (v: Value): Set<Node | null> => {
    const out = new Set<Node | null>();
    for (const n of direct.get(v) ?? []) {
      if (n?.kind === 'view') for (const m of resolve(n.outputs[0] as Value)) out.add(m);
      else out.add(n);
    }
    return out;
  };
  return resolve;
}

/** Adds producers until no more fit: every reader inside, every read at the reader's own row. */
function grow(
  last: Generic,
  users: (v: Value) => ReadonlySet<Node | null>,
  order: ReadonlyMap<Node, number>,
  taken: ReadonlySet<Node>,
): Generic[] {
  const group = new Set<Generic>([last]);
  for (let changed = true; changed; ) {
    changed = false;
    for (const m of [...group]) {
      for (const v of m.inputs) {
        const p = sourceOf(v).producer;
        if (!p || group.has(p) || taken.has(p) || !order.has(p) || !fitsRow(p, last)) continue;
        const readers = [...users(p.outputs[0] as Value)];
        if (!readers.every((r) => r !== null && group.has(r as Generic) && readsOwnRow(r as Generic, p, last)))
          continue;
        group.add(p);
        changed = true;
      }
    }
  }
  return [...group];
}

interface Source {
  readonly views: readonly Value[];
  readonly producer: Generic | null;
}

function sourceOf(v: Value): Source {
  const views: Value[] = [];
  let at = v;
  while (at.node?.kind === 'view') {
    views.push(at);
    at = at.node.inputs[0] as Value;
  }
  return { views, producer: at.node?.kind === 'generic' ? at.node : null };
}

/** A row of the last member's shape, or one number a row. */
function fitsRow(p: Generic, last: Generic): boolean {
  if (p.binds.length > 0) return false;
  const rows = last.shape.slice(0, -1);
  const sameRows = (shape: Generic['shape']): boolean => shape.every((d, k) => dimEq(d, rows[k] ?? -1));
  if (p.reducer === null)
    return p.shape.length === last.shape.length && p.shape.every((d, k) => dimEq(d, last.shape[k] ?? -1));
  return !p.reducer.startsWith('arg') && p.reduce.length === 1 && p.shape.length === rows.length && sameRows(p.shape);
}

/** Index at the producer of each of a reader's loads of it; null where a view is in the way. */
function readsOf(reader: Generic, p: Generic): (readonly Expr[] | null)[] {
  const out: (readonly Expr[] | null)[] = [];
  for (const body of [reader.body, ...(reader.post ? [reader.post] : [])])
    visitExpr(body, (x) => {
      if (x.k !== 'load') return;
      const { views, producer } = sourceOf(reader.inputs[x.src] as Value);
      if (producer !== p) return;
      out.push(x.guard || x.pad ? null : throughViews(x.index, views));
    });
  return out;
}

/** Whether an index is the group's own position along axis `k`. */
const isOwn = (x: Expr, k: number, last: Generic): boolean =>
  (x.k === 'var' && x.name === `i${k}`) || (x.k === 'const' && last.shape[k] === 1);

function readsOwnRow(reader: Generic, p: Generic, last: Generic): boolean {
  const rows = last.shape.length - 1;
  return readsOf(reader, p).every((index) => index?.slice(0, rows).every((x, k) => isOwn(x, k, last)) ?? false);
}

/** One kernel for the group: a loop over rows around a loop nest per member. */
export function lowerRows(c: KernelContext, group: RowGroup, out: BufferRef): KernelTask {
  const last = group.members[group.members.length - 1] as Generic;
  const rank = last.shape.length;
  const row = last.shape.slice(0, -1);
  const width = last.shape[rank - 1] as Generic['shape'][number];
  const made = new Map<Node, Expr | number>();
  const lower = (body: Expr, reader: Generic, ranges: Ranges): Expr =>
    rewriteExpr(body, (x) => {
      if (x.k !== 'load') return x;
      const v = reader.inputs[x.src] as Value;
      const { views, producer } = sourceOf(v);
      const at = producer && made.get(producer);
      if (at === undefined || at === null) return readValue(c, v, x.index, ranges, { guard: x.guard, pad: x.pad });
      if (typeof at !== 'number') return at;
      const index = throughViews(x.index, views) as readonly Expr[];
      return load(at, [index[rank - 1] as Expr], x.dtype);
    });
  const body = group.members.flatMap((m, k): readonly Stmt[] => {
    const ranges = rangesOf(m.shape, m.reduce);
    const term = lower(m.body, m, ranges);
    if (m.reducer !== null) {
      const accName = `acc${k}`;
      const acc = variable(accName, term.dtype);
      const step: Stmt = {
        s: 'set',
        var: accName,
        value: { k: 'op', op: m.reducer as 'add', args: [acc, term], dtype: term.dtype, lanes: 1 },
      };
      const start: Stmt = { s: 'let', var: accName, value: identity(m.reducer, term.dtype), mutable: true };
      const result = m.post ? substituteVars(lower(m.post, m, ranges), new Map([['acc', acc]])) : acc;
      const name = `m${k}`;
      made.set(m, variable(name, result.dtype));
      return [start, ...nest('r', m.reduce, [step], false), { s: 'let', var: name, value: result, mutable: false }];
    }
    const column = variable(`i${rank - 1}`, 'i32');
    const type = (m.outputs[0] as Value).type;
    const isLast = m === last;
    const slot = isLast
      ? c.write(out, { dtype: type.dtype, size: product(type.shape) })
      : c.scratch(`row${k}`, type.dtype, width);
    if (!isLast) made.set(m, slot);
    const index = isLast
      ? flatten(
          Array.from({ length: rank }, (_, j) => variable(`i${j}`, 'i32')),
          last.shape,
        )
      : column;
    const store: Stmt = { s: 'store', buf: slot, index, value: term };
    return nest('i', [width], [store], true).map((s) => renameLoop(s, `i${rank - 1}`));
  });
  const output = c.outputSlot();
  return c.task(nest('i', row, body, true), inPlaceOperands(c, group, output));
}

/** Operands whose memory the result may take: read at the row being computed only, by the last member at its own element. */
function inPlaceOperands(c: KernelContext, group: RowGroup, out: number): KernelTask['inPlace'] {
  const last = group.members[group.members.length - 1] as Generic;
  const type = (last.outputs[0] as Value).type;
  const whole = new Set<Value>();
  const bad = new Set<Value>();
  const made = new Set<Node>(group.members);
  for (const m of group.members)
    for (const body of [m.body, ...(m.post ? [m.post] : [])])
      visitExpr(body, (x) => {
        if (x.k !== 'load') return;
        const v = m.inputs[x.src] as Value;
        if (v.node && made.has(v.node)) return;
        const fits =
          v.node?.kind !== 'view' && v.type.dtype === type.dtype && v.type.shape.length === last.shape.length;
        const upTo = m === last ? last.shape.length : last.shape.length - 1;
        const own = x.index
          .slice(0, upTo)
          .every((i, k) => isOwn(i, k, last) && dimEq(v.type.shape[k] ?? -1, last.shape[k] ?? -1));
        (fits && own && !x.guard ? whole : bad).add(v);
      });
  return [...whole].filter((v) => !bad.has(v)).map((v) => [out, c.read(v)] as const);
}

/** The nest helper counts its variables from 0; a row's loop has the last axis's name. */
const renameLoop = (s: Stmt, name: string): Stmt => (s.s === 'for' ? { ...s, var: name } : s);
