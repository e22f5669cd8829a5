// onnxruntime's operators on quantised tensors (com.microsoft): real values are taken out, computed on and put back, as their
// definitions say. What an operator rounds in single precision is rounded so here.

import type { DType } from '../../../src/support/dtype.js';
import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, build, indices, map, range, reduce, roundEven, sum, transpose, zip } from './arrays.js';
import { type Family, familyOf, type Random } from './case.js';
import { attrsOf, drawWindow, inputIndex, less, matmulOf, outSizes, sizesFor } from './window.js';

type Made = ReturnType<Family['make']>;
type Byte = 'u8' | 'i8';

const { fround } = Math;
const scalarOf = (dtype: DType, v: number): Tensor => fromNumbers(dtype, [], [v]);
const spanOf = (t: Byte): readonly [number, number] => (t === 'u8' ? [0, 255] : [-128, 127]);
const into = (t: Byte, v: number): number => Math.min(Math.max(v, spanOf(t)[0]), spanOf(t)[1]);

interface Quantized {
  readonly x: Tensor;
  readonly scale: Tensor;
  readonly zero: Tensor;
  /** Real values. */
  readonly real: Arr;
}

function draw(shape: readonly number[], type: Byte, r: Random): Quantized {
  const [lo, hi] = spanOf(type);
  const [scale, zero] = [r.int(1, 16) / 64, r.int(lo / 2, hi / 2)];
  const x = r.tensor(shape, lo, hi, type);
  return { x, scale: scalarOf('f32', scale), zero: scalarOf(type, zero), real: map(arr(x), (v) => (v - zero) * scale) };
}

/** What stands for real values; an off-by-one at a tie is let pass by the cases. */
const put = (real: Arr, scale: number, zero: number, type: Byte): Arr =>
  map(real, (v) => into(type, roundEven(fround(v / scale)) + zero));

interface Target {
  readonly inputs: readonly Tensor[];
  readonly put: (real: Arr) => Arr;
}

function target(type: Byte, r: Random, scale = r.int(8, 64) / 64): Target {
  const zero = r.int(spanOf(type)[0] / 2, spanOf(type)[1] / 2);
  return { inputs: [scalarOf('f32', scale), scalarOf(type, zero)], put: (real) => put(real, scale, zero, type) };
}

const types = (r: Random): Byte => r.pick(['u8', 'i8'] as const);

const unary =
  (
    f: (x: Arr, r: Random) => { readonly y: Arr; readonly attrs?: Made['attrs'] },
    shape = (r: Random) => r.shape(2),
    scale?: number,
  ) =>
  (_: number, r: Random): Made => {
    const type = types(r);
    const q = draw(shape(r), type, r);
    const to = target(type, r, scale);
    const { y, attrs = {} } = f(q.real, r);
    return { attrs, inputs: [q.x, q.scale, q.zero, ...to.inputs], want: [to.put(y)], tolerance: 1 };
  };

const binary =
  (f: (x: number, y: number) => number) =>
  (_: number, r: Random): Made => {
    const type = types(r);
    const shape = r.shape(2);
    const [p, q] = [draw(shape, type, r), draw(r.bool() ? shape : [1, shape[1] as number], type, r)];
    const to = target(type, r, 2);
    const inputs = [p.x, p.scale, p.zero, q.x, q.scale, q.zero, ...to.inputs];
    return { inputs, want: [to.put(zip(f, p.real, q.real))], tolerance: 1 };
  };

function where(_: number, r: Random): Made {
  const type = types(r);
  const [p, q] = [draw([2, 3], type, r), draw([2, 3], type, r)];
  const condition = r.tensor([2, 1], 0, 1, 'i1');
  const to = target(type, r);
  const y = zip((c, a, b) => (c ? a : b), arr(condition), p.real, q.real);
  return {
    inputs: [condition, p.x, p.scale, p.zero, q.x, q.scale, q.zero, ...to.inputs],
    want: [to.put(y)],
    tolerance: 1,
  };
}

function concat(_: number, r: Random): Made {
  const type = types(r);
  const axis = r.int(0, 1);
  const parts = range(r.int(1, 3)).map(() => draw(axis ? [2, r.int(1, 3)] : [r.int(1, 3), 2], type, r));
  const to = target(type, r);
  const size = sum(parts.map((p) => p.x.shape[axis] as number));
  const y = build(axis ? [2, size] : [size, 2], (i) => {
    let rest = i[axis] as number;
    const own = parts.find((p) => {
      const d = p.x.shape[axis] as number;
      if (rest < d) return true;
      rest -= d;
      return false;
    }) as Quantized;
    return at(
      own.real,
      i.map((v, k) => (k === axis ? rest : v)),
    );
  });
  const inputs = [...to.inputs, ...parts.flatMap((p) => [p.x, p.scale, p.zero])];
  return { attrs: { axis }, inputs, want: [to.put(y)], tolerance: 1 };
}

const softmaxRows = (x: Arr): Arr => {
  const top = reduce(x, [1], true, (v) => Math.max(...v));
  const p = zip((v, m) => Math.exp(v - m), x, top);
  return zip(
    (v, s) => v / s,
    p,
    reduce(p, [1], true, (v) => sum(v)),
  );
};

const laid = (x: Arr, last: boolean): Arr => (last ? transpose(x, [0, 2, 3, 1]) : x);
const asTensor = (t: Tensor, last: boolean): Tensor => {
  const a = laid(arr(t), last);
  return fromNumbers(t.dtype, a.shape, a.data);
};

function averagePool(_: number, r: Random): Made {
  const type = types(r);
  const w = drawWindow(2, r, false);
  const last = r.bool();
  const q = draw([1, 2, ...sizesFor(w, r)], type, r);
  const to = target(type, r);
  const y = build([1, 2, ...outSizes(q.x.shape.slice(2), w)], ([, c, ...o]) => {
    const places = Array.from(indices(w.kernel), (t) => inputIndex(w, o, t));
    const seen = places.filter((i) => i.every((v, k) => v >= 0 && v < (q.x.shape[k + 2] as number)));
    return sum(seen.map((i) => at(q.real, [0, c as number, ...i]))) / seen.length;
  });
  const attrs = { ...attrsOf(w, false), channels_last: Number(last) };
  const inputs = [asTensor(q.x, last), q.scale, q.zero, ...to.inputs];
  return { attrs, inputs, want: [laid(to.put(y), last)], tolerance: 1 };
}

function globalAveragePool(_: number, r: Random): Made {
  const type = types(r);
  const last = r.bool();
  const q = draw([2, 2, 3, 2], type, r);
  const to = target(type, r);
  const y = reduce(q.real, [2, 3], true, (v) => sum(v) / v.length);
  const inputs = [asTensor(q.x, last), q.scale, q.zero, ...to.inputs];
  return { attrs: { channels_last: Number(last) }, inputs, want: [laid(to.put(y), last)], tolerance: 1 };
}

function conv(_: number, r: Random): Made {
  const w = drawWindow(2, r, true);
  const last = r.bool();
  const q = draw([1, 2, ...sizesFor(w, r)], 'u8', r);
  const k = r.tensor([3, 2, ...w.kernel], -60, 60, 'i8');
  const scales = r.bool() ? [0.25, 0.5, 0.125] : [0.25];
  const bias = r.tensor([3], -50, 50, 'i32');
  const to = target('u8', r, 8);
  const zero = arr(q.zero).data[0] as number;
  const xScale = arr(q.scale).data[0] as number;
  const y = build([1, 3, ...outSizes(q.x.shape.slice(2), w)], ([, o, ...p]) => {
    const taps = Array.from(indices(k.shape.slice(1)), ([j, ...t]) => {
      const v = at(arr(q.x), [0, j as number, ...inputIndex(w, p, t)]);
      return Number.isNaN(v) ? 0 : (v - zero) * at(arr(k), [o as number, j as number, ...t]);
    });
    return (sum(taps) + at(arr(bias), [o as number])) * xScale * (scales[o as number] ?? (scales[0] as number));
  });
  const wScale = fromNumbers('f32', scales.length > 1 ? [3] : [], scales);
  const wZero = fromNumbers(
    'i8',
    scales.length > 1 ? [3] : [],
    scales.map(() => 0),
  );
  const inputs = [asTensor(q.x, last), q.scale, q.zero, k, wScale, wZero, ...to.inputs, bias];
  return {
    attrs: { ...attrsOf(w, true), channels_last: Number(last) },
    inputs,
    want: [laid(to.put(y), last)],
    tolerance: 1,
  };
}

function maxPool(_: number, r: Random): Made {
  const w = drawWindow(2, r, true);
  const x = r.tensor([1, 2, ...sizesFor(w, r)], 0, 255, 'u8');
  const want = build([1, 2, ...outSizes(x.shape.slice(2), w)], ([, c, ...o]) =>
    Math.max(
      ...Array.from(indices(w.kernel), (t) => at(arr(x), [0, c as number, ...inputIndex(w, o, t)])).filter(
        (v) => !Number.isNaN(v),
      ),
    ),
  );
  return { attrs: attrsOf(w, true), inputs: [asTensor(x, true)], want: [laid(want, true)] };
}

function gemm(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 4) as [number, number, number];
  const [ta, tb, alpha] = [r.int(0, 1), r.int(0, 1), r.pick([1, 0.5])];
  const a = draw(ta ? [k, n] : [n, k], 'u8', r);
  const b = r.tensor(tb ? [m, k] : [k, m], -90, 90, 'i8');
  const columns = m > 1 && r.bool();
  const scales = range(columns ? m : 1).map((c) => (c + 1) / 16);
  const zeros = scales.map(() => r.int(-9, 9));
  const c = r.bool() ? r.tensor([m], -500, 500, 'i32') : undefined;
  const swap = (x: Arr): Arr => transpose(x, [1, 0]);
  const [za, sa] = [arr(a.zero).data[0] as number, arr(a.scale).data[0] as number];
  const [A, B] = [ta ? swap(arr(a.x)) : arr(a.x), tb ? swap(arr(b)) : arr(b)];
  const dots = matmulOf(
    map(A, (v) => v - za),
    build(B.shape, (i) => at(B, i) - (zeros[i[1] as number] ?? (zeros[0] as number))),
  );
  const real = build([n, m], (i) => {
    const j = i[1] as number;
    return (at(dots, i) + (c ? at(arr(c), [j]) : 0)) * alpha * sa * (scales[j] ?? (scales[0] as number));
  });
  const vector = (dtype: DType, data: readonly number[]): Tensor => fromNumbers(dtype, columns ? [m] : [], data);
  const head = [a.x, a.scale, a.zero, b, vector('f32', scales), vector('i8', zeros), c ?? null];
  const attrs = { alpha, transA: ta, transB: tb };
  if (r.bool()) return { attrs, inputs: head, want: [real] };
  const to = target('u8', r, 32);
  return { attrs, inputs: [...head, ...to.inputs], want: [to.put(real)], tolerance: 1 };
}

/** Rows of x as u8 by their common range, in single precision. */
function byRange(x: readonly number[]): {
  readonly q: readonly number[];
  readonly scale: number;
  readonly zero: number;
} {
  const [lo, hi] = [Math.min(0, ...x), Math.max(0, ...x)];
  const scale = hi === lo ? 1 : fround(fround(hi - lo) / 255);
  const zero = into('u8', roundEven(fround(-lo / scale)));
  return { q: x.map((v) => into('u8', roundEven(fround(v / scale)) + zero)), scale, zero };
}

interface Weights {
  readonly w: Tensor;
  readonly scale: Tensor;
  readonly zero: Tensor;
  /** Real value of row k and column c. */
  readonly real: (k: number, c: number) => number;
}

function drawWeights(k: number, m: number, r: Random): Weights {
  const type = types(r);
  const w = r.tensor([k, m], ...spanOf(type), type);
  const columns = m > 1 && r.bool();
  const scales = range(columns ? m : 1).map((c) => (c + 1) / 64);
  const zeros = scales.map(() => r.int(0, 20));
  return {
    w,
    scale: fromNumbers('f32', columns ? [m] : [], scales),
    zero: fromNumbers(type, columns ? [m] : [], zeros),
    real: (i, c) => (at(arr(w), [i, c]) - (zeros[c] ?? (zeros[0] as number))) * (scales[c] ?? (scales[0] as number)),
  };
}

function dynamicMatMul(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 4) as [number, number, number];
  const x = r.tensor([n, k], -2, 2);
  const w = drawWeights(k, m, r);
  const bias = r.bool() ? r.tensor([m], -2, 2) : undefined;
  const { q, scale, zero } = byRange(arr(x).data);
  const want = build([n, m], ([i, j]) => {
    const dot = sum(range(k).map((p) => ((q[(i as number) * k + p] as number) - zero) * w.real(p, j as number)));
    return dot * scale + (bias ? at(arr(bias), [j as number]) : 0);
  });
  return { inputs: [x, w.w, w.scale, w.zero, bias ?? null], want: [want], tolerance: 1e-4 };
}

function integerToFloat(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 4) as [number, number, number];
  const [a, w] = [draw([n, k], 'u8', r), drawWeights(k, m, r)];
  const bias = r.tensor([m], -2, 2);
  const want = build([n, m], ([i, j]) =>
    sum([at(arr(bias), [j as number]), ...range(k).map((p) => at(a.real, [i as number, p]) * w.real(p, j as number))]),
  );
  return { inputs: [a.x, w.w, a.scale, w.scale, a.zero, w.zero, bias], want: [want], tolerance: 1e-4 };
}

function mulInteger(_: number, r: Random): Made {
  const type = types(r);
  const [p, q] = [draw([2, 3], type, r), draw([1, 3], type, r)];
  const centred = (v: Quantized): Arr => less(v.x, arr(v.zero).data[0] as number);
  return { inputs: [p.x, p.zero, q.x, q.zero], want: [zip((a, b) => a * b, centred(p), centred(q))] };
}

/** `bits`-wide codes packed from the low end of each byte. */
const pack = (codes: readonly number[], bits: number): number[] => {
  const each = 8 / bits;
  return range(Math.ceil(codes.length / each)).map((k) =>
    sum(range(each).map((j) => (codes[k * each + j] ?? 0) * 2 ** (j * bits))),
  );
};

function nbits(_: number, r: Random): Made {
  const [bits, block] = [r.pick([2, 4, 8]), 16];
  const [k, n, rows] = [r.pick([16, 24, 32]), r.int(1, 3), r.int(1, 2)];
  const blocks = Math.ceil(k / block);
  const codes = range(n).map(() => range(blocks * block).map(() => r.int(0, 2 ** bits - 1)));
  const scales = range(n).map(() => range(blocks).map(() => r.int(1, 8) / 16));
  const kind = r.pick(['none', 'packed', 'real']);
  const zeros = range(n).map(() =>
    range(blocks).map(() => (kind === 'none' ? 2 ** (bits - 1) : r.int(0, 2 ** bits - 1))),
  );
  const x = r.tensor([rows, k], -1, 1);
  const bias = r.bool() ? r.tensor([n], -1, 1) : undefined;
  const want = build([rows, n], ([i, c]) => {
    const terms = range(k).map((p) => {
      const b = Math.floor(p / block);
      const code = codes[c as number]?.[p] as number;
      const [zero, scale] = [zeros[c as number]?.[b] as number, scales[c as number]?.[b] as number];
      return at(arr(x), [i as number, p]) * (code - zero) * scale;
    });
    return sum(terms) + (bias ? at(arr(bias), [c as number]) : 0);
  });
  const rowsOfZeros = zeros.flatMap((z) => pack(z, bits));
  const zeroPoints =
    kind === 'none'
      ? null
      : kind === 'packed'
        ? fromNumbers('u8', [n, rowsOfZeros.length / n], rowsOfZeros)
        : fromNumbers('f32', [n, blocks], zeros.flat());
  const bytes = codes.flatMap((c) => pack(c, bits));
  const w = fromNumbers('u8', [n, blocks, (block * bits) / 8], bytes);
  const inputs = [x, w, fromNumbers('f32', [n, blocks], scales.flat()), zeroPoints, null, bias ?? null];
  return {
    attrs: { K: k, N: n, bits, block_size: block },
    inputs,
    constants: r.bool() ? [1, 2, 3] : [],
    want: [want],
    tolerance: 1e-4,
  };
}

const FP4 = [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4];

function bnb4(_: number, r: Random): Made {
  const [k, n, block] = [r.int(2, 9), r.int(1, 3), 16];
  const codes = range(n * k).map(() => r.int(0, 15));
  const scales = range(Math.ceil((n * k) / block)).map(() => r.int(1, 8) / 4);
  const real = build([n, k], ([i, j]) => {
    const p = (i as number) * k + (j as number);
    const code = codes[p] as number;
    return (code < 8 ? 1 : -1) * (FP4[code % 8] as number) * (scales[Math.floor(p / block)] as number);
  });
  const bytes = range(Math.ceil((n * k) / 2)).map((p) => (codes[2 * p] as number) * 16 + (codes[2 * p + 1] ?? 0));
  const turned = r.int(0, 1);
  const x = r.tensor([2, turned ? k : n], -1, 1);
  const attrs = { K: k, N: n, block_size: block, quant_type: 0, transB: turned };
  const inputs = [x, fromNumbers('u8', [bytes.length], bytes), fromNumbers('f32', [scales.length], scales)];
  return { attrs, inputs, want: [matmulOf(arr(x), turned ? transpose(real, [1, 0]) : real)], tolerance: 1e-4 };
}

function gatherBlocks(_: number, r: Random): Made {
  const [rows, width, block] = [4, 32, 16];
  const kind = r.pick(['i4', 'u4', 'u8'] as const);
  const bits = kind === 'u8' ? r.pick([2, 4, 8]) : 4;
  const [lo, hi] = kind === 'i4' ? [-8, 7] : [0, 2 ** bits - 1];
  const draws = (n: number): number[] => range(n).map(() => r.int(lo, hi));
  const [codes, zeros] = [draws(rows * width), draws((rows * width) / block)];
  const scales = r.tensor([rows, width / block], 0.25, 2);
  const given = r.bool();
  const ids = r.tensor([2, 2], -rows, rows - 1, 'i64');
  const want = build([2, 2, width], ([i, j, c]) => {
    const id = at(arr(ids), [i as number, j as number]);
    const row = id < 0 ? id + rows : id;
    const b = Math.floor((c as number) / block);
    const zero = given ? (zeros[row * 2 + b] as number) : kind === 'u8' ? 2 ** (bits - 1) : 0;
    return ((codes[row * width + (c as number)] as number) - zero) * at(arr(scales), [row, b]);
  });
  const stored = (data: readonly number[], columns: number): Tensor => {
    if (kind !== 'u8') return fromNumbers(kind, [rows, columns], data);
    const bytes = range(rows).flatMap((k) => pack(data.slice(k * columns, (k + 1) * columns), bits));
    return fromNumbers('u8', [rows, bytes.length / rows], bytes);
  };
  const inputs = [stored(codes, width), ids, scales, ...(given ? [stored(zeros, width / block)] : [])];
  const attrs = { gather_axis: 0, quantize_axis: 1, block_size: block, bits };
  return { attrs, inputs, constants: r.bool() ? [0, 2, 3] : [], want: [want] };
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

function lstm(_: number, r: Random): Made {
  const [time, batch, size, hidden] = [r.int(1, 3), r.int(1, 2), r.int(1, 3), r.int(1, 2)];
  const direction = r.pick(['forward', 'reverse', 'bidirectional']);
  const ways = direction === 'bidirectional' ? 2 : 1;
  const type = types(r);
  const columns = r.bool();
  const draw2 = (rows: number) => {
    const w = r.tensor([ways, rows, 4 * hidden], ...spanOf(type), type);
    const scales = range(ways * (columns ? 4 * hidden : 1)).map(() => r.int(1, 4) / 256);
    const zeros = scales.map(() => (type === 'u8' ? r.int(100, 150) : 0));
    const shape = columns ? [ways, 4 * hidden] : [ways];
    const slot = (d: number, c: number): number => (columns ? d * 4 * hidden + c : d);
    return {
      w,
      scale: fromNumbers('f32', shape, scales),
      zero: fromNumbers(type, shape, zeros),
      real: (d: number, k: number, c: number) =>
        (at(arr(w), [d, k, c]) - (zeros[slot(d, c)] as number)) * (scales[slot(d, c)] as number),
    };
  };
  const [x, W, R] = [r.tensor([time, batch, size], -1, 1), draw2(size), draw2(hidden)];
  const bias = r.tensor([ways, 8 * hidden], -1, 1);
  const outputs = build([time, ways, batch, hidden], () => 0).data.slice();
  const last: number[][][] = [];
  const quantizedX = byRange(arr(x).data);
  for (const d of range(ways)) {
    const backwards = direction === 'reverse' || d === 1;
    let h = range(batch * hidden).map(() => 0);
    let c = h;
    for (const step of range(time)) {
      const t = backwards ? time - 1 - step : step;
      const qh = byRange(h);
      const gate = (g: number, n: number, j: number): number => {
        const column = g * hidden + j;
        const input = sum(
          range(size).map(
            (k) => ((quantizedX.q[(t * batch + n) * size + k] as number) - quantizedX.zero) * W.real(d, k, column),
          ),
        );
        const state = sum(
          range(hidden).map((k) => ((qh.q[n * hidden + k] as number) - qh.zero) * R.real(d, k, column)),
        );
        const both = at(arr(bias), [d, column]) + at(arr(bias), [d, 4 * hidden + column]);
        return input * quantizedX.scale + state * qh.scale + both;
      };
      const next = c.map((v, p) => {
        const [n, j] = [Math.floor(p / hidden), p % hidden];
        return sigmoid(gate(2, n, j)) * v + sigmoid(gate(0, n, j)) * Math.tanh(gate(3, n, j));
      });
      h = next.map((v, p) => sigmoid(gate(1, Math.floor(p / hidden), p % hidden)) * Math.tanh(v));
      c = next;
      h.forEach((v, p) => {
        outputs[(t * ways + d) * batch * hidden + p] = v;
      });
    }
    last.push([h, c]);
  }
  const final = (k: 0 | 1): Arr => ({ shape: [ways, batch, hidden], data: last.flatMap((s) => s[k] as number[]) });
  const inputs = [x, W.w, R.w, bias, null, null, null, null, W.scale, W.zero, R.scale, R.zero];
  const want = [{ shape: [time, ways, batch, hidden], data: outputs }, final(0), final(1)];
  // A state near a tie may be rounded the other way.
  return { attrs: { hidden_size: hidden, direction }, inputs, want, tolerance: 2e-2 };
}

function quantizeLinear(_: number, r: Random): Made {
  const type = types(r);
  const x = r.tensor([2, 3], -4, 4);
  const columns = r.bool();
  const scales = columns ? [0.5, 0.25, 0.125] : [0.25];
  const zeros = scales.map(() => r.int(0, 9));
  const pick = (list: readonly number[], i: readonly number[]): number => list[i[1] as number] ?? (list[0] as number);
  const want = build([2, 3], (i) => into(type, roundEven(at(arr(x), i) / pick(scales, i)) + pick(zeros, i)));
  const shape = columns ? [3] : [];
  const inputs = [x, fromNumbers('f32', shape, scales), fromNumbers(type, shape, zeros)];
  return { attrs: columns ? { axis: 1 } : {}, inputs, want: [want] };
}

function dequantizeLinear(_: number, r: Random): Made {
  const type = r.pick(['u8', 'i8', 'i16', 'i32'] as const);
  const x = r.tensor([2, 3], type === 'u8' ? 0 : -100, 100, type);
  const scales = [0.5, 0.25, 0.125];
  const zeros = scales.map(() => r.int(0, 9));
  const want = build(
    [2, 3],
    (i) => (at(arr(x), i) - (zeros[i[1] as number] as number)) * (scales[i[1] as number] as number),
  );
  return {
    attrs: { axis: 1 },
    inputs: [x, fromNumbers('f32', [3], scales), fromNumbers(type, [3], zeros)],
    want: [want],
  };
}

export const quantizedOperators: Family = familyOf('com.microsoft: quantised operators', 'com.microsoft', {
  QLinearAdd: binary((x, y) => x + y),
  QLinearMul: binary((x, y) => x * y),
  QLinearSigmoid: unary((x) => ({ y: map(x, sigmoid) }), undefined, 1 / 256),
  QLinearLeakyRelu: unary((x) => ({ y: map(x, (v) => (v < 0 ? v / 4 : v)), attrs: { alpha: 0.25 } })),
  QLinearSoftmax: unary((x) => ({ y: softmaxRows(x), attrs: { axis: 1, opset: 13 } }), undefined, 1 / 256),
  QLinearReduceMean: unary((x, r) => {
    const keep = r.int(0, 1);
    return { y: reduce(x, [1], keep === 1, (v) => sum(v) / v.length), attrs: { axes: [1], keepdims: keep } };
  }),
  QLinearAveragePool: averagePool,
  QLinearGlobalAveragePool: globalAveragePool,
  QLinearConcat: concat,
  QLinearWhere: where,
  QLinearConv: conv,
  NhwcMaxPool: maxPool,
  QGemm: gemm,
  DynamicQuantizeMatMul: dynamicMatMul,
  MatMulIntegerToFloat: integerToFloat,
  MulInteger: mulInteger,
  MatMulInteger16: (_, r) => {
    const [x, y] = [r.tensor([2, 3], -3000, 3000, 'i16'), r.tensor([3, 2], -3000, 3000, 'i16')];
    return { inputs: [x, y], want: [matmulOf(arr(x), arr(y))] };
  },
  ReduceSumInteger: (_, r) => {
    const type = types(r);
    const x = r.tensor([2, 3], ...spanOf(type), type);
    const [axis, keep] = [r.int(0, 1), r.int(0, 1)];
    return {
      attrs: { axes: [axis], keepdims: keep },
      inputs: [x],
      want: [reduce(arr(x), [axis], keep === 1, (v) => sum(v))],
    };
  },
  MatMulNBits: nbits,
  MatMulBnb4: bnb4,
  GatherBlockQuantized: gatherBlocks,
  DynamicQuantizeLSTM: lstm,
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
});
