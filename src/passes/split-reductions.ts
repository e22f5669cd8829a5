// Few very long reductions become two: a GPU has many groups of invocations, and a reduction to one number would keep only
// one of them busy. Each block gives its own result, and a second reduction takes the blocks together. For those of the
// greatest and least, and their positions, an element that counts twice changes nothing, so the last block may reach back
// over the end; sums must come out even. Sums of floats: split-sums.ts.

import { bounds, ceildiv, type Dim, product, sub } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { rewriteModule, type Rewriter } from '../ir/rewrite.js';
import { cast, dimExpr, type Expr, load, substituteVars, variable } from '../ir/scalar.js';
import type { Module, NodeOf, Reducer, Value } from '../ir/tensor.js';

type Generic = NodeOf<'generic'>;

/** Shorter ones are the work of one group: a kernel more costs as much. */
const LONG = 1 << 20;
/** With more results than this there is work for many groups as it is. */
const FEW = 32;
/** Elements of a block, which a group walks together, and one that a single invocation looks for a position in. */
const BLOCK = 4096;
const BLOCK_ALONE = 512;

export function splitReductions(m: Module): Module {
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'generic' || node.binds.length > 0 || !isLong(node)) return undefined;
      const axis = longestAxis(node);
      const size = node.reduce[axis] as Dim;
      const rest = bounds(product(node.reduce.filter((_, k) => k !== axis)))[1];
      const block = node.reducer?.startsWith('arg') ? BLOCK_ALONE : BLOCK;
      const length = Math.max(1, Math.floor(block / Math.max(1, rest)));
      if (!REPEATABLE.has(node.reducer as Reducer) && !(typeof size === 'number' && size % length === 0))
        return undefined;
      return node.reducer?.startsWith('arg') ? splitPosition(node, length, w) : splitValue(node, axis, length, w);
    },
  });
}

/** Reducers to which an element may be given twice. */
const REPEATABLE: ReadonlySet<Reducer> = new Set<Reducer>([
  ...(['max', 'min', 'and', 'or'] as const),
  ...(['argmax', 'argmin', 'argmax_last', 'argmin_last'] as const),
]);

function isLong(node: Generic): boolean {
  if (node.reducer === null || (node.reducer.startsWith('arg') && node.reduce.length !== 1)) return false;
  if (node.reducer === 'add' && node.body.dtype !== 'i32') return false;
  if (node.reducer === 'mul') return false;
  return bounds(product(node.reduce))[1] >= LONG && bounds(product(node.shape))[1] <= FEW;
}

function longestAxis(node: Generic): number {
  const sizes = node.reduce.map((d) => bounds(d)[1]);
  return sizes.indexOf(Math.max(...sizes));
}

const parallel = (n: number): Expr[] => Array.from({ length: n }, (_, k) => variable(`i${k}`, 'i32'));

/** Position `within` of block `block`, at most the last. */
const placeOf = (block: Expr, within: Expr, length: number, size: Dim): Expr =>
  e.min(e.add(e.mul(block, length), within), dimExpr(sub(size, 1)));

function splitValue(node: Generic, axis: number, length: number, w: Rewriter): readonly Value[] | undefined {
  const rank = node.shape.length;
  const size = node.reduce[axis] as Dim;
  const blocks = ceildiv(size, length);
  const shape = [...node.shape, blocks];
  const { dtype } = node.body;
  const at = placeOf(variable(`i${rank}`, 'i32'), variable(`r${axis}`, 'i32'), length, size);
  const [partial] = w.emit(
    {
      ...node,
      shape,
      reduce: node.reduce.map((d, k) => (k === axis ? length : d)),
      body: substituteVars(node.body, new Map([[`r${axis}`, at]])),
      post: null,
    },
    node.inputs,
    [{ dtype, shape }],
    node.origin,
  );
  if (!partial) return undefined;
  const body = load(node.inputs.length, [...parallel(rank), variable('r0', 'i32')], dtype);
  return w.emit(
    { ...node, reduce: [blocks], body },
    [...node.inputs, partial],
    node.outputs.map((v) => v.type),
    node.origin,
  );
}

/** Each block's own position, and then that of the block whose element is the one. */
function splitPosition(node: Generic, length: number, w: Rewriter): readonly Value[] | undefined {
  const rank = node.shape.length;
  const size = node.reduce[0] as Dim;
  const blocks = ceildiv(size, length);
  const shape = [...node.shape, blocks];
  const within = (block: Expr, r: Expr): Expr => placeOf(block, r, length, size);
  const body = substituteVars(node.body, new Map([['r0', within(variable(`i${rank}`, 'i32'), variable('r0', 'i32'))]]));
  const [partial] = w.emit(
    { ...node, shape, reduce: [length], body, post: null },
    node.inputs,
    [{ dtype: 'i32', shape }],
    node.origin,
  );
  if (!partial) return undefined;
  const found = (block: Expr): Expr => within(block, load(node.inputs.length, [...parallel(rank), block], 'i32'));
  const chosen = cast(found(cast(variable('acc', 'i64'), 'i32')), 'i64');
  const type = (node.outputs[0] as Value).type.dtype;
  const post = node.post ? substituteVars(node.post, new Map([['acc', chosen]])) : cast(chosen, type);
  return w.emit(
    {
      ...node,
      reduce: [blocks],
      body: substituteVars(node.body, new Map([['r0', found(variable('r0', 'i32'))]])),
      post,
    },
    [...node.inputs, partial],
    node.outputs.map((v) => v.type),
    node.origin,
  );
}
