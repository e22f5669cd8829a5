// An element of a row less the row's maximum is not above 0, so a bound above it is none: the upper clamp of a softmax's exp
// goes. Exact for every value, as both are NaN alike. Known from the loop over the row that made the maximum, and forgotten
// as soon as something it read may have been stored to.

import { mentions } from '../../ir/affine.js';
import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { mapStmt } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, rewriteExpr, substituteVars, variable } from '../../ir/scalar.js';
import { type For, loadsOf, matchNest, matchReduction } from '../schedule/nest.js';
import { effectsOf } from './stmt-walk.js';

/** `most` is at least `term` for every value of the loop's variable. */
export interface Maximum {
  readonly most: string;
  readonly loop: For;
  readonly term: Expr;
}

export const dropRowBounds = (kernel: Kernel): Kernel => ({
  ...kernel,
  body: walk(kernel.body, { maxima: [], loops: [] }, kernel.params),
});

interface Known {
  readonly maxima: readonly Maximum[];
  /** Around the statement, outermost first. */
  readonly loops: readonly For[];
}

function walk(body: readonly Stmt[], outer: Known, params: readonly BufferParam[]): readonly Stmt[] {
  let { maxima } = outer;
  return body.map((s, k) => {
    const left = maxima.filter((m) => !disturbs(s, m, params));
    const out = inside(s, { maxima: readsFirst(s) ? maxima : left, loops: outer.loops }, params);
    maxima = [...left, ...maximumAt(body, k)];
    return out;
  });
}

function inside(s: Stmt, known: Known, params: readonly BufferParam[]): Stmt {
  const loops = s.s === 'for' ? [...known.loops, s] : known.loops;
  const rewrite = (x: Expr): Expr => (known.maxima.length === 0 ? x : rewriteExpr(x, (y) => unbounded(y, known)));
  return mapStmt(s, rewrite, (inner) => walk(inner, { ...known, loops }, params));
}

/** A name for the maximum right behind the loop that made it. */
function maximumAt(body: readonly Stmt[], k: number): readonly Maximum[] {
  const [start, nest, name] = [body[k - 2], body[k - 1], body[k]];
  if (!start || !nest || name?.s !== 'let' || name.mutable) return [];
  const r = matchReduction(start, nest);
  const [loop] = r?.loops ?? [];
  if (r?.op !== 'max' || r.loops.length !== 1 || !loop) return [];
  return isMost(name.value, r.acc) ? [{ most: name.var, loop, term: r.term }] : [];
}

/** The maximum, or it with a number in place of −∞: then every element is −∞, and less any number still is. */
function isMost(x: Expr, acc: string): boolean {
  if (x.k === 'var') return x.name === acc;
  if (x.k !== 'select' || x.b.k !== 'var' || x.b.name !== acc || x.a.k !== 'const') return false;
  const { cond } = x;
  if (cond.k !== 'op' || cond.op !== 'eq' || !Number.isFinite(Number(x.a.value))) return false;
  const [a, b] = cond.args;
  return a?.k === 'var' && a.name === acc && b?.k === 'const' && Number(b.value) === Number.NEGATIVE_INFINITY;
}

/** Whether a statement may change what the maximum is of. Buffers that are not the kernel's own may share memory. */
export function disturbs(s: Stmt, { most, term }: Maximum, params: readonly BufferParam[]): boolean {
  const { written, assigned, declared } = effectsOf([s]);
  const read = new Set(loadsOf(term).map((x) => x.src));
  const isHere = [...written].some((slot) => read.has(slot) || params[slot]?.access !== 'scratch');
  return isHere || declared.has(most) || [...assigned].some((name) => mentions(term, name));
}

/** Whether what it reads is as it was before: also of independent iterations that store last. */
const readsFirst = (s: Stmt): boolean =>
  s.s === 'store' || s.s === 'let' || s.s === 'set' || matchNest(s)?.reduction === null;

/** min(element − maximum, c) for c ≥ 0. */
function unbounded(x: Expr, { maxima, loops }: Known): Expr {
  if (x.k !== 'op' || x.op !== 'min') return x;
  const [difference, bound] = x.args as readonly [Expr, Expr];
  if (bound.k !== 'const' || Number(bound.value) < 0 || difference.k !== 'op' || difference.op !== 'sub') return x;
  const [element, most] = difference.args as readonly [Expr, Expr];
  const isKnown = maxima.some(
    (m) => most.k === 'var' && most.name === m.most && loops.some((f) => isElement(element, m, f)),
  );
  return isKnown ? difference : x;
}

export const isSameRange = (a: For, b: For): boolean =>
  a.step === b.step && exprKey(a.lo) === exprKey(b.lo) && exprKey(a.hi) === exprKey(b.hi);

/** Whether `x`, in the loop `f`, is what the extremum is of. */
export const isElement = (x: Expr, { loop, term }: Maximum, f: For): boolean =>
  isSameRange(f, loop) && exprKey(x) === exprKey(substituteVars(term, new Map([[loop.var, variable(f.var, 'i32')]])));
