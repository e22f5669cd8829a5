// Values out of nothing but attributes and sizes: constants, ranges, fills.

import type { Builder, Read } from '../../ir/builder.js';
import { bounds, ceildiv, type Dim, isConst, max, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { DTYPE_INFO, isFloat } from '../../support/dtype.js';
import { type Tensor, toNumbers } from '../../support/tensor.js';
import { constantOf } from '../node-reader.js';
import { assumedBound } from '../assumed-sizes.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { assumedSize, computedSize, declaredSize, sizesFrom } from './runtime-sizes.js';

const integers = (data: readonly bigint[], shape: readonly number[]): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from(data),
});

const floats = (data: readonly number[], shape: readonly number[]): Tensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(data),
});

const texts = (data: readonly string[], shape: readonly number[]): Tensor => ({ dtype: 'string', shape, data });

/** The one `value…` attribute a Constant carries; 64-bit integers stay exact. */
function constantTensor(n: NodeReader): Tensor | undefined {
  const int = n.source.attrs.get('value_int');
  if (int?.kind === 'int') return integers([int.value], []);
  const ints = n.source.attrs.get('value_ints');
  if (ints) return ints.kind === 'ints' ? integers(ints.value, [ints.value.length]) : integers([], [0]);
  if (n.has('value_float')) return floats([n.float('value_float')], []);
  if (n.has('value_floats')) return floats(n.floats('value_floats'), [n.floats('value_floats').length]);
  if (n.has('value_string')) return texts([n.string('value_string')], []);
  if (n.has('value_strings')) return texts(n.strings('value_strings'), [n.strings('value_strings').length]);
  return n.tensor('value') ?? n.tensor('sparse_value');
}

const filled = (b: Builder, value: Value, shape: readonly Dim[]): Value => b.broadcast(b.reshape(value, []), shape);

const numberOf = (b: Builder, v: Value): number | undefined => {
  const t = constantOf(v, b);
  return t && t.dtype !== 'string' ? toNumbers(t)[0] : undefined;
};

/** ⌈(limit − start) / delta⌉, at least 0: from constants, from sizes, or computed when the program runs. */
function rangeCount(b: Builder, start: Value, limit: Value, delta: Value, ctx: LowerContext): Dim {
  const step = numberOf(b, delta);
  if (step === 0) return ctx.limit('the step of a range is zero');
  const [from, to] = [numberOf(b, start), numberOf(b, limit)];
  if (from !== undefined && to !== undefined && step !== undefined) return Math.max(0, Math.ceil((to - from) / step));
  const [first, last] = [b.values(start)?.[0], b.values(limit)?.[0]];
  if (first !== undefined && last !== undefined && step !== undefined && Number.isInteger(step))
    return max(0, step > 0 ? ceildiv(sub(last, first), step) : ceildiv(sub(first, last), -step));
  const declared = declaredSize(ctx, 0, 0);
  if (declared === undefined && first !== undefined && bounds(first)[0] >= 0) ctx.sizesWanted(limit);
  return declared ?? countAtRuntime(b, [start, limit, delta]);
}

function countAtRuntime(b: Builder, [start, limit, delta]: readonly [Value, Value, Value]): Dim {
  const top = b.values(limit)?.[0];
  const bottom = b.values(start)?.[0];
  const hi = top === undefined || bottom === undefined ? Number.POSITIVE_INFINITY : bounds(sub(top, bottom))[1];
  const { dtype } = start.type;
  const steps = (read: Read): Expr => {
    const [s, l, d] = [start, limit, delta].map((v) => {
      const x = read(
        v,
        v.type.shape.map(() => e.const(0, 'i32')),
      );
      return isFloat(dtype) ? cast(x, 'f64') : x;
    }) as [Expr, Expr, Expr];
    const count = isFloat(dtype) ? e.op('ceil', e.div(e.sub(l, s), d)) : e.neg(e.floordiv(e.sub(s, l), d));
    return cast(e.max(count, 0), 'i64');
  };
  return Number.isFinite(hi) && !isFloat(dtype)
    ? computedSize(b, 'count', 0, hi, steps)
    : assumedSize(b, 'count', assumedBound(1), steps);
}

function range(b: Builder, start: Value, limit: Value, delta: Value, ctx: LowerContext): Value {
  const count = rangeCount(b, start, limit, delta, ctx);
  const { dtype } = start.type;
  const t = isFloat(dtype) && DTYPE_INFO[dtype].bits < 32 ? 'f32' : dtype;
  return b.generic({
    shape: [count],
    body: (i, _r, read) => {
      const [s, d] = [start, delta].map((v) =>
        cast(
          read(
            v,
            v.type.shape.map(() => e.const(0, 'i32')),
          ),
          t,
        ),
      ) as [Expr, Expr];
      return cast(e.add(s, e.mul(cast(i[0] as Expr, t), d)), dtype);
    },
  });
}

export const records: readonly AnyRecord[] = [
  op<never, { readonly tensor: Tensor | undefined }>('constant', {
    doc: 'The value of an attribute',
    inputs: [],
    onnx: { 'Constant@1': (n) => ({ tensor: constantTensor(n) }) },
    lower: (_inputs, { tensor }, b, ctx) => b.constant(tensor ?? ctx.limit('a Constant has no value')),
  }),
  op<'shape', { readonly value: Tensor | undefined }>('constant_of_shape', {
    doc: 'One value throughout a shape',
    inputs: ['shape'],
    onnx: { 'ConstantOfShape@9': (n) => ({ value: n.tensor('value') }) },
    lower: ({ shape }, { value }, b, ctx) =>
      filled(b, value ? b.constant(value) : b.scalar(0, 'f32'), sizesFrom(b, shape, ctx)),
  }),
  op('fill', {
    doc: 'One value throughout a shape',
    inputs: ['shape', 'value'],
    tflite: { FILL: () => ({}) },
    quantized: 'raw',
    lower: ({ shape, value }, _a, b, ctx) => filled(b, value, sizesFrom(b, shape, ctx)),
  }),
  op('zeros_like', {
    doc: 'Zeros in the shape and type of x',
    inputs: ['x'],
    tflite: { ZEROS_LIKE: () => ({}) },
    lower: ({ x }, _a, b) => b.full(x.type.shape, 0, x.type.dtype),
  }),
  op('range', {
    doc: 'start, start + delta, … before limit',
    inputs: ['start', 'limit', 'delta?'],
    onnx: { 'Range@11': () => ({}), 'com.microsoft:Range@1': () => ({}) },
    tflite: { RANGE: () => ({}) },
    quantized: 'raw',
    lower: ({ start, limit, delta }, _a, b, ctx) => range(b, start, limit, delta ?? b.scalar(1, start.type.dtype), ctx),
  }),
  op<never, { readonly axis: number }>('iota', {
    doc: 'The position along one axis, throughout the declared shape',
    inputs: [],
    tflite: { STABLEHLO_IOTA: (n) => ({ axis: n.int('iota_dimension', 0) }) },
    lower: (_inputs, { axis }, b, ctx) => {
      const type = ctx.declared(0);
      if (!type?.shape.every(isConst)) return ctx.limit('the file does not declare the output shape');
      return b.generic({ shape: type.shape, body: (i) => cast(i[axis] as Expr, type.dtype) });
    },
  }),
];
