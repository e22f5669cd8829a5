// What the macro operations of scalar.ts mean: each is an expression over the primitives, so that every backend gets
// it, vectorised, with the same bits. One file a family under macros/; accuracy is measured in docs/numerics.md.
// Arguments must already have a type a backend computes with (f32 f64 i32 u32 i64 u64 i1); `legalize` sees to that.

import { type DType, isFloat } from '../support/dtype.js';
import { invariant } from '../support/errors.js';
import { erf } from './macros/erf.js';
import { exp, exp2, expm1 } from './macros/exp.js';
import { fastErf, fastExp, fastSigmoid, fastTanh } from './macros/fast.js';
import { F32, F64, type FloatFormat, isInfinite, isNan } from './macros/format.js';
import { acosh, asinh, atanh, cosh, sigmoid, sinh, tanh } from './macros/hyperbolic.js';
import * as integer from './macros/integer.js';
import { acos, asin, atan, atan2 } from './macros/inverse-trig.js';
import { log, log1p, log2, log10 } from './macros/log.js';
import { pow, powInteger } from './macros/pow.js';
import * as rounding from './macros/rounding.js';
import { cos, sin, tan } from './macros/trig.js';
import { constant, type Expr, type MacroOp, rawOp } from './scalar.js';

type OfFloats = (f: FloatFormat, ...args: [Expr, Expr]) => Expr;
type OfIntegers = (...args: [Expr, Expr]) => Expr;

const never = (): Expr => constant(0, 'i1');

/** Defined alike for every type. */
const COMPARISONS: Partial<Record<MacroOp, OfIntegers>> = {
  ne: (a, b) => integer.not(rawOp('eq', a, b)),
  gt: (a, b) => rawOp('lt', b, a),
  ge: (a, b) => rawOp('le', b, a),
};

const FLOATS: Partial<Record<MacroOp, OfFloats>> = {
  floordiv: rounding.floordiv,
  floormod: rounding.floormod,
  fmod: rounding.fmod,
  sign: rounding.sign,
  round: rounding.round,
  rsqrt: rounding.rsqrt,
  is_nan: isNan,
  is_inf: isInfinite,
  exp,
  exp2,
  expm1,
  log,
  log2,
  log10,
  log1p,
  pow,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  atan2,
  sinh,
  cosh,
  tanh,
  asinh,
  acosh,
  atanh,
  erf,
  sigmoid,
  fast_exp: fastExp,
  fast_erf: fastErf,
  fast_tanh: fastTanh,
  fast_sigmoid: fastSigmoid,
};

const INTEGERS: Partial<Record<MacroOp, OfIntegers>> = {
  not: integer.not,
  floordiv: integer.floordiv,
  floormod: integer.floormod,
  fmod: (a, b) => rawOp('rem', a, b),
  sign: integer.sign,
  round: (x) => x,
  pow: powInteger,
  is_nan: never,
  is_inf: never,
};

/** The definition of `op` for arguments of type `dtype`. */
export function expandMacro(op: MacroOp, args: readonly Expr[], dtype: DType): Expr {
  const [a, b = a] = args;
  invariant(a !== undefined && b !== undefined, `${op} without arguments`);
  const compare = COMPARISONS[op];
  if (compare) return compare(a, b);
  if (isFloat(dtype)) {
    const define = FLOATS[op];
    invariant(define && (dtype === 'f32' || dtype === 'f64'), `${op} of ${dtype} has no definition`);
    return define(dtype === 'f32' ? F32 : F64, a, b);
  }
  const define = INTEGERS[op];
  invariant(define, `${op} of ${dtype} has no definition`);
  return define(a, b);
}
