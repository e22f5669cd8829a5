// One step of LiteRT's older integer LSTM, of 8-bit gate sums, in plain numbers. It shares no code with the compiler.

import { type IntegerLayer, type Matrix, scaleBy, scaleWide } from './integer-lstm-reference.js';

export interface Affine {
  readonly scale: number;
  readonly zero: number;
}

export interface NarrowLayer extends Omit<IntegerLayer, 'time' | 'timeMajor' | 'hidden' | 'sums' | 'peephole'> {
  /** By gate, the first of them unused: both sums together, the input's, the last output's. */
  readonly own: readonly Affine[];
}

const { fround } = Math;
const within = (v: number, lo: number, hi: number): number => Math.min(hi, Math.max(lo, v));
const short = (v: number): number => within(v, -32768, 32767);
const divide = (v: number, k: number): number => Math.sign(v) * Math.floor(Math.abs(v) / 2 ** k + 0.5);
const toQ15 = (v: number): number => Math.min(32767, Math.trunc(fround(v) * 2 ** 15));

function gateSums(l: NarrowLayer, gate: number, x: readonly number[], h: readonly number[]): readonly number[] {
  const [both, own, last] = l.own.slice(3 * gate, 3 * gate + 3) as [Affine, Affine, Affine];
  const part = (m: Matrix, j: number, v: readonly number[], from: Affine, to: Affine): number => {
    const sum = v.reduce((p, q, k) => p + (q - from.zero) * (m.values[j * v.length + k] as number), 0);
    const real = fround(fround(m.scale * from.scale) / to.scale);
    const byte = within(scaleBy(sum, real, l.rounding) + to.zero, -128, 127);
    return scaleBy(byte - to.zero, fround(to.scale / both.scale), l.rounding);
  };
  return Array.from({ length: l.sizes.cell }, (_, j) => {
    const first = part(l.weights[gate] as Matrix, j, x, l.x, own);
    // The kernel loses the last output on its way to the output gate.
    return short(gate === 3 ? first : first + part(l.recurrent[gate] as Matrix, j, h, l.h, last));
  });
}

function normalize(l: NarrowLayer, gate: number, sums: readonly number[]): readonly number[] {
  const { values, scale } = (l.norm as (Matrix | null)[])[gate] as Matrix;
  const mean = fround(fround(sums.reduce((p, v) => fround(p + v), 0)) / sums.length);
  const squares = fround(sums.reduce((p, v) => fround(p + fround(v * v)), 0) / sums.length);
  const variance = fround(squares - fround(mean * mean));
  const inverse = variance === 0 ? 10000 : fround(1 / fround(Math.sqrt(variance)));
  return sums.map((v, j) => {
    const unit = fround(fround(v - mean) * inverse);
    const weighted = fround(fround(unit * (values[j] as number)) * scale);
    const sum = fround(weighted + fround((l.bias[gate]?.[j] as number) * fround(scale / 1024)));
    return short(divide(sum * 4096, 0));
  });
}

export function runNarrowLayer(l: NarrowLayer) {
  const { cell, input, output } = l.sizes;
  const h: number[] = [];
  const c: number[] = [];
  for (let n = 0; n < l.batch; n++) {
    const x = l.x.values.slice(n * input, (n + 1) * input);
    const last = l.h.values.slice(n * output, (n + 1) * output);
    const gate = (g: number): readonly number[] => normalize(l, g, gateSums(l, g, x, last)).map((v) => v / 4096);
    const forget = gate(1).map((v) => toQ15(1 / (1 + Math.exp(-v))));
    const candidate = gate(2).map((v) => toQ15(Math.tanh(v)));
    const open = gate(3).map((v) => toQ15(1 / (1 + Math.exp(-v))));
    const clip = l.cellClip > 0 && l.cellClip < 1 ? Math.trunc(l.cellClip * 2 ** 15) : 32768;
    const cells = forget.map((f, j) => {
      const kept = divide(f * (l.c.values[n * cell + j] as number), 15);
      return within(short(kept + divide((32767 - f) * (candidate[j] as number), 15)), -clip, clip);
    });
    const hidden = cells.map((v, j) => divide((open[j] as number) * toQ15(Math.tanh(v / 2 ** 15)), 15));
    c.push(...cells);
    h.push(...project(l, hidden));
  }
  return { h, c };
}

function project({ projection, sizes, h, projClip }: NarrowLayer, hidden: readonly number[]): readonly number[] {
  const { weights, bias } = projection as NonNullable<NarrowLayer['projection']>;
  const clip = projClip > 0 ? Math.trunc(Math.min(127, fround(fround(projClip) / h.scale))) : 128;
  return Array.from({ length: sizes.output }, (_, j) => {
    const sum = hidden.reduce((p, v, k) => p + v * (weights.values[j * sizes.cell + k] as number), bias?.[j] ?? 0);
    const stored = within(scaleWide(sum, fround((weights.scale * 2 ** -15) / h.scale)) + h.zero, -128, 127);
    return within(stored, -clip, clip);
  });
}
