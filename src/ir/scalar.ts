// The one scalar expression language: generic bodies, index expressions and kernels all use it.
// Expressions are immutable trees (shared nodes allowed) with a type each; `lanes` > 1 is a SIMD vector.
// PRIMITIVES are what a backend must spell; MACROS are defined over them in macros.ts.

import { DTYPE_INFO, type DType, isFloat } from '../support/dtype.js';
import { invariant } from '../support/errors.js';
import { type Dim, dimKey } from './dim.js';

export const PRIMITIVES = {
  add: 2,
  sub: 2,
  mul: 2,
  div: 2, // integers: truncating; x/0 and MIN/-1 are undefined (legalize guards them)
  rem: 2, // sign of the dividend, as in C
  min: 2, // floats: NaN if either is
  max: 2,
  and: 2, // i1 and integers
  or: 2,
  xor: 2,
  shl: 2,
  shr_s: 2,
  shr_u: 2,
  neg: 1,
  abs: 1,
  floor: 1,
  ceil: 1,
  trunc: 1,
  rint: 1, // half to even
  sqrt: 1,
  eq: 2,
  lt: 2,
  le: 2,
  mulhi_u: 2, // high half of the product
  mulhi_s: 2,
  clz: 1,
  popcnt: 1,
} as const;

export const MACROS = {
  ne: 2,
  gt: 2,
  ge: 2,
  not: 1,
  floordiv: 2,
  floormod: 2,
  fmod: 2, // floats: C fmod
  sign: 1,
  round: 1, // half away from zero
  is_nan: 1,
  is_inf: 1,
  exp: 1,
  exp2: 1,
  expm1: 1,
  log: 1,
  log2: 1,
  log10: 1,
  log1p: 1,
  pow: 2,
  sin: 1,
  cos: 1,
  tan: 1,
  asin: 1,
  acos: 1,
  atan: 1,
  atan2: 2,
  sinh: 1,
  cosh: 1,
  tanh: 1,
  asinh: 1,
  acosh: 1,
  atanh: 1,
  erf: 1,
  sigmoid: 1,
  rsqrt: 1,
  fast_exp: 1, // f32 for fast numerics: a few ulp, no subnormal results
  fast_erf: 1,
  fast_tanh: 1,
  fast_sigmoid: 1,
} as const;

export type PrimitiveOp = keyof typeof PRIMITIVES;
export type MacroOp = keyof typeof MACROS;
export type ScalarOp = PrimitiveOp | MacroOp;
export const isPrimitive = (op: ScalarOp): op is PrimitiveOp => op in PRIMITIVES;

/** Vector-only operations, made by the vectoriser and the micro-kernels. `lane` selects in `extract`. `splat` repeats a
 *  scalar, or a short vector as a group. `dot(acc, a, b)`: each i32 lane plus the products of its group of narrow lanes,
 *  acc[j] + Σ a[g·j+t]·b[g·j+t] for t < g, wrapping; i16 × i16 with g = 2, u8 × i8 with g = 4. `evens(a, b)`: every other
 *  one of 2n − 1 elements of which a has the first n and b the last: a[0], a[2], …, then b[1], b[3], …; n is even. */
export type VectorOp = 'splat' | 'extract' | 'iota' | 'dot' | 'zip' | 'evens';

export type Expr =
  | ConstExpr
  | { readonly k: 'var'; readonly name: string; readonly dtype: DType; readonly lanes: number }
  | { readonly k: 'dim'; readonly dim: Dim; readonly dtype: 'i32'; readonly lanes: 1 }
  | LoadExpr
  | {
      readonly k: 'op';
      readonly op: ScalarOp;
      readonly args: readonly Expr[];
      readonly dtype: DType;
      readonly lanes: number;
    }
  | {
      readonly k: 'vec';
      readonly op: VectorOp;
      readonly args: readonly Expr[];
      readonly lane: number;
      readonly dtype: DType;
      readonly lanes: number;
    }
  /** Both arms are evaluated; use a guarded load where an index may be out of range. */
  | {
      readonly k: 'select';
      readonly cond: Expr;
      readonly a: Expr;
      readonly b: Expr;
      readonly dtype: DType;
      readonly lanes: number;
    }
  /** Value conversion. float→int truncates toward zero and saturates, NaN → 0; int→narrower int wraps; →i1 is ≠ 0. */
  | { readonly k: 'cast'; readonly arg: Expr; readonly dtype: DType; readonly lanes: number }
  | { readonly k: 'bitcast'; readonly arg: Expr; readonly dtype: DType; readonly lanes: number };

export interface ConstExpr {
  readonly k: 'const';
  readonly dtype: DType;
  /** bigint exactly for i64 and u64, 0/1 for i1. */
  readonly value: number | bigint;
  readonly lanes: 1;
}

/** Reads `src` (operand slot of a generic, buffer slot of a kernel) at `index`: one i32 per axis at tensor level,
 *  one flat element offset at kernel level. With `guard`, yields `pad` and reads nothing where the guard is false.
 *  At tensor level a `pad` without a `guard` means: guarded by "every index is in range". */
export interface LoadExpr {
  readonly k: 'load';
  readonly src: number;
  readonly index: readonly Expr[];
  readonly guard?: Expr | undefined;
  readonly pad?: Expr | undefined;
  readonly dtype: DType;
  readonly lanes: number;
}

const COMPARE = new Set<ScalarOp>(['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'is_nan', 'is_inf']);

export function constant(value: number | bigint | boolean, dtype: DType): ConstExpr {
  const wide = dtype === 'i64' || dtype === 'u64';
  const n = typeof value === 'boolean' ? Number(value) : value;
  return { k: 'const', dtype, value: wide ? BigInt(n) : Number(n), lanes: 1 };
}

export const i32 = (value: number): ConstExpr => constant(value, 'i32');
export const variable = (name: string, dtype: DType, lanes = 1): Expr => ({ k: 'var', name, dtype, lanes });
export const dimExpr = (dim: Dim): Expr =>
  typeof dim === 'number' ? i32(dim) : { k: 'dim', dim, dtype: 'i32', lanes: 1 };

export function load(
  src: number,
  index: readonly Expr[],
  dtype: DType,
  more: { guard?: Expr | undefined; pad?: Expr | undefined; lanes?: number } = {},
): LoadExpr {
  return { k: 'load', src, index, guard: more.guard, pad: more.pad, dtype, lanes: more.lanes ?? 1 };
}

const lanesOf = (args: readonly Expr[]): number => Math.max(1, ...args.map((a) => a.lanes));

/** An operation without simplification. Result type: i1 for comparisons, else the first argument's. */
export function rawOp(op: ScalarOp, ...args: Expr[]): Expr {
  const first = args[0];
  invariant(first !== undefined, `${op} without arguments`);
  for (const a of args)
    invariant(a.dtype === first.dtype, `${op} of ${args.map((x) => x.dtype).join(' and ')}: types must be equal`);
  return { k: 'op', op, args, dtype: COMPARE.has(op) ? 'i1' : first.dtype, lanes: lanesOf(args) };
}

const isInt32 = (e: Expr): boolean => e.dtype === 'i32';
const num = (e: Expr): number | null => (e.k === 'const' && typeof e.value === 'number' ? e.value : null);

/** An operation; i32 index arithmetic is folded on the way (constants, x+0, x·1, x·0, x/1). */
export function op(name: ScalarOp, ...args: Expr[]): Expr {
  const [a, b] = args;
  if (a && b && isInt32(a) && isInt32(b) && a.lanes === 1 && b.lanes === 1) {
    const folded = foldIndex(name, a, b);
    if (folded) return folded;
  }
  return rawOp(name, ...args);
}

function foldIndex(name: ScalarOp, a: Expr, b: Expr): Expr | null {
  const x = num(a);
  const y = num(b);
  if (x !== null && y !== null) {
    if (name === 'add') return i32((x + y) | 0);
    if (name === 'sub') return i32((x - y) | 0);
    if (name === 'mul') return i32(Math.imul(x, y));
    if (name === 'div' && y > 0) return i32(Math.trunc(x / y));
    if (name === 'rem' && y > 0) return i32(x % y);
    if (name === 'min') return i32(Math.min(x, y));
    if (name === 'max') return i32(Math.max(x, y));
    if (name === 'lt') return constant(x < y, 'i1');
    if (name === 'le') return constant(x <= y, 'i1');
    if (name === 'eq') return constant(x === y, 'i1');
  }
  if (name === 'add') return x === 0 ? b : y === 0 ? a : null;
  if (name === 'sub') return y === 0 ? a : null;
  if (name === 'mul') return x === 1 ? b : y === 1 ? a : x === 0 || y === 0 ? i32(0) : null;
  if (name === 'div') return y === 1 ? a : x === 0 ? i32(0) : null;
  if (name === 'rem') return y === 1 ? i32(0) : null;
  return null;
}

export const select = (cond: Expr, a: Expr, b: Expr): Expr => {
  invariant(a.dtype === b.dtype, `select of ${a.dtype} and ${b.dtype}`);
  invariant(cond.dtype === 'i1', `select on ${cond.dtype}`);
  if (cond.k === 'const') return cond.value ? a : b;
  return { k: 'select', cond, a, b, dtype: a.dtype, lanes: lanesOf([cond, a, b]) };
};

export function cast(arg: Expr, dtype: DType): Expr {
  if (arg.dtype === dtype) return arg;
  if (arg.k === 'const' && (dtype === 'i32' || dtype === 'i64') && !isFloat(arg.dtype)) {
    const v = BigInt(arg.value);
    return constant(dtype === 'i64' ? BigInt.asIntN(64, v) : BigInt.asIntN(32, v), dtype);
  }
  return { k: 'cast', arg, dtype, lanes: arg.lanes };
}

export function bitcast(arg: Expr, dtype: DType): Expr {
  invariant(DTYPE_INFO[arg.dtype].bits === DTYPE_INFO[dtype].bits, `bitcast ${arg.dtype} to ${dtype}`);
  return { k: 'bitcast', arg, dtype, lanes: arg.lanes };
}

export const vec = (o: VectorOp, args: readonly Expr[], dtype: DType, lanes: number, lane = 0): Expr => ({
  k: 'vec',
  op: o,
  args,
  lane,
  dtype,
  lanes,
});

/** What is multiplied, products within products taken apart; the expression itself where it is no product. */
export const factorsOf = (x: Expr): readonly Expr[] =>
  x.k === 'op' && x.op === 'mul' ? x.args.flatMap(factorsOf) : [x];

/** Direct sub-expressions. */
export function children(e: Expr): readonly Expr[] {
  switch (e.k) {
    case 'const':
    case 'var':
    case 'dim':
      return [];
    case 'load':
      return [...e.index, ...(e.guard ? [e.guard] : []), ...(e.pad ? [e.pad] : [])];
    case 'op':
    case 'vec':
      return e.args;
    case 'select':
      return [e.cond, e.a, e.b];
    case 'cast':
    case 'bitcast':
      return [e.arg];
  }
}

/** Rebuilds `e` with `f` applied to each direct sub-expression; `e` itself where nothing changed. */
export function mapChildren(e: Expr, f: (e: Expr) => Expr): Expr {
  switch (e.k) {
    case 'const':
    case 'var':
    case 'dim':
      return e;
    case 'load': {
      const index = e.index.map(f);
      const guard = e.guard && f(e.guard);
      const pad = e.pad && f(e.pad);
      const same = guard === e.guard && pad === e.pad && index.every((x, i) => x === e.index[i]);
      return same ? e : { ...e, index, guard, pad };
    }
    case 'op': {
      const args = e.args.map(f);
      return args.every((x, i) => x === e.args[i]) ? e : op(e.op, ...args);
    }
    case 'vec': {
      const args = e.args.map(f);
      return args.every((x, i) => x === e.args[i]) ? e : { ...e, args };
    }
    case 'select': {
      const [c, a, b] = [f(e.cond), f(e.a), f(e.b)];
      return c === e.cond && a === e.a && b === e.b ? e : select(c, a, b);
    }
    case 'cast': {
      const arg = f(e.arg);
      return arg === e.arg ? e : cast(arg, e.dtype);
    }
    case 'bitcast': {
      const arg = f(e.arg);
      return arg === e.arg ? e : bitcast(arg, e.dtype);
    }
  }
}

/** Bottom-up rewrite, each shared node once. `f` sees a node whose children are already rewritten. */
export function rewriteExpr(e: Expr, f: (e: Expr) => Expr, memo: Map<Expr, Expr> = new Map()): Expr {
  const done = memo.get(e);
  if (done) return done;
  const out = f(mapChildren(e, (c) => rewriteExpr(c, f, memo)));
  memo.set(e, out);
  return out;
}

/** Replaces variables by name, all at once: what replaces one is not looked at again, though a sum may fold to it. */
export function substituteVars(e: Expr, map: ReadonlyMap<string, Expr>, memo: Map<Expr, Expr> = new Map()): Expr {
  if (e.k === 'var') return map.get(e.name) ?? e;
  const done = memo.get(e);
  if (done) return done;
  const out = mapChildren(e, (c) => substituteVars(c, map, memo));
  memo.set(e, out);
  return out;
}

/** Visits each shared node once. */
export function visitExpr(e: Expr, f: (e: Expr) => void, seen: Set<Expr> = new Set()): void {
  visitWithin(
    e,
    (x) => {
      f(x);
      return true;
    },
    seen,
  );
}

/** The same, below those nodes alone for which `f` says so. */
export function visitWithin(e: Expr, f: (e: Expr) => boolean, seen: Set<Expr> = new Set()): void {
  if (seen.has(e)) return;
  seen.add(e);
  if (f(e)) for (const c of children(e)) visitWithin(c, f, seen);
}

const keys = new WeakMap<Expr, string>();
const numbered = new Map<string, string>();
let nextKey = 0;

/** Past this many the table starts afresh: equal expressions may then get different keys, never the reverse. */
const MAX_KEYS = 1 << 20;

/** A short text equal for equal expressions (a number given to each structure); linear in the shared nodes. */
export function exprKey(e: Expr): string {
  const known = keys.get(e);
  if (known !== undefined) return known;
  const structure = buildKey(e);
  let key = numbered.get(structure);
  if (key === undefined) {
    if (numbered.size > MAX_KEYS) numbered.clear();
    key = `#${nextKey++}`;
    numbered.set(structure, key);
  }
  keys.set(e, key);
  return key;
}

function buildKey(e: Expr): string {
  const t = e.lanes > 1 ? `${e.dtype}x${e.lanes}` : e.dtype;
  switch (e.k) {
    case 'const':
      return `${Object.is(e.value, -0) ? '-0' : e.value}:${t}`;
    case 'var':
      return `${e.name}:${t}`;
    case 'dim':
      return `<${dimKey(e.dim)}>`;
    case 'load':
      return `$${e.src}[${e.index.map(exprKey).join()}]${e.guard ? `?${exprKey(e.guard)}` : ''}${e.pad ? `|${exprKey(e.pad)}` : ''}:${t}`;
    case 'op':
      return `${e.op}(${e.args.map(exprKey).join()})`;
    case 'vec':
      return `${e.op}${e.lane}(${e.args.map(exprKey).join()}):${t}`;
    case 'select':
      return `sel(${exprKey(e.cond)},${exprKey(e.a)},${exprKey(e.b)})`;
    case 'cast':
      return `${t}(${exprKey(e.arg)})`;
    case 'bitcast':
      return `bits.${t}(${exprKey(e.arg)})`;
  }
}
