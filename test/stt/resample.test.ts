// Resampling: tones below the new limit come through unchanged in phase and strength, those above it vanish.

import { describe, expect, it } from 'vitest';
import { resample } from '../../src/stt/resample.js';

const tone = (hz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: Math.round(rate * seconds) }, (_, n) => Math.sin((2 * Math.PI * hz * n) / rate));

/** Largest difference away from the ends, where the signal starts and stops abruptly. */
function largestError(a: Float32Array, b: Float32Array): number {
  const margin = Math.round(a.length / 10);
  let most = 0;
  for (let n = margin; n < a.length - margin; n++) most = Math.max(most, Math.abs((a[n] as number) - (b[n] as number)));
  return most;
}

describe('resample', () => {
  it.each([8000, 11025, 22050, 32000, 44100, 48000, 96000])('brings %i Hz to 16 kHz', (rate) => {
    const out = resample(tone(1000, rate, 0.2), rate, 16000);
    expect(out.length).toBe(3200);
    expect(largestError(out, tone(1000, 16000, 0.2))).toBeLessThan(2e-4);
  });

  it('removes what the lower rate cannot hold', () => {
    const out = resample(tone(9500, 48000, 0.2), 48000, 16000);
    expect(largestError(out, new Float32Array(out.length))).toBeLessThan(1e-3);
  });

  it('keeps a constant constant', () => {
    const out = resample(new Float32Array(4410).fill(0.5), 44100, 16000);
    expect(largestError(out, new Float32Array(out.length).fill(0.5))).toBeLessThan(1e-6);
  });

  it('leaves a signal of the right rate, and an empty one, alone', () => {
    const samples = tone(440, 16000, 0.01);
    expect(resample(samples, 16000, 16000)).toBe(samples);
    expect(resample(new Float32Array(0), 44100, 16000).length).toBe(0);
  });
});
