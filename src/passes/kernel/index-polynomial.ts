// i32 expressions as polynomials over atoms (variables, sizes, quotients …). Coefficients are exact integers; the value is
// the polynomial's modulo 2^32. Equal polynomials have equal terms. Emitted sums start with what changes least often, so that prefixes are loop-invariant, and end with the constant,
// which addressing modes absorb.

import { type Expr, i32, op, rawOp } from '../../ir/scalar.js';
import { FULL } from './value-range.js';

/** An indivisible factor. Quotients and remainders remember their operands. */
export interface Atom {
  readonly id: number;
  readonly expr: Expr;
  /** Loop depth at which its value changes; 0 for sizes. */
  readonly depth: number;
  readonly parts?: AtomParts | undefined;
}

export interface AtomParts {
  readonly op: 'div' | 'rem' | 'min' | 'max';
  readonly a: Polynomial;
  readonly b: Polynomial;
}

export interface Term {
  readonly coef: number;
  /** Sorted by id; repeated for powers. */
  readonly atoms: readonly Atom[];
}

export interface Polynomial {
  readonly terms: readonly Term[];
  readonly constant: number;
}

const keyOf = (atoms: readonly Atom[]): string => atoms.map((a) => a.id).join();

function collect(terms: readonly Term[], constant: number): Polynomial {
  const merged = new Map<string, Term>();
  for (const t of terms) {
    const key = keyOf(t.atoms);
    const coef = (merged.get(key)?.coef ?? 0) + t.coef;
    merged.set(key, { coef, atoms: t.atoms });
  }
  const kept = [...merged.values()].filter((t) => t.coef !== 0);
  return { terms: kept, constant };
}

export const constantPoly = (value: number): Polynomial => ({ terms: [], constant: value });
export const atomPoly = (atom: Atom): Polynomial => ({ terms: [{ coef: 1, atoms: [atom] }], constant: 0 });
export const isConstant = (p: Polynomial): boolean => p.terms.length === 0;

export const addPoly = (a: Polynomial, b: Polynomial): Polynomial =>
  joinQuotients(collect([...a.terms, ...b.terms], a.constant + b.constant));

export function scalePoly(p: Polynomial, factor: number): Polynomial {
  const terms = p.terms.map((t) => ({ coef: t.coef * factor, atoms: t.atoms }));
  return collect(terms, p.constant * factor);
}

export const subPoly = (a: Polynomial, b: Polynomial): Polynomial => addPoly(a, scalePoly(b, -1));

export function mulPoly(a: Polynomial, b: Polynomial): Polynomial {
  const full = (p: Polynomial): readonly Term[] => [...p.terms, { coef: p.constant, atoms: [] }];
  const products = full(a).flatMap((x) =>
    full(b).map((y) => ({
      coef: x.coef * y.coef,
      atoms: [...x.atoms, ...y.atoms].sort((p, q) => p.id - q.id),
    })),
  );
  const constant = products.filter((t) => t.atoms.length === 0).reduce((s, t) => s + t.coef, 0);
  return collect(
    products.filter((t) => t.atoms.length > 0),
    constant,
  );
}

export const samePoly = (a: Polynomial, b: Polynomial): boolean => {
  const d = collect([...a.terms, ...b.terms.map((t) => ({ coef: -t.coef, atoms: t.atoms }))], a.constant - b.constant);
  return d.terms.length === 0 && d.constant === 0;
};

/** c·K·(x/K) + c·(x%K) is c·x. */
function joinQuotients(p: Polynomial): Polynomial {
  for (const rest of p.terms) {
    const parts = rest.atoms.length === 1 ? rest.atoms[0]?.parts : undefined;
    if (parts?.op !== 'rem' || !isConstant(parts.b)) continue;
    const wanted = rest.coef * parts.b.constant;
    const whole = p.terms.find((t) => t.coef === wanted && isQuotientOf(t, parts));
    if (!whole) continue;
    const others = p.terms.filter((t) => t !== rest && t !== whole);
    return addPoly({ terms: others, constant: p.constant }, scalePoly(parts.a, rest.coef));
  }
  return p;
}

function isQuotientOf(t: Term, { a, b }: AtomParts): boolean {
  const parts = t.atoms.length === 1 ? t.atoms[0]?.parts : undefined;
  return parts?.op === 'div' && samePoly(parts.a, a) && samePoly(parts.b, b);
}

/** Removes one occurrence of each of `atoms`; null where one is missing. */
export function withoutAtoms(from: readonly Atom[], atoms: readonly Atom[]): readonly Atom[] | null {
  const left = [...from];
  for (const a of atoms) {
    const at = left.findIndex((x) => x.id === a.id);
    if (at < 0) return null;
    left.splice(at, 1);
  }
  return left;
}

/** p = scale·atom + rest, where the atom occurs in no power above one. */
export function isolate(p: Polynomial, atom: Atom): { scale: Polynomial; rest: Polynomial } | null {
  const scale: Term[] = [];
  const rest: Term[] = [];
  let constant = 0;
  for (const t of p.terms) {
    const left = withoutAtoms(t.atoms, [atom]);
    if (left === null) rest.push(t);
    else if (left.some((a) => a.id === atom.id)) return null;
    else if (left.length === 0) constant += t.coef;
    else scale.push({ coef: t.coef, atoms: left });
  }
  return { scale: collect(scale, constant), rest: { terms: rest, constant: p.constant } };
}

const depthOf = (t: Term): number => Math.max(0, ...t.atoms.map((a) => a.depth));
const byDepth = (a: Atom, b: Atom): number => a.depth - b.depth || a.id - b.id;

/** Outer terms first; within a depth, positive ones first, in order of their atoms' first appearance. */
function compareTerms(a: Term, b: Term): number {
  const sign = Number(a.coef < 0) - Number(b.coef < 0);
  return depthOf(a) - depthOf(b) || sign || a.atoms.length - b.atoms.length || compareIds(a.atoms, b.atoms);
}

function compareIds(a: readonly Atom[], b: readonly Atom[]): number {
  for (const [n, x] of a.entries()) if (x.id !== b[n]?.id) return x.id - (b[n]?.id ?? 0);
  return 0;
}

/** The largest magnitude of a coefficient. */
export const weightOf = (p: Polynomial): number =>
  Math.max(Math.abs(p.constant), ...p.terms.map((t) => Math.abs(t.coef)));

export function emitPoly({ terms, constant }: Polynomial): Expr {
  let sum: Expr | null = null;
  let left = constant | 0;
  for (const { coef: exact, atoms } of [...terms].sort(compareTerms)) {
    const coef = exact | 0;
    if (coef === 0) continue;
    const factors = [...atoms].sort(byDepth).map((a) => a.expr);
    const product = factors.reduce((x, y) => rawOp('mul', x, y));
    if (sum === null && coef < 0 && left !== 0) {
      sum = i32(left);
      left = 0;
    }
    if (sum === null) sum = coef === -1 ? rawOp('neg', product) : op('mul', product, i32(coef));
    else if (coef < 0 && coef > FULL.lo) sum = rawOp('sub', sum, op('mul', product, i32(-coef)));
    else sum = rawOp('add', sum, op('mul', product, i32(coef)));
  }
  return sum === null ? i32(left) : op('add', sum, i32(left));
}

/** One atom per distinct value, by its number. */
export function atomOf(known: Map<number, Atom>, id: number, expr: Expr, depth: number, parts?: AtomParts): Atom {
  const atom = known.get(id) ?? { id, expr, depth, parts };
  known.set(id, atom);
  return atom;
}
