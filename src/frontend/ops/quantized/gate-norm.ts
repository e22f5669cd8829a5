// Layer normalisation of a gate's 16-bit sums in LiteRT's integer LSTM: mean and deviation of each row with 10 more bits,
// 1/√ by Newton steps, then 16-bit coefficients and the gate's bias. Results have 12 fractional bits.

import type { Builder } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { quantizeMultiplier, type Rounding } from './fixed-point.js';
import { scale, shiftRight } from './fixed-point-expr.js';
import { saturate16 } from './gate-products.js';
import { inverseSquareRoot, scaleBy } from './reciprocal.js';

const MORE = 2 ** 10;
const MORE_SQUARED = 2 ** 20;

export interface GateNorm {
  readonly weights: Value;
  readonly bias: Value;
  /** Of the weights; a float32 value. */
  readonly scale: number;
}

/** x [batch, cell] in i32 within 16 bits. */
export function normalizeGate(b: Builder, x: Value, norm: GateNorm, rounding: Rounding): Value {
  const { mean, variance } = moments(b, x);
  const least = Math.max(1, Math.trunc(Math.fround(10000 * norm.scale)));
  const used = b.map([variance], (v) => e.select(e.lt(v, 1), least, v));
  const factor = b.map([used], (v) => inverseSquareRoot(v).factor);
  const right = b.map([used], (v) => inverseSquareRoot(v).rightShift);
  const { q, shift } = quantizeMultiplier(norm.scale, rounding);
  return b.generic({
    shape: x.type.shape,
    body: ([n, j], _r, read) => {
      const row = [n as Expr];
      const column = [j as Expr];
      const centred = e.sub(e.mul(read(x, [n as Expr, j as Expr]), MORE), read(mean, row));
      const unit = scaleBy(centred, read(factor, row), e.neg(read(right, row)), rounding);
      const sum = e.add(e.mul(unit, cast(read(norm.weights, column), 'i32')), read(norm.bias, column));
      return saturate16(scale(shiftRight(sum, 10), { q, shift: shift + 12 }, rounding));
    },
  });
}

/** Mean of each row with 10 more bits, and variance. The reciprocal of the row's length is a whole number of 2^-20. */
function moments(b: Builder, x: Value): { readonly mean: Value; readonly variance: Value } {
  const [batch, cell] = x.type.shape as readonly [number, number];
  const sumOf = (f: (v: Expr) => Expr): Value =>
    b.generic({
      shape: [batch],
      reduce: [cell],
      reducer: 'add',
      body: ([n], [j], read) => f(cast(read(x, [n as Expr, j as Expr]), 'i64')),
    });
  const sum = sumOf((v) => v);
  const squares = sumOf((v) => e.mul(v, v));
  const mean = b.map([sum], (s) => cast(e.div(e.mul(s, BigInt(MORE)), BigInt(cell)), 'i32'));
  const variance = b.map([squares, mean], (s, m) => {
    const wide = cast(m, 'i64');
    const total = e.sub(e.mul(s, BigInt(Math.trunc(MORE_SQUARED / cell))), e.mul(wide, wide));
    return cast(e.div(total, BigInt(MORE_SQUARED)), 'i32');
  });
  return { mean, variance };
}
