// A tile ends with one store for each vector of sums, and what happens to a sum on its way may be long. Stores that differ
// by a row are one loop over rows then; the sums wait in local memory. Before values get names, as those are shared by rows.

import { e } from '../../ir/expr.js';
import type { Kernel, Stmt } from '../../ir/kernel.js';
import { slotsOf, visitStmts } from '../../ir/kernel-walk.js';
import { type Linear, linearize, termsKey } from '../../ir/linear.js';
import { children, type Expr, exprKey, i32, load, mapChildren, variable, visitExpr } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { mapBodies, namesOf } from './stmt-walk.js';

type Store = Extract<Stmt, { s: 'store' }>;

/** Operations a store must have for its rows to share them: a loop has costs of its own. */
const LEAST_WORK = 24;

export function rollStores(kernel: Kernel): Kernel {
  if (kernel.shares !== undefined) return kernel; // local memory is not each thread's own
  const taken = namesOf(kernel.body);
  const next: Next = {
    slot: Math.max(kernel.params.length - 1, ...slotsOf(kernel.body)) + 1,
    name: () => {
      let name = 'row';
      for (let k = 1; taken.has(name); k++) name = `row_${k}`;
      taken.add(name);
      return name;
    },
  };
  const sums = new Map<string, Sum>();
  visitStmts(kernel.body, (s) => {
    if (s.s === 'let' && s.mutable && s.value.lanes > 1)
      sums.set(s.var, { dtype: s.value.dtype, lanes: s.value.lanes });
  });
  return { ...kernel, body: rollBody(kernel.body, sums, next) };
}

/** The next buffer slot that is free, and names. */
interface Next {
  slot: number;
  readonly name: () => string;
}

interface Sum {
  readonly dtype: DType;
  readonly lanes: number;
}

type Sums = ReadonlyMap<string, Sum>;

function rollBody(body: readonly Stmt[], sums: Sums, next: Next): readonly Stmt[] {
  const out: Stmt[] = [];
  for (let k = 0; k < body.length; ) {
    const run = storesFrom(body, k);
    const rolled = run.length > 1 ? roll(run, sums, next) : null;
    if (rolled) out.push(...rolled);
    else if (run.length > 0) out.push(...run);
    else out.push(mapBodies(body[k] as Stmt, (b) => rollBody(b, sums, next)));
    k += Math.max(1, run.length);
  }
  return out;
}

function storesFrom(body: readonly Stmt[], start: number): readonly Store[] {
  const out: Store[] = [];
  for (let s = body[start]; s?.s === 'store'; s = body[start + out.length]) out.push(s);
  return out;
}

/** The stores as a loop over rows of as few of them as can be. */
function roll(stores: readonly Store[], sums: Sums, next: Next): readonly Stmt[] | null {
  const [first] = stores as readonly [Store];
  if (workOf(first.value) < LEAST_WORK || stores.some((s) => s.buf !== first.buf)) return null;
  const found = stores.map((s) => sumsIn(s.value, sums));
  const names = found.map(([name]) => name as string);
  if (found.some((list) => list.length !== 1) || new Set(names).size < names.length) return null;
  const sum = sums.get(names[0] as string) as Sum;
  const name = next.name();
  for (let width = 1; 2 * width <= stores.length; width++) {
    if (stores.length % width !== 0) continue;
    const rows = rowsOf(stores, width);
    const body = rows[0]?.map((_, k): Store | null => {
      const column = rows.map((r) => r[k] as Store);
      const at = e.add(e.mul(variable(name, 'i32'), width * sum.lanes), k * sum.lanes);
      const u: Unifier = {
        row: variable(name, 'i32'),
        sums: rows.map((_, r) => names[r * width + k] as string),
        kept: load(next.slot, [at], sum.dtype, { lanes: sum.lanes }),
        memo: new Map(),
      };
      const index = unify(
        column.map((s) => s.index),
        u,
      );
      const value = unify(
        column.map((s) => s.value),
        u,
      );
      return index && value && { ...first, index, value };
    });
    if (!body || body.some((s) => s === null)) continue;
    const buf = next.slot++;
    const keep = names.map((sumName, k): Store => {
      const value = variable(sumName, sum.dtype, sum.lanes);
      return { s: 'store', buf, index: i32(k * sum.lanes), value };
    });
    return [
      { s: 'alloc', buf, dtype: sum.dtype, size: names.length * sum.lanes, space: 'local' },
      ...keep,
      { s: 'for', var: name, lo: i32(0), hi: i32(rows.length), step: 1, mode: 'serial', body: body as Store[] },
    ];
  }
  return null;
}

const rowsOf = (stores: readonly Store[], width: number): readonly (readonly Store[])[] =>
  Array.from({ length: stores.length / width }, (_, r) => stores.slice(r * width, (r + 1) * width));

function workOf(x: Expr): number {
  let n = 0;
  visitExpr(x, (y) => {
    if (y.lanes > 1 && y.k !== 'vec') n++;
  });
  return n;
}

function sumsIn(x: Expr, sums: Sums): readonly string[] {
  const found = new Set<string>();
  visitExpr(x, (y) => {
    if (y.k === 'var' && sums.has(y.name)) found.add(y.name);
  });
  return [...found];
}

interface Unifier {
  readonly row: Expr;
  /** The sum of each row. */
  readonly sums: readonly string[];
  /** Where the row's sum is then. */
  readonly kept: Expr;
  readonly memo: Map<string, Expr | null>;
}

/** One expression over the row that is these, row by row; null where there is none. */
function unify(exprs: readonly Expr[], u: Unifier): Expr | null {
  const key = exprs.map(exprKey).join();
  const known = u.memo.get(key);
  if (known !== undefined) return known;
  const made = build(exprs, u);
  u.memo.set(key, made);
  return made;
}

function build(exprs: readonly Expr[], u: Unifier): Expr | null {
  const first = exprs[0] as Expr;
  if (exprs.every((x, r) => x.k === 'var' && x.name === u.sums[r])) return u.kept;
  if (exprs.every((x) => exprKey(x) === exprKey(first))) return first;
  if (first.dtype === 'i32' && first.lanes === 1) {
    const moving = progression(exprs, u.row);
    if (moving) return moving;
  }
  if (!exprs.every((x) => isAlike(x, first))) return null;
  const parts = exprs.map(children);
  const unified = children(first).map((_, k) =>
    unify(
      parts.map((list) => list[k] as Expr),
      u,
    ),
  );
  if (unified.some((x) => x === null)) return null;
  let next = 0;
  return mapChildren(first, () => unified[next++] as Expr);
}

/** x₀ + row·d where each is d more than the one before. */
function progression(exprs: readonly Expr[], row: Expr): Expr | null {
  const memo = new Map<Expr, Linear>();
  const forms = exprs.map((x) => linearize(x, new Map(), memo));
  const step = minus(forms[1] as Linear, forms[0] as Linear);
  const isEven = forms.every((f, r) => r === 0 || isSame(minus(f, forms[r - 1] as Linear), step));
  return isEven ? e.add(exprs[0] as Expr, e.mul(row, sumOf(step))) : null;
}

function minus(a: Linear, b: Linear): Linear {
  const terms = new Map(a.terms.map((t) => [t.key, t]));
  for (const t of b.terms) terms.set(t.key, { ...t, coef: (terms.get(t.key)?.coef ?? 0) - t.coef });
  return { constant: a.constant - b.constant, terms: [...terms.values()].filter((t) => t.coef !== 0) };
}

const isSame = (a: Linear, b: Linear): boolean => a.constant === b.constant && termsKey(a.terms) === termsKey(b.terms);

const sumOf = ({ terms, constant }: Linear): Expr =>
  terms.reduce(
    (sum, t) =>
      e.add(
        sum,
        e.mul(
          t.factors.reduce((x, f) => e.mul(x, f)),
          t.coef,
        ),
      ),
    i32(constant) as Expr,
  );

/** Whether two differ in their parts alone. */
function isAlike(a: Expr, b: Expr): boolean {
  if (a.k !== b.k || a.dtype !== b.dtype || a.lanes !== b.lanes) return false;
  if (children(a).length === 0 || children(a).length !== children(b).length) return false;
  if (a.k === 'op' && b.k === 'op') return a.op === b.op;
  if (a.k === 'vec' && b.k === 'vec') return a.op === b.op && a.lane === b.lane;
  if (a.k === 'load' && b.k === 'load') return a.src === b.src && !a.guard === !b.guard && !a.pad === !b.pad;
  return true;
}
