// Sizes that depend on data and that nothing in the model bounds. A bound is assumed for them, stated in the compile report,
// and checked when the program runs: a larger value is an error, never a wrong answer. The import runs again, at most a few
// times, with what the first one found out: integer inputs that shapes are computed from become symbols at the start of
// the program, and shapes the file declares make bounds tighter.

import type { Builder } from '../ir/builder.js';
import { bounds, type Dim, type Sym, symDim } from '../ir/dim.js';
import type { TensorType, Value } from '../ir/tensor.js';
import { DTYPE_INFO } from '../support/dtype.js';
import { sizeOf } from '../support/tensor.js';
import type { SourceType } from './source.js';

/** Elements a tensor whose size nothing bounds is assumed to have at most. */
const ASSUMED_ELEMENTS = 2 ** 20;
/** Longest list of integers that is taken for sizes. */
const MAX_LIST = 16;
const MAX_ROUNDS = 4;

/** The assumed bound of each of `open` sizes that share a tensor, beside `known` elements. */
export const assumedBound = (open: number, known = 1): number =>
  Math.max(1, Math.floor((ASSUMED_ELEMENTS / Math.max(1, known)) ** (1 / Math.max(1, open))));

/** What one import learns for the next. */
export interface Assumptions {
  /** Inputs whose elements are sizes, by name. */
  readonly shapeInputs: ReadonlySet<string>;
  /** Upper bounds of checked symbols, by name. */
  readonly bounds: ReadonlyMap<string, number>;
}

export interface Learned {
  readonly shapeInputs: Set<string>;
  readonly bounds: Map<string, number>;
}

export const NOTHING_ASSUMED: Assumptions = { shapeInputs: new Set(), bounds: new Map() };

/** Imports until nothing more is learned; `attempt` throws where the model does not import. */
export function withAssumptions<T>(attempt: (given: Assumptions, learned: Learned) => T): T {
  let given = NOTHING_ASSUMED;
  for (let round = 1; ; round++) {
    const learned: Learned = { shapeInputs: new Set(given.shapeInputs), bounds: new Map(given.bounds) };
    const changed = (): boolean =>
      learned.shapeInputs.size > given.shapeInputs.size ||
      [...learned.bounds].some(([name, hi]) => given.bounds.get(name) !== hi);
    try {
      const result = attempt(given, learned);
      if (round === MAX_ROUNDS || !changed()) return result;
    } catch (error) {
      if (round === MAX_ROUNDS || !changed()) throw error;
    }
    given = learned;
  }
}

const isIntegerList = ({ dtype, shape }: TensorType): boolean =>
  (dtype === 'i32' || dtype === 'i64') &&
  shape.every((d) => typeof d === 'number') &&
  sizeOf(shape as readonly number[]) <= MAX_LIST;

/** The program's integer inputs that `v` is computed from alone; null where anything else takes part. */
function sizeRoots(v: Value, params: ReadonlyMap<Value, string>): ReadonlySet<string> | null {
  const roots = new Set<string>();
  const seen = new Set<Value>();
  const visit = (x: Value): boolean => {
    if (seen.has(x)) return true;
    seen.add(x);
    if (!x.node) {
      const name = params.get(x);
      if (name === undefined || !isIntegerList(x.type)) return false;
      roots.add(name);
      return true;
    }
    const { kind } = x.node;
    if (kind === 'const' || kind === 'dim') return true;
    if (kind !== 'generic' && kind !== 'view' && kind !== 'concat') return false;
    return x.node.inputs.every(visit);
  };
  return DTYPE_INFO[v.type.dtype].kind !== 'float' && visit(v) ? roots : null;
}

/** Has the integer inputs of the program that `v` is computed from taken for sizes, the next time round. */
export function wantSizes(
  { learned, params }: { readonly learned: Learned; readonly params: ReadonlyMap<Value, string> },
  v: Value,
): void {
  for (const root of sizeRoots(v, params) ?? []) learned.shapeInputs.add(root);
}

const symbolName = (name: string): string => name.replace(/\W+/g, '_').replace(/^(\d)/, 'd$1');

/** Whether an input is a single integer or truth value, which may be fixed like a size. */
export const isFixable = ({ dtype, shape }: TensorType): boolean =>
  DTYPE_INFO[dtype].kind !== 'float' && dtype !== 'string' && shape.every((d) => d === 1);

/** An input that the program is made for one value of; any other is an error when it runs. */
export function fixInput(b: Builder, v: Value, name: string, n: number): Value {
  const { name: unique } = b.freshSym(symbolName(name), n, n);
  b.bindTo({ name: unique, lo: n, hi: n, checked: true }, b.cast(b.reshape(v, []), 'i64'));
  return b.reshape(b.scalar(n, v.type.dtype), v.type.shape);
}

/** The integer input with every element a checked symbol. */
export function bindElements(b: Builder, v: Value, name: string): Value {
  const shape = v.type.shape as readonly number[];
  const count = sizeOf(shape);
  const flat = b.reshape(v, [count]);
  const hint = symbolName(name);
  const dims = Array.from({ length: count }, (_, k): Dim => {
    const element = b.reshape(b.narrow(flat, 0, k, 1), []);
    return b.checkedSize(element, shape.length === 0 ? hint : `${hint}_${k}`, assumedBound(count));
  });
  return b.cast(b.reshape(b.dims(dims), shape), v.type.dtype);
}

/** Learns from a declared shape: a size that is a product of checked symbols cannot exceed what the file says. */
export function learnBounds(type: TensorType, declared: SourceType | undefined, learned: Learned): void {
  if (declared?.kind !== 'tensor' || declared.shape?.length !== type.shape.length) return;
  type.shape.forEach((d, axis) => {
    const said = declared.shape?.[axis];
    if (typeof d === 'number' || typeof said !== 'number') return;
    const [term] = d.terms;
    if (d.terms.length !== 1 || !term || term.coef <= 0) return;
    const product = Math.floor((said - d.constant) / term.coef);
    for (const f of term.factors) {
      if (f.kind !== 'sym' || !f.sym.checked) continue;
      const others = term.factors.filter((g) => g !== f).map((g) => Math.max(1, bounds(symbolOf(g))[0]));
      const hi = Math.max(0, Math.floor(product / others.reduce((p, n) => p * n, 1)));
      if (hi < (learned.bounds.get(f.sym.name) ?? f.sym.hi)) learned.bounds.set(f.sym.name, hi);
    }
  });
}

const symbolOf = (f: { readonly kind: string; readonly sym?: Sym }): Dim => (f.sym ? symDim(f.sym) : 1);
