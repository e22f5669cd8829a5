// Which generics run together, row by row: a softmax or a layer norm is several of them over the same rows, and so are
// numbers computed from one tensor one after the other. Found by shapes and index maps alone; lowering is in rows.ts.
// A group is computed where its last member stands, so whoever reads another member's result must come later.

import { bounds, type Dim, dimEq, product } from '../../ir/dim.js';
import { type Expr, visitExpr } from '../../ir/scalar.js';
import type { Node, NodeOf, Region, Value } from '../../ir/tensor.js';
import { regionsOf } from '../../ir/tensor.js';
import { throughViews } from '../through-views.js';

export type Generic = NodeOf<'generic'>;

/**
 * `chains`: rows that end in one tensor, with nothing else left of them. `all`: also groups that leave several results,
 * and single numbers; where a kernel less is worth it.
 */
export type RowSharing = 'none' | 'chains' | 'all';

/** Members in execution order. `rows`: the axes they share, in front of each one's own. */
export interface RowGroup {
  readonly members: readonly Generic[];
  readonly rows: readonly Dim[];
  /** Members that others read, or the module gives out. */
  readonly outputs: ReadonlySet<Generic>;
}

export interface RowGroups {
  /** By last member. */
  readonly groups: ReadonlyMap<Node, RowGroup>;
  /** Every other member. */
  readonly absorbed: ReadonlySet<Node>;
}

/** Groups of a region, not of nested ones. */
export function findRowGroups(region: Region, sharing: RowSharing): RowGroups {
  const groups = new Map<Node, RowGroup>();
  const absorbed = new Set<Node>();
  if (sharing === 'none') return { groups, absorbed };
  const order = new Map(region.nodes.map((n, k): [Node, number] => [n, k]));
  const search: Search = { users: realUsers(region), order, taken: absorbed, many: sharing === 'all' };
  for (let k = region.nodes.length - 1; k >= 0; k--) {
    const last = region.nodes[k] as Node;
    const found = absorbed.has(last) ? null : bestGroup(search, framesOf(last, search.many));
    if (!found) continue;
    const { frame, group } = found;
    const members = [...group].sort((a, b) => (order.get(a) as number) - (order.get(b) as number));
    const isRead = (m: Generic): boolean =>
      usersOf(search, m).some((r) => typeof r === 'string' || !isMember(r, group));
    groups.set(last, { members, rows: frame.rows, outputs: new Set(members.filter((m) => m === last || isRead(m))) });
    for (const m of members) if (m !== last) absorbed.add(m);
  }
  return { groups, absorbed };
}

/** The first frame with a group in it that saves a kernel. */
function bestGroup(s: Search, frames: readonly Frame[]): { frame: Frame; group: ReadonlySet<Generic> } | null {
  for (const frame of frames) {
    if (s.many && isLopsided(frame)) continue;
    const group = grow(s, frame);
    if (group.size > 1 && [...group].some((m) => m.reducer !== null || frame.width === null)) return { frame, group };
  }
  return null;
}

/** `later`: a result of the region. `nested`: a region within, at a place not looked for. */
export type Reader = Node | 'later' | 'nested';

interface Search {
  readonly users: (v: Value) => ReadonlySet<Reader>;
  readonly order: ReadonlyMap<Node, number>;
  readonly taken: ReadonlySet<Node>;
  /** Whether a group may leave several results. */
  readonly many: boolean;
}

const usersOf = (s: Search, m: Generic): readonly Reader[] => [...s.users(m.outputs[0] as Value)];

/** What the members of a group have in common. `width` null: they are single numbers. */
interface Frame {
  readonly last: Generic;
  readonly rows: readonly Dim[];
  readonly width: Dim | null;
}

export const isPlain = (n: Node | null | undefined): n is Generic =>
  n?.kind === 'generic' && n.binds.length === 0 && !n.reducer?.startsWith('arg');

const isNumber = (shape: readonly Dim[]): boolean => shape.every((d) => d === 1);

function framesOf(last: Node, many: boolean): readonly Frame[] {
  if (!isPlain(last)) return [];
  if (many && isNumber(last.shape)) return [{ last, rows: [], width: null }];
  const across: Frame[] =
    last.shape.length > 0
      ? [{ last, rows: last.shape.slice(0, -1), width: last.shape[last.shape.length - 1] as Dim }]
      : [];
  if (last.reducer === null) return across;
  const [width] = last.reduce;
  if (!many || width === undefined) return [];
  const rows = last.shape[last.shape.length - 1] === 1 ? last.shape.slice(0, -1) : last.shape;
  const numbers: Frame[] = last.reduce.length === 1 ? [{ last, rows, width }] : [];
  return [...numbers, ...across.filter((f) => isSmallRow(last, f.rows))];
}

/** Products of a row, and of all, up to which a group of invocations computes a row of a contraction along with what else the row is about. */
const SMALL_ROW = 1 << 14;
const SMALL_IN_ALL = 1 << 20;

/** A row each of whose elements is a reduction of its own, too small to want the schedule of a contraction. */
function isSmallRow(p: Generic, rows: readonly Dim[]): boolean {
  const most = (dims: readonly Dim[]): number => bounds(product(dims))[1];
  const isRow = p.shape.length === rows.length + 1 && startsWith(p.shape, rows);
  return (
    isRow &&
    most([...p.shape.slice(rows.length), ...p.reduce]) <= SMALL_ROW &&
    most([...p.shape, ...p.reduce]) <= SMALL_IN_ALL
  );
}

/** Elements of a row that one group of invocations may walk for each row there is. */
const LONG_ROW = 1 << 14;

/** A few very long rows keep a GPU's groups idle: better a kernel more. */
const isLopsided = ({ rows, width }: Frame): boolean =>
  width !== null && bounds(width)[1] > LONG_ROW * bounds(product(rows))[1];

/** Who computes with a node's result, views looked through. */
export function readersOf(region: Region): (n: Generic) => ReadonlySet<Reader> {
  const users = realUsers(region);
  return (n) => users(n.outputs[0] as Value);
}

/** Who computes with a value, views looked through. */
function realUsers(region: Region): (v: Value) => ReadonlySet<Reader> {
  const direct = new Map<Value, Set<Reader>>();
  const add = (v: Value, n: Reader): void => {
    direct.set(v, (direct.get(v) ?? new Set()).add(n));
  };
  const nested = (r: Region): void => {
    for (const v of r.results) add(v, 'nested');
    for (const n of r.nodes) {
      for (const v of n.inputs) add(v, 'nested');
      regionsOf(n).forEach(nested);
    }
  };
  for (const v of region.results) add(v, 'later');
  for (const n of region.nodes) {
    for (const v of n.inputs) add(v, n);
    regionsOf(n).forEach(nested);
  }
  const resolve = (v: Value): Set<Reader> => {
    const out = new Set<Reader>();
    for (const n of direct.get(v) ?? []) {
      if (typeof n !== 'string' && n.kind === 'view') for (const m of resolve(n.outputs[0] as Value)) out.add(m);
      else out.add(n);
    }
    return out;
  };
  return resolve;
}

/** Adds producers, each with the readers it needs to have beside it, until no more fit. */
function grow(s: Search, frame: Frame): Set<Generic> {
  let group = new Set<Generic>([frame.last]);
  for (let changed = true; changed; ) {
    changed = false;
    for (const m of [...group])
      for (const v of m.inputs) {
        const p = sourceOf(v).producer;
        const more = p && !group.has(p) ? withMember(s, frame, group, p) : null;
        if (!more) continue;
        group = more;
        changed = true;
      }
  }
  return group;
}

/** The group with one more member, and with every reader of it that stands before the group's place; null where one does not fit. */
function withMember(s: Search, frame: Frame, group: ReadonlySet<Generic>, p: Generic): Set<Generic> | null {
  const place = s.order.get(frame.last) as number;
  const next = new Set(group);
  const open = [p];
  for (let m = open.pop(); m; m = open.pop()) {
    if (next.has(m)) continue;
    if (s.taken.has(m) || (s.order.get(m) ?? place) >= place || !fitsFrame(m, frame, s.many)) return null;
    next.add(m);
    for (const r of usersOf(s, m)) {
      if (r === 'nested') return null;
      if (r === 'later' || (!isMember(r, next) && (s.order.get(r) ?? 0) > place)) {
        if (!s.many) return null;
        continue;
      }
      if (!isPlain(r) || (!s.many && !next.has(r))) return null;
      open.push(r);
    }
  }
  const reads = (reader: Generic): boolean => {
    const sources = reader.inputs.flatMap((v) => sourceOf(v).producer ?? []);
    return sources.every((q) => !next.has(q) || readsOwnRow(reader, q, frame));
  };
  const isContraction = (m: Generic): boolean => m.reducer !== null && !isRowNumber(m, frame.rows);
  if ([...next].some(isContraction) && !fitsBindings(s, next)) return null;
  return [...next].every(reads) ? next : null;
}

const isMember = (n: Node, group: ReadonlySet<Generic>): boolean => group.has(n as Generic);

interface Source {
  readonly views: readonly Value[];
  /** What the views are of. */
  readonly at: Value;
  readonly producer: Generic | null;
}

export function sourceOf(v: Value): Source {
  const views: Value[] = [];
  let at = v;
  while (at.node?.kind === 'view') {
    views.push(at);
    at = at.node.inputs[0] as Value;
  }
  return { views, at, producer: at.node?.kind === 'generic' ? at.node : null };
}

/** One number a row. */
export function isRowNumber(p: Generic, rows: readonly Dim[]): boolean {
  const extra = p.shape.slice(rows.length);
  return p.shape.length >= rows.length && extra.length <= 1 && isNumber(extra) && startsWith(p.shape, rows);
}

const startsWith = (shape: readonly Dim[], rows: readonly Dim[]): boolean =>
  rows.every((d, k) => dimEq(d, shape[k] ?? -1));

function fitsFrame(p: Generic, { rows, width }: Frame, many: boolean): boolean {
  if (!isPlain(p)) return false;
  if (width === null) return isNumber(p.shape);
  if (p.reducer !== null && p.reduce.length === 1 && isRowNumber(p, rows)) return true;
  if (many && isSmallRow(p, rows)) return true;
  if (p.reducer !== null) return false;
  const isRow = p.shape.length === rows.length + 1 && dimEq(p.shape[rows.length] as Dim, width);
  return startsWith(p.shape, rows) && (isRow || isRowNumber(p, rows));
}

/** Buffers a group of contractions may take: constants are one. */
const MOST_BUFFERS = 7;

function fitsBindings(s: Search, group: ReadonlySet<Generic>): boolean {
  const given = new Set<Value>();
  let results = 0;
  for (const m of group) {
    for (const v of m.inputs) {
      const { at, producer } = sourceOf(v);
      if (at.node?.kind !== 'const' && !(producer && group.has(producer))) given.add(at);
    }
    if (usersOf(s, m).some((r) => typeof r === 'string' || !isMember(r, group))) results++;
  }
  return given.size + results + 1 <= MOST_BUFFERS;
}

/** Index at the producer of each of a reader's loads of it; null where a view is in the way. */
export function readsOf(reader: Generic, p: Generic): (readonly Expr[] | null)[] {
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
export const isOwn = (x: Expr, k: number, rows: readonly Dim[]): boolean =>
  (x.k === 'var' && x.name === `i${k}`) || (x.k === 'const' && rows[k] === 1);

const readsOwnRow = (reader: Generic, p: Generic, { rows }: Frame): boolean =>
  readsOf(reader, p).every((index) => index?.slice(0, rows.length).every((x, k) => isOwn(x, k, rows)) ?? false);
