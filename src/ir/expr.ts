// Short names for writing scalar expressions: `e.add(i, 1)`. A plain number takes the other operand's type.

import type { DType } from '../support/dtype.js';
import { invariant } from '../support/errors.js';
import type { Dim } from './dim.js';
import { cast, constant, dimExpr, type Expr, op, type ScalarOp, select } from './scalar.js';

export type Operand = Expr | number | bigint;

const isExpr = (x: Operand): x is Expr => typeof x === 'object';

function typed(args: readonly Operand[], hint?: DType): Expr[] {
  const dtype = args.find(isExpr)?.dtype ?? hint;
  invariant(dtype !== undefined, 'an operation needs one typed operand');
  return args.map((a) => (isExpr(a) ? a : constant(a, dtype)));
}

const unary =
  (o: ScalarOp) =>
  (a: Expr): Expr =>
    op(o, a);
const binary =
  (o: ScalarOp) =>
  (a: Operand, b: Operand): Expr =>
    op(o, ...typed([a, b], 'i32'));

/** Left fold of a binary operation. */
const fold =
  (o: ScalarOp) =>
  (...args: Operand[]): Expr =>
    typed(args, 'i32').reduce((a, b) => op(o, a, b));

export const e = {
  add: fold('add'),
  sub: binary('sub'),
  mul: fold('mul'),
  div: binary('div'),
  rem: binary('rem'),
  min: fold('min'),
  max: fold('max'),
  and: fold('and'),
  or: fold('or'),
  xor: binary('xor'),
  shl: binary('shl'),
  shrS: binary('shr_s'),
  shrU: binary('shr_u'),
  neg: unary('neg'),
  abs: unary('abs'),
  floor: unary('floor'),
  ceil: unary('ceil'),
  trunc: unary('trunc'),
  rint: unary('rint'),
  round: unary('round'),
  sqrt: unary('sqrt'),
  eq: binary('eq'),
  ne: binary('ne'),
  lt: binary('lt'),
  le: binary('le'),
  gt: binary('gt'),
  ge: binary('ge'),
  not: unary('not'),
  floordiv: binary('floordiv'),
  floormod: binary('floormod'),
  exp: unary('exp'),
  log: unary('log'),
  tanh: unary('tanh'),
  erf: unary('erf'),
  sigmoid: unary('sigmoid'),
  pow: binary('pow'),
  select: (cond: Expr, a: Operand, b: Operand): Expr => {
    const [x, y] = typed([a, b], 'i32');
    return select(cond, x as Expr, y as Expr);
  },
  clamp: (x: Expr, lo: Operand, hi: Operand): Expr => e.min(e.max(x, lo), hi),
  cast,
  const: constant,
  dim: (d: Dim): Expr => dimExpr(d),
  /** Any scalar operation by name. */
  op: (o: ScalarOp, ...args: Operand[]): Expr => op(o, ...typed(args)),
} as const;
