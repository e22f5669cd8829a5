// Operators of one element at a time: a function each, the range it is tried on, and how operands came together in each version.

import type { DType } from '../../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, build, map, roundEven, zip } from './arrays.js';
import { type Family, type Random, typesOf } from './case.js';

const FLOATS: readonly DType[] = ['f32', 'f32', 'f64', 'f16'];
const NUMBERS: readonly DType[] = [...FLOATS, 'i32', 'i64', 'i8', 'u8', 'u32'];

interface Unary {
  readonly f: (x: number, a: Readonly<Record<string, number>>) => number;
  readonly lo?: number;
  readonly hi?: number;
  /** Attributes tried, by name; drawn from the range. */
  readonly attrs?: Readonly<Record<string, readonly [number, number]>>;
  readonly types?: readonly DType[];
  /** Name of the type variable of the input. */
  readonly variable?: string;
  readonly special?: readonly number[];
}

const erf = (x: number): number => {
  // The series, which converges for the small arguments tried here.
  let [term, total] = [x, x];
  for (let n = 1; n < 80; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * total;
};
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const clamp = (x: number, lo: number, hi: number): number => Math.min(Math.max(x, lo), hi);

const UNARY: Readonly<Record<string, Unary>> = {
  Abs: { f: Math.abs, types: NUMBERS },
  Acos: { f: Math.acos, lo: -1, hi: 1 },
  Acosh: { f: Math.acosh, lo: 1, hi: 8 },
  Asin: { f: Math.asin, lo: -1, hi: 1 },
  Asinh: { f: Math.asinh },
  Atan: { f: Math.atan },
  Atanh: { f: Math.atanh, lo: -0.95, hi: 0.95 },
  Ceil: { f: Math.ceil },
  Cos: { f: Math.cos },
  Cosh: { f: Math.cosh },
  Erf: { f: erf, lo: -3, hi: 3, types: ['f32'] },
  Exp: { f: Math.exp },
  Floor: { f: Math.floor },
  HardSwish: { f: (x) => x * clamp(x / 6 + 0.5, 0, 1) },
  Identity: { f: (x) => x, types: NUMBERS },
  Log: { f: Math.log, lo: 0.05, hi: 20 },
  Mish: { f: (x) => x * Math.tanh(Math.log1p(Math.exp(x))) },
  Neg: { f: (x) => -x, types: ['f32', 'f64', 'f16', 'i32', 'i64', 'i8'] },
  Reciprocal: { f: (x) => 1 / x, lo: 0.25, hi: 4 },
  Relu: { f: (x) => Math.max(x, 0), types: ['f32', 'f64', 'f16', 'i32', 'i8'] },
  Round: { f: roundEven },
  Sigmoid: { f: sigmoid },
  Sign: { f: Math.sign, types: NUMBERS },
  Sin: { f: Math.sin },
  Sinh: { f: Math.sinh },
  Softplus: { f: (x) => Math.log1p(Math.exp(x)) },
  Softsign: { f: (x) => x / (1 + Math.abs(x)) },
  Sqrt: { f: Math.sqrt, lo: 0, hi: 9 },
  Tan: { f: Math.tan, lo: -1.3, hi: 1.3 },
  Tanh: { f: Math.tanh },
  Not: { f: (x) => Number(!x), lo: 0, hi: 1, types: ['i1'] },
  BitwiseNot: { f: (x) => ~x, types: ['i32', 'i8', 'i64'] },
  IsNaN: {
    f: (x) => Number(Number.isNaN(x)),
    special: [Number.NaN, Number.POSITIVE_INFINITY, 0],
    types: ['f32', 'f64', 'f16'],
    variable: 'T1',
  },
  Celu: {
    f: (x, { alpha = 1 }) => Math.max(x, 0) + Math.min(0, alpha * Math.expm1(x / alpha)),
    attrs: { alpha: [0.5, 3] },
    types: ['f32'],
  },
  Elu: { f: (x, { alpha = 1 }) => (x < 0 ? alpha * Math.expm1(x) : x), attrs: { alpha: [0.5, 3] } },
  HardSigmoid: {
    f: (x, { alpha = 0.2, beta = 0.5 }) => clamp(alpha * x + beta, 0, 1),
    attrs: { alpha: [0.1, 0.4], beta: [0.3, 0.7] },
  },
  LeakyRelu: { f: (x, { alpha = 0.01 }) => (x < 0 ? alpha * x : x), attrs: { alpha: [0.1, 0.9] } },
  ThresholdedRelu: { f: (x, { alpha = 1 }) => (x > alpha ? x : 0), attrs: { alpha: [0.3, 2] } },
  Swish: { f: (x, { alpha = 1 }) => x * sigmoid(alpha * x), attrs: { alpha: [0.5, 2] } },
  Shrink: {
    f: (x, { lambd = 0.5, bias = 0 }) => (x < -lambd ? x + bias : x > lambd ? x - bias : 0),
    attrs: { lambd: [0.6, 2], bias: [0.1, 1] },
  },
};

function makeUnary(op: string, version: number, r: Random): ReturnType<Family['make']> {
  const u = UNARY[op] as Unary;
  const dtype = r.pick(typesOf(op, version, u.variable ?? 'T', u.types ?? FLOATS));
  const lo = dtype.startsWith('u') ? Math.max(0, u.lo ?? 0) : (u.lo ?? -4);
  const plain = r.tensor(r.shape(r.int(0, 4)), lo, u.hi ?? 4, dtype);
  const x = u.special ? withSpecial(plain, u.special, r) : plain;
  const attrs: Record<string, number> = {};
  // In 1/64ths like the inputs, and never a whole number.
  for (const [name, [a, b]] of Object.entries(u.attrs ?? {}))
    if (r.bool()) attrs[name] = Math.floor((a + r.next() * (b - a)) * 64) / 64 + 1 / 128;
  return { attrs, inputs: [x], want: [map(arr(x), (v) => u.f(v, attrs))] };
}

const withSpecial = (t: Tensor, special: readonly number[], r: Random): Tensor =>
  fromNumbers(
    t.dtype,
    t.shape,
    Array.from(arr(t).data, (x) => (r.bool(0.4) ? r.pick(special) : x)),
  );

export const unary: Family = { name: 'unary', ops: Object.keys(UNARY), make: makeUnary };

interface Binary {
  readonly f: (x: number, y: number) => number;
  readonly types?: readonly DType[];
  readonly lo?: number;
  readonly hi?: number;
  /** Range of the second operand. */
  readonly second?: readonly [number, number];
  readonly attrs?: Readonly<Record<string, number | string>>;
}

const WHOLE: readonly DType[] = ['f32', 'f64', 'i32', 'i64'];
const BITS: readonly DType[] = ['i32', 'i64', 'u8', 'i8'];
const LOGIC = { types: ['i1'] as const, lo: 0, hi: 1 };
const COMPARE = { types: ['f32', 'f64', 'f16', 'i32', 'i64', 'u8'] as const, lo: 0, hi: 3 };

const BINARY: Readonly<Record<string, Binary>> = {
  Add: { f: (x, y) => x + y, types: WHOLE },
  Sub: { f: (x, y) => x - y, types: WHOLE },
  Mul: { f: (x, y) => x * y, types: WHOLE },
  Div: { f: (x, y) => x / y, types: ['f32', 'f64'], second: [0.5, 4] },
  Pow: { f: (x, y) => x ** y, types: ['f32', 'f64'], lo: 0.25, hi: 3, second: [-2, 2] },
  And: { f: (x, y) => x & y, ...LOGIC },
  Or: { f: (x, y) => x | y, ...LOGIC },
  Xor: { f: (x, y) => x ^ y, ...LOGIC },
  Equal: { f: (x, y) => Number(x === y), ...COMPARE },
  Greater: { f: (x, y) => Number(x > y), ...COMPARE },
  Less: { f: (x, y) => Number(x < y), ...COMPARE },
  GreaterOrEqual: { f: (x, y) => Number(x >= y), ...COMPARE },
  LessOrEqual: { f: (x, y) => Number(x <= y), ...COMPARE },
  Mod: { f: (x, y) => x - y * Math.floor(x / y), types: ['i32', 'i64', 'i8'], lo: -9, hi: 9, second: [1, 5] },
  BitwiseAnd: { f: (x, y) => x & y, types: BITS, lo: 0, hi: 100 },
  BitwiseOr: { f: (x, y) => x | y, types: BITS, lo: 0, hi: 100 },
  BitwiseXor: { f: (x, y) => x ^ y, types: BITS, lo: 0, hi: 100 },
  PRelu: { f: (x, y) => (x < 0 ? x * y : x), types: ['f32', 'f64', 'i32'] },
  BitShift: {
    f: (x, y) => x / 2 ** y - ((x / 2 ** y) % 1),
    types: ['u32', 'u8', 'u64'],
    lo: 0,
    hi: 200,
    second: [0, 7],
    attrs: { direction: 'RIGHT' },
  },
};

/** Which versions align operands by `axis` only on request. */
const LEGACY = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'And', 'Or', 'Xor', 'Equal', 'Greater', 'Less']);
const TYPE_VARIABLE: Readonly<Record<string, string>> = { Pow: 'T' };

function makeBinary(op: string, version: number, r: Random): ReturnType<Family['make']> {
  const b = BINARY[op] as Binary;
  const dtype = r.pick(typesOf(op, version, TYPE_VARIABLE[op] ?? 'T', b.types ?? ['f32']));
  const shape = r.shape(r.int(1, 4));
  const legacy = LEGACY.has(op) && version < 7;
  const [other, axis] = legacy ? alignedShape(shape, r) : [broadcastable(shape, r, op === 'PRelu'), undefined];
  const flip = !legacy && op !== 'PRelu' && r.bool(0.3);
  const unsigned = dtype.startsWith('u');
  const [lo, hi] = [unsigned ? Math.max(0, b.lo ?? 0) : (b.lo ?? -4), b.hi ?? 4];
  const x = r.tensor(flip ? other : shape, lo, hi, dtype);
  const second = b.second ?? [lo, hi];
  const y = r.tensor(flip ? shape : other, second[0], second[1], dtype);
  const attrs = { ...b.attrs, ...(axis === undefined ? {} : { broadcast: 1, ...(axis < 0 ? {} : { axis }) }) };
  return {
    attrs,
    inputs: [x, y],
    want: [axis === undefined || axis < 0 ? zip(b.f, arr(x), arr(y)) : aligned(b.f, arr(x), arr(y), axis)],
  };
}

/** A shape that spreads to `shape` on its own. */
const broadcastable = (shape: readonly number[], r: Random, keepsRank: boolean): number[] =>
  shape.slice(r.int(0, keepsRank ? 0 : shape.length)).map((d) => (r.bool(0.3) ? 1 : d));

/** Part of a shape from an axis on; −1: its end, undefined: all of it. */
function alignedShape(shape: readonly number[], r: Random): readonly [number[], number | undefined] {
  if (r.bool(0.3)) return [[...shape], undefined];
  const from = r.int(0, shape.length - 1);
  if (r.bool()) return [shape.slice(from), -1];
  const to = r.int(from + 1, shape.length);
  return [shape.slice(from, to), from];
}

const aligned = (f: Binary['f'], x: Arr, y: Arr, axis: number): Arr =>
  zip(f, x, { shape: [...y.shape, ...x.shape.slice(axis + y.shape.length).map(() => 1)], data: y.data });

export const binary: Family = { name: 'binary', ops: Object.keys(BINARY), make: makeBinary };

const VARIADIC: Readonly<Record<string, (...xs: number[]) => number>> = {
  Max: Math.max,
  Min: Math.min,
  Sum: (...xs) => xs.reduce((p, x) => p + x, 0),
  Mean: (...xs) => xs.reduce((p, x) => p + x, 0) / xs.length,
};

export const variadic: Family = {
  name: 'variadic',
  ops: Object.keys(VARIADIC),
  make(op, version, r) {
    const dtype = r.pick(typesOf(op, version, 'T', op === 'Sum' || op === 'Mean' ? FLOATS : NUMBERS));
    const shape = r.shape(r.int(1, 3));
    const same = version < 8;
    const lo = dtype.startsWith('u') ? 0 : -4;
    const inputs = Array.from({ length: r.int(1, 4) }, (_, k) =>
      r.tensor(same || k === 0 ? shape : broadcastable(shape, r, false), lo, 4, dtype),
    );
    return { inputs, want: [zip(VARIADIC[op] as (...xs: number[]) => number, ...inputs.map(arr))] };
  },
};

export const selection: Family = {
  name: 'selection',
  ops: ['Where', 'Clip', 'IsInf', 'Gelu', 'Selu', 'Dropout'],
  make(op, version, r) {
    const shape = r.shape(r.int(1, 3));
    const x = r.tensor(shape);
    switch (op) {
      case 'Where': {
        const c = r.tensor(shape, 0, 1, 'i1');
        const y = r.tensor(broadcastable(shape, r, false));
        return { inputs: [c, x, y], want: [zip((p, a, b) => (p ? a : b), arr(c), arr(x), arr(y))] };
      }
      case 'Clip':
        return makeClip(version, x, r);
      case 'IsInf': {
        const inf = withSpecial(x, [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN], r);
        const attrs = { detect_negative: r.int(0, 1), detect_positive: r.int(0, 1) };
        const hit = (v: number): number =>
          Number(
            (v === Number.POSITIVE_INFINITY && attrs.detect_positive) ||
              (v === Number.NEGATIVE_INFINITY && attrs.detect_negative),
          );
        return { attrs, inputs: [inf], want: [map(arr(inf), hit)] };
      }
      case 'Gelu': {
        const near = r.tensor(shape, -3, 3);
        if (r.bool()) return { inputs: [near], want: [map(arr(near), (v) => 0.5 * v * (1 + erf(v / Math.SQRT2)))] };
        const inner = (v: number): number => Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3);
        return {
          attrs: { approximate: 'tanh' },
          inputs: [near],
          want: [map(arr(near), (v) => 0.5 * v * (1 + Math.tanh(inner(v))))],
        };
      }
      case 'Selu': {
        // Version 1 rounds its constants otherwise.
        const [a, g] = version < 6 ? [1.6732, 1.0507] : [1.6732632423543772, 1.0507009873554805];
        return { inputs: [x], want: [map(arr(x), (v) => g * (v > 0 ? v : a * Math.expm1(v)))] };
      }
      default: {
        // Inference: nothing is dropped.
        const outputs = r.int(1, 2);
        const attrs: Record<string, number> =
          version < 7 ? { is_test: 1, ratio: 0.25 } : version < 12 ? { ratio: 0.25 } : {};
        // Before version 10 the mask is left open.
        const mask = version < 10 ? null : build(shape, () => 1);
        return { attrs, inputs: [x], outputs, want: outputs === 2 ? [arr(x), mask] : [arr(x)] };
      }
    }
  },
};

function makeClip(version: number, x: Tensor, r: Random): ReturnType<Family['make']> {
  const [lo, hi] = [r.bool(0.7) ? -1.5 : undefined, r.bool(0.7) ? 1.25 : undefined];
  const want = [map(arr(x), (v) => Math.min(Math.max(v, lo ?? v), hi ?? Math.max(v, lo ?? v)))];
  if (version < 11)
    return {
      attrs: {
        ...(lo !== undefined && { min: lo }),
        ...(hi !== undefined && { max: hi }),
        ...(version < 6 && { consumed_inputs: [0] }),
      },
      inputs: [x],
      want,
    };
  const limit = (v: number | undefined): Tensor | null => (v === undefined ? null : fromNumbers('f32', [], [v]));
  return { inputs: [x, limit(lo), limit(hi)], want };
}
