// Arithmetic of index polynomials that needs to know ranges: products, extrema, and above all division. Every function's
// result equals the i32 operation on its operands' values.

import * as dims from '../../ir/dim.js';
import { type Expr, i32, op, rawOp } from '../../ir/scalar.js';
import {
  type Atom,
  addPoly,
  atomPoly,
  constantPoly,
  emitPoly,
  isConstant,
  mulPoly,
  type Polynomial,
  scalePoly,
  subPoly,
  type Term,
  weightOf,
  withoutAtoms,
} from './index-polynomial.js';
import { type Facts, isNonNegative, polyRange } from './index-proof.js';

export interface Algebra {
  readonly facts: Facts;
  readonly atom: (e: Expr, parts?: Atom['parts']) => Atom;
  /** Whether an expression reads memory or a mutable variable. */
  readonly isData: (e: Expr) => boolean;
}

/** Products with more terms than this stay products. */
const MAX_TERMS = 8;

export const readsMemory = (s: Algebra, p: Polynomial): boolean =>
  p.terms.some((t) => t.atoms.some((a) => s.isData(a.expr)));

export function product(s: Algebra, a: Polynomial, b: Polynomial): Polynomial {
  const terms = (p: Polynomial): number => p.terms.length + Number(p.constant !== 0);
  const isSum = (p: Polynomial): boolean => terms(p) > 1;
  const isLarge = terms(a) * terms(b) > MAX_TERMS || readsMemory(s, a) || readsMemory(s, b);
  const keep = (isSum(a) && isSum(b) && isLarge) || weightOf(a) * weightOf(b) > 2 ** 40;
  return keep ? exprPoly(s, op('mul', emitPoly(a), emitPoly(b))) : mulPoly(a, b);
}

export function extremum(s: Algebra, name: 'min' | 'max', a: Polynomial, b: Polynomial): Polynomial {
  if (polyRange(a, s.facts) && polyRange(b, s.facts)) {
    const difference = subPoly(b, a);
    if (isNonNegative(difference, s.facts)) return name === 'min' ? a : b;
    if (isNonNegative(scalePoly(difference, -1), s.facts)) return name === 'min' ? b : a;
  }
  const isExact = polyRange(a, s.facts) && polyRange(b, s.facts);
  return exprPoly(s, op(name, emitPoly(a), emitPoly(b)), isExact ? { op: name, a, b } : undefined);
}

/** An expression already in simplest form. */
export const exprPoly = (s: Algebra, e: Expr, parts?: Atom['parts']): Polynomial =>
  e.k === 'const' ? constantPoly(Number(e.value)) : atomPoly(s.atom(e, parts));

/** Whether the value is certainly not negative, and exact. */
export const isNatural = (s: Algebra, p: Polynomial): boolean => {
  const range = polyRange(p, s.facts);
  return range !== null && (range.lo >= 0 || isNonNegative(p, s.facts));
};

export type Division = 'div' | 'rem' | 'floordiv' | 'floormod';

/** n = d·whole + rest. Exact where 0 ≤ rest < d; else what is left over is divided. */
export function division(s: Algebra, name: Division, n: Polynomial, d: Polynomial): Polynomial {
  const floors = name === 'floordiv' || name === 'floormod';
  const wantsQuotient = name === 'div' || name === 'floordiv';
  const divisor = polyRange(d, s.facts);
  const natural = isNatural(s, n);
  const usable = divisor !== null && divisor.lo >= 1 && (natural || (floors && polyRange(n, s.facts) !== null));
  if (!usable) return plainDivision(s, name, n, d, false);
  const { whole, rest } = splitMultiple(n, d);
  if (!isNatural(s, rest)) return plainDivision(s, name, n, d, natural);
  if (isNonNegative(subPoly(subPoly(d, rest), constantPoly(1)), s.facts)) return wantsQuotient ? whole : rest;
  const left = plainDivision(s, name, rest, d, true);
  return wantsQuotient ? addPoly(whole, left) : left;
}

/** The terms that are multiples of a one-term divisor, divided by it, and the others. */
function splitMultiple(n: Polynomial, d: Polynomial): { whole: Polynomial; rest: Polynomial } {
  const [only] = d.terms;
  const single: Term | null = d.terms.length === 0 ? { coef: d.constant, atoms: [] } : null;
  const unit = single ?? (d.terms.length === 1 && d.constant === 0 && only ? only : null);
  if (!unit) return { whole: constantPoly(0), rest: n };
  const whole: Term[] = [];
  const rest: Term[] = [];
  let constantWhole = 0;
  for (const t of n.terms) {
    const atoms = t.coef % unit.coef === 0 ? withoutAtoms(t.atoms, unit.atoms) : null;
    if (atoms === null) rest.push(t);
    else if (atoms.length === 0) constantWhole += t.coef / unit.coef;
    else whole.push({ coef: t.coef / unit.coef, atoms });
  }
  const fromConstant = unit.atoms.length === 0 ? Math.floor(n.constant / unit.coef) : 0;
  return {
    whole: { terms: whole, constant: constantWhole + fromConstant },
    rest: { terms: rest, constant: n.constant - fromConstant * unit.coef },
  };
}

/** A division that stays one; of natural numbers by a constant it may still combine with an inner one. */
function plainDivision(s: Algebra, name: Division, n: Polynomial, d: Polynomial, natural: boolean): Polynomial {
  if (!natural) {
    const isTotal = isConstant(n) && isConstant(d) && d.constant !== 0;
    return exprPoly(s, (isTotal ? op : rawOp)(name, emitPoly(n), emitPoly(d)));
  }
  const kind = name === 'div' || name === 'floordiv' ? 'div' : 'rem';
  if (isConstant(n) && isConstant(d)) {
    const q = Math.trunc(n.constant / d.constant);
    return constantPoly(kind === 'div' ? q : n.constant - q * d.constant);
  }
  const shared = kind === 'div' && isConstant(d) ? commonFactor(n, d.constant) : 1;
  if (shared > 1) return division(s, 'div', dividePoly(n, shared), constantPoly(d.constant / shared));
  const inner = isConstant(d) ? innerDivision(n) : null;
  if (inner && isConstant(inner.b)) {
    const k = inner.b.constant * d.constant;
    if (kind === 'div' && inner.op === 'div' && k < 2 ** 31) return division(s, 'div', inner.a, constantPoly(k));
    if (kind === 'rem' && inner.op === 'rem' && inner.b.constant % d.constant === 0)
      return division(s, 'rem', inner.a, d);
  }
  return atomPoly(s.atom(spellDivision(kind, emitPoly(n), d), { op: kind, a: n, b: d }));
}

/** What divides d and every coefficient, the constant aside. */
function commonFactor(n: Polynomial, d: number): number {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  return n.terms.map((t) => Math.abs(t.coef)).reduce(gcd, d);
}

const dividePoly = (n: Polynomial, by: number): Polynomial => ({
  terms: n.terms.map((t) => ({ coef: t.coef / by, atoms: t.atoms })),
  constant: Math.floor(n.constant / by),
});

/** The quotient or remainder that a polynomial consists of. */
function innerDivision(n: Polynomial): (Atom['parts'] & object) | null {
  const [only] = n.terms;
  if (n.terms.length !== 1 || n.constant !== 0 || only?.coef !== 1 || only.atoms.length !== 1) return null;
  const parts = only.atoms[0]?.parts;
  return parts && (parts.op === 'div' || parts.op === 'rem') ? parts : null;
}

/** Of natural numbers: shifts and masks for powers of two. */
function spellDivision(kind: 'div' | 'rem', n: Expr, d: Polynomial): Expr {
  const k = isConstant(d) ? Math.log2(d.constant) : Number.NaN;
  if (!Number.isInteger(k)) return rawOp(kind, n, emitPoly(d));
  return kind === 'div' ? rawOp('shr_s', n, i32(k)) : rawOp('and', n, i32(d.constant - 1));
}

/** A size: a polynomial over symbols and over the atoms of dim.ts. */
export function dimPoly(s: Algebra, d: dims.Dim): Polynomial {
  if (typeof d === 'number') return constantPoly(d);
  const terms = d.terms.map((t) => {
    const factors = t.factors.map((f) => dimAtom(s, f));
    return scalePoly(factors.reduce(mulPoly), t.coef);
  });
  return terms.reduce(addPoly, constantPoly(d.constant));
}

function dimParts(s: Algebra, f: dims.Atom & { kind: keyof typeof SIZES }): Atom['parts'] {
  const kind = f.kind === 'floordiv' ? 'div' : f.kind === 'mod' ? 'rem' : f.kind;
  const isPlain = kind === 'min' || kind === 'max' || dims.bounds(f.a)[0] >= 0;
  return isPlain ? { op: kind, a: dimPoly(s, f.a), b: dimPoly(s, f.b) } : undefined;
}

const SIZES = { floordiv: dims.floordiv, mod: dims.mod, min: dims.min, max: dims.max };

function dimAtom(s: Algebra, f: dims.Atom): Polynomial {
  const size = f.kind === 'sym' ? dims.symDim(f.sym) : SIZES[f.kind](f.a, f.b);
  const expr: Expr = typeof size === 'number' ? i32(size) : { k: 'dim', dim: size, dtype: 'i32', lanes: 1 };
  if (expr.k === 'const') return constantPoly(Number(expr.value));
  return atomPoly(s.atom(expr, f.kind === 'sym' ? undefined : dimParts(s, f)));
}
