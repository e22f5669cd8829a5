/// <reference types="@webgpu/types" />
// Where the contents of each buffer are. A buffer that the WebAssembly twin uses has a place in its memory too; a step is
// given what it touches on its own side, so contents cross only when the other side wants them. Also the numbers the host
// knows without asking: constants, inputs, sizes that kernels store, what it has read.

import type { GpuBufferPlan, GpuPlan } from '../plan-types.js';
import type { Commands, Range } from './commands.js';
import type { Elements } from './elements.js';

/** The instance of the twin: its memory, and calls by number. */
export interface Twin {
  readonly memory: { readonly buffer: ArrayBuffer };
  call(index: number, ...symbols: readonly number[]): void;
}

/** Elements of a buffer. */
export interface Place {
  readonly buffer: number;
  readonly dtype: string;
  /** In elements. */
  readonly start: number;
  readonly count: number;
}

export interface Stores {
  /** On the device; throws for one that only the twin has. */
  onDevice(buffer: number): GPUBuffer;
  /** Before a dispatch or copy uses it: its contents are on the device. */
  useOnDevice(buffer: number): void;
  /** Before the twin uses them: their contents are in its memory. */
  useInTwin(buffers: readonly number[]): Promise<void>;
  /** One side has new contents. */
  changed(buffer: number, side: 'device' | 'twin'): void;
  /** Elements, those on the device together in one wait. `extra` is read in the same. */
  read(places: readonly Place[], extra?: readonly Range[]): Promise<{ data: ArrayBufferView[]; extra: ArrayBuffer[] }>;
  /** Whether reading it would wait. */
  isAway(buffer: number): boolean;
  write(buffer: number, start: number, data: ArrayBufferView): void;
  /** A whole input. */
  give(buffer: number, data: ArrayBufferView): void;
  /** What it has, as bytes of the device, if it is not there. */
  bytesOfTwin(buffer: number, count: number): Uint8Array<ArrayBuffer> | null;
  learn(buffer: number, index: number, value: number): void;
  forget(buffer: number): void;
  recall(buffer: number, index: number): number | undefined;
  /** Before a run. */
  restart(): void;
  /** State as it was at first. */
  reset(): void;
  destroy(): void;
}

export function createStores(
  device: GPUDevice,
  plan: GpuPlan,
  elements: Elements,
  commands: Commands,
  contents: ReadonlyMap<number, Uint8Array<ArrayBuffer>>,
  twin: Twin | undefined,
): Stores {
  const [COPY_SRC, COPY_DST, STORAGE] = [0x4, 0x8, 0x80];
  const { typeOf, hostBytes, deviceBytes, bytesOf, fromDevice, toDevice } = elements;
  const buffers = plan.buffers.map((b) =>
    b.kind === 'twin' ? null : device.createBuffer({ size: b.bytes, usage: STORAGE | COPY_SRC | COPY_DST }),
  );
  const planOf = (buffer: number): GpuBufferPlan => plan.buffers[buffer] as GpuBufferPlan;
  /** Of buffers in both places: which has the contents. Those that nobody has written are anywhere. */
  const where = new Map<number, 'device' | 'twin' | 'both'>();
  plan.buffers.forEach((b, k) => {
    if (b.twin !== undefined) where.set(k, b.kind === 'twin' ? 'twin' : 'both');
  });
  const inTwin = (buffer: number): boolean => (where.get(buffer) ?? 'device') !== 'device';

  const onDevice = (buffer: number): GPUBuffer => {
    const made = buffers[buffer];
    if (!made) throw new Error(`buffer ${buffer} is the twin's alone`);
    return made;
  };
  /** A stretch of the twin's memory, as elements. */
  const view = (buffer: number, start = 0, count = lengthOf(buffer)): ArrayBufferView => {
    const { dtype, twin: address = 0 } = planOf(buffer);
    if (!twin) throw new Error('the model needs its WebAssembly twin');
    return new (typeOf(dtype))(twin.memory.buffer, address + start * hostBytes(dtype), count);
  };
  const lengthOf = (buffer: number): number => planOf(buffer).bytes / deviceBytes(planOf(buffer).dtype);
  const copyOut = (buffer: number, start: number, count: number): ArrayBufferView => {
    const { dtype } = planOf(buffer);
    return new (typeOf(dtype))(bytesOf(view(buffer, start, count)).slice().buffer);
  };
  const putInTwin = (buffer: number, start: number, data: ArrayBufferView): void =>
    bytesOf(view(buffer, start)).set(bytesOf(data));

  const useOnDevice = (buffer: number): void => {
    if (where.get(buffer) === 'twin') {
      commands.writeAfter(buffer, onDevice(buffer), 0, toDevice(planOf(buffer).dtype, view(buffer)));
      where.set(buffer, 'both');
    }
    commands.touched.add(buffer);
  };
  const changed = (buffer: number, side: 'device' | 'twin'): void => {
    forget(buffer);
    if (where.has(buffer) && planOf(buffer).kind !== 'twin') where.set(buffer, side);
  };

  const read: Stores['read'] = async (places, extra = []) => {
    const ranges = places.map(({ buffer, dtype, start, count }) => {
      const bytes = deviceBytes(dtype);
      const skip = (start * bytes) % 4;
      if (count === 0 || inTwin(buffer)) return null;
      return { buffer: onDevice(buffer), offset: start * bytes - skip, bytes: count * bytes + skip, skip };
    });
    const away = ranges.filter((r) => r !== null);
    if (away.length + extra.length === 0) commands.submit();
    const parts = away.length + extra.length > 0 ? await commands.read([...away, ...extra]) : [];
    let next = 0;
    const data = places.map((p, k) => {
      const range = ranges[k];
      if (range) return fromDevice(p.dtype, (parts[next++] as ArrayBuffer).slice(range.skip));
      return p.count > 0 ? copyOut(p.buffer, p.start, p.count) : new (typeOf(p.dtype))(new ArrayBuffer(0));
    });
    return { data, extra: parts.slice(away.length) };
  };
  const useInTwin = async (list: readonly number[]): Promise<void> => {
    const missing = list.filter((b) => where.get(b) === 'device');
    if (missing.length === 0) return;
    commands.counts.readbacks++;
    const { data } = await read(
      missing.map((buffer) => ({ buffer, dtype: planOf(buffer).dtype, start: 0, count: lengthOf(buffer) })),
    );
    missing.forEach((buffer, k) => {
      putInTwin(buffer, 0, data[k] as ArrayBufferView);
      where.set(buffer, 'both');
    });
  };

  const known = new Map<number, Map<number, number>>();
  const given = new Map<number, ArrayBufferView>();
  const forget = (buffer: number): void => {
    known.delete(buffer);
    given.delete(buffer);
  };
  const constantAt = (buffer: number, index: number): number | undefined => {
    const { kind, dtype } = planOf(buffer);
    const bytes = deviceBytes(dtype);
    const data = contents.get(buffer);
    if (kind !== 'const' || !data || dtype === 'f64' || (index + 1) * bytes > data.length) return undefined;
    return Number(new (typeOf(dtype))(data.slice(index * bytes, (index + 1) * bytes).buffer)[0]);
  };
  const recall = (buffer: number, index: number): number | undefined => {
    const constant = constantAt(buffer, index);
    if (constant !== undefined) return constant;
    const data = given.get(buffer) as ArrayLike<number | bigint> | undefined;
    if (data && index < data.length) return Number(data[index]);
    const value = known.get(buffer)?.get(index);
    if (value !== undefined || !inTwin(buffer)) return value;
    return Number((view(buffer, index, 1) as unknown as ArrayLike<number | bigint>)[0]);
  };

  return {
    onDevice,
    useOnDevice,
    useInTwin,
    changed,
    read,
    isAway: (buffer) => !inTwin(buffer),
    write(buffer, start, data) {
      forget(buffer);
      if (where.has(buffer)) {
        putInTwin(buffer, start, data);
        changed(buffer, 'twin');
        return;
      }
      const { dtype } = planOf(buffer);
      commands.writeAfter(buffer, onDevice(buffer), start * deviceBytes(dtype), toDevice(dtype, data));
    },
    give(buffer, data) {
      if (where.has(buffer)) {
        putInTwin(buffer, 0, data);
        changed(buffer, 'twin');
      } else commands.write(onDevice(buffer), 0, toDevice(planOf(buffer).dtype, data));
      given.set(buffer, data);
    },
    bytesOfTwin: (buffer, count) => (inTwin(buffer) ? toDevice(planOf(buffer).dtype, copyOut(buffer, 0, count)) : null),
    learn(buffer, index, value) {
      const of = known.get(buffer) ?? new Map<number, number>();
      known.set(buffer, of.set(index, value));
    },
    forget,
    recall,
    restart() {
      known.clear();
      given.clear();
      for (const buffer of where.keys()) if (planOf(buffer).kind === 'value') where.set(buffer, 'both');
    },
    reset() {
      plan.buffers.forEach((b, k) => {
        if (b.kind !== 'state') return;
        const bytes = new Uint8Array(b.bytes);
        bytes.set(contents.get(k) ?? []);
        commands.write(onDevice(k), 0, bytes);
        if (!where.has(k)) return;
        putInTwin(k, 0, fromDevice(b.dtype, bytes.buffer));
        where.set(k, 'both');
      });
    },
    destroy() {
      for (const b of buffers) b?.destroy();
    },
  };
}
