// Applies a schedule of planes (dot-planes.ts): lays the planes out in groups, then multiplies tiles of rows × vectors of columns,
// each step a group of every window. Rows are laid out once where they are constant, else a tile at a time.

import { e } from '../../ir/expr.js';
import { type Stmt, VECTORS } from '../../ir/kernel.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import { positionIn } from './dot-panels.js';
import { loopWindows } from './dot-windows-loops.js';
import { type PackedRows, packRows } from './dot-windows-rows.js';
import { type PlaneSchedule, sizeOf } from './dot-planes.js';
import { layOutPlanes, type PlaneLayout, planeLayout } from './dot-planes-fill.js';
import { constOf, MAX_UNROLLED, type ScheduleOptions, tileLoop, wrap } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import type { DotTarget } from './target.js';
import { storeVector } from './tile.js';

interface Site {
  readonly nest: Nest;
  readonly r: Reduction;
  readonly s: PlaneSchedule;
  readonly o: ScheduleOptions;
  readonly planes: PlaneLayout;
  readonly rows: PackedRows;
  readonly rowCount: number;
  readonly vectors: number;
}

export function tileWindows(
  nest: Nest,
  r: Reduction,
  s: PlaneSchedule,
  dot: DotTarget,
  options: ScheduleOptions,
  panels: Panels,
): readonly Stmt[] {
  const o = { ...options, target: { ...options.target, lanes: s.lanes } };
  const rowCount = s.rows ? evenly(sizeOf(s.rows), o.target.tile.rows) : 1;
  const planes = planeLayout(s, panels);
  const rows = packRows(s, rowCount, panels);
  const most = s.rows ? o.target.tile.vectors : dot.tile.alone;
  const vectors = evenly(Math.ceil(sizeOf(s.columns) / s.lanes), most);
  const t: Site = { nest, r, s, o, planes, rows, rowCount, vectors };
  const rowTiles = (body: readonly Stmt[]): readonly Stmt[] =>
    s.rows ? [tileLoop(s.rows, rowCount, `${s.rows.var}_u`, [...rows.fill, ...body])] : [...rows.fill, ...body];
  // Rows that need no filling go innermost: what an epilogue reads of them is then nothing to keep in registers.
  const isInner = rows.fill.length === 0;
  const columns = columnTiles(t, (bases) => (isInner ? rowTiles(tileBody(t, bases)) : tileBody(t, bases)));
  const inside = isInner ? wrap(s.walking, columns) : rowTiles(wrap(s.walking, columns));
  const vectorsBody = wrap(s.apart, [...layOutPlanes(s, planes, o), ...wrap(s.others, inside)]);
  if (!dot.mayLackVectors) return vectorsBody;
  const plain = loopWindows(nest, r, s, rows, options, panels);
  return [{ s: 'if', cond: variable(VECTORS, 'i1'), then: vectorsBody, else: plain }];
}

/** At most so many of them at a time, evenly. */
const evenly = (size: number, most: number): number => Math.ceil(size / Math.ceil(size / most));

/** Tiles of columns: whole ones in a loop, then what is left, whose last vector ends with the columns. */
function columnTiles({ s, vectors }: Site, body: (bases: readonly Expr[]) => readonly Stmt[]): readonly Stmt[] {
  const width = sizeOf(s.columns);
  const tile = vectors * s.lanes;
  const whole = width - (width % tile);
  const name = `${s.columns.var}_v`;
  const start = variable(name, 'i32');
  const bases = Array.from({ length: vectors }, (_, v) => e.add(start, v * s.lanes));
  const rest = Array.from({ length: Math.ceil((width - whole) / s.lanes) }, (_, v) =>
    i32(Math.min(whole + v * s.lanes, width - s.lanes)),
  );
  const loop: For = { ...s.columns, var: name, hi: i32(whole), step: tile, body: body(bases) };
  return [...(whole > 0 ? [loop] : []), ...(rest.length > 0 ? body(rest) : [])];
}

/** Sums of the tile's rows and the vectors that start at `bases`: begin, reduce, store. */
function tileBody(t: Site, bases: readonly Expr[]): readonly Stmt[] {
  const { s, r, rows, planes, nest, o } = t;
  const cells = Array.from({ length: t.rowCount }, (_, row) =>
    bases.map((base, v) => ({ row, v, base, name: `${r.acc}_${row}_${v}` })),
  ).flat();
  const atRow = (x: Expr, row: number): Expr =>
    s.rows ? substituteVars(x, new Map([[s.rows.var, e.add(variable(`${s.rows.var}_u`, 'i32'), row)]])) : x;
  const step = e.mul(positionIn(s.steps), s.group);
  const narrow = s.group === 2 ? 'i16' : s.x.dtype;
  const products = cells.map((c): Stmt => {
    const group = load(rows.slot, [e.add(rows.at(c.row), step)], narrow, { lanes: s.group });
    const x = vec('splat', [group], narrow, s.group * s.lanes);
    const index = substituteVars(planes.at, new Map([[s.columns.var, c.base]]));
    const y = load(planes.slot, [index], s.y.dtype, { lanes: s.group * s.lanes });
    return { s: 'set', var: c.name, value: vec('dot', [variable(c.name, 'i32', s.lanes), y, x], 'i32', s.lanes) };
  });
  const begin = cells.map((c): Stmt => {
    const start = e.sub(r.init, e.mul(s.y.zero, rows.sum(c.row)));
    return { s: 'let', var: c.name, value: vec('splat', [start], 'i32', s.lanes), mutable: true };
  });
  const finish = cells.flatMap((c) =>
    storeVector(nest.store, r.acc, variable(c.name, 'i32', s.lanes), s.columns.var, c.base, (x) => atRow(x, c.row), o),
  );
  return [...begin, ...stepLoops(s.steps, products), ...finish];
}

/** Loops around the steps, the inner ones written out as far as that is little code. */
function stepLoops(loops: readonly For[], body: readonly Stmt[]): readonly Stmt[] {
  const last = loops[loops.length - 1];
  if (!last) return body;
  const size = constOf(last.hi) as number;
  if (body.length * size > MAX_UNROLLED)
    return wrap(
      loops.map((f) => ({ ...f, mode: 'serial' as const })),
      body,
    );
  const out = Array.from({ length: size }, (_, k) =>
    mapExprs(body, (x) => substituteVars(x, new Map([[last.var, i32(k)]]))),
  ).flat();
  return stepLoops(loops.slice(0, -1), out);
}
