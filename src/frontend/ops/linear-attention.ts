// Layers that carry a state from token to token: linear attention as a scan over positions with one matrix per head, and
// the causal depthwise convolution that goes with it.

import { addBias } from './bias.js';
import type { Builder } from '../../ir/builder.js';
import { add, type Dim, floordiv, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { mergeHeads, scaled } from './attend.js';
import { convolution, OIK } from './convolution.js';
import { statType } from './norm.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { CHANNELS_FIRST } from './window.js';

interface LinearAttrs {
  readonly heads: number;
  readonly keyHeads: number;
  /** undefined: 1/√width. */
  readonly scale: number | undefined;
  readonly gated: boolean;
  readonly delta: boolean;
  /** com.microsoft: how many states are handed on. */
  readonly window: number;
}

/** [batch, position, heads·width] → [position, batch, heads, width], in the type sums are taken in. */
function bySteps(b: Builder, x: Value, heads: Dim): Value {
  const [batch, length, width] = x.type.shape as [Dim, Dim, Dim];
  const split = b.reshape(x, [batch, length, heads, floordiv(width, heads)]);
  return b.cast(b.transpose(split, [1, 0, 2, 3]), statType(x.type.dtype));
}

/** S ← decay·S + k ⊗ β(v − (decay·S)ᵀk), or without the β(…) correction k ⊗ v. */
function nextState(
  b: Builder,
  state: Value,
  k: Value,
  v: Value,
  decay: Value | undefined,
  beta: Value | undefined,
): Value {
  const kept = decay ? b.mul(state, b.unsqueeze(b.exp(decay), [3])) : state;
  const update = beta ? b.mul(b.sub(v, b.einsum('bhkv,bhk->bhv', [kept, k])), beta) : v;
  return b.add(kept, b.mul(b.unsqueeze(k, [3]), b.unsqueeze(update, [2])));
}

function linearAttrs(n: NodeReader): LinearAttrs {
  const rule = n.string('update_rule', 'gated_delta');
  if (!['linear', 'gated', 'delta', 'gated_delta'].includes(rule))
    throw new CompileError('E203', `update_rule "${rule}" is not defined`);
  return {
    heads: n.int('q_num_heads'),
    keyHeads: n.int('kv_num_heads'),
    scale: n.float('scale', 0) || undefined,
    gated: rule.startsWith('gated'),
    delta: rule.endsWith('delta'),
    window: n.int('state_window', 0),
  };
}

const LinearAttention = op('linear_attention', {
  doc: 'Attention without softmax as a recurrence over one state matrix per key head, with decay and delta rule.',
  inputs: ['q', 'k', 'v', 'past?', 'decay?', 'beta?'],
  onnx: { 'LinearAttention@27': linearAttrs, 'com.microsoft:LinearAttention@1': linearAttrs },
  lower: ({ q, k, v, past, decay, beta }, a: LinearAttrs, b, ctx) => {
    if (a.window > 0) ctx.limit('states of several positions (state_window)', 'Export the model without it');
    if (a.heads % a.keyHeads !== 0) ctx.limit(`${a.heads} query heads for ${a.keyHeads} key heads`);
    const [queries, keys, values] = [bySteps(b, q, a.heads), bySteps(b, k, a.keyHeads), bySteps(b, v, a.keyHeads)];
    const t = queries.type.dtype;
    const [steps, batch, , width] = queries.type.shape as [Dim, Dim, Dim, Dim];
    const depth = values.type.shape[3] as Dim;
    const state = past ? b.cast(past, t) : b.full([batch, a.keyHeads, width, depth], 0, t);
    const gates = [
      a.gated && decay ? bySteps(b, decay, a.keyHeads) : undefined,
      a.delta && beta ? bySteps(b, beta, beta.type.shape[2] as Dim) : undefined,
    ];
    const shared = a.heads / a.keyHeads;
    const scanned = [queries, keys, values, ...gates.filter((g) => g !== undefined)];
    const [last, outputs] = b.scan(steps, [state], scanned, (_step, [s], slices) => {
      const [qt, kt, vt, ...rest] = slices as [Value, Value, Value, ...Value[]];
      const next = nextState(b, s as Value, kt, vt, gates[0] && rest[0], gates[1] && rest.at(-1));
      const grouped = b.reshape(qt, [batch, a.keyHeads, shared, width]);
      return [next, b.einsum('bhgk,bhkv->bhgv', [grouped, next])];
    }) as readonly [Value, Value];
    const all = b.reshape(outputs, [steps, batch, a.heads, depth]);
    const y = b.cast(scaled(b, b.transpose(all, [1, 2, 0, 3]), a.scale, width), q.type.dtype);
    return [mergeHeads(b, y), b.cast(last, past?.type.dtype ?? q.type.dtype)];
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const ACTIVATIONS: Readonly<Record<string, (b: Builder, x: Value) => Value>> = {
  none: (_b, x) => x,
  silu: (b, x) => b.mapFloat([x], (v) => e.mul(v, e.sigmoid(v))),
  swish: (b, x) => b.mapFloat([x], (v) => e.mul(v, e.sigmoid(v))),
};

interface CausalAttrs {
  readonly activation: string;
  readonly dilation: number;
  /** com.microsoft: what else was asked for. */
  readonly other: string | undefined;
}

const causalAttrs = (n: NodeReader): CausalAttrs => ({
  activation: n.string('activation', 'none'),
  dilation: n.int('dilation', 1),
  other: n.int('ndim', 1) > 1 ? 'ndim' : ['channels_last', 'state_window'].find((name) => n.int(name, 0) > 0),
});

const CausalConv = op('causal_conv_with_state', {
  doc: 'Depthwise convolution over the past and present of each channel; gives what the next call needs of the past.',
  inputs: ['x', 'w', 'bias?', 'past?'],
  onnx: { 'CausalConvWithState@27': causalAttrs, 'com.microsoft:CausalConvWithState@1': causalAttrs },
  lower: ({ x, w, bias, past }, { activation, dilation, other }: CausalAttrs, b, ctx) => {
    const apply = ACTIVATIONS[activation];
    if (!apply) throw new CompileError('E203', `activation "${activation}" is not defined`);
    if (other) ctx.limit(`a causal convolution with ${other}`, 'Export the model without it');
    const [batch, channels, length] = x.type.shape as [Dim, Dim, Dim];
    const before = mul(sub(w.type.shape[2] as Dim, 1), dilation);
    const history = past ?? b.full([batch, channels, before], 0, x.type.dtype);
    const all = before === 0 ? x : b.concat([history, x], 2);
    const window = { kernel: [], strides: [], dilations: [dilation], pads: [], autoPad: 'valid', ceil: false } as const;
    const y = convolution(b, { x: all, w, window, layout: CHANNELS_FIRST, weights: OIK });
    const present = b.narrow(all, 2, sub(add(length, before), before), before);
    return [apply(b, addBias(b, y, bias, CHANNELS_FIRST)), present];
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [LinearAttention, CausalConv];
