// Operators that order elements: the largest or smallest of each row, and distinct values with their positions.
// They are loop programs over the orders of ordering.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, min, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { byValue, mayPrecede, mergeSort, selectFirst } from './ordering.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { declaredSize, most } from './runtime-sizes.js';

interface TopK {
  readonly axis: number;
  readonly count: Dim;
  readonly largest: boolean;
  readonly indexType: DType;
}

/** Values and positions of the first `count` along an axis, best first. */
export function topK(b: Builder, x: Value, a: TopK): readonly Value[] {
  const axis = b.axis(x, a.axis);
  const { shape } = x.type;
  const [before, after] = [shape.slice(0, axis), shape.slice(axis + 1)];
  const [outer, n, inner] = [product(before), shape[axis] as Dim, product(after)];
  const rows = b.reshape(x, [outer, n, inner]);
  const outs = buildKernel(b, 'top_k', [rows], (k) => {
    const [src] = k.inputs as [KernelBuilder['inputs'][0]];
    const values = k.output(x.type.dtype, [outer, a.count, inner]);
    const positions = k.output(a.indexType, [outer, a.count, inner]);
    const best = k.scratch('best', 'i32', [a.count]);
    k.forEach([outer, inner], ([o, i]) => {
      const at = (p: Expr): Expr => k.load(src, [o as Expr, p, i as Expr]);
      const [before, may] = [byValue(k, at, a.largest), mayPrecede(k, at, a.largest)];
      selectFirst(k, dimExpr(n), dimExpr(a.count), best, before, may);
      k.for(0, dimExpr(a.count), (r) => {
        const p = k.let(k.load(best, [r]), 'p');
        k.store(values, [o as Expr, r, i as Expr], at(p));
        k.store(positions, [o as Expr, r, i as Expr], e.cast(p, a.indexType));
      });
    });
  });
  return outs.map((v) => b.reshape(v, [...before, a.count, ...after]));
}

/** How many to take: a constant, or a value between 0 and the axis's size. */
function takenCount(b: Builder, x: Value, axis: number, count: Value, ctx: LowerContext): Dim {
  const size = x.type.shape[b.axis(x, axis)] as Dim;
  const known = b.values(count)?.[0] ?? declaredSize(ctx, 0, b.axis(x, axis));
  if (known !== undefined) {
    if (typeof known === 'number' && (known < 1 || (typeof size === 'number' && known > size)))
      return ctx.limit(`the ${known} largest of ${size} elements are asked for`);
    return known;
  }
  return min(b.bindSym(b.reshape(count, []), 'k', 0, most(size)), size);
}

interface TopKAttrs {
  readonly axis: number;
  /** Where it is an attribute. */
  readonly k?: number;
  readonly largest: boolean;
}

const TopKRecord = op('top_k', {
  doc: 'The k largest or smallest elements along an axis, in order, with their positions.',
  inputs: ['x', 'count?'],
  onnx: {
    'TopK@1': (n): TopKAttrs => ({ axis: n.int('axis', -1), k: n.int('k'), largest: true }),
    'TopK@10': (n): TopKAttrs => ({ axis: n.int('axis', -1), largest: true }),
    'TopK@11': (n): TopKAttrs => ({ axis: n.int('axis', -1), largest: n.bool('largest', true) }),
  },
  tflite: { TOPK_V2: (): TopKAttrs => ({ axis: -1, largest: true }) },
  quantized: 'raw',
  lower({ x, count }, a, b, ctx) {
    if (a.k === 0) return ctx.limit('the 0 largest elements are asked for');
    const k = a.k ?? (count ? takenCount(b, x, a.axis, count, ctx) : ctx.limit('k is missing'));
    const indexType = ctx.reader.source.domain === 'tflite' ? (ctx.declared(1)?.dtype ?? 'i32') : 'i64';
    return topK(b, x, { axis: a.axis, count: k, largest: a.largest, indexType });
  },
});

interface Unique {
  readonly sorted: boolean;
  readonly indexType: DType;
}

/** Of `items` [n, size]: the distinct ones [count, size], their first positions, each item's number, and how often each occurs. */
function distinct(b: Builder, items: Value, a: Unique): readonly Value[] {
  const [n, size] = items.type.shape as [Dim, Dim];
  return buildKernel(b, 'unique', [items], (k) => {
    const [src] = k.inputs as [KernelBuilder['inputs'][0]];
    const count = k.count('distinct', n);
    const found = k.output(items.type.dtype, [count.dim, size]);
    const firsts = k.output(a.indexType, [count.dim]);
    const numbers = k.output(a.indexType, [n]);
    const counts = k.output(a.indexType, [count.dim]);
    const order = k.scratch('order', 'i32', [n]);
    const temp = k.scratch('temp', 'i32', [n]);
    const leader = k.scratch('leader', 'i32', [n]);
    const rank = k.scratch('rank', 'i32', [n]);
    const total = dimExpr(n);
    const order3 = (p: Expr, q: Expr): Expr => compareItems(k, (i, j) => k.load(src, [i, j]), dimExpr(size), p, q);

    k.for(0, total, (i) => k.store(order, [i], i));
    mergeSort(k, total, order, temp, (p, q) => e.lt(order3(p, q), 0));
    const lead = k.mut(i32(0), 'lead');
    k.for(0, total, (r) => {
      const item = k.let(k.load(order, [r]), 'item');
      const differs = k.mut(e.eq(r, 0), 'differs');
      k.if(e.lt(0, r), () => k.set(differs, e.ne(order3(lead, item), 0)));
      k.if(differs, () => k.set(lead, item));
      k.store(leader, [item], lead);
    });
    const seen = k.mut(i32(0), 'seen');
    k.for(0, total, (r) => {
      const item = a.sorted ? k.let(k.load(order, [r]), 'item') : r;
      k.if(e.eq(k.load(leader, [item]), item), () => {
        k.store(rank, [item], seen);
        k.for(0, dimExpr(size), (j) => k.store(found, [seen, j], k.load(src, [item, j])));
        k.store(firsts, [seen], e.cast(item, a.indexType));
        k.store(counts, [seen], 0);
        k.set(seen, e.add(seen, 1));
      });
    });
    k.for(0, total, (i) => {
      const number = k.let(k.load(rank, [k.load(leader, [i])]), 'number');
      k.store(numbers, [i], e.cast(number, a.indexType));
      k.store(counts, [number], e.add(k.load(counts, [number]), 1));
    });
    count.store(seen);
  });
}

/** −1, 0 or 1 as item p stands before, with or behind item q, element by element. */
function compareItems(k: KernelBuilder, at: (i: Expr, j: Expr) => Expr, size: Expr, p: Expr, q: Expr): Expr {
  const result = k.mut(i32(0), 'sign');
  k.for(0, size, (j) => {
    const x = k.let(at(p, j), 'x');
    const y = k.let(at(q, j), 'y');
    k.if(e.ne(x, y), () => {
      k.set(result, e.select(e.lt(x, y), i32(-1), i32(1)));
      k.break();
    });
  });
  return k.let(result, 'order');
}

interface UniqueAttrs extends Unique {
  readonly axis: number | undefined;
  /** Of values, first positions, numbers and counts, those the operator gives, in its order. */
  readonly outputs: readonly number[];
}

const UniqueRecord = op<'x', UniqueAttrs>('unique', {
  doc: 'Distinct elements, or distinct slices along an axis; first positions, the number of each element, and counts.',
  inputs: ['x'],
  onnx: {
    'Unique@11': (n) => ({
      axis: n.has('axis') ? n.int('axis') : undefined,
      sorted: n.bool('sorted', true),
      indexType: 'i64',
      outputs: [0, 1, 2, 3],
    }),
    'com.microsoft:Unique@1': () => ({ axis: undefined, sorted: false, indexType: 'i64', outputs: [0, 2, 3] }),
  },
  tflite: {
    UNIQUE: (n) => ({ axis: undefined, sorted: false, indexType: n.dtype('idx_out_type', 'i32'), outputs: [0, 2] }),
  },
  quantized: 'raw',
  lower({ x }, a, b) {
    const axis = a.axis === undefined ? undefined : b.axis(x, a.axis);
    const { shape } = x.type;
    const rest = axis === undefined ? [] : shape.filter((_, k) => k !== axis);
    const order = axis === undefined ? [] : [axis, ...shape.map((_, k) => k).filter((k) => k !== axis)];
    const n = axis === undefined ? product(shape) : (shape[axis] as Dim);
    const items = b.reshape(axis === undefined ? x : b.transpose(x, order), [n, product(rest)]);
    const [found, firsts, numbers, counts] = distinct(b, items, a) as [Value, Value, Value, Value];
    const whole = b.reshape(found, [found.type.shape[0] as Dim, ...rest]);
    const y =
      axis === undefined
        ? whole
        : b.transpose(
            whole,
            order.map((_, k) => order.indexOf(k)),
          );
    return a.outputs.map((k) => [y, firsts, numbers, counts][k] as Value);
  },
});

export const records: readonly AnyRecord[] = [TopKRecord, UniqueRecord];
