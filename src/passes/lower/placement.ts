// Parts of a concat that are made where they will be: their kernels write into the concat's memory, and nothing is left
// to copy of them. Where the concat joins leading axes, a part is one run of it and a reference with an offset says all;
// along an inner axis a part has the concat's strides, and every index of it becomes one of the whole.
// A part that others read as well is read there. See decision 37.

import { axisVars } from '../../ir/builder.js';
import { add, bounds, type Dim, mul, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { readersIn } from '../../ir/rewrite.js';
import { dimExpr, type Expr } from '../../ir/scalar.js';
import type { Node, NodeOf, Region, Value } from '../../ir/tensor.js';
import { invariant } from '../../support/errors.js';
import { bodyCost } from '../fuse.js';
import { throughReshape } from '../through-views.js';
import { liveBytes, type LiveBytes, type Stay } from './live-bytes.js';
import type { Order } from './order.js';

/** Where a part is within a concat's result. */
export interface Place {
  readonly whole: Value;
  /** Which operand of the concat it is. */
  readonly slot: number;
  /** Elements in front of it where it is one run of the whole; null: its elements are apart. */
  readonly start: Dim | null;
  /** The index in the whole of an element of the part. */
  readonly index: (index: readonly Expr[]) => readonly Expr[];
}

export type Places = ReadonlyMap<Value, Place>;

/** Elements in a row from which on apart is no worse than together: a few vectors. */
const SHORTEST_RUN = 16;
/** Operations up to which an element is computed by itself in the time it takes to copy it. */
const CHEAP = 6;

/** Nodes that take a reference with an offset for their result. */
const WRITES_RUNS = new Set<Node['kind']>(['generic', 'concat', 'scatter', 'kernel', 'scan', 'while', 'if']);

export function placeParts(region: Region, order: Order): Places {
  const found = new Map<Value, Place>();
  if (!region.nodes.some((n) => n.kind === 'concat')) return found;
  const homes = new Set(region.nodes);
  const live = liveBytes(region, order);
  const users = readersIn([region]);
  const s: Search = { region, order, found, live, users: (v) => users.get(v) ?? [], homes, stays: new Map() };
  // From the last on: whether a concat is apart itself is known before its parts are looked at.
  for (const n of [...region.nodes].reverse()) if (n.kind === 'concat') placeInto(s, n);
  return found;
}

interface Search {
  readonly region: Region;
  readonly order: Order;
  readonly found: Map<Value, Place>;
  readonly live: LiveBytes;
  readonly users: (v: Value) => readonly User[];
  readonly homes: ReadonlySet<Node>;
  /** Of values that live otherwise than at first. */
  readonly stays: Map<Value, Stay>;
}

/** Null where it leaves a region. */
type User = Node | null;

function placeInto(s: Search, concat: NodeOf<'concat'>): void {
  const parts = new Map<Value, Place>();
  let start: Dim = 0;
  concat.inputs.forEach((v, slot) => {
    const part = describePart(s, concat, v, slot, start);
    start = add(start, v.type.shape[concat.axis] as Dim);
    if (!parts.has(part.value) && isFree(s, concat, part)) parts.set(part.value, part.place);
  });
  // Earliest parts hold the whole the longest: without them it may be no more than it was.
  const latest = [...parts].sort(([a], [b]) => madeAt(s, b) - madeAt(s, a));
  for (; latest.length > 0; latest.pop()) {
    const values = latest.map(([v]) => v);
    if (!fitsMemory(s, concat, values)) continue;
    for (const [v, place] of latest) s.found.set(v, place);
    return;
  }
}

const madeAt = (s: Search, v: Value): number => s.order.at(v.node as Node);

interface Part {
  /** What a node makes, behind the reshapes that a concat's operand may be. */
  readonly value: Value;
  /** Those reshapes, the operand last. */
  readonly reshapes: readonly Value[];
  readonly place: Place;
}

function describePart(s: Search, concat: NodeOf<'concat'>, v: Value, slot: number, start: Dim): Part {
  const whole = concat.outputs[0] as Value;
  const { axis } = concat;
  const reshapes: Value[] = [];
  for (let at = v; isReshape(at.node); at = at.node.inputs[0] as Value) reshapes.unshift(at);
  const value = unreshaped(v);
  const inFront = product(v.type.shape.slice(0, axis));
  const isRun = inFront === 1 && s.found.get(whole)?.start !== null;
  const index: Place['index'] = (given) =>
    operandIndex(given, value, reshapes).map((x, k) => (k === axis ? e.add(x, dimExpr(start)) : x));
  const place = { whole, slot, start: isRun ? mul(start, product(v.type.shape.slice(axis + 1))) : null, index };
  return { value, reshapes, place };
}

const isReshape = (n: Node | null): n is NodeOf<'view'> => n?.kind === 'view' && n.map === 'reshape';

/** What a value is a reshape of. */
export const unreshaped = (v: Value): Value => (isReshape(v.node) ? unreshaped(v.node.inputs[0] as Value) : v);

/** The index in an operand of an element of what it is a reshape of. */
function operandIndex(given: readonly Expr[], value: Value, reshapes: readonly Value[]): readonly Expr[] {
  const at = throughReshapes(given, value, reshapes);
  invariant(at, 'a part apart is reshaped without divisions');
  return at;
}

function throughReshapes(given: readonly Expr[], value: Value, reshapes: readonly Value[]): readonly Expr[] | null {
  let at: readonly Expr[] | null = given;
  let from = value;
  for (const to of reshapes) {
    at = at && throughReshape(at, from.type.shape, to.type.shape);
    from = to;
  }
  return at;
}

/** Whether its node can write it there, and all who read it can read it there. */
function isFree(s: Search, concat: NodeOf<'concat'>, part: Part): boolean {
  const { value, place } = part;
  const n = value.node;
  if (!n || !WRITES_RUNS.has(n.kind) || s.found.has(value) || value.type.dtype === 'string') return false;
  if (!s.homes.has(n) || s.order.isInner(n)) return false;
  if (s.order.last(value) === Number.POSITIVE_INFINITY) return false;
  return place.start !== null || canBeApart(s, concat, part);
}

/** Apart, a part is no buffer any more: only what reads by an index can read it. */
function canBeApart(s: Search, concat: NodeOf<'concat'>, { value, reshapes }: Part): boolean {
  const n = value.node as Node;
  const row = product((reshapes.at(-1) ?? value).type.shape.slice(concat.axis));
  const isCheap = n.kind === 'generic' && n.reducer === null && bodyCost(n.post ?? n.body) <= CHEAP;
  if (bounds(row)[0] < SHORTEST_RUN && !isCheap) return false;
  if ((n.kind !== 'concat' && n.kind !== 'generic') || n.binds.length > 0) return false;
  if (throughReshapes(axisVars(value.type.shape.length), value, reshapes) === null) return false;
  return readsByIndex(s, value, concat, new Set(reshapes)) && !readsWhole(s, n, concat.outputs[0] as Value);
}

/** `own`: the reshapes between the value and the concat, which nobody else may read. */
function readsByIndex(s: Search, v: Value, concat: Node, own: ReadonlySet<Value>): boolean {
  return s.users(v).every((user) => {
    if (user === null) return false;
    if (user.kind === 'generic' || user.kind === 'concat' || user.kind === 'scatter') return true;
    if (user.kind !== 'view') return false;
    const to = user.outputs[0] as Value;
    if (user.map !== 'reshape') return readsByIndex(s, to, concat, own);
    return own.has(to) && isOnlyFor(s, to, concat, own);
  });
}

function isOnlyFor(s: Search, v: Value, concat: Node, own: ReadonlySet<Value>): boolean {
  const [user, ...others] = s.users(v);
  if (!user || others.length > 0) return false;
  const to = user.outputs[0];
  return user === concat || (to !== undefined && own.has(to) && isOnlyFor(s, to, concat, own));
}

/** What a value is in the memory of in the end. */
function outermost(s: Search, v: Value): Value {
  const at = s.found.get(v)?.whole;
  return at ? outermost(s, at) : v;
}

/** Whether what computes `n` reads a part of the same whole: in one buffer both ways, a kernel is slower than a copy. */
function readsWhole(s: Search, n: Node, whole: Value): boolean {
  const sources = (v: Value): Value => (v.node?.kind === 'view' ? sources(v.node.inputs[0] as Value) : v);
  const target = outermost(s, whole);
  const isPart = (v: Value): boolean => outermost(s, v) === target || (parts.has(v) && v.node?.kind !== 'const');
  const parts = new Set((whole.node as NodeOf<'concat'>).inputs.map(sources));
  return s.region.nodes.some(
    (m) => s.order.at(m) === s.order.at(n) && m.inputs.some((v) => isPart(sources(v)) && sources(v).node !== n),
  );
}

/** Whether no more memory is held where these are made in the whole; if so, that is how it will be. */
function fitsMemory(s: Search, concat: NodeOf<'concat'>, parts: readonly Value[]): boolean {
  const whole = outermost(s, concat.outputs[0] as Value);
  const old = [whole, ...parts].map((v) => s.stays.get(v) ?? s.live.stayOf(v));
  const { bytes, first, last } = old[0] as Stay;
  const next = {
    bytes,
    first: Math.min(first, ...old.map((t) => t.first)),
    last: Math.max(last, ...old.map((t) => t.last)),
  };
  if (!s.live.replace(old, [next])) return false;
  s.stays.set(whole, next);
  for (const v of parts) s.stays.set(v, { bytes: 0, first, last });
  return true;
}
