// onnxruntime's attention operators (com.microsoft): they differ from ONNX's in how projections are packed and in the forms
// a mask may take. Each unpacks to the tensors attend.ts works on. Those with shared key heads: attention-grouped.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, dimEq, floordiv, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { attend, causalBias, mergeHeads, splitHeads, sumBiases, withPast } from './attend.js';
import { productToFloat } from './integer-product.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';

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

/** Any of the forms of mask_index as something to add: lengths (alone, or before cumulated ones), ends and starts, or 1 for visible. */
function maskBias(b: Builder, mask: Value | undefined, s: ScoreShape, filter: number): Value | undefined {
  if (!mask) return undefined;
  const [first] = mask.type.shape as [Dim];
  if (mask.type.shape.length === 1) return spanBias(b, mask, first, s, filter);
  const visible = (m: Expr): Expr => e.select(e.eq(m, 0), constant(filter, 'f32'), constant(0, 'f32'));
  const rank = mask.type.shape.length;
  if (rank === 4) return largestMask(b, mask, s, visible);
  const bias = b.map([mask], (m) => visible(m));
  return b.unsqueeze(bias, rank === 2 ? [1, 2] : [1]);
}

/** [end…], or [end…, start…], or ends before cumulated lengths: keys up to its end, or from its start, are visible. */
const spanBias = (b: Builder, mask: Value, length: Dim, s: ScoreShape, filter: number): Value =>
  b.generic({
    shape: [s.batch, 1, 1, s.keys],
    body: (i, _r, read) => {
      const [n, , , key] = i as [Expr, Expr, Expr, Expr];
      const end = cast(read(mask, [n]), 'i32');
      const before = e.lt(key, end);
      if (dimEq(length, s.batch)) return e.select(before, constant(0, 'f32'), constant(filter, 'f32'));
      const spans = e.eq(e.dim(length), e.dim(mul(s.batch, 2)));
      const start = read(mask, [e.add(n, e.dim(s.batch))], { guard: spans, pad: constant(0, mask.type.dtype) });
      const after = e.le(cast(start, 'i32'), key);
      return e.select(e.and(before, after), constant(0, 'f32'), constant(filter, 'f32'));
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

/** Attention of one projection [batch, position, q + k + v], with what may go along. */
function packedAttention(
  ctx: LowerContext,
  a: PackedAttrs,
  projected: Value,
  { mask, past, bias }: Readonly<Record<'mask' | 'past' | 'bias', Value | undefined>>,
): readonly Value[] {
  const { builder: b } = ctx;
  if (a.rotary) ctx.limit('attention with do_rotary', 'Export the rotation as operators of its own');
  if (a.shared) ctx.limit('attention whose cache is shared between past and present');
  const [batch, rows, width] = projected.type.shape as [Dim, Dim, Dim];
  const third = floordiv(width, 3);
  const sizes: readonly Dim[] = a.hidden.length === 3 ? a.hidden : [third, third, third];
  const [q, k, v] = b.split(projected, 2, sizes).map((p) => splitHeads(b, p, a.heads)) as [Value, Value, Value];
  const cached = (at: number): Value | undefined => past && b.squeeze(b.narrow(past, 0, at, 1), [0]);
  const keys = withPast(b, cached(0), k);
  const values = withPast(b, cached(1), v);
  const s: ScoreShape = { batch, rows, keys: keys.type.shape[2] as Dim };
  const total = sumBiases(b, [maskBias(b, mask, s, a.filter), causalOf(b, a.causal, s), bias]);
  const y = mergeHeads(b, attend(b, { q, k: keys, v: values, scale: a.scale, bias: total }).y);
  if (ctx.reader.outputCount < 2) return [y];
  return [y, b.concat([b.unsqueeze(keys, [0]), b.unsqueeze(values, [0])], 0)];
}

const packedAttrs = (n: NodeReader): PackedAttrs => ({
  ...maskAttrs(n),
  hidden: n.ints('qkv_hidden_sizes', []),
  rotary: n.bool('do_rotary', false),
  shared: n.bool('past_present_share_buffer', false),
});

const Attention = op('packed_attention', {
  doc: 'onnxruntime’s Attention: one projection gives queries, keys and values, then attention with an optional cache.',
  inputs: ['x', 'w', 'bias?', 'mask?', 'past?', 'attention_bias?', 'past_length?'],
  onnx: { 'com.microsoft:Attention@1': packedAttrs },
  lower: ({ x, w, bias, mask, past, attention_bias }, a: PackedAttrs, b, ctx) => {
    const product = b.matmul(x, w);
    return packedAttention(ctx, a, bias ? b.add(product, bias) : product, { mask, past, bias: attention_bias });
  },
  limits: ['do_rotary and past_present_share_buffer are refused.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const QAttention = op('quantized_packed_attention', {
  doc: 'onnxruntime’s QAttention: Attention whose projection is an integer product.',
  inputs: ['x', 'w', 'bias', 'x_scale', 'w_scale', 'mask?', 'x_zero?', 'w_zero?', 'past?'],
  onnx: { 'com.microsoft:QAttention@1': packedAttrs },
  lower: ({ x, w, bias, x_scale, w_scale, mask, x_zero, w_zero, past }, a: PackedAttrs, b, ctx) => {
    const projected = productToFloat(b, { x, y: w, xScale: x_scale, yScale: w_scale }, { x: x_zero, y: w_zero, bias });
    return packedAttention(ctx, a, projected, { mask, past, bias: undefined });
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
  if (!k) {
    const third = floordiv(q.type.shape[2] as Dim, 3);
    return b.split(q, 2, [third, third, third]).map((p) => splitHeads(b, p, heads)) as [Value, Value, Value];
  }
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
  onnx: {
    'com.microsoft:MultiHeadAttention@1': maskAttrs,
    'com.microsoft:DecoderMaskedMultiHeadAttention@1': (n) => ({
      ...maskAttrs(n),
      $inputs: {
        bias: n.input(10),
        mask: n.input(3),
        attention_bias: n.input(4),
        past_k: n.input(5),
        past_v: n.input(6),
        past_length: n.bool('past_present_share_buffer', false) ? n.input(7) : undefined,
        cache_indirection: n.input(9),
      },
    }),
  },
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
  limits: ['A cache shared between past and present and beam indices are refused.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

export const records: readonly AnyRecord[] = [Attention, QAttention, MultiHeadAttention];
