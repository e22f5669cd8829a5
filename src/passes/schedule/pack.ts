// Panels: the part of a term that only columns and the reduction walk, laid out in the order the micro-kernel reads it
// and computed once a column tile (dequantised, centred, transposed on the way). Memory comes from the planner as scratch.

import { e } from '../../ir/expr.js';
import type { BufferParam, Kernel, Stmt } from '../../ir/kernel.js';
import { visitStmts } from '../../ir/kernel-walk.js';
import {
  type Expr,
  exprKey,
  i32,
  type LoadExpr,
  load,
  rewriteExpr,
  substituteVars,
  variable,
} from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import type { TileSchedule } from './choose.js';
import { type AddedParam, FIRST_LOCAL } from './operands.js';
import { constOf, each, lanesAt, type ScheduleOptions, wrap } from './loops.js';
import { mergeReduction } from './merge.js';
import { type For, loadsOf, type Reduction } from './nest.js';
import { splat, vectorizeExpr } from './vectorize.js';

export interface Panels {
  /** Parameters added so far. */
  readonly params: readonly AddedParam[];
  /** Whether the kernel can take more parameters. */
  readonly allowed: boolean;
  /** A panel that other nests may use, too. */
  add(dtype: BufferParam['dtype'], size: number): number;
  /** A panel of one nest, declared by a statement in front of it where it is small. */
  addOwn(dtype: BufferParam['dtype'], size: number): { readonly slot: number; readonly declare: readonly Stmt[] };
  /** A panel of one nest in memory for the call, of which each thread has its own. */
  addScratch(dtype: BufferParam['dtype'], size: number): { readonly slot: number };
  /** A panel and the statements that fill it: none where `isConstant`, as it is then filled at compile time. */
  addFilled(
    dtype: BufferParam['dtype'],
    size: number,
    isConstant: boolean,
    fill: (slot: number) => readonly Stmt[],
  ): { readonly slot: number; readonly fill: readonly Stmt[] };
  /** A panel that is filled at compile time; one for all that call it the same. */
  addStored(name: string, dtype: BufferParam['dtype'], size: number, fill: (slot: number) => readonly Stmt[]): number;
}

/** Bytes of a panel that need no memory from the planner. */
const MAX_LOCAL = 1024;

export function createPanels(kernel: Kernel): Panels {
  const params: AddedParam[] = [];
  const push = (dtype: BufferParam['dtype'], size: number, fill: AddedParam['fill'], isShared = false): number => {
    const param = { name: `panel${params.length}`, dtype, access: fill ? 'read' : 'scratch', size } as const;
    return kernel.params.length + params.push({ param, fill, isShared }) - 1;
  };
  const stored = new Map<string, number>();
  let own = 0;
  let locals = false;
  visitStmts(kernel.body, (s) => {
    if (s.s === 'alloc') locals = true;
  });
  return {
    params,
    allowed: !locals,
    // One nest runs at a time, so those of a type share a panel of the largest size.
    add: (dtype, size) => {
      const at = params.findIndex((p) => p.isShared && p.param.dtype === dtype);
      const known = params[at];
      if (!known) return push(dtype, size, null, true);
      params[at] = { ...known, param: { ...known.param, size: Math.max(size, Number(known.param.size)) } };
      return kernel.params.length + at;
    },
    addOwn: (dtype, size) => {
      if (size * DTYPE_INFO[dtype].bytes > MAX_LOCAL) return { slot: push(dtype, size, null), declare: [] };
      const buf = FIRST_LOCAL + own++;
      return { slot: buf, declare: [{ s: 'alloc', buf, dtype, size, space: 'local' }] };
    },
    addScratch: (dtype, size) => ({ slot: push(dtype, size, null) }),
    addFilled: (dtype, size, isConstant, fill) => {
      const stmts = fill(kernel.params.length + params.length);
      return { slot: push(dtype, size, isConstant ? stmts : null), fill: isConstant ? [] : stmts };
    },
    addStored: (name, dtype, size, fill) => {
      const known = stored.get(name);
      if (known !== undefined) return known;
      const slot = push(dtype, size, fill(kernel.params.length + params.length));
      stored.set(name, slot);
      return slot;
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
  if (s.isStored) return storedTerm(r, s, depth, o, panels);
  const slot = panels.add(part.dtype, depth * width);
  const at = e.mul(depthOf(r.loops), width);
  const wide = Array.from({ length: s.vectors }, (_, k) =>
    vectorizeExpr(part, { ...lanesAt(s.columns.var, e.add(start, k * lanes), o), apart: true }),
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
  return { fill: wrap(r.loops, stores), ...readPanel(r, s, slot, at) };
}

/** A panel for each column tile, made at compile time; the last tile ends with the columns. */
function storedTerm(r: Reduction, s: TileSchedule, depth: number, o: ScheduleOptions, panels: Panels): PackedTerm {
  const { columns, lanes, vectors } = s;
  const part = s.packed[0] as LoadExpr;
  const dtype = o.source?.kernel.params[part.src]?.dtype ?? part.dtype; // narrower in memory, perhaps
  const width = vectors * lanes;
  const size = constOf(columns.hi) as number;
  const tiles = Math.ceil(size / width);
  const tile = variable(columns.var, 'i32');
  const within = e.mul(depthOf(r.loops), width);
  const column = variable(`${columns.var}_c`, 'i32');
  const from = e.add(e.min(e.mul(tile, width), size - width), column);
  const name = `${exprKey(part)} ${columns.var} ${size} by ${width}, ${r.loops.map((f) => f.var)}`;
  const slot = panels.addStored(name, dtype, tiles * depth * width, (own) => {
    const value = substituteVars(part, new Map([[columns.var, from]]));
    const store: Stmt = { s: 'store', buf: own, index: e.add(e.mul(tile, depth * width), within, column), value };
    const inner = each(`${columns.var}_c`, i32(0), i32(width), 1, [store]);
    return [each(columns.var, i32(0), i32(tiles), 1, wrap(r.loops, [inner]))];
  });
  return { fill: [], ...readPanel(r, s, slot, e.add(e.mul(tile, depth), within)) };
}

/** The reduction with its packed part read from a panel, `at` being the first column's element. */
function readPanel(r: Reduction, s: TileSchedule, slot: number, at: Expr): Omit<PackedTerm, 'fill'> {
  const part = s.packed[0] as Expr;
  const name = 'packed';
  const read = load(slot, [at], part.dtype);
  const rest = mergeReduction({ ...r, term: rewriteExpr(r.term, (x) => (x === part ? read : x)) });
  const merged = loadsOf(rest.term).find((x) => x.src === slot) as LoadExpr;
  return {
    reduction: { ...rest, term: rewriteExpr(rest.term, (x) => (x === merged ? variable(name, part.dtype) : x)) },
    variable: name,
    vector: (k) => ({ ...merged, index: [e.add(merged.index[0] as Expr, k * s.lanes)], lanes: s.lanes }),
  };
}
