// Every rule is an equation, and every rule is tested as one: its left side is instantiated at random (types, constants,
// values with their edges), rewritten, and both sides are evaluated. Exact rules must agree bit for bit, NaN payloads
// aside; relaxed ones within a few roundings on ordinary values. HEDDLE_SEED repeats a run.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { optimizeModule, lowerToProgram } from '../../src/compile.js';
import { axisVars, type Builder, createBuilder } from '../../src/ir/builder.js';
import { expandMacro } from '../../src/ir/macros.js';
import { applyRule, inClass, type Pattern, type Rule } from '../../src/ir/pattern.js';
import {
  constant,
  type Expr,
  isPrimitive,
  rawOp,
  rewriteExpr,
  type ScalarOp,
  variable,
  visitExpr,
} from '../../src/ir/scalar.js';
import type { Module, Value as TensorValue } from '../../src/ir/tensor.js';
import { algebra, isSmooth, simplifyExpr } from '../../src/passes/algebra.js';
import { SCALAR_RULES } from '../../src/passes/rules/scalar.js';
import { TENSOR_RULES } from '../../src/passes/rules/tensor.js';
import { DTYPE_INFO, type DType, intRange, isFloat } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { type Compiled, compileExpr, type Value } from '../ir/scalar-js.js';

const SEED = Number(process.env.HEDDLE_SEED ?? 20240711);
const TYPES: readonly DType[] = ['f32', 'f64', 'i32', 'u32', 'i64', 'u64', 'i1'];

interface Random {
  readonly below: (n: number) => number;
  readonly pick: <T>(list: readonly T[]) => T;
}

function createRandom(seed: number): Random {
  let s = seed | 0;
  const below = (n: number): number => {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    return Math.floor(((s >>> 8) / 2 ** 24) * n);
  };
  return { below, pick: (list) => list[below(list.length)] as never };
}

const FLOAT_EDGES = [0, -0, 1, -1, 0.5, -2.5, 3, 1e30, -1e30, 1e-30, 2 ** -149, Infinity, -Infinity, NaN];

function edge(t: DType, r: Random): Value {
  if (t === 'i1') return r.below(2) === 1;
  if (isFloat(t)) {
    const v = r.below(2) ? r.pick(FLOAT_EDGES) : (r.below(2000) - 1000) / 64;
    return t === 'f32' ? Math.fround(v) : v;
  }
  const { lo, hi } = intRange(t);
  const v = r.pick([lo, hi, 0n, 1n, hi / 2n, BigInt(r.below(200)), lo + BigInt(r.below(100))]);
  return DTYPE_INFO[t].bits === 64 ? v : Number(v);
}

/** Ordinary magnitudes, where relaxed rules must hold. */
function ordinary(t: DType, r: Random): Value {
  const v = (r.below(4000) + 1) / 64;
  return isFloat(t) ? (t === 'f32' ? Math.fround(v) : v) : edge(t, r);
}

const BOOL_OPS = new Set<ScalarOp>(['and', 'or', 'xor', 'not']);
const FLOAT_ONLY = new Set<ScalarOp>(['sqrt', 'floor', 'ceil', 'trunc', 'rint', 'round']);

/** Does the type have the operation? */
function hasOp(op: ScalarOp, t: DType): boolean {
  if (t === 'i1') return BOOL_OPS.has(op);
  return isFloat(t) ? !BOOL_OPS.has(op) : !FLOAT_ONLY.has(op);
}

/** An expression of type `t` that the pattern matches; null where the types do not allow one. */
function instantiate(q: Pattern, t: DType, bound: Map<string, Expr>, r: Random): Expr | null {
  const known = 'name' in q ? bound.get(q.name) : undefined;
  if (known) return known.dtype === t ? known : null;
  switch (q.k) {
    case 'any': {
      const e = variable(q.name, t);
      bound.set(q.name, e);
      return e;
    }
    case 'constant': {
      const powers = r.below(3) === 0 && isFloat(t);
      const e = constant((powers ? 2 ** (r.below(20) - 10) : ordinary(t, r)) as number, t);
      bound.set(q.name, e);
      return e;
    }
    case 'number':
      if (
        !isFloat(t) &&
        (Object.is(q.value, -0) || !Number.isInteger(q.value) || (q.value < 0 && DTYPE_INFO[t].kind !== 'int'))
      )
        return null;
      return constant(q.value, t);
    case 'cast': {
      const arg = instantiate(q.arg, r.pick(TYPES), bound, r);
      return arg && { k: 'cast', arg, dtype: t, lanes: 1 };
    }
    case 'select': {
      const [c, a, b] = [
        instantiate(q.cond, 'i1', bound, r),
        instantiate(q.a, t, bound, r),
        instantiate(q.b, t, bound, r),
      ];
      return c && a && b && { k: 'select', cond: c, a, b, dtype: t, lanes: 1 };
    }
    case 'op': {
      if (!hasOp(q.op, t)) return null;
      const args = q.args.map((a) => instantiate(a, t, bound, r));
      return args.every((a) => a !== null) ? rawOp(q.op, ...(args as Expr[])) : null;
    }
  }
}

/** Macros expanded down to what the oracle knows. */
const expand = (x: Expr): Expr =>
  rewriteExpr(x, (y) =>
    y.k === 'op' && !isPrimitive(y.op) ? expand(expandMacro(y.op, y.args, (y.args[0] as Expr).dtype)) : y,
  );

function variablesOf(x: Expr): Map<string, DType> {
  const found = new Map<string, DType>();
  visitExpr(x, (y) => y.k === 'var' && found.set(y.name, y.dtype));
  return found;
}

const same = (a: Value, b: Value): boolean =>
  Object.is(a, b) || (typeof a === 'number' && typeof b === 'number' && Number.isNaN(a) && Number.isNaN(b));

function close(a: Value, b: Value, t: DType): boolean {
  if (same(a, b) || !isFloat(t)) return same(a, b);
  return Math.abs(Number(a) - Number(b)) <= (t === 'f32' ? 2e-6 : 1e-14) * (Math.abs(Number(b)) + 1e-30);
}

/** Instances of a rule it applied to; throws at the first that is wrong. */
function checkRule(rule: Rule, r: Random): number {
  let applied = 0;
  for (let trial = 0; trial < 120; trial++) {
    const t = r.pick(TYPES);
    const bound = new Map<string, Expr>();
    const left = instantiate(rule.pattern, t, bound, r);
    const right = left && applyRule(rule, left);
    if (!left || !right) continue;
    expect(right.dtype, `${rule.name} keeps the type`).toBe(left.dtype);
    const variables = variablesOf(left);
    const names = [...variables.keys()];
    const [f, g] = [left, right].map((x) => compileExpr(expand(x), names)) as [Compiled, Compiled];
    applied++;
    for (let k = 0; k < 24; k++) {
      const values = names.map((n) => (rule.relaxed ? ordinary : edge)(variables.get(n) as DType, r));
      const [want, got] = [f(...values), g(...values)];
      const ok = rule.relaxed ? close(got, want, left.dtype) : same(got, want);
      expect(
        ok,
        `${rule.name} at ${names.map((n, j) => `${n} = ${values[j]}`).join(', ')} (${t}): ${want} became ${got}; HEDDLE_SEED=${SEED}`,
      ).toBe(true);
    }
  }
  return applied;
}

describe(`scalar rules, seed ${SEED}`, () => {
  for (const [k, rule] of SCALAR_RULES.entries())
    it(rule.name, () => {
      expect(
        checkRule(rule, createRandom(SEED + 7919 * k)),
        `${rule.name} applied to too few instances`,
      ).toBeGreaterThan(3);
    });

  it('names are unique, so that a name is enough to find a rule', () => {
    expect(new Set(SCALAR_RULES.map((r) => r.name)).size).toBe(SCALAR_RULES.length);
  });

  it('strict numerics apply no relaxed rule', () => {
    const x = variable('x', 'f32');
    const div = rawOp('div', x, constant(3, 'f32'));
    expect(simplifyExpr(div, false)).toBe(div);
    expect(simplifyExpr(div, true)).not.toBe(div);
  });

  it('relaxed rules stay out of bodies that round to whole numbers', () => {
    const x = variable('x', 'f32');
    expect(isSmooth({ body: rawOp('exp', x), post: null })).toBe(true);
    expect(isSmooth({ body: rawOp('rint', rawOp('div', x, constant(3, 'f32'))), post: null })).toBe(false);
  });

  it('classes tell the types apart', () => {
    expect([
      inClass('f16', 'float'),
      inClass('u8', 'integer'),
      inClass('i1', 'integer'),
      inClass('i1', 'exact'),
    ]).toEqual([true, true, false, true]);
  });
});

type Instance = (b: Builder, x: TensorValue, r: Random) => TensorValue;

/** One way to make each tensor rule apply, at random. */
const INSTANCES: Readonly<Record<string, Instance>> = {
  'reshape(reshape(x)) → reshape(x)': (b, x) => b.reshape(b.reshape(x, [24]), [4, 6]),
  'reshape(x) → x to its own shape': (b, x) =>
    b.node({ kind: 'view', map: 'reshape' }, [x], [x.type])[0] as TensorValue,
  'view(view(x)) → view(x)': (b, x, r) => {
    const orders = [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
      [2, 1, 0],
    ];
    return b.transpose(b.transpose(x, r.pick(orders)), r.pick(orders));
  },
  'view(x) → x where it moves nothing': (b, x) =>
    b.node({ kind: 'view', map: axisVars(3) }, [x], [x.type])[0] as TensorValue,
  'concat(x) → x': (b, x) => b.node({ kind: 'concat', axis: 1 }, [x], [x.type])[0] as TensorValue,
  'copy(x) → x': (b, x) => b.generic({ shape: x.type.shape, body: (i, _, read) => read(x, i) }),
};

function moduleOf(make: (b: Builder, x: TensorValue) => TensorValue): Module {
  const b = createBuilder();
  let input: TensorValue | undefined;
  const body = b.region([{ dtype: 'f32', shape: [2, 3, 4] }], ([x]) => {
    input = x as TensorValue;
    return [b.map([make(b, input)], (v) => rawOp('add', v, constant(1, 'f32')))];
  });
  return { name: 'rule', states: [], entries: [{ name: 'run', inputNames: ['x'], outputNames: ['y'], body }] };
}

const run = (m: Module): readonly number[] => {
  const program = lowerToProgram(m, { target: 'interp' });
  const x = fromNumbers(
    'f32',
    [2, 3, 4],
    Array.from({ length: 24 }, (_, k) => k * 1.5 - 7),
  );
  const { y } = createInterpreter(program).runSync({ x });
  return [...((y as Tensor).data as Float32Array)];
};

describe(`tensor rules, seed ${SEED}`, () => {
  for (const [k, rule] of TENSOR_RULES.entries())
    it(rule.name, () => {
      const instance = INSTANCES[rule.name] as Instance;
      expect(instance, `test/passes/rules.test.ts has no instance of ${rule.name}`).toBeDefined();
      for (let trial = 0; trial < 4; trial++) {
        const m = moduleOf((b, x) => instance(b, x, createRandom(SEED + 31 * k + trial)));
        const context = { numerics: 'fast' as const, evaluate: () => [], vectors: null };
        const passes = [{ name: 'algebra', doc: '', run: (n: Module) => algebra(n, context) }];
        const after = optimizeModule(m, {}, passes);
        const applied = m.entries[0]?.body.nodes.some((n) => rule.apply(n, { emit: () => [{} as TensorValue] }));
        expect(applied, `${rule.name} does not apply to its instance`).toBe(true);
        expect(run(after)).toEqual(run(m));
      }
    });
});
