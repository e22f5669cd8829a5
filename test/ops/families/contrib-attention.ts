// onnxruntime's attention operators (com.microsoft): scores, masks, softmax and the weighted sum, one query after another.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, build, range, spread, sum } from './arrays.js';
import { type Family, familyOf, type Random } from './case.js';

type Made = ReturnType<Family['make']>;

const floats = (r: Random, ...shape: number[]): Tensor => r.tensor(shape, -1, 1);

interface Problem {
  /** [batch, heads, position, width] each; keys and values may have fewer heads. */
  readonly q: Arr;
  readonly k: Arr;
  readonly v: Arr;
  readonly scale?: number;
  readonly softcap?: number;
  /** Added to a score; −∞ hides. */
  readonly bias?: (n: number, head: number, row: number, key: number) => number;
  /** A score that weighs nothing. */
  readonly sink?: (head: number) => number | undefined;
}

/** Scores with the cap and the bias: [batch, heads, rows, keys]. */
export function scores({ q, k, bias = () => 0, scale, softcap }: Problem): Arr {
  const [batch, heads, rows, width] = q.shape as [number, number, number, number];
  const [, shared, keys] = k.shape as [number, number, number];
  return build([batch, heads, rows, keys], (index) => {
    const [n, h, i, j] = index as [number, number, number, number];
    const own = Math.floor(h / (heads / shared));
    const dot = sum(range(width).map((d) => at(q, [n, h, i, d]) * at(k, [n, own, j, d])));
    const raw = dot * (scale ?? 1 / Math.sqrt(width));
    return (softcap ? softcap * Math.tanh(raw / softcap) : raw) + bias(n, h, i, j);
  });
}

/** The softmax of every row. */
function weights({ sink = () => undefined, ...p }: Problem): Arr {
  const s = scores(p);
  const [batch, heads, rows, keys] = s.shape as [number, number, number, number];
  return build([batch, heads, rows, keys], (index) => {
    const [n, h, i, j] = index as [number, number, number, number];
    const all = range(keys).map((key) => at(s, [n, h, i, key]));
    const beside = sink(h);
    const top = Math.max(...all, beside ?? Number.NEGATIVE_INFINITY);
    const total = sum(all.map((s) => Math.exp(s - top))) + (beside === undefined ? 0 : Math.exp(beside - top));
    return Math.exp((all[j] as number) - top) / total;
  });
}

/** [batch, rows, heads·width]. */
export function attend(p: Problem): Arr {
  const w = weights(p);
  const [batch, heads, rows, keys] = w.shape as [number, number, number, number];
  const [, shared, , depth] = p.v.shape as [number, number, number, number];
  return build([batch, rows, heads * depth], ([n, i, c]) => {
    const [h, d] = [Math.floor((c as number) / depth), (c as number) % depth];
    const own = Math.floor(h / (heads / shared));
    return sum(range(keys).map((j) => at(w, [n as number, h, i as number, j]) * at(p.v, [n as number, own, j, d])));
  });
}

/** [batch, position, heads·width] → [batch, heads, position, width]. */
export const split = (x: Arr, heads: number): Arr => {
  const [batch, length, width] = x.shape as [number, number, number];
  const size = width / heads;
  return build([batch, heads, length, size], ([n, h, t, d]) =>
    at(x, [n as number, t as number, (h as number) * size + (d as number)]),
  );
};

/** Joined along axis 2. */
export const joined = (past: Arr | undefined, now: Arr): Arr => {
  if (!past) return now;
  const before = past.shape[2] as number;
  return build([...now.shape.slice(0, 2), before + (now.shape[2] as number), now.shape[3] as number], (i) => {
    const [n, h, t, d] = i as [number, number, number, number];
    return t < before ? at(past, i) : at(now, [n, h, t - before, d]);
  });
};

const part = (x: Arr, from: number, size: number): Arr =>
  build([...x.shape.slice(0, -1), size], (i) => at(x, [...i.slice(0, -1), from + (i.at(-1) as number)]));

interface Mask {
  readonly tensor: Tensor;
  readonly hides: (n: number, row: number, key: number) => boolean;
}

/** Any form of mask_index for `keys` positions. */
function drawMask(batch: number, rows: number, keys: number, r: Random): Mask {
  const form = r.pick(['lengths', 'spans', 'cumulated', 'keys', 'rows'] as const);
  const lengths = range(batch).map(() => r.int(1, keys));
  const vector = (data: readonly number[]): Tensor => fromNumbers('i32', [data.length], data);
  if (form === 'lengths') return { tensor: vector(lengths), hides: (n, _row, j) => j >= (lengths[n] as number) };
  if (form === 'cumulated') {
    const rest = range(2 * batch + 2).map(() => r.int(0, 9));
    return { tensor: vector([...lengths, ...rest]), hides: (n, _row, j) => j >= (lengths[n] as number) };
  }
  if (form === 'spans') {
    const starts = lengths.map((end) => r.int(0, end - 1));
    return {
      tensor: vector([...lengths, ...starts]),
      hides: (n, _row, j) => j >= (lengths[n] as number) || j < (starts[n] as number),
    };
  }
  const shape = form === 'keys' ? [batch, keys] : [batch, rows, keys];
  // Something is seen: where nothing is, −10000 rounds the scores away.
  const drawn = build(shape, (i) => (i.at(-1) === 0 ? 1 : r.int(0, 1)));
  const tensor = fromNumbers('i32', shape, drawn.data);
  return { tensor, hides: (n, row, j) => at(arr(tensor), form === 'keys' ? [n, j] : [n, row, j]) === 0 };
}

const FILTER = -10000;

interface Around {
  readonly mask: Mask | undefined;
  readonly causal: boolean;
  readonly bias: Tensor | undefined;
}

const drawAround = (batch: number, heads: number, rows: number, keys: number, r: Random): Around => ({
  mask: r.bool(0.7) ? drawMask(batch, rows, keys, r) : undefined,
  causal: r.bool(0.3),
  bias: r.bool(0.3) ? floats(r, r.pick([1, batch]), r.pick([1, heads]), rows, keys) : undefined,
});

const biasOf =
  ({ mask, causal, bias }: Around, rows: number, keys: number): NonNullable<Problem['bias']> =>
  (n, h, i, j) => {
    const late = causal && j > i + keys - rows ? Number.NEGATIVE_INFINITY : 0;
    return late + (mask?.hides(n, i, j) ? FILTER : 0) + (bias ? spread(arr(bias), [n, h, i, j]) : 0);
  };

const attrsOf = (heads: number, around: Around): Record<string, number> => ({
  num_heads: heads,
  ...(around.causal && { unidirectional: 1 }),
});

const stacked = (k: Arr, v: Arr): Arr => ({ shape: [2, ...k.shape], data: [...k.data, ...v.data] });

const packed =
  (quantized: boolean) =>
  (_: number, r: Random): Made => {
    const [batch, rows, heads, size, input] = [r.int(1, 2), r.int(1, 3), r.int(1, 2), 2, r.int(1, 3)];
    const hidden = heads * size;
    const before = r.bool(0.4) ? r.int(1, 2) : 0;
    const keys = before + rows;
    const past = before ? floats(r, 2, batch, heads, before, size) : undefined;
    const around = { ...drawAround(batch, heads, rows, keys, r), ...(quantized && { bias: undefined }) };
    const x = quantized ? r.tensor([batch, rows, input], 0, 255, 'u8') : floats(r, batch, rows, input);
    const w = quantized ? r.tensor([input, 3 * hidden], -99, 99, 'i8') : floats(r, input, 3 * hidden);
    const [xScale, wScale, xZero] = quantized ? [1 / 64, 1 / 64, r.int(90, 160)] : [1, 1, 0];
    const b = floats(r, 3 * hidden);
    const projected = build([batch, rows, 3 * hidden], ([n, t, c]) => {
      const terms = range(input).map(
        (k) => (at(arr(x), [n as number, t as number, k]) - xZero) * xScale * at(arr(w), [k, c as number]) * wScale,
      );
      return sum(terms) + at(arr(b), [c as number]);
    });
    const [q, k, v] = [0, 1, 2].map((p) => split(part(projected, p * hidden, hidden), heads)) as [Arr, Arr, Arr];
    const cached = (p: number): Arr | undefined =>
      past && build([batch, heads, before, size], (i) => at(arr(past), [p, ...i]));
    const [allK, allV] = [joined(cached(0), k), joined(cached(1), v)];
    const y = attend({ q, k: allK, v: allV, bias: biasOf(around, rows, keys) });
    const mask = around.mask?.tensor ?? null;
    const scalars = [fromNumbers('f32', [], [xScale]), fromNumbers('f32', [], [wScale])];
    const inputs = quantized
      ? [x, w, b, ...scalars, mask, fromNumbers('u8', [], [xZero]), fromNumbers('i8', [], [0]), past ?? null]
      : [x, w, b, mask, past ?? null, around.bias ?? null];
    const want = past ? [y, stacked(allK, allV)] : [y];
    return { attrs: attrsOf(heads, around), inputs, want, tolerance: 1e-4 };
  };

const multiHead =
  (decoding: boolean) =>
  (_: number, r: Random): Made => {
    const [batch, heads, size] = [r.int(1, 2), r.int(1, 2), 2];
    const rows = decoding ? 1 : r.int(1, 3);
    const hidden = heads * size;
    const cross = !decoding && r.bool(0.3);
    const before = !cross && r.bool(0.5) ? r.int(1, 2) : 0;
    const kvRows = cross ? r.int(1, 3) : rows;
    const keys = before + kvRows;
    const [q, k, v] = [
      floats(r, batch, rows, hidden),
      floats(r, batch, kvRows, hidden),
      floats(r, batch, kvRows, hidden),
    ];
    const bias = r.bool() ? floats(r, 3 * hidden) : undefined;
    const pasts = before ? [floats(r, batch, heads, before, size), floats(r, batch, heads, before, size)] : [];
    const drawn = drawAround(batch, heads, rows, keys, r);
    const around = decoding || cross ? { ...drawn, causal: false } : drawn;
    const added = (x: Tensor, p: number): Arr =>
      build(x.shape, (i) => at(arr(x), i) + (bias ? at(arr(bias), [p * hidden + (i[2] as number)]) : 0));
    const allK = joined(pasts[0] && arr(pasts[0]), split(added(k, 1), heads));
    const allV = joined(pasts[1] && arr(pasts[1]), split(added(v, 2), heads));
    const problem = { q: split(added(q, 0), heads), k: allK, v: allV, bias: biasOf(around, rows, keys) };
    // The definition does not say whether the scores that are given out have the mask in them.
    const plain = !around.mask && !around.causal && !around.bias;
    const want = [attend(problem), allK, allV, plain ? scores(problem) : null];
    const mask = around.mask?.tensor ?? null;
    const [pastK, pastV] = [pasts[0] ?? null, pasts[1] ?? null];
    const form = decoding ? 'plain' : r.pick(cross ? ['plain', 'kv'] : ['plain', 'qkv']);
    /** Parts beside each other for every head: [batch, position, heads, parts, width]. */
    const together = (...parts: readonly Tensor[]): Tensor => {
      const shape = [batch, parts[0]?.shape[1] as number, heads, parts.length, size];
      const a = build(shape, ([n, t, h, p, d]) =>
        at(arr(parts[p as number] as Tensor), [n as number, t as number, (h as number) * size + (d as number)]),
      );
      return fromNumbers('f32', a.shape, a.data);
    };
    const qkv =
      form === 'qkv' ? [together(q, k, v), null, null] : form === 'kv' ? [q, together(k, v), null] : [q, k, v];
    const inputs = decoding
      ? [...qkv, mask, around.bias ?? null, pastK, pastV, null, null, null, bias ?? null]
      : [...qkv, bias ?? null, mask, around.bias ?? null, pastK, pastV];
    const attrs = { ...attrsOf(heads, around), ...(decoding && { output_qk: 1 }) };
    return { attrs, inputs, want, tolerance: 1e-4 };
  };

/** Pairs of a head turned by the angle of their position. */
export function rotated(
  x: Arr,
  width: number,
  interleaved: boolean,
  position: (n: number, t: number) => number,
  [cos, sin]: readonly [Arr, Arr],
): Arr {
  const half = width / 2;
  return build(x.shape, (i) => {
    const [n, h, t, d] = i as [number, number, number, number];
    if (d >= width) return at(x, i);
    const pair = interleaved ? Math.floor(d / 2) : d % half;
    const [first, second] = interleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + half];
    const angle = [position(n, t), pair];
    const [a, b] = [at(x, [n, h, t, first]), at(x, [n, h, t, second])];
    return d === first ? a * at(cos, angle) - b * at(sin, angle) : b * at(cos, angle) + a * at(sin, angle);
  });
}

function rotary(_: number, r: Random): Made {
  const [batch, rows, heads, size] = [2, r.int(1, 3), r.int(1, 2), 4];
  const partial = r.bool();
  const width = partial ? 2 : size;
  const interleaved = r.bool();
  const flat = partial || r.bool();
  const x = floats(r, ...(flat ? [batch, rows, heads * size] : [batch, heads, rows, size]));
  const tables = [floats(r, 8, width / 2), floats(r, 8, width / 2)] as const;
  const offset = r.bool();
  const positions = r.tensor(offset ? [1] : [batch, rows], 0, 4, 'i64');
  const place = (n: number, t: number): number => (offset ? at(arr(positions), [0]) + t : at(arr(positions), [n, t]));
  const heads4 = flat ? split(arr(x), heads) : arr(x);
  const y = rotated(heads4, width, interleaved, place, [arr(tables[0]), arr(tables[1])]);
  const want = flat
    ? build(x.shape, ([n, t, c]) =>
        at(y, [n as number, Math.floor((c as number) / size), t as number, (c as number) % size]),
      )
    : y;
  const attrs = {
    interleaved: Number(interleaved),
    ...(partial && { rotary_embedding_dim: width, num_heads: heads }),
  };
  return { attrs, inputs: [x, positions, ...tables], want: [want], tolerance: 1e-4 };
}

interface Cached {
  readonly batch: number;
  readonly rows: number;
  readonly capacity: number;
  /** Tokens of each element with the new ones. */
  readonly counts: readonly number[];
}

/** `now` behind the past of each element, in a cache of fixed capacity. */
const placed = ({ rows, counts, capacity }: Cached, past: Arr, now: Arr): Arr =>
  build([...now.shape.slice(0, 2), capacity, now.shape[3] as number], (i) => {
    const [n, h, t, d] = i as [number, number, number, number];
    const from = t - ((counts[n] as number) - rows);
    return from >= 0 && from < rows ? at(now, [n, h, from, d]) : at(past, i);
  });

const rms = (x: Arr, weight: Arr, epsilon: number): Arr =>
  build(x.shape, (i) => {
    const size = x.shape[3] as number;
    const mean = sum(range(size).map((d) => at(x, [...i.slice(0, 3), d]) ** 2)) / size;
    return (at(x, i) / Math.sqrt(mean + epsilon)) * at(weight, [i[3] as number]);
  });

function drawCached(r: Random, capacity = 6): Cached {
  const [batch, rows] = [r.int(1, 2), r.int(1, 2)];
  return { batch, rows, capacity, counts: range(batch).map(() => r.int(rows, capacity)) };
}

function grouped(_: number, r: Random): Made {
  const cache = drawCached(r);
  const { batch, rows, capacity, counts } = cache;
  const [keyHeads, size] = [r.int(1, 2), 4];
  const heads = keyHeads * r.int(1, 2);
  const [q, k, v] = [heads, keyHeads, keyHeads].map((n) => floats(r, batch, rows, n * size)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const pasts = [floats(r, batch, keyHeads, capacity, size), floats(r, batch, keyHeads, capacity, size)] as const;
  const tables = r.bool() ? ([floats(r, 9, size / 2), floats(r, 9, size / 2)] as const) : undefined;
  const interleaved = r.bool();
  const norms = r.bool(0.4) ? ([floats(r, size), floats(r, size)] as const) : undefined;
  const causal = r.bool(0.8);
  const window = causal && r.bool(0.3) ? 2 : -1;
  const softcap = r.bool(0.3) ? 2 : 0;
  const total = Math.max(...counts);
  const bias = r.bool(0.4) ? floats(r, r.pick([1, batch]), r.pick([1, heads]), rows, total) : undefined;
  const sinks = r.pick(['none', 'smooth', 'heads'] as const);
  const sink = floats(r, heads);
  const start = (n: number): number => (counts[n] as number) - rows;
  const ready = (x: Arr, p: 0 | 1): Arr => {
    const normed = norms ? rms(x, arr(norms[p]), 1e-6) : x;
    return tables
      ? rotated(normed, size, interleaved, (n, t) => start(n) + t, [arr(tables[0]), arr(tables[1])])
      : normed;
  };
  const allK = placed(cache, arr(pasts[0]), ready(split(arr(k), keyHeads), 1));
  const allV = placed(cache, arr(pasts[1]), split(arr(v), keyHeads));
  const hidden = (n: number, i: number, j: number): boolean => {
    const position = start(n) + i;
    if (!causal) return j >= (counts[n] as number);
    return j > position || (window > 0 && j <= position - window);
  };
  const problem: Problem = {
    q: ready(split(arr(q), heads), 0),
    k: allK,
    v: allV,
    softcap,
    bias: (n, h, i, j) =>
      hidden(n, i, j) ? Number.NEGATIVE_INFINITY : bias && j < total ? spread(arr(bias), [n, h, i, j]) : 0,
    sink: (h) => (sinks === 'none' ? undefined : sinks === 'smooth' ? 0 : at(arr(sink), [h])),
  };
  const together = r.bool();
  const row = build([batch, rows, (heads + 2 * keyHeads) * size], (i) => {
    const c = i[2] as number;
    const [first, second] = [heads * size, (heads + keyHeads) * size];
    const at3 = (x: Tensor, from: number): number => at(arr(x), [i[0] as number, i[1] as number, c - from]);
    return c < first ? at3(q, 0) : c < second ? at3(k, first) : at3(v, second);
  });
  const qkv = together ? [fromNumbers('f32', row.shape, row.data), null, null] : [q, k, v];
  const lengths = fromNumbers(
    'i32',
    [batch],
    counts.map((n) => n - 1),
  );
  const inputs = [
    ...qkv,
    ...pasts,
    lengths,
    fromNumbers('i32', [], [total]),
    ...(tables ?? [null, null]),
    null,
    bias ?? null,
    sinks === 'heads' ? sink : null,
    null,
    null,
    ...(norms ?? [null, null]),
  ];
  const attrs = {
    num_heads: heads,
    kv_num_heads: keyHeads,
    ...(tables && { do_rotary: 1, rotary_interleaved: Number(interleaved) }),
    ...(!causal && { causal: 0 }),
    ...(window > 0 && { local_window_size: window }),
    ...(softcap && { softcap }),
    ...(sinks === 'smooth' && { smooth_softmax: 1 }),
    qk_output: 2,
  };
  const want = [attend(problem), allK, allV, weights(problem)];
  return { attrs, inputs, constants: [6], want, tolerance: 1e-4 };
}

function sparse(_: number, r: Random): Made {
  const block = 2;
  const cache = drawCached(r);
  const { batch, rows, capacity, counts } = cache;
  const blocks = capacity / block;
  const [keyHeads, size, layouts] = [r.int(1, 2), 4, 2];
  const heads = keyHeads * 2;
  const [q, k, v] = [heads, keyHeads, keyHeads].map((n) => floats(r, batch, rows, n * size)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const pasts = [floats(r, batch, keyHeads, capacity, size), floats(r, batch, keyHeads, capacity, size)] as const;
  // Every block sees itself.
  const seen = range(layouts).map(() => range(blocks).map((i) => range(i + 1).filter((j) => j === i || r.bool())));
  const most = Math.max(...seen.map((l) => sum(l.map((row) => row.length))));
  const starts = seen.flatMap((l) => [0, ...l.map((_row, i) => sum(l.slice(0, i + 1).map((row) => row.length)))]);
  const columns = seen.flatMap((l) => {
    const flat = l.flat();
    return [...flat, ...range(most - flat.length).map(() => -1)];
  });
  const allK = placed(cache, arr(pasts[0]), split(arr(k), keyHeads));
  const allV = placed(cache, arr(pasts[1]), split(arr(v), keyHeads));
  const y = attend({
    q: split(arr(q), heads),
    k: allK,
    v: allV,
    bias: (n, h, i, j) => {
      const position = (counts[n] as number) - rows + i;
      const row = seen[h % layouts]?.[Math.floor(position / block)] ?? [];
      return j <= position && row.includes(Math.floor(j / block)) ? 0 : Number.NEGATIVE_INFINITY;
    },
  });
  const inputs = [
    q,
    k,
    v,
    ...pasts,
    fromNumbers('i32', [layouts, blocks + 1], starts),
    fromNumbers('i32', [layouts, most], columns),
    fromNumbers('i32', [], [Math.max(...counts)]),
    fromNumbers('i32', [batch], counts),
  ];
  const attrs = { num_heads: heads, kv_num_heads: keyHeads, sparse_block_size: block };
  return { attrs, inputs, constants: [5, 6], want: [y, allK, allV], tolerance: 1e-4 };
}

export const attentionOperators: Family = familyOf('com.microsoft: attention', 'com.microsoft', {
  Attention: packed(false),
  QAttention: packed(true),
  MultiHeadAttention: multiHead(false),
  DecoderMaskedMultiHeadAttention: multiHead(true),
  GroupQueryAttention: grouped,
  SparseAttention: sparse,
  RotaryEmbedding: rotary,
});
