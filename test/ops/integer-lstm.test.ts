// LiteRT's integer LSTM in all its forms, bit for bit, on the interpreter, as C and as WebAssembly, against a plain
// computation of its own (integer-lstm-reference.ts). States are variables; every case makes two calls.

import { describe, expect, it } from 'vitest';
import type { SourceQuant } from '../../src/frontend/source.js';
import { type Calls, type Form, FORMS, makeLayer } from './integer-lstm-forms.js';
import { type IntegerLayer, type Matrix, runIntegerLayer } from './integer-lstm-reference.js';
import { i32, of } from './node-case.js';
import { runOnTargets, type TargetCase } from './on-targets.js';

const quant = (scale: number, zero = 0): SourceQuant => ({
  scale: Float32Array.of(scale),
  zeroPoint: [zero],
  axis: 0,
});

function caseOf(form: Form, layer: IntegerLayer, calls: Calls): TargetCase {
  const { sizes, time, timeMajor, batch } = layer;
  const op = form.op ?? 'UNIDIRECTIONAL_SEQUENCE_LSTM';
  const shapeOf = (size: number): readonly number[] =>
    op === 'LSTM' ? [batch, size] : timeMajor ? [time, batch, size] : [batch, time, size];
  const constant = (m: Matrix | null | undefined, dtype: 'i8' | 'i16', shape: readonly number[]) =>
    m ? { tensor: of(dtype, shape, ...m.values), quant: quant(m.scale) } : null;
  const sums = (values: readonly number[] | null | undefined) =>
    values ? { tensor: i32([values.length], ...values), quant: null } : null;
  const operands = [
    { tensor: of('i8', shapeOf(sizes.input), ...layer.x.values), quant: quant(layer.x.scale, layer.x.zero) },
    ...layer.weights.map((m) => constant(m, 'i8', [sizes.cell, sizes.input])),
    ...layer.recurrent.map((m) => constant(m, 'i8', [sizes.cell, sizes.output])),
    ...[0, 1, 2].map((k) => constant(layer.peephole?.[k], 'i16', [sizes.cell])),
    ...layer.bias.map(sums),
    constant(layer.projection?.weights, 'i8', [sizes.output, sizes.cell]),
    sums(layer.projection?.bias),
    { tensor: of('i8', [batch, sizes.output], ...layer.h.values), quant: quant(layer.h.scale, layer.h.zero) },
    { tensor: of('i16', [batch, sizes.cell], ...layer.c.values), quant: quant(2 ** layer.c.power) },
    ...[0, 1, 2, 3].map((g) => constant(layer.norm?.[g], 'i16', [sizes.cell])),
  ];
  const own = [...layer.sums.map((scale) => quant(scale)), quant(layer.hidden.scale, layer.hidden.zero)];
  return {
    format: 'tflite',
    op,
    opset: 3,
    rounding: layer.rounding,
    attrs: {
      fused_activation_function: 'TANH',
      cell_clip: layer.cellClip,
      proj_clip: layer.projClip,
      time_major: form.timeMajor ?? false,
      intermediates: own.map((_, k) => `own${k}`),
    },
    inputs: operands.map((o) => o?.tensor ?? null),
    constants: operands.flatMap((_, k) => (k === 0 || k === 18 || k === 19 ? [] : [k])),
    variables: [18, 19],
    declared: [{ dtype: 'i8', shape: shapeOf(sizes.output) }],
    quant: {
      ...Object.fromEntries(operands.flatMap((o, k) => (o?.quant ? [[`in${k}`, o.quant]] : []))),
      ...Object.fromEntries(own.map((q, k) => [`own${k}`, q])),
      out0: quant(layer.h.scale, layer.h.zero),
    },
    calls: calls.map((x) => of('i8', shapeOf(sizes.input), ...x)),
  };
}

/** The calls one after the other, each from the states of the one before. */
function expected(layer: IntegerLayer, calls: Calls): Calls {
  const first = runIntegerLayer(layer);
  const results = [first.outputs];
  let states = first;
  for (const values of calls) {
    states = runIntegerLayer({
      ...layer,
      x: { ...layer.x, values },
      h: { ...layer.h, values: states.h },
      c: { ...layer.c, values: states.c },
    });
    results.push(states.outputs);
  }
  return results;
}

describe("LiteRT's integer LSTM", async () => {
  const made = FORMS.map((form) => ({ form, ...makeLayer(form) }));
  const results = await runOnTargets(made.map(({ form, layer, calls }) => caseOf(form, layer, calls)));
  it.each(made.map(({ form }, k) => [form.title, k] as const))('%s', (_, k) => {
    const { layer, calls } = made[k] as (typeof made)[number];
    const want = expected(layer, calls);
    expect(new Set(want.flat()).size).toBeGreaterThan(5);
    for (const { target, values } of results[k] ?? [])
      expect([target, values.map((outputs) => outputs[0])]).toEqual([target, want]);
  });
});
