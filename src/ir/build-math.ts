// The arithmetic vocabulary of the builder: elementwise maps with broadcasting, reductions, contractions.
// All of it makes `generic` nodes; nothing here is known to any pass by name.

import { DTYPE_INFO, type DType, intRange, isFloat } from '../support/dtype.js';
import { CompileError } from '../support/errors.js';
import type { Builder, Read } from './builder.js';
import { bounds, type Dim, dimEq, dimKey, max } from './dim.js';
import { e } from './expr.js';
import { cast, constant, dimExpr, type Expr, i32, op, type ScalarOp } from './scalar.js';
import type { Reducer, Value } from './tensor.js';

export interface MathBuilder {
  /** Elementwise with numpy broadcasting: f sees one scalar per operand. */
  map(values: readonly Value[], f: (...x: Expr[]) => Expr): Value;
  /** As `map`, but floats narrower than f32 are computed in f32 and rounded once; the result has the first operand's type. */
  mapFloat(values: readonly Value[], f: (...x: Expr[]) => Expr): Value;
  unary(o: ScalarOp, x: Value): Value;
  binary(o: ScalarOp, x: Value, y: Value | number): Value;
  add(x: Value, y: Value | number): Value;
  sub(x: Value, y: Value | number): Value;
  mul(x: Value, y: Value | number): Value;
  div(x: Value, y: Value | number): Value;
  min(x: Value, y: Value | number): Value;
  max(x: Value, y: Value | number): Value;
  eq(x: Value, y: Value | number): Value;
  lt(x: Value, y: Value | number): Value;
  le(x: Value, y: Value | number): Value;
  gt(x: Value, y: Value | number): Value;
  ge(x: Value, y: Value | number): Value;
  select(cond: Value, a: Value | number, b: Value | number): Value;
  neg(x: Value): Value;
  abs(x: Value): Value;
  exp(x: Value): Value;
  log(x: Value): Value;
  sqrt(x: Value): Value;
  tanh(x: Value): Value;
  erf(x: Value): Value;
  sigmoid(x: Value): Value;
  pow(x: Value, y: Value | number): Value;
  /** Value conversion, see the `cast` expression. */
  cast(x: Value, dtype: DType): Value;
  clamp(x: Value, lo: number, hi: number): Value;
  /** Reduces over `axes` (negative count from the end; all where omitted). Sums of f16/bf16/f8 accumulate in f32; 'mean' divides. */
  reduce(x: Value, how: Reducer | 'mean', axes?: readonly number[], keepDims?: boolean): Value;
  /** Position of the extreme along one axis, as `dtype` (default i64). */
  argReduce(
    x: Value,
    how: 'argmax' | 'argmin' | 'argmax_last' | 'argmin_last',
    axis: number,
    keepDims?: boolean,
    dtype?: DType,
  ): Value;
  softmax(x: Value, axis: number): Value;
  /** Numpy matmul semantics incl. rank 1 and broadcast batch axes. `acc`: type products are formed and summed in. */
  matmul(x: Value, y: Value, options?: { transposeX?: boolean; transposeY?: boolean; acc?: DType }): Value;
  /** einsum over letters, 'bij,bjk->bik'; every letter's size must agree. */
  einsum(equation: string, values: readonly Value[], acc?: DType): Value;
  /** Value of the lowest/highest representable number (float: ∓inf). */
  lowest(dtype: DType): Expr;
  highest(dtype: DType): Expr;
  /** Shape two operands broadcast to. */
  broadcastShape(shapes: readonly (readonly Dim[])[]): readonly Dim[];
  /** Reads `v` at output position `i` of a broadcast shape. */
  readBroadcast(read: Read, v: Value, i: readonly Expr[]): Expr;
}

export const lowest = (t: DType): Expr => constant(isFloat(t) ? -Infinity : intRange(t).lo, t);
export const highest = (t: DType): Expr => constant(isFloat(t) ? Infinity : intRange(t).hi, t);

function broadcastDim(a: Dim, b: Dim): Dim {
  if (dimEq(a, b)) return a;
  if (a === 1) return b;
  if (b === 1) return a;
  if (typeof a === 'number' && typeof b === 'number')
    throw new CompileError('E204', `sizes ${a} and ${b} do not broadcast`);
  if (typeof a === 'number') return a;
  if (typeof b === 'number') return b;
  return max(a, b);
}

export function broadcastShape(shapes: readonly (readonly Dim[])[]): readonly Dim[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  return Array.from({ length: rank }, (_, k) =>
    shapes.reduce<Dim>(
      (d, s) => (k - (rank - s.length) >= 0 ? broadcastDim(d, s[k - (rank - s.length)] as Dim) : d),
      1,
    ),
  );
}

/** Index of a broadcast operand: a size that may be 1 at run time while the result's is not needs a test. */
function broadcastIndex(d: Dim, full: Dim, i: Expr): Expr {
  if (d === 1) return i32(0);
  if (typeof d === 'number' || dimEq(d, full) || bounds(d)[0] > 1) return i;
  return e.select(e.eq(dimExpr(d), 1), 0, i);
}

export function mathBuilder(b: Builder): MathBuilder {
  const toValue = (y: Value | number, like: Value): Value => (typeof y === 'number' ? b.scalar(y, like.type.dtype) : y);

  const readBroadcast = (read: Read, v: Value, i: readonly Expr[], full?: readonly Dim[]): Expr => {
    const skip = i.length - v.type.shape.length;
    return read(
      v,
      v.type.shape.map((d, k) => broadcastIndex(d, full?.[k + skip] ?? d, i[k + skip] as Expr)),
    );
  };

  const map = (values: readonly Value[], f: (...x: Expr[]) => Expr): Value => {
    if (values.length === 0) throw new CompileError('E203', 'an elementwise operation needs an operand');
    const shape = broadcastShape(values.map((v) => v.type.shape));
    return b.generic({ shape, body: (i, _r, read) => f(...values.map((v) => readBroadcast(read, v, i, shape))) });
  };

  const binary = (o: ScalarOp, x: Value, y: Value | number): Value => {
    const v = toValue(y, x);
    if (v.type.dtype !== x.type.dtype)
      throw new CompileError('E204', `${o} of ${x.type.dtype} and ${v.type.dtype}: element types must be equal`);
    return map([x, v], (p, q) => op(o, p, q));
  };
  const bin =
    (o: ScalarOp) =>
    (x: Value, y: Value | number): Value =>
      binary(o, x, y);
  const un =
    (o: ScalarOp) =>
    (x: Value): Value =>
      map([x], (p) => op(o, p));

  const accumulator = (t: DType): DType => (isFloat(t) && DTYPE_INFO[t].bits < 32 ? 'f32' : t);

  function reduceAxes(x: Value, axes: readonly number[] | undefined): readonly number[] {
    const rank = x.type.shape.length;
    const list = (axes ?? x.type.shape.map((_, k) => k)).map((a) => {
      if (a < -rank || a >= Math.max(rank, 1))
        throw new CompileError('E203', `axis ${a} is outside a tensor of rank ${rank}`);
      return a < 0 ? a + rank : a;
    });
    return [...new Set(list)].sort((p, q) => p - q);
  }

  /** The output shape without and with the reduced axes kept, and how to read x. */
  function reduction(x: Value, axes: readonly number[]) {
    const kept = x.type.shape.map((_, k) => k).filter((k) => !axes.includes(k));
    return {
      shape: kept.map((k) => x.type.shape[k] as Dim),
      reduce: axes.map((k) => x.type.shape[k] as Dim),
      keptShape: x.type.shape.map((d, k) => (axes.includes(k) ? 1 : d)),
      index: (i: readonly Expr[], r: readonly Expr[]): Expr[] =>
        x.type.shape.map((_, k) => (axes.includes(k) ? r[axes.indexOf(k)] : i[kept.indexOf(k)]) as Expr),
    };
  }

  function reduce(x: Value, how: Reducer | 'mean', axes?: readonly number[], keepDims = false): Value {
    const list = reduceAxes(x, axes);
    if (list.length === 0) return x;
    const { shape, reduce: sizes, keptShape, index } = reduction(x, list);
    const acc = how === 'max' || how === 'min' ? x.type.dtype : accumulator(x.type.dtype);
    let out = b.generic({
      shape,
      reduce: sizes,
      reducer: how === 'mean' ? 'add' : how,
      body: (i, r, read) => cast(read(x, index(i, r)), acc),
    });
    if (how === 'mean') out = divideByCount(out, sizes);
    out = b.cast(out, x.type.dtype);
    return keepDims ? b.reshape(out, keptShape) : out;
  }

  function divideByCount(sum: Value, sizes: readonly Dim[]): Value {
    return b.generic({
      shape: sum.type.shape,
      body: (i, _r, read) => {
        const count = sizes.reduce<Expr>((p, d) => e.mul(p, dimExpr(d)), i32(1));
        return e.div(
          read(sum, i),
          count.k === 'const' ? constant(count.value, sum.type.dtype) : cast(count, sum.type.dtype),
        );
      },
    });
  }

  return {
    map,
    mapFloat: (values, f) =>
      map(values, (...x) => cast(f(...x.map((p) => cast(p, accumulator(p.dtype)))), (x[0] as Expr).dtype)),
    unary: (o, x) => map([x], (p) => op(o, p)),
    binary,
    add: bin('add'),
    sub: bin('sub'),
    mul: bin('mul'),
    div: bin('div'),
    min: bin('min'),
    max: bin('max'),
    eq: bin('eq'),
    lt: bin('lt'),
    le: bin('le'),
    gt: bin('gt'),
    ge: bin('ge'),
    pow: bin('pow'),
    neg: un('neg'),
    abs: un('abs'),
    exp: un('exp'),
    log: un('log'),
    sqrt: un('sqrt'),
    tanh: un('tanh'),
    erf: un('erf'),
    sigmoid: un('sigmoid'),
    select(cond, x, y) {
      const like = typeof x === 'number' ? y : x;
      if (typeof like === 'number') throw new CompileError('E204', 'select needs a tensor');
      return map([cond, toValue(x, like), toValue(y, like)], (c, p, q) => e.select(c, p, q));
    },
    cast: (x, dtype) => (x.type.dtype === dtype ? x : map([x], (p) => cast(p, dtype))),
    clamp: (x, lo, hi) => map([x], (p) => e.clamp(p, lo, hi)),
    reduce,
    argReduce(x, how, axis, keepDims = false, dtype = 'i64') {
      const list = reduceAxes(x, [axis]);
      const { shape, reduce: sizes, keptShape, index } = reduction(x, list);
      const out = b.generic({ shape, reduce: sizes, reducer: how, dtype, body: (i, r, read) => read(x, index(i, r)) });
      return keepDims ? b.reshape(out, keptShape) : out;
    },
    softmax(x, axis) {
      const acc = accumulator(x.type.dtype);
      const wide = b.cast(x, acc);
      const shifted = b.exp(b.sub(wide, reduce(wide, 'max', [axis], true)));
      return b.cast(b.div(shifted, reduce(shifted, 'add', [axis], true)), x.type.dtype);
    },
    matmul(x, y, options = {}) {
      return matmul(b, x, y, options.transposeX ?? false, options.transposeY ?? false, options.acc);
    },
    einsum: (equation, values, acc) => einsum(b, equation, values, acc),
    lowest,
    highest,
    broadcastShape,
    readBroadcast: (read, v, i) => readBroadcast(read, v, i),
  };
}

function matmul(b: Builder, x: Value, y: Value, tx: boolean, ty: boolean, acc?: DType): Value {
  const vx = x.type.shape.length === 1;
  const vy = y.type.shape.length === 1;
  if (x.type.shape.length === 0 || y.type.shape.length === 0) throw new CompileError('E204', 'matmul of a scalar');
  const p = vx ? b.reshape(x, [1, x.type.shape[0] as Dim]) : x;
  const q = vy ? b.reshape(y, [y.type.shape[0] as Dim, 1]) : y;
  const [ps, qs] = [p.type.shape, q.type.shape];
  const at = (s: readonly Dim[], k: number): Dim => s[s.length + k] as Dim;
  const [m, k] = tx ? [at(ps, -1), at(ps, -2)] : [at(ps, -2), at(ps, -1)];
  const [k2, n] = ty && !vy ? [at(qs, -1), at(qs, -2)] : [at(qs, -2), at(qs, -1)];
  if (typeof k === 'number' && typeof k2 === 'number' && k !== k2)
    throw new CompileError('E204', `inner sizes ${dimKey(k)} and ${dimKey(k2)} of a matrix product differ`);
  const batch = broadcastShape([ps.slice(0, -2), qs.slice(0, -2)]);
  const dtype = x.type.dtype;
  const sum = acc ?? (isFloat(dtype) && DTYPE_INFO[dtype].bits < 32 ? 'f32' : dtype);
  const out = b.generic({
    shape: [...batch, m, n],
    reduce: [typeof k2 === 'number' ? k2 : k],
    reducer: 'add',
    body: (i, r, read) => {
      const [row, col, inner] = [i[batch.length] as Expr, i[batch.length + 1] as Expr, r[0] as Expr];
      const lead = (s: readonly Dim[]): Expr[] =>
        s.slice(0, -2).map((d, j) => {
          const skip = batch.length - (s.length - 2);
          return broadcastIndex(d, batch[j + skip] as Dim, i[j + skip] as Expr);
        });
      const left = read(p, [...lead(ps), ...(tx ? [inner, row] : [row, inner])]);
      const right = read(q, [...lead(qs), ...(ty && !vy ? [col, inner] : [inner, col])]);
      return e.mul(cast(left, sum), cast(right, sum));
    },
  });
  const typed = acc ? out : b.cast(out, dtype);
  if (!vx && !vy) return typed;
  return b.reshape(typed, [...batch, ...(vx ? [] : [m]), ...(vy ? [] : [n])]);
}

function einsum(b: Builder, equation: string, values: readonly Value[], acc?: DType): Value {
  const [left = '', right = ''] = equation.replaceAll(' ', '').split('->');
  const terms = left.split(',');
  const sizes = new Map<string, Dim>();
  terms.forEach((t, k) => {
    const shape = values[k]?.type.shape ?? [];
    if (t.length !== shape.length)
      throw new CompileError('E204', `term "${t}" of "${equation}" does not fit a tensor of rank ${shape.length}`);
    [...t].forEach((c, j) => {
      const d = shape[j] as Dim;
      const old = sizes.get(c);
      sizes.set(c, old === undefined || old === 1 ? d : old);
    });
  });
  const summed = [...sizes.keys()].filter((c) => !right.includes(c));
  const dtype = (values[0] as Value).type.dtype;
  const sum = acc ?? (isFloat(dtype) && DTYPE_INFO[dtype].bits < 32 ? 'f32' : dtype);
  const out = b.generic({
    shape: [...right].map((c) => sizes.get(c) as Dim),
    reduce: summed.map((c) => sizes.get(c) as Dim),
    reducer: 'add',
    body: (i, r, read) => {
      const axis = (c: string): Expr => (right.includes(c) ? i[right.indexOf(c)] : r[summed.indexOf(c)]) as Expr;
      return values
        .map((v, k) => cast(read(v, [...(terms[k] as string)].map(axis)), sum))
        .reduce((p, q) => e.mul(p, q));
    },
  });
  return acc ? out : b.cast(out, dtype);
}
