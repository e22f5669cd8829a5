// Ranges of axes with numpy's rules: negative positions count from the end, everything is clamped, steps may be
// negative. A range whose positions fold is a view; one that depends on data is read from its start at run time, and
// its length is what the file declares or a bound symbol.

import type { Builder, Read } from '../../ir/builder.js';
import { checkRange, sliceRange } from '../../ir/build-shape.js';
import { bounds, type Dim, dimEq, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { computedSize, intAt, most } from './runtime-sizes.js';

/** A position or step: folded, or read when the program runs (as i32). */
export type Position = Dim | ((read: Read) => Expr);

export interface AxisSpec {
  /** Undefined: from the beginning (in the step's direction). */
  readonly start: Position | undefined;
  /** Undefined: to the end. */
  readonly end: Position | undefined;
  readonly step: Position;
  /** Length the file declares for the result. */
  readonly declared?: number | undefined;
}

/** Elements first + k·step for k < count. `checked`: the positions may leave the axis and must be guarded. */
export interface Range {
  readonly first: Position;
  readonly step: Position;
  readonly count: Dim;
  readonly checked: boolean;
}

/** From this on a position means "as far as it goes". */
const FAR = 2 ** 31 - 1;
const MAX_STEP = 2 ** 30;

const isFolded = (p: Position | undefined): p is Dim => typeof p !== 'function';
const exprOf = (p: Position, read: Read): Expr => (typeof p === 'function' ? p(read) : dimExpr(p));

/** Element k of an integer list: folded where it can be. */
export function positionAt(b: Builder, v: Value, k: number): Position {
  const known = b.values(v)?.[k];
  return known ?? ((read) => intAt(read, v, k));
}

/** The whole of an axis. */
export const whole = (n: Dim): Range => ({ first: 0, step: 1, count: n, checked: false });

const signKnown = (p: Dim): boolean => bounds(p)[0] >= 0 || bounds(p)[1] < 0;

/** Positions at the ends of the number range become positions at the ends of the axis. */
function near(p: Dim, n: Dim): Dim {
  if (typeof p !== 'number' || Math.abs(p) < FAR) return p;
  return p > 0 ? n : sub(-1, n);
}

export function rangeOf(b: Builder, n: Dim, spec: AxisSpec): Range {
  const { start, end, step } = spec;
  if (typeof step === 'number' && step !== 0 && isFolded(start) && isFolded(end)) {
    const from = start === undefined ? (step > 0 ? 0 : -1) : near(start, n);
    const to = end === undefined ? (step > 0 ? n : sub(-1, n)) : near(end, n);
    if (signKnown(from) && signKnown(to)) {
      const r = sliceRange(n, from, to, step);
      return { first: r.start, step, count: r.count, checked: false };
    }
  }
  return runtimeRange(b, n, spec);
}

function runtimeRange(b: Builder, n: Dim, spec: AxisSpec): Range {
  const size = dimExpr(n);
  const stepOf = (read: Read): Expr => e.clamp(exprOf(spec.step, read), -MAX_STEP, MAX_STEP);
  const back = (read: Read): Expr => e.lt(stepOf(read), 0);
  const clamped = (read: Read, p: Position): Expr => {
    const raw = exprOf(typeof p === 'number' ? Math.max(-FAR, Math.min(FAR, p)) : p, read);
    const at = e.select(e.lt(raw, 0), e.add(raw, size), raw);
    return e.select(back(read), e.clamp(at, -1, e.sub(size, 1)), e.clamp(at, 0, size));
  };
  const first = (read: Read): Expr =>
    spec.start === undefined ? e.select(back(read), e.sub(size, 1), 0) : clamped(read, spec.start);
  const last = (read: Read): Expr =>
    spec.end === undefined ? e.select(back(read), -1, size) : clamped(read, spec.end);
  const count =
    spec.declared ??
    computedSize(b, 'length', 0, most(n), (read) => {
      const distance = e.select(back(read), e.sub(first(read), last(read)), e.sub(last(read), first(read)));
      const stride = e.abs(stepOf(read));
      return e.div(e.sub(e.add(e.max(distance, 0), stride), 1), e.max(stride, 1));
    });
  return { first, step: stepOf, count, checked: spec.declared !== undefined };
}

/** The elements of x in a range for each axis. */
export function takeRanges(b: Builder, x: Value, ranges: readonly Range[]): Value {
  const shape = ranges.map((r) => r.count);
  const same = ranges.every((r, k) => r.first === 0 && r.step === 1 && dimEq(r.count, x.type.shape[k] as Dim));
  if (same) return x;
  const at = (i: readonly Expr[], read: Read): Expr[] =>
    ranges.map((r, k) => e.add(exprOf(r.first, read), e.mul(i[k] as Expr, exprOf(r.step, read))));
  ranges.forEach((r, k) => {
    if (isFolded(r.first) && r.step === 1) checkRange(x.type.shape[k] as Dim, r.first, r.count);
  });
  if (ranges.every((r) => !r.checked && isFolded(r.first) && isFolded(r.step)))
    return b.view(x, shape, (i) => at(i, () => dimExpr(0)));
  const zero = e.const(0, x.type.dtype);
  const checked = ranges.some((r) => r.checked);
  return b.generic({
    shape,
    body: (i, _r, read) => read(x, at(i, read), checked ? { pad: zero } : {}),
  });
}
