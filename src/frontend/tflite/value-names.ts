// TFLite tensors are memory: an operator may write one that was read or written before. Values here are assigned once, so
// each such write gets a name of its own, `t<index>.1`, `t<index>.2`, …; everything else is plain `t<index>`.
// Execution order decides which of them a reader or a graph output sees.

import type { SourceValue } from '../source.js';

export const valueName = (index: number): string => `t${index}`;

/** The tensor indices an operator names (-1: absent). */
export interface OperatorTensors {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** The value names an operator reads and writes ('' where absent). */
export interface OperatorValues {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface ValueNames {
  readonly operators: readonly OperatorValues[];
  readonly outputs: readonly string[];
  /** Names of later writes, each with the tensor it writes. */
  readonly rewrites: ReadonlyMap<string, number>;
  /** Tensors read before anything wrote them. */
  readonly readFirst: ReadonlySet<number>;
}

/** Names every value of a subgraph, walking its operators in execution order. */
export function nameValues(
  operators: readonly OperatorTensors[],
  inputs: readonly number[],
  outputs: readonly number[],
): ValueNames {
  const current = new Map<number, string>(inputs.map((t) => [t, valueName(t)]));
  const writes = new Map<number, number>();
  const rewrites = new Map<string, number>();
  const readFirst = new Set<number>();
  const read = (t: number): string => {
    if (t < 0) return '';
    const name = current.get(t) ?? valueName(t);
    if (!current.has(t)) readFirst.add(t);
    current.set(t, name);
    return name;
  };
  const write = (t: number): string => {
    if (t < 0) return '';
    const before = writes.get(t) ?? 0;
    const name = current.has(t) ? `${valueName(t)}.${before + 1}` : valueName(t);
    if (current.has(t)) {
      writes.set(t, before + 1);
      rewrites.set(name, t);
    }
    current.set(t, name);
    return name;
  };
  const named = operators.map((o) => ({ inputs: o.inputs.map(read), outputs: o.outputs.map(write) }));
  return { operators: named, outputs: outputs.map(read), rewrites, readFirst };
}

/** Adds the values of later writes: their tensors' own, under the new names. */
export function addRewrites(values: Map<string, SourceValue>, rewrites: ReadonlyMap<string, number>): void {
  for (const [name, tensor] of rewrites) values.set(name, { ...values.get(valueName(tensor))!, name });
}
