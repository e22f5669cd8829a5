// Two threads against one, heddle's own: the same artifact loaded twice in one process, timed in turn.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { emitWasmArtifact } from '../dist/backends/wasm/artifact.js';
import { timeCalls } from '../dist/cli/bench/contender.js';
import { memoryOf } from '../dist/cli/bench/heddle.js';
import { measure } from '../dist/cli/bench/measure.js';
import { openModel } from '../dist/cli/model-file.js';
import { gatherInputs } from '../dist/cli/run-inputs.js';
import { importSource, lowerToProgram } from '../dist/compile.js';

const THREADS = 2;
const round = (n) => Number(n.toPrecision(4));

/** `models`: names and files. Rows are like those of other comparisons; the peer is the same program on one thread. */
export async function benchThreads(models, folder, { numerics, measure: options, say }) {
  const rows = [];
  for (const [name, file] of models) {
    say(`${name}: ${THREADS} threads and one`);
    const start = performance.now();
    const { model } = openModel(file);
    const settings = { target: 'wasm', numerics, threads: THREADS };
    const program = lowerToProgram(importSource(model, settings), settings);
    const files = emitWasmArtifact(program);
    const compile_ms = Math.round(performance.now() - start);
    const at = join(folder, name);
    mkdirSync(at, { recursive: true });
    for (const [file, content] of Object.entries(files)) writeFileSync(join(at, file), content);
    const { load } = await import(pathToFileURL(join(at, 'model.mjs')).href);
    const { tensors } = gatherInputs(model, { given: [], folder: file, dims: {}, shapes: {}, seed: 1, fill: true });
    const inputs = Object.fromEntries(program.entries[0].inputs.map((v, i) => [v.name, tensors[i]]));
    const many = await load({ threads: THREADS });
    const one = await load({ threads: 1 });
    if (many.threads !== THREADS) throw new Error(`${name}: the second thread did not start`);
    const [fast, slow] = await measure([await contend(many, inputs), await contend(one, inputs)], options);
    await many.close();
    rows.push({
      model: `${name}_${THREADS}_threads`,
      precision: 'float',
      target: 'wasm',
      peer: 'one thread',
      heddle_ms: round(fast.median),
      peer_ms: round(slow.median),
      ratio: round(slow.median / fast.median),
      heddle_best_ms: round(fast.best),
      peer_best_ms: round(slow.best),
      difference: null,
      numerics,
      compile_ms,
      code_bytes: files['model.wasm'].length,
      ...memoryOf(program),
    });
  }
  return { rows, notes: [] };
}

async function contend(model, inputs) {
  const into = Object.fromEntries(Object.entries(await model.run(inputs)).map(([name, { data }]) => [name, data]));
  return { name: `${model.threads} threads`, time: (repeats) => timeCalls(() => model.run(inputs, { into }), repeats) };
}
