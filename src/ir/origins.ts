// Where a node comes from, when it is made of several: one origin stands for the result, the others come along in the order
// they were computed, so that reports and profiles can name every operator of the source that a kernel does the work of.

import type { Origin } from './program.js';

/** All source operators behind an origin, its own last. */
export const originsOf = (o: Origin): readonly Origin[] => {
  const { also, ...own } = o;
  return also ? [...also, own] : [own];
};

/** The origin of a node that takes over what `others` did; they come first. */
export function joinOrigins(main: Origin, others: readonly Origin[]): Origin {
  const { also: had = [], ...own } = main;
  const known = new Set([keyOf(own)]);
  const also = [...others.flatMap(originsOf), ...had].filter((o) => {
    const key = keyOf(o);
    if (known.has(key) || (o.op === '' && o.node === '')) return false;
    known.add(key);
    return true;
  });
  return also.length > 0 ? { ...own, also } : own;
}

const keyOf = (o: Origin): string => JSON.stringify([o.op, o.node, o.index, o.path]);
