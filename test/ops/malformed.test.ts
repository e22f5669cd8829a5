// What a malformed or hostile file may ask of the operators in these families: each is refused with an error that names
// the node, and nothing else happens.

import { describe, expect, it } from 'vitest';
import { CompileError } from '../../src/support/errors.js';
import { counting, f32, i32, i64, type NodeCase, runNode } from './node-case.js';

const x = counting([2, 3, 4]);
const tflite = (c: Omit<NodeCase, 'format'>): NodeCase => ({ format: 'tflite', ...c });

const CASES: readonly (readonly [string, NodeCase])[] = [
  ['an axis outside the rank', { op: 'ReduceSum', opset: 11, attrs: { axes: [3] }, inputs: [x] }],
  ['a concat axis outside the rank', { op: 'Concat', attrs: { axis: -4 }, inputs: [x, x] }],
  ['a flatten axis outside the rank', { op: 'Flatten', attrs: { axis: 4 }, inputs: [x] }],
  ['a permutation with a repeated axis', { op: 'Transpose', attrs: { perm: [0, 0, 1] }, inputs: [x] }],
  ['a permutation that is too short', { op: 'Transpose', attrs: { perm: [1, 0] }, inputs: [x] }],
  ['a new axis named twice', { op: 'Unsqueeze', opset: 11, attrs: { axes: [0, 0] }, inputs: [x] }],
  ['an axis to squeeze that is not 1', { op: 'Squeeze', opset: 11, attrs: { axes: [0] }, inputs: [x] }],
  ['two open sizes', { op: 'Reshape', inputs: [x, i64([2], -1, -1)], constants: [1] }],
  ['a negative size', { op: 'Reshape', inputs: [x, i64([2], -2, 12)], constants: [1] }],
  ['a shape of another size', { op: 'Reshape', inputs: [x, i64([2], 5, 5)], constants: [1] }],
  ['a size 0 beyond the input', { op: 'Reshape', inputs: [counting([2]), i64([2], 2, 0)], constants: [1] }],
  ['a negative size of a constant', { op: 'ConstantOfShape', inputs: [i64([1], -1)], constants: [0] }],
  [
    'a list of sizes longer than any shape',
    { op: 'Reshape', inputs: [x, { dtype: 'i64', shape: [100_000], data: new BigInt64Array(100_000) }] },
  ],
  [
    'a step of zero',
    { op: 'Slice', inputs: [x, i64([1], 0), i64([1], 1), i64([1], 0), i64([1], 0)], constants: [1, 2, 3, 4] },
  ],
  ['a range with step zero', { op: 'Range', inputs: [f32([], 0), f32([], 1), f32([], 0)], constants: [0, 1, 2] }],
  [
    'parts larger than the axis',
    { op: 'Split', opset: 11, attrs: { axis: 1, split: [2, 2] }, inputs: [x], outputs: 2 },
  ],
  [
    'more parts than outputs',
    { op: 'Split', opset: 18, attrs: { num_outputs: 2_000_000_000 }, inputs: [x], outputs: 2 },
  ],
  ['slices of an axis of another size', tflite({ op: 'UNPACK', attrs: { axis: 1, num: 4 }, inputs: [x], outputs: 4 })],
  [
    'a slice beyond its axis',
    tflite({ op: 'SLICE', inputs: [counting([4]), i32([1], 2), i32([1], 3)], constants: [1, 2] }),
  ],
  [
    'an index beyond its axis',
    tflite({
      op: 'STRIDED_SLICE',
      attrs: { shrink_axis_mask: 1 },
      inputs: [counting([4]), i32([1], 4), i32([1], 5), i32([1], 1)],
      constants: [1, 2, 3],
    }),
  ],
  ['blocks of size zero', { op: 'DepthToSpace', attrs: { blocksize: 0 }, inputs: [counting([1, 4, 2, 2])] }],
  ['depth without four axes', { op: 'SpaceToDepth', attrs: { blocksize: 2 }, inputs: [x] }],
  [
    'a block shape of zero',
    tflite({
      op: 'SPACE_TO_BATCH_ND',
      inputs: [counting([1, 4, 1]), i32([1], 0), i32([1, 2], 0, 0)],
      constants: [1, 2],
    }),
  ],
  [
    'a crop larger than the axis',
    tflite({
      op: 'BATCH_TO_SPACE_ND',
      inputs: [counting([2, 4, 1]), i32([1], 2), i32([1, 2], 9, 0)],
      constants: [1, 2],
    }),
  ],
  ['points with too many coordinates', { op: 'GatherND', inputs: [counting([2]), i64([1, 2], 0, 0)] }],
  ['updates of the wrong rank', { op: 'ScatterND', inputs: [x, i64([1, 1], 0), f32([1], 0)] }],
  ['padding axes outside the rank', { op: 'Pad', inputs: [x, i64([2], 1, 1), null, i64([1], 7)], constants: [1, 3] }],
  [
    'an unknown padding mode',
    { op: 'Pad', attrs: { mode: 'toString' }, inputs: [x, i64([6], 0, 0, 0, 0, 0, 0)], constants: [1] },
  ],
  [
    'an unknown fused activation',
    tflite({ op: 'ADD', attrs: { fused_activation_function: 'constructor' }, inputs: [x, x] }),
  ],
  ['no operands', { op: 'Min', inputs: [] }],
  ['operands of two types', { op: 'Add', inputs: [f32([1], 1), i32([1], 1)] }],
  ['shapes that do not broadcast', { op: 'Mul', inputs: [f32([2], 1, 2), f32([3], 1, 2, 3)] }],
  ['a triangle of a vector', { op: 'Trilu', inputs: [counting([3])] }],
  ['bits of another width', { op: 'BitCast', opset: 26, attrs: { to: 11 }, inputs: [f32([3], 1, 2, 3)] }],
];

describe('a node with', () => {
  it.each(CASES)('%s is refused', (_, c) => {
    expect(() => runNode(c)).toThrow(CompileError);
  });
});
