// onnxruntime's attention operators (com.microsoft): they differ from ONNX's in how projections are packed, in the forms
// a mask may take and in how the cache is laid out. Each unpacks to the tensors attend.ts works on.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, dimEq, floordiv, max, mul, product, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import {
  attend,
  causalBias,
  lengthBias,
  mergeHeads,
  type Rotation,
  rotate,
  splitHeads,
  sumBiases,
  withPast,
} from './attend.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

interface MaskAttrs {
  readonly heads: number;
  readonly scale: number | undefined;
  readonly filter: number;
  readonly causal: boolean;
}

const maskAttrs = (n: NodeReader): MaskAttrs => ({
  heads: n.int('num_heads'),
  // Zero stands for the default, as absence does.
  scale: n.float('scale', 0) || undefined,
  filter: n.float('mask_filter_value', -10000),
  causal: n.bool('unidirectional', false),
});

/** Sizes the scores have: batch, query rows, keys. */
interface ScoreShape {
  readonly batch: Dim;
  readonly rows: Dim;
  readonly keys: Dim;
}

/** Any of the forms of mask_index as something to add: lengths, ends and starts, or 1 for visible. */
function maskBias(b: Builder, mask: Value | undefined, s: ScoreShape, filter: number): Value | undefined {
  if (!mask) return undefined;
  const [first] = mask.type.shape as [Dim];
  if (mask.type.shape.length === 1) {
    if (dimEq(first, s.batch)) return lengthBias(b, mask, s.keys, filter);
    return spanBias(b, mask, s, filter);
  }
  const visible = (m: Expr): Expr => e.select(e.eq(m, 0), constant(filter, 'f32'), constant(0, 'f32'));
  const rank = mask.type.shape.length;
  if (rank === 4) return largestMask(b, mask, s, visible);
  const bias = b.map([mask], (m) => visible(m));
  return b.unsqueeze(bias, rank === 2 ? [1, 2] : [1]);
}

/** [end…, start…]: keys from start to end of each batch element are visible. */
const spanBias = (b: Builder, mask: Value, s: ScoreShape, filter: number): Value =>
  b.generic({
    shape: [s.batch, 1, 1, s.keys],
    body: (i, _r, read) => {
      const [n, , , key] = i as [Expr, Expr, Expr, Expr];
      const end = cast(read(mask, [n]), 'i32');
      const start = cast(read(mask, [e.add(n, e.dim(s.batch))]), 'i32');
      return e.select(e.and(e.le(start, key), e.lt(key, end)), constant(0, 'f32'), constant(filter, 'f32'));
    },
  });

/** A mask for the longest sequence, of which the last rows before `keys` are used. */
const largestMask = (b: Builder, mask: Value, s: ScoreShape, visible: (m: Expr) => Expr): Value =>
  b.generic({
    shape: [s.batch, 1, s.rows, s.keys],
    body: (i, _r, read) => {
      const [n, , row, key] = i as [Expr, Expr, Expr, Expr];
      return visible(read(mask, [n, constant(0, 'i32'), e.add(row, e.dim(sub(s.keys, s.rows))), key]));
    },
  });

const causalOf = (b: Builder, causal: boolean, s: ScoreShape): Value | undefined =>
  causal ? causalBias(b, [1, 1, s.rows, s.keys], () => e.dim(sub(s.keys, s.rows))) : undefined;

interface PackedAttrs extends MaskAttrs {
  readonly hidden: readonly number[];
  readonly rotary: boolean;
  readonly shared: boolean;
}

const Attention = op('packed_attention', {
  doc: 'onnxruntime’s Attention: one projection gives queries, keys and values, then attention with an optional cache.',
  inputs: ['x', 'w', 'bias?', 'mask?', 'past?', 'attention_bias?', 'past_length?'],
  onnx: {
    'com.microsoft:Attention@1': (n): PackedAttrs => ({
      ...maskAttrs(n),
      hidden: n.ints('qkv_hidden_sizes', []),
      rotary: n.bool('do_rotary', false),
      shared: n.bool('past_present_share_buffer', false),
    }),
  },
  lower: ({ x, w, bias, mask, past, attention_bias }, a: PackedAttrs, b, ctx) => {
    if (a.rotary) ctx.limit('Attention with do_rotary', 'Export the rotation as operators of its own');
    if (a.shared) ctx.limit('Attention whose cache is shared between past and present');
    const projected = b.matmul(x, w);
    const all = bias ? b.add(projected, bias) : projected;
    const third = floordiv(w.type.shape[1] as Dim, 3);
    const sizes: readonly Dim[] = a.hidden.length === 3 ? a.hidden : [third, third, third];
    const [q, k, v] = b.split(all, 2, sizes).map((p) => splitHeads(b, p, a.heads)) as [Value, Value, Value];
    const cached = (at: number): Value | undefined => past && b.squeeze(b.narrow(past, 0, at, 1), [0]);
    const keys = withPast(b, cached(0), k);
    const values = withPast(b, cached(1), v);
    const s: ScoreShape = {
      batch: x.type.shape[0] as Dim,
      rows: x.type.shape[1] as Dim,
      keys: keys.type.shape[2] as Dim,
    };
    const total = sumBiases(b, [maskBias(b, mask, s, a.filter), causalOf(b, a.causal, s), attention_bias]);
    const { y } = attend(b, { q, k: keys, v: values, scale: a.scale, bias: total });
    const present = (): Value => b.concat([b.unsqueeze(keys, [0]), b.unsqueeze(values, [0])], 0);
    return ctx.reader.outputCount > 1 ? [mergeHeads(b, y), present()] : mergeHeads(b, y);
  },
  limits: ['do_rotary and past_present_share_buffer are refused.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

/** Query, key and value as [batch, heads, position, width], from any of the packings MultiHeadAttention takes. */
function unpackHeads(
  b: Builder,
  heads: number,
  q: Value,
  k: Value | undefined,
  v: Value | undefined,
): readonly [Value, Value, Value] {
  const part = (x: Value, at: number): Value => b.transpose(b.squeeze(b.narrow(x, 3, at, 1), [3]), [0, 2, 1, 3]);
  if (q.type.shape.length === 5) return [part(q, 0), part(q, 1), part(q, 2)];
  if (!k) throw new CompileError('E203', 'the key is missing');
  const query = splitHeads(b, q, heads);
  if (k.type.shape.length === 5) return [query, part(k, 0), part(k, 1)];
  if (!v) throw new CompileError('E203', 'the value is missing');
  const split = (x: Value): Value => (x.type.shape.length === 4 ? x : splitHeads(b, x, heads));
  return [query, split(k), split(v)];
}

/** Adds each head its part of a bias vector that starts at `from`. */
const headBias = (b: Builder, x: Value, bias: Value | undefined, from: Dim): Value => {
  if (!bias) return x;
  const [, heads, , width] = x.type.shape as [Dim, Dim, Dim, Dim];
  return b.add(x, b.reshape(b.narrow(bias, 0, from, mul(heads, width)), [heads, 1, width]));
};

const MultiHeadAttention = op('multi_head_attention', {
  doc: 'onnxruntime’s MultiHeadAttention: projected queries, keys and values, possibly packed, with an optional cache.',
  inputs: [
    'q',
    'k?',
    'v?',
    'bias?',
    'mask?',
    'attention_bias?',
    'past_k?',
    'past_v?',
    'past_length?',
    'cache_indirection?',
  ],
  onnx: { 'com.microsoft:MultiHeadAttention@1': maskAttrs },
  lower: (
    { q, k, v, bias, mask, attention_bias, past_k, past_v, past_length, cache_indirection },
    a: MaskAttrs,
    b,
    ctx,
  ) => {
    if (past_length || cache_indirection) ctx.limit('MultiHeadAttention with a shared cache or beam indices');
    const [query, key, value] = unpackHeads(b, a.heads, q, k, v);
    const hidden = mul(query.type.shape[1] as Dim, query.type.shape[3] as Dim);
    const ready = k?.type.shape.length === 4;
    const keys = withPast(b, past_k, ready ? key : headBias(b, key, bias, hidden));
    const values = withPast(b, past_v, ready ? value : headBias(b, value, bias, mul(hidden, 2)));
    const s: ScoreShape = {
      batch: query.type.shape[0] as Dim,
      rows: query.type.shape[2] as Dim,
      keys: keys.type.shape[2] as Dim,
    };
    const length = mask?.type.shape.length === 1 ? mask.type.shape[0] : undefined;
    if (length !== undefined && !dimEq(length, s.batch)) ctx.limit('a key padding mask of cumulated lengths');
    const total = sumBiases(b, [maskBias(b, mask, s, a.filter), causalOf(b, a.causal, s), attention_bias]);
    const { y, stages } = attend(b, {
      q: headBias(b, query, bias, 0),
      k: keys,
      v: values,
      scale: a.scale,
      bias: total,
    });
    return [mergeHeads(b, y), keys, values, b.cast(stages[0], q.type.dtype)];
  },
  limits: ['A cache shared between past and present, beam indices and cumulated lengths are refused.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

interface GroupedAttrs {
  readonly heads: number;
  readonly keyHeads: number;
  readonly scale: number | undefined;
  readonly softcap: number;
  readonly window: number;
  readonly rotary: boolean;
  readonly interleaved: boolean;
  readonly sink: boolean;
  /** Sizes total_sequence_length stands for, where it does not depend on data. */
  readonly total: Dim | undefined;
}

const grouped = (n: NodeReader): GroupedAttrs => ({
  heads: n.int('num_heads'),
  keyHeads: n.int('kv_num_heads'),
  scale: n.float('scale', 0) || undefined,
  softcap: n.float('softcap', 0),
  window: n.int('local_window_size', -1),
  rotary: n.bool('do_rotary', false),
  interleaved: n.bool('rotary_interleaved', false),
  sink: n.bool('smooth_softmax', false),
  total: n.tryDims(6)?.[0],
});

/** New keys or values behind each batch element's own past. Beyond them a cache of full length keeps what it holds. */
function appendAt(b: Builder, past: Value | undefined, now: Value, length: Dim, start: Value): Value {
  const [batch, heads, , width] = now.type.shape as [Dim, Dim, Dim, Dim];
  const zero = constant(0, now.type.dtype);
  const kept = past !== undefined && dimEq(past.type.shape[2] as Dim, length);
  return b.generic({
    shape: [batch, heads, length, width],
    body: (i, _r, read) => {
      const [n, head, position, at] = i as [Expr, Expr, Expr, Expr];
      const first = read(start, [n]);
      const from = e.sub(position, first);
      const old = past ? read(past, i, kept ? {} : { guard: within(past, first, position), pad: zero }) : zero;
      const fresh = e.and(e.le(0, from), e.lt(from, e.dim(now.type.shape[2] as Dim)));
      return e.select(fresh, read(now, [n, head, from, at], { guard: fresh, pad: zero }), old);
    },
  });
}

const within = (past: Value, first: Expr, position: Expr): Expr =>
  e.lt(position, e.min(first, e.dim(past.type.shape[2] as Dim)));

const GroupQueryAttention = op('group_query_attention', {
  doc: 'onnxruntime’s GroupQueryAttention: causal attention with shared key heads, rotation and per-element lengths.',
  inputs: ['q', 'k?', 'v?', 'past_k?', 'past_v?', 'lengths', 'total', 'cos?', 'sin?', 'positions?', 'attention_bias?'],
  onnx: { 'com.microsoft:GroupQueryAttention@1': grouped },
  lower: ({ q, k, v, past_k, past_v, lengths, cos, sin, positions, attention_bias }, a: GroupedAttrs, b) => {
    const [query, key, value] = groupedHeads(b, a, q, k, v);
    const rows = query.type.shape[2] as Dim;
    const past: Dim = past_k?.type.shape[2] ?? 0;
    const total = a.total === undefined ? add(past, rows) : max(a.total, past);
    // `lengths` holds each element's last position; where its new tokens start follows from it.
    const flat = b.reshape(lengths, [product(lengths.type.shape)]);
    const start = b.map([flat], (n) => e.max(e.sub(e.add(cast(n, 'i32'), 1), e.dim(rows)), 0));
    const turn = (x: Value): Value =>
      a.rotary && cos && sin ? rotate(b, x, rotation(a, cos, sin, start, positions)) : x;
    const keys = appendAt(b, past_k, turn(key), total, start);
    const values = appendAt(b, past_v, value, total, start);
    const batch = query.type.shape[0] as Dim;
    const causal = causalBias(b, [batch, 1, rows, total], (read, n) => read(start, [n]), { window: a.window });
    const bias = sumBiases(b, [causal, attention_bias]);
    const { y } = attend(b, {
      q: turn(query),
      k: keys,
      v: values,
      scale: a.scale,
      softcap: a.softcap,
      bias,
      sink: a.sink,
    });
    return [mergeHeads(b, y), keys, values];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

function groupedHeads(
  b: Builder,
  a: GroupedAttrs,
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

const rotation = (a: GroupedAttrs, cos: Value, sin: Value, start: Value, positions: Value | undefined): Rotation => ({
  width: 2 * Number(cos.type.shape[1]),
  interleaved: a.interleaved,
  at: (read, table, n, p, pair) => {
    const angles = table === 'cos' ? cos : sin;
    const position = positions ? cast(read(positions, [n, p]), 'i32') : e.add(read(start, [n]), p);
    return read(angles, [e.min(position, e.sub(e.dim(angles.type.shape[0] as Dim), 1)), pair]);
  },
});

export const records: readonly AnyRecord[] = [Attention, MultiHeadAttention, GroupQueryAttention];
