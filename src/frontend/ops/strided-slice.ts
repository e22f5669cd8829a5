// TFLite STRIDED_SLICE: the mask bits are resolved into one range per input axis and a list of result axes;
// an ellipsis stands for the axes not named, a new axis has size 1, a shrunk axis is dropped.

import type { Builder, Read } from '../../ir/builder.js';
import { type Dim, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { declaredSize, lengthOf } from './runtime-sizes.js';
import { type Position, positionAt, type Range, rangeOf, takeRanges, whole } from './slice-range.js';

interface Masks {
  readonly begin: number;
  readonly end: number;
  readonly ellipsis: number;
  readonly newAxis: number;
  readonly shrink: number;
  /** Ends count from the beginnings. */
  readonly offset: boolean;
}

const decodeMasks = (n: NodeReader): Masks => ({
  begin: n.int('begin_mask', 0),
  end: n.int('end_mask', 0),
  ellipsis: n.int('ellipsis_mask', 0),
  newAxis: n.int('new_axis_mask', 0),
  shrink: n.int('shrink_axis_mask', 0),
  offset: n.bool('offset', false),
});

/** What entry k of the specification does: 'slice' takes the next input axis. */
type Entry =
  | { readonly kind: 'slice' | 'shrink'; readonly k: number }
  | { readonly kind: 'new' }
  | { readonly kind: 'whole' };

function entriesOf(count: number, rank: number, m: Masks): readonly Entry[] {
  const bit = (mask: number, k: number): boolean => ((mask >> k) & 1) === 1;
  const indices = Array.from({ length: count }, (_, k) => k);
  const ellipsis = indices.find((k) => bit(m.ellipsis, k));
  const taken = indices.filter((k) => k !== ellipsis && !bit(m.newAxis, k)).length;
  const rest = Array.from({ length: Math.max(0, rank - taken) }, (): Entry => ({ kind: 'whole' }));
  const named = indices.flatMap((k): readonly Entry[] => {
    if (k === ellipsis) return rest;
    if (bit(m.newAxis, k)) return [{ kind: 'new' }];
    return [{ kind: bit(m.shrink, k) ? 'shrink' : 'slice', k }];
  });
  return ellipsis === undefined ? [...named, ...rest] : named;
}

const plus =
  (p: Position, q: Position) =>
  (read: Read): Expr =>
    e.add(exprOf(p, read), exprOf(q, read));
const exprOf = (p: Position, read: Read): Expr => (typeof p === 'function' ? p(read) : dimExpr(p));
const sum = (p: Position, q: Position): Position =>
  typeof p === 'function' || typeof q === 'function' ? plus(p, q) : sub(p, sub(0, q));

/** One element: the position wraps, and is trusted to lie in range unless it depends on data. */
function single(n: Dim, at: Position): Range {
  const wrapped = (read: Read): Expr =>
    e.select(e.lt(exprOf(at, read), 0), e.add(exprOf(at, read), dimExpr(n)), exprOf(at, read));
  if (typeof at === 'function') return { first: wrapped, step: 1, count: 1, checked: true };
  const first = typeof at === 'number' ? (at < 0 ? sub(n, -at) : at) : wrapped;
  return { first, step: 1, count: 1, checked: false };
}

function stridedSlice(
  b: Builder,
  x: Value,
  begin: Value,
  end: Value,
  strides: Value,
  m: Masks,
  ctx: LowerContext,
): Value {
  const entries = entriesOf(lengthOf(begin, ctx), x.type.shape.length, m);
  const ranges: Range[] = [];
  const shape: Dim[] = [];
  for (const entry of entries) {
    if (entry.kind === 'new') {
      shape.push(1);
      continue;
    }
    const n = x.type.shape[ranges.length] ?? ctx.limit('the specification names more axes than the input has');
    const range = entry.kind === 'whole' ? whole(n) : rangeOfEntry(entry.k, n, shape.length, entry.kind === 'shrink');
    ranges.push(range);
    if (entry.kind !== 'shrink') shape.push(range.count);
  }
  return b.reshape(takeRanges(b, x, ranges), shape);

  function rangeOfEntry(k: number, n: Dim, axis: number, shrink: boolean): Range {
    const first = positionAt(b, begin, k);
    if (shrink) return single(n, (m.begin >> k) & 1 ? 0 : first);
    const last = positionAt(b, end, k);
    return rangeOf(b, n, {
      start: (m.begin >> k) & 1 ? undefined : first,
      end: (m.end >> k) & 1 ? undefined : m.offset ? sum(first, last) : last,
      step: positionAt(b, strides, k),
      declared: declaredSize(ctx, 0, axis),
    });
  }
}

export const records: readonly AnyRecord[] = [
  op<'x' | 'begin' | 'end' | 'strides', Masks>('strided_slice', {
    doc: 'Strided ranges of axes, with masks for open ends, new, dropped and elided axes',
    inputs: ['x', 'begin', 'end', 'strides'],
    tflite: { STRIDED_SLICE: decodeMasks },
    quantized: 'raw',
    lower: ({ x, begin, end, strides }, m, b, ctx) => stridedSlice(b, x, begin, end, strides, m, ctx),
  }),
];
