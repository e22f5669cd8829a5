// The two short forms of a generic, both ways: a one-op elementwise generic is its op over whole operands
// (`add %0, %1`, right-aligned broadcasting), a contraction its einsum. A node has a short form exactly where
// building the node from that form gives the same node back, so nothing is lost.

import type { DType } from '../support/dtype.js';
import { axisVars, reductionVars } from './builder.js';
import type { Dim } from './dim.js';
import { dimEq } from './dim.js';
import { printNumber } from './print-expr.js';
import {
  children,
  type ConstExpr,
  type Expr,
  i32,
  type LoadExpr,
  load,
  MACROS,
  PRIMITIVES,
  rawOp,
  type ScalarOp,
} from './scalar.js';
import type { NodeOf, TensorType, Value } from './tensor.js';

export type ShortArg = Value | ConstExpr;

export type ShortForm =
  | { readonly form: 'op'; readonly name: string; readonly args: readonly ShortArg[] }
  | { readonly form: 'einsum'; readonly spec: string; readonly args: readonly Value[] };

/** The parts of a generic a short form stands for. */
export type GenericParts = Pick<NodeOf<'generic'>, 'shape' | 'reduce' | 'reducer' | 'body' | 'post' | 'inputs'>;

const isConstant = (a: ShortArg): a is ConstExpr => 'k' in a;

/** What a bare literal as operand k is: of the type of the value before it. */
export const operandType = (args: readonly ShortArg[], k: number): DType =>
  args.slice(0, k).reduce<DType>((t, a) => (isConstant(a) ? t : a.type.dtype), 'i32');

export const isScalarOp = (name: string): name is ScalarOp =>
  Object.hasOwn(PRIMITIVES, name) || Object.hasOwn(MACROS, name);
export const arity = (op: ScalarOp): number => ({ ...PRIMITIVES, ...MACROS })[op];

/** Words of one-op forms besides the scalar operations. */
export const WHOLE_FORMS: ReadonlySet<string> = new Set(['copy', 'select', 'cast', 'bitcast']);

export function shortForm(n: NodeOf<'generic'>): ShortForm | null {
  const out = n.outputs[0]?.type;
  if (!out || n.post) return null;
  const found = n.reducer === null && n.reduce.length === 0 ? opForm(n) : n.reducer === 'add' ? einsumForm(n) : null;
  if (!found) return null;
  const back = found.form === 'op' ? fromOp(found, out) : fromEinsum(found, out);
  return back && sameGeneric(n, back) ? found : null;
}

function opForm(n: NodeOf<'generic'>): ShortForm | null {
  const { body } = n;
  const args = (list: readonly Expr[]): ShortArg[] | null => {
    const found = list.map((a) => (a.k === 'load' ? n.inputs[a.src] : a.k === 'const' ? a : undefined));
    return found.every((a) => a !== undefined) ? (found as ShortArg[]) : null;
  };
  const whole = body.k === 'load' ? [body] : children(body);
  const name = body.k === 'load' ? 'copy' : body.k === 'op' ? body.op : WHOLE_FORMS.has(body.k) ? body.k : null;
  const operands = args(whole);
  if (name === null || !operands || body.lanes !== 1 || !operands.some((a) => !isConstant(a))) return null;
  return { form: 'op', name, args: operands };
}

/** The generic a one-op form means; null where its types do not allow it. */
export function fromOp(s: ShortForm & { form: 'op' }, out: TensorType): GenericParts | null {
  const inputs: Value[] = [];
  const args = s.args.map((a): Expr | null => {
    if (isConstant(a)) return a;
    const known = inputs.indexOf(a);
    const slot = known < 0 ? inputs.push(a) - 1 : known;
    const index = broadcastIndex(a.type.shape, out.shape);
    return index && load(slot, index, a.type.dtype);
  });
  if (args.some((a) => a === null)) return null;
  const body = combine(s.name, args as Expr[], out.dtype);
  return body && { shape: out.shape, reduce: [], reducer: null, body, post: null, inputs };
}

function combine(name: string, args: readonly Expr[], dtype: DType): Expr | null {
  const [a, b, c] = args;
  if (!a) return null;
  if (isScalarOp(name))
    return args.length === arity(name) && args.every((x) => x.dtype === a.dtype) ? rawOp(name, ...args) : null;
  if (name === 'copy') return args.length === 1 ? a : null;
  if (name === 'cast') return args.length === 1 ? { k: 'cast', arg: a, dtype, lanes: 1 } : null;
  if (name === 'bitcast') return args.length === 1 ? { k: 'bitcast', arg: a, dtype, lanes: 1 } : null;
  if (name !== 'select' || !b || !c || args.length !== 3 || a.dtype !== 'i1' || b.dtype !== c.dtype) return null;
  return { k: 'select', cond: a, a: b, b: c, dtype: b.dtype, lanes: 1 };
}

function broadcastIndex(from: readonly Dim[], to: readonly Dim[]): readonly Expr[] | null {
  if (from.length > to.length) return null;
  const vars = axisVars(to.length).slice(to.length - from.length);
  return vars.length === from.length ? from.map((d, k) => (d === 1 ? i32(0) : (vars[k] as Expr))) : null;
}

/** Parallel axes are the first letters in order, reduction axes those after them; 1 is position 0. */
const letter = (k: number): string => String.fromCharCode(97 + k);

function einsumForm(n: NodeOf<'generic'>): ShortForm | null {
  const loads: LoadExpr[] = [];
  for (let at: Expr | null = n.body; at; ) {
    const [left, right]: readonly (Expr | undefined)[] = at.k === 'op' && at.op === 'mul' ? at.args : [undefined, at];
    if (right?.k !== 'load' || right.guard || right.pad || right.lanes !== 1) return null;
    loads.unshift(right);
    at = left ?? null;
  }
  const rank = n.shape.length;
  if (rank + n.reduce.length > 26) return null;
  const axis = (x: Expr): string | null => {
    if (x.k === 'const') return x.value === 0 ? '1' : null;
    const m = x.k === 'var' ? /^(?<kind>[ir])(?<k>\d+)$/.exec(x.name)?.groups : undefined;
    return m ? letter(Number(m.k) + (m.kind === 'r' ? rank : 0)) : null;
  };
  const terms = loads.map((x) => x.index.map(axis));
  if (!terms.every((t) => t.every((a) => a !== null))) return null;
  const spec = `${terms.map((t) => t.join('')).join(',')}->${n.shape.map((_, k) => letter(k)).join('')}`;
  return { form: 'einsum', spec, args: loads.map((x) => n.inputs[x.src] as Value) };
}

/** The contraction an einsum means; null where the letters do not fit the operands. */
export function fromEinsum(s: ShortForm & { form: 'einsum' }, out: TensorType): GenericParts | null {
  const rank = out.shape.length;
  const [left = '', right] = s.spec.split('->');
  const terms = left.split(',');
  if (right !== out.shape.map((_, k) => letter(k)).join('') || terms.length !== s.args.length) return null;
  const reduce: Dim[] = [];
  for (const [t, term] of terms.entries())
    for (const [k, c] of [...term].entries()) {
      const d = s.args[t]?.type.shape[k];
      const at = c.charCodeAt(0) - 97 - rank;
      if (d !== undefined && c !== '1' && at >= 0) reduce[at] ??= d;
    }
  if (reduce.length === 0 || [...reduce].some((d) => d === undefined)) return null;
  const axes = [...axisVars(rank), ...reductionVars(reduce.length)];
  const inputs: Value[] = [];
  const loads = s.args.map((v, t): Expr | null => {
    const term = terms[t] as string;
    const index = [...term].map((c) => (c === '1' ? i32(0) : axes[c.charCodeAt(0) - 97]));
    if (index.length !== v.type.shape.length || index.some((x) => x === undefined)) return null;
    const known = inputs.indexOf(v);
    return load(known < 0 ? inputs.push(v) - 1 : known, index as Expr[], v.type.dtype);
  });
  if (loads.some((x) => x === null) || new Set(loads.map((x) => x?.dtype)).size !== 1) return null;
  const body = (loads as Expr[]).reduce((p, q) => rawOp('mul', p, q));
  return { shape: out.shape, reduce, reducer: 'add', body, post: null, inputs };
}

function sameGeneric(a: GenericParts, b: GenericParts): boolean {
  const dims = (x: readonly Dim[], y: readonly Dim[]): boolean =>
    x.length === y.length && x.every((d, k) => dimEq(d, y[k] as Dim));
  return (
    a.inputs.length === b.inputs.length &&
    a.inputs.every((v, k) => v === b.inputs[k]) &&
    dims(a.shape, b.shape) &&
    dims(a.reduce, b.reduce) &&
    sameExpr(a.body, b.body)
  );
}

/** Structural equality of small expressions. */
function sameExpr(a: Expr, b: Expr): boolean {
  if (a.k !== b.k || a.dtype !== b.dtype || a.lanes !== b.lanes) return false;
  if (a.k === 'const' && b.k === 'const') return printNumber(a.value) === printNumber(b.value);
  if (a.k === 'var' && b.k === 'var') return a.name === b.name;
  if (a.k === 'op' && b.k === 'op' && a.op !== b.op) return false;
  if (a.k === 'load' && b.k === 'load' && (a.src !== b.src || !a.guard !== !b.guard || !a.pad !== !b.pad)) return false;
  if (a.k === 'dim' || a.k === 'vec') return false;
  const [x, y] = [children(a), children(b)];
  return x.length === y.length && x.every((c, k) => sameExpr(c, y[k] as Expr));
}
