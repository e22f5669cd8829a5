// Losses over class scores [batch, classes, …] and integer labels [batch, …]: each label picks its class's
// log-probability, weighted by the class; labels equal to `ignore` do not count.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast, constant, dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

interface LossAttrs {
  readonly reduction: 'none' | 'mean' | 'sum';
  readonly ignore: number | undefined;
}

function lossAttrs(n: NodeReader): LossAttrs {
  const name = n.string('reduction', 'mean');
  const reduction = (['none', 'mean', 'sum'] as const).find((r) => r === name);
  if (!reduction) throw new CompileError('E203', `reduction "${name}" is not defined`);
  return { reduction, ignore: n.has('ignore_index') ? n.int('ignore_index') : undefined };
}

/** −weight[label]·logProb[label], reduced; `mean` is over the weights. */
function nllLoss(b: Builder, logProb: Value, labels: Value, weight: Value | undefined, a: LossAttrs): Value {
  const { dtype, shape } = logProb.type;
  const classes = dimExpr(shape[1] ?? 1);
  const counts = (label: Expr): Expr =>
    a.ignore === undefined ? constant(true, 'i1') : e.ne(label, constant(a.ignore, label.dtype));
  const inside = (at: Expr): Expr => e.and(e.le(0, at), e.lt(at, classes));
  const zero = constant(0, dtype);
  const weights = b.generic({
    shape: labels.type.shape,
    body: (i, _r, read) => {
      const label = read(labels, i);
      const at = cast(label, 'i32');
      const own = weight ? read(weight, [at], { guard: inside(at), pad: zero }) : constant(1, dtype);
      return e.select(counts(label), own, zero);
    },
  });
  const losses = b.generic({
    shape: labels.type.shape,
    body: (i, _r, read) => {
      const label = read(labels, i);
      const at = cast(label, 'i32');
      const picked = read(logProb, [i[0] as Expr, at, ...i.slice(1)], { guard: inside(at), pad: zero });
      return e.select(counts(label), e.neg(e.mul(picked, read(weights, i))), zero);
    },
  });
  if (a.reduction === 'none') return losses;
  const sum = b.reduce(losses, 'add');
  return a.reduction === 'sum' ? sum : b.div(sum, b.reduce(weights, 'add'));
}

/** Log of the softmax along axis 1, in f32 at least. */
function logSoftmax(b: Builder, x: Value): Value {
  const wide = x.type.dtype === 'f64' ? x : b.cast(x, 'f32');
  const shifted = b.sub(wide, b.reduce(wide, 'max', [1], true));
  return b.cast(b.sub(shifted, b.log(b.reduce(b.exp(shifted), 'add', [1], true))), x.type.dtype);
}

export const records: readonly AnyRecord[] = [
  op('nll_loss', {
    doc: 'Negative log likelihood of the labelled classes.',
    inputs: ['log_prob', 'labels', 'weight?'],
    onnx: { 'NegativeLogLikelihoodLoss@12': lossAttrs },
    lower: ({ log_prob, labels, weight }, a, b) => nllLoss(b, log_prob, labels, weight, a),
  }),
  op('softmax_cross_entropy_loss', {
    doc: 'Negative log likelihood of the labelled classes under the softmax of their scores; also the log-probabilities.',
    inputs: ['scores', 'labels', 'weight?'],
    onnx: { 'SoftmaxCrossEntropyLoss@12': lossAttrs },
    lower({ scores, labels, weight }, a, b) {
      const logProb = logSoftmax(b, scores);
      return [nllLoss(b, logProb, labels, weight, a), logProb];
    },
  }),
];
