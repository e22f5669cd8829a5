// Reductions no vector serves, as strict numerics leave those along memory: each keeps its order, and several rows go side
// by side.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, substituteVars, variable } from '../../ir/scalar.js';
import { accumulate, plainBody } from './accumulate.js';
import { constOf, type ScheduleOptions, tileLoop, tileSize, wrap } from './loops.js';
import type { Nest, Reduction } from './nest.js';

/** Scalars in the order they were lowered in: several sums at a time, as one alone would wait for each of its additions. */
export function plainRows(nest: Nest, r: Reduction, o: ScheduleOptions): readonly Stmt[] {
  const rows = [...nest.loops].reverse().find((f) => (constOf(f.hi) ?? 0) > 1);
  const count = rows ? tileSize(rows, o.target.tile.rows, 1) : 1;
  if (!rows || count === 1 || r.init.dtype !== 'f32') return wrap(nest.loops, plainBody(nest, r));
  const start = `${rows.var}_u`;
  const at = (k: number): ReadonlyMap<string, Expr> =>
    new Map([
      [rows.var, e.add(variable(start, 'i32'), k)],
      [r.acc, variable(`${r.acc}_${k}`, r.init.dtype)],
    ]);
  const each = (make: (k: number) => Stmt): readonly Stmt[] => Array.from({ length: count }, (_, k) => make(k));
  const accumulators = Array.from({ length: count }, (_, k) => ({
    name: `${r.acc}_${k}`,
    init: substituteVars(r.init, at(k)),
  }));
  const body = [
    ...accumulators.map((a): Stmt => ({ s: 'let', var: a.name, value: a.init, mutable: true })),
    ...accumulate(r, accumulators, (inside) =>
      each((k) => {
        const acc = inside(`${r.acc}_${k}`);
        return { s: 'set', var: acc, value: e.op(r.op, variable(acc, r.init.dtype), substituteVars(r.term, at(k))) };
      }),
    ),
    ...each((k) => mapExprs([nest.store], (x) => substituteVars(x, at(k)))[0] as Stmt),
  ];
  return wrap(
    nest.loops.filter((f) => f !== rows),
    [tileLoop(rows, count, start, body)],
  );
}
