// Moonshine tiny, whole: the real model, its own words. Model and recording come from npm packages, more recordings from
// the shared test data; without network or data the cases are skipped, and say so.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { emitWasm } from '../../src/backends/wasm/program.js';
import { readSpeech } from '../../src/cli/audio.js';
import { locate } from '../../src/cli/npm-package.js';
import { type OpenedMoonshine, openMoonshine, openTokenizer } from '../../src/cli/speech-model.js';
import { compileModel, readModel } from '../../src/compile.js';
import { countFrames, moonshineDims, runMoonshine } from '../../src/stt/moonshine.js';
import { decodeTokens } from '../../src/stt/tokenizer.js';
import { sharedData } from '../shared-data.js';

const MODEL = 'npm:@moonshine-ai/moonshine-js@0.1.29/dist/model/tiny/quantized';
const RECORDING = 'npm:nodejs-whisper@0.3.1/cpp/whisper.cpp/bindings/go/samples/jfk.wav';
const TOKENIZER = 'npm:llama-tokenizer-js@1.2.2';

const JFK =
  'And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.';

async function fetched(place: string): Promise<string | null> {
  try {
    return await locate(place);
  } catch (e) {
    console.warn(`skipped: ${(e as Error).message}`);
    return null;
  }
}

const [model, recording, tokenizerFile] = [await fetched(MODEL), await fetched(RECORDING), await fetched(TOKENIZER)];
const audio = sharedData('stt/audio');

describe('moonshineDims', () => {
  it('counts the frames of the encoder', () => {
    expect(countFrames(176_000)).toBe(457);
    expect(moonshineDims(30).decoder).toMatchObject({
      encoder_sequence_length: { lo: 1, hi: 1257 },
      past_decoder_sequence_length: { lo: 0, hi: 181 },
    });
  });

  it('starts where the encoder has a frame', () => {
    const { lo } = moonshineDims(1).encoder.num_samples as { lo: number };
    expect(countFrames(lo)).toBeGreaterThanOrEqual(1);
  });
});

const cases = describe.skipIf(!model || !recording || !tokenizerFile);

/** Words without case and punctuation. */
const plain = (text: string): string => text.toLowerCase().replace(/[^a-z ]/g, '');

cases('Moonshine', () => {
  const opened = new Map<string, Promise<OpenedMoonshine>>();
  const open = (target: 'wasm' | 'c'): Promise<OpenedMoonshine> => {
    const known =
      opened.get(target) ?? openMoonshine(model as string, { target, maxSeconds: 30, compile: { numerics: 'strict' } });
    opened.set(target, known);
    return known;
  };
  afterAll(async () => {
    for (const m of opened.values()) await (await m).close();
  });

  async function transcribe(target: 'wasm' | 'c', file: string) {
    const { samples } = await readSpeech(file);
    const { tokens } = await runMoonshine((await open(target)).model, samples);
    return { tokens, text: decodeTokens(await openTokenizer(tokenizerFile as string, model as string), tokens) };
  }

  it('says the same on WebAssembly and in C, word for word', { timeout: 300_000 }, async () => {
    const wasm = await transcribe('wasm', recording as string);
    expect(plain(wasm.text)).toBe(plain(JFK));
    expect((await transcribe('c', recording as string)).tokens).toEqual(wasm.tokens);
  });

  it('gives tokens as they come', { timeout: 300_000 }, async () => {
    const { samples } = await readSpeech(recording as string);
    const seen: number[] = [];
    const { tokens, stepsMs } = await runMoonshine((await open('wasm')).model, samples.subarray(0, 48_000), {
      onToken: (token) => seen.push(token),
    });
    expect([1, ...seen]).toEqual(tokens);
    expect(stepsMs.length).toBe(seen.length);
    expect(seen.length).toBeLessThanOrEqual(18);
  });

  it('refuses audio that is too short or longer than it was compiled for', { timeout: 300_000 }, async () => {
    const { model: m } = await open('wasm');
    await expect(runMoonshine(m, new Float32Array(1000))).rejects.toThrow(/E402/);
    await expect(runMoonshine(m, new Float32Array(31 * 16_000))).rejects.toThrow(/E402/);
  });

  it('holds each weight once, in little code', { timeout: 300_000 }, () => {
    const parts = [
      ['encoder', 'encoder_model.onnx', 2],
      ['decoder', 'decoder_model_merged.onnx', 1],
    ] as const;
    for (const [part, file, growth] of parts) {
      const bytes = readFileSync(join(model as string, file));
      const program = compileModel(readModel(bytes, { file }), { target: 'wasm', dims: moonshineDims(30)[part] });
      expect(program.weightBytes).toBeLessThan(growth * bytes.length); // the encoder's convolutions become floats
      expect(emitWasm(program, { weights: 'file', names: false }).module.length).toBeLessThan(400_000);
    }
  });

  const clips = ['austen_0880.wav', 'austen_0890.wav', 'new-home-in-the-stars-16k.wav'].filter(
    (f) => audio && existsSync(join(audio, f)),
  );

  it.skipIf(clips.length === 0)('gets the words of other recordings right', { timeout: 300_000 }, async () => {
    const expected = JSON.parse(readFileSync(join(audio as string, 'transcripts.json'), 'utf8'));
    for (const clip of clips) {
      const { text } = await transcribe('wasm', join(audio as string, clip));
      expect(plain(text.replace(/-/g, ' '))).toBe(expected[clip]);
    }
  });
});
