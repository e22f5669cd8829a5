// Sliding windows over spatial axes: the arithmetic convolution, pooling and their kin share. Sizes may be symbolic.
// A window reads input position out·stride + tap·dilation − before; what lies outside [0, size) is padding.
// Layouts say where batch, channel and spatial axes stand; conv.ts and pool.ts are written against them.

import { add, bounds, ceildiv, type Dim, dimEq, floordiv, max, min, mul, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Expr } from '../../ir/scalar.js';
import { CompileError } from '../../support/errors.js';
import type { NodeReader } from './record.js';

export type AutoPad = 'explicit' | 'valid' | 'same_upper' | 'same_lower';

/** As a file states it; empty lists stand for all ones (or zeros for `pads`, which lists befores, then afters). */
export interface WindowAttrs {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly number[];
  readonly autoPad: AutoPad;
  readonly ceil: boolean;
}

/** One spatial axis of a window over an input of known (or symbolic) size. */
export interface WindowAxis {
  readonly size: Dim;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: Dim;
  readonly after: Dim;
  readonly out: Dim;
  /** Some tap may fall outside the input. */
  readonly padded: boolean;
}

const AUTO_PAD: Readonly<Record<string, AutoPad>> = {
  '': 'explicit',
  NOTSET: 'explicit',
  VALID: 'valid',
  SAME: 'same_upper',
  SAME_UPPER: 'same_upper',
  SAME_LOWER: 'same_lower',
};

export function autoPadOf(name: string): AutoPad {
  const kind = AUTO_PAD[name];
  if (!kind) throw new CompileError('E203', `padding "${name}" is not defined`);
  return kind;
}

/** The window attributes ONNX convolutions and pools have in common. */
export const onnxWindow = (n: NodeReader): WindowAttrs => ({
  kernel: n.ints('kernel_shape', []),
  strides: n.ints('strides', []),
  dilations: n.ints('dilations', []),
  pads: n.ints('pads', []),
  autoPad: autoPadOf(n.string('auto_pad', 'NOTSET')),
  ceil: n.bool('ceil_mode', false),
});

/** TFLite's, height and width; dilations only where the options have them. */
export const tfliteWindow = (n: NodeReader, kernel: readonly number[]): WindowAttrs => ({
  kernel,
  strides: [n.int('stride_h', 1), n.int('stride_w', 1)],
  dilations: [n.int('dilation_h_factor', 1), n.int('dilation_w_factor', 1)],
  pads: [],
  autoPad: autoPadOf(n.string('padding', 'SAME')),
  ceil: false,
});

/** Total padding shared out to both ends; the odd element goes to the end named by the kind. */
export const splitPadding = (total: Dim, kind: AutoPad): readonly [Dim, Dim] => {
  const half = floordiv(total, 2);
  const rest = sub(total, half);
  return kind === 'same_lower' ? [rest, half] : [half, rest];
};

const listed = (list: readonly number[], what: string, rank: number): readonly number[] => {
  if (list.length > 0 && list.length !== rank)
    throw new CompileError('E203', `${list.length} ${what} given for ${rank} spatial axes`);
  return list;
};

/** Resolves a window over `sizes`; `kernel` overrides the attribute (a convolution's weight knows better). */
export function windowAxes(a: WindowAttrs, sizes: readonly Dim[], kernel = a.kernel): readonly WindowAxis[] {
  const rank = sizes.length;
  const strides = listed(a.strides, 'strides', rank);
  const dilations = listed(a.dilations, 'dilations', rank);
  listed(kernel, 'kernel sizes', rank);
  if (a.pads.length > 0 && a.pads.length !== 2 * rank)
    throw new CompileError('E203', `${a.pads.length} pads given for ${rank} spatial axes`);
  return sizes.map((size, k) => {
    const [width, stride, dilation] = [kernel[k] ?? 1, strides[k] ?? 1, dilations[k] ?? 1];
    if (width < 1 || stride < 1 || dilation < 1)
      throw new CompileError('E203', `kernel ${width}, stride ${stride}, dilation ${dilation}: all must be positive`);
    return windowAxis(a, { size, kernel: width, stride, dilation }, [a.pads[k] ?? 0, a.pads[k + rank] ?? 0]);
  });
}

type Geometry = Pick<WindowAxis, 'size' | 'kernel' | 'stride' | 'dilation'>;

function windowAxis(a: WindowAttrs, g: Geometry, pads: readonly [number, number]): WindowAxis {
  const reach = (g.kernel - 1) * g.dilation + 1;
  if (a.autoPad === 'same_upper' || a.autoPad === 'same_lower') {
    const out = ceildiv(g.size, g.stride);
    const total = max(0, sub(add(mul(sub(out, 1), g.stride), reach), g.size));
    const [before, after] = splitPadding(total, a.autoPad);
    return { ...g, before, after, out, padded: !dimEq(total, 0) };
  }
  const [before, after] = a.autoPad === 'valid' ? [0, 0] : pads;
  const room = sub(add(g.size, before + after), reach);
  if (bounds(room)[1] < 0)
    throw new CompileError('E204', `a window of ${reach} does not fit an axis of ${bounds(g.size)[1]}`);
  const floor = add(floordiv(room, g.stride), 1);
  if (!a.ceil) return { ...g, before, after, out: max(0, floor), padded: before !== 0 || after !== 0 };
  // A window may run over the end, but may not start there.
  const ceil = min(add(ceildiv(room, g.stride), 1), ceildiv(add(g.size, before), g.stride));
  return { ...g, before, after, out: max(0, ceil), padded: before !== 0 || after !== 0 || !dimEq(ceil, floor) };
}

/** Input position of tap `r` of window `i`. */
export const windowIndex = (w: WindowAxis, i: Expr, r: Expr): Expr =>
  e.sub(e.add(e.mul(i, w.stride), e.mul(r, w.dilation)), e.dim(w.before));

/** How many taps of window `i` fall into [lo, hi) of the input's coordinates. */
export function tapsInside(w: WindowAxis, i: Expr, lo: Dim, hi: Dim): Expr {
  const start = e.sub(e.mul(i, w.stride), e.dim(w.before));
  const upTo = (end: Dim): Expr =>
    e.min(e.div(e.add(e.max(e.sub(e.dim(end), start), 0), w.dilation - 1), w.dilation), w.kernel);
  return e.sub(upTo(hi), upTo(lo));
}

/** Where the axes of an image-like tensor stand: channels after the batch, or last. */
export interface Layout {
  /** Builds a shape or an index from its parts. */
  readonly place: <T>(batch: T, channel: T, spatial: readonly T[]) => readonly T[];
  readonly parts: <T>(all: readonly T[]) => { readonly batch: T; readonly channel: T; readonly spatial: readonly T[] };
}

export const CHANNELS_FIRST: Layout = {
  place: (n, c, s) => [n, c, ...s],
  parts: <T>(all: readonly T[]) => ({ batch: all[0] as T, channel: all[1] as T, spatial: all.slice(2) }),
};

export const CHANNELS_LAST: Layout = {
  place: (n, c, s) => [n, ...s, c],
  parts: <T>(all: readonly T[]) => ({ batch: all[0] as T, channel: all.at(-1) as T, spatial: all.slice(1, -1) }),
};
