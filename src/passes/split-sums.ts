// A very long sum becomes a sum of sums. Added one by one, a million terms cost a 32-bit float three digits: each term
// is rounded to the size of the total so far. In blocks the error stays near that of one block, and the blocks are
// independent, so they can run side by side. N. J. Higham, "The Accuracy of Floating Point Summation", §4.

import { bounds, type Dim, floordiv, product } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { rewriteModule } from '../ir/rewrite.js';
import { type Expr, load, substituteVars, variable } from '../ir/scalar.js';
import type { Module, NodeOf } from '../ir/tensor.js';

/** Shorter sums stay as they are: among them every contraction whose schedule wants it whole. */
const LONG = 1 << 14;
const SHORTEST_BLOCK = 32;
const LONGEST_BLOCK = 1024;
/** Most partial sums that are worth their memory. */
const MOST_BLOCKS = 1 << 18;

export function splitSums(m: Module): Module {
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'generic' || node.binds.length > 0 || !isLongSum(node)) return undefined;
      const split = chooseSplit(node);
      if (!split) return undefined;
      const rank = node.shape.length;
      const { dtype } = node.body;
      const shape = [...node.shape, split.blocks];
      const body = substituteVars(node.body, split.variables);
      const [partial] = w.emit(
        { ...node, shape, reduce: split.inner, body, post: null },
        node.inputs,
        [{ dtype, shape }],
        node.origin,
      );
      if (!partial) return undefined;
      const index = Array.from({ length: rank }, (_, k) => variable(`i${k}`, 'i32'));
      const read = load(node.inputs.length, [...index, variable('r0', 'i32')], dtype);
      return w.emit(
        { ...node, reduce: [split.blocks], body: read },
        [...node.inputs, partial],
        node.outputs.map((v) => v.type),
        node.origin,
      );
    },
  });
}

const highest = (d: Dim): number => bounds(d)[1];

function isLongSum(node: NodeOf<'generic'>): boolean {
  const { dtype } = node.body;
  if (node.reducer !== 'add' || (dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16')) return false;
  return highest(product(node.reduce)) >= LONG;
}

interface Split {
  readonly blocks: Dim;
  /** Reduction sizes within a block. */
  readonly inner: readonly Dim[];
  /** The old reduction variables in terms of the new ones. */
  readonly variables: ReadonlyMap<string, Expr>;
}

/** Blocks are parts of the longest axis if a fitting number divides it, else its single elements. */
function chooseSplit(node: NodeOf<'generic'>): Split | null {
  const { reduce, shape } = node;
  const sizes = reduce.map(highest);
  const axis = sizes.indexOf(Math.max(...sizes));
  const whole = reduce[axis] as Dim;
  const block = variable(`i${shape.length}`, 'i32');
  const others = reduce.filter((_, k) => k !== axis);
  const rest = highest(product(others));
  const length = rest >= SHORTEST_BLOCK ? 1 : largestDivisor(whole);
  const blocks = floordiv(whole, length);
  if (rest * length < SHORTEST_BLOCK || highest(product([...shape, blocks])) > MOST_BLOCKS) return null;
  if (length > 1) {
    const at = e.add(e.mul(block, length), variable(`r${axis}`, 'i32'));
    const inner = reduce.map((d, k) => (k === axis ? length : d));
    return { blocks, inner, variables: new Map([[`r${axis}`, at]]) };
  }
  const renamed = reduce.map((_, k): [string, Expr] => {
    if (k === axis) return [`r${k}`, block];
    return [`r${k}`, variable(`r${k < axis ? k : k - 1}`, 'i32')];
  });
  return { blocks, inner: others, variables: new Map(renamed) };
}

/** The largest block length that divides the size for every value of its symbols; 1 if there is no good one. */
function largestDivisor(d: Dim): number {
  const content = typeof d === 'number' ? d : d.terms.reduce((g, t) => gcd(g, Math.abs(t.coef)), Math.abs(d.constant));
  for (let k = Math.min(LONGEST_BLOCK, content); k >= SHORTEST_BLOCK; k--) if (content % k === 0) return k;
  return 1;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
