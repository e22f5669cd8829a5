// Panels: the part of a term that only columns and the reduction walk, laid out in the order the micro-kernel reads it
// and computed once a column tile (dequantised, centred, transposed on the way). Memory comes from the planner as scratch.

import { e } from '../../ir/expr.js';
import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { visitStmts } from '../../ir/kernel-walk.js';
import { type Expr, i32, type LoadExpr, load, rewriteExpr, substituteVars, variable } from '../../ir/scalar.js';
import type { TileSchedule } from './choose.js';
import { constOf, lanesAt, type ScheduleOptions, wrap } from './loops.js';
import { mergeReduction } from './merge.js';
import { type For, loadsOf, type Reduction } from './nest.js';
import { splat, vectorizeExpr } from './vectorize.js';

export interface Panels {
  /** Scratch parameters added so far. */
  readonly params: readonly BufferParam[];
  /** Whether the kernel can take more parameters. */
  readonly allowed: boolean;
  add(dtype: BufferParam['dtype'], size: number): number;
}

export function createPanels(kernel: Kernel): Panels {
  const params: BufferParam[] = [];
  let locals = false;
  visitStmts(kernel.body, (s) => {
    if (s.s === 'alloc') locals = true;
  });
  return {
    params,
    allowed: !locals,
    // One nest runs at a time, so those of a type share a panel of the largest size.
    add: (dtype, size) => {
      const known = params.findIndex((p) => p.dtype === dtype);
      const at = known < 0 ? params.length : known;
      const most = Math.max(size, Number(params[at]?.size ?? 0));
      params[at] = { name: `panel${at}`, dtype, access: 'scratch', size: most };
      return kernel.params.length + at;
    },
  };
}

export interface PackedTerm {
  /** Fills the panel for the column tile that starts at `start`. */
  readonly fill: readonly Stmt[];
  /** What is left to do: the packed part is `variable`, and loops that then walk as one are merged. */
  readonly reduction: Reduction;
  readonly variable: string;
  /** The packed part of vector `k` of the tile. */
  readonly vector: (k: number) => Expr;
}

/** Row-major position in the reduction. */
const depthOf = (loops: readonly For[]): Expr =>
  loops.reduce<Expr>((at, f, k) => e.add(k === 0 ? at : e.mul(at, f.hi), variable(f.var, 'i32')), i32(0));

export function packTerm(r: Reduction, s: TileSchedule, start: Expr, o: ScheduleOptions, panels: Panels): PackedTerm {
  const part = s.packed[0] as Expr;
  const { lanes } = o.target;
  const width = s.vectors * lanes;
  const depth = r.loops.reduce((p, f) => p * (constOf(f.hi) as number), 1);
  const slot = panels.add(part.dtype, depth * width);
  const at = e.mul(depthOf(r.loops), width);
  const name = 'packed';
  const wide = Array.from({ length: s.vectors }, (_, k) =>
    vectorizeExpr(part, lanesAt(s.columns.var, e.add(start, k * lanes), o)),
  );
  const vectors = wide.every((x) => x !== null && x.lanes > 1);
  const stores = vectors
    ? wide.map((x, k): Stmt => ({ s: 'store', buf: slot, index: e.add(at, k * lanes), value: splat(x as Expr, lanes) }))
    : Array.from(
        { length: width },
        (_, k): Stmt => ({
          s: 'store',
          buf: slot,
          index: e.add(at, k),
          value: substituteVars(part, new Map([[s.columns.var, e.add(start, k)]])),
        }),
      );
  const read = load(slot, [at], part.dtype);
  const rest = mergeReduction({ ...r, term: rewriteExpr(r.term, (x) => (x === part ? read : x)) });
  const merged = loadsOf(rest.term).find((x) => x.src === slot) as LoadExpr;
  return {
    fill: wrap(r.loops, stores),
    reduction: { ...rest, term: rewriteExpr(rest.term, (x) => (x === merged ? variable(name, part.dtype) : x)) },
    variable: name,
    vector: (k) => ({ ...merged, index: [e.add(merged.index[0] as Expr, k * lanes)], lanes }),
  };
}
