// Reads beyond an edge on WebAssembly: depthwise convolutions and pools of every stride and padding, over rows shorter and
// longer than a vector, equal what the interpreter computes.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../src/cli/targets.js';
import { importSource, lowerToProgram, readModel } from '../../src/compile.js';
import type { SourceModel } from '../../src/frontend/source.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { type Attribute, encodeModel, floats, graph, intAttr, node, value } from '../frontend/onnx-models.js';

const CHANNELS = 4;
const HEIGHT = 6;
const WIDTHS = [3, 5, 8, 13, 20];
const PADS = [
  [1, 1, 1, 1],
  [0, 2, 1, 0],
  [2, 2, 2, 2],
] as const;

const ints = (name: string, list: readonly number[]): Attribute => ({ name, type: 7, ints: [...list] });
const wave = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(i * 1.7) * 3);

function model(op: string, width: number, stride: number, pads: readonly number[]): SourceModel {
  const kernel = [3, 3];
  const out = [HEIGHT + (pads[0] ?? 0) + (pads[2] ?? 0), width + (pads[1] ?? 0) + (pads[3] ?? 0)].map(
    (size) => Math.floor((size - 3) / stride) + 1,
  );
  const attribute = [ints('kernel_shape', kernel), ints('strides', [stride, stride]), ints('pads', pads)];
  const isConv = op === 'Conv';
  const inputs = isConv ? ['x', 'w'] : ['x'];
  const own = isConv ? [...attribute, intAttr('group', CHANNELS)] : attribute;
  return readModel(
    encodeModel(
      graph([node(op, inputs, ['y'], { attribute: own })], {
        input: [value('x', [1, CHANNELS, HEIGHT, width])],
        output: [value('y', [1, CHANNELS, ...out])],
        initializer: isConv ? [floats('w', [CHANNELS, 1, 3, 3], wave(CHANNELS * 9))] : [],
      }),
    ),
    { file: `${op}.onnx` },
  );
}

async function run(target: Target, m: SourceModel, x: Tensor): Promise<number[]> {
  const session = await openSession(target, lowerToProgram(importSource(m, {}), { target }));
  const { y } = await session.run({ x: x as never });
  await session.close();
  return [...((y as Tensor).data as Float32Array)];
}

describe.each(['Conv', 'MaxPool', 'AveragePool'])('%s on WebAssembly', (op) => {
  it.each([1, 2, 3])('stride %d', async (stride) => {
    for (const width of WIDTHS)
      for (const pads of PADS) {
        const m = model(op, width, stride, pads);
        const x = fromNumbers('f32', [1, CHANNELS, HEIGHT, width], wave(CHANNELS * HEIGHT * width));
        const [got, want] = [await run('wasm', m, x), await run('interp', m, x)];
        expect(got.length).toBe(want.length);
        got.forEach((v, i) => {
          expect(v, `width ${width}, pads ${pads}, element ${i}`).toBeCloseTo(want[i] as number, 4);
        });
      }
  });
});
