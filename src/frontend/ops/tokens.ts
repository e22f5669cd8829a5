// Operators on token ids (com.microsoft): forbidding repeated n-grams, hashing, aligning two sequences, and the windows of an axis.

import type { Builder } from '../../ir/builder.js';
import { type Dim, add, floordiv, max, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel } from '../../ir/kernel-builder.js';
import { bitcast, cast, constant, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import type { Tensor } from '../../support/tensor.js';
import { type AnyRecord, op } from './record.js';
import { stringsOf } from './strings.js';

const NGramRepeatBlock = op('ngram_repeat_block', {
  doc: 'Scores, −∞ for every token that would repeat an n-gram of the ids so far.',
  inputs: ['ids', 'scores'],
  onnx: { 'com.microsoft:NGramRepeatBlock@1': (n) => ({ size: n.int('ngram_size') }) },
  lower: ({ ids, scores }, { size }, b) => {
    const [batch, length] = ids.type.shape as [Dim, Dim];
    const places = max(0, add(sub(length, size), 1));
    return b.scatter(scores, [batch, places], 'set', ([row, at], read) => {
      const id = (k: Expr): Expr => read(ids, [row as Expr, k]);
      const same = Array.from({ length: size - 1 }, (_, k) =>
        e.eq(id(e.add(at as Expr, k)), id(e.add(e.dim(sub(length, size - 1)), k))),
      ).reduce((p, q) => e.and(p, q), constant(true, 'i1') as Expr);
      const token = cast(id(e.add(at as Expr, size - 1)), 'i32');
      return {
        index: [row as Expr, e.select(same, token, -1)],
        value: constant(Number.NEGATIVE_INFINITY, scores.type.dtype),
      };
    });
  },
});

/** Rounds of MurmurHash3 (x86, 32 bits) over words of u32. */
const u = (n: number): Expr => constant(n >>> 0, 'u32');
const rotl = (x: Expr, by: number): Expr => e.or(e.shl(x, u(by)), e.shrU(x, u(32 - by)));

function murmur(words: readonly Expr[], seed: number): Expr {
  const mixed = words.reduce((h, word) => {
    const k = e.mul(rotl(e.mul(word, u(0xcc9e2d51)), 15), u(0x1b873593));
    return e.add(e.mul(rotl(e.xor(h, k), 13), u(5)), u(0xe6546b64));
  }, u(seed));
  const fold = (h: Expr, by: number): Expr => e.xor(h, e.shrU(h, u(by)));
  const first = e.mul(fold(e.xor(mixed, u(4 * words.length)), 16), u(0x85ebca6b));
  return fold(e.mul(fold(first, 13), u(0xc2b2ae35)), 16);
}

/** The same over bytes of text, four at a time and what is left. */
function murmurText(text: string, seed: number): number {
  const bytes = new TextEncoder().encode(text);
  const turn = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
  const scramble = (k: number): number => Math.imul(turn(Math.imul(k, 0xcc9e2d51), 15), 0x1b873593);
  const whole = bytes.length & ~3;
  let h = seed | 0;
  for (let i = 0; i < whole; i += 4) {
    const k = (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16) | ((bytes[i + 3] ?? 0) << 24);
    h = (Math.imul(turn(h ^ scramble(k), 13), 5) + 0xe6546b64) | 0;
  }
  const tail = bytes.subarray(whole).reduceRight((k, byte) => (k << 8) | byte, 0);
  h ^= scramble(tail) ^ bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** An element as words, the low one first. */
function wordsOf(x: Expr): readonly Expr[] {
  if (x.dtype === 'f32' || x.dtype === 'i32') return [bitcast(x, 'u32')];
  if (x.dtype === 'u32') return [x];
  const wide = x.dtype === 'u64' ? x : bitcast(x, 'u64');
  return [cast(wide, 'u32'), cast(e.shrU(wide, constant(32n, 'u64')), 'u32')];
}

const MurmurHash3 = op('murmur_hash_3', {
  doc: 'MurmurHash3 (32 bits) of each element’s bytes.',
  inputs: ['x'],
  onnx: {
    'com.microsoft:MurmurHash3@1': (n): { seed: number; dtype: DType } => ({
      seed: n.int('seed', 0),
      dtype: n.bool('positive', true) ? 'u32' : 'i32',
    }),
  },
  lower: ({ x }, { seed, dtype }: { seed: number; dtype: DType }, b) => {
    if (x.type.dtype !== 'string') return b.map([x], (v) => cast(murmur(wordsOf(v), seed), dtype));
    const call = ([t]: readonly Tensor[]): readonly Tensor[] => {
      const { shape } = t as Tensor;
      return [{ dtype: 'u32', shape, data: Uint32Array.from(stringsOf(t as Tensor), (s) => murmurText(s, seed)) }];
    };
    return b.cast(b.host('murmur_hash', call, [x], [{ dtype: 'u32', shape: x.type.shape }])[0] as Value, dtype);
  },
});

/** The cheapest way through a matrix of costs from its first corner to its last, as [points, 2]. */
function cheapestPath(b: Builder, costs: Value): Value {
  const [rows, columns] = costs.type.shape as [Dim, Dim];
  const [path] = buildKernel(b, 'warp', [costs], (k) => {
    const [src] = k.inputs as [Buf];
    const count = k.count('points', add(rows, columns));
    const points = k.output('i32', [count.dim, 2]);
    const total = k.scratch('total', 'f32', [add(rows, 1), add(columns, 1)]);
    const from = k.scratch('from', 'i32', [add(rows, 1), add(columns, 1)]);
    k.forEach([add(rows, 1), add(columns, 1)], ([i, j]) => {
      const [r, c] = [i as Expr, j as Expr];
      k.store(
        total,
        [r, c],
        e.select(e.eq(e.add(r, c), 0), constant(0, 'f32'), constant(Number.POSITIVE_INFINITY, 'f32')),
      );
      k.store(from, [r, c], e.select(e.eq(r, 0), i32(2), i32(1)));
    });
    k.forEach([rows, columns], ([i, j]) => {
      const [r, c] = [i as Expr, j as Expr];
      const [across, up, left] = [
        k.let(k.load(total, [r, c]), 'across'),
        k.let(k.load(total, [r, e.add(c, 1)]), 'up'),
        k.let(k.load(total, [e.add(r, 1), c]), 'left'),
      ];
      const diagonal = e.and(e.lt(across, up), e.lt(across, left));
      const vertical = e.and(e.lt(up, across), e.lt(up, left));
      const way = k.let(e.select(diagonal, i32(0), e.select(vertical, i32(1), i32(2))), 'way');
      const best = e.select(diagonal, across, e.select(vertical, up, left));
      k.store(total, [e.add(r, 1), e.add(c, 1)], e.add(k.load(src, [r, c]), best));
      k.store(from, [e.add(r, 1), e.add(c, 1)], way);
    });
    const back = k.scratch('back', 'i32', [add(rows, columns), 2]);
    const [r, c, n] = [k.mut(dimExpr(rows), 'r'), k.mut(dimExpr(columns), 'c'), k.mut(i32(0), 'n')];
    k.while(e.or(e.lt(0, r), e.lt(0, c)), () => {
      k.store(back, [n, 0], e.sub(r, 1));
      k.store(back, [n, 1], e.sub(c, 1));
      k.set(n, e.add(n, 1));
      const way = k.let(k.load(from, [r, c]), 'way');
      k.if(e.ne(way, 2), () => k.set(r, e.sub(r, 1)));
      k.if(e.ne(way, 1), () => k.set(c, e.sub(c, 1)));
    });
    k.for(0, n, (at) => {
      for (const part of [0, 1]) k.store(points, [at, part], k.load(back, [e.sub(e.sub(n, 1), at), part]));
    });
    count.store(n);
  });
  return path as Value;
}

export const records: readonly AnyRecord[] = [
  NGramRepeatBlock,
  MurmurHash3,
  op('dynamic_time_warping', {
    doc: 'The cheapest monotonic path through a matrix of costs, as rows and columns.',
    inputs: ['x'],
    onnx: { 'com.microsoft:DynamicTimeWarping@1': () => ({}) },
    lower: ({ x }, _a, b) => b.transpose(cheapestPath(b, x.type.shape.length === 3 ? b.squeeze(x, [0]) : x), [1, 0]),
  }),
  op('unfold_tensor', {
    doc: 'All windows of an axis, a step apart, along a new last axis.',
    inputs: ['x'],
    onnx: {
      'com.microsoft:UnfoldTensor@1': (n) => ({ axis: n.int('dim', -1), size: n.int('size'), step: n.int('step', 1) }),
    },
    lower: ({ x }, { axis, size, step }, b) => {
      const at = b.axis(x, axis);
      const count = add(floordiv(sub(x.type.shape[at] as Dim, size), step), 1);
      const shape = [...x.type.shape.map((d, k) => (k === at ? count : d)), size];
      return b.view(x, shape, (i) =>
        x.type.shape.map((_, k) => (k === at ? e.add(e.mul(i[k] as Expr, step), i.at(-1) as Expr) : (i[k] as Expr))),
      );
    },
  }),
];
