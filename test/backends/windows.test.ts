// Sums over windows, one channel at a time, of every layout, width and stride, beyond borders and within, of fixed and open
// sizes: in strict numerics vectors give the bits of the interpreter, as rows that share what they read keep the order of
// each sum, and so do copies of a padded operand made a channel at a time.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../src/cli/targets.js';
import { lowerToProgram } from '../../src/compile.js';
import { visitKernelExprs } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import type { DType } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';

interface Window {
  readonly layout: 'channels first' | 'channels last';
  readonly dtype: 'f32' | 'i8';
  readonly size: number;
  readonly stride: number;
  readonly pad: number;
  readonly open: boolean;
}

const CHANNELS = 8;
const MOST = 60;

/** `height` and `width` are those of `x`. */
function moduleOf(v: Window, height: number, width: number): string {
  const { size, stride, pad } = v;
  const [h, w] = v.open ? ['h', 'w'] : [`${height}`, `${width}`];
  const windows = (n: string, fixed: number): string =>
    v.open
      ? `floordiv(${n} + ${2 * pad - size}, ${stride}) + 1`
      : `${Math.floor((fixed + 2 * pad - size) / stride) + 1}`;
  const [rows, columns] = [windows('h', height), windows('w', width)];
  const first = v.layout === 'channels first';
  const shape = (a: string, b: string): string =>
    first ? `[1, ${CHANNELS}, ${a}, ${b}]` : `[1, ${a}, ${b}, ${CHANNELS}]`;
  const [c, i, j] = first ? ['i1', 'i2', 'i3'] : ['i3', 'i1', 'i2'];
  const at = (axis: string | undefined, r: string): string => `${axis} * ${stride} + ${r} - ${pad}`;
  const index = first ? `0, ${c}, ${at(i, 'r0')}, ${at(j, 'r1')}` : `0, ${at(i, 'r0')}, ${at(j, 'r1')}, ${c}`;
  const [read, weight] = [`$0[${index}${pad > 0 ? ' else 0' : ''}]`, first ? `$1[${c}, r0, r1]` : `$1[r0, r1, ${c}]`];
  const body = v.dtype === 'f32' ? `${read} * ${weight}` : `i32(${read}) * i32(${weight})`;
  const weights = first ? `${CHANNELS}, ${size}, ${size}` : `${size}, ${size}, ${CHANNELS}`;
  const range = `${Math.max(1, size - 2 * pad)} .. ${MOST}`;
  const syms = v.open ? `sym h : ${range}\n  sym w : ${range}` : '';
  return `module "m" {
  ${syms}
  entry "run" ("x": %0 ${v.dtype}${shape(h as string, w as string)}) {
    %1 "w" = const ${v.dtype}[${weights}] random(1)
    %2 = generic %0, %1 : ${v.dtype === 'f32' ? 'f32' : 'i32'}${shape(rows, columns)} reduce add [${size}, ${size}] = ${body}
    return "y": %2
  }
}
`;
}

const programs = new Map<string, Program>();

function compile(text: string, target: Target): Program {
  const key = `${target}|${text}`;
  const program = programs.get(key) ?? lowerToProgram(parseModule(text), { target, cpu: 'sse2', numerics: 'strict' });
  programs.set(key, program);
  return program;
}

async function run(text: string, target: Target, x: Tensor): Promise<number[]> {
  const session = await openSession(target, compile(text, target));
  const { y } = await session.run({ x: x as never });
  await session.close();
  return [...((y as Tensor).data as Float32Array)];
}

/** So many windows down and across. */
async function check(v: Window, target: Target, height: number, width: number): Promise<void> {
  const [a, b] = [height, width].map((n) => (n - 1) * v.stride + v.size - 2 * v.pad) as [number, number];
  const text = moduleOf(v, a, b);
  const shape = v.layout === 'channels first' ? [1, CHANNELS, a, b] : [1, a, b, CHANNELS];
  const wave = (k: number): number => (v.dtype === 'f32' ? Math.sin(k * 1.7) * 3 : ((k * 37) % 255) - 127);
  const x = fromNumbers(
    v.dtype as DType,
    shape,
    Array.from({ length: a * b * CHANNELS }, (_, k) => wave(k)),
  );
  expect(await run(text, target, x), `${height} × ${width}`).toEqual(await run(text, 'interp', x));
}

const SIZES = [
  [1, 4],
  [2, 5],
  [4, 8],
  [5, 16],
  [7, 13],
  [12, 24],
] as const;

const cases = (['channels first', 'channels last'] as const).flatMap((layout) =>
  (['f32', 'i8'] as const).flatMap((dtype) =>
    [3, 5].flatMap((size) =>
      [1, 2].flatMap((stride) =>
        [0, (size - 1) / 2].flatMap((pad) =>
          [false, true].map((open): Window => ({ layout, dtype, size, stride, pad, open })),
        ),
      ),
    ),
  ),
);

const nameOf = (v: Window): string =>
  `${v.layout}, ${v.dtype}, ${v.size} × ${v.size}, stride ${v.stride}, padding ${v.pad}, ${v.open ? 'open' : 'fixed'} sizes`;

describe('windows of each channel', () => {
  it('of bytes are dot products of pairs', () => {
    const pairs = (layout: Window['layout']): number => {
      const v: Window = { layout, dtype: 'i8', size: 3, stride: 1, pad: 1, open: false };
      let found = 0;
      for (const kernel of compile(moduleOf(v, 12, 24), 'wasm').kernels)
        visitKernelExprs(kernel.body, (e) => {
          if (e.k === 'vec' && e.op === 'dot') found++;
        });
      return found;
    };
    expect(pairs('channels last')).toBeGreaterThan(0);
    expect(pairs('channels first')).toBeGreaterThan(0);
  });

  it.each(cases.map((v) => [nameOf(v), v] as const))('%s: WebAssembly', async (_, v) => {
    for (const [height, width] of SIZES) await check(v, 'wasm', height, width);
  });

  it.each(cases.filter((v) => v.dtype === 'f32' && v.pad > 0).map((v) => [nameOf(v), v] as const))(
    '%s: C',
    { timeout: 60_000 },
    async (_, v) => check(v, 'c', 7, 13),
  );
});
