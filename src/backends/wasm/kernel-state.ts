// What is known while a kernel is written: the variables in scope, where each buffer is, the pointers that walk with
// the innermost loop. Created by kernel.ts, read by expr.ts, access.ts and pointers.ts.

import { bounds } from '../../ir/dim.js';
import type { Expr } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import type { CodeWriter, Local } from './code.js';
import type { Definitions, Linear } from '../../ir/linear.js';

/** No buffer lies below this address, so an address may run this far ahead of its constant offset. */
export const LOW_MEMORY = 4096;

export interface Variable {
  readonly local: Local;
  readonly lanes: number;
}

/** A buffer in memory, its pointer a local or a fixed address; or a small one kept in locals, element by element. */
export type Slot =
  | { readonly kind: 'memory'; readonly name: string; readonly dtype: DType; readonly pointer: Local | number }
  | { readonly kind: 'locals'; readonly elements: ReadonlyMap<number, Local> };

/** A local that holds the address of element `first` of a moving address `key`. */
export interface Pointer {
  readonly key: string;
  readonly first: number;
  readonly local: Local;
}

export interface KernelState {
  readonly c: CodeWriter;
  /** Whether a product and a sum may become one relaxed instruction. */
  readonly relaxed: boolean;
  readonly vars: Map<string, Variable>;
  readonly slots: Map<number, Slot>;
  readonly definitions: Definitions;
  readonly linear: Map<Expr, Linear>;
  /** Variables known never to be negative. */
  readonly natural: Set<string>;
  /** Pointers of the innermost `for`. */
  pointers: readonly Pointer[];
  /** Names read in its body; null outside loops, where all are. */
  needed: ReadonlySet<string> | null;
  /** Label that `break` leaves by. */
  breakLabel: number | null;
  /** Sub-expressions used more than once in the statement being written. */
  shared: ReadonlySet<Expr>;
  /** Those of them already computed, in a local of their own. */
  readonly computed: Map<Expr, Local>;
}

export function slotOf(k: KernelState, buf: number): Slot {
  const slot = k.slots.get(buf);
  invariant(slot !== undefined, `kernel ${k.c.name} uses buffer slot ${buf}, which it has not`);
  return slot;
}

export function variableOf(k: KernelState, name: string): Variable {
  const v = k.vars.get(name);
  invariant(v !== undefined, `kernel ${k.c.name} reads ${name}, which is not in scope`);
  return v;
}

/** Whether an i32 expression is provably ≥ 0. */
export function isNatural(k: KernelState, e: Expr): boolean {
  if (e.k === 'const') return Number(e.value) >= 0;
  if (e.k === 'dim') return bounds(e.dim)[0] >= 0;
  if (e.k === 'var') return k.natural.has(e.name);
  if (e.k !== 'op') return false;
  if (e.op === 'max' || e.op === 'and') return e.args.some((a) => isNatural(k, a));
  const keeps = e.op === 'add' || e.op === 'mul' || e.op === 'div' || e.op === 'rem' || e.op === 'min';
  return keeps && e.args.every((a) => isNatural(k, a));
}
