// Holds what is provably small in few bytes: an elementwise result of type i32 whose every value fits 16 bits (quantised
// numbers less a zero point, say) is stored as i16 and widened where it is read. It takes half the memory, and a contraction
// of it can use dot products of narrow lanes. Only where every reader is a generic, whose body can widen.

import { rewriteModule, visitNodes } from '../ir/rewrite.js';
import { cast, type Expr, rewriteExpr } from '../ir/scalar.js';
import type { Module, Node, NodeOf, Value } from '../ir/tensor.js';
import { intRange } from '../support/dtype.js';
import { createRangeScope, isWithin, rangeOf } from './kernel/value-range.js';

const NARROW = 'i16';

export function narrowIntegers(m: Module): Module {
  const rigid = readOtherwise(m);
  const narrowed = new Set<Value>();
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind !== 'generic') return undefined;
      const widened = widenReads(node, narrowed);
      const small = !rigid.has(original.outputs[0] as Value) && isSmall(widened);
      if (!small && widened === node) return undefined;
      const payload = small ? { ...widened, body: cast(widened.body, NARROW) } : widened;
      const types = node.outputs.map(({ type }) => (small ? { ...type, dtype: NARROW as typeof type.dtype } : type));
      const outputs = w.emit(payload, node.inputs, types, node.origin, node.binds);
      if (small) for (const v of outputs) narrowed.add(v);
      return outputs;
    },
  });
}

/** Values that something else than a generic reads. */
function readOtherwise(m: Module): ReadonlySet<Value> {
  const found = new Set<Value>();
  const add = (n: Node): void => {
    if (n.kind !== 'generic') for (const v of n.inputs) found.add(v);
    for (const b of n.binds) found.add(n.outputs[b.output] as Value);
  };
  for (const entry of m.entries)
    visitNodes(entry.body, (n, region) => {
      add(n);
      for (const v of region.results) found.add(v);
    });
  for (const entry of m.entries) for (const v of entry.body.results) found.add(v);
  return found;
}

function widenReads(node: NodeOf<'generic'>, narrowed: ReadonlySet<Value>): NodeOf<'generic'> {
  if (!node.inputs.some((v) => narrowed.has(v))) return node;
  const widen = (x: Expr): Expr =>
    rewriteExpr(x, (y) => {
      if (y.k !== 'load' || y.dtype !== 'i32' || !narrowed.has(node.inputs[y.src] as Value)) return y;
      return cast({ ...y, dtype: NARROW, pad: y.pad && cast(y.pad, NARROW) }, 'i32');
    });
  return { ...node, body: widen(node.body), post: node.post && widen(node.post) };
}

/** A single number gains nothing, and a view of a narrow value would need to say so. */
function isSmall(node: NodeOf<'generic'>): boolean {
  if (node.reducer !== null || node.body.dtype !== 'i32' || node.shape.length === 0) return false;
  const scope = createRangeScope((slot) => node.inputs[slot]?.type.dtype);
  const { lo, hi } = intRange(NARROW);
  return isWithin(rangeOf(node.body, scope), { lo: Number(lo), hi: Number(hi) });
}
