// Recordings for speech models: a WAV file of any usual format, as one channel at the model's rate.

import { MOONSHINE_RATE } from '../stt/moonshine.js';
import { resample } from '../stt/resample.js';
import { readWav } from '../stt/wav.js';
import { readBytes } from './model-file.js';
import { locate } from './npm-package.js';

export interface Speech {
  readonly seconds: number;
  /** In [-1, 1], at the model's rate. */
  readonly samples: Float32Array;
}

/** Reads a WAV file from a path or an npm package. */
export async function readSpeech(place: string, rate = MOONSHINE_RATE): Promise<Speech> {
  const recording = readWav(readBytes(await locate(place)), place);
  return {
    seconds: recording.samples.length / recording.rate,
    samples: resample(recording.samples, recording.rate, rate),
  };
}
