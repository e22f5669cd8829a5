// What a shipped `model.mjs` of a program with threads has besides (loader-template.ts), and the text of its worker.

import { compactScript } from '../script-text.js';
import { JOB } from './job.js';
import { WORK } from './threads.js';

/** What an artifact without threads has instead. */
export const ALONE = `
const countHelpers = () => 0;
const forHelpers = (bytes) => bytes;
const startHelpers = () => (f) => f;
`;

/** Words of the job: job.ts. */
const [LEFT, HELPERS, SLEEPS, QUIT, FAILED] = [JOB.left, JOB.helpers, JOB.sleeps, JOB.quit, JOB.failed].map(
  (at) => at / 4,
);

export const THREADS = `
/** Threads beside this one: none where memory cannot be shared. */
const countHelpers = ({ threads = world.navigator?.hardwareConcurrency ?? 2 }) =>
  world.SharedArrayBuffer && (world.crossOriginIsolated ?? true) ? Math.max(0, Math.min(threads, MODEL.threads[0]) - 1) : 0;

/** Alone, the module takes memory that is not shared. */
const forHelpers = (bytes, helpers) => {
  if (helpers) return bytes;
  const own = bytesOf(bytes).slice();
  own[MODEL.threads[2]] = 1;
  return own;
};

/** Instances over the same memory, each in a worker; without any where they do not start. */
async function startHelpers(model, module, memory, helpers) {
  const workers = [];
  const words = new Int32Array(memory.buffer, MODEL.threads[1], 8);
  model.threads = 1;
  model.close = async () => {
    model.threads = 1;
    words[${HELPERS}] = 0;
    Atomics.store(words, ${QUIT}, 1);
    Atomics.notify(words, 0);
    await Promise.all(workers.map((w) => w.terminate()));
  };
  try {
    for (let helper = 1; helper <= helpers; helper++) {
      const Worker = world.Worker ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ 'node:worker_threads')).Worker;
      workers.push(new Worker(new URL('./model.worker.mjs', import.meta.url), { type: 'module' }));
    }
    await Promise.all(workers.map((w, i) => new Promise((resolve, reject) => {
      w.onmessage = resolve;
      w.onerror = reject;
      w.on?.('message', resolve).on('error', reject);
      w.postMessage({ module, memory, helper: i + 1, words });
    })));
    for (const w of workers) w.unref?.();
    words[${SLEEPS}] = world.document ? 0 : 1;
    words[${HELPERS}] = helpers;
    model.threads = helpers + 1;
  } catch {
    await model.close();
  }
  return (f) => (...symbols) => {
    try {
      f(...symbols);
    } catch (e) {
      if (words[${LEFT}]) model.close();
      throw e;
    }
  };
}
`;

/** `model.worker.mjs`: one helper. */
export const workerText = (): string => `// A thread of model.mjs.\n${compactScript(WORKER)}\n`;

const WORKER = `
const port = globalThis.postMessage ? globalThis : (await import(/* webpackIgnore: true */ /* @vite-ignore */ 'node:worker_threads')).parentPort;
port.onmessage = async ({ data: { module, memory, helper, words } }) => {
  const host = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) if (from === 'host') host[name] = () => {};
  const { exports } = await WebAssembly.instantiate(module, { env: { memory }, host });
  port.postMessage(0);
  try {
    exports['${WORK}'](helper);
  } catch {
    Atomics.store(words, ${FAILED}, 1);
  }
  port.close();
};
`;
