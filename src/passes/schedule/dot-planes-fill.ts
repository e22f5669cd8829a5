// Lays planes out in groups: elements of as many planes as a group has lanes in turn, by zips of vectors where the target
// has them, else one by one. What is behind the last plane counts for nothing, as rows have zeros there.

import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import {
  bitcast,
  type Expr,
  i32,
  type LoadExpr,
  rewriteExpr,
  substituteVars,
  variable,
  vec,
  constant,
} from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { blocksOf, type PlaneSchedule, sizeOf } from './dot-planes.js';
import { narrowVector } from './half-lanes.js';
import { each, type ScheduleOptions } from './loops.js';
import type { Panels } from './pack.js';

export interface PlaneLayout {
  readonly slot: number;
  /** Elements of a plane, with those between planes. */
  readonly pitch: number;
  /** Where a step's window begins. */
  readonly at: Expr;
}

/** Planes a multiple of this many bytes apart would share few places of a cache. */
const CONFLICT = 1024;
const LINE = 64;

export function planeLayout(s: PlaneSchedule, panels: Panels): PlaneLayout {
  const { span, overlap, step, within } = s.planes;
  const bytes = s.group * DTYPE_INFO[s.y.dtype].bytes;
  const pitch = (span * bytes) % CONFLICT === 0 ? span + LINE / bytes : span;
  const panel = panels.addScratch(s.y.dtype, blocksOf(s) * pitch * s.group);
  const block = e.mul(variable(s.along.var, 'i32'), overlap ? step * s.group : pitch);
  return { ...panel, pitch, at: e.mul(e.add(block, within), s.group) };
}

/** The value of the planes' element `at`, `k` planes on. */
function elementAt(s: PlaneSchedule, at: Expr, k: number, block: Expr): Expr {
  const { source, step } = s.planes;
  const zero = new Map([...s.walking, s.columns, ...s.steps].map((f) => [f.var, i32(0)] as const));
  const first = substituteVars(source.index[0] as Expr, zero);
  const index = e.add(first, e.mul(e.add(e.mul(block, s.group), k), step), at);
  return rewriteExpr(s.y.value, (x) => (x === source || isSame(x, source) ? { ...source, index: [index] } : x));
}

const isSame = (x: Expr, source: LoadExpr): boolean => x.k === 'load' && x.src === source.src;

export function layOutPlanes(s: PlaneSchedule, l: PlaneLayout, o: ScheduleOptions): readonly Stmt[] {
  const { span, overlap, step, size } = s.planes;
  const block = overlap ? i32(0) : variable('block', 'i32');
  const blocks = blocksOf(s);
  const rest = sizeOf(s.along) % s.group;
  const fillBlock = (b: Expr, planes: number): readonly Stmt[] => {
    // Of planes that overlap, elements behind the last are not there.
    const there = overlap ? Math.min(span, size - (s.group - 1) * step) : span;
    return [...range(s, l, b, 0, there, planes, o), ...tail(s, l, b, there, span, planes)];
  };
  if (overlap) return fillBlock(block, s.group);
  const full = rest === 0 ? blocks : blocks - 1;
  return [
    ...(full > 0 ? [each('block', i32(0), i32(full), 1, fillBlock(block, s.group))] : []),
    ...(rest > 0 ? fillBlock(i32(blocks - 1), rest) : []),
  ];
}

/** Elements one by one, those that are not there as zeros. */
function tail(
  s: PlaneSchedule,
  l: PlaneLayout,
  block: Expr,
  from: number,
  to: number,
  planes: number,
): readonly Stmt[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, n) => from + n).flatMap((at) =>
    Array.from({ length: s.group }, (_, k): Stmt => {
      const isThere = k < planes && at + k * s.planes.step < s.planes.size;
      const value = isThere ? elementAt(s, i32(at), k, block) : i32(0);
      return { s: 'store', buf: l.slot, index: target(s, l, block, i32(at), k), value };
    }),
  );
}

const target = (s: PlaneSchedule, l: PlaneLayout, block: Expr, at: Expr, k: number): Expr =>
  e.add(e.mul(e.add(e.mul(block, l.pitch), at), s.group), k);

/** Elements `from` … `to`, all of which are there. */
function range(
  s: PlaneSchedule,
  l: PlaneLayout,
  block: Expr,
  from: number,
  to: number,
  planes: number,
  o: ScheduleOptions,
): readonly Stmt[] {
  const name = 'at';
  const at = variable(name, 'i32');
  const values = Array.from({ length: s.group }, (_, k) => (k < planes ? elementAt(s, at, k, block) : i32(0)));
  const lanes = LANE_BYTES / DTYPE_INFO[s.y.dtype].bytes;
  const wide = to - from >= lanes ? values.map((v) => vectorOf(v, name, lanes, s, o)) : [null];
  if (wide.some((v) => v === null)) {
    const stores = values.map(
      (value, k): Stmt => ({ s: 'store', buf: l.slot, index: target(s, l, block, at, k), value }),
    );
    return to > from ? [each(name, i32(from), i32(to), 1, stores)] : [];
  }
  const parts = interleave(wide as readonly Expr[]);
  const stores = (start: Expr): readonly Stmt[] =>
    parts.map(
      (value, n): Stmt => ({
        s: 'store',
        buf: l.slot,
        index: e.add(target(s, l, block, start, 0), n * lanes),
        value: substituteVars(value, new Map([[name, start]])),
      }),
    );
  const whole = to - ((to - from) % lanes);
  return [each(name, i32(from), i32(whole), lanes, stores(at)), ...(whole < to ? stores(i32(to - lanes)) : [])];
}

/** Bytes of a vector that is taken apart. */
const LANE_BYTES = 16;

function vectorOf(value: Expr, name: string, lanes: number, s: PlaneSchedule, o: ScheduleOptions): Expr | null {
  const dtype = s.y.dtype as 'u8' | 'i16';
  if (value.k === 'const') return vec('splat', [constant(Number(value.value), dtype)], dtype, lanes);
  const wide = narrowVector(value, name, lanes, dtype, o);
  return wide && (wide.dtype === dtype ? wide : bitcast(wide, dtype));
}

/** Lanes of all vectors in turn, as vectors. */
function interleave(v: readonly Expr[]): readonly Expr[] {
  if (v.length === 1) return v;
  const evens = interleave(v.filter((_, k) => k % 2 === 0));
  const odds = interleave(v.filter((_, k) => k % 2 === 1));
  return Array.from({ length: v.length }, (_, n) => {
    const [a, b] = [evens[Math.floor(n / 2)] as Expr, odds[Math.floor(n / 2)] as Expr];
    return vec('zip', [a, b], a.dtype, a.lanes, n % 2);
  });
}
