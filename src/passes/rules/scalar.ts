// The algebra of scalar bodies: one line an equation. Rules without `relaxed` keep every bit, NaN payloads aside;
// those marked so change rounding or what becomes of −0, NaN and infinities, and apply under fast numerics only.

import { any, constantNamed, p, type Rule, rule } from '../../ir/pattern.js';
import { cast, constant, type Expr, rawOp, select } from '../../ir/scalar.js';
import { isFloat, isUnsigned } from '../../support/dtype.js';
import { foldOperation, isLossless, number, reciprocal } from './constants.js';

const [x, y, c, d] = [any('x'), any('y'), constantNamed('c'), constantNamed('d')];
const [relaxed, integer, float, exact] = [
  { relaxed: true, on: 'float' },
  { on: 'integer' },
  { on: 'float' },
  { on: 'exact' },
] as const;

/** Of a binding that the pattern has: records are typed by name only. */
const at = (b: Readonly<Record<string, Expr>>, name: string): Expr => b[name] as Expr;
const X = (b: Readonly<Record<string, Expr>>): Expr => at(b, 'x');
const zeroLike = (e: Expr): Expr => constant(0, e.dtype);

const UNITS: readonly Rule[] = [
  rule('x·1 → x', p.mul(x, 1), X),
  rule('x·(−1) → −x', p.mul(x, -1), (b) => rawOp('neg', X(b)), float),
  rule('x·0 → 0', p.mul(x, 0), (_, e) => zeroLike(e), integer),
  rule('x/1 → x', p.div(x, 1), X),
  rule('x−0 → x', p.sub(x, 0), X),
  rule('x+(−0) → x', p.add(x, -0), X, float),
  rule('x+0 → x', p.add(x, 0), X, integer),
  rule('x+0 → x, −0 aside', p.add(x, 0), X, relaxed), // −0 + 0 is 0
  rule('x−x → 0', p.sub(x, x), (_, e) => zeroLike(e), integer),
  rule('x⊕x → 0', p.xor(x, x), (_, e) => zeroLike(e), exact),
  rule('x⊕0 → x', p.xor(x, 0), X, exact),
  rule('x|0 → x', p.or(x, 0), X, exact),
  rule('x&0 → 0', p.and(x, 0), (_, e) => zeroLike(e), exact),
  rule('x∧true → x', p.and(x, 1), X, { on: 'bool' }),
  rule('x∨true → true', p.or(x, 1), () => constant(true, 'i1'), { on: 'bool' }),
];

const IDEMPOTENT: readonly Rule[] = [
  ...(['min', 'max', 'and', 'or'] as const).map((op) => rule(`${op}(x, x) → x`, p.op(op, x, x), X)),
  ...(['abs', 'floor', 'ceil', 'trunc', 'rint', 'round'] as const).map((op) =>
    rule(`${op}(${op}(x)) → ${op}(x)`, p.op(op, p.op(op, x)), (b) => rawOp(op, X(b))),
  ),
  ...(['min', 'max'] as const).map((op) =>
    rule(`${op}(${op}(x, c), d) → ${op}(x, ${op}(c, d))`, p.op(op, p.op(op, x, c), d), (b) => {
      const limit = foldOperation(op, at(b, 'c'), at(b, 'd'));
      return limit && rawOp(op, X(b), limit);
    }),
  ),
];

const SIGNS: readonly Rule[] = [
  rule('−(−x) → x', p.neg(p.neg(x)), X),
  rule('¬(¬x) → x', p.not(p.not(x)), X, exact),
  rule('x+(−y) → x−y', p.add(x, p.neg(y)), (b) => rawOp('sub', X(b), at(b, 'y'))),
  rule('x−(−y) → x+y', p.sub(x, p.neg(y)), (b) => rawOp('add', X(b), at(b, 'y'))),
  rule('(−x)·(−y) → x·y', p.mul(p.neg(x), p.neg(y)), (b) => rawOp('mul', X(b), at(b, 'y'))),
  rule('|−x| → |x|', p.abs(p.neg(x)), (b) => (isUnsigned(X(b).dtype) ? null : rawOp('abs', X(b)))),
  rule('−(x−y) → y−x', p.neg(p.sub(x, y)), (b) => rawOp('sub', at(b, 'y'), X(b)), integer),
  rule('−(x−y) → y−x, −0 aside', p.neg(p.sub(x, y)), (b) => rawOp('sub', at(b, 'y'), X(b)), relaxed), // 1−1 is 0 either way
];

const CONSTANTS: readonly Rule[] = [
  ...(['add', 'sub', 'mul', 'div', 'min', 'max'] as const).map((op) =>
    rule(`${op}(c, d) → its value`, p.op(op, c, d), (b) => foldOperation(op, at(b, 'c'), at(b, 'd'))),
  ),
  ...(['neg', 'abs', 'sqrt'] as const).map((op) =>
    rule(`${op}(c) → its value`, p.op(op, c), (b) => foldOperation(op, at(b, 'c'))),
  ),
  ...(['add', 'mul'] as const).flatMap((op) => {
    const regroup = (b: Readonly<Record<string, Expr>>): Expr | null => {
      const folded = foldOperation(op, at(b, 'c'), at(b, 'd'));
      return folded && Number.isFinite(Number((folded as { value?: number }).value)) ? rawOp(op, X(b), folded) : null;
    };
    const sign = op === 'add' ? '+' : '·';
    const name = `(x${sign}c)${sign}d → x${sign}(c${sign}d)`;
    return [
      rule(name, p.op(op, p.op(op, x, c), d), regroup, integer),
      rule(`${name}, rounded once`, p.op(op, p.op(op, x, c), d), regroup, relaxed),
    ];
  }),
];

const DIVISION: readonly Rule[] = [
  rule('x/2ⁿ → x·2⁻ⁿ', p.div(x, c), (b) => reciprocal(at(b, 'c'), 'exact', (r) => rawOp('mul', X(b), r)), float),
  rule('x/c → x·(1/c)', p.div(x, c), (b) => reciprocal(at(b, 'c'), 'rounded', (r) => rawOp('mul', X(b), r)), relaxed),
];

const isBase = (e: Expr): boolean => e.dtype === 'f32' || e.dtype === 'f64';

/** Powers are macros with an error bound of their own: every rewriting of them changes bits. */
const POWERS: readonly Rule[] = [
  rule('x^1 → x', p.pow(x, 1), X, relaxed),
  rule('x^2 → x·x', p.pow(x, 2), (b) => rawOp('mul', X(b), X(b)), relaxed),
  rule('x^2 → x·x, integers', p.pow(x, 2), (b) => rawOp('mul', X(b), X(b)), integer),
  rule('x^3 → x·x·x', p.pow(x, 3), (b) => rawOp('mul', rawOp('mul', X(b), X(b)), X(b)), relaxed),
  rule('x^0.5 → √x', p.pow(x, 0.5), (b) => rawOp('sqrt', X(b)), relaxed), // (−0)^0.5 is 0, (−∞)^0.5 is ∞
  rule('x^−1 → 1/x', p.pow(x, -1), (b) => rawOp('div', number(1, X(b).dtype), X(b)), relaxed),
  rule('x^−0.5 → 1/√x', p.pow(x, -0.5), (b) => (isBase(X(b)) ? rawOp('rsqrt', X(b)) : null), relaxed),
  rule('1/√x → rsqrt(x)', p.div(1, p.sqrt(x)), (b) => (isBase(X(b)) ? rawOp('rsqrt', X(b)) : null), float),
  rule('√(x·x) → |x|', p.sqrt(p.mul(x, x)), (b) => rawOp('abs', X(b)), relaxed), // x·x may overflow
];

/** The cheaper definitions of macros/fast.ts. */
const FUNCTIONS: readonly Rule[] = (['exp', 'erf', 'tanh', 'sigmoid'] as const).map((op) =>
  rule(
    `${op}(x) → fast_${op}(x)`,
    p.op(op, x),
    (b) => (X(b).dtype === 'f64' ? null : rawOp(`fast_${op}`, X(b))),
    relaxed,
  ),
);

const CASTS: readonly Rule[] = [
  rule('T(U(x)) → x where U holds every T', p.cast(p.cast(x)), (b, e) => {
    const middle = e.k === 'cast' ? e.arg.dtype : e.dtype;
    return X(b).dtype === e.dtype && isLossless(X(b).dtype, middle) ? X(b) : null;
  }),
  rule('T(U(x)) → T(x) where U holds every x', p.cast(p.cast(x)), (b, e) => {
    const [from, middle] = [X(b).dtype, e.k === 'cast' ? e.arg.dtype : e.dtype];
    const saturates = isFloat(middle) && !isFloat(from) && !isLossless(from, e.dtype); // integers among themselves wrap
    return from !== e.dtype && isLossless(from, middle) && !saturates ? cast(X(b), e.dtype) : null;
  }),
];

const CHOICES: readonly Rule[] = [
  rule('select(c, x, x) → x', p.select(any('k'), x, x), X),
  rule('select(¬c, x, y) → select(c, y, x)', p.select(p.not(any('k')), x, y), (b) =>
    select(at(b, 'k'), at(b, 'y'), X(b)),
  ),
];

export const SCALAR_RULES: readonly Rule[] = [
  ...CONSTANTS,
  ...UNITS,
  ...IDEMPOTENT,
  ...SIGNS,
  ...DIVISION,
  ...POWERS,
  ...FUNCTIONS,
  ...CASTS,
  ...CHOICES,
];
