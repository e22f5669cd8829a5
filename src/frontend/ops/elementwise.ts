// Arithmetic element by element: the four operations, powers, rounding, and the elementary functions.
// Comparisons and logic are in logic.ts, bit operations in bitwise.ts, activations in activation.ts.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat, isUnsigned } from '../../support/dtype.js';
import { power } from './power.js';
import { type AnyRecord, type OpRecord, op } from './record.js';
import { binary, unary } from './scalar-record.js';
import {
  addAllIntegers,
  addIntegers,
  divideIntegers,
  multiplyIntegers,
  squareDifferences,
  subtractIntegers,
} from './quantized/arithmetic.js';
import { absolute, inverseSquareRoots, tableOf } from './quantized/activation.js';

/** Quotient rounded toward minus infinity. */
const floorDivide = (x: Expr, y: Expr): Expr => (isFloat(x.dtype) ? e.floor(e.div(x, y)) : e.floordiv(x, y));

/** Remainder with the sign of the divisor. */
function floorRemainder(x: Expr, y: Expr): Expr {
  if (!isFloat(x.dtype)) return e.floormod(x, y);
  const r = e.op('fmod', x, y);
  const opposite = e.and(e.ne(r, 0), e.ne(cast(e.lt(y, 0), 'i32'), cast(e.lt(r, 0), 'i32')));
  return e.select(opposite, e.add(r, y), r);
}

/** Remainder with the sign of the dividend, as in C. */
const truncatedRemainder = (x: Expr, y: Expr): Expr => (isFloat(x.dtype) ? e.op('fmod', x, y) : e.rem(x, y));

const squaredDifference = (x: Expr, y: Expr): Expr => {
  const d = e.sub(x, y);
  return e.mul(d, d);
};

/** f(…f(f(x0, x1), x2)…) with broadcasting. */
const foldAll = (b: Builder, xs: readonly Value[], f: (x: Expr, y: Expr) => Expr): Value =>
  b.mapFloat(xs, (...x) => x.reduce(f));

const variadic = (
  name: string,
  doc: string,
  onnx: string,
  f: (x: Expr, y: Expr) => Expr,
  tflite: string[],
  quantized: NonNullable<OpRecord<'xs*', object>['quantized']>,
) =>
  op<'xs*', object>(name, {
    doc,
    inputs: ['xs*'],
    onnx: { [onnx]: () => ({}) },
    tflite: Object.fromEntries(tflite.map((k) => [k, () => ({})])),
    quantized,
    lower: ({ xs }, _a, b) => foldAll(b, xs, f),
  });

const BINARY: readonly AnyRecord[] = [
  binary(
    'add',
    { doc: 'x + y', onnx: 'Add', legacy: true, tflite: ['ADD', 'STABLEHLO_ADD'], quantized: addIntegers },
    (x, y) => e.add(x, y),
  ),
  binary(
    'sub',
    { doc: 'x − y', onnx: 'Sub', legacy: true, tflite: ['SUB', 'STABLEHLO_SUBTRACT'], quantized: subtractIntegers },
    e.sub,
  ),
  binary(
    'mul',
    { doc: 'x · y', onnx: 'Mul', legacy: true, tflite: ['MUL', 'STABLEHLO_MULTIPLY'], quantized: multiplyIntegers },
    (x, y) => e.mul(x, y),
  ),
  binary(
    'div',
    {
      doc: 'x / y; integers truncate',
      onnx: 'Div',
      legacy: true,
      tflite: ['DIV', 'STABLEHLO_DIVIDE'],
      quantized: divideIntegers,
      examples: [{ in: { x: { dtype: 'i32', data: [-7, 7] }, y: { dtype: 'i32', data: [2, 2] } }, out: [-3, 3] }],
    },
    e.div,
  ),
  binary('floor_div', { doc: '⌊x / y⌋', tflite: 'FLOOR_DIV' }, floorDivide),
  binary('floor_mod', { doc: 'x − y·⌊x / y⌋', tflite: 'FLOOR_MOD' }, floorRemainder),
  binary('remainder', { doc: 'Remainder with the sign of x', tflite: 'STABLEHLO_REMAINDER' }, truncatedRemainder),
  binary(
    'pow',
    { doc: 'x to the y, in the type of x', onnx: 'Pow', legacy: true, mixed: true, tflite: ['POW', 'STABLEHLO_POWER'] },
    power,
  ),
  binary(
    'squared_difference',
    { doc: '(x − y)²', tflite: 'SQUARED_DIFFERENCE', quantized: squareDifferences },
    squaredDifference,
  ),
  binary('atan2', { doc: 'Angle of the point (y, x)', tflite: 'ATAN2' }, (y, x) => e.op('atan2', y, x)),
  op('mod', {
    doc: 'Remainder with the sign of the divisor, or (fmod) of the dividend',
    inputs: ['x', 'y'],
    onnx: { 'Mod@10': (n) => ({ fmod: n.bool('fmod', false) }) },
    examples: [
      {
        in: { x: { dtype: 'i32', data: [-4] }, y: { dtype: 'i32', data: [3] } },
        attrs: { fmod: false },
        out: { dtype: 'i32', data: [2] },
      },
      { in: { x: [-4.5], y: [3] }, attrs: { fmod: true }, out: [-1.5] },
    ],
    lower: ({ x, y }, { fmod }, b) => b.mapFloat([x, y], fmod ? truncatedRemainder : floorRemainder),
  }),
];

const VARIADIC: readonly AnyRecord[] = [
  variadic('minimum', 'Least of the operands', 'Min@1', (x, y) => e.min(x, y), ['MINIMUM', 'STABLEHLO_MINIMUM'], 'raw'),
  variadic(
    'maximum',
    'Greatest of the operands',
    'Max@1',
    (x, y) => e.max(x, y),
    ['MAXIMUM', 'STABLEHLO_MAXIMUM'],
    'raw',
  ),
  variadic('sum', 'Sum of the operands', 'Sum@1', (x, y) => e.add(x, y), ['ADD_N'], addAllIntegers),
  op('mean', {
    doc: 'Mean of the operands',
    inputs: ['xs*'],
    onnx: { 'Mean@1': () => ({}) },
    lower: ({ xs }, _a, b) =>
      b.mapFloat(xs, (...x) =>
        e.div(
          x.reduce((p, q) => e.add(p, q)),
          x.length,
        ),
      ),
  }),
];

const EXACT: readonly AnyRecord[] = [
  unary('neg', { doc: '−x', onnx: 'Neg@1', tflite: ['NEG', 'STABLEHLO_NEGATE'] }, e.neg, 'exact'),
  unary(
    'abs',
    { doc: '|x|', onnx: 'Abs@1', tflite: ['ABS', 'STABLEHLO_ABS'], quantized: absolute },
    (x) => (isUnsigned(x.dtype) ? x : e.abs(x)),
    'exact',
  ),
  unary('sign', { doc: '−1, 0 or 1', onnx: 'Sign@9', tflite: 'SIGN' }, sign, 'exact'),
  unary('floor', { doc: '⌊x⌋', onnx: 'Floor@1', tflite: ['FLOOR', 'STABLEHLO_FLOOR'] }, e.floor),
  unary('ceil', { doc: '⌈x⌉', onnx: 'Ceil@1', tflite: 'CEIL' }, e.ceil),
  unary('round', { doc: 'Nearest whole number, halves to even', onnx: 'Round@11', tflite: 'ROUND' }, e.rint),
  unary('square', { doc: 'x²', tflite: 'SQUARE' }, (x) => e.mul(x, x)),
  unary(
    'sqrt',
    { doc: '√x', onnx: 'Sqrt@1', tflite: 'SQRT', quantized: tableOf(Math.sqrt, { rounded: false }) },
    e.sqrt,
  ),
  unary('reciprocal', { doc: '1 / x', onnx: 'Reciprocal@1' }, (x) => e.div(e.const(1, x.dtype), x)),
];

/** −1, 0 or 1; NaN stays. */
function sign(x: Expr): Expr {
  const one = e.const(1, x.dtype);
  if (isUnsigned(x.dtype)) return e.min(x, one);
  return e.select(e.gt(x, 0), one, e.select(e.lt(x, 0), e.neg(one), x));
}

const ELEMENTARY: readonly AnyRecord[] = [
  unary('rsqrt', { doc: '1 / √x', tflite: ['RSQRT', 'STABLEHLO_RSQRT'], quantized: inverseSquareRoots }, (x) =>
    e.op('rsqrt', x),
  ),
  unary(
    'exp',
    { doc: 'eˣ', onnx: 'Exp@1', tflite: ['EXP', 'STABLEHLO_EXPONENTIAL'], quantized: tableOf(Math.exp) },
    e.exp,
  ),
  unary(
    'log',
    { doc: 'Natural logarithm', onnx: 'Log@1', tflite: ['LOG', 'STABLEHLO_LOG'], quantized: tableOf(Math.log) },
    e.log,
  ),
  unary('sin', { doc: 'Sine', onnx: 'Sin@7', tflite: 'SIN' }, (x) => e.op('sin', x)),
  unary('cos', { doc: 'Cosine', onnx: 'Cos@7', tflite: ['COS', 'STABLEHLO_COSINE'] }, (x) => e.op('cos', x)),
  unary('tan', { doc: 'Tangent', onnx: 'Tan@7' }, (x) => e.op('tan', x)),
  unary('asin', { doc: 'Inverse sine', onnx: 'Asin@7' }, (x) => e.op('asin', x)),
  unary('acos', { doc: 'Inverse cosine', onnx: 'Acos@7' }, (x) => e.op('acos', x)),
  unary('atan', { doc: 'Inverse tangent', onnx: 'Atan@7' }, (x) => e.op('atan', x)),
  unary('sinh', { doc: 'Hyperbolic sine', onnx: 'Sinh@9' }, (x) => e.op('sinh', x)),
  unary('cosh', { doc: 'Hyperbolic cosine', onnx: 'Cosh@9' }, (x) => e.op('cosh', x)),
  unary('asinh', { doc: 'Inverse hyperbolic sine', onnx: 'Asinh@9' }, (x) => e.op('asinh', x)),
  unary('acosh', { doc: 'Inverse hyperbolic cosine', onnx: 'Acosh@9' }, (x) => e.op('acosh', x)),
  unary('atanh', { doc: 'Inverse hyperbolic tangent', onnx: 'Atanh@9' }, (x) => e.op('atanh', x)),
  unary('erf', { doc: 'Error function', onnx: 'Erf@9' }, e.erf),
  unary('cbrt', { doc: 'Cube root', tflite: 'STABLEHLO_CBRT' }, (x) =>
    e.mul(sign(x), e.pow(e.abs(x), e.const(1 / 3, x.dtype))),
  ),
];

const CLAMPING: readonly AnyRecord[] = [
  op('clip', {
    doc: 'min(max(x, lo), hi); an absent bound does not bind',
    inputs: ['x', 'lo?', 'hi?'],
    onnx: {
      'Clip@1': (n) => ({
        lo: n.has('min') ? n.float('min') : undefined,
        hi: n.has('max') ? n.float('max') : undefined,
      }),
      'Clip@11': () => ({}),
    },
    lower: ({ x, lo, hi }, a: { readonly lo?: number | undefined; readonly hi?: number | undefined }, b) => {
      const bound = (v: Value | undefined, attr: number | undefined): Value[] =>
        v ? [b.reshape(v, [])] : attr === undefined ? [] : [b.cast(b.scalar(attr, 'f32'), x.type.dtype)];
      const low = bound(lo, a.lo);
      const high = bound(hi, a.hi);
      return b.map([x, ...low, ...high], (p, ...limits) => {
        const atLeast = low.length ? e.max(p, limits[0] as Expr) : p;
        return high.length ? e.min(atLeast, limits.at(-1) as Expr) : atLeast;
      });
    },
  }),
  op('clamp', {
    doc: 'min(max(x, lo), hi) with broadcast bounds',
    inputs: ['lo', 'x', 'hi'],
    tflite: { STABLEHLO_CLAMP: () => ({}) },
    lower: ({ lo, x, hi }, _a, b) => b.min(b.max(x, lo), hi),
  }),
  op('shrink', {
    doc: 'x + bias below −lambd, x − bias above lambd, else 0',
    inputs: ['x'],
    onnx: { 'Shrink@9': (n) => ({ bias: n.float('bias', 0), lambd: n.float('lambd', 0.5) }) },
    lower: ({ x }, { bias, lambd }, b) =>
      b.map([x], (p) => {
        const f = cast(p, p.dtype === 'f64' ? 'f64' : 'f32');
        const shrunk = e.select(
          e.lt(f, -lambd),
          e.add(f, bias),
          e.select(e.gt(f, lambd), e.sub(f, bias), e.const(0, f.dtype)),
        );
        return cast(shrunk, p.dtype);
      }),
  }),
];

export const records: readonly AnyRecord[] = [...BINARY, ...VARIADIC, ...EXACT, ...ELEMENTARY, ...CLAMPING];
