// Applies a schedule of planes (dot-planes.ts): lays the planes out in groups, then multiplies tiles of rows × vectors of columns,
// each step a group of every window. Rows are laid out once where they are constant, else a tile at a time.

import { coefficient } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { type Stmt, VECTORS } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable, vec } from '../../ir/scalar.js';
import { positionIn } from './dot-panels.js';
import { loopWindows } from './dot-windows-loops.js';
import { type PackedRows, packRows } from './dot-windows-rows.js';
import { type PlaneSchedule, sizeOf } from './dot-planes.js';
import { layOutPlanes, type PlaneLayout, planeLayout } from './dot-planes-fill.js';
import { constOf, each, MAX_UNROLLED, type ScheduleOptions, tileLoop, wrap } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import type { DotTarget } from './target.js';
import { storeVector, unroll } from './tile.js';

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
  const joined = joinRows(t, dot);
  const columns = columnTiles(t, (bases) => (isInner ? rowTiles(tileBody(t, bases)) : tileBody(t, bases)));
  const apart = isInner ? wrap(s.walking, columns) : rowTiles(wrap(s.walking, columns));
  const inside = joined ? rowTiles(joinedTiles(t, joined, panels)) : apart;
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

/** Lines of an image as one, with what is between them in the planes. */
interface Joined {
  readonly line: For;
  readonly pitch: number;
  readonly length: number;
  readonly lanes: number;
}

/** Vectors that joining lines must save. */
const SAVING = 1.3;

/** Lines that are joined, where they are so short that vectors across them are far fewer. */
function joinRows({ s }: Site, { lanes: widths }: DotTarget): Joined | null {
  const [line, another] = s.walking;
  const pitch = line && constOf(coefficient(s.planes.within, line.var) ?? s.planes.within);
  if (!s.rows || !line || another || !pitch) return null;
  const length = pitch * (sizeOf(line) - 1) + sizeOf(s.columns);
  const lanes = widths.find((n) => n <= length) ?? s.lanes;
  const apart = sizeOf(line) * Math.ceil(sizeOf(s.columns) / s.lanes);
  return apart >= SAVING * Math.ceil(length / lanes) ? { line, pitch, length, lanes } : null;
}

/** Sums of all lines into memory; then the epilogue, line by line. */
function joinedTiles(t: Site, { line, pitch, length, lanes }: Joined, panels: Panels): readonly Stmt[] {
  const { s, r, nest, rowCount } = t;
  const { slot } = panels.addScratch('i32', rowCount * length);
  const at = substituteVars(t.planes.at, new Map([[line.var, i32(0)]]));
  const columns = { ...s.columns, hi: i32(length) };
  const vectors = evenly(Math.ceil(length / lanes), t.o.target.tile.vectors);
  const all: Site = { ...t, s: { ...s, columns, lanes }, planes: { ...t.planes, at }, vectors };
  const keep = (c: Cell): readonly Stmt[] => [
    { s: 'store', buf: slot, index: e.add(c.row * length, c.base), value: variable(c.name, 'i32', lanes) },
  ];
  const row = variable('row', 'i32');
  const rows = s.rows as For;
  const own: Stmt = { s: 'let', var: rows.var, value: e.add(variable(`${rows.var}_u`, 'i32'), row), mutable: false };
  const acc = `${r.acc}_v`;
  const line0 = e.add(e.mul(row, length), e.mul(pitch, variable(line.var, 'i32')));
  const finish = columnTiles({ ...t, vectors: 1 }, (bases) =>
    bases.flatMap((base, v) => {
      const sums = variable(`${acc}${v}`, 'i32', s.lanes);
      const value = load(slot, [e.add(line0, base)], 'i32', { lanes: s.lanes });
      return [
        { s: 'let', var: `${acc}${v}`, value, mutable: false } as const,
        ...storeVector(nest.store, r.acc, sums, s.columns.var, base, (x) => x, t.o),
      ];
    }),
  );
  return [
    ...columnTiles(all, (bases) => tileBody(all, bases, keep)),
    each('row', i32(0), i32(rowCount), 1, [own, ...wrap([line], finish)]),
  ];
}

interface Cell {
  readonly row: number;
  readonly base: Expr;
  readonly name: string;
}

/** Sums of the tile's rows and the vectors that start at `bases`: begin, reduce, store. */
function tileBody(t: Site, bases: readonly Expr[], keep?: (c: Cell) => readonly Stmt[]): readonly Stmt[] {
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
  const store = (c: Cell): readonly Stmt[] =>
    storeVector(nest.store, r.acc, variable(c.name, 'i32', s.lanes), s.columns.var, c.base, (x) => atRow(x, c.row), o);
  return [...begin, ...stepLoops(s.steps, products), ...cells.flatMap(keep ?? store)];
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
  return stepLoops(loops.slice(0, -1), unroll([last], body));
}
