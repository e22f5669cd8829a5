// How a kernel reads and writes tensors: views are followed to the buffer behind them, indices become one flat
// offset, and "pad where out of range" becomes an explicit guard.

import { invariant } from '../../support/errors.js';
import { bounds, type Dim, dimEq, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { BufferParam, Stmt } from '../../ir/kernel.js';
import type { BufferRef, Origin } from '../../ir/program.js';
import { dimExpr, type Expr, i32, load, type LoadExpr, rewriteExpr, substituteVars } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type KernelTask, type ProgramBuilder, refKey } from './build.js';
import type { Place } from './placement.js';
import { runStart } from './runs.js';

/** Sizes of the loop variables in scope, for dropping guards that always hold. */
export type Ranges = ReadonlyMap<string, Dim>;

/** Where a kernel stores a value: a buffer, and the place in it of an element. */
export interface Output {
  readonly ref: BufferRef;
  readonly dtype: BufferParam['dtype'];
  readonly size: Dim;
  readonly at: (index: readonly Expr[]) => Expr;
}

export interface KernelContext {
  readonly name: string;
  /** Slot of a value's buffer for reading. */
  read(v: Value): number;
  /** The place of a value whose elements are apart in the memory of another: `read` has no slot for it. */
  apart(v: Value): Place | undefined;
  /** Slot of a new or existing buffer for writing. */
  write(ref: BufferRef, v: { dtype: BufferParam['dtype']; size: Dim }, access?: BufferParam['access']): number;
  /** Slot of the last buffer given to `write`. */
  outputSlot(): number;
  scratch(name: string, dtype: BufferParam['dtype'], size: Dim): number;
  task(body: readonly Stmt[], inPlace?: KernelTask['inPlace']): KernelTask;
}

/** Row-major flat offset. */
export function flatten(index: readonly Expr[], shape: readonly Dim[]): Expr {
  return index.reduce<Expr>((at, x, k) => e.add(k === 0 ? at : e.mul(at, dimExpr(shape[k] as Dim)), x), i32(0));
}

/** Row-major position `flat` as an index. */
export function unflatten(flat: Expr, shape: readonly Dim[]): Expr[] {
  const out: Expr[] = [];
  let rest = flat;
  for (let k = shape.length - 1; k >= 0; k--) {
    const size = dimExpr(shape[k] as Dim);
    out.unshift(k === 0 ? rest : e.rem(rest, size));
    rest = e.div(rest, size);
  }
  return out;
}

/** Where values are: those in the memory of another have a place there. */
export interface Storage {
  readonly of: (v: Value) => BufferRef;
  readonly placeOf: (v: Value) => Place | undefined;
}

export function createKernelContext(
  p: ProgramBuilder,
  storage: Storage,
  name: string,
  origins: readonly Origin[],
): KernelContext {
  const params: BufferParam[] = [];
  const refs: BufferRef[] = [];
  const slots = new Map<string, number>();
  let output = -1;
  const addParam = (param: BufferParam, ref: BufferRef): number => {
    params.push(param);
    return refs.push(ref) - 1;
  };
  return {
    name,
    read(v) {
      const ref = storage.of(v);
      const key = refKey(ref);
      const known = slots.get(key);
      if (known !== undefined) return known;
      const slot = addParam(
        { name: `x${params.length}`, dtype: v.type.dtype, access: 'read', size: product(v.type.shape) },
        ref,
      );
      slots.set(key, slot);
      return slot;
    },
    apart(v) {
      const place = storage.placeOf(v);
      return place?.start === null ? place : undefined;
    },
    write: (ref, v, access = 'write') => {
      output = addParam({ name: `y${params.length}`, dtype: v.dtype, access, size: v.size }, ref);
      return output;
    },
    outputSlot: () => output,
    scratch(label, dtype, size) {
      const ref = p.newBuffer(`${name}.${label}`, { dtype, shape: [size] }, { kind: 'arena' });
      return addParam({ name: `s${params.length}`, dtype, access: 'scratch', size }, ref);
    },
    task: (body, inPlace) => ({ name, params, refs, body, origins, ...(inPlace ? { inPlace } : {}) }),
  };
}

/** i1: every index inside the value's shape, leaving out what the loop ranges already say. Undefined: always. */
function inRange(v: Value, index: readonly Expr[], ranges: Ranges): Expr | undefined {
  let guard: Expr | undefined;
  const both = (c: Expr): void => {
    guard = guard ? e.and(guard, c) : c;
  };
  index.forEach((x, k) => {
    const size = v.type.shape[k] as Dim;
    const range = x.k === 'var' ? ranges.get(x.name) : undefined;
    if (range !== undefined && dimEq(range, size)) return;
    if (x.k === 'const' && typeof size === 'number' && Number(x.value) >= 0 && Number(x.value) < size) return;
    both(e.le(0, x));
    both(e.lt(x, dimExpr(size)));
  });
  return guard;
}

/** i1: every axis has elements, leaving out those no loop would get to if they had none. Undefined: always. */
function notEmpty(v: Value, ranges: Ranges): Expr | undefined {
  const loops = [...ranges.values()];
  const open = v.type.shape.filter((d) => bounds(d)[0] <= 0 && !loops.some((range) => dimEq(range, d)));
  return open
    .map((d) => e.lt(0, dimExpr(d)))
    .reduce<Expr | undefined>((all, c) => (all ? e.and(all, c) : c), undefined);
}

/** A read of a value at an index, through views, as a flat kernel load; 0 where it has no elements at all. */
export function readValue(
  c: KernelContext,
  v: Value,
  index: readonly Expr[],
  ranges: Ranges,
  more: { guard?: Expr | undefined; pad?: Expr | undefined } = {},
): Expr {
  const { pad } = more;
  const guard = more.guard ?? (pad ? inRange(v, index, ranges) : notEmpty(v, ranges));
  if (!guard || (guard.k === 'const' && guard.value)) return readAt(c, v, index);
  const outside = pad ?? e.const(0, v.type.dtype);
  if (guard.k === 'const') return outside;
  const at = readAt(c, v, index);
  return at.k === 'load' ? { ...at, guard, pad: outside } : at;
}

function readAt(c: KernelContext, v: Value, index: readonly Expr[]): Expr {
  const n = v.node;
  if (n?.kind === 'view') {
    const source = n.inputs[0] as Value;
    if (n.map !== 'reshape') {
      const env = new Map(index.map((x, k): [string, Expr] => [`i${k}`, x]));
      return readAt(
        c,
        source,
        n.map.map((m) => substituteVars(m, env)),
      );
    }
    if (isVirtual(source)) return readAt(c, source, unflatten(flatten(index, v.type.shape), source.type.shape));
    return load(c.read(source), [flatten(index, v.type.shape)], v.type.dtype);
  }
  const place = c.apart(v);
  if (place) return readAt(c, place.whole, place.index(index));
  return load(c.read(v), [flatten(index, v.type.shape)], v.type.dtype);
}

/** The slot a read of a value goes to, through views: several values may be read in one. */
export function slotOf(c: KernelContext, v: Value): number {
  const n = v.node;
  const place = c.apart(v);
  if (place) return slotOf(c, place.whole);
  if (n?.kind !== 'view') return c.read(v);
  const source = n.inputs[0] as Value;
  return n.map !== 'reshape' || isVirtual(source) ? slotOf(c, source) : c.read(source);
}

/** A value no buffer holds in row-major order: a re-indexing view that is no run, or a view of one. */
export function isVirtual(v: Value): boolean {
  const n = v.node;
  if (n?.kind !== 'view') return false;
  return (n.map !== 'reshape' && runStart(v) === null) || isVirtual(n.inputs[0] as Value);
}

/** A body with its tensor-level loads turned into kernel loads; `near` gives those of values that have no buffer. */
export function lowerBody(
  c: KernelContext,
  body: Expr,
  inputs: readonly Value[],
  ranges: Ranges,
  near: (v: Value, x: LoadExpr) => Expr | null = () => null,
): Expr {
  return rewriteExpr(body, (x) => {
    if (x.k !== 'load') return x;
    const v = inputs[x.src];
    invariant(v, `operand ${x.src} does not exist`);
    return near(v, x) ?? readValue(c, v, x.index, ranges, { guard: x.guard, pad: x.pad });
  });
}
