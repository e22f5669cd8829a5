// The text of a shipped `model.mjs`: plain JavaScript for browsers and for Node with Dawn. MODEL is the plan; the code
// that runs it is that of executor/, written out by its own text, so that there is one executor only.

import { compactScript } from '../script-text.js';
import { LOADER_BASE, WEIGHT_READER } from '../wasm/loader-template.js';
import { executorText } from './executor/text.js';
import type { GpuPlan } from './plan-types.js';

const LOADER = `
/** A device with what the model needs: of the browser, or in Node of the package "webgpu". */
async function openDevice() {
  let gpu = globalThis.navigator?.gpu;
  if (!gpu) {
    const dawn = await import(/* webpackIgnore: true */ /* @vite-ignore */ 'webgpu').catch(() => null);
    if (!dawn) throw new Error('WebGPU is not available here: use another browser, or in Node npm install webgpu');
    Object.assign(globalThis, dawn.globals);
    gpu = dawn.create([]);
    keep.push(gpu);
  }
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('there is no WebGPU adapter');
  const requiredFeatures = ['subgroups'].filter((f) => adapter.features.has(f));
  return adapter.requestDevice({ requiredFeatures, requiredLimits: compare(adapter.limits, 'this adapter') });
}

/** Throws where a limit is less than the model needs; gives those that a device has only if asked. */
function compare(limits, owner) {
  const { storageBuffers, bindingBytes, invocations } = MODEL.needs;
  const needs = [
    ['maxStorageBuffersPerShaderStage', 8, storageBuffers],
    ['maxStorageBufferBindingSize', 2 ** 27, bindingBytes],
    ['maxBufferSize', 2 ** 28, bindingBytes],
    ['maxComputeInvocationsPerWorkgroup', 256, invocations],
  ];
  for (const [name, , needed] of needs)
    if (needed > limits[name]) throw new Error('the model needs ' + name + ' = ' + needed + ', ' + owner + ' has ' + limits[name]);
  return Object.fromEntries(needs.filter(([, usual, needed]) => needed > usual).map(([name, , needed]) => [name, needed]));
}

/** The GPU object of the package must outlive its devices. */
const keep = [];

const isGpuBuffer = (x) => x !== null && typeof x === 'object' && typeof x.mapAsync === 'function';

/** One input as what the executor takes: elements, or a buffer of the device. */
function take(spec, value, entry, symbols) {
  const given = [spec.name, spec.dtype, spec.shape];
  if (!isGpuBuffer(value?.buffer)) return check(given, value, entry, symbols).data;
  const stand = Object.create(typeOf(spec.dtype).prototype, { length: { value: count(value.shape) } });
  check(given, { data: stand, shape: value.shape }, entry, symbols);
  return value.buffer;
}

async function call(executor, entry, inputs, options = {}) {
  const symbols = new Map();
  const bounds = { symbols: entry.symbols.map((s) => [s.name, s.lo, s.hi]) };
  for (const name in inputs)
    if (!entry.inputs.some((i) => i.name === name)) throw new Error('E402 there is no input "' + name + '"');
  const given = entry.inputs.map((i) => take(i, inputs[i.name], bounds, symbols));
  const { outputs: stay = [] } = options;
  for (const name of stay === 'gpu' ? [] : stay)
    if (!entry.outputs.some((v) => v.name === name)) throw new Error('E402 there is no output "' + name + '"');
  const stays = entry.outputs.map((v) => stay === 'gpu' || stay.includes(v.name));
  const outputs = await executor.run(entry, given, symbols, stays);
  return Object.fromEntries(entry.outputs.map((v, i) => [v.name, outputs[i]]));
}

/** A new instance with its own state; see model.d.ts for the options. */
export async function load(options = {}) {
  const hosts = HOSTS.map((op, n) => {
    const f = options.host?.[op];
    if (!f) throw new Error('the model needs load({ host: { ' + op + ' } })');
    return (inputs) => f(inputs, n);
  });
  if (options.device) compare(options.device.limits, 'the device');
  const device = options.device ?? (await openDevice());
  const weights = WEIGHTS
    ? (take) => readWeights(options.weights, WEIGHTS.url, WEIGHTS.bytes, options.onWeights, take)
    : new Uint8Array(0);
  const twin = TWIN && (await openTwin(options.twin ?? TWIN));
  const executor = await createExecutor(PARTS, device, MODEL, weights, { hosts, twin, onProgress: options.onProgress });
  const close = async () => {
    executor.destroy();
    if (!options.device) device.destroy();
  };
  const memoryBytes = MODEL.buffers.reduce((n, b) => (b.kind === 'twin' ? n : n + b.bytes), 0);
  const model = { device, memoryBytes, close, reset: async () => executor.reset() };
  for (const entry of MODEL.entries) model[entry.name] = (inputs = {}, how) => call(executor, entry, inputs, how);
  return model;
}
`;

/** For artifacts with a twin. */
const TWIN_READER = `
/** What the GPU should not run, as WebAssembly with a memory of its own. */
async function openTwin(source) {
  const memory = new WebAssembly.Memory({ initial: MODEL.twinPages, maximum: MODEL.twinPages });
  const { instance } = await WebAssembly.instantiate(await read(source), { env: { memory } });
  return { memory, call: (k, ...symbols) => instance.exports['call_' + k](...symbols) };
}
`;

/** The files beside `model.mjs`, null where the artifact has none. */
export interface LoaderFiles {
  readonly weights: { readonly file: string; readonly bytes: number } | null;
  readonly twin: string | null;
}

/** The module's text. `hosts`: the operator of each host step. */
export function loaderText(
  name: string,
  plan: GpuPlan,
  hosts: readonly string[],
  { weights, twin }: LoaderFiles,
): string {
  const title = JSON.stringify(name).slice(1, -1).replaceAll('*/', '* /');
  return [
    `// ${title}: import { load } from './model.mjs'; const model = await load(); see model.d.ts.`,
    `const MODEL = ${JSON.stringify(plan)};`,
    `const HOSTS = ${JSON.stringify(hosts)};`,
    // Bundlers look for this very form.
    weights
      ? `const WEIGHTS = { url: new URL('./${weights.file}', import.meta.url), bytes: ${weights.bytes} };`
      : 'const WEIGHTS = null;',
    `const TWIN = ${twin ? `new URL('./${twin}', import.meta.url)` : 'null'};`,
    compactScript(LOADER_BASE + (weights ? WEIGHT_READER : '') + (twin ? TWIN_READER : '')),
    compactScript(executorText()),
    compactScript(LOADER),
  ].join('\n');
}
