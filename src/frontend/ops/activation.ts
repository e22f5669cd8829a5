// Activations element by element. Softmax and its kin are in softmax.ts.
// All of it is computed in f32 at least; constants are those of the formats' definitions.

import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';
import { type AnyRecord, type Decode, type NodeReader, type OpRecord, op } from './record.js';
import { unary } from './scalar-record.js';
import {
  clampedRelu,
  gelu,
  hardSwish,
  hyperbolicTangent,
  leakyRelu,
  logistic,
  tableOf,
} from './quantized/activation.js';
import { parametricRelu } from './quantized/arithmetic.js';

type Keys<A> = Readonly<Record<string, Decode<A>>>;

/** y = f(x; attributes) for each element. */
const parametric = <A extends object>(
  name: string,
  doc: string,
  onnx: Keys<A>,
  f: (x: Expr, a: A) => Expr,
  tflite: Keys<A> = {},
  quantized?: OpRecord<'x', A>['quantized'],
): AnyRecord =>
  op<'x', A>(name, {
    doc,
    inputs: ['x'],
    onnx,
    tflite,
    ...(quantized && { quantized }),
    lower: ({ x }, a, b) => b.mapFloat([x], (p) => f(p, a)),
  });

const alpha =
  (fallback: number) =>
  (n: NodeReader): { readonly alpha: number } => ({ alpha: n.float('alpha', fallback) });

const zero = (x: Expr): Expr => e.const(0, x.dtype);
const expm1 = (x: Expr): Expr => e.op('expm1', x);

const leaky = (x: Expr, slope: Expr): Expr => e.select(e.lt(x, 0), e.mul(x, slope), x);
const elu = (x: Expr, a: number): Expr => e.select(e.lt(x, 0), e.mul(expm1(e.min(x, 0)), a), x);

/** log(1 + eˣ) without overflow. */
export const softplus = (x: Expr): Expr => e.add(e.max(x, 0), e.op('log1p', e.exp(e.neg(e.abs(x)))));

const hardSigmoid = (x: Expr, a: number, beta: number): Expr => e.clamp(e.add(e.mul(x, a), beta), 0, 1);

export const geluExact = (x: Expr): Expr => e.mul(e.mul(x, 0.5), e.add(e.erf(e.mul(x, Math.SQRT1_2)), 1));

export function geluTanh(x: Expr): Expr {
  const inner = e.mul(e.add(x, e.mul(e.mul(e.mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI));
  return e.mul(e.mul(x, 0.5), e.add(e.tanh(inner), 1));
}

const SIMPLE: readonly AnyRecord[] = [
  unary('relu', { doc: 'max(x, 0)', onnx: 'Relu@1', tflite: 'RELU', quantized: clampedRelu('RELU') }, (x) =>
    e.max(x, 0),
  ),
  unary('relu6', { doc: 'x within 0 and 6', tflite: 'RELU6', quantized: clampedRelu('RELU6') }, (x) =>
    e.clamp(x, 0, 6),
  ),
  unary(
    'relu_n1_to_1',
    { doc: 'x within −1 and 1', tflite: 'RELU_N1_TO_1', quantized: clampedRelu('RELU_N1_TO_1') },
    (x) => e.clamp(x, -1, 1),
  ),
  unary('relu_0_to_1', { doc: 'x within 0 and 1', tflite: 'RELU_0_TO_1', quantized: clampedRelu('RELU_0_TO_1') }, (x) =>
    e.clamp(x, 0, 1),
  ),
  unary(
    'sigmoid',
    { doc: '1 / (1 + e⁻ˣ)', onnx: 'Sigmoid@1', tflite: ['LOGISTIC', 'STABLEHLO_LOGISTIC'], quantized: logistic },
    e.sigmoid,
  ),
  unary(
    'tanh',
    { doc: 'Hyperbolic tangent', onnx: 'Tanh@1', tflite: ['TANH', 'STABLEHLO_TANH'], quantized: hyperbolicTangent },
    e.tanh,
  ),
  unary('softplus', { doc: 'log(1 + eˣ)', onnx: 'Softplus@1' }, softplus),
  unary('softsign', { doc: 'x / (1 + |x|)', onnx: 'Softsign@1' }, (x) => e.div(x, e.add(e.abs(x), 1))),
  unary('mish', { doc: 'x · tanh(log(1 + eˣ))', onnx: 'Mish@18' }, (x) => e.mul(x, e.tanh(softplus(x)))),
  unary(
    'hard_swish',
    { doc: 'x · min(max(x + 3, 0), 6) / 6', onnx: 'HardSwish@14', tflite: 'HARD_SWISH', quantized: hardSwish },
    (x) => e.mul(x, hardSigmoid(x, 1 / 6, 0.5)),
  ),
];

const PARAMETRIC: readonly AnyRecord[] = [
  parametric<{ readonly alpha: number }>(
    'leaky_relu',
    'x, times alpha where negative',
    { 'LeakyRelu@1': alpha(0.01) },
    (x, a) => leaky(x, e.const(a.alpha, x.dtype)),
    { LEAKY_RELU: alpha(0) },
    leakyRelu,
  ),
  parametric<{ readonly alpha: number }>(
    'elu',
    'x, alpha·(eˣ − 1) where negative',
    { 'Elu@1': alpha(1) },
    (x, a) => elu(x, a.alpha),
    { ELU: () => ({ alpha: 1 }) },
    tableOf((x) => (x < 0 ? Math.fround(Math.exp(x)) - 1 : x)),
  ),
  parametric('celu', 'x, alpha·(e^(x/alpha) − 1) where negative', { 'Celu@12': alpha(1) }, (x, a) =>
    e.select(e.lt(x, 0), e.mul(expm1(e.div(e.min(x, 0), a.alpha)), a.alpha), x),
  ),
  parametric(
    'selu',
    'gamma times elu',
    {
      'Selu@1': (n) => ({ alpha: n.float('alpha', 1.6732), gamma: n.float('gamma', 1.0507) }),
      'Selu@6': (n) => ({
        alpha: n.float('alpha', 1.6732631921768188),
        gamma: n.float('gamma', 1.0507010221481323),
      }),
    },
    (x, a) => e.mul(elu(x, a.alpha), a.gamma),
  ),
  parametric('thresholded_relu', 'x where above alpha, else 0', { 'ThresholdedRelu@10': alpha(1) }, (x, a) =>
    e.select(e.gt(x, a.alpha), x, zero(x)),
  ),
  parametric('swish', 'x · sigmoid(alpha·x)', { 'Swish@24': alpha(1) }, (x, a) =>
    e.mul(x, e.sigmoid(e.mul(x, a.alpha))),
  ),
  op<'x' | 'y', { readonly alpha: number }>('swiglu', {
    doc: 'x · sigmoid(alpha·x) · y',
    inputs: ['x', 'y'],
    onnx: { 'SwiGLU@28': alpha(1) },
    lower: ({ x, y }, a, b) => b.mapFloat([x, y], (p, q) => e.mul(e.mul(p, e.sigmoid(e.mul(p, a.alpha))), q)),
  }),
  parametric(
    'hard_sigmoid',
    'alpha·x + beta within 0 and 1',
    { 'HardSigmoid@1': (n) => ({ alpha: n.float('alpha', 0.2), beta: n.float('beta', 0.5) }) },
    (x, a) => hardSigmoid(x, a.alpha, a.beta),
  ),
  parametric(
    'gelu',
    'x times the normal distribution function of x, or its tanh approximation',
    {
      'Gelu@20': (n) => ({ approximate: n.string('approximate', 'none') === 'tanh' }),
      'com.microsoft:Gelu@1': () => ({ approximate: false }),
    },
    (x, a) => (a.approximate ? geluTanh(x) : geluExact(x)),
    { GELU: (n) => ({ approximate: n.bool('approximate', false) }) },
    gelu,
  ),
];

export const records: readonly AnyRecord[] = [
  ...SIMPLE,
  ...PARAMETRIC,
  op<'x' | 'slope', { readonly perChannel: boolean }>('prelu', {
    doc: 'x, times a slope that broadcasts to it where negative',
    inputs: ['x', 'slope'],
    onnx: { 'PRelu@1': () => ({ perChannel: true }), 'PRelu@7': () => ({ perChannel: false }) },
    tflite: { PRELU: () => ({ perChannel: false }) },
    quantized: parametricRelu,
    lower: ({ x, slope }, { perChannel }, b) => {
      const rank = x.type.shape.length;
      const channels = perChannel && slope.type.shape.length === 1 && slope.type.shape[0] !== 1 && rank > 1;
      const s = channels
        ? b.reshape(slope, [slope.type.shape[0] ?? 1, ...Array.from({ length: rank - 2 }, () => 1)])
        : slope;
      return b.map([x, s], (p, q) => {
        const wide = isFloat(p.dtype) && p.dtype !== 'f64' ? 'f32' : p.dtype;
        return cast(leaky(cast(p, wide), cast(q, wide)), p.dtype);
      });
    },
  }),
];
