// Quantise and dequantise: real = scale · (q − zero point), with scales per tensor, along an axis or per block.
// Rounding is half to even; the clamp comes before the cast. Operators that compute on quantised tensors: qlinear.ts.

import type { Builder, Read } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, intRange, isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { castUnsaturated } from './cast.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { toQuantized } from './quantized/activation.js';

/** How parameters relate to the tensor they scale. `axis` counts from the end if negative; `block` 0: not blocked. */
export interface Granularity {
  readonly axis: number;
  readonly block: number;
}

/** Reads a scale or zero point for the element at `i` of `x`. */
function parameterReader(b: Builder, x: Value, g: Granularity): (read: Read, p: Value, i: readonly Expr[]) => Expr {
  return (read, p, i) => {
    const { shape } = p.type;
    if (shape.every((d) => d === 1))
      return read(
        p,
        shape.map(() => i32(0)),
      );
    const axis = b.axis(x, g.axis);
    if (shape.length === 1 && (g.block === 0 || i.length !== 1)) return read(p, [i[axis] as Expr]);
    if (g.block === 0 || shape.length !== i.length)
      throw new CompileError('E204', `scales of rank ${shape.length} do not fit a tensor of rank ${i.length}`);
    return read(
      p,
      i.map((v, k) => (k === axis ? e.div(v, g.block) : v)),
    );
  };
}

/** Real values of a quantised tensor, computed in f32 (f64 for f64 scales) and rounded to `dtype`. */
export function dequantize(
  b: Builder,
  x: Value,
  scale: Value,
  zero: Value | undefined,
  g: Granularity,
  dtype = scale.type.dtype,
): Value {
  const parameter = parameterReader(b, x, g);
  const t: DType = dtype === 'f64' ? 'f64' : 'f32';
  const between: DType = isFloat(x.type.dtype) ? t : 'i32';
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const q = cast(read(x, i), between);
      const centred = zero ? e.sub(q, cast(parameter(read, zero, i), between)) : q;
      return cast(e.mul(cast(centred, t), cast(parameter(read, scale, i), t)), dtype);
    },
  });
}

/** A scaled real as an element of `dtype`: rounded half to even, shifted and clamped. `saturate` concerns narrow floats. */
export function quantizedElement(real: Expr, zero: Expr | undefined, dtype: DType, saturate = true): Expr {
  if (isFloat(dtype)) {
    const shifted = zero ? e.add(real, cast(zero, real.dtype)) : real;
    return saturate ? cast(shifted, dtype) : castUnsaturated(shifted, dtype);
  }
  const { lo, hi } = intRange(dtype);
  const shifted = zero ? e.add(e.rint(real), cast(cast(zero, 'i32'), real.dtype)) : e.rint(real);
  return cast(cast(e.clamp(shifted, Number(lo), Number(hi)), 'i32'), dtype);
}

/** clamp(rint(x / scale) + zero point) as `dtype`. */
export function quantize(
  b: Builder,
  x: Value,
  scale: Value,
  zero: Value | undefined,
  g: Granularity,
  dtype: DType,
  saturate = true,
): Value {
  const parameter = parameterReader(b, x, g);
  const t: DType = x.type.dtype === 'f64' ? 'f64' : 'f32';
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) =>
      quantizedElement(
        e.div(cast(read(x, i), t), cast(parameter(read, scale, i), t)),
        zero && parameter(read, zero, i),
        dtype,
        saturate,
      ),
  });
}

interface QuantizeAttrs extends Granularity {
  readonly dtype: DType;
  readonly saturate: boolean;
}

const granularity = (n: NodeReader): Granularity => ({ axis: n.int('axis', 1), block: n.int('block_size', 0) });

/** An element type attribute whose 0 means "not given". */
const dtypeOr = (n: NodeReader, name: string, fallback: DType): DType =>
  n.has(name) && n.int(name) !== 0 ? n.dtype(name) : fallback;

const QuantizeLinear = op('quantize_linear', {
  doc: 'Real values to integers or narrow floats, by scale and zero point per tensor, axis or block.',
  inputs: ['x', 'scale', 'zero?'],
  onnx: Object.fromEntries(
    ['QuantizeLinear@10', 'com.microsoft:QuantizeLinear@1'].map((key) => [
      key,
      (n: NodeReader): QuantizeAttrs => ({
        ...granularity(n),
        dtype: n.input(2)?.type.dtype ?? dtypeOr(n, 'output_dtype', 'u8'),
        saturate: n.bool('saturate', true),
      }),
    ]),
  ),
  lower: ({ x, scale, zero }, a: QuantizeAttrs, b) => quantize(b, x, scale, zero, a, a.dtype, a.saturate),
});

const DequantizeLinear = op('dequantize_linear', {
  doc: 'Integers or narrow floats to real values, by scale and zero point per tensor, axis or block.',
  inputs: ['x', 'scale', 'zero?'],
  onnx: Object.fromEntries(
    ['DequantizeLinear@10', 'com.microsoft:DequantizeLinear@1'].map((key) => [
      key,
      (n: NodeReader): Granularity & { dtype: DType } => ({
        ...granularity(n),
        dtype: dtypeOr(n, 'output_dtype', n.input(1)?.type.dtype ?? 'f32'),
      }),
    ]),
  ),
  lower: ({ x, scale, zero }, a: Granularity & { dtype: DType }, b) => dequantize(b, x, scale, zero, a, a.dtype),
});

/** Scale and u8 zero point that cover a tensor's range and zero. */
export function dynamicRange(b: Builder, x: Value): { readonly scale: Value; readonly zero: Value } {
  const top = b.max(b.reduce(x, 'max'), 0);
  const bottom = b.min(b.reduce(x, 'min'), 0);
  // A tensor of zeros has no range: any scale does, and 1 is what runtimes take.
  const scale = b.map([top, bottom], (p, q) => e.select(e.eq(p, q), 1, e.div(e.sub(p, q), 255)));
  const zero = b.map([bottom, scale], (q, s) => cast(cast(e.clamp(e.rint(e.neg(e.div(q, s))), 0, 255), 'i32'), 'u8'));
  return { scale, zero };
}

const PER_TENSOR: Granularity = { axis: 0, block: 0 };

const DynamicQuantizeLinear = op('dynamic_quantize_linear', {
  doc: 'Quantises to u8 by the range found at run time; gives the scale and the zero point too.',
  inputs: ['x'],
  onnx: { 'DynamicQuantizeLinear@11': () => ({}) },
  lower: ({ x }, _a, b) => {
    const { scale, zero } = dynamicRange(b, x);
    return [quantize(b, x, scale, zero, PER_TENSOR, 'u8'), scale, zero];
  },
});

// The importer dequantises inputs and quantises outputs of TFLite nodes, so nothing is left to do here.
const Quantize = op('quantize', {
  doc: 'TFLite: to the output’s scale and zero point.',
  inputs: ['x'],
  tflite: { QUANTIZE: () => ({}) },
  quantized: toQuantized,
  lower: ({ x }) => x,
});

const Dequantize = op('dequantize', {
  doc: 'TFLite: real values, as f32.',
  inputs: ['x'],
  tflite: { DEQUANTIZE: () => ({}) },
  lower: ({ x }, _a, b) => b.cast(x, 'f32'),
});

const Densify = op('densify', {
  doc: 'TFLite: a sparsely stored constant. The reader has already laid it out.',
  inputs: ['x'],
  tflite: { DENSIFY: () => ({}) },
  quantized: 'raw',
  lower: ({ x }) => x,
});

interface FakeQuantAttrs {
  readonly min: number;
  readonly max: number;
  readonly levels: number;
  readonly lowest: number;
}

/** The range moved so that zero is one of its steps, in float32. */
function nudged({ min, max, levels, lowest }: FakeQuantAttrs) {
  const { fround, round } = Math;
  const step = fround(fround(max - min) / (levels - lowest));
  const zero = round(Math.min(levels, Math.max(lowest, lowest - fround(min / step))));
  return { step, low: fround((lowest - zero) * step), high: fround((levels - zero) * step) };
}

const FakeQuant = op<'x', FakeQuantAttrs>('fake_quant', {
  doc: 'TFLite: values rounded to the steps of a quantisation, as floats.',
  inputs: ['x'],
  tflite: {
    FAKE_QUANT: (n) => ({
      min: n.float('min', 0),
      max: n.float('max', 0),
      levels: 2 ** n.int('num_bits', 8) - 1,
      lowest: n.bool('narrow_range', false) ? 1 : 0,
    }),
  },
  lower: ({ x }, a, b) => {
    const { step, low, high } = nudged(a);
    const steps = (v: Expr): Expr => e.round(e.mul(e.sub(e.clamp(v, low, high), low), Math.fround(1 / step)));
    return b.map([x], (v) => e.add(e.mul(steps(v), step), low));
  },
});

export const records: readonly AnyRecord[] = [
  QuantizeLinear,
  DequantizeLinear,
  DynamicQuantizeLinear,
  Quantize,
  Dequantize,
  Densify,
  FakeQuant,
];
