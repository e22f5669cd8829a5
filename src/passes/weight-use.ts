// How the sums of a module read a constant: whether rows share what is made of its elements, so that making it costs little
// beside the products. Read off index maps.

import { coefficient, isZero, mentions } from '../ir/affine.js';
import { bounds, product } from '../ir/dim.js';
import type { readersIn } from '../ir/rewrite.js';
import { children, type Expr, type LoadExpr, visitExpr } from '../ir/scalar.js';
import type { Node, NodeOf, Value } from '../ir/tensor.js';

/** Narrower axes make no vectors. */
export const MIN_WIDTH = 4;
/** Rows of a sum that make converting cheap beside the products: a panel is converted once for all. */
export const MIN_ROWS = 16;

/** `single`: converted for itself each time it is read. */
export type Use = 'one' | 'few' | 'many' | 'open' | 'single' | 'other';

export const usesOf = (v: Value, readers: ReturnType<typeof readersIn>): readonly Use[] =>
  (readers.get(v) ?? []).map((r) => (r ? useOf(r, v) : 'other'));

/** How a node reads a constant: for one row; for few; for many, or a number nobody knows, that share what vectors of columns make of it; one by one; or otherwise. */
function useOf(n: Node, weight: Value): Use {
  if (n.kind !== 'generic') return 'other';
  const isMine = (x: Expr): x is LoadExpr => x.k === 'load' && n.inputs[x.src] === weight;
  const { loads, isWidened } = readsOf(n.body, isMine);
  const [mine, ...more] = loads.filter(isMine);
  const isPlain = mine && (isWidened || !isHalf(weight)) && !loads.some((x) => isMine(x) && (x.guard || x.pad));
  if (!isPlain || (n.post && readsOf(n.post, isMine).loads.some(isMine))) return 'other';
  if (more.length === 0 && n.reducer === null && mine.index.some(isByData)) return 'many'; // only what is picked
  if (n.reducer !== 'add' || more.length > 0) return 'single';
  if (n.body.dtype !== 'f32') return 'other'; // products of integers have their own layouts
  const rows = n.shape.flatMap((d, k) => (mine.index.some((x) => mentions(x, `i${k}`)) ? [] : [d]));
  const [least, most] = bounds(product(rows));
  if (most > 1 && !isColumns(n, mine, loads)) return 'single';
  if (least >= MIN_ROWS) return 'many';
  return most >= MIN_ROWS ? 'open' : most > 1 ? 'few' : 'one';
}

/** Loads, and whether floats are made of each that is meant right away. */
function readsOf(body: Expr, isMeant: (x: Expr) => boolean): { loads: readonly LoadExpr[]; isWidened: boolean } {
  const loads = new Set<LoadExpr>();
  let isWidened = true;
  visitExpr(body, (x) => {
    if (x.k === 'load') loads.add(x);
    if (children(x).some(isMeant) && !(x.k === 'cast' && x.dtype === 'f32')) isWidened = false;
  });
  return { loads: [...loads], isWidened: isWidened && !isMeant(body) };
}

/** A place that is itself read: of a table. */
function isByData(index: Expr): boolean {
  return index.k === 'load' || children(index).some(isByData);
}

const isHalf = (v: Value): boolean => v.type.dtype === 'f16' || v.type.dtype === 'bf16';

/** Whether vectors go along the constant's innermost axis, which only constants walk: what they make serves every row. */
function isColumns({ shape, inputs }: NodeOf<'generic'>, mine: LoadExpr, loads: readonly LoadExpr[]): boolean {
  const last = mine.index.at(-1);
  if (last?.k !== 'var') return false;
  const { name } = last;
  const axis = shape.findIndex((_, k) => `i${k}` === name);
  if (axis < 0 || ((shape[axis] as number) || MIN_WIDTH) < MIN_WIDTH) return false;
  const isSteady = (x: LoadExpr): boolean =>
    (inputs[x.src] as Value).node?.kind === 'const' || !x.index.some((i) => mentions(i, name));
  return mine.index.slice(0, -1).every((x) => isZero(coefficient(x, name))) && loads.every(isSteady);
}
