// Every primitive on every type, scalar and vector, and every cast, against arithmetic by the book (wasm-model.ts) on
// edge values and random ones. An operation a vector has not is one wasmVectorOps denies.

import { describe, expect, it } from 'vitest';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { emitWasm } from '../../src/backends/wasm/program.js';
import { type VectorQuery, wasmVectorCast, wasmVectorOps } from '../../src/backends/wasm/vector-cells.js';
import type { Stmt } from '../../src/ir/kernel.js';
import {
  cast,
  constant,
  type Expr,
  load,
  op,
  PRIMITIVES,
  type PrimitiveOp,
  rawOp,
  select,
  vec,
} from '../../src/ir/scalar.js';
import type { DType } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, iv, loop, store } from './program-builder.js';
import {
  bitsOf,
  convert,
  evaluate,
  isDefined,
  isFloatType,
  type NumberType,
  pairs,
  samples,
  tensorOf,
  type Value,
} from './wasm-model.js';
import { validate } from './wasm-validate.js';

const SEED = 20240607;
const COUNT = 1024;
const OPS = Object.keys(PRIMITIVES) as PrimitiveOp[];
const SCALARS: readonly NumberType[] = ['i32', 'u32', 'i64', 'u64', 'f32', 'f64'];
const VECTORS: readonly NumberType[] = [...SCALARS, 'i16', 'u16', 'i8', 'u8'];
const isComparison = (o: PrimitiveOp): boolean => o === 'eq' || o === 'lt' || o === 'le';
const isShift = (o: PrimitiveOp): boolean => o === 'shl' || o === 'shr_s' || o === 'shr_u';

const strided = (step: number, ...body: Stmt[]): Stmt => ({ ...loop('i', COUNT, ...body), step }) as Stmt;

/** Runs one kernel per named expression over inputs x and y. */
async function runAll(
  from: NumberType,
  lanes: number,
  inputs: readonly [Value[], Value[]],
  cases: readonly { name: string; to: NumberType; expr: (x: Expr, y: Expr) => Expr }[],
): Promise<Record<string, Tensor>> {
  const program = buildProgram('ops', (b) => {
    const [x, y] = [b.input('x', from, [COUNT]), b.input('y', from, [COUNT])];
    for (const c of cases) {
      const out = b.output(c.name, c.to, [COUNT]);
      const at = (slot: number): Expr => load(slot, [iv('i')], from, { lanes });
      b.steps(
        b.kernel(
          c.name,
          [
            [x, 'read'],
            [y, 'read'],
            [out, 'write'],
          ],
          [strided(lanes, store(2, iv('i'), c.expr(at(0), at(1))))],
        ),
      );
    }
  });
  await validate(program);
  const session = await instantiateWasm(program);
  return (await session.run({ x: tensorOf(from, inputs[0]), y: tensorOf(from, inputs[1]) })) as Record<string, Tensor>;
}

/** The first difference as text, null where all agree; every NaN is the same. */
function difference(got: Tensor, want: readonly Value[], a: readonly Value[], b: readonly Value[]): string | null {
  const expected = tensorOf(got.dtype as NumberType, want).data;
  for (let i = 0; i < want.length; i++) {
    if (!Object.is(got.data[i], expected[i]))
      return `of ${a[i]}, ${b[i]}: got ${got.data[i]}, expected ${expected[i]} (seed ${SEED})`;
  }
  return null;
}

/** Integer of the same width that holds a comparison's outcome. */
const truthType = (t: NumberType): NumberType => `i${bitsOf(t)}` as NumberType;
const resultType = (o: PrimitiveOp, t: NumberType): NumberType => (isComparison(o) ? truthType(t) : t);

describe('wasm scalar operations', () => {
  it.each(SCALARS)('%s', async (t) => {
    const [a, y] = pairs(t, COUNT, SEED);
    const three = isFloatType(t) ? 3 : 3n;
    const safe = (o: PrimitiveOp, v: Value): Value =>
      !isFloatType(t) && (o === 'div' || o === 'rem') && v <= 0 ? three : v;
    const ops = OPS.filter((o) => isDefined(o, t));
    const got = await runAll(
      t,
      1,
      [a, y],
      ops.map((o) => ({
        name: o,
        to: resultType(o, t),
        expr: (p, q) => {
          const guarded = !isFloatType(t) && (o === 'div' || o === 'rem');
          const divisor = guarded ? select(rawOp('le', q, constant(0, t)), constant(3, t), q) : q;
          const e = PRIMITIVES[o] === 2 ? rawOp(o, p, divisor) : rawOp(o, p);
          return e.dtype === 'i1' ? cast(e, bitsOf(t) === 64 ? 'i64' : 'i32') : e;
        },
      })),
    );
    for (const o of ops) {
      const want = a.map((v, i) => evaluate(o, t, v, safe(o, y[i] as Value)));
      expect(difference(got[o] as Tensor, want, a, y), `${o} ${t}`).toBeNull();
    }
  });
});

describe('wasm vector operations', () => {
  it.each(VECTORS)('%s', async (t) => {
    const lanes = 128 / bitsOf(t);
    const [a, y] = pairs(t, COUNT, SEED + 7);
    const ops = OPS.filter((o) => wasmVectorOps(o, t, lanes) && isDefined(o, t));
    const got = await runAll(
      t,
      lanes,
      [a, y],
      ops.map((o) => ({
        name: o,
        to: resultType(o, t),
        expr: (p, q) => {
          if (isShift(o)) return { k: 'op', op: o, args: [p, constant(3, t)], dtype: t, lanes };
          const e = PRIMITIVES[o] === 2 ? rawOp(o, p, q) : rawOp(o, p);
          return e.dtype === 'i1' ? { k: 'cast', arg: e, dtype: truthType(t), lanes } : e;
        },
      })),
    );
    expect(ops.length).toBeGreaterThan(8);
    for (const o of ops) {
      const want = a.map((v, i) => evaluate(o, t, v, isShift(o) ? 3n : (y[i] as Value)));
      expect(difference(got[o] as Tensor, want, a, y), `${o} ${t}x${lanes}`).toBeNull();
    }
  });

  it.each(VECTORS)('selects, compares masks and splats on %s', async (t) => {
    const lanes = 128 / bitsOf(t);
    const [a, y] = pairs(t, COUNT, SEED + 9);
    const mask = (p: Expr, q: Expr): Expr => rawOp('eq', rawOp('eq', p, q), rawOp('eq', p, p));
    const first = (v: readonly Value[]): Value[] => v.map((_, i) => v[i - (i % lanes)] as Value);
    const last = (v: readonly Value[]): Value[] => v.map((_, i) => v[i - (i % lanes) + lanes - 1] as Value);
    const isEqual = (i: number): boolean => a[i] === y[i];
    const isSelf = (i: number): boolean => !Number.isNaN(a[i]);
    const lane = (e: Expr, at: number): Expr => vec('splat', [vec('extract', [e], t, 1, at)], t, lanes);
    const got = await runAll(
      t,
      lanes,
      [a, y],
      [
        { name: 'select', to: t, expr: (p, q) => select(rawOp('eq', p, q), p, constant(5, t)) },
        { name: 'mask', to: t, expr: (p, q) => select(mask(p, q), p, q) },
        { name: 'one', to: t, expr: (p, q) => select(vec('extract', [rawOp('eq', p, q)], 'i1', 1, lanes - 1), p, q) },
        { name: 'first', to: t, expr: (p) => lane(p, 0) },
        { name: 'last', to: t, expr: (p) => lane(p, lanes - 1) },
        { name: 'iota', to: t, expr: () => vec('iota', [], t, lanes) },
        { name: 'turns', to: t, expr: (p, q) => vec('zip', [p, q], t, lanes) },
        { name: 'turns of second halves', to: t, expr: (p, q) => vec('zip', [p, q], t, lanes, 1) },
        { name: 'apart', to: t, expr: (p, q) => vec('evens', [p, q], t, lanes) },
      ],
    );
    const turns = (from: number): Value[] =>
      a.map((_, i) => {
        const at = i - (i % lanes) + from + Math.floor((i % lanes) / 2);
        return (i % 2 ? y[at] : a[at]) as Value;
      });
    const apart = a.map((_, i) => {
      const at = i + (i % lanes);
      return (2 * (i % lanes) < lanes ? a[at] : y[at - lanes + 1]) as Value;
    });
    const five = isFloatType(t) ? 5 : 5n;
    const want: Record<string, Value[]> = {
      select: a.map((v, i) => (isEqual(i) ? v : five)),
      mask: a.map((v, i) => (isEqual(i) === isSelf(i) ? v : (y[i] as Value))),
      one: a.map((v, i) => (isEqual(i - (i % lanes) + lanes - 1) ? v : (y[i] as Value))),
      first: first(a),
      last: last(a),
      iota: a.map((_, i) => i % lanes),
      turns: turns(0),
      'turns of second halves': turns(lanes / 2),
      apart,
    };
    for (const [name, values] of Object.entries(want)) {
      expect(difference(got[name] as Tensor, values, a, y), `${name} ${t}`).toBeNull();
    }
  });

  it('says which operation a vector lacks', () => {
    const divide = buildProgram('divide', (b) => {
      const x = b.input('x', 'i32', [4]);
      const y = b.output('y', 'i32', [4]);
      const v = load(0, [constant(0, 'i32')], 'i32', { lanes: 4 });
      b.steps(
        b.kernel(
          'k',
          [
            [x, 'read'],
            [y, 'write'],
          ],
          [store(1, constant(0, 'i32'), op('div', v, v))],
        ),
      );
    });
    expect(wasmVectorOps('div', 'i32', 4)).toBe(false);
    expect(() => emitWasm(divide)).toThrow(/no div on i32x4/);
  });

  it('denies shapes that do not fill a vector', () => {
    const asked: [VectorQuery, DType, number][] = [
      ['add', 'f32', 8],
      ['add', 'f32', 2],
      ['lt', 'u64', 2],
      ['load', 'i1', 4],
    ];
    for (const [o, t, n] of asked) expect(wasmVectorOps(o, t, n), `${o} ${t}x${n}`).toBe(false);
  });
});

describe('wasm casts', () => {
  it.each(SCALARS)('from %s', async (from) => {
    const a = samples(from, COUNT, SEED + 3);
    const cases = SCALARS.map((to) => ({ name: to, to, expr: (p: Expr) => cast(p, to) }));
    const got = await runAll(from, 1, [a, a], cases);
    for (const to of SCALARS) {
      const want = a.map((v) => convert(from, to, v));
      expect(difference(got[to] as Tensor, want, a, a), `${from} to ${to}`).toBeNull();
    }
  });

  it.each(VECTORS)('vectors from %s', async (from) => {
    const lanes = 128 / bitsOf(from);
    const a = samples(from, COUNT, SEED + 4);
    const targets = VECTORS.filter((to) => wasmVectorCast(from, to, lanes));
    const cases = targets.map((to) => ({ name: to, to, expr: (p: Expr) => cast(p, to) }));
    const truth = { name: 'truth', to: truthType(from), expr: (p: Expr) => cast(cast(p, 'i1'), truthType(from)) };
    const again = { name: 'again', to: from, expr: (p: Expr) => cast(cast(p, 'i1'), from) };
    const got = await runAll(from, lanes, [a, a], [...cases, truth, again]);
    for (const to of targets) {
      const want = a.map((v) => convert(from, to, v));
      expect(difference(got[to] as Tensor, want, a, a), `${from} to ${to}`).toBeNull();
    }
    const zero = a.map((v) => (Number(v) === 0 ? 0 : 1));
    expect(difference(got.truth as Tensor, zero, a, a)).toBeNull();
    expect(difference(got.again as Tensor, zero, a, a)).toBeNull();
  });
});
