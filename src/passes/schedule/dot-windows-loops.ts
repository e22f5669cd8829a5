// A schedule of planes (dot-planes.ts) for a compiler without vector types. A block of rows and the windows of a few columns are
// laid out in 16 bits along the reduction, so that each row's products with each window are one loop that compilers make
// vectors of; see dot-loops.ts. Rows that are constant are read as vectors read them.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { cast, constant, type Expr, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import { plainBody } from './accumulate.js';
import { type PlaneSchedule, sizeOf } from './dot-planes.js';
import { clear, type PackedRows, placeInRow } from './dot-windows-rows.js';
import { atWidth, each, NARROWEST, type ScheduleOptions, wrap } from './loops.js';
import type { For, Nest, Reduction } from './nest.js';
import type { Panels } from './pack.js';
import { storeVector } from './tile.js';

/** Windows at a time, and rows that share them as far as these bytes go. */
const WINDOWS = 8;
const MOST_ROWS = 64;
const BYTES = 64 << 10;

export function loopWindows(
  nest: Nest,
  r: Reduction,
  s: PlaneSchedule,
  packed: PackedRows,
  o: ScheduleOptions,
  panels: Panels,
): readonly Stmt[] {
  const { rows } = s;
  if (!rows) return wrap(nest.loops, plainBody(nest, r));
  const { depth } = packed;
  const width = sizeOf(s.columns);
  const windows = Math.min(WINDOWS, width - (width % NARROWEST));
  const most = Math.max(1, Math.min(MOST_ROWS, sizeOf(rows), Math.floor(BYTES / (2 * depth))));
  const block = Math.ceil(sizeOf(rows) / Math.ceil(sizeOf(rows) / most));
  const wide = panels.addScratch('i16', block * depth);
  const window = panels.addScratch('i16', windows * depth);
  const sums = panels.addScratch('i32', windows);
  const [first, at] = [variable(`${rows.var}_b`, 'i32'), variable(`${rows.var}_t`, 'i32')];
  const end = sizeOf(rows) % block === 0 ? i32(block) : e.min(i32(block), e.sub(rows.hi, first));
  const forRows = (body: readonly Stmt[]): Stmt =>
    each(`${rows.var}_t`, i32(0), end, 1, [
      { s: 'let', var: rows.var, value: e.add(first, at), mutable: false },
      ...body,
    ]);
  const original = [s.along, ...s.steps.slice(1)];
  const place = placeInRow(s);
  const isFull = sizeOf(s.along) % s.group === 0;
  const fill = (slot: number, row: Expr, value: Expr): readonly Stmt[] =>
    wrap(original, [{ s: 'store', buf: slot, index: e.add(e.mul(row, depth), place), value }]);
  const column = variable('c', 'i32');
  const start = `${s.columns.var}_v`;
  const own = new Map([[s.columns.var, e.add(variable(start, 'i32'), column)]]);
  const value = isZero(s.y.zero) ? s.y.value : e.sub(s.y.value, s.y.zero);
  const k = variable('k', 'i32');
  const names = Array.from({ length: windows }, (_, c) => `${r.acc}_${c}`);
  const products = names.map((name, c): Stmt => {
    const product = e.mul(
      load(wide.slot, [e.add(e.mul(at, depth), k)], 'i32'),
      load(window.slot, [e.add(k, c * depth)], 'i32'),
    );
    return { s: 'set', var: name, value: e.add(variable(name, 'u32'), cast(product, 'u32')) };
  });
  const narrow = atWidth(o, NARROWEST);
  const store = Array.from({ length: windows / NARROWEST }, (_, v): readonly Stmt[] => {
    const name = `${r.acc}_v${v}`;
    const sum = load(sums.slot, [i32(v * NARROWEST)], 'i32', { lanes: NARROWEST });
    const base = e.add(variable(start, 'i32'), v * NARROWEST);
    const acc = variable(name, 'i32', NARROWEST);
    return [
      { s: 'let', var: name, value: sum, mutable: false },
      ...storeVector(nest.store, r.acc, acc, s.columns.var, base, (x) => x, narrow),
    ];
  }).flat();
  const zero = (slot: number, size: number): readonly Stmt[] => (isFull ? [] : [clear(slot, size)]);
  const ofRow: readonly Stmt[] = [
    ...names.map((name): Stmt => ({ s: 'let', var: name, value: constant(0, 'u32'), mutable: true })),
    each('k', i32(0), i32(depth), 1, products),
    ...names.map((name, c): Stmt => {
      const sum = cast(variable(name, 'u32'), 'i32');
      return { s: 'store', buf: sums.slot, index: i32(c), value: e.add(r.init, sum) };
    }),
    ...store,
  ];
  const last = i32(width - windows);
  const from = width % windows === 0 ? variable(s.columns.var, 'i32') : e.min(variable(s.columns.var, 'i32'), last);
  const columns: For = {
    ...s.columns,
    step: windows,
    body: [
      { s: 'let', var: start, value: from, mutable: false },
      ...zero(window.slot, windows * depth),
      each('c', i32(0), i32(windows), 1, fill(window.slot, column, substituteVars(value, own))),
      forRows(ofRow),
    ],
  };
  const widen: readonly Stmt[] = packed.constant
    ? [each('k', i32(0), i32(depth), 1, [copyOf(wide.slot, e.add(e.mul(at, depth), k), packed.constant, k)])]
    : fill(wide.slot, at, s.x.value);
  const blocks: For = {
    ...rows,
    var: `${rows.var}_b`,
    step: block,
    body: [...(packed.constant ? [] : zero(wide.slot, block * depth)), forRows(widen), ...wrap(s.walking, [columns])],
  };
  return wrap([...s.apart, ...s.others], [blocks]);
}

const copyOf = (buf: number, index: Expr, from: { slot: number; row: Expr }, k: Expr): Stmt => ({
  s: 'store',
  buf,
  index,
  value: load(from.slot, [e.add(from.row, k)], 'i32'),
});
