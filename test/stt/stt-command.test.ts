// `heddle stt`: what it says when it cannot transcribe. That it can is shown in moonshine.test.ts and `npm run demo`.

import { join } from 'node:path';
import wavefile from 'wavefile';
import { describe, expect, it } from 'vitest';
import { heddle, temporaryFolder, writeFile } from '../cli/heddle.js';

const dir = temporaryFolder();

function silence(seconds: number): string {
  const wav = new wavefile.WaveFile();
  wav.fromScratch(1, 8000, '16', new Int16Array(8000 * seconds));
  return writeFile(join(dir, `silence-${seconds}.wav`), wav.toBuffer());
}

describe('heddle stt', () => {
  it('asks for a command', async () => {
    const { code, out, err } = await heddle('stt');
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(/Name a command/);
  });

  it.each([
    ['no such recording', ['none.wav'], /E101 "none.wav" cannot be read/],
    ['a recording longer than the bound', [silence(31)], /E402 .*31.0 s long, and the bound is 30 s.*--max-seconds/],
    ['a bound beyond the model', [silence(1), '--max-seconds', '100'], /E401 --max-seconds is 100/],
    ['a tokenizer that has no name', [silence(1), '--tokenizer', 'npm:x'], /E401 "npm:x" names no package/],
  ])('refuses %s', async (_, args, message) => {
    const { code, out, err } = await heddle('stt', 'transcribe', ...args, '--model', dir);
    expect([code, out]).toEqual([1, '']);
    expect(err).toMatch(message);
  });

  it('refuses a folder without a model', async () => {
    const tokenizer = writeFile(
      join(dir, 'tokenizer.json'),
      JSON.stringify({ model: { vocab: { a: 0 }, byte_fallback: true } }),
    );
    const { code, err } = await heddle('stt', 'transcribe', silence(1), '--model', dir, '--tokenizer', tokenizer);
    expect(code).toBe(1);
    expect(err).toMatch(/E101 .*holds no encoder_model.onnx with a decoder_model_merged.onnx/);
  });
});
