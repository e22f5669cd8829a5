// Transposed convolutions against their definition: every input position adds its taps to the output. Strides larger and
// smaller than the kernel, paddings that cut phases, groups and dilation.

import { describe, expect, it } from 'vitest';
import { openSession } from '../../src/cli/targets.js';
import { importSource, lowerToProgram, readModel } from '../../src/compile.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { type Attribute, encodeModel, floats, graph, intAttr, node, value } from '../frontend/onnx-models.js';

interface Case {
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly pads: readonly [number, number];
  readonly dilation: number;
  readonly group: number;
}

const CASES: readonly Case[] = [
  { size: 5, kernel: 4, stride: 2, pads: [0, 0], dilation: 1, group: 1 },
  { size: 5, kernel: 3, stride: 2, pads: [1, 1], dilation: 1, group: 1 },
  { size: 4, kernel: 3, stride: 2, pads: [0, 1], dilation: 1, group: 2 },
  { size: 4, kernel: 2, stride: 3, pads: [0, 0], dilation: 1, group: 1 },
  { size: 3, kernel: 7, stride: 3, pads: [2, 4], dilation: 1, group: 1 },
  { size: 6, kernel: 3, stride: 1, pads: [1, 1], dilation: 1, group: 1 },
  { size: 5, kernel: 3, stride: 2, pads: [1, 0], dilation: 2, group: 1 },
  { size: 5, kernel: 3, stride: 1, pads: [1, 0], dilation: 2, group: 2 },
];

const [INPUT, OUTPUT] = [4, 6];

const ints = (name: string, list: readonly number[]): Attribute => ({ name, type: 7, ints: [...list] });
const wave = (n: number, k: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.round(9 * Math.sin(k * (i + 1))));

/** y[o, p] += x[c, q] · w[c, o, k] at p = q·stride + k·dilation − pad, along one axis. */
function scattered(c: Case, x: readonly number[], w: readonly number[]): number[] {
  const perGroup = OUTPUT / c.group;
  const out = (c.size - 1) * c.stride + (c.kernel - 1) * c.dilation + 1 - c.pads[0] - c.pads[1];
  const y = new Array<number>(OUTPUT * out).fill(0);
  for (let i = 0; i < INPUT; i++)
    for (let o = 0; o < perGroup; o++)
      for (let q = 0; q < c.size; q++)
        for (let k = 0; k < c.kernel; k++) {
          const p = q * c.stride + k * c.dilation - c.pads[0];
          const row = Math.floor(i / (INPUT / c.group)) * perGroup + o;
          if (p < 0 || p >= out) continue;
          const product = (x[i * c.size + q] as number) * (w[(i * perGroup + o) * c.kernel + k] as number);
          y[row * out + p] = (y[row * out + p] as number) + product;
        }
  return y;
}

describe.each(['interp', 'wasm'] as const)('transposed convolution on %s', (target) => {
  it.each(CASES)('size $size kernel $kernel stride $stride pads $pads dilation $dilation groups $group', async (c) => {
    const x = wave(INPUT * c.size, 1.3);
    const w = wave((INPUT * OUTPUT * c.kernel) / c.group, 0.7);
    const want = scattered(c, x, w);
    const attribute = [
      ints('strides', [c.stride]),
      ints('pads', c.pads),
      ints('dilations', [c.dilation]),
      intAttr('group', c.group),
    ];
    const bytes = encodeModel(
      graph([node('ConvTranspose', ['x', 'w'], ['y'], { attribute })], {
        input: [value('x', [1, INPUT, c.size])],
        output: [value('y', [1, OUTPUT, want.length / OUTPUT])],
        initializer: [floats('w', [INPUT, OUTPUT / c.group, c.kernel], w)],
      }),
    );
    const program = lowerToProgram(importSource(readModel(bytes, { file: 'm.onnx' }), {}), { target });
    const session = await openSession(target, program);
    const { y } = await session.run({ x: fromNumbers('f32', [1, INPUT, c.size], x) as never });
    expect([...((y as Tensor).data as Float32Array)].map((v) => v + 0)).toEqual(want.map((v) => v + 0));
    await session.close();
  });
});
