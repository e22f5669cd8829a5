// Reductions over axes: each is a reducer between a function of the elements and one of the result.
// Axes may be an attribute, a constant or an input known only when the program runs; how is in reduce-axes.ts.

import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Reducer, Value } from '../../ir/tensor.js';
import type { Builder } from '../../ir/builder.js';
import { DTYPE_INFO, type DType, isFloat } from '../../support/dtype.js';
import { type AnyRecord, type Decode, type LowerContext, type OpRecord, op } from './record.js';
import { type AxesAttrs, axesDecodings, type Reduction, resolveAxes } from './reduce-axes.js';
import { integerSum } from './quantized/reduce.js';
import { knownInts } from './runtime-sizes.js';

interface Recipe {
  readonly reducer: Reducer | 'mean';
  readonly before?: (x: Expr) => Expr;
  readonly after?: (x: Expr) => Expr;
  /** Element type it is computed in; default: floats at least f32, integers as they are. */
  readonly in?: (t: DType) => DType;
}

const atLeastF32 = (t: DType): DType => (isFloat(t) && DTYPE_INFO[t].bits < 32 ? 'f32' : t);
const asFloat = (t: DType): DType => (t === 'f64' ? 'f64' : 'f32');
const square = (x: Expr): Expr => e.mul(x, x);

function reduceBy(b: Builder, x: Value, over: Reduction, recipe: Recipe): Value {
  const t = (recipe.in ?? atLeastF32)(x.type.dtype);
  const before = recipe.before ?? ((p: Expr) => p);
  const prepared = recipe.before || t !== x.type.dtype ? b.map([x], (p) => before(cast(p, t))) : x;
  const reduced = over(prepared, recipe.reducer);
  const after = recipe.after ?? ((p: Expr) => p);
  return recipe.after || t !== x.type.dtype ? b.map([reduced], (p) => cast(after(p), x.type.dtype)) : reduced;
}

const RECIPES: Readonly<Record<string, Recipe>> = {
  Sum: { reducer: 'add' },
  Mean: { reducer: 'mean' },
  Prod: { reducer: 'mul' },
  L1: { reducer: 'add', before: e.abs },
  L2: { reducer: 'add', before: square, after: e.sqrt, in: asFloat },
  LogSum: { reducer: 'add', after: e.log, in: asFloat },
  SumSquare: { reducer: 'add', before: square },
  Max: { reducer: 'max' },
  Min: { reducer: 'min' },
};

/** Truth values have or and and for maximum and minimum. */
const recipeFor = (name: string, t: DType): Recipe =>
  t === 'i1' && (name === 'Max' || name === 'Min')
    ? { reducer: name === 'Max' ? 'or' : 'and' }
    : (RECIPES[name] as Recipe);

const DOCS: Readonly<Record<string, string>> = {
  Sum: 'Sum over axes',
  Mean: 'Mean over axes',
  Prod: 'Product over axes',
  L1: 'Sum of magnitudes over axes',
  L2: 'Square root of the sum of squares over axes',
  LogSum: 'Logarithm of the sum over axes',
  SumSquare: 'Sum of squares over axes',
  Max: 'Maximum over axes',
  Min: 'Minimum over axes',
};

/** Opset from which each takes its axes as an input. */
const axesInputSince = (name: string): number => (name === 'Sum' ? 13 : 18);

const TFLITE: Readonly<Record<string, string>> = {
  Sum: 'SUM',
  Mean: 'MEAN',
  Prod: 'REDUCE_PROD',
  Max: 'REDUCE_MAX',
  Min: 'REDUCE_MIN',
};

const integerReduction =
  (mean: boolean): OpRecord<'x' | 'axes?', AxesAttrs>['quantized'] =>
  ({ x, axes }, a, b, ctx) =>
    integerSum(mean)(
      { x },
      { axes: knownInts(b, a.axes, axes) ?? ctx.limit('axes that depend on data'), keepDims: a.keepDims },
      b,
      ctx,
    );

const QUANTIZED: Readonly<Record<string, OpRecord<'x' | 'axes?', AxesAttrs>['quantized']>> = {
  Sum: integerReduction(false),
  Mean: integerReduction(true),
  Max: 'raw',
  Min: 'raw',
};

const tfliteAxes: Decode<AxesAttrs> = (n) => ({ keepDims: n.bool('keep_dims', false), noop: false, empty: 'none' });

const reduction = (name: string): AnyRecord =>
  op<'x' | 'axes?', AxesAttrs>(`reduce_${name.toLowerCase()}`, {
    doc: DOCS[name] as string,
    inputs: ['x', 'axes?'],
    onnx: axesDecodings(`Reduce${name}`, axesInputSince(name)),
    ...(TFLITE[name] && { tflite: { [TFLITE[name]]: tfliteAxes } }),
    ...(QUANTIZED[name] && { quantized: QUANTIZED[name] }),
    lower: ({ x, axes }, a, b, ctx) =>
      reduceBy(b, x, resolveAxes(b, x, axes, a, ctx), tfliteMean(name, x, a) ?? recipeFor(name, x.type.dtype)),
  });

/** TFLite sums integers in 64 bits before it divides. */
const tfliteMean = (name: string, x: Value, a: AxesAttrs): Recipe | undefined =>
  name === 'Mean' && a.empty === 'none' && !isFloat(x.type.dtype) ? { reducer: 'mean', in: () => 'i64' } : undefined;

/** max + log Σ e^(x − max), where an infinite maximum is not subtracted. */
function logSumExp(b: Builder, x: Value, over: Reduction): Value {
  const wide = b.cast(x, asFloat(x.type.dtype));
  const finite = (m: Expr): Expr => e.select(e.op('is_inf', m), e.const(0, m.dtype), m);
  const shift = b.map([over(wide, 'max', true)], finite);
  const total = over(
    b.map([wide, shift], (p, m) => e.exp(e.sub(p, m))),
    'add',
  );
  const top = b.map([over(wide, 'max')], finite);
  return b.map([total, top], (s, m) => cast(e.add(e.log(s), m), x.type.dtype));
}

interface ArgAttrs {
  readonly axis: number;
  readonly keepDims: boolean;
  readonly last: boolean;
  readonly dtype: DType;
}

const argDecode: Decode<ArgAttrs> = (n) => ({
  axis: n.int('axis', 0),
  keepDims: n.bool('keepdims', true),
  last: n.bool('select_last_index', false),
  dtype: 'i64',
});

const argTflite: Decode<ArgAttrs> = (n) => ({
  axis: Number(n.dims(1)?.[0] ?? -1),
  keepDims: false,
  last: false,
  dtype: n.dtype('output_type', 'i32') === 'i64' ? 'i64' : 'i32',
});

const argReduction = (how: 'argmax' | 'argmin', onnx: string, tflite: string): AnyRecord =>
  op<'x', ArgAttrs>(how, {
    doc: `Position of the ${how === 'argmax' ? 'maximum' : 'minimum'} along an axis`,
    inputs: ['x'],
    onnx: { [`${onnx}@1`]: argDecode },
    tflite: { [tflite]: argTflite },
    quantized: 'raw',
    lower: ({ x }, a, b) => b.argReduce(x, a.last ? `${how}_last` : how, a.axis, a.keepDims, a.dtype),
  });

const quantifier = (name: string, doc: string, tflite: string, reducer: Reducer): AnyRecord =>
  op<'x' | 'axes?', AxesAttrs>(name, {
    doc,
    inputs: ['x', 'axes?'],
    tflite: { [tflite]: tfliteAxes },
    lower: ({ x, axes }, a, b, ctx: LowerContext) => reduceBy(b, x, resolveAxes(b, x, axes, a, ctx), { reducer }),
  });

export const records: readonly AnyRecord[] = [
  ...Object.keys(RECIPES).map(reduction),
  op<'x' | 'axes?', AxesAttrs>('reduce_logsumexp', {
    doc: 'Logarithm of the sum of exponentials over axes',
    inputs: ['x', 'axes?'],
    onnx: axesDecodings('ReduceLogSumExp', 18),
    examples: [{ in: { x: [1000, 1000] }, attrs: { keepDims: false, noop: false, empty: 'all' }, out: 1000.6931 }],
    lower: ({ x, axes }, a, b, ctx) => logSumExp(b, x, resolveAxes(b, x, axes, a, ctx)),
  }),
  argReduction('argmax', 'ArgMax', 'ARG_MAX'),
  argReduction('argmin', 'ArgMin', 'ARG_MIN'),
  quantifier('reduce_any', 'Whether any element is true', 'REDUCE_ANY', 'or'),
  quantifier('reduce_all', 'Whether all elements are true', 'REDUCE_ALL', 'and'),
];
