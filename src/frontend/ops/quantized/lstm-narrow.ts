// LiteRT's older integer LSTM, known by twelve intermediate tensors: sums of 8 bits, layer normalisation and nonlinearities in
// float, gates coupled and outputs projected always. Intermediates by gate: both sums together, the input's, the last output's.

import type { Builder } from '../../../ir/builder.js';
import type { Dim } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { keepState } from '../recurrent-layer.js';
import { inputAffine, intermediateAffine, outputAffine, store, typeRange } from './affine.js';
import { quantizeMultiplier } from './fixed-point.js';
import { scale, scaleWide, shiftRight } from './fixed-point-expr.js';
import { clipSteps, type Clips, gateProducts, type LstmPositions, needed, saturate16, UNIT } from './gate-products.js';

export const NARROW_INTERMEDIATES = 12;

const { fround } = Math;

/** Real numbers of up to 1 as 15 fractional bits, cut off. */
const toQ15 = (v: Expr): Expr => e.min(cast(e.trunc(e.mul(v, 2 ** 15)), 'i32'), 32767);

/** One step: x [batch, in] → [batch, out] as stored; the states are written back. */
export function narrowIntegerLstm(b: Builder, ctx: LowerContext, x: Value, at: LstmPositions, clips: Clips): Value {
  const cellState = inputAffine(ctx, at.states[1]);
  if (cellState.scale !== UNIT) return ctx.limit('8-bit gate sums with a cell state of another scale than 2^-15');
  const batch = x.type.shape[0] as Dim;
  const width = needed(ctx, at.recurrent[3]).type.shape[0] as number;
  const c = b.reshape(needed(ctx, at.states[1]), [batch, width]);
  const sums = (gate: 1 | 2 | 3): Value => normalized(b, ctx, gateSum(b, ctx, x, at, gate), at, gate);
  const opened = (gate: 1 | 3): Value => b.map([sums(gate)], (v) => toQ15(e.sigmoid(e.mul(cast(v, 'f32'), 2 ** -12))));
  const forget = opened(1);
  const candidate = b.map([sums(2)], (v) => toQ15(e.tanh(e.mul(cast(v, 'f32'), 2 ** -12))));
  const clip = clips.cellClip < 1 ? clipSteps(clips.cellClip, cellState, 32767) : 0;
  const next = b.map([forget, c, candidate], (f, old, g) => {
    const kept = shiftRight(e.mul(f, cast(old, 'i32')), 15);
    const sum = saturate16(e.add(kept, shiftRight(e.mul(e.sub(32767, f), g), 15)));
    return cast(clip > 0 ? e.clamp(sum, -clip, clip) : sum, 'i16');
  });
  const hidden = b.map([opened(3), next], (o, v) =>
    cast(shiftRight(e.mul(o, toQ15(e.tanh(e.mul(cast(v, 'f32'), UNIT)))), 15), 'i16'),
  );
  const out = project(b, ctx, hidden, at, clips);
  keepState(b, ctx, at.states[0], out);
  keepState(b, ctx, at.states[1], next);
  return out;
}

/** Sum of a gate within 16 bits. The kernel looks for the factor of the output gate's last outputs past the end of its table;
 *  with what stands there, a shift of a few bits, the product is 0. */
function gateSum(b: Builder, ctx: LowerContext, x: Value, at: LstmPositions, gate: 1 | 2 | 3): Value {
  const whole = intermediateAffine(ctx, 3 * gate);
  const { lo, hi } = typeRange('i8');
  const part = (v: Value, from: number, weights: number, k: number): Value => {
    const { scale: step, zero } = intermediateAffine(ctx, 3 * gate + k);
    const m = quantizeMultiplier(fround(step / whole.scale), ctx.rounding);
    const products = gateProducts(b, ctx, v, inputAffine(ctx, from), [{ weights, scale: step }], []);
    return b.map([products], (p) => scale(e.clamp(p, lo - zero, hi - zero), m, ctx.rounding));
  };
  const own = part(x, 0, at.input[gate], 1);
  if (gate === 3) return b.map([own], saturate16);
  const [batch, width] = [x.type.shape[0] as Dim, needed(ctx, at.recurrent[3]).type.shape[1] as Dim];
  const last = b.reshape(needed(ctx, at.states[0]), [batch, width]);
  return b.map([own, part(last, at.states[0], at.recurrent[gate], 2)], (p, q) => saturate16(e.add(p, q)));
}

/** Layer normalisation in float, to 12 fractional bits. */
function normalized(b: Builder, ctx: LowerContext, x: Value, at: LstmPositions, gate: 1 | 2 | 3): Value {
  const position = at.norm?.[gate] ?? -1;
  const [weights, bias] = [needed(ctx, position), needed(ctx, at.bias[gate])];
  const { q, shift } = quantizeMultiplier(inputAffine(ctx, position).scale, ctx.rounding);
  const step = fround(q * 2 ** (shift - 31));
  const v = b.cast(x, 'f32');
  const mean = b.reduce(v, 'mean', [-1], true);
  const squares = b.reduce(b.mul(v, v), 'mean', [-1], true);
  const inverse = b.map([squares, mean], (s, m) => {
    const variance = e.sub(s, e.mul(m, m));
    return e.select(e.eq(variance, 0), e.const(10000, 'f32'), e.div(1, e.sqrt(variance)));
  });
  return b.map([v, mean, inverse, weights, bias], (p, m, i, w, c) => {
    const weighted = e.mul(e.mul(e.sub(p, m), i), cast(w, 'f32'), step);
    const sum = e.add(weighted, e.mul(cast(c, 'f32'), fround(step * 2 ** -10)));
    return saturate16(cast(e.round(e.mul(sum, 2 ** 12)), 'i32'));
  });
}

function project(b: Builder, ctx: LowerContext, hidden: Value, at: LstmPositions, clips: Clips): Value {
  const [position, biasAt] = at.projection;
  const state = inputAffine(ctx, at.states[0]);
  const m = quantizeMultiplier(fround((inputAffine(ctx, position).scale * UNIT) / state.scale), ctx.rounding);
  const products = b.matmul(hidden, needed(ctx, position), { transposeY: true, acc: 'i64' });
  const bias = ctx.reader.input(biasAt);
  const sums = bias ? b.map([products, bias], (p, q) => e.add(p, cast(q, 'i64'))) : products;
  const clip = clipSteps(clips.projClip, outputAffine(ctx), 127);
  return b.map([sums], (s) => {
    const stored = store(scaleWide(s, m), state.zero, typeRange('i8'), 'i8');
    return clip > 0 ? cast(e.clamp(cast(stored, 'i32'), -clip, clip), 'i8') : stored;
  });
}
