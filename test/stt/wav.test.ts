// WAV files of every usual format come out as the same samples.

import wavefile from 'wavefile';
import { describe, expect, it } from 'vitest';
import { readWav } from '../../src/stt/wav.js';

const RATE = 22050;
const wave = Float64Array.from({ length: 505 }, (_, n) => 0.5 * Math.sin(n / 20));

function write(bitDepth: string, channels = 1, container?: 'RIFX'): Uint8Array {
  const wav = new wavefile.WaveFile();
  const full = bitDepth.endsWith('f') || bitDepth === '64' ? 1 : 2 ** (Number.parseInt(bitDepth, 10) - 1);
  const zero = bitDepth === '8' ? 128 : 0;
  const one = Array.from(wave, (x) => (full === 1 ? x : Math.round(x * full) + zero));
  const samples = channels === 1 ? one : Array.from({ length: channels }, () => one);
  wav.fromScratch(channels, RATE, bitDepth, samples, container ? { container } : {});
  return wav.toBuffer();
}

function compressed(how: 'toALaw' | 'toMuLaw' | 'toIMAADPCM', rate = 8000): Uint8Array {
  const wav = new wavefile.WaveFile();
  wav.fromScratch(
    1,
    rate,
    '16',
    Array.from(wave, (x) => Math.round(x * 32768)),
  );
  wav[how]();
  return wav.toBuffer();
}

const error = (samples: Float32Array, from = 0): number =>
  wave.reduce((m, x, n) => (n < from ? m : Math.max(m, Math.abs(x - (samples[n] as number)))), 0);

const changed = (bytes: Uint8Array, at: number, value: number): Uint8Array =>
  bytes.map((b, n) => (n === at ? value : b));

describe('readWav', () => {
  it.each([
    ['8', 2 ** -7],
    ['16', 2 ** -15],
    ['24', 2 ** -23],
    ['32', 1e-7],
    ['32f', 1e-7],
    ['64', 1e-7],
  ])('reads %s-bit samples', (bitDepth, tolerance) => {
    const { rate, samples } = readWav(write(bitDepth), 'x.wav');
    expect(rate).toBe(RATE);
    expect(samples.length).toBe(wave.length);
    expect(error(samples)).toBeLessThanOrEqual(tolerance);
  });

  it('averages channels', () => {
    const { samples } = readWav(write('16', 2), 'x.wav');
    expect(samples.length).toBe(wave.length);
    expect(error(samples)).toBeLessThan(2 ** -14);
  });

  it('reads big-endian files', () => {
    expect(error(readWav(write('16', 1, 'RIFX'), 'x.wav').samples)).toBeLessThan(2 ** -14);
  });

  it.each([
    ['toALaw', 0],
    ['toMuLaw', 0],
    ['toIMAADPCM', 100], // its step size has to grow first
  ] as const)('expands what %s packed', (how, from) => {
    expect(error(readWav(compressed(how), 'x.wav').samples, from)).toBeLessThan(0.05);
  });

  it('says which file is no WAV file', () => {
    expect(() => readWav(new Uint8Array(100), 'noise.wav')).toThrow(/E403.*"noise.wav"/);
    expect(() => readWav(new Uint8Array(0), 'empty.wav')).toThrow(/E403/);
  });

  it('survives every cut and every changed byte of a header', () => {
    const good = write('16').slice(0, 64);
    for (let n = 0; n < 64; n++) {
      for (const bytes of [good.slice(0, n), changed(good, n, 255), changed(good, n, 0)]) {
        try {
          readWav(bytes, 'x.wav');
        } catch (e) {
          expect((e as Error).message).toMatch(/^E403/);
        }
      }
    }
  });
});
