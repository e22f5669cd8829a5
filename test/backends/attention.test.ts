// Attention on real targets: scores, a softmax over keys and their product with the values become one kernel, which gives
// what the interpreter computes node by node, at lengths around the blocks it works in, under masks, and with rows that no
// key may see. Under strict numerics the bits are the same.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../src/cli/targets.js';
import { type CompileOptions, importSource, lowerToProgram, readModel } from '../../src/compile.js';
import type { SourceModel } from '../../src/frontend/source.js';
import type { Program } from '../../src/ir/program.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { encodeModel, floats, graph, intAttr, type Node, node, value } from '../frontend/onnx-models.js';

const HEADS = 2;
const [DEPTH, VALUES] = [5, 7];

interface Shape {
  readonly queries: number;
  readonly keys: number;
}

type Variant = 'plain' | 'mask' | 'scaled after' | 'merged heads';

/** softmax(q·kᵀ / √d [+ mask])·v, with q and k as projections leave them: [length, heads, depth]. */
function model(variant: Variant, dims: readonly [queries: number | string, keys: number | string]): SourceModel {
  const [m, t] = dims;
  const perm = (name: string, from: string, order: number[]): Node =>
    node('Transpose', [from], [name], { name, attribute: [{ name: 'perm', type: 7, ints: order }] });
  const scores = ['plain', 'mask', 'merged heads'].includes(variant)
    ? [node('Mul', ['dots', 'scale'], ['scores'], { name: 'scaling' })]
    : [node('Div', ['dots', 'root'], ['scores'], { name: 'scaling' })];
  const masked = variant === 'mask' ? [node('Add', ['scores', 'mask'], ['seen'], { name: 'masking' })] : [];
  const heads = variant === 'merged heads' ? [perm('y', 'taken', [1, 0, 2])] : [];
  return readModel(
    encodeModel(
      graph(
        [
          perm('qh', 'q', [1, 0, 2]),
          perm('kh', 'k', [1, 2, 0]),
          perm('vh', 'v', [1, 0, 2]),
          node('MatMul', ['qh', 'kh'], ['dots'], { name: 'dots' }),
          ...scores,
          ...masked,
          node('Softmax', [variant === 'mask' ? 'seen' : 'scores'], ['shares'], {
            name: 'softmax',
            attribute: [intAttr('axis', -1)],
          }),
          node('MatMul', ['shares', 'vh'], [heads.length > 0 ? 'taken' : 'y'], { name: 'taking' }),
          ...heads,
        ],
        {
          input: [
            value('q', [m, HEADS, DEPTH]),
            value('k', [t, HEADS, DEPTH]),
            value('v', [t, HEADS, VALUES]),
            ...(variant === 'mask' ? [value('mask', [m, t])] : []),
          ],
          output: [value('y', heads.length > 0 ? [m, HEADS, VALUES] : [HEADS, m, VALUES])],
          initializer: [floats('scale', [], [DEPTH ** -0.5]), floats('root', [], [DEPTH ** 0.5])],
        },
      ),
    ),
    { file: 'attention.onnx' },
  );
}

const wave = (shape: number[], seed: number): Tensor =>
  fromNumbers(
    'f32',
    shape,
    Array.from({ length: shape.reduce((p, d) => p * d, 1) }, (_, i) => Math.sin(i * 3.7 + seed) * 3),
  );

/** Each query sees the keys up to its own place; the second sees none. */
const causal = ({ queries, keys }: Shape): Tensor =>
  fromNumbers(
    'f32',
    [queries, keys],
    Array.from({ length: queries * keys }, (_, i) => {
      const [row, column] = [Math.floor(i / keys), i % keys];
      return column > row || row === 1 ? Number.NEGATIVE_INFINITY : 0;
    }),
  );

const inputsFor = (variant: Variant, s: Shape): Record<string, Tensor> => ({
  q: wave([s.queries, HEADS, DEPTH], 1),
  k: wave([s.keys, HEADS, DEPTH], 2),
  v: wave([s.keys, HEADS, VALUES], 3),
  ...(variant === 'mask' ? { mask: causal(s) } : {}),
});

/** NaN in one row of queries, infinities in others and in the values. */
function withOddValues(inputs: Record<string, Tensor>): Record<string, Tensor> {
  const [q, v] = ['q', 'v'].map((name) => [...((inputs[name] as Tensor).data as Float32Array)]) as [number[], number[]];
  q[7] = Number.NaN;
  q[40] = Number.POSITIVE_INFINITY;
  v[9] = Number.NEGATIVE_INFINITY;
  const again = (name: string, data: number[]): Tensor => fromNumbers('f32', (inputs[name] as Tensor).shape, data);
  return { ...inputs, q: again('q', q), v: again('v', v) };
}

function compile(m: SourceModel, target: Target, options: CompileOptions): Program {
  return lowerToProgram(importSource(m, options), { ...options, target });
}

async function run(program: Program, target: Target, calls: readonly Record<string, Tensor>[]): Promise<number[][]> {
  const session = await openSession(target, program);
  const out: number[][] = [];
  for (const inputs of calls) out.push([...(((await session.run(inputs as never)).y as Tensor).data as Float32Array)]);
  await session.close();
  return out;
}

function expectClose(got: readonly number[], want: readonly number[], exact: boolean, what: string): void {
  expect(got.length, what).toBe(want.length);
  got.forEach((v, i) => {
    const w = want[i] as number;
    const close = Object.is(v, w) || (!exact && Math.abs(v - w) <= 2e-6 + 2e-5 * Math.abs(w));
    expect(close, `${what}, element ${i}: ${v} for ${w}`).toBe(true);
  });
}

const SHAPES: readonly Shape[] = [
  { queries: 8, keys: 1 },
  { queries: 9, keys: 3 },
  { queries: 17, keys: 17 },
  { queries: 32, keys: 33 },
  { queries: 67, keys: 20 },
];

const isOneKernel = (p: Program): boolean => p.kernels.some((k) => k.name === 'taking' && k.params.length > 4);

const TARGETS = ['wasm', 'c'] as const;

describe.each(TARGETS)('attention on %s', (target) => {
  const shapes = target === 'c' ? SHAPES.slice(2, 3) : SHAPES;
  describe.each(['fast', 'strict'] as const)('%s numerics', (numerics) => {
    it.each(['plain', 'mask', 'scaled after', 'merged heads'] as const)('%s, sizes fixed', async (variant) => {
      for (const s of shapes) {
        const m = model(variant, [s.queries, s.keys]);
        const program = compile(m, target, { numerics });
        expect(isOneKernel(program)).toBe(s.keys > 1); // one key needs no sum
        const calls = [inputsFor(variant, s)];
        const [got] = await run(program, target, calls);
        const [want] = await run(compile(m, 'interp', { numerics }), 'interp', calls);
        expectClose(got ?? [], want ?? [], numerics === 'strict', `${s.queries} × ${s.keys}`);
      }
    });

    it.each(['plain', 'mask'] as const)('%s, sizes open, from no key and no query on', async (variant) => {
      const dims = { a: { lo: 0, hi: 70 }, b: { lo: 0, hi: 40 } };
      const m = model(variant, ['a', 'b']);
      const program = compile(m, target, { numerics, dims });
      expect(isOneKernel(program)).toBe(true);
      const few = [
        { queries: 3, keys: 2 },
        { queries: 5, keys: 0 },
        { queries: 12, keys: 0 },
        { queries: 0, keys: 5 },
      ];
      const calls = [...SHAPES, ...few].map((s) => inputsFor(variant, s));
      calls.push(withOddValues(calls[2] as Record<string, Tensor>));
      const got = await run(program, target, calls);
      const want = await run(compile(m, 'interp', { numerics, dims }), 'interp', calls);
      for (const [k, s] of [...SHAPES, ...few, SHAPES[2] as Shape].entries())
        expectClose(got[k] ?? [], want[k] ?? [], numerics === 'strict', `${s.queries} × ${s.keys}`);
    });
  });
});

it('shares its rows among threads', async () => {
  const s = { queries: 203, keys: 64 };
  const m = model('plain', [s.queries, s.keys]);
  const program = compile(m, 'wasm', { threads: 3 });
  expect(program.kernels.find((k) => k.name === 'taking')?.shares?.threads).toBe(3);
  const calls = [inputsFor('plain', s)];
  const [got] = await run(program, 'wasm', calls);
  const [want] = await run(compile(m, 'wasm', {}), 'wasm', calls);
  expect(got).toEqual(want);
});

describe('what stays in parts', () => {
  it('a row or a few alone: there is nothing to share', () => {
    expect(isOneKernel(compile(model('plain', [1, 40]), 'wasm', {}))).toBe(false);
  });

  it('shares that something else reads, too', () => {
    const kept = readModel(
      encodeModel(
        graph(
          [
            node('MatMul', ['q', 'k'], ['dots'], { name: 'dots' }),
            node('Softmax', ['dots'], ['shares'], { name: 'softmax', attribute: [intAttr('axis', -1)] }),
            node('MatMul', ['shares', 'v'], ['y'], { name: 'taking' }),
          ],
          {
            input: [value('q', [16, 4]), value('k', [4, 16]), value('v', [16, 4])],
            output: [value('y', [16, 4]), value('shares', [16, 16])],
          },
        ),
      ),
      { file: 'kept.onnx' },
    );
    expect(isOneKernel(compile(kept, 'wasm', {}))).toBe(false);
  });
});
