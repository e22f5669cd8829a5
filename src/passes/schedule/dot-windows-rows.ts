// Rows of a schedule of planes (dot-planes.ts), groups of the reduction one after the other: all at compile time where they are
// constant, else a tile at a time.

import { isZero } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { HALVES } from './dot-blocks.js';
import { positionIn } from './dot-panels.js';
import { type PlaneSchedule, sizeOf } from './dot-planes.js';
import { each, wrap } from './loops.js';
import type { Panels } from './pack.js';

export interface PackedRows {
  /** In front of a tile's sums. */
  readonly fill: readonly Stmt[];
  readonly slot: number;
  /** Where a row of the tile begins. */
  readonly at: (row: number) => Expr;
  /** Sum of a row. */
  readonly sum: (row: number) => Expr;
  /** Elements of a row, groups filled up. */
  readonly depth: number;
  /** Where rows are constants: all of them, and where the row of the nest's own loops begins. */
  readonly constant: { readonly slot: number; readonly row: Expr } | null;
}

const depthOf = (s: PlaneSchedule): number => s.steps.reduce((n, f) => n * sizeOf(f), 1) * s.group;

/** Position of an element in its row: groups of `along` innermost. */
export function placeInRow(s: PlaneSchedule): Expr {
  const at = variable(s.along.var, 'i32');
  const group = new Map([[s.along.var, e.div(at, s.group)]]);
  return e.add(e.mul(substituteVars(positionIn(s.steps), group), s.group), e.rem(at, s.group));
}

export function packRows(s: PlaneSchedule, rowCount: number, panels: Panels): PackedRows {
  return s.isConstant ? constantRows(s, rowCount, panels) : ownRows(s, rowCount, panels);
}

/** Puts zeros everywhere. */
export const clear = (slot: number, size: number): Stmt =>
  each('z', i32(0), i32(size), 1, [{ s: 'store', buf: slot, index: variable('z', 'i32'), value: i32(0) }]);

/** All rows at compile time, in the narrowest type; where pairs are multiplied a tile of them is widened. */
function constantRows(s: PlaneSchedule, rowCount: number, panels: Panels): PackedRows {
  const loops = [...s.apart, ...s.others, ...(s.rows ? [s.rows] : [])];
  const depth = depthOf(s);
  const count = loops.reduce((n, f) => n * sizeOf(f), 1);
  const original = [s.along, ...s.steps.slice(1)];
  const packed = panels.addFilled(s.x.dtype, count * depth, true, (slot) => [
    ...(sizeOf(s.along) % s.group === 0 ? [] : [clear(slot, count * depth)]),
    ...wrap(
      loops,
      wrap(original, [
        { s: 'store', buf: slot, index: e.add(e.mul(positionIn(loops), depth), placeInRow(s)), value: s.x.value },
      ]),
    ),
  ]);
  const constant = { slot: packed.slot, row: e.mul(positionIn(loops), depth) };
  const start = s.rows ? new Map([[s.rows.var, variable(`${s.rows.var}_u`, 'i32')]]) : new Map();
  const first = substituteVars(positionIn(loops), start);
  const sums = isZero(s.y.zero)
    ? null
    : panels.addFilled('i32', count, true, (slot) =>
        wrap(loops, [
          { s: 'let', var: 'total', value: i32(0), mutable: true },
          ...wrap(original, [{ s: 'set', var: 'total', value: e.add(variable('total', 'i32'), s.x.value) }]),
          { s: 'store', buf: slot, index: positionIn(loops), value: variable('total', 'i32') },
        ]),
      );
  const sum = (row: number): Expr => (sums ? load(sums.slot, [e.add(first, row)], 'i32') : i32(0));
  const isWide = s.group === 2 && DTYPE_INFO[s.x.dtype].bytes === 1;
  if (!isWide)
    return {
      fill: [],
      slot: packed.slot,
      at: (row) => e.mul(e.add(first, row), depth),
      sum,
      depth,
      constant,
    };
  const size = rowCount * depth;
  const wide = panels.addScratch('i16', size);
  const from = e.mul(first, depth);
  const w = variable('w', 'i32');
  const whole = size - (size % HALVES);
  const value = (lanes: number): Expr => load(packed.slot, [e.add(from, w)], lanes > 1 ? 'i16' : 'i32', { lanes });
  const widen = (lo: number, hi: number, lanes: number): readonly Stmt[] =>
    hi > lo
      ? [each('w', i32(lo), i32(hi), lanes, [{ s: 'store', buf: wide.slot, index: w, value: value(lanes) }])]
      : [];
  return {
    fill: [...widen(0, whole, HALVES), ...widen(whole, size, 1)],
    slot: wide.slot,
    at: (row) => i32(row * depth),
    sum,
    depth,
    constant,
  };
}

/** A tile of rows, element by element. */
function ownRows(s: PlaneSchedule, rowCount: number, panels: Panels): PackedRows {
  const depth = depthOf(s);
  const packed = panels.addScratch(s.group === 2 ? 'i16' : s.x.dtype, rowCount * depth);
  const sums = isZero(s.y.zero) ? null : panels.addScratch('i32', rowCount);
  const original = [s.along, ...s.steps.slice(1)];
  const row = variable('row', 'i32');
  const start = s.rows ? e.add(variable(`${s.rows.var}_u`, 'i32'), row) : i32(0);
  const atRow = (x: Expr): Expr => (s.rows ? substituteVars(x, new Map([[s.rows.var, start]])) : x);
  const place = e.add(e.mul(row, depth), placeInRow(s));
  const store: Stmt = { s: 'store', buf: packed.slot, index: place, value: atRow(s.x.value) };
  const total = variable('total', 'i32');
  const summed: readonly Stmt[] = sums
    ? [
        { s: 'let', var: 'total', value: i32(0), mutable: true },
        ...wrap(original, [store, { s: 'set', var: 'total', value: e.add(total, atRow(s.x.value)) }]),
        { s: 'store', buf: sums.slot, index: row, value: total },
      ]
    : wrap(original, [store]);
  const isFull = sizeOf(s.along) % s.group === 0;
  return {
    fill: [...(isFull ? [] : [clear(packed.slot, rowCount * depth)]), each('row', i32(0), i32(rowCount), 1, summed)],
    slot: packed.slot,
    at: (k) => i32(k * depth),
    sum: (k) => (sums ? load(sums.slot, [i32(k)], 'i32') : i32(0)),
    depth,
    constant: null,
  };
}
