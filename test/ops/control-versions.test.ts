// Control flow, optionals and random draws in every published version: what one-node cases with tensors in and out cannot hold.

import { describe, expect, it } from 'vitest';
import { ONNX_OPERATORS } from '../../src/frontend/onnx/operator-list.js';
import type { SourceGraph } from '../../src/frontend/source.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { createRandom } from './families/case.js';
import { drawDistribution, RANDOM_OPS } from './families/random.js';
import { graph, runGraph } from './graph-case.js';
import { f32, i64, runNode } from './node-case.js';

const versions = (name: string): readonly number[] =>
  ONNX_OPERATORS.find((o) => o.domain === 'ai.onnx' && o.name === name)?.versions.map((v) => v.version) ?? [];

/** The same graph, its nodes read as those of an opset. */
const inOpset = (g: SourceGraph, version: number): SourceGraph => ({
  ...g,
  nodes: g.nodes.map((n) => ({
    ...n,
    version,
    attrs: new Map(
      [...n.attrs].map(([k, a]) => [k, a.kind === 'graph' ? { ...a, value: inOpset(a.value, version) } : a]),
    ),
  })),
});

const bool = (v: boolean): Tensor => fromNumbers('i1', [], [Number(v)]);

describe.each(versions('If'))('If-%i', (version) => {
  const branch = (op: string): SourceGraph => graph([], ['y'], [[op, ['x', 'x'], ['y']]]);
  const main = graph(
    [
      ['c', 'i1', []],
      ['x', 'f32', [2]],
    ],
    ['out'],
    [['If', ['c'], ['out'], { then_branch: branch('Add'), else_branch: branch('Mul') }]],
  );
  it.each([true, false])('takes the branch of %s, which sees outer values', (c) => {
    const { out } = runGraph(inOpset(main, version), { c: bool(c), x: f32([2], 3, 5) });
    expect(out?.values).toEqual(c ? [6, 10] : [9, 25]);
  });
});

describe.each(versions('Loop'))('Loop-%i', (version) => {
  const body = graph(
    [
      ['i', 'i64', []],
      ['go', 'i1', []],
      ['s', 'f32', []],
    ],
    ['on', 's2', 'each'],
    [
      ['Cast', ['i'], ['f'], { to: 1 }],
      ['Add', ['s', 'f'], ['s2']],
      ['Identity', ['s2'], ['each']],
      ['Less', ['s2', 'limit'], ['on']],
    ],
    { limit: f32([], 5) },
  );
  // Room for what is stacked needs a bound: the count is a constant.
  const main = (n: number): SourceGraph =>
    graph([['s0', 'f32', []]], ['last', 'all'], [['Loop', ['n', '', 's0'], ['last', 'all'], { body }]], {
      n: fromNumbers('i64', [], [n]),
    });
  it.each([
    [3, [0, 1, 3]],
    [9, [0, 1, 3, 6]],
  ])('runs up to %i times, while its condition holds, and stacks', (n, all) => {
    // Cast by number and comparisons of floats are as old as version 9: the body keeps them.
    const loop = main(n);
    const mixed = { ...loop, nodes: loop.nodes.map((node) => ({ ...node, version })) };
    const out = runGraph(mixed, { s0: f32([], 0) });
    expect(out.last?.values).toEqual([all.at(-1)]);
    expect(out.all).toEqual({ shape: [all.length], values: all });
  });
});

describe.each(versions('Scan'))('Scan-%i', (version) => {
  const body = graph(
    [
      ['s', 'f32', [2]],
      ['x', 'f32', [2]],
    ],
    ['s2', 'y'],
    [
      ['Add', ['s', 'x'], ['s2']],
      ['Mul', ['s', 'x'], ['y']],
    ],
  );
  // Version 8 has a batch in front of everything, and lengths as its first input.
  const batch = version < 9 ? [1] : [];
  const inputs = version < 9 ? ['', 's0', 'xs'] : ['s0', 'xs'];
  const main = graph(
    [
      ['s0', 'f32', [...batch, 2]],
      ['xs', 'f32', [...batch, 3, 2]],
    ],
    ['s', 'ys'],
    [['Scan', inputs, ['s', 'ys'], { body, num_scan_inputs: 1 }]],
  );
  it('carries its state along the axis and stacks what it gives', () => {
    const mixed = { ...main, nodes: main.nodes.map((node) => ({ ...node, version })) };
    const out = runGraph(mixed, { s0: f32([...batch, 2], 1, 2), xs: f32([...batch, 3, 2], 1, 2, 3, 4, 5, 6) });
    expect(out.s).toEqual({ shape: [...batch, 2], values: [10, 14] });
    expect(out.ys).toEqual({ shape: [...batch, 3, 2], values: [1, 4, 6, 16, 25, 48] });
  });
});

describe.each(versions('OptionalGetElement'))('Optional in version %i', (version) => {
  const main = graph(
    [['x', 'f32', [2]]],
    ['has', 'y'],
    [
      ['Optional', ['x'], ['o']],
      ['OptionalHasElement', ['o'], ['has']],
      ['OptionalGetElement', ['o'], ['y']],
    ],
  );
  it('holds what was put in', () => {
    const out = runGraph(inOpset(main, version), { x: f32([2], 3, 5) });
    expect([out.has?.values, out.y?.values]).toEqual([[1], [3, 5]]);
  });
});

describe.each(RANDOM_OPS.flatMap((op) => versions(op).map((version) => [op, version] as const)))(
  '%s-%i',
  (op, version) => {
    it('draws from its distribution, and the same again', () => {
      const { distribution: d, ...c } = drawDistribution(op, createRandom(version));
      const draw = (): readonly number[] => runNode({ op, opset: version, ...c })[0]?.values ?? [];
      const values = draw();
      const n = values.length;
      expect(n).toBeGreaterThanOrEqual(4000);
      const mean = values.reduce((p, v) => p + v, 0) / n;
      const deviation = Math.sqrt(values.reduce((p, v) => p + (v - mean) ** 2, 0) / n);
      // Five standard errors: a fixed seed, so it either always holds or never does.
      expect(Math.abs(mean - d.mean)).toBeLessThan((5 * d.deviation) / Math.sqrt(n));
      expect(Math.abs(deviation / d.deviation - 1)).toBeLessThan(0.08);
      expect(values.every((v) => v >= d.lo && v <= d.hi)).toBe(true);
      expect(new Set(values).size).toBeGreaterThan(d.lo === 0 ? 1 : n * 0.99);
      expect(draw()).toEqual(values);
    });
  },
);

it('deprecated Scatter and Upsample decode as before', () => {
  const ids = i64([1, 2], 1, 0);
  expect(
    runNode({ op: 'Scatter', opset: 11, attrs: { axis: 1 }, inputs: [f32([1, 3], 1, 2, 3), ids, f32([1, 2], 8, 9)] })[0]
      ?.values,
  ).toEqual([9, 8, 3]);
  const scales = f32([4], 1, 1, 1, 2);
  expect(
    runNode({ op: 'Upsample', opset: 10, inputs: [f32([1, 1, 1, 2], 3, 4), scales], constants: [1] })[0]?.values,
  ).toEqual([3, 3, 4, 4]);
});
