// What classifiers and regressors of ai.onnx.ml share: transforms of scores, and labels from the best one.

import type { Builder } from '../../ir/builder.js';
import { type Dim, isConst } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { toNumbers } from '../../support/tensor.js';
import type { NodeReader } from './record.js';

export const POST_TRANSFORMS = ['NONE', 'SOFTMAX', 'LOGISTIC', 'SOFTMAX_ZERO', 'PROBIT'] as const;
export type PostTransform = (typeof POST_TRANSFORMS)[number];

export function postTransformOf(n: NodeReader): PostTransform {
  const name = n.string('post_transform', 'NONE') as PostTransform;
  if (!POST_TRANSFORMS.includes(name)) throw new CompileError('E203', `post_transform "${name}" is not defined`);
  return name;
}

/** Inverse of the normal distribution, by Winitzki's approximation of erf⁻¹. */
const probit = (p: Expr): Expr => {
  const x = e.sub(e.mul(p, 2), 1);
  const log = e.log(e.mul(e.sub(1, x), e.add(x, 1)));
  const v = e.add(e.mul(log, 0.5), 2 / (Math.PI * 0.147));
  const magnitude = e.sqrt(e.sub(e.sqrt(e.sub(e.mul(v, v), e.div(log, 0.147))), v));
  return e.mul(e.select(e.lt(x, 0), e.neg(magnitude), magnitude), Math.SQRT2);
};

/** Softmax over the scores that are not zero; zeros stay. */
function softmaxZero(b: Builder, x: Value): Value {
  const top = b.reduce(x, 'max', [-1], true);
  const p = b.map([x, top], (v, m) => e.select(e.eq(v, 0), 0, e.exp(e.sub(v, m))));
  const sum = b.reduce(p, 'add', [-1], true);
  return b.map([p, sum], (v, s) => e.select(e.eq(s, 0), v, e.div(v, s)));
}

export function postTransform(b: Builder, scores: Value, how: PostTransform): Value {
  switch (how) {
    case 'NONE':
      return scores;
    case 'SOFTMAX':
      return b.softmax(scores, -1);
    case 'LOGISTIC':
      return b.sigmoid(scores);
    case 'SOFTMAX_ZERO':
      return softmaxZero(b, scores);
    case 'PROBIT':
      return b.map([scores], probit);
  }
}

/** Class labels: integers compile, strings are looked up by a host. */
export type Labels = { readonly ints: readonly number[] } | { readonly strings: readonly string[] };

export function labelsOf(n: NodeReader, ints: string, strings: string): Labels {
  const texts = n.strings(strings, []);
  return texts.length > 0 ? { strings: texts } : { ints: n.ints(ints, []) };
}

export const labelCount = (l: Labels): number => ('ints' in l ? l.ints.length : l.strings.length);

/** Labels at positions [rows] (i64). */
export function lookUpLabels(b: Builder, positions: Value, labels: Labels): Value {
  if ('ints' in labels) {
    if (labels.ints.every((v, k) => v === k)) return positions;
    const table = b.constant({
      dtype: 'i64',
      shape: [labels.ints.length],
      data: BigInt64Array.from(labels.ints, BigInt),
    });
    return b.gather(table, positions, 0);
  }
  const { strings } = labels;
  const call = ([at]: readonly { readonly shape: readonly number[] }[] &
    readonly Parameters<typeof toNumbers>[0][]) => {
    const numbers = at ? toNumbers(at) : [];
    return [{ dtype: 'string' as const, shape: at?.shape ?? [], data: Array.from(numbers, (k) => strings[k] ?? '') }];
  };
  return b.host('class_label', call, [positions], [{ dtype: 'string', shape: positions.type.shape }])[0] as Value;
}

/** Column of the largest score, the first on ties. */
export const bestColumn = (b: Builder, scores: Value): Value => b.argReduce(scores, 'argmax', -1);

/** Two columns from a score for the second of two classes. */
export const twoColumns = (b: Builder, score: Value, first: (s: Expr) => Expr, second: (s: Expr) => Expr): Value =>
  b.generic({
    shape: [score.type.shape[0] as Dim, 2],
    body: ([row, column], _r, read) => {
      const s = read(score, [row as Expr, e.const(0, 'i32')]);
      return e.select(e.eq(column as Expr, 0), first(s), second(s));
    },
  });

/** Rows of features in f32 (or f64): a vector is one row. */
export function featureRows(b: Builder, x: Value): Value {
  const flat = x.type.shape.length === 1 ? b.unsqueeze(x, [0]) : x;
  return flat.type.dtype === 'f64' ? flat : b.map([flat], (v) => cast(v, 'f32'));
}

/** A constant matrix of f32. */
export function matrix(b: Builder, values: readonly number[], rows: number, columns: number): Value {
  if (values.length !== rows * columns)
    throw new CompileError('E203', `${values.length} coefficients do not fill ${rows}×${columns}`);
  return b.constant({ dtype: 'f32', shape: [rows, columns], data: Float32Array.from(values) });
}

/** Number of features, which must be known. */
export function featureCount(x: Value): number {
  const n = x.type.shape.at(-1) ?? 1;
  if (!isConst(n)) throw new CompileError('E205', 'the number of features is not known', { hint: 'Fix it with --dim' });
  return n;
}
