// Gives a buffer to every re-indexing view that someone needs in memory: results, operands of kernels, of control
// flow, of reshapes, and symbols' defining scalars. Elementwise readers index through the view and need no copy.

import { axisVars } from '../ir/builder.js';
import { rewriteModule, type Rewriter } from '../ir/rewrite.js';
import { type Expr, load } from '../ir/scalar.js';
import type { Module, Node, Value } from '../ir/tensor.js';
import { isVirtual } from './lower/access.js';
import { hasRunsForRows } from './lower/runs.js';
import { throughReshape } from './through-views.js';

const NEEDS_STORAGE = new Set<Node['kind']>(['kernel', 'if', 'scan', 'while', 'call', 'state_write']);

/** With `anyIndex` readers go through reshapes of such views too, by dividing. */
export function materialize(m: Module, { anyIndex = false } = {}): Module {
  return rewriteModule(m, {
    node(node, w) {
      const reshaped = !anyIndex && node.kind === 'view' && node.map === 'reshape';
      if (!reshaped && !NEEDS_STORAGE.has(node.kind)) return undefined;
      if (!node.inputs.some(isVirtual)) return undefined;
      const split = reshaped ? splitRows(node) : null;
      if (split) return w.emit({ kind: 'view', map: split }, node.inputs, [outputOf(node).type], node.origin);
      return w.emit(
        node,
        node.inputs.map((v) => stored(v, w)),
        node.outputs.map((v) => v.type),
        node.origin,
        node.binds,
      );
    },
    results: (results, w) => results.map((v) => stored(v, w)),
  });
}

const outputOf = (n: Node): Value => n.outputs[0] as Value;

/** A reshape that only takes apart axes of rows that are runs is an index like another, and needs no copy. */
function splitRows(reshape: Node): readonly Expr[] | null {
  const source = reshape.inputs[0] as Value;
  const isNear = source.node?.kind === 'view' && !isVirtual(source.node.inputs[0] as Value) && hasRunsForRows(source);
  const { shape } = outputOf(reshape).type;
  return isNear ? throughReshape(axisVars(shape.length), shape, source.type.shape) : null;
}

/** The value itself, or a copy in memory. */
function stored(v: Value, w: Rewriter): Value {
  if (!isVirtual(v) || !v.node) return v;
  const body = load(0, axisVars(v.type.shape.length), v.type.dtype);
  const payload = { kind: 'generic', shape: v.type.shape, reduce: [], reducer: null, body, post: null } as const;
  return w.emit(payload, [v], [v.type], v.node.origin)[0] as Value;
}
