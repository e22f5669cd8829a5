// Four neighbours an invocation: elementwise nests whose rows are multiples of four load and store vectors, and results
// of 8 and 16 bits are written a word at a time, so that no two invocations write into the same word. Where values do not
// vectorise, or rows do not come out even, an invocation computes its four elements one by one and puts them together.

import { createDivisors, type DivisorOf } from '../../ir/alignment.js';
import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { mapStmt, visitStmts } from '../../ir/kernel-walk.js';
import { cast, type Expr, exprKey, i32, load, substituteVars, variable } from '../../ir/scalar.js';
import type { Fresh } from './grid-rows.js';
import { constOf, lanesAt, type ScheduleOptions } from './loops.js';
import { type For, loadsOf, type Nest, type Store } from './nest.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** Neighbours an invocation computes. */
export const QUAD = 4;
/** With fewer elements a GPU is better served by more invocations. */
const LEAST = 1024;

/** Operators on four lanes; products of high halves are not among them. */
export const GPU_VECTORS: ScheduleOptions = {
  target: {
    lanes: QUAD,
    supports: (op) => op !== 'mulhi_u' && op !== 'mulhi_s',
    tile: { vectors: 1, rows: 4, overlapping: 1 },
    fullRate: 4,
    registers: 16,
    spillsWell: true,
    loadsFirst: false,
    near: 16384,
    unrolls: true,
    loadsHalves: false,
    keepsSplats: false,
    keepsSums: false,
    separates: false,
    longSteps: 0,
    shortSteps: 1,
    rowsAtOnce: 1,
  },
  numerics: 'strict',
};

/** What one iteration of these loops does. */
export interface Shaped {
  readonly loops: readonly For[];
  readonly body: readonly Stmt[];
}

const noLets: DivisorOf = createDivisors([]);

/** Whether an index is a multiple of four wherever `name` is. */
export const isAligned = (index: Expr, name: string): boolean =>
  noLets(substituteVars(index, new Map([[name, i32(0)]]))) % QUAD === 0;

/** The loop along which a store walks memory, if it is a whole number of vectors long. */
export function quadLoop(loops: readonly For[], store: Store): For | null {
  const inner = loops.find((f) => isOne(coefficient(store.index, f.var)));
  if (!inner || loops.some((f) => mentions(f.hi, inner.var))) return null;
  return noLets(inner.hi) % QUAD === 0 && constOf(inner.hi) !== 0 && isAligned(store.index, inner.var) ? inner : null;
}

/** The loops with `inner` last, over vectors. */
export function overQuads(loops: readonly For[], inner: For, name: string): readonly For[] {
  const hi = e.div(inner.hi, QUAD);
  return [...loops.filter((f) => f !== inner), { ...inner, var: name, hi }];
}

/** An elementwise nest in vectors; null where that does not serve. */
export function vectorElements(nest: Nest, isNarrow: boolean, fresh: Fresh): Shaped | null {
  const { store, loops } = nest;
  const inner = quadLoop(loops, store);
  const total = loops.reduce((n, f) => n * (constOf(f.hi) ?? LEAST), 1);
  if (!inner || (!isNarrow && total < LEAST)) return null;
  if (!isNarrow && (store.value.dtype === 'i1' || !servesVectors(store, inner))) return null;
  const block = fresh.name(`${inner.var}_quad`);
  const base = e.mul(variable(block, 'i32'), QUAD);
  const value = vectorizeExpr(store.value, { ...lanesAt(inner.var, base, GPU_VECTORS), gather: true });
  if (!value || (!isNarrow && !WORDS.has(value.dtype))) return null;
  const index = substituteVars(store.index, new Map([[inner.var, base]]));
  return { loops: overQuads(loops, inner, block), body: [{ ...store, index, value: splat(value, QUAD) }] };
}

const WORDS: ReadonlySet<string> = new Set(['f32', 'i32', 'u32']);

/** Whether at least half of what moves along the loop does so in whole vectors. */
function servesVectors(store: Store, inner: For): boolean {
  const walks = loadsOf(store.value).filter((x) => mentions(x.index[0] as Expr, inner.var));
  const whole = walks.filter(
    (x) =>
      isOne(coefficient(x.index[0] as Expr, inner.var)) &&
      isAligned(x.index[0] as Expr, inner.var) &&
      !(x.guard && mentions(x.guard, inner.var)),
  );
  return 2 * whole.length + 1 >= walks.length;
}

/** The loops as the order of the store has them, outermost first, and where it starts; null where it is not row-major. */
function rowMajor(loops: readonly For[], index: Expr): { loops: readonly For[]; start: Expr } | null {
  const long = loops.filter((f) => constOf(f.hi) !== 1);
  if (long.some((f) => loops.some((g) => mentions(g.hi, f.var)))) return null;
  const left = [...long];
  const ordered: For[] = [];
  let step: Expr = i32(1);
  while (left.length > 0) {
    const next = left.findIndex((f) => {
      const by = coefficient(index, f.var);
      return by !== null && exprKey(by) === exprKey(step);
    });
    if (next < 0) return null;
    const [f] = left.splice(next, 1) as [For];
    ordered.unshift(f);
    step = e.mul(step, f.hi);
  }
  const start = substituteVars(index, new Map(loops.map((f) => [f.var, i32(0) as Expr])));
  return { loops: ordered, start };
}

/** A nest whose last statement stores a narrow result, by words of its output. */
export function wordNest({ loops, body }: Shaped, fresh: Fresh): Shaped | null {
  const store = body[body.length - 1];
  if (store?.s !== 'store' || countStores(body) !== 1) return null;
  const order = rowMajor(loops, store.index);
  if (!order || noLets(order.start) % QUAD !== 0) return null;
  const total = order.loops.reduce<Expr>((n, f) => e.mul(n, f.hi), i32(1));
  const [word, q, held] = [fresh.name('word'), fresh.name('p'), fresh.slot()];
  const first = e.mul(variable(word, 'i32'), QUAD);
  const size = constOf(total);
  const isEven = size !== null && size % QUAD === 0;
  // Four copies rather than a loop: drivers optimise a long body in a loop badly, some for minutes.
  const elements = [0, 1, 2, 3].flatMap((k): readonly Stmt[] => {
    const wanted = e.add(first, k);
    const own = fresh.name('at');
    const at = variable(own, 'i32');
    const places = new Map(loops.map((f) => [f.var, i32(0) as Expr]));
    let inner: Expr = i32(1);
    for (const [n, f] of [...order.loops.entries()].reverse()) {
      const rest = e.div(at, inner);
      places.set(f.var, n === 0 ? rest : e.rem(rest, f.hi));
      inner = e.mul(f.hi, inner);
    }
    const kept: Stmt = { s: 'store', buf: held, index: i32(k), value: cast(store.value, 'i32') };
    return [
      { s: 'let', var: own, value: isEven ? wanted : e.min(wanted, e.sub(total, 1)), mutable: false },
      ...renamed([...body.slice(0, -1), kept], places, fresh),
    ];
  });
  const { buf } = store;
  const out = e.add(order.start, first);
  const all: Stmt = { s: 'store', buf, index: out, value: load(held, [i32(0)], 'i32', { lanes: QUAD }) };
  const place = variable(q, 'i32');
  const single: Stmt = { s: 'store', buf, index: e.add(out, place), value: load(held, [place], 'i32') };
  const guarded: Stmt = { s: 'if', cond: e.lt(e.add(first, place), total), then: [single], else: [] };
  const rest: Stmt = { s: 'for', lo: i32(0), hi: i32(QUAD), step: 1, mode: 'serial', var: q, body: [guarded] };
  const whole: Stmt[] = [
    { s: 'alloc', buf: held, dtype: 'i32', size: QUAD, space: 'register' },
    ...elements,
    isEven ? all : { s: 'if', cond: e.le(e.add(first, QUAD), total), then: [all], else: [rest] },
  ];
  const words = e.div(e.add(total, QUAD - 1), QUAD);
  return { loops: [{ s: 'for', var: word, lo: i32(0), hi: words, step: 1, mode: 'parallel', body: [] }], body: whole };
}

/** A copy of a body with names of its own, its free variables replaced. */
function renamed(body: readonly Stmt[], free: ReadonlyMap<string, Expr>, fresh: Fresh): readonly Stmt[] {
  const names = new Map<string, string>();
  const all = new Map(free);
  visitStmts(body, (s) => {
    if (s.s !== 'let' && s.s !== 'for') return;
    names.set(s.var, fresh.name(s.var));
    all.set(s.var, variable(names.get(s.var) as string, s.s === 'let' ? s.value.dtype : 'i32'));
  });
  const rename = (list: readonly Stmt[]): readonly Stmt[] =>
    list.map((stmt) => {
      const s = mapStmt(stmt, (x) => substituteVars(x, all), rename);
      return s.s === 'let' || s.s === 'for' || s.s === 'set' ? { ...s, var: names.get(s.var) ?? s.var } : s;
    });
  return rename(body);
}

function countStores(body: readonly Stmt[]): number {
  let n = 0;
  visitStmts(body, (s) => {
    if (s.s === 'store' || s.s === 'atomic' || s.s === 'alloc') n++;
  });
  return n;
}

/** An epilogue without vectors: of one lane after the other. */
export function laneByLane(value: Expr, at: (lane: number) => ReadonlyMap<string, Expr>, fresh: Fresh): [Stmt[], Expr] {
  const held = fresh.slot();
  const type = value.dtype === 'i1' ? 'i32' : value.dtype;
  const lanes = [0, 1, 2, 3].map(
    (k): Stmt => ({ s: 'store', buf: held, index: i32(k), value: cast(substituteVars(value, at(k)), type) }),
  );
  const alloc: Stmt = { s: 'alloc', buf: held, dtype: type, size: QUAD, space: 'register' };
  return [[alloc, ...lanes], load(held, [i32(0)], type, { lanes: QUAD })];
}
