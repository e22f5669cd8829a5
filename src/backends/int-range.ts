// Intervals of i32 expressions within one kernel: constants, size symbols, loop variables, narrow loads and arithmetic
// over them. Where the exact result provably fits, a backend may use plain operators instead of wrapping ones.

import { bounds, type Sym } from '../ir/dim.js';
import type { Expr, LoadExpr } from '../ir/scalar.js';
import { intRange } from '../support/dtype.js';
import type { StoredType } from './lang.js';

export interface Range {
  readonly lo: number;
  readonly hi: number;
}

export const I32_RANGE: Range = { lo: -(2 ** 31), hi: 2 ** 31 - 1 };

const fits = (r: Range): boolean => r.lo >= I32_RANGE.lo && r.hi <= I32_RANGE.hi;
const hull = (...xs: readonly number[]): Range => ({ lo: Math.min(...xs), hi: Math.max(...xs) });
const union = (a: Range, b: Range): Range => ({ lo: Math.min(a.lo, b.lo), hi: Math.max(a.hi, b.hi) });

export interface Ranges {
  /** States what is known of a variable, before expressions that read it are asked about. */
  readonly bind: (name: string, range: Range) => void;
  readonly of: (e: Expr) => Range;
  /** Whether an i32 add, sub, mul or neg cannot overflow, or a shift count is below the width. */
  readonly isExact: (e: Expr & { k: 'op' }) => boolean;
}

/** `storedIn` tells a buffer slot's element type. */
export function createRanges(syms: readonly Sym[], storedIn: (slot: number) => StoredType | undefined): Ranges {
  const vars = new Map<string, Range>(syms.map((s) => [s.name, s]));
  const memo = new Map<Expr, Range>();

  const of = (e: Expr): Range => {
    if (e.dtype === 'i1') return { lo: 0, hi: 1 };
    if (e.dtype !== 'i32') return I32_RANGE;
    const known = memo.get(e);
    if (known) return known;
    const found = compute(e);
    const range = fits(found) ? found : I32_RANGE;
    memo.set(e, range);
    return range;
  };

  const compute = (e: Expr): Range => {
    switch (e.k) {
      case 'const':
        return hull(Number(e.value));
      case 'var':
        return vars.get(e.name) ?? I32_RANGE;
      case 'dim':
        return hull(...bounds(e.dim));
      case 'load':
        return loadRange(e);
      case 'op':
        return arithmetic(e);
      case 'select':
        return union(of(e.a), of(e.b));
      case 'cast':
        return e.arg.dtype === 'i1' ? of(e.arg) : I32_RANGE;
      case 'vec':
        return e.op === 'splat' && e.args[0] ? of(e.args[0]) : I32_RANGE;
      case 'bitcast':
        return I32_RANGE;
    }
  };

  const loadRange = (e: LoadExpr): Range => {
    const type = storedIn(e.src);
    if (type !== 'i8' && type !== 'u8' && type !== 'i16' && type !== 'u16') return I32_RANGE;
    const { lo, hi } = intRange(type);
    const stored = { lo: Number(lo), hi: Number(hi) };
    return e.guard ? union(stored, e.pad ? of(e.pad) : hull(0)) : stored;
  };

  /** Without wrapping: the result may lie outside i32. */
  const arithmetic = (e: Expr & { k: 'op' }): Range => {
    const a = e.args[0] ? of(e.args[0]) : I32_RANGE;
    const b = e.args[1] ? of(e.args[1]) : a;
    switch (e.op) {
      case 'add':
        return { lo: a.lo + b.lo, hi: a.hi + b.hi };
      case 'sub':
        return { lo: a.lo - b.hi, hi: a.hi - b.lo };
      case 'mul':
        return hull(a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi);
      case 'neg':
        return { lo: -a.hi, hi: -a.lo };
      case 'min':
        return { lo: Math.min(a.lo, b.lo), hi: Math.min(a.hi, b.hi) };
      case 'max':
        return { lo: Math.max(a.lo, b.lo), hi: Math.max(a.hi, b.hi) };
      case 'div':
        return b.lo > 0 ? hull(Math.trunc(a.lo / b.lo), Math.trunc(a.hi / b.lo), 0) : I32_RANGE;
      case 'rem':
        return b.lo > 0
          ? { lo: a.lo < 0 ? Math.max(a.lo, 1 - b.hi) : 0, hi: a.hi > 0 ? Math.min(a.hi, b.hi - 1) : 0 }
          : I32_RANGE;
      case 'and':
        return a.lo >= 0 || b.lo >= 0
          ? { lo: 0, hi: a.lo < 0 ? b.hi : b.lo < 0 ? a.hi : Math.min(a.hi, b.hi) }
          : I32_RANGE;
      case 'shr_s':
        return b.lo === b.hi && b.lo >= 0 && b.lo < 32 ? { lo: a.lo >> b.lo, hi: a.hi >> b.lo } : I32_RANGE;
      default:
        return I32_RANGE;
    }
  };

  const isExact = (e: Expr & { k: 'op' }): boolean => {
    const count = e.args[1];
    if (e.op === 'shl' || e.op === 'shr_s' || e.op === 'shr_u') return count !== undefined && isSmallCount(count);
    return e.dtype === 'i32' && fits(arithmetic(e));
  };

  /** A constant count below the width, of any type. */
  const isSmallCount = (e: Expr): boolean => {
    const width = e.dtype === 'i64' || e.dtype === 'u64' ? 64 : 32;
    if (e.k === 'const') return Number(e.value) >= 0 && Number(e.value) < width;
    return e.dtype === 'i32' && of(e).lo >= 0 && of(e).hi < width;
  };

  return { bind: (name, range) => void vars.set(name, range), of, isExact };
}
