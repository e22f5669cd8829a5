// Sizes as exact integer arithmetic over bounded symbols. A Dim is a plain number or a canonical polynomial
// whose atoms are symbols, floor divisions, remainders, minima and maxima; two equal polynomials have equal keys.
// Division and remainder are floored; divisors must be provably positive.

import { CompileError, invariant } from '../support/errors.js';

/** A size known only when the program runs: lo ≤ value ≤ hi. Names are unique within a module. */
export interface Sym {
  readonly name: string;
  readonly lo: number;
  readonly hi: number;
  /** The bounds are an assumption: a value outside of them is an error when the program runs, where others are clamped. */
  readonly checked?: true;
}

export type Dim = number | DimExpr;

export interface DimExpr {
  readonly terms: readonly Term[];
  readonly constant: number;
  readonly key: string;
}

export interface Term {
  readonly coef: number;
  readonly factors: readonly Atom[];
}

export type Atom =
  | { readonly kind: 'sym'; readonly sym: Sym; readonly key: string }
  | { readonly kind: 'floordiv' | 'mod' | 'min' | 'max'; readonly a: Dim; readonly b: Dim; readonly key: string };

const termKey = (factors: readonly Atom[]): string => factors.map((f) => f.key).join('*');

const compareKeys = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Longer monomials first, then by key: a monomial order, so that division terminates. */
const compareTerms = (a: Term, b: Term): number =>
  b.factors.length - a.factors.length || compareKeys(termKey(a.factors), termKey(b.factors));

function makeDim(terms: readonly Term[], constant: number): Dim {
  const merged = new Map<string, Term>();
  for (const t of terms) {
    const key = termKey(t.factors);
    const old = merged.get(key);
    merged.set(key, old ? { coef: old.coef + t.coef, factors: t.factors } : t);
  }
  const kept = [...merged.values()].filter((t) => t.coef !== 0).sort(compareTerms);
  if (kept.length === 0) return constant + 0;
  const texts = kept.map((t) => (t.coef === 1 ? termKey(t.factors) : `${t.coef}*${termKey(t.factors)}`));
  if (constant !== 0) texts.push(String(constant));
  const key = texts.length === 1 ? (texts[0] as string) : `(${texts.join(' + ')})`;
  return { terms: kept, constant, key };
}

const atom = (a: Atom): Dim => makeDim([{ coef: 1, factors: [a] }], 0);
const termsOf = (d: Dim): readonly Term[] => (typeof d === 'number' ? [] : d.terms);
const constantOf = (d: Dim): number => (typeof d === 'number' ? d : d.constant);

export const dimKey = (d: Dim): string => (typeof d === 'number' ? String(d) : d.key);
export const symDim = (sym: Sym): Dim => (sym.lo === sym.hi ? sym.lo : atom({ kind: 'sym', sym, key: sym.name }));
export const dimEq = (a: Dim, b: Dim): boolean => a === b || dimKey(a) === dimKey(b);
export const isConst = (d: Dim): d is number => typeof d === 'number';

export const add = (a: Dim, b: Dim): Dim =>
  typeof a === 'number' && typeof b === 'number'
    ? a + b
    : makeDim([...termsOf(a), ...termsOf(b)], constantOf(a) + constantOf(b));

export function mul(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  const full = (d: Dim): Term[] => [...termsOf(d), { coef: constantOf(d), factors: [] }];
  const product: Term[] = [];
  for (const x of full(a)) {
    for (const y of full(b)) {
      const factors = [...x.factors, ...y.factors].sort((p, q) => compareKeys(p.key, q.key));
      product.push({ coef: x.coef * y.coef, factors });
    }
  }
  const constant = product.filter((t) => t.factors.length === 0).reduce((s, t) => s + t.coef, 0);
  return makeDim(
    product.filter((t) => t.factors.length > 0),
    constant,
  );
}

export const neg = (a: Dim): Dim => mul(a, -1);
export const sub = (a: Dim, b: Dim): Dim => add(a, neg(b));
export const product = (dims: readonly Dim[]): Dim => dims.reduce<Dim>(mul, 1);

/** Exact polynomial quotient, or null where `d` does not divide `n`. */
function exactQuotient(n: Dim, d: Dim): Dim | null {
  let rest = n;
  let quotient: Dim = 0;
  const lead = (x: Dim): Term => termsOf(x)[0] ?? { coef: constantOf(x), factors: [] };
  const divisor = lead(d);
  for (let step = 0; step < 64; step++) {
    if (rest === 0) return quotient;
    const top = lead(rest);
    const factors = [...top.factors];
    for (const f of divisor.factors) {
      const at = factors.findIndex((g) => g.key === f.key);
      if (at < 0) return null;
      factors.splice(at, 1);
    }
    if (top.coef % divisor.coef !== 0) return null;
    const coef = top.coef / divisor.coef;
    const part = factors.length === 0 ? coef : makeDim([{ coef, factors }], 0);
    quotient = add(quotient, part);
    rest = sub(rest, mul(part, d));
  }
  return null;
}

/** Splits `n` into a multiple of the number `d` and the rest: n = d·whole + rest. */
function splitMultiple(n: Dim, d: number): { whole: Dim; rest: Dim } {
  const divisible = termsOf(n).filter((t) => t.coef % d === 0);
  const others = termsOf(n).filter((t) => t.coef % d !== 0);
  const wholeConstant = Math.floor(constantOf(n) / d);
  return {
    whole: makeDim(
      divisible.map((t) => ({ coef: t.coef / d, factors: t.factors })),
      wholeConstant,
    ),
    rest: makeDim(others, constantOf(n) - wholeConstant * d),
  };
}

export function floordiv(n: Dim, d: Dim): Dim {
  if (typeof d === 'number') {
    invariant(d > 0, `division of a size by ${d}`);
    if (typeof n === 'number') return Math.floor(n / d);
    if (d === 1) return n;
    const { whole, rest } = splitMultiple(n, d);
    const [lo, hi] = bounds(rest);
    if (lo >= 0 && hi < d) return whole;
    return add(whole, atom({ kind: 'floordiv', a: rest, b: d, key: `floordiv(${dimKey(rest)}, ${d})` }));
  }
  const exact = exactQuotient(n, d);
  if (exact !== null) return exact;
  return atom({ kind: 'floordiv', a: n, b: d, key: `floordiv(${dimKey(n)}, ${dimKey(d)})` });
}

export function mod(n: Dim, d: Dim): Dim {
  if (typeof d === 'number') {
    if (typeof n === 'number') return n - Math.floor(n / d) * d;
    if (d === 1) return 0;
    const { rest } = splitMultiple(n, d);
    const [lo, hi] = bounds(rest);
    if (lo >= 0 && hi < d) return rest;
    return atom({ kind: 'mod', a: rest, b: d, key: `mod(${dimKey(rest)}, ${d})` });
  }
  if (exactQuotient(n, d) !== null) return 0;
  return atom({ kind: 'mod', a: n, b: d, key: `mod(${dimKey(n)}, ${dimKey(d)})` });
}

export const ceildiv = (n: Dim, d: Dim): Dim => floordiv(add(n, sub(d, 1)), d);

function extremum(kind: 'min' | 'max', a: Dim, b: Dim): Dim {
  const [lo, hi] = bounds(sub(a, b));
  if (hi <= 0) return kind === 'min' ? a : b;
  if (lo >= 0) return kind === 'min' ? b : a;
  const [x, y] = compareKeys(dimKey(a), dimKey(b)) <= 0 ? [a, b] : [b, a];
  return atom({ kind, a: x, b: y, key: `${kind}(${dimKey(x)}, ${dimKey(y)})` });
}

export const min = (a: Dim, b: Dim): Dim => extremum('min', a, b);
export const max = (a: Dim, b: Dim): Dim => extremum('max', a, b);

/** Inclusive interval that holds the value for every admissible assignment of the symbols. */
export function bounds(d: Dim): readonly [number, number] {
  if (typeof d === 'number') return [d, d];
  let lo = d.constant;
  let hi = d.constant;
  for (const t of d.terms) {
    const [a, b] = t.factors.map(atomBounds).reduce(mulBounds, [t.coef, t.coef]);
    lo += a;
    hi += b;
  }
  return [lo, hi];
}

function mulBounds(x: readonly [number, number], y: readonly [number, number]): readonly [number, number] {
  const all = [x[0] * y[0], x[0] * y[1], x[1] * y[0], x[1] * y[1]].map((v) => (Number.isNaN(v) ? 0 : v));
  return [Math.min(...all), Math.max(...all)];
}

function atomBounds(a: Atom): readonly [number, number] {
  if (a.kind === 'sym') return [a.sym.lo, a.sym.hi];
  const [alo, ahi] = bounds(a.a);
  const [blo, bhi] = bounds(a.b);
  switch (a.kind) {
    case 'min':
      return [Math.min(alo, blo), Math.min(ahi, bhi)];
    case 'max':
      return [Math.max(alo, blo), Math.max(ahi, bhi)];
    case 'mod':
      return [0, alo >= 0 ? Math.min(ahi, bhi - 1) : bhi - 1];
    case 'floordiv': {
      const small = Math.max(1, blo);
      const corners = [alo / small, alo / bhi, ahi / small, ahi / bhi].map(Math.floor);
      return [Math.min(...corners), Math.max(...corners)];
    }
  }
}

/** Largest value; E205 where it is not finite. */
export function upperBound(d: Dim, what: string): number {
  const [, hi] = bounds(d);
  if (!Number.isFinite(hi))
    throw new CompileError('E205', `${what} has no upper bound (${dimKey(d)})`, { hint: 'Give one: --dim name=1..N' });
  return Math.max(0, hi);
}

export type DimEnv = ReadonlyMap<string, number>;

/** The value under an assignment of the symbols by name. */
export function evalDim(d: Dim, env: DimEnv): number {
  if (typeof d === 'number') return d;
  const atomValue = (a: Atom): number => {
    if (a.kind === 'sym') {
      const v = env.get(a.sym.name);
      invariant(v !== undefined, `symbol ${a.sym.name} has no value`);
      return v;
    }
    const x = evalDim(a.a, env);
    const y = evalDim(a.b, env);
    if (a.kind === 'min') return Math.min(x, y);
    if (a.kind === 'max') return Math.max(x, y);
    const q = Math.floor(x / y);
    return a.kind === 'floordiv' ? q : x - q * y;
  };
  return d.terms.reduce((s, t) => s + t.factors.reduce((p, f) => p * atomValue(f), t.coef), d.constant);
}

/** Rebuilds a dim with symbols replaced. */
export function substituteDim(d: Dim, replace: (sym: Sym) => Dim | undefined): Dim {
  if (typeof d === 'number') return d;
  const atomDim = (a: Atom): Dim => {
    if (a.kind === 'sym') return replace(a.sym) ?? atom(a);
    const x = substituteDim(a.a, replace);
    const y = substituteDim(a.b, replace);
    return { floordiv, mod, min, max }[a.kind](x, y);
  };
  return d.terms.reduce<Dim>(
    (s, t) =>
      add(
        s,
        t.factors.reduce<Dim>((p, f) => mul(p, atomDim(f)), t.coef),
      ),
    d.constant,
  );
}

/** Whether a size hangs on an assumption. */
export const isChecked = (d: Dim): boolean => [...dimSyms(d).values()].some((s) => s.checked);

/** Every symbol a dim mentions. */
export function dimSyms(d: Dim, into: Map<string, Sym> = new Map()): Map<string, Sym> {
  for (const t of termsOf(d)) {
    for (const f of t.factors) {
      if (f.kind === 'sym') into.set(f.sym.name, f.sym);
      else {
        dimSyms(f.a, into);
        dimSyms(f.b, into);
      }
    }
  }
  return into;
}
