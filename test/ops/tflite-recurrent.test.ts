// TFLite's recurrent layers of float activations in the forms that published cases leave out, on the interpreter, as C and as
// WebAssembly, against plain computations. States are variables; every case makes two calls on the same input.

import { describe, expect, it } from 'vitest';
import type { SourceQuant } from '../../src/frontend/source.js';
import type { Tensor } from '../../src/support/tensor.js';
import { f32, of } from './node-case.js';
import { runOnTargets, type TargetCase } from './on-targets.js';
import {
  dot,
  type Lstm,
  list,
  over,
  type Row,
  rowOf,
  type State,
  type Step,
  sigmoid,
  stepLstm,
} from './recurrent-reference.js';

const [TIME, BATCH, INPUT, SECOND] = [3, 2, 4, 3];

let seed = 11;
const next = (): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 31 - 1;
};
const random = (...shape: number[]): Tensor =>
  f32(shape, ...Array.from({ length: shape.reduce((p, d) => p * d, 1) }, next));
const bytes = (...shape: number[]): Tensor =>
  of('i8', shape, ...Array.from({ length: shape.reduce((p, d) => p * d, 1) }, () => Math.round(next() * 127)));

const none = (t: Tensor | null | undefined): Tensor | null => t ?? null;
const four = (make: (g: number) => Tensor, coupled = false): (Tensor | null)[] =>
  [0, 1, 2, 3].map((g) => (g === 0 && coupled ? null : make(g)));
const quant = (scale: number, zero = 0): SourceQuant => ({ scale: Float32Array.of(scale), zeroPoint: [zero], axis: 0 });

interface LstmForm {
  readonly coupled?: boolean;
  readonly everything?: boolean;
  readonly diagonal?: boolean;
  readonly hybrid?: boolean;
  readonly second?: boolean;
  /** Signed weights under the unsigned type. */
  readonly unsigned?: boolean;
}

function makeLstm(f: LstmForm, [cell, output]: readonly [number, number]): Lstm {
  const make = (...shape: number[]): Tensor => (f.hybrid ? bytes(...shape) : random(...shape));
  return {
    weights: four(() => make(cell, INPUT), f.coupled),
    recurrent: four(() => (f.diagonal ? make(cell) : make(cell, output)), f.coupled),
    bias: four(() => random(cell), f.coupled),
    ...(f.everything && {
      peephole: [0, 1, 2].map((k) => (k === 0 && f.coupled ? null : make(cell))),
      projection: [make(output, cell), random(output)] as const,
      norm: four(() => random(cell), f.coupled),
    }),
    ...(f.second && { second: four(() => make(cell, SECOND), f.coupled) }),
    cellClip: f.everything ? 0.75 : 0,
    projClip: f.everything ? 0.375 : 0,
    ...(f.hybrid && { scale: Math.fround(0.007) }),
  };
}

const start = (cell: number, output: number): readonly State[] =>
  Array.from({ length: BATCH }, () => ({ h: Array<number>(output).fill(0), c: Array<number>(cell).fill(0) }));
const quantsOf = (l: Lstm, inputs: readonly (Tensor | null)[]) =>
  Object.fromEntries(inputs.flatMap((t, k) => (t && t.dtype !== 'f32' && l.scale ? [[`in${k}`, quant(l.scale)]] : [])));
const allBut = (inputs: readonly unknown[], fed: readonly number[]): number[] =>
  inputs.map((_, k) => k).filter((k) => !fed.includes(k));
const weightsOf = (l: Lstm): (Tensor | null)[] => [
  ...l.weights,
  ...l.recurrent,
  ...[0, 1, 2].map((k) => none(l.peephole?.[k])),
  ...l.bias,
  none(l.projection?.[0]),
  none(l.projection?.[1]),
];
const zeros = (n: number): Tensor => f32([BATCH, n], ...Array<number>(BATCH * n).fill(0));

const asUnsigned = (t: Tensor): Tensor => (t.dtype === 'i8' ? of('u8', t.shape, ...list(t).map((v) => v & 255)) : t);

interface Made {
  readonly title: string;
  readonly run: TargetCase;
  /** By call, then by output. */
  readonly want: readonly (readonly Row[])[];
}

function sequence(title: string, f: LstmForm, sizes: readonly [number, number]): Made {
  const l = makeLstm(f, sizes);
  const x = random(BATCH, TIME, INPUT);
  const norm = [0, 1, 2, 3].map((g) => none(l.norm?.[g]));
  const weights = weightsOf(l).map((t) => (t && f.unsigned ? asUnsigned(t) : t));
  const inputs = [x, ...weights, zeros(sizes[1]), zeros(sizes[0]), ...norm];
  const step: Step<State> = (row, _more, s) => {
    const state = stepLstm(l, row, null, s.h, s.c);
    return { out: state.h, state };
  };
  const first = over(TIME, x, null, start(...sizes), false, step);
  const then = over(TIME, x, null, first.last, false, step);
  return {
    title,
    run: {
      format: 'tflite',
      op: 'UNIDIRECTIONAL_SEQUENCE_LSTM',
      attrs: { fused_activation_function: 'TANH', cell_clip: l.cellClip, proj_clip: l.projClip, time_major: false },
      inputs,
      constants: allBut(inputs, [0, 18, 19]),
      variables: [18, 19],
      quant: quantsOf(l, inputs),
      declared: [{ dtype: 'f32', shape: [BATCH, TIME, sizes[1]] }],
      calls: [x],
    },
    want: [first, then].map((r) => [r.outputs.flat(2)]),
  };
}

function bothWays(title: string, f: LstmForm, merge: boolean): Made {
  const sizes = [3, 3] as const;
  const [forward, backward] = [makeLstm(f, sizes), makeLstm(f, sizes)];
  const x = random(BATCH, TIME, INPUT);
  const second = random(BATCH, TIME, f.second ? SECOND : INPUT);
  const inputs = [
    x,
    ...weightsOf(forward),
    ...weightsOf(backward),
    ...[0, 1, 2, 3].map(() => zeros(3)),
    second,
    ...[forward, backward].flatMap((l) => [0, 1, 2, 3].map((g) => none(l.second?.[g]))),
  ];
  const step =
    (l: Lstm): Step<State> =>
    (row, more, s) => {
      const state = stepLstm(l, row, more, s.h, s.c);
      return { out: state.h, state };
    };
  const want: (readonly Row[])[] = [];
  let states: readonly [readonly State[], readonly State[]] = [start(...sizes), start(...sizes)];
  for (let call = 0; call < 2; call++) {
    const ahead = over(TIME, x, f.second ? second : null, states[0], false, step(forward));
    const back = over(TIME, f.second ? x : second, f.second ? second : null, states[1], true, step(backward));
    want.push(joined(ahead.outputs, back.outputs, merge));
    states = [ahead.last, back.last];
  }
  return {
    title,
    run: {
      format: 'tflite',
      op: 'BIDIRECTIONAL_SEQUENCE_LSTM',
      attrs: { fused_activation_function: 'TANH', cell_clip: 0, proj_clip: 0, merge_outputs: merge, time_major: false },
      inputs,
      constants: allBut(inputs, [0, 35, 36, 37, 38, 39]),
      variables: [35, 36, 37, 38],
      outputs: merge ? 1 : 2,
      quant: quantsOf(forward, inputs),
      calls: [x],
    },
    want,
  };
}

function joined(forward: readonly (readonly Row[])[], backward: readonly (readonly Row[])[], merge: boolean): Row[] {
  if (!merge) return [forward.flat(2), backward.flat(2)];
  return [forward.flatMap((rows, n) => rows.flatMap((row, t) => [...row, ...(backward[n]?.[t] ?? [])]))];
}

function bothWaysRnn(title: string, crossed: boolean): Made {
  const units = 3;
  const x = random(BATCH, TIME, INPUT);
  const second = random(BATCH, TIME, crossed ? SECOND : INPUT);
  const direction = () => ({
    w: random(units, INPUT),
    r: random(units, units),
    bias: random(units),
    second: crossed ? random(units, SECOND) : null,
  });
  const [forward, backward] = [direction(), direction()];
  const step =
    (l: ReturnType<typeof direction>): Step<Row> =>
    (row, more, h) => {
      const out = h.map((_, j) => {
        const extra = more && l.second ? dot(rowOf(l.second, j), more) : 0;
        return Math.max(0, dot(rowOf(l.w, j), row) + dot(rowOf(l.r, j), h) + extra + (list(l.bias)[j] as number));
      });
      return { out, state: out };
    };
  const zero = Array.from({ length: BATCH }, () => Array<number>(units).fill(0) as Row);
  let states: readonly [readonly Row[], readonly Row[]] = [zero, zero];
  const want: (readonly Row[])[] = [];
  for (let call = 0; call < 2; call++) {
    const ahead = over(TIME, x, crossed ? second : null, states[0], false, step(forward));
    const back = over(TIME, crossed ? x : second, crossed ? second : null, states[1], true, step(backward));
    want.push(joined(ahead.outputs, back.outputs, false));
    states = [ahead.last, back.last];
  }
  const inputs = [
    x,
    ...[forward, backward].flatMap((l) => [l.w, l.r, l.bias, zeros(units)]),
    second,
    forward.second,
    backward.second,
  ];
  return {
    title,
    run: {
      format: 'tflite',
      op: 'BIDIRECTIONAL_SEQUENCE_RNN',
      attrs: { fused_activation_function: 'RELU', merge_outputs: false, time_major: false },
      inputs,
      constants: allBut(inputs, [0, 4, 8, 9]),
      variables: [4, 8],
      outputs: 2,
      calls: [x],
    },
    want,
  };
}

function gru(): Made {
  const units = 3;
  const x = random(TIME, BATCH, INPUT);
  const [state, gates, gateBias] = [random(BATCH, units), random(2 * units, INPUT + units), random(2 * units)];
  const [candidate, candidateBias] = [random(units, INPUT + units), random(units)];
  const outputs: Row[] = [];
  let h = [0, 1].map((n) => rowOf(state, n));
  for (let t = 0; t < TIME; t++) {
    h = h.map((old, n) => {
      const row = rowOf(x, t * BATCH + n);
      const open = list(gateBias).map((v, j) => sigmoid(v + dot(rowOf(gates, j), [...row, ...old])));
      const kept = old.map((v, j) => v * (open[j] as number));
      return old.map((v, j) => {
        const fresh = Math.tanh((list(candidateBias)[j] as number) + dot(rowOf(candidate, j), [...row, ...kept]));
        const update = open[units + j] as number;
        return (1 - update) * fresh + update * v;
      });
    });
    outputs.push(...h);
  }
  const inputs = [x, state, gates, gateBias, candidate, candidateBias];
  const run: TargetCase = {
    format: 'tflite',
    op: 'UNIDIRECTIONAL_SEQUENCE_GRU',
    domain: 'tflite.custom',
    inputs,
    constants: [2, 3, 4, 5],
    outputs: 2,
  };
  return { title: 'a GRU over a sequence', run, want: [[outputs.flat(), h.flat()]] };
}

const CASES: readonly Made[] = [
  sequence('an LSTM with everything', { everything: true }, [5, 3]),
  sequence('an LSTM with everything and coupled gates', { everything: true, coupled: true }, [5, 3]),
  sequence('an LSTM with diagonal recurrent weights', { diagonal: true }, [4, 4]),
  sequence('a hybrid LSTM with everything', { everything: true, hybrid: true }, [5, 3]),
  sequence('a hybrid LSTM with diagonal recurrent weights', { diagonal: true, hybrid: true, coupled: true }, [4, 4]),
  sequence('a hybrid LSTM of signed weights under the unsigned type', { hybrid: true, unsigned: true }, [4, 4]),
  bothWays('an LSTM both ways over two inputs, with weights for the second', { second: true }, false),
  bothWays(
    'an LSTM both ways, hybrid, with weights for the second input',
    { second: true, hybrid: true, coupled: true },
    true,
  ),
  bothWays('an LSTM both ways that reads the second input backwards', {}, true),
  bothWaysRnn('an RNN both ways over two inputs, with weights for the second', true),
  bothWaysRnn('an RNN both ways that reads the second input backwards', false),
  gru(),
];

describe("TFLite's recurrent layers", async () => {
  const results = await runOnTargets(CASES.map((c) => c.run));
  it.each(CASES.map((c, k) => [c.title, k] as const))('%s', (_, k) => {
    const { want } = CASES[k] as Made;
    for (const { target, values } of results[k] ?? []) {
      expect(values.map((call) => call.map((o) => o.length))).toEqual(want.map((call) => call.map((o) => o.length)));
      const got = values.flat(2);
      for (const [i, v] of want.flat(2).entries())
        expect(Math.abs((got[i] as number) - v), `${target} at ${i}`).toBeLessThanOrEqual(2e-5);
    }
  });
});
