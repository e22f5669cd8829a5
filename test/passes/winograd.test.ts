// Convolutions with fewer products: what the pass makes of them against what they were, both in the interpreter; and
// compiled, with the rule for when it pays, close to a sum of the same terms, and not taken in strict numerics.

import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { buildC } from '../../src/backends/c/load-node.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram, optimizeModule } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Module } from '../../src/ir/tensor.js';
import { winograd, type Worth } from '../../src/passes/winograd.js';
import { planTaps, productsOf } from '../../src/passes/winograd-taps.js';
import type { Session } from '../../src/runtime/session.js';

interface Axis {
  readonly size: number;
  readonly taps: number;
  readonly stride: number;
  readonly pad: number;
}

interface Case {
  readonly groups?: number;
  readonly channels: number;
  readonly filters: number;
  readonly axes: readonly Axis[];
  /** The last axis is open, and has its size when it runs. */
  readonly isOpen?: boolean;
}

const axis = (size: number, taps: number, stride = 1, pad = 0): Axis => ({ size, taps, stride, pad });
/** What the largest size of an open axis is beyond the usual one. */
const OPEN = 3;

const placesOf = ({ size, taps, stride, pad }: Axis): number => Math.floor((size + 2 * pad - taps) / stride) + 1;

const nameOf = ({ channels, filters, axes, groups, isOpen }: Case): string =>
  [
    `${filters} of ${channels}${groups ? ` in ${groups} groups` : ''}`,
    ...axes.map((a) => `${a.taps} taps on ${a.size} by ${a.stride}, padding ${a.pad}`),
    ...(isOpen ? ['open'] : []),
  ].join(', ');

function textOf({ channels, filters, axes, groups, isOpen }: Case): string {
  const around = groups ? [groups] : [];
  const first = around.length + 2;
  const at = (a: Axis, k: number): string => `i${first + k} * ${a.stride} + r${k + 1} - ${a.pad}`;
  const last = axes.length - 1;
  const sizes = axes.map((a, k) => (isOpen && k === last ? 'n' : a.size));
  const places = axes.map((a, k) =>
    isOpen && k === last ? `floordiv(n + ${2 * a.pad - a.taps}, ${a.stride}) + 1` : placesOf(a),
  );
  const pad = axes.some((a) => a.pad > 0) ? ' else 0' : '';
  const x = `$0[${['i0', ...around.map(() => 'i1'), 'r0', ...axes.map(at)].join(', ')}${pad}]`;
  const w = `$1[${[...around.map(() => 'i1'), `i${first - 1}`, ...['r0', ...axes.map((_, k) => `r${k + 1}`)]].join(', ')}]`;
  const { taps, size } = axes[last] as Axis;
  return `module "m" {${isOpen ? `\n  sym n : ${Math.min(taps, size)} .. ${size + OPEN}` : ''}
  entry "run" ("x": %0 f32[${[2, ...around, channels, ...sizes].join(', ')}], "w": %1 f32[${[...around, filters, channels, ...axes.map((a) => a.taps)].join(', ')}]) {
    %2 = generic %0, %1 : f32[${[2, ...around, filters, ...places].join(', ')}] reduce add [${[channels, ...axes.map((a) => a.taps)].join(', ')}] = ${x} * ${w} then acc + 0.5 @ Conv "conv" 0
    return "y": %2
  }
}
`;
}

/** Seeded, in [-1, 1). */
function numbers(shape: readonly number[], seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * 2 - 1;
  });
}

/** With another size of the last axis. */
function inputsOf({ channels, filters, axes, groups }: Case, last?: number) {
  const around = groups ? [groups] : [];
  const sizes = axes.map((a, k) => (k === axes.length - 1 && last !== undefined ? last : a.size));
  const [x, w] = [
    [2, ...around, channels, ...sizes],
    [...around, filters, channels, ...axes.map((a) => a.taps)],
  ];
  return {
    x: { dtype: 'f32', shape: x, data: numbers(x, 1) },
    w: { dtype: 'f32', shape: w, data: numbers(w, 2) },
  } as const;
}

/** Every kind of size an open axis can have: the least, some odd and some even numbers of places, the largest. */
function runsOf(c: Case): readonly Inputs[] {
  const { size, taps, stride } = c.axes.at(-1) as Axis;
  const sizes = [taps, taps + stride, taps + 2 * stride, taps + 9 * stride, size - 1, size, size + OPEN];
  const inRange = sizes.filter((n) => n >= Math.min(taps, size) && n <= size + OPEN);
  return c.isOpen ? inRange.map((n) => inputsOf(c, n)) : [inputsOf(c)];
}

type Inputs = ReturnType<typeof inputsOf>;

const absolute = (inputs: Inputs): Inputs => ({
  x: { ...inputs.x, data: inputs.x.data.map(Math.abs) },
  w: { ...inputs.w, data: inputs.w.data.map(Math.abs) },
});

type Run = (inputs: Inputs) => Float32Array;

function interpreted(m: Module): Run {
  const interpreter = createInterpreter(lowerToProgram(m, { target: 'interp' }));
  return (inputs) => interpreter.runSync(inputs).y!.data as Float32Array;
}

/** Of the sum of the terms' sizes. */
const ROUNDING = 4e-7;

/** `run`: what the interpreter makes of the module as it was. */
function expectClose(got: Float32Array, run: Run, inputs: Inputs): void {
  const [want, sizes] = [run(inputs), run(absolute(inputs))];
  expect(got.length).toBe(want.length);
  want.forEach((y, k) => {
    if (!(Math.abs(got[k]! - y) <= ROUNDING * sizes[k]!)) throw new Error(`[${k}] ${got[k]}, not ${y}`);
  });
}

/** Whatever saves one product. */
const ALWAYS: Worth = { reuse: 1, depth: 1, places: 1, width: 1, work: 1, saved: 1e-6, sums: Infinity };

const withFewer = (m: Module, options: Parameters<typeof optimizeModule>[1] = {}): Module =>
  optimizeModule(m, options, [{ name: 'winograd', doc: '', run: (module, c) => winograd(module, c, ALWAYS) }]);

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, k) => from + k);

describe('the pass keeps what a convolution computes', () => {
  for (const stride of range(1, 4))
    for (const taps of range(2, 9)) {
      const pad = (stride + taps) % 3;
      const size = (places: number): number => (places - 1) * stride + taps - 2 * pad;
      const even = axis(size(6), taps, stride, pad);
      const odd = axis(size(7) + (stride - 1), taps, stride, pad);
      const cases: readonly Case[] = [
        { channels: 3, filters: 4, axes: [even] },
        { channels: 3, filters: 4, axes: [odd] },
        { channels: 2, filters: 3, axes: [odd, axis(5, 1)] },
        { channels: 2, filters: 3, axes: [axis(5, 2), even] },
        { channels: 2, filters: 3, axes: [odd, axis(9, 2, 2, 1)] },
        { channels: 2, filters: 3, groups: 2, axes: [odd] },
        { channels: 2, filters: 3, axes: [even], isOpen: true },
        { channels: 2, filters: 3, axes: [axis(4, 3, 1, 1), odd], isOpen: true },
      ];
      it(`${taps} taps by ${stride}`, () => {
        for (const c of cases) {
          const m = parseModule(textOf(c));
          const made = withFewer(m);
          const own = c.axes.filter((a) => {
            const pairs = Math.ceil(placesOf(c.isOpen ? { ...a, size: a.size + OPEN } : a) / 2);
            return productsOf(planTaps(a.taps, a.stride)) * pairs < a.taps * placesOf(a);
          });
          const count = (x: Module): number => x.entries[0]!.body.nodes.length;
          if (own.length > 0) expect(count(made), nameOf(c)).toBeGreaterThan(count(m) + 6);
          const [was, is] = [interpreted(m), interpreted(made)];
          for (const inputs of runsOf(c)) expectClose(is(inputs), was, inputs);
        }
      });
    }
});

describe('a filter that is a constant', () => {
  const text = (readers: string): string => `module "m" {
  entry "run" ("x": %0 f32[1, 4, 31]) {
    %1 "w" = const f32[5, 4, 7] random(1)
    %2 = generic %0, %1 : f32[1, 5, 9] reduce add [4, 7] = $0[0, r0, i2 * 3 + r1] * $1[i1, r0, r1]
    return "y": %2${readers}
  }
}
`;
  const x = { dtype: 'f32', shape: [1, 4, 31], data: numbers([1, 4, 31], 1) } as const;
  const run = (m: Module): Float32Array =>
    createInterpreter(lowerToProgram(m, { target: 'interp' })).runSync({ x }).y!.data as Float32Array;
  for (const [name, readers, shape, cpu] of [
    ['has its taps first', '', [7, 5, 4], 'sse2'],
    ['has its outputs last where rows leave long vectors idle', '', [7, 4, 5], 'avx512'],
    ['stays as it is where others read it', ', "weights": %1', [5, 4, 7], 'avx512'],
  ] as const)
    it(name, () => {
      const m = parseModule(text(readers));
      const made = withFewer(m, { target: 'c', cpu });
      const filters = made.entries[0]!.body.nodes.filter((n) => n.kind === 'generic' && n.inputs[0]?.name === 'w');
      expect(filters.map((n) => n.inputs[0]?.type.shape)).toEqual(filters.map(() => shape));
      expect(filters.length).toBe(4);
      const [want, got] = [run(m), run(made)];
      want.forEach((y, k) => {
        if (!(Math.abs(got[k]! - y) <= ROUNDING * 4 * 7)) throw new Error(`[${k}] ${got[k]}, not ${y}`);
      });
    });
});

describe('taps that go together', () => {
  it('are those a stride apart, in chains of up to three', () => {
    expect(planTaps(7, 3).chains).toEqual([
      { first: 0, count: 3 },
      { first: 1, count: 2 },
      { first: 2, count: 2 },
    ]);
  });
  it('of one tap or fewer than the stride save nothing', () => {
    for (const [taps, stride] of [
      [1, 1],
      [2, 2],
      [3, 4],
    ] as const)
      expect(productsOf(planTaps(taps, stride))).toBe(2 * taps);
  });
  it('are each in one chain', () => {
    for (const stride of range(1, 5))
      for (const taps of range(1, 12)) {
        const all = planTaps(taps, stride).chains.flatMap((c) =>
          range(0, c.count - 1).map((k) => c.first + k * stride),
        );
        expect(all.sort((a, b) => a - b)).toEqual(range(0, taps - 1));
      }
  });
});

/** Large enough to pay. */
const COMPILED: readonly Case[] = [
  { channels: 64, filters: 32, axes: [axis(8, 3, 1, 1), axis(56, 3, 1, 1)] },
  { channels: 48, filters: 33, axes: [axis(15, 3), axis(29, 3)] },
  { channels: 96, filters: 32, axes: [axis(22, 3), axis(9, 1)] },
  { channels: 48, filters: 32, axes: [axis(333, 7, 3)] },
  { channels: 48, filters: 32, axes: [axis(333, 7, 3)], isOpen: true },
  { channels: 40, filters: 32, axes: [axis(405, 3, 2, 1)], isOpen: true },
  { channels: 1, filters: 64, axes: [axis(3333, 127, 16)] },
  { channels: 24, filters: 24, axes: [axis(41, 5, 2, 2), axis(38, 5, 2, 2)] },
];

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

describe('compiled where it pays', () => {
  for (const c of COMPILED)
    it(nameOf(c), async () => {
      const m = parseModule(textOf(c));
      const fast = lowerToProgram(m, { target: 'wasm' });
      const strict = lowerToProgram(m, { target: 'wasm', numerics: 'strict' });
      expect(fast.kernels.length).toBeGreaterThan(strict.kernels.length + 2);
      const small = lowerToProgram(m, { target: 'c', cpu: 'generic' });
      expect(small.kernels.length).toBe(strict.kernels.length);
      const was = interpreted(m);
      const wasm = await instantiateWasm(fast);
      const built = await buildC([{ name: 'm', program: lowerToProgram(m, { target: 'c', cpu: 'sse2' }) }]);
      for (const s of [wasm, built.get('m') as Session]) {
        sessions.push(s);
        for (const inputs of runsOf(c)) expectClose((await s.run(inputs)).y!.data as Float32Array, was, inputs);
      }
    });
});
