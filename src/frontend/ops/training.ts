// Optimiser steps of the training preview: each takes a learning rate, a step count, and lists of tensors, gradients and
// states one after the other, and gives the next tensors and states in the same order.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type AnyRecord, op } from './record.js';

interface Step {
  /** Learning rate and step count, in the tensors' type. */
  readonly rate: Expr;
  readonly count: Expr;
  readonly x: Expr;
  readonly gradient: Expr;
  readonly states: readonly Expr[];
}

/** Next tensor, then next states. */
type Update = (s: Step) => readonly Expr[];

interface OptimizerInputs {
  readonly rate: Value;
  readonly count: Value;
  readonly xs: readonly Value[];
}

/** Applies an update to every group of tensor, gradient and states. */
function optimize(b: Builder, { rate, count, xs }: OptimizerInputs, states: number, update: Update): readonly Value[] {
  const n = xs.length / (2 + states);
  const groups = Array.from({ length: n }, (_, k) =>
    Array.from({ length: 2 + states }, (_, j) => xs[j * n + k] as Value),
  );
  const next = groups.map((group) => {
    const type = (group[0] as Value).type.dtype;
    return Array.from({ length: 1 + states }, (_, out) =>
      b.map([...group, rate, count], (...v) => {
        const [r, t] = v.slice(-2).map((p) => cast(p, type)) as [Expr, Expr];
        const [x, gradient, ...held] = v.slice(0, -2) as [Expr, Expr, ...Expr[]];
        return update({ rate: r, count: t, x, gradient, states: held })[out] as Expr;
      }),
    );
  });
  return Array.from({ length: 1 + states }, (_, out) => next.map((group) => group[out] as Value)).flat();
}

const DOMAIN = 'ai.onnx.preview.training';
const like = (value: number, x: Expr): Expr => constant(value, x.dtype);
/** The gradient with the penalty norm/2·x². */
const regular = (s: Step, norm: number): Expr => e.add(e.mul(like(norm, s.x), s.x), s.gradient);

export const records: readonly AnyRecord[] = [
  op('adagrad', {
    doc: 'Gradient descent with rates divided by the root of summed squares.',
    inputs: ['rate', 'count', 'xs*'],
    onnx: {
      [`${DOMAIN}:Adagrad@1`]: (n) => ({
        decay: n.float('decay_factor', 0),
        epsilon: n.float('epsilon', 1e-6),
        norm: n.float('norm_coefficient', 0),
      }),
    },
    lower: (inputs, a, b) =>
      optimize(b, inputs, 1, (s) => {
        const rate = e.div(s.rate, e.add(like(1, s.x), e.mul(s.count, like(a.decay, s.x))));
        const g = regular(s, a.norm);
        const squares = e.add(s.states[0] as Expr, e.mul(g, g));
        return [e.sub(s.x, e.div(e.mul(rate, g), e.add(e.sqrt(squares), like(a.epsilon, s.x)))), squares];
      }),
  }),
  op('adam', {
    doc: 'Gradient descent with running means of the gradient and its square.',
    inputs: ['rate', 'count', 'xs*'],
    onnx: {
      [`${DOMAIN}:Adam@1`]: (n) => ({
        alpha: n.float('alpha', 0.9),
        beta: n.float('beta', 0.999),
        epsilon: n.float('epsilon', 1e-6),
        norm: n.float('norm_coefficient', 0),
        normAfter: n.float('norm_coefficient_post', 0),
      }),
    },
    lower: (inputs, a, b) =>
      optimize(b, inputs, 2, (s) => {
        const g = regular(s, a.norm);
        const mix = (old: Expr, now: Expr, share: number): Expr =>
          e.add(e.mul(like(share, g), old), e.mul(like(1 - share, g), now));
        const mean = mix(s.states[0] as Expr, g, a.alpha);
        const square = mix(s.states[1] as Expr, e.mul(g, g), a.beta);
        const rest = (share: number): Expr => e.sub(like(1, g), e.pow(like(share, g), s.count));
        const corrected = e.div(e.mul(s.rate, e.sqrt(rest(a.beta))), rest(a.alpha));
        const rate = e.select(e.lt(like(0, g), s.count), corrected, s.rate);
        const next = e.sub(s.x, e.div(e.mul(rate, mean), e.add(e.sqrt(square), like(a.epsilon, g))));
        return [e.mul(like(1 - a.normAfter, g), next), mean, square];
      }),
  }),
  op('momentum', {
    doc: 'Gradient descent with momentum, plain or Nesterov’s.',
    inputs: ['rate', 'count', 'xs*'],
    onnx: {
      [`${DOMAIN}:Momentum@1`]: (n) => ({
        alpha: n.float('alpha'),
        beta: n.float('beta'),
        nesterov: n.string('mode') === 'nesterov',
        norm: n.float('norm_coefficient', 0),
      }),
    },
    lower: (inputs, a, b) =>
      optimize(b, inputs, 1, (s) => {
        const g = regular(s, a.norm);
        const beta = e.select(e.lt(like(0, g), s.count), like(a.beta, g), like(1, g));
        const velocity = e.add(e.mul(like(a.alpha, g), s.states[0] as Expr), e.mul(beta, g));
        const move = a.nesterov ? e.add(g, e.mul(like(a.alpha, g), velocity)) : velocity;
        return [e.sub(s.x, e.mul(s.rate, move)), velocity];
      }),
  }),
];
