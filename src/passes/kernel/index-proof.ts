// Proofs of p ≥ 0 for index polynomials: first by intervals, then by replacing an atom by its worst bound: a loop variable
// by its loop's, a quotient or remainder by what division guarantees, a minimum or maximum by its operands.

import { FULL, type Range } from './value-range.js';
import {
  type Atom,
  addPoly,
  constantPoly,
  isConstant,
  isolate,
  mulPoly,
  type Polynomial,
  scalePoly,
  subPoly,
} from './index-polynomial.js';

/** What is known beyond intervals. */
export interface Facts {
  readonly range: (atom: Atom) => Range;
  /** Bounds lo ≤ v ≤ hi of a variable as polynomials; equal for a `let`. */
  readonly bounds: (atom: Atom) => { readonly lo: Polynomial; readonly hi: Polynomial } | undefined;
}

/** The interval of the exact value; null where it may leave i32, and the wrapped value be another. */
export function polyRange(p: Polynomial, facts: Facts): Range | null {
  const { lo, hi } = exactRange(p, facts);
  return lo >= FULL.lo && hi <= FULL.hi ? { lo, hi } : null;
}

function exactRange(p: Polynomial, facts: Facts): Range {
  let lo = p.constant;
  let hi = p.constant;
  for (const { coef, atoms } of p.terms) {
    let range: Range = { lo: coef, hi: coef };
    for (const atom of atoms) {
      const r = facts.range(atom);
      const corners = [range.lo * r.lo, range.lo * r.hi, range.hi * r.lo, range.hi * r.hi];
      range = { lo: Math.min(...corners), hi: Math.max(...corners) };
    }
    lo += range.lo;
    hi += range.hi;
  }
  return { lo, hi };
}

/** Whether the exact value of p is certainly not negative. */
export function isNonNegative(p: Polynomial, facts: Facts, budget = 6): boolean {
  if (exactRange(p, facts).lo >= 0) return true;
  if (budget === 0 || p.terms.length === 0) return false;
  const atoms = [...new Set(p.terms.flatMap((t) => t.atoms))].sort((a, b) => b.depth - a.depth || b.id - a.id);
  for (const atom of atoms) {
    const found = replaceByBound(p, atom, facts, budget - 1);
    if (found !== null) return found;
  }
  return false;
}

/** The verdict with `atom` replaced by a bound, or null where it has none of use. */
function replaceByBound(p: Polynomial, atom: Atom, facts: Facts, budget: number): boolean | null {
  const split = isolate(p, atom);
  if (!split) return null;
  const { lo, hi } = exactRange(split.scale, facts);
  const rising = lo >= 0;
  if (!rising && hi > 0) return null;
  const holds = (bound: Polynomial): boolean =>
    isNonNegative(addPoly(mulPoly(split.scale, bound), split.rest), facts, budget);
  const bounds = facts.bounds(atom);
  if (bounds) return holds(rising ? bounds.lo : bounds.hi);
  const { parts } = atom;
  if (!parts) return null;
  if (parts.op === 'min') return rising ? holds(parts.a) && holds(parts.b) : holds(parts.a) || holds(parts.b);
  if (parts.op === 'max') return rising ? holds(parts.a) || holds(parts.b) : holds(parts.a) && holds(parts.b);
  if (parts.op === 'rem') return rising ? null : holds(subPoly(parts.b, constantPoly(1)));
  return quotientBound(split, parts.a, parts.b, rising, facts, budget);
}

/** For s = K·t and x ≥ 0: t·(x − K + 1) ≤ s·(x/K) ≤ t·x, for positive t. */
function quotientBound(
  split: { readonly scale: Polynomial; readonly rest: Polynomial },
  x: Polynomial,
  divisor: Polynomial,
  rising: boolean,
  facts: Facts,
  budget: number,
): boolean | null {
  const { scale, rest } = split;
  if (!isConstant(divisor) || !isConstant(scale) || scale.constant % divisor.constant !== 0) return null;
  const factor = scale.constant / divisor.constant;
  const bound = rising ? addPoly(x, constantPoly(1 - divisor.constant)) : x;
  return isNonNegative(addPoly(scalePoly(bound, factor), rest), facts, budget);
}
