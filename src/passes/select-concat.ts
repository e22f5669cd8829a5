// A concat as a generic that selects among its operands by the index along the axis. Its readers can then inline it, and
// what made its operands is inlined into it, so nothing is copied. For targets on which a selection costs less than memory.

import { axisVars } from '../ir/builder.js';
import { add, type Dim } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { rewriteModule } from '../ir/rewrite.js';
import { constant, dimExpr, type Expr, load } from '../ir/scalar.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';

/** Each operand is a buffer bound to the kernel, and a comparison for every element behind it. */
const MOST_PARTS = 6;

export function selectConcats(m: Module): Module {
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'concat' || node.inputs.length > MOST_PARTS) return undefined;
      const { shape } = (node.outputs[0] as Value).type;
      const payload = { kind: 'generic', shape, reduce: [], reducer: null, body: select(node), post: null } as const;
      return w.emit(
        payload,
        node.inputs,
        node.outputs.map((v) => v.type),
        node.origin,
        node.binds,
      );
    },
  });
}

function select(node: NodeOf<'concat'>): Expr {
  const { dtype, shape } = (node.outputs[0] as Value).type;
  const axes = axisVars(shape.length);
  const along = axes[node.axis] as Expr;
  let start: Dim = 0;
  const parts = node.inputs.map((v, k) => {
    const from = start;
    start = add(start, v.type.shape[node.axis] as Dim);
    const above = k === 0 ? null : e.le(dimExpr(from), along);
    const below = k === node.inputs.length - 1 ? null : e.lt(along, dimExpr(start));
    const guard = above && below ? e.and(above, below) : (above ?? below ?? undefined);
    const index = axes.map((x, j) => (j === node.axis ? e.sub(x, dimExpr(from)) : x));
    return { below, value: load(k, index, dtype, guard ? { guard, pad: constant(0, dtype) } : {}) };
  });
  return parts.reduceRight<Expr | null>(
    (rest, { below, value }) => (rest && below ? e.select(below, value, rest) : value),
    null,
  ) as Expr;
}
