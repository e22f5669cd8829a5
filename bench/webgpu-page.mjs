// What runs inside the page: functions that are sent there as text, so each stands alone. Both sides hand inputs over from
// JavaScript and get outputs back there, as a caller would have it.

/** Counts what is asked of WebGPU: dispatches, submits, waits, bytes written, copied and held. */
export function countDevice() {
  const counts = {};
  let held = 0;
  const clear = () => Object.assign(counts, { dispatches: 0, submits: 0, waits: 0, written: 0, copied: 0 });
  clear();
  const on = (type, name, hear) => {
    const original = type.prototype[name];
    type.prototype[name] = function (...args) {
      const result = original.apply(this, args);
      hear(args, this, result);
      return result;
    };
  };
  for (const name of ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect'])
    on(GPUComputePassEncoder, name, () => counts.dispatches++);
  on(GPUQueue, 'submit', () => counts.submits++);
  on(GPUBuffer, 'mapAsync', () => counts.waits++);
  on(GPUQueue, 'writeBuffer', ([, , data, from = 0, size]) => {
    const unit = data.BYTES_PER_ELEMENT ?? 1;
    counts.written += size === undefined ? data.byteLength - from * unit : size * unit;
  });
  on(GPUCommandEncoder, 'copyBufferToBuffer', (args) => {
    // (from, into, size?) or (from, offset, into, offset, size)
    counts.copied += (args.length > 3 ? args[4] : args[2]) ?? args[0].size;
  });
  on(GPUDevice, 'createBuffer', ([{ size, mappedAtCreation }]) => {
    held += size;
    if (mappedAtCreation) counts.written += size;
  });
  const gone = new WeakSet();
  on(GPUBuffer, 'destroy', (_, buffer) => {
    if (!gone.has(buffer)) held -= buffer.size;
    gone.add(buffer);
  });
  globalThis.heldBytes = () => held;
  globalThis.countRun = async (run) => {
    clear();
    await run();
    return { ...counts };
  };
}

/** Gives the bytes its buffers have after the first run. */
export async function runHeddle(inputs) {
  const before = globalThis.heldBytes();
  const { load } = await import('/heddle/model.mjs');
  const model = await load();
  const TYPED = { f64: Float64Array, f32: Float32Array, i64: BigInt64Array, i32: Int32Array, i8: Int8Array };
  const feeds = {};
  for (const { name, dtype, shape, url } of inputs) {
    const bytes = await (await fetch(url)).arrayBuffer();
    feeds[name] = { data: new (TYPED[dtype] ?? Uint8Array)(bytes), shape };
  }
  const call = () => model.run(feeds);
  await call();
  globalThis.runHeddle = {
    call,
    outputs: async () => Object.values(await call()).map((t) => Array.from(t.data, Number)),
  };
  return globalThis.heldBytes() - before;
}

export async function runOrt(inputs) {
  const before = globalThis.heldBytes();
  const ort = await import('/ort/ort.webgpu.bundle.min.mjs');
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = '/ort/';
  ort.env.logLevel = 'error';
  const session = await ort.InferenceSession.create('/model.onnx', { executionProviders: ['webgpu'] });
  const TYPED = {
    f32: ['float32', Float32Array],
    i64: ['int64', BigInt64Array],
    i32: ['int32', Int32Array],
    i8: ['int8', Int8Array],
    u8: ['uint8', Uint8Array],
    i1: ['bool', Uint8Array],
  };
  const feeds = {};
  for (const [k, { dtype, shape, url }] of inputs.entries()) {
    const [name, array] = TYPED[dtype] ?? [];
    if (!name) throw new Error(`takes no ${dtype} from here`);
    feeds[session.inputNames[k]] = new ort.Tensor(name, new array(await (await fetch(url)).arrayBuffer()), shape);
  }
  const call = () => session.run(feeds);
  await call();
  globalThis.runOrt = {
    call,
    outputs: async () => {
      const out = await call();
      return session.outputNames.map((name) => Array.from(out[name].data, Number));
    },
  };
  return globalThis.heldBytes() - before;
}
