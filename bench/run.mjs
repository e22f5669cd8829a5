// The project's own comparison: single operators made here, and the real models in ../shared where they are, each target
// against the runtimes of its kind. `npm run bench:setup` installs those; options and output are in README.md.

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readSpeech } from '../dist/cli/audio.js';
import { benchModel } from '../dist/cli/bench/bench-model.js';
import { formatBench, reportBench } from '../dist/cli/bench/bench-report.js';
import { MEASURE } from '../dist/cli/bench/measure.js';
import { locatePeer, PEER_NAMES, parsePeers } from '../dist/cli/bench/peers.js';
import { benchSpeech, benchSpeechLengths } from '../dist/cli/bench/speech.js';
import { parseTargets } from '../dist/cli/commands/parse-targets.js';
import { startProgress } from '../dist/cli/progress.js';
import { reportError } from '../dist/cli/report-error.js';
import { GEMM_SIZES, SINGLE_OPS } from './single-ops.mjs';
import { benchThreads } from './threads.mjs';
import { benchOnGpu, formatDevice, openBrowser } from './webgpu.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const SHARED = join(HERE, '..', '..', 'shared');

/** Name → where its models come from. */
const SUITES = {
  ops: () => makeModels('ops', SINGLE_OPS),
  onnx: () => modelsIn(join(SHARED, 'models', 'onnx'), 'model.onnx'),
  tflite: () => modelsIn(join(SHARED, 'conformance', 'tflite', 'models'), 'model.tflite'),
  gemm: () => makeModels('gemm', GEMM_SIZES),
};

const JFK = join(SHARED, 'stt', 'audio', 'jfk.wav');

/** Suites that are no lists of models: Moonshine end to end on 11 s of speech, and its encoder over lengths; threads. */
const OTHERS = {
  speech: async (request) => benchSpeech((await readSpeech(JFK)).samples, request),
  lengths: (request) => benchSpeechLengths([1, 2, 4, 8, 15, 30, 60], request),
  threads: (request) => {
    const makers = Object.fromEntries(['matmul_512', 'conv3x3_64_56'].map((name) => [name, SINGLE_OPS[name]]));
    const files = makeModels('ops', makers);
    const models = Object.keys(makers).map((name, i) => [name, files[i]]);
    return benchThreads(models, join(HERE, '.cache', 'threads'), request);
  },
};

/** Several cases share one model file's contents: the plain name stands for them. */
const VARIANT = /__/;

const modelsIn = (folder, file) =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => !VARIANT.test(name) && existsSync(join(folder, name, file)))
        .map((name) => join(folder, name))
    : [];

function makeModels(suite, makers) {
  const folder = join(HERE, '.cache', suite);
  mkdirSync(folder, { recursive: true });
  return Object.entries(makers).map(([name, make]) => {
    const file = join(folder, `${name}.onnx`);
    writeFileSync(file, make());
    return file;
  });
}

function readFlags() {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string', default: 'ops,onnx,tflite' },
      filter: { type: 'string', default: '' },
      target: { type: 'string', default: 'c,wasm' },
      against: { type: 'string', default: 'onnxruntime-node,onnxruntime-web,litert' },
      samples: { type: 'string', default: String(MEASURE.samples) },
      numerics: { type: 'string', default: 'fast' },
      build: { type: 'string', default: 'native' },
      json: { type: 'boolean', default: false },
    },
  });
  const suites = values.suite.split(',');
  const known = Object.keys({ ...SUITES, ...OTHERS });
  const unknown = suites.find((name) => !known.includes(name));
  if (unknown) throw new Error(`there is no suite "${unknown}"; suites: ${known.join(', ')}`);
  const filter = new RegExp(values.filter);
  const others = suites.filter((suite) => suite in OTHERS);
  const models = suites.flatMap((suite) => (suite in OTHERS ? [] : SUITES[suite]().map((path) => ({ suite, path }))));
  return { ...values, others, models: models.filter(({ path }) => filter.test(path)) };
}

/** A model in both numerics, C also as plain C99, as asked for. */
async function inVariants(variants, path, request) {
  const results = [];
  for (const { numerics, build } of variants) {
    const targets = build === 'native' ? request.targets : request.targets.filter((t) => t === 'c');
    results.push(await benchModel(path, { ...request, targets, build, options: { numerics } }));
  }
  return results;
}

async function main() {
  const flags = readFlags();
  const targets = parseTargets([flags.target]);
  const onGpu = targets.includes('webgpu');
  const peers = parsePeers([flags.against]);
  for (const p of peers) locatePeer(p);
  const progress = startProgress();
  const request = {
    targets: targets.filter((t) => t !== 'webgpu'),
    peers: PEER_NAMES.filter((p) => peers.includes(p)),
    likeWithLike: true,
    options: { numerics: flags.numerics },
    input: [],
    seed: 1,
    measure: { ...MEASURE, samples: Math.max(1, Number(flags.samples)) },
  };
  const rows = [];
  const notes = [];
  const variants = flags.numerics
    .split(',')
    .flatMap((numerics) => flags.build.split(',').map((build) => ({ numerics, build })));
  const browser = onGpu ? await openBrowser() : null;
  for (const [i, { suite, path }] of flags.models.entries()) {
    const say = (text) => progress.update(`${i + 1}/${flags.models.length} ${text}`);
    const all = [
      ...(request.targets.length > 0 ? await inVariants(variants, path, { ...request, say }) : []),
      ...(browser ? [await benchOnGpu(browser, path, { ...request, say })] : []),
    ];
    rows.push(...all.flatMap((found) => found.rows.map((row) => ({ ...row, suite }))));
    notes.push(...all.flatMap((found) => found.notes));
  }
  for (const suite of flags.others) {
    const say = (text) => progress.update(text);
    for (const numerics of flags.numerics.split(',')) {
      const found = await OTHERS[suite]({ ...request, numerics, say });
      rows.push(...found.rows.map((row) => ({ ...row, suite })));
      notes.push(...found.notes);
    }
  }
  await browser?.close();
  progress.done();
  const report = reportBench(rows, notes);
  process.stdout.write(`${flags.json ? JSON.stringify(report, null, 2) : formatBench(report)}\n`);
  if (onGpu && !flags.json) process.stdout.write(`\n${formatDevice(rows)}\n`);
}

try {
  await main();
  process.exit();
} catch (error) {
  const { text, exitCode } = reportError(error);
  process.stderr.write(`${text}\n`);
  process.exit(exitCode);
}
