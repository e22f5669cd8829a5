// WAV files → one channel of samples in [-1, 1]. The container and the sample formats are wavefile's work: integers of
// 8 to 32 bits, floats, A-law, µ-law, IMA ADPCM; RIFF, RIFX and RF64. Channels are averaged.

import * as wavefile from 'wavefile';
import { CompileError } from '../support/errors.js';

export interface Recording {
  /** Hz. */
  readonly rate: number;
  /** One channel. */
  readonly samples: Float32Array;
}

/** Node loads the package's CommonJS file, all of it as `default`; bundlers and browsers its ES module. */
const { WaveFile } = 'WaveFile' in wavefile ? wavefile : (wavefile as { readonly default: typeof wavefile }).default;
type Wave = InstanceType<typeof WaveFile>;

const SLOWEST = 1_000;
const FASTEST = 768_000;

/** Reads a WAV file; E403 where it is malformed or of an unusual rate. */
export function readWav(bytes: Uint8Array, file: string): Recording {
  const bad = (why: string): CompileError => new CompileError('E403', `the audio file "${file}" ${why}`);
  const wav = new WaveFile();
  let interleaved: Float64Array;
  try {
    wav.fromBuffer(bytes);
    expand(wav);
    interleaved = wav.getSamples(true, Float64Array) as unknown as Float64Array;
  } catch (cause) {
    throw bad(`is not a WAV file that can be read: ${(cause as Error).message}`);
  }
  const { numChannels: channels, sampleRate: rate } = wav.fmt as { numChannels: number; sampleRate: number };
  if (channels < 1) throw bad('has no channels');
  if (rate < SLOWEST || rate > FASTEST) throw bad(`has a sample rate of ${rate} Hz`);
  return { rate, samples: mixDown(interleaved, channels, scaleOf(wav.bitDepth)) };
}

/** Compressed formats become 16-bit. */
function expand(wav: Wave): void {
  if (wav.bitDepth === '4') wav.fromIMAADPCM();
  else if (wav.bitDepth === '8a') wav.fromALaw();
  else if (wav.bitDepth === '8m') wav.fromMuLaw();
}

interface Scale {
  readonly zero: number;
  readonly full: number;
}

/** Integers fill their range; 8-bit samples are unsigned. */
function scaleOf(bitDepth: string): Scale {
  if (bitDepth === '32f' || bitDepth === '64') return { zero: 0, full: 1 };
  const bits = Number.parseInt(bitDepth, 10);
  return { zero: bits === 8 ? 128 : 0, full: 2 ** (bits - 1) };
}

function mixDown(interleaved: Float64Array, channels: number, { zero, full }: Scale): Float32Array {
  const out = new Float32Array(Math.floor(interleaved.length / channels));
  for (let n = 0; n < out.length; n++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += (interleaved[n * channels + c] as number) - zero;
    out[n] = sum / (channels * full);
  }
  return out;
}
