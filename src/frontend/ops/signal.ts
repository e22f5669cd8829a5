// Spectra: the discrete Fourier transform is a contraction with a table of rotations, one 2×2 matrix per multiple of
// 2π/n; for long rows of a known length it is a fast one (fft.ts). Real input uses its first row, real output its first column, so one lowering serves all kinds. Axis and length
// may be known only when the program runs; sizes then come from the output the file declares. Windows: window-functions.ts.

import type { Builder, Read } from '../../ir/builder.js';
import { add, bounds, type Dim, floordiv, max, mul, product, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { fft } from './fft.js';
import { statType } from './norm.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { declaredShape } from './runtime-sizes.js';

/** An integer that is known, or read when the program runs; then at most `most`. */
export interface Count {
  readonly most: Dim;
  readonly exact: boolean;
  readonly at: (read: Read) => Expr;
}

export const known = (d: Dim): Count => ({ most: d, exact: true, at: () => e.dim(d) });
const atMost = (most: Dim, at: (read: Read) => Expr): Count => ({ most, exact: false, at });

/** sin and cos of 2π·m/n for 0 ≤ m < n, folded to an eighth of a turn: exact at quarters, and exactly symmetric. */
function sinCos(m: Expr, n: Expr, real: DType): { readonly sin: Expr; readonly cos: Expr } {
  const quarter = e.div(e.mul(m, 4), n);
  const rest = e.rem(e.mul(m, 4), n);
  const mirrored = e.lt(n, e.mul(rest, 2));
  const angle = e.mul(e.div(cast(e.min(rest, e.sub(n, rest)), real), cast(n, real)), Math.PI / 2);
  const [s, c] = [e.op('sin', angle), e.op('cos', angle)];
  const [sin, cos] = [e.select(mirrored, c, s), e.select(mirrored, s, c)];
  const odd = e.eq(e.rem(quarter, 2), 1);
  const signed = (v: Expr, negative: Expr): Expr => e.select(negative, e.neg(v), v);
  return {
    sin: signed(e.select(odd, cos, sin), e.le(2, quarter)),
    cos: signed(e.select(odd, sin, cos), e.or(e.eq(quarter, 1), e.eq(quarter, 2))),
  };
}

/** rotations[m][d][c]: what component d of a sample adds to component c at angle 2π·m/n, clockwise unless inverse. */
function rotations(b: Builder, n: Count, inverse: boolean, t: DType): Value {
  // Known tables fold, so they may be as precise as they like.
  const real: DType = n.exact && typeof n.most === 'number' ? 'f64' : t;
  return b.generic({
    shape: [n.most, 2, 2],
    body: ([m, d, c], _r, read) => {
      const { sin, cos } = sinCos(m as Expr, n.at(read), real);
      const anticlockwise = e.select(e.eq(d as Expr, 0), sin, e.neg(sin));
      const cross = inverse ? anticlockwise : e.neg(anticlockwise);
      return cast(e.select(e.eq(d as Expr, c as Expr), cos, cross), t);
    },
  });
}

/** (j · k) mod n without overflow. */
const turn = (j: Expr, k: Expr, n: Count, read: Read): Expr =>
  bounds(n.most)[1] <= 46340
    ? e.rem(e.mul(j, k), n.at(read))
    : cast(e.rem(e.mul(cast(j, 'i64'), cast(k, 'i64')), cast(n.at(read), 'i64')), 'i32');

export interface Transform {
  readonly x: Value;
  /** In which type products are made and added: f64 where terms cancel and what remains matters. */
  readonly sums: DType;
  /** True for the axis of the samples; the last axis holds real and imaginary parts. */
  readonly isAxis: (k: number, read: Read) => Expr;
  /** The axis of the samples, where it is known. */
  readonly axis?: number | undefined;
  readonly length: Count;
  readonly shape: readonly Dim[];
  readonly inverse: boolean;
  readonly onesided: boolean;
}

const bins = (n: Dim): Dim => add(floordiv(n, 2), 1);

/** A select whose condition may be known. */
const choose = (cond: Expr, p: Expr, q: Expr): Expr =>
  cond.k === 'const' ? (cond.value ? p : q) : e.select(cond, p, q);

/** From this length on a loop program takes fewer steps than a contraction can make up for. */
const LONG = 256;

export function transform(b: Builder, spec: Transform): Value {
  const { x, sums: t, isAxis, axis, length, shape, inverse, onesided } = spec;
  if (axis !== undefined && length.exact && typeof length.most === 'number' && length.most >= LONG) {
    const [before, after] = [x.type.shape.slice(0, axis), x.type.shape.slice(axis + 1, -1)];
    const rows = [product(before), x.type.shape[axis] as Dim, product(after), x.type.shape.at(-1) as Dim];
    return b.reshape(fft(b, { x: b.reshape(x, rows), n: length.most, sums: t, inverse, onesided }), shape);
  }
  const table = rotations(b, length, inverse, t);
  const halves = inverse && onesided;
  const rank = x.type.shape.length;
  const sum = b.generic({
    shape,
    reduce: [halves ? bins(length.most) : length.most, x.type.shape.at(-1) as Dim],
    reducer: 'add',
    body: (i, r, read) => {
      const [sample, part] = r as [Expr, Expr];
      const at = i.map((v, k) => (k === rank - 1 ? part : choose(isAxis(k, read), sample, v)));
      const bin = i.slice(0, -1).reduce((p, v, k) => choose(isAxis(k, read), v, p), i[0] as Expr);
      const n = length.at(read);
      const inside = e.lt(sample, halves ? e.add(e.div(n, 2), 1) : n);
      const sizes = x.type.shape.slice(0, -1).map((d, k) => e.lt(at[k] as Expr, e.dim(d)));
      const value = cast(read(x, at, { guard: e.and(inside, ...sizes), pad: constant(0, x.type.dtype) }), t);
      const rotated = e.mul(value, read(table, [turn(sample, bin, length, read), part, i.at(-1) as Expr]));
      return halves ? e.mul(rotated, mirrored(sample, n, t)) : rotated;
    },
  });
  if (!inverse) return b.cast(sum, x.type.dtype);
  return b.generic({
    shape,
    body: (i, _r, read) => cast(e.div(read(sum, i), cast(length.at(read), t)), x.type.dtype),
  });
}

/** How often a bin of a one-sided spectrum stands in the whole one: all but the first and a middle one twice. */
const mirrored = (bin: Expr, n: Expr, t: DType): Expr =>
  e.select(e.or(e.eq(bin, 0), e.eq(e.mul(bin, 2), n)), constant(1, t), constant(2, t));

interface DftAttrs {
  /** undefined: an input that depends on data. */
  readonly axis: number | undefined;
  readonly inverse: boolean;
  readonly onesided: boolean;
}

const dft = (n: NodeReader, axis: number | undefined): DftAttrs => ({
  axis,
  inverse: n.bool('inverse', false),
  onesided: n.bool('onesided', false),
});

const scalarAt = (read: Read, v: Value): Expr =>
  cast(
    read(
      v,
      v.type.shape.map(() => i32(0)),
    ),
    'i32',
  );

/** The number of samples: given, or from the size of the axis (an inverse one-sided transform has 2·(bins − 1)). */
function dftLength(
  b: Builder,
  x: Value,
  length: Value | undefined,
  axis: number | undefined,
  a: DftAttrs,
  most: Dim,
  read0: (read: Read) => Expr,
): Count {
  const given = length && b.values(length)?.[0];
  if (given !== undefined) return known(given);
  if (length) return atMost(most, (read) => scalarAt(read, length));
  const half = a.inverse && a.onesided;
  if (axis !== undefined) {
    const size = x.type.shape[axis] as Dim;
    return known(half ? mul(sub(size, 1), 2) : size);
  }
  const sizes = x.type.shape.slice(0, -1);
  const sizeAt = (read: Read): Expr =>
    sizes.reduce<Expr>((p, d, k) => e.select(e.eq(read0(read), k), e.dim(d), p), i32(1));
  return atMost(most, (read) => (half ? e.mul(e.sub(sizeAt(read), 1), 2) : sizeAt(read)));
}

const largest = (dims: readonly Dim[]): Dim => dims.reduce<Dim>((p, q) => max(p, q), 1);

const Dft = op('dft', {
  doc: 'Discrete Fourier transform along one axis; real or complex, forward or inverse, whole or one-sided.',
  inputs: ['x', 'length?', 'axis?'],
  onnx: {
    'DFT@17': (n) => dft(n, n.int('axis', 1)),
    'DFT@20': (n) => {
      const at = n.input(2) ? n.tryDims(2)?.[0] : -2;
      return dft(n, typeof at === 'number' ? at : undefined);
    },
  },
  lower: ({ x, length, axis }, a: DftAttrs, b, ctx) => {
    const rank = x.type.shape.length;
    const at = a.axis === undefined ? undefined : b.axis(x, a.axis);
    const axisAt = (read: Read): Expr => {
      const v = axis ? scalarAt(read, axis) : i32(at ?? 0);
      return e.select(e.lt(v, 0), e.add(v, rank), v);
    };
    const isAxis = (k: number, read: Read): Expr =>
      at === undefined ? e.eq(axisAt(read), k) : e.const(k === at, 'i1');
    const out = declaredShape(ctx);
    // A one-sided forward transform shows about half of its length.
    const most = add(
      mul(largest([...x.type.shape.slice(0, -1), ...(out ?? []).slice(0, -1)]), a.onesided && length ? 2 : 1),
      1,
    );
    const n = dftLength(b, x, length, at, a, most, axisAt);
    const sized = at !== undefined && (!length || b.values(length));
    const halves = a.onesided && a.inverse;
    const along = a.onesided && !a.inverse ? bins(n.most) : n.most;
    const shape = sized ? x.type.shape.map((d, k) => (k === at ? along : k === rank - 1 ? (halves ? 1 : 2) : d)) : out;
    if (!shape) return ctx.limit('an axis or length that depends on data', 'Make it an initializer');
    return transform(b, {
      x,
      sums: 'f64',
      isAxis,
      axis: at,
      length: n,
      shape,
      inverse: a.inverse,
      onesided: a.onesided,
    });
  },
  limits: ['An axis or length that depends on data needs an output whose shape the file declares.'],
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const Stft = op('stft', {
  doc: 'Discrete Fourier transforms of windowed frames of a signal, a step apart.',
  inputs: ['x', 'step', 'window?', 'length?'],
  onnx: { 'STFT@17': (n): { onesided: boolean } => ({ onesided: n.bool('onesided', true) }) },
  lower: ({ x, step, window, length: given }, { onesided }: { onesided: boolean }, b, ctx) => {
    const [batch, samples] = x.type.shape as [Dim, Dim];
    const out = declaredShape(ctx);
    const length = window?.type.shape[0] ?? (given && b.values(given)?.[0]);
    const shown = out?.[2];
    if (length === undefined && shown === undefined)
      ctx.limit('a frame length that depends on data', 'Make it an initializer');
    const most = length ?? (onesided ? sub(mul(shown as Dim, 2), 1) : (shown as Dim));
    const n: Count = length !== undefined || !given ? known(most) : atMost(most, (read) => scalarAt(read, given));
    const stride = b.values(step)?.[0];
    const frames =
      stride !== undefined && length !== undefined ? add(floordiv(sub(samples, length), stride), 1) : out?.[1];
    if (frames === undefined) return ctx.limit('a frame step that depends on data', 'Make it an initializer');
    const parts = x.type.shape[2] ?? 1;
    const signal = x.type.shape.length === 2 ? b.unsqueeze(x, [2]) : x;
    const framed = b.generic({
      shape: [batch, frames, most, parts],
      body: ([k, f, j, p], _r, read) => {
        const from = e.mul(f as Expr, stride === undefined ? scalarAt(read, step) : e.dim(stride));
        const at = e.add(from, j as Expr);
        const inRange =
          stride !== undefined && length !== undefined
            ? {}
            : { guard: e.lt(at, e.dim(samples)), pad: constant(0, x.type.dtype) };
        const v = read(signal, [k as Expr, at, p as Expr], inRange);
        return window ? e.mul(v, read(window, [j as Expr])) : v;
      },
    });
    const shape = [batch, frames, shown ?? (onesided ? bins(most) : most), 2];
    return transform(b, {
      x: framed,
      sums: statType(x.type.dtype),
      isAxis: (k) => e.const(k === 2, 'i1'),
      length: n,
      shape,
      inverse: false,
      onesided,
    });
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

export const records: readonly AnyRecord[] = [Dft, Stft];
