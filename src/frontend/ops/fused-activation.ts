// The activation a TFLite builtin may carry (`fused_activation_function`): decoded, as a scalar expression, and applied
// to a value. Integers that are not quantised take the same bounds as whole numbers; quantised tensors clamp elsewhere.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import type { Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import type { NodeReader } from './record.js';

const ACTIVATIONS = {
  NONE: (x: Expr) => x,
  RELU: (x: Expr) => e.max(x, 0),
  RELU_N1_TO_1: (x: Expr) => e.clamp(x, -1, 1),
  RELU6: (x: Expr) => e.clamp(x, 0, 6),
  TANH: (x: Expr) => e.tanh(x),
  SIGN_BIT: (x: Expr) => e.select(e.lt(x, 0), e.const(1, x.dtype), e.const(0, x.dtype)),
} as const;

export type FusedActivation = keyof typeof ACTIVATIONS;

/** The activation a node carries; NONE where it has no such option. */
export function activationOf(n: NodeReader): FusedActivation {
  const name = n.string('fused_activation_function', 'NONE');
  if (!Object.hasOwn(ACTIVATIONS, name)) throw new CompileError('E202', `fused activation ${name} is not known`);
  return name as FusedActivation;
}

/** One element through an activation. */
export const activate = (x: Expr, activation: FusedActivation): Expr => ACTIVATIONS[activation](x);

/** A whole value through an activation. */
export const fusedActivation = (b: Builder, x: Value, activation: FusedActivation): Value =>
  activation === 'NONE' ? x : b.mapFloat([x], (p) => activate(p, activation));
