// The page: which backend there is, and the two sections. Models run in worker.mjs; this file asks it.

import { createOutcome, megabytes, milliseconds } from './outcome.mjs';
import { preparePicture } from './picture.mjs';
import { prepareSpeech } from './speech.mjs';

const worker = new Worker(new URL('./worker.mjs', import.meta.url), { type: 'module' });
const waiting = new Map();
let asked = 0;

worker.addEventListener('message', ({ data: { id, hear, result, error } }) => {
  const one = waiting.get(id);
  if (hear) return one?.hear(hear);
  waiting.delete(id);
  if (error === undefined) one?.resolve(result);
  else one?.reject(new Error(error));
});
worker.addEventListener('error', (event) => {
  for (const { reject } of waiting.values()) reject(new Error(event.message || 'the models’ thread did not start'));
  waiting.clear();
});

/** Lets the worker do `what`; `hear` is told how far it is. */
function ask(what, request = {}, hear = () => {}, transfer = []) {
  const id = asked++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, hear });
    worker.postMessage({ id, what, ...request }, transfer);
  });
}

const backends = document.querySelector('#backend');
const chosenBackend = () => backends.querySelector(':checked').value;

async function offerBackends() {
  const says = document.querySelector('#adapter');
  const { adapter, why } = await ask('adapter').catch((error) => ({ adapter: null, why: error.message }));
  if (!adapter) {
    says.textContent = `${why} The models run as WebAssembly instead.`;
    return;
  }
  const webgpu = backends.querySelector('[value=webgpu]');
  webgpu.disabled = false;
  webgpu.checked = !adapter.isSoftware;
  const has = [adapter.subgroups && 'subgroups', adapter.f16 && 'f16'].filter(Boolean);
  const slow = adapter.isSoftware ? ' It computes in software, so WebAssembly is quicker here.' : '';
  says.textContent = `Adapter: ${adapter.name}${has.length > 0 ? ` (${has.join(', ')})` : ''}.${slow}`;
}

/** Runs a section's job from its start to its times, or to what went wrong. */
async function perform(outcome, what, request, transfer, show) {
  const target = chosenBackend();
  try {
    const hear = (heard) => {
      outcome.hear(heard);
      show.part?.(heard);
    };
    const result = await ask(what, { target, ...request }, hear, transfer);
    show.all(result);
    const rows = result.times.map(({ name, ms }) => [name, milliseconds(ms)]);
    rows.push(['memory of the models', megabytes(result.memoryBytes)]);
    if (performance.memory) rows.push(['memory of the page’s scripts', megabytes(performance.memory.usedJSHeapSize)]);
    outcome.finish([['run with', target === 'webgpu' ? 'WebGPU' : 'WebAssembly'], ...rows]);
  } catch (error) {
    const advice = target === 'webgpu' ? ' You may try WebAssembly instead.' : '';
    outcome.fail(`That did not work: ${error.message}.${advice}`);
  }
}

/** Files dropped on a section, or chosen in it, are taken by `take`; what it throws is shown. */
function takeFiles(section, outcome, take) {
  const drop = section.querySelector('.drop');
  const use = async (file) => {
    if (!file || section.classList.contains('busy')) return;
    outcome.start('opening the file…');
    try {
      await take(file);
    } catch (error) {
      outcome.fail(error.message);
    }
  };
  section.querySelector('.file').addEventListener('change', ({ target }) => {
    use(target.files[0]);
    target.value = '';
  });
  section.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  for (const end of ['dragleave', 'drop']) section.addEventListener(end, () => drop.classList.remove('over'));
  section.addEventListener('drop', (event) => {
    event.preventDefault();
    use(event.dataTransfer.files[0]);
  });
}

/** Sections whose models were not built say so. */
async function hideMissing() {
  const response = await fetch(new URL('./models/index.json', import.meta.url));
  const built = response.ok ? Object.keys(await response.json()) : [];
  for (const [id, part] of [
    ['picture', 'text'],
    ['speech', 'speech'],
  ]) {
    if (built.some((name) => name.startsWith(part))) continue;
    const section = document.getElementById(id);
    section.querySelector('.actions').hidden = true;
    section.querySelector('.hint').textContent = 'The models of this part were not built.';
  }
}

for (const [id, prepare] of [
  ['picture', preparePicture],
  ['speech', prepareSpeech],
]) {
  const section = document.getElementById(id);
  const outcome = createOutcome(section);
  prepare({
    section,
    outcome,
    perform: (...job) => perform(outcome, ...job),
    takeFiles: (take) => takeFiles(section, outcome, take),
  });
}
await Promise.all([offerBackends(), hideMissing()]);
