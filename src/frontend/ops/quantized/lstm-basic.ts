// LiteRT's basic LSTM cell in integers: one matrix for the input and the last output, both unsigned bytes centred at 128,
// gates with 3 integer bits and a cell state with 4. Gates in the order input, candidate, forget, output.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';
import { inputAffine } from './affine.js';
import { highProduct, logisticFixed, tanhFixed } from './fixed-activation.js';
import { quantizeMultiplier } from './fixed-point.js';
import { scale, shiftRight } from './fixed-point-expr.js';
import { GATE_SCALE, needed, saturate16 } from './gate-products.js';

const STATE_SCALE = 2 ** -11;
const CENTRE = 128;

/** Output, cell state, input and last output side by side, and the gates' sums, as the operator gives them. */
export function basicIntegerLstm(b: Builder, ctx: LowerContext, x: Value): readonly Value[] {
  const [last, weights, bias, state] = [1, 2, 3, 4].map((i) => needed(ctx, i)) as [Value, Value, Value, Value];
  if (x.type.dtype !== 'u8' || inputAffine(ctx, 4).scale !== STATE_SCALE)
    return ctx.limit(
      'a basic integer LSTM of other types than bytes, or with a cell state of another scale than 2^-11',
    );
  const joined = b.concat([x, last], 1);
  const less = (v: Value, zero: number): Value => b.map([v], (p) => e.sub(cast(p, 'i16'), zero));
  const products = b.matmul(less(joined, CENTRE), less(weights, inputAffine(ctx, 2).zero), {
    transposeY: true,
    acc: 'i32',
  });
  const m = quantizeMultiplier(inputAffine(ctx, 3).scale / GATE_SCALE, ctx.rounding);
  const sums = b.map([products, bias], (s, p) => cast(saturate16(scale(e.add(s, p), m, ctx.rounding)), 'i16'));
  const width = state.type.shape[1] as number;
  const gate = (k: number, f: (x: Expr, bits: number) => Expr): Value =>
    b.map([b.narrow(sums, 1, k * width, width)], (v) => f(cast(v, 'i32'), 3));
  const [admit, candidate, forget] = [gate(0, logisticFixed), gate(1, tanhFixed), gate(2, logisticFixed)];
  const next = b.map([admit, candidate, forget, state], (i, g, f, c) =>
    cast(saturate16(e.add(shiftRight(highProduct(i, g), 4), highProduct(f, cast(c, 'i32')))), 'i16'),
  );
  const out = b.map([gate(3, logisticFixed), next], (o, c) => {
    const level = tanhFixed(saturate16(e.shl(cast(c, 'i32'), 1)), 3);
    const byte = shiftRight(highProduct(o, level), 8);
    return cast(e.add(e.clamp(byte, -CENTRE, CENTRE - 1), CENTRE), 'u8');
  });
  return [out, next, joined, sums];
}
