// Legalized kernels, run in the interpreter, against exact arithmetic on the model's own types: every operation of the
// narrow integers, casts between all pairs of types, rounding of narrow floats, totality of division.

import { describe, expect, it } from 'vitest';
import { compileKernel } from '../../../src/backends/interp/compile-kernel.js';
import { add, floordiv, mul, symDim } from '../../../src/ir/dim.js';
import type { Kernel, Stmt } from '../../../src/ir/kernel.js';
import {
  cast,
  children,
  constant,
  dimExpr,
  type Expr,
  i32,
  load,
  op,
  rawOp,
  type ScalarOp,
  select,
  variable,
  visitExpr,
} from '../../../src/ir/scalar.js';
import { legalizeKernel } from '../../../src/passes/kernel/legalize.js';
import { storageOf } from '../../../src/passes/kernel/legalize-expr.js';
import { DTYPE_INFO, type DType, intRange, isFloat } from '../../../src/support/dtype.js';
import { decodeFloat, encodeFloat, isNarrowFloat, type NarrowFloat } from '../../../src/support/float.js';
import { STORAGE, type TypedArray } from '../../../src/support/tensor.js';
import { convert, INT, type Value } from '../../ir/scalar-js.js';

type Stored = Exclude<DType, 'string'>;

const i = variable('i', 'i32');

/** out[i] = value, for i < n. */
const mapKernel = (inputs: readonly Stored[], output: Stored, n: number, value: Expr): Kernel => ({
  name: 'map',
  params: [
    ...inputs.map((dtype, k) => ({ name: `x${k}`, dtype, access: 'read' as const, size: n })),
    { name: 'out', dtype: output, access: 'write', size: n },
  ],
  syms: [],
  body: [
    {
      s: 'for',
      var: 'i',
      lo: i32(0),
      hi: i32(n),
      step: 1,
      mode: 'serial',
      body: [{ s: 'store', buf: inputs.length, index: i, value }],
    },
  ],
});

/** Value → storage element, and back, independent of what is tested. */
function encode(t: Stored, v: Value): number | bigint {
  if (isNarrowFloat(t)) return encodeFloat(t, Number(v));
  return t === 'i64' || t === 'u64' ? BigInt(v) : Number(v);
}
function decode(t: Stored, v: number | bigint): Value {
  if (t === 'i1') return v !== 0;
  return isNarrowFloat(t) ? decodeFloat(t, Number(v)) : v;
}

function arrayOf(t: Stored, values: readonly Value[]): TypedArray {
  const data = new STORAGE[t](values.length) as unknown as { [n: number]: number | bigint };
  for (const [n, v] of values.entries()) data[n] = encode(t, v);
  return data as unknown as TypedArray;
}

function run(kernel: Kernel, inputs: readonly (readonly Value[])[], syms: readonly number[] = []): Value[] {
  const legal = legalizeKernel(kernel);
  const types = kernel.params.map((p) => p.dtype as Stored);
  const n = inputs[0]?.length ?? 1;
  const buffers = types.map((t, k) => arrayOf(t, inputs[k] ?? Array.from({ length: n }, () => 0)));
  compileKernel(legal)(...buffers, ...syms);
  return Array.from(buffers.at(-1) as ArrayLike<number | bigint>, (v) => decode(types.at(-1) as Stored, v));
}

const NARROW: readonly Stored[] = ['i8', 'u8', 'i16', 'u16', 'i4', 'u4', 'i2', 'u2'];
const INTEGERS: readonly Stored[] = [...NARROW, 'i32', 'u32', 'i64', 'u64'];

const edges = (t: Stored): bigint[] => {
  const { lo, hi } = intRange(t);
  const all = [lo, lo + 1n, -3n, -2n, -1n, 0n, 1n, 2n, 3n, 5n, 7n, 100n, hi / 2n, hi - 1n, hi];
  return [...new Set(all.filter((v) => v >= lo && v <= hi))];
};

const wrap = (t: Stored, v: bigint): bigint => {
  const { kind, bits } = DTYPE_INFO[t];
  return kind === 'int' ? BigInt.asIntN(bits, v) : BigInt.asUintN(bits, v);
};

function exact(name: string, t: Stored, a: bigint, b: bigint): bigint {
  if ((name === 'div' || name === 'rem') && b === 0n) return 0n;
  const shifted = name === 'shr_s' && DTYPE_INFO[t].kind === 'uint' ? BigInt.asIntN(DTYPE_INFO[t].bits, a) : a;
  const f = INT[name] as (a: bigint, b: bigint, bits: number) => bigint;
  return wrap(t, f(shifted, b, DTYPE_INFO[t].bits));
}

const BINARY = 'add sub mul div rem min max and or xor mulhi_s mulhi_u'.split(' ') as ScalarOp[];
const UNARY = 'neg abs clz popcnt'.split(' ') as ScalarOp[];
const SHIFTS = 'shl shr_s shr_u'.split(' ') as ScalarOp[];

describe.each(INTEGERS)('operations of %s', (t) => {
  const pairs = edges(t).flatMap((a) => edges(t).map((b) => [a, b] as const));
  const x = load(0, [i], t);
  const y = load(1, [i], t);
  const check = (name: ScalarOp, list: readonly (readonly [bigint, bigint])[], value: Expr): void => {
    const got = run(mapKernel([t, t], t, list.length, value), [list.map((p) => p[0]), list.map((p) => p[1])]);
    const want = list.map(([a, b]) => exact(name, t, a, b));
    expect(got.map(BigInt), name).toEqual(want);
  };

  const mixed =
    DTYPE_INFO[t].kind === 'uint' ? BINARY.filter((o) => o !== 'mulhi_s') : BINARY.filter((o) => o !== 'mulhi_u');
  it.each(mixed)('%s', (name) => check(name, pairs, rawOp(name, x, y)));
  it.each(UNARY)('%s', (name) => check(name, pairs, rawOp(name, x)));
  const counts = pairs.filter(([, b]) => b >= 0n && b < BigInt(DTYPE_INFO[t].bits));
  it.each(SHIFTS)('%s', (name) => check(name, counts, rawOp(name, x, y)));

  it('a chain is wrapped where it must be: max(a·b + a, b) − a', () => {
    const value = rawOp('sub', rawOp('max', rawOp('add', rawOp('mul', x, y), x), y), x);
    const got = run(mapKernel([t, t], t, pairs.length, value), [pairs.map((p) => p[0]), pairs.map((p) => p[1])]);
    const want = pairs.map(([a, b]) => {
      const sum = wrap(t, a * b + a);
      return wrap(t, (INT.max?.(sum, b, 0) ?? 0n) - a);
    });
    expect(got.map(BigInt)).toEqual(want);
  });

  it('floordiv and floormod round down', () => {
    const list = pairs.filter(([, b]) => b !== 0n);
    const floor = (a: bigint, b: bigint): bigint => (a - (((a % b) + b) % b)) / b;
    const inputs = [list.map((p) => p[0]), list.map((p) => p[1])];
    const quotient = run(mapKernel([t, t], t, list.length, op('floordiv', x, y)), inputs);
    expect(quotient.map(BigInt)).toEqual(list.map(([a, b]) => wrap(t, floor(a, b))));
    const rest = run(mapKernel([t, t], t, list.length, op('floormod', x, y)), inputs);
    expect(rest.map(BigInt)).toEqual(list.map(([a, b]) => wrap(t, a - floor(a, b) * b)));
  });
});

const ALL = Object.keys(STORAGE) as Stored[];
const FLOAT_SAMPLES = [
  0,
  -0,
  0.3,
  0.5,
  1,
  1.5,
  -1,
  -1.5,
  2.7,
  -2.7,
  6,
  100.9,
  127.5,
  130,
  255.4,
  300,
  -300,
  448,
  1e4,
  65504,
  65520,
  7e4,
  1e9,
  -1e9,
  3e9,
  5e9,
  1e19,
  -1e19,
  2e19,
  1e38,
  1e-5,
  1e-40,
  Infinity,
  -Infinity,
  Number.NaN,
  1 + 2 ** -11 + 2 ** -30,
  2049.0000001,
];

function valuesOf(t: Stored): Value[] {
  if (t === 'i1') return [false, true];
  if (!isFloat(t)) return edges(t).map((v) => (DTYPE_INFO[t].bits === 64 ? v : Number(v)));
  if (isNarrowFloat(t)) return FLOAT_SAMPLES.map((v) => decodeFloat(t, encodeFloat(t, v)));
  return t === 'f64' ? FLOAT_SAMPLES : FLOAT_SAMPLES.map(Math.fround);
}

/** What scalar.ts and support/float.ts say about conversions. */
function converted(v: Value, from: Stored, to: Stored): Value {
  if (from === 'i1') return converted(Number(v), 'i32', to);
  const computed = isNarrowFloat(from) ? 'f32' : from;
  if (isNarrowFloat(to)) {
    const x = from === 'f64' ? Number(v) : Number(convert(v, computed, 'f32'));
    return decodeFloat(to, encodeFloat(to, x));
  }
  if (isFloat(from) && !isFloat(to) && to !== 'i1' && DTYPE_INFO[to].bits < 32) {
    return convert(convert(v, computed, 'i32'), 'i32', to);
  }
  return convert(v, computed, to);
}

it.each(ALL)('casts from %s to every type', (from) => {
  for (const to of ALL) {
    const values = valuesOf(from);
    const got = run(mapKernel([from], to, values.length, cast(load(0, [i], from), to)), [values]);
    expect(got, `${from} → ${to}`).toEqual(values.map((v) => converted(v, from, to)));
  }
});

describe.each<NarrowFloat>(['f16', 'bf16', 'f8e4m3fn'])('arithmetic of %s', (t) => {
  const x = load(0, [i], t);
  const y = load(1, [i], t);
  const list = FLOAT_SAMPLES.flatMap((a) =>
    FLOAT_SAMPLES.map((b) => [a, b].map((v) => decodeFloat(t, encodeFloat(t, v)))),
  );
  const round = (v: number): number => decodeFloat(t, encodeFloat(t, Math.fround(v)));
  const inputs = [list.map((p) => p[0] as number), list.map((p) => p[1] as number)];

  it('rounds after every operation', () => {
    const got = run(mapKernel([t, t], t, list.length, rawOp('mul', rawOp('add', x, y), y)), inputs);
    expect(got).toEqual(list.map(([a = 0, b = 0]) => round(round(a + b) * b)));
  });

  it('copies bit patterns without converting them', () => {
    const copy = legalizeKernel(
      mapKernel([t], t, 4, load(0, [i], t, { guard: rawOp('lt', i, i32(3)), pad: constant(1, t) })),
    );
    const [loop] = copy.body as [Stmt & { s: 'for' }];
    const [store] = loop.body as [Stmt & { s: 'store' }];
    expect(store.value.k).toBe('load');
  });
});

it('booleans: arithmetic is logic, buffers are bytes', () => {
  const x = load(0, [i], 'i1');
  const y = load(1, [i], 'i1');
  const bits = [
    [false, false, true, true],
    [false, true, false, true],
  ];
  const table = (value: Expr): Value[] => run(mapKernel(['i1', 'i1'], 'i1', 4, value), bits);
  expect(table(rawOp('mul', x, y))).toEqual([false, false, false, true]);
  expect(table(rawOp('max', x, y))).toEqual([false, true, true, true]);
  expect(table(rawOp('eq', x, y))).toEqual([true, false, false, true]);
  expect(table(rawOp('lt', x, y))).toEqual([false, true, false, false]);
  expect(table(op('ge', x, y))).toEqual([true, false, true, true]);
  expect(table(select(x, y, op('not', y)))).toEqual([true, false, false, true]);
});

it('sizes become arithmetic over their symbols, and syms are what is read', () => {
  const n = { name: 'n', lo: 1, hi: 100 };
  const unused = { name: 'unused', lo: 1, hi: 9 };
  const size = floordiv(add(mul(symDim(n), 3), -4), 2);
  const kernel: Kernel = { ...mapKernel(['i32'], 'i32', 1, dimExpr(size)), syms: [unused, n] };
  expect(legalizeKernel(kernel).syms).toEqual([n]);
  expect(run(kernel, [[0]], [7])).toEqual([8]);
  expect(run(kernel, [[0]], [1])).toEqual([-1]);
});

it('leaves only primitives and carrier types, and is idempotent', () => {
  const value = cast(
    op('pow', cast(load(0, [i], 'f16'), 'f32'), op('sigmoid', cast(load(1, [i], 'u4'), 'f32'))),
    'bf16',
  );
  const legal = legalizeKernel(mapKernel(['f16', 'u4'], 'bf16', 4, value));
  expect(legal.params.map((p) => p.dtype)).toEqual([storageOf('f16'), 'u8', 'u16']);
  const [loop] = legal.body as [Stmt & { s: 'for' }];
  const [store] = loop.body as [Stmt & { s: 'store' }];
  visitExpr(store.value, (e) => {
    expect(['i32', 'f32', 'i1']).toContain(e.dtype);
    for (const c of children(e)) expect(['i32', 'f32', 'i1']).toContain(c.dtype);
  });
});

it('is idempotent', () => {
  const value = rawOp('add', load(0, [i], 'u4'), rawOp('mul', load(1, [i], 'u4'), load(0, [i], 'u4')));
  const legal = legalizeKernel(mapKernel(['u4', 'u4'], 'u4', 4, value));
  expect(legalizeKernel(legal)).toEqual(legal);
});
