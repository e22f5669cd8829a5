// Integer contractions by dot products of narrow lanes: a sum of products of two values that fit in 16 bits, or in 8 after
// a shift by a zero point. A tile of rows packs its operand once, in groups along the reduction; the column operand lies
// packed for the whole kernel, at compile time where it is constant. What is found here is data; dot-tile.ts applies it.

import type { Constants } from './operands.js';
import { coefficient, isOne, isZero, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Kernel } from '../../ir/kernel.js';
import { type Expr, i32, type LoadExpr, visitExpr } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { createRangeScope, isWithin, type Range, rangeOf } from '../kernel/value-range.js';
import { constOf } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import type { DotTarget } from './target.js';

/** An operand as `value` − `zero`, where `value` is held in `dtype` and `zero` does not change along the reduction. */
export interface DotOperand {
  readonly value: Expr;
  readonly zero: Expr;
  readonly dtype: DType;
}

export interface DotSchedule {
  readonly columns: For;
  readonly rows: For | null;
  /** Other loops the column operand walks: each position has columns of its own. */
  readonly used: readonly For[];
  /** Reduction loops in the order they are packed in; the sum is exact in any. */
  readonly depth: readonly For[];
  readonly x: DotOperand;
  readonly y: DotOperand;
  /** Lanes of a group, and lanes of the sums. */
  readonly group: number;
  readonly lanes: number;
  /** Whether the column operand is read from constants alone. */
  readonly isConstant: boolean;
  /** Whether sums of four values of the row operand fit in 16 bits, too. */
  readonly hasRoom: boolean;
}

/** Shorter sums are not worth packing. */
const MIN_DEPTH = 4;
/** A column operand that is packed at run time is used by this many rows, and is no larger. */
const MIN_REUSE = 16;
const MAX_PANEL = 1 << 22;

export const sizeOfLoops = (loops: readonly For[]): number => loops.reduce((p, f) => p * (constOf(f.hi) as number), 1);

/** Whether the reduction is such a contraction, and how to run it; null where another schedule serves better. */
export function chooseDot(
  nest: Nest,
  r: Reduction,
  kernel: Kernel,
  constants: Constants,
  target: DotTarget,
): DotSchedule | null {
  const { term } = r;
  if (r.op !== 'add' || term.dtype !== 'i32' || term.k !== 'op' || term.op !== 'mul') return null;
  if (r.loops.some((f) => constOf(f.hi) === null) || sizeOfLoops(r.loops) < MIN_DEPTH) return null;
  const [p, q] = term.args as [Expr, Expr];
  for (const columns of [...nest.loops].reverse()) {
    const sides = mentions(p, columns.var) ? [q, p] : [p, q];
    const [x, y] = sides as [Expr, Expr];
    if (mentions(x, columns.var) || !mentions(y, columns.var)) continue;
    const found = describe(nest, r, columns, x, y, kernel, constants, target);
    if (found) return found;
  }
  return null;
}

function describe(
  nest: Nest,
  r: Reduction,
  columns: For,
  x: Expr,
  y: Expr,
  kernel: Kernel,
  constants: Constants,
  target: DotTarget,
): DotSchedule | null {
  const width = constOf(columns.hi);
  if (width === null || !isOne(coefficient(nest.store.index, columns.var))) return null;
  if (!r.loops.some((f) => (constOf(f.hi) ?? 0) > 1 && mentions(x, f.var) && mentions(y, f.var))) return null;
  const others = nest.loops.filter((f) => f !== columns);
  const used = others.filter((f) => mentions(y, f.var));
  const rows = [...others].reverse().find((f) => !used.includes(f) && (constOf(f.hi) ?? 2) > 1) ?? null;
  const own = new Set([columns, ...used, ...r.loops].map((f) => f.var));
  if (used.some((f) => constOf(f.hi) === null) || !readsOnly(y, own)) return null;
  const isConstant = loadsOf(y).every((l) => constants.has(l.src));
  const depth = [...r.loops].sort((a, b) => rankInDepth(x, a) - rankInDepth(x, b));
  const lanes =
    target.lanes.find((n) => width % n === 0 && n * 2 > (target.lanes[0] as number)) ?? lanesFor(width, target);
  if (lanes === null) return null;
  const form = narrowest(x, y, columns, r, kernel, target);
  if (!form) return null;
  const panel = sizeOfLoops([...used, columns, ...r.loops]);
  const reuse = others.filter((f) => !used.includes(f)).reduce((n, f) => n * (constOf(f.hi) ?? MIN_REUSE), 1);
  if (!isConstant && (reuse < MIN_REUSE || panel > MAX_PANEL)) return null;
  return { columns, rows, used, depth, ...form, lanes, isConstant };
}

/** The widest vectors that are at least half filled. */
const lanesFor = (width: number, target: DotTarget): number | null => target.lanes.find((n) => width * 2 > n) ?? null;

/** Loops the row operand walks contiguously are packed innermost. */
const rankInDepth = (x: Expr, f: For): number =>
  constOf(f.hi) !== 1 && loadsOf(x).some((l) => isOne(coefficient(l.index[0] as Expr, f.var))) ? 1 : 0;

/** Whether an expression reads no variables but these, and no open sizes. */
export function readsOnly(x: Expr, names: ReadonlySet<string>): boolean {
  let ok = true;
  visitExpr(x, (y) => {
    if (y.k === 'dim' || (y.k === 'var' && !names.has(y.name))) ok = false;
  });
  return ok;
}

const BYTE: Range = { lo: 0, hi: 255 };
const SIGNED_BYTE: Range = { lo: -128, hi: 127 };
const HALF: Range = { lo: -32768, hi: 32767 };
const QUARTER: Range = { lo: -8192, hi: 8191 };

type Form = Pick<DotSchedule, 'x' | 'y' | 'group' | 'hasRoom'>;

/** Quads of bytes where the target has them and both operands fit, else pairs of 16 bits. */
function narrowest(x: Expr, y: Expr, columns: For, r: Reduction, kernel: Kernel, target: DotTarget): Form | null {
  const scope = createRangeScope((slot) => kernel.params[slot]?.dtype);
  const range = (z: Expr): Range => rangeOf(z, scope);
  const vector = (l: LoadExpr): boolean => {
    const step = coefficient(l.index[0] as Expr, columns.var);
    return !l.guard && (isZero(step) || isOne(step));
  };
  const steady = (z: Expr): boolean => !r.loops.some((f) => mentions(z, f.var)) && loadsOf(z).every(vector);
  if (target.quads) {
    const [bx, by] = [asBytes(x, 'u8', range, steady), asBytes(y, 'i8', range, steady)];
    if (bx && by) return { x: bx, y: by, group: 4, hasRoom: false };
  }
  if (!isWithin(range(x), HALF)) return null;
  const held = asHalves(y, range, steady);
  const hasRoom = isWithin(range(x), QUARTER);
  return held && { x: { value: x, zero: i32(0), dtype: 'i16' }, y: held, group: 2, hasRoom };
}

/** For rows that are weights: these as signed bytes without a zero point and the others' by way of a known one, or both in 16 bits. */
export function narrowestOf(x: Expr, y: Expr, kernel: Kernel, target: DotTarget): Omit<Form, 'hasRoom'> | null {
  const scope = createRangeScope((slot) => kernel.params[slot]?.dtype);
  const range = (z: Expr): Range => rangeOf(z, scope);
  const known = (z: Expr): boolean => z.k === 'const';
  if (target.quads) {
    const [bx, by] = [asBytes(x, 'i8', range, known), asBytes(y, 'u8', range, known)];
    if (bx && by && isZero(bx.zero)) return { x: bx, y: by, group: 4 };
  }
  const held = asHalves(x, range, () => false);
  return held && isWithin(range(y), HALF) ? { x: held, y: { value: y, zero: i32(0), dtype: 'i16' }, group: 2 } : null;
}

/** As bytes of one signedness, by way of a zero point: the operand's own, moved by 128 where the sign differs. */
function asBytes(
  x: Expr,
  dtype: 'u8' | 'i8',
  range: (x: Expr) => Range,
  steady: (x: Expr) => boolean,
): DotOperand | null {
  const [fits, other, move] = dtype === 'u8' ? [BYTE, SIGNED_BYTE, 128] : [SIGNED_BYTE, BYTE, -128];
  const shifted = (value: Expr, zero: Expr): DotOperand | null => {
    if (isWithin(range(value), fits)) return { value, zero, dtype };
    if (!isWithin(range(value), other)) return null;
    return { value: e.add(value, move), zero: e.add(zero, move), dtype };
  };
  if (x.k !== 'op' || x.op !== 'sub') return shifted(x, i32(0));
  const [value, zero] = x.args as [Expr, Expr];
  return (steady(zero) ? shifted(value, zero) : null) ?? shifted(x, i32(0));
}

/** In the narrowest type that widens to 16 bits on loading. */
function asHalves(y: Expr, range: (x: Expr) => Range, steady: (x: Expr) => boolean): DotOperand | null {
  const held = (value: Expr, zero: Expr): DotOperand | null => {
    if (isWithin(range(value), SIGNED_BYTE)) return { value, zero, dtype: 'i8' };
    return isWithin(range(value), BYTE) ? { value, zero, dtype: 'u8' } : null;
  };
  const whole = held(y, i32(0));
  if (whole) return whole;
  if (y.k === 'op' && y.op === 'sub') {
    const [value, zero] = y.args as [Expr, Expr];
    const narrow = steady(zero) ? held(value, zero) : null;
    if (narrow) return narrow;
  }
  return isWithin(range(y), HALF) ? { value: y, zero: i32(0), dtype: 'i16' } : null;
}
