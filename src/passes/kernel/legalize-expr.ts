// Expressions in the types backends compute with. Narrow integers are carried in i32 and always in range, narrow floats
// in f32 and always a value of their format; what undoes that within an operation is undone again right after it.
// The tables of one legalizer remember which nodes only wrapped or rounded, so that stores can skip the step.

import { bounds } from '../../ir/dim.js';
import { expandMacro } from '../../ir/macros.js';
import {
  bitcast,
  cast,
  type ConstExpr,
  constant,
  type Expr,
  i32,
  isPrimitive,
  type LoadExpr,
  load,
  rawOp,
  rewriteExpr,
  type ScalarOp,
  select,
} from '../../ir/scalar.js';
import { DTYPE_INFO, type DType, isFloat } from '../../support/dtype.js';
import { decodeFloat, encodeFloat, isNarrowFloat, type NarrowFloat } from '../../support/float.js';
import { expandDim } from './legalize-dim.js';
import { decodeNarrow, encodeNarrow, roundNarrow } from './legalize-float.js';
import { isNarrowInt, LOW_BITS, narrowOp, rangeOfType, totalDivision, wrapNarrow } from './legalize-int.js';
import { createRangeScope, isWithin, type Range, rangeOf, type RangeScope } from './value-range.js';

export interface ExprLegalizer {
  /** The expression on its carrier type. */
  readonly expr: (e: Expr) => Expr;
  /** The value of an already legal expression of model type `t`, as what a buffer of that type stores. */
  readonly stored: (legal: Expr, t: DType) => Expr;
  readonly rangeOf: (legal: Expr) => Range;
  /** States the range of a variable before expressions that read it come. Copies of a loop may declare it again. */
  readonly declare: (name: string, range: Range) => void;
}

/** The type a value of type `t` is computed in. */
export const carrierOf = (t: DType): DType => (isNarrowInt(t) ? 'i32' : isNarrowFloat(t) ? 'f32' : t);

/** The type a buffer of type `t` becomes. */
export function storageOf(t: DType): DType {
  const { kind, bits, bytes } = DTYPE_INFO[t];
  if (kind === 'bool') return 'u8';
  if (isNarrowFloat(t)) return bytes === 2 ? 'u16' : 'u8';
  return bits < 8 ? (kind === 'int' ? 'i8' : 'u8') : t;
}

const asOperand = (t: DType): DType => (DTYPE_INFO[storageOf(t)].bits < 32 ? 'i32' : t);

/** Float operations whose result is a value of the operands' format. */
const KEEPS_FORMAT = new Set<ScalarOp>([
  'min',
  'max',
  'neg',
  'abs',
  'floor',
  'ceil',
  'trunc',
  'rint',
  'round',
  'rem',
  'fmod',
]);
const IDENTITY_OF_INTEGERS = new Set<ScalarOp>(['floor', 'ceil', 'trunc', 'rint', 'round']);
const UNSIGNED_IDENTITY = new Set<ScalarOp>(['abs']);

interface State {
  readonly bufferType: (slot: number) => DType | undefined;
  readonly ranges: RangeScope;
  readonly memo: Map<Expr, Expr>;
  /** Wrapped → what was wrapped; rounded → what was rounded; decoded → the bit pattern. */
  readonly unwrapped: Map<Expr, Expr>;
  readonly unrounded: Map<Expr, { readonly kind: NarrowFloat; readonly raw: Expr }>;
  readonly patterns: Map<Expr, { readonly kind: NarrowFloat; readonly bits: Expr }>;
}

/** `bufferType` gives a slot's element type as the kernel declares it, before legalization. */
export function createExprLegalizer(bufferType: (slot: number) => DType | undefined): ExprLegalizer {
  const s: State = {
    bufferType,
    ranges: createRangeScope(bufferType),
    memo: new Map(),
    unwrapped: new Map(),
    unrounded: new Map(),
    patterns: new Map(),
  };
  return {
    expr: (e) => legal(s, e),
    stored: (e, t) => toStorage(s, e, t),
    rangeOf: (e) => rangeOf(e, s.ranges),
    declare: (name, range) => declare(s, name, range),
  };
}

/** What was concluded from another range of the same name is forgotten. */
function declare(s: State, name: string, range: Range): void {
  const old = s.ranges.vars.get(name);
  s.ranges.vars.set(name, range);
  if (!old || (old.lo === range.lo && old.hi === range.hi)) return;
  s.memo.clear();
  s.ranges.memo.clear();
}

function legal(s: State, e: Expr): Expr {
  const known = s.memo.get(e);
  if (known) return known;
  const out = legalizeNode(s, e);
  s.memo.set(e, out);
  return out;
}

function legalizeNode(s: State, e: Expr): Expr {
  switch (e.k) {
    case 'const':
      return legalizeConst(e);
    case 'var':
      return { ...e, dtype: carrierOf(e.dtype) };
    case 'dim':
      return legalizeDim(s, e);
    case 'load':
      return legalizeLoad(s, e);
    case 'op':
      return legalizeOp(s, e);
    case 'cast':
      return convert(s, legal(s, e.arg), e.arg.dtype, e.dtype);
    case 'bitcast':
      return reinterpret(s, legal(s, e.arg), e.arg.dtype, e.dtype);
    case 'select':
      return select(legal(s, e.cond), legal(s, e.a), legal(s, e.b));
    case 'vec':
      return { ...e, args: e.args.map((a) => legal(s, a)), dtype: carrierOf(e.dtype) };
  }
}

function legalizeConst(e: ConstExpr): Expr {
  if (isNarrowFloat(e.dtype)) return constant(decodeFloat(e.dtype, encodeFloat(e.dtype, Number(e.value))), 'f32');
  if (e.dtype === 'f32') return constant(Math.fround(Number(e.value)), 'f32');
  if (!isNarrowInt(e.dtype)) return e;
  const { kind, bits } = DTYPE_INFO[e.dtype];
  const value = BigInt(Math.trunc(Number(e.value)));
  return i32(Number(kind === 'int' ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)));
}

function legalizeDim(s: State, e: Expr & { k: 'dim' }): Expr {
  const out = expandDim(e.dim);
  const [lo, hi] = bounds(e.dim);
  s.ranges.memo.set(out, { lo, hi });
  return guardDivisions(s, out, new Map());
}

/** Loads of narrow storage yield i32; floats and booleans are made from the pattern, once for value and pad. */
function legalizeLoad(s: State, e: LoadExpr): Expr {
  const index = e.index.map((i) => legal(s, i));
  const guard = e.guard && legal(s, e.guard);
  const pad = e.pad && legal(s, e.pad);
  const type = s.bufferType(e.src) ?? e.dtype;
  const operand = asOperand(type);
  const read = (padding: Expr | undefined): LoadExpr =>
    load(e.src, index, operand, { guard, pad: padding, lanes: e.lanes });
  if (isNarrowFloat(type)) {
    const pattern = pad && patternOf(s, pad, type);
    if (!pattern && pad && guard) return select(guard, decoded(s, type, read(i32(0))), pad);
    return decoded(s, type, read(pattern ?? (guard && i32(0))));
  }
  if (type === 'i1') return rawOp('xor', rawOp('eq', read(pad && cast(pad, 'i32')), i32(0)), constant(1, 'i1'));
  return read(pad);
}

function decoded(s: State, kind: NarrowFloat, bits: Expr): Expr {
  const value = decodeNarrow(kind, bits);
  s.patterns.set(value, { kind, bits });
  return value;
}

/** The bit pattern of a value of format `kind` where it is at hand, else null. */
function patternOf(s: State, e: Expr, kind: NarrowFloat): Expr | null {
  if (e.k === 'const') return i32(encodeFloat(kind, Number(e.value)));
  const known = s.patterns.get(e);
  if (known?.kind === kind) return known.bits;
  if (e.k !== 'select') return null;
  const a = patternOf(s, e.a, kind);
  const b = a && patternOf(s, e.b, kind);
  return a && b && select(e.cond, a, b);
}

function legalizeOp(s: State, e: Expr & { k: 'op' }): Expr {
  const args = e.args.map((a) => legal(s, a));
  const type = e.args[0]?.dtype ?? e.dtype;
  if (type === 'i1') return logic(s, e.op, args);
  if (isFloat(type)) return floatOp(s, e, type, args);
  return integerOp(s, e, type, args);
}

/** Arithmetic of booleans is logic. */
function logic(s: State, name: ScalarOp, args: readonly Expr[]): Expr {
  const [a, b = a] = args as [Expr, Expr];
  const yes = constant(1, 'i1');
  if (name === 'mul' || name === 'min') return rawOp('and', a, b);
  if (name === 'add' || name === 'max') return rawOp('or', a, b);
  if (name === 'sub') return rawOp('xor', a, b);
  if (name === 'eq') return rawOp('xor', rawOp('xor', a, b), yes);
  if (name === 'ne') return rawOp('xor', a, b);
  if (name === 'lt' || name === 'gt')
    return logic(s, 'and', name === 'lt' ? [logic(s, 'not', [a]), b] : [a, logic(s, 'not', [b])]);
  if (name === 'le' || name === 'ge')
    return logic(s, 'or', name === 'le' ? [logic(s, 'not', [a]), b] : [a, logic(s, 'not', [b])]);
  if (name === 'neg' || name === 'abs' || name === 'sign') return a;
  return isPrimitive(name) ? rawOp(name, ...args) : expandMacro(name, args, 'i1');
}

function floatOp(s: State, e: Expr & { k: 'op' }, type: DType, args: readonly Expr[]): Expr {
  const carrier = carrierOf(type);
  const name = e.op === 'rem' ? 'fmod' : e.op;
  const value = isPrimitive(name) ? rawOp(name, ...args) : expandMacro(name, args, carrier);
  if (!isNarrowFloat(type) || value.dtype === 'i1' || KEEPS_FORMAT.has(e.op)) return value;
  return rounded(s, value, type);
}

function rounded(s: State, raw: Expr, kind: NarrowFloat): Expr {
  if (raw.k === 'const') return constant(decodeFloat(kind, encodeFloat(kind, Number(raw.value))), 'f32');
  if (s.patterns.get(raw)?.kind === kind) return raw;
  const value = roundNarrow(kind, raw);
  s.unrounded.set(value, { kind, raw });
  return value;
}

function integerOp(s: State, e: Expr & { k: 'op' }, type: DType, args: readonly Expr[]): Expr {
  const [first] = args as [Expr];
  if (IDENTITY_OF_INTEGERS.has(e.op)) return first;
  if (UNSIGNED_IDENTITY.has(e.op) && DTYPE_INFO[type].kind === 'uint') return first;
  const narrow = isNarrowInt(type);
  const operands = narrow && LOW_BITS.has(e.op) ? args.map((a) => s.unwrapped.get(a) ?? a) : args;
  const carrier = carrierOf(type);
  const plain = naturalDivision(s, e.op, args);
  let value: Expr;
  if (plain) value = plain;
  else if (!isPrimitive(e.op))
    value = guardDivisions(s, expandMacro(e.op, operands, carrier), new Map(args.map((a) => [a, a])));
  else if (narrow) value = guarded(s, narrowOp(e.op, operands, type));
  else value = guarded(s, rawOp(e.op, ...operands));
  return narrow && value.dtype === 'i32' ? wrapped(s, value, type) : value;
}

/** floordiv and floormod of i32 operands that cannot be negative. */
function naturalDivision(s: State, name: ScalarOp, args: readonly Expr[]): Expr | null {
  const [a, b] = args;
  if ((name !== 'floordiv' && name !== 'floormod') || a?.dtype !== 'i32' || !b) return null;
  if (rangeOf(a, s.ranges).lo < 0 || rangeOf(b, s.ranges).lo < 0) return null;
  return guarded(s, rawOp(name === 'floordiv' ? 'div' : 'rem', a, b));
}

function wrapped(s: State, raw: Expr, type: DType): Expr {
  if (isWithin(rangeOf(raw, s.ranges), rangeOfType(type))) return raw;
  const value = wrapNarrow(raw, type);
  s.unwrapped.set(value, raw);
  return value;
}

/** Replaces a division that has undefined operands by a total one. */
function guarded(s: State, e: Expr): Expr {
  if (e.k !== 'op' || (e.op !== 'div' && e.op !== 'rem') || isFloat(e.dtype)) return e;
  const [a, b] = e.args as [Expr, Expr];
  return totalDivision(e.op, a, b, rangeOf(b, s.ranges));
}

/** The same within an expansion; `done` holds its operands, which are legal already. */
const guardDivisions = (s: State, e: Expr, done: Map<Expr, Expr>): Expr => rewriteExpr(e, (x) => guarded(s, x), done);

/** Conversion of a legal value from model type `from` to `to`. */
function convert(s: State, x: Expr, from: DType, to: DType): Expr {
  if (from === to) return x;
  const target = carrierOf(to);
  if (to === 'i1') return rawOp('xor', rawOp('eq', x, constant(0, x.dtype)), constant(1, 'i1'));
  if (from === 'i1') return select(x, constant(1, target), constant(0, target));
  if (isNarrowFloat(to)) {
    const single = from === 'f64' ? roundToOdd(x) : cast(x, 'f32');
    return rounded(s, single, to);
  }
  const value = x.dtype === target ? x : cast(x, target);
  return isNarrowInt(to) ? wrapped(s, value, to) : value;
}

/** f64 → f32 such that a second rounding to a narrower format is as good as one: an inexact result gets an odd last bit. */
function roundToOdd(x: Expr): Expr {
  const near = cast(x, 'f32');
  const back = cast(near, 'f64');
  const bits = bitcast(near, 'i32');
  const even = rawOp('eq', rawOp('and', bits, i32(1)), i32(0));
  const outward = rawOp('lt', rawOp('abs', back), rawOp('abs', x));
  const inward = rawOp('lt', rawOp('abs', x), rawOp('abs', back));
  const step = select(outward, i32(1), select(inward, i32(-1), i32(0)));
  return select(even, bitcast(rawOp('add', bits, step), 'f32'), near);
}

/** Bit reinterpretation; narrow types go through their patterns. */
function reinterpret(s: State, x: Expr, from: DType, to: DType): Expr {
  if (from === to) return x;
  const bits = isNarrowFloat(from) ? toStorage(s, x, from) : x;
  if (isNarrowFloat(to)) return decoded(s, to, unsigned(bits, to));
  if (isNarrowInt(to)) return isWithin(rangeOf(bits, s.ranges), rangeOfType(to)) ? bits : wrapNarrow(bits, to);
  return bitcast(bits, to);
}

const unsigned = (bits: Expr, t: DType): Expr => rawOp('and', bits, i32(2 ** DTYPE_INFO[t].bits - 1));

function toStorage(s: State, e: Expr, t: DType): Expr {
  if (t === 'i1') return select(e, i32(1), i32(0));
  if (isNarrowFloat(t)) return patternOf(s, e, t) ?? encodeNarrow(t, rawOf(s, e, t));
  return DTYPE_INFO[t].bits >= 8 ? (s.unwrapped.get(e) ?? e) : e;
}

/** What was rounded to `kind` to give `e`, if that is all `e` is. */
function rawOf(s: State, e: Expr, kind: NarrowFloat): Expr {
  const known = s.unrounded.get(e);
  return known?.kind === kind ? known.raw : e;
}
