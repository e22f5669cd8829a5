// Random numbers without a generator's state: element i of a node is a hash of (seed, i), so every target gives the
// same numbers and elements are independent of order. Nodes without a seed take their position in the graph.
// Integer hash: Prospector's lowbias32 (Wellons).

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { sizesFrom } from './runtime-sizes.js';

const u32 = (x: number): Expr => constant(x >>> 0, 'u32');

function hash(x: Expr): Expr {
  const fold = (v: Expr, by: number): Expr => e.xor(v, e.shrU(v, u32(by)));
  return fold(e.mul(fold(e.mul(fold(x, 16), u32(0x7feb352d)), 15), u32(0x846ca68b)), 16);
}

/** Uniform in (0, 1), from 23 bits and a half: neither end occurs. Stream tells several draws for one element apart. */
function uniform(seed: number, at: Expr, stream = 0): Expr {
  const mixed = hash(e.xor(hash(e.add(cast(at, 'u32'), u32(seed))), u32(0x9e3779b9 * (stream + 1))));
  return e.mul(e.add(cast(e.shrU(mixed, u32(9)), 'f32'), constant(0.5, 'f32')), constant(2 ** -23, 'f32'));
}

/** Standard normal, by Box and Muller. */
function normal(seed: number, at: Expr): Expr {
  const radius = e.sqrt(e.mul(e.log(uniform(seed, at, 0)), -2));
  return e.mul(radius, e.op('cos', e.mul(uniform(seed, at, 1), 2 * Math.PI)));
}

/** Row-major position of an element. */
const position = (index: readonly Expr[], shape: readonly Dim[]): Expr =>
  index.reduce<Expr>((at, x, k) => e.add(e.mul(at, dimExpr(shape[k] as Dim)), x), i32(0));

type Draw = (seed: number, at: Expr) => Expr;

const draw = (b: Builder, shape: readonly Dim[], dtype: DType, seed: number, f: Draw): Value =>
  b.generic({ shape, body: (i) => cast(f(seed, position(i, shape)), dtype) });

/** A seed as 32 bits; where there is none, one that differs from node to node. */
const seedOf = (n: NodeReader): number =>
  n.has('seed') ? Math.round(n.float('seed') * 65536) >>> 0 : Math.imul(n.source.index + 1, 0x9e3779b1) >>> 0;

interface RandomAttrs {
  readonly seed: number;
  readonly dtype: DType | undefined;
  readonly shape: readonly number[] | undefined;
  readonly draw: Draw;
}

const dtypeOf = (n: NodeReader): DType | undefined => (n.has('dtype') ? n.dtype('dtype') : undefined);

const normalAttrs = (n: NodeReader): RandomAttrs => {
  const [mean, scale] = [n.float('mean', 0), n.float('scale', 1)];
  return {
    seed: seedOf(n),
    dtype: dtypeOf(n),
    shape: shapeOf(n),
    draw: (s, at) => e.add(e.mul(normal(s, at), scale), mean),
  };
};

const uniformAttrs = (n: NodeReader): RandomAttrs => {
  const [low, high] = [n.float('low', 0), n.float('high', 1)];
  return {
    seed: seedOf(n),
    dtype: dtypeOf(n),
    shape: shapeOf(n),
    draw: (s, at) => e.add(e.mul(uniform(s, at), high - low), low),
  };
};

const shapeOf = (n: NodeReader): readonly number[] | undefined => (n.has('shape') ? n.ints('shape') : undefined);

/** TFLite: two integer seeds; both zero means none. */
const tfliteSeed = (n: NodeReader): number => {
  const [a, c] = [n.int('seed', 0), n.int('seed2', 0)];
  return (a || c ? Math.imul(a, 0x85ebca6b) ^ c : Math.imul(n.source.index + 1, 0x9e3779b1)) >>> 0;
};

const LIMITS = ['The same call gives the same numbers each time: draws do not advance from call to call.'];

/** Position of the largest of logit + Gumbel noise: a draw from the distribution the logits stand for. */
function multinomial(b: Builder, logits: Value, samples: Dim, dtype: DType, seed: number): Value {
  const [batch, classes] = logits.type.shape as [Dim, Dim];
  return b.generic({
    shape: [batch, samples],
    reduce: [classes],
    reducer: 'argmax',
    dtype,
    body: (i, r, read) => {
      const at = position([...i, ...r], [batch, samples, classes]);
      const noise = e.neg(e.log(e.neg(e.log(uniform(seed, at)))));
      return e.add(cast(read(logits, [i[0] as Expr, r[0] as Expr]), 'f32'), noise);
    },
  });
}

const sampleCount = (b: Builder, v: Value, ctx: LowerContext): Dim =>
  b.values(v)?.[0] ?? ctx.limit('the number of samples depends on data', 'Make it a constant');

export const records: readonly AnyRecord[] = [
  op('random', {
    doc: 'Random numbers of a given shape.',
    inputs: [],
    onnx: { 'RandomNormal@1': normalAttrs, 'RandomUniform@1': uniformAttrs },
    lower: (_inputs, a, b) => draw(b, a.shape ?? [], a.dtype ?? 'f32', a.seed, a.draw),
    limits: LIMITS,
  }),
  op('random_like', {
    doc: 'Random numbers in the shape of a tensor.',
    inputs: ['x'],
    onnx: { 'RandomNormalLike@1': normalAttrs, 'RandomUniformLike@1': uniformAttrs },
    lower: ({ x }, a, b) => draw(b, x.type.shape, a.dtype ?? x.type.dtype, a.seed, a.draw),
    limits: LIMITS,
  }),
  op('random_shape', {
    doc: 'Random numbers of a shape given as an input.',
    inputs: ['shape'],
    tflite: {
      RANDOM_UNIFORM: (n) => ({ seed: tfliteSeed(n), draw: uniform as Draw }),
      RANDOM_STANDARD_NORMAL: (n) => ({ seed: tfliteSeed(n), draw: normal as Draw }),
    },
    lower: ({ shape }, a, b, ctx) => draw(b, sizesFrom(b, shape, ctx), 'f32', a.seed, (s, at) => a.draw(s, at)),
    limits: LIMITS,
  }),
  op('bernoulli', {
    doc: 'One with the probability each element states, else zero.',
    inputs: ['x'],
    onnx: { 'Bernoulli@15': (n) => ({ seed: seedOf(n), dtype: dtypeOf(n) }) },
    lower: ({ x }, { seed, dtype }, b) =>
      b.generic({
        shape: x.type.shape,
        body: (i, _r, read) =>
          cast(e.lt(uniform(seed, position(i, x.type.shape)), cast(read(x, i), 'f32')), dtype ?? x.type.dtype),
      }),
    limits: LIMITS,
  }),
  op('multinomial', {
    doc: 'Classes drawn from unnormalised log-probabilities.',
    inputs: ['logits', 'samples?'],
    onnx: {
      'Multinomial@7': (n) => ({ seed: seedOf(n), count: n.int('sample_size', 1), dtype: n.dtype('dtype', 'i32') }),
    },
    tflite: { MULTINOMIAL: (n) => ({ seed: tfliteSeed(n), count: 0, dtype: 'i64' as DType }) },
    lower({ logits, samples }, a, b, ctx) {
      const dtype = ctx.reader.source.domain === 'tflite' ? (ctx.declared(0)?.dtype ?? a.dtype) : a.dtype;
      return multinomial(b, logits, samples ? sampleCount(b, samples, ctx) : a.count, dtype, a.seed);
    },
    limits: LIMITS,
  }),
];
