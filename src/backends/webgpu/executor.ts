/// <reference types="@webgpu/types" />
// Runs a plan on a device. One command encoder collects the dispatches of a run; it is submitted before anything is read
// back: the outputs, and on the way what a `bind`, `if`, `while` or host step must know. This file imports no values, and
// nothing in it lives outside of createExecutor: its text is what a shipped model.mjs contains.

import type { DeviceTensor } from '../../runtime/session.js';
import type { GpuBufferPlan, GpuEntryPlan, GpuHostValue, GpuPlan, GpuSize, GpuStep } from './plan-types.js';

/** A host step's tensor as it is passed: f64 is f64 again. */
export interface HostTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | readonly string[];
}

export type HostFunction = (inputs: readonly HostTensor[]) => readonly { readonly data: HostTensor['data'] }[];

/** What one run came to. `readbacks` counts the waits for the device within it, the outputs not among them. */
export interface RunCounts {
  readonly dispatches: number;
  readonly readbacks: number;
  readonly submits: number;
}

export interface Executor {
  /**
   * Inputs by position: elements, strings, or a buffer of this device; outputs likewise, with their shapes. Those that
   * `stays` marks are left on the device (f64 held in f32), the others are read back together; none, and nobody waits.
   */
  run(
    entry: GpuEntryPlan,
    inputs: readonly (ArrayBufferView | readonly string[] | GPUBuffer)[],
    symbols: ReadonlyMap<string, number>,
    stays?: readonly boolean[],
  ): Promise<readonly (HostTensor | DeviceTensor)[]>;
  reset(): void;
  destroy(): void;
  counts(): RunCounts;
}

export interface ExecutorOptions {
  /** Function of host step k. */
  readonly hosts?: readonly HostFunction[];
  /** Hears how many of all pipelines are ready. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export async function createExecutor(
  device: GPUDevice,
  plan: GpuPlan,
  weights: Uint8Array | Promise<Uint8Array>,
  options: ExecutorOptions = {},
): Promise<Executor> {
  const WORKGROUP = 64;
  const SLOT = 256;
  const SLOTS = 1024;
  /** Constants whose values stay at hand: so few bytes, or of a type that counts and conditions have. */
  const SMALL = 1024;
  const COUNTS = /^([iu](32|64)|i1)$/;
  const STORAGE = 0x80;
  const UNIFORM = 0x40;
  const COPY_SRC = 0x4;
  const COPY_DST = 0x8;
  const MAP_READ = 0x1;
  const COMPUTE = 0x4;
  const counts = { dispatches: 0, readbacks: 0, submits: 0 };
  const strings = new Map<number, readonly string[]>();
  let lost = '';
  void device.lost.then((info) => {
    lost = `the GPU device was lost: ${info.message || info.reason}`;
  });

  const check = async <T>(what: string, work: () => Promise<T> | T): Promise<T> => {
    if (lost) throw new Error(lost);
    for (const scope of ['validation', 'out-of-memory', 'internal'] as const) device.pushErrorScope(scope);
    let result: T | undefined;
    let failure: unknown;
    try {
      result = await work();
    } catch (e) {
      failure = e;
    }
    const errors = await Promise.all([0, 1, 2].map(() => device.popErrorScope()));
    const error = errors.find((e) => e !== null);
    if (lost) throw new Error(lost);
    if (error) throw new Error(`${what}: ${error.message || 'the GPU is out of memory'}`);
    if (failure !== undefined) throw failure;
    return result as T;
  };

  const typeOf = (dtype: string) => {
    if (dtype === 'f32') return Float32Array;
    if (dtype === 'f64') return Float64Array;
    if (dtype === 'i64') return BigInt64Array;
    if (dtype === 'u64') return BigUint64Array;
    if (dtype === 'i32') return Int32Array;
    if (dtype === 'u32') return Uint32Array;
    if (dtype === 'i16') return Int16Array;
    if (dtype === 'u16' || dtype === 'f16' || dtype === 'bf16') return Uint16Array;
    return dtype === 'i8' || dtype === 'i4' || dtype === 'i2' ? Int8Array : Uint8Array;
  };
  /** Bytes of an element on the device, where f64 is held in f32. */
  const elementBytes = (dtype: string): number => (dtype === 'f64' ? 4 : typeOf(dtype).BYTES_PER_ELEMENT);

  const evalSize = (size: GpuSize, env: ReadonlyMap<string, number>): number => {
    if (typeof size === 'number') return size;
    if (typeof size === 'string') {
      const value = env.get(size);
      if (value === undefined) throw new Error(`the size "${size}" has no value yet`);
      return value;
    }
    const [op, ...args] = size;
    const [x = 0, y = 0, z = 0] = args.map((a) => evalSize(a as GpuSize, env));
    if (op === '+') return x + y;
    if (op === '*') return x * y;
    if (op === '//') return Math.floor(x / y);
    if (op === '%') return x - Math.floor(x / y) * y;
    if (op === 'min') return Math.min(x, y);
    if (op === 'max') return Math.max(x, y);
    if (op === 'sub') return x - y;
    if (op === 'neg') return -x;
    if (op === 'div') return Math.trunc(x / y);
    if (op === 'rem') return x % y;
    if (op === 'select') return x ? y : z;
    if (op === 'eq') return Number(x === y);
    if (op === 'lt') return Number(x < y);
    if (op === 'le') return Number(x <= y);
    if (op === 'and') return x & y;
    if (op === 'or') return x | y;
    if (op === 'xor') return x ^ y;
    if (op === 'shl') return x * 2 ** y;
    if (op === 'shr_s') return Math.floor(x / 2 ** y);
    throw new Error(`a size is given by the unknown operation "${op}"`);
  };

  const bytesOf = (a: ArrayBufferView): Uint8Array<ArrayBuffer> =>
    new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength);

  /** Writes at a multiple of 4, padded to one. */
  const write = (buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): void => {
    const whole = bytes.length - (bytes.length % 4);
    if (whole > 0) device.queue.writeBuffer(buffer, offset, bytes, 0, whole);
    if (whole === bytes.length) return;
    const rest = new Uint8Array(4);
    rest.set(bytes.subarray(whole));
    device.queue.writeBuffer(buffer, offset + whole, rest);
  };

  const makeBuffer = (b: GpuBufferPlan): GPUBuffer =>
    device.createBuffer({ size: b.bytes, usage: STORAGE | COPY_SRC | COPY_DST });
  /** First contents that are wanted again: of state, and numbers the host may need. The rest is on the device only. */
  const contents = new Map<GpuBufferPlan, Uint8Array<ArrayBuffer>>();
  const fillBuffer = (b: GpuBufferPlan, buffer: GPUBuffer, all: Uint8Array): void => {
    if (!b.data) return;
    const bytes = bytesOf(all).subarray(b.data[0], b.data[0] + b.data[1]);
    write(buffer, 0, bytes);
    if (b.kind === 'state' || bytes.length <= SMALL || COUNTS.test(b.dtype)) contents.set(b, bytes.slice());
  };

  const makePipeline = async (k: number): Promise<GPUComputePipeline> => {
    const { name, code, access } = plan.pipelines[k] as GpuPlan['pipelines'][number];
    const bindings: GPUBindGroupLayoutEntry[] = access.map((a, i) => ({
      binding: i + 1,
      visibility: COMPUTE,
      buffer: { type: a === 'write' ? 'storage' : 'read-only-storage' },
    }));
    const layout = device.createBindGroupLayout({
      entries: [{ binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } }, ...bindings],
    });
    const module = device.createShaderModule({ label: name, code });
    return device.createComputePipelineAsync({
      label: name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
  };

  let ready = 0;
  const { buffers, pipelines } = await check('loading the model', async () => {
    const made = plan.buffers.map(makeBuffer);
    const compiling = plan.pipelines.map(async (_, k) => {
      const pipeline = await makePipeline(k);
      ready++;
      options.onProgress?.(ready, plan.pipelines.length);
      return pipeline;
    });
    const [all, ...compiled] = await Promise.all([weights, ...compiling]);
    plan.buffers.forEach((b, k) => {
      fillBuffer(b, made[k] as GPUBuffer, all);
    });
    return { buffers: made, pipelines: compiled };
  });
  const uniforms = device.createBuffer({ size: SLOT * SLOTS, usage: UNIFORM | COPY_DST });
  const words = new Int32Array((SLOT * SLOTS) / 4);
  const groups = new WeakMap<GpuStep, GPUBindGroup>();

  let encoder: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;
  let used = 0;
  const encode = (): GPUCommandEncoder => {
    encoder ??= device.createCommandEncoder();
    return encoder;
  };
  const endPass = (): void => {
    pass?.end();
    pass = undefined;
  };
  const submit = (): void => {
    endPass();
    if (!encoder) return;
    if (used > 0) device.queue.writeBuffer(uniforms, 0, words, 0, (used * SLOT) / 4);
    device.queue.submit([encoder.finish()]);
    counts.submits++;
    encoder = undefined;
    used = 0;
  };

  /** Copies of ranges of buffers, after everything before has run. Ranges start at a multiple of 4. */
  const read = async (
    ranges: readonly { buffer: GPUBuffer; offset: number; bytes: number }[],
  ): Promise<ArrayBuffer[]> => {
    const starts: number[] = [];
    let size = 0;
    for (const r of ranges) {
      starts.push(size);
      size += Math.ceil(r.bytes / 4) * 4;
    }
    if (size === 0) {
      submit();
      return ranges.map(() => new ArrayBuffer(0));
    }
    const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    endPass();
    ranges.forEach((r, k) => {
      const bytes = Math.ceil(r.bytes / 4) * 4;
      if (bytes > 0) encode().copyBufferToBuffer(r.buffer, r.offset, staging, starts[k] as number, bytes);
    });
    submit();
    await staging.mapAsync(MAP_READ);
    const all = staging.getMappedRange();
    const parts = ranges.map((r, k) => all.slice(starts[k] as number, (starts[k] as number) + r.bytes));
    staging.unmap();
    staging.destroy();
    return parts;
  };

  const groupOf = (step: GpuStep & { do: 'run' }): GPUBindGroup => {
    const known = groups.get(step);
    if (known) return known;
    const made = device.createBindGroup({
      layout: (pipelines[step.pipeline] as GPUComputePipeline).getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: uniforms, size: SLOT } },
        ...step.buffers.map((b, k) => ({ binding: k + 1, resource: { buffer: buffers[b] as GPUBuffer } })),
      ],
    });
    groups.set(step, made);
    return made;
  };

  const dispatch = (step: GpuStep & { do: 'run' }, env: ReadonlyMap<string, number>): void => {
    const sized = step.parts.map((p) => {
      const count = p.count === null ? 1 : Math.max(0, evalSize(p.count, env));
      return { count, groups: p.count === null || p.shared ? count : Math.ceil(count / WORKGROUP), sizes: p.sizes };
    });
    const needed = sized.reduce((n, p) => n + p.groups, 0);
    if (needed === 0) return;
    if (used === SLOTS) submit();
    const rows = Math.ceil(needed / device.limits.maxComputeWorkgroupsPerDimension);
    const width = Math.ceil(needed / rows);
    let at = (used * SLOT) / 4;
    let end = 0;
    words[at++] = width;
    for (const p of sized) {
      end += p.groups;
      words[at++] = end;
      words[at++] = p.count;
      for (const s of p.sizes) words[at++] = evalSize(s, env);
    }
    if (step.gather) {
      endPass();
      for (const [from, into, start, bytes] of step.gather)
        encode().copyBufferToBuffer(buffers[from] as GPUBuffer, 0, buffers[into] as GPUBuffer, start, bytes);
    }
    pass ??= encode().beginComputePass();
    pass.setPipeline(pipelines[step.pipeline] as GPUComputePipeline);
    pass.setBindGroup(0, groupOf(step), [used * SLOT]);
    pass.dispatchWorkgroups(width, rows);
    counts.dispatches++;
    used++;
    const learned = (step.known ?? []).map(([b, index, value]) => ({
      b,
      index: evalSize(index, env),
      value:
        typeof value === 'object' && 'of' in value
          ? recall(value.of[0], evalSize(value.of[1], env))
          : evalSize(value, env),
    }));
    const { access } = plan.pipelines[step.pipeline] as GpuPlan['pipelines'][number];
    step.buffers.forEach((b, k) => {
      if (access[k] === 'write') forget(b);
    });
    for (const { b, index, value } of learned) if (value !== undefined) learn(b, index, value);
  };

  /** Numbers the host knows of buffers without asking: constants, inputs, sizes that kernels write, what it has read. */
  const known = new Map<number, Map<number, number>>();
  const given = new Map<number, ArrayBufferView>();
  const learn = (buffer: number, index: number, value: number): void => {
    const of = known.get(buffer) ?? new Map<number, number>();
    known.set(buffer, of.set(index, value));
  };
  const forget = (buffer: number): void => {
    known.delete(buffer);
    given.delete(buffer);
  };
  const constantAt = (b: GpuBufferPlan, index: number): number | undefined => {
    const bytes = elementBytes(b.dtype);
    const data = contents.get(b);
    if (b.kind !== 'const' || !data || b.dtype === 'f64' || (index + 1) * bytes > data.length) return undefined;
    return Number(new (typeOf(b.dtype))(data.slice(index * bytes, (index + 1) * bytes).buffer)[0]);
  };
  const recall = (buffer: number, index: number): number | undefined => {
    const constant = constantAt(plan.buffers[buffer] as GpuBufferPlan, index);
    if (constant !== undefined) return constant;
    const data = given.get(buffer) as ArrayLike<number | bigint> | undefined;
    return data && index < data.length ? Number(data[index]) : known.get(buffer)?.get(index);
  };

  /** Single numbers; those that nobody knows are read back together. */
  const readNumbers = async (
    places: readonly (readonly [buffer: number, offset: GpuSize])[],
    env: ReadonlyMap<string, number>,
  ): Promise<readonly number[]> => {
    const wanted = places.map(([buffer, offset]) => ({ buffer, index: evalSize(offset, env) }));
    const missing = wanted.filter((w) => recall(w.buffer, w.index) === undefined);
    if (missing.length > 0) {
      counts.readbacks++;
      const ranges = missing.map(({ buffer, index }) => {
        const bytes = elementBytes((plan.buffers[buffer] as GpuBufferPlan).dtype);
        const skip = (index * bytes) % 4;
        return { buffer: buffers[buffer] as GPUBuffer, offset: index * bytes - skip, bytes: bytes + skip, skip };
      });
      const parts = await read(ranges);
      missing.forEach(({ buffer, index }, k) => {
        const { dtype } = plan.buffers[buffer] as GpuBufferPlan;
        const type = dtype === 'f64' ? Float32Array : typeOf(dtype);
        const part = (parts[k] as ArrayBuffer).slice(ranges[k]?.skip);
        learn(buffer, index, Number(new type(part)[0]));
      });
    }
    return wanted.map((w) => recall(w.buffer, w.index) as number);
  };
  const readNumber = async (
    place: readonly [buffer: number, offset: GpuSize],
    env: ReadonlyMap<string, number>,
  ): Promise<number> => (await readNumbers([place], env))[0] as number;

  const fromDevice = (dtype: string, shape: readonly number[], bytes: ArrayBuffer): HostTensor => {
    const data = dtype === 'f64' ? Float64Array.from(new Float32Array(bytes)) : new (typeOf(dtype))(bytes);
    return { dtype, shape, data };
  };
  const toDevice = (dtype: string, data: ArrayBufferView): Uint8Array<ArrayBuffer> =>
    bytesOf(dtype === 'f64' ? Float32Array.from(data as Float64Array) : data);

  const volume = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

  const readValues = async (
    values: readonly GpuHostValue[],
    env: ReadonlyMap<string, number>,
  ): Promise<readonly HostTensor[]> => {
    const wanted = values.map(([index, offset, dtype, shape]) => {
      const actual = shape.map((s) => evalSize(s, env));
      const start = dtype === 'string' ? 0 : evalSize(offset, env) * elementBytes(dtype);
      const skip = start % 4;
      const bytes = dtype === 'string' ? 0 : volume(actual) * elementBytes(dtype);
      return {
        index,
        dtype,
        actual,
        skip,
        range: { buffer: buffers[index] as GPUBuffer, offset: start - skip, bytes: bytes + skip },
      };
    });
    const parts = await read(wanted.map((w) => (w.range.bytes === w.skip ? { ...w.range, bytes: 0 } : w.range)));
    return wanted.map((w, k) => {
      if (w.dtype === 'string') return { dtype: w.dtype, shape: w.actual, data: strings.get(w.index) ?? [] };
      return fromDevice(w.dtype, w.actual, (parts[k] as ArrayBuffer).slice(w.skip));
    });
  };

  const runHost = async (step: GpuStep & { do: 'host' }, env: ReadonlyMap<string, number>): Promise<void> => {
    const call = options.hosts?.[step.index];
    if (!call) throw new Error(`the model needs a host function for ${step.op}`);
    counts.readbacks++;
    const results = call(await readValues(step.inputs, env));
    step.outputs.forEach(([index, offset, dtype], k) => {
      const data = results[k]?.data;
      forget(index);
      if (data === undefined) throw new Error(`${step.op} gave no output ${k}`);
      if (!ArrayBuffer.isView(data)) strings.set(index, data);
      else write(buffers[index] as GPUBuffer, evalSize(offset, env) * elementBytes(dtype), toDevice(dtype, data));
    });
  };

  /** Consecutive `bind` steps read together, as long as none needs another's symbol to find its own. */
  const bindAll = async (steps: readonly (GpuStep & { do: 'bind' })[], env: Map<string, number>): Promise<void> => {
    const values = await readNumbers(
      steps.map((s) => s.from),
      env,
    );
    steps.forEach(({ sym }, k) => {
      const value = values[k] as number;
      if (sym.checked && !(value >= sym.lo && value <= sym.hi))
        throw new Error(
          `E402 the data ask for a size "${sym.name}" of ${value}, and the program is made for ${sym.lo} to ${sym.hi}`,
        );
      env.set(sym.name, Math.min(sym.hi, Math.max(sym.lo, value)));
    });
  };

  const runSteps = async (steps: readonly GpuStep[], env: Map<string, number>): Promise<void> => {
    for (let k = 0; k < steps.length; k++) {
      const step = steps[k] as GpuStep;
      if (step.do === 'run') dispatch(step, env);
      else if (step.do === 'bind') {
        const binds = [step];
        for (let next = steps[k + 1]; next?.do === 'bind' && typeof next.from[1] === 'number'; next = steps[++k + 1])
          binds.push(next);
        await bindAll(binds, env);
      } else if (step.do === 'if') {
        await runSteps((await readNumber(step.cond, env)) !== 0 ? step.then : step.else, env);
      } else if (step.do === 'loop') {
        const count = evalSize(step.count, env);
        for (let i = 0; i < count; i++) {
          env.set(step.sym, i);
          await runSteps(step.body, env);
        }
      } else if (step.do === 'while') {
        for (;;) {
          await runSteps(step.test, env);
          if ((await readNumber(step.cond, env)) === 0) break;
          await runSteps(step.body, env);
        }
      } else await runHost(step, env);
    }
  };

  const feed = (
    v: GpuEntryPlan['inputs'][number],
    data: ArrayBufferView | readonly string[] | GPUBuffer,
    size: number,
  ) => {
    const into = buffers[v.buffer] as GPUBuffer;
    if (ArrayBuffer.isView(data)) {
      write(into, 0, toDevice(v.dtype, data));
      given.set(v.buffer, data);
    } else if (Array.isArray(data)) strings.set(v.buffer, data as readonly string[]);
    else encode().copyBufferToBuffer(data as GPUBuffer, 0, into, 0, Math.ceil((size * elementBytes(v.dtype)) / 4) * 4);
  };

  /** Feeds the inputs and encodes every step; gives back the sizes in the end. */
  const start = async (
    entry: GpuEntryPlan,
    inputs: readonly (ArrayBufferView | readonly string[] | GPUBuffer)[],
    symbols: ReadonlyMap<string, number>,
  ): Promise<ReadonlyMap<string, number>> => {
    Object.assign(counts, { dispatches: 0, readbacks: 0, submits: 0 });
    // What a run that failed left behind.
    encoder = undefined;
    pass = undefined;
    used = 0;
    known.clear();
    given.clear();
    const env = new Map(symbols);
    entry.inputs.forEach((v, k) => {
      const data = inputs[k];
      if (data !== undefined) feed(v, data, volume(v.shape.map((s) => evalSize(s, env))));
    });
    await runSteps(entry.steps, env);
    return env;
  };

  const keepOutput = (v: GpuEntryPlan['outputs'][number], env: ReadonlyMap<string, number>): DeviceTensor => {
    const shape = v.shape.map((s) => evalSize(s, env));
    const bytes = Math.max(4, Math.ceil((volume(shape) * elementBytes(v.dtype)) / 4) * 4);
    const buffer = device.createBuffer({ label: v.name, size: bytes, usage: STORAGE | COPY_SRC | COPY_DST });
    endPass();
    encode().copyBufferToBuffer(buffers[v.buffer] as GPUBuffer, 0, buffer, 0, bytes);
    return { dtype: v.dtype, shape, buffer };
  };

  /** One run at a time: they share the encoder and every buffer. */
  let last: Promise<unknown> = Promise.resolve();
  const queue = <T>(entry: GpuEntryPlan, work: () => Promise<T>): Promise<T> => {
    const next = last.then(() => check(`running "${entry.name}"`, work));
    last = next.catch(() => undefined);
    return next;
  };
  return {
    run: (entry, inputs, symbols, stays = []) =>
      queue(entry, async () => {
        const env = await start(entry, inputs, symbols);
        const kept = entry.outputs.map((v, k) => (stays[k] && v.dtype !== 'string' ? keepOutput(v, env) : null));
        const wanted = entry.outputs.filter((_, k) => !kept[k]);
        const values = await readValues(
          wanted.map((v): GpuHostValue => [v.buffer, 0, v.dtype, v.shape]),
          env,
        );
        let next = 0;
        return kept.map((k) => k ?? (values[next++] as HostTensor));
      }),
    reset() {
      plan.buffers.forEach((b, k) => {
        if (b.kind !== 'state') return;
        write(buffers[k] as GPUBuffer, 0, contents.get(b) ?? new Uint8Array(b.bytes));
      });
    },
    destroy() {
      for (const b of [...buffers, uniforms]) b.destroy();
    },
    counts: () => ({ ...counts }),
  };
}
