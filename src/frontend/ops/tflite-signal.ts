// The micro front end's signal operators (custom ops of TFLite Micro): windowing, fixed-point Fourier transform, energy,
// filter bank, noise subtraction, gain control and logarithm, in the reference library's integer arithmetic throughout.
// Operators that cut and join frames over calls are in tflite-frames.ts, the transform itself in real-fft.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, isConst } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel } from '../../ir/kernel-builder.js';
import { cast, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { fromNumbers, toNumbers } from '../../support/tensor.js';
import { type FftType, forwardFft, inverseFft } from './real-fft.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { internalState } from './tflite-frames.js';

const wide = (x: Expr): Expr => cast(x, 'i64');
const narrow = (x: Expr): Expr => cast(x, 'u32');
const bitLength = (x: Expr): Expr => e.sub(32, e.op('clz', x));

interface Fft {
  readonly length: number;
}

/** Length and type of a transform; only powers of two have a fixed-point schedule. */
function fftOf(
  x: Value,
  { length }: Fft,
  ctx: LowerContext,
): { readonly type: FftType; readonly rows: readonly Dim[] } {
  if (length < 4 || 2 ** Math.round(Math.log2(length)) !== length)
    ctx.limit(`a transform of length ${length}`, 'Lengths must be powers of two');
  const type =
    (['i16', 'i32', 'f32'] as const).find((t) => t === x.type.dtype) ?? ctx.limit(`a transform of ${x.type.dtype}`);
  return { type, rows: x.type.shape.slice(0, -1) };
}

function rfft(x: Value, a: Fft, b: Builder, ctx: LowerContext): Value {
  const { type, rows } = fftOf(x, a, ctx);
  const size = x.type.shape.at(-1) as Dim;
  return forwardFft(
    { b, type, length: a.length, inputs: [x], rows },
    (k, row, i) => {
      const value = k.mut(e.const(0, type));
      k.if(e.lt(i, e.dim(size)), () => k.set(value, k.load(k.inputs[0] as Buf, [...row, i])));
      return value;
    },
    (k) => {
      const y = k.output(type, [...rows, a.length + 2]);
      return (row, bin, z) => {
        k.store(y, [...row, e.mul(bin, 2)], cast(z.re, type));
        k.store(y, [...row, e.add(e.mul(bin, 2), 1)], cast(z.im, type));
      };
    },
  );
}

const fftLength = (n: NodeReader): Fft => ({ length: n.int('fft_length') });

/** Sums of inputs by two sets of weights: a channel's own, and what the channel below leaves over. */
function filterBank(b: Builder, ctx: LowerContext, inputs: readonly Value[], channels: number): Value {
  const [x, weights, unweights, starts, weightStarts, widths] = inputs as [Value, Value, Value, Value, Value, Value];
  const known = ctx.reader.constant(5) ?? ctx.limit('channel widths that are not constant');
  const most = Math.max(1, ...toNumbers(known));
  return b.generic({
    shape: [channels],
    reduce: [most],
    reducer: 'add',
    body: ([channel], [r], read) => {
      const at = (v: Value, c: Expr): Expr => cast(read(v, [c]), 'i32');
      const part = (c: Expr, from: Value): Expr => {
        const guard = e.lt(r as Expr, at(widths, c));
        const weight = read(from, [e.add(at(weightStarts, c), r as Expr)], { guard, pad: 0 });
        const energy = read(x, [e.add(at(starts, c), r as Expr)], { guard, pad: 0 });
        return e.mul(wide(weight), wide(energy));
      };
      const sum = e.add(part(e.add(channel as Expr, 1), weights), part(channel as Expr, unweights));
      return cast(sum, 'u64');
    },
  });
}

/** Rounded square roots of 64-bit integers, digit by digit, shifted down. Below 2^32 the result saturates at 16 bits. */
function squareRoots(b: Builder, x: Value, shift: Value): Value {
  return buildKernel(b, 'square_root', [x, shift], (k) => {
    const [input, bits] = k.inputs as [Buf, Buf];
    const y = k.output('u32', x.type.shape);
    const down = k.let(
      cast(
        k.load(
          bits,
          bits.shape.map(() => 0),
        ),
        'u32',
      ),
    );
    k.forEach(x.type.shape, (i) => {
      const whole = k.let(k.load(input, i));
      const rest = k.mut(whole);
      const root = k.mut(e.const(0, 'u64'));
      const bit = k.mut(e.const(2n ** 62n, 'u64'));
      k.for(0, 32, () => {
        const next = k.let(e.add(root, bit));
        const fits = k.let(e.le(next, rest));
        k.set(rest, e.select(fits, e.sub(rest, next), rest));
        k.set(root, e.select(fits, e.add(e.shrU(root, 1), bit), e.shrU(root, 1)));
        k.set(bit, e.shrU(bit, 2));
      });
      const most = e.select(e.lt(whole, 2n ** 32n), e.const(0xffff, 'u64'), e.const(0xffffffff, 'u64'));
      const rounded = e.min(e.select(e.lt(root, rest), e.add(root, 1), root), most);
      k.store(y, i, e.shrU(narrow(rounded), down));
    });
  })[0] as Value;
}

interface Subtraction {
  readonly smoothing: readonly [number, number];
  readonly rest: readonly [number, number];
  readonly clamping: boolean;
  readonly least: number;
  readonly smoothingBits: number;
  readonly bits: number;
}

/** A noise estimate per channel follows the signal slowly and is taken off it. Odd channels smooth differently. */
function subtractNoise(b: Builder, ctx: LowerContext, x: Value, a: Subtraction): readonly Value[] {
  const state = internalState(b, ctx, 'noise', { dtype: 'u32', shape: x.type.shape });
  const old = b.stateRead(state);
  const scaledUp = (v: Expr): Expr => e.shl(v, a.smoothingBits);
  const smoothed = b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const odd = e.eq(e.and(i.at(-1) as Expr, 1), 1);
      const factor = ([even, other]: readonly [number, number]): Expr =>
        e.select(odd, e.const(other, 'i64'), e.const(even, 'i64'));
      const signal = e.mul(wide(scaledUp(read(x, i))), factor(a.smoothing));
      return narrow(e.shrU(e.add(signal, e.mul(wide(read(old, i)), factor(a.rest))), a.bits));
    },
  });
  const estimate = a.clamping ? b.map([x, smoothed], (v, n) => e.min(n, scaledUp(v))) : smoothed;
  const output = b.map([x, smoothed], (v, n) => {
    const floor = narrow(e.shrU(e.mul(wide(v), a.least), a.bits));
    const left = e.shrU(e.sub(scaledUp(v), e.min(n, scaledUp(v))), a.smoothingBits);
    return e.max(left, floor);
  });
  b.stateWrite(state, estimate);
  return [output, estimate];
}

/** Gain from a table of quadratic pieces, one for each octave of the noise; then a soft threshold on the ratio. */
function controlGain(b: Builder, x: Value, noise: Value, table: Value, shift: number): Value {
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const level = read(noise, i);
      const octave = cast(bitLength(level), 'i32');
      const small = e.le(level, 2);
      const base = e.select(small, 0, e.sub(e.mul(octave, 4), 6));
      const entry = (j: number): Expr => cast(read(table, [e.add(base, j)]), 'i32');
      const up = cast(e.max(e.sub(11, octave), 0), 'u32');
      const down = cast(e.max(e.sub(octave, 11), 0), 'u32');
      const fraction = cast(e.and(e.shrU(e.shl(level, up), down), 0x3ff), 'i32');
      const slope = e.add(e.shrS(e.mul(entry(2), fraction), 5), e.shl(entry(1), 5));
      const curve = e.add(e.shrS(e.add(e.mul(slope, fraction), 2 ** 14), 15), entry(0));
      const direct = cast(read(table, [cast(e.min(level, 2), 'i32')]), 'i32');
      const gain = cast(cast(e.select(small, direct, curve), 'i16'), 'u32');
      const ratio = narrow(e.shrU(e.mul(wide(read(x, i)), wide(gain)), shift));
      return e.select(e.lt(ratio, 2 ** 13), e.shrU(e.mul(ratio, ratio), 20), e.sub(e.shrU(ratio, 6), 64));
    },
  });
}

/** log2(1 + i/128) − i/128 in 16 fractional bits. */
const LOG_CORRECTION = Array.from({ length: 129 }, (_, i) =>
  Math.floor((Math.log2(1 + i / 128) - i / 128) * 65536 + 0.5),
);

/** Natural logarithm times a scale; 0 for 0 and 1. */
function logarithms(b: Builder, x: Value, correction: number, outScale: number): Value {
  const table = b.constant(fromNumbers('u32', [129], LOG_CORRECTION));
  return b.generic({
    shape: x.type.shape,
    body: (i, _r, read) => {
      const value = e.shl(read(x, i), correction);
      const whole = e.sub(e.max(bitLength(value), 1), 1);
      const above = e.sub(value, e.shl(e.const(1, 'u32'), whole));
      const up = e.select(e.lt(whole, 16), e.sub(16, e.min(whole, 16)), e.const(0, 'u32'));
      const down = e.sub(e.max(whole, 16), 16);
      const fraction = e.and(e.shrU(e.shl(above, up), down), 0xffff);
      const segment = cast(e.shrU(fraction, 9), 'i32');
      const low = cast(read(table, [segment]), 'i32');
      const step = e.sub(cast(read(table, [e.add(segment, 1)]), 'i32'), low);
      const between = e.shrS(e.mul(step, cast(e.and(fraction, 511), 'i32')), 16);
      const log2 = e.add(e.shl(whole, 16), fraction, cast(e.add(low, between), 'u32'));
      const natural = narrow(e.shrU(e.add(e.mul(wide(log2), 45426), 2 ** 15), 16));
      const scaled = e.shrU(e.add(e.mul(natural, outScale), 2 ** 15), 16);
      return e.select(e.gt(value, 1), cast(e.min(scaled, 32767), 'i16'), e.const(0, 'i16'));
    },
  });
}

const pair = (n: NodeReader, even: string, odd: string): readonly [number, number] => [n.int(even), n.int(odd)];

export const records: readonly AnyRecord[] = [
  op<'x' | 'window', { readonly shift: number }>('signal_window', {
    doc: 'TFLite Micro: samples times a window, shifted down and saturated to 16 bits.',
    inputs: ['x', 'window'],
    tflite: { 'custom:SignalWindow': (n) => ({ shift: n.int('shift') }) },
    lower: ({ x, window }, { shift }, b) =>
      b.map([x, window], (v, w) =>
        cast(e.clamp(e.shrS(e.mul(cast(v, 'i32'), cast(w, 'i32')), shift), -32768, 32767), 'i16'),
      ),
  }),
  op('signal_fft_auto_scale', {
    doc: 'TFLite Micro: shifts 16-bit samples up as far as the loudest allows; gives the shift too.',
    inputs: ['x'],
    tflite: { 'custom:SignalFftAutoScale': () => ({}) },
    lower: ({ x }, _a, b) => {
      const most = b.reduce(
        b.map([x], (v) => e.abs(cast(v, 'i32'))),
        'max',
      );
      const bits = b.map([most], (m) => e.max(e.sub(15, bitLength(m)), 0));
      return [b.map([x, bits], (v, s) => cast(e.shl(cast(v, 'i32'), s), 'i16')), bits];
    },
  }),
  op<'x', Fft>('signal_rfft', {
    doc: 'TFLite Micro: Fourier transform of real samples, padded with zeros; bins as pairs. Integers are scaled by 1/length.',
    inputs: ['x'],
    tflite: { 'custom:SignalRfft': fftLength },
    lower: ({ x }, a, b, ctx) => rfft(x, a, b, ctx),
    limits: ['lengths are powers of two'],
  }),
  op<'x', Fft>('signal_irfft', {
    doc: 'TFLite Micro: inverse Fourier transform to real samples.',
    inputs: ['x'],
    tflite: { 'custom:SignalIrfft': fftLength },
    lower: ({ x }, a, b, ctx) => inverseFft({ b, ...fftOf(x, a, ctx), length: a.length, inputs: [x] }),
    limits: ['lengths are powers of two'],
  }),
  op<'x', { readonly start: number; readonly end: number }>('signal_energy', {
    doc: 'TFLite Micro: squared magnitudes of the bins from start to end; others are zero.',
    inputs: ['x'],
    tflite: { 'custom:SignalEnergy': (n) => ({ start: n.int('start_index'), end: n.int('end_index') }) },
    lower: ({ x }, { start, end }, b, ctx) => {
      const size = x.type.shape.at(-1) as Dim;
      if (!isConst(size)) return ctx.limit('a spectrum of unknown size');
      return b.generic({
        shape: [...x.type.shape.slice(0, -1), size / 2],
        body: (i, _r, read) => {
          const bin = i.at(-1) as Expr;
          const part = (k: number): Expr => cast(read(x, [...i.slice(0, -1), e.add(e.mul(bin, 2), k)]), 'i32');
          const sum = e.add(e.mul(part(0), part(0)), e.mul(part(1), part(1)));
          return cast(e.select(e.and(e.le(start, bin), e.lt(bin, end)), sum, i32(0)), 'u32');
        },
      });
    },
  }),
  op<'xs*', { readonly channels: number }>('signal_filter_bank', {
    doc: 'TFLite Micro: energies summed into overlapping channels.',
    inputs: ['xs*'],
    tflite: { 'custom:SignalFilterBank': (n) => ({ channels: n.int('num_channels') }) },
    lower: ({ xs }, { channels }, b, ctx) => filterBank(b, ctx, xs, channels),
  }),
  op('signal_filter_bank_square_root', {
    doc: 'TFLite Micro: rounded square roots, shifted down by a run-time amount.',
    inputs: ['x', 'shift'],
    tflite: { 'custom:SignalFilterBankSquareRoot': () => ({}) },
    lower: ({ x, shift }, _a, b) => squareRoots(b, x, shift),
  }),
  op<'x', Subtraction>('signal_filter_bank_spectral_subtraction', {
    doc: 'TFLite Micro: channels less a slowly following noise estimate, which is state and the second result.',
    inputs: ['x'],
    tflite: {
      'custom:SignalFilterBankSpectralSubtraction': (n) => ({
        smoothing: pair(n, 'smoothing', 'alternate_smoothing'),
        rest: pair(n, 'one_minus_smoothing', 'alternate_one_minus_smoothing'),
        clamping: n.bool('clamping', false),
        least: n.int('min_signal_remaining'),
        smoothingBits: n.int('smoothing_bits'),
        bits: n.int('spectral_subtraction_bits'),
      }),
    },
    lower: ({ x }, a, b, ctx) => subtractNoise(b, ctx, x, a),
  }),
  op<'x' | 'noise' | 'table', { readonly shift: number }>('signal_pcan', {
    doc: 'TFLite Micro: gain control by the noise estimate.',
    inputs: ['x', 'noise', 'table'],
    tflite: { 'custom:SignalPCAN': (n) => ({ shift: n.int('snr_shift') }) },
    lower: ({ x, noise, table }, { shift }, b) => controlGain(b, x, noise, table, shift),
  }),
  op<'x', { readonly correction: number; readonly scale: number }>('signal_filter_bank_log', {
    doc: 'TFLite Micro: natural logarithms as scaled 16-bit integers.',
    inputs: ['x'],
    tflite: {
      'custom:SignalFilterBankLog': (n) => ({
        correction: n.int('input_correction_bits'),
        scale: n.int('output_scale'),
      }),
    },
    lower: ({ x }, { correction, scale }, b) => logarithms(b, x, correction, scale),
  }),
];
