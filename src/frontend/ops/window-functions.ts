// Window functions and the mel filter bank: plain functions of position. Their sizes come from scalar inputs, or where
// those depend on data, from the output the file declares.

import type { Read } from '../../ir/builder.js';
import { add, type Dim, floordiv, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { statType } from './norm.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { declaredSize } from './runtime-sizes.js';

const TAU = 2 * Math.PI;

const sizeOr = (known: Dim | undefined, ctx: LowerContext, axis: number): Dim =>
  known ?? declaredSize(ctx, 0, axis) ?? ctx.limit('a size that depends on data', 'Make it an initializer');

interface WindowAttrs {
  readonly size: Dim | undefined;
  readonly periodic: boolean;
  readonly dtype: DType;
}

/** Σ c_k cos(2πk·i/n) over one period (or ending where it starts, if symmetric). */
const cosineWindow = (name: string, onnxName: string, coefficients: readonly number[]): AnyRecord =>
  op(name, {
    doc: `${onnxName.replace('Window', '')} window of a given size, periodic or symmetric.`,
    inputs: ['size'],
    onnx: {
      [`${onnxName}@17`]: (n: NodeReader): WindowAttrs => ({
        size: n.tryDims(0)?.[0],
        periodic: n.bool('periodic', true),
        dtype: n.dtype('output_datatype', 'f32'),
      }),
    },
    lower: (_inputs, { size: given, periodic, dtype }: WindowAttrs, b, ctx) => {
      const size = sizeOr(given, ctx, 0);
      return b.generic({
        shape: [size],
        body: ([i]) => {
          const t = statType(dtype);
          const period = e.max(cast(e.dim(periodic ? size : sub(size, 1)), t), 1);
          const angle = e.mul(e.div(cast(i as Expr, t), period), TAU);
          const [first, ...rest] = coefficients as [number, ...number[]];
          const terms = rest.map((c, k) => e.mul(e.op('cos', e.mul(angle, k + 1)), c));
          return cast(e.add(constant(first, t), ...terms), dtype);
        },
      });
    },
    tolerance: { rtol: 1e-3, atol: 1e-6 },
  });

interface MelAttrs {
  readonly mels: Dim | undefined;
  readonly dtype: DType;
}

const MEL = 2595;
const log10 = (x: Expr): Expr => e.op('log10', x);
const toMel = (hertz: Expr): Expr => e.mul(log10(e.add(e.div(hertz, 700), 1)), MEL);

const MelWeightMatrix = op('mel_weight_matrix', {
  doc: 'Triangular filters, evenly spaced in mels, as a matrix from linear frequency bins to mel bins.',
  inputs: ['mels', 'length', 'rate', 'low', 'high'],
  onnx: {
    'MelWeightMatrix@17': (n): MelAttrs => ({
      mels: n.tryDims(0)?.[0],
      dtype: n.dtype('output_datatype', 'f32'),
    }),
  },
  lower: ({ length, rate, low, high }, { mels: given, dtype }: MelAttrs, b, ctx) => {
    const mels = sizeOr(given, ctx, 1);
    const samples = b.values(length)?.[0];
    const bins = sizeOr(samples === undefined ? undefined : add(floordiv(samples, 2), 1), ctx, 0);
    const scalar = (read: Read, v: Value): Expr =>
      cast(
        read(
          v,
          v.type.shape.map(() => constant(0, 'i32')),
        ),
        'f64',
      );
    const edges = b.generic({
      shape: [add(mels, 2)],
      body: ([i], _r, read) => {
        const [from, to] = [toMel(scalar(read, low)), toMel(scalar(read, high))];
        const step = e.div(e.sub(to, from), cast(e.dim(add(mels, 2)), 'f64'));
        const mel = e.add(e.mul(cast(i as Expr, 'f64'), step), from);
        const hertz = e.mul(e.sub(e.pow(constant(10, 'f64'), e.div(mel, MEL)), 1), 700);
        const bin = e.div(e.mul(hertz, e.add(scalar(read, length), 1)), scalar(read, rate));
        return cast(e.floor(bin), 'i32');
      },
    });
    return b.generic({
      shape: [bins, mels],
      body: ([j, i], _r, read) => {
        const [left, centre, right] = [0, 1, 2].map((k) => read(edges, [e.add(i as Expr, k)])) as [Expr, Expr, Expr];
        const ratio = (p: Expr, q: Expr): Expr => e.div(cast(p, 'f32'), e.max(cast(q, 'f32'), 1));
        const bin = j as Expr;
        const rising = e.select(e.eq(left, centre), 1, ratio(e.sub(bin, left), e.sub(centre, left)));
        const falling = ratio(e.sub(right, bin), e.sub(right, centre));
        const before = e.and(e.le(left, bin), e.lt(bin, centre));
        const after = e.and(e.le(centre, bin), e.lt(bin, right));
        const top = e.and(e.eq(bin, centre), e.le(right, centre));
        const weight = e.select(before, rising, e.select(after, falling, e.select(top, 1, e.const(0, 'f32'))));
        return cast(weight, dtype);
      },
    });
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [
  cosineWindow('hann_window', 'HannWindow', [0.5, -0.5]),
  cosineWindow('hamming_window', 'HammingWindow', [25 / 46, -21 / 46]),
  cosineWindow('blackman_window', 'BlackmanWindow', [0.42, -0.5, 0.08]),
  MelWeightMatrix,
];
