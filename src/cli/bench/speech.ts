// Speech end to end: Moonshine, encoder and greedy decoder, on one recording. Every contender goes through the same loop
// (stt/moonshine.ts); the rows are the encoder, the first decoder call, a later one, and all calls together. C is timed in the
// process that runs it, call by call, as everywhere in the bench; the others around each call.

import { join } from 'node:path';
import type { CSession } from '../../backends/c/load-node.js';
import type { Program } from '../../ir/program.js';
import type { RuntimeTensor } from '../../runtime/session.js';
import { type Moonshine, runMoonshine } from '../../stt/moonshine.js';
import type { Part, PartTensors } from '../../stt/part.js';
import { invariant } from '../../support/errors.js';
import { locate } from '../npm-package.js';
import { openMoonshine } from '../speech-model.js';
import type { Target } from '../targets.js';
import type { BenchRow, ModelResult } from './bench-model.js';
import type { Contender } from './contender.js';
import { codeBytes, type Costs, memoryOf } from './heddle.js';
import { type MeasureOptions, measure, median } from './measure.js';
import { openOrtPart } from './onnxruntime.js';
import { locatePeer, type PeerName, peerOf } from './peers.js';

export const MOONSHINE_PACKAGE = 'npm:@moonshine-ai/moonshine-js@0.1.29/dist/model/tiny/quantized';

export interface SpeechRequest {
  readonly targets: readonly Target[];
  readonly peers: readonly PeerName[];
  readonly numerics: 'fast' | 'strict';
  readonly measure: MeasureOptions;
  readonly say: (text: string) => void;
}

/** One side: its parts note the milliseconds of each call. */
interface Speaker {
  readonly name: Target | PeerName;
  readonly model: Moonshine;
  readonly encoderMs: number[];
  readonly decoderMs: number[];
  readonly costs: Costs;
  close(): Promise<void>;
}

const NO_COSTS: Costs = {
  compile_ms: 0,
  code_bytes: 0,
  weight_bytes: 0,
  arena_bytes: 0,
  live_bytes: 0,
  memory_bytes: 0,
};

/** `timer`: what the call took by its own clock, where wall time holds more than the call. */
function noting(part: Part, times: number[], timer?: (inputs: PartTensors) => Promise<number>): Part {
  return {
    run: async (inputs, stay) => {
      const start = performance.now();
      const outputs = await part.run(inputs, stay);
      const wall = performance.now() - start;
      times.push(timer ? await timer(inputs) : wall);
      return outputs;
    },
  };
}

async function openTarget(target: Target, maxSeconds: number, numerics: 'fast' | 'strict'): Promise<Speaker> {
  const opened = await openMoonshine(MOONSHINE_PACKAGE, { target, maxSeconds, compile: { numerics } });
  const { encoder, decoder } = opened.sessions;
  const timer = (session: unknown) =>
    target === 'c'
      ? (inputs: PartTensors) => (session as CSession).time(inputs as Readonly<Record<string, RuntimeTensor>>, 1)
      : undefined;
  const [encoderMs, decoderMs]: [number[], number[]] = [[], []];
  const model = {
    ...opened.model,
    encoder: noting(opened.model.encoder, encoderMs, timer(encoder)),
    decoder: noting(opened.model.decoder, decoderMs, timer(decoder)),
  };
  const compile_ms = opened.timings.encoderMs + opened.timings.decoderMs;
  const costs = addCosts(await Promise.all(Object.values(opened.programs).map((p) => costsOf(target, p))), compile_ms);
  return { name: target, model, encoderMs, decoderMs, costs, close: () => opened.close() };
}

const costsOf = async (target: Target, p: Program): Promise<Costs> => ({
  compile_ms: 0,
  code_bytes: await codeBytes(target, p),
  ...memoryOf(p),
});

const addCosts = (all: readonly Costs[], compile_ms: number): Costs => {
  const sum = (key: keyof Costs): number => all.reduce((n, c) => n + c[key], 0);
  return {
    compile_ms,
    code_bytes: sum('code_bytes'),
    weight_bytes: sum('weight_bytes'),
    arena_bytes: sum('arena_bytes'),
    live_bytes: sum('live_bytes'),
    memory_bytes: sum('memory_bytes'),
  };
};

async function openPeer(name: PeerName, cache: Moonshine['cache']): Promise<Speaker> {
  const folder = await locate(MOONSHINE_PACKAGE);
  invariant(name === 'onnxruntime-node' || name === 'onnxruntime-web', `${name} reads no ONNX`);
  const open = (file: string) => openOrtPart(name, join(folder, file), locatePeer(name));
  const [encoder, decoder] = [await open('encoder_model.onnx'), await open('decoder_model_merged.onnx')];
  const [encoderMs, decoderMs]: [number[], number[]] = [[], []];
  const model = { encoder: noting(encoder, encoderMs), decoder: noting(decoder, decoderMs), cache };
  const close = async (): Promise<void> => {
    await encoder.close();
    await decoder.close();
  };
  return { name, model, encoderMs, decoderMs, costs: NO_COSTS, close };
}

async function openAll(r: SpeechRequest, maxSeconds: number): Promise<Speaker[]> {
  const speakers: Speaker[] = [];
  for (const target of r.targets) {
    r.say(`moonshine: preparing ${target}`);
    speakers.push(await openTarget(target, maxSeconds, r.numerics));
  }
  const cache = speakers[0]?.model.cache;
  invariant(cache, 'the bench has a target');
  for (const peer of r.peers.filter((p) => peerOf(p).format === 'onnx')) {
    r.say(`moonshine: preparing ${peer}`);
    speakers.push(await openPeer(peer, cache));
  }
  return speakers;
}

interface Utterance {
  readonly tokens: readonly number[];
  readonly encoder: number;
  readonly first: number;
  readonly token: number;
  readonly total: number;
}

const STAGES = ['encoder', 'first', 'token', 'total'] as const;

async function utter(s: Speaker, samples: Float32Array): Promise<Utterance> {
  s.encoderMs.length = 0;
  s.decoderMs.length = 0;
  const { tokens } = await runMoonshine(s.model, samples);
  const [encoder = 0] = s.encoderMs;
  const [first = 0, ...rest] = s.decoderMs;
  const later = rest.reduce((n, ms) => n + ms, 0);
  return { tokens, encoder, first, token: later / Math.max(1, rest.length), total: encoder + first + later };
}

/** Rounds in rotating order; each contender's first two count as warming up. */
export async function benchSpeech(samples: Float32Array, r: SpeechRequest): Promise<ModelResult> {
  const speakers = await openAll(r, Math.ceil(samples.length / 16_000) + 1);
  try {
    const heard = new Map<string, Utterance[]>(speakers.map((s) => [s.name, []]));
    const rounds = Math.min(r.measure.samples, 15);
    for (let round = -2; round < rounds; round++) {
      r.say(`moonshine: round ${round + 1} of ${rounds}`);
      for (let i = 0; i < speakers.length; i++) {
        const s = speakers[(i + round + 2) % speakers.length] as Speaker;
        const u = await utter(s, samples);
        if (round >= 0) heard.get(s.name)?.push(u);
      }
    }
    const rows = STAGES.flatMap((stage) =>
      compareAll(speakers, r, `moonshine_${stage}`, (s) => timing(heard.get(s.name) ?? [], stage)),
    );
    const said = (s: Speaker): number => heard.get(s.name)?.[0]?.tokens.length ?? 0;
    const notes = speakers.map((s) => ({ model: 'moonshine', who: s.name, reason: `${said(s)} tokens` }));
    return { rows, notes: notes.filter((n) => n.reason !== notes[0]?.reason) };
  } finally {
    for (const s of speakers) await s.close();
  }
}

interface Spread {
  readonly median: number;
  readonly best: number;
}

const timing = (all: readonly Utterance[], stage: (typeof STAGES)[number]): Spread => ({
  median: median(all.map((u) => u[stage])),
  best: Math.min(...all.map((u) => u[stage])),
});

function compareAll(
  speakers: readonly Speaker[],
  r: SpeechRequest,
  model: string,
  of: (s: Speaker) => Spread,
): BenchRow[] {
  const own = speakers.filter((s) => (r.targets as readonly string[]).includes(s.name));
  return own.flatMap((s): BenchRow[] => {
    const rivals = speakers.filter((p) => !own.includes(p) && peerOf(p.name as PeerName).like === s.name);
    const mine = of(s);
    const row = (peer: Speaker | null): BenchRow => {
      const theirs = peer && of(peer);
      return {
        model,
        precision: 'float',
        target: s.name as Target,
        peer: peer?.name ?? '',
        heddle_ms: round(mine.median, 4),
        peer_ms: theirs && round(theirs.median, 4),
        heddle_best_ms: round(mine.best, 4),
        peer_best_ms: theirs && round(theirs.best, 4),
        ratio: theirs && round(theirs.median / mine.median, 3),
        difference: null,
        numerics: r.numerics,
        ...s.costs,
      };
    };
    return rivals.length > 0 ? rivals.map(row) : [row(null)];
  });
}

const round = (n: number, digits: number): number => Number(n.toPrecision(digits));

/** How the encoder's time grows with the recording: noise of so many seconds, one compiled program for all. */
export async function benchSpeechLengths(seconds: readonly number[], r: SpeechRequest): Promise<ModelResult> {
  const speakers = await openAll(r, Math.max(...seconds));
  const rows: BenchRow[] = [];
  try {
    for (const length of seconds) {
      r.say(`moonshine: ${length} s`);
      const data = noise(length * 16_000);
      const inputs = { input_values: { dtype: 'f32', shape: [1, data.length], data } };
      const contenders = speakers.map((s) => listener(s, inputs));
      const times = await measure(contenders, r.measure);
      const by = new Map(speakers.map((s, i) => [s, times[i] as Spread]));
      rows.push(...compareAll(speakers, r, `moonshine_encoder_${length}s`, (s) => by.get(s) as Spread));
    }
    return { rows, notes: [] };
  } finally {
    for (const s of speakers) await s.close();
  }
}

function listener(s: Speaker, inputs: PartTensors): Contender {
  return {
    name: s.name,
    time: async (repeats) => {
      s.encoderMs.length = 0;
      for (let i = 0; i < repeats; i++) await s.model.encoder.run(inputs, []);
      return s.encoderMs.reduce((n, ms) => n + ms, 0) / repeats;
    },
    outputs: async () => [],
    close: async () => undefined,
  };
}

/** The same at every call, in ±0.1. */
function noise(count: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) / 10;
  });
}
