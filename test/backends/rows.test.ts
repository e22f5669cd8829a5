// Rows on real targets: softmax and reductions over rows of awkward lengths, with NaN and infinities among
// the values, equal what the interpreter computes node by node.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../src/cli/targets.js';
import { type CompileOptions, importSource, lowerToProgram, readModel } from '../../src/compile.js';
import type { SourceModel } from '../../src/frontend/source.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { encodeModel, graph, node, value } from '../frontend/onnx-models.js';

const LENGTHS = [1, 3, 4, 17, 32, 67, 128];
const ROWS = 5;

const model = (op: string, width: number, reduces: boolean): SourceModel =>
  readModel(
    encodeModel(
      graph([node(op, ['x'], ['y'], { name: 'row' })], {
        input: [value('x', [ROWS, width])],
        output: [value('y', reduces ? [1, 1] : [ROWS, width])],
      }),
    ),
    { file: `${op}.onnx` },
  );

/** Ordinary numbers, with what `edges` says in the second and fourth row. */
function numbers(width: number, edges: readonly number[]): Tensor {
  const data = Array.from({ length: ROWS * width }, (_, i) => Math.sin(i * 7.3) * 5);
  edges.forEach((v, k) => {
    data[width * (1 + 2 * k) + Math.floor(width / 2)] = v;
  });
  return fromNumbers('f32', [ROWS, width], data);
}

/** The outputs for several inputs, by one session. */
async function run(
  target: Target,
  m: SourceModel,
  inputs: readonly Tensor[],
  options: CompileOptions = {},
): Promise<number[][]> {
  const session = await openSession(target, lowerToProgram(importSource(m, options), { ...options, target }));
  const out: number[][] = [];
  for (const x of inputs) out.push([...(((await session.run({ x: x as never })).y as Tensor).data as Float32Array)]);
  await session.close();
  return out;
}

function expectClose(got: readonly number[], want: readonly number[], what: string): void {
  expect(got.length, what).toBe(want.length);
  got.forEach((v, i) => {
    const w = want[i] as number;
    const ok =
      Object.is(v, w) ||
      (Number.isNaN(v) && Number.isNaN(w)) ||
      v === w ||
      Math.abs(v - w) <= 1e-6 + 1e-5 * Math.abs(w);
    expect(ok, `${what}, element ${i}: ${v} for ${w}`).toBe(true);
  });
}

const EDGES: readonly (readonly number[])[] = [[], [Number.NaN], [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]];

const CASES: readonly (readonly [op: string, reduces: boolean])[] = [
  ['Softmax', false],
  ['LogSoftmax', false],
  ['ReduceMax', true],
  ['ReduceMin', true],
  ['ReduceL2', true],
  ['ReduceSum', true],
];

describe.each(['wasm', 'c'] as const)('rows on %s', (target) => {
  it.each(CASES)('%s', async (op, reduces) => {
    for (const width of target === 'wasm' ? LENGTHS : [67]) {
      const m = model(op, width, reduces);
      const inputs = EDGES.map((edges) => numbers(width, edges));
      const [got, want] = [await run(target, m, inputs), await run('interp', m, inputs)];
      EDGES.forEach((edges, k) => {
        const what = `${op} of ${width} with ${edges.join(' ') || 'ordinary numbers'}`;
        expectClose(got[k] as number[], want[k] as number[], what);
      });
    }
  });

  it('one NaN or infinity is found wherever in a row it is', async () => {
    const width = 37; // vectors, and single elements at the end
    const at = (v: number, column: number): Tensor => {
      const data = Array.from({ length: ROWS * width }, (_, i) => Math.cos(i * 3.1));
      data[2 * width + column] = v;
      return fromNumbers('f32', [ROWS, width], data);
    };
    const inputs = Array.from({ length: width }, (_, k) => [at(Number.NaN, k), at(Number.POSITIVE_INFINITY, k)]).flat();
    for (const [op, reduces] of CASES.slice(0, 4)) {
      const m = model(op, width, reduces);
      const [got, want] = [await run(target, m, inputs), await run('interp', m, inputs)];
      for (const [k, w] of want.entries()) expectClose(got[k] as number[], w, `${op}, input ${k}`);
    }
  });

  it.each(['Exp', 'Erf', 'Tanh', 'Sigmoid'])(
    '%s of many elements: several vectors at once, one, and single elements',
    async (op) => {
      const m = model(op, 211, false); // 1055 elements: 65 times four vectors, three vectors, three elements
      const inputs = EDGES.map((edges) => numbers(211, edges));
      const [got, want] = [await run(target, m, inputs), await run('interp', m, inputs)];
      want.forEach((w, k) => {
        expectClose(got[k] as number[], w, `${op}, input ${k}`);
      });
    },
  );
});
