// Operators that look things up in a list: labels, and n-grams of a vocabulary. Numbers are looked up by a loop program;
// strings become positions in the list on the host first, and numbers from there on.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel } from '../../ir/kernel-builder.js';
import { cast, constant, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type DType, isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { fromNumbers, type Tensor } from '../../support/tensor.js';
import { both } from './ordering.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { stringsOf, text } from './strings.js';

/** Position of each element in `keys` (the first that equals it), −1 where absent, as i32. */
export function positionsIn(b: Builder, x: Value, keys: Tensor): Value {
  if (keys.dtype === 'string') {
    const index = new Map<string, number>();
    stringsOf(keys).forEach((s, k) => {
      if (!index.has(s)) index.set(s, k);
    });
    const call = ([t]: readonly Tensor[]): readonly Tensor[] => {
      const { shape } = t as Tensor;
      return [{ dtype: 'i32', shape, data: Int32Array.from(stringsOf(t as Tensor), (s) => index.get(s) ?? -1) }];
    };
    return b.host('string_index', call, [x], [{ dtype: 'i32', shape: x.type.shape }])[0] as Value;
  }
  const list = b.constant({ ...keys, shape: [keys.data.length] });
  const nan = isFloat(keys.dtype);
  const [out] = buildKernel(b, 'find', [b.cast(x, keys.dtype), list], (k) => {
    const [src, table] = k.inputs as [Buf, Buf];
    const found = k.output('i32', x.type.shape);
    k.forEach(x.type.shape, (i) => {
      const value = k.let(k.load(src, i), 'value');
      const at = k.mut(i32(-1), 'at');
      k.for(0, keys.data.length, (j) => {
        const key = k.let(k.load(table, [j]), 'key');
        const equal = e.eq(key, value);
        const same = nan ? e.or(equal, both(e.op('is_nan', key), e.op('is_nan', value))) : equal;
        k.if(same, () => {
          k.set(at, j);
          k.break();
        });
      });
      k.store(found, i, at);
    });
  });
  return out as Value;
}

/** values[position], and a default where it is −1. */
function valuesAt(b: Builder, at: Value, values: Tensor, fallback: Tensor): Value {
  if (values.dtype === 'string') {
    const [list, other] = [stringsOf(values), stringsOf(fallback)[0] ?? ''];
    const call = ([t]: readonly Tensor[]): readonly Tensor[] => {
      const { shape, data } = t as Tensor;
      return [
        text(
          shape,
          Array.from(data as Int32Array, (p) => list[p] ?? other),
        ),
      ];
    };
    return b.host('string_lookup', call, [at], [{ dtype: 'string', shape: at.type.shape }])[0] as Value;
  }
  const [table, otherwise] = [b.constant({ ...values, shape: [values.data.length] }), b.constant(fallback)];
  return b.generic({
    shape: at.type.shape,
    body: (i, _r, read) => {
      const p = read(at, i);
      const none = read(
        otherwise,
        fallback.shape.map(() => i32(0)),
      );
      const inside = e.and(e.le(0, p), e.lt(p, values.data.length));
      return e.select(inside, read(table, [p], { guard: inside, pad: constant(0, values.dtype) }), none);
    },
  });
}

const KINDS = [
  { suffix: 'strings', dtype: 'string', fallback: 'default_string' },
  { suffix: 'int64s', dtype: 'i64', fallback: 'default_int64' },
  { suffix: 'floats', dtype: 'f32', fallback: 'default_float' },
] as const;

const listTensor = (dtype: DType, items: readonly (number | string)[]): Tensor =>
  dtype === 'string' ? text([items.length], items as string[]) : fromNumbers(dtype, [items.length], items as number[]);

/** Keys that are names or numbers, under whichever of two attributes has them. */
export function keyList(n: NodeReader, strings: string, ints: string): Tensor {
  const names = n.strings(strings, []);
  return names.length > 0 ? listTensor('string', names) : listTensor('i64', n.ints(ints, []));
}

/** Keys or values under whichever attribute holds them. */
function listed(n: NodeReader, prefix: string): Tensor {
  const whole = n.tensor(`${prefix}_tensor`);
  if (whole) return whole;
  const kind = KINDS.find((k) => n.has(`${prefix}_${k.suffix}`));
  if (!kind)
    throw new CompileError('E203', `attributes ${prefix}_strings, _int64s, _floats and _tensor are all missing`);
  const name = `${prefix}_${kind.suffix}`;
  return listTensor(
    kind.dtype,
    kind.dtype === 'string' ? n.strings(name) : kind.dtype === 'i64' ? n.ints(name) : n.floats(name),
  );
}

function defaultFor(n: NodeReader, dtype: DType): Tensor {
  const whole = n.tensor('default_tensor');
  if (whole) return whole;
  if (dtype === 'string') return listTensor(dtype, [n.string('default_string', '_Unused')]);
  const missing = isFloat(dtype) ? n.float('default_float', -0) : n.int('default_int64', -1);
  return listTensor(dtype, [missing]);
}

interface Labels {
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly fallback: Tensor;
}

/** Names to their numbers or back, by the input's type. */
function eitherWay(n: NodeReader, names: Tensor, numbers: Tensor): Labels {
  const toNumbers = n.input(0)?.type.dtype === 'string';
  const fallback = defaultFor(n, toNumbers ? 'i64' : 'string');
  return toNumbers ? { keys: names, values: numbers, fallback } : { keys: numbers, values: names, fallback };
}

/** The first form: class names, whose numbers are their positions. */
function classLabels(n: NodeReader): Labels {
  const names = listTensor('string', n.strings('classes_strings'));
  const positions = stringsOf(names).map((_, k) => k);
  return eitherWay(n, names, listTensor('i64', positions));
}

function categories(n: NodeReader): Labels {
  const [names, numbers] = [
    listTensor('string', n.strings('cats_strings', [])),
    listTensor('i64', n.ints('cats_int64s', [])),
  ];
  if (names.data.length !== numbers.data.length)
    throw new CompileError(
      'E203',
      `${names.data.length} cats_strings and ${numbers.data.length} cats_int64s do not pair`,
    );
  return eitherWay(n, names, numbers);
}

function labels(n: NodeReader): Labels {
  const values = listed(n, 'values');
  return { keys: listed(n, 'keys'), values, fallback: defaultFor(n, values.dtype) };
}

interface Ngrams {
  readonly pool: Tensor;
  /** Where n-grams of each length start in the pool. */
  readonly starts: readonly number[];
  readonly columns: readonly number[];
  readonly weights: readonly number[];
  readonly shortest: number;
  readonly longest: number;
  readonly skips: number;
  readonly mode: 'TF' | 'IDF' | 'TFIDF';
}

function ngrams(n: NodeReader): Ngrams {
  const name = n.string('mode');
  const mode = (['TF', 'IDF', 'TFIDF'] as const).find((m) => m === name);
  if (!mode) throw new CompileError('E203', `mode "${name}" is not defined`);
  const strings = n.strings('pool_strings', []);
  return {
    pool: strings.length > 0 ? listTensor('string', strings) : listTensor('i64', n.ints('pool_int64s', [])),
    starts: n.ints('ngram_counts'),
    columns: n.ints('ngram_indexes'),
    weights: n.floats('weights', []),
    shortest: n.int('min_gram_length'),
    longest: n.int('max_gram_length'),
    skips: n.int('max_skip_count'),
    mode,
  };
}

/** The n-grams counted: each as its start in the pool, its length and its column. */
function entriesOf(a: Ngrams): readonly { readonly start: number; readonly length: number; readonly column: number }[] {
  const entries: { start: number; length: number; column: number }[] = [];
  let id = 0;
  a.starts.forEach((from, k) => {
    const length = k + 1;
    for (let start = from; start + length <= (a.starts[k + 1] ?? a.pool.data.length); start += length) {
      if (length >= a.shortest && length <= a.longest) entries.push({ start, length, column: a.columns[id] ?? 0 });
      id++;
    }
  });
  return entries;
}

/** Pool items as positions of their first equal in the pool, so that input and pool compare as numbers. */
const poolIds = ({ data }: Tensor): Int32Array =>
  Int32Array.from(data as ArrayLike<unknown>, (v) => (data as unknown[]).indexOf(v));

function tfidf(b: Builder, x: Value, a: Ngrams, ctx: LowerContext): Value {
  const entries = entriesOf(a);
  const width = Math.max(-1, ...a.columns) + 1;
  if (entries.length === 0) return ctx.limit('the vocabulary has no n-grams of the lengths asked for');
  const [rows, size] = [x.type.shape.length > 1 ? (x.type.shape[0] as Dim) : 1, x.type.shape.at(-1) as Dim];
  const ids = b.reshape(positionsIn(b, x, a.pool), [rows, size]);
  const table = (data: readonly number[]): Value => b.constant(fromNumbers('i32', [data.length], data));
  const pool = table([...poolIds(a.pool)]);
  const [starts, lengths, columns] = [
    table(entries.map((v) => v.start)),
    table(entries.map((v) => v.length)),
    table(entries.map((v) => v.column)),
  ];
  const [counts] = buildKernel(b, 'ngrams', [ids, pool, starts, lengths, columns], (k) => {
    const [src, poolBuf, startBuf, lengthBuf, columnBuf] = k.inputs as [Buf, Buf, Buf, Buf, Buf];
    const out = k.output('f32', [rows, width]);
    k.forEach([rows, width], (i) => k.store(out, i, 0));
    k.forEach([rows, entries.length], ([row, n]) => {
      const [r, g] = [row as Expr, n as Expr];
      const length = k.let(k.load(lengthBuf, [g]), 'length');
      const start = k.let(k.load(startBuf, [g]), 'start');
      const seen = k.mut(i32(0), 'seen');
      k.for(1, e.select(e.eq(length, 1), i32(2), i32(a.skips + 2)), (stride) => {
        const reach = k.let(e.mul(e.sub(length, 1), stride), 'reach');
        k.for(0, e.sub(dimExpr(size), reach), (at) => {
          const same = k.mut(constant(true, 'i1'), 'same');
          k.for(0, length, (j) => {
            const item = k.load(src, [r, e.add(at, e.mul(j, stride))]);
            k.if(e.ne(item, k.load(poolBuf, [e.add(start, j)])), () => {
              k.set(same, constant(false, 'i1'));
              k.break();
            });
          });
          k.if(same, () => k.set(seen, e.add(seen, 1)));
        });
      });
      const column = k.let(k.load(columnBuf, [g]), 'column');
      k.store(out, [r, column], e.add(k.load(out, [r, column]), cast(seen, 'f32')));
    });
  });
  return b.reshape(weighted(b, counts as Value, a, width), [...x.type.shape.slice(0, -1), width]);
}

/** Counts as the mode wants them; weights go with the n-grams' columns. */
function weighted(b: Builder, counts: Value, a: Ngrams, width: number): Value {
  if (a.mode === 'TF') return counts;
  const byColumn = Array.from({ length: width }, () => 1);
  a.weights.forEach((w, k) => {
    byColumn[a.columns[k] ?? 0] = w;
  });
  const weights = b.constant(fromNumbers('f32', [width], byColumn));
  return b.map([counts, weights], (c, w) => e.mul(a.mode === 'IDF' ? e.min(c, 1) : c, w));
}

export const records: readonly AnyRecord[] = [
  op('label_encoder', {
    doc: 'Each element looked up in a list of keys, and replaced by the value beside it.',
    inputs: ['x'],
    onnx: {
      'ai.onnx.ml:LabelEncoder@1': classLabels,
      'ai.onnx.ml:LabelEncoder@2': labels,
      'ai.onnx.ml:CategoryMapper@1': categories,
    },
    lower: ({ x }, a, b) => valuesAt(b, positionsIn(b, x, a.keys), a.values, a.fallback),
  }),
  op('tfidf_vectorizer', {
    doc: 'How often each n-gram of a vocabulary occurs in a row, with gaps allowed, as counts or weights.',
    inputs: ['x'],
    onnx: { 'TfIdfVectorizer@9': ngrams },
    lower: ({ x }, a, b, ctx) => tfidf(b, x, a, ctx),
  }),
];
