// Activation functions that operators name, each with its own alpha and beta: recurrent layers, and the fused operators of
// onnxruntime. Recurrent layers list those of all directions one after the other; alphas and betas go, in order, to the
// functions that take them.

import { e } from '../../ir/expr.js';
import { constant, type Expr } from '../../ir/scalar.js';
import { CompileError } from '../../support/errors.js';
import type { NodeReader } from './record.js';

export type Activation = (x: Expr) => Expr;

interface Definition {
  readonly alpha?: number;
  readonly beta?: number;
  readonly f: (x: Expr, alpha: Expr, beta: Expr) => Expr;
}

const zero = (x: Expr): Expr => constant(0, x.dtype);

const DEFINITIONS: Readonly<Record<string, Definition>> = {
  relu: { f: (x) => e.max(x, 0) },
  tanh: { f: (x) => e.tanh(x) },
  sigmoid: { f: (x) => e.sigmoid(x) },
  affine: { alpha: 1, beta: 0, f: (x, a, b) => e.add(e.mul(a, x), b) },
  leakyrelu: { alpha: 0.01, f: (x, a) => e.select(e.lt(x, 0), e.mul(a, x), x) },
  thresholdedrelu: { alpha: 1, f: (x, a) => e.select(e.ge(x, a), x, zero(x)) },
  scaledtanh: { alpha: 1, beta: 1, f: (x, a, b) => e.mul(a, e.tanh(e.mul(b, x))) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, f: (x, a, b) => e.clamp(e.add(e.mul(a, x), b), 0, 1) },
  elu: { alpha: 1, f: (x, a) => e.select(e.lt(x, 0), e.mul(a, e.op('expm1', x)), x) },
  softsign: { f: (x) => e.div(x, e.add(e.abs(x), 1)) },
  clip: { alpha: Number.NEGATIVE_INFINITY, beta: Number.POSITIVE_INFINITY, f: (x, a, b) => e.min(e.max(x, a), b) },
  softplus: { f: (x) => e.add(e.max(x, 0), e.op('log1p', e.exp(e.neg(e.abs(x))))) },
};

/** One function by its name in any spelling, with its parameters where they are given. */
export function activationNamed(name: string, alpha?: number, beta?: number): Activation {
  const d = DEFINITIONS[name.toLowerCase()];
  if (!d) throw new CompileError('E203', `activation "${name}" is not defined`);
  const [a, c] = [alpha ?? d.alpha ?? 0, beta ?? d.beta ?? 0];
  return (x) => d.f(x, constant(a, x.dtype), constant(c, x.dtype));
}

/** The functions of each direction, defaults filled in. */
export function activationList(
  n: NodeReader,
  defaults: readonly string[],
  directions: number,
): readonly (readonly Activation[])[] {
  const given = n.strings('activations', []);
  const names = given.length > 0 ? given : Array.from({ length: directions }, () => defaults).flat();
  if (names.length !== defaults.length * directions)
    throw new CompileError('E203', `${names.length} activations given, ${defaults.length * directions} are needed`);
  const alphas = [...n.floats('activation_alpha', [])];
  const betas = [...n.floats('activation_beta', [])];
  const all = names.map((name): Activation => {
    const { alpha, beta } = DEFINITIONS[name.toLowerCase()] ?? {};
    return activationNamed(
      name,
      alpha === undefined ? undefined : alphas.shift(),
      beta === undefined ? undefined : betas.shift(),
    );
  });
  return Array.from({ length: directions }, (_, k) => all.slice(k * defaults.length, (k + 1) * defaults.length));
}
