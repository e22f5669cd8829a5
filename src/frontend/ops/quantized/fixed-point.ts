// Fixed-point arithmetic of the TFLite reference kernels on plain numbers, exact: what scales become at import and what
// lookup tables are filled with. fixed-point-expr.ts says the same as expressions for the data; a test holds them equal.
// A real factor m is held as q·2^(shift-31) with q in [2^30, 2^31). "Double" rounding rounds twice (high product, then shift).

/** How the reference kernels were built: two roundings (the default build) or one (TFLITE_SINGLE_ROUNDING). */
export type Rounding = 'double' | 'single';

export interface Multiplier {
  readonly q: number;
  readonly shift: number;
}

const INT32_MAX = 2 ** 31 - 1;
const INT32_MIN = -(2 ** 31);

/** Half away from zero, as C's round. */
export const roundAway = (x: number): number => (x < 0 ? -Math.floor(-x + 0.5) : Math.floor(x + 0.5));

/** m = fraction·2^exponent with the fraction in [0.5, 1); exact. */
export function frexp(m: number): { readonly fraction: number; readonly exponent: number } {
  if (m === 0 || !Number.isFinite(m)) return { fraction: m, exponent: 0 };
  let exponent = Math.max(-1022, Math.floor(Math.log2(Math.abs(m))) + 1);
  let fraction = m / 2 ** exponent;
  while (Math.abs(fraction) < 0.5) {
    fraction *= 2;
    exponent -= 1;
  }
  while (Math.abs(fraction) >= 1) {
    fraction /= 2;
    exponent += 1;
  }
  return { fraction, exponent };
}

/** The multiplier nearest to m ≥ 0. Factors below 2^-32 become zero. */
export function quantizeMultiplier(m: number, rounding: Rounding = 'double'): Multiplier {
  if (m === 0) return { q: 0, shift: 0 };
  const { fraction, exponent } = frexp(m);
  const rounded = roundAway(fraction * 2 ** 31);
  const carried = rounded === 2 ** 31;
  const shift = carried ? exponent + 1 : exponent;
  if (shift < -31) return { q: 0, shift: 0 };
  if (rounding === 'single' && shift > 30) return { q: INT32_MAX, shift: 30 };
  return { q: carried ? 2 ** 30 : rounded, shift };
}

/** a·b as high·2^31 + low with 0 ≤ low < 2^31, for 0 ≤ b < 2^31: by halves of b, as doubles hold 53 bits. */
function product(a: number, b: number): { readonly high: number; readonly low: number } {
  const lower = a * (b & 0xffff);
  const upper = a * (b >>> 16) + Math.floor(lower / 2 ** 16);
  const high = Math.floor(upper / 2 ** 15);
  return { high, low: (upper - high * 2 ** 15) * 2 ** 16 + (lower - Math.floor(lower / 2 ** 16) * 2 ** 16) };
}

/** High half of the doubled product, half up: (a·b + 2^30) >> 31, saturated. */
export function mulHigh(a: number, b: number): number {
  if (a === INT32_MIN && b === INT32_MIN) return INT32_MAX;
  if (b < 0) return a < 0 ? mulHigh(-a, -b) : mulHigh(b, a);
  const { high, low } = product(a, b);
  return (high + (low >= 2 ** 30 ? 1 : 0)) | 0;
}

/** x / 2^exponent, half away from zero. */
export function shiftRight(x: number, exponent: number): number {
  if (exponent === 0) return x;
  const remainder = x - Math.floor(x / 2 ** exponent) * 2 ** exponent;
  const threshold = 2 ** (exponent - 1) - 1 + (x < 0 ? 1 : 0);
  return Math.floor(x / 2 ** exponent) + (remainder > threshold ? 1 : 0);
}

/** x·2^exponent, saturated to 32 bits; rounded where the exponent is negative. */
export function shiftSaturated(x: number, exponent: number): number {
  if (exponent < 0) return shiftRight(x, -exponent);
  return Math.min(INT32_MAX, Math.max(INT32_MIN, x * 2 ** exponent));
}

/** x times a multiplier, as the 32-bit kernels compute it (overflow of the left shift wraps). */
export const scaled = (x: number, m: Multiplier, rounding: Rounding): number => scalerOf(m, rounding)(x);

/** `scaled` by one multiplier, for many values. */
export function scalerOf({ q, shift }: Multiplier, rounding: Rounding): (x: number) => number {
  if (rounding === 'single') return (x) => scaledOnce(x, q, 31 - shift);
  const left = 2 ** Math.max(0, shift);
  const unit = 2 ** Math.max(0, -shift);
  const [half, inverse] = [unit / 2, 1 / unit];
  const [upper, lower] = [q >>> 16, q & 0xffff];
  return (x) => {
    const a = (x * left) | 0;
    const high = Math.floor((a * upper + Math.floor((a * lower + TWO_30) / 65536)) / 32768); // as mulHigh
    return unit === 1 ? high : Math.floor((high + half - (high < 0 ? 1 : 0)) * inverse); // as shiftRight
  };
}

const TWO_30 = 2 ** 30;

/** (x·q + 2^(total-1)) >> total. */
function scaledOnce(x: number, q: number, total: number): number {
  const { high, low } = product(x, q);
  const whole =
    total > 31
      ? Math.floor((high + 2 ** (total - 32)) / 2 ** (total - 31))
      : ((high * 2 ** (31 - total)) | 0) + Math.floor((low + 2 ** (total - 1)) / 2 ** total);
  return whole | 0;
}

/** The 15-bit form in which 64-bit accumulators are scaled. */
export const reducedMultiplier = ({ q, shift }: Multiplier): Multiplier => ({
  q: q < 0x7fff0000 ? (q + 2 ** 15) >> 16 : 0x7fff,
  shift,
});

/** exp of x ≤ 0 in Q5.26, as Q0.31: a quarter-interval polynomial times one constant per set bit. */
export function expOfNegative(x: number): number {
  if (x === 0) return INT32_MAX;
  const quarter = 2 ** 24;
  const inInterval = (x & (quarter - 1)) - quarter;
  const remainder = inInterval - x;
  let result = expInInterval(shiftSaturated(inInterval, 5));
  EXP_OF_POWERS.forEach((factor, k) => {
    if (remainder & (quarter * 2 ** k)) result = mulHigh(result, factor);
  });
  return result;
}

/** exp(-2^k) for k = -2 … 4 in Q0.31. */
export const EXP_OF_POWERS = [1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242];

/** exp on [-1/4, 0) in Q0.31, a Taylor polynomial around -1/8. */
function expInInterval(a: number): number {
  const atEighth = 1895147668;
  const third = 715827883;
  const x = a + 2 ** 28;
  const x2 = mulHigh(x, x);
  const x3 = mulHigh(x2, x);
  const x4 = mulHigh(x2, x2);
  const cubic = mulHigh(shiftRight(x4, 2) + x3, third);
  return atEighth + mulHigh(atEighth, x + shiftRight(cubic + x2, 1));
}

/** 1/(1+x) for x in [0, 1], both Q0.31: three Newton steps. */
export function reciprocalOfOnePlus(a: number): number {
  const half = Math.floor((a + INT32_MAX + 1) / 2);
  let x = 1515870810 + mulHigh(half, -1010580540);
  for (let step = 0; step < 3; step++) {
    const error = 2 ** 29 - mulHigh(half, x);
    x += shiftSaturated(mulHigh(x, error), 2);
  }
  return shiftSaturated(x, 1);
}

/** 1/x for an integer x > 0 seen as Q(digits): a Q0.31 factor and the number of bits x stands above one. */
export function reciprocal(x: number, digits: number): { readonly scale: number; readonly bitsOverUnit: number } {
  const headroom = Math.clz32(x);
  const fraction = x * 2 ** headroom - 2 ** 31;
  return { scale: reciprocalOfOnePlus(fraction), bitsOverUnit: digits - headroom };
}

/** 1/√x of an integer as a multiplier for positive results; `shift` counts right shifts. */
export function inverseSquareRoot(x: number): { readonly q: number; readonly rightShift: number } {
  if (x <= 1) return { q: INT32_MAX, rightShift: 0 };
  let rightShift = 11;
  let value = x;
  while (value >= 2 ** 29) {
    value = Math.floor(value / 4);
    rightShift += 1;
  }
  const pairs = Math.floor((Math.clz32(value) - 1) / 2) - 1;
  rightShift -= pairs;
  value *= 4 ** pairs;
  const q = mulHigh(inverseSquareRootQ3(value >> 1), 1518500250);
  return rightShift < 0 ? { q: q << -rightShift, rightShift: 0 } : { q, rightShift };
}

/** Five Newton steps for 1/√x from 1, in Q3.28. */
function inverseSquareRootQ3(input: number): number {
  const half = shiftRight(input, 1);
  const threeHalves = 2 ** 28 + 2 ** 27;
  let x = 2 ** 28;
  for (let step = 0; step < 5; step++) {
    const cube = shiftSaturated(mulHigh(mulHigh(x, x), x), 6);
    x = shiftSaturated(mulHigh(threeHalves, x) - mulHigh(half, cube), 3);
  }
  return x;
}
