// Every macro: accuracy against its stated bound, special values as IEEE 754 and C have them, exact ones exactly; and
// docs/numerics.md says what is measured here (UPDATE_GOLDENS=1 rewrites its tables).

import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expandMacro } from '../../src/ir/macros.js';
import { constant, isPrimitive, MACROS, type MacroOp, rawOp, variable, visitExpr } from '../../src/ir/scalar.js';
import type { DType } from '../../src/support/dtype.js';
import {
  type AccuracyCase,
  F32_CASES,
  F64_BOUNDS,
  type Measured,
  measureF32,
  measureF64,
  parseFixtures,
  randomSource,
} from './macro-accuracy.js';
import { compileExpr, type Value } from './scalar-js.js';

const SAMPLES = 60_000;
const fixtures = parseFixtures(readFileSync(new URL('./macros-f64.csv', import.meta.url), 'utf8'));
const inf = Number.POSITIVE_INFINITY;
const nan = Number.NaN;

const f32Rows: { readonly of: AccuracyCase; readonly measured: Measured }[] = [];
const f64Rows: { readonly op: MacroOp; readonly measured: Measured }[] = [];

function evaluator(op: MacroOp, t: DType, count: number): (...args: Value[]) => Value {
  const vars = ['x', 'y'].slice(0, count).map((name) => variable(name, t));
  return compileExpr(expandMacro(op, vars, t), ['x', 'y']);
}

describe('f32 accuracy', () => {
  it.each(F32_CASES)('$op on $lo … $hi: at most $ulp ulp', (c) => {
    const measured = measureF32(c, SAMPLES);
    expect(measured.ulp, `at ${measured.at}`).toBeLessThanOrEqual(c.ulp);
    f32Rows.push({ of: c, measured });
  });
});

describe('f64 accuracy', () => {
  it.each(Object.keys(F64_BOUNDS) as MacroOp[])('%s', (op) => {
    const measured = measureF64(op, fixtures);
    expect(measured.ulp, `at ${measured.at}`).toBeLessThanOrEqual(F64_BOUNDS[op]?.ulp ?? 0);
    f64Rows.push({ op, measured });
  });
});

describe('fast_exp of a difference', () => {
  const [x, y] = [variable('x', 'f32'), variable('y', 'f32')];
  const f = compileExpr(expandMacro('fast_exp', [rawOp('sub', x, y)], 'f32'), ['x', 'y']);

  it('is as exact as the difference: an ulp of that, and 2.5 of the result', () => {
    const random = randomSource(7);
    for (let k = 0; k < SAMPLES; k++) {
      const [a, b] = [random() * 90, random() * 90].map(Math.fround) as [number, number];
      const d = Math.fround(a - b);
      if (d < -87 || d > 88) continue;
      const want = Math.exp(d);
      const bound = (Math.abs(d) + 2.5) * 2 ** -23 * want;
      expect(Math.abs(Number(f(a, b)) - want), `${a} − ${b}`).toBeLessThanOrEqual(bound);
    }
  });

  it('keeps zeros, ones, infinities and NaN', () => {
    const cases: readonly (readonly [number, number, number])[] = [
      [3, 3, 1],
      [-inf, 3, 0],
      [3, inf, 0],
      [-1000, 1000, 0],
      [inf, 3, inf],
      [1000, 3, inf],
      [inf, inf, nan],
      [nan, 3, nan],
    ];
    for (const [a, b, want] of cases) expect(f(a, b), `${a} − ${b}`).toBe(want);
  });
});

type Special = readonly [args: readonly number[], want: number];
const each1 = (...rows: readonly (readonly [number, number])[]): readonly Special[] => rows.map(([x, w]) => [[x], w]);

const SPECIALS: Partial<Record<MacroOp, readonly Special[]>> = {
  exp: each1([0, 1], [-0, 1], [inf, inf], [-inf, 0], [nan, nan], [1000, inf], [-1000, 0]),
  exp2: each1([0, 1], [3, 8], [-20, 2 ** -20], [inf, inf], [-inf, 0], [nan, nan], [2000, inf], [-2000, 0]),
  expm1: each1([0, 0], [-0, -0], [inf, inf], [-inf, -1], [nan, nan], [1e-30, 1e-30], [1000, inf]),
  log: each1([1, 0], [0, -inf], [-0, -inf], [-1, nan], [inf, inf], [-inf, nan], [nan, nan]),
  log2: each1([1, 0], [8, 3], [2 ** -100, -100], [0, -inf], [-1, nan], [inf, inf], [nan, nan]),
  log10: each1([1, 0], [1000, 3], [0, -inf], [-1, nan], [inf, inf], [nan, nan]),
  log1p: each1([0, 0], [-0, -0], [-1, -inf], [-2, nan], [inf, inf], [nan, nan], [1e-30, 1e-30]),
  sin: each1([0, 0], [-0, -0], [inf, nan], [-inf, nan], [nan, nan], [1e-30, 1e-30]),
  cos: each1([0, 1], [-0, 1], [inf, nan], [-inf, nan], [nan, nan]),
  tan: each1([0, 0], [-0, -0], [inf, nan], [nan, nan], [1e-30, 1e-30]),
  asin: each1([0, 0], [-0, -0], [1.1, nan], [-inf, nan], [nan, nan]),
  acos: each1([1, 0], [1.1, nan], [-1.1, nan], [nan, nan]),
  atan: each1([0, 0], [-0, -0], [nan, nan]),
  sinh: each1([0, 0], [-0, -0], [inf, inf], [-inf, -inf], [1000, inf], [-1000, -inf], [nan, nan]),
  cosh: each1([0, 1], [inf, inf], [-inf, inf], [-1000, inf], [nan, nan]),
  tanh: each1([0, 0], [-0, -0], [inf, 1], [-inf, -1], [50, 1], [nan, nan]),
  asinh: each1([0, 0], [-0, -0], [inf, inf], [-inf, -inf], [nan, nan]),
  acosh: each1([1, 0], [0.5, nan], [-inf, nan], [inf, inf], [nan, nan]),
  atanh: each1([0, 0], [-0, -0], [1, inf], [-1, -inf], [1.5, nan], [-inf, nan], [nan, nan]),
  erf: each1([0, 0], [-0, -0], [inf, 1], [-inf, -1], [30, 1], [nan, nan]),
  sigmoid: each1([0, 0.5], [inf, 1], [-inf, 0], [1000, 1], [-1000, 0], [nan, nan]),
  fast_exp: each1([0, 1], [-0, 1], [inf, inf], [-inf, 0], [nan, nan], [1000, inf], [-1000, 0]),
  fast_erf: each1([0, 0], [-0, -0], [inf, 1], [-inf, -1], [30, 1], [nan, nan]),
  fast_tanh: each1([0, 0], [-0, -0], [inf, 1], [-inf, -1], [50, 1], [nan, nan]),
  fast_sigmoid: each1([0, 0.5], [inf, 1], [-inf, 0], [1000, 1], [-1000, 0], [nan, nan]),
  rsqrt: each1([1, 1], [4, 0.5], [0, inf], [inf, 0], [-1, nan], [nan, nan]),
  sign: each1([5, 1], [-3, -1], [0, 0], [inf, 1], [-inf, -1], [nan, nan]),
  round: each1(
    [0.5, 1],
    [1.5, 2],
    [2.5, 3],
    [-0.5, -1],
    [-2.5, -3],
    [0.49999997, 0],
    [8388609, 8388609],
    [-0, -0],
    [inf, inf],
    [nan, nan],
  ),
  pow: [
    [[2, 10], 1024],
    [[-2, 3], -8],
    [[-2, 2], 4],
    [[-8, 1 / 3], nan],
    [[nan, 0], 1],
    [[1, nan], 1],
    [[nan, 1], nan],
    [[2, nan], nan],
    [[0, 3], 0],
    [[-0, 3], -0],
    [[-0, 2], 0],
    [[-0, 0.5], 0],
    [[0, -3], inf],
    [[-0, -3], -inf],
    [[-0, -2], inf],
    [[0, -0.5], inf],
    [[inf, 2], inf],
    [[inf, -2], 0],
    [[-inf, 3], -inf],
    [[-inf, 2], inf],
    [[-inf, 0.5], inf],
    [[-inf, -3], -0],
    [[-1, inf], 1],
    [[-1, -inf], 1],
    [[2, inf], inf],
    [[2, -inf], 0],
    [[0.5, inf], 0],
    [[0.5, -inf], inf],
    [[-2, inf], inf],
    [[0, inf], 0],
    [[0, -inf], inf],
    [[10, 400], inf],
    [[10, -400], 0],
    [[-10, 401], -inf],
    [[inf, 0], 1],
  ],
  atan2: [
    [[0, 1], 0],
    [[-0, 1], -0],
    [[0, 0], 0],
    [[-0, 0], -0],
    [[nan, 1], nan],
    [[1, nan], nan],
    [[1, inf], 0],
    [[-1, inf], -0],
  ],
  fmod: [
    [[5.5, 2], 1.5],
    [[-5.5, 2], -1.5],
    [[5.5, -2], 1.5],
    [[-6, 2], -0],
    [[1, inf], 1],
    [[inf, 1], nan],
    [[1, 0], nan],
    [[nan, 1], nan],
    [[1, nan], nan],
    [[0, 3], 0],
  ],
  floormod: [
    [[5.5, 2], 1.5],
    [[-5.5, 2], 0.5],
    [[5.5, -2], -0.5],
    [[-6, 2], -0],
  ],
  floordiv: [
    [[5.5, 2], 2],
    [[-5.5, 2], -3],
  ],
};

describe.each(['f32', 'f64'] as const)('special values in %s', (t) => {
  const near = t === 'f32' ? Math.fround : (x: number): number => x;
  it.each(Object.keys(SPECIALS) as MacroOp[])('%s', (op) => {
    const rows = SPECIALS[op] ?? [];
    const run = evaluator(op, t, rows[0]?.[0].length ?? 1);
    for (const [args, want] of rows) expect(run(...args.map(near)), `${op}(${args})`).toBe(near(want));
  });

  it('multiples of π/4 come out as the format has them', () => {
    const pi = Math.PI;
    const atan2 = evaluator('atan2', t, 2);
    const rows: [number, number, number][] = [
      [1, 0, pi / 2],
      [-1, -0, -pi / 2],
      [0, -1, pi],
      [-0, -1, -pi],
      [0, -0, pi],
      [inf, inf, pi / 4],
      [inf, -inf, (3 * pi) / 4],
      [-inf, 1, -pi / 2],
      [1, -inf, pi],
      [3e38, 3e38, pi / 4],
      [1e-40, -1e-40, (3 * pi) / 4],
    ];
    for (const [y, x, want] of rows) expect(atan2(near(y), near(x)), `atan2(${y}, ${x})`).toBe(near(want));
    expect(evaluator('atan', t, 1)(inf)).toBe(near(pi / 2));
    expect(evaluator('asin', t, 1)(-1)).toBe(near(-pi / 2));
    expect(evaluator('acos', t, 1)(-1)).toBe(near(pi));
    expect(evaluator('acos', t, 1)(0)).toBe(near(pi / 2));
  });

  it('pow by a constant agrees with pow by a variable where it takes a short cut', () => {
    const general = evaluator('pow', t, 2);
    for (const y of [0, 1, 2, 3, -1, 0.5]) {
      const short = compileExpr(expandMacro('pow', [variable('x', t), constant(y, t)], t), ['x']);
      for (const x of [0, -0, 1, -1, 4, -3, 0.25, 9, inf, -inf, nan]) expect(short(x), `${x}^${y}`).toBe(general(x, y));
    }
  });

  it('fmod is exact', () => {
    const run = evaluator('fmod', t, 2);
    const random = randomSource(3);
    for (let n = 0; n < 20_000; n++) {
      const y = near((random() - 0.5) * 10 ** (random() * 20 - 10));
      const x = near(y * (random() - 0.5) * 2 ** (random() * 24));
      const want = x % y;
      if (run(x, y) !== want) expect(`${x} fmod ${y} = ${run(x, y)}`).toBe(`${x} fmod ${y} = ${want}`);
    }
  });

  it('is_nan and is_inf', () => {
    const [isNan, isInf] = [evaluator('is_nan', t, 1), evaluator('is_inf', t, 1)];
    expect([nan, inf, -inf, 0, 1e30].map((x) => isNan(x))).toEqual([true, false, false, false, false]);
    expect([nan, inf, -inf, 0, 1e30].map((x) => isInf(x))).toEqual([false, true, true, false, false]);
  });
});

it('subnormal arguments and results of f32', () => {
  const tiny = 2 ** -149;
  expect(evaluator('log2', 'f32', 1)(tiny)).toBe(-149);
  expect(evaluator('exp2', 'f32', 1)(-149)).toBe(tiny);
  expect(evaluator('pow', 'f32', 2)(tiny, -0.5)).toBe(Math.fround(2 ** 74.5));
  for (const op of ['sin', 'tan', 'asin', 'atan', 'sinh', 'tanh', 'asinh', 'atanh', 'expm1', 'log1p'] as const)
    expect(evaluator(op, 'f32', 1)(-3 * tiny), op).toBe(-3 * tiny);
});

describe.each(['i32', 'i64', 'u32', 'u64'] as const)('integers: %s', (t) => {
  const wide = t.endsWith('64');
  const signed = t.startsWith('i');
  const value = (x: number): Value => (wide ? BigInt(x) : x);
  const list = [0, 1, 2, 3, 7, 8, 100, ...(signed ? [-1, -2, -3, -7, -8, -100] : [])];

  it('floordiv and floormod, by variables and by constants', () => {
    for (const b of list.filter((x) => x !== 0)) {
      for (const y of [variable('y', t), constant(b, t)]) {
        const quotient = compileExpr(expandMacro('floordiv', [variable('x', t), y], t), ['x', 'y']);
        const rest = compileExpr(expandMacro('floormod', [variable('x', t), y], t), ['x', 'y']);
        for (const a of list) {
          expect(quotient(value(a), value(b)), `${a} // ${b}`).toBe(value(Math.floor(a / b) + 0));
          expect(rest(value(a), value(b)), `${a} mod ${b}`).toBe(value(a - b * Math.floor(a / b) + 0));
        }
      }
    }
  });

  it('sign, not, comparisons', () => {
    const [sign, not] = [evaluator('sign', t, 1), evaluator('not', t, 1)];
    const bits = wide ? 64 : 32;
    for (const a of list) {
      expect(sign(value(a))).toBe(value(Math.sign(a)));
      const inverted = signed ? BigInt(~a) : BigInt.asUintN(bits, ~BigInt(a));
      expect(not(value(a))).toBe(wide ? inverted : Number(inverted));
      for (const b of list) {
        expect(evaluator('ne', t, 2)(value(a), value(b))).toBe(a !== b);
        expect(evaluator('gt', t, 2)(value(a), value(b))).toBe(a > b);
        expect(evaluator('ge', t, 2)(value(a), value(b))).toBe(a >= b);
      }
    }
  });

  it('pow wraps, and truncates 1/x for negative exponents', () => {
    const bits = wide ? 64 : 32;
    const general = evaluator('pow', t, 2);
    for (const b of [0, 1, 2, 3, 5, 31, 33, ...(signed ? [-1, -2] : [])]) {
      const fixed = compileExpr(expandMacro('pow', [variable('x', t), constant(b, t)], t), ['x']);
      for (const a of list) {
        const exact = b >= 0 ? BigInt(a) ** BigInt(b) : BigInt(a === 1 ? 1 : a === -1 ? (b % 2 ? -1 : 1) : 0);
        const wrapped = signed ? BigInt.asIntN(bits, exact) : BigInt.asUintN(bits, exact);
        expect(BigInt(general(value(a), value(b)) as bigint), `${a}^${b}`).toBe(wrapped);
        expect(BigInt(fixed(value(a)) as bigint), `${a}^${b}, constant`).toBe(wrapped);
      }
    }
  });
});

it('every macro expands to primitives, keeps the lanes of its arguments and stays small', () => {
  for (const [op, arity] of Object.entries(MACROS) as [MacroOp, number][]) {
    const t = op === 'not' ? 'i32' : 'f32';
    const args = ['x', 'y'].slice(0, arity).map((name) => variable(name, t, 4));
    const e = expandMacro(op, args, t);
    expect(e.lanes, op).toBe(4);
    let nodes = 0;
    visitExpr(e, (x) => {
      nodes++;
      if (x.k === 'op') expect(isPrimitive(x.op), `${op} uses ${x.op}`).toBe(true);
      expect(x.k === 'load' || x.k === 'vec', op).toBe(false);
    });
    expect(nodes, op).toBeLessThan(230);
  }
});

it('refuses types without a definition', () => {
  expect(() => expandMacro('exp', [variable('x', 'i32')], 'i32')).toThrow(/exp of i32/);
  expect(() => expandMacro('exp', [rawOp('add', variable('x', 'f16'), variable('x', 'f16'))], 'f16')).toThrow(/f16/);
});

/** Numbers as the document writes them. */
const short = (x: number): string =>
  (x === Math.round(x) && Math.abs(x) < 1e4 ? String(x) : String(Number(x.toPrecision(4)))).replace('-', '−');
const range = (lo: number, hi: number): string => (lo === -hi ? `±${short(hi)}` : `${short(lo)} … ${short(hi)}`);
const up = (x: number): string => (Math.ceil(x * 100) / 100).toFixed(2);

/** A Markdown table with aligned columns, as the formatter wants it. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((r) => r[c]?.length ?? 0)));
  const line = (cells: readonly string[], fill: string): string =>
    `| ${widths.map((w, c) => (cells[c] ?? '').padEnd(w, fill)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head, ' '), line([], '-'), ...body.map((r) => line(r, ' '))].join('\n');
}

it('docs/numerics.md states what is measured', () => {
  const f32Table = f32Rows.map(({ of, measured }) => {
    const domain = of.second ? `${range(of.lo, of.hi)}, ${range(...of.second)}` : range(of.lo, of.hi);
    return [of.op, `${domain}${of.floor ? ' ¹' : ''}`, String(of.ulp), up(measured.ulp)];
  });
  const f64Table = f64Rows.map(({ op, measured }) => {
    const bound = F64_BOUNDS[op];
    return [op, bound?.domain ?? '', String(bound?.ulp), up(measured.ulp)];
  });
  const head = (type: string): string[] => [type, 'domain', 'bound, ulp', 'largest seen'];
  const tables = [table([head('f32'), ...f32Table]), table([head('f64'), ...f64Table])].join('\n\n');
  const file = new URL('../../docs/numerics.md', import.meta.url);
  const text = readFileSync(file, 'utf8');
  const marks = /(<!-- measured -->\n\n)[\s\S]*(\n\n<!-- \/measured -->)/;
  const updated = text.replace(marks, (_all, open: string, close: string) => `${open}${tables}${close}`);
  if (process.env.UPDATE_GOLDENS) writeFileSync(file, updated);
  else expect(text, 'rewrite with npm run bless').toBe(updated);
});
