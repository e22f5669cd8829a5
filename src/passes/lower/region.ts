// Regions to steps. Every node gets storage (a view shares its source's where the order of elements allows), every
// computation a kernel call; if, scan and while become steps with nested lists, their results placed without copies
// where the producing buffer can simply be the destination.

import { invariant, never } from '../../support/errors.js';
import { add, type Dim, dimEq, mul, product, symDim } from '../../ir/dim.js';
import type { Stmt } from '../../ir/kernel.js';
import { cast, dimExpr, i32, load, variable } from '../../ir/scalar.js';
import { originsOf } from '../../ir/origins.js';
import type { BufferRef, Origin } from '../../ir/program.js';
import type { ConstData, Node, NodeOf, Region, TensorType, Value } from '../../ir/tensor.js';
import { lowerAttention } from './attention.js';
import { type AttentionGroup, findAttention } from './attention-groups.js';
import { createKernelContext, flatten, isVirtual, type KernelContext, type Output } from './access.js';
import { type ProgramBuilder, refKey, resolveRef } from './build.js';
import { findNearCopies, lowerNearCopy, type NearCopy } from './near-copies.js';
import { type Order, orderOf } from './order.js';
import { type Place, placeParts, unreshaped } from './placement.js';
import { findRowGroups, type RowGroup, type RowSharing } from './row-groups.js';
import { runStart } from './runs.js';
import { readsInPlace } from './states.js';
import { lowerRows } from './rows.js';
import { lowerConcat, type lowerGeneric, lowerScatter } from './generic.js';

export interface RegionLowering {
  readonly p: ProgramBuilder;
  readonly storage: Map<Value, BufferRef>;
  readonly consts: Map<ConstData, BufferRef>;
  /** How often each constant is read. */
  readonly constUses: ReadonlyMap<ConstData, number>;
  readonly states: ReadonlyMap<string, BufferRef>;
  /** How a generic becomes a kernel; the schedule pass may replace the plain one. */
  readonly generic: typeof lowerGeneric;
  /** Which generics become one kernel. */
  readonly shareRows: RowSharing;
  /** Rows of attention that go side by side (attention.ts); 0: its parts stay kernels of their own. */
  readonly attentionBlock: number;
  readonly numerics: 'fast' | 'strict';
  /** Whether parts of a concat are made in its memory (placement.ts), and states read where they are kept (states.ts). */
  readonly avoidsCopies: boolean;
  /** Those parts, of all regions lowered so far. */
  readonly places: Map<Value, Place>;
}

const nameOf = (n: Node): string => n.origin.node || `${n.origin.op}_${n.origin.index}` || n.kind;
const sizeOf = (t: TensorType): Dim => product(t.shape);

export function lowerRegion(l: RegionLowering, region: Region): void {
  const rows = findRowGroups(region, l.shareRows);
  const attention = findAttention(region, rows, l.attentionBlock);
  const isTaken = (n: Node): boolean =>
    rows.groups.has(n) || rows.absorbed.has(n) || attention.groups.has(n) || attention.absorbed.has(n);
  const near = l.shareRows === 'chains' ? findNearCopies(region, isTaken) : null;
  if (l.avoidsCopies) findPlaces(l, region, orderOf(region, { rows, attention, near }));
  for (const node of region.nodes) {
    const group = rows.groups.get(node);
    const attended = attention.groups.get(node);
    const copied = near?.groups.get(node);
    if (attention.absorbed.has(node) || rows.absorbed.has(node) || near?.absorbed.has(node)) continue;
    if (copied) lowerCopied(l, copied);
    else if (attended) lowerAttentionGroup(l, attended);
    else if (group) lowerGroup(l, group);
    else lowerNode(l, node);
    for (const bind of node.binds)
      l.p.emit({ kind: 'bind', sym: bind.sym, from: storageOf(l, node.outputs[bind.output] as Value) });
  }
}

function findPlaces(l: RegionLowering, region: Region, order: Order): void {
  for (const [v, place] of placeParts(region, order)) l.places.set(v, place);
  for (const n of readsInPlace(region, order))
    if (n.kind === 'state_read') l.storage.set(n.outputs[0] as Value, stateRef(l, n.state));
}

function lowerGroup(l: RegionLowering, group: RowGroup): void {
  const c = groupContext(l, group.members[group.members.length - 1] as Node, group.members);
  const outputs = new Map([...group.outputs].map((m) => [m, outputOf(l, m)]));
  l.p.emitKernel(lowerRows(c, group, outputs));
}

function lowerCopied(l: RegionLowering, near: NearCopy): void {
  const c = groupContext(l, near.reader, [near.copy, near.reader]);
  l.p.emitKernel(lowerNearCopy(c, near, outputOf(l, near.reader)));
}

function lowerAttentionGroup(l: RegionLowering, g: AttentionGroup): void {
  const c = groupContext(l, g.sum, [g.scores, ...g.chain.members, g.sum]);
  const options = { block: l.attentionBlock, numerics: l.numerics };
  l.p.emitKernel(lowerAttention(c, g, outputOf(l, g.sum), options));
}

/** Where a value lies, whole and in order; most re-indexing views do not (the materialise pass keeps them out of here). */
export function storageOf(l: RegionLowering, v: Value): BufferRef {
  const known = l.storage.get(v);
  if (known) return known;
  const n = v.node;
  if (n?.kind === 'view' && !isVirtual(v)) {
    const { buffer, offset } = storageOf(l, n.inputs[0] as Value);
    return { buffer, offset: add(offset, runStart(v) ?? 0) };
  }
  invariant(n?.kind !== 'view', `a view of ${n?.origin.node} has no buffer of its own`);
  throw new Error(`value ${v.id} (${v.name ?? n?.kind ?? 'parameter'}) has no storage`);
}

const context = (l: RegionLowering, node: Node): KernelContext => groupContext(l, node, [node]);

/** For a kernel that computes these nodes, and with them the concats they are made for. */
function groupContext(l: RegionLowering, named: Node, nodes: readonly Node[]): KernelContext {
  const concats = nodes.flatMap((n) => n.outputs.flatMap((v) => l.places.get(v)?.whole.node ?? []));
  const origins = [...new Set([...nodes, ...concats].flatMap((n) => originsOf(n.origin)))];
  const storage = { of: (v: Value) => storageOf(l, v), placeOf: (v: Value) => l.places.get(v) };
  return createKernelContext(l.p, storage, nameOf(named), origins);
}

/** Memory for what a node yields: its own, or a run of a concat's. */
function newOutput(l: RegionLowering, node: Node, k = 0): BufferRef {
  const v = node.outputs[k] as Value;
  const known = l.storage.get(v);
  if (known) return known; // a concat has it from the first of its parts on
  const place = l.places.get(v);
  invariant(place?.start !== null, 'what is apart in the memory of another has none of its own');
  const ref = place
    ? runOf(l, place.whole, place.start)
    : l.p.newBuffer(v.name ?? nameOf(node), v.type, { kind: 'arena' });
  l.storage.set(v, ref);
  return ref;
}

function runOf(l: RegionLowering, whole: Value, start: Dim): BufferRef {
  const { buffer, offset } = newOutput(l, whole.node as Node, whole.output);
  return { buffer, offset: add(offset, start) };
}

/** Where a kernel stores a node's result. */
function outputOf(l: RegionLowering, node: Node): Output {
  const v = node.outputs[0] as Value;
  const { dtype, shape } = v.type;
  const place = l.places.get(v);
  if (place?.start === null) {
    const whole = outputOf(l, place.whole.node as Node);
    return { ...whole, at: (index) => whole.at(place.index(index)) };
  }
  return { ref: newOutput(l, node), dtype, size: product(shape), at: (index) => flatten(index, shape) };
}

function lowerNode(l: RegionLowering, node: Node): void {
  switch (node.kind) {
    case 'const':
      return lowerConst(l, node);
    case 'view':
      return;
    case 'dim':
      return lowerDim(l, node);
    case 'generic':
      return l.p.emitKernel(l.generic(context(l, node), node, outputOf(l, node)));
    case 'concat':
      return lowerJoin(l, node);
    case 'scatter':
      return l.p.emitKernel(lowerScatter(context(l, node), node, newOutput(l, node)));
    case 'kernel':
      return lowerKernelNode(l, node);
    case 'if':
      return lowerIf(l, node);
    case 'scan':
      return lowerScan(l, node);
    case 'while':
      return lowerWhile(l, node);
    case 'call':
      return lowerHostCall(l, node);
    case 'state_read': {
      const v = node.outputs[0] as Value;
      if (l.storage.has(v)) return;
      l.storage.set(v, l.p.newBuffer(node.state, v.type, { kind: 'arena' }));
      return copyTo(l, stateRef(l, node.state), v.type, storageOf(l, v), node.origin);
    }
    case 'state_write': {
      const v = node.inputs[0] as Value;
      return copyTo(l, storageOf(l, v), v.type, stateRef(l, node.state), node.origin);
    }
    default:
      return never(node, 'node');
  }
}

/** Copies those parts of a concat that are not made in it. */
function lowerJoin(l: RegionLowering, node: NodeOf<'concat'>): void {
  const whole = node.outputs[0] as Value;
  const isThere = (slot: number): boolean => {
    const place = l.places.get(unreshaped(node.inputs[slot] as Value));
    return place?.whole === whole && place.slot === slot;
  };
  const task = lowerConcat(context(l, node), node, outputOf(l, node), isThere);
  if (task) l.p.emitKernel(task);
}

function stateRef(l: RegionLowering, name: string): BufferRef {
  const ref = l.states.get(name);
  invariant(ref, `state ${name} is not declared`);
  return ref;
}

function lowerConst(l: RegionLowering, node: NodeOf<'const'>): void {
  const v = node.outputs[0] as Value;
  const known = l.consts.get(node.data);
  const isOwn = l.constUses.get(node.data) === 1;
  const ref = known ?? l.p.newBuffer(v.name ?? 'const', v.type, { kind: 'const', data: node.data, isOwn });
  l.consts.set(node.data, ref);
  l.storage.set(v, ref);
}

function lowerDim(l: RegionLowering, node: NodeOf<'dim'>): void {
  const c = context(l, node);
  const out = newOutput(l, node);
  const slot = c.write(out, { dtype: 'i64', size: node.dims.length });
  l.p.emitKernel(
    c.task(node.dims.map((d, k) => ({ s: 'store', buf: slot, index: i32(k), value: cast(dimExpr(d), 'i64') }))),
  );
}

function lowerKernelNode(l: RegionLowering, node: NodeOf<'kernel'>): void {
  const { kernel } = node;
  const outs = node.outputs.map((_, k) => newOutput(l, node, k));
  const scratch = kernel.params
    .filter((q) => q.access === 'scratch')
    .map((q) => l.p.newBuffer(`${nameOf(node)}.${q.name}`, { dtype: q.dtype, shape: [q.size] }, { kind: 'arena' }));
  const refs = [...node.inputs.map((v) => storageOf(l, v)), ...outs, ...scratch];
  l.p.emitKernel({
    name: kernel.name,
    params: kernel.params,
    refs,
    body: kernel.body,
    origins: originsOf(node.origin),
  });
}

function lowerHostCall(l: RegionLowering, node: NodeOf<'call'>): void {
  invariant(node.host, `call of ${node.callee} without a host function`);
  const arg = (v: Value) => ({ ref: storageOf(l, v), dtype: v.type.dtype, shape: v.type.shape });
  const inputs = node.inputs.map(arg);
  node.outputs.forEach((_, k) => {
    newOutput(l, node, k);
  });
  l.p.emit({
    kind: 'host',
    op: node.callee,
    call: node.host,
    inputs,
    outputs: node.outputs.map(arg),
    origins: originsOf(node.origin),
  });
}

/** Copies between buffers of one type. */
function copyTo(l: RegionLowering, from: BufferRef, type: TensorType, to: BufferRef, origin: Origin): void {
  if (refKey(resolveRef(from, l.p.renamed)) === refKey(resolveRef(to, l.p.renamed))) return;
  const size = sizeOf(type);
  const body: Stmt = {
    s: 'for',
    var: 'i0',
    lo: i32(0),
    hi: dimExpr(size),
    step: 1,
    mode: 'parallel',
    body: [{ s: 'store', buf: 1, index: variable('i0', 'i32'), value: load(0, [variable('i0', 'i32')], type.dtype) }],
  };
  l.p.emitKernel({
    name: 'copy',
    params: [
      { name: 'x', dtype: type.dtype, access: 'read', size },
      { name: 'y', dtype: type.dtype, access: 'write', size },
    ],
    refs: [from, to],
    body: [body],
    origins: originsOf(origin),
  });
}

/** Puts a result of the region just lowered into `to`: by merging its buffer into it where that is safe, else by a copy. */
export function place(
  l: RegionLowering,
  v: Value,
  to: BufferRef,
  region: number,
  origin: Origin,
  taken: Set<number>,
): void {
  const from = resolveRef(storageOf(l, v), l.p.renamed);
  const buffer = l.p.buffers[from.buffer];
  invariant(buffer, 'a reference names a buffer');
  const own = buffer.place.kind === 'arena' && buffer.region === region && !taken.has(buffer.id);
  const whole = own && from.offset === 0 && isWhole(v);
  const target = l.p.buffers[to.buffer] as typeof buffer;
  const fits = buffer.dtype === target.dtype && to.buffer !== buffer.id;
  if (whole && fits) {
    taken.add(buffer.id);
    l.p.renamed.set(buffer.id, to);
  } else copyTo(l, from, v.type, to, origin);
}

/** Whether a value's views leave nothing out. */
function isWhole(v: Value): boolean {
  if (v.node?.kind !== 'view') return true;
  const source = v.node.inputs[0] as Value;
  return dimEq(sizeOf(v.type), sizeOf(source.type)) && isWhole(source);
}

function lowerIf(l: RegionLowering, node: NodeOf<'if'>): void {
  const cond = storageOf(l, node.inputs[0] as Value);
  const outs = node.outputs.map((_, k) => newOutput(l, node, k));
  const branch = (r: Region) =>
    l.p.nested(() => {
      const region = l.p.region();
      lowerRegion(l, r);
      const taken = new Set<number>();
      r.results.forEach((v, k) => {
        place(l, v, outs[k] as BufferRef, region, node.origin, taken);
      });
    }).steps;
  l.p.emit({ kind: 'if', cond, then: branch(node.then), else: branch(node.else) });
}

/** Copies the next values over the carried ones; through temporaries where one still reads another. */
function updateCarried(l: RegionLowering, next: readonly Value[], carried: readonly BufferRef[], origin: Origin): void {
  const sources = next.map((v) => resolveRef(storageOf(l, v), l.p.renamed));
  const temps = sources.map((from, k) => {
    const own = carried[k] as BufferRef;
    const moves = own.buffer === from.buffer && refKey(own) !== refKey(from);
    const clobbered = moves || carried.some((c, j) => j < k && c.buffer === from.buffer);
    if (!clobbered) return from;
    const type = (next[k] as Value).type;
    const temp = l.p.newBuffer('carried', type, { kind: 'arena' });
    copyTo(l, from, type, temp, origin);
    return temp;
  });
  next.forEach((v, k) => {
    copyTo(l, temps[k] as BufferRef, v.type, carried[k] as BufferRef, origin);
  });
}

function lowerScan(l: RegionLowering, node: NodeOf<'scan'>): void {
  const outs = node.outputs.map((_, k) => newOutput(l, node, k));
  const carried = outs.slice(0, node.carried);
  carried.forEach((to, k) => {
    const v = node.inputs[k] as Value;
    copyTo(l, storageOf(l, v), v.type, to, node.origin);
    l.storage.set(node.body.params[k] as Value, to);
  });
  const at = symDim(node.step);
  const slice = (base: BufferRef, t: TensorType): BufferRef => ({
    buffer: base.buffer,
    offset: add(base.offset, mul(at, sizeOf(t))),
  });
  node.inputs.slice(node.carried).forEach((v, k) => {
    const p = node.body.params[node.carried + k] as Value;
    l.storage.set(p, slice(storageOf(l, v), p.type));
  });
  const { steps } = l.p.nested(() => {
    const region = l.p.region();
    lowerRegion(l, node.body);
    const taken = new Set<number>();
    node.body.results.slice(node.carried).forEach((v, k) => {
      place(l, v, slice(outs[node.carried + k] as BufferRef, v.type), region, node.origin, taken);
    });
    updateCarried(l, node.body.results.slice(0, node.carried), carried, node.origin);
  });
  l.p.emit({ kind: 'loop', sym: node.step, count: node.count, body: steps });
}

function lowerWhile(l: RegionLowering, node: NodeOf<'while'>): void {
  const carried = node.outputs.map((_, k) => newOutput(l, node, k));
  carried.forEach((to, k) => {
    const v = node.inputs[k] as Value;
    copyTo(l, storageOf(l, v), v.type, to, node.origin);
    l.storage.set(node.test.params[k] as Value, to);
    l.storage.set(node.body.params[k] as Value, to);
  });
  const test = l.p.nested(() => {
    lowerRegion(l, node.test);
    return storageOf(l, node.test.results[0] as Value);
  });
  const body = l.p.nested(() => {
    lowerRegion(l, node.body);
    updateCarried(l, node.body.results, carried, node.origin);
  });
  l.p.emit({ kind: 'while', test: test.steps, cond: test.result, body: body.steps });
}
