// Recurrent layers of floats in plain numbers, a row of a step at a time: what TFLite's operators are compared with.

import { type Tensor, toNumbers } from '../../src/support/tensor.js';

export type Row = readonly number[];
export const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));
const clamp = (v: number, limit: number): number => (limit > 0 ? Math.min(limit, Math.max(-limit, v)) : v);
/** Row k of a matrix, in units of `scale`. */
export const rowOf = (t: Tensor, k: number, scale = 1): Row => {
  const n = t.shape.at(-1) as number;
  return Array.from(toNumbers(t))
    .slice(k * n, (k + 1) * n)
    .map((v) => v * scale);
};
export const dot = (a: Row, b: Row): number => a.reduce((p, v, k) => p + v * (b[k] as number), 0);
export const list = (t: Tensor | undefined, scale = 1): Row =>
  t ? Array.from(toNumbers(t)).map((v) => v * scale) : [];

export interface State {
  readonly h: Row;
  readonly c: Row;
}

export interface Lstm {
  readonly weights: readonly (Tensor | null)[];
  readonly recurrent: readonly (Tensor | null)[];
  readonly peephole?: readonly (Tensor | null)[];
  readonly bias: readonly (Tensor | null)[];
  readonly projection?: readonly [Tensor, Tensor | null];
  readonly norm?: readonly (Tensor | null)[];
  readonly second?: readonly (Tensor | null)[];
  readonly cellClip: number;
  readonly projClip: number;
  /** Of integer weights. */
  readonly scale?: number;
}

/** 8-bit steps of the greatest magnitude, where weights are integers. */
function seenBy(l: Lstm, row: Row): Row {
  const most = Math.max(...row.map(Math.abs));
  if (!l.scale || most === 0) return row;
  const step = Math.fround(most / 127);
  return row.map((v) => Math.sign(v) * Math.round(Math.abs(v) / step) * step);
}

/** One row of one step. */
export function stepLstm(l: Lstm, x: Row, more: Row | null, h: Row, c: Row): State {
  const gate = (g: number, memory: Row): Row => {
    const [w, r] = [l.weights[g] as Tensor, l.recurrent[g] as Tensor];
    const bias = list(l.bias[g] as Tensor);
    const peephole = g === 2 ? [] : list(l.peephole?.[g === 3 ? 2 : g] ?? undefined, l.scale);
    const sums = c.map((_, j) => {
      const back =
        r.shape.length === 1
          ? (list(r, l.scale)[j] as number) * (h[j] as number)
          : dot(rowOf(r, j, l.scale), seenBy(l, h));
      const extra = more && l.second?.[g] ? dot(rowOf(l.second[g] as Tensor, j, l.scale), seenBy(l, more)) : 0;
      const own = dot(rowOf(w, j, l.scale), seenBy(l, x)) + extra + back + (peephole[j] ?? 0) * (memory[j] as number);
      return l.norm ? own : own + (bias[j] as number);
    });
    if (!l.norm) return sums;
    const mean = sums.reduce((p, v) => p + v, 0) / sums.length;
    const variance = sums.reduce((p, v) => p + (v - mean) ** 2, 0) / sums.length;
    const factors = list(l.norm[g] as Tensor);
    return sums.map((v, j) => ((v - mean) / Math.sqrt(variance + 1e-8)) * (factors[j] as number) + (bias[j] as number));
  };
  const forget = gate(1, c).map(sigmoid);
  const admit = l.weights[0] ? gate(0, c).map(sigmoid) : forget.map((f) => 1 - f);
  const candidate = gate(2, c).map(Math.tanh);
  const cells = c.map((v, j) =>
    clamp((forget[j] as number) * v + (admit[j] as number) * (candidate[j] as number), l.cellClip),
  );
  const out = gate(3, cells).map((v, j) => sigmoid(v) * Math.tanh(cells[j] as number));
  if (!l.projection) return { h: out, c: cells };
  const [weights, bias] = l.projection;
  const projected = Array.from({ length: weights.shape[0] as number }, (_, j) =>
    clamp(dot(rowOf(weights, j, l.scale), seenBy(l, out)) + (list(bias ?? undefined)[j] ?? 0), l.projClip),
  );
  return { h: projected, c: cells };
}

export type Step<S> = (x: Row, more: Row | null, state: S) => { readonly out: Row; readonly state: S };

/** Steps over [batch, time, …] rows; by batch and time, and the last states. */
export function over<S>(
  time: number,
  x: Tensor,
  more: Tensor | null,
  states: readonly S[],
  backward: boolean,
  step: Step<S>,
) {
  const last = [...states];
  const outputs = states.map((_, n) => {
    const rows: Row[] = [];
    for (let k = 0; k < time; k++) {
      const t = backward ? time - 1 - k : k;
      const at = n * time + t;
      const { out, state } = step(rowOf(x, at), more && rowOf(more, at), last[n] as S);
      rows[t] = out;
      last[n] = state;
    }
    return rows;
  });
  return { outputs, last };
}
