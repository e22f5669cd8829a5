// Index expressions as sums of products: constant + Σ coef · Π factors, so that the part that does not change in a
// loop can be told from the part that moves with its variable. Exact modulo 2^32, as addresses are.
// Immutable index variables are seen through to their definitions.

import { type Expr, exprKey, visitExpr } from './scalar.js';

export interface LinearTerm {
  readonly coef: number;
  /** Sorted by key; anything not itself a sum or product. */
  readonly factors: readonly Expr[];
  readonly key: string;
}

export interface Linear {
  readonly constant: number;
  readonly terms: readonly LinearTerm[];
}

const MOST_TERMS = 8;

function sum(constant: number, terms: readonly LinearTerm[]): Linear {
  if (terms.length < 2) return { constant, terms: terms[0]?.coef === 0 ? [] : terms };
  const merged = new Map<string, LinearTerm>();
  for (const t of terms) {
    const old = merged.get(t.key);
    merged.set(t.key, old ? { ...t, coef: old.coef + t.coef } : t);
  }
  return { constant, terms: [...merged.values()].filter((t) => t.coef !== 0) };
}

const term = (coef: number, factors: readonly Expr[]): LinearTerm => {
  const sorted = [...factors].sort((a, b) => (exprKey(a) < exprKey(b) ? -1 : 1));
  return { coef, factors: sorted, key: sorted.map(exprKey).join('*') };
};

const scale = (x: Linear, by: number): Linear => ({
  constant: x.constant * by,
  terms: by === 0 ? [] : x.terms.map((t) => ({ ...t, coef: t.coef * by })),
});

function multiply(x: Linear, y: Linear): Linear {
  if (y.terms.length === 0) return scale(x, y.constant);
  if (x.terms.length === 0) return scale(y, x.constant);
  const all = (v: Linear): LinearTerm[] => [...v.terms, term(v.constant, [])];
  const products = all(x).flatMap((a) => all(y).map((b) => term(a.coef * b.coef, [...a.factors, ...b.factors])));
  const constant = products.filter((t) => t.factors.length === 0).reduce((n, t) => n + t.coef, 0);
  return sum(
    constant,
    products.filter((t) => t.factors.length > 0),
  );
}

const fits = (x: Linear): boolean =>
  x.terms.length <= MOST_TERMS &&
  Number.isSafeInteger(x.constant) &&
  x.terms.every((t) => Number.isSafeInteger(t.coef));

const keys = new WeakMap<readonly LinearTerm[], string>();

/** A text equal for equal terms in any order. */
export function termsKey(terms: readonly LinearTerm[]): string {
  const known = keys.get(terms);
  if (known !== undefined) return known;
  const texts = terms.map((t) => `${t.coef}*${t.key}`);
  const key = texts.length > 1 ? texts.sort().join('+') : (texts[0] ?? '');
  keys.set(terms, key);
  return key;
}

/** Definitions of immutable i32 variables worth seeing through: pure index arithmetic. */
export type Definitions = ReadonlyMap<string, Expr>;

/** The linear form of an i32 expression; an expression that has none is one opaque factor. */
export function linearize(e: Expr, definitions: Definitions, memo: Map<Expr, Linear>): Linear {
  const known = memo.get(e);
  if (known) return known;
  const found = decompose(e, definitions, memo);
  const result = found && fits(found) ? found : { constant: 0, terms: [term(1, [e])] };
  memo.set(e, result);
  return result;
}

function decompose(e: Expr, definitions: Definitions, memo: Map<Expr, Linear>): Linear | null {
  if (e.k === 'const') return { constant: Number(e.value), terms: [] };
  if (e.k === 'var') {
    const value = definitions.get(e.name);
    if (!value) return null;
    const known = linearize(value, definitions, memo);
    return known.terms[0]?.factors[0] === value ? null : known;
  }
  if (e.k !== 'op') return null;
  const [a, b] = e.args;
  if (!a || !b) return null;
  const x = linearize(a, definitions, memo);
  const y = linearize(b, definitions, memo);
  if (e.op === 'add') return sum(x.constant + y.constant, [...x.terms, ...y.terms]);
  if (e.op === 'sub') return sum(x.constant - y.constant, [...x.terms, ...scale(y, -1).terms]);
  if (e.op === 'mul') return multiply(x, y);
  if (e.op === 'shl' && y.terms.length === 0 && y.constant >= 0 && y.constant < 31) return scale(x, 2 ** y.constant);
  return null;
}

/** Whether the value stays the same while `changing` variables change, and may be computed where it is not needed. */
export function isInvariant(e: Expr, changing: ReadonlySet<string>): boolean {
  let steady = true;
  visitExpr(e, (x) => {
    if (x.k === 'load') steady = false;
    else if (x.k === 'var' && changing.has(x.name)) steady = false;
    else if (x.k === 'op' && (x.op === 'div' || x.op === 'rem')) {
      const divisor = x.args[1];
      if (divisor?.k !== 'const' || Number(divisor.value) <= 0) steady = false;
    }
  });
  return steady;
}
