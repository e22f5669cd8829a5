// Running sums and products along an axis, in linear work and without a serial loop: blocks of BLOCK elements are
// reduced, the blocks' own prefix is found the same way, and each element adds up what precedes it in its block.
// An axis known only at run time takes one triangular reduction instead.

import type { Builder } from '../../ir/builder.js';
import { bounds, ceildiv, type Dim, mul } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { DTYPE_INFO, type DType, isFloat } from '../../support/dtype.js';
import { type AnyRecord, type Decode, op } from './record.js';
import { axisAt, computedSize, knownInts, most, nthKept } from './runtime-sizes.js';

const BLOCK = 16;
const DIRECT = 32;

interface PrefixAttrs {
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

type Combine = 'add' | 'mul';

const unit = (how: Combine, t: DType): Expr => e.const(how === 'add' ? 0 : 1, t);

const replace = (i: readonly Expr[], axis: number, x: Expr): Expr[] => i.map((v, k) => (k === axis ? x : v));

/** out[i] = Σ x[j] over j ≤ i (exclusive: j < i) along `axis`. */
function prefix(b: Builder, x: Value, axis: number, how: Combine, exclusive: boolean): Value {
  const n = x.type.shape[axis] as Dim;
  const first = exclusive ? 1 : 0;
  const neutral = unit(how, x.type.dtype);
  if (bounds(n)[1] <= DIRECT || bounds(n)[1] === Number.POSITIVE_INFINITY)
    return b.generic({
      shape: x.type.shape,
      reduce: [n],
      reducer: how,
      body: (i, r, read) => {
        const guard = e.le(e.add(r[0] as Expr, first), i[axis] as Expr);
        return read(x, replace(i, axis, r[0] as Expr), { guard, pad: neutral });
      },
    });
  const carried = prefix(b, blockTotals(b, x, axis, how), axis, how, true);
  const { shape } = x.type;
  const blocks = ceildiv(n, BLOCK);
  const inBlocks = [...shape.slice(0, axis), blocks, BLOCK, ...shape.slice(axis + 1)];
  // What a step of the sum reads is the same for all elements of a block: those may be the lanes of vectors.
  const within = b.generic({
    shape: inBlocks,
    reduce: [BLOCK],
    reducer: how,
    body: (i, r, read) => {
      const step = r[0] as Expr;
      const at = e.add(e.mul(i[axis] as Expr, BLOCK), step);
      const element = read(x, [...i.slice(0, axis), at, ...i.slice(axis + 2)], {
        guard: e.lt(at, dimExpr(n)),
        pad: neutral,
      });
      return e.select(e.le(e.add(step, first), i[axis + 1] as Expr), element, neutral);
    },
  });
  const whole = b.generic({
    shape: inBlocks,
    body: (i, _r, read) => {
      const block = i.filter((_x, k) => k !== axis + 1);
      return e.op(how, read(carried, block), read(within, i));
    },
  });
  const joined = b.reshape(whole, [...shape.slice(0, axis), mul(blocks, BLOCK), ...shape.slice(axis + 1)]);
  return b.view(joined, shape, (i) => i);
}

/** Each block of BLOCK elements along `axis` reduced to one; the last block may be short. */
function blockTotals(b: Builder, x: Value, axis: number, how: Combine): Value {
  const n = x.type.shape[axis] as Dim;
  return b.generic({
    shape: x.type.shape.map((d, k) => (k === axis ? ceildiv(n, BLOCK) : d)),
    reduce: [BLOCK],
    reducer: how,
    body: (i, r, read) => {
      const at = e.add(e.mul(i[axis] as Expr, BLOCK), r[0] as Expr);
      return read(x, replace(i, axis, at), { guard: e.lt(at, dimExpr(n)), pad: unit(how, x.type.dtype) });
    },
  });
}

/** The axis is read when the program runs. */
function prefixAtRuntime(b: Builder, x: Value, axis: Value, how: Combine, a: PrefixAttrs): Value {
  const { shape } = x.type;
  const rank = shape.length;
  const count = computedSize(b, 'length', 0, Math.max(...shape.map(most)), (read) =>
    nthKept(
      rank,
      0,
      (d) => e.eq(axisAt(read, axis, 0, rank), d),
      (d) => shape[d] as Dim,
    ),
  );
  return b.generic({
    shape,
    reduce: [count],
    reducer: how,
    body: (i, r, read) => {
      const along = shape.map((_, d) => e.eq(axisAt(read, axis, 0, rank), d));
      const here = along.reduce<Expr>((p, is, d) => e.select(is, i[d] as Expr, p), i32(0));
      const [low, high] = a.reverse ? [here, r[0] as Expr] : [r[0] as Expr, here];
      const guard = a.exclusive ? e.lt(low, high) : e.le(low, high);
      const index = i.map((v, d) => e.select(along[d] as Expr, r[0] as Expr, v));
      return read(x, index, { guard, pad: unit(how, x.type.dtype) });
    },
  });
}

function lowerPrefix(b: Builder, x: Value, axis: Value, how: Combine, a: PrefixAttrs): Value {
  const { dtype } = x.type;
  const wide = b.cast(x, isFloat(dtype) && DTYPE_INFO[dtype].bits < 32 ? 'f32' : dtype);
  const known = knownInts(b, undefined, axis)?.[0];
  if (known === undefined) return b.map([prefixAtRuntime(b, wide, axis, how, a)], (p) => cast(p, dtype));
  const k = b.axis(x, known);
  const turn = (v: Value): Value => (a.reverse ? b.flip(v, [k]) : v);
  return b.cast(turn(prefix(b, turn(wide), k, how, a.exclusive)), dtype);
}

const decode: Decode<PrefixAttrs> = (n) => ({
  exclusive: n.bool('exclusive', false),
  reverse: n.bool('reverse', false),
});

export const records: readonly AnyRecord[] = [
  op<'x' | 'axis', PrefixAttrs>('cumsum', {
    doc: 'Running sum along an axis',
    inputs: ['x', 'axis'],
    onnx: { 'CumSum@11': decode },
    tflite: { CUMSUM: decode },
    examples: [
      {
        in: { x: [1, 2, 3], axis: { dtype: 'i64', data: 0 } },
        attrs: { exclusive: true, reverse: false },
        out: [0, 1, 3],
      },
    ],
    lower: ({ x, axis }, a, b) => lowerPrefix(b, x, axis, 'add', a),
  }),
  op<'x' | 'axis', PrefixAttrs>('cumprod', {
    doc: 'Running product along an axis',
    inputs: ['x', 'axis'],
    onnx: { 'CumProd@26': decode },
    examples: [
      {
        in: { x: [2, 3, 4], axis: { dtype: 'i64', data: 0 } },
        attrs: { exclusive: false, reverse: true },
        out: [24, 12, 4],
      },
    ],
    lower: ({ x, axis }, a, b) => lowerPrefix(b, x, axis, 'mul', a),
  }),
];
