// Inputs and outputs that are sequences or optionals: tensors are all a program takes and gives, so each element of such
// a value is an input or output of its own, `name_0`, `name_1`, …. How many there are is said before importing. A map is
// two of them, `name_keys` and `name_values`, of one length, the symbol `name_count`; where the model fixes the keys, as a
// classifier's labels, an output is the values alone.

import type { Builder } from '../ir/builder.js';
import type { Value } from '../ir/tensor.js';
import type { DType } from '../support/dtype.js';
import { itemsOf, listOf, mapIn, mapOf, nothing } from './ops/list-value.js';
import type { SourceType, SourceValue } from './source.js';

/** What an input that is not a plain tensor consists of. */
export type InputStructure =
  | { readonly kind: 'tensor'; readonly shape: readonly number[] }
  | { readonly kind: 'sequence'; readonly items: readonly InputStructure[] }
  | { readonly kind: 'nothing' };

/** The type of an element, through optionals and sequences. */
const elementOf = (t: SourceType): SourceType =>
  t.kind === 'sequence' || t.kind === 'optional' ? elementOf(t.element) : t;

/** The tensors an input is given as; itself where it is a tensor or nothing is known of it. */
export function partsOf(v: SourceValue, structure: InputStructure | undefined): readonly SourceValue[] {
  if (v.type.kind === 'map') return mapParts(v, v.type);
  const element = elementOf(v.type);
  if (v.type.kind === 'tensor' || element.kind !== 'tensor' || !structure) return [v];
  switch (structure.kind) {
    case 'tensor':
      return [{ ...v, type: { ...element, shape: structure.shape } }];
    case 'sequence':
      return structure.items.flatMap((s, k) => partsOf({ ...v, name: `${v.name}_${k}` }, s));
    case 'nothing':
      return [];
  }
}

/** Keys and values of a map whose values are numbers or strings, beside each other. */
function mapParts(v: SourceValue, { key, value }: Extract<SourceType, { kind: 'map' }>): readonly SourceValue[] {
  if (value.kind !== 'tensor') return [v];
  const part = (suffix: string, dtype: DType): SourceValue => ({
    name: `${v.name}_${suffix}`,
    type: { kind: 'tensor', dtype, shape: [`${v.name}_count`] },
  });
  return [part('keys', key), part('values', value.dtype)];
}

/** The input's value from its tensors, in the order of `partsOf`. */
export function assemble(
  b: Builder,
  v: SourceValue,
  structure: InputStructure | undefined,
  parts: Iterator<Value>,
): Value {
  if (v.type.kind === 'map')
    return mapOf(b, { keys: parts.next().value as Value, values: parts.next().value as Value });
  const element = elementOf(v.type);
  const dtype = element.kind === 'tensor' ? element.dtype : 'f32';
  if (v.type.kind === 'tensor' || !structure || structure.kind === 'tensor') return parts.next().value as Value;
  if (structure.kind === 'nothing') return nothing(b, dtype);
  return listOf(
    b,
    structure.items.map((s) => assemble(b, v, s, parts)),
    dtype,
  );
}

/** An output as named tensors. */
export function namedTensors(name: string, v: Value): readonly (readonly [string, Value])[] {
  const map = mapIn(v);
  if (map && map.keys.node?.kind === 'const') return [[name, map.values]];
  if (map)
    return [
      [`${name}_keys`, map.keys],
      [`${name}_values`, map.values],
    ];
  const items = itemsOf(v);
  return items ? items.flatMap((x, k) => namedTensors(`${name}_${k}`, x)) : [[name, v]];
}
