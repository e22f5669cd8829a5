// A loop whose variable is taken apart by a division becomes two: output channels of a grouped convolution read the inputs of
// their group, heads of attention share those of a key. After it what a group reads is the same for all of the inner loop.

import { e } from '../../ir/expr.js';
import { mapExprs, visitKernelExprs } from '../../ir/kernel-walk.js';
import { type Expr, i32, rewriteExpr, substituteVars, variable } from '../../ir/scalar.js';
import { constOf, NARROWEST } from './loops.js';
import type { For, Nest, Store } from './nest.js';

/** Only reductions: what is read once is read by division as well. */
export function splitNest(nest: Nest): Nest {
  if (!nest.reduction) return nest;
  for (const f of nest.loops) {
    const size = dividedBy(nest, f);
    if (size !== null) return splitNest(splitLoop(nest, f, size));
  }
  return nest;
}

/** The least number by which a nest divides a loop's variable, if it divides the loop, and vectors fit in between. */
function dividedBy(nest: Nest, f: For): number | null {
  const hi = constOf(f.hi);
  if (hi === null) return null;
  const found = new Set<number>();
  const visit = (x: Expr): void => {
    const size = partOf(x, f.var)?.size;
    if (size !== undefined) found.add(size);
  };
  const { store, reduction } = nest;
  visitKernelExprs([store], visit);
  if (reduction) visitKernelExprs([{ ...store, value: reduction.term }], visit);
  const fitting = [...found].filter((c) => c >= NARROWEST && c < hi && hi % c === 0);
  return fitting.length > 0 ? Math.min(...fitting) : null;
}

type Part = { readonly is: 'quotient' | 'rest'; readonly size: number };

/** A variable divided by a constant, or the rest of it; loop variables are not negative. */
function partOf(x: Expr, name: string): Part | null {
  if (x.k !== 'op' || x.args.length !== 2) return null;
  const [v, by] = x.args as [Expr, Expr];
  const c = constOf(by);
  if (v.k !== 'var' || v.name !== name || c === null) return null;
  if (x.op === 'div') return { is: 'quotient', size: c };
  if (x.op === 'shr_s' || x.op === 'shr_u') return { is: 'quotient', size: 2 ** c };
  if (x.op === 'rem') return { is: 'rest', size: c };
  return x.op === 'and' && ((c + 1) & c) === 0 ? { is: 'rest', size: c + 1 } : null;
}

/** The loop over `f` as one over groups of `size`, named `${f.var}_g`, and one within a group. */
export function splitLoop(nest: Nest, f: For, size: number): Nest {
  const [group, rest] = [`${f.var}_g`, `${f.var}_r`].map((name) => variable(name, 'i32')) as [Expr, Expr];
  const whole = new Map([[f.var, e.add(e.mul(group, size), rest)]]);
  const apart = (x: Expr): Expr => {
    const named = rewriteExpr(x, (y) => {
      const part = partOf(y, f.var);
      return part?.size !== size ? y : part.is === 'quotient' ? group : rest;
    });
    return substituteVars(named, whole);
  };
  const halves: readonly For[] = [
    { ...f, var: `${f.var}_g`, hi: i32((constOf(f.hi) as number) / size) },
    { ...f, var: `${f.var}_r`, hi: i32(size) },
  ];
  const { reduction } = nest;
  return {
    loops: nest.loops.flatMap((l) => (l === f ? halves : [l])),
    store: mapExprs([nest.store], apart)[0] as Store,
    reduction: reduction && { ...reduction, init: apart(reduction.init), term: apart(reduction.term) },
  };
}
