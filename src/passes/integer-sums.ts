// Σ f32(a)·s · f32(b)·t → f32(Σ a·b)·(s·t): where both factors of a contraction are bytes less a zero point, scaled by what the sum
// does not walk, as between DequantizeLinear and Conv, the sum is one of integers. It is then exact, where the sum of floats
// was rounded, so only under fast numerics. What lies beyond a border is 0, which is the zero point of what was stored.

import { mentions } from '../ir/affine.js';
import { e } from '../ir/expr.js';
import { rewriteModule } from '../ir/rewrite.js';
import { cast, constant, type Expr, type LoadExpr, load, rewriteExpr, substituteVars, variable } from '../ir/scalar.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';
import { toNumbers } from '../support/tensor.js';
import { dropUnused } from './fuse-draft.js';
import type { PassContext } from './pass.js';

export function integerSums(m: Module, c: PassContext): Module {
  if (c.numerics !== 'fast' || !c.vectors?.dot) return m;
  return rewriteModule(m, {
    node(node, w) {
      const made = node.kind === 'generic' ? rewrite(node) : null;
      if (!made) return undefined;
      const types = node.outputs.map((o) => o.type);
      return w.emit(made.payload, made.inputs, types, node.origin, node.binds);
    },
  });
}

/** What a value's elements are: (`stored` − `zero`) · `scale`, each read at the element's own position. */
interface Quantised {
  readonly stored: Value;
  readonly zero: number;
  readonly scale: Expr;
  /** What `scale` reads from. */
  readonly inputs: readonly Value[];
}

/** Sums of more products might leave 32 bits. */
const MOST = Math.floor(2 ** 31 / (255 * 255));

function rewrite(node: NodeOf<'generic'>): { payload: NodeOf<'generic'>; inputs: readonly Value[] } | null {
  const { body } = node;
  if (node.reducer !== 'add' || body.dtype !== 'f32' || body.k !== 'op' || body.op !== 'mul') return null;
  const sizes = [...node.shape, ...node.reduce];
  if (!sizes.every((d) => typeof d === 'number')) return null;
  if ((node.reduce as readonly number[]).reduce((p, d) => p * d, 1) > MOST) return null;
  const inputs = [...node.inputs];
  const factors = body.args.map((x) => {
    const q = x.k === 'load' && !x.guard ? quantisedOf(node.inputs[x.src] as Value) : null;
    return q && x.k === 'load' ? take(x, q, node, inputs) : null;
  });
  const [p, q] = factors;
  if (!p || !q) return null;
  const sum = e.mul(cast(variable('acc', 'i32'), 'f32'), e.mul(p.scale, q.scale));
  const post = node.post ? substituteVars(node.post, new Map([['acc', sum]])) : sum;
  const { operands, ...exprs } = dropUnused({ body: e.mul(p.value, q.value), post, operands: inputs });
  return { payload: { ...node, ...exprs }, inputs: operands };
}

/** A factor in integers, and its scale; what they read joins `inputs`. */
function take(
  x: LoadExpr,
  q: Quantised,
  node: NodeOf<'generic'>,
  inputs: Value[],
): { value: Expr; scale: Expr } | null {
  if (x.pad && !(x.pad.k === 'const' && Number(x.pad.value) === 0)) return null;
  const first = inputs.length;
  const at = new Map(x.index.map((i, k) => [`i${k}`, i] as const));
  const moved = rewriteExpr(q.scale, (y) => (y.k === 'load' ? { ...y, src: y.src + first + 1 } : y));
  const scale = substituteVars(moved, at);
  if (node.reduce.some((_, k) => mentions(scale, `r${k}`))) return null;
  inputs.push(q.stored, ...q.inputs);
  const { dtype } = q.stored.type;
  const pad = x.pad ? { pad: constant(q.zero, dtype) } : {};
  const value = cast(load(first, x.index, dtype, pad), 'i32');
  return { value: q.zero === 0 ? value : e.sub(value, q.zero), scale };
}

function quantisedOf(v: Value): Quantised | null {
  const n = v.node;
  if (n?.kind !== 'generic' || n.reducer !== null || n.post || n.binds.length > 0) return null;
  const isOwn = (index: readonly Expr[]): boolean =>
    index.every((i, k) => (i.k === 'var' ? i.name === `i${k}` : i.k === 'const' && n.shape[k] === 1));
  const [a, b] = n.body.k === 'op' && n.body.op === 'mul' ? n.body.args : [n.body, constant(1, 'f32')];
  for (const [real, scale] of [
    [a, b],
    [b, a],
  ] as [Expr, Expr][]) {
    if (real.k !== 'cast' || real.dtype !== 'f32' || real.arg.dtype !== 'i32') continue;
    const [whole, by] = real.arg.k === 'op' && real.arg.op === 'sub' ? real.arg.args : [real.arg, null];
    const read = whole?.k === 'cast' ? whole.arg : null;
    const zero = by ? numberOf(by, n) : 0;
    if (read?.k !== 'load' || read.guard || read.pad || !isOwn(read.index) || zero === null) continue;
    if (read.dtype !== 'i8' && read.dtype !== 'u8') continue;
    return { stored: n.inputs[read.src] as Value, zero, scale, inputs: n.inputs };
  }
  return null;
}

/** The value of a constant expression, or of a constant all of whose elements are the same. */
function numberOf(x: Expr, n: NodeOf<'generic'>): number | null {
  const y = x.k === 'cast' ? x.arg : x;
  if (y.k === 'const') return Number(y.value);
  const from = y.k === 'load' ? (n.inputs[y.src] as Value).node : null;
  if (from?.kind !== 'const') return null;
  const values = toNumbers(from.data.read());
  const first = values[0] ?? null;
  return first !== null && values.every((v) => v === first) ? first : null;
}
