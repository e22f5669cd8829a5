// One model compared: every target and every runtime that takes its format are opened, measured together, and each pair
// becomes a row. What cannot be opened leaves a note instead of rows, so that one failure does not end a long run.

import { basename, dirname, extname } from 'node:path';
import type { CompileOptions } from '../../compile.js';
import type { SourceModel } from '../../frontend/source.js';
import { openModel } from '../model-file.js';
import { gatherInputs } from '../run-inputs.js';
import type { Target } from '../targets.js';
import { sizesSeen } from '../testing/test-case.js';
import type { BenchInput, Contender } from './contender.js';
import { type Build, type Costs, type HeddleContender, openHeddle } from './heddle.js';
import { type MeasureOptions, measure, type Timing } from './measure.js';
import { openPeer, type PeerName, peerOf } from './peers.js';

export interface BenchRow extends Costs {
  readonly model: string;
  /** int8 where most of its values, or the operators' names, say so. */
  readonly precision: 'float' | 'int8';
  readonly target: Target;
  /** '' where heddle runs alone. */
  readonly peer: string;
  readonly heddle_ms: number;
  readonly peer_ms: number | null;
  /** With results in new arrays each time, where `heddle_ms` has them in arrays the caller keeps: WebAssembly. */
  readonly fresh_ms?: number | null;
  readonly fresh_ratio?: number | null;
  /** The shortest of the batches; the others are medians. */
  readonly heddle_best_ms: number;
  readonly peer_best_ms: number | null;
  /** peer_ms / heddle_ms: above 1 heddle is faster. */
  readonly ratio: number | null;
  /** Largest difference of any output value, as a fraction of the largest output. */
  readonly difference: number | null;
  readonly numerics: 'fast' | 'strict';
  /** How C was built. */
  readonly build?: Build;
}

export interface BenchNote {
  readonly model: string;
  readonly who: string;
  readonly reason: string;
}

export interface BenchRequest {
  readonly targets: readonly Target[];
  readonly peers: readonly PeerName[];
  /** Whether a target is compared only with the runtimes of its own kind. */
  readonly likeWithLike: boolean;
  readonly options: CompileOptions;
  /** As `run` takes them. */
  readonly input: readonly string[];
  readonly seed: number;
  readonly build?: Build;
  readonly measure: MeasureOptions;
  readonly say: (text: string) => void;
}

export interface ModelResult<Row = BenchRow> {
  readonly rows: readonly Row[];
  readonly notes: readonly BenchNote[];
}

/** `path` is a model or a folder with one; its test_data_set_0 is the input, else random numbers. */
export async function benchModel(path: string, request: BenchRequest): Promise<ModelResult> {
  const { file, bytes, model } = openModel(path);
  const { options } = request;
  const { tensors } = gatherInputs(model, {
    given: request.input,
    folder: path,
    dims: options.dims ?? {},
    shapes: options.shapes ?? {},
    seed: request.seed,
    fill: true,
  });
  const seen = sizesSeen(model, [tensors]);
  const settings = {
    ...options,
    dims: { ...seen.dims, ...options.dims },
    shapes: { ...seen.shapes, ...options.shapes },
  };
  const input = { file, bytes, tensors };
  const peers = request.peers.filter((p) => peerOf(p).format === model.format);
  const found = await compare(modelName(file), input, settings, { ...request, peers });
  const precision = precisionOf(model);
  return { ...found, rows: found.rows.map((row) => ({ ...row, precision })) };
}

function precisionOf(model: SourceModel): BenchRow['precision'] {
  const graph = model.graphs[0];
  const nodes = graph?.nodes ?? [];
  const isNarrow = (name: string | undefined): boolean => {
    const type = graph?.values.get(name ?? '')?.type;
    return type?.kind === 'tensor' && /^[iu](8|16)$/.test(type.dtype);
  };
  const narrow = nodes.filter((n) => /^QLinear|Integer$/.test(n.op) || isNarrow(n.outputs[0])).length;
  return narrow > 0 && 2 * narrow >= nodes.length ? 'int8' : 'float';
}

/** The folder's name where the file is called as in every test case. */
export function modelName(file: string): string {
  const name = basename(file, extname(file));
  return name === 'model' ? basename(dirname(file)) : name;
}

async function compare(
  model: string,
  input: BenchInput,
  options: CompileOptions,
  r: BenchRequest,
): Promise<ModelResult<Measured>> {
  const notes: BenchNote[] = [];
  const open = async <T>(who: string, make: () => Promise<T>): Promise<T[]> => {
    r.say(`${model}: preparing ${who}`);
    try {
      return [await make()];
    } catch (e) {
      notes.push({ model, who, reason: e instanceof Error ? e.message : String(e) });
      return [];
    }
  };
  const targets: HeddleContender[] = [];
  for (const t of r.targets) targets.push(...(await open(t, () => checked(openHeddle(t, input, options, r.build)))));
  const peers: Contender[] = [];
  for (const p of targets.length > 0 ? r.peers : []) peers.push(...(await open(p, () => checked(openPeer(p, input)))));
  const contenders = [...targets, ...peers];
  try {
    r.say(`${model}: measuring ${contenders.map((c) => c.name).join(', ')}`);
    const outputs = new Map<string, Outputs>();
    for (const c of contenders) outputs.set(c.name, await c.outputs());
    const timed = [...contenders, ...targets.flatMap((t) => t.fresh ?? [])];
    const times = await measure(timed, r.measure);
    const ms = new Map(timed.map((c, i) => [c.name, times[i] as Timing]));
    return { rows: targets.flatMap((t) => rowsOf(model, t, rivals(t, peers, r), ms, outputs, r)), notes };
  } finally {
    for (const c of contenders) await c.close();
  }
}

/** Fails now what would fail when measured. */
async function checked<T extends Contender>(opening: Promise<T>): Promise<T> {
  const contender = await opening;
  try {
    await contender.outputs();
    return contender;
  } catch (e) {
    await contender.close();
    throw e;
  }
}

const rivals = (t: HeddleContender, peers: readonly Contender[], r: BenchRequest): readonly Contender[] =>
  peers.filter((p) => !r.likeWithLike || peerOf(p.name as PeerName).like === t.name);

type Measured = Omit<BenchRow, 'precision'>;

type Outputs = readonly ArrayLike<number | bigint>[];

function rowsOf(
  model: string,
  t: HeddleContender,
  peers: readonly Contender[],
  ms: ReadonlyMap<string, Timing>,
  outputs: ReadonlyMap<string, Outputs>,
  r: BenchRequest,
): readonly Measured[] {
  const { compile_ms, code_bytes, weight_bytes, arena_bytes, live_bytes, memory_bytes } = t;
  const heddle = ms.get(t.name) as Timing;
  const fresh = t.fresh && (ms.get(t.fresh.name) as Timing);
  const own = outputs.get(t.name) ?? [];
  const costs = { compile_ms: round(compile_ms, 3), code_bytes, weight_bytes, arena_bytes, live_bytes, memory_bytes };
  const numerics = r.options.numerics ?? 'fast';
  const row = (peer: string, other: Timing | null, difference: number | null): Measured => ({
    model,
    target: t.name,
    peer,
    heddle_ms: round(heddle.median, 4),
    peer_ms: other && round(other.median, 4),
    ratio: other && round(other.median / heddle.median, 3),
    fresh_ms: fresh ? round(fresh.median, 4) : null,
    fresh_ratio: fresh && other ? round(other.median / fresh.median, 3) : null,
    heddle_best_ms: round(heddle.best, 4),
    peer_best_ms: other && round(other.best, 4),
    difference: difference === null ? null : round(difference, 2),
    numerics,
    ...(t.name === 'c' && r.build ? { build: r.build } : {}),
    ...costs,
  });
  if (peers.length === 0) return [row('', null, null)];
  return peers.map((p) => row(p.name, ms.get(p.name) as Timing, largestDifference(own, outputs.get(p.name) ?? [])));
}

/** To so many significant digits. */
const round = (n: number, digits: number): number => Number(n.toPrecision(digits));

/** Null where an output has another size, or the outputs cannot be told apart. */
export function largestDifference(a: Outputs, b: Outputs): number | null {
  if (a.length !== b.length) return null;
  let most = 0;
  for (const [k, x] of a.entries()) {
    const y = b[k];
    if (y?.length !== x.length) return null;
    let [gap, size] = [0, 0];
    for (let i = 0; i < x.length; i++) {
      const [u, v] = [Number(x[i]), Number(y[i])];
      if (Object.is(u, v) || u === v) continue;
      gap = Math.max(gap, Math.abs(u - v));
    }
    for (let i = 0; i < y.length; i++) size = Math.max(size, Math.abs(Number(y[i])));
    if (gap > 0) most = Math.max(most, size > 0 ? gap / size : gap);
  }
  return most;
}
