// The interpreter runs the shared programs, checks its inputs, and agrees with exact arithmetic on every operation.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import type { Tensor } from '../../src/support/tensor.js';
import { tensor } from './program-builder.js';
import { casts, FLOAT_EDGES, operations, PROGRAMS } from './programs.js';

const find = (name: string) => PROGRAMS.find((p) => p.name === name)!.program;

describe('interpreter', () => {
  for (const { name, program, calls } of PROGRAMS) {
    it(`runs ${name}`, () => {
      const session = createInterpreter(program);
      for (const call of calls) {
        const outputs = session.runSync(call.inputs, call.entry);
        if (call.outputs) expect(outputs).toEqual(call.outputs);
        else for (const t of Object.values(outputs)) expect(t.data.length).toBe(t.shape.reduce((n, d) => n * d, 1));
      }
    });
  }

  it('puts state back on reset', async () => {
    const session = createInterpreter(find('state that outlives a call, and two entries'));
    const x = tensor('f32', [2], [1, 2]);
    session.runSync({ x }, 'step');
    await session.reset();
    expect([...(session.runSync({}, 'peek').memory as Tensor).data]).toEqual([10, 20]);
  });

  it('shows each step and its buffers', () => {
    const seen: string[] = [];
    const program = find('a scan with carried values');
    const total = program.buffers.find((b) => b.name === 'total')!;
    const session = createInterpreter(program, {
      onStep: (step, read) => seen.push(`${step.kind} ${[...read({ buffer: total.id, offset: 0 }, 2)]}`),
    });
    session.runSync({ x: tensor('f32', [2, 2], [1, 2, 3, 4]) });
    expect(seen).toEqual(['kernel 0,0', 'kernel 1,2', 'kernel 4,6']);
  });

  it('accepts data that is not aligned to its element size', () => {
    const bytes = new Uint8Array(13);
    const session = createInterpreter(find('elementwise with a dynamic length'));
    const data = new DataView(bytes.buffer, 1, 12);
    data.setFloat32(0, 3, true);
    const { y } = session.runSync({ x: { dtype: 'f32', shape: [3], data } });
    expect([...y!.data]).toEqual([7, 1, 1]);
  });
});

describe('input checking', () => {
  const run = (name: string, inputs: Record<string, Tensor>) => () => createInterpreter(find(name)).runSync(inputs);
  const n = 'elementwise with a dynamic length';
  it.each([
    ['a missing input', run(n, {}), /E402 input "x" is missing. Inputs of "run": x: f32\[n\]/],
    ['an unknown input', run(n, { x: tensor('f32', [1], [1]), z: tensor('f32', [1], [1]) }), /there is no input "z"/],
    ['a wrong type', run(n, { x: tensor('f64', [1], [1]) }), /expected type f32, got f64/],
    ['a wrong rank', run(n, { x: tensor('f32', [1, 1], [1]) }), /expected 1 axes, got 2/],
    ['a symbol out of range', run(n, { x: tensor('f32', [65], []) }), /input "x", axis 0: expected 0 ≤ n ≤ 64, got 65/],
    ['a wrong size', run('a size bound by data', { x: tensor('i32', [4], []) }), /axis 0: expected 5, got 4/],
    ['too little data', run(n, { x: { ...tensor('f32', [2], []), shape: [3] } }), /\[3\] has 3 elements, its data 2/],
  ])('rejects %s', (_, call, message) => expect(call).toThrow(message));
});

describe('numerics', () => {
  const wrap = (t: string, v: bigint): bigint =>
    BigInt[t.startsWith('u') ? 'asUintN' : 'asIntN'](Number(t.slice(1)), v);
  const exact: Record<string, (a: bigint, b: bigint, bits: bigint, t: string) => bigint> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    div: (a, b) => a / (b > 0n ? b : 3n),
    rem: (a, b) => a % (b > 0n ? b : 3n),
    min: (a, b) => (a - b < 0n ? a : b),
    max: (a, b) => (a - b > 0n ? a : b),
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    shl: (a, b, w) => a << (b & (w - 1n)),
    shr_s: (a, b, w) => BigInt.asIntN(Number(w), a) >> (b & (w - 1n)),
    shr_u: (a, b, w) => BigInt.asUintN(Number(w), a) >> (b & (w - 1n)),
    mulhi_u: (a, b, w) => (BigInt.asUintN(Number(w), a) * BigInt.asUintN(Number(w), b)) >> w,
    mulhi_s: (a, b, w) => (BigInt.asIntN(Number(w), a) * BigInt.asIntN(Number(w), b)) >> w,
    neg: (a) => -a,
    abs: (a) => (a < 0n ? -a : a),
    clz: (a, _, w) => w - (a === 0n ? 0n : BigInt(BigInt.asUintN(Number(w), a).toString(2).length)),
    popcnt: (a, _, w) => BigInt([...BigInt.asUintN(Number(w), a).toString(2)].filter((c) => c === '1').length),
  };
  it.each(['i32', 'u32', 'i64', 'u64'] as const)('of %s are those of wrapped integers', (type) => {
    const { program, calls } = operations(type);
    const outputs = createInterpreter(program).runSync(calls[0]!.inputs);
    const v = [...(calls[0]!.inputs.x as Tensor).data].map(BigInt);
    const bits = BigInt(type.slice(1));
    for (const [name, of] of Object.entries(exact)) {
      const got = [...outputs[name]!.data].map(BigInt);
      const pairs = got.length === v.length ? v.map((a) => [a, 0n]) : v.flatMap((a) => v.map((b) => [a, b]));
      expect(got, name).toEqual(pairs.map(([a, b]) => wrap(type, of(a!, b!, bits, type))));
    }
  });

  it('saturate float to int casts, and round i64 to f32 once', () => {
    const run = (from: 'f32' | 'i64') => createInterpreter(casts(from).program).runSync(casts(from).calls[0]!.inputs);
    const saturate = (x: number, lo: bigint, hi: bigint): bigint =>
      Number.isNaN(x) ? 0n : x >= Number(hi) ? hi : x <= Number(lo) ? lo : BigInt(Math.trunc(x));
    const from = FLOAT_EDGES.map(Math.fround);
    for (const [type, lo, hi] of [
      ['i32', -(1n << 31n), (1n << 31n) - 1n],
      ['u32', 0n, (1n << 32n) - 1n],
      ['i64', -(1n << 63n), (1n << 63n) - 1n],
      ['u64', 0n, (1n << 64n) - 1n],
    ] as const) {
      expect([...run('f32')[`to ${type}`]!.data].map(BigInt)).toEqual(from.map((x) => saturate(x, lo, hi)));
    }
    const ints = [...(casts('i64').calls[0]!.inputs.x as Tensor).data];
    expect(run('i64')['to f32']!.data[ints.indexOf(9007199791611905n as never)]).toBe(9007200328482816);
  });

  it('round half to even, keep the sign of zero, and let NaN through min and max', () => {
    const { program, calls } = operations('f32');
    const out = createInterpreter(program).runSync(calls[0]!.inputs);
    const at = (x: number) => FLOAT_EDGES.findIndex((v) => Object.is(v, x));
    const rint = out.rint!.data;
    expect([0.5, -0.5, 1.5, 2.5, -2.5, 8388607.5].map((x) => rint[at(x)])).toEqual([0, -0, 2, 2, -2, 8388608]);
    const nan = at(Number.NaN);
    expect(out.max!.data[nan * FLOAT_EDGES.length]).toBeNaN();
    expect(out.min!.data[nan]).toBeNaN();
  });
});
