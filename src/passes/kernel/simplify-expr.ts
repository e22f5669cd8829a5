// The rewriting behind simplify-index.ts: i32 expressions become polynomials and back; comparisons, selections and guards on
// the way are decided where a proof is found. Sums of loaded data keep their shape: only index-like parts are rearranged.

import {
  children,
  constant,
  type Expr,
  type LoadExpr,
  mapChildren,
  op,
  rawOp,
  type ScalarOp,
  vec,
} from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { createNumbering } from './expr-numbering.js';
import {
  type Algebra,
  dimPoly,
  division,
  exprPoly,
  extremum,
  isNatural,
  product,
  readsMemory,
} from './index-algebra.js';
import {
  type Atom,
  addPoly,
  atomOf,
  constantPoly,
  emitPoly,
  isConstant,
  type Polynomial,
  samePoly,
  scalePoly,
  subPoly,
} from './index-polynomial.js';
import { type Facts, isNonNegative, polyRange } from './index-proof.js';
import { endsOfOrder } from './lane-order.js';
import { createRangeScope, FULL, type Range, type RangeScope, rangeOf } from './value-range.js';

export interface IndexSimplifier {
  /** An address, bound or condition: rearranged whatever it contains. */
  readonly index: (e: Expr) => Expr;
  /** A value: sums of loaded data and of mutable variables keep their order. */
  readonly value: (e: Expr) => Expr;
  readonly declareRange: (name: string, range: Range, depth: number) => void;
  /** A loop variable: lo, lo + step, … < hi. */
  readonly declareLoop: (name: string, lo: Expr, hi: Expr, step: number, depth: number) => void;
  readonly declareLet: (name: string, value: Expr, depth: number) => void;
}

interface State extends Algebra {
  readonly ranges: RangeScope;
  readonly mutable: ReadonlySet<string>;
  readonly asIndex: Map<Expr, Expr>;
  readonly asValue: Map<Expr, Expr>;
  readonly polys: Map<Expr, Polynomial>;
  readonly data: Map<Expr, boolean>;
}

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
    isData: (e) => isData(s, e),
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
    declareLoop: (name, lo, hi, step, depth) => {
      declare(name, depth);
      const [first, end] = [polyOf(s, lo), polyOf(s, hi)];
      const last = addPoly(end, constantPoly(-overrun(subPoly(end, first), step)));
      const isExact = [first, end, last].every((p) => polyRange(p, facts));
      const range = { lo: rangeOf(lo, ranges).lo, hi: polyRange(last, facts)?.hi ?? FULL.hi };
      ranges.vars.set(name, isExact && range.lo <= range.hi ? range : FULL);
      const isFixed = !readsMemory(s, first) && !readsMemory(s, end);
      if (isExact && isFixed) bounds.set(name, { lo: first, hi: last });
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

/** How far below its end a loop of the given length stays at least. */
function overrun(length: Polynomial, step: number): number {
  if (length.terms.some((t) => t.coef % step !== 0)) return 1;
  const rest = (((length.constant % step) + step) % step) - 1;
  return rest >= 0 ? rest + 1 : step;
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
  if (e.lanes > 1) return simplifyVector(s, e, isIndex);
  if (e.dtype === 'i32' && e.k !== 'vec' && (isIndex || !isData(s, e))) return emitPoly(polyOf(s, e));
  if (e.k === 'op' && e.args[0]?.dtype === 'i32' && e.args.every((a) => a.lanes === 1)) {
    const decided = isIndex || !isData(s, e) ? compare(s, e) : null;
    if (decided) return decided;
  }
  const rebuilt = mapChildren(e, (c) => simplify(s, c, isIndex));
  return rebuilt.k === 'op' && rebuilt.dtype === 'i1' ? foldLogic(rebuilt) : rebuilt;
}

/** Masks that are the same in every lane become constants; otherwise lanes stay as they are. */
function simplifyVector(s: State, e: Expr, isIndex: boolean): Expr {
  const ends = isData(s, e) ? null : endsOfOrder(e)?.map((x) => simplify(s, x, true));
  const [first, last] = ends ?? [];
  if (first?.k === 'const' && last?.k === 'const' && first.value === last.value)
    return vec('splat', [first], 'i1', e.lanes);
  const rebuilt = mapChildren(e, (c) => simplify(s, c, isIndex));
  if (rebuilt.k === 'select' && constantMask(rebuilt.cond))
    return constantMask(rebuilt.cond)?.value ? rebuilt.a : rebuilt.b;
  return rebuilt.k === 'op' && rebuilt.dtype === 'i1' ? foldLogic(rebuilt) : rebuilt;
}

/** A condition that is known, in all lanes. */
const constantMask = (e: Expr | undefined): (Expr & { k: 'const' }) | null => {
  const of = e?.k === 'vec' && e.op === 'splat' ? e.args[0] : e;
  return of?.k === 'const' && of.dtype === 'i1' ? of : null;
};

/** Guards that always hold go; loads whose guard never holds are their pad. */
function simplifyLoad(s: State, e: LoadExpr): Expr {
  const index = e.index.map((x) => simplify(s, x, true));
  const guard = e.guard && simplify(s, e.guard, true);
  const pad = e.pad && simplify(s, e.pad, false);
  const known = constantMask(guard);
  if (!known) return { ...e, index, guard, pad };
  if (known.value) return { ...e, index, guard: undefined, pad: undefined };
  const nothing = pad ?? constant(0, e.dtype);
  return nothing.lanes === e.lanes ? nothing : vec('splat', [nothing], e.dtype, e.lanes);
}

const isBool = (e: Expr | undefined, value: boolean): boolean => {
  const known = constantMask(e);
  return known !== null && Boolean(known.value) === value;
};

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
    if (e.k === 'select' && samePoly(polyOf(s, e.a), polyOf(s, e.b))) return polyOf(s, e.a);
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

const BITS: Partial<Record<ScalarOp, (a: number, b: number) => number>> = {
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr_s: (a, b) => a >> b,
  shr_u: (a, b) => (a >>> b) | 0,
};

/** Shifts and masks of non-negative numbers are divisions by powers of two. */
function bits(s: State, name: ScalarOp, a: Polynomial, b: Polynomial, e: Expr & { k: 'op' }): Polynomial {
  if (b && isConstant(b)) {
    const n = b.constant;
    const folded = isConstant(a) ? BITS[name]?.(a.constant, n) : undefined;
    if (folded !== undefined) return constantPoly(folded);
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
