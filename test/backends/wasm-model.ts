// Scalar arithmetic by the book, for tests: integers as BigInt wrapped to their width, f32 by rounding each f64 result.
// NaN has one identity here; signed zeros are kept apart.

import type { PrimitiveOp } from '../../src/ir/scalar.js';
import { tensor } from './program-builder.js';
import type { Tensor } from '../../src/support/tensor.js';

export type NumberType = 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32' | 'i64' | 'u64' | 'f32' | 'f64';
export type Value = number | bigint;

export const bitsOf = (t: NumberType): number => Number(t.slice(1));
export const isFloatType = (t: NumberType): t is 'f32' | 'f64' => t.startsWith('f');

export const wrap = (t: NumberType, v: bigint): bigint =>
  t.startsWith('u') ? BigInt.asUintN(bitsOf(t), v) : BigInt.asIntN(bitsOf(t), v);

function halfToEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  const rounded = rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
  return rounded === 0 && (x < 0 || Object.is(x, -0)) ? -0 : rounded;
}

const FLOAT: Partial<Record<PrimitiveOp, (a: number, b: number) => number | boolean>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  neg: (a) => -a,
  abs: Math.abs,
  floor: Math.floor,
  ceil: Math.ceil,
  trunc: Math.trunc,
  rint: (a) => (Number.isFinite(a) ? halfToEven(a) : a),
  sqrt: Math.sqrt,
  eq: (a, b) => a === b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
};

const pick = (first: boolean, a: bigint, b: bigint): bigint => (first ? a : b);
const count = (bits: string, digit: string): bigint => BigInt([...bits].filter((c) => c === digit).length);

const INTEGER: Partial<Record<PrimitiveOp, (a: bigint, b: bigint, t: NumberType) => bigint | boolean>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  rem: (a, b) => a % b,
  min: (a, b) => pick(a < b, a, b),
  max: (a, b) => pick(a > b, a, b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b, t) => a << (b & BigInt(bitsOf(t) - 1)),
  shr_s: (a, b, t) => BigInt.asIntN(bitsOf(t), a) >> (b & BigInt(bitsOf(t) - 1)),
  shr_u: (a, b, t) => BigInt.asUintN(bitsOf(t), a) >> (b & BigInt(bitsOf(t) - 1)),
  neg: (a) => -a,
  abs: (a) => (a < 0n ? -a : a),
  eq: (a, b) => a === b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  mulhi_u: (a, b, t) => (BigInt.asUintN(bitsOf(t), a) * BigInt.asUintN(bitsOf(t), b)) >> BigInt(bitsOf(t)),
  mulhi_s: (a, b, t) => (BigInt.asIntN(bitsOf(t), a) * BigInt.asIntN(bitsOf(t), b)) >> BigInt(bitsOf(t)),
  clz: (a, _, t) => {
    const v = BigInt.asUintN(bitsOf(t), a);
    return BigInt(bitsOf(t) - (v === 0n ? 0 : v.toString(2).length));
  },
  popcnt: (a, _, t) => count(BigInt.asUintN(bitsOf(t), a).toString(2), '1'),
};

export const isDefined = (op: PrimitiveOp, t: NumberType): boolean =>
  (isFloatType(t) ? FLOAT : INTEGER)[op] !== undefined;

/** What `op` gives; comparisons as 0 and 1. */
export function evaluate(op: PrimitiveOp, t: NumberType, a: Value, b: Value): Value {
  if (isFloatType(t)) {
    const v = FLOAT[op]?.(Number(a), Number(b)) ?? Number.NaN;
    return typeof v === 'boolean' ? Number(v) : t === 'f32' ? Math.fround(v) : v;
  }
  const v = INTEGER[op]?.(BigInt(a), BigInt(b), t) ?? 0n;
  return typeof v === 'boolean' ? Number(v) : wrap(t, v);
}

/** What a cast gives: float to integer truncates and saturates, NaN is 0; integer to integer wraps. */
export function convert(from: NumberType, to: NumberType, v: Value): Value {
  if (isFloatType(to)) {
    if (typeof v === 'number') return to === 'f32' ? Math.fround(v) : v;
    return to === 'f32' ? roundToF32(v) : Number(v);
  }
  if (!isFloatType(from)) return wrap(to, BigInt(v));
  const x = Number(v);
  if (Number.isNaN(x)) return 0n;
  const bits = BigInt(bitsOf(to));
  const [lo, hi] = to.startsWith('u') ? [0n, (1n << bits) - 1n] : [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
  if (!Number.isFinite(x)) return x < 0 ? lo : hi;
  const whole = BigInt(Math.trunc(x));
  return whole < lo ? lo : whole > hi ? hi : whole;
}

/** An integer to the nearest f32, ties to even, without rounding twice. */
function roundToF32(v: bigint): number {
  const magnitude = v < 0n ? -v : v;
  const excess = BigInt(Math.max(0, magnitude.toString(2).length - 24));
  const kept = magnitude >> excess;
  const rest = magnitude - (kept << excess);
  const half = excess > 0n ? 1n << (excess - 1n) : 1n;
  const up = rest > half || (rest === half && (kept & 1n) === 1n);
  return Number((kept + (up ? 1n : 0n)) << excess) * (v < 0n ? -1 : 1);
}

const FLOAT_EDGES = [
  0,
  -0,
  0.5,
  -0.5,
  1.5,
  -1.5,
  2.5,
  1,
  -1,
  1e-40,
  -1e-40,
  8388607.5,
  8388609,
  2147483520,
  2147483648,
  -2147483904,
  4294967296,
  9.3e18,
  -9.3e18,
  1.9e19,
  3e38,
  -3e38,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];

const INTEGER_EDGES = [0n, 1n, -1n, 2n, 7n, -7n, 255n, 65537n, 16777217n, -9007199254740993n];

/** Deterministic numbers in [0, 1). */
export function random(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}

/** `n` values of a type: its edges first, the rest random in bits. */
export function samples(t: NumberType, n: number, seed: number): Value[] {
  const next = random(seed);
  const bits = BigInt(bitsOf(t));
  const edges: Value[] = isFloatType(t)
    ? FLOAT_EDGES
    : [...INTEGER_EDGES, (1n << bits) - 1n, 1n << (bits - 1n), (1n << (bits - 1n)) - 1n].map((v) => wrap(t, v));
  const one = (): Value => {
    if (isFloatType(t)) return (next() - 0.5) * 2 ** Math.floor(next() * 80 - 40);
    const raw = (BigInt(Math.floor(next() * 2 ** 32)) << 32n) | BigInt(Math.floor(next() * 2 ** 32));
    return wrap(t, raw >> BigInt(Math.floor(next() * (64 - Number(bits) + 1))));
  };
  const rounded = (v: Value): Value => (t === 'f32' ? Math.fround(Number(v)) : v);
  return Array.from({ length: n }, (_, i) => rounded(edges[i] ?? one()));
}

/** Every edge against every edge, then random pairs, up to `n`. */
export function pairs(t: NumberType, n: number, seed: number): [Value[], Value[]] {
  const edges = samples(t, isFloatType(t) ? FLOAT_EDGES.length : INTEGER_EDGES.length + 3, seed);
  const a = edges.flatMap((x) => edges.map(() => x));
  const b = edges.flatMap(() => edges);
  const tail = n - a.length;
  return [
    [...a, ...samples(t, tail + edges.length, seed + 1).slice(edges.length)],
    [...b, ...samples(t, tail + edges.length, seed + 2).slice(edges.length)],
  ];
}

export const tensorOf = (t: NumberType, values: readonly Value[]): Tensor =>
  tensor(
    t,
    [values.length],
    values.map((v) => (bitsOf(t) === 64 && !isFloatType(t) ? BigInt(v) : Number(v))),
  );
