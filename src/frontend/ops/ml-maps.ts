// Operators of ai.onnx.ml on maps. A map is keys and values beside each other (list-value.ts), so these are scatters: every
// value goes where its key says. Keys and values that are strings are looked at by a host, numbers compile.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { mapIn, mapOf, type MapValue } from './list-value.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { stringsOf, text } from './strings.js';
import { castText } from './text-numbers.js';
import { keyList, positionsIn } from './vocabulary.js';

const entriesOf = (v: Value, ctx: LowerContext): MapValue =>
  mapIn(v) ?? ctx.limit('a map is needed here, and a tensor is given');

/** Each value at its position in a vector of `size`; positions outside are dropped, `missing` fills the rest. */
function place(b: Builder, values: Value, at: Value, size: Dim, missing: number | string): Value {
  if (values.type.dtype !== 'string')
    return b.scatter(b.full([size], Number(missing), values.type.dtype), values.type.shape, 'set', (i, read) => ({
      index: [cast(read(at, i), 'i32')],
      value: read(values, i),
    }));
  const call = ([strings, positions]: readonly Tensor[]): readonly Tensor[] => {
    const count = typeof size === 'number' ? size : (strings as Tensor).data.length;
    const out = Array.from({ length: count }, () => String(missing));
    stringsOf(strings as Tensor).forEach((s, k) => {
      const to = Number((positions as Tensor).data[k]);
      if (to >= 0 && to < count) out[to] = s;
    });
    return [text([count], out)];
  };
  return b.host('string_place', call, [values, at], [{ dtype: 'string', shape: [size] }])[0] as Value;
}

const ZipMap = op('zip_map', {
  doc: 'A map for each row, from class labels to the row’s values.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:ZipMap@1': (n): { keys: Tensor } => ({
      keys: keyList(n, 'classlabels_strings', 'classlabels_int64s'),
    }),
  },
  lower: ({ x }, { keys }: { keys: Tensor }, b) => {
    const rows = x.type.shape.length === 1 ? b.unsqueeze(x, [0]) : x;
    if (rows.type.shape[1] !== keys.data.length)
      throw new CompileError('E203', `${keys.data.length} class labels do not fit ${rows.type.shape[1]} columns`);
    return mapOf(b, { keys: b.constant(keys), values: rows });
  },
  limits: ['As an output it is the tensor of values, a row per map, columns in the order of the class labels.'],
});

const DictVectorizer = op('dict_vectorizer', {
  doc: 'The values of a map in the order of a vocabulary of keys; zero, or an empty string, where a key is missing.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:DictVectorizer@1': (n): { vocabulary: Tensor } => ({
      vocabulary: keyList(n, 'string_vocabulary', 'int64_vocabulary'),
    }),
  },
  lower: ({ x }, { vocabulary }: { vocabulary: Tensor }, b, ctx) => {
    const { keys, values } = entriesOf(x, ctx);
    if (values.type.shape.length > 1) return ctx.limit('a sequence of maps', 'Give it one map at a time');
    const missing = values.type.dtype === 'string' ? '' : 0;
    const row = place(b, values, positionsIn(b, keys, vocabulary), vocabulary.data.length, missing);
    return ctx.declared(0)?.shape.length === 2 ? b.unsqueeze(row, [0]) : row;
  },
});

const CAST_TO: Readonly<Record<string, DType>> = { TO_FLOAT: 'f32', TO_INT64: 'i64', TO_STRING: 'string' };

/** How many keys are smaller: where a value stands in ascending order of keys. */
function ranks(b: Builder, keys: Value): Value {
  const [count] = keys.type.shape as [Dim];
  return b.generic({
    shape: [count],
    reduce: [count],
    reducer: 'add',
    body: ([i], [j], read) => cast(e.lt(read(keys, [j as Expr]), read(keys, [i as Expr])), 'i32'),
  });
}

const CastMap = op('cast_map', {
  doc: 'The values of a map as a row: packed in ascending order of keys, or each at the column that is its key.',
  inputs: ['x'],
  onnx: {
    'ai.onnx.ml:CastMap@1': (n): { to: DType | undefined; columns: number | undefined } => ({
      to: CAST_TO[n.string('cast_to', 'TO_FLOAT')],
      columns: n.string('map_form', 'DENSE') === 'SPARSE' ? n.int('max_map', 1) : undefined,
    }),
  },
  lower: ({ x }, { to, columns }: { to: DType | undefined; columns: number | undefined }, b, ctx) => {
    if (!to) throw new CompileError('E203', 'cast_to is none of TO_FLOAT, TO_INT64 and TO_STRING');
    const { keys, values } = entriesOf(x, ctx);
    if (values.type.shape.length > 1) return ctx.limit('a sequence of maps', 'Give it one map at a time');
    const text = to === 'string' || values.type.dtype === 'string';
    const converted = values.type.dtype === to ? values : text ? castText(b, values, to) : b.cast(values, to);
    // Keys that no column has, as positions that are dropped.
    const column = (): Value =>
      b.map([keys], (k) => cast(e.clamp(k, constant(-1, k.dtype), constant(columns as number, k.dtype)), 'i32'));
    const at = columns === undefined ? ranks(b, keys) : column();
    const size = columns ?? (keys.type.shape[0] as Dim);
    return b.unsqueeze(place(b, converted, at, size, to === 'string' ? '0.f' : 0), [0]);
  },
  limits: ['Sparse: keys that are negative or not below max_map are left out.'],
});

export const records: readonly AnyRecord[] = [ZipMap, DictVectorizer, CastMap];
