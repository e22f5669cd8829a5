// Scaled dot-product attention as every attention operator here means it, on [batch, heads, position, width] tensors:
// scores = softcap(scale · q·kᵀ) + mask, a softmax in which a row with nothing to attend to is zero, times v.
// Several query heads may share a key head. Positions and rotations that the operators share live here too.

import type { Builder, Read } from '../../ir/builder.js';
import { type Dim, dimEq, floordiv, mul, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { statType } from './norm.js';

const dimOf = (v: Value, k: number): Dim => v.type.shape.at(k) as Dim;

/** [batch, position, heads·width] → [batch, heads, position, width]. */
export function splitHeads(b: Builder, x: Value, heads: Dim): Value {
  const [batch, length, width] = x.type.shape as [Dim, Dim, Dim];
  return b.transpose(b.reshape(x, [batch, length, heads, floordiv(width, heads)]), [0, 2, 1, 3]);
}

/** [batch, heads, position, width] → [batch, position, heads·width]. */
export function mergeHeads(b: Builder, x: Value): Value {
  const [batch, heads, length, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  return b.reshape(b.transpose(x, [0, 2, 1, 3]), [batch, length, mul(heads, width)]);
}

/** Cached positions, then new ones. */
export const withPast = (b: Builder, past: Value | undefined, now: Value): Value =>
  past ? b.concat([past, now], 2) : now;

export interface Attention {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** Default 1/√width. */
  readonly scale?: number | undefined;
  /** 0: none. */
  readonly softcap?: number;
  /** Added to the scores, broadcast; −∞ forbids. */
  readonly bias?: Value | undefined;
  /** A score that each row has beside those of its keys, weighing nothing: 0 (smooth softmax), or one per head. */
  readonly sink?: number | Value | undefined;
  /** What a model does to the scores, or to the weights, of its own. */
  readonly onScores?: (scores: Value) => Value;
  readonly onWeights?: (weights: Value) => Value;
}

export interface Attended {
  readonly y: Value;
  /** Scores scaled, after the cap, after the mask, after the softmax. */
  readonly stages: readonly [Value, Value, Value, Value];
}

export function attend(b: Builder, a: Attention): Attended {
  const { q, k, v } = a;
  const t = statType(q.type.dtype);
  const scores = scaled(b, groupedProduct(b, q, k, true), a.scale, dimOf(q, -1));
  const cap = a.softcap ?? 0;
  const capped = cap === 0 ? scores : b.map([scores], (s) => e.mul(e.tanh(e.div(s, cap)), cap));
  const biased = a.bias ? b.add(capped, b.cast(a.bias, t)) : capped;
  const final = a.onScores?.(biased) ?? biased;
  const masked = a.bias || a.sink !== undefined || a.onScores;
  const weights = masked ? maskedSoftmax(b, final, a.sink) : b.softmax(final, -1);
  const used = a.onWeights?.(weights) ?? weights;
  return { y: b.cast(groupedProduct(b, used, v, false), q.type.dtype), stages: [scores, capped, biased, weights] };
}

/** x · scale, or x / √width where there is none. */
export function scaled(b: Builder, x: Value, scale: number | undefined, width: Dim): Value {
  if (scale !== undefined || typeof width === 'number') return b.mul(x, scale ?? 1 / Math.sqrt(width as number));
  return b.map([x], (v) => e.div(v, e.sqrt(cast(e.dim(width), v.dtype))));
}

/** Matrix product per head; where `y` has fewer heads, consecutive heads of `x` share one. Summed in at least f32. */
function groupedProduct(b: Builder, x: Value, y: Value, transposeY: boolean): Value {
  const acc = statType(x.type.dtype);
  const [batch, heads, rows, width] = x.type.shape as [Dim, Dim, Dim, Dim];
  const shared = dimOf(y, 1);
  if (dimEq(heads, shared)) return b.matmul(x, y, { transposeY, acc });
  const grouped = b.reshape(x, [batch, shared, floordiv(heads, shared), rows, width]);
  const result = b.matmul(grouped, b.unsqueeze(y, [2]), { transposeY, acc });
  return b.reshape(result, [batch, heads, rows, dimOf(result, -1)]);
}

/** Softmax over the last axis whose rows of −∞ are zeros. */
function maskedSoftmax(b: Builder, x: Value, sink: number | Value | undefined): Value {
  const top = b.reduce(x, 'max', [-1], true);
  const beside =
    typeof sink === 'object' ? b.reshape(b.cast(sink, x.type.dtype), [product(sink.type.shape), 1, 1]) : sink;
  const safe =
    beside === undefined ? b.map([top], (m) => e.select(e.eq(m, Number.NEGATIVE_INFINITY), 0, m)) : b.max(top, beside);
  const p = b.exp(b.sub(x, safe));
  const sum = b.reduce(p, 'add', [-1], true);
  const total =
    beside === undefined
      ? b.map([sum], (s) => e.select(e.eq(s, 0), 1, s))
      : b.add(sum, b.exp(b.add(b.neg(safe), beside)));
  return b.div(p, total);
}

/** 0 where a query at row + offset may see a key, `forbidden` where the key comes later (or falls out of a window). */
export function causalBias(
  b: Builder,
  shape: readonly [Dim, Dim, Dim, Dim],
  offset: (read: Read, batch: Expr) => Expr,
  options: { readonly forbidden?: number; readonly window?: number } = {},
): Value {
  const { forbidden = Number.NEGATIVE_INFINITY, window = -1 } = options;
  return b.generic({
    shape,
    body: (i, _r, read) => {
      const [batch, , row, column] = i as [Expr, Expr, Expr, Expr];
      const position = e.add(row, offset(read, batch));
      const late = e.lt(position, column);
      const hidden = window > 0 ? e.or(late, e.le(column, e.sub(position, window))) : late;
      return e.select(hidden, e.const(forbidden, 'f32'), e.const(0, 'f32'));
    },
  });
}

/** 0 for the keys before each batch element's length, −∞ after. */
export const lengthBias = (b: Builder, lengths: Value, keys: Dim, forbidden = Number.NEGATIVE_INFINITY): Value =>
  b.generic({
    shape: [dimOf(lengths, 0), 1, 1, keys],
    body: (i, _r, read) => {
      const inside = e.lt(i[3] as Expr, cast(read(lengths, [i[0] as Expr]), 'i32'));
      return e.select(inside, e.const(0, 'f32'), e.const(forbidden, 'f32'));
    },
  });

/** Sum of the biases there are. */
export const sumBiases = (b: Builder, biases: readonly (Value | undefined)[]): Value | undefined =>
  biases.reduce((p, q) => (p && q ? b.add(p, b.cast(q, p.type.dtype)) : (p ?? q)), undefined);

export interface Rotation {
  /** Elements of a head that are rotated, from the front. */
  readonly width: Dim;
  /** Pairs are neighbours rather than halves. */
  readonly interleaved: boolean;
  /** cos or sin of pair `k` at a position of a batch element. */
  readonly at: (read: Read, table: 'cos' | 'sin', batch: Expr, position: Expr, pair: Expr) => Expr;
}

/** Rotates pairs of elements by angles that grow with the position; x is [batch, heads, position, width]. */
export function rotate(b: Builder, x: Value, r: Rotation): Value {
  const t = statType(x.type.dtype);
  const [width, half] = [e.dim(r.width), e.dim(floordiv(r.width, 2))];
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const [batch, head, position, at] = i as [Expr, Expr, Expr, Expr];
      const whole = dimEq(r.width, dimOf(x, -1));
      const h = whole ? at : e.min(at, e.sub(width, 1));
      const first = r.interleaved ? e.eq(e.rem(h, 2), 0) : e.lt(h, half);
      const step = r.interleaved ? 1 : half;
      const pair = r.interleaved ? e.div(h, 2) : e.rem(h, half);
      const own = cast(read(x, i), t);
      const other = cast(read(x, [batch, head, position, e.select(first, e.add(h, step), e.sub(h, step))]), t);
      const cos = cast(r.at(read, 'cos', batch, position, pair), t);
      const sin = cast(r.at(read, 'sin', batch, position, pair), t);
      const cross = e.mul(other, sin);
      const turned = e.add(e.mul(own, cos), e.select(first, e.neg(cross), cross));
      return cast(whole ? turned : e.select(e.lt(at, width), turned, own), x.type.dtype);
    },
  });
}
