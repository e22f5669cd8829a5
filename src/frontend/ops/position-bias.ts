// Biases of attention scores by the distance between a query and a key (com.microsoft): T5's buckets, and the gated kind of WavLM.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { splitHeads } from './attend.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { declaredSize } from './runtime-sizes.js';

/** Near distances have a bucket each; farther ones share buckets that grow with their logarithm. */
function bucketOf(key: Expr, query: Expr, buckets: number, most: number, bothWays: boolean): Expr {
  const ahead = e.sub(key, query);
  const [count, distance] = bothWays ? [buckets >> 1, e.abs(ahead)] : [buckets, e.neg(e.min(ahead, 0))];
  const exact = count >> 1;
  const grown = e.mul(
    e.log(e.div(cast(e.max(distance, 1), 'f32'), exact)),
    Math.fround((count - exact) / Math.log(most / exact)),
  );
  const far = e.min(e.add(cast(grown, 'i32'), exact), count - 1);
  const bucket = e.select(e.lt(distance, exact), distance, far);
  return bothWays ? e.add(bucket, e.select(e.lt(0, ahead), count, 0)) : bucket;
}

const lengthOf = (b: Builder, v: Value, axis: number, ctx: LowerContext): Dim =>
  b.values(v)?.[0] ?? declaredSize(ctx, 0, axis) ?? ctx.limit('a sequence length that depends on data');

const RelativePositionBias = op('relative_position_bias', {
  doc: 'A learned bias per head for the bucket that the distance from query to key falls into.',
  inputs: ['table', 'queries', 'keys'],
  onnx: {
    'com.microsoft:RelativePositionBias@1': (n) => ({
      most: n.int('max_distance'),
      bothWays: n.bool('is_bidirectional', false),
    }),
  },
  lower: ({ table, queries, keys }, { most, bothWays }, b, ctx) => {
    const [buckets, heads] = table.type.shape as [Dim, Dim];
    if (typeof buckets !== 'number') return ctx.limit('the number of buckets is not known');
    return b.generic({
      shape: [1, heads, lengthOf(b, queries, 2, ctx), lengthOf(b, keys, 3, ctx)],
      body: ([, head, query, key], _r, read) =>
        read(table, [bucketOf(key as Expr, query as Expr, buckets, most, bothWays), head as Expr]),
    });
  },
});

const GatedRelativePositionBias = op('gated_relative_position_bias', {
  doc: 'A bias by distance, scaled for each query and head by two gates that are linear in the query.',
  inputs: ['query', 'query_bias', 'distances', 'w', 'bias', 'factor', 'offsets?'],
  onnx: { 'com.microsoft:GatedRelativePositionBias@1': (n) => ({ heads: n.int('num_heads') }) },
  lower: ({ query, query_bias, distances, w, bias, factor, offsets }, { heads }, b, ctx) => {
    if (offsets) return ctx.limit('tokens without their padding (token_offset)');
    const q = splitHeads(b, b.add(query, query_bias), heads);
    const [batch, , length] = q.type.shape as [Dim, Dim, Dim];
    const linear = b.reshape(b.add(b.matmul(q, w), bias), [
      batch,
      heads,
      length,
      2,
      floordiv(w.type.shape[1] as Dim, 2),
    ]);
    const [update, reset] = b.split(b.sigmoid(b.reduce(linear, 'add', [-1])), -1, [1, 1]) as [Value, Value];
    const gate = b.map([update, reset, factor], (u, r, f) => e.add(e.mul(u, e.sub(e.mul(r, f as Expr), 1)), 2));
    return b.mul(gate, distances);
  },
  limits: ['token_offset is refused.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

export const records: readonly AnyRecord[] = [RelativePositionBias, GatedRelativePositionBias];
