// A short parallel loop around several others, its iterations lying side by side in memory: they become the lanes of a few
// vectors, and every statement in the loop a statement about vectors. No sum changes its order, as each lane is an iteration
// of its own. Loops stay apart: what one stores is near when the next reads it, and together they would need more registers.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, substituteVars, variable } from '../../ir/scalar.js';
import { constOf, lanesAt, type ScheduleOptions } from './loops.js';
import type { For } from './nest.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** More vectors than this would not fit the registers with what they are computed from. */
const MAX_VECTORS = 4;

/** Null where an iteration's memory does not lie beside its neighbours', or the target has no such vectors. */
export function rowsInLanes(f: For, o: ScheduleOptions): readonly Stmt[] | null {
  const size = constOf(f.hi);
  const { lanes } = o.target;
  if (f.mode !== 'parallel' || size === null || size % lanes !== 0 || size > MAX_VECTORS * lanes) return null;
  if (!f.body.some((s) => s.s === 'for')) return null;
  const t: Site = { f, o, vectors: size / lanes };
  return vectorizeBody(
    f.body,
    t,
    Array.from({ length: t.vectors }, () => new Map()),
  );
}

interface Site {
  readonly f: For;
  readonly o: ScheduleOptions;
  readonly vectors: number;
}

/** For each vector, what the scalars of the body have become in it. */
type Vectors = readonly Map<string, Expr>[];

function vectorizeBody(body: readonly Stmt[], t: Site, vars: Vectors): readonly Stmt[] | null {
  const out: Stmt[] = [];
  for (const s of body) {
    const made = vectorizeStmt(s, t, vars);
    if (!made) return null;
    out.push(...made);
  }
  return out;
}

function vectorizeStmt(s: Stmt, t: Site, vars: Vectors): readonly Stmt[] | null {
  switch (s.s) {
    case 'let':
      return each(t, (k) => {
        const value = vectorAt(s.value, t, vars, k);
        if (!value) return null;
        const name = `${s.var}_${k}`;
        vars[k]?.set(s.var, variable(name, s.value.dtype, t.o.target.lanes));
        return [{ ...s, var: name, value }];
      });
    case 'set':
      return each(t, (k) => {
        const to = vars[k]?.get(s.var);
        const value = vectorAt(s.value, t, vars, k);
        return to?.k === 'var' && value ? [{ ...s, var: to.name, value }] : null;
      });
    case 'store':
      return each(t, (k) => {
        const value = vectorAt(s.value, t, vars, k);
        if (!value || !isOne(coefficient(s.index, t.f.var)) || namesVector(s.index, vars)) return null;
        return [{ ...s, index: substituteVars(s.index, atVector(t, k)), value }];
      });
    case 'for':
      return vectorizeLoop(s, t, vars);
    default:
      return null;
  }
}

function each(t: Site, make: (k: number) => readonly Stmt[] | null): readonly Stmt[] | null {
  const all = Array.from({ length: t.vectors }, (_, k) => make(k));
  return all.every((x) => x !== null) ? (all.flat() as Stmt[]) : null;
}

const atVector = (t: Site, k: number): ReadonlyMap<string, Expr> => new Map([[t.f.var, i32(k * t.o.target.lanes)]]);

const namesVector = (x: Expr, vars: Vectors): boolean => [...(vars[0]?.keys() ?? [])].some((name) => mentions(x, name));

function vectorAt(x: Expr, t: Site, vars: Vectors, k: number): Expr | null {
  const { lanes } = t.o.target;
  const made = vectorizeExpr(x, lanesAt(t.f.var, i32(k * lanes), t.o, vars[k]));
  return made && splat(made, lanes);
}

function vectorizeLoop(s: For, t: Site, vars: Vectors): readonly Stmt[] | null {
  if ([s.lo, s.hi].some((x) => mentions(x, t.f.var) || namesVector(x, vars))) return null;
  const body = vectorizeBody(s.body, t, vars);
  return body && [{ ...s, mode: 'serial', body }];
}
