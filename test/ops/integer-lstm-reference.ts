// One layer of LiteRT's integer LSTM in plain numbers, element by element: what the operator is compared with. It shares no
// code with the compiler. Arrays are row-major; gates are in the order input, forget, cell, output.

export type Rounding = 'double' | 'single';

export interface IntegerLayer {
  readonly time: number;
  readonly batch: number;
  readonly sizes: { readonly input: number; readonly cell: number; readonly output: number };
  readonly timeMajor: boolean;
  readonly rounding: Rounding;
  readonly x: { readonly values: readonly number[]; readonly scale: number; readonly zero: number };
  /** By gate; the first is null where gates are coupled. */
  readonly weights: readonly (Matrix | null)[];
  readonly recurrent: readonly (Matrix | null)[];
  /** Input, forget, output. */
  readonly peephole: readonly (Matrix | null)[] | null;
  readonly bias: readonly (readonly number[] | null)[];
  readonly norm: readonly (Matrix | null)[] | null;
  readonly projection: { readonly weights: Matrix; readonly bias: readonly number[] | null } | null;
  /** Scales of the gates' sums where they are normalised. */
  readonly sums: readonly number[];
  readonly hidden: { readonly scale: number; readonly zero: number };
  readonly h: { readonly values: readonly number[]; readonly scale: number; readonly zero: number };
  /** The cell state is a multiple of 2^power. */
  readonly c: { readonly values: readonly number[]; readonly power: number };
  readonly cellClip: number;
  readonly projClip: number;
}

export interface Matrix {
  readonly values: readonly number[];
  readonly scale: number;
}

const { fround } = Math;
const clamp = (v: number, lo: number, hi: number): number => Math.min(hi, Math.max(lo, v));
const clamp16 = (v: number): number => clamp(v, -32768, 32767);
const clamp8 = (v: number): number => clamp(v, -128, 127);
const at = (list: readonly number[], i: number): number => list[i] as number;

/** n / 2^k, half away from zero. */
function divideByPower(n: bigint, k: number): bigint {
  if (k === 0) return n;
  const half = 1n << BigInt(k - 1);
  return n < 0n ? -((-n + half) >> BigInt(k)) : (n + half) >> BigInt(k);
}

/** A 31-bit factor q and an exponent with real ≈ q·2^(exponent−31). */
function decompose(real: number): { readonly q: bigint; readonly exponent: number } {
  let exponent = 0;
  let fraction = real;
  if (real === 0) return { q: 0n, exponent: 0 };
  for (; fraction >= 1; fraction /= 2) exponent += 1;
  for (; fraction < 0.5; fraction *= 2) exponent -= 1;
  const q = BigInt(Math.floor(fraction * 2 ** 31 + 0.5));
  return q === 1n << 31n ? { q: q / 2n, exponent: exponent + 1 } : { q, exponent };
}

function times(n: number, q: bigint, exponent: number, rounding: Rounding): number {
  if (rounding === 'single') {
    const shift = BigInt(31 - exponent);
    return Number((BigInt(n) * q + (1n << (shift - 1n))) >> shift);
  }
  const shifted = BigInt.asIntN(32, BigInt(n) << BigInt(Math.max(0, exponent)));
  return Number(divideByPower((shifted * q + (1n << 30n)) >> 31n, Math.max(0, -exponent)));
}

export function scaleBy(n: number, real: number, rounding: Rounding, more = 0): number {
  const { q, exponent } = decompose(real);
  return times(n, q, exponent + more, rounding);
}

/** A wide sum by a factor that loses its low 16 bits first. */
export function scaleWide(n: number, real: number): number {
  const { q, exponent } = decompose(real);
  const factor = q < 0x7fff0000n ? (q + 32768n) >> 16n : 0x7fffn;
  const shift = BigInt(15 - exponent);
  return Number((BigInt(n) * factor + (1n << (shift - 1n))) >> shift);
}

/** Product of two Q0.15 numbers. */
const high16 = (a: number, b: number): number => Math.floor((a * b + 16384) / 32768);
const halve = (v: number, k: number): number => Number(divideByPower(BigInt(v), k));

/** exp(a·2^(bits−15)) in Q0.15 for a ≤ 0. */
export function exp16(a: number, bits: number): number {
  if (a === 0) return 32767;
  if (bits > 5 && a < -32 * 2 ** (15 - bits)) return 0;
  const quarter = 2 ** (13 - bits);
  const rest = a - Math.floor(a / quarter) * quarter - quarter;
  const t = rest * 2 ** bits + 4096;
  const t2 = high16(t, t);
  const t3 = high16(t2, t);
  const t4 = high16(t2, t2);
  const tail = halve(high16(halve(t4, 2) + t3, 10923) + t2, 1);
  let result = Math.min(32767, 28918 + high16(28918, t + tail));
  const quarters = (rest - a) / quarter;
  [25520, 19875, 12055, 4435, 600, 11, 0].slice(0, bits + 2).forEach((factor, k) => {
    if (Math.floor(quarters / 2 ** k) % 2 === 1) result = high16(result, factor);
  });
  return result;
}

/** 2/(1+a) with 13 fractional bits. */
function quotient(a: number): number {
  const half = Math.floor((a + 32768) / 2);
  let x = 23130 + high16(half, -15420);
  for (let k = 0; k < 3; k++) x += 4 * high16(x, 8192 - high16(half, x));
  return x;
}

export function logistic16(v: number, bits: number): number {
  if (v === 0) return 16384;
  const upper = Math.min(32767, 2 * quotient(exp16(-Math.abs(v), bits)));
  return v > 0 ? upper : 32767 - upper;
}

export function tanh16(v: number, bits: number): number {
  if (v === 0) return 0;
  const size = Math.min(32767, 4 * (quotient(exp16(-Math.abs(v), bits + 1)) - 8192));
  return v > 0 ? size : 0 - size;
}

/** 1/√n as a 31-bit factor and a right shift. */
export function inverseRoot(n: number): { readonly q: number; readonly right: number } {
  if (n <= 1) return { q: 2 ** 31 - 1, right: 0 };
  let value = n;
  let right = 11;
  for (; value >= 2 ** 29; value = Math.floor(value / 4)) right += 1;
  for (; value < 2 ** 27; value *= 4) right -= 1;
  const mul = (a: number, b: number): number => Number((BigInt(a) * BigInt(b) + (1n << 30n)) >> 31n);
  const up = (v: number, k: number): number => clamp(v * 2 ** k, -(2 ** 31), 2 ** 31 - 1);
  const input = Math.floor(value / 2);
  const half = halve(input, 1);
  let x = 2 ** 28;
  for (let k = 0; k < 5; k++) x = up(mul(3 * 2 ** 27, x) - mul(half, up(mul(mul(x, x), x), 6)), 3);
  const q = mul(x, 1518500250);
  return right < 0 ? { q: q * 2 ** -right, right: 0 } : { q, right };
}

/** Layer normalisation of one row of gate sums. */
export function normalize(
  row: readonly number[],
  norm: Matrix,
  bias: readonly number[],
  rounding: Rounding,
): readonly number[] {
  const n = row.length;
  const sum = row.reduce((p, v) => p + v, 0);
  const squares = row.reduce((p, v) => p + BigInt(v * v), 0n);
  const mean = Math.trunc((sum * 1024) / n);
  const variance = squares * BigInt(Math.floor(2 ** 20 / n)) - BigInt(mean) * BigInt(mean);
  const whole = Number(variance / (1n << 20n));
  const used = whole < 1 ? Math.max(1, Math.trunc(fround(10000 * norm.scale))) : whole;
  const { q, right } = inverseRoot(used);
  return row.map((v, j) => {
    const unit = times(v * 1024 - mean, BigInt(q), -right, rounding);
    const sum = unit * at(norm.values, j) + at(bias, j);
    const rounded = Math.trunc((sum > 0 ? sum + 512 : sum - 512) / 1024);
    return clamp16(scaleBy(rounded, norm.scale, rounding, 12));
  });
}

const product = (m: Matrix, row: number, v: readonly number[], zero: number): number =>
  v.reduce((p, value, k) => p + (value - zero) * at(m.values, row * v.length + k), 0);

/** Outputs in the order of the input, and the last states. */
export function runIntegerLayer(layer: IntegerLayer) {
  const { time, batch, sizes, timeMajor } = layer;
  const outputs: number[] = [];
  const h = [...layer.h.values];
  const c = [...layer.c.values];
  const group = timeMajor ? batch : 1;
  for (let first = 0; first < batch; first += group)
    for (let t = 0; t < time; t++) {
      const position = (n: number): number => (timeMajor ? t * batch + n : n * time + t);
      const rows = Array.from({ length: group }, (_, k) => {
        const from = position(first + k) * sizes.input;
        return layer.x.values.slice(from, from + sizes.input);
      });
      const part = (list: number[], size: number): number[][] =>
        rows.map((_, k) => list.slice((first + k) * size, (first + k + 1) * size));
      const next = stepBatches(layer, rows, part(h, sizes.output), part(c, sizes.cell));
      rows.forEach((_, k) => {
        const n = first + k;
        h.splice(n * sizes.output, sizes.output, ...(next.h[k] as number[]));
        c.splice(n * sizes.cell, sizes.cell, ...(next.c[k] as number[]));
        (next.h[k] as number[]).forEach((v, j) => {
          outputs[position(n) * sizes.output + j] = v;
        });
      });
    }
  return { outputs, h, c };
}

function stepBatches(
  layer: IntegerLayer,
  x: readonly (readonly number[])[],
  h: readonly (readonly number[])[],
  c: readonly (readonly number[])[],
): { readonly h: number[][]; readonly c: number[][] } {
  const { sizes, rounding } = layer;
  const gate = (g: number, memory: readonly (readonly number[])[]): number[][] => {
    const [w, r] = [layer.weights[g] as Matrix, layer.recurrent[g] as Matrix];
    const to = layer.norm ? at(layer.sums, g) : 2 ** -12;
    const bias = layer.bias[g] as readonly number[];
    const sums = x.map((row, n) =>
      Array.from({ length: sizes.cell }, (_, j) => {
        const own = product(w, j, row, layer.x.zero) + (layer.norm ? 0 : at(bias, j));
        const first = clamp16(scaleBy(own, fround(fround(w.scale * layer.x.scale) / to), rounding));
        const back = product(r, j, h[n] as number[], layer.h.zero);
        return clamp16(scaleBy(back, fround(fround(r.scale * layer.h.scale) / to), rounding) + first);
      }),
    );
    const peephole = g === 2 ? null : layer.peephole?.[g === 3 ? 2 : g];
    const seen = peephole ? look(layer, sums, memory, peephole, to) : sums;
    const normed = layer.norm ? seen.map((row) => normalize(row, layer.norm?.[g] as Matrix, bias, rounding)) : seen;
    return normed.map((row) => row.map((v) => (g === 2 ? tanh16(v, 3) : logistic16(v, 3))));
  };
  const forget = gate(1, c);
  const admit = layer.weights[0] ? gate(0, c) : forget.map((row) => row.map((f) => 32767 - f));
  const candidate = gate(2, c);
  const step = 2 ** layer.c.power;
  const clip = layer.cellClip > 0 ? Math.trunc(Math.min(32767, fround(fround(layer.cellClip) / step))) : 0;
  const cells = c.map((row, n) =>
    row.map((v, j) => {
      const [f, i, g] = [forget, admit, candidate].map((rows) => (rows[n] as number[])[j]) as [number, number, number];
      const sum = clamp16(halve(f * v, 15) + halve(i * g, 30 + layer.c.power));
      return clip > 0 ? clamp(sum, -clip, clip) : sum;
    }),
  );
  const open = gate(3, cells);
  return { c: cells, h: cells.map((row, n) => emit(layer, row, open[n] as number[])) };
}

/** The kernel runs over as many elements as there are outputs, not cells, with weights that repeat at that distance. */
function look(
  { sizes, c, rounding }: IntegerLayer,
  sums: readonly (readonly number[])[],
  memory: readonly (readonly number[])[],
  weights: Matrix,
  to: number,
): number[][] {
  const flat = sums.flat();
  const cells = memory.flat();
  const real = fround((2 ** c.power * weights.scale) / to);
  for (let k = 0; k < sums.length * sizes.output; k++)
    flat[k] = clamp16(scaleBy(at(weights.values, k % sizes.output) * at(cells, k), real, rounding) + at(flat, k));
  return sums.map((_, n) => flat.slice(n * sizes.cell, (n + 1) * sizes.cell));
}

function emit(layer: IntegerLayer, c: readonly number[], open: readonly number[]): number[] {
  const { hidden, projection, rounding, h } = layer;
  const real = fround((2 ** -15 / hidden.scale) * 2 ** -15);
  const out = (zero: number): number[] =>
    c.map((v, j) => clamp8(scaleBy(at(open, j) * tanh16(v, 15 + layer.c.power), real, rounding) + zero));
  if (!projection) return out(hidden.zero);
  const stored = out(-hidden.zero);
  const factor = fround(fround(projection.weights.scale * hidden.scale) / h.scale);
  const clip = layer.projClip > 0 ? Math.trunc(Math.min(127, fround(fround(layer.projClip) / h.scale))) : 0;
  return Array.from({ length: layer.sizes.output }, (_, j) => {
    const sum = product(projection.weights, j, stored, -hidden.zero) + (projection.bias?.[j] ?? 0);
    const y = clamp8(scaleBy(sum, factor, rounding) + h.zero);
    return clip > 0 ? clamp(y, -clip, clip) : y;
  });
}
