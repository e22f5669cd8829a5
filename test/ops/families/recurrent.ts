// Recurrent layers, one step after another as the equations have them: default activations, both directions, lengths of their own.

import { fromNumbers, type Tensor } from '../../../src/support/tensor.js';
import { arr, at, build, range, sum } from './arrays.js';
import { type Family, family, type Random } from './case.js';

type Made = ReturnType<Family['make']>;

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

interface State {
  readonly h: readonly number[];
  readonly c: readonly number[];
}

interface Gates {
  /** The input's and the state's share of a gate for hidden unit j, biases included. */
  readonly input: (gate: number, j: number) => number;
  readonly state: (gate: number, j: number, h: readonly number[]) => number;
}

type Step = (g: Gates, s: State, version: Options) => State;

interface Options {
  readonly linearBeforeReset: boolean;
}

const rnnStep: Step = (g, { h, c }) => ({ h: h.map((_, j) => Math.tanh(g.input(0, j) + g.state(0, j, h))), c });

const gruStep: Step = (g, { h, c }, { linearBeforeReset }) => {
  const z = h.map((_, j) => sigmoid(g.input(0, j) + g.state(0, j, h)));
  const reset = h.map((_, j) => sigmoid(g.input(1, j) + g.state(1, j, h)));
  const hidden = h.map((_, j) =>
    Math.tanh(
      g.input(2, j) +
        (linearBeforeReset
          ? (reset[j] as number) * g.state(2, j, h)
          : g.state(
              2,
              j,
              h.map((v, k) => v * (reset[k] as number)),
            )),
    ),
  );
  return { h: h.map((v, j) => (1 - (z[j] as number)) * (hidden[j] as number) + (z[j] as number) * v), c };
};

const lstmStep: Step = (g, { h, c }) => {
  const gate = (k: number, j: number): number => g.input(k, j) + g.state(k, j, h);
  const next = c.map((v, j) => sigmoid(gate(2, j)) * v + sigmoid(gate(0, j)) * Math.tanh(gate(3, j)));
  return { h: next.map((v, j) => sigmoid(gate(1, j)) * Math.tanh(v)), c: next };
};

const layer =
  (gates: number, step: Step) =>
  (version: number, r: Random): Made => {
    const [time, batch, size, hidden] = [r.int(1, 3), r.int(1, 2), r.int(1, 3), r.int(1, 3)];
    const direction = r.pick(['forward', 'reverse', 'bidirectional']);
    const ways = direction === 'bidirectional' ? 2 : 1;
    const linearBeforeReset = version >= 3 && r.bool();
    const draw = (...shape: number[]): Tensor => r.tensor(shape, -1, 1);
    const [x, w, u, b] = [
      draw(time, batch, size),
      draw(ways, gates * hidden, size),
      draw(ways, gates * hidden, hidden),
      draw(ways, 2 * gates * hidden),
    ];
    const lengths = r.bool() ? r.tensor([batch], 1, time, 'i32') : undefined;
    const h0 = r.bool() ? draw(ways, batch, hidden) : undefined;
    const y = new Map<string, number>();
    const last = new Map<string, State>();
    for (const d of range(ways))
      for (const n of range(batch)) {
        const length = lengths ? (arr(lengths).data[n] as number) : time;
        const backwards = direction === 'reverse' || d === 1;
        let s: State = {
          h: range(hidden).map((j) => (h0 ? at(arr(h0), [d, n, j]) : 0)),
          c: range(hidden).map(() => 0),
        };
        for (const k of range(length)) {
          const t = backwards ? length - 1 - k : k;
          const row = (g: number, j: number): number => g * hidden + j;
          s = step(
            {
              input: (g, j) =>
                sum(range(size).map((q) => at(arr(x), [t, n, q]) * at(arr(w), [d, row(g, j), q]))) +
                at(arr(b), [d, row(g, j)]),
              state: (g, j, h) =>
                sum(h.map((v, q) => v * at(arr(u), [d, row(g, j), q]))) + at(arr(b), [d, gates * hidden + row(g, j)]),
            },
            s,
            { linearBeforeReset },
          );
          s.h.forEach((v, j) => {
            y.set(`${t} ${d} ${n} ${j}`, v);
          });
        }
        last.set(`${d} ${n}`, s);
      }
    const final = (of: (s: State) => readonly number[]) =>
      build([ways, batch, hidden], ([d, n, j]) => of(last.get(`${d} ${n}`) as State)[j as number] as number);
    const want = [
      build([time, ways, batch, hidden], (i) => y.get(i.join(' ')) ?? 0),
      final((s) => s.h),
      ...(gates === 4 ? [final((s) => s.c)] : []),
    ];
    const attrs = {
      hidden_size: hidden,
      direction,
      ...(version < 7 && { output_sequence: 1 }),
      ...(gates === 3 && linearBeforeReset && { linear_before_reset: 1 }),
    };
    // Without room for lengths the type of absent ones does not matter.
    const inputs = [x, w, u, b, lengths ?? null, h0 ?? null];
    return { attrs, inputs, constants: r.bool() ? [1, 2, 3] : [], outputs: want.length, want, tolerance: 1e-4 };
  };

export const recurrent: Family = family('recurrent layers', {
  RNN: layer(1, rnnStep),
  GRU: layer(3, gruStep),
  LSTM: layer(4, lstmStep),
});

/** Deformable convolution with one offset group: every tap is moved, weighted, and read between pixels. */
function deformConv(_: number, r: Random): Made {
  const [h, w] = [r.int(3, 4), r.int(3, 4)];
  const x = r.tensor([1, 2, h, w], -1, 1);
  const k = r.tensor([2, 2, 2, 2], -1, 1);
  const [oh, ow] = [h - 1, w - 1];
  const offset = r.tensor([1, 8, oh, ow], -0.75, 0.75);
  const mask = r.bool() ? r.tensor([1, 4, oh, ow], 0, 1) : undefined;
  const pixel = (c: number, y: number, z: number): number =>
    y >= 0 && y < h && z >= 0 && z < w ? at(arr(x), [0, c, y, z]) : 0;
  const between = (c: number, y: number, z: number): number => {
    const [i, j] = [Math.floor(y), Math.floor(z)];
    const [p, q] = [y - i, z - j];
    return (
      (1 - p) * ((1 - q) * pixel(c, i, j) + q * pixel(c, i, j + 1)) +
      p * ((1 - q) * pixel(c, i + 1, j) + q * pixel(c, i + 1, j + 1))
    );
  };
  const want = build([1, 2, oh, ow], ([, f, i, j]) =>
    sum(
      range(2).flatMap((c) =>
        range(4).map((t) => {
          const [a, b] = [Math.floor(t / 2), t % 2];
          const move = (axis: number): number => at(arr(offset), [0, 2 * t + axis, i as number, j as number]);
          const v = between(c, (i as number) + a + move(0), (j as number) + b + move(1));
          return v * at(arr(k), [f as number, c, a, b]) * (mask ? at(arr(mask), [0, t, i as number, j as number]) : 1);
        }),
      ),
    ),
  );
  const inputs = mask ? [x, k, offset, null, mask] : [x, k, offset];
  return { attrs: { kernel_shape: [2, 2], pads: [0, 0, 0, 0] }, inputs, want: [want], tolerance: 1e-4 };
}

/** Boxes apart from each other but for exact pairs: of a pair the better is kept. */
function nms(_: number, r: Random): Made {
  const n = r.int(2, 5);
  const boxes = range(n).flatMap((k) => {
    const place = Math.floor(k / 2) * 10;
    return [place, place, place + 4, place + 4];
  });
  const scores = r.shuffle(n).map((v) => (v + 1) / 8);
  const winners = range(n).filter((k) => (scores[k] as number) > (scores[k ^ 1] ?? -1));
  const order = winners.sort((a, b) => (scores[b] as number) - (scores[a] as number)).slice(0, 3);
  const inputs = [
    fromNumbers('f32', [1, n, 4], boxes),
    fromNumbers('f32', [1, 1, n], scores),
    fromNumbers('i64', [1], [3]),
    fromNumbers('f32', [1], [0.5]),
  ];
  return {
    inputs,
    constants: [2, 3],
    want: [build([order.length, 3], ([k, c]) => (c === 2 ? (order[k as number] as number) : 0))],
  };
}

export const detection: Family = family('detection', { DeformConv: deformConv, NonMaxSuppression: nms });
