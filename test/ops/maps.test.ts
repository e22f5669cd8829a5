// Maps, as keys and values beside each other, and conversions between numbers and text.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { importSource, lowerToProgram } from '../../src/compile.js';
import type { SourceGraph, SourceValue } from '../../src/frontend/source.js';
import type { DType } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { graph, model, runGraph } from './graph-case.js';
import { f32, i64, of } from './node-case.js';

const strings = (shape: readonly number[], ...data: string[]): Tensor => ({ dtype: 'string', shape, data });
const ml = (op: string): string => `ai.onnx.ml:${op}`;

const mapInput = (name: string, key: DType, value: DType): SourceValue => ({
  name,
  type: { kind: 'map', key, value: { kind: 'tensor', dtype: value, shape: [] } },
});

const runTensors = (main: SourceGraph, inputs: Record<string, Tensor>): Record<string, Tensor> =>
  createInterpreter(lowerToProgram(importSource(model(main), { defaultDim: { lo: 0, hi: 8 } }))).runSync(inputs);

describe('maps', () => {
  it('of class labels are an output of values, and one of them can be picked by row', () => {
    const main = graph(
      [
        ['x', 'f32', [2, 3]],
        ['row', 'i64', []],
      ],
      ['maps', 'n', 'picked'],
      [
        [ml('ZipMap'), ['x'], ['maps'], { classlabels_int64s: [30, 10, 20] }],
        ['SequenceLength', ['maps'], ['n']],
        ['SequenceAt', ['maps', 'row'], ['map']],
        [ml('CastMap'), ['map'], ['picked']],
      ],
    );
    const x = f32([2, 3], 1, 2, 3, 4, 5, 6);
    expect(runGraph(main, { x, row: i64([], -1) })).toEqual({
      maps: { shape: [2, 3], values: [1, 2, 3, 4, 5, 6] },
      n: { shape: [], values: [2] },
      picked: { shape: [1, 3], values: [5, 6, 4] },
    });
  });

  it('are inputs of keys and values, of any number of entries', () => {
    const main = graph([], ['y'], [[ml('DictVectorizer'), ['x'], ['y'], { string_vocabulary: ['a', 'b'] }]]);
    const source = { ...main, inputs: [mapInput('x', 'string', 'f32')] };
    const given = (keys: string[], values: number[]) => ({
      x_keys: strings([keys.length], ...keys),
      x_values: f32([values.length], ...values),
    });
    expect(runGraph(source, given(['c', 'b'], [1, 2])).y).toEqual({ shape: [2], values: [0, 2] });
    expect(runTensors(source, given([], [])).y?.data).toEqual(Float32Array.of(0, 0));
  });

  it('may hold text', () => {
    const main = graph(
      [],
      ['row', 'columns', 'numbers'],
      [
        [ml('DictVectorizer'), ['x'], ['row'], { int64_vocabulary: [7, 1, 3] }],
        [ml('CastMap'), ['x'], ['columns'], { cast_to: 'TO_STRING', map_form: 'SPARSE', max_map: 3 }],
        [ml('CastMap'), ['x'], ['numbers'], { cast_to: 'TO_INT64' }],
      ],
    );
    const inputs = { x_keys: i64([2], 3, 1), x_values: strings([2], '30', '10.5') };
    const out = runTensors({ ...main, inputs: [mapInput('x', 'i64', 'string')] }, inputs);
    expect(out.row).toEqual(strings([3], '', '10.5', '30'));
    expect(out.columns).toEqual(strings([1, 3], '0.f', '10.5', '0.f'));
    expect(out.numbers).toEqual(i64([1, 2], 10, 30));
  });

  it('go through an If', () => {
    const branch = (labels: readonly number[]): SourceGraph =>
      graph([], ['m'], [[ml('ZipMap'), ['x'], ['m'], { classlabels_int64s: labels }]]);
    const main = graph(
      [
        ['c', 'i1', []],
        ['x', 'f32', [1, 2]],
        ['row', 'i64', []],
      ],
      ['y'],
      [
        ['If', ['c'], ['m'], { then_branch: branch([1, 2]), else_branch: branch([2, 1]) }],
        ['SequenceAt', ['m', 'row'], ['one']],
        [ml('CastMap'), ['one'], ['y']],
      ],
    );
    const y = (c: number) => runGraph(main, { c: of('i1', [], c), x: f32([1, 2], 5, 6), row: i64([], 0) }).y?.values;
    expect(y(1)).toEqual([5, 6]);
    expect(y(0)).toEqual([6, 5]);
  });

  it('are not tensors', () => {
    const main = graph([['x', 'f32', [2]]], ['y'], [[ml('CastMap'), ['x'], ['y']]]);
    expect(() => importSource(model(main))).toThrow(/E202 CastMap: a map is needed here/);
  });
});

it('a category is looked up from text and back', () => {
  const attrs = { cats_strings: ['red', 'blue'], cats_int64s: [7, -2], default_string: '?' };
  const main = graph([['x', 'i64', [3]]], ['y'], [[ml('CategoryMapper'), ['x'], ['y'], attrs]]);
  expect(runTensors(main, { x: i64([3], -2, 0, 7) }).y).toEqual(strings([3], 'blue', '?', 'red'));
});

describe('conversion of text', () => {
  const cast = (x: Tensor, to: number): Tensor =>
    runTensors(graph([['x', x.dtype, x.shape]], ['y'], [['Cast', ['x'], ['y'], { to }]]), { x }).y as Tensor;

  it('writes a number with the fewest digits that give it back', () => {
    const x = f32([9], 0.1, 1, -2.5, 1e-5, 123456.789, 3e20, Number.NaN, Number.NEGATIVE_INFINITY, -0);
    const want = ['0.1', '1.0', '-2.5', '1e-05', '123456.79', '3e+20', 'nan', '-inf', '-0.0'];
    expect(cast(x, 8).data).toEqual(want);
    expect(cast(of('f16', [2], 0.1, 65504), 8).data).toEqual(['0.1', '65500.0']);
    expect(cast(of('f64', [1], 0.1 + 0.2), 8).data).toEqual(['0.30000000000000004']);
    expect(cast(i64([2], -7, 2 ** 40), 8).data).toEqual(['-7', '1099511627776']);
  });

  it('reads plain and scientific numbers, infinities and NaN', () => {
    const x = strings([7], '3.14', '1e-5', '1E8', '+INF', '-inf', 'NaN', ' 1000');
    expect(cast(x, 1).data).toEqual(
      Float32Array.of(3.14, 1e-5, 1e8, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1000),
    );
    expect(cast(strings([3], '9007199254740993', '-12', '100.5'), 7).data).toEqual(
      BigInt64Array.of(9007199254740993n, -12n, 100n),
    );
    expect(cast(strings([2], '1', '0'), 9).data).toEqual(Uint8Array.of(1, 0));
  });

  it('is the same by example', () => {
    const like = graph([['x', 'string', [2]]], ['y'], [['CastLike', ['x', 'z'], ['y']]], { z: f32([1], 0) });
    expect(runGraph(like, { x: strings([2], '0.5', '-1') }).y?.values).toEqual([0.5, -1]);
  });
});
