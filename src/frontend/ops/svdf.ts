// SVDF: a fully connected layer factored into features of the present input and their weighted history. The history of
// each filter is a variable tensor, newest last; each call shifts it by one. Integer kinds follow the reference kernel.

import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { centred, inputAffine, outputAffine, outputType, store, typeRange } from './quantized/affine.js';
import { quantizeMultiplier } from './quantized/fixed-point.js';
import { scale } from './quantized/fixed-point-expr.js';
import { integerOrRows } from './quantized/hybrid.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

interface SvdfInputs {
  readonly x: Value;
  readonly feature: Value;
  readonly time: Value;
  readonly bias: Value | undefined;
  readonly state: Value;
}

interface SvdfAttrs {
  readonly rank: number;
  readonly activation: FusedActivation;
}

/** Position of the state among the inputs. */
const STATE = 4;

/** Puts the newest features [batch, filters] behind the history, whose oldest entry drops out; writes it back. */
function remember(b: Builder, { state, time }: SvdfInputs, newest: Value, ctx: LowerContext): Value {
  const [batch, filters] = newest.type.shape as readonly [Dim, Dim];
  const memory = time.type.shape[1] as Dim;
  const old = b.reshape(state, [batch, filters, memory]);
  const kept = b.slice(old, [{ axis: 2, start: 1, end: memory, step: 1 }]);
  const history = b.concat([kept, b.reshape(newest, [batch, filters, 1])], 2);
  const name = ctx.stateOf(STATE) ?? ctx.limit('the history must be a variable tensor');
  b.stateWrite(name, b.reshape(history, state.type.shape));
  return history;
}

/** Weighted history, summed over the `rank` filters of each unit. */
function recall(b: Builder, history: Value, time: Value, rank: number, f: (h: Expr, w: Expr) => Expr): Value {
  const [batch, filters, memory] = history.type.shape as readonly [Dim, Dim, Dim];
  return b.generic({
    shape: [batch, floordiv(filters, rank)],
    reduce: [rank, memory],
    reducer: 'add',
    body: ([n, unit], [r, m], read) => {
      const filter = e.add(e.mul(unit as Expr, rank), r as Expr);
      return f(read(history, [n as Expr, filter, m as Expr]), read(time, [filter, m as Expr]));
    },
  });
}

function floatSvdf(inputs: SvdfInputs, { rank, activation }: SvdfAttrs, b: Builder, ctx: LowerContext): Value {
  const newest = b.matmul(inputs.x, inputs.feature, { transposeY: true });
  const history = remember(b, inputs, newest, ctx);
  const sum = recall(b, history, inputs.time, rank, (h, w) => e.mul(h, w));
  return fusedActivation(b, inputs.bias ? b.add(sum, inputs.bias) : sum, activation);
}

/** Quotients of scales are taken in float32, from the left. */
const floatProduct = (p: number, q: number, r: number): number => Math.fround(Math.fround(p * q) / r);

function integerSvdf(inputs: SvdfInputs, { rank }: SvdfAttrs, b: Builder, ctx: LowerContext): Value {
  const [x, feature, time, state] = [0, 1, 2, STATE].map((i) => inputAffine(ctx, i)) as [Q, Q, Q, Q];
  const output = outputAffine(ctx);
  const stateType = inputs.state.type.dtype;
  if (isFloat(stateType)) return ctx.limit('integer features with a float history');
  const into = quantizeMultiplier(floatProduct(x.scale, feature.scale, state.scale), ctx.rounding);
  const out = quantizeMultiplier(floatProduct(state.scale, time.scale, output.scale), ctx.rounding);
  const { lo, hi } = typeRange(stateType);
  const sums = b.matmul(
    b.map([inputs.x], (v) => e.sub(cast(v, 'i16'), x.zero)),
    inputs.feature,
    { transposeY: true, acc: 'i32' },
  );
  const newest = b.map([sums], (s) =>
    cast(e.add(e.clamp(scale(s, into, ctx.rounding), lo, hi), state.zero), stateType),
  );
  const history = remember(b, inputs, newest, ctx);
  const total = recall(b, history, inputs.time, rank, (h, w) => e.mul(centred(h, state.zero), cast(w, 'i32')));
  const dtype = outputType(ctx);
  const finish = (s: Expr): Expr => store(scale(s, out, ctx.rounding), output.zero, typeRange(dtype), dtype);
  return inputs.bias ? b.map([total, inputs.bias], (s, p) => finish(e.add(s, p))) : b.map([total], finish);
}

type Q = ReturnType<typeof inputAffine>;

export const records: readonly AnyRecord[] = [
  op<'x' | 'feature' | 'time' | 'bias?' | 'state', SvdfAttrs>('svdf', {
    doc: 'Features of the input through a rank-wise weighted memory of past calls.',
    inputs: ['x', 'feature', 'time', 'bias?', 'state'],
    tflite: { SVDF: (n) => ({ rank: n.int('rank', 1), activation: activationOf(n) }) },
    lower: floatSvdf,
    quantized: integerOrRows(floatSvdf, integerSvdf),
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
];
