// Affine quantisation as primitives: what TFLite's QUANTIZE and DEQUANTIZE mean, for whole values.
// real = scale · (q − zero point); rounding is half away from zero, as in the reference kernels.

import type { Builder, Read } from '../ir/builder.js';
import { e } from '../ir/expr.js';
import { cast, constant, type Expr } from '../ir/scalar.js';
import type { Value } from '../ir/tensor.js';
import { type DType, intRange } from '../support/dtype.js';
import { CompileError } from '../support/errors.js';
import type { SourceQuant } from './source.js';

/** Scale and zero point at output position `i`, as f32 and i32. */
function parameters(b: Builder, q: SourceQuant): (read: Read, i: readonly Expr[]) => { scale: Expr; zero: Expr } {
  if (q.block) throw new CompileError('E202', 'blockwise quantisation is not supported for this operator');
  if (q.scale.length === 1) {
    const scale = constant(q.scale[0] as number, 'f32');
    const zero = constant(q.zeroPoint[0] ?? 0, 'i32');
    return () => ({ scale, zero });
  }
  const scales = b.constant({ dtype: 'f32', shape: [q.scale.length], data: q.scale });
  const zeros = b.constant({
    dtype: 'i32',
    shape: [q.scale.length],
    data: Int32Array.from(q.scale, (_, k) => q.zeroPoint[k] ?? q.zeroPoint[0] ?? 0),
  });
  return (read, i) => ({ scale: read(scales, [i[q.axis] as Expr]), zero: read(zeros, [i[q.axis] as Expr]) });
}

/** f32 value of a quantised tensor. */
export function dequantizeValue(b: Builder, v: Value, q: SourceQuant): Value {
  const at = parameters(b, q);
  return b.generic({
    shape: v.type.shape,
    body: (i, _r, read) => {
      const { scale, zero } = at(read, i);
      return e.mul(cast(e.sub(cast(read(v, i), 'i32'), zero), 'f32'), scale);
    },
  });
}

/** Quantises f32 to a narrow integer type: clamp(round(x / scale) + zero point). */
export function quantizeValue(b: Builder, v: Value, q: SourceQuant, dtype: DType): Value {
  const at = parameters(b, q);
  const { lo, hi } = intRange(dtype);
  return b.generic({
    shape: v.type.shape,
    body: (i, _r, read) => {
      const { scale, zero } = at(read, i);
      const shifted = e.add(e.round(e.div(read(v, i), scale)), cast(zero, 'f32'));
      return cast(cast(e.clamp(shifted, Number(lo), Number(hi)), 'i32'), dtype);
    },
  });
}
