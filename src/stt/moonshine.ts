// Moonshine, English speech to text: raw 16 kHz audio → encoder, then a greedy decoder that keeps keys and values of what
// it has said and heard. Both parts are compiled once for every length up to a bound (`moonshineDims`); what they hand on
// stays on their device. Token ids become text in tokenizer.ts. https://github.com/usefulsensors/moonshine

import type { RuntimeTensor } from '../runtime/session.js';
import { CompileError, invariant } from '../support/errors.js';
import { type Part, type PartTensor, type PartTensors, release } from './part.js';

export const MOONSHINE_RATE = 16_000;
const START = 1;
const END = 2;
const HIDDEN = 'last_hidden_state';
/** The model speaks at most this fast; what comes after is repetition. */
const TOKENS_PER_SECOND = 6;
const SHORTEST_SECONDS = 0.1;
/** Silence put before and after a recording: cut tight to the speech, its first and last sounds are misheard (docs/decisions/0013). */
const MARGIN_SECONDS = 0.1;

/** How many key and value caches the decoder has, and of which shape [1, heads, length, width]. */
export interface MoonshineCache {
  readonly layers: number;
  readonly heads: number;
  readonly width: number;
}

export const MOONSHINE_TINY: MoonshineCache = { layers: 6, heads: 8, width: 36 };
export const MOONSHINE_BASE: MoonshineCache = { layers: 8, heads: 8, width: 52 };

/** A size fixed to a number, or its bounds. */
type DimRange = number | { readonly lo: number; readonly hi: number };

export interface MoonshineDims {
  readonly encoder: Readonly<Record<string, DimRange>>;
  readonly decoder: Readonly<Record<string, DimRange>>;
}

/** Sizes to compile encoder_model.onnx and decoder_model_merged.onnx with, one utterance of up to `maxSeconds` at a time. */
export function moonshineDims(maxSeconds: number): MoonshineDims {
  const samples = Math.ceil((maxSeconds + 2 * MARGIN_SECONDS) * MOONSHINE_RATE);
  const frames = countFrames(samples);
  return {
    encoder: { batch_size: 1, num_samples: { lo: SHORTEST_SECONDS * MOONSHINE_RATE, hi: samples } },
    decoder: {
      batch_size: 1,
      decoder_sequence_length: 1,
      encoder_sequence_length: { lo: 1, hi: frames },
      encoder_sequence_length_out: { lo: 0, hi: frames },
      past_decoder_sequence_length: { lo: 0, hi: limitTokens(samples) },
    },
  };
}

/** Encoder frames for so many samples: three convolutions without padding. */
export function countFrames(samples: number): number {
  const convolve = (n: number, kernel: number, stride: number): number => Math.floor((n - kernel) / stride) + 1;
  return convolve(convolve(convolve(samples, 127, 64), 7, 3), 3, 2);
}

const limitTokens = (samples: number): number =>
  Math.max(1, Math.floor((samples / MOONSHINE_RATE) * TOKENS_PER_SECOND));

export interface Moonshine {
  readonly encoder: Part;
  readonly decoder: Part;
  readonly cache: MoonshineCache;
}

/** Milliseconds. `stepsMs[0]` is the first decoder call, which also builds the caches of the encoder's output. */
export interface MoonshineResult {
  /** With the start token and, unless the limit was reached, the end token. */
  readonly tokens: readonly number[];
  readonly encoderMs: number;
  readonly stepsMs: readonly number[];
}

export interface MoonshineOptions {
  /** Called with each new token, for captions that grow. */
  readonly onToken?: (token: number) => void;
}

/** Mono samples in [-1, 1] at 16 kHz → token ids. E402 where the audio is too short; the parts refuse what is too long. */
export async function runMoonshine(
  model: Moonshine,
  samples: Float32Array,
  { onToken }: MoonshineOptions = {},
): Promise<MoonshineResult> {
  if (samples.length < SHORTEST_SECONDS * MOONSHINE_RATE)
    throw new CompileError('E402', `${samples.length} samples are less than the ${SHORTEST_SECONDS} s the model needs`);
  const data = withMargins(samples);
  const input: RuntimeTensor = { dtype: 'f32', shape: [1, data.length], data };
  const { encoder, decoder } = model;
  const together = encoder.device !== undefined && encoder.device === decoder.device;
  const heard = await timed(async () => {
    const outputs = await encoder.run({ input_values: input }, together ? [HIDDEN] : []);
    await encoder.settle?.();
    return outputs;
  });
  try {
    const hidden = pick(heard.value, HIDDEN);
    const { tokens, stepsMs } = await decode(model, hidden, limitTokens(samples.length), onToken);
    return { tokens, encoderMs: heard.ms, stepsMs };
  } finally {
    release(heard.value);
  }
}

/** Greedy: the likeliest token after each. One readback a token, its logits. */
async function decode(
  { decoder, cache }: Moonshine,
  hidden: PartTensor,
  limit: number,
  onToken: MoonshineOptions['onToken'],
): Promise<Omit<MoonshineResult, 'encoderMs'>> {
  const tokens = [START];
  const stepsMs: number[] = [];
  let caches = emptyCaches(cache);
  const stay = Object.keys(caches).map(presentName);
  try {
    while (stepsMs.length < limit) {
      const cached = stepsMs.length > 0;
      const inputs = decoderInputs(tokens.at(-1) as number, hidden, caches, cached);
      const said = await timed(() => decoder.run(inputs, stay));
      stepsMs.push(said.ms);
      const before = caches;
      caches = nextCaches(before, said.value, cached);
      release(without({ ...before, ...said.value }, caches));
      const token = argmax((pick(said.value, 'logits') as RuntimeTensor).data as Float32Array);
      tokens.push(token);
      onToken?.(token);
      if (token === END) break;
    }
    return { tokens, stepsMs };
  } finally {
    release(caches);
  }
}

function withMargins(samples: Float32Array): Float32Array {
  const margin = MARGIN_SECONDS * MOONSHINE_RATE;
  const out = new Float32Array(samples.length + 2 * margin);
  out.set(samples, margin);
  return out;
}

/** By input name; the decoder ignores their contents in its first call. */
function emptyCaches({ layers, heads, width }: MoonshineCache): PartTensors {
  const empty: RuntimeTensor = { dtype: 'f32', shape: [1, heads, 0, width], data: new Float32Array(0) };
  const names = Array.from({ length: layers }, (_, layer) =>
    ['decoder', 'encoder'].flatMap((part) =>
      ['key', 'value'].map((kind) => `past_key_values.${layer}.${part}.${kind}`),
    ),
  ).flat();
  return Object.fromEntries(names.map((name) => [name, empty]));
}

function decoderInputs(token: number, hidden: PartTensor, caches: PartTensors, cached: boolean): PartTensors {
  return {
    input_ids: { dtype: 'i64', shape: [1, 1], data: BigInt64Array.of(BigInt(token)) },
    encoder_hidden_states: hidden,
    use_cache_branch: { dtype: 'i1', shape: [1], data: Uint8Array.of(cached ? 1 : 0) },
    ...caches,
  };
}

/** The encoder's keys and values come out of the first call alone; the decoder's grow by one each time. */
function nextCaches(caches: PartTensors, outputs: PartTensors, cached: boolean): PartTensors {
  return Object.fromEntries(
    Object.entries(caches).map(([name, old]) => {
      if (cached && name.includes('.encoder.')) return [name, old];
      return [name, pick(outputs, presentName(name))];
    }),
  );
}

const presentName = (past: string): string => past.replace('past_key_values', 'present');

/** Those of `tensors` that `others` does not hold. */
function without(tensors: PartTensors, others: PartTensors): PartTensors {
  const held = new Set(Object.values(others));
  return Object.fromEntries(Object.entries(tensors).filter(([, tensor]) => !held.has(tensor)));
}

function pick(tensors: PartTensors, name: string): PartTensor {
  const tensor = tensors[name];
  invariant(tensor, `a Moonshine model has the output "${name}"`);
  return tensor;
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

async function timed<T>(run: () => Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const start = performance.now();
  const value = await run();
  return { value, ms: performance.now() - start };
}
