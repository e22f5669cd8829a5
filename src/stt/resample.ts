// Changes a signal's sample rate with a windowed sinc, as a bank of filters: one for each position an output sample can
// have between two input samples. Frequencies above half the lower rate are removed first, by the same filter.
// J. O. Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/

/** Zero crossings of the sinc on each side: the longer, the sharper the cut. */
const CROSSINGS = 32;
/** Where the cut lies, as a share of half the lower rate: the window's slope ends there. */
const ROLLOFF = 0.94;
/** Kaiser's shape parameter: side lobes about 90 dB down. */
const BETA = 9;

/** `from` and `to` in Hz, whole numbers. The signal counts as zero before and after its ends. */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to || samples.length === 0) return samples;
  const shared = greatestDivisor(from, to);
  const [down, up] = [from / shared, to / shared];
  const cut = Math.min(1, to / from) * ROLLOFF;
  const half = Math.ceil(CROSSINGS / cut);
  const filters = new Map<number, Float32Array>();
  const out = new Float32Array(Math.ceil((samples.length * up) / down));
  for (let n = 0; n < out.length; n++) {
    const position = n * down;
    const phase = position % up;
    const filter = filters.get(phase) ?? makeFilter(phase / up, half, cut);
    filters.set(phase, filter);
    out[n] = convolveAt(samples, Math.floor(position / up) - half + 1, filter);
  }
  return out;
}

function convolveAt(samples: Float32Array, start: number, filter: Float32Array): number {
  const last = Math.min(filter.length, samples.length - start);
  let sum = 0;
  for (let k = Math.max(0, -start); k < last; k++) sum += (samples[start + k] as number) * (filter[k] as number);
  return sum;
}

/** Weights of the 2·half input samples around a point `fraction` of a sample after the middle one; they sum to 1. */
function makeFilter(fraction: number, half: number, cut: number): Float32Array {
  const filter = Float32Array.from({ length: 2 * half }, (_, k) => {
    const t = k - (half - 1) - fraction;
    return sinc(t * cut) * kaiser(t / half);
  });
  const sum = filter.reduce((a, b) => a + b, 0);
  return filter.map((w) => w / sum);
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Zero at -1 and beyond, one at 0, up to a constant factor. */
const kaiser = (x: number): number => (Math.abs(x) >= 1 ? 0 : bessel0(BETA * Math.sqrt(1 - x * x)));

/** Modified Bessel function of order 0, by its power series. */
function bessel0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
