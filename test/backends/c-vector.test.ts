// Vector expressions in C: every operation on every vector type gives, lane by lane, what the scalar program gives; with
// compilers' vector types, and as plain structs of lanes.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { emitC } from '../../src/backends/c/emit.js';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import type { Stmt } from '../../src/ir/kernel.js';
import type { Program } from '../../src/ir/program.js';
import {
  bitcast,
  cast,
  constant,
  type Expr,
  i32,
  load,
  op,
  rawOp,
  type ScalarOp,
  select,
  vec,
} from '../../src/ir/scalar.js';
import type { Session } from '../../src/runtime/session.js';
import type { DType } from '../../src/support/dtype.js';
import { buildProgram, iv, loop, store, tensor } from './program-builder.js';

const dir = mkdtempSync(join(tmpdir(), 'heddle-test-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Lane = 'i32' | 'u32' | 'f32' | 'f64' | 'i64';
const isFloat = (t: string): boolean => t.startsWith('f');
const N = 16;
const isX86 = process.arch === 'x64';
const FLOATS = [
  0,
  -0,
  1.5,
  -2.5,
  3e9,
  -3e9,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  0.5,
  -0.5,
  7,
  8.25,
  -9,
  1e-40,
  100,
  -1,
];
const INTS = [0, 1, -1, 2, 31, 33, -7, 255, 2147483647, -2147483648, 65537, -65536, 5, 6, -100, 1000];

/** The elements of x and y at `at`, `lanes` of them. */
type Make = (x: Expr, y: Expr, lanes: number) => Expr;

const canonical = (e: Expr): Expr =>
  isFloat(e.dtype) ? select(rawOp('eq', e, e), e, constant(Number.NaN, e.dtype)) : e;

/** One output per named expression, computed `lanes` elements at a time. */
function program(type: Lane, lanes: number, exprs: Readonly<Record<string, Make>>): Program {
  return buildProgram(`vector ${type}`, (b) => {
    const x = b.input('x', type, [N]);
    const y = b.input('y', type, [N]);
    for (const [name, make] of Object.entries(exprs)) {
      const at = op('mul', iv('i'), i32(lanes));
      const e = canonical(make(load(0, [at], type, { lanes }), load(1, [at], type, { lanes }), lanes));
      const stored = e.dtype === 'i1' ? cast(e, 'i32') : e;
      const out = b.output(name, stored.dtype, [N]);
      b.steps(
        b.kernel(
          name,
          [
            [x, 'read'],
            [y, 'read'],
            [out, 'write'],
          ],
          [loop('i', N / lanes, store(2, at, stored))],
        ),
      );
    }
  });
}

function expressions(type: Lane): Record<string, Make> {
  const ints: ScalarOp[] = ['and', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'clz', 'popcnt', 'mulhi_s', 'mulhi_u'];
  const floats: ScalarOp[] = ['div', 'floor', 'ceil', 'trunc', 'rint', 'sqrt'];
  const unary = ['neg', 'abs', 'floor', 'ceil', 'trunc', 'rint', 'sqrt', 'clz', 'popcnt'];
  const all: ScalarOp[] = [
    'add',
    'sub',
    'mul',
    'min',
    'max',
    'neg',
    'abs',
    'eq',
    'lt',
    'le',
    ...(isFloat(type) ? floats : ints),
  ];
  const made = Object.fromEntries(
    all.map((o): [string, Make] => [o, (x, y) => (unary.includes(o) ? rawOp(o, x) : rawOp(o, x, y))]),
  );
  const other: Record<Lane, DType> = { f32: 'i32', i32: 'f32', u32: 'i32', f64: 'i64', i64: 'f64' };
  const shifts = (['shl', 'shr_s', 'shr_u'] as const).map((o): [string, Make] => [
    `${o} by one count`,
    (x) => rawOp(o, x, constant(37, type)),
  ]);
  return {
    ...made,
    ...(isFloat(type) ? {} : Object.fromEntries(shifts)),
    blend: (x, y) => select(rawOp('and', rawOp('lt', x, y), rawOp('eq', x, x)), x, y),
    'scalar operand': (x) => rawOp('mul', x, constant(3, type)),
    'scalar choice': (x, y) => select(rawOp('lt', iv('i'), i32(1)), x, y),
    'to i32': (x) => cast(x, 'i32'),
    'to f32': (x) => cast(x, 'f32'),
    'to f64': (x) => cast(x, 'f64'),
    'to i1': (x) => cast(x, 'i1'),
    bits: (x) => bitcast(canonical(x), other[type]),
    guarded: (_x, y, lanes) =>
      load(0, [op('mul', iv('i'), i32(lanes))], type, { lanes, guard: rawOp('lt', iv('i'), i32(1)), pad: y }),
    masked: (x, y, lanes) =>
      load(0, [op('mul', iv('i'), i32(lanes))], type, { lanes, guard: rawOp('le', x, y), pad: constant(9, type) }),
    splat: (x, _, lanes) =>
      lanes === 1
        ? load(0, [i32(3)], type)
        : select(
            rawOp('eq', x, x),
            vec('splat', [load(0, [i32(3)], type)], type, lanes),
            vec('splat', [load(0, [i32(3)], type)], type, lanes),
          ),
    extract: (x, y, lanes) =>
      lanes === 1 ? y : select(rawOp('eq', vec('extract', [x], type, 1, 0), vec('extract', [x], type, 1, 0)), y, y),
  };
}

const values = (type: Lane) =>
  tensor(type, [N], isFloat(type) ? FLOATS : type.endsWith('64') ? INTS.map(BigInt) : INTS);
const reversed = (type: Lane) => {
  const t = values(type);
  return { ...t, data: t.data.slice().reverse() as typeof t.data };
};

async function expectLanewise(cflags: readonly string[]): Promise<void> {
  const widths = { f32: [4, 8, 16], i32: [4, 16], u32: [8], f64: [4], i64: [8] };
  const cases = (['f32', 'i32', 'u32', 'f64', 'i64'] as const).flatMap((type) =>
    widths[type].map((lanes) => ({ type, lanes })),
  );
  const programs = cases.map(({ type, lanes }) => ({
    name: `${type}x${lanes}`,
    program: program(type, lanes, expressions(type)),
  }));
  const sessions = await buildC(programs, { cflags });
  for (const { type, lanes } of cases) {
    const inputs = { x: values(type), y: reversed(type) };
    const session = sessions.get(`${type}x${lanes}`)!;
    const got = await session.run(inputs);
    const expected = createInterpreter(program(type, 1, expressions(type))).runSync(inputs);
    // The guard of one block covers all its lanes.
    for (const [name, value] of Object.entries(expected)) {
      if (name === 'guarded' || name === 'scalar choice') continue;
      expect(got[name], `${name} on ${type}x${lanes}`).toEqual(value);
    }
    const block = (v: ArrayLike<number | bigint>, w: ArrayLike<number | bigint>) =>
      Array.from(v, (e, i) => (i < lanes ? e : w[i]));
    for (const name of ['guarded', 'scalar choice']) {
      const picked = block(inputs.x.data as Float32Array, inputs.y.data as Float32Array);
      expect([...(got[name]!.data as Float32Array)], name).toEqual(picked);
    }
    await session.close();
  }
}

/** Widening loads, narrowing stores, gathers, iota, lanes in turn and apart, and a mutable vector sum: a dot product of i8 by 16 lanes. */
function narrow(lanes: number): Program {
  return buildProgram('narrow', (b) => {
    const x = b.input('x', 'i8', [32]);
    const y = b.output('y', 'i8', [32]);
    const sum = b.output('sum', 'i32', [lanes]);
    const odd = b.output('odd', 'f32', [lanes]);
    const turns = b.output('turns', 'i32', [2 * lanes]);
    const apart = b.output('apart', 'i32', [lanes]);
    const floats = b.output('floats', 'f32', [lanes]);
    const at = op('mul', iv('i'), i32(lanes));
    const v = load(0, [at], 'i32', { lanes });
    const acc: Expr = { k: 'var', name: 'acc', dtype: 'i32', lanes };
    const index = rawOp('add', rawOp('mul', vec('iota', [i32(0)], 'i32', lanes), i32(2)), i32(1));
    const let_ = (value: Expr): Stmt => ({ s: 'let', var: 'acc', value, mutable: true });
    b.steps(
      b.kernel(
        'dot',
        [
          [x, 'read'],
          [y, 'write'],
          [sum, 'write'],
        ],
        [
          let_(vec('splat', [i32(0)], 'i32', lanes)),
          loop(
            'i',
            32 / lanes,
            { s: 'set', var: 'acc', value: rawOp('add', acc, rawOp('mul', v, v)) },
            store(1, at, rawOp('mul', v, i32(3))),
          ),
          store(2, i32(0), acc),
        ],
      ),
      b.kernel(
        'gather',
        [
          [x, 'read'],
          [odd, 'write'],
        ],
        [store(1, i32(0), cast(load(0, [index], 'i32', { lanes }), 'f32'))],
      ),
      b.kernel(
        'turns',
        [
          [x, 'read'],
          [turns, 'write'],
        ],
        [0, 1].map((half) => {
          const halves = [0, 1].map((k) => load(0, [i32(k * lanes)], 'i32', { lanes }));
          return store(1, i32(half * lanes), vec('zip', halves, 'i32', lanes, half));
        }),
      ),
      b.kernel(
        'apart',
        [
          [x, 'read'],
          [apart, 'write'],
          [floats, 'write'],
        ],
        (['i32', 'f32'] as const).map((type, k) => {
          const parts = [1, lanes].map((from) => cast(load(0, [i32(from)], 'i32', { lanes }), type));
          return store(1 + k, i32(0), vec('evens', parts, type, lanes));
        }),
      ),
    );
  });
}

async function expectNarrow(open: (lanes: number) => Promise<Session>): Promise<void> {
  const x = Array.from({ length: 32 }, (_, i) => ((i * 37) % 256) - 128);
  for (const lanes of [4, 8, 16]) {
    const session = await open(lanes);
    const got = await session.run({ x: tensor('i8', [32], x) });
    expect([...(got.y!.data as Int8Array)]).toEqual(x.map((v) => ((v * 3) << 24) >> 24));
    const sums = Array.from({ length: lanes }, (_, l) =>
      x.filter((_, i) => i % lanes === l).reduce((s, v) => s + v * v, 0),
    );
    expect([...(got.sum!.data as Int32Array)]).toEqual(sums);
    const turns = Array.from({ length: lanes }, (_, l) => [x[l], x[l + lanes]]).flat();
    expect([...(got.turns!.data as Int32Array)]).toEqual(turns);
    for (const name of ['odd', 'apart', 'floats'])
      expect([...(got[name]!.data as Float32Array)], name).toEqual(
        Array.from({ length: lanes }, (_, l) => x[2 * l + 1]),
      );
    await session.close();
  }
}

const narrowInC = (cflags: readonly string[]): Promise<void> =>
  expectNarrow(
    async (lanes) => (await buildC([{ name: 'narrow', program: narrow(lanes) }], { cflags })).get('narrow')!,
  );

const WIDTHS = [
  ['i8', 'i16'],
  ['u8', 'i16'],
  ['i8', 'i32'],
  ['u8', 'i32'],
  ['i16', 'i32'],
  ['u16', 'i32'],
] as const;
const LANES = [4, 8, 16, 32];
const fits = (wide: 'i16' | 'i32', lanes: number): boolean => lanes * (wide === 'i16' ? 2 : 4) <= 64;

/** Every load that widens, and every store that cuts off what is above. */
function widths(): Program {
  return buildProgram('widths', (b) => {
    const wides = { i16: b.input('halves', 'i16', [32]), i32: b.input('words', 'i32', [32]) };
    for (const [narrow, wide] of WIDTHS) {
      const x = b.input(`${narrow}_${wide}`, narrow, [32]);
      for (const lanes of LANES.filter((n) => fits(wide, n))) {
        const [y, z] = [
          b.output(`w_${narrow}_${wide}_${lanes}`, wide, [32]),
          b.output(`n_${narrow}_${wide}_${lanes}`, narrow, [32]),
        ];
        const at = op('mul', iv('i'), i32(lanes));
        const values = load(1, [at], wide, { lanes });
        b.steps(
          b.kernel(
            `k_${narrow}_${wide}_${lanes}`,
            [
              [x, 'read'],
              [wides[wide], 'read'],
              [y, 'write'],
              [z, 'write'],
            ],
            [loop('i', 32 / lanes, store(2, at, load(0, [at], wide, { lanes })), store(3, at, values))],
          ),
        );
      }
    }
  });
}

async function expectWidths(cflags: readonly string[]): Promise<void> {
  const session = (await buildC([{ name: 'widths', program: widths() }], { cflags })).get('widths')!;
  const bits = (t: string): number => Number(t.slice(1));
  const cut = (v: number, t: string): number =>
    t.startsWith('u') ? v & (2 ** bits(t) - 1) : (v << (32 - bits(t))) >> (32 - bits(t));
  const words = Array.from({ length: 32 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >> (i % 17));
  const narrow = (t: string) => words.map((v) => cut(v * 3 + 255, t));
  const inputs = Object.fromEntries(WIDTHS.map(([n, w]) => [`${n}_${w}`, tensor(n, [32], narrow(n))]));
  const got = await session.run({
    words: tensor('i32', [32], words),
    halves: tensor(
      'i16',
      [32],
      words.map((v) => cut(v, 'i16')),
    ),
    ...inputs,
  });
  for (const [n, w] of WIDTHS)
    for (const lanes of LANES.filter((k) => fits(w, k))) {
      const of = `${n}_${w}_${lanes}`;
      expect([...(got[`w_${of}`]!.data as Int32Array)], `widened ${of}`).toEqual(narrow(n));
      expect([...(got[`n_${of}`]!.data as Int32Array)], `cut ${of}`).toEqual(words.map((v) => cut(v, n)));
    }
  await session.close();
}

const SANITIZE = ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

describe('vector expressions in C', () => {
  it('are lanewise with vector types, optimised', () => expectLanewise(['-O3', '-march=native']));
  it.skipIf(!isX86)('are lanewise with vector types of sixteen bytes and instructions that round', () =>
    expectLanewise(['-O2', '-msse4.1']),
  );
  it('are lanewise with vector types, sanitized', () => expectLanewise(SANITIZE));
  it('are lanewise as structs of lanes', () => expectLanewise(['-O1', '-DHEDDLE_SIMD=0']));
  it('load and store narrow elements, gather and count', async () => {
    await narrowInC(['-O2', '-march=native']);
    await narrowInC(SANITIZE);
    await narrowInC(['-O1', '-DHEDDLE_PLAIN_C']);
  });

  it('widen and cut lanes of every width by what a processor has', async () => {
    for (const flags of [[], ['-mssse3'], ['-msse4.1'], ['-march=native']].filter((f) => isX86 || f.length === 0))
      await expectWidths(['-O2', ...flags]);
    await expectWidths(['-O1', '-DHEDDLE_PLAIN_C']);
  });

  it('have no warnings', () => {
    const ofX86 = [widths(), program('f32', 16, expressions('f32')), program('i32', 16, expressions('i32'))];
    const programs = [
      ...ofX86,
      narrow(16),
      ...(['f32', 'i32', 'u32', 'f64', 'i64'] as const).map((t) => program(t, 8, expressions(t))),
    ];
    const files = programs.map((p, i) => {
      for (const [file, content] of Object.entries(emitC(p, { prefix: `v${i}` })))
        writeFileSync(join(dir, file), content);
      return `v${i}.c`;
    });
    const flags = ['-std=c99', '-pedantic', '-Wall', '-Wextra', '-Wconversion', '-Werror', '-O2', '-c'];
    const build = (extra: readonly string[], names: readonly string[]) =>
      void execFileSync('gcc', [...flags, ...extra, ...names], { cwd: dir, stdio: 'pipe' });
    for (const extra of [[], ['-DHEDDLE_SIMD=0'], ['-march=native']]) build(extra, files);
    const sets = isX86 ? [['-msse4.1'], ['-mavx2'], ['-mavx512f'], ['-mavx512vl', '-mavx512bw']] : [];
    for (const extra of sets) build(extra, files.slice(0, ofX86.length));
  });

  it('mean in the interpreter what they are in C', () =>
    expectNarrow(async (lanes) => createInterpreter(narrow(lanes))));
});
