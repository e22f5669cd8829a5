// Sorting inside loop programs: positions 0…n−1 ordered by a comparison the caller writes. Orders are total (ties go to
// the lower position, NaN stands beyond every number), so results do not depend on the algorithm.

import type { Buf, KernelBuilder } from '../../ir/kernel-builder.js';
import { e } from '../../ir/expr.js';
import { constant, type Expr, i32 } from '../../ir/scalar.js';
import { isFloat } from '../../support/dtype.js';

/** Whether position a must come before position b; may emit statements. */
export type Before = (a: Expr, b: Expr) => Expr;

/** x > y, with NaN greater than every number. */
export function greater(x: Expr, y: Expr): Expr {
  const plain = e.gt(x, y);
  if (!isFloat(x.dtype)) return plain;
  const nan = (v: Expr): Expr => e.op('is_nan', v);
  return e.or(plain, e.and(nan(x), e.op('not', nan(y))));
}

export const both = (...conds: readonly Expr[]): Expr => conds.reduce((a, b) => e.and(a, b));

/** First values first: descending or ascending, lower positions first among equals. */
export const byValue =
  (k: KernelBuilder, value: (at: Expr) => Expr, descending: boolean): Before =>
  (a, b) => {
    const x = k.let(value(a), 'x');
    const y = k.let(value(b), 'y');
    const [first, second] = descending ? [x, y] : [y, x];
    return e.or(greater(first, second), both(e.op('not', greater(second, first)), e.lt(a, b)));
  };

/** Whether a position may come first before a lower one: all that do, and what NaN leaves open. One comparison. */
export const mayPrecede =
  (k: KernelBuilder, value: (at: Expr) => Expr, descending: boolean): Before =>
  (a, b) => {
    const [x, y] = [k.let(value(a), 'x'), k.let(value(b), 'y')];
    return e.op('not', descending ? e.le(x, y) : e.le(y, x));
  };

/** Sorts `order`[0…n), which holds positions, stably: runs of growing width are merged to and fro. */
export function mergeSort(k: KernelBuilder, n: Expr, order: Buf, temp: Buf, before: Before): void {
  const width = k.mut(i32(1), 'width');
  k.while(e.lt(width, n), () => {
    const lo = k.mut(i32(0), 'lo');
    k.while(e.lt(lo, n), () => {
      const mid = k.let(e.min(e.add(lo, width), n), 'mid');
      const hi = k.let(e.min(e.add(mid, width), n), 'hi');
      merge(k, order, temp, { lo, mid, hi }, before);
      k.set(lo, hi);
    });
    k.for(0, n, (i) => k.store(order, [i], k.load(temp, [i])));
    k.set(width, e.mul(width, 2));
  });
}

function merge(k: KernelBuilder, from: Buf, to: Buf, run: { lo: Expr; mid: Expr; hi: Expr }, before: Before): void {
  const left = k.mut(run.lo, 'left');
  const right = k.mut(run.mid, 'right');
  k.for(run.lo, run.hi, (at) => {
    const takeLeft = k.mut(e.lt(left, run.mid), 'take');
    k.if(both(takeLeft, e.lt(right, run.hi)), () => {
      const a = k.let(k.load(from, [left]), 'a');
      const b = k.let(k.load(from, [right]), 'b');
      k.set(takeLeft, e.op('not', before(b, a)));
    });
    k.if(
      takeLeft,
      () => {
        k.store(to, [at], k.load(from, [left]));
        k.set(left, e.add(left, 1));
      },
      () => {
        k.store(to, [at], k.load(from, [right]));
        k.set(right, e.add(right, 1));
      },
    );
  });
}

/** The first `count` of positions 0…n−1 in order, into `best`[0…count): a heap with the last of them on top. count ≤ n.
 *  `may`: see mayPrecede; of most positions it is all that is asked. */
export function selectFirst(k: KernelBuilder, n: Expr, count: Expr, best: Buf, before: Before, may: Before): void {
  const select = (): void => selectSome(k, n, count, best, before, may);
  if (count.k === 'const') select();
  else k.if(e.lt(0, count), select);
}

function selectSome(k: KernelBuilder, n: Expr, count: Expr, best: Buf, before: Before, may: Before): void {
  k.for(0, count, (i) => siftUp(k, best, i, before));
  k.for(count, n, (i) => {
    const top = k.let(k.load(best, [0]), 'top');
    k.if(may(i, top), () => k.if(before(i, top), () => siftDown(k, best, i, count, before)));
  });
  k.for(1, count, (done) => {
    const last = k.let(e.sub(count, done), 'last');
    const moved = k.let(k.load(best, [last]), 'moved');
    k.store(best, [last], k.load(best, [0]));
    siftDown(k, best, moved, last, before);
  });
}

/** Puts position i into slot i of a heap of i elements. */
function siftUp(k: KernelBuilder, heap: Buf, i: Expr, before: Before): void {
  const at = k.mut(i, 'at');
  k.while(e.lt(0, at), () => {
    const parent = k.let(e.div(e.sub(at, 1), 2), 'parent');
    const above = k.let(k.load(heap, [parent]), 'above');
    const stop = before(i, above);
    k.if(stop, () => k.break());
    k.store(heap, [at], above);
    k.set(at, parent);
  });
  k.store(heap, [at], i);
}

/** Puts `item` in the place of the top of a heap of `size` elements. */
function siftDown(k: KernelBuilder, heap: Buf, item: Expr, size: Expr, before: Before): void {
  const at = k.mut(i32(0), 'at');
  const going = k.mut(constant(true, 'i1'), 'going');
  k.while(going, () => {
    const left = k.let(e.add(e.mul(at, 2), 1), 'left');
    k.if(
      e.lt(left, size),
      () => {
        const child = k.mut(left, 'child');
        const other = k.let(e.add(left, 1), 'other');
        k.if(e.lt(other, size), () => {
          const [a, b] = [k.let(k.load(heap, [left]), 'a'), k.let(k.load(heap, [other]), 'b')];
          const pick = before(a, b);
          k.if(pick, () => k.set(child, other));
        });
        const below = k.let(k.load(heap, [child]), 'below');
        const sinks = before(item, below);
        k.if(
          sinks,
          () => {
            k.store(heap, [at], below);
            k.set(at, child);
          },
          () => k.set(going, constant(false, 'i1')),
        );
      },
      () => k.set(going, constant(false, 'i1')),
    );
  });
  k.store(heap, [at], item);
}
