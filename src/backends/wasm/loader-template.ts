// The text of a shipped `model.mjs`: plain JavaScript for browsers and Node, the same for every model but for MODEL,
// the plan that artifact.ts fills in. Kept small: no dependency, no class, every message says what was expected.

import { compactScript } from '../script-text.js';
import { createKept } from './kept.js';
import { ALONE, THREADS } from './loader-threads.js';
import { RELAXED_PROBE } from './relaxed.js';

/** What the loader knows of its model; shapes are the sizes of runtime/io.ts. */
export interface LoaderPlan {
  readonly pages: number;
  /** Address and length of the weight file's bytes, or null where the module brings them. */
  readonly weights: readonly [address: number, bytes: number] | null;
  /** Address, length, and whether it starts as zeros. */
  readonly state: readonly [address: number, bytes: number, zero: boolean];
  /** Most threads that have work, where the job is, and the module's byte that says its memory is shared. */
  readonly threads?: readonly [most: number, job: number, sharedAt: number];
  readonly entries: Readonly<Record<string, LoaderEntry>>;
  /** Sizes that data decide and a run checks, and where it leaves the number of one that does not fit, and its value. */
  readonly checked: readonly (readonly [name: string, lo: number, hi: number])[];
  readonly fault: number;
  /** Constants that are strings. */
  readonly strings: readonly (readonly [address: number, data: readonly string[]])[];
  readonly host: readonly {
    readonly op: string;
    readonly inputs: readonly HostArg[];
    readonly outputs: readonly HostArg[];
  }[];
}

type HostArg = readonly [dtype: string, rank: number];

export interface LoaderEntry {
  readonly symbols: readonly (readonly [name: string, lo: number, hi: number])[];
  /** `stays`: a run leaves there what it finds. */
  readonly inputs: readonly (readonly [
    name: string,
    dtype: string,
    shape: readonly unknown[],
    address: number,
    stays: 0 | 1,
  ])[];
  readonly outputs: readonly (readonly [name: string, dtype: string, rank: number, address: number, sizes: number])[];
}

/** Shared with other targets' loaders: types, reading files, checking inputs. */
export const LOADER_BASE = `
/** By one name, which bundlers make short. */
const world = globalThis;
const [I8, U16] = [Int8Array, Uint16Array];
const TYPES = {
  f64: Float64Array, f32: Float32Array, f16: U16, bf16: U16, i64: BigInt64Array, u64: BigUint64Array,
  i32: Int32Array, u32: Uint32Array, i16: Int16Array, u16: U16, i8: I8, i4: I8, i2: I8,
};
const typeOf = (dtype) => (dtype === 'string' ? Array : TYPES[dtype] ?? Uint8Array);
const count = (shape) => shape.reduce((n, d) => n * d, 1);
const show = (s) => (Array.isArray(s) ? s[0] + '(' + show(s[1]) + ', ' + show(s[2]) + ')' : s);

/** Bytes of a URL, by file system or network; anything else is taken for bytes. */
async function read(source) {
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return source;
  const url = new URL(source, import.meta.url);
  if (url.protocol === 'file:') {
    const fs = await import(/* webpackIgnore: true */ /* @vite-ignore */ 'node:fs/promises');
    return fs.readFile(url);
  }
  return (await get(url)).arrayBuffer();
}

async function get(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error('cannot read ' + url + ': ' + response.status);
  return response;
}

const bytesOf = (b) => (ArrayBuffer.isView(b) ? new Uint8Array(b.buffer, b.byteOffset, b.byteLength) : new Uint8Array(b));

/** The value of a size, NaN while a symbol of it is unknown. */
function sizeOf(size, symbols) {
  if (typeof size === 'number') return size;
  if (typeof size === 'string') return symbols.get(size) ?? NaN;
  const [, x, y] = size.map((s) => sizeOf(s, symbols));
  const q = Math.floor(x / y);
  return { '+': x + y, '*': x * y, '//': q, '%': x - q * y, min: Math.min(x, y), max: Math.max(x, y) }[size[0]];
}

/** The shape of a bare array: one unknown axis follows from the length. */
function inferShape(data, shape, symbols, fail) {
  const known = shape.map((s) => sizeOf(s, symbols));
  if (known.filter(isNaN).length > 1) fail('several axes vary: pass { data, shape }');
  const rest = data.length / count(known.map((d) => d || 1));
  return known.map((d) => (isNaN(d) ? rest : d));
}

/** One input as { data, shape }, its symbols solved. */
function check([name, dtype, shape], value, entry, symbols) {
  const fail = (why) => {
    throw new Error('E402 input "' + name + '": expected ' + dtype + '[' + shape.map(show).join(', ') + ']: ' + why);
  };
  if (value == null) fail('it is missing');
  const data = value.data ?? value;
  const type = typeOf(dtype);
  if (!(data instanceof type)) fail('data is no ' + type.name);
  const got = value.shape ?? inferShape(data, shape, symbols, fail);
  if (got.length !== shape.length) fail('got ' + got.length + ' axes');
  shape.forEach((size, axis) => {
    const wrong = (expected) => fail('axis ' + axis + ': expected ' + expected + ', got ' + got[axis]);
    const [, lo, hi] = entry.symbols.find(([s]) => s === size) ?? [];
    if (lo !== undefined && !symbols.has(size)) {
      if (!(Number.isInteger(got[axis]) && got[axis] >= lo && got[axis] <= hi))
        wrong(lo + ' ≤ ' + size + ' ≤ ' + hi);
      symbols.set(size, got[axis]);
    }
    const expected = sizeOf(size, symbols);
    if (expected !== got[axis] && !isNaN(expected)) wrong(expected);
  });
  if (data.length !== count(got)) fail('[' + got.join(', ') + '] has ' + count(got) + ' elements, data ' + data.length);
  return { data, shape: got };
}
`;

/** For artifacts that have a weight file. */
export const WEIGHT_READER = `
/** The weight file: the one given or, as it comes, the artifact's own. Its bytes go to take, in order. */
async function readWeights(given, own, bytes, heard, take) {
  if (given || !own.protocol.startsWith('http')) {
    const data = bytesOf(await read(given ?? own));
    complete(data.length, bytes);
    take(data);
  } else await download(own, bytes, heard, take);
  heard?.(bytes, bytes);
}

/** Its name is a hash of what it holds, so the Cache API keeps it, where there is one, instead of what the model had before. */
async function download(url, bytes, heard, take) {
  const cache = await world.caches?.open('heddle').catch(() => undefined);
  const kept = await cache?.match(url);
  const response = kept ?? (await get(url));
  const keeping = kept ? undefined : cache?.put(url, response.clone()).catch(() => undefined);
  let at = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length <= bytes) take(value);
    at += value.length;
    heard?.(Math.min(at, bytes), bytes);
  }
  await keeping;
  const home = (name) => name.replace(/[0-9a-f]{16}\\.bin$/, '');
  for (const { url: name } of (await cache?.keys()) ?? [])
    if (at === bytes ? name !== url.href && home(name) === home(url.href) : name === url.href) await cache.delete(name);
  complete(at, bytes);
}

function complete(got, bytes) {
  if (got !== bytes) throw new Error('the weights have ' + got + ' bytes, not ' + bytes);
}
`;

/** For artifacts with operators that run in JavaScript, or with strings. */
const HOSTS = `
/** One import per operator that runs in JavaScript. */
const hostImports = (memory, host) =>
  Object.fromEntries(MODEL.host.map(({ op, inputs, outputs }, n) => {
    if (!host?.[op]) throw new Error('the model needs load({ host: { ' + op + ' } })');
    return [n, (...values) => {
      let at = 0;
      const take = ([dtype, rank]) => {
        const address = values[at++] >>> 0;
        const shape = values.slice(at, (at += rank));
        return { dtype, shape, address };
      };
      const ins = inputs.map(take).map((t) => ({ ...t, data: copy(memory, t) }));
      const outs = outputs.map(take);
      host[op](ins, n).forEach((r, i) => put(memory, outs[i].address, r.data));
    }];
  }));

/** Bytes into memory; strings stay here, under a number where others have an address. */
const put = (memory, address, data) =>
  Array.isArray(data) ? memory.strings.set(address, data) : new Uint8Array(memory.buffer).set(bytesOf(data), address);

const copy = (memory, tensor, into) =>
  tensor.dtype === 'string' ? (memory.strings.get(tensor.address) ?? []) : copyNumbers(memory, tensor, into);

/** Starts with the strings that are constants. */
const withStrings = (memory) => ((memory.strings = new Map(MODEL.strings)), memory);
`;

const NO_HOSTS = `
const hostImports = () => ({});
const put = (memory, address, data) => new Uint8Array(memory.buffer).set(bytesOf(data), address);
const copy = copyNumbers;
const withStrings = (memory) => memory;
`;

/** For artifacts with sizes that data decide. */
const GUARD = `
/** A trap where data ask for a size outside its bounds becomes an error that says so. */
function guarded(memory, run) {
  const fault = new Int32Array(memory.buffer, MODEL.fault, 2).fill(0);
  try {
    run();
  } catch (error) {
    const [name, lo, hi] = MODEL.checked[fault[0] - 1] ?? [];
    if (name === undefined) throw error;
    throw new Error('E402 the data ask for a size "' + name + '" of ' + fault[1] + ', and the program is made for ' + lo + ' to ' + hi);
  }
}
`;

const NO_GUARD = 'const guarded = (memory, run) => run();\n';

/** For artifacts of which an output may be an input. */
const keeping = (): string => `
const createKept = ${createKept};

/** One input as a kept output's buffer or as elements. */
function take(memory, spec, value, entry, symbols) {
  const { buffer, dtype, shape } = value ?? {};
  if (!memory.kept.has(buffer)) return check(spec, value, entry, symbols).data;
  const { prototype, BYTES_PER_ELEMENT } = typeOf(dtype ?? spec[1]);
  const data = Object.create(prototype, { length: { value: buffer.size / BYTES_PER_ELEMENT } });
  check(spec, { data, shape }, entry, symbols);
  return buffer;
}

const place = ({ kept }, inputs, given) => kept.place(inputs.map((i) => i.slice(3)), given);

const leave = (memory, name, { dtype, shape, address }, options) =>
  options?.outputs?.includes(name) && dtype !== 'string'
    ? { dtype, shape, buffer: memory.kept.keep(address, count(shape) * typeOf(dtype).BYTES_PER_ELEMENT) }
    : undefined;

const withKept = (memory) => ((memory.kept = createKept(memory, put.bind(null, memory))), memory);
`;

const NOT_KEEPING = `
const take = (memory, ...given) => check(...given).data;
const place = (memory, inputs, given) => given.forEach((data, i) => put(memory, inputs[i][3], data));
const leave = () => undefined;
const withKept = (memory) => memory;
`;

const LOADER = `
/** A copy of what is in memory, new or where the caller says. */
function copyNumbers(memory, { dtype, shape, address }, into) {
  const type = typeOf(dtype);
  const data = new type(memory.buffer, address, count(shape));
  if (!into) return data.slice();
  if (!(into instanceof type && into.length >= data.length))
    throw new Error('E402 "into" needs ' + data.length + ' elements of a ' + type.name);
  into.set(data);
  return into.subarray(0, data.length);
}

function call(entry, invoke, memory, inputs, options) {
  const symbols = new Map();
  for (const name in inputs)
    if (!entry.inputs.some((i) => i[0] === name)) throw new Error('E402 there is no input "' + name + '"');
  const given = entry.inputs.map((i) => take(memory, i, inputs[i[0]], entry, symbols));
  place(memory, entry.inputs, given);
  guarded(memory, () => invoke(...entry.symbols.map(([name]) => symbols.get(name))));
  return Object.fromEntries(entry.outputs.map(([name, dtype, rank, address, sizes]) => {
    const shape = [...new Int32Array(memory.buffer, sizes, rank)];
    const place = { dtype, shape, address };
    return [name, leave(memory, name, place, options) ?? { dtype, shape, data: copy(memory, place, options?.into?.[name]) }];
  }));
}

function fetchWeights({ weights, onWeights }, memory, [at, bytes]) {
  return readWeights(weights, WEIGHTS, bytes, onWeights, (part) => {
    put(memory, at, part);
    at += part.length;
  });
}

const compiled = {};

/** A new instance with its own memory and state; see model.d.ts for the options. */
export async function load(options = {}) {
  const helpers = countHelpers(options);
  const compile = async (source) => WebAssembly.compile(forHelpers(await read(source), helpers));
  const kind = helpers > 0;
  if (!options.wasm && !compiled[kind]) {
    compiled[kind] = compile(WASM);
    compiled[kind].catch(() => delete compiled[kind]);
  }
  const memory = withKept(withStrings(new WebAssembly.Memory({ initial: MODEL.pages, maximum: MODEL.pages, shared: kind })));
  const [module] = await Promise.all([
    options.wasm ? compile(options.wasm) : compiled[kind],
    MODEL.weights && fetchWeights(options, memory, MODEL.weights),
  ]);
  const { exports } = await WebAssembly.instantiate(module, { env: { memory }, host: hostImports(memory, options.host) });
  const [address, bytes, zero] = MODEL.state;
  const state = new Uint8Array(memory.buffer, address, bytes);
  const initial = zero ? null : state.slice();
  const model = { memoryBytes: memory.buffer.byteLength, reset: async () => void (initial ? state.set(initial) : state.fill(0)) };
  const invoke = await startHelpers(model, module, memory, helpers);
  for (const [name, entry] of Object.entries(MODEL.entries))
    model[name] = async (inputs = {}, how) => call(entry, invoke(exports[name]), memory, inputs, how);
  return model;
}
`;

/** The files beside `model.mjs`, null where the artifact has none, and what it has need of. */
export interface LoaderFiles {
  readonly module: string;
  readonly relaxed: string | null;
  readonly weights: string | null;
  /** Whether outputs may stay in memory to be inputs. */
  readonly keeps: boolean;
}

/** The module's text. */
export function loaderText(name: string, plan: LoaderPlan, files: LoaderFiles): string {
  const title = JSON.stringify(name).slice(1, -1).replaceAll('*/', '* /');
  const url = (file: string | null): string => (file ? `new URL('./${file}', import.meta.url)` : 'null');
  const relaxed = files.relaxed
    ? `WebAssembly.validate(Uint8Array.of(${RELAXED_PROBE.join()}))?${url(files.relaxed)}:`
    : '';
  const usesHost = plan.host.length > 0 || Object.values(plan.entries).some(hasStrings);
  const pieces = [
    LOADER_BASE,
    files.weights ? WEIGHT_READER : '',
    plan.threads ? THREADS : ALONE,
    usesHost ? HOSTS : NO_HOSTS,
    plan.checked.length > 0 ? GUARD : NO_GUARD,
    files.keeps ? keeping() : NOT_KEEPING,
    LOADER,
  ];
  return [
    `// ${title}: import { load } from './model.mjs'; const model = await load(); see model.d.ts.`,
    `const MODEL=${JSON.stringify(plan)};`,
    `const WASM=${relaxed}${url(files.module)};`,
    `const WEIGHTS=${url(files.weights)};`,
    `${compactScript(pieces.join(''))}\n`,
  ].join('\n');
}

const hasStrings = ({ inputs, outputs }: LoaderEntry): boolean =>
  [...inputs, ...outputs].some(([, dtype]) => dtype === 'string');
