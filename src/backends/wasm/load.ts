// A Program run as WebAssembly in this process: tests, the command line and `verify` use it. What is shipped to users
// is the loader in artifact.ts. Each session has a memory of its own; nothing is shared but the compiled code.

import type { Program } from '../../ir/program.js';
import type { DeviceSession, DeviceTensor, RuntimeTensor } from '../../runtime/session.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import { CompileError, invariant } from '../../support/errors.js';
import { sizeOf, STORAGE, type Tensor, type TypedArray } from '../../support/tensor.js';
import { checkedSymbols, describeEntry, findEntry, outsideSize, solveInputs } from '../entry-spec.js';
import { createKept, type Given, type Kept, type KeptBuffer } from './kept.js';
import { faultAddress, initialImage, stringConstants, type ValueLayout, type WasmLayout } from './layout.js';
import { collectHosts, emitWasm } from './program.js';
import { knowsRelaxed } from './relaxed.js';

/** A session whose results may also go into arrays that the caller has. */
export interface WasmSession extends DeviceSession {
  /** Like `run`; outputs that `into` has an array for are the part of it that they fill. E402 where one is of another type or
   *  too short. */
  runInto(
    inputs: Readonly<Record<string, RuntimeTensor>>,
    into: Readonly<Record<string, TypedArray>>,
    entry?: string,
  ): Promise<Record<string, RuntimeTensor>>;
}

type EntryFunction = (...symbols: number[]) => void;

/** Compiles and instantiates; E302 where the engine refuses that much memory. With `mark`, a profiling build that calls it
 *  around every step. */
export async function instantiateWasm(program: Program, mark?: (point: number) => void): Promise<WasmSession> {
  const { module, layout } = emitWasm(program, {
    weights: 'file',
    names: true,
    profile: mark !== undefined,
    relaxed: knowsRelaxed(),
  });
  const memory = makeMemory(layout.pages);
  const strings: Strings = new Map(stringConstants(program));
  const { instance } = await WebAssembly.instantiate(module.slice(), {
    env: { memory },
    host: hostImports(program, layout, memory, strings),
    ...(mark ? { profile: { mark } } : {}),
  });
  for (const { address, bytes } of initialImage(program, layout)) new Uint8Array(memory.buffer).set(bytes, address);
  return openSession(program, layout, { memory, strings, instance });
}

function makeMemory(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch (e) {
    const why = e instanceof Error ? e.message : String(e);
    throw new CompileError('E302', `this engine gives no memory of ${pages} pages (${pages / 16} MiB): ${why}`);
  }
}

/** Contents of string buffers, under their numbers. */
type Strings = Map<number, readonly string[]>;

interface Instance {
  readonly memory: WebAssembly.Memory;
  readonly strings: Strings;
  readonly instance: WebAssembly.Instance;
}

function openSession(program: Program, layout: WasmLayout, { memory, strings, instance }: Instance): WasmSession {
  const { address, bytes } = layout.state;
  const initial = layout.stateIsZero ? null : new Uint8Array(memory.buffer, address, bytes).slice();
  const specs = program.entries.map(describeEntry);
  const kept = createKept(memory, (at, data) => write(memory, strings, at, data));
  let open = true;
  const call = async (
    inputs: Readonly<Record<string, RuntimeTensor | DeviceTensor>>,
    { stay = [], into = {} }: Results,
    name: string | undefined,
  ): Promise<Record<string, RuntimeTensor | DeviceTensor>> => {
    if (!open) throw new CompileError('E402', 'the session is closed');
    const index = findEntry(program, name);
    const [spec, entry] = [specs[index], layout.entries[index]];
    invariant(spec && entry, `entry ${index} has no layout`);
    const symbols = solveInputs(spec, inputs);
    const given = entry.inputs.map((v) => take(kept, v, inputs[v.name] as RuntimeTensor | DeviceTensor));
    kept.place(
      entry.inputs.map((v) => [v.address, v.stays]),
      given,
    );
    invoke(program, memory, () =>
      (instance.exports[entry.name] as EntryFunction)(...entry.symbols.map((s) => symbols.get(s.name) as number)),
    );
    const outputs = entry.outputs.map((v) => {
      const stays = stay.includes(v.name) && v.dtype !== 'string';
      return [v.name, stays ? keepOutput(kept, memory, v) : readOutput(memory, strings, v, into[v.name])] as const;
    });
    return Object.fromEntries(outputs);
  };
  return {
    run: async (inputs, name) => (await call(inputs, {}, name)) as Record<string, RuntimeTensor>,
    runInto: async (inputs, into, name) => (await call(inputs, { into }, name)) as Record<string, RuntimeTensor>,
    runOnDevice: (inputs, stay, name) => call(inputs, { stay }, name),
    device: memory,
    async reset() {
      const state = new Uint8Array(memory.buffer, address, bytes);
      if (initial) state.set(initial);
      else state.fill(0);
    },
    async close() {
      open = false;
    },
  };
}

/** Where a call's outputs go: left in memory, into the caller's arrays, else copies. */
interface Results {
  readonly stay?: readonly string[];
  readonly into?: Readonly<Record<string, TypedArray>>;
}

/** An input's data, or what stayed in memory of it. */
function take(kept: Kept, v: ValueLayout, t: RuntimeTensor | DeviceTensor): Given {
  if (!('buffer' in t)) return t.data;
  const size = sizeOf(t.shape) * DTYPE_INFO[v.dtype].bytes;
  if (kept.has(t.buffer) && t.buffer.size === size) return t.buffer as KeptBuffer;
  throw new CompileError('E402', `input "${v.name}" is no output of this session that still stays in its memory`);
}

function keepOutput(kept: Kept, memory: WebAssembly.Memory, v: ValueLayout): DeviceTensor {
  const shape = [...new Int32Array(memory.buffer, v.sizes, v.rank)];
  return { dtype: v.dtype, shape, buffer: kept.keep(v.address, sizeOf(shape) * DTYPE_INFO[v.dtype].bytes) };
}

/** A trap at a checked size becomes the error it stands for. */
function invoke(program: Program, memory: WebAssembly.Memory, run: () => void): void {
  const fault = new Int32Array(memory.buffer, faultAddress(program), 2);
  fault.fill(0);
  try {
    run();
  } catch (error) {
    const sym = checkedSymbols(program)[(fault[0] as number) - 1];
    if (!sym) throw error;
    throw new CompileError('E402', ...outsideSize(sym, fault[1] as number));
  }
}

function write(memory: WebAssembly.Memory, strings: Strings, address: number, data: RuntimeTensor['data']): void {
  if (!ArrayBuffer.isView(data)) strings.set(address, data);
  else new Uint8Array(memory.buffer).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), address);
}

/** A copy of the elements at `address`, in an array of its own or at the start of the one given. */
function readTensor(
  memory: WebAssembly.Memory,
  strings: Strings,
  { dtype, address }: Pick<ValueLayout, 'dtype' | 'address'>,
  shape: readonly number[],
  into?: TypedArray,
): Tensor {
  if (dtype === 'string') return { dtype, shape, data: strings.get(address) ?? [] };
  const elements = sizeOf(shape);
  if (!into) {
    const bytes = memory.buffer.slice(address, address + elements * DTYPE_INFO[dtype].bytes);
    return { dtype, shape, data: new STORAGE[dtype](bytes) };
  }
  if (!(into instanceof STORAGE[dtype]) || into.length < elements)
    throw new CompileError(
      'E402',
      `an output has ${elements} elements of a ${STORAGE[dtype].name}, for which there is no room`,
    );
  into.set(new STORAGE[dtype](memory.buffer, address, elements) as never);
  return { dtype, shape, data: into.subarray(0, elements) };
}

function readOutput(memory: WebAssembly.Memory, strings: Strings, v: ValueLayout, into?: TypedArray): RuntimeTensor {
  const shape = [...new Int32Array(memory.buffer, v.sizes, v.rank)];
  return readTensor(memory, strings, v, shape, into) as RuntimeTensor;
}

/** One import per host step: tensors are read from memory, the step's own function called, its results written back. */
function hostImports(
  program: Program,
  layout: WasmLayout,
  memory: WebAssembly.Memory,
  strings: Strings,
): WebAssembly.ModuleImports {
  const imports: WebAssembly.ModuleImports = {};
  collectHosts(program).forEach((step, n) => {
    const host = layout.hosts[n];
    invariant(host, `host step ${n} has no layout`);
    imports[n] = (...values: number[]): void => {
      let at = 0;
      const take = (a: { dtype: DType; rank: number }) => {
        const address = (values[at++] as number) >>> 0;
        const shape = values.slice(at, at + a.rank);
        at += a.rank;
        return { dtype: a.dtype, address, shape };
      };
      const inputs = host.inputs.map(take).map((a) => readTensor(memory, strings, a, a.shape));
      const outputs = host.outputs.map(take);
      const results = step.call(inputs);
      outputs.forEach((o, i) => {
        const result = results[i];
        const room = program.buffers[step.outputs[i]?.ref.buffer ?? -1]?.elements ?? 0;
        const fits = result?.dtype === o.dtype && (o.dtype === 'string' || result.data.length <= room);
        invariant(
          fits,
          `host op ${step.op} gave ${result?.dtype}[${result?.shape}] for ${room} elements of ${o.dtype}`,
        );
        write(memory, strings, o.address, (result as RuntimeTensor).data);
      });
    };
  });
  return imports;
}
