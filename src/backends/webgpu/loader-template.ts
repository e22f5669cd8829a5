// The text of a shipped `model.mjs`: plain JavaScript for browsers and for Node with Dawn. MODEL is the plan; the code
// that runs it is executor.ts, whose one function is written out by its own text, so that there is one executor only.

import { LOADER_BASE } from '../wasm/loader-template.js';
import { createExecutor } from './executor.js';
import type { GpuPlan } from './plan-types.js';

const LOADER = `
/** The weight file: from the Cache API where there is one, as its name is a hash of what it holds. */
async function readWeights(source) {
  if (!WEIGHTS) return new Uint8Array(0);
  const url = source ?? new URL('./' + WEIGHTS.file, import.meta.url);
  const isCached = !source && typeof caches === 'object' && url.protocol.startsWith('http');
  if (!isCached) return bytesOf(await read(url));
  const cache = await caches.open('heddle').catch(() => null);
  const found = await cache?.match(url);
  if (found) return bytesOf(await found.arrayBuffer());
  const response = await fetch(url);
  if (!response.ok) throw new Error('cannot read ' + url + ': ' + response.status);
  await cache?.put(url, response.clone()).catch(() => undefined);
  return bytesOf(await response.arrayBuffer());
}

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
  const { storageBuffers, bindingBytes } = MODEL.needs;
  const requiredLimits = {};
  const ask = (name, usual, needed) => {
    if (needed > adapter.limits[name]) throw new Error('the model needs ' + name + ' = ' + needed + ', this adapter has ' + adapter.limits[name]);
    if (needed > usual) requiredLimits[name] = needed;
  };
  ask('maxStorageBuffersPerShaderStage', 8, storageBuffers);
  ask('maxStorageBufferBindingSize', 2 ** 27, bindingBytes);
  ask('maxBufferSize', 2 ** 28, bindingBytes);
  return adapter.requestDevice({ requiredLimits });
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

async function call(executor, entry, inputs, options) {
  const symbols = new Map();
  const bounds = { symbols: entry.symbols.map((s) => [s.name, s.lo, s.hi]) };
  for (const name in inputs)
    if (!entry.inputs.some((i) => i.name === name)) throw new Error('E402 there is no input "' + name + '"');
  const given = entry.inputs.map((i) => take(i, inputs[i.name], bounds, symbols));
  const run = options?.outputs === 'gpu' ? executor.runOnDevice : executor.run;
  const outputs = await run(entry, given, symbols);
  return Object.fromEntries(entry.outputs.map((v, i) => [v.name, outputs[i]]));
}

/** A new instance with its own state. \`options.device\`: a GPUDevice to use; \`options.weights\`: where else the file is. */
export async function load(options = {}) {
  const hosts = HOSTS.map((op, n) => {
    const f = options.host?.[op];
    if (!f) throw new Error('the model needs load({ host: { ' + op + ' } })');
    return (inputs) => f(inputs, n);
  });
  const [device, weights] = await Promise.all([options.device ?? openDevice(), readWeights(options.weights)]);
  if (WEIGHTS && weights.length !== WEIGHTS.bytes)
    throw new Error('the weights have ' + weights.length + ' bytes instead of ' + WEIGHTS.bytes);
  const executor = await createExecutor(device, MODEL, weights, { hosts, onProgress: options.onProgress });
  const close = async () => {
    executor.destroy();
    if (!options.device) device.destroy();
  };
  const model = { device, close, reset: async () => executor.reset() };
  for (const entry of MODEL.entries) model[entry.name] = (inputs = {}, how) => call(executor, entry, inputs, how);
  return model;
}
`;

/** The module's text. `hosts`: the operator of each host step. */
export function loaderText(
  name: string,
  plan: GpuPlan,
  hosts: readonly string[],
  weights: { readonly file: string; readonly bytes: number } | null,
): string {
  const title = JSON.stringify(name).slice(1, -1).replaceAll('*/', '* /');
  return [
    `// ${title}: import { load } from './model.mjs'; const model = await load(); see model.d.ts.`,
    `const MODEL = ${JSON.stringify(plan)};`,
    `const HOSTS = ${JSON.stringify(hosts)};`,
    `const WEIGHTS = ${JSON.stringify(weights)};`,
    LOADER_BASE,
    createExecutor.toString(),
    LOADER,
  ].join('\n');
}
