// Schedules every nest of a kernel: the choice is made from index maps (choose.ts) and is data; applying it is one
// function a kind. Loops around several nests (row-wise kernels) keep their order and are entered.

import { e } from '../../ir/expr.js';
import { type Kernel, type Stmt, VECTORS } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, rewriteExpr, variable } from '../../ir/scalar.js';
import { chooseSchedule, hasRoom, type Setting } from './choose.js';
import { chooseDot } from './dot.js';
import { choosePlanes } from './dot-planes.js';
import { tileWindows } from './dot-windows.js';
import { tileDot } from './dot-tile.js';
import { vectorizeElementwise } from './elementwise.js';
import { fixedLanes } from './fixed-lanes.js';
import { findFixedPoint } from './fixed-point.js';
import { reduceInLanes, tileAlongReduction } from './lanes.js';
import { atWidth, type ScheduleOptions } from './loops.js';
import { mergeNest } from './merge.js';
import { type For, matchNest, matchReduction, type Nest, type Reduction } from './nest.js';
import { type Constants, type ScheduledKernel, type Source, withOperands } from './operands.js';
import { createPanels, type Panels } from './pack.js';
import { plainRows } from './plain-rows.js';
import { cutRagged } from './ragged.js';
import { rowsInLanes } from './row-lanes.js';
import { invertDivisors, scheduleRow } from './row-loops.js';
import { splitNest } from './split.js';
import { tileParallel } from './tile.js';

/** `constants`: the parameters whose buffers are constant wherever the kernel is called. */
export function scheduleKernel(kernel: Kernel, options: ScheduleOptions, constants: Constants): ScheduledKernel {
  const o: Sourced = { ...options, source: { kernel, constants } };
  const panels = createPanels(kernel);
  const { dot } = o.target;
  const products = kernel.body.flatMap((s): readonly Stmt[] => {
    const found = dot && panels.allowed ? matchNest(s) : null;
    const nest = found?.reduction ? mergeNest(splitNest(found)) : null;
    const windows = nest && byPlanes(nest, o, panels);
    if (windows) return windows;
    const choice = nest?.reduction && dot ? chooseDot(nest, nest.reduction, kernel, constants, dot) : null;
    return nest?.reduction && choice && dot ? tileDot(nest, nest.reduction, choice, dot, o, panels) : [s];
  });
  const body = uniqueNames(scheduleBody(products, o, panels));
  return withOperands(kernel, body, panels.params);
}

/** By products with planes in groups, where that serves. */
function byPlanes(nest: Nest, o: Sourced, panels: Panels): readonly Stmt[] | null {
  const { dot } = o.target;
  const { kernel, constants } = o.source;
  const r = nest.reduction;
  const found = dot && r && panels.allowed ? choosePlanes(nest, r, kernel, constants, dot) : null;
  return dot && r && found ? tileWindows(nest, r, found, dot, o, panels) : null;
}

type Sourced = ScheduleOptions & { readonly source: Source };

function scheduleBody(body: readonly Stmt[], o: Sourced, panels: Panels): readonly Stmt[] {
  const done = new Set<number>();
  return body.flatMap((s, k): readonly Stmt[] => {
    if (done.has(k)) return [];
    const row = scheduleRow(body, k, o.source.kernel.params, o);
    if (row) {
      done.add(k + 1).add(k + 2);
      return row;
    }
    const nest = matchNest(s);
    if (nest) return scheduleNest(nest, o, panels);
    const reduction = k > 0 ? matchReduction(body[k - 1] as Stmt, s) : null;
    if (reduction) return reduceInLanes(reduction, o) ?? [s];
    if (s.s === 'for') return rowsInLanes(s, o) ?? [{ ...s, body: scheduleBody(s.body, o, panels) }];
    if (s.s !== 'if') return [s];
    if (isOnVectors(s.cond)) return [{ ...s, then: scheduleBody(s.then, o, panels) }];
    const [then, otherwise] = [s.then, s.else].map((b) => scheduleBody(b, o, panels));
    return [{ ...s, then: then ?? [], else: otherwise ?? [] }];
  });
}

/** Loops for a program without vectors stay as they are. */
const isOnVectors = (cond: Expr): boolean => cond.k === 'var' && cond.name === VECTORS;

function scheduleNest(found: Nest, o: Sourced, panels: Panels): readonly Stmt[] {
  const nest = mergeNest(splitNest(found));
  const unknown = { mayPack: panels.allowed, shorter: new Map(), atLeast: new Map() };
  if (nest.reduction) return byPlanes(nest, o, panels) ?? scheduleReduction(nest, nest.reduction, o, panels, unknown);
  return vectorizeElementwise(invertDivisors(nest, o), o);
}

/** A tile may be longer than a loop of unknown size: then another schedule serves, chosen with what that says. */
function scheduleReduction(nest: Nest, r: Reduction, o: ScheduleOptions, panels: Panels, at: Setting): readonly Stmt[] {
  const s = chooseSchedule(nest, r, o, at);
  switch (s.kind) {
    case 'tile': {
      const parts = cutRagged(nest, r, s, o, at);
      if (parts) return parts.flatMap((p) => scheduleReduction(p.nest, p.reduction, o, panels, p.at));
      const guard = (f: For, size: number, known: Setting, body: readonly Stmt[]): readonly Stmt[] => {
        if (hasRoom(f, size, at)) return body;
        const shorter = { ...known, shorter: new Map([...known.shorter, [f.var, size]]) };
        // What is stored for many rows serves a single one: the constant is not kept as it was, too.
        const then = s.isStored
          ? tileParallel(nest, r, { ...s, rowCount: 1 }, o, panels)
          : scheduleReduction(nest, r, o, panels, shorter);
        return [{ s: 'if', cond: e.lt(f.hi, size), then, else: body }];
      };
      const tiled = tileParallel(nest, r, s, o, panels);
      const width = s.vectors * s.lanes;
      const wide = { ...at, atLeast: new Map([...at.atLeast, [s.columns.var, width]]) };
      return guard(s.columns, width, at, s.rows ? guard(s.rows, s.rowCount, wide, tiled) : tiled);
    }
    case 'lanes': {
      const narrow = atWidth(o, s.lanes);
      return byIntegers(nest, r, narrow, panels, at) ?? tileAlongReduction(nest, r, s.along, narrow);
    }
    default:
      return byIntegers(nest, r, o, panels, at) ?? plainRows(nest, r, o);
  }
}

/** By way of integers where that serves, beside another schedule. */
function byIntegers(nest: Nest, r: Reduction, o: ScheduleOptions, panels: Panels, at: Setting): readonly Stmt[] | null {
  if (at.inFloats || !panels.allowed || at.shorter.size > 0) return null;
  const found = findFixedPoint(nest, r, o);
  const floats = { ...at, inFloats: true };
  return found && fixedLanes(found, (n, sum) => scheduleReduction(n, sum, o, panels, floats), o, panels);
}

/** Loops and variables may have been copied: every declaration gets a name of its own. */
function uniqueNames(body: readonly Stmt[]): readonly Stmt[] {
  const taken = new Set<string>();
  const fresh = (name: string): string => {
    let out = name;
    for (let k = 1; taken.has(out); k++) out = `${name}_${k}`;
    taken.add(out);
    return out;
  };
  const go = (list: readonly Stmt[], outer: ReadonlyMap<string, string>): readonly Stmt[] => {
    const names = new Map(outer);
    const rename = (x: Expr): Expr => renameVars(x, names);
    return list.map((s): Stmt => {
      switch (s.s) {
        case 'let': {
          const value = rename(s.value);
          const name = fresh(s.var);
          names.set(s.var, name);
          return { ...s, var: name, value };
        }
        case 'set':
          return { ...s, var: names.get(s.var) ?? s.var, value: rename(s.value) };
        case 'for': {
          const [lo, hi] = [rename(s.lo), rename(s.hi)];
          const name = fresh(s.var);
          return { ...s, var: name, lo, hi, body: go(s.body, new Map([...names, [s.var, name]])) };
        }
        case 'if':
          return { ...s, cond: rename(s.cond), then: go(s.then, names), else: go(s.else, names) };
        case 'while':
          return { ...s, cond: rename(s.cond), body: go(s.body, names) };
        default:
          return mapExprs([s], rename)[0] as Stmt;
      }
    });
  };
  return go(body, new Map());
}

const renameVars = (x: Expr, names: ReadonlyMap<string, string>): Expr =>
  rewriteExpr(x, (y) => {
    const to = y.k === 'var' ? names.get(y.name) : undefined;
    return to && y.k === 'var' && to !== y.name ? variable(to, y.dtype, y.lanes) : y;
  });
