// Rules as equations over scalar expressions: `rule('x·1 → x', p.mul(x, 1), ({ x }) => x)`. Patterns are data, so that
// tests can instantiate every rule at random. A variable that stands twice matches equal expressions only; of
// commutative operations both orders are tried. passes/rules/ holds the rules, passes/algebra.ts applies them.

import { type DType, isFloat, isInteger } from '../support/dtype.js';
import { type ConstExpr, type Expr, exprKey, type ScalarOp } from './scalar.js';

export type Pattern =
  | { readonly k: 'any'; readonly name: string }
  /** Any constant; `constant` bindings are ConstExpr. */
  | { readonly k: 'constant'; readonly name: string }
  | { readonly k: 'number'; readonly value: number }
  | { readonly k: 'op'; readonly op: ScalarOp; readonly args: readonly Pattern[] }
  | { readonly k: 'cast'; readonly arg: Pattern }
  | { readonly k: 'select'; readonly cond: Pattern; readonly a: Pattern; readonly b: Pattern };

type Part = Pattern | number;

const part = (x: Part): Pattern => (typeof x === 'number' ? { k: 'number', value: x } : x);

export const any = (name: string): Pattern => ({ k: 'any', name });
export const constantNamed = (name: string): Pattern => ({ k: 'constant', name });

const operation =
  (op: ScalarOp) =>
  (...args: Part[]): Pattern => ({ k: 'op', op, args: args.map(part) });

/** The vocabulary of left-hand sides. */
export const p = {
  op: (op: ScalarOp, ...args: Part[]): Pattern => operation(op)(...args),
  add: operation('add'),
  sub: operation('sub'),
  mul: operation('mul'),
  div: operation('div'),
  min: operation('min'),
  max: operation('max'),
  and: operation('and'),
  or: operation('or'),
  xor: operation('xor'),
  neg: operation('neg'),
  not: operation('not'),
  abs: operation('abs'),
  sqrt: operation('sqrt'),
  pow: operation('pow'),
  cast: (arg: Part): Pattern => ({ k: 'cast', arg: part(arg) }),
  select: (cond: Part, a: Part, b: Part): Pattern => ({ k: 'select', cond: part(cond), a: part(a), b: part(b) }),
} as const;

export type Bindings = Readonly<Record<string, Expr>>;

export interface Rule {
  /** The equation, as a reader would write it. */
  readonly name: string;
  readonly pattern: Pattern;
  /** The right-hand side; null where a side condition fails. `e` is the matched expression. */
  readonly result: (b: Bindings, e: Expr) => Expr | null;
  /** Changes float rounding, or what happens to NaN, infinities or −0: only under fast numerics. */
  readonly relaxed: boolean;
  readonly on: TypeClass;
}

/** Types of the operands a rule is for. */
export type TypeClass = 'any' | 'float' | 'integer' | 'bool' | 'exact';

export const inClass = (t: DType, c: TypeClass): boolean => {
  switch (c) {
    case 'any':
      return t !== 'string';
    case 'float':
      return isFloat(t);
    case 'integer':
      return isInteger(t);
    case 'bool':
      return t === 'i1';
    case 'exact':
      return isInteger(t) || t === 'i1';
  }
};

export const rule = (
  name: string,
  pattern: Pattern,
  result: Rule['result'],
  more: { relaxed?: boolean; on?: TypeClass } = {},
): Rule => ({ name, pattern, result, relaxed: more.relaxed ?? false, on: more.on ?? 'any' });

/** The type a rule's class is about: that of the first operand. */
export const operandType = (e: Expr): DType => (e.k === 'op' ? (e.args[0]?.dtype ?? e.dtype) : e.dtype);

export function applyRule(r: Rule, e: Expr): Expr | null {
  if (e.lanes !== 1 || !inClass(operandType(e), r.on)) return null;
  const bindings: Record<string, Expr> = {};
  return match(r.pattern, e, bindings) ? r.result(bindings, e) : null;
}

const COMMUTATIVE: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  'add',
  'mul',
  'min',
  'max',
  'and',
  'or',
  'xor',
  'eq',
  'ne',
]);

function match(q: Pattern, e: Expr, b: Record<string, Expr>): boolean {
  switch (q.k) {
    case 'any':
      return bind(q.name, e, b);
    case 'constant':
      return e.k === 'const' && bind(q.name, e, b);
    case 'number':
      return e.k === 'const' && isNumber(e, q.value);
    case 'cast':
      return e.k === 'cast' && match(q.arg, e.arg, b);
    case 'select':
      return e.k === 'select' && match(q.cond, e.cond, b) && match(q.a, e.a, b) && match(q.b, e.b, b);
    case 'op':
      return e.k === 'op' && e.op === q.op && matchArgs(q.args, e, b);
  }
}

function matchArgs(patterns: readonly Pattern[], e: Expr & { k: 'op' }, b: Record<string, Expr>): boolean {
  const inOrder = (args: readonly Expr[]): boolean => {
    const tried = { ...b };
    const ok = patterns.length === args.length && patterns.every((q, k) => match(q, args[k] as Expr, tried));
    if (ok) Object.assign(b, tried);
    return ok;
  };
  return inOrder(e.args) || (COMMUTATIVE.has(e.op) && inOrder([...e.args].reverse()));
}

function bind(name: string, e: Expr, b: Record<string, Expr>): boolean {
  const known = b[name];
  if (!known) b[name] = e;
  return !known || known === e || exprKey(known) === exprKey(e);
}

/** The constant is this number, −0 apart from 0 for floats. */
const isNumber = (c: ConstExpr, value: number): boolean =>
  isFloat(c.dtype) ? Object.is(Number(c.value), value) : Number(c.value) === value;
