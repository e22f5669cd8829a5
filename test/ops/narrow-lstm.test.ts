// LiteRT's older integer LSTM, of twelve intermediate tensors, on the interpreter, as C and as WebAssembly, against a plain
// computation (narrow-lstm-reference.ts). States are variables; every case makes two calls.

import { describe, expect, it } from 'vitest';
import type { SourceQuant } from '../../src/frontend/source.js';
import type { DType } from '../../src/support/dtype.js';
import { createRandom } from './integer-lstm-forms.js';
import type { Matrix, Rounding } from './integer-lstm-reference.js';
import { type NarrowLayer, runNarrowLayer } from './narrow-lstm-reference.js';
import { i32, of } from './node-case.js';
import { runOnTargets, type TargetCase } from './on-targets.js';

const [BATCH, INPUT, CELL, OUTPUT] = [2, 5, 6, 3];

interface Form {
  readonly title: string;
  readonly cellClip?: number;
  readonly projClip?: number;
  readonly rounding?: Rounding;
}

function makeNarrow(form: Form): { readonly layer: NarrowLayer; readonly call: readonly number[] } {
  const random = createRandom(form.title);
  const list = (n: number, lo: number, hi: number): number[] => Array.from({ length: n }, () => random(lo, hi));
  const gates = (n: number, most: number, scale: number): (Matrix | null)[] =>
    [0, 1, 2, 3].map((g) =>
      g === 0 ? null : { values: list(n, -most, most), scale: Math.fround(scale * (1 + g / 20)) },
    );
  const own = [0, 1, 2, 3].flatMap((g) =>
    [0.0009, 0.021, 0.017].map((scale, k) => ({
      scale: Math.fround(scale * (1 + g / 10)),
      zero: k === 0 ? 0 : 3 * g - 7,
    })),
  );
  const layer: NarrowLayer = {
    batch: BATCH,
    sizes: { input: INPUT, cell: CELL, output: OUTPUT },
    rounding: form.rounding ?? 'double',
    x: { values: list(BATCH * INPUT, -128, 127), scale: Math.fround(0.031), zero: -9 },
    weights: gates(CELL * INPUT, 127, 0.009),
    recurrent: gates(CELL * OUTPUT, 127, 0.011),
    bias: [0, 1, 2, 3].map((g) => (g === 0 ? null : list(CELL, -9e6, 9e6))),
    norm: gates(CELL, 32767, 4e-5),
    projection: {
      weights: { values: list(OUTPUT * CELL, -127, 127), scale: Math.fround(0.009) },
      bias: list(OUTPUT, -900000, 900000),
    },
    own,
    h: { values: Array<number>(BATCH * OUTPUT).fill(4), scale: Math.fround(0.0071), zero: 4 },
    c: { values: Array<number>(BATCH * CELL).fill(0), power: -15 },
    cellClip: form.cellClip ?? 0,
    projClip: form.projClip ?? 0,
  };
  return { layer, call: list(BATCH * INPUT, -128, 127) };
}

const quant = (scale: number, zero = 0): SourceQuant => ({ scale: Float32Array.of(scale), zeroPoint: [zero], axis: 0 });

function caseOf(layer: NarrowLayer, call: readonly number[]): TargetCase {
  const matrix = (m: Matrix | null | undefined, dtype: DType, shape: readonly number[]) =>
    m ? { tensor: of(dtype, shape, ...m.values), quant: quant(m.scale) } : null;
  const sums = (values: readonly number[] | null | undefined) =>
    values ? { tensor: i32([values.length], ...values), quant: null } : null;
  const operands = [
    { tensor: of('i8', [BATCH, INPUT], ...layer.x.values), quant: quant(layer.x.scale, layer.x.zero) },
    ...layer.weights.map((m) => matrix(m, 'i8', [CELL, INPUT])),
    ...layer.recurrent.map((m) => matrix(m, 'i8', [CELL, OUTPUT])),
    ...[null, null, null],
    ...layer.bias.map(sums),
    matrix(layer.projection?.weights, 'i8', [OUTPUT, CELL]),
    sums(layer.projection?.bias),
    { tensor: of('i8', [BATCH, OUTPUT], ...layer.h.values), quant: quant(layer.h.scale, layer.h.zero) },
    { tensor: of('i16', [BATCH, CELL], ...layer.c.values), quant: quant(2 ** -15) },
    ...[0, 1, 2, 3].map((g) => matrix(layer.norm?.[g], 'i16', [CELL])),
  ];
  return {
    format: 'tflite',
    op: 'LSTM',
    rounding: layer.rounding,
    attrs: {
      fused_activation_function: 'TANH',
      cell_clip: layer.cellClip,
      proj_clip: layer.projClip,
      intermediates: layer.own.map((_, k) => `own${k}`),
    },
    inputs: operands.map((o) => o?.tensor ?? null),
    constants: operands.flatMap((_, k) => (k === 0 || k === 18 || k === 19 ? [] : [k])),
    variables: [18, 19],
    declared: [{ dtype: 'i8', shape: [BATCH, OUTPUT] }],
    quant: {
      ...Object.fromEntries(operands.flatMap((o, k) => (o?.quant ? [[`in${k}`, o.quant]] : []))),
      ...Object.fromEntries(layer.own.map((q, k) => [`own${k}`, quant(q.scale, q.zero)])),
      out0: quant(layer.h.scale, layer.h.zero),
    },
    calls: [of('i8', [BATCH, INPUT], ...call)],
  };
}

const FORMS: readonly Form[] = [
  { title: 'sums of 8 bits' },
  { title: 'sums of 8 bits, both clips', cellClip: 0.4, projClip: 0.3 },
  { title: 'sums of 8 bits, a clip beyond the cell', cellClip: 1.5 },
  { title: 'sums of 8 bits in single rounding', rounding: 'single' },
];

describe("LiteRT's older integer LSTM", async () => {
  const made = FORMS.map(makeNarrow);
  const results = await runOnTargets(made.map(({ layer, call }) => caseOf(layer, call)));
  it.each(FORMS.map((form, k) => [form.title, k] as const))('%s', (_, k) => {
    const { layer, call } = made[k] as (typeof made)[number];
    const first = runNarrowLayer(layer);
    const then = runNarrowLayer({
      ...layer,
      x: { ...layer.x, values: call },
      h: { ...layer.h, values: first.h },
      c: { ...layer.c, values: first.c },
    });
    expect(new Set([...first.h, ...then.h]).size).toBeGreaterThan(5);
    for (const { target, values } of results[k] ?? [])
      expect([target, values.map((outputs) => outputs[0])]).toEqual([target, [first.h, then.h]]);
  });
});
