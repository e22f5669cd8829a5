// Scalar expressions and sizes from text (see print-expr.ts). A literal without a type waits until its neighbours say
// what it is; alone it is an i32. Nodes are built as written, nothing is folded on the way.

import { DTYPE_INFO, DTYPES, type DType, isInteger } from '../support/dtype.js';
import { add, bounds, type Dim, floordiv, max, min, mod, mul, type Sym, symDim } from './dim.js';
import type { Token, Tokens } from './parse-tokens.js';
import type { TypeEnv } from './print-expr.js';
import { arity, isScalarOp } from './print-short.js';
import { bitcast, constant, dimExpr, type Expr, type LoadExpr, rawOp, type ScalarOp, type VectorOp } from './scalar.js';

export type Syms = ReadonlyMap<string, Sym>;

/** A literal whose type is not known yet. */
interface Pending {
  readonly k: 'pending';
  readonly text: string;
  readonly at: Token;
}

type Term = Expr | Pending;

const isDType = (text: string): text is DType => (DTYPES as readonly string[]).includes(text);

export function parseDType(t: Tokens): DType {
  const at = t.peek();
  const text = t.one('word', 'an element type');
  return isDType(text) ? text : t.fail(`${text} is not an element type`, at);
}

/** f32 or f32x4. */
function parseLaneType(t: Tokens): { dtype: DType; lanes: number } {
  const at = t.peek();
  const text = t.one('word', 'a type');
  const m = /^(?<dtype>.*?)(x(?<lanes>[1-9]\d?))?$/.exec(text)?.groups;
  if (!m?.dtype || !isDType(m.dtype)) return t.fail(`${text} is not a type`, at);
  return { dtype: m.dtype, lanes: Number(m.lanes ?? 1) };
}

const DIM_FUNCTIONS = { floordiv, mod, min, max } as const;

export function parseDim(t: Tokens, syms: Syms): Dim {
  let d = parseProduct(t, syms);
  while (t.take('+')) d = add(d, parseProduct(t, syms));
  return d;
}

function parseProduct(t: Tokens, syms: Syms): Dim {
  let d = parseDimFactor(t, syms);
  while (t.take('*')) d = mul(d, parseDimFactor(t, syms));
  return d;
}

function parseDimFactor(t: Tokens, syms: Syms): Dim {
  const at = t.peek();
  if (t.take('('))
    return t.nested(() => {
      const d = parseDim(t, syms);
      t.expect(')');
      return d;
    });
  if (at.kind === 'number' || t.is('-')) return t.integer('a size');
  const name = t.name('a size');
  if (at.kind === 'word' && Object.hasOwn(DIM_FUNCTIONS, name) && t.is('(')) {
    const [a, b, ...rest] = t.nested(() => t.list('(', () => parseDim(t, syms), ')'));
    if (a === undefined || b === undefined || rest.length > 0) return t.fail(`${name} takes two sizes`, at);
    if ((name === 'floordiv' || name === 'mod') && bounds(b)[0] <= 0) return t.fail('a divisor must be positive', at);
    return DIM_FUNCTIONS[name as keyof typeof DIM_FUNCTIONS](a, b);
  }
  const sym = syms.get(name);
  return sym ? symDim(sym) : t.fail(`there is no size symbol ${name}`, at);
}

export const parseDims = (t: Tokens, syms: Syms): Dim[] => t.list('[', () => parseDim(t, syms), ']');

export interface ExprScope {
  readonly tokens: Tokens;
  readonly env: TypeEnv;
  readonly syms: Syms;
}

/** `expr` or `{ #0 = expr; … expr }`. */
export function parseExpr(s: ExprScope, context: DType = 'i32'): Expr {
  const t = s.tokens;
  const parser = createParser(s);
  if (!t.take('{')) return parser.expr(context);
  while (t.peek().kind === 'hash' && t.peek(1).text === '=') {
    const name = t.next().text;
    t.expect('=');
    parser.temporaries.set(name, parser.expr('i32'));
    t.expect(';');
  }
  const e = parser.expr(context);
  t.expect('}');
  return e;
}

function createParser(s: ExprScope) {
  const t = s.tokens;
  const temporaries = new Map<string, Expr>();

  const settle = (x: Term, dtype: DType): Expr => (x.k === 'pending' ? literal(t, x, dtype) : x);

  /** Gives the literals among the arguments the type of the others. */
  const settleAll = (args: readonly Term[], alone: DType = 'i32'): Expr[] => {
    const dtype = args.find((a): a is Expr => a.k !== 'pending' && a.k !== 'const')?.dtype ?? alone;
    return args.map((a) => settle(a, dtype));
  };

  const expr = (context: DType): Expr => settle(sum(), context);

  const infix = (op: ScalarOp, a: Term, b: Term, at: Token): Expr => operation(op, [a, b], at);

  const operation = (op: ScalarOp, terms: readonly Term[], at: Token): Expr => {
    const args = settleAll(terms);
    if (args.length !== arity(op)) return t.fail(`${op} takes ${arity(op)} operands`, at);
    if (args.some((a) => a.dtype !== args[0]?.dtype))
      return t.fail(`${op} of ${args.map((a) => a.dtype).join(' and ')}: the types must be equal`, at);
    return rawOp(op, ...args);
  };

  const sum = (): Term =>
    t.nested(() => {
      let x = times();
      for (let at = t.peek(); t.is('+') || t.is('-'); at = t.peek())
        x = infix(t.next().text === '+' ? 'add' : 'sub', x, times(), at);
      return x;
    });

  const times = (): Term => {
    let x = primary();
    for (let at = t.peek(); t.take('*'); at = t.peek()) x = infix('mul', x, primary(), at);
    return x;
  };

  const primary = (): Term => {
    const at = t.peek();
    if (t.take('(')) {
      const x = sum();
      t.expect(')');
      return x;
    }
    if (at.kind === 'number' || t.is('-')) return number();
    if (at.kind === 'hash') return temporaries.get(t.next().text) ?? t.fail(`#${at.text} is not defined`, at);
    if (at.kind === 'slot') return load();
    const name = t.name('an expression');
    if (at.kind === 'string') return variable(name, at);
    if (name === 'true' || name === 'false') return constant(name === 'true', 'i1');
    if (name === 'nan' || name === 'inf') return typed({ k: 'pending', text: name, at });
    if (t.is('(')) return call(name, at);
    return t.is('<') ? vectorOrBits(name, at) : variable(name, at);
  };

  const number = (): Term => {
    const at = t.peek();
    const sign = t.take('-') ? '-' : '';
    const text = t.peek().kind === 'number' || t.is('inf') ? t.next().text : t.fail('expected a number');
    return typed({ k: 'pending', text: `${sign}${text}`, at });
  };

  const typed = (x: Pending): Term => (t.takeTouching(':') ? literal(t, x, parseDType(t)) : x);

  const variable = (name: string, at: Token): Expr => {
    const known = t.takeTouching(':') ? parseLaneType(t) : s.env.variable(name);
    return known
      ? { k: 'var', name, dtype: known.dtype, lanes: known.lanes }
      : t.fail(`there is no variable ${name}`, at);
  };

  const load = (): Expr => {
    const at = t.peek();
    const src = Number(t.next().text);
    const index: Expr[] = [];
    let guard: Expr | undefined;
    let pad: Term | undefined;
    t.expect('[');
    if (!t.is(']') && !t.is('if') && !t.is('else')) {
      do index.push(expr('i32'));
      while (t.take(','));
    }
    if (t.take('if')) guard = expr('i1');
    if (t.take('else')) pad = sum();
    t.expect(']');
    const own = t.takeTouching(':') ? parseLaneType(t) : { dtype: s.env.slot(src), lanes: 1 };
    const { dtype, lanes } = own;
    if (!dtype) return t.fail(`there is no operand $${src}`, at);
    const e: LoadExpr = { k: 'load', src, index, guard, pad: pad && settle(pad, dtype), dtype, lanes };
    return e;
  };

  const call = (name: string, at: Token): Expr => {
    if (name === 'dim') {
      t.expect('(');
      const d = parseDim(t, s.syms);
      t.expect(')');
      return dimExpr(d);
    }
    const args = t.list('(', sum, ')');
    if (name === 'select') return selection(args, at);
    if (isDType(name)) {
      const [arg] = args;
      if (!arg || args.length > 1) return t.fail(`${name}(…) converts one value`, at);
      const x = settle(arg, 'i32');
      return { k: 'cast', arg: x, dtype: name, lanes: x.lanes };
    }
    return isScalarOp(name) ? operation(name, args, at) : t.fail(`there is no operation ${name}`, at);
  };

  const selection = (args: readonly Term[], at: Token): Expr => {
    const [c, x, y] = args;
    if (!c || !x || !y || args.length > 3) return t.fail('select takes a condition and two values', at);
    const cond = settle(c, 'i1');
    const [a, b] = settleAll([x, y]) as [Expr, Expr];
    if (cond.dtype !== 'i1' || a.dtype !== b.dtype)
      return t.fail(`select of ${cond.dtype}, ${a.dtype} and ${b.dtype}`, at);
    return { k: 'select', cond, a, b, dtype: a.dtype, lanes: Math.max(cond.lanes, a.lanes, b.lanes) };
  };

  const vectorOrBits = (name: string, at: Token): Expr => {
    t.expect('<');
    const { dtype, lanes } = parseLaneType(t);
    const lane = t.take(',') ? t.integer('a lane') : 0;
    t.expect('>');
    const args = t.list('(', () => expr('i32'), ')');
    const [arg] = args;
    if (name === 'splat' || name === 'extract' || name === 'iota') {
      if (args.length > 1 || (!arg && name !== 'iota')) return t.fail(`${name} takes one value`, at);
      return { k: 'vec', op: name satisfies VectorOp, args, lane, dtype, lanes };
    }
    if (name === 'zip') {
      if (args.length !== 2 || lane > 1) return t.fail('zip takes two vectors, of which it has half 0 or 1', at);
      return { k: 'vec', op: name, args, lane, dtype, lanes };
    }
    if (name === 'evens') {
      if (args.length !== 2) return t.fail('evens takes two vectors', at);
      return { k: 'vec', op: name, args, lane, dtype, lanes };
    }
    if (name === 'dot') {
      if (args.length !== 3) return t.fail('dot takes a sum and two vectors', at);
      return { k: 'vec', op: name, args, lane, dtype, lanes };
    }
    if (name !== 'bitcast' || !arg || args.length > 1) return t.fail(`there is no operation ${name}`, at);
    if (DTYPE_INFO[arg.dtype].bits !== DTYPE_INFO[dtype].bits)
      return t.fail(`${arg.dtype} has not the width of ${dtype}`, at);
    return bitcast(arg, dtype);
  };

  return { expr, temporaries };
}

function literal(t: Tokens, x: Pending, dtype: DType): Expr {
  if (dtype === 'string' || dtype === 'i1') return t.fail(`${x.text} is not a value of type ${dtype}`, x.at);
  const value = x.text.endsWith('nan') ? Number.NaN : Number(x.text.replace('inf', 'Infinity'));
  if (isInteger(dtype) && !/^-?\d+$/.test(x.text)) return t.fail(`${x.text} is not a whole number`, x.at);
  if (dtype === 'i64' || dtype === 'u64') return constant(BigInt(x.text), dtype);
  return constant(dtype === 'f32' ? Math.fround(value) : value, dtype);
}
