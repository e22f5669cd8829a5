// TensorFlow's audio features as TFLite custom operators: AudioSpectrogram and Mfcc. Everything is computed in double
// precision and rounded once at the end, as the reference does: a logarithm of a quiet frame shows any less.
// The transform is real-fft.ts.

import type { Builder } from '../../ir/builder.js';
import { add, type Dim, floordiv, isConst, max, sub } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { fromNumbers, toNumbers } from '../../support/tensor.js';
import { forwardFft } from './real-fft.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

interface Spectrogram {
  readonly window: number;
  readonly stride: number;
  readonly squared: boolean;
}

/** x [samples, channels] → [channels, frames, bins], under a periodic Hann window padded to a power of two. */
function spectrogram(b: Builder, x: Value, { window, stride, squared }: Spectrogram, ctx: LowerContext): Value {
  if (window < 3 || stride < 1) return ctx.limit(`a window of ${window} samples every ${stride}`);
  const length = 2 ** Math.ceil(Math.log2(window));
  const [samples, channels] = x.type.shape as readonly [Dim, Dim];
  const frames = max(0, add(floordiv(sub(samples, window), stride), 1));
  const hann = Array.from({ length: window }, (_, j) => 0.5 - 0.5 * Math.cos((2 * Math.PI * j) / window));
  const rows = [channels, frames];
  const sample = (k: KernelBuilder, [channel, frame]: readonly Expr[], i: Expr): Expr => {
    const value = k.mut(e.const(0, 'f64'));
    k.if(e.lt(i, window), () => {
      const [input, weights] = k.inputs as [Buf, Buf];
      const real = cast(k.load(input, [e.add(e.mul(frame as Expr, stride), i), channel as Expr]), 'f64');
      k.set(value, e.mul(real, k.load(weights, [i])));
    });
    return value;
  };
  const inputs = [x, b.constant(fromNumbers('f64', [window], hann))];
  return forwardFft({ b, type: 'f64', length, inputs, rows }, sample, (k) => {
    const y = k.output('f32', [...rows, length / 2 + 1]);
    return (row, bin, z) => {
      const power = cast(e.add(e.mul(z.re, z.re), e.mul(z.im, z.im)), 'f32');
      k.store(y, [...row, bin], squared ? power : e.sqrt(power));
    };
  });
}

interface Mfcc {
  readonly lower: number;
  readonly upper: number;
  readonly channels: number;
  readonly coefficients: number;
}

const mel = (frequency: number): number => 1127 * Math.log1p(frequency / 700);

/** One bin's share in a band: `weight` of it, or what the band above it leaves. */
interface Share {
  readonly bin: number;
  readonly weight: number;
  readonly rest: boolean;
}

/** Triangular bands on the mel scale, as the bins each is made of, in order. */
function melBands(
  { lower, upper, channels }: Mfcc,
  bins: number,
  rate: number,
  ctx: LowerContext,
): readonly (readonly Share[])[] {
  const spacing = (mel(upper) - mel(lower)) / (channels + 1);
  const centres = Array.from({ length: channels + 1 }, (_, i) => mel(lower) + spacing * (i + 1));
  const width = (0.5 * rate) / (bins - 1);
  const start = Math.trunc(1.5 + lower / width);
  const end = Math.trunc(upper / width);
  if (bins <= end) ctx.limit(`${bins} bins do not reach ${upper} Hz at a rate of ${rate} Hz`);
  const bands = Array.from({ length: channels }, (): Share[] => []);
  let above = 0;
  for (let bin = start; bin <= end; bin++) {
    const m = mel(bin * width);
    while (above < channels && (centres[above] as number) < m) above += 1;
    const low = above === 0 ? mel(lower) : (centres[above - 1] as number);
    const high = centres[above] as number;
    const weight = (high - m) / (high - low);
    bands[above - 1]?.push({ bin, weight, rest: false });
    bands[above]?.push({ bin, weight, rest: true });
  }
  return bands;
}

/** Magnitudes summed into bands, logarithms, cosine transform. */
function mfcc(b: Builder, x: Value, a: Mfcc, ctx: LowerContext): Value {
  const rate = ctx.reader.constant(1) ?? ctx.limit('a sample rate that is not constant');
  const [channels, frames, bins] = x.type.shape as readonly [Dim, Dim, Dim];
  if (!isConst(bins)) return ctx.limit('a spectrum of a size that is not fixed');
  const logs = bandLogarithms(b, x, melBands(a, bins, toNumbers(rate)[0] ?? 0, ctx));
  const angle = (i: number, j: number): number => ((i * Math.PI) / a.channels) * (j + 0.5);
  const cosines = Array.from({ length: a.coefficients * a.channels }, (_, n) => {
    const [i, j] = [Math.floor(n / a.channels), n % a.channels];
    return Math.sqrt(2 / a.channels) * Math.cos(angle(i, j));
  });
  const table = b.constant(fromNumbers('f64', [a.coefficients, a.channels], cosines));
  const sums = b.generic({
    shape: [channels, frames, a.coefficients],
    reduce: [a.channels],
    reducer: 'add',
    body: ([c, f, i], [j], read) =>
      e.mul(read(table, [i as Expr, j as Expr]), read(logs, [c as Expr, f as Expr, j as Expr])),
  });
  return b.cast(sums, 'f32');
}

/** ln of each band's summed magnitudes, at least 1e-12. A loop program: bands differ in width. */
function bandLogarithms(b: Builder, x: Value, bands: readonly (readonly Share[])[]): Value {
  const shares = bands.flat();
  const count = Math.max(1, shares.length);
  const column = (dtype: 'i32' | 'f64', f: (s: Share) => number): Value =>
    b.constant(fromNumbers(dtype, [count], shares.length > 0 ? shares.map(f) : [0]));
  const ends = bands.map((_, k) => bands.slice(0, k + 1).reduce((n, s) => n + s.length, 0));
  const inputs = [
    x,
    column('i32', (s) => s.bin),
    column('f64', (s) => s.weight),
    column('i32', (s) => Number(s.rest)),
    b.constant(fromNumbers('i32', [bands.length + 1], [0, ...ends])),
  ];
  const rows = x.type.shape.slice(0, 2);
  return buildKernel(b, 'mel_bands', inputs, (k) => {
    const [spectrum, bin, weight, rest, start] = k.inputs as [Buf, Buf, Buf, Buf, Buf];
    const y = k.output('f64', [...rows, bands.length]);
    k.forEach([...rows, bands.length], ([c, f, band]) => {
      const sum = k.mut(e.const(0, 'f64'));
      k.for(k.load(start, [band as Expr]), k.load(start, [e.add(band as Expr, 1)]), (n) => {
        const power = k.load(spectrum, [c as Expr, f as Expr, k.load(bin, [n])]);
        const size = k.let(e.sqrt(cast(power, 'f64')));
        const part = k.let(e.mul(size, k.load(weight, [n])));
        k.set(sum, e.add(sum, e.select(e.eq(k.load(rest, [n]), 1), e.sub(size, part), part)));
      });
      k.store(y, [c as Expr, f as Expr, band as Expr], e.log(e.max(sum, 1e-12)));
    });
  })[0] as Value;
}

export const records: readonly AnyRecord[] = [
  op<'x', Spectrogram>('audio_spectrogram', {
    doc: 'Short-time spectra of audio channels: powers, or magnitudes.',
    inputs: ['x'],
    tflite: {
      'custom:AudioSpectrogram': (n) => ({
        window: n.int('window_size', 0),
        stride: n.int('stride', 0),
        squared: n.bool('magnitude_squared', false),
      }),
    },
    lower: ({ x }, a, b, ctx) => spectrogram(b, x, a, ctx),
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
  op<'x' | 'rate', Mfcc>('mfcc', {
    doc: 'Mel-frequency cepstral coefficients of power spectra.',
    inputs: ['x', 'rate'],
    tflite: {
      // The reference reads all four as whole numbers; a float is cut off.
      'custom:Mfcc': (n) => ({
        lower: Math.trunc(n.float('lower_frequency_limit', 0)),
        upper: Math.trunc(n.float('upper_frequency_limit', 0)),
        channels: Math.trunc(n.float('filterbank_channel_count', 0)),
        coefficients: Math.trunc(n.float('dct_coefficient_count', 0)),
      }),
    },
    lower: ({ x }, a, b, ctx) => mfcc(b, x, a, ctx),
    limits: ['The sample rate must be constant.'],
    tolerance: { rtol: 1e-3, atol: 1e-4 },
  }),
];
