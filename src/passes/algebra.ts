// Applies the equations of rules/ to every body and every node until none applies. Constants of one element become
// immediates first, so that rules see their values. Relaxed rules stay out of bodies that round to whole numbers or
// compare: there the last bit of a float decides a whole step of the result.

import { applyRule, type Rule } from '../ir/pattern.js';
import { type Rewriter, rewriteModule } from '../ir/rewrite.js';
import { constant, type Expr, mapChildren, rewriteExpr, type ScalarOp, visitExpr } from '../ir/scalar.js';
import type { Module, Node, NodeOf, Value } from '../ir/tensor.js';
import { isFloat, isInteger } from '../support/dtype.js';
import { sizeOf } from '../support/tensor.js';
import { dropUnused } from './fuse-draft.js';
import type { PassContext } from './pass.js';
import { SCALAR_RULES } from './rules/scalar.js';
import { TENSOR_RULES } from './rules/tensor.js';

export function algebra(m: Module, c: PassContext): Module {
  return rewriteModule(m, {
    node(node, w) {
      const equal = equalValue(node, w);
      if (equal) return [equal];
      if (node.kind !== 'generic') return undefined;
      const next = simplifyGeneric(node, c.numerics === 'fast');
      if (next === node) return undefined;
      const outputs = w.emit(
        next,
        next.inputs,
        node.outputs.map((v) => v.type),
        node.origin,
        node.binds,
      );
      const copied = outputs[0]?.node ? equalValue(outputs[0].node, w) : null;
      return copied ? [copied] : outputs;
    },
  });
}

/** What a node's output equals by the rules about nodes, followed to the end. */
function equalValue(n: Node, w: Rewriter): Value | null {
  let best: Value | null = null;
  for (let at: Node | null = n; at; at = best?.node === at ? null : (best?.node ?? null)) {
    const node: Node = at;
    const next: Value | null = firstRule(node, w);
    if (!next) return best;
    best = next;
  }
  return best;
}

function firstRule(n: Node, w: Rewriter): Value | null {
  for (const r of TENSOR_RULES) {
    const equal = r.apply(n, w);
    if (equal) return equal;
  }
  return null;
}

function simplifyGeneric(n: NodeOf<'generic'>, fast: boolean): NodeOf<'generic'> {
  const relaxed = fast && isSmooth(n);
  const memo = new Map<Expr, Expr>();
  const simplify = (x: Expr): Expr => simplifyExpr(readOperands(x, n.inputs), relaxed, memo);
  const body = simplify(n.body);
  const post = n.post && simplify(n.post);
  if (body === n.body && post === n.post) return n;
  const compact = dropUnused({ body, post, operands: [...n.inputs] });
  return { ...n, body: compact.body, post: compact.post, inputs: compact.operands };
}

const STEPS: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  'rint',
  'round',
  'floor',
  'ceil',
  'trunc',
  'sign',
  'rem',
  'fmod',
  'floordiv',
  'floormod',
]);
const COMPARISONS: ReadonlySet<ScalarOp> = new Set<ScalarOp>(['eq', 'ne', 'lt', 'le', 'gt', 'ge']);

/** Does a small error of the float operands stay a small error of the result? */
export function isSmooth(n: Pick<NodeOf<'generic'>, 'body' | 'post'>): boolean {
  let smooth = true;
  for (const x of [n.body, ...(n.post ? [n.post] : [])])
    visitExpr(x, (y) => {
      const of = y.k === 'op' ? (y.args[0] as Expr).dtype : y.k === 'cast' ? y.arg.dtype : null;
      if (of === null || !isFloat(of)) return;
      if (y.k === 'op' && (STEPS.has(y.op) || COMPARISONS.has(y.op))) smooth = false;
      if (y.k === 'cast' && (isInteger(y.dtype) || y.dtype === 'i1')) smooth = false;
    });
  return smooth;
}

const IMMEDIATE = new Set(['f32', 'f64', 'i64', 'i32', 'i16', 'i8', 'u64', 'u32', 'u16', 'u8', 'i1']);

/** Unconditional reads of one-element constants as literals; an operand that stands twice is read at its first place. */
function readOperands(x: Expr, inputs: readonly Value[]): Expr {
  return rewriteExpr(x, (y) => {
    if (y.k !== 'load') return y;
    const v = inputs[y.src] as Value;
    const src = inputs.indexOf(v);
    const n = v.node;
    const literal = n?.kind === 'const' && sizeOf(n.data.shape) === 1 && IMMEDIATE.has(n.data.dtype);
    if (literal && !y.guard && !y.pad && y.lanes === 1)
      return constant(n.data.read().data[0] as number | bigint, n.data.dtype);
    return src === y.src ? y : { ...y, src };
  });
}

/** Rules by the outermost operation they match. */
const BY_HEAD = new Map<string, Rule[]>();
for (const r of SCALAR_RULES) {
  const head = r.pattern.k === 'op' ? r.pattern.op : r.pattern.k;
  BY_HEAD.set(head, [...(BY_HEAD.get(head) ?? []), r]);
}

const headOf = (x: Expr): string => (x.k === 'op' ? x.op : x.k);

/** Bottom-up, each expression until no rule applies. */
export function simplifyExpr(e: Expr, relaxed: boolean, memo: Map<Expr, Expr> = new Map()): Expr {
  const known = memo.get(e);
  if (known) return known;
  let now = mapChildren(e, (c) => simplifyExpr(c, relaxed, memo));
  for (let next: Expr | null = now; next; next = applyAny(now, relaxed)) now = next;
  memo.set(e, now);
  return now;
}

function applyAny(e: Expr, relaxed: boolean): Expr | null {
  for (const r of BY_HEAD.get(headOf(e)) ?? []) {
    if (r.relaxed && !relaxed) continue;
    const next = applyRule(r, e);
    if (next) return next;
  }
  return null;
}
