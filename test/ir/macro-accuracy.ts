// What the accuracy tests and docs/numerics.md are made from: each function's domain, its reference and its bound in ulp.
// A domain is sampled half uniformly over the numbers of the format, half uniformly over the reals.

import { expandMacro } from '../../src/ir/macros.js';
import { type MacroOp, variable } from '../../src/ir/scalar.js';
import { compileExpr } from './scalar-js.js';

export interface AccuracyCase {
  readonly op: MacroOp;
  readonly lo: number;
  readonly hi: number;
  /** Domain of the second argument, if there is one. */
  readonly second?: readonly [number, number];
  /** Bound in units in the last place of the exact result. */
  readonly ulp: number;
  /** Below this magnitude results are judged as if they were this large (near zeros of sin at large arguments). */
  readonly floor?: number;
}

const series = (x: number): number => {
  let term = x;
  let sum = x;
  for (let n = 1; n < 200 && Math.abs(term) > 1e-20 * Math.abs(sum); n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};

function erfcFraction(x: number): number {
  let f = 0;
  for (let n = 60; n >= 1; n--) f = n / 2 / (x + f);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + f);
}

/** In double precision, good to about 1e-15 relative. */
export function erfReference(x: number): number {
  const a = Math.abs(x);
  const value = a < 2.5 ? series(a) : 1 - erfcFraction(a);
  return x < 0 ? -value : value;
}

export const REFERENCE: Partial<Record<MacroOp, (x: number, y: number) => number>> = {
  exp: Math.exp,
  exp2: (x) => 2 ** x,
  expm1: Math.expm1,
  log: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  log1p: Math.log1p,
  pow: (x, y) => x ** y,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  atan2: Math.atan2,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  sinh: Math.sinh,
  cosh: Math.cosh,
  tanh: Math.tanh,
  asinh: Math.asinh,
  acosh: Math.acosh,
  atanh: Math.atanh,
  erf: erfReference,
  fast_exp: Math.exp,
  fast_erf: erfReference,
  fast_tanh: Math.tanh,
  fast_sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  sigmoid: (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))),
  rsqrt: (x) => 1 / Math.sqrt(x),
};

/** Reproducible numbers in [0, 1). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const f32 = new Float32Array(1);
const i32 = new Int32Array(f32.buffer);

/** Position of a float in the ordering of all floats, and back. */
const order = (x: number): number => {
  f32[0] = x;
  const bits = i32[0] as number;
  return bits < 0 ? -(bits & 0x7fffffff) : bits;
};
const ordered = (n: number): number => {
  i32[0] = n < 0 ? -n | 0x80000000 : n;
  return f32[0] as number;
};

export function* samples(lo: number, hi: number, count: number, seed = 1): Generator<number> {
  const random = randomSource(seed);
  const [a, b] = [order(lo), order(hi)];
  for (let i = 0; i < count; i++) {
    const x = i % 2 ? lo + random() * (hi - lo) : ordered(Math.round(a + random() * (b - a)));
    yield Math.fround(Math.min(hi, Math.max(lo, x)));
  }
}

/** Spacing of f32 at |x|. */
export const ulpF32 = (x: number): number =>
  2 ** (Math.max(-126, Math.min(127, Math.floor(Math.log2(Math.abs(x) || 2 ** -149)))) - 23);

export interface Measured {
  readonly ulp: number;
  readonly at: number;
}

/** Largest error over `count` samples. */
export function measureF32(c: AccuracyCase, count: number): Measured {
  const args = c.second ? [variable('x', 'f32'), variable('y', 'f32')] : [variable('x', 'f32')];
  const run = compileExpr(expandMacro(c.op, args, 'f32'), ['x', 'y']);
  const reference = REFERENCE[c.op] as (x: number, y: number) => number;
  const seconds = c.second && samples(c.second[0], c.second[1], count, 2);
  let worst = { ulp: 0, at: 0 };
  for (const x of samples(c.lo, c.hi, count)) {
    const y: number = seconds?.next().value ?? 0;
    const exact = reference(x, y);
    const got = run(x, y) as number;
    if (Object.is(got, exact) || (Math.fround(exact) === got && !Number.isFinite(got))) continue;
    const ulp = Math.abs(got - exact) / ulpF32(Math.max(Math.abs(exact), c.floor ?? 0));
    if (!(ulp <= worst.ulp)) worst = { ulp, at: x };
    if (Number.isNaN(ulp)) break;
  }
  return worst;
}

/** A row of macros-f64.csv: arguments and the exact result as the sum of two doubles, computed with 400 bits. */
export interface Fixture {
  readonly op: MacroOp;
  readonly args: readonly number[];
  readonly exact: readonly [number, number];
}

export const parseFixtures = (text: string): readonly Fixture[] =>
  text
    .trim()
    .split('\n')
    .map((line) => {
      const [op, ...rest] = line.split(',');
      const numbers = rest.map(Number);
      const exact = numbers.splice(-2) as [number, number];
      return { op: op as MacroOp, args: numbers, exact };
    });

/** Largest error of one operation over its fixtures. */
export function measureF64(op: MacroOp, fixtures: readonly Fixture[]): Measured {
  const vars = ['x', 'y'].map((name) => variable(name, 'f64'));
  const own = fixtures.filter((f) => f.op === op);
  const run = compileExpr(expandMacro(op, vars.slice(0, own[0]?.args.length), 'f64'), ['x', 'y']);
  let worst = { ulp: 0, at: 0 };
  for (const { args, exact } of own) {
    const unit = 2 ** (Math.max(-1022, Math.floor(Math.log2(Math.abs(exact[0])))) - 52);
    const ulp = Math.abs((run(...args) as number) - exact[0] - exact[1]) / unit;
    if (!(ulp <= worst.ulp)) worst = { ulp, at: args[0] ?? 0 };
  }
  return worst;
}

const MAX = 3.4028234663852886e38;
const ONE_BELOW = 1 - 2 ** -24;

export const F32_CASES: readonly AccuracyCase[] = [
  { op: 'exp', lo: -110, hi: 89, ulp: 1 },
  { op: 'exp2', lo: -152, hi: 129, ulp: 1.1 },
  { op: 'expm1', lo: -30, hi: 89, ulp: 1.5 },
  { op: 'log', lo: 0, hi: MAX, ulp: 1 },
  { op: 'log', lo: 0.5, hi: 2, ulp: 1 },
  { op: 'log2', lo: 0, hi: MAX, ulp: 1 },
  { op: 'log2', lo: 0.5, hi: 2, ulp: 1 },
  { op: 'log10', lo: 0, hi: MAX, ulp: 1 },
  { op: 'log10', lo: 0.5, hi: 2, ulp: 1 },
  { op: 'log1p', lo: -ONE_BELOW, hi: MAX, ulp: 1 },
  { op: 'log1p', lo: -0.9, hi: 2, ulp: 1 },
  { op: 'pow', lo: 0, hi: 10, second: [-30, 30], ulp: 1.1 },
  { op: 'pow', lo: 0, hi: MAX, second: [-2, 2], ulp: 1.1 },
  { op: 'pow', lo: 0.9, hi: 1.1, second: [-900, 900], ulp: 1.1 },
  { op: 'sin', lo: -100, hi: 100, ulp: 1 },
  { op: 'sin', lo: -1e5, hi: 1e5, ulp: 1, floor: 2 ** -10 },
  { op: 'cos', lo: -100, hi: 100, ulp: 1 },
  { op: 'cos', lo: -1e5, hi: 1e5, ulp: 1, floor: 2 ** -10 },
  { op: 'tan', lo: -100, hi: 100, ulp: 2.5 },
  { op: 'asin', lo: -1, hi: 1, ulp: 1 },
  { op: 'acos', lo: -1, hi: 1, ulp: 1.5 },
  { op: 'atan', lo: -MAX, hi: MAX, ulp: 1.5 },
  { op: 'atan', lo: -8, hi: 8, ulp: 1.5 },
  { op: 'atan2', lo: -8, hi: 8, second: [-8, 8], ulp: 2 },
  { op: 'sinh', lo: -89.4, hi: 89.4, ulp: 2 },
  { op: 'sinh', lo: -2, hi: 2, ulp: 2 },
  { op: 'cosh', lo: -89.4, hi: 89.4, ulp: 1.5 },
  { op: 'tanh', lo: -12, hi: 12, ulp: 1.5 },
  { op: 'asinh', lo: -MAX, hi: MAX, ulp: 2 },
  { op: 'asinh', lo: -4, hi: 4, ulp: 2 },
  { op: 'acosh', lo: 1, hi: MAX, ulp: 2 },
  { op: 'acosh', lo: 1, hi: 4, ulp: 2 },
  { op: 'atanh', lo: -ONE_BELOW, hi: ONE_BELOW, ulp: 2.5 },
  { op: 'erf', lo: -5, hi: 5, ulp: 1.5 },
  { op: 'sigmoid', lo: -104, hi: 20, ulp: 2.5 },
  { op: 'fast_exp', lo: -87, hi: 88, ulp: 2.5 },
  { op: 'fast_erf', lo: -5, hi: 5, ulp: 10.5 },
  { op: 'fast_tanh', lo: -12, hi: 12, ulp: 6.5 },
  { op: 'fast_sigmoid', lo: -87, hi: 20, ulp: 3.5 },
  { op: 'rsqrt', lo: 2 ** -126, hi: MAX, ulp: 1.5 },
];

/** Bounds in f64; domains are those of the fixtures. */
export const F64_BOUNDS: Partial<Record<MacroOp, { readonly ulp: number; readonly domain: string }>> = {
  exp: { ulp: 1, domain: '−745 … 709.7' },
  exp2: { ulp: 1.1, domain: '−1074 … 1023.9' },
  expm1: { ulp: 1.5, domain: '−40 … 709.7' },
  log: { ulp: 1, domain: '5e-321 … 1.7e308' },
  log2: { ulp: 1, domain: '1e-320 … 1.7e308' },
  log10: { ulp: 1, domain: '1e-320 … 1.7e308' },
  log1p: { ulp: 1, domain: '−0.9999 … 1.7e308' },
  pow: { ulp: 1.1, domain: 'results within 1e±304' },
  sin: { ulp: 1, domain: '±1e6' },
  cos: { ulp: 1, domain: '±1e6' },
  tan: { ulp: 2.5, domain: '±1e6' },
  asin: { ulp: 1, domain: '±1' },
  acos: { ulp: 1.5, domain: '±1' },
  atan: { ulp: 1.5, domain: '±1e20' },
  atan2: { ulp: 2, domain: '±1e3' },
  sinh: { ulp: 2, domain: '±710' },
  cosh: { ulp: 1.5, domain: '±710' },
  tanh: { ulp: 1.5, domain: '±20' },
  asinh: { ulp: 2, domain: '±1e300' },
  acosh: { ulp: 2, domain: '1 … 1e300' },
  atanh: { ulp: 2, domain: '±1' },
  erf: { ulp: 1.5, domain: '±6' },
  sigmoid: { ulp: 2, domain: '−700 … 30' },
  rsqrt: { ulp: 1.5, domain: '1e±300' },
};
