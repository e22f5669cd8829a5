// One arena, planned at compile time. Steps are numbered in program order (loop bodies count as one stretch for
// what crosses them); a buffer lives from its first to its last mention; buffers that never live together share
// bytes. Elementwise results move into an operand that dies there. Sizes are the symbols' upper bounds.
// Where a target has inputs and outputs in memory of the program, they are in the arena, too: an input is there when its entry
// begins, an output when it ends.

import { DTYPE_INFO, type DType } from '../support/dtype.js';
import { never } from '../support/errors.js';
import {
  mayReturn,
  type Origin,
  type Program,
  type ProgramBuffer,
  type ProgramEntry,
  type ProgramValue,
  type Step,
} from '../ir/program.js';
import type { ProgramBuilder, VirtualBuffer } from './lower/build.js';

/** What addresses of a buffer are multiples of: of a larger one the lines of a cache, so that no vector lies in two of them. */
const alignment = (bytes: number): number => (bytes < 4096 ? 16 : 64);
const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

const bytesOf = (b: VirtualBuffer): number => roundUp(b.elements * storedBytes(b.dtype), 16);
const storedBytes = (t: DType): number => DTYPE_INFO[t].bytes;

interface Draft {
  readonly name: string;
  /** As in `LowerOptions`. */
  readonly ownsValues: boolean;
  readonly numerics: 'fast' | 'strict';
  readonly p: ProgramBuilder;
  readonly entries: readonly ProgramEntry[];
}

/** A stretch of steps in which a buffer's bytes must not be reused, both ends included. */
interface Life {
  first: number;
  last: number;
}

export function planMemory(draft: Draft): Program {
  const { p, entries } = draft;
  const lives = new Map<number, Life>();
  const origins: (Origin | null)[] = [];
  const mentions = new Map<number, number>();
  for (const e of entries) {
    countMentions(e.steps, mentions);
    for (const v of [...e.inputs, ...e.outputs]) mention(v.buffer, mentions); // by whoever calls
  }
  const w: Walk = { lives, origins, mentions, kernels: [] };
  for (const e of entries) walkEntry(e, w);
  const planned = plannedBuffers(draft, lives);
  const shared = shareInPlace(p, w, planned);
  const items = [...planned]
    .filter((id) => !shared.has(id))
    .map((id): Item => ({ id, bytes: bytesOf(p.buffers[id] as VirtualBuffer), life: lives.get(id) as Life }));
  const peak = findPeak(items, origins);
  const { offsets, arenaBytes } = assign(items, shared, peak.bytes);
  let weightBytes = 0;
  let stateBytes = 0;
  const buffers = p.buffers.map((b): ProgramBuffer => {
    const common = { id: b.id, name: b.name, dtype: b.dtype, elements: b.elements };
    switch (b.place.kind) {
      case 'input':
      case 'output':
        return { ...common, place: planned.has(b.id) ? { ...b.place, offset: offsets.get(b.id) as number } : b.place };
      case 'const': {
        if (!mentions.has(b.id)) return { ...common, elements: 0, place: { kind: 'arena', offset: 0 } };
        const offset = roundUp(weightBytes, alignment(bytesOf(b)));
        weightBytes = offset + bytesOf(b);
        return { ...common, place: { kind: 'const', offset, data: b.place.data.read() } };
      }
      case 'state': {
        const offset = stateBytes;
        stateBytes += bytesOf(b);
        return { ...common, place: { kind: 'state', offset, init: b.place.init } };
      }
      case 'arena':
        return { ...common, place: { kind: 'arena', offset: offsets.get(b.id) ?? 0 } };
      default:
        return never(b.place, 'place');
    }
  });
  const { name, numerics } = draft;
  return { name, numerics, kernels: p.kernels, buffers, entries, arenaBytes, stateBytes, weightBytes, peak };
}

/** Buffers a step itself mentions. */
export function refsOf(s: Step): readonly number[] {
  switch (s.kind) {
    case 'kernel':
      return s.buffers.map((r) => r.buffer);
    case 'bind':
      return [s.from.buffer];
    case 'if':
    case 'while':
      return [s.cond.buffer];
    case 'loop':
      return [];
    case 'host':
      return [...s.inputs, ...s.outputs].map((a) => a.ref.buffer);
  }
}

export function nestedSteps(s: Step): readonly (readonly Step[])[] {
  if (s.kind === 'if') return [s.then, s.else];
  if (s.kind === 'loop') return [s.body];
  return s.kind === 'while' ? [s.test, s.body] : [];
}

interface Walk {
  readonly lives: Map<number, Life>;
  readonly origins: (Origin | null)[];
  /** How often each buffer is mentioned in the whole program. */
  readonly mentions: ReadonlyMap<number, number>;
  readonly kernels: { readonly step: Extract<Step, { kind: 'kernel' }>; readonly at: number }[];
}

/** What the arena has room for. */
function plannedBuffers({ p, entries, ownsValues }: Draft, lives: Walk['lives']): ReadonlySet<number> {
  const own = entries.flatMap((e) => [...e.inputs.filter((v) => !comesBack(v, e, entries)), ...e.outputs]);
  const values = new Set(own.filter((v) => ownsValues && v.dtype !== 'string').map((v) => v.buffer));
  const isPlanned = (b: VirtualBuffer): boolean => values.has(b.id) || (b.place.kind === 'arena' && lives.has(b.id));
  return new Set(p.buffers.filter(isPlanned).map((b) => b.id));
}

/** A cache that a call hands to the next stays where it is. The only input of an entry is hardly the result of one. */
const comesBack = (v: ProgramValue, entry: ProgramEntry, entries: readonly ProgramEntry[]): boolean =>
  entry.inputs.length > 1 && mayReturn(v, entries);

/** Inputs are there before the first step, outputs after the last. */
function walkEntry({ inputs, outputs, steps }: ProgramEntry, w: Walk): void {
  const first = w.origins.push(null) - 1;
  for (const v of inputs) touch(w, v.buffer, first);
  walk(steps, w);
  const last = w.origins.push(null) - 1;
  for (const v of outputs) touch(w, v.buffer, last);
}

/** Numbers steps and records lives; what a loop mentions but does not own lives through the whole loop. */
function walk(steps: readonly Step[], w: Walk): void {
  for (const s of steps) {
    const at = w.origins.push('origins' in s ? (s.origins[0] ?? null) : null) - 1;
    for (const b of refsOf(s)) touch(w, b, at);
    if (s.kind === 'kernel') w.kernels.push({ step: s, at });
    for (const list of nestedSteps(s)) walk(list, w);
    if (s.kind !== 'loop' && s.kind !== 'while') continue;
    const end = w.origins.push(null) - 1;
    for (const [b, inside] of countMentions([s])) {
      if (s.kind !== 'while' || b !== s.cond.buffer) if (inside === w.mentions.get(b)) continue;
      const life = w.lives.get(b) as Life;
      life.first = Math.min(life.first, at);
      life.last = Math.max(life.last, end);
    }
  }
}

function touch(w: Walk, b: number, at: number): void {
  const life = w.lives.get(b);
  if (life) life.last = at;
  else w.lives.set(b, { first: at, last: at });
}

function countMentions(steps: readonly Step[], into: Map<number, number> = new Map()): Map<number, number> {
  for (const s of steps) {
    for (const b of refsOf(s)) mention(b, into);
    for (const list of nestedSteps(s)) countMentions(list, into);
  }
  return into;
}

const mention = (b: number, into: Map<number, number>): void => void into.set(b, (into.get(b) ?? 0) + 1);

/** Merges an elementwise result into an operand whose last use it is: result → operand. */
function shareInPlace(p: ProgramBuilder, w: Walk, planned: ReadonlySet<number>): Map<number, number> {
  const shared = new Map<number, number>();
  const root = (b: number): number => {
    const to = shared.get(b);
    return to === undefined ? b : root(to);
  };
  for (const { step, at } of w.kernels) {
    for (const [out, input] of p.inPlace.get(step.kernel) ?? []) {
      const [to, from] = [step.buffers[out], step.buffers[input]];
      if (!to || !from || shared.has(to.buffer)) continue;
      const target = root(from.buffer);
      const [a, b] = [p.buffers[to.buffer], p.buffers[target]];
      const [lifeA, lifeB] = [w.lives.get(to.buffer), w.lives.get(target)];
      if (!a || !b || !lifeA || !lifeB || !planned.has(a.id) || !planned.has(b.id)) continue;
      const alone = step.buffers.filter((r) => root(r.buffer) === target).length === 1;
      if (!alone || to.offset !== 0 || from.offset !== 0 || bytesOf(a) !== bytesOf(b)) continue;
      if (lifeA.first !== at || lifeB.last !== at || to.buffer === target) continue;
      shared.set(to.buffer, target);
      lifeB.last = lifeA.last;
    }
  }
  return shared;
}

interface Assignment {
  readonly offsets: Map<number, number>;
  readonly arenaBytes: number;
}

interface Item {
  readonly id: number;
  readonly bytes: number;
  readonly life: Life;
}

/** Orders worth trying: none is best for every graph, and each is cheap. */
const ORDERS: readonly ((a: Item, b: Item) => number)[] = [
  (a, b) => b.bytes - a.bytes || a.id - b.id,
  (a, b) => b.life.last - b.life.first - (a.life.last - a.life.first) || b.bytes - a.bytes || a.id - b.id,
  (a, b) => a.life.first - b.life.first || b.bytes - a.bytes || a.id - b.id,
  (a, b) => b.life.last - a.life.last || b.bytes - a.bytes || a.id - b.id,
  (a, b) => span(b) - span(a) || a.id - b.id,
];

const span = (x: Item): number => x.bytes * (x.life.last - x.life.first + 1);

/** The best of a few greedy placements, improved by letting what ended up highest go first. */
function assign(items: readonly Item[], shared: ReadonlyMap<number, number>, lowerBound: number): Assignment {
  let best: Assignment | null = null;
  for (const order of ORDERS) {
    let list = [...items].sort(order);
    for (let round = 0; round < PROMOTIONS; round++) {
      const made = placeInOrder(list);
      if (!best || made.arenaBytes < best.arenaBytes) best = made;
      if (best.arenaBytes <= lowerBound) break;
      const top = list.find((x) => (made.offsets.get(x.id) as number) + x.bytes === made.arenaBytes) as Item;
      if (list[0] === top) break;
      list = [top, ...list.filter((x) => x !== top)];
    }
    if (best && best.arenaBytes <= lowerBound) break;
  }
  const { offsets, arenaBytes } = best ?? { offsets: new Map<number, number>(), arenaBytes: 0 };
  for (const [b, to] of shared) offsets.set(b, offsets.get(to) ?? 0);
  return { offsets, arenaBytes };
}

/** How often the highest buffer is moved to the front of an order. */
const PROMOTIONS = 12;

/** Each buffer in turn at the lowest offset free during its life. */
function placeInOrder(list: readonly Item[]): Assignment {
  const offsets = new Map<number, number>();
  const placed: { life: Life; start: number; end: number }[] = [];
  let arenaBytes = 0;
  for (const { id, bytes, life } of list) {
    const conflicts = placed
      .filter((q) => q.life.first <= life.last && life.first <= q.life.last)
      .sort((x, y) => x.start - y.start);
    let start = 0;
    for (const q of conflicts) {
      if (start + bytes <= q.start) break;
      start = Math.max(start, roundUp(q.end, alignment(bytes)));
    }
    placed.push({ life, start, end: start + bytes });
    offsets.set(id, start);
    arenaBytes = Math.max(arenaBytes, start + bytes);
  }
  return { offsets, arenaBytes };
}

function findPeak(items: readonly Item[], origins: readonly (Origin | null)[]): Program['peak'] {
  const delta = new Float64Array(origins.length + 1);
  for (const { life, bytes } of items) {
    delta[life.first] = (delta[life.first] as number) + bytes;
    delta[life.last + 1] = (delta[life.last + 1] as number) - bytes;
  }
  let now = 0;
  let best = { bytes: 0, origin: null as Origin | null };
  origins.forEach((origin, k) => {
    now += delta[k] as number;
    if (now > best.bytes) best = { bytes: now, origin };
  });
  return best;
}
