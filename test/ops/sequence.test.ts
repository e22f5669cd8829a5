// Sequences, optionals, and strings with what hangs on them.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { importSource, lowerToProgram } from '../../src/compile.js';
import type { Tensor } from '../../src/support/tensor.js';
import { graph, model, runGraph } from './graph-case.js';
import { counting, f32, i64, of, run } from './node-case.js';

const strings = (shape: readonly number[], ...data: string[]): Tensor => ({ dtype: 'string', shape, data });

describe('sequences', () => {
  const parts = graph(
    [
      ['x', 'f32', [5]],
      ['at', 'i64', []],
    ],
    ['picked', 'rest', 'n'],
    [
      ['SplitToSequence', ['x', 'two'], ['xs']],
      ['SequenceAt', ['xs', 'at'], ['picked']],
      ['SequenceErase', ['xs', 'at'], ['fewer']],
      ['ConcatFromSequence', ['fewer'], ['rest'], { axis: 0 }],
      ['SequenceLength', ['fewer'], ['n']],
    ],
    { two: i64([], 2) },
  );

  it('are indexed at run time, parts of different sizes among them', () => {
    const at = (k: number) => runGraph(parts, { x: counting([5]), at: i64([], k) });
    expect(at(0)).toEqual({
      picked: { shape: [2], values: [0, 1] },
      rest: { shape: [3], values: [2, 3, 4] },
      n: { shape: [], values: [2] },
    });
    expect(at(-1).picked).toEqual({ shape: [1], values: [4] });
    expect(at(-1).rest?.values).toEqual([0, 1, 2, 3]);
  });

  it('are given and taken element by element', () => {
    const main = graph([['x', 'f32', [2]]], ['out'], [['SequenceInsert', ['xs', 'x', 'first'], ['out']]], {
      first: i64([], 0),
    });
    const xs = {
      name: 'xs',
      type: { kind: 'sequence', element: { kind: 'tensor', dtype: 'f32', shape: null } },
    } as const;
    const source = model({ ...main, inputs: [xs, ...main.inputs] });
    const item = { kind: 'tensor', shape: [2] } as const;
    const structures = { xs: { kind: 'sequence', items: [item, item] } } as const;
    const program = lowerToProgram(importSource(source, { structures }));
    expect(program.entries[0]?.inputs.map((v) => v.name)).toEqual(['xs_0', 'xs_1', 'x']);
    const out = createInterpreter(program).runSync({ xs_0: f32([2], 1, 2), xs_1: f32([2], 3, 4), x: f32([2], 5, 6) });
    expect(Object.entries(out).map(([name, t]) => [name, ...Array.from(t.data as Float32Array)])).toEqual([
      ['out_0', 5, 6],
      ['out_1', 1, 2],
      ['out_2', 3, 4],
    ]);
    expect(() => importSource(source)).toThrow(/"xs" is a sequence, and its elements are not known/);
  });
});

describe('sequences whose length an input decides', () => {
  const body = graph(
    [
      ['i', 'i64', []],
      ['go', 'i1', []],
      ['xs', 'f32', []],
    ],
    ['go', 'more'],
    [['SequenceInsert', ['xs', 'item'], ['more']]],
  );
  const main = graph(
    [
      ['item', 'f32', [2]],
      ['count', 'i64', []],
    ],
    ['all', 'n'],
    [
      ['SequenceEmpty', [], ['none']],
      ['Loop', ['count', '', 'none'], ['xs'], { body }],
      ['ConcatFromSequence', ['xs'], ['all'], { axis: 0 }],
      ['SequenceLength', ['xs'], ['n']],
    ],
  );

  it('are of the length the input is fixed to', () => {
    const out = runGraph(main, { item: f32([2], 1, 2), count: i64([], 3) }, { dims: { count: 3 } });
    expect(out).toEqual({ all: { shape: [6], values: [1, 2, 1, 2, 1, 2] }, n: { shape: [], values: [3] } });
  });

  it('may start from an optional that holds nothing', () => {
    const then = graph([], ['held'], [['OptionalGetElement', ['xs'], ['held']]]);
    const otherwise = graph([], ['fresh'], [['SequenceEmpty', [], ['fresh']]]);
    const step = graph(
      [
        ['i', 'i64', []],
        ['go', 'i1', []],
        ['xs', 'f32', []],
      ],
      ['go', 'more'],
      [
        ['OptionalHasElement', ['xs'], ['has']],
        ['If', ['has'], ['seq'], { then_branch: then, else_branch: otherwise }],
        ['SequenceInsert', ['seq', 'item'], ['more']],
      ],
    );
    const nothing = graph(
      [
        ['item', 'f32', [1]],
        ['count', 'i64', []],
      ],
      ['xs'],
      [
        ['Optional', [], ['none']],
        ['Loop', ['count', '', 'none'], ['xs'], { body: step }],
      ],
    );
    const out = runGraph(nothing, { item: f32([1], 7), count: i64([], 2) }, { dims: { count: 2 } });
    expect(out).toEqual({ xs_0: { shape: [1], values: [7] }, xs_1: { shape: [1], values: [7] } });
  });

  it('are refused where it is not, and no other value is taken where it is', () => {
    expect(() => importSource(model(main))).toThrow(/E202 Loop: .*depends on data.*--dim/s);
    const other = () => runGraph(main, { item: f32([2], 1, 2), count: i64([], 2) }, { dims: { count: 3 } });
    expect(other).toThrow(/count/);
  });
});

describe('strings', () => {
  const texts = (main: ReturnType<typeof graph>, inputs: Record<string, Tensor>): Record<string, Tensor> =>
    createInterpreter(lowerToProgram(importSource(model(main)))).runSync(inputs);

  it('split into as many columns as the longest needs', () => {
    const main = graph([['x', 'string', [2]]], ['y', 'n'], [['StringSplit', ['x'], ['y', 'n'], { maxsplit: 2 }]]);
    const { y, n } = texts(main, { x: strings([2], ' a  b c d ', '') });
    expect(y).toEqual(strings([2, 3], 'a', 'b', 'c d ', '', '', ''));
    expect(Array.from(n?.data as BigInt64Array)).toEqual([3n, 0n]);
  });

  it('may become numbers, which are compiled', () => {
    const main = graph(
      [['x', 'string', ['n']]],
      ['y'],
      [
        ['RegexFullMatch', ['x'], ['m'], { pattern: 'a+' }],
        ['Not', ['m'], ['y']],
      ],
    );
    const program = lowerToProgram(importSource(model(main), { defaultDim: { lo: 1, hi: 4 } }));
    const { y } = createInterpreter(program).runSync({ x: strings([3], 'aa', 'ab', 'a') });
    expect(Array.from(y?.data as Uint8Array)).toEqual([0, 1, 0]);
  });

  it('are not computed with', () => {
    const main = graph([['x', 'string', [2]]], ['y'], [['Add', ['x', 'x'], ['y']]]);
    expect(() => importSource(model(main))).toThrow(/E202 Add: strings are text for a host/);
  });
});

describe('geometry', () => {
  it('multiplies pivots to a determinant, exchanging rows', () => {
    const x = f32([3, 2, 2], 1, 2, 3, 4, 0, 1, 1, 0, 1, 2, 2, 4);
    const { shape, values } = run({ op: 'Det', inputs: [x] });
    expect(shape).toEqual([3]);
    [-2, -1, 0].forEach((d, k) => {
      expect(values[k]).toBeCloseTo(d, 6);
    });
  });

  it('crops and pads around the middle', () => {
    const c = { op: 'CenterCropPad', inputs: [counting([5]), i64([1], 2)], constants: [1] };
    expect(run(c).values).toEqual([1, 2]);
    expect(run({ ...c, inputs: [counting([2]), i64([1], 5)] }).values).toEqual([0, 0, 1, 0, 0]);
  });

  it('sums blocks where they overlap', () => {
    const inputs = [of('f32', [1, 2, 3], 1, 2, 3, 10, 20, 30), i64([1], 4), i64([1], 2)];
    expect(run({ op: 'Col2Im', inputs, constants: [1, 2] })).toMatchObject({
      shape: [1, 1, 4],
      values: [1, 12, 23, 30],
    });
  });
});
