// Windows and products: convolutions, pools, matrix products, and sampling. Windows are walked position by position, with padding
// worked out as each version's definition says.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { type Arr, arr, at, broadcastShape, build, indices, padded, range, spread, sum } from './arrays.js';
import { type Family, family, type Random, typesOf } from './case.js';

type Made = ReturnType<Family['make']>;

export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** All begins, then all ends. */
  readonly pads: readonly number[];
}

export const drawWindow = (rank: number, r: Random, dilates: boolean): Window => {
  const kernel = range(rank).map(() => r.int(1, 3));
  const pad = (): number[] => kernel.map((k) => r.int(0, k - 1));
  const dilations = kernel.map(() => (dilates ? r.int(1, 2) : 1));
  return {
    kernel,
    strides: range(rank).map(() => r.int(1, 2)),
    dilations,
    pads: r.bool() ? range(2 * rank).map(() => 0) : [...pad(), ...pad()],
  };
};

/** Sizes such that at least one window fits. */
export const sizesFor = (w: Window, r: Random): number[] =>
  w.kernel.map((k, a) => (k - 1) * (w.dilations[a] as number) + 1 + r.int(0, 4));

export const outSizes = (sizes: readonly number[], w: Window, ceil = false): number[] =>
  sizes.map((d, a) => {
    const [begin, end] = [w.pads[a] as number, w.pads[a + sizes.length] as number];
    const stride = w.strides[a] as number;
    const span = (d + begin + end - ((w.kernel[a] as number) - 1) * (w.dilations[a] as number) - 1) / stride;
    if (!ceil) return Math.floor(span) + 1;
    const n = Math.ceil(span) + 1;
    // A last window that would begin on padding is none.
    return (n - 1) * stride >= d + begin ? n - 1 : n;
  });

export const inputIndex = (w: Window, o: readonly number[], k: readonly number[]): number[] =>
  o.map((v, a) => v * (w.strides[a] as number) + (k[a] as number) * (w.dilations[a] as number) - (w.pads[a] as number));

export const attrsOf = (w: Window, dilates: boolean): Record<string, readonly number[]> => ({
  kernel_shape: w.kernel,
  strides: w.strides,
  pads: w.pads,
  ...(dilates && { dilations: w.dilations }),
});

function conv(_: number, r: Random): Made {
  const rank = r.int(1, 2);
  const w = drawWindow(rank, r, true);
  const group = r.int(1, 2);
  const [n, c, m] = [r.int(1, 2), r.int(1, 2) * group, r.int(1, 2) * group];
  const x = r.tensor([n, c, ...sizesFor(w, r)], -1, 1);
  const k = r.tensor([m, c / group, ...w.kernel], -1, 1);
  const bias = r.bool() ? r.tensor([m], -1, 1) : undefined;
  const [X, K] = [arr(x), arr(k)];
  const want = build([n, m, ...outSizes(x.shape.slice(2), w)], ([b, f, ...o]) => {
    const first = Math.floor((f as number) / (m / group)) * (c / group);
    const taps = Array.from(
      indices(k.shape.slice(1)),
      ([j, ...t]) =>
        padded(X, [b as number, first + (j as number), ...inputIndex(w, o, t)]) *
        at(K, [f as number, j as number, ...t]),
    );
    return sum(taps) + (bias ? (arr(bias).data[f as number] as number) : 0);
  });
  return {
    attrs: { ...attrsOf(w, true), group },
    inputs: bias ? [x, k, bias] : [x, k],
    constants: r.bool() ? [1] : [],
    want: [want],
  };
}

function convInteger(_: number, r: Random): Made {
  const w = drawWindow(2, r, true);
  const x = r.tensor([1, 2, ...sizesFor(w, r)], 0, 200, 'u8');
  const k = r.tensor([3, 2, ...w.kernel], -20, 20, 'i8');
  const zero = r.int(0, 120);
  const want = build([1, 3, ...outSizes(x.shape.slice(2), w)], ([, f, ...o]) =>
    sum(
      Array.from(indices(k.shape.slice(1)), ([j, ...t]) => {
        const v = at(arr(x), [0, j as number, ...inputIndex(w, o, t)]);
        return Number.isNaN(v) ? 0 : (v - zero) * at(arr(k), [f as number, j as number, ...t]);
      }),
    ),
  );
  return { attrs: attrsOf(w, true), inputs: [x, k, fromNumbers('u8', [], [zero])], want: [want] };
}

function convTranspose(_: number, r: Random): Made {
  const w = drawWindow(r.int(1, 2), r, true);
  const sizes = w.kernel.map(() => r.int(1, 4));
  const rank = sizes.length;
  const extra = w.strides.map((s, a) => r.int(0, Math.max(0, Math.max(s, w.dilations[a] as number) - 1)));
  const reach = (a: number): number => ((w.kernel[a] as number) - 1) * (w.dilations[a] as number);
  const out = sizes.map(
    (d, a) =>
      (d - 1) * (w.strides[a] as number) +
      (extra[a] as number) +
      reach(a) +
      1 -
      (w.pads[a] as number) -
      (w.pads[a + rank] as number),
  );
  if (out.some((d) => d < 1)) return convTranspose(_, r);
  const [c, m] = [r.int(1, 2), r.int(1, 2)];
  const x = r.tensor([1, c, ...sizes], -1, 1);
  const k = r.tensor([c, m, ...w.kernel], -1, 1);
  // Every input element adds a copy of the kernel to the output.
  const want = build([1, m, ...out], ([, f, ...o]) =>
    sum(
      Array.from(indices([c, ...sizes]), ([j, ...i]) =>
        sum(
          Array.from(indices(w.kernel), (t) => {
            const there = i.every(
              (v, a) =>
                v * (w.strides[a] as number) + (t[a] as number) * (w.dilations[a] as number) - (w.pads[a] as number) ===
                o[a],
            );
            return there ? at(arr(x), [0, j as number, ...i]) * at(arr(k), [j as number, f as number, ...t]) : 0;
          }),
        ),
      ),
    ),
  );
  return {
    attrs: { ...attrsOf(w, true), output_padding: extra },
    inputs: [x, k],
    constants: r.bool() ? [1] : [],
    want: [want],
  };
}

/** What a pool makes of the values inside its window; `cells` counts padding too. */
type Pool = (values: readonly number[], cells: number) => number;

function pool(op: string, version: number, r: Random): Made {
  const rank = r.int(1, 2);
  const dilates = op === 'MaxPool' ? version >= 10 : op === 'AveragePool' ? version >= 19 : version >= 18;
  const ceils = op === 'LpPool' ? version >= 18 : version >= 10;
  const w = drawWindow(rank, r, dilates);
  const x = r.tensor([r.int(1, 2), r.int(1, 2), ...sizesFor(w, r)], -2, 2);
  const ceil = ceils && r.bool();
  const padCounts = op === 'AveragePool' && version >= 7 && r.bool();
  const p = r.int(1, 3);
  const f: Pool =
    op === 'MaxPool'
      ? (v) => Math.max(...v)
      : op === 'LpPool'
        ? (v) => sum(v.map((e) => Math.abs(e) ** p)) ** (1 / p)
        : (v, n) => sum(v) / (padCounts ? n : v.length);
  const inside = (i: readonly number[], margin: boolean): boolean =>
    i.every(
      (v, a) =>
        v >= (margin ? -(w.pads[a] as number) : 0) &&
        v < (x.shape[a + 2] as number) + (margin ? (w.pads[a + rank] as number) : 0),
    );
  const cells = (o: readonly number[]): number[][] => Array.from(indices(w.kernel), (t) => inputIndex(w, o, t));
  const want = build([...x.shape.slice(0, 2), ...outSizes(x.shape.slice(2), w, ceil)], ([b, c, ...o]) => {
    const all = cells(o);
    const values = all.filter((i) => inside(i, false)).map((i) => at(arr(x), [b as number, c as number, ...i]));
    return f(values, all.filter((i) => inside(i, true)).length);
  });
  const attrs = {
    ...attrsOf(w, dilates),
    ...(ceil && { ceil_mode: 1 }),
    ...(padCounts && { count_include_pad: 1 }),
    ...(op === 'LpPool' && { p }),
  };
  return { attrs, inputs: [x], want: [want] };
}

const global =
  (f: (values: number[]) => number) =>
  (_: number, r: Random): Made => {
    const x = r.tensor(r.shape(r.int(3, 4)), -2, 2);
    const want = build([...x.shape.slice(0, 2), ...x.shape.slice(2).map(() => 1)], ([b, c]) =>
      f(Array.from(indices(x.shape.slice(2)), (i) => at(arr(x), [b as number, c as number, ...i]))),
    );
    return { inputs: [x], want: [want] };
  };

function maxUnpool(_: number, r: Random): Made {
  const [h, w] = [r.int(1, 3), r.int(1, 3)];
  const y = r.tensor([1, 2, h, w], 1, 4);
  // One place in each window of two by two.
  const ids = build(
    y.shape,
    ([, c, i, j]) =>
      (c as number) * 4 * h * w + (2 * (i as number) + r.int(0, 1)) * 2 * w + 2 * (j as number) + r.int(0, 1),
  );
  const data = new Array<number>(8 * h * w).fill(0);
  ids.data.forEach((p, k) => {
    data[p] = arr(y).data[k] as number;
  });
  return {
    attrs: { kernel_shape: [2, 2], strides: [2, 2] },
    inputs: [y, fromNumbers('i64', ids.shape, ids.data)],
    want: [{ shape: [1, 2, 2 * h, 2 * w], data }],
  };
}

export const matmulOf = (a: Arr, b: Arr): Arr => {
  const [n, k, m] = [a.shape.at(-2) as number, a.shape.at(-1) as number, b.shape.at(-1) as number];
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const pick = (x: Arr, i: readonly number[], row: number, column: number): number =>
    spread(x, [...i, row, column].map((v) => v).slice(-x.shape.length));
  return build([...batch, n, m], (index) => {
    const [i, j] = index.slice(-2) as [number, number];
    return sum(range(k).map((q) => pick(a, index.slice(0, -2), i, q) * pick(b, index.slice(0, -2), q, j)));
  });
};

function matmul(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 6) as [number, number, number];
  const batch = r.shape(r.int(0, 2), 3);
  const a = r.tensor([...batch, n, k], -2, 2);
  const b = r.tensor([...batch.slice(r.int(0, batch.length)), k, m], -2, 2);
  return { inputs: [a, b], constants: r.bool() ? [1] : [], want: [matmulOf(arr(a), arr(b))] };
}

function gemm(version: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 6) as [number, number, number];
  const [ta, tb] = [r.int(0, 1), r.int(0, 1)];
  const dtype = r.pick(typesOf('Gemm', version, 'T', ['f32', 'f64', 'i32', 'i64']));
  const a = r.tensor(ta ? [k, n] : [n, k], -2, 2, dtype);
  const b = r.tensor(tb ? [m, k] : [k, m], -2, 2, dtype);
  const c = version >= 11 && r.bool(0.3) ? undefined : r.tensor(r.pick([[n, m], [m], [1, m]]), -2, 2, dtype);
  const [alpha, beta] = [r.pick([1, 0.5]), r.pick([1, 0.25])];
  const want = build([n, m], ([i, j]) => {
    const dot = sum(
      range(k).map(
        (q) =>
          at(arr(a), ta ? [q, i as number] : [i as number, q]) * at(arr(b), tb ? [j as number, q] : [q, j as number]),
      ),
    );
    const whole = alpha * dot + (c ? beta * spread(arr(c), [i as number, j as number]) : 0);
    return dtype.startsWith('i') ? Math.trunc(whole) : whole;
  });
  const attrs = { alpha, beta, transA: ta, transB: tb, ...(version < 7 && { broadcast: 1 }) };
  return { attrs, inputs: c ? [a, b, c] : [a, b], constants: r.bool() ? [1] : [], want: [want] };
}

export const less = (t: Tensor, zero: number): Arr => ({ shape: t.shape, data: arr(t).data.map((v) => v - zero) });

function matmulInteger(_: number, r: Random): Made {
  const [n, k, m] = r.shape(3, 9) as [number, number, number];
  const [za, zb] = [r.int(0, 200), r.int(-5, 5)];
  const a = r.tensor([n, k], 0, 255, 'u8');
  const b = r.tensor([k, m], -128, 127, 'i8');
  const inputs = [a, b, fromNumbers('u8', [], [za]), fromNumbers('i8', [], [zb])];
  return { inputs, constants: r.bool() ? [1, 3] : [], want: [matmulOf(less(a, za), less(b, zb))] };
}

function det(_: number, r: Random): Made {
  const n = r.int(1, 3);
  const x = r.tensor([r.int(1, 2), n, n], -2, 2);
  const minor = (rows: readonly number[], columns: readonly number[], b: number): number => {
    const [first, ...rest] = rows;
    if (first === undefined) return 1;
    return sum(
      columns.map(
        (c, k) =>
          (k % 2 ? -1 : 1) *
          at(arr(x), [b, first, c]) *
          minor(
            rest,
            columns.filter((o) => o !== c),
            b,
          ),
      ),
    );
  };
  return {
    inputs: [x],
    want: [build([x.shape[0] as number], ([b]) => minor(range(n), range(n), b as number))],
    tolerance: 1e-4,
  };
}

function einsum(_: number, r: Random): Made {
  const [a, b, c] = r.shape(3) as [number, number, number];
  const [x, y] = [r.tensor([a, b], -2, 2), r.tensor([b, c], -2, 2)];
  const X = (i: number, j: number): number => at(arr(x), [i, j]);
  const Y = (i: number, j: number): number => at(arr(y), [i, j]);
  const [equation, want] = r.pick([
    ['ab,bc->ac', build([a, c], ([i, k]) => sum(range(b).map((j) => X(i as number, j) * Y(j, k as number))))],
    ['ij, jk -> ik', build([a, c], ([i, k]) => sum(range(b).map((j) => X(i as number, j) * Y(j, k as number))))],
    [
      'ab,bc->b',
      build([b], ([j]) => sum(range(a).map((i) => X(i, j as number))) * sum(range(c).map((k) => Y(j as number, k)))),
    ],
    ['ab,bc->cba', build([c, b, a], ([k, j, i]) => X(i as number, j as number) * Y(j as number, k as number))],
  ] as const);
  return { attrs: { equation }, inputs: [x, y], want: [want] };
}

/** Nearest and linear resampling with the coordinates of each version's default. */
function upsample(version: number, r: Random): Made {
  const x = r.tensor([1, r.int(1, 2), r.int(1, 4), r.int(1, 4)]);
  const scales = [1, 1, r.int(1, 3), r.int(1, 3)];
  const out = x.shape.map((d, k) => d * (scales[k] as number));
  const want = build(out, (i) =>
    at(
      arr(x),
      i.map((v, k) => Math.floor(v / (scales[k] as number))),
    ),
  );
  const mode = { mode: 'nearest' };
  if (version < 7)
    return {
      attrs: { ...mode, height_scale: scales[2] as number, width_scale: scales[3] as number },
      inputs: [x],
      want: [want],
    };
  if (version < 9) return { attrs: { ...mode, scales }, inputs: [x], want: [want] };
  return { attrs: mode, inputs: [x, fromNumbers('f32', [4], scales)], constants: [1], want: [want] };
}

function resize(version: number, r: Random): Made {
  const x = r.tensor([1, 1, r.int(2, 4), r.int(2, 4)]);
  const scales = fromNumbers('f32', [4], [1, 1, r.int(1, 3), r.int(1, 3)]);
  const s = Array.from(arr(scales).data);
  const linear = r.bool();
  // Version 10 knows only x_out / scale.
  const half = version > 10;
  const coordinate = (o: number, k: number): number =>
    half ? (o + 0.5) / (s[k] as number) - 0.5 : o / (s[k] as number);
  const clampTo = (v: number, d: number): number => Math.min(Math.max(v, 0), d - 1);
  const nearest = (v: number): number => (half ? Math.ceil(v - 0.5) : Math.floor(v));
  const want = build(
    x.shape.map((d, k) => d * (s[k] as number)),
    (o) => {
      const [y, z] = [coordinate(o[2] as number, 2), coordinate(o[3] as number, 3)];
      const [h, w] = [x.shape[2] as number, x.shape[3] as number];
      const value = (i: number, j: number): number => at(arr(x), [0, 0, clampTo(i, h), clampTo(j, w)]);
      if (!linear) return value(nearest(y), nearest(z));
      const [i, j] = [Math.floor(y), Math.floor(z)];
      const [p, q] = [y - i, z - j];
      return (
        (1 - p) * ((1 - q) * value(i, j) + q * value(i, j + 1)) +
        p * ((1 - q) * value(i + 1, j) + q * value(i + 1, j + 1))
      );
    },
  );
  const attrs = { mode: linear ? 'linear' : 'nearest' };
  return version < 11
    ? { attrs, inputs: [x, scales], constants: [1], want: [want] }
    : { attrs, inputs: [x, null, scales], constants: [2], want: [want] };
}

function gridSample(version: number, r: Random): Made {
  const [h, w] = [r.int(2, 4), r.int(2, 4)];
  const x = r.tensor([1, 2, h, w]);
  const [oh, ow] = [r.int(1, 3), r.int(1, 3)];
  const grid = r.tensor([1, oh, ow, 2], -1.25, 1.25);
  const corners = r.int(0, 1);
  const zeros = r.bool();
  const toPixel = (g: number, d: number): number => (corners ? ((g + 1) / 2) * (d - 1) : ((g + 1) * d - 1) / 2);
  const want = build([1, 2, oh, ow], ([, c, i, j]) => {
    const px = toPixel(at(arr(grid), [0, i as number, j as number, 0]), w);
    const py = toPixel(at(arr(grid), [0, i as number, j as number, 1]), h);
    const place = (v: number, d: number): number => (zeros ? v : Math.min(Math.max(v, 0), d - 1));
    const [cx, cy] = zeros ? [px, py] : [Math.min(Math.max(px, 0), w - 1), Math.min(Math.max(py, 0), h - 1)];
    const [x0, y0] = [Math.floor(cx), Math.floor(cy)];
    const [p, q] = [cx - x0, cy - y0];
    const value = (a: number, b: number): number => padded(arr(x), [0, c as number, place(a, h), place(b, w)]);
    return (
      (1 - q) * ((1 - p) * value(y0, x0) + p * value(y0, x0 + 1)) +
      q * ((1 - p) * value(y0 + 1, x0) + p * value(y0 + 1, x0 + 1))
    );
  });
  const attrs = {
    align_corners: corners,
    mode: version < 20 ? 'bilinear' : 'linear',
    padding_mode: zeros ? 'zeros' : 'border',
  };
  return { attrs, inputs: [x, grid], want: [want], tolerance: 1e-4 };
}

function roiPool(_: number, r: Random): Made {
  const [h, w] = [r.int(4, 6), r.int(4, 6)];
  const x = r.tensor([1, 2, h, w]);
  const [x1, y1] = [r.int(0, w - 2), r.int(0, h - 2)];
  const roi = [0, x1, y1, r.int(x1 + 1, w - 1), r.int(y1 + 1, h - 1)] as const;
  const [ph, pw] = [r.int(1, 2), r.int(1, 2)];
  const [rw, rh] = [roi[3] - roi[1] + 1, roi[4] - roi[2] + 1];
  const want = build([1, 2, ph, pw], ([, c, i, j]) => {
    const span = (k: number, cells: number, size: number, start: number): number[] => {
      const [from, to] = [Math.floor((k * size) / cells) + start, Math.ceil(((k + 1) * size) / cells) + start];
      return range(to - from).map((v) => v + from);
    };
    const ys = span(i as number, ph, rh, roi[2]);
    const xs = span(j as number, pw, rw, roi[1]);
    return Math.max(...ys.flatMap((y) => xs.map((z) => at(arr(x), [0, c as number, y, z]))));
  });
  return { attrs: { pooled_shape: [ph, pw] }, inputs: [x, fromNumbers('f32', [1, 5], [...roi])], want: [want] };
}

function roiAlign(version: number, r: Random): Made {
  const [h, w] = [r.int(4, 6), r.int(4, 6)];
  const x = r.tensor([1, 2, h, w]);
  const box = [r.int(0, 1), r.int(0, 1), r.int(2, w - 1), r.int(2, h - 1)] as const;
  const [oh, ow, ratio] = [r.int(1, 2), r.int(1, 2), r.int(1, 2)];
  const shift = version >= 16 ? 0.5 : 0;
  const [x0, y0] = [box[0] - shift, box[1] - shift];
  const [bw, bh] = [box[2] - box[0], box[3] - box[1]];
  const sample = (c: number, y: number, z: number): number => {
    if (y < -1 || y > h || z < -1 || z > w) return 0;
    const clampTo = (v: number, d: number): number => Math.min(Math.max(v, 0), d - 1);
    const [cy, cz] = [clampTo(y, h), clampTo(z, w)];
    const [i, j] = [Math.floor(cy), Math.floor(cz)];
    const [p, q] = [cy - i, cz - j];
    const v = (a: number, b: number): number => at(arr(x), [0, c, Math.min(a, h - 1), Math.min(b, w - 1)]);
    return (1 - p) * ((1 - q) * v(i, j) + q * v(i, j + 1)) + p * ((1 - q) * v(i + 1, j) + q * v(i + 1, j + 1));
  };
  const want = build([1, 2, oh, ow], ([, c, i, j]) => {
    const places = Array.from(indices([ratio, ratio]), ([a, b]) => [
      y0 + ((i as number) + ((a as number) + 0.5) / ratio) * (bh / oh),
      x0 + ((j as number) + ((b as number) + 0.5) / ratio) * (bw / ow),
    ]);
    return sum(places.map(([y, z]) => sample(c as number, y as number, z as number))) / places.length;
  });
  const attrs = { output_height: oh, output_width: ow, sampling_ratio: ratio, mode: 'avg' };
  return {
    attrs,
    inputs: [x, fromNumbers('f32', [1, 4], [...box]), fromNumbers('i64', [1], [0])],
    want: [want],
    tolerance: 1e-4,
  };
}

export const windows: Family = family('windows', {
  Conv: conv,
  ConvInteger: convInteger,
  ConvTranspose: convTranspose,
  MaxPool: (v, r) => pool('MaxPool', v, r),
  AveragePool: (v, r) => pool('AveragePool', v, r),
  LpPool: (v, r) => pool('LpPool', v, r),
  GlobalAveragePool: global((xs) => sum(xs) / xs.length),
  GlobalMaxPool: global((xs) => Math.max(...xs)),
  GlobalLpPool: global((xs) => Math.sqrt(sum(xs.map((x) => x * x)))),
  MaxUnpool: maxUnpool,
  MaxRoiPool: roiPool,
  RoiAlign: roiAlign,
});

export const products: Family = family('products', {
  MatMul: matmul,
  MatMulInteger: matmulInteger,
  Gemm: gemm,
  Einsum: einsum,
  Det: det,
});

export const sampling: Family = family(
  'sampling',
  { Upsample: upsample, Resize: resize, GridSample: gridSample },
  (op, v) => op !== 'Upsample' || v < 10,
);
