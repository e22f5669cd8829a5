// Shape folding by abstract interpretation: what integers does a small tensor hold, as exact size expressions?
// Works on primitives alone, so every operator folds without a rule of its own. Floating constants take part
// as plain numbers (scales of a resize); anything that depends on data gives null.

import { isFloat } from '../support/dtype.js';
import { sizeOf } from '../support/tensor.js';
import { add, type Dim, isConst, max, min, mul } from './dim.js';
import type { Expr, ScalarOp } from './scalar.js';
import { sizeOp } from './size-op.js';
import type { Node, NodeOf, Value } from './tensor.js';

/** Larger tensors are data, not shapes. */
const MAX_ELEMENTS = 4096;
const MAX_WORK = 65536;

const cache = new WeakMap<Value, readonly Dim[] | null>();

/** The elements in row-major order, or null. */
export function symbolicValues(v: Value): readonly Dim[] | null {
  const known = cache.get(v);
  if (known !== undefined) return known;
  const result = v.node && isSmall(v) ? evaluate(v.node, v) : null;
  cache.set(v, result);
  return result;
}

function isSmall(v: Value): boolean {
  return v.type.shape.every(isConst) && sizeOf(v.type.shape as number[]) <= MAX_ELEMENTS;
}

function evaluate(node: Node, v: Value): readonly Dim[] | null {
  switch (node.kind) {
    case 'const':
      return constValues(node);
    case 'dim':
      return node.dims;
    case 'generic':
      return evaluateGeneric(node);
    case 'view':
      return evaluateView(node);
    case 'concat':
      return evaluateConcat(node, v);
    default:
      return null;
  }
}

function constValues(node: NodeOf<'const'>): readonly Dim[] | null {
  const { dtype } = node.data;
  if (dtype === 'string' || (isFloat(dtype) && dtype !== 'f32' && dtype !== 'f64')) return null;
  const numbers = Array.from(node.data.read().data as ArrayLike<number | bigint>, Number);
  return numbers.every((n) => !isFloat(dtype) || Number.isFinite(n)) ? numbers : null;
}

function* points(shape: readonly number[]): Generator<number[]> {
  const at = shape.map(() => 0);
  for (let n = sizeOf(shape); n > 0; n--) {
    yield at;
    for (let k = shape.length - 1; k >= 0; k--) {
      at[k] = (at[k] as number) + 1;
      if ((at[k] as number) < (shape[k] as number)) break;
      at[k] = 0;
    }
  }
}

type Env = ReadonlyMap<string, number>;

function evaluateGeneric(node: NodeOf<'generic'>): readonly Dim[] | null {
  const { shape, reduce, reducer, body, post } = node;
  if (post) return null;
  if (!reduce.every(isConst)) return null;
  const inner = reduce as readonly number[];
  if (sizeOf(shape as number[]) * sizeOf(inner) > MAX_WORK) return null;
  const combine = reducer ? COMBINE[reducer] : null;
  if (reducer && !combine) return null;
  const out: Dim[] = [];
  for (const i of points(shape as number[])) {
    let acc: Dim | null = combine ? combine.start : null;
    for (const r of points(inner)) {
      const env = new Map<string, number>([
        ...i.map((x, k): [string, number] => [`i${k}`, x]),
        ...r.map((x, k): [string, number] => [`r${k}`, x]),
      ]);
      const x = evalExpr(body, env, node.inputs);
      if (x === null) return null;
      acc = acc === null || !combine ? x : combine.step(acc, x);
    }
    if (acc === null) return null;
    out.push(acc);
  }
  return out;
}

const COMBINE: Partial<Record<string, { start: Dim | null; step: (a: Dim, b: Dim) => Dim }>> = {
  add: { start: 0, step: add },
  mul: { start: 1, step: mul },
  max: { start: null, step: max },
  min: { start: null, step: min },
};

function evaluateView(node: NodeOf<'view'>): readonly Dim[] | null {
  const input = node.inputs[0] as Value;
  const values = symbolicValues(input);
  if (!values || node.map === 'reshape') return values;
  const out: Dim[] = [];
  for (const i of points(node.outputs[0]?.type.shape as number[])) {
    const env = new Map(i.map((x, k): [string, number] => [`i${k}`, x]));
    const at = node.map.map((m) => evalExpr(m, env, []));
    const x = element(input, values, at);
    if (x === null) return null;
    out.push(x);
  }
  return out;
}

function element(v: Value, values: readonly Dim[], at: readonly (Dim | null)[]): Dim | null {
  let flat = 0;
  for (const [k, x] of at.entries()) {
    const size = v.type.shape[k] as number;
    if (typeof x !== 'number' || x < 0 || x >= size) return null;
    flat = flat * size + x;
  }
  return values[flat] ?? null;
}

function evaluateConcat(node: NodeOf<'concat'>, v: Value): readonly Dim[] | null {
  const parts = node.inputs.map(symbolicValues);
  const shape = v.type.shape as readonly number[];
  const outer = sizeOf(shape.slice(0, node.axis));
  const out: Dim[] = [];
  for (let o = 0; o < outer; o++) {
    for (const p of parts) {
      if (!p) return null;
      const run = p.length / outer;
      out.push(...p.slice(o * run, (o + 1) * run));
    }
  }
  return out;
}

/** Value of an expression as a size; i1 as 0 or 1. Null where unknown. */
function evalExpr(x: Expr, env: Env, inputs: readonly Value[]): Dim | null {
  switch (x.k) {
    case 'const':
      return Number.isFinite(Number(x.value)) ? Number(x.value) : null;
    case 'var':
      return env.get(x.name) ?? null;
    case 'dim':
      return x.dim;
    case 'select': {
      const c = evalExpr(x.cond, env, inputs);
      return typeof c === 'number' ? evalExpr(c ? x.a : x.b, env, inputs) : null;
    }
    case 'cast': {
      const v = evalExpr(x.arg, env, inputs);
      if (x.dtype === 'i1') return typeof v === 'number' ? Number(v !== 0) : null;
      if (isFloat(x.arg.dtype)) return typeof v === 'number' ? (isFloat(x.dtype) ? v : Math.trunc(v)) : null;
      if (x.dtype === 'f32' && typeof v === 'number') return Math.fround(v);
      return v;
    }
    case 'load':
      return evalLoad(x, env, inputs);
    case 'op': {
      const args = x.args.map((a) => evalExpr(a, env, inputs));
      if (args.some((a) => a === null)) return null;
      const first = x.args[0] as Expr;
      return isFloat(first.dtype) ? floatOp(x.op, first.dtype === 'f32', args as Dim[]) : sizeOp(x.op, args as Dim[]);
    }
    default:
      return null;
  }
}

function evalLoad(x: Expr & { k: 'load' }, env: Env, inputs: readonly Value[]): Dim | null {
  const v = inputs[x.src] as Value;
  const values = symbolicValues(v);
  if (!values) return null;
  if (x.guard) {
    const g = evalExpr(x.guard, env, inputs);
    if (typeof g !== 'number') return null;
    if (!g) return x.pad ? evalExpr(x.pad, env, inputs) : null;
  }
  const at = x.index.map((i) => evalExpr(i, env, inputs));
  if (at.some((i) => i === null)) return null;
  const inside = at.every((i, k) => typeof i === 'number' && i >= 0 && i < (v.type.shape[k] as number));
  if (!inside && x.pad) return at.every((i) => typeof i === 'number') ? evalExpr(x.pad, env, inputs) : null;
  return element(v, values, at);
}

function floatOp(op: ScalarOp, single: boolean, args: readonly Dim[]): Dim | null {
  const f = FLOAT_OPS[op];
  if (!f || !args.every(isConst)) return null;
  const r = f(...(args as number[]));
  return Number.isFinite(r) ? (single ? Math.fround(r) : r) : null;
}

const FLOAT_OPS: Partial<Record<ScalarOp, (...a: number[]) => number>> = {
  add: (a, b) => (a as number) + (b as number),
  sub: (a, b) => (a as number) - (b as number),
  mul: (a, b) => (a as number) * (b as number),
  div: (a, b) => (a as number) / (b as number),
  min: Math.min,
  max: Math.max,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  sqrt: Math.sqrt,
  neg: (a) => -(a as number),
  eq: (a, b) => Number(a === b),
  lt: (a, b) => Number((a as number) < (b as number)),
  le: (a, b) => Number((a as number) <= (b as number)),
  gt: (a, b) => Number((a as number) > (b as number)),
  ge: (a, b) => Number((a as number) >= (b as number)),
  ne: (a, b) => Number(a !== b),
};
