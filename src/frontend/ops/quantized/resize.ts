// RESIZE_BILINEAR of TFLite integers: positions and weights in 10-bit fixed point, sums at 20 bits, one rounding.
// Input and output share their quantisation, so stored values are interpolated as they are.

import type { Builder } from '../../../ir/builder.js';
import { type Dim, isConst } from '../../../ir/dim.js';
import { e } from '../../../ir/expr.js';
import { cast, type Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import type { LowerContext } from '../record.js';

export interface ResizeAttrs {
  readonly height: Dim;
  readonly width: Dim;
  readonly alignCorners: boolean;
  readonly halfPixel: boolean;
}

interface AxisSample {
  readonly low: Expr;
  readonly high: Expr;
  /** Weight of the higher neighbour, of 1024. */
  readonly weight: Expr;
}

/** Input step of one output step, times 1024, rounded. */
function step(input: number, output: number, alignCorners: boolean): number {
  const [from, to] = alignCorners && output > 1 ? [input - 1, output - 1] : [input, output];
  return Math.floor((1024 * from + Math.floor(to / 2)) / to);
}

function sample(i: Expr, input: number, output: number, a: ResizeAttrs): AxisSample {
  const width = step(input, output, a.alignCorners);
  const scaled = e.mul(i, width);
  const position = a.halfPixel ? e.add(scaled, Math.floor(width / 2) - 512) : scaled;
  const low = e.max(e.div(position, 1024), 0);
  return {
    low,
    high: e.min(e.div(e.add(position, 1023), 1024), input - 1),
    weight: e.sub(position, e.mul(low, 1024)),
  };
}

export function integerResizeBilinear(
  { x }: { readonly x: Value },
  a: ResizeAttrs,
  b: Builder,
  ctx: LowerContext,
): Value {
  const [batch, height, width, channels] = x.type.shape as readonly [Dim, Dim, Dim, Dim];
  const [outHeight, outWidth] = [a.height, a.width];
  if (!isConst(height) || !isConst(width) || !isConst(outHeight) || !isConst(outWidth))
    return ctx.limit('integer resizing of a size that is not fixed', 'Fix it with --dim');
  const acc = x.type.dtype === 'i16' ? 'i64' : 'i32';
  return b.generic({
    shape: [batch, outHeight, outWidth, channels],
    body: ([n, i, j, c], _r, read) => {
      const y = sample(i as Expr, height, outHeight, a);
      const z = sample(j as Expr, width, outWidth, a);
      const at = (row: Expr, column: Expr): Expr => cast(read(x, [n as Expr, row, column, c as Expr]), acc);
      const part = (value: Expr, p: Expr, q: Expr): Expr => e.mul(value, cast(p, acc), cast(q, acc));
      const rest = (w: Expr): Expr => e.sub(1024, w);
      const sum = e.add(
        part(at(y.low, z.low), rest(y.weight), rest(z.weight)),
        part(at(y.high, z.low), y.weight, rest(z.weight)),
        part(at(y.low, z.high), rest(y.weight), z.weight),
        part(at(y.high, z.high), y.weight, z.weight),
      );
      return cast(roundOff(sum, ctx.rounding), x.type.dtype);
    },
  });
}

function roundOff(sum: Expr, rounding: LowerContext['rounding']): Expr {
  const half = 2 ** 19;
  if (rounding === 'single') return e.shrS(e.add(sum, half), 20);
  return e.div(e.add(sum, e.select(e.gt(sum, 0), e.const(half, sum.dtype), e.const(-half, sum.dtype))), 2 ** 20);
}
