// Lays constant operands of contractions out for vectors: where the axis that only the constant walks (the output
// channels of a convolution, the columns of a matrix product) is not innermost in it, the constant is transposed at
// compile time. The choice reads index maps alone. Constants with several readers stay as they are: each is held once.

import { coefficient, isOne, isZero, mentions } from '../ir/affine.js';
import { countUses, type Rewriter, rewriteModule } from '../ir/rewrite.js';
import { type LoadExpr, rewriteExpr, visitExpr } from '../ir/scalar.js';
import type { ConstData, Module, Node, NodeOf, Value } from '../ir/tensor.js';
import { STORAGE, sizeOf, type Tensor, type TypedArray } from '../support/tensor.js';
import { streamedAxis } from './streamed-weights.js';

/** Narrower axes are not worth a vector. */
const MIN_WIDTH = 4;

/** `keepsStreamed`: weights read once a run get the axis a sum walks innermost. */
export function packConstants(m: Module, { keepsStreamed = false } = {}): Module {
  const uses = countUses(m);
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind !== 'generic' || node.reducer === null || node.reducer.startsWith('arg')) return undefined;
      const single = (slot: number): boolean => isPrivate(original.inputs[slot] as Value, uses);
      const streamed = keepsStreamed ? chooseStreamed(node, single) : null;
      const choices = (streamed ? [streamed] : choosePacking(node, single)).filter(({ slot, axis }) => {
        return axis !== (node.inputs[slot] as Value).type.shape.length - 1;
      });
      if (choices.length === 0) return undefined;
      const inputs = [...node.inputs];
      let { body } = node;
      for (const { slot, axis } of choices) {
        const v = node.inputs[slot] as Value;
        const order = [...v.type.shape.keys()].filter((k) => k !== axis).concat(axis);
        inputs[slot] = emitPermuted(v, contentsOf(v) as ConstData, order, w);
        body = rewriteExpr(body, (x) =>
          x.k === 'load' && x.src === slot ? { ...x, index: order.map((k) => x.index[k] as LoadExpr) } : x,
        );
      }
      const types = node.outputs.map((o) => o.type);
      return w.emit({ ...node, body }, inputs, types, node.origin);
    },
  });
}

/** Read once, by way of reshapes perhaps. */
function isPrivate(v: Value, uses: ReadonlyMap<Value, number>): boolean {
  return uses.get(v) === 1 && (v.node?.kind !== 'view' || isPrivate(v.node.inputs[0] as Value, uses));
}

/** What a constant holds, or a reshape of one; null where it is neither. */
function contentsOf(v: Value): ConstData | null {
  const n = v.node;
  if (n?.kind === 'const') return n.data;
  const of = n?.kind === 'view' && n.map === 'reshape' ? contentsOf(n.inputs[0] as Value) : null;
  const shape = v.type.shape;
  if (!of || !shape.every((d) => typeof d === 'number')) return null;
  return { ...of, shape, read: () => ({ ...of.read(), shape }) };
}

function chooseStreamed(
  node: NodeOf<'generic'>,
  single: (slot: number) => boolean,
): { slot: number; axis: number } | null {
  for (const [slot, v] of node.inputs.entries()) {
    const axis = v.node?.kind === 'const' && single(slot) ? streamedAxis(node, slot) : null;
    if (axis !== null) return { slot, axis };
  }
  return null;
}

/** The constant under its name, with its axes in another order. */
export function emitPermuted(v: Value, data: ConstData, order: readonly number[], w: Rewriter): Value {
  const shape = order.map((k) => data.shape[k] as number);
  const payload = { kind: 'const', data: permuted(data, order) } as const;
  const made = w.emit(payload, [], [{ dtype: v.type.dtype, shape }], (v.node as Node).origin)[0] as Value;
  return Object.assign(made, { name: v.name });
}

interface Choice {
  readonly slot: number;
  readonly axis: number;
}

/** The constant operands that walk an axis none but constants do, and the axis of each to put innermost; none where nothing is gained. */
function choosePacking(node: NodeOf<'generic'>, single: (slot: number) => boolean): readonly Choice[] {
  const loads: LoadExpr[] = [];
  visitExpr(node.body, (x) => {
    if (x.k === 'load') loads.push(x);
  });
  if (node.shape.some((_, k) => isVectorAxis(node, loads, `i${k}`))) return [];
  for (const slot of node.inputs.keys())
    for (let k = node.shape.length - 1; k >= 0; k--) {
      const size = node.shape[k] as number;
      const own = typeof size === 'number' && size >= MIN_WIDTH ? choiceFor(node, loads, slot, `i${k}`, single) : null;
      if (!own) continue;
      const walking = new Set(loads.filter((x) => x.src !== slot && !isFree(x, `i${k}`)).map((x) => x.src));
      const others = [...walking].map((s) => choiceFor(node, loads, s, `i${k}`, single));
      if (others.every((c) => c !== null)) return [own, ...others];
    }
  return [];
}

/** The axis of an operand along which alone it walks `name`, if it is a constant that may be moved. */
function choiceFor(
  node: NodeOf<'generic'>,
  loads: readonly LoadExpr[],
  slot: number,
  name: string,
  single: (slot: number) => boolean,
): Choice | null {
  const [load, ...more] = loads.filter((x) => x.src === slot);
  if (!load || more.length > 0 || load.guard || load.pad) return null;
  if (!single(slot) || !contentsOf(node.inputs[slot] as Value)) return null;
  const axis = load.index.findIndex((x) => x.k === 'var' && x.name === name);
  const alone = load.index.every((x, j) => j === axis || !mentions(x, name));
  return axis >= 0 && alone ? { slot, axis } : null;
}

const isFree = (x: LoadExpr, name: string): boolean =>
  !x.index.some((i) => mentions(i, name)) && !(x.guard && mentions(x.guard, name));

/** Every load already invariant or contiguous along the axis, and one contiguous, without a guard that depends on it. */
function isVectorAxis(node: NodeOf<'generic'>, loads: readonly LoadExpr[], name: string): boolean {
  const size = node.shape[Number(name.slice(1))];
  if (typeof size === 'number' && size < MIN_WIDTH) return false;
  let contiguous = false;
  for (const x of loads) {
    if (isFree(x, name)) continue;
    const last = x.index[x.index.length - 1];
    const v = node.inputs[x.src] as Value;
    if (!last || v.node?.kind === 'view' || x.guard || (x.pad && mentions(last, name))) return false;
    if (!x.index.slice(0, -1).every((i) => isZero(coefficient(i, name))) || !isOne(coefficient(last, name)))
      return false;
    contiguous = true;
  }
  return contiguous;
}

/** The constant with its axes in another order; moved when first read. */
export function permuted(data: ConstData, order: readonly number[]): ConstData {
  const shape = order.map((k) => data.shape[k] as number);
  let made: Tensor | undefined;
  return {
    dtype: data.dtype,
    shape,
    read: () => {
      made ??= { dtype: data.dtype, shape, data: permute(data.read(), order) };
      return made;
    },
  };
}

function permute(t: Tensor, order: readonly number[]): TypedArray {
  const source = t.data as TypedArray;
  const out = new STORAGE[t.dtype as 'f32'](source.length) as TypedArray;
  const strides = t.shape.map((_, k) => sizeOf(t.shape.slice(k + 1)));
  const shape = order.map((k) => t.shape[k] as number);
  const step = order.map((k) => strides[k] as number);
  const at = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = source[from] as never;
    for (let k = shape.length - 1; k >= 0; k--) {
      at[k] = (at[k] as number) + 1;
      from += step[k] as number;
      if ((at[k] as number) < (shape[k] as number)) break;
      from -= (at[k] as number) * (step[k] as number);
      at[k] = 0;
    }
  }
  return out;
}
