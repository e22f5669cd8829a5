// Gives a buffer to every re-indexing view that someone needs in memory: results, operands of kernels, of control
// flow, of reshapes, and symbols' defining scalars. Elementwise readers index through the view and need no copy.

import { axisVars } from '../ir/builder.js';
import { rewriteModule, type Rewriter } from '../ir/rewrite.js';
import { load } from '../ir/scalar.js';
import type { Module, Node, Value } from '../ir/tensor.js';
import { isVirtual } from './lower/access.js';

const NEEDS_STORAGE = new Set<Node['kind']>(['kernel', 'if', 'scan', 'while', 'call', 'state_write']);

/** With `anyIndex` readers go through reshapes of such views too, by dividing. */
export function materialize(m: Module, { anyIndex = false } = {}): Module {
  return rewriteModule(m, {
    node(node, w) {
      const reshaped = !anyIndex && node.kind === 'view' && node.map === 'reshape';
      if (!reshaped && !NEEDS_STORAGE.has(node.kind)) return undefined;
      if (!node.inputs.some(isVirtual)) return undefined;
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

/** The value itself, or a copy in memory. */
function stored(v: Value, w: Rewriter): Value {
  if (!isVirtual(v) || !v.node) return v;
  const body = load(0, axisVars(v.type.shape.length), v.type.dtype);
  const payload = { kind: 'generic', shape: v.type.shape, reduce: [], reducer: null, body, post: null } as const;
  return w.emit(payload, [v], [v.type], v.node.origin)[0] as Value;
}
