// Derivatives of scalar expressions, for reverse-mode differentiation (ops/gradient.ts). Integer and boolean parts are taken
// for constant; where a function has no derivative, at a kink, the value is that of one side.

import { CompileError } from '../support/errors.js';
import { isFloat } from '../support/dtype.js';
import { e } from './expr.js';
import { cast, constant, type Expr, type ScalarOp } from './scalar.js';

/** d x / d site, where `site` is one expression inside x (by identity); null where it is zero everywhere. */
export function derivative(x: Expr, site: Expr): Expr | null {
  if (x === site) return constant(1, x.dtype);
  if (!isFloat(x.dtype)) return null;
  switch (x.k) {
    case 'select': {
      const [a, b] = [derivative(x.a, site), derivative(x.b, site)];
      return a || b ? e.select(x.cond, a ?? zero(x), b ?? zero(x)) : null;
    }
    case 'cast': {
      const d = derivative(x.arg, site);
      return d && cast(d, x.dtype);
    }
    case 'op': {
      const parts = x.args.flatMap((a, k) => {
        const d = derivative(a, site);
        return d ? [e.mul(partial(x.op, x.args, x, k), d)] : [];
      });
      return parts.length > 0 ? e.add(...parts) : null;
    }
    default:
      return null;
  }
}

const zero = (x: Expr): Expr => constant(0, x.dtype);

/** Of y = op(args) along argument k. */
function partial(op: ScalarOp, args: readonly Expr[], y: Expr, k: number): Expr {
  const rule = RULES[op];
  if (!rule) throw new CompileError('E202', `the derivative of ${op} is not known`);
  return rule(args as readonly [Expr, Expr], y, k);
}

type Rule = (args: readonly [Expr, Expr], y: Expr, k: number) => Expr;

const num = (v: number, like: Expr): Expr => constant(v, like.dtype);
const square = (x: Expr): Expr => e.mul(x, x);
const inverse = (x: Expr): Expr => e.div(num(1, x), x);
const chosen: Rule = ([a, b], y, k) => e.select(k === 0 ? e.eq(a, y) : e.ne(a, y), num(1, b), num(0, b));
const flat: Rule = ([a]) => zero(a);

const RULES: Partial<Record<ScalarOp, Rule>> = {
  add: (_a, y) => num(1, y),
  sub: (_a, y, k) => num(k === 0 ? 1 : -1, y),
  mul: (args, _y, k) => args[k === 0 ? 1 : 0],
  div: ([, b], y, k) => (k === 0 ? inverse(b) : e.neg(e.div(y, b))),
  min: chosen,
  max: chosen,
  neg: (_a, y) => num(-1, y),
  abs: ([a]) => e.op('sign', a),
  sign: flat,
  floor: flat,
  ceil: flat,
  trunc: flat,
  rint: flat,
  round: flat,
  sqrt: (_a, y) => e.div(num(0.5, y), y),
  rsqrt: ([a], y) => e.mul(num(-0.5, y), e.div(y, a)),
  exp: (_a, y) => y,
  exp2: (_a, y) => e.mul(y, Math.LN2),
  expm1: (_a, y) => e.add(y, 1),
  log: ([a]) => inverse(a),
  log2: ([a]) => e.div(num(Math.LOG2E, a), a),
  log10: ([a]) => e.div(num(Math.LOG10E, a), a),
  log1p: ([a]) => inverse(e.add(a, 1)),
  pow: ([a, b], y, k) => (k === 0 ? e.mul(b, e.op('pow', a, e.sub(b, 1))) : e.mul(y, e.log(a))),
  sin: ([a]) => e.op('cos', a),
  cos: ([a]) => e.neg(e.op('sin', a)),
  tan: (_a, y) => e.add(square(y), 1),
  asin: ([a]) => inverse(e.sqrt(e.sub(num(1, a), square(a)))),
  acos: ([a]) => e.neg(inverse(e.sqrt(e.sub(num(1, a), square(a))))),
  atan: ([a]) => inverse(e.add(square(a), 1)),
  sinh: ([a]) => e.op('cosh', a),
  cosh: ([a]) => e.op('sinh', a),
  tanh: (_a, y) => e.sub(num(1, y), square(y)),
  asinh: ([a]) => inverse(e.sqrt(e.add(square(a), 1))),
  acosh: ([a]) => inverse(e.sqrt(e.sub(square(a), 1))),
  atanh: ([a]) => inverse(e.sub(num(1, a), square(a))),
  erf: ([a]) => e.mul(e.exp(e.neg(square(a))), 2 / Math.sqrt(Math.PI)),
  sigmoid: (_a, y) => e.mul(y, e.sub(num(1, y), y)),
};
