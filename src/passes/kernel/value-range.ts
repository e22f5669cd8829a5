// What is known of i32 values: an inclusive interval for each expression, from constants, the bounds of size symbols,
// loop variables, the element types of buffers and arithmetic over them. Results that may overflow have the full range.

import { bounds } from '../../ir/dim.js';
import type { Expr } from '../../ir/scalar.js';
import { DTYPE_INFO, type DType, intRange, isFloat } from '../../support/dtype.js';

export interface Range {
  readonly lo: number;
  readonly hi: number;
}

export const FULL: Range = { lo: -(2 ** 31), hi: 2 ** 31 - 1 };
const BIT: Range = { lo: 0, hi: 1 };

export interface RangeScope {
  /** Ranges of variables; names are unique in a kernel, so entries never go stale. */
  readonly vars: Map<string, Range>;
  /** Element type of a buffer slot as the model declares it. */
  readonly bufferType: (slot: number) => DType | undefined;
  readonly memo: Map<Expr, Range>;
}

export const createRangeScope = (bufferType: RangeScope['bufferType']): RangeScope => ({
  vars: new Map(),
  bufferType,
  memo: new Map(),
});

const hull = (...xs: readonly number[]): Range => ({ lo: Math.min(...xs), hi: Math.max(...xs) });
const union = (a: Range, b: Range): Range => ({ lo: Math.min(a.lo, b.lo), hi: Math.max(a.hi, b.hi) });
const fits = (r: Range): boolean => r.lo >= FULL.lo && r.hi <= FULL.hi;

/** Whether every value of `inner` is in `outer`. */
export const isWithin = (inner: Range, outer: Range): boolean => inner.lo >= outer.lo && inner.hi <= outer.hi;

export function rangeOf(e: Expr, scope: RangeScope): Range {
  const known = scope.memo.get(e);
  if (known) return known;
  const found = compute(e, scope);
  const range = fits(found) ? found : FULL;
  scope.memo.set(e, range);
  return range;
}

function compute(e: Expr, scope: RangeScope): Range {
  if (e.dtype === 'i1') return e.k === 'const' ? hull(Number(e.value)) : BIT;
  switch (e.k) {
    case 'const':
      return typeof e.value === 'number' && Number.isInteger(e.value) ? hull(e.value) : FULL;
    case 'var':
      return scope.vars.get(e.name) ?? ofType(e.dtype);
    case 'dim': {
      const [lo, hi] = bounds(e.dim);
      return { lo, hi };
    }
    case 'load': {
      const stored = ofType(scope.bufferType(e.src) ?? e.dtype);
      return e.pad ? union(stored, rangeOf(e.pad, scope)) : e.guard ? union(stored, hull(0)) : stored;
    }
    case 'select':
      return union(rangeOf(e.a, scope), rangeOf(e.b, scope));
    case 'cast':
      if (isFloat(e.arg.dtype)) return e.dtype === 'i32' ? truncated(floatRange(e.arg, scope)) : ofType(e.dtype);
      return e.arg.dtype === 'i1' ? BIT : wrapped(isCounted(e.arg.dtype) ? rangeOf(e.arg, scope) : FULL, e.dtype);
    case 'vec':
      if (e.op === 'iota' || e.op === 'dot' || !e.args[0]) return FULL;
      return e.args.map((x) => rangeOf(x, scope)).reduce(union);
    case 'op':
      return e.dtype === 'i32' ? operation(e, scope) : ofType(e.dtype);
    case 'bitcast':
      return FULL;
  }
}

/** What clamps say of a float, wherever it is a number: quantised values come out of them. */
function floatRange(e: Expr, scope: RangeScope): Range {
  if (e.k === 'const') return hull(Number(e.value));
  if (e.k === 'cast' && isCounted(e.arg.dtype)) return rangeOf(e.arg, scope);
  if (e.k !== 'op') return ANY;
  const [a, b] = e.args.map((x) => floatRange(x, scope)) as [Range, Range | undefined];
  switch (e.op) {
    case 'min':
      return b ? { lo: Math.min(a.lo, b.lo), hi: Math.min(a.hi, b.hi) } : ANY;
    case 'max':
      return b ? { lo: Math.max(a.lo, b.lo), hi: Math.max(a.hi, b.hi) } : ANY;
    case 'rint':
    case 'round':
    case 'trunc':
    case 'floor':
    case 'ceil':
      return { lo: Math.floor(a.lo), hi: Math.ceil(a.hi) };
    default:
      return ANY;
  }
}

const ANY: Range = { lo: Number.NEGATIVE_INFINITY, hi: Number.POSITIVE_INFINITY };

/** As an i32: what is no number becomes 0. */
const truncated = ({ lo, hi }: Range): Range =>
  Number.isNaN(lo) || Number.isNaN(hi) ? FULL : { lo: Math.min(0, Math.trunc(lo)), hi: Math.max(0, Math.trunc(hi)) };

/** A range as a type holds it: its own where values may wrap. */
function wrapped(r: Range, t: DType): Range {
  const own = ofType(t);
  return isWithin(r, own) ? r : own;
}

/** Types whose values are tracked. */
const isCounted = (t: DType): boolean => t === 'i32' || (DTYPE_INFO[t].bits < 32 && DTYPE_INFO[t].kind !== 'float');

function ofType(t: DType): Range {
  if (!isCounted(t)) return FULL;
  const { lo, hi } = intRange(t);
  return { lo: Number(lo), hi: Number(hi) };
}

function operation(e: Expr & { k: 'op' }, scope: RangeScope): Range {
  const first = e.args[0];
  if (first?.dtype !== 'i32') return FULL;
  const a = rangeOf(first, scope);
  const b = e.args[1] ? rangeOf(e.args[1], scope) : a;
  switch (e.op) {
    case 'add':
      return { lo: a.lo + b.lo, hi: a.hi + b.hi };
    case 'sub':
      return { lo: a.lo - b.hi, hi: a.hi - b.lo };
    case 'mul':
      return product(a, b);
    case 'neg':
      return { lo: -a.hi, hi: -a.lo };
    case 'abs':
      return a.lo >= 0 ? a : { lo: a.hi < 0 ? -a.hi : 0, hi: Math.max(-a.lo, a.hi) };
    case 'min':
      return { lo: Math.min(a.lo, b.lo), hi: Math.min(a.hi, b.hi) };
    case 'max':
      return { lo: Math.max(a.lo, b.lo), hi: Math.max(a.hi, b.hi) };
    default:
      return divisionOrBits(e.op, a, b);
  }
}

const product = (a: Range, b: Range): Range => hull(a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi);

function divisionOrBits(op: string, a: Range, b: Range): Range {
  const quotients = (round: (x: number) => number): Range =>
    hull(...[a.lo, a.hi].flatMap((x) => [round(x / b.lo), round(x / b.hi)]));
  switch (op) {
    case 'div':
      return b.lo > 0 ? quotients(Math.trunc) : FULL;
    case 'floordiv':
      return b.lo > 0 ? quotients(Math.floor) : FULL;
    case 'floormod':
      return b.lo > 0 ? { lo: 0, hi: a.lo >= 0 ? Math.min(a.hi, b.hi - 1) : b.hi - 1 } : FULL;
    case 'rem': {
      if (b.lo <= 0) return FULL;
      const hi = Math.max(0, Math.min(a.hi, b.hi - 1));
      return { lo: Math.min(0, Math.max(a.lo, 1 - b.hi)), hi };
    }
    case 'and':
      if (b.lo >= 0) return { lo: 0, hi: a.lo >= 0 ? Math.min(a.hi, b.hi) : b.hi };
      return a.lo >= 0 ? { lo: 0, hi: a.hi } : FULL;
    case 'or':
    case 'xor':
      return bitwise(a, b);
    case 'shl':
      return b.lo === b.hi && b.lo >= 0 && b.lo < 31 ? product(a, hull(2 ** b.lo)) : FULL;
    case 'shr_s':
      return b.lo >= 0 && b.hi < 32 ? hull(...[a.lo, a.hi].flatMap((x) => [x >> b.lo, x >> b.hi])) : FULL;
    case 'shr_u':
      if (b.lo < 0 || b.hi >= 32) return FULL;
      if (a.lo >= 0) return { lo: a.lo >> b.hi, hi: a.hi >> b.lo };
      return b.lo > 0 ? { lo: 0, hi: 0xffffffff >>> b.lo } : FULL;
    case 'clz':
    case 'popcnt':
      return { lo: 0, hi: 32 };
    default:
      return FULL;
  }
}

/** Of or and xor: no bit beyond the operands' widths appears. */
function bitwise(a: Range, b: Range): Range {
  const magnitude = Math.max(a.hi, b.hi, -1 - a.lo, -1 - b.lo, 0);
  const all = 2 ** Math.ceil(Math.log2(magnitude + 1)) - 1;
  return a.lo >= 0 && b.lo >= 0 ? { lo: 0, hi: all } : { lo: -1 - all, hi: all };
}
