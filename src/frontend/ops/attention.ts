// ONNX's own attention operators: Attention and RotaryEmbedding. The arithmetic is in attend.ts; onnxruntime's variants
// are in attention-contrib.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
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
import type { SourceGraph } from '../source.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

interface AttentionAttrs {
  readonly causal: boolean;
  readonly queryHeads: number;
  readonly keyHeads: number;
  readonly scale: number | undefined;
  readonly softcap: number;
  readonly stage: number;
}

const attention = (n: NodeReader): AttentionAttrs => ({
  causal: n.bool('is_causal', false),
  queryHeads: n.int('q_num_heads', 0),
  keyHeads: n.int('kv_num_heads', 0),
  scale: n.has('scale') ? n.float('scale') : undefined,
  softcap: n.float('softcap', 0),
  stage: n.int('qk_matmul_output_mode', 0),
});

/** A mask as something to add, laid over the last axes; keys it does not reach are forbidden. */
function maskBias(b: Builder, mask: Value | undefined, keys: Dim): Value | undefined {
  if (!mask) return undefined;
  const bias =
    mask.type.dtype === 'i1' ? b.select(mask, b.scalar(0, 'f32'), Number.NEGATIVE_INFINITY) : b.cast(mask, 'f32');
  const width = bias.type.shape.at(-1) as Dim;
  if (width === 1) return bias;
  const rank = bias.type.shape.length;
  const after = bias.type.shape.map((_, k) => (k === rank - 1 ? sub(keys, width) : 0));
  return after.every((d) => d === 0)
    ? bias
    : b.pad(
        bias,
        after.map(() => 0),
        after,
        Number.NEGATIVE_INFINITY,
      );
}

const Attention = op('attention', {
  doc: 'Scaled dot-product attention with grouped heads, masks, a soft cap and a key-value cache.',
  inputs: ['q', 'k', 'v', 'mask?', 'past_k?', 'past_v?', 'lengths?'],
  onnx: { 'Attention@23': attention },
  lower: ({ q, k, v, mask, past_k, past_v, lengths }, a: AttentionAttrs, b) => {
    const flat = q.type.shape.length === 3;
    if (flat && (a.queryHeads < 1 || a.keyHeads < 1))
      throw new CompileError('E203', '3-D inputs need q_num_heads and kv_num_heads');
    const split = (x: Value, heads: number): Value => (flat ? splitHeads(b, x, heads) : x);
    const query = split(q, a.queryHeads);
    const keys = withPast(b, past_k, split(k, a.keyHeads));
    const values = withPast(b, past_v, split(v, a.keyHeads));
    const [rows, total] = [query.type.shape[2] as Dim, keys.type.shape[2] as Dim];
    const past = past_k?.type.shape[2] ?? 0;
    const batch = lengths?.type.shape[0] ?? 1;
    const causal = a.causal
      ? causalBias(b, [batch, 1, rows, total], (read, n) =>
          lengths ? e.sub(cast(read(lengths, [n]), 'i32'), e.dim(rows)) : e.dim(past),
        )
      : undefined;
    const bias = sumBiases(b, [causal, lengths && lengthBias(b, lengths, total), maskBias(b, mask, total)]);
    const { y, stages } = attend(b, { q: query, k: keys, v: values, scale: a.scale, softcap: a.softcap, bias });
    const shown = stages[a.stage];
    if (!shown) throw new CompileError('E203', `qk_matmul_output_mode ${a.stage} is not defined`);
    return [flat ? mergeHeads(b, y) : y, keys, values, b.cast(shown, q.type.dtype)];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

interface RotaryAttrs {
  readonly interleaved: boolean;
  readonly heads: number;
  readonly width: number;
  /** com.microsoft: what else was asked for. */
  readonly other?: string | undefined;
}

const rotary = (n: NodeReader): RotaryAttrs => ({
  interleaved: n.bool('interleaved', false),
  heads: n.int('num_heads', 0),
  width: n.int('rotary_embedding_dim', 0),
});

const RotaryEmbedding = op('rotary_embedding', {
  doc: 'Rotates pairs of each head’s elements by angles looked up by position.',
  inputs: ['x', 'cos', 'sin', 'positions?'],
  onnx: {
    'RotaryEmbedding@23': rotary,
    'com.microsoft:RotaryEmbedding@1': (n) => ({
      ...rotary(n),
      other: n.bool('is_packed_batching', false) ? 'packed batches' : n.float('scale', 1) !== 1 ? 'a scale' : undefined,
      $inputs: { positions: n.input(1), cos: n.input(2), sin: n.input(3) },
    }),
  },
  lower: ({ x, cos, sin, positions }, a: RotaryAttrs, b, ctx) => {
    if (a.other) ctx.limit(`a rotation with ${a.other}`, 'Export the model without it');
    const flat = x.type.shape.length === 3;
    const pairs = cos.type.shape.at(-1) as Dim;
    const heads = a.heads || floordiv(x.type.shape.at(-1) as Dim, a.width || mul(pairs, 2));
    const query = flat ? splitHeads(b, x, heads) : x;
    const width = a.width || (query.type.shape.at(-1) as Dim);
    // One position stands for the first of a run.
    const offset = positions && positions.type.shape.length < 2;
    const at: Rotation['at'] = (read, table, n, p, pair) => {
      const angles = table === 'cos' ? cos : sin;
      if (!positions) return read(angles, [n, p, pair]);
      const index = offset
        ? e.add(
            cast(
              read(
                positions,
                positions.type.shape.map(() => e.const(0, 'i32') as Expr),
              ),
              'i32',
            ),
            p,
          )
        : cast(read(positions, [n, p]), 'i32');
      return read(angles, [e.clamp(index, 0, e.sub(e.dim(angles.type.shape[0] as Dim), 1)), pair]);
    };
    const y = rotate(b, query, { width, interleaved: a.interleaved, at });
    return flat ? mergeHeads(b, y) : y;
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

interface FlexAttrs {
  readonly scale: number | undefined;
  readonly onScores: SourceGraph | undefined;
  readonly onWeights: SourceGraph | undefined;
}

const FlexAttention = op('flex_attention', {
  doc: 'Attention whose scores and weights pass through graphs the model brings along.',
  inputs: ['q', 'k', 'v'],
  onnx: {
    'ai.onnx.preview:FlexAttention@1': (n): FlexAttrs => ({
      scale: n.has('scale') ? n.float('scale') : undefined,
      onScores: n.has('score_mod') ? n.graph('score_mod') : undefined,
      onWeights: n.has('prob_mod') ? n.graph('prob_mod') : undefined,
    }),
  },
  lower: ({ q, k, v }, { scale, onScores, onWeights }: FlexAttrs, b, ctx) => {
    const through = (g: SourceGraph) => (x: Value) => ctx.importGraph(g, [x])[0] ?? x;
    const hooks = {
      ...(onScores && { onScores: through(onScores) }),
      ...(onWeights && { onWeights: through(onWeights) }),
    };
    return attend(b, { q, k, v, scale, ...hooks }).y;
  },
  limits: ['Scores are computed in f32, or f64 for f64 inputs, whatever softmax_precision says.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

export const records: readonly AnyRecord[] = [Attention, RotaryEmbedding, FlexAttention];
