// What the accuracy tests and docs/numerics.md are made from: each function's domain, its reference and its bound in ulp.
// A domain is sampled half uniformly over the numbers of the format, half uniformly over the reals.

import { expandMacro } from '../../src/ir/macros.js';
import { type MacroOp, variable } from '../../src/ir/scalar.js';
import { compileExpr } from './scalar-js.js';

export interface AccuracyCase {
  readonly op: MacroOp;
  readonly lo: number;
  readonly hi: number;
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
  const run = compileExpr(expandMacro(c.op, [variable('x', 'f32')], 'f32'), ['x']);
  const reference = REFERENCE[c.op] as (x: number) => number;
  let worst = { ulp: 0, at: 0 };
  for (const x of samples(c.lo, c.hi, count)) {
    const exact = reference(x);
    const got = run(x) as number;
    if (Object.is(got, exact) || (Math.fround(exact) === got && !Number.isFinite(got))) continue;
    const ulp = Math.abs(got - exact) / ulpF32(Math.max(Math.abs(exact), c.floor ?? 0));
    if (!(ulp <= worst.ulp)) worst = { ulp, at: x };
    if (Number.isNaN(ulp)) break;
  }
  return worst;
}

const inf = Number.POSITIVE_INFINITY;
const MAX = 3.4028234663852886e38;

export const F32_CASES: readonly AccuracyCase[] = [
  { op: 'exp', lo: -110, hi: 89, ulp: 1 },
  { op: 'exp2', lo: -152, hi: 129, ulp: 1 },
  { op: 'expm1', lo: -30, hi: 89, ulp: 2 },
  { op: 'log', lo: 0, hi: MAX, ulp: 1 },
  { op: 'log', lo: 0.5, hi: 2, ulp: 1 },
  { op: 'log2', lo: 0, hi: MAX, ulp: 1 },
  { op: 'log2', lo: 0.5, hi: 2, ulp: 1 },
  { op: 'log10', lo: 0, hi: MAX, ulp: 1.5 },
  { op: 'log10', lo: 0.5, hi: 2, ulp: 1.5 },
  { op: 'log1p', lo: -0.99999994, hi: MAX, ulp: 1.5 },
  { op: 'log1p', lo: -0.9, hi: 2, ulp: 1.5 },
  { op: 'sin', lo: -100, hi: 100, ulp: 1 },
  { op: 'sin', lo: -1e5, hi: 1e5, ulp: 1, floor: 2 ** -10 },
  { op: 'cos', lo: -100, hi: 100, ulp: 1 },
  { op: 'cos', lo: -1e5, hi: 1e5, ulp: 1, floor: 2 ** -10 },
  { op: 'tan', lo: -100, hi: 100, ulp: 2.5 },
  { op: 'asin', lo: -1, hi: 1, ulp: 2 },
  { op: 'acos', lo: -1, hi: 1, ulp: 2 },
  { op: 'atan', lo: -MAX, hi: MAX, ulp: 1.5 },
  { op: 'atan', lo: -8, hi: 8, ulp: 1.5 },
  { op: 'sinh', lo: -89.4, hi: 89.4, ulp: 2 },
  { op: 'sinh', lo: -2, hi: 2, ulp: 2 },
  { op: 'cosh', lo: -89.4, hi: 89.4, ulp: 2 },
  { op: 'tanh', lo: -12, hi: 12, ulp: 1.5 },
  { op: 'asinh', lo: -MAX, hi: MAX, ulp: 3 },
  { op: 'asinh', lo: -4, hi: 4, ulp: 3 },
  { op: 'acosh', lo: 1, hi: MAX, ulp: 3 },
  { op: 'acosh', lo: 1, hi: 4, ulp: 3 },
  { op: 'atanh', lo: -0.99999994, hi: 0.99999994, ulp: 3 },
  { op: 'erf', lo: -5, hi: 5, ulp: 1.5 },
  { op: 'sigmoid', lo: -104, hi: 20, ulp: 2.5 },
  { op: 'rsqrt', lo: 1e-38, hi: MAX, ulp: 1.5 },
];
export { inf };
