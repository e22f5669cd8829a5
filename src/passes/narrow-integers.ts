// Holds what is provably small in few bytes: an elementwise result of type i32 whose every value fits 16 bits (quantised
// numbers less a zero point, say) is stored as i16 and widened where it is read. It takes half the memory, and a contraction
// of it can use dot products of narrow lanes. Where those are best of bytes, what fits in one is stored so, and a zero point
// is left to the readers: their sums take it in once. Only where every reader is a generic, whose body can widen.

import { mentions } from '../ir/affine.js';
import { e } from '../ir/expr.js';
import { rewriteModule, visitNodes } from '../ir/rewrite.js';
import { cast, type Expr, rewriteExpr, visitExpr } from '../ir/scalar.js';
import type { Module, Node, NodeOf, Value } from '../ir/tensor.js';
import { type DType, intRange } from '../support/dtype.js';
import { createRangeScope, isWithin, rangeOf } from './kernel/value-range.js';
import type { PassContext } from './pass.js';

/** How a value is stored: `value` in `dtype`, of which readers take `zero` away, read from `inputs`. */
interface Narrow {
  readonly dtype: DType;
  readonly value: Expr;
  readonly zero: Expr | null;
  readonly inputs: readonly Value[];
}

export function narrowIntegers(m: Module, c: PassContext): Module {
  const readers = describeReaders(m);
  const takesBytes = c.vectors?.dot?.quads ?? false;
  const narrowed = new Map<Value, Narrow>();
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind !== 'generic') return undefined;
      const widened = widenReads(node, narrowed);
      const result = original.outputs[0] as Value;
      const small = readers.rigid.has(result) ? null : narrow(widened, readers.pads.get(result) ?? [], takesBytes);
      if (!small && widened === node) return undefined;
      const payload = small ? { ...widened, body: cast(small.value, small.dtype) } : widened;
      const types = node.outputs.map(({ type }) => (small ? { ...type, dtype: small.dtype } : type));
      const outputs = w.emit(payload, widened.inputs, types, node.origin, node.binds);
      if (small) for (const v of outputs) narrowed.set(v, small);
      return outputs;
    },
  });
}

interface Readers {
  /** Values that something else than a generic reads. */
  readonly rigid: ReadonlySet<Value>;
  /** What values are beyond their borders, for those that are read there. */
  readonly pads: ReadonlyMap<Value, readonly Expr[]>;
}

function describeReaders(m: Module): Readers {
  const rigid = new Set<Value>();
  const pads = new Map<Value, Expr[]>();
  const add = (n: Node): void => {
    if (n.kind !== 'generic') for (const v of n.inputs) rigid.add(v);
    else
      for (const x of n.post ? [n.body, n.post] : [n.body])
        visitExpr(x, (y) => {
          if (y.k !== 'load' || !y.pad) return;
          const value = n.inputs[y.src] as Value;
          pads.set(value, [...(pads.get(value) ?? []), y.pad]);
        });
    for (const b of n.binds) rigid.add(n.outputs[b.output] as Value);
  };
  for (const entry of m.entries)
    visitNodes(entry.body, (n, region) => {
      add(n);
      for (const v of region.results) rigid.add(v);
    });
  for (const entry of m.entries) for (const v of entry.body.results) rigid.add(v);
  return { rigid, pads };
}

function widenReads(node: NodeOf<'generic'>, narrowed: ReadonlyMap<Value, Narrow>): NodeOf<'generic'> {
  if (!node.inputs.some((v) => narrowed.has(v))) return node;
  const inputs = [...node.inputs];
  const slotOf = (v: Value): number => (inputs.includes(v) ? inputs.indexOf(v) : inputs.push(v) - 1);
  const widen = (x: Expr): Expr =>
    rewriteExpr(x, (y) => {
      const held = y.k === 'load' && y.dtype === 'i32' ? narrowed.get(node.inputs[y.src] as Value) : undefined;
      if (y.k !== 'load' || !held) return y;
      const { dtype, zero } = held;
      const stored = cast({ ...y, dtype, pad: y.pad && cast(y.pad, dtype) }, 'i32');
      if (!zero) return stored;
      const moved = rewriteExpr(zero, (z) => (z.k === 'load' ? { ...z, src: slotOf(held.inputs[z.src] as Value) } : z));
      return e.sub(stored, moved);
    });
  const [body, post] = [widen(node.body), node.post && widen(node.post)];
  return { ...node, inputs, body, post };
}

/** A single number gains nothing, and a view of a narrow value would need to say so. */
function narrow(node: NodeOf<'generic'>, pads: readonly Expr[], takesBytes: boolean): Narrow | null {
  const { body, inputs } = node;
  if (node.reducer !== null || body.dtype !== 'i32' || node.shape.length === 0) return null;
  const scope = createRangeScope((slot) => inputs[slot]?.type.dtype);
  const typeFor = (types: readonly DType[], ...values: readonly Expr[]): DType | undefined =>
    types.find((t) => {
      const { lo, hi } = intRange(t);
      return values.every((x) => isWithin(rangeOf(x, scope), { lo: Number(lo), hi: Number(hi) }));
    });
  const bytes: readonly DType[] = takesBytes ? ['u8', 'i8'] : [];
  const [value, zero] = body.k === 'op' && body.op === 'sub' ? (body.args as [Expr, Expr]) : [body, null];
  const apart = zero && pads.length === 0 && isSteady(zero, node) ? typeFor(bytes, value) : undefined;
  const whole = typeFor(bytes, body, ...pads);
  if (apart && !whole) return { dtype: apart, value, zero, inputs };
  const dtype = whole ?? typeFor(['i16'], body, ...pads);
  return dtype ? { dtype, value: body, zero: null, inputs } : null;
}

/** The same for every element, and as short to read as an element. */
const isSteady = (x: Expr, node: NodeOf<'generic'>): boolean =>
  (x.k === 'cast' ? x.arg : x).k === 'load' && !node.shape.some((_, axis) => mentions(x, `i${axis}`));
