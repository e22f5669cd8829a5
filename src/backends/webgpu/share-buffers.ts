// Buffers that never hold something at the same time are one on the device. A buffer lives from the first to the last
// step of its entry that names it; what is inside a branch or a loop counts as that step, so loops keep what they carry.
// Largest first; inputs, outputs, state and constants keep a buffer of their own, and so does what is in two places: on
// the device and in the WebAssembly twin.

import type { GpuBufferPlan, GpuEntryPlan, GpuHostValue, GpuKnown, GpuStep } from './plan-types.js';

interface Life {
  readonly buffer: number;
  readonly first: number;
  readonly last: number;
}

export interface SharedBuffers {
  readonly buffers: readonly GpuBufferPlan[];
  readonly entries: readonly GpuEntryPlan[];
  /** The new number of a buffer. */
  readonly numberOf: (buffer: number) => number;
}

/** The entries with their buffers renumbered, and the buffers that are left. */
export function shareBuffers(buffers: readonly GpuBufferPlan[], entries: readonly GpuEntryPlan[]): SharedBuffers {
  const target = chooseSharing(buffers, entries);
  const named = new Set(
    entries.flatMap((e) => [...livesOf(e).keys(), ...[...e.inputs, ...e.outputs].map((v) => v.buffer)]),
  );
  const isKept = (b: number): boolean => !target.has(b) && (named.has(b) || buffers[b]?.kind !== 'value');
  const kept = buffers.flatMap((_, b) => (isKept(b) ? [b] : []));
  const position = new Map(kept.map((b, k) => [b, k]));
  const moved = (b: number): number => position.get(target.get(b) ?? b) as number;
  return {
    buffers: kept.map((b) => buffers[b] as GpuBufferPlan),
    entries: entries.map((e) => ({
      ...e,
      inputs: e.inputs.map((v) => ({ ...v, buffer: moved(v.buffer) })),
      outputs: e.outputs.map((v) => ({ ...v, buffer: moved(v.buffer) })),
      steps: e.steps.map((s) => renumber(s, moved)),
    })),
    numberOf: moved,
  };
}

const isShared = (b: GpuBufferPlan | undefined): boolean => b?.kind === 'value' || b?.kind === 'twin';

/** Buffers of the device that the twin uses too. */
function inBothPlaces(buffers: readonly GpuBufferPlan[], steps: readonly GpuStep[], found: Set<number>): Set<number> {
  for (const s of steps) {
    if (s.do === 'twin') for (const b of [...s.reads, ...s.writes]) if (buffers[b]?.kind !== 'twin') found.add(b);
    for (const list of nestedPlans(s)) inBothPlaces(buffers, list, found);
  }
  return found;
}

/** The lists of steps in a step. */
export function nestedPlans(s: GpuStep): readonly (readonly GpuStep[])[] {
  if (s.do === 'if') return [s.then, s.else];
  if (s.do === 'loop') return [s.body];
  return s.do === 'while' ? [s.test, s.body] : [];
}

/** Buffer → the one it is part of, where that is another. */
function chooseSharing(
  buffers: readonly GpuBufferPlan[],
  entries: readonly GpuEntryPlan[],
): ReadonlyMap<number, number> {
  const fixed = new Set(entries.flatMap((e) => [...e.inputs, ...e.outputs].map((v) => v.buffer)));
  for (const e of entries) inBothPlaces(buffers, e.steps, fixed);
  const seen = new Set<number>();
  const out = new Map<number, number>();
  for (const entry of entries) {
    const lives = livesOf(entry);
    for (const b of lives.keys()) {
      if (seen.has(b)) fixed.add(b); // of several entries
      seen.add(b);
    }
    const free = [...lives.values()].filter((l) => isShared(buffers[l.buffer]) && !fixed.has(l.buffer));
    const bytes = (l: Life): number => buffers[l.buffer]?.bytes ?? 0;
    free.sort((a, b) => bytes(b) - bytes(a) || a.buffer - b.buffer);
    const shared: Life[][] = [];
    for (const l of free) {
      const fits = (group: readonly Life[]): boolean =>
        buffers[group[0]?.buffer as number]?.dtype === buffers[l.buffer]?.dtype &&
        buffers[group[0]?.buffer as number]?.kind === buffers[l.buffer]?.kind &&
        group.every((m) => m.last < l.first || l.last < m.first);
      const group = shared.find(fits);
      if (group) group.push(l);
      else shared.push([l]);
    }
    for (const [head, ...rest] of shared) for (const l of rest) out.set(l.buffer, (head as Life).buffer);
  }
  return out;
}

function livesOf(entry: GpuEntryPlan): Map<number, Life> {
  const lives = new Map<number, Life>();
  entry.steps.forEach((s, k) => {
    renumber(s, (b) => {
      lives.set(b, { buffer: b, first: lives.get(b)?.first ?? k, last: k });
      return b;
    });
  });
  return lives;
}

/** A step with every buffer it names passed through `f`. */
function renumber(s: GpuStep, f: (buffer: number) => number): GpuStep {
  const all = (steps: readonly GpuStep[]): readonly GpuStep[] => steps.map((x) => renumber(x, f));
  const value = ([b, ...rest]: GpuHostValue): GpuHostValue => [f(b), ...rest];
  switch (s.do) {
    case 'run':
      return {
        ...s,
        buffers: s.buffers.map(f),
        ...(s.known ? { known: s.known.map((k) => renumberKnown(k, f)) } : {}),
        ...(s.gather ? { gather: s.gather.map(([from, into, at, bytes]) => [f(from), f(into), at, bytes]) } : {}),
      };
    case 'bind':
      return { ...s, from: [f(s.from[0]), s.from[1]] };
    case 'if':
      return { ...s, cond: [f(s.cond[0]), s.cond[1]], then: all(s.then), else: all(s.else) };
    case 'loop':
      return { ...s, body: all(s.body) };
    case 'while':
      return { ...s, test: all(s.test), cond: [f(s.cond[0]), s.cond[1]], body: all(s.body) };
    case 'twin':
      return { ...s, reads: s.reads.map(f), writes: s.writes.map(f) };
    default:
      return { ...s, inputs: s.inputs.map(value), outputs: s.outputs.map(value) };
  }
}

function renumberKnown([b, index, value]: GpuKnown, f: (buffer: number) => number): GpuKnown {
  return [f(b), index, typeof value === 'object' && 'of' in value ? { of: [f(value.of[0]), value.of[1]] } : value];
}
