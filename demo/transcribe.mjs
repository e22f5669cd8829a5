// `npm run demo`: compiles Moonshine tiny, a real speech model, to WebAssembly and transcribes a recording.
// Model, tokenizer and recording come from npm packages, once; then they are kept in heddle's cache folder.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MODEL = 'npm:@moonshine-ai/moonshine-js@0.1.29/dist/model/tiny/quantized';
const TOKENIZER = 'npm:llama-tokenizer-js@1.2.2';
const RECORDING = 'npm:nodejs-whisper@0.3.1/cpp/whisper.cpp/bindings/go/samples/jfk.wav';

const heddle = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
if (!existsSync(heddle)) {
  console.error('heddle is not built yet: run `npm install` or `npm run build` first.');
  process.exit(1);
}
const args = ['stt', 'transcribe', RECORDING, '--model', MODEL, '--tokenizer', TOKENIZER, ...process.argv.slice(2)];
console.error(`heddle ${args.join(' ')}\n`);
const { status } = spawnSync(process.execPath, [heddle, ...args], { stdio: 'inherit' });
if (status !== 0) {
  console.error(
    '\nThe demo did not run. Offline? It needs the npm registry the first time, for about 30 MB. With the files at\n' +
      'hand: npx heddle stt transcribe FILE.wav --model FOLDER --tokenizer tokenizer.json',
  );
}
process.exitCode = status ?? 1;
