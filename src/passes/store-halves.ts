// Weights that are halves take two bytes: a constant of floats each of which is a value of f16, or of bf16, is held as their 16
// bits and widened where a sum reads it. It does not matter how the model wrote it, as half floats and a cast or as floats;
// what earlier passes scaled, or transformed for fewer products, is no half any more and stays as it is. Widening is exact.
// Where it pays is a matter of how often an element is widened (docs/decisions/0036).

import { coefficient, isZero, mentions } from '../ir/affine.js';
import { widenHalf } from '../ir/halves.js';
import { rewriteModule, visitNodes } from '../ir/rewrite.js';
import { children, type Expr, type LoadExpr, rewriteExpr, visitExpr } from '../ir/scalar.js';
import type { ConstData, Module, Node, NodeOf, Value } from '../ir/tensor.js';
import { exactHalves, type Half } from '../support/exact-halves.js';
import { decodeFloats } from '../support/float.js';
import { sizeOf } from '../support/tensor.js';
import type { PassContext } from './pass.js';

/** Less is as well left alone. */
const MIN_ELEMENTS = 1024;
/** Narrower axes make no vectors. */
const MIN_WIDTH = 4;
/** Rows of a sum that make widening cheap beside the products: a panel is widened once for all. */
const MIN_ROWS = 16;
/** Bytes, as floats, of all that fewer rows read. Less stays in caches, where arithmetic takes the time and widening is half
 *  of it; more is waited for, and half of it is half the wait. */
const FAR = 8 << 20;

interface Stored {
  readonly kind: Half;
  readonly data: ConstData;
}

/** `single`: widened for itself each time it is read. */
type Use = 'few' | 'many' | 'single' | 'other';

export function storeHalves(m: Module, { vectors }: PassContext): Module {
  if (!vectors) return m;
  const found = findHalves(m, vectors.prefersHalves);
  if (found.size === 0) return m;
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind === 'const') {
        const s = found.get(original.outputs[0] as Value);
        return s && w.emit({ kind: 'const', data: s.data }, [], [{ dtype: 'i16', shape: s.data.shape }], node.origin);
      }
      const halves = original.inputs.map((v) => found.get(v)?.kind);
      if (node.kind !== 'generic' || !halves.some(Boolean)) return undefined;
      const types = node.outputs.map((o) => o.type);
      return w.emit({ ...node, body: widenLoads(node.body, halves) }, node.inputs, types, node.origin, node.binds);
    },
  });
}

function widenLoads(body: Expr, halves: readonly (Half | undefined)[]): Expr {
  return rewriteExpr(body, (x) => {
    if (x.k === 'cast' && x.arg.dtype === x.dtype) return x.arg; // of what was a half by its type
    const kind = x.k === 'load' ? halves[x.src] : undefined;
    return kind && x.k === 'load' ? widenHalf(kind, { ...x, dtype: 'i16' }) : x;
  });
}

function findHalves(m: Module, always: boolean): ReadonlyMap<Value, Stored> {
  const found = new Map<Value, Stored>();
  const few = new Map<Value, number>();
  const readers = readersIn(m);
  for (const entry of m.entries)
    visitNodes(entry.body, (n) => {
      if (n.kind !== 'const' || !isFloats(n.data)) return;
      const value = n.outputs[0] as Value;
      const uses = (readers.get(value) ?? []).map((r) => (r ? useOf(r, value) : 'other'));
      const stored = uses.length > 0 && !uses.includes('other') && isWorth(n.data, uses) ? halvesOf(n.data) : null;
      if (stored) found.set(value, stored);
      if (stored && n.data.dtype === 'f32' && uses.includes('few')) few.set(value, 4 * sizeOf(n.data.shape));
    });
  const isFar = [...few.values()].reduce((sum, bytes) => sum + bytes, 0) >= FAR;
  if (!isFar && !always) for (const value of few.keys()) found.delete(value);
  return found;
}

/** What the model computes with as halves has two bytes anyway. */
const isWorth = ({ dtype, shape }: ConstData, uses: readonly Use[]): boolean =>
  dtype !== 'f32' || (sizeOf(shape) >= MIN_ELEMENTS && !uses.includes('single'));

const isFloats = ({ dtype }: ConstData): boolean => dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';

function halvesOf(data: ConstData): Stored | null {
  const { dtype, shape } = data;
  const values = data.read().data;
  const halves = exactHalves(
    dtype === 'f16' || dtype === 'bf16' ? decodeFloats(dtype, values as Uint16Array) : (values as Float32Array),
  );
  const tensor = halves && ({ dtype: 'i16', shape, data: halves.bits } as const);
  return tensor && { kind: halves.kind, data: { dtype: 'i16', shape, read: () => tensor } };
}

/** Nodes by what they read; null where it leaves a region. */
function readersIn(m: Module): ReadonlyMap<Value, readonly (Node | null)[]> {
  const found = new Map<Value, (Node | null)[]>();
  const add = (v: Value, n: Node | null): void => void found.set(v, [...(found.get(v) ?? []), n]);
  for (const entry of m.entries) {
    visitNodes(entry.body, (n, region) => {
      for (const v of new Set(n.inputs)) add(v, n);
      for (const v of region.results) add(v, null);
    });
    for (const v of entry.body.results) add(v, null);
  }
  return found;
}

/** How a node reads a constant: for few rows; for many, that share what vectors of columns widen; one by one; or otherwise. */
function useOf(n: Node, weight: Value): Use {
  if (n.kind !== 'generic') return 'other';
  const isMine = (x: Expr): x is LoadExpr => x.k === 'load' && n.inputs[x.src] === weight;
  const { loads, isWidened } = readsOf(n.body, isMine);
  const [mine, ...more] = loads.filter(isMine);
  const isPlain =
    mine && (isWidened || weight.type.dtype === 'f32') && !loads.some((x) => isMine(x) && (x.guard || x.pad));
  if (!isPlain || (n.post && readsOf(n.post, isMine).loads.some(isMine))) return 'other';
  if (n.reducer !== 'add' || more.length > 0) return 'single';
  const rows = n.shape.flatMap((d, k) => (mine.index.some((x) => mentions(x, `i${k}`)) ? [] : [d]));
  const count = rows.reduce<number>((p, d) => p * (typeof d === 'number' ? d : MIN_ROWS), 1);
  if (count > 1 && !isColumns(n, mine, loads)) return 'single';
  return count < MIN_ROWS ? 'few' : 'many';
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

/** Whether vectors go along the constant's innermost axis, and it alone walks that: what they widen serves every row. */
function isColumns({ shape }: NodeOf<'generic'>, mine: LoadExpr, loads: readonly LoadExpr[]): boolean {
  const last = mine.index.at(-1);
  if (last?.k !== 'var') return false;
  const { name } = last;
  const axis = shape.findIndex((_, k) => `i${k}` === name);
  if (axis < 0 || ((shape[axis] as number) || MIN_WIDTH) < MIN_WIDTH) return false;
  return (
    mine.index.slice(0, -1).every((x) => isZero(coefficient(x, name))) &&
    loads.every((x) => x === mine || !x.index.some((i) => mentions(i, name)))
  );
}
