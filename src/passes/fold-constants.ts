// Computes at compile time what depends on constants alone: all such nodes of the module become one small program,
// run once in the interpreter. Nothing is folded that would make the artifact much larger than its inputs.

import { isConst } from '../ir/dim.js';
import { readersOf, rewriteModule, visitNodes } from '../ir/rewrite.js';
import { type Expr, visitExpr } from '../ir/scalar.js';
import type { ConstData, Module, Node, Value } from '../ir/tensor.js';
import { DTYPE_INFO, isFloat } from '../support/dtype.js';
import { sizeOf } from '../support/tensor.js';
import { finishKernel } from './kernel/finish.js';
import { lowerGeneric } from './lower/generic.js';
import { lowerModule } from './lower/module.js';
import { materialize } from './materialize.js';
import type { PassContext } from './pass.js';
import { unscheduled } from './schedule/operands.js';
import { isShared } from './shared-weights.js';
import { isStreamed } from './streamed-weights.js';

/** A folded constant may be this many elements larger than its inputs… */
const GROWTH = 4096;
/** …and where it takes more bytes than they do, it must be floats (dequantised weights) or bytes (unpacked from fewer bits;
 *  integers that are only widened cost nothing to recompute where they are read), and no more bytes than this. */
const MAX_BYTES = 16 << 20;

const FOLDABLE = new Set<Node['kind']>(['generic', 'view', 'concat', 'scatter', 'kernel']);

/** Weights that stay as they are stored: those a run reads once, those many rows read. */
export interface Kept {
  readonly streamed: boolean;
  readonly shared: boolean;
}

const NONE: Kept = { streamed: false, shared: false };

export function foldConstants(m: Module, c: PassContext, keeps: Kept = NONE): Module {
  const readers = readersOf(m);
  const known = new Set<Value>();
  const order: Node[] = [];
  const wanted = new Set<Value>();
  for (const e of m.entries)
    visitNodes(e.body, (n, region) => {
      const isKept = n.outputs.length === 1 && isKeptFor(n, readers.get(n.outputs[0] as Value) ?? [], keeps);
      if (n.kind === 'const' ? n.data.dtype !== 'string' : !isKept && isFoldable(n, known)) {
        for (const v of n.outputs) known.add(v);
        order.push(n);
      } else for (const v of n.inputs) want(v, known, readers, wanted);
      for (const v of region.results) want(v, known, readers, wanted);
    });
  for (const e of m.entries) for (const v of e.body.results) want(v, known, readers, wanted);
  if (wanted.size === 0) return m;
  const results = [...wanted];
  const folded = evaluate(order, results, m, c);
  return rewriteModule(m, {
    node(node, w) {
      const data = node.outputs.map((v) => folded.get(v));
      if (!data.some(Boolean)) return undefined;
      return node.outputs.map((v, k) => {
        const d = data[k];
        return d ? (w.emit({ kind: 'const', data: d }, [], [v.type], node.origin)[0] as Value) : v;
      });
    },
  });
}

/** Whether unpacking is left to the one who reads. */
const isKeptFor = (n: Node, readers: readonly (Node | null)[], keeps: Kept): boolean =>
  (keeps.streamed && isStreamed(n, readers)) || (keeps.shared && isShared(n, readers));

type Readers = ReadonlyMap<Value, readonly (Node | null)[]>;

/** Views stay views of what was folded, which is what is wanted, but where a value is read a slice at a time: each is then a constant
 *  that may be laid out for its own reader. */
function want(v: Value, known: ReadonlySet<Value>, readers: Readers, wanted: Set<Value>): void {
  if (!known.has(v) || !v.node || v.node.kind === 'const') return;
  if (v.node.kind === 'view' && !isSlice(v, readers)) want(v.node.inputs[0] as Value, known, readers, wanted);
  else wanted.add(v);
}

/** Whether a view is one of those that take a value apart: nothing else reads it, and together they have no more elements. */
function isSlice(v: Value, readers: Readers): boolean {
  let whole = v;
  while (whole.node?.kind === 'view') whole = whole.node.inputs[0] as Value;
  const parts = partsOf(whole, readers);
  const sizes = parts?.map((x) => measure(x).elements) ?? [];
  return parts?.includes(v) === true && sizes.reduce((a, b) => a + b, 0) <= measure(whole).elements;
}

/** The smaller views that all readers of a value read it by; null where some do not. */
function partsOf(v: Value, readers: Readers): readonly Value[] | null {
  const parts: Value[] = [];
  for (const n of readers.get(v) ?? []) {
    const out = n?.kind === 'view' && !readsSizes(n) ? (n.outputs[0] as Value) : null;
    if (!out) return null;
    const more = measure(out).elements < measure(v).elements ? [out] : partsOf(out, readers);
    if (!more) return null;
    parts.push(...more);
  }
  return parts.length > 0 ? parts : null;
}

/** Whether what a node computes depends on a size that is open. */
function readsSizes(n: Node): boolean {
  if (n.kind === 'kernel') return n.kernel.syms.length > 0;
  let reads = false;
  for (const x of exprsOf(n))
    visitExpr(x, (y) => {
      if (y.k === 'dim') reads = true;
    });
  return reads;
}

function exprsOf(n: Node): readonly Expr[] {
  if (n.kind === 'generic') return n.post ? [n.body, n.post] : [n.body];
  if (n.kind === 'scatter') return [...n.index, n.body];
  return n.kind === 'view' && n.map !== 'reshape' ? n.map : [];
}

function isFoldable(n: Node, known: ReadonlySet<Value>): boolean {
  if (!FOLDABLE.has(n.kind) || n.binds.length > 0 || !n.inputs.every((v) => known.has(v))) return false;
  if (!n.outputs.every((v) => v.type.shape.every(isConst)) || readsSizes(n)) return false;
  if (n.kind === 'generic' && !n.reduce.every(isConst)) return false;
  if (n.kind === 'view') return true;
  const [inputs, outputs] = [n.inputs.map(measure), n.outputs.map(measure)];
  const total = (list: readonly { elements: number; bytes: number }[], key: 'elements' | 'bytes'): number =>
    list.reduce((s, x) => s + x[key], 0);
  if (total(outputs, 'elements') > 2 * total(inputs, 'elements') + GROWTH) return false;
  const bytes = total(outputs, 'bytes');
  if (bytes <= Math.max(GROWTH, total(inputs, 'bytes'))) return true;
  return n.outputs.every((v) => isFloat(v.type.dtype) || DTYPE_INFO[v.type.dtype].bytes === 1) && bytes <= MAX_BYTES;
}

function measure(v: Value): { elements: number; bytes: number } {
  const elements = sizeOf(v.type.shape as number[]);
  return { elements, bytes: elements * DTYPE_INFO[v.type.dtype].bytes };
}

function evaluate(nodes: readonly Node[], results: readonly Value[], m: Module, c: PassContext): Map<Value, ConstData> {
  const body = { params: [], nodes, results };
  const names = results.map((_, k) => `c${k}`);
  const module: Module = { ...m, states: [], entries: [{ name: 'fold', inputNames: [], outputNames: names, body }] };
  const program = lowerModule(materialize(module), {
    numerics: 'strict',
    finish: (k) => unscheduled(finishKernel(k)),
    evaluate: c.evaluate,
    generic: lowerGeneric,
    shareRows: 'none',
    attentionBlock: 0,
    avoidsCopies: false,
    ownsValues: false,
  });
  const tensors = c.evaluate(program);
  return new Map(
    results.map((v, k): [Value, ConstData] => {
      const t = tensors[k];
      if (!t) throw new Error(`folding gave no value for result ${k}`);
      return [v, { dtype: t.dtype, shape: t.shape, read: () => t }];
    }),
  );
}
