// The rewriting behind simplify-index.ts: i32 expressions become polynomials and back; comparisons, selections and guards on
// the way are decided where a proof is found. Sums of loaded data keep their shape: only index-like parts are rearranged.

import * as dims from '../../ir/dim.js';
import {
  children,
  constant,
  type Expr,
  i32,
  type LoadExpr,
  mapChildren,
  op,
  rawOp,
  type ScalarOp,
} from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { createNumbering } from './expr-numbering.js';
import {
  type Atom,
  addPoly,
  atomOf,
  atomPoly,
  constantPoly,
  emitPoly,
  isConstant,
  mulPoly,
  type Polynomial,
  samePoly,
  scalePoly,
  subPoly,
  type Term,
  weightOf,
  withoutAtoms,
} from './index-polynomial.js';
import { type Facts, isNonNegative, polyRange } from './index-proof.js';
import { createRangeScope, FULL, type Range, type RangeScope, rangeOf } from './value-range.js';

export interface IndexSimplifier {
  /** An address, bound or condition: rearranged whatever it contains. */
  readonly index: (e: Expr) => Expr;
  /** A value: sums of loaded data and of mutable variables keep their order. */
  readonly value: (e: Expr) => Expr;
  readonly declareRange: (name: string, range: Range, depth: number) => void;
  readonly declareLoop: (name: string, lo: Expr, hi: Expr, depth: number) => void;
  readonly declareLet: (name: string, value: Expr, depth: number) => void;
}

interface State {
  readonly ranges: RangeScope;
  readonly facts: Facts;
  readonly atom: (e: Expr, parts?: Atom['parts']) => Atom;
  readonly mutable: ReadonlySet<string>;
  readonly asIndex: Map<Expr, Expr>;
  readonly asValue: Map<Expr, Expr>;
  readonly polys: Map<Expr, Polynomial>;
  readonly data: Map<Expr, boolean>;
}

/** Products with more terms than this stay products. */
const MAX_TERMS = 16;

export function createIndexSimplifier(
  bufferType: (slot: number) => DType | undefined,
  mutable: ReadonlySet<string>,
): IndexSimplifier {
  const ranges = createRangeScope(bufferType);
  const bounds = new Map<string, { lo: Polynomial; hi: Polynomial }>();
  const depths = new Map<string, number>();
  const facts: Facts = {
    range: (a) => rangeOf(a.expr, ranges),
    bounds: (a) => (a.expr.k === 'var' ? bounds.get(a.expr.name) : undefined),
  };
  const atoms = new Map<number, Atom>();
  const numbering = createNumbering();
  const depthMemo = new Map<Expr, number>();
  const depthOf = (e: Expr): number => depthIn(depths, e, depthMemo);
  const s: State = {
    ranges,
    facts,
    atom: (e, parts) => atomOf(atoms, numbering.of(e), e, depthOf(e), parts),
    mutable,
    asIndex: new Map(),
    asValue: new Map(),
    polys: new Map(),
    data: new Map(),
  };
  /** Names are unique as a rule; where copies of a loop share one, nothing remembered of the first may serve the second. */
  const declare = (name: string, depth: number): void => {
    if (depths.has(name))
      for (const memo of [ranges.memo, atoms, depthMemo, s.asIndex, s.asValue, s.polys, s.data]) memo.clear();
    ranges.vars.delete(name);
    bounds.delete(name);
    depths.set(name, depth);
  };
  return {
    index: (e) => simplify(s, e, true),
    value: (e) => simplify(s, e, false),
    declareRange: (name, range, depth) => {
      declare(name, depth);
      ranges.vars.set(name, range);
    },
    declareLoop: (name, lo, hi, depth) => {
      declare(name, depth);
      const range = { lo: rangeOf(lo, ranges).lo, hi: rangeOf(hi, ranges).hi - 1 };
      ranges.vars.set(name, range.lo <= range.hi ? range : FULL);
      const [first, end] = [polyOf(s, lo), polyOf(s, hi)];
      const isKnown = [first, end].every((p) => !readsMemory(s, p) && polyRange(p, facts));
      if (isKnown) bounds.set(name, { lo: first, hi: addPoly(end, constantPoly(-1)) });
    },
    declareLet: (name, value, depth) => {
      declare(name, depth);
      if (value.dtype !== 'i32' || value.lanes > 1) return;
      ranges.vars.set(name, rangeOf(value, ranges));
      if (isData(s, value)) return;
      const poly = polyOf(s, value);
      if (polyRange(poly, facts)) bounds.set(name, { lo: poly, hi: poly });
    },
  };
}

/** The depth of the innermost loop whose variable an expression reads; of what is not declared, the innermost. */
function depthIn(depths: ReadonlyMap<string, number>, e: Expr, memo: Map<Expr, number>): number {
  const known = memo.get(e);
  if (known !== undefined) return known;
  const own = e.k === 'var' ? (depths.get(e.name) ?? Number.MAX_SAFE_INTEGER) : 0;
  const found = Math.max(own, ...children(e).map((c) => depthIn(depths, c, memo)));
  memo.set(e, found);
  return found;
}

/** Whether an expression reads memory or a mutable variable. */
function isData(s: State, e: Expr): boolean {
  const known = s.data.get(e);
  if (known !== undefined) return known;
  const own = e.k === 'load' || (e.k === 'var' && s.mutable.has(e.name));
  const found = own || children(e).some((c) => isData(s, c));
  s.data.set(e, found);
  return found;
}

function simplify(s: State, e: Expr, isIndex: boolean): Expr {
  const memo = isIndex ? s.asIndex : s.asValue;
  const known = memo.get(e);
  if (known) return known;
  const out = simplifyNode(s, e, isIndex);
  memo.set(e, out);
  return out;
}

function simplifyNode(s: State, e: Expr, isIndex: boolean): Expr {
  if (e.k === 'load') return simplifyLoad(s, e);
  if (e.lanes > 1) return mapChildren(e, (c) => simplify(s, c, isIndex));
  if (e.dtype === 'i32' && e.k !== 'vec' && (isIndex || !isData(s, e))) return emitPoly(polyOf(s, e));
  if (e.k === 'op' && e.args[0]?.dtype === 'i32' && e.args.every((a) => a.lanes === 1)) {
    const decided = isIndex || !isData(s, e) ? compare(s, e) : null;
    if (decided) return decided;
  }
  const rebuilt = mapChildren(e, (c) => simplify(s, c, isIndex));
  return rebuilt.k === 'op' && rebuilt.dtype === 'i1' ? foldLogic(rebuilt) : rebuilt;
}

/** Guards that always hold go; loads whose guard never holds are their pad. */
function simplifyLoad(s: State, e: LoadExpr): Expr {
  const index = e.index.map((x) => simplify(s, x, true));
  const guard = e.guard && simplify(s, e.guard, true);
  const pad = e.pad && simplify(s, e.pad, false);
  if (guard?.k !== 'const') return { ...e, index, guard, pad };
  if (guard.value) return { ...e, index, guard: undefined, pad: undefined };
  return pad ?? constant(0, e.dtype);
}

const isBool = (e: Expr | undefined, value: boolean): boolean =>
  e?.k === 'const' && e.dtype === 'i1' && Boolean(e.value) === value;

function foldLogic(e: Expr & { k: 'op' }): Expr {
  const [a, b] = e.args;
  if (a?.dtype !== 'i1') return e;
  if (e.op === 'not' && a.k === 'const') return constant(!a.value, 'i1');
  if (!b) return e;
  for (const [x, y] of [
    [a, b],
    [b, a],
  ] as const) {
    if (e.op === 'and' && isBool(x, true)) return y;
    if (e.op === 'and' && isBool(x, false)) return x;
    if (e.op === 'or' && isBool(x, true)) return x;
    if (e.op === 'or' && isBool(x, false)) return y;
    if (e.op === 'xor' && isBool(x, false)) return y;
    if (e.op === 'xor' && isBool(x, true) && y.k === 'const') return constant(!y.value, 'i1');
  }
  return e;
}

/** A comparison of i32, decided or with simpler operands; null for other operations. */
function compare(s: State, e: Expr & { k: 'op' }): Expr | null {
  const [a, b] = e.args as [Expr, Expr];
  switch (e.op) {
    case 'lt':
    case 'le':
      return order(s, e.op, a, b);
    case 'gt':
      return order(s, 'lt', b, a);
    case 'ge':
      return order(s, 'le', b, a);
    case 'eq':
    case 'ne': {
      const equal = equality(s, a, b);
      if (typeof equal === 'boolean') return constant(equal === (e.op === 'eq'), 'i1');
      return rawOp(e.op, ...equal);
    }
    default:
      return null;
  }
}

/** Both operands as polynomials whose exact values fit, or null. */
function exactPair(s: State, a: Expr, b: Expr): readonly [Polynomial, Polynomial] | null {
  const pair = [polyOf(s, a), polyOf(s, b)] as const;
  return pair.every((p) => polyRange(p, s.facts)) ? pair : null;
}

function order(s: State, name: 'lt' | 'le', a: Expr, b: Expr): Expr {
  const pair = exactPair(s, a, b);
  if (pair) {
    const slack = subPoly(pair[1], pair[0]);
    const one = constantPoly(1);
    const gap = name === 'lt' ? subPoly(slack, one) : slack;
    if (isNonNegative(gap, s.facts)) return constant(true, 'i1');
    if (isNonNegative(subPoly(scalePoly(gap, -1), one), s.facts)) return constant(false, 'i1');
  }
  return op(name, simplify(s, a, true), simplify(s, b, true));
}

function equality(s: State, a: Expr, b: Expr): boolean | [Expr, Expr] {
  const p = polyOf(s, a);
  const q = polyOf(s, b);
  if (samePoly(p, q)) return true;
  if (exactPair(s, a, b)) {
    const one = constantPoly(1);
    const d = subPoly(p, q);
    if (isNonNegative(subPoly(d, one), s.facts) || isNonNegative(subPoly(scalePoly(d, -1), one), s.facts)) return false;
  }
  return [simplify(s, a, true), simplify(s, b, true)];
}

/** The polynomial of an i32 expression of one lane. */
function polyOf(s: State, e: Expr): Polynomial {
  const known = s.polys.get(e);
  if (known) return known;
  const poly = buildPoly(s, e);
  s.polys.set(e, poly);
  return poly;
}

function buildPoly(s: State, e: Expr): Polynomial {
  if (e.k === 'const') return constantPoly(Number(e.value));
  if (e.k === 'dim') return dimPoly(s, e.dim);
  if (e.k !== 'op' || e.args.some((a) => a.dtype !== 'i32' || a.lanes > 1)) {
    const rebuilt = e.k === 'load' ? simplifyLoad(s, e) : mapChildren(e, (c) => simplify(s, c, true));
    return rebuilt.k === e.k ? exprPoly(s, rebuilt) : polyOf(s, rebuilt);
  }
  const [a, b] = e.args.map((x) => polyOf(s, x)) as [Polynomial, Polynomial];
  switch (e.op) {
    case 'add':
      return addPoly(a, b);
    case 'sub':
      return subPoly(a, b);
    case 'neg':
      return scalePoly(a, -1);
    case 'mul':
      return product(s, a, b);
    case 'min':
    case 'max':
      return extremum(s, e.op, a, b);
    case 'div':
    case 'rem':
    case 'floordiv':
    case 'floormod':
      return division(s, e.op, a, b);
    default:
      return bits(s, e.op, a, b, e);
  }
}

/** Shifts and masks of non-negative numbers are divisions by powers of two. */
function bits(s: State, name: ScalarOp, a: Polynomial, b: Polynomial, e: Expr & { k: 'op' }): Polynomial {
  if (b && isConstant(b)) {
    const n = b.constant;
    if (name === 'shl' && n >= 0 && n < 31) return product(s, a, constantPoly(2 ** n));
    if ((name === 'shr_s' || name === 'shr_u') && n >= 0 && n < 31 && isNatural(s, a)) {
      return division(s, 'div', a, constantPoly(2 ** n));
    }
    if (name === 'and' && n > 0 && ((n + 1) & n) === 0 && n < 2 ** 30 && isNatural(s, a)) {
      return division(s, 'rem', a, constantPoly(n + 1));
    }
  }
  return exprPoly(s, op(name, ...e.args.map((x) => emitPoly(polyOf(s, x)))));
}

const readsMemory = (s: State, p: Polynomial): boolean => p.terms.some((t) => t.atoms.some((a) => isData(s, a.expr)));

function product(s: State, a: Polynomial, b: Polynomial): Polynomial {
  const terms = (p: Polynomial): number => p.terms.length + Number(p.constant !== 0);
  const isSum = (p: Polynomial): boolean => terms(p) > 1;
  const isLarge = terms(a) * terms(b) > MAX_TERMS || readsMemory(s, a) || readsMemory(s, b);
  const keep = (isSum(a) && isSum(b) && isLarge) || weightOf(a) * weightOf(b) > 2 ** 40;
  return keep ? exprPoly(s, op('mul', emitPoly(a), emitPoly(b))) : mulPoly(a, b);
}

function extremum(s: State, name: 'min' | 'max', a: Polynomial, b: Polynomial): Polynomial {
  if (polyRange(a, s.facts) && polyRange(b, s.facts)) {
    const difference = subPoly(b, a);
    if (isNonNegative(difference, s.facts)) return name === 'min' ? a : b;
    if (isNonNegative(scalePoly(difference, -1), s.facts)) return name === 'min' ? b : a;
  }
  const isExact = polyRange(a, s.facts) && polyRange(b, s.facts);
  return exprPoly(s, op(name, emitPoly(a), emitPoly(b)), isExact ? { op: name, a, b } : undefined);
}

/** An expression already in simplest form. */
const exprPoly = (s: State, e: Expr, parts?: Atom['parts']): Polynomial =>
  e.k === 'const' ? constantPoly(Number(e.value)) : atomPoly(s.atom(e, parts));

/** Whether the value is certainly not negative, and exact. */
const isNatural = (s: State, p: Polynomial): boolean => {
  const range = polyRange(p, s.facts);
  return range !== null && (range.lo >= 0 || isNonNegative(p, s.facts));
};

type Division = 'div' | 'rem' | 'floordiv' | 'floormod';

/** n = d·whole + rest. Exact where 0 ≤ rest < d; else what is left over is divided. */
function division(s: State, name: Division, n: Polynomial, d: Polynomial): Polynomial {
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
function plainDivision(s: State, name: Division, n: Polynomial, d: Polynomial, natural: boolean): Polynomial {
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
function dimPoly(s: State, d: dims.Dim): Polynomial {
  if (typeof d === 'number') return constantPoly(d);
  const terms = d.terms.map((t) => {
    const factors = t.factors.map((f) => dimAtom(s, f));
    return scalePoly(factors.reduce(mulPoly), t.coef);
  });
  return terms.reduce(addPoly, constantPoly(d.constant));
}

const SIZES = { floordiv: dims.floordiv, mod: dims.mod, min: dims.min, max: dims.max };

function dimAtom(s: State, f: dims.Atom): Polynomial {
  const size = f.kind === 'sym' ? dims.symDim(f.sym) : SIZES[f.kind](f.a, f.b);
  const expr: Expr = typeof size === 'number' ? i32(size) : { k: 'dim', dim: size, dtype: 'i32', lanes: 1 };
  if (expr.k === 'const') return constantPoly(Number(expr.value));
  const parts =
    f.kind === 'min' || f.kind === 'max' ? { op: f.kind, a: dimPoly(s, f.a), b: dimPoly(s, f.b) } : undefined;
  return atomPoly(s.atom(expr, parts));
}
