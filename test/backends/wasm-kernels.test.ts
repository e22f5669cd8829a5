// What WebAssembly kernels do with memory: narrow and widening accesses, gathers, masks, registers, walking pointers,
// memory beyond 2 GiB, host steps; and how fast modules are written.

import { describe, expect, it } from 'vitest';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { emitWasm } from '../../src/backends/wasm/program.js';
import { wasmVectorLoad } from '../../src/backends/wasm/vector-cells.js';
import { type Dim, sub, symDim } from '../../src/ir/dim.js';
import type { BufferParam, Stmt } from '../../src/ir/kernel.js';
import type { Program } from '../../src/ir/program.js';
import { cast, constant, type Expr, i32, load, op, rawOp, variable, vec } from '../../src/ir/scalar.js';
import type { DType } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, type Handle, iv, letVar, loop, setVar, store, tensor } from './program-builder.js';
import { validate } from './wasm-validate.js';

type Stored = Exclude<DType, 'string'>;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const strided = (step: number, hi: number, ...body: Stmt[]): Stmt => ({ ...loop('i', hi, ...body), step }) as Stmt;

/** One kernel from inputs to one output `y`, run once. */
async function run(
  inputs: Record<string, Tensor>,
  y: [Stored, readonly Dim[]],
  body: readonly Stmt[],
): Promise<number[]> {
  const program = buildProgram('kernel', (b) => {
    const ins = Object.entries(inputs).map(([name, t]): [Handle, BufferParam['access']] => [
      b.input(name, t.dtype, t.shape),
      'read',
    ]);
    b.steps(b.kernel('k', [...ins, [b.output('y', ...y), 'write']], body));
  });
  await validate(program);
  const session = await instantiateWasm(program);
  return [...((await session.run(inputs)).y as Tensor).data].map(Number);
}

describe('wasm memory access', () => {
  const values = (t: Stored): number[] => range(16).map((i) => (t.startsWith('u') ? i * 15 : (i - 8) * 16 + (i % 3)));

  it.each([
    ['i8', 'i32', 4],
    ['u8', 'i32', 4],
    ['i8', 'i16', 8],
    ['u8', 'u16', 8],
    ['i16', 'i32', 4],
    ['u16', 'i32', 4],
    ['i32', 'i64', 2],
    ['u32', 'i64', 2],
    ['i8', 'i8', 16],
  ] as const)('widens %s to %s in %i lanes', async (from, to, lanes) => {
    expect(wasmVectorLoad(from, to, lanes)).toBe(true);
    const x = tensor(from, [16], values(from));
    const copy = store(1, iv('i'), load(0, [iv('i')], to, { lanes }));
    expect(await run({ x }, [to, [16]], [strided(lanes, 16, copy)])).toEqual([...x.data].map(Number));
  });

  it.each([
    ['i32', 'i8', 4],
    ['i32', 'u16', 4],
    ['i16', 'i8', 8],
    ['i64', 'i32', 2],
  ] as const)('keeps the low bits of %s in a %s buffer in %i lanes', async (from, to, lanes) => {
    const x = tensor(
      from,
      [16],
      range(16).map((i) => i * 12345 - 77777),
    );
    const copy = store(1, iv('i'), load(0, [iv('i')], from, { lanes }));
    const want = tensor(to, [16], [...x.data].map(Number));
    expect(await run({ x }, [to, [16]], [strided(lanes, 16, copy)])).toEqual([...want.data].map(Number));
  });

  it.each([
    ['i8', -128, 127],
    ['u8', 0, 255],
    ['i16', -32768, 32767],
    ['u16', 0, 65535],
    ['i8', -5, 127],
    ['i8', -128, 100],
    ['u8', 3, 9],
    ['i8', -200, 100],
  ] as const)('clamps to a %s buffer from %i to %i', async (to, lo, hi) => {
    const values = range(16).map((i) => (i - 8) * 20011 + (i % 3));
    const x = tensor('i32', [16], [...values.slice(4), lo, hi, -1, 2]);
    const v = load(0, [iv('i')], 'i32', { lanes: 4 });
    const [least, most] = [lo, hi].map((n) => vec('splat', [i32(n)], 'i32', 4)) as [Expr, Expr];
    const want = tensor(
      to,
      [16],
      [...x.data].map((n) => Math.min(Math.max(Number(n), lo), hi)),
    );
    for (const value of [rawOp('min', rawOp('max', v, least), most), rawOp('max', rawOp('min', v, most), least)]) {
      const got = await run({ x }, [to, [16]], [strided(4, 16, store(1, iv('i'), value))]);
      expect(got).toEqual([...want.data].map(Number));
    }
  });

  it.each(['i8', 'u8', 'i16', 'u16'] as const)('extends and truncates scalars of %s', async (t) => {
    const x = tensor(t, [4], [-1, 127, 200, 40000]);
    const sum = op('add', load(0, [iv('i')], 'i32'), i32(1));
    const want = tensor(
      t,
      [4],
      [...x.data].map((v) => Number(v) + 1),
    );
    expect(await run({ x }, [t, [4]], [loop('i', 4, store(1, iv('i'), sum))])).toEqual([...want.data].map(Number));
  });

  it('stores masks as zeros and ones', async () => {
    const x = tensor('f32', [8], [1, -1, 0, 5, -3, 2, Number.NaN, 1]);
    const mask = rawOp('lt', constant(0, 'f32'), load(0, [iv('i')], 'f32', { lanes: 4 }));
    const got = await run({ x }, ['u8', [8]], [strided(4, 8, store(1, iv('i'), mask))]);
    expect(got).toEqual([1, 0, 0, 1, 0, 1, 0, 1]);
  });

  it('gathers by a vector of indices', async () => {
    const x = tensor(
      'f32',
      [8],
      range(8).map((i) => i * 1.5),
    );
    const at = tensor('i32', [8], [7, 0, 3, 3, 1, 6, 2, 5]);
    const gathered = load(0, [load(1, [iv('i')], 'i32', { lanes: 4 })], 'f32', { lanes: 4 });
    const got = await run({ x, at }, ['f32', [8]], [strided(4, 8, store(2, iv('i'), gathered))]);
    expect(got).toEqual([...at.data].map((i) => Number(i) * 1.5));
  });

  it('reads only the lanes a mask allows', async () => {
    const x = tensor('f32', [5], [1, 2, 3, 4, 5]);
    const lane = vec('iota', [iv('i')], 'i32', 4);
    const guard = rawOp('and', rawOp('lt', lane, i32(5)), rawOp('lt', i32(0), lane));
    const pad = constant(-1, 'f32');
    const far = op('add', iv('i'), i32(0x0fffffff));
    const near = load(0, [iv('i')], 'f32', { lanes: 4, guard, pad });
    const never = load(0, [far], 'f32', { lanes: 4, guard: rawOp('lt', lane, i32(-1)), pad });
    const got = await run({ x }, ['f32', [8]], [strided(4, 8, store(1, iv('i'), rawOp('add', near, never)))]);
    expect(got).toEqual([-2, 1, 2, 3, 4, -2, -2, -2]);
  });

  it('tells masks and indices of several loops apart', async () => {
    const x = tensor('f32', [5], [1, 2, 3, 4, 5]);
    const masked = (i: Expr, least: number): Expr => {
      const guard = rawOp('lt', vec('iota', [i], 'i32', 4), i32(5 - least));
      return load(0, [i], 'f32', { lanes: 4, guard, pad: constant(-1, 'f32') });
    };
    const body = range(4).map((k) => {
      const at = op('add', iv(`i${k}`), i32(8 * k));
      const lets = range(4 - k).map((n) => letVar(`v${k}_${n}`, op('add', at, i32(n))));
      return { ...loop(`i${k}`, 8, ...lets, store(1, at, masked(iv(`i${k}`), k))), step: 4 } as Stmt;
    });
    const want = range(4).flatMap((k) => range(8).map((i) => (i < 5 - k ? i + 1 : -1)));
    expect(await run({ x }, ['f32', [32]], body)).toEqual(want);
  });

  it('does not touch memory where a guard is false', async () => {
    const x = tensor('i32', [1], [42]);
    const guard = rawOp('eq', iv('i'), i32(0));
    const guarded = load(0, [op('mul', iv('i'), i32(0x10000000))], 'i32', { guard, pad: i32(7) });
    expect(await run({ x }, ['i32', [3]], [loop('i', 3, store(1, iv('i'), guarded))])).toEqual([42, 7, 7]);
  });
});

describe('wasm address offsets', () => {
  it('reaches an element by a negative size and a large constant', async () => {
    const n = { name: 'n', lo: 1, hi: 50 };
    const negative: Expr = { k: 'dim', dim: sub(symDim(n), 5000), dtype: 'i32', lanes: 1 };
    const program = buildProgram('negative', (b) => {
      const x = b.input('x', 'f32', [1100]);
      const z = b.input('z', 'u8', [symDim(n)]);
      const y = b.output('y', 'f32', [1]);
      const body = [store(2, i32(0), load(0, [op('add', negative, i32(6000))], 'f32'))];
      b.steps(
        b.kernel(
          'k',
          [
            [x, 'read'],
            [z, 'read'],
            [y, 'write'],
          ],
          body,
          [n],
        ),
      );
    });
    const session = await instantiateWasm(program);
    const out = await session.run({ x: tensor('f32', [1100], range(1100)), z: tensor('u8', [30], []) });
    expect(out.y).toEqual(tensor('f32', [1], [1030]));
  });
});

describe('wasm loops', () => {
  const x = tensor('i32', [64], range(64));

  it('keeps constant elements of a register buffer in locals', async () => {
    const add = (e: number): Stmt =>
      store(
        2,
        i32(e),
        op('add', load(2, [i32(e)], 'i32', { lanes: 4 }), load(0, [op('add', iv('i'), i32(e))], 'i32', { lanes: 4 })),
      );
    const body: Stmt[] = [
      { s: 'alloc', buf: 2, dtype: 'i32', size: 8, space: 'register' },
      ...[0, 4].map((e) => store(2, i32(e), vec('splat', [i32(0)], 'i32', 4))),
      strided(8, 64, add(0), add(4)),
      ...[0, 4].map((e) => store(1, i32(e), load(2, [i32(e)], 'i32', { lanes: 4 }))),
    ];
    expect(await run({ x }, ['i32', [8]], body)).toEqual(
      range(8).map((e) => range(8).reduce((s, r) => s + r * 8 + e, 0)),
    );
  });

  it('walks pointers over strides, both directions, and constants on either side', async () => {
    const at = (e: Expr): Expr => load(0, [e], 'i32');
    const row = op('mul', iv('r'), i32(8));
    const back = op('sub', i32(7), iv('c'));
    const inner = op(
      'add',
      at(op('add', op('add', row, back), i32(8))),
      op('mul', at(op('sub', op('add', op('mul', op('add', iv('r'), i32(1)), i32(8)), iv('c')), i32(8))), i32(1000)),
    );
    const body = [loop('r', 7, letVar('base', row), loop('c', 8, store(1, op('add', iv('base'), iv('c')), inner)))];
    const want = range(56).map((i) => i - (i % 8) + 7 - (i % 8) + 8 + 1000 * i);
    expect(await run({ x }, ['i32', [56]], body)).toEqual(want);
  });

  it('counts on where a variable is read beside the addresses, under its own name or another', async () => {
    const i = iv('i');
    const j = op('mul', iv('j'), i32(2));
    const pad = load(0, [i], 'i32', { guard: rawOp('lt', load(0, [i], 'i32'), i32(3)), pad: i });
    const body = [
      loop('i', 8, store(1, i, i)), // one expression is index and value
      loop('j', 4, letVar('k', j), letVar('l', iv('k')), store(1, op('add', iv('k'), i32(8)), iv('l'))),
      loop('i', 4, store(1, op('add', i, i32(16)), pad)),
      strided(3, 11, store(1, op('add', op('mul', i, i32(2)), i32(20)), load(0, [i], 'i32'))), // nobody else reads it
    ];
    const want = [...range(8), 0, 0, 2, 0, 4, 0, 6, 0, ...range(4), ...range(19).map((k) => (k % 6 === 0 ? k / 2 : 0))];
    expect(await run({ x }, ['i32', [39]], body)).toEqual(want);
  });

  it('leaves pointers alone whose index moves otherwise', async () => {
    const body = [
      letVar('k', i32(0), true),
      loop(
        'c',
        10,
        setVar('k', op('add', iv('k'), iv('c'))),
        store(1, iv('c'), load(0, [op('add', iv('k'), i32(2))], 'i32')),
      ),
    ];
    expect(await run({ x }, ['i32', [10]], body)).toEqual(range(10).map((c) => (c * (c + 1)) / 2 + 2));
  });

  it('steps over a symbolic stride and an empty range, and breaks out of the innermost loop only', async () => {
    const n = { name: 'n', lo: 0, hi: 9 };
    const program = buildProgram('strides', (b) => {
      const m = b.input('m', 'i32', [symDim(n), 4]);
      const y = b.output('y', 'i32', [4, symDim(n)]);
      const source = load(0, [op('add', op('mul', iv('j'), i32(4)), iv('i'))], 'i32');
      const stop: Stmt = { s: 'if', cond: rawOp('lt', i32(90), source), then: [{ s: 'break' }], else: [] };
      const copy = loop('i', 4, stop, store(1, op('add', op('mul', iv('i'), iv('n')), iv('j')), source));
      b.steps(
        b.kernel(
          'transpose',
          [
            [m, 'read'],
            [y, 'write'],
          ],
          [loop('j', iv('n'), copy)],
          [n],
        ),
      );
    });
    const session = await instantiateWasm(program);
    const call = async (rows: number, data: number[]) => [
      ...((await session.run({ m: tensor('i32', [rows, 4], data) })).y as Tensor).data,
    ];
    expect(await call(0, [])).toEqual([]);
    expect(await call(2, [1, 2, 99, 4, 5, 6, 7, 8])).toEqual([1, 5, 2, 6, 0, 7, 0, 8]);
  });
});

describe('wasm programs', () => {
  it('reaches memory beyond 2 GiB and refuses more than 4', async () => {
    const far = (gib: number): Program =>
      buildProgram('far', (b) => {
        const x = b.input('x', 'f32', [4]);
        const y = b.output('y', 'f32', [4]);
        const high = b.arena('high', 'f32', 4, gib * 2 ** 30);
        const copy = [strided(4, 4, store(1, iv('i'), load(0, [iv('i')], 'f32', { lanes: 4 })))];
        b.steps(
          b.kernel(
            'up',
            [
              [x, 'read'],
              [high, 'write'],
            ],
            copy,
          ),
          b.kernel(
            'down',
            [
              [high, 'read'],
              [y, 'write'],
            ],
            copy,
          ),
        );
      });
    const x = tensor('f32', [4], [1, 2, 3, 4]);
    const session = await instantiateWasm(far(2.5));
    expect((await session.run({ x })).y).toEqual(x);
    expect(() => emitWasm(far(4))).toThrow(/E302 .*4 GiB.*arena 4097 MiB/);
  });

  it('calls host steps with their actual sizes', async () => {
    const n = { name: 'n', lo: 1, hi: 8 };
    const program = buildProgram('host', (b) => {
      const x = b.input('x', 'i64', [symDim(n)]);
      const y = b.output('y', 'i64', [symDim(n)]);
      const arg = (h: Handle) => ({ ref: { buffer: h.id, offset: 0 }, dtype: h.dtype, shape: [symDim(n)] });
      b.steps({
        kind: 'host',
        op: 'reverse',
        call: ([t]) => [{ ...(t as Tensor), data: BigInt64Array.from(t?.data as BigInt64Array).reverse() }],
        inputs: [arg(x)],
        outputs: [arg(y)],
        origins: [],
      });
    });
    const session = await instantiateWasm(program);
    expect(await session.run({ x: tensor('i64', [3], [1n, -2n, 3n]) })).toEqual({
      y: tensor('i64', [3], [3n, -2n, 1n]),
    });
  });

  it('writes 300 kernels in well under a second, the same bytes each time', () => {
    const program = buildProgram('many', (b) => {
      const x = b.input('x', 'f32', [64]);
      const y = b.output('y', 'f32', [64]);
      for (let i = 0; i < 300; i++) {
        const v = load(0, [op('add', op('mul', iv('r'), i32(8)), iv('c'))], 'f32');
        const e = range(12).reduce<Expr>(
          (a, k) => rawOp('add', rawOp('mul', a, v), constant(k, 'f32')),
          cast(iv('r'), 'f32'),
        );
        const body = loop(
          'r',
          8,
          loop('c', 8, letVar('v', e), store(1, op('add', op('mul', iv('r'), i32(8)), iv('c')), variable('v', 'f32'))),
        );
        b.steps(
          b.kernel(
            `k${i}`,
            [
              [x, 'read'],
              [y, 'write'],
            ],
            [body],
          ),
        );
      }
    });
    const first = emitWasm(program, { names: true }).module;
    const start = performance.now();
    const second = emitWasm(program, { names: true }).module;
    expect(performance.now() - start).toBeLessThan(500);
    expect(second).toEqual(first);
  });
});
