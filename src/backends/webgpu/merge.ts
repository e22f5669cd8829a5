// Dispatches that do not need each other's results become one: sibling projections of the same input, sine and cosine,
// kernels that happen to be ready at the same time. Each keeps its own workgroups (shader-module.ts). A dispatch moves
// up to the first place after everything it depends on, which changes nothing but the order of independent work.

import { MOST_BINDINGS } from './bindings.js';
import type { GpuGather, GpuKnown, GpuPart } from './plan-types.js';
import type { Part } from './shader.js';
import { agreeOnLanes, type Placed, sharedBytes } from './shader-module.js';
import type { KernelStep } from './steps.js';

/** One dispatch before merging. */
export interface Draft {
  /** What it is, or is a piece of. */
  readonly step: KernelStep;
  readonly label: string;
  readonly part: Part;
  /** Buffer of each of the part's bindings. */
  readonly bound: readonly number[];
  readonly size: GpuPart;
  readonly known: readonly GpuKnown[];
  readonly gather: readonly GpuGather[];
}

export interface Merged {
  readonly drafts: readonly Draft[];
  readonly placed: readonly Placed[];
  /** By binding of the module. */
  readonly buffers: readonly number[];
}

const MOST_PARTS = 6;
/** Words of a dispatch's uniform. */
const MOST_WORDS = 64;
/** Bytes of workgroup memory that every device has. */
const WORKGROUP_BYTES = 16384;

/** In the order in which they run. */
export function mergeDrafts(drafts: readonly Draft[]): readonly Merged[] {
  const groups: Draft[][] = [];
  for (const d of drafts) {
    const after = Math.max(-1, ...groups.map((g, k) => (g.some((x) => conflict(x, d)) ? k : -1)));
    const place = groups.findIndex((g, k) => k > after && bind([...g, d]) !== null);
    if (place < 0) groups.push([d]);
    else groups[place]?.push(d);
  }
  return groups.map((g) => ({ drafts: g, ...(bind(g, true) as Binding) }));
}

const touched = (d: Draft, access: 'write' | 'any'): readonly number[] => [
  ...d.bound.filter((_, k) => access === 'any' || d.part.bindings[k]?.access === 'write'),
  ...d.gather.flatMap(([from, into]) => (access === 'any' ? [from, into] : [into])),
];

/** Whether the order of the two matters. */
function conflict(a: Draft, b: Draft): boolean {
  const [read, other] = [new Set(touched(a, 'any')), new Set(touched(b, 'any'))];
  return touched(a, 'write').some((x) => other.has(x)) || touched(b, 'write').some((x) => read.has(x));
}

type Binding = Pick<Merged, 'placed' | 'buffers'>;

/** What a module of these parts binds; null where it would be too much. One alone is as it is (`alone`). */
function bind(drafts: readonly Draft[], alone = false): Binding | null {
  const [only] = drafts;
  if (only && drafts.length === 1 && alone)
    return { placed: [{ part: only.part, bindings: only.bound.map((_, k) => k) }], buffers: only.bound };
  if (drafts.length > MOST_PARTS || drafts.some((d) => d.gather.length > 0)) return null;
  if (sum(drafts, (d) => 2 + d.size.sizes.length) + 1 > MOST_WORDS) return null;
  if (!agreeOnLanes(drafts.map((d) => d.part))) return null;
  if (sharedBytes(drafts.map((d) => d.part)) > WORKGROUP_BYTES) return null;
  const keys = new Map<string, number>();
  const buffers: number[] = [];
  const placed = drafts.map((d): Placed => {
    const bindings = d.part.bindings.map((b, k) => {
      const key = `${d.bound[k]} ${b.type}`;
      const at = keys.get(key) ?? buffers.push(d.bound[k] as number) - 1;
      keys.set(key, at);
      return at;
    });
    return { part: d.part, bindings };
  });
  return buffers.length > MOST_BINDINGS ? null : { placed, buffers };
}

const sum = <T>(list: readonly T[], of: (x: T) => number): number => list.reduce((n, x) => n + of(x), 0);
