// The forms of LiteRT's integer LSTM that are tested, and a layer of random weights for each. The seed is the form's title.

import type { IntegerLayer, Matrix, Rounding } from './integer-lstm-reference.js';

export interface Form {
  readonly title: string;
  readonly op?: 'LSTM' | 'UNIDIRECTIONAL_SEQUENCE_LSTM';
  readonly coupled?: boolean;
  readonly peephole?: boolean;
  readonly norm?: boolean;
  readonly projection?: 'plain' | 'bias';
  readonly cellClip?: number;
  readonly projClip?: number;
  readonly timeMajor?: boolean;
  readonly rounding?: Rounding;
  /** Cells and outputs; equal without a projection. */
  readonly sizes?: readonly [cell: number, output: number];
  readonly power?: number;
  /** Gate sums that hardly differ, so that the least variance counts. */
  readonly flat?: boolean;
}

const INPUT = 5;
const BATCH = 2;

/** Whole numbers between two bounds. */
export function createRandom(title: string): (lo: number, hi: number) => number {
  let state = [...title].reduce((s, c) => (Math.imul(s, 31) + c.charCodeAt(0)) >>> 0, 7);
  return (lo, hi) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return lo + (Math.floor((state / 2 ** 32) * 1e6) % (hi - lo + 1));
  };
}

export type Calls = readonly (readonly number[])[];

export function makeLayer(form: Form): { readonly layer: IntegerLayer; readonly calls: Calls } {
  const random = createRandom(form.title);
  const list = (n: number, lo: number, hi: number): number[] => Array.from({ length: n }, () => random(lo, hi));
  const [cell, output] = form.sizes ?? (form.projection ? [7, 3] : [6, 6]);
  const time = form.op === 'LSTM' ? 1 : 4;
  const power = form.power ?? -12;
  const matrix = (n: number, most: number, scale: number): Matrix => ({
    values: list(n, -most, most),
    scale: Math.fround(scale),
  });
  const gates = (make: (g: number) => Matrix): (Matrix | null)[] =>
    [0, 1, 2, 3].map((g) => (g === 0 && form.coupled ? null : make(g)));
  const most = form.flat ? 1 : 127;
  const size = time * BATCH * INPUT;
  const layer: IntegerLayer = {
    time,
    batch: BATCH,
    sizes: { input: INPUT, cell, output },
    timeMajor: form.op === 'LSTM' || (form.timeMajor ?? false),
    rounding: form.rounding ?? 'double',
    x: { values: list(size, -128, 127), scale: Math.fround(0.031), zero: -9 },
    weights: gates((g) => matrix(cell * INPUT, most, 0.011 + g / 700)),
    recurrent: gates((g) => matrix(cell * output, most, 0.013 + g / 900)),
    peephole: form.peephole
      ? [0, 1, 2].map((k) => (k === 0 && form.coupled ? null : matrix(cell, 32767, 2.1e-5 + k / 1e6)))
      : null,
    bias: [0, 1, 2, 3].map((g) => (g === 0 && form.coupled ? null : list(cell, -900, 900).map((v) => v * 3))),
    norm: form.norm ? gates((g) => matrix(cell, 32767, 4.1e-5 + g / 1e6)) : null,
    projection: form.projection
      ? {
          weights: matrix(output * cell, 127, 0.009),
          bias: form.projection === 'bias' ? list(output, -2000, 2000) : null,
        }
      : null,
    sums: [0.0009, 0.0011, 0.0013, 0.0017].map(Math.fround),
    hidden: { scale: Math.fround(0.0063), zero: form.projection ? 11 : -5 },
    h: {
      values: Array(BATCH * output).fill(form.projection ? 4 : -5),
      scale: Math.fround(0.0071),
      zero: form.projection ? 4 : -5,
    },
    c: { values: Array(BATCH * cell).fill(0), power },
    cellClip: form.cellClip ?? 0,
    projClip: form.projClip ?? 0,
  };
  return { layer, calls: [list(size, -128, 127)] };
}

const LSTM = { op: 'LSTM' } as const;
const ALL = { peephole: true, norm: true, projection: 'bias', cellClip: 1.5, projClip: 0.5 } as const;
export const FORMS: readonly Form[] = [
  { title: 'one step of the basic form', ...LSTM },
  { title: 'one step with coupled gates', ...LSTM, coupled: true },
  { title: 'one step with everything', ...LSTM, ...ALL },
  { title: 'one step with everything and coupled gates', ...LSTM, ...ALL, coupled: true },
  { title: 'coupled gates', coupled: true },
  { title: 'coupled gates, time first', coupled: true, timeMajor: true },
  { title: 'peepholes', peephole: true },
  { title: 'peepholes and coupled gates', peephole: true, coupled: true },
  { title: 'peepholes and fewer outputs than cells', peephole: true, projection: 'plain' },
  { title: 'peepholes and fewer outputs than cells, time first', peephole: true, projection: 'plain', timeMajor: true },
  { title: 'a projection', projection: 'plain' },
  { title: 'a projection with bias', projection: 'bias', timeMajor: true },
  { title: 'a projection as wide as the cell, with peepholes', projection: 'bias', peephole: true, sizes: [4, 4] },
  { title: 'a clipped projection', projection: 'bias', projClip: 0.3 },
  { title: 'layer normalisation', norm: true },
  { title: 'layer normalisation of rows of eight', norm: true, sizes: [8, 8], timeMajor: true },
  { title: 'layer normalisation of rows that hardly vary', norm: true, flat: true },
  { title: 'layer normalisation and a clipped cell', norm: true, cellClip: 0.2 },
  { title: 'a cell state of the finest scale', coupled: true, power: -15 },
  { title: 'a cell state of the coarsest scale', coupled: true, power: -9 },
  { title: 'a cell state that its finest scale saturates', peephole: true, power: -15, cellClip: 0.7 },
  { title: 'everything', ...ALL },
  { title: 'everything and coupled gates', ...ALL, coupled: true, timeMajor: true },
  { title: 'everything in single rounding', ...ALL, rounding: 'single' },
  { title: 'layer normalisation of flat rows in single rounding', norm: true, flat: true, rounding: 'single' },
];
