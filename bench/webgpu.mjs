// heddle's WebGPU artifacts against onnxruntime-web's WebGPU provider, in one page of a headless Chromium, so on one adapter.
// Without a graphics card that adapter is software: times then say little, counts of dispatches and bytes hold everywhere.

import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { largestDifference, modelName } from '../dist/cli/bench/bench-model.js';
import { measure } from '../dist/cli/bench/measure.js';
import { openModel } from '../dist/cli/model-file.js';
import { formatCount, formatTable } from '../dist/cli/print.js';
import { gatherInputs } from '../dist/cli/run-inputs.js';
import { sizesSeen } from '../dist/cli/testing/test-case.js';
import { compile, emitWebGpu } from '../dist/index.js';
import { countDevice, runHeddle, runOrt } from './webgpu-page.mjs';

const ORT = fileURLToPath(new URL('node_modules/onnxruntime-web/dist', import.meta.url));
const ORIGIN = 'http://localhost';
const PEER = 'onnxruntime-web webgpu';
const LONGEST_RUN = 600_000;

function findBrowser() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const places = (process.env.PATH ?? '').split(delimiter).flatMap((dir) => names.map((name) => join(dir, name)));
  const found = process.env.HEDDLE_CHROMIUM ?? places.find((place) => existsSync(place));
  if (!found) throw new Error(`--target webgpu needs a browser: none of ${names.join(', ')} is on the PATH`);
  return found;
}

/** A browser for all models; every model gets a page of its own. */
export async function openBrowser() {
  const args = ['--no-sandbox', '--enable-unsafe-webgpu', '--enable-features=Vulkan', '--ignore-gpu-blocklist'];
  const gpu = process.env.HEDDLE_GPU ? [] : ['--use-webgpu-adapter=swiftshader'];
  return chromium.launch({ executablePath: findBrowser(), args: [...args, ...gpu] });
}

/** Files the page asks for: the runtime's own, and those of this model. */
async function openPage(browser, files) {
  const page = await browser.newPage();
  await page.route(`${ORIGIN}/**`, (route) => {
    const path = new URL(route.request().url()).pathname;
    const body = path.startsWith('/ort/') ? readFileSync(join(ORT, path.slice(5))) : files[path];
    const contentType = TYPES.find(([ending]) => path.endsWith(ending))?.[1] ?? 'application/octet-stream';
    return body === undefined
      ? route.fulfill({ status: 404 })
      : route.fulfill({ body: typeof body === 'string' ? body : Buffer.from(body), contentType });
  });
  await page.goto(`${ORIGIN}/index.html`);
  await page.evaluate(countDevice);
  return page;
}

const TYPES = [
  ['.html', 'text/html'],
  ['.mjs', 'text/javascript'],
  ['.wasm', 'application/wasm'],
];

/** Rows as of any other target, with what each side asked of the device. */
export async function benchOnGpu(browser, path, { options, seed, measure: how, say }) {
  const { file, bytes, model } = openModel(path);
  const name = modelName(file);
  if (model.format !== 'onnx') return { rows: [], notes: [{ model: name, who: PEER, reason: 'takes ONNX only' }] };
  say(`${name}: preparing`);
  const given = { given: [], folder: path, dims: {}, shapes: {}, seed, fill: true };
  const { tensors } = gatherInputs(model, given);
  const start = performance.now();
  const program = compile(bytes, { file, target: 'webgpu', ...options, ...sizesSeen(model, [tensors]) });
  const artifact = emitWebGpu(program);
  const compileMs = performance.now() - start;
  const files = { '/index.html': '<!doctype html><title>bench</title>', '/model.onnx': bytes };
  for (const [file, text] of Object.entries(artifact)) files[`/heddle/${file}`] = text;
  for (const [k, t] of tensors.entries())
    files[`/input_${k}`] = new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);
  const entry = program.entries[0].inputs;
  const inputs = tensors.map(({ dtype, shape }, k) => ({ name: entry[k].name, dtype, shape, url: `/input_${k}` }));
  const page = await openPage(browser, files);
  page.setDefaultTimeout(LONGEST_RUN);
  try {
    const heddle = await contender(page, 'webgpu', runHeddle, inputs);
    const notes = [];
    const peer = await contender(page, PEER, runOrt, inputs).catch((error) => {
      notes.push({ model: name, who: PEER, reason: error.message });
      return null;
    });
    say(`${name}: measuring`);
    const [own, other] = await measure(peer ? [heddle, peer] : [heddle], how);
    const difference = peer ? largestDifference(heddle.first, peer.first) : null;
    const costs = { compileMs, code: artifact['model.mjs'].length, program };
    return { rows: [rowOf(name, heddle, peer, own, other, difference, costs, options)], notes };
  } finally {
    await page.close();
  }
}

/** One side: opened, run once for its outputs and once more for what a run asks of the device. */
async function contender(page, name, run, inputs) {
  const held = await page.evaluate(`(${run})(${JSON.stringify(inputs)})`);
  const key = run.name;
  const first = (await page.evaluate((k) => globalThis[k].outputs(), key)).map((list) => Float64Array.from(list));
  const counts = await page.evaluate((k) => globalThis.countRun(() => globalThis[k].call()), key);
  return {
    name,
    first,
    counts: { ...counts, deviceBytes: held },
    time: (repeats) =>
      page.evaluate(
        async ([k, n]) => {
          const start = performance.now();
          for (let i = 0; i < n; i++) await globalThis[k].call();
          return (performance.now() - start) / n;
        },
        [key, repeats],
      ),
  };
}

const round = (n, digits) => Number(n.toPrecision(digits));

function rowOf(model, heddle, peer, own, other, difference, { compileMs, code, program }, options) {
  return {
    model,
    precision: 'float',
    target: 'webgpu',
    peer: peer ? PEER : '',
    heddle_ms: round(own.median, 4),
    peer_ms: other ? round(other.median, 4) : null,
    ratio: other ? round(other.median / own.median, 3) : null,
    heddle_best_ms: round(own.best, 4),
    peer_best_ms: other ? round(other.best, 4) : null,
    difference: difference === null ? null : round(difference, 2),
    numerics: options.numerics ?? 'fast',
    compile_ms: round(compileMs, 3),
    code_bytes: code,
    weight_bytes: program.weightBytes,
    arena_bytes: program.arenaBytes,
    memory_bytes: heddle.counts.deviceBytes,
    device: { heddle: heddle.counts, ...(peer ? { peer: peer.counts } : {}) },
  };
}

/** What each side asked of the device, side by side. */
export function formatDevice(rows) {
  const columns = ['dispatches', 'submits', 'waits', 'written', 'copied', 'deviceBytes'];
  const cell = (counts, peer) => (name) => `${formatCount(counts[name])}${peer ? ` : ${formatCount(peer[name])}` : ''}`;
  const lines = rows
    .filter((r) => r.device)
    .map(({ model, device: { heddle, peer } }) => [model, ...columns.map(cell(heddle, peer))]);
  return `heddle : onnxruntime-web, one run\n${formatTable(['model', ...columns.slice(0, 5), 'bytes held'], lines)}`;
}
