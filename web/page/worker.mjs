// Runs the models off the page's own thread, so that it stays alive meanwhile. One request at a time:
// { id, what, … } in; { id, hear } on the way, { id, result } or { id, error } in the end.

import { MOONSHINE_TINY, runMoonshine } from './heddle/stt/moonshine.js';
import { modelPart } from './heddle/stt/part.js';
import { decodeTokens, llamaTokenizer } from './heddle/stt/tokenizer.js';
import { describeAdapter, findAdapter, loadModel } from './models.mjs';
import { FIND_SIDE, findBoxes, findInput, LINE_HEIGHT, lineInput, lineWidth, spell } from './text.mjs';

/** Runs `work` and gives its result, with the time it took put into `times`. */
async function timed(times, name, work) {
  const start = performance.now();
  const value = await work();
  times.push({ name, ms: performance.now() - start });
  return value;
}

async function readData(name) {
  const response = await fetch(new URL(`./data/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`cannot read data/${name}: ${response.status}`);
  return response;
}

/** A part of the picture, in a size of its own; what lies outside is white. */
function cut(bitmap, { x, y, width, height }, toWidth, toHeight, drawnWidth = toWidth, drawnHeight = toHeight) {
  const canvas = new OffscreenCanvas(toWidth, toHeight);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = 'white';
  context.fillRect(0, 0, toWidth, toHeight);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, x, y, width, height, 0, 0, drawnWidth, drawnHeight);
  return context.getImageData(0, 0, toWidth, toHeight);
}

const only = (outputs) => Object.values(outputs)[0];

async function readText({ target, bitmap }, hear) {
  const times = [];
  const [finder, reader] = await timed(times, 'load the models', async () => [
    await loadModel('text-finder', target, hear),
    await loadModel('text-reader', target, hear),
  ]);
  const alphabet = (await (await readData('alphabet.txt')).text()).split('\n');
  const scale = Math.min(1, FIND_SIDE / bitmap.width, FIND_SIDE / bitmap.height);
  const [width, height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
  const whole = { x: 0, y: 0, width: bitmap.width, height: bitmap.height };
  const input = findInput(cut(bitmap, whole, FIND_SIDE, FIND_SIDE, width, height));
  hear({ what: 'finding lines' });
  const marks = await timed(times, 'find lines', async () => only(await finder.run({ x: input })));
  const boxes = findBoxes(marks.data).map((b) => ({
    x: b.x / scale,
    y: b.y / scale,
    width: b.width / scale,
    height: b.height / scale,
  }));
  const lines = [];
  for (const [k, box] of boxes.entries()) {
    hear({ what: 'reading lines', done: k, total: boxes.length });
    const x = lineInput(cut(bitmap, box, lineWidth(box), LINE_HEIGHT));
    const letters = await timed(times, `read line ${k + 1}`, async () => only(await reader.run({ x })));
    lines.push({ box, ...spell(letters, alphabet) });
  }
  bitmap.close();
  return { lines: lines.filter((l) => l.text), times, memoryBytes: finder.memoryBytes + reader.memoryBytes };
}

async function transcribe({ target, samples }, hear) {
  const times = [];
  const [encoder, decoder] = await timed(times, 'load the models', async () => [
    await loadModel('speech-encoder', target, hear),
    await loadModel('speech-decoder', target, hear),
  ]);
  const tokenizer = llamaTokenizer(await (await readData('pieces.json')).json());
  const said = [];
  hear({ what: 'listening' });
  const model = { encoder: modelPart(encoder), decoder: modelPart(decoder), cache: MOONSHINE_TINY };
  const { tokens, encoderMs, stepsMs } = await runMoonshine(model, samples, {
    onToken(token) {
      said.push(token);
      hear({ what: 'writing', text: decodeTokens(tokenizer, said) });
    },
  });
  const [first = 0, ...later] = stepsMs;
  times.push({ name: 'listen (encoder)', ms: encoderMs }, { name: 'first word piece', ms: first });
  times.push({ name: `${later.length} more word pieces`, ms: later.reduce((a, b) => a + b, 0) });
  return { text: decodeTokens(tokenizer, tokens), times, memoryBytes: encoder.memoryBytes + decoder.memoryBytes };
}

async function adapter() {
  const { adapter: found, why } = await findAdapter();
  return found ? { adapter: describeAdapter(found), why } : { adapter: null, why };
}

const WORK = { readText, transcribe, adapter };

let last = Promise.resolve();
addEventListener('message', ({ data: { id, what, ...request } }) => {
  last = last.then(async () => {
    try {
      const result = await WORK[what](request, (heard) => postMessage({ id, hear: heard }));
      postMessage({ id, result });
    } catch (error) {
      postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
});
