// Sequences, optionals and maps exist only while importing: a list is a mark that holds its elements as operands, and every
// operator on lists looks through it. Lengths are therefore known at compile time; no mark outlives the import. A map is two
// tensors, keys [n] and values [n]; a sequence of maps with the same keys one more axis of values, [maps, n].

import type { Builder } from '../../ir/builder.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';

const LIST = 'list';
const NOTHING = 'nothing';
const MAP = 'map';

const isMark = (v: Value, name: string): boolean =>
  v.node?.kind === 'call' && v.node.host === null && v.node.callee === name;

const mark = (b: Builder, name: string, items: readonly Value[], dtype: DType): Value =>
  b.node({ kind: 'call', callee: name, host: null }, items, [{ dtype, shape: [] }])[0] as Value;

/** A sequence of `items`, which may be lists themselves. */
export const listOf = (b: Builder, items: readonly Value[], dtype: DType = items[0]?.type.dtype ?? 'f32'): Value =>
  mark(b, LIST, items, dtype);

/** An optional without an element. */
export const nothing = (b: Builder, dtype: DType): Value => mark(b, NOTHING, [], dtype);

export const isList = (v: Value): boolean => isMark(v, LIST);
export const isNothing = (v: Value): boolean => isMark(v, NOTHING);

/** Elements of a list; undefined for anything else. */
export const itemsOf = (v: Value): readonly Value[] | undefined => (isList(v) ? v.node?.inputs : undefined);

export interface MapValue {
  readonly keys: Value;
  readonly values: Value;
}

/** A map from `keys` to `values`, or a sequence of such maps. */
export const mapOf = (b: Builder, { keys, values }: MapValue): Value => mark(b, MAP, [keys, values], values.type.dtype);

/** Keys and values of a map or of a sequence of maps; undefined for anything else. */
export function mapIn(v: Value): MapValue | undefined {
  const [keys, values] = isMark(v, MAP) ? (v.node?.inputs ?? []) : [];
  return keys && values && { keys, values };
}

/** The tensors in a value, depth first. */
export const tensorsIn = (v: Value): readonly Value[] =>
  isNothing(v) ? [] : isMark(v, MAP) ? (v.node?.inputs ?? []) : (itemsOf(v)?.flatMap(tensorsIn) ?? [v]);

/** A text equal for values of the same structure: which are tensors, and how lists nest. */
export const structureOf = (v: Value): string =>
  isNothing(v) ? '-' : isMark(v, MAP) ? 'm' : isList(v) ? `[${(itemsOf(v) ?? []).map(structureOf).join()}]` : 't';

/** The value with its tensors, in order, replaced by those of `tensors`. */
export function rebuild(b: Builder, like: Value, tensors: Iterator<Value>): Value {
  if (isNothing(like)) return nothing(b, like.type.dtype);
  if (isMark(like, MAP)) {
    const [keys, values] = [tensors.next().value as Value, tensors.next().value as Value];
    return mapOf(b, { keys, values });
  }
  const items = itemsOf(like);
  if (!items) return tensors.next().value as Value;
  return listOf(
    b,
    items.map((v) => rebuild(b, v, tensors)),
    like.type.dtype,
  );
}
