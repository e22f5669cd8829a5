// What a value computed from sizes would be if every size had its largest value. For decisions that must be made while
// importing although a size is open: exporters branch on sizes where only one of the branches makes sense.

import type { Builder } from '../../ir/builder.js';
import { bounds, type Dim } from '../../ir/dim.js';
import { dimExpr, type Expr, rewriteExpr } from '../../ir/scalar.js';
import { makeNode, type Node, type Payload, type Value } from '../../ir/tensor.js';

const largest = (d: Dim): Dim => (Number.isFinite(bounds(d)[1]) ? bounds(d)[1] : d);
const inExpr = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'dim' ? dimExpr(largest(y.dim)) : y));

/** The elements, or null where they depend on data or on a size without a bound. */
export function valuesAtLargest(b: Builder, v: Value): readonly Dim[] | null {
  return b.values(atLargest(v, new Map()));
}

function atLargest(v: Value, done: Map<Node, Node>): Value {
  const { node } = v;
  const payload = node && fixed(node);
  if (!node || !payload) return v;
  const made =
    done.get(node) ??
    makeNode(
      payload,
      node.inputs.map((x) => atLargest(x, done)),
      node.outputs.map((x) => ({ ...x.type, shape: x.type.shape.map(largest) })),
      node.origin,
    );
  done.set(node, made);
  return made.outputs[v.output] as Value;
}

/** The node's payload at the largest sizes; null for what does not compute with sizes. */
function fixed(node: Node): Payload | null {
  switch (node.kind) {
    case 'dim':
      return { kind: 'dim', dims: node.dims.map(largest) };
    case 'generic':
      return { ...node, shape: node.shape.map(largest), reduce: node.reduce.map(largest), body: inExpr(node.body) };
    case 'view':
      return { ...node, map: node.map === 'reshape' ? 'reshape' : node.map.map(inExpr) };
    case 'concat':
      return { kind: 'concat', axis: node.axis };
    default:
      return null;
  }
}
