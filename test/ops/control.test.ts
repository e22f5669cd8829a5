// Branches and loops: what is decided while compiling, what at run time, and what has to be said no to.

import { describe, expect, it } from 'vitest';
import { importSource } from '../../src/compile.js';
import { graph, model, runGraph } from './graph-case.js';
import { counting, f32, i64, of } from './node-case.js';

const flag = (v: boolean) => of('i1', [], Number(v));

describe('If', () => {
  const first = graph([], ['a'], [['Slice', ['x', 'zero', 'two'], ['a']]]);
  const whole = graph([], ['b'], [['Neg', ['x'], ['b']]]);
  const limits = { zero: i64([1], 0), two: i64([1], 2) };
  const main = (constants: Record<string, ReturnType<typeof flag>>) =>
    graph(
      [['x', 'f32', ['n']], ...(constants.c ? [] : [['c', 'i1', []] as const])],
      ['y'],
      [['If', ['c'], ['y'], { then_branch: first, else_branch: whole }]],
      { ...limits, ...constants },
    );

  it('takes a branch at run time, each with its own size', () => {
    const x = counting([5]);
    expect(runGraph(main({}), { x, c: flag(true) }).y).toEqual({ shape: [2], values: [0, 1] });
    expect(runGraph(main({}), { x, c: flag(false) }).y).toEqual({ shape: [5], values: [-0, -1, -2, -3, -4] });
  });

  it('leaves only the branch a constant condition takes', () => {
    const module = importSource(model(main({ c: flag(true) })), { defaultDim: { lo: 1, hi: 8 } });
    expect(module.entries[0]?.body.nodes.some((n) => n.kind === 'if')).toBe(false);
  });

  const squeezed = graph(
    [['x', 'f32', [2, 'n']]],
    ['y'],
    [
      ['Shape', ['x'], ['s']],
      ['Gather', ['s', 'one'], ['d']],
      ['Equal', ['d', 'one'], ['c']],
      [
        'If',
        ['c'],
        ['r'],
        {
          then_branch: graph([], ['a'], [['Squeeze', ['x', 'one'], ['a']]]),
          else_branch: graph([], ['b'], [['Identity', ['x'], ['b']]]),
        },
      ],
      ['Neg', ['r'], ['y']],
    ],
    { one: i64([1], 1) },
  );

  it('decides between ranks by the largest sizes', () => {
    expect(runGraph(squeezed, { x: counting([2, 1]) }, { dims: { n: { lo: 0, hi: 1 } } }).y?.shape).toEqual([2]);
    expect(runGraph(squeezed, { x: counting([2, 3]) }, { dims: { n: { lo: 1, hi: 3 } } }).y?.shape).toEqual([2, 3]);
  });

  it('refuses ranks that hang on data', () => {
    const bad = graph(
      [
        ['x', 'f32', [1, 3]],
        ['c', 'i1', []],
      ],
      ['y'],
      [
        [
          'If',
          ['c'],
          ['y'],
          {
            then_branch: graph([], ['a'], [['Squeeze', ['x', 'zero'], ['a']]]),
            else_branch: graph([], ['b'], [['Identity', ['x'], ['b']]]),
          },
        ],
      ],
      { zero: i64([1], 0) },
    );
    expect(() => importSource(model(bad))).toThrow(/different ranks.*--dim/s);
  });
});

/** Sums and stacks running sums of `x` while the sum stays below a limit. */
const sumLoop = (limit: number) =>
  graph(
    [
      ['x', 'f32', [4]],
      ['trips', 'i64', []],
    ],
    ['sum', 'sums'],
    [
      [
        'Loop',
        ['trips', '', 'start'],
        ['sum', 'sums'],
        {
          body: graph(
            [
              ['i', 'i64', []],
              ['go', 'i1', []],
              ['acc', 'f32', []],
            ],
            ['on', 'next', 'out'],
            [
              ['Gather', ['x', 'i'], ['v']],
              ['Add', ['acc', 'v'], ['next']],
              ['Less', ['next', 'limit'], ['on']],
              ['Identity', ['next'], ['out']],
            ],
          ),
        },
      ],
    ],
    { start: f32([], 0), limit: f32([], limit) },
  );

describe('Loop', () => {
  const x = f32([4], 1, 2, 3, 4);

  it('stops by its condition and stacks what it gave until then', () => {
    const main = sumLoop(5);
    const fixed = { ...main, inputs: main.inputs.slice(0, 1), initializers: new Map(main.initializers) };
    fixed.initializers.set('trips', { dtype: 'i64', shape: [], read: () => i64([], 4) });
    const { sum, sums } = runGraph(fixed, { x });
    expect(sum?.values).toEqual([6]);
    expect(sums).toEqual({ shape: [3], values: [1, 3, 6] });
  });

  it('assumes a bound for a stack of unknown length, and checks it', () => {
    const trips = i64([], 4);
    expect(runGraph(sumLoop(5), { x, trips }).sums).toEqual({ shape: [3], values: [1, 3, 6] });
    const bounded = { dims: { trips: { lo: 0, hi: 2 } } };
    expect(() => runGraph(sumLoop(100), { x, trips }, bounded)).toThrow(/size "trips" of 4.*made for 0 to 2/);
  });

  const countdown = graph(
    [['n', 'i64', []]],
    ['y'],
    [
      [
        'Loop',
        ['n', '', 'start'],
        ['y'],
        {
          body: graph(
            [
              ['i', 'i64', []],
              ['go', 'i1', []],
              ['acc', 'i64', []],
            ],
            ['go', 'next'],
            [['Add', ['acc', 'i'], ['next']]],
          ),
        },
      ],
    ],
    { start: i64([], 0) },
  );

  it('runs a number of steps that is data', () => {
    expect(runGraph(countdown, { n: i64([], 5) }).y?.values).toEqual([10]);
    expect(runGraph(countdown, { n: i64([], 0) }).y?.values).toEqual([0]);
  });

  it('carries a tensor that grows every step', () => {
    const main = graph(
      [
        ['x', 'f32', [2]],
        ['stop', 'f32', []],
      ],
      ['y'],
      [
        [
          'Loop',
          ['trips', '', 'x'],
          ['y'],
          {
            body: graph(
              [
                ['i', 'i64', []],
                ['go', 'i1', []],
                ['acc', 'f32', ['k']],
              ],
              ['on', 'next'],
              [
                ['Concat', ['acc', 'x'], ['next'], { axis: 0 }],
                ['ReduceSum', ['next'], ['total'], { keepdims: 0 }],
                ['Less', ['total', 'stop'], ['on']],
              ],
            ),
          },
        ],
      ],
      { trips: i64([], 6) },
    );
    const given = { x: f32([2], 1, 2), stop: f32([], 8) };
    expect(runGraph(main, given).y).toEqual({ shape: [6], values: [1, 2, 1, 2, 1, 2] });
  });

  it('is written out where it carries a sequence', () => {
    const main = graph(
      [['x', 'f32', [2]]],
      ['y'],
      [
        ['SequenceEmpty', [], ['none']],
        [
          'Loop',
          ['trips', '', 'none'],
          ['all'],
          {
            body: graph(
              [
                ['i', 'i64', []],
                ['go', 'i1', []],
                ['list', 'f32', []],
              ],
              ['go', 'more'],
              [
                ['Cast', ['i'], ['f'], { to: 1 }],
                ['Add', ['x', 'f'], ['v']],
                ['SequenceInsert', ['list', 'v'], ['more']],
              ],
            ),
          },
        ],
        ['ConcatFromSequence', ['all'], ['y'], { axis: 0, new_axis: 1 }],
      ],
      { trips: i64([], 3) },
    );
    expect(runGraph(main, { x: f32([2], 0, 10) }).y).toEqual({ shape: [3, 2], values: [0, 10, 1, 11, 2, 12] });
  });
});

describe('Scan', () => {
  const body = graph(
    [
      ['h', 'f32', [2]],
      ['v', 'f32', [2]],
    ],
    ['next', 'out'],
    [
      ['Add', ['h', 'v'], ['next']],
      ['Identity', ['next'], ['out']],
    ],
  );

  it('goes along any axis, backwards too', () => {
    const attrs = {
      body,
      num_scan_inputs: 1,
      scan_input_axes: [1],
      scan_input_directions: [1],
      scan_output_axes: [-1],
      scan_output_directions: [1],
    };
    const main = graph([['x', 'f32', [2, 3]]], ['h', 'y'], [['Scan', ['start', 'x'], ['h', 'y'], attrs]], {
      start: f32([2], 0, 0),
    });
    const { h, y } = runGraph(main, { x: counting([2, 3]) });
    expect(h?.values).toEqual([3, 12]);
    expect(y).toEqual({ shape: [2, 3], values: [3, 3, 2, 12, 9, 5] });
  });
});
