// Comparisons, logic on truth values, tests for special numbers, and choice between two values.
// Comparisons give i1; operands of both sides have one element type.

import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { type AnyRecord, op } from './record.js';
import { binary, unary } from './scalar-record.js';
import { compareIntegers } from './quantized/arithmetic.js';
import { equalStrings } from './strings.js';

const compare = (
  name: string,
  doc: string,
  onnx: string | undefined,
  legacy: boolean,
  tflite: string,
  f: typeof e.eq,
) => binary(name, { doc, ...(onnx && { onnx }), legacy, tflite, quantized: compareIntegers(f) }, f);

/** Floats narrower than f32 as f32: they are tested there. */
const widened = (x: Expr): Expr => (DTYPE_INFO[x.dtype].bits < 32 ? cast(x, 'f32') : x);

export const records: readonly AnyRecord[] = [
  binary(
    'equal',
    {
      doc: 'x = y',
      onnx: 'Equal',
      legacy: true,
      tflite: 'EQUAL',
      quantized: compareIntegers(e.eq),
      strings: equalStrings,
    },
    e.eq,
  ),
  compare('not_equal', 'x ≠ y', undefined, false, 'NOT_EQUAL', e.ne),
  compare('greater', 'x > y', 'Greater', true, 'GREATER', e.gt),
  compare('less', 'x < y', 'Less', true, 'LESS', e.lt),
  compare('greater_equal', 'x ≥ y', 'GreaterOrEqual@12', false, 'GREATER_EQUAL', e.ge),
  compare('less_equal', 'x ≤ y', 'LessOrEqual@12', false, 'LESS_EQUAL', e.le),
  binary(
    'logical_and',
    { doc: 'x and y', onnx: 'And', legacy: true, tflite: ['LOGICAL_AND', 'STABLEHLO_AND'] },
    (x, y) => e.and(x, y),
  ),
  binary('logical_or', { doc: 'x or y', onnx: 'Or', legacy: true, tflite: ['LOGICAL_OR', 'STABLEHLO_OR'] }, (x, y) =>
    e.or(x, y),
  ),
  binary('logical_xor', { doc: 'Exactly one of x and y', onnx: 'Xor', legacy: true }, e.xor),
  unary('logical_not', { doc: 'not x', onnx: 'Not@1', tflite: 'LOGICAL_NOT' }, (x) => e.eq(x, 0), 'exact'),
  unary('is_nan', { doc: 'Whether x is not a number', onnx: 'IsNaN@9' }, (x) => e.op('is_nan', widened(x)), 'exact'),
  op('is_inf', {
    doc: 'Whether x is infinite, of the signs asked for',
    inputs: ['x'],
    onnx: {
      'IsInf@10': (n) => ({ negative: n.bool('detect_negative', true), positive: n.bool('detect_positive', true) }),
    },
    lower: ({ x }, { negative, positive }, b) =>
      b.map([x], (p) => {
        const v = widened(p);
        const hit = (on: boolean, value: number): Expr => (on ? e.eq(v, value) : e.const(0, 'i1'));
        return e.or(hit(negative, Number.NEGATIVE_INFINITY), hit(positive, Number.POSITIVE_INFINITY));
      }),
  }),
  op('where', {
    doc: 'x where the condition holds, else y; all three broadcast',
    inputs: ['cond', 'x', 'y'],
    onnx: { 'Where@9': () => ({}) },
    tflite: { SELECT_V2: () => ({}), STABLEHLO_SELECT: () => ({}) },
    quantized: 'raw',
    lower: ({ cond, x, y }, _a, b) => b.select(cond, x, y),
  }),
  op('select', {
    doc: 'x where the condition holds, else y; a vector condition chooses whole rows',
    inputs: ['cond', 'x', 'y'],
    tflite: { SELECT: () => ({}) },
    quantized: 'raw',
    lower: ({ cond, x, y }, _a, b) => {
      const rank = x.type.shape.length;
      const rows = cond.type.shape.length === 1 && rank > 1;
      const c = rows
        ? b.reshape(
            cond,
            x.type.shape.map((_, k) => (k === 0 ? (cond.type.shape[0] ?? 1) : 1)),
          )
        : cond;
      return b.select(c, x, y);
    },
  }),
];
