// Pooling: reductions over sliding windows (window.ts). Padding never takes part in a maximum; whether it counts in
// an average is the operator's choice. The positions MaxPool reports are those of a single flattened tap axis.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, mul, product, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, DTYPE_INFO, isFloat } from '../../support/dtype.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { elementOf, type Pool, pooledShape, poolOf, poolWith, windowCount } from './pooling.js';
import { integerAveragePool, integerMaxPool } from './quantized/pool.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { CHANNELS_FIRST, CHANNELS_LAST, type Layout, onnxWindow, tfliteWindow, type WindowAttrs } from './window.js';

export const maxPool = (b: Builder, x: Value, window: WindowAttrs, layout: Layout): Value =>
  poolWith(b, poolOf(x, window, layout), 'max', b.lowest(x.type.dtype));

/** Where each maximum stands in the whole input, flattened; `columns`: the spatial axes counted column-major. */
function maxPositions(b: Builder, p: Pool, columns: boolean): Value {
  const { x, axes } = p;
  const taps = axes.map((a) => a.kernel);
  const split = (r: Expr): readonly Expr[] =>
    taps.map((k, j) =>
      e.rem(
        e.div(
          r,
          taps.slice(j + 1).reduce((s, t) => s * t, 1),
        ),
        k,
      ),
    );
  const best = b.generic({
    shape: pooledShape(p),
    reduce: [taps.reduce((s, t) => s * t, 1)],
    reducer: 'argmax',
    dtype: 'i64',
    body: (i, r, read) => read(x, elementOf(p, i, split(r[0] as Expr)), { pad: b.lowest(x.type.dtype) }),
  });
  return b.generic({
    shape: best.type.shape,
    body: (i, _r, read) => {
      const [n, c, ...s] = elementOf(p, i, split(cast(read(best, i), 'i32'))) as [Expr, Expr, ...Expr[]];
      const order = columns ? [n, c, ...s.reverse()] : [n, c, ...s];
      const [dn, dc, ...ds] = x.type.shape as [Dim, Dim, ...Dim[]];
      return cast(flatIndex(order, columns ? [dn, dc, ...ds.reverse()] : [dn, dc, ...ds]), 'i64');
    },
  });
}

const flatIndex = (at: readonly Expr[], sizes: readonly Dim[]): Expr =>
  at.reduce((flat, v, k) => e.add(e.mul(flat, e.dim(sizes[k] as Dim)), v), i32(0));

const sumType = (t: DType): DType => (isFloat(t) && DTYPE_INFO[t].bits < 32 ? 'f32' : t);

/** Mean of f(x) over each window, in at least f32. */
function meanPool(b: Builder, p: Pool, includePad: boolean, f: (v: Expr) => Expr = (v) => v): Value {
  const acc = sumType(p.x.type.dtype);
  const sum = poolWith(b, p, 'add', e.const(0, p.x.type.dtype), (v) => f(cast(v, acc)));
  return b.generic({
    shape: sum.type.shape,
    body: (i, _r, read) => e.div(read(sum, i), cast(windowCount(p, i, includePad), acc)),
  });
}

export const averagePool = (b: Builder, x: Value, window: WindowAttrs, layout: Layout, includePad = false): Value =>
  b.cast(meanPool(b, poolOf(x, window, layout), includePad), x.type.dtype);

interface MaxPoolAttrs extends WindowAttrs {
  readonly layout: Layout;
  readonly columns: boolean;
  readonly positions: boolean;
}

const onnxMaxPool =
  (layout: Layout) =>
  (n: NodeReader): MaxPoolAttrs => ({
    ...onnxWindow(n),
    layout,
    columns: n.bool('storage_order', false),
    positions: n.outputCount > 1,
  });

const MaxPool = op('max_pool', {
  doc: 'Maximum of each window, and on request its position in the flattened input.',
  inputs: ['x'],
  onnx: { 'MaxPool@1': onnxMaxPool(CHANNELS_FIRST), 'com.microsoft:NhwcMaxPool@1': onnxMaxPool(CHANNELS_LAST) },
  lower: ({ x }, a: MaxPoolAttrs, b) => {
    const y = maxPool(b, x, a, a.layout);
    return a.positions ? [y, maxPositions(b, poolOf(x, a, a.layout), a.columns)] : y;
  },
});

interface AverageAttrs extends WindowAttrs {
  readonly includePad: boolean;
}

const AveragePool = op('average_pool', {
  doc: 'Mean of each window, with or without padding counted; channels first.',
  inputs: ['x'],
  onnx: {
    'AveragePool@1': (n): AverageAttrs => ({ ...onnxWindow(n), includePad: n.bool('count_include_pad', false) }),
  },
  lower: ({ x }, a: AverageAttrs, b) => averagePool(b, x, a, CHANNELS_FIRST, a.includePad),
});

interface LpAttrs extends WindowAttrs {
  readonly p: number;
}

/** |v|^p, and the root that undoes it. */
const power = (v: Expr, p: number): Expr => (p === 1 ? e.abs(v) : p === 2 ? e.mul(v, v) : e.pow(e.abs(v), p));
const root = (v: Expr, p: number): Expr => (p === 1 ? v : p === 2 ? e.sqrt(v) : e.pow(v, 1 / p));

const LpPool = op('lp_pool', {
  doc: 'p-norm of each window; channels first.',
  inputs: ['x'],
  onnx: { 'LpPool@1': (n): LpAttrs => ({ ...onnxWindow(n), p: n.float('p', 2) }) },
  lower: ({ x }, a: LpAttrs, b) => {
    const acc = sumType(x.type.dtype);
    const sum = poolWith(b, poolOf(x, a, CHANNELS_FIRST), 'add', e.const(0, x.type.dtype), (v) =>
      power(cast(v, acc), a.p),
    );
    return b.map([sum], (v) => cast(root(v, a.p), x.type.dtype));
  },
});

const spatialAxes = (x: Value): readonly number[] => x.type.shape.map((_, k) => k).slice(2);

const GlobalAveragePool = op('global_average_pool', {
  doc: 'Mean over all spatial axes.',
  inputs: ['x'],
  onnx: { 'GlobalAveragePool@1': () => ({}) },
  lower: ({ x }, _a, b) => b.reduce(x, 'mean', spatialAxes(x), true),
});

const GlobalMaxPool = op('global_max_pool', {
  doc: 'Maximum over all spatial axes.',
  inputs: ['x'],
  onnx: { 'GlobalMaxPool@1': () => ({}) },
  lower: ({ x }, _a, b) => b.reduce(x, 'max', spatialAxes(x), true),
});

const GlobalLpPool = op('global_lp_pool', {
  doc: 'p-norm over all spatial axes.',
  inputs: ['x'],
  onnx: { 'GlobalLpPool@1': (n): { p: number } => ({ p: n.float('p', 2) }) },
  lower: ({ x }, { p }: { p: number }, b) => {
    const wide = b.map([x], (v) => power(cast(v, sumType(x.type.dtype)), p));
    return b.map([b.reduce(wide, 'add', spatialAxes(x), true)], (v) => cast(root(v, p), x.type.dtype));
  },
});

interface UnpoolAttrs {
  readonly window: WindowAttrs;
  readonly shape: readonly Dim[] | undefined;
}

const MaxUnpool = op('max_unpool', {
  doc: 'Puts pooled maxima back at the positions MaxPool reported; zero elsewhere.',
  inputs: ['x', 'positions', 'shape?'],
  onnx: { 'MaxUnpool@9': (n): UnpoolAttrs => ({ window: onnxWindow(n), shape: n.dims(2) }) },
  lower: ({ x, positions }, { window, shape }: UnpoolAttrs, b) => {
    const { batch, channel, spatial } = CHANNELS_FIRST.parts(x.type.shape);
    const rank = spatial.length;
    const sizes = spatial.map((d, k) => {
      const pads = (window.pads[k] ?? 0) + (window.pads[k + rank] ?? 0);
      return add(mul(sub(d, 1), window.strides[k] ?? 1), (window.kernel[k] ?? 1) - pads);
    });
    const inferred = CHANNELS_FIRST.place(batch, channel, sizes);
    const flat = b.full([product(inferred)], 0, x.type.dtype);
    const filled = b.scatter(flat, x.type.shape, 'set', (i, read) => ({
      index: [cast(read(positions, i), 'i32')],
      value: read(x, i),
    }));
    const y = b.reshape(filled, inferred);
    const after = shape?.map((d, k) => sub(d, inferred[k] as Dim));
    return after
      ? b.pad(
          y,
          inferred.map(() => 0),
          after,
          0,
        )
      : y;
  },
});

interface TflitePool extends WindowAttrs {
  readonly activation: FusedActivation;
}

const tflitePool = (n: NodeReader): TflitePool => ({
  ...tfliteWindow(n, [n.int('filter_height', 1), n.int('filter_width', 1)]),
  activation: activationOf(n),
});

const AveragePool2d = op('average_pool_2d', {
  doc: 'TFLite: mean of the elements of each window that lie inside the image; channels last.',
  inputs: ['x'],
  tflite: { AVERAGE_POOL_2D: tflitePool },
  quantized: integerAveragePool,
  lower: ({ x }, a: TflitePool, b) => fusedActivation(b, averagePool(b, x, a, CHANNELS_LAST), a.activation),
});

const MaxPool2d = op('max_pool_2d', {
  doc: 'TFLite: maximum of each window; channels last.',
  inputs: ['x'],
  tflite: { MAX_POOL_2D: tflitePool },
  quantized: integerMaxPool,
  lower: ({ x }, a: TflitePool, b) => fusedActivation(b, maxPool(b, x, a, CHANNELS_LAST), a.activation),
});

const L2Pool2d = op('l2_pool_2d', {
  doc: 'TFLite: root of the mean square of each window; channels last.',
  inputs: ['x'],
  tflite: { L2_POOL_2D: tflitePool },
  lower: ({ x }, a: TflitePool, b) => {
    const mean = meanPool(b, poolOf(x, a, CHANNELS_LAST), false, (v) => e.mul(v, v));
    return fusedActivation(b, b.sqrt(mean), a.activation);
  },
});

export const records: readonly AnyRecord[] = [
  MaxPool,
  AveragePool,
  LpPool,
  GlobalAveragePool,
  GlobalMaxPool,
  GlobalLpPool,
  MaxUnpool,
  AveragePool2d,
  MaxPool2d,
  L2Pool2d,
];
