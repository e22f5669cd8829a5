// Sequences and optionals. Their lengths are known while importing (list-value.ts), so these operators only rearrange
// values; a position that depends on data chooses between them at run time.

import { ceildiv, type Dim, min, sub } from '../../ir/dim.js';
import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import type { Value } from '../../ir/tensor.js';
import { isList, isNothing, itemsOf, listOf, mapIn, mapOf, nothing } from './list-value.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { computedSize, intAt, lengthOf, most } from './runtime-sizes.js';

function items(v: Value, ctx: LowerContext): readonly Value[] {
  return itemsOf(v) ?? mapsOf(v, ctx) ?? ctx.limit('a sequence is needed here, and a tensor is given');
}

/** The maps of a sequence of maps with the same keys. */
function mapsOf(v: Value, { builder: b }: LowerContext): readonly Value[] | undefined {
  const map = mapIn(v);
  const [count, length] = map?.values.type.shape ?? [];
  if (!map || typeof count !== 'number' || length === undefined) return undefined;
  return Array.from({ length: count }, (_, k) =>
    mapOf(b, { keys: map.keys, values: b.reshape(b.narrow(map.values, 0, k, 1), [length]) }),
  );
}

/** The element `list` would have at each position from 0 to count−1, if `at` (negative from the end of n) were `position`. */
function rearrange(
  b: Builder,
  ctx: LowerContext,
  at: Value | undefined,
  n: number,
  fallback: number,
  result: (position: number) => readonly Value[],
): readonly Value[] {
  const [known] = at ? (b.values(at) ?? [undefined]) : [fallback];
  if (typeof known === 'number') {
    const k = known < 0 ? known + n : known;
    return k >= 0 && k <= fallback ? result(k) : ctx.limit(`position ${known} is outside a sequence of ${n}`);
  }
  const place = b.map([b.reshape(at as Value, [])], (p) => {
    const wide = e.cast(p, 'i64');
    return e.select(e.lt(wide, 0), e.add(wide, n), wide);
  });
  const all = Array.from({ length: fallback + 1 }, (_, k) => result(k));
  return (all[0] ?? []).map((first, slot) =>
    all.slice(1).reduce((other, list, k) => either(b, b.eq(place, k + 1), list[slot] as Value, other), first),
  );
}

/** One of two tensors at run time; their sizes may differ. */
function either(b: Builder, cond: Value, x: Value, y: Value): Value {
  if (x === y) return x;
  const [out] = b.if(
    cond,
    b.region([], () => [x]),
    b.region([], () => [y]),
  );
  return out as Value;
}

/** The sizes of the parts a split along an axis gives. */
function partSizes(b: Builder, size: Dim, split: Value | undefined, ctx: LowerContext): readonly Dim[] {
  const known = split ? b.values(split) : [1];
  if (!known && split && split.type.shape.length > 0)
    return Array.from({ length: lengthOf(split, ctx) }, (_, k) =>
      computedSize(b, 'part', 0, most(size), (read) => intAt(read, split, k)),
    );
  if (!known) return ctx.limit('the split sizes depend on data', 'Make them a constant');
  if (split && split.type.shape.length > 0) return known;
  const [step] = known;
  const count = ceildiv(size, typeof step === 'number' && step > 0 ? step : ctx.limit('a split size must be positive'));
  if (typeof count !== 'number' || typeof step !== 'number')
    return ctx.limit('the length of a sequence depends on a size that is not fixed', 'Fix it with --dim');
  return Array.from({ length: count }, (_, k) => min(step, sub(size, k * step)));
}

const SplitToSequence = op('split_to_sequence', {
  doc: 'Parts of a tensor along an axis, as a sequence.',
  inputs: ['x', 'split?'],
  onnx: { 'SplitToSequence@11': (n) => ({ axis: n.int('axis', 0), keep: n.bool('keepdims', true) }) },
  lower({ x, split }, { axis, keep }, b, ctx) {
    const at = b.axis(x, axis);
    const parts = b.split(x, at, partSizes(b, x.type.shape[at] as Dim, split, ctx));
    return listOf(b, split || keep ? parts : parts.map((v) => b.squeeze(v, [at])), x.type.dtype);
  },
});

const ConcatFromSequence = op('concat_from_sequence', {
  doc: 'The elements of a sequence joined along an axis, or stacked along a new one.',
  inputs: ['xs'],
  onnx: { 'ConcatFromSequence@11': (n) => ({ axis: n.int('axis'), stack: n.bool('new_axis', false) }) },
  lower({ xs }, { axis, stack }, b, ctx) {
    const parts = items(xs, ctx);
    if (parts.length === 0) return ctx.limit('an empty sequence has no shape to join');
    return b.concat(stack ? parts.map((v) => b.unsqueeze(v, [axis])) : parts, axis);
  },
});

const SequenceMap = op('sequence_map', {
  doc: 'A subgraph applied to the elements of a sequence (and of others beside it).',
  inputs: ['xs', 'others*'],
  onnx: { 'SequenceMap@17': (n) => ({ body: n.graph('body') }) },
  lower({ xs, others }, { body }, b, ctx) {
    const rows = items(xs, ctx).map((x, k) =>
      ctx.importGraph(body, [x, ...others.map((v) => (isList(v) ? (itemsOf(v)?.[k] as Value) : v))]),
    );
    return body.outputs.map((_, k) =>
      listOf(
        b,
        rows.map((r) => r[k] as Value),
      ),
    );
  },
});

export const records: readonly AnyRecord[] = [
  op('sequence_construct', {
    doc: 'A sequence of the inputs.',
    inputs: ['xs*'],
    onnx: { 'SequenceConstruct@11': () => ({}) },
    lower: ({ xs }, _a, b) => listOf(b, xs),
  }),
  op('sequence_empty', {
    doc: 'A sequence without elements.',
    inputs: [],
    onnx: { 'SequenceEmpty@11': (n) => ({ dtype: n.dtype('dtype', 'f32') }) },
    lower: (_inputs, { dtype }, b) => listOf(b, [], dtype),
  }),
  op('sequence_at', {
    doc: 'One element of a sequence.',
    inputs: ['xs', 'at'],
    onnx: { 'SequenceAt@11': () => ({}) },
    lower({ xs, at }, _a, b, ctx) {
      const map = mapIn(xs);
      if (map) return mapOf(b, { keys: map.keys, values: b.gather(map.values, b.reshape(at, []), 0) });
      const list = items(xs, ctx);
      return rearrange(b, ctx, at, list.length, list.length - 1, (k) => list.slice(k, k + 1));
    },
  }),
  op('sequence_length', {
    doc: 'Number of elements of a sequence.',
    inputs: ['xs'],
    onnx: { 'SequenceLength@11': () => ({}) },
    lower: ({ xs }, _a, b, ctx) => b.dim(mapIn(xs)?.values.type.shape[0] ?? items(xs, ctx).length),
  }),
  op('sequence_insert', {
    doc: 'A sequence with one more element, at the end or at a position.',
    inputs: ['xs', 'x', 'at?'],
    onnx: { 'SequenceInsert@11': () => ({}) },
    lower({ xs, x, at }, _a, b, ctx) {
      const list = items(xs, ctx);
      const put = (k: number): readonly Value[] => [...list.slice(0, k), x, ...list.slice(k)];
      return listOf(b, rearrange(b, ctx, at, list.length, list.length, put));
    },
  }),
  op('sequence_erase', {
    doc: 'A sequence with one element less: the last, or the one at a position.',
    inputs: ['xs', 'at?'],
    onnx: { 'SequenceErase@11': () => ({}) },
    lower({ xs, at }, _a, b, ctx) {
      const list = items(xs, ctx);
      const drop = (k: number): readonly Value[] => [...list.slice(0, k), ...list.slice(k + 1)];
      return listOf(b, rearrange(b, ctx, at, list.length, list.length - 1, drop), xs.type.dtype);
    },
  }),
  SplitToSequence,
  ConcatFromSequence,
  SequenceMap,
  op('optional', {
    doc: 'A value, or none.',
    inputs: ['x?'],
    onnx: { 'Optional@15': () => ({}) },
    lower: ({ x }, _a, b) => x ?? nothing(b, 'f32'),
  }),
  op('optional_has_element', {
    doc: 'Whether an optional has a value.',
    inputs: ['x?'],
    onnx: { 'OptionalHasElement@15': () => ({}) },
    lower: ({ x }, _a, b) => b.scalar(x !== undefined && !isNothing(x), 'i1'),
  }),
  op('optional_get_element', {
    doc: 'The value of an optional.',
    inputs: ['x'],
    onnx: { 'OptionalGetElement@15': () => ({}) },
    lower: ({ x }, _a, _b, ctx) => (isNothing(x) ? ctx.limit('the optional is empty') : x),
  }),
];
