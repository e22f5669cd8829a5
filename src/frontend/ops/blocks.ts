// Space and depth, space and batch: each is a reshape, a transpose and a reshape, with padding or cropping around.

import type { Builder } from '../../ir/builder.js';
import { bounds, type Dim, floordiv, mul, product, sub } from '../../ir/dim.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { zeroPoint } from './pad.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

/** The four sizes of an image batch that is to be taken apart in blocks of k by k. */
function sizes(x: Value, k: number): readonly [Dim, Dim, Dim, Dim] {
  const [p, q, r, s, more] = x.type.shape;
  if (p === undefined || q === undefined || r === undefined || s === undefined || more !== undefined)
    throw new CompileError('E204', `a tensor of rank ${x.type.shape.length} is not a batch of images`);
  if (k < 1) throw new CompileError('E203', `blocks of size ${k} do not exist`);
  return [p, q, r, s];
}

/** Channels first: DCR takes the block from the slow end of the channels, CRD from the fast end. */
function depthToSpace(b: Builder, x: Value, k: number, crd: boolean): Value {
  const [n, c, h, w] = sizes(x, k);
  const depth = floordiv(c, k * k);
  const split = b.reshape(x, crd ? [n, depth, k, k, h, w] : [n, k, k, depth, h, w]);
  const moved = b.transpose(split, crd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]);
  return b.reshape(moved, [n, depth, mul(h, k), mul(w, k)]);
}

function spaceToDepth(b: Builder, x: Value, k: number): Value {
  const [n, c, h, w] = sizes(x, k);
  const [rows, columns] = [floordiv(h, k), floordiv(w, k)];
  const moved = b.transpose(b.reshape(x, [n, c, rows, k, columns, k]), [0, 3, 5, 1, 2, 4]);
  return b.reshape(moved, [n, mul(c, k * k), rows, columns]);
}

const channelsFirst = (b: Builder, x: Value): Value => b.transpose(x, [0, 3, 1, 2]);
const channelsLast = (b: Builder, x: Value): Value => b.transpose(x, [0, 2, 3, 1]);

/** Constant contents of the block shape and of the [before, after] rows beside it. */
function blockInputs(b: Builder, x: Value, block: Value, rows: Value, ctx: LowerContext) {
  const k = b.values(block) ?? ctx.limit('the block shape depends on data');
  const amounts = b.values(rows) ?? ctx.limit('the amounts to pad or crop depend on data');
  if (k.some((d) => bounds(d)[0] < 1) || k.length >= x.type.shape.length || amounts.length !== 2 * k.length)
    return ctx.limit('the block shape does not fit the input');
  return { block: k, before: amounts.filter((_, j) => j % 2 === 0), after: amounts.filter((_, j) => j % 2 === 1) };
}

function spaceToBatch(b: Builder, x: Value, block: Value, rows: Value, fill: Value | number, ctx: LowerContext): Value {
  const { block: k, before, after } = blockInputs(b, x, block, rows, ctx);
  const m = k.length;
  const wide = b.pad(x, [0, ...before], [0, ...after], fill);
  const [n, ...rest] = wide.type.shape as readonly [Dim, ...Dim[]];
  const space = k.map((d, j) => floordiv(rest[j] as Dim, d));
  const tail = rest.slice(m);
  const split = b.reshape(wide, [n, ...space.flatMap((s, j) => [s, k[j] as Dim]), ...tail]);
  const order = [...k.map((_, j) => 2 * j + 2), 0, ...k.map((_, j) => 2 * j + 1), ...tail.map((_, j) => 2 * m + 1 + j)];
  return b.reshape(b.transpose(split, order), [mul(n, product(k)), ...space, ...tail]);
}

function batchToSpace(b: Builder, x: Value, block: Value, rows: Value, ctx: LowerContext): Value {
  const { block: k, before, after } = blockInputs(b, x, block, rows, ctx);
  const m = k.length;
  const [n, ...rest] = x.type.shape as readonly [Dim, ...Dim[]];
  const tail = rest.slice(m);
  const batch = floordiv(n, product(k));
  const split = b.reshape(x, [...k, batch, ...rest]);
  const order = [m, ...k.flatMap((_, j) => [m + 1 + j, j]), ...tail.map((_, j) => 2 * m + 1 + j)];
  const joined = b.reshape(b.transpose(split, order), [batch, ...k.map((d, j) => mul(d, rest[j] as Dim)), ...tail]);
  return k.reduce<Value>((v, _, j) => {
    const [cut, end] = [before[j] as Dim, after[j] as Dim];
    return b.narrow(v, j + 1, cut, sub(sub(v.type.shape[j + 1] as Dim, cut), end));
  }, joined);
}

export const records: readonly AnyRecord[] = [
  op('depth_to_space', {
    doc: 'Blocks of channels become blocks of pixels (channels first)',
    inputs: ['x'],
    onnx: { 'DepthToSpace@1': (n) => ({ block: n.int('blocksize'), crd: n.string('mode', 'DCR') === 'CRD' }) },
    examples: [
      {
        in: { x: [[[[1]], [[2]], [[3]], [[4]]]] },
        attrs: { block: 2, crd: false },
        out: [
          [
            [
              [1, 2],
              [3, 4],
            ],
          ],
        ],
      },
    ],
    lower: ({ x }, { block, crd }, b) => depthToSpace(b, x, block, crd),
  }),
  op('space_to_depth', {
    doc: 'Blocks of pixels become blocks of channels (channels first)',
    inputs: ['x'],
    onnx: { 'SpaceToDepth@1': (n) => ({ block: n.int('blocksize') }) },
    lower: ({ x }, { block }, b) => spaceToDepth(b, x, block),
  }),
  op('depth_to_space_nhwc', {
    doc: 'Blocks of channels become blocks of pixels (channels last)',
    inputs: ['x'],
    tflite: { DEPTH_TO_SPACE: (n) => ({ block: n.int('block_size') }) },
    quantized: 'raw',
    lower: ({ x }, { block }, b) => channelsLast(b, depthToSpace(b, channelsFirst(b, x), block, false)),
  }),
  op('space_to_depth_nhwc', {
    doc: 'Blocks of pixels become blocks of channels (channels last)',
    inputs: ['x'],
    tflite: { SPACE_TO_DEPTH: (n) => ({ block: n.int('block_size') }) },
    quantized: 'raw',
    lower: ({ x }, { block }, b) => channelsLast(b, spaceToDepth(b, channelsFirst(b, x), block)),
  }),
  op('space_to_batch', {
    doc: 'Pads, then moves blocks of the axes after the first into the first',
    inputs: ['x', 'block', 'pads'],
    tflite: { SPACE_TO_BATCH_ND: () => ({}) },
    quantized: ({ x, block, pads }, _a, b, ctx) => spaceToBatch(b, x, block, pads, zeroPoint(b, x, ctx) ?? 0, ctx),
    lower: ({ x, block, pads }, _a, b, ctx) => spaceToBatch(b, x, block, pads, 0, ctx),
  }),
  op('batch_to_space', {
    doc: 'Moves blocks of the first axis into the axes after it, then crops',
    inputs: ['x', 'block', 'crops'],
    tflite: { BATCH_TO_SPACE_ND: () => ({}) },
    quantized: 'raw',
    lower: ({ x, block, crops }, _a, b, ctx) => batchToSpace(b, x, block, crops, ctx),
  }),
];
