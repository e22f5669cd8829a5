// onnxruntime's attention with shared key heads (com.microsoft): new keys and values go behind each batch element's own past,
// positions count from there, and queries and keys may be normalised and rotated on the way in.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, dimEq, floordiv, max, mul, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { attend, causalBias, lengthBias, mergeHeads, type Rotation, rotate, splitHeads, sumBiases } from './attend.js';
import { affine, rootMeanSquare } from './norm.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

interface HeadAttrs {
  readonly heads: number;
  readonly keyHeads: number;
  readonly scale: number | undefined;
  readonly rotary: boolean;
  readonly interleaved: boolean;
}

const headAttrs = (n: NodeReader): HeadAttrs => ({
  heads: n.int('num_heads'),
  keyHeads: n.int('kv_num_heads'),
  scale: n.float('scale', 0) || undefined,
  rotary: n.bool('do_rotary', false),
  interleaved: n.bool('rotary_interleaved', false),
});

interface GroupedAttrs extends HeadAttrs {
  readonly causal: boolean;
  readonly softcap: number;
  readonly window: number;
  readonly sink: boolean;
  readonly epsilon: number;
  /** Which scores are given out: 1 before the softmax, 2 after. */
  readonly shown: number;
  readonly quantized: boolean;
  readonly evicting: boolean;
  /** Sizes total_sequence_length stands for, where it does not depend on data. */
  readonly total: Dim | undefined;
}

const grouped = (n: NodeReader): GroupedAttrs => ({
  ...headAttrs(n),
  causal: n.bool('causal', true),
  softcap: n.float('softcap', 0),
  window: n.int('local_window_size', -1),
  sink: n.bool('smooth_softmax', false),
  epsilon: n.float('qk_norm_epsilon', 1e-6),
  shown: n.int('qk_output', 0),
  quantized: ['k_quant_type', 'v_quant_type'].some((name) => n.string(name, 'NONE') !== 'NONE'),
  evicting: n.bool('sliding_window_cache', false),
  total: n.tryDims(6)?.[0],
});

/** New keys or values behind each batch element's own past. Beyond them a cache of full length keeps what it holds. */
function appendAt(b: Builder, past: Value | undefined, now: Value, length: Dim, start: Value): Value {
  const [batch, heads, , width] = now.type.shape as [Dim, Dim, Dim, Dim];
  const zero = constant(0, now.type.dtype);
  return b.generic({
    shape: [batch, heads, length, width],
    body: (i, _r, read) => {
      const [n, head, position, at] = i as [Expr, Expr, Expr, Expr];
      const first = read(start, [n]);
      const from = e.sub(position, first);
      const old = past ? read(past, i, { guard: isPast(past, length, first, position), pad: zero }) : zero;
      const fresh = e.and(e.le(0, from), e.lt(from, e.dim(now.type.shape[2] as Dim)));
      return e.select(fresh, read(now, [n, head, from, at], { guard: fresh, pad: zero }), old);
    },
  });
}

/** Whether a position keeps what the past has there: all of a cache of full length, else what each element has filled. */
function isPast(past: Value, length: Dim, first: Expr, position: Expr): Expr {
  const size = past.type.shape[2] as Dim;
  if (dimEq(size, length)) return constant(true, 'i1');
  return e.and(e.lt(position, e.dim(size)), e.or(e.eq(e.dim(size), e.dim(length)), e.lt(position, first)));
}

/** Where the `rows` new tokens of each batch element start, from how many it has with them. */
const startsOf = (b: Builder, counts: Value, rows: Dim): Value =>
  b.map([counts], (n) => e.max(e.sub(cast(n, 'i32'), e.dim(rows)), 0));

const flat = (b: Builder, v: Value): Value => b.reshape(v, [product(v.type.shape)]);

/** A bias over `keys` positions; further ones than it has are hidden otherwise. */
function overKeys(b: Builder, bias: Value | undefined, keys: Dim): Value | undefined {
  if (!bias || dimEq(bias.type.shape[3] as Dim, keys)) return bias;
  return b.generic({
    shape: [...bias.type.shape.slice(0, 3), keys],
    body: (i, _r, read) => read(bias, i, { pad: constant(0, bias.type.dtype) }),
  });
}

const GroupQueryAttention = op('group_query_attention', {
  doc: 'onnxruntime’s GroupQueryAttention: attention with shared key heads, rotation, head norms and per-element lengths.',
  inputs: [
    'q',
    'k?',
    'v?',
    'past_k?',
    'past_v?',
    'lengths',
    'total',
    'cos?',
    'sin?',
    'positions?',
    'attention_bias?',
    'head_sink?',
    'k_scale?',
    'v_scale?',
    'q_norm?',
    'k_norm?',
  ],
  onnx: { 'com.microsoft:GroupQueryAttention@1': grouped },
  lower: (i, a: GroupedAttrs, b, ctx) => {
    if (a.quantized) ctx.limit('a quantised key-value cache', 'Export the model with a cache of floats');
    if (a.evicting)
      ctx.limit('a cache that evicts (sliding_window_cache)', 'Export the model with a full-length cache');
    const [query, key, value] = groupedHeads(b, a, i.q, i.k, i.v);
    const rows = query.type.shape[2] as Dim;
    const past: Dim = i.past_k?.type.shape[2] ?? 0;
    const total = a.total === undefined ? add(past, rows) : max(a.total, past);
    // `lengths` holds each element's last position.
    const counts = b.map([flat(b, i.lengths)], (n) => e.add(cast(n, 'i32'), 1));
    const start = startsOf(b, counts, rows);
    const normed = (x: Value, weight: Value | undefined): Value =>
      weight ? affine(b, rootMeanSquare(b, x, [-1], a.epsilon)[0], weight, undefined, x.type.dtype) : x;
    const turn = turnOf(b, a, i.cos, i.sin, start, i.positions);
    const keys = appendAt(b, i.past_k, turn(normed(key, i.k_norm)), total, start);
    const values = appendAt(b, i.past_v, value, total, start);
    const batch = query.type.shape[0] as Dim;
    const hidden = a.causal
      ? causalBias(b, [batch, 1, rows, total], (read, n) => read(start, [n]), { window: a.window })
      : lengthBias(b, counts, total);
    const { y, stages } = attend(b, {
      q: turn(normed(query, i.q_norm)),
      k: keys,
      v: values,
      scale: a.scale,
      softcap: a.softcap,
      bias: sumBiases(b, [hidden, overKeys(b, i.attention_bias, total)]),
      sink: i.head_sink ?? (a.sink ? 0 : undefined),
    });
    return [mergeHeads(b, y), keys, values, b.cast(stages[a.shown === 2 ? 3 : 2], i.q.type.dtype)];
  },
  limits: ['A quantised cache and a cache that evicts are refused.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

function groupedHeads(
  b: Builder,
  a: HeadAttrs,
  q: Value,
  k: Value | undefined,
  v: Value | undefined,
): readonly [Value, Value, Value] {
  if (k && v) return [splitHeads(b, q, a.heads), splitHeads(b, k, a.keyHeads), splitHeads(b, v, a.keyHeads)];
  const width = floordiv(q.type.shape[2] as Dim, a.heads + 2 * a.keyHeads);
  const parts = [a.heads, a.keyHeads, a.keyHeads];
  return b
    .split(
      q,
      2,
      parts.map((n) => mul(width, n)),
    )
    .map((p, j) => splitHeads(b, p, parts[j] as number)) as [Value, Value, Value];
}

/** Rotation by position from `start` on, or by the given positions, where the operator asks for it. */
function turnOf(
  b: Builder,
  a: HeadAttrs,
  cos: Value | undefined,
  sin: Value | undefined,
  start: Value,
  positions?: Value,
): (x: Value) => Value {
  if (!a.rotary || !cos || !sin) return (x) => x;
  const rotation: Rotation = {
    width: mul(cos.type.shape[1] as Dim, 2),
    interleaved: a.interleaved,
    at: (read, table, n, p, pair) => {
      const angles = table === 'cos' ? cos : sin;
      const position = positions ? cast(read(positions, [n, p]), 'i32') : e.add(read(start, [n]), p);
      return read(angles, [e.min(position, e.sub(e.dim(angles.type.shape[0] as Dim), 1)), pair]);
    },
  };
  return (x) => rotate(b, x, rotation);
}

/** Whether a layout's block of queries sees a block of keys, 1 or 0, from rows of block columns in compressed form. */
function blockMask(b: Builder, starts: Value, columns: Value): Value {
  const [layouts, ends] = starts.type.shape as [Dim, Dim];
  const blocks = add(ends, -1);
  return b.generic({
    shape: [layouts, blocks, blocks],
    reduce: [columns.type.shape[1] as Dim],
    reducer: 'max',
    body: ([layout, row, column], [j], read) => {
      const [l, r] = [layout as Expr, row as Expr];
      const mine = e.and(e.le(read(starts, [l, r]), j as Expr), e.lt(j as Expr, read(starts, [l, e.add(r, 1)])));
      return cast(e.and(mine, e.eq(read(columns, [l, j as Expr]), column as Expr)), 'i32');
    },
  });
}

const SparseAttention = op('sparse_attention', {
  doc: 'onnxruntime’s SparseAttention: causal attention with shared key heads to the blocks of keys a layout names.',
  inputs: ['q', 'k?', 'v?', 'past_k', 'past_v', 'starts', 'columns', 'total', 'counts', 'cos?', 'sin?'],
  onnx: {
    'com.microsoft:SparseAttention@1': (n) => ({ ...headAttrs(n), block: n.int('sparse_block_size') }),
  },
  lower: ({ q, k, v, past_k, past_v, starts, columns, counts, cos, sin }, a, b) => {
    const [query, key, value] = groupedHeads(b, a, q, k, v);
    const [batch, , rows] = query.type.shape as [Dim, Dim, Dim];
    const length = past_k.type.shape[2] as Dim;
    const start = startsOf(b, flat(b, counts), rows);
    const turn = turnOf(b, a, cos, sin, start);
    const keys = appendAt(b, past_k, turn(key), length, start);
    const values = appendAt(b, past_v, value, length, start);
    const seen = blockMask(b, starts, columns);
    const layouts = e.dim(starts.type.shape[0] as Dim);
    const bias = b.generic({
      shape: [batch, a.heads, rows, length],
      body: (i, _r, read) => {
        const [n, head, row, column] = i as [Expr, Expr, Expr, Expr];
        const position = e.add(row, read(start, [n]));
        const visible = read(seen, [e.rem(head, layouts), e.div(position, a.block), e.div(column, a.block)], {
          pad: 0,
        });
        const shown = e.and(e.le(column, position), e.ne(visible, 0));
        return e.select(shown, constant(0, 'f32'), constant(Number.NEGATIVE_INFINITY, 'f32'));
      },
    });
    const { y } = attend(b, { q: turn(query), k: keys, v: values, scale: a.scale, bias });
    return [mergeHeads(b, y), keys, values];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

export const records: readonly AnyRecord[] = [GroupQueryAttention, SparseAttention];
